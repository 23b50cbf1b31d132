#!/bin/sh
# The machine's root file system: Debian 12 with the packages named on standard input, the same for every kernel.
# $1: the directory to write, with root.sqsh in it. $2: amd64, or arm64, whose packages are only unpacked: their own
# programs cannot run here.
set -eu
variant=apt
[ "$2" = amd64 ] || variant=extract
mmdebstrap --quiet --mode=root --variant=$variant --architectures="$2" --include="$(paste -sd,)" \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	bookworm "$1/root"
mksquashfs "$1/root" "$1/root.sqsh" -comp zstd -Xcompression-level 1 -quiet -no-progress
rm -rf "$1/root"
