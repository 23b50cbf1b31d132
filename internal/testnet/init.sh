# First process of a test host. Environment: D (directory of the host), NAME, GROUP (control group below each hierarchy).
set -e
mount --make-rslave /
hostname "$NAME"

# A control group of our own: dockerd puts plugins below the one it runs in, whatever its --cgroup-parent.
roots=/sys/fs/cgroup # version 2 has one hierarchy, version 1 several beside each other
[ -e /sys/fs/cgroup/cgroup.procs ] || roots=$(ls -d /sys/fs/cgroup/*/)
for root in $roots; do
	root=${root%/}
	[ -e "$root/cgroup.procs" ] || continue
	mkdir -p "$root$GROUP/init"
	for group in "$root${GROUP%/*}" "$root$GROUP" "$root$GROUP/init"; do
		for file in cpuset.cpus cpuset.mems; do # version 1: a new set is empty and takes no process
			[ -e "$root/$file" ] && cat "$root/$file" >"$group/$file"
		done
	done
	echo $$ >"$root$GROUP/init/cgroup.procs"
done

mount -t proc proc /proc
mkdir -p "$D/cgroup" "$D/data" "$D/etc"
mount --rbind /sys/fs/cgroup "$D/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$D/cgroup" /sys/fs/cgroup

# Plugins bind the router's namespace below /run and expect it to be shared, as systemd makes it.
mount -t tmpfs -o mode=755 mst-run /run
mount --make-shared /run
mkdir -p /run/docker/plugins /run/lock
mount -t tmpfs -o mode=711 mst-data "$D/data"

# dockerd reads and writes /etc/docker; containers copy resolv.conf. Neither may be the machine's.
mkdir -p /etc/docker # docker-ce comes without it
mount --bind "$D/etc" /etc/docker
echo "nameserver 172.30.0.254" >"$D/resolv.conf"
target=$(readlink -f /etc/resolv.conf || echo /etc/resolv.conf)
mkdir -p "$(dirname "$target")"
[ -e "$target" ] || : >"$target"
mount --bind "$D/resolv.conf" "$target"

ip link set lo up
echo ready

# Wait for the parent: end of file is its end, a line means "stay". The shell stays in front to reap orphans.
head -n 1 >"$D/stay"
while [ -s "$D/stay" ]; do sleep 3600; done
