# The plugin's root file system: the static binary and the folders that Docker binds into. FROM scratch, so it builds
# offline; `make plugin` lays out the same files without Docker.
FROM scratch
COPY bin/meshsec /meshsec
COPY build/empty /data
COPY build/empty /etc
COPY build/empty /host/etc
COPY build/empty /host/run
COPY build/empty /host/proc/sys/net
COPY build/empty /run/docker/plugins
COPY build/empty /tmp
ENTRYPOINT ["/meshsec", "agent", "--in-plugin"]
