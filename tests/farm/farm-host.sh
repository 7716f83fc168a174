#!/bin/sh
# A session host: xrdp and its session manager, with sessions in Xvnc. It has mounts of its own, so that it
# knows a user whom this machine does not have, and shares no sockets with others.
#   farm-host.sh DIRECTORY ADDRESS DISPLAY
# DISPLAY is the first of 20 that its sessions may have.
# DIRECTORY gets a line for each session that begins (sessions), and for each that is taken up again
# (reconnects), and the logs. DIRECTORY.agent is a script that runs beside xrdp.
set -eu
directory=$1 address=$2 display=$3
mount --make-rprivate /
for place in /run /var/log /mnt; do
    mount -t tmpfs none $place
done
mkdir -p /run/xrdp/sockdir /tmp/.X11-unix /mnt/anna
# Displays that were killed leave a socket and a lock each, and the session manager takes them for living ones.
mount -t tmpfs -o mode=1777 none /tmp/.X11-unix
for number in $(seq "$display" $((display + 19))); do
    rm -f "/tmp/.X$number-lock"
done
chmod 3777 /run/xrdp/sockdir
chown 2001:2001 /mnt/anna
ip link set lo up 2>/dev/null || true
for file in passwd group shadow; do
    cp -p /etc/$file /mnt/$file
done
echo "anna:x:2001:2001::/mnt/anna:/bin/sh" >>/mnt/passwd
echo "anna:x:2001:" >>/mnt/group
echo "anna:$(openssl passwd -6 secret):19000:0:99999:7:::" >>/mnt/shadow
for file in passwd group shadow; do
    mount --bind /mnt/$file /etc/$file
done
for script in sessions reconnects; do
    : >"$directory/$script"
    chmod 666 "$directory/$script"
    printf '#!/bin/sh\necho "$DISPLAY" >>%s/%s\n' "$directory" $script >/mnt/$script
done
echo 'exec sleep infinity' >>/mnt/sessions
chmod 755 /mnt/sessions /mnt/reconnects
cat >/mnt/sesman.ini <<END
[Globals]
ListenAddress=127.0.0.1
ListenPort=3350
EnableUserWindowManager=false
UserWindowManager=
DefaultWindowManager=/mnt/sessions
ReconnectScript=/mnt/reconnects
[Security]
AllowRootLogin=false
MaxLoginRetry=4
[Sessions]
X11DisplayOffset=$display
MaxSessions=10
KillDisconnected=false
Policy=Default
[Logging]
LogFile=$directory/sesman.log
LogLevel=DEBUG
EnableSyslog=false
[Xvnc]
param=Xvnc
param=-bs
param=-nolisten
param=tcp
param=-localhost
[Chansrv]
FuseMountName=none
END
cat >/mnt/xrdp.ini <<END
[Globals]
ini_version=1
fork=true
port=tcp://$address:3389
security_layer=negotiate
crypt_level=high
certificate=$directory/host.crt
key_file=$directory/host.key
autorun=Xvnc
allow_channels=true
max_bpp=32
[Logging]
LogFile=$directory/xrdp.log
LogLevel=DEBUG
EnableSyslog=false
[Xvnc]
name=Xvnc
lib=libvnc.so
username=ask
password=ask
ip=127.0.0.1
port=-1
END
mount --bind /mnt/sesman.ini /etc/xrdp/sesman.ini
# The agent of the host, where there is one: it looks at the processes of this host alone.
if [ -e "$directory.agent" ]; then
    mount -t proc proc /proc
    sh "$directory.agent" >"$directory/agent.out" 2>&1 &
fi
xrdp-sesman --nodaemon >"$directory/sesman.out" 2>&1 &
exec xrdp --nodaemon --config /mnt/xrdp.ini >"$directory/xrdp.out" 2>&1
