#!/usr/bin/env bash
# Builds guest images into deploy/images/out, from Debian's packages and nothing
# else, without a mount. An image whose inputs have not changed is not built again.
#
#   build.sh tiny debian
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$here/out
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C.UTF-8

# The guests' kernel is taken out of its package, and not installed: on this
# machine it would be booted next.
kernel() {
	[[ -d $out/kernel ]] && return
	local name dir
	name=$(package) || { apt-get update -q && name=$(package); }
	dir=$(mktemp -d "$out/.kernel.XXXXXX")
	chmod 755 "$dir"
	(cd "$dir" && { download "$name" || { apt-get update -q && download "$name"; }; })
	dpkg-deb -x "$dir"/*.deb "$dir"
	mv "$dir" "$out/kernel"
}

package() {
	apt-cache depends --important linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | grep .
}

download() { apt-get download -qq -o APT::Sandbox::User=root "$1"; }

build() { # IMAGE
	local inputs image=$out/$1.qcow2 work
	inputs=$(cd "$here" && find build.sh "$1".sh out/kernel/*.deb $([[ ! -d $1 ]] || echo "$1") -type f | sort | xargs sha256sum | sha256sum)
	if [[ -f $image && $(cat "$image.inputs" 2>/dev/null) == "$inputs" ]]; then
		return
	fi
	work=$(mktemp -d "$out/.$1.XXXXXX")
	rm -f "$image.inputs"
	echo "building $1.qcow2"
	bash -euo pipefail "$here/$1.sh" "$out/kernel" "$work" "$work/image.qcow2"
	mv "$work/image.qcow2" "$image"
	echo "$inputs" >"$image.inputs"
	rm -rf "$work"
}

mkdir -p "$out"
exec 9>"$out/lock"
flock 9 # two at once would be in each other's way
trap 'rm -rf "$out"/.[a-z]*' EXIT
kernel
for image; do
	[[ -f $here/$image.sh ]] || { echo "there is no image $image: tiny and debian are what there is" >&2; exit 2; }
	build "$image"
done
