#!/usr/bin/env bash
# Installs what building Cairn and running its lab take on Debian 12, and of that
# only what is missing. The guests' kernel is not among it: this machine's stays.
# The lab needs no service of this machine, and where there is no systemd, none starts.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
	# building: cgo compiles the libvirt binding, which loads libvirt when it runs
	gcc libc6-dev ca-certificates git
	# a host; libvirtd does not start without the user that libvirt-daemon-system makes
	qemu-system-x86 qemu-utils ipxe-qemu libvirt-daemon-system libvirt-daemon-driver-qemu
	# a person who looks at one, and tests that do: virsh, nft, ip, ping, pgrep, ssh
	libvirt-clients nftables iproute2 iputils-ping procps openssh-client
	# the guest images
	busybox-static mtools syslinux e2fsprogs fdisk mmdebstrap
)

need() { # PACKAGE…: installs those that are not there
	local missing=() p
	for p; do
		[[ $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) == installed ]] || missing+=("$p")
	done
	((${#missing[@]})) || return 0
	if [[ $(id -u) != 0 ]]; then
		echo "missing: ${missing[*]}: run \`make deps\` as root" >&2
		exit 1
	fi
	echo "installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# goThatServes tells whether there is a Go for this repository: new enough, or
# new enough to fetch the one that go.mod asks for.
goThatServes() {
	local have
	have=$(go env GOVERSION 2>/dev/null) || return 1
	have=${have%% *}
	[[ $(printf '%s\n' "$wanted" "${have#go}" | sort -V | head -1) == "$wanted" ]]
}

# installGo gets Go as Go itself would: the toolchain is a module, checked against
# Go's checksum database. Debian 12's Go is too old to build Cairn but can fetch it.
installGo() {
	local version=$1 dir module
	module=golang.org/toolchain@v0.0.1-go$version.linux-$(dpkg --print-architecture)
	echo "installing go $version, since ${have:-no go} does not build Cairn"
	need golang-go ca-certificates
	dir=$(cd / && GOFLAGS='' go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	[[ -d $dir ]] || { echo "go $version cannot be fetched: install it from https://go.dev/dl and run this again" >&2; exit 1; }
	# An old Go leaves out the permission to execute.
	chmod -R u+w,a+rX "$dir"
	chmod -R a+x "$dir/bin" "$dir/pkg/tool"
	ln -sf "$dir/bin/go" "$dir/bin/gofmt" /usr/local/bin/
	hash -r
}

need "${packages[@]}"
wanted=$(sed -n 's/^go //p' go.mod)
export PATH=/usr/local/bin:$PATH:/usr/local/go/bin
goThatServes || installGo "$(sed -n 's/^toolchain go//p' go.mod | grep . || echo "$wanted")"
goThatServes || { echo "the go in ${PATH%%:*} is not the one that was installed" >&2; exit 1; }
