# Functions of the trials: checks that print a line `ok NAME` or `FAILED NAME`.

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
cd /trial/packages || exit 1

# check NAME COMMAND...
check() {
    name=$1
    shift
    if "$@" >/trial/output 2>&1; then
        echo "ok $name"
    else
        echo "FAILED $name: $*"
        cat /trial/output
    fi
}

# refuse NAME COMMAND...
refuse() {
    name=$1
    shift
    if "$@" >/trial/output 2>&1; then
        echo "FAILED $name: $*"
        cat /trial/output
    else
        echo "ok $name"
    fi
}

# Repeats a command until it succeeds. An emulated machine needs long for everything.
waits() {
    tries=600
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.5
    done
}

installs() { apt-get install --yes --no-install-recommends "$@"; }
# Restored by the new version of the package, as by an upgrade.
reinstalls() { dpkg --install "$@"; }
main_process() { systemctl show --property MainPID --value "$1"; }
serves() { curl --silent --fail --output /dev/null "$1"; }
