//! Tests DHCP over IPv4 and IPv6 with systemd-networkd as the client, in its own mount namespaces,
//! which separate its state below /run and its bus from those of this machine.

use crate::boot::dhcp_site::{BootSite, Client, SOON};
use lab::{LabProcess, ScratchDirectory, Signal, eventually, installed, may_run, privileged};
use std::fs::{self, File};
use std::process::{Command, Stdio};

/// A bus without access control: `networkctl` requests renewals over it.
const BUS: &str = "<busconfig><type>system</type>
<listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context='default'><allow user='*'/><allow own='*'/>
<allow send_destination='*'/><allow receive_sender='*'/></policy></busconfig>
";

/// Part of the log line for each ACK.
const ACK: &str = "DHCPv4 client: ACK";

const NETWORK: &str = "[Match]
Name=eth0
[Network]
DHCP=yes
";

/// Starts the bus and becomes networkd. Where /sys is read-only, networkd does not wait for udev.
const START: &str = "set -e
mount -t tmpfs run /run
mkdir -p /run/dbus /run/systemd/network
cp \"$1/eth0.network\" /run/systemd/network/
for name in '' /links /leases /lldp; do
install -d -o systemd-network -g systemd-network \"/run/systemd/netif$name\"
done
mount -t tmpfs -o ro sys /sys
dbus-daemon --config-file=\"$1/bus.conf\" --fork --nopidfile
exec /lib/systemd/systemd-networkd
";

struct Networkd {
    program: LabProcess,
    client: Client,
    scratch: ScratchDirectory,
}

impl Networkd {
    fn start(client: Client) -> Networkd {
        let scratch = ScratchDirectory::new().unwrap();
        scratch.write("bus.conf", BUS).unwrap();
        scratch.write("eth0.network", NETWORK).unwrap();
        let log = File::create(scratch.path().join("log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", START, "sh"]);
        command.arg(scratch.path()).stdin(Stdio::null());
        command.env("SYSTEMD_LOG_LEVEL", "debug");
        command.env("SYSTEMD_LOG_TARGET", "console");
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let program = client.host.spawn(command).unwrap();
        Networkd {
            program,
            client,
            scratch,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// Returns the content of a file below networkd's /run/systemd/netif; empty if it does not
    /// exist.
    fn file(&self, name: &str) -> String {
        let pid = self.program.pid();
        let path = format!("/proc/{pid}/root/run/systemd/netif/{name}");
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Returns the IPv4 lease that networkd has stored.
    fn lease(&self) -> String {
        let index = self.client.host.ip(&["-oneline", "link", "show", "eth0"]);
        let index = index.unwrap_or_default();
        let index = index.split(':').next().unwrap_or_default();
        self.file(&format!("leases/{index}")) + &self.file(&format!("links/{index}"))
    }

    /// Waits until the status of the lease has a line.
    #[track_caller]
    fn has(&self, line: &str) {
        let has = || self.lease().lines().any(|one| one == line);
        let came = eventually(SOON, has);
        assert!(came, "no {line}:\n{}\n{}", self.lease(), self.log());
    }

    /// Waits until the client has an address with this beginning; returns the address.
    #[track_caller]
    fn address(&self, begins: &str) -> String {
        let mut address = None;
        let came = eventually(SOON, || {
            let text = self.client.host.ip(&["-brief", "address", "show", "eth0"]);
            let text = text.unwrap_or_default();
            let mut words = text
                .split_whitespace()
                .filter_map(|word| word.split_once('/'));
            address = words.find_map(|(word, _)| word.starts_with(begins).then(|| word.to_owned()));
            address.is_some()
        });
        assert!(came, "no address {begins}: {}", self.log());
        address.unwrap_or_default()
    }

    /// Gives networkd an order: `renew` is for its lease of IPv4, `reconfigure` for all.
    #[track_caller]
    fn is_ordered(&self, order: &str) {
        let pid = self.program.pid().to_string();
        let ordered = || {
            let mut command = Command::new("nsenter");
            command.args(["--target", &pid, "--mount", "networkctl", order, "eth0"]);
            self.client.host.run(command).is_ok()
        };
        assert!(eventually(SOON, ordered), "{}", self.log());
    }

    /// Waits until networkd's log contains a text at least this number of times.
    #[track_caller]
    fn logs(&self, text: &str, times: usize) {
        let came = eventually(SOON, || self.log().matches(text).count() >= times);
        assert!(came, "not {times} times `{text}`: {}", self.log());
    }
}

const LINES: &str = " range 10.60.0.100 10.60.0.109 lease 1h
 gateway 10.60.0.254
 dns 10.60.0.53 fd00:60::53
 ntp 10.60.0.123
 domain lan.example
 network6 fd00:60::/64
 range6 fd00:60::100 fd00:60::109 lease 1h
 unknown menu";

fn site(name: &str) -> Option<BootSite> {
    let needs = ["networkctl", "dbus-daemon", "nsenter", "unshare"]
        .into_iter()
        .fold(privileged(), |needs, program| {
            needs.and_then(|()| installed(program))
        });
    may_run(name, needs).then(|| {
        let site = BootSite::new(name);
        let words = ["address", "add", "fd00:60::1/64", "dev", "eth0", "nodad"];
        site.server.ip(&words).unwrap();
        site
    })
}

#[test]
fn networkd_acquires_renews_and_releases_its_addresses() {
    let Some(mut site) = site("boot-networkd") else {
        return;
    };
    site.start(LINES);
    let one = Networkd::start(site.client("one"));
    let four = one.address("10.60.0.10");
    let six = one.address("fd00:60::10");
    for line in [
        &format!("ADDRESS={four}"),
        "NETMASK=255.255.255.0",
        "ROUTER=10.60.0.254",
        "SERVER_ADDRESS=10.60.0.1",
        "LIFETIME=3600",
        "T1=1800",
        "T2=3150",
        "DOMAINNAME=lan.example",
        "DNS=10.60.0.53 fd00:60::53",
        "NTP=10.60.0.123",
        "ADMIN_STATE=configured",
    ] {
        one.has(line);
    }
    let route = one
        .client
        .host
        .ip(&["-4", "route", "show", "default"])
        .unwrap();
    assert!(route.contains("via 10.60.0.254"), "{route}");
    // The lease can be renewed at a server that has just started.
    for kill in [false, true] {
        if kill {
            site.kill();
            site.start_again();
            site.shows("answers");
        }
        let acks = one.log().matches(ACK).count();
        one.is_ordered("renew");
        one.logs(ACK, acks + 1);
    }
    // The client releases both addresses and gets the same ones.
    one.is_ordered("reconfigure");
    one.logs("bound -> stopped", 1);
    one.logs("solicitation -> bound", 2);
    assert_eq!(one.address("10.60.0.10"), four);
    assert_eq!(one.address("fd00:60::10"), six);
    let log = one.log();
    assert!(!log.contains("NAK") && !log.contains("ecline"), "{log}");
    site.why(&one.client, &format!("ACK {four}"));
    site.why(&one.client, &format!("REPLY {six}"));
}

#[test]
fn networkd_switches_to_addresses_of_a_new_machine_line() {
    let Some(mut site) = site("boot-networkd-line") else {
        return;
    };
    site.start(LINES);
    let one = Networkd::start(site.client("one"));
    one.address("10.60.0.10");
    one.address("fd00:60::10");
    // Another client leaves and releases its address.
    let two = Networkd::start(site.client("two"));
    two.address("10.60.0.10");
    two.program.signal(Signal::TERM).unwrap();
    site.why(&two.client, "its address is free soon");
    let line = format!(
        "{LINES}\n machine node7 mac {} address 10.60.0.207 address6 fd00:60::777 image rescue",
        one.client.mac()
    );
    site.write(&line);
    site.ours(&["reload"]);
    let has = || {
        one.is_ordered("renew");
        one.lease().contains("ADDRESS=10.60.0.207\n")
    };
    assert!(eventually(SOON, has), "{}", one.log());
    assert_eq!(one.address("10.60.0.2"), "10.60.0.207");
    site.why(&one.client, "its own address in the file is 10.60.0.207");
    one.is_ordered("reconfigure");
    assert_eq!(one.address("fd00:60::7"), "fd00:60::777");
    assert_eq!(one.address("10.60.0.2"), "10.60.0.207");
}
