#!/bin/sh
# A Debian kernel, from its package: vmlinuz, modules.sqsh (to mount at /lib/modules), and in initrd what is needed until
# the root file system is there: busybox, and modules named in the order in which they are loaded.
# $1: the directory to write. $2: amd64 or arm64. $3: 6.12 or 6.1.
set -eu
PATH=$PATH:/usr/sbin:/sbin
case $3 in
6.1) package=linux-image-cloud-$2 ;; # the kernel that Debian 12 came with
*) package=linux-image-$3-cloud-$2 ;;
esac
root=$1/root
mmdebstrap --quiet --mode=root --variant=extract --architectures="$2" --include="$package,busybox-static" bookworm "$root"
cp "$root"/boot/vmlinuz-* "$1/vmlinuz"
release=$(ls "$root/lib/modules")
find "$root/lib/modules" -name '*.ko.xz' -print0 | xargs -0r xz -dT2 # so that a small modprobe can load them, too
depmod -b "$root" "$release"
mkdir "$1/initrd"
cp "$root/bin/busybox" "$1/initrd/busybox"
order=10
modprobe --dirname="$root" --set-version="$release" --show-depends --all virtio_pci virtio_blk virtio_console squashfs overlay |
	while read -r how path; do
		[ "$how" = insmod ] && [ -z "$(find "$1/initrd" -name "??-${path##*/}")" ] || continue
		cp "$path" "$1/initrd/$order-${path##*/}"
		order=$((order + 1))
	done
mksquashfs "$root/lib/modules" "$1/modules.sqsh" -comp zstd -Xcompression-level 1 -quiet -no-progress
rm -rf "$root"
