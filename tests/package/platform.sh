# Runs as root in a Debian that was booted for it, with the packages in /trial/packages: a member of a
# cluster with every part, under its unit. Prints a line `ok NAME` or `FAILED NAME` for each check.

. /trial/check.sh

groups=/sys/fs/cgroup/machine.slice/evenkeel-qemu.service
# The process of the QEMU of a guest.
qemu() { cut -d ' ' -f 1 "/run/evenkeel/guest-$1/process"; }
group() { echo "$groups"/guest-"$1"-*; }
role() { pgrep --full "^evenkeel: $1"; }
runs() { evenkeel status | grep --quiet "guest $1: running"; }
network() { readlink "/proc/$1/ns/net"; }
has_network_of_its_own() { [ -n "$1" ] && [ "$(network "$1")" != "$(network 1)" ]; }
signs_in() {
    curl --silent --include --data "user=$1&password=$2" http://127.0.0.1:8600/sign-in | grep --quiet -i '^set-cookie: [^=]*=[^;]'
}

ip link add br0 type bridge
ip address add 10.99.1.1/24 dev br0
ip link set br0 up
ip link set eth0 up
ip address add 10.99.0.2/24 dev eth0

cat >/trial/site.cfg <<'END'
node alpha
    address 10.99.0.2
defaults
    mode http
    timeout client 5s
    timeout connect 5s
    timeout server 5s
frontend web
    bind 10.99.0.2:80
    http-request return status 200
virtual-ip www
    address 10.99.0.9/24
    interface eth0
    failover 1s
volume disk
    size 16m
    backing file /var/lib/evenkeel/volumes
    on alpha
volume second
    size 16m
    backing file /var/lib/evenkeel/volumes
    on alpha
guest one
    prefer alpha
    memory 32m
    cpus 1
    disk disk
    nic br0
guest two
    prefer alpha
    disk second
    memory 32m
    cpus 1
console
    bind 127.0.0.1:8600
    pam user anna
    role admin user anna
boot lan
    interface br0
    range 10.99.1.100 10.99.1.119
    image disk disk
    unknown menu
farm office
    name desktop.example.org
    bind :3389 crt /trial/desktop.pem
    token-key /trial/farm.key
    host ts1 10.99.1.11
END
head -c 32 /dev/urandom >/trial/farm.key
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=desktop.example.org -days 2 \
    -keyout /trial/desktop.key -out /trial/desktop.crt 2>/dev/null
cat /trial/desktop.key /trial/desktop.crt >/trial/desktop.pem

useradd anna
echo anna:keel | chpasswd
sed --in-place 's/^MECHANISMS=.*/MECHANISMS="pam"/; s/^START=.*/START=yes/; s/^OPTIONS="-c /OPTIONS="/' /etc/default/saslauthd
check 'saslauthd runs' systemctl restart saslauthd

check 'evenkeel is installed' installs ./evenkeel_*.deb
systemctl disable --quiet --now evenkeel
check 'a cluster is created' evenkeel cluster init trial --name alpha --address 10.99.0.2:7443
check 'its service starts' systemctl enable --now evenkeel-cluster
check 'its groups are there' test -d "$groups/keeper"
chmod 600 /trial/site.cfg
check 'a version is applied' evenkeel config apply /trial/site.cfg -m trial
check 'a volume is created' waits evenkeel volume create disk
check 'another volume is created' waits evenkeel volume create second
check 'guest one runs' waits runs one
check 'guest two runs' waits runs two
for part in proxy address volume guest boot console farm; do
    check "role $part runs" waits sh -c "evenkeel status | grep --quiet 'role $part: running'"
done
check 'the volume is served' waits sh -c "evenkeel status | grep --quiet 'volume disk: serving'"
check 'the address is owned' waits sh -c "ip address show dev eth0 | grep --quiet 10.99.0.9"
check 'the boot network answers' waits sh -c "evenkeel status | grep --quiet 'boot-network lan: answers'"
check 'the farm listens' waits sh -c "ss --no-header --listening --tcp 'sport = 3389' | grep --quiet ."
check 'the volume uses io_uring' sh -c "ls -l /proc/$(role volume | head -n 1)/fd | grep --quiet io_uring"
check 'a user of the system signs in' waits signs_in anna keel
refuse 'a wrong password is refused' signs_in anna wrong
evenkeel status

for guest in one two; do
    check "QEMU of $guest has a network of its own" has_network_of_its_own "$(qemu $guest)"
    check "QEMU of $guest has a group of its own" grep --quiet --line-regexp "$(qemu $guest)" "$(group $guest)/cgroup.procs"
    check "memory of $guest is counted" test "$(cat "$(group $guest)/memory.current")" -gt 1000000
    # Without KVM, the limit is 1 GiB higher.
    check "memory of $guest is limited" test "$(cat "$(group $guest)/memory.max")" -le $((32 * 1024 * 1024 * 9 / 8 + 2 * 1024 * 1024 * 1024))
done
check 'the memory is reported' sh -c 'evenkeel status --json | grep --quiet "memory used"'
supervisor=$(main_process evenkeel-cluster)
refuse 'the group of the unit has no guest' grep --line-regexp "$(qemu one)" /sys/fs/cgroup/system.slice/evenkeel-cluster.service/cgroup.procs

# A guest that needs too much memory ends alone.
one=$(qemu one)
two=$(qemu two)
echo 1 >"$(group two)/memory.max"
check 'guest two is out of memory' waits sh -c 'journalctl --unit evenkeel-cluster | grep --quiet "guest two: .*out of memory"'
check 'guest two runs again' waits runs two
check 'guest two has a new process' test "$two" != "$(qemu two)"
check 'guest one ran on' test "$one" = "$(qemu one)"
check 'the unit runs on' test "$supervisor" = "$(main_process evenkeel-cluster)"
check 'the unit was not restarted' test "$(systemctl show --property NRestarts --value evenkeel-cluster)" = 0
check 'the groups run on' systemctl is-active evenkeel-qemu

# A killed supervisor: systemd starts another one, although there are limited groups.
two=$(qemu two)
kill -KILL "$supervisor"
check 'a new supervisor starts' waits sh -c "[ \$(systemctl show --property MainPID --value evenkeel-cluster) != $supervisor ] && systemctl --quiet is-active evenkeel-cluster"
check 'guest one is adopted' waits runs one
check 'guests run on' test "$one $two" = "$(qemu one) $(qemu two)"
check 'the service is stopped' systemctl stop evenkeel-cluster
check 'guests run on without it' kill -0 "$one" "$two"
check 'the service starts again' systemctl start evenkeel-cluster
check 'guest one is found' waits runs one
check 'guests ran on' test "$one $two" = "$(qemu one) $(qemu two)"

# Without the groups, guests run as before.
mkdir -p /run/systemd/system/evenkeel-cluster.service.d
printf '[Service]\nUnsetEnvironment=EVENKEEL_GUEST_CGROUP\n' >/run/systemd/system/evenkeel-cluster.service.d/trial.conf
systemctl daemon-reload
systemctl restart evenkeel-cluster
check 'a guest without a group is restarted' waits sh -c 'evenkeel guest stop two && evenkeel guest start two'
check 'it runs' waits runs two
refuse 'it has no group' test -e "$(group two)/cgroup.procs"
check 'that is reported once' test "$(journalctl --unit evenkeel-cluster | grep --count 'EVENKEEL_GUEST_CGROUP is not set')" = 1

# A unit that takes network namespaces away: no guest starts in the network of the machine.
printf '[Service]\nRestrictNamespaces=yes\n' >/run/systemd/system/evenkeel-cluster.service.d/trial.conf
systemctl daemon-reload
systemctl restart evenkeel-cluster
waits runs two
kill -KILL "$(qemu two)"
check 'a guest without a network of its own does not start' waits sh -c 'journalctl --unit evenkeel-cluster | grep --quiet "no separate network namespace for QEMU"'
refuse 'it has no process' kill -0 "$(qemu two)"
rm -r /run/systemd/system/evenkeel-cluster.service.d
systemctl daemon-reload
systemctl restart evenkeel-cluster
check 'it starts with the shipped unit' waits runs two

# Upgrades with a load, and a removal and an installation over the live cluster.
: >/trial/failures
touch /trial/loading
while [ -e /trial/loading ]; do
    serves http://10.99.0.2:80/ || echo failed >>/trial/failures
    echo request >>/trial/requests
done &
one=$(qemu one)
two=$(qemu two)
supervisor=$(main_process evenkeel-cluster)
for round in $(seq "${UPGRADES:-20}"); do
    reinstalls ./evenkeel_*.deb >/trial/output 2>&1 || echo "FAILED upgrade $round"
done
rm /trial/loading
wait
check 'upgrades fail no request' test ! -s /trial/failures
echo "$(wc --lines </trial/requests) requests during ${UPGRADES:-20} upgrades"
check 'upgrades do not restart the service' test "$supervisor" = "$(main_process evenkeel-cluster)"
check 'guests run on after upgrades' test "$one $two" = "$(qemu one) $(qemu two)"
check 'evenkeel is removed' apt-get remove --yes evenkeel
check 'guests run on without the package' kill -0 "$one" "$two"
check 'evenkeel is installed again' installs ./evenkeel_*.deb
check 'the cluster has its version' waits sh -c 'evenkeel config log | grep --quiet trial'
check 'guests are found' waits runs one
check 'guests ran on again' test "$one $two" = "$(qemu one) $(qemu two)"

check 'a drain by the unit' systemctl start evenkeel-guests
check 'guests are stopped' systemctl stop evenkeel-guests
refuse 'no QEMU is left' kill -0 "$one"
check 'no group of a guest is left' sh -c "! ls -d $groups/guest-*"
check 'all is purged' apt-get purge --yes evenkeel
check 'the state of the member is kept' test -e /var/lib/evenkeel/member
rm -r /var/lib/evenkeel
refuse 'no process is left' pgrep evenkeel
refuse 'no group is left' test -e "$groups"
refuse 'no runtime directory is left' test -e /run/evenkeel
check 'no unit has failed' sh -c '! systemctl --failed --no-legend | grep .'
echo finished
