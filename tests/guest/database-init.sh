#!/bin/busybox sh
# The first process of the guest of `volume_guest.rs`: it checks the file system of its disk and
# the database there, and then writes both until it is killed. Each line with `guest:` is read
# by the test; `guest: committed N` comes after the commit.
/bin/busybox mkdir -p /sbin /tmp /disk
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
# In the order of their names some come too early.
for round in 1 2 3; do
    for module in /lib/modules/*.ko; do insmod "$module" 2>/dev/null; done
done
read -r line </proc/cmdline
for word in $line; do
    case $word in kind=*) kind=${word#kind=} ;; esac
done
while [ ! -b /dev/vda ]; do :; done
say() { echo "guest: $*"; }

# The journal is replayed, as after each crash; then nothing may be wrong.
mount -t "$kind" /dev/vda /disk && umount /disk || say cannot mount
case $kind in
ext4) e2fsck -fn /dev/vda ;;
xfs) xfs_repair -n /dev/vda ;;
esac >/tmp/checked 2>&1 && say file system clean || cat /tmp/checked
mount -t "$kind" /dev/vda /disk
sqlite3 /disk/db "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x)" >/tmp/mode
say $(sqlite3 /disk/db "PRAGMA integrity_check; SELECT ifnull(max(id), 0), count(*) FROM t")
last=$(sqlite3 /disk/db "SELECT ifnull(max(id), 0) FROM t")

# Names and files come and go beside it.
(
    mkdir -p /disk/files
    n=0
    while true; do
        n=$((n + 1))
        echo $n $n $n >/disk/files/$((n % 97))
        mv /disk/files/$((n % 97)) /disk/files/x$((n % 31))
        rm -f /disk/files/x$((n % 13))
    done
) &
(
    echo "PRAGMA synchronous = FULL;"
    while true; do
        last=$((last + 1))
        echo "INSERT INTO t VALUES ($last, hex(randomblob(500))); SELECT 'guest: committed ' || $last;"
    done
) | sqlite3 /disk/db
say ended
