#!/bin/busybox sh
# The first process of guests in the scenarios of the guest part: it goes on with the number that is
# at the beginning of its disk, writes each next one there with a flush, and shuts down when the power
# button is pressed. Each line with `guest:` is read by the test; `guest: wrote N` comes after the
# flush. With a second disk, each number is written there as well, behind the first one.
#
# With `records` on the kernel's command line, number N is also in sector 8+N of the first disk, as
# `N BOOT`, where BOOT is a word of this start alone: `guest: record N BOOT` comes after the flush.
# And `guest: tick BOOT` comes about ten times a second as long as its processor runs.
/bin/busybox mkdir -p /sbin /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys 2>/dev/null || { mkdir -p /sys; mount -t sysfs sys /sys; }
mount -t devtmpfs dev /dev
for round in 1 2 3; do
    for module in /lib/modules/*.ko; do insmod "$module" 2>/dev/null; done
done
say() { echo "guest: $*"; }
while [ ! -b /dev/vda ]; do :; done
read -r line </proc/cmdline
address=
boot=
for word in $line; do
    case $word in
    address=*) address=${word#address=} ;;
    records) read -r boot </proc/sys/kernel/random/uuid && boot=${boot%%-*} ;;
    esac
done
if [ -n "$address" ]; then
    ip addr add "$address" dev eth0 && ip link set eth0 up && say "has $address"
fi

# Any key of the power button.
for input in /dev/input/event*; do
    (dd if="$input" bs=24 count=1 >/dev/null 2>&1 && say "power button" && poweroff -f) &
done

number() { dd if=/dev/vda bs=4096 count=1 2>/dev/null | tr -d '\0' | sed -n 1p; }
n=$(number)
case $n in '' | *[!0-9]*) n=0 ;; esac
# The number may have been written and its record not.
first=$(dd if=/dev/vda bs=512 skip=$((8 + n)) count=1 2>/dev/null | tr -d '\0' | sed -n 1p)
case $boot,$n,$first in ,* | *,0,* | *,"$n "*) ;; *) n=$((n - 1)) ;; esac
say "begins with $n"
[ -z "$boot" ] || while true; do usleep 100000 && say "tick $boot"; done &
record() {
    { echo "$n $boot"; dd if=/dev/zero bs=512 count=1 2>/dev/null; } | dd bs=512 count=1 iflag=fullblock conv=notrunc seek=$((8 + n)) of=/dev/vda 2>/dev/null
}
put() {
    { echo $n; dd if=/dev/zero bs=4096 count=1 2>/dev/null; } | dd bs=4096 count=1 iflag=fullblock conv=fsync,notrunc of="$1" 2>/dev/null
}
while true; do
    n=$((n + 1))
    if { [ -z "$boot" ] || record; } && put /dev/vda && { [ ! -b /dev/vdb ] || put /dev/vdb; }; then
        say "wrote $n"
        [ -z "$boot" ] || say "record $n $boot"
    else
        say "cannot write $n"
    fi
    usleep 20000
done
