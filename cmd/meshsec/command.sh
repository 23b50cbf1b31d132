#!/bin/sh
# The command meshsec of this host: the binary inside the managed plugin. Its path holds the plugin's ID, which changes
# when the plugin is installed anew, so Docker is asked each time.
set -eu
if [ "$(id -u)" != 0 ]; then
	echo 'meshsec: needs root' >&2
	exit 2
fi
if ! id=$(docker plugin inspect -f '{{.Id}}' meshsec/plugin) || ! root=$(docker info -f '{{.DockerRootDir}}'); then
	echo 'meshsec: Docker does not say where the plugin meshsec/plugin is; is it installed?' >&2
	exit 2
fi
exec "$root/plugins/$id/rootfs/meshsec" "$@"
