#!/bin/sh
# argosy-host-init [PROGRAM ARGUMENT...]: first program of a host. On cgroup v1 nspawn mounts the controllers
# read-only, so that MemoryMax= and its like would do nothing: they are made writable before anybody looks at them.
if [ -d /sys/fs/cgroup/memory ]; then
	for c in cpu cpuacct cpuset memory devices freezer blkio pids; do
		mount -o remount,rw,bind "/sys/fs/cgroup/$c" 2>/dev/null
	done
	mount -o remount,rw /sys/fs/cgroup 2>/dev/null
fi
if [ $# -gt 0 ]; then exec "$@"; fi
exec /lib/systemd/systemd
