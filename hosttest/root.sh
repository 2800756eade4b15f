#!/bin/sh
# root.sh DIR SUITE MIRROR: builds the root file system of booted test hosts from Debian's packages: systemd,
# and real daemons of every kind, none of them enabled. Run as root in a mount namespace of its own.
set -eu
root=$1 suite=$2 mirror=$3

debootstrap --variant=minbase --include=systemd-sysv,dbus,ca-certificates "$suite" "$root" "$mirror"

# Two steps: debootstrap cannot configure every package, apt can. Nothing is to start in the chroot.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cp /etc/resolv.conf "$root/etc/resolv.conf"
mount -t proc proc "$root/proc"
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -q -y --no-install-recommends \
  procps iproute2 curl netcat-openbsd busybox-static \
  redis-server nginx-light memcached haproxy lighttpd apache2 dnsmasq mosquitto openssh-server rsync stunnel4 \
  cron anacron logrotate man-db rsyslog unbound openvpn wireguard-tools smartmontools lvm2 sysstat tinyproxy \
  vsftpd rpcbind avahi-daemon ifupdown chrony keepalived
umount "$root/proc"

# What Debian enables would start at every boot: a host starts with nothing but the system itself.
rm -rf "$root"/etc/rc?.d/S*
for wants in multi-user.target.wants timers.target.wants sockets.target.wants network-online.target.wants sysinit.target.wants; do
  rm -rf "$root/etc/systemd/system/$wants"
done
for u in console-getty.service getty@tty1.service getty.target systemd-networkd-wait-online.service systemd-update-utmp.service \
  systemd-update-utmp-runlevel.service systemd-logind.service e2scrub_reap.service systemd-pstore.service rsyslog.service \
  dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount systemd-binfmt.service proc-sys-fs-binfmt_misc.automount; do
  ln -sf /dev/null "$root/etc/systemd/system/$u"
done
chroot "$root" systemctl -q set-default multi-user.target
mkdir -p "$root/var/log/journal"

rm -rf "$root"/usr/sbin/policy-rc.d "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/etc/resolv.conf"
echo "127.0.0.1 localhost" >"$root/etc/hosts"
