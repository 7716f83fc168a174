#!/bin/busybox sh
# The first process of a machine that booted from the network: it says with what, and ends.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
echo "booted: $(/bin/busybox cat /proc/cmdline)"
/bin/busybox poweroff -f
