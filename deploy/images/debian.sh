# Debian 12 as it is, with cloud-init and sshd, and nothing of Cairn in it.
#
#   debian.sh KERNEL WORKDIR IMAGE
work=$2 image=$3

packages=(
	linux-image-cloud-amd64 grub-pc-bin grub-common
	systemd-sysv systemd-resolved udev dbus
	cloud-init cloud-guest-utils fdisk e2fsprogs
	openssh-server sudo ca-certificates iproute2 iputils-ping less
)

# What mmdebstrap mounts is mounted for it alone, and gone with it.
unshare --mount --propagation private mmdebstrap --quiet --mode=root --variant=minbase \
	--include="$(IFS=,; echo "${packages[*]}")" \
	--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
	bookworm "$work/root"
root=$work/root

echo 'LABEL=root / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<'END'
linux /vmlinuz root=LABEL=root ro console=tty0 console=ttyS0,115200
initrd /initrd.img
boot
END
# Translations are left out, so that the one locale is the neutral one.
echo 'locale: C.UTF-8' >"$root/etc/cloud/cloud.cfg.d/10_locale.cfg"
# Each instance is another machine: none has a name, an ID or keys yet.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname" "$root/var/lib/dbus/machine-id"
: >"$root/etc/machine-id"
chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/*.log

# A disk with one partition from the first MiB on, made with no mount; GRUB's own
# image fits into the gap before it.
raw=$work/image.raw
truncate -s 2G "$raw"
echo 'start=2048, type=83, bootable' | sfdisk --quiet "$raw"
mke2fs -q -t ext4 -L root -d "$root" -E offset=1048576 "$raw" $((2 * 1024 - 1))M
chroot "$root" grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' biosdisk part_msdos ext2 normal linux >"$work/core.img"
dd if="$root/usr/lib/grub/i386-pc/boot.img" of="$raw" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$raw" bs=512 seek=1 conv=notrunc status=none
qemu-img convert -f raw -O qcow2 -c -m 2 "$raw" "$image"
