#!/bin/busybox sh
# The first process of guests in the scenarios of the guest part: it goes on with the number that is
# at the beginning of its disk, writes each next one there with a flush, and shuts down when the power
# button is pressed. Each line with `guest:` is read by the test; `guest: wrote N` comes after the
# flush. With a second disk, each number is written there as well, behind the first one.
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
for word in $line; do
    case $word in address=*) address=${word#address=} ;; esac
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
say "begins with $n"
put() {
    { echo $n; dd if=/dev/zero bs=4096 count=1 2>/dev/null; } | dd bs=4096 count=1 iflag=fullblock conv=fsync,notrunc of="$1" 2>/dev/null
}
while true; do
    n=$((n + 1))
    put /dev/vda && { [ ! -b /dev/vdb ] || put /dev/vdb; } && say "wrote $n" || say "cannot write $n"
    usleep 20000
done
