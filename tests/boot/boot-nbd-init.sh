#!/bin/busybox sh
# The first process of a machine with its root by NBD. It runs the script of Debian's initial RAM disk
# (package nbd-client), with what that needs of the others, and then the root's own first process.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t sysfs sys /sys
# One that needs another one fails until that is there.
for turn in 1 2 3; do
    for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci \
        failover net_failover virtio_net nbd; do
        [ ! -e /lib/modules/$module.ko ] || insmod /lib/modules/$module.ko 2>/dev/null
    done
done
# What /scripts/functions of initramfs-tools has.
log_begin_msg() { echo "$*"; }
log_failure_msg() { echo "failed: $*"; }
wait_for_udev() { :; }
modprobe() { :; }
configure_networking() {
    case $(cat /proc/cmdline) in
    *ip=dhcp*) ;;
    *) echo "no ip=dhcp" ;;
    esac
    ip link set lo up
    ip link set eth0 up
    udhcpc -q -n -t 20 -i eth0 -s /bin/leased
}
NBDCLIENT=/bin/nbd-client
ROOTPATH=
. /bin/local-top-nbd
mkdir -p /new
root=
for word in $(cat /proc/cmdline); do
    case $word in
    root=*) root=${word#root=} ;;
    esac
done
tries=0
until mount -t ext4 "$root" /new; do
    tries=$((tries + 1))
    [ $tries -lt 20 ] || break
    sleep 1
done
cat /new/words
echo "boot $(cat /proc/uptime)" >>/new/boots
sync
echo "boots of this root: $(grep -c boot /new/boots)"
# The machine goes on until the file is there, and writes all the time.
while [ -e /new/stay ]; do
    count=$((count + 1))
    echo "$count" >/new/count
    sync
    echo "count $count"
    sleep 1
done
echo "booted: $(cat /proc/cmdline)"
poweroff -f
