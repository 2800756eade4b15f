#!/bin/sh
# First program of a booted host: on cgroup v1 nspawn mounts the controllers read-only, so that MemoryMax= and
# its like would do nothing. They are made writable before systemd looks at them.
if [ -d /sys/fs/cgroup/memory ]; then
  for c in cpu cpuacct cpuset memory devices freezer blkio pids; do
    mount -o remount,rw,bind "/sys/fs/cgroup/$c" 2>/dev/null
  done
  mount -o remount,rw /sys/fs/cgroup 2>/dev/null
fi
exec /lib/systemd/systemd "$@"
