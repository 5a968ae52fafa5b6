# The tiny guest: Debian's kernel, busybox and tiny/init. It boots in seconds and
# says on its serial console what it sees.
#
#   tiny.sh KERNEL WORKDIR IMAGE
kernel=$1 work=$2 image=$3
here=$(dirname "$0")/tiny

# In the order in which they have to be loaded.
modules=(virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net virtio_blk
	cdrom isofs button evdev)

root=$work/root
mkdir -p "$root"/{bin,dev,etc/acpi/PWRF,lib,mnt,proc,run,sys,tmp}
cp /bin/busybox "$root/bin/"
install -m 755 "$here/init" "$root/init"
install -m 755 "$here/dhcp" "$root/bin/"
install -m 755 "$here/power" "$root/etc/acpi/PWRF/00000080" # the event as the kernel names it
for m in "${modules[@]}"; do
	file=$(find "$kernel/lib/modules" \( -name "$m.ko" -o -name "${m//_/-}.ko" \) -print -quit)
	[[ $file ]] || { echo "the kernel has no module $m" >&2; exit 1; }
	cp "$file" "$root/lib/$m.ko"
done
printf '%s\n' "${modules[@]}" >"$root/lib/order"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initrd"

cat >"$work/syslinux.cfg" <<'END'
DEFAULT tiny
LABEL tiny
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0 panic=-1 quiet
END

# One FAT file system over the whole disk, which is how syslinux needs no mount.
raw=$work/image.raw
truncate -s 32M "$raw"
mformat -i "$raw" -h 64 -s 32 -t 32 -v CAIRN ::
mcopy -i "$raw" "$kernel"/boot/vmlinuz-* ::vmlinuz
mcopy -i "$raw" "$work/initrd" "$work/syslinux.cfg" ::
syslinux --install "$raw"
qemu-img convert -f raw -O qcow2 "$raw" "$image"
