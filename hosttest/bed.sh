# bed.sh DIR ROOTFS NAME MACHINE-ID ADDRESS NSPAWN-ARGUMENT...: PID 1 of a bed, in mount, PID, network, UTS and
# IPC namespaces of its own. When it ends the kernel takes the host and every mount and link with it, and it
# ends when descriptor 3 does: a pipe that the test binary holds. BED_CGROUPS are folders made for this bed,
# BED_INIT is the host's first program.
set -eu
dir=$1 rootfs=$2 name=$3 id=$4 address=$5
shift 5
for c in $BED_CGROUPS; do echo 0 >"$c/cgroup.procs"; done

mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run # nspawn leaves things there.
mkdir -p "$dir/disk"
mount -t tmpfs -o mode=755 tmpfs "$dir/disk"
mkdir "$dir/disk/upper" "$dir/disk/work" "$dir/disk/root"
mount -t overlay -o "lowerdir=$rootfs,upperdir=$dir/disk/upper,workdir=$dir/disk/work" overlay "$dir/disk/root"
printf '%s' "$BED_INIT" >"$dir/disk/root/usr/local/sbin/argosy-host-init"
chmod 755 "$dir/disk/root/usr/local/sbin/argosy-host-init"
echo "$id" >"$dir/disk/root/etc/machine-id"
echo "$name" >"$dir/disk/root/etc/hostname"
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$name" >"$dir/disk/root/etc/hosts"

ip link set lo up
ip link add host0 type veth peer name cable0 # A device with an address and no way out.
ip addr add "$address/24" dev host0
ip link set host0 up
ip link set cable0 up

(
	read -r _ <&3 || true
	kill -KILL -1
) &
exec 3<&-
systemd-nspawn -q -D "$dir/disk/root" -M "$name" --uuid="$id" --network-namespace-path=/proc/self/ns/net \
	--capability=all --register=no --keep-unit --link-journal=no --resolv-conf=off --timezone=off --console=pipe \
	--kill-signal=SIGRTMIN+3 "$@" </dev/null
