# Runs as root in a Debian that was booted for it, with the packages in /trial/packages and haproxy
# and keepalived of Debian. Prints a line `ok NAME` or `FAILED NAME` for each check.

. /trial/check.sh

# failures_during URL COMMAND...: whether the command succeeds and no request fails meanwhile.
failures_during() {
    url=$1
    shift
    : >/trial/failures
    touch /trial/loading
    while [ -e /trial/loading ]; do
        serves "$url" || echo failed >>/trial/failures
    done &
    "$@"
    result=$?
    rm /trial/loading
    wait
    [ $result = 0 ] && [ ! -s /trial/failures ]
}

ip link set eth0 up
ip address add 10.99.0.2/24 dev eth0
systemctl is-system-running --wait >/dev/null
systemctl restart keepalived
check 'haproxy serves before' serves http://127.0.0.1:8080/

check 'evenkeel is installed' installs ./evenkeel_*.deb
check 'its service is enabled' systemctl is-enabled evenkeel
check 'its service runs' systemctl is-active evenkeel
check 'its file is served' serves http://127.0.0.1:8404/
check 'the proxy has a user of its own' pgrep --euid evenkeel-proxy
for unit in evenkeel evenkeel-cluster evenkeel-guests evenkeel-qemu evenkeel-farm-agent; do
    check "$unit.service is valid" systemd-analyze --man=no verify "$unit.service"
done
refuse 'only one service is enabled' systemctl is-enabled evenkeel-cluster

before=$(main_process evenkeel)
check 'an upgrade fails no request' failures_during http://127.0.0.1:8404/ reinstalls ./evenkeel_*.deb
check 'an upgrade does not restart the service' test "$before" = "$(main_process evenkeel)"
check 'an upgrade is adopted' sh -c 'journalctl --unit evenkeel | grep "the supervisor is now"'

cp /etc/haproxy/haproxy.cfg /trial/haproxy.cfg
echo 'no such line' >>/etc/haproxy/haproxy.cfg
refuse 'a file with an error is not taken over' installs ./evenkeel-haproxy_*.deb
check 'haproxy still serves' serves http://127.0.0.1:8080/
check 'haproxy is still its own program' sh -c 'haproxy -v | grep --invert-match Evenkeel'
cp /trial/haproxy.cfg /etc/haproxy/haproxy.cfg
before=$(main_process haproxy)
check 'a takeover of haproxy fails no request' failures_during http://127.0.0.1:8080/ installs ./evenkeel-haproxy_*.deb
check 'its process executes Evenkeel' test "$before" = "$(main_process evenkeel-haproxy)"
check 'Evenkeel is that process' sh -c "readlink /proc/$before/exe | grep evenkeel"
check 'evenkeel-haproxy.service is valid' systemd-analyze --man=no verify evenkeel-haproxy.service
check 'haproxy is Evenkeel' sh -c 'haproxy -v | grep Evenkeel'
check 'evenkeel-haproxy has loaded the file' waits sh -c 'systemctl status evenkeel-haproxy | grep "serving version"'
check 'evenkeel-haproxy serves' serves http://127.0.0.1:8080/
check 'evenkeel-haproxy is enabled' systemctl is-enabled evenkeel-haproxy
check 'the old name reloads it' systemctl reload haproxy
check 'the old name shows it' sh -c 'systemctl show --property Id haproxy | grep evenkeel-haproxy'
check 'an upgrade of both' failures_during http://127.0.0.1:8080/ reinstalls ./evenkeel_*.deb ./evenkeel-haproxy_*.deb
check 'a restart brings the protections of the unit' systemctl restart evenkeel-haproxy
check 'NoNewPrivileges is set' sh -c 'grep "NoNewPrivs:.*1" /proc/$(systemctl show --property MainPID --value evenkeel-haproxy)/status'
check 'evenkeel-haproxy still serves' serves http://127.0.0.1:8080/

# A script of the file mounts a file system, and everybody sees it.
mkdir /trial/mounted
printf '#!/bin/sh\nmount -t tmpfs none /trial/mounted\n' >/trial/notify.sh
chmod +x /trial/notify.sh
sed --in-place 's,^ *state MASTER,&\n    notify_master /trial/notify.sh,' /etc/keepalived/keepalived.conf
check 'evenkeel-keepalived is installed' installs ./evenkeel-keepalived_*.deb
check 'evenkeel-keepalived.service is valid' systemd-analyze --man=no verify evenkeel-keepalived.service
check 'keepalived is Evenkeel' sh -c 'keepalived --version 2>&1 | grep -i Evenkeel'
check 'keepalived.service runs' systemctl is-active keepalived
check 'it owns the address' sh -c 'timeout 60 sh -c "until ip address | grep 10.99.0.1; do sleep 0.2; done"'
check 'a mount of its script is one of the machine' waits mountpoint /trial/mounted

exposure() { systemd-analyze security "$1" | sed -n 's/.*level for .*: \([0-9.]*\) .*/\1/p'; }
for unit in evenkeel evenkeel-cluster evenkeel-haproxy evenkeel-keepalived evenkeel-farm-agent evenkeel-guests evenkeel-qemu; do
    echo "exposure of $unit: $(exposure $unit.service)"
done

check 'evenkeel-haproxy is removed' apt-get remove --yes evenkeel-haproxy
check 'haproxy is itself again' sh -c 'haproxy -v | grep --invert-match Evenkeel'
check 'haproxy serves again' sh -c 'timeout 60 sh -c "until curl -sf http://127.0.0.1:8080/; do sleep 0.2; done"'
check 'haproxy is enabled again' systemctl is-enabled haproxy
check 'an installation after a removal fails no request' failures_during http://127.0.0.1:8080/ installs ./evenkeel-haproxy_*.deb
check 'it takes over again' sh -c 'systemctl show --property Id haproxy | grep evenkeel-haproxy'
check 'evenkeel-haproxy is removed again' apt-get remove --yes evenkeel-haproxy
check 'haproxy serves after the second removal' waits serves http://127.0.0.1:8080/
check 'evenkeel-keepalived is removed' apt-get remove --yes evenkeel-keepalived
check 'keepalived runs again' systemctl is-active keepalived
# The arbiter of a cluster whose first node is the complete program, at other directories.
cp /usr/bin/evenkeel /trial/evenkeel
node() { EVENKEEL_RUNTIME_DIRECTORY=/trial/run /trial/evenkeel "$@"; }
check 'evenkeel-arbiter takes the place of evenkeel' installs ./evenkeel-arbiter_*.deb
refuse 'evenkeel is removed' sh -c 'dpkg-query --show --showformat "\${db:Status-Status}" evenkeel | grep "^installed"'
refuse 'the arbiter runs in no cluster' systemctl is-active evenkeel-arbiter
check 'a cluster for the arbiter' node cluster init trial --name alpha --state /trial/node --listen 127.0.0.1:7501
node run --state /trial/node >/trial/node.log 2>&1 &
node=$!
token() { node cluster invite --arbiter | grep -o 'EK1-[^ ]*' | head -n 1; }
check 'its first node runs' sh -c 'timeout 120 sh -c "until EVENKEEL_RUNTIME_DIRECTORY=/trial/run /trial/evenkeel cluster invite --arbiter; do sleep 0.5; done"'
check 'the arbiter joins' evenkeel arbiter join "$(token)" --name tie --listen 127.0.0.1:7502
check 'evenkeel-arbiter starts' systemctl start evenkeel-arbiter
check 'evenkeel-arbiter.service is valid' systemd-analyze --man=no verify evenkeel-arbiter.service
check 'the arbiter votes' sh -c 'timeout 120 sh -c "until evenkeel cluster status --json | grep \"majority\":true; do sleep 0.5; done"'
before=$(main_process evenkeel-arbiter)
check 'an upgrade of the arbiter' reinstalls ./evenkeel-arbiter_*.deb
check 'it does not restart the service' test "$before" = "$(main_process evenkeel-arbiter)"
check 'the arbiter still runs' systemctl is-active evenkeel-arbiter
refuse 'its unit is not more than it needs' sh -c 'journalctl --unit evenkeel-arbiter | grep -i -E "not permitted|denied"'
echo "exposure of evenkeel-arbiter: $(exposure evenkeel-arbiter.service)"
check 'evenkeel-arbiter is purged' apt-get purge --yes evenkeel-arbiter
check 'the state of the arbiter is kept' test -e /var/lib/evenkeel/member
kill $node
rm -rf /var/lib/evenkeel

check 'all is purged' apt-get purge --yes evenkeel evenkeel-haproxy evenkeel-keepalived
check 'nothing is left' sh -c '! find / -xdev -path /trial -prune -o -path /var/log -prune -o -path /var/cache -prune -o -iname "*evenkeel*" -print | grep .'
refuse 'no process is left' pgrep evenkeel
check 'haproxy serves at last' serves http://127.0.0.1:8080/
check 'no unit has failed' sh -c '! systemctl --failed --no-legend | grep .'
echo finished
