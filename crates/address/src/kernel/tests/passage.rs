//! Tests silenced addresses and forwarded connections.

use super::super::{Passage, Passes, Quiet};
use lab::{Lab, LabHost};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{self, AddressFamily, RecvFlags, SocketFlags, SocketType, sockopt};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

struct PassageFixture {
    _lab: Lab,
    old: LabHost,
    new: LabHost,
    client: LabHost,
}

/// Returns hosts of which `old` has the address and `new` is to get it.
fn scene(name: &str) -> PassageFixture {
    let lab = Lab::new(name).unwrap();
    let switch = lab.switch("lan").unwrap();
    let [old, new, client] = ["old", "new", "client"].map(|n| lab.host(n).unwrap());
    for (host, last) in [(&old, 1), (&new, 2), (&client, 9)] {
        host.sysctl("net/ipv6/conf/default/accept_dad", "0")
            .unwrap();
        let port = switch.attach(host).unwrap();
        port.address(&format!("10.0.0.{last}/24")).unwrap();
        host.ip(&[
            "address",
            "add",
            &format!("fd00::{last}/64"),
            "dev",
            "eth0",
            "nodad",
        ])
        .unwrap();
    }
    for vip in ["10.0.0.100/24", "fd00::100/64"] {
        old.ip(&["address", "add", vip, "dev", "eth0", "nodad"])
            .unwrap();
    }
    PassageFixture {
        _lab: lab,
        old,
        new,
        client,
    }
}

fn index(host: &LabHost) -> u32 {
    let shown = host.ip(&["-o", "link", "show", "eth0"]).unwrap();
    shown.split(':').next().unwrap().parse().unwrap()
}

/// Returns the MAC of an interface or a neighbour from the output of `ip`.
fn mac_in(shown: &str, behind: &str) -> Option<String> {
    let mut words = shown.split_whitespace();
    words.find(|w| *w == behind)?;
    words.next().map(str::to_owned)
}

fn mac(host: &LabHost) -> String {
    let shown = host.ip(&["-o", "link", "show", "eth0"]).unwrap();
    mac_in(&shown, "link/ether").unwrap()
}

fn serve(host: &LabHost, at: &str, word: &'static str) {
    let listener = host.tcp_listen(at.parse().unwrap()).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while stream.read(&mut buffer).is_ok_and(|n| n > 0) {
                    if stream.write_all(word.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn ask(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"who?")?;
    answer(stream)
}

fn answer(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut buffer = [0; 64];
    let length = stream.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Returns the number of resets that the kernel wanted to send, including those that a rule
/// dropped.
fn resets(host: &LabHost) -> u64 {
    let mut command = Command::new("cat");
    command.arg("/proc/net/snmp");
    let shown = host.run(command).unwrap();
    let mut lines = shown.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|name| name == "OutRsts").unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

fn both_ends(scene: &PassageFixture, address: IpAddr, own: IpAddr) -> (Passage, Passage) {
    let quiet = Passage {
        table: Passage::name("test"),
        quiet: vec![Quiet {
            address,
            instead: Some(own),
        }],
        ..Passage::default()
    };
    let passes = Passage {
        table: Passage::name_of_passes("test"),
        passes: vec![Passes {
            address,
            to: own,
            by: index(&scene.new),
        }],
        ..Passage::default()
    };
    (quiet, passes)
}

fn offer(address: IpAddr) -> Passage {
    Passage {
        table: Passage::name_of_offer("test"),
        offered: vec![address],
        ..Passage::default()
    }
}

fn set_neighbour(scene: &PassageFixture, vip: &str, owner: &LabHost) {
    let mac = mac(owner);
    let entry = ["neigh", "replace", vip, "lladdr", &mac, "dev", "eth0"];
    scene.client.ip(&entry).unwrap();
}

/// A neighbour heard the new owner, and then the old one: the old one drops segments of unknown
/// connections, and the client sends them again.
fn send_to_old_owner_first(scene: &PassageFixture, vip: &str, stream: &mut TcpStream) {
    let reset = resets(&scene.old);
    set_neighbour(scene, vip, &scene.old);
    stream.write_all(b"?").unwrap();
    assert!(lab::eventually(PATIENCE, || resets(&scene.old) > reset));
    set_neighbour(scene, vip, &scene.new);
    assert_eq!(answer(stream).unwrap(), "new");
}

/// Hands the address over manually. Sends requests on the old connection and on a new one, and
/// again on the old one after forwarding has ended.
fn hand_over(name: &str, vip: &str, old_own: &str) {
    let scene = scene(name);
    let address: IpAddr = vip.parse().unwrap();
    let own: IpAddr = old_own.parse().unwrap();
    let any = if address.is_ipv6() {
        "[::]:80"
    } else {
        "0.0.0.0:80"
    };
    serve(&scene.old, any, "old");
    serve(&scene.new, any, "new");
    let at = std::net::SocketAddr::new(address, 80);
    let mut before = scene.client.tcp_connect(at, PATIENCE).unwrap();
    assert_eq!(ask(&mut before).unwrap(), "old");
    let (quiet, passes) = both_ends(&scene, address, own);
    let offer = offer(address);
    scene.old.enter(|| offer.apply().unwrap());
    // A second call replaces the table that another process may have left.
    scene.new.enter(|| passes.apply().unwrap());
    scene.new.enter(|| passes.apply().unwrap());
    let prefix = if address.is_ipv6() { 64 } else { 24 };
    let whole = format!("{vip}/{prefix}");
    scene
        .new
        .ip(&["address", "add", &whole, "dev", "eth0", "nodad"])
        .unwrap();
    set_neighbour(&scene, vip, &scene.new);
    let mut early = scene.client.tcp_connect(at, PATIENCE).unwrap();
    assert_eq!(ask(&mut early).unwrap(), "new");
    // From the offer on, a packet that reaches the old owner first breaks no connection of the new
    // one.
    send_to_old_owner_first(&scene, vip, &mut early);
    scene.old.enter(|| quiet.apply().unwrap());
    scene.old.enter(|| offer.remove_tables().unwrap());
    // With empty neighbour caches, only the new owner replies to a request.
    for host in [&scene.client, &scene.old] {
        host.ip(&["neigh", "flush", "all"]).unwrap();
    }
    let known = || scene.client.ip(&["neigh", "show", vip]).unwrap();
    for _ in 0..5 {
        scene.client.ip(&["neigh", "flush", "all"]).unwrap();
        let mut fresh = scene.client.tcp_connect(at, PATIENCE).unwrap();
        assert_eq!(ask(&mut fresh).unwrap(), "new");
        assert_eq!(mac_in(&known(), "lladdr"), Some(mac(&scene.new)));
    }
    // The old owner no longer knows the client's MAC and sends its request with its own address.
    scene.old.ip(&["neigh", "flush", "all"]).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&mut before).unwrap(), "old");
    }
    assert_eq!(mac_in(&known(), "lladdr"), Some(mac(&scene.new)));
    let mut after = scene.client.tcp_connect(at, PATIENCE).unwrap();
    assert_eq!(ask(&mut after).unwrap(), "new");
    assert_eq!(ask(&mut before).unwrap(), "old");
    // A neighbour that heard the old owner last loses no connection of the new owner.
    send_to_old_owner_first(&scene, vip, &mut after);
    // After the end, forwarded connections are lost and new ones continue.
    scene.new.enter(|| passes.remove_tables().unwrap());
    assert!(ask(&mut before).is_err());
    assert_eq!(ask(&mut after).unwrap(), "new");
    scene
        .old
        .ip(&["address", "delete", &whole, "dev", "eth0"])
        .unwrap();
    assert!(scene.old.enter(|| Passage::remove(&quiet.table).unwrap()));
    assert!(!scene.old.enter(|| Passage::remove(&quiet.table).unwrap()));
    scene.new.enter(|| passes.remove_tables().unwrap());
}

#[test]
fn connections_of_before_go_on_at_the_old_owner_and_new_ones_are_the_new_owners() {
    lab::skip_unless_root!();
    hand_over("kernel-passage", "10.0.0.100", "10.0.0.1");
}

#[test]
fn connections_of_ipv6_go_on_at_the_old_owner_too() {
    lab::skip_unless_root!();
    hand_over("kernel-passage-6", "fd00::100", "fd00::1");
}

fn connect_from(scene: &PassageFixture, port: u16, at: SocketAddrV4) -> TcpStream {
    scene.client.enter(|| {
        let fd = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseaddr(&fd, true).unwrap();
        let own = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        net::bind(&fd, &own).unwrap();
        net::connect(&fd, &at).unwrap();
        TcpStream::from(fd)
    })
}

fn nft(host: &LabHost, line: &str) {
    let mut command = Command::new("nft");
    host.run({
        command.args(line.split_whitespace());
        command
    })
    .unwrap();
}

#[test]
fn what_connection_tracking_remembers_of_an_older_connection_does_not_matter() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("nft");
    const PORT: u16 = 40_000;
    let scene = scene("kernel-passage-stale");
    let at = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 100), 80);
    serve(&scene.old, "0.0.0.0:80", "old");
    serve(&scene.new, "0.0.0.0:80", "new");
    let vip = |host: &LabHost, verb: &str| {
        host.ip(&["address", verb, "10.0.0.100/24", "dev", "eth0"])
            .unwrap();
        scene.client.ip(&["neigh", "flush", "all"]).unwrap();
    };
    // The new owner has tracked a connection from this port, and did not see its end.
    vip(&scene.old, "delete");
    vip(&scene.new, "add");
    nft(&scene.new, "add table ip tracks");
    nft(
        &scene.new,
        "add chain ip tracks in { type filter hook input priority 0 ; }",
    );
    nft(&scene.new, "add rule ip tracks in ct state new counter");
    let mut tracked = connect_from(&scene, PORT, at);
    assert_eq!(ask(&mut tracked).unwrap(), "new");
    nft(&scene.new, "delete table ip tracks");
    sockopt::set_socket_linger(&tracked, Some(Duration::ZERO)).unwrap();
    drop(tracked);
    vip(&scene.new, "delete");
    vip(&scene.old, "add");
    // The same port is used again, at the old owner, and the address moves.
    let mut before = connect_from(&scene, PORT, at);
    assert_eq!(ask(&mut before).unwrap(), "old");
    let (quiet, passes) = both_ends(&scene, (*at.ip()).into(), Ipv4Addr::new(10, 0, 0, 1).into());
    scene.new.enter(|| passes.apply().unwrap());
    vip(&scene.new, "add");
    scene.old.enter(|| quiet.apply().unwrap());
    scene.client.ip(&["neigh", "flush", "all"]).unwrap();
    assert_eq!(ask(&mut before).unwrap(), "old");
}

#[test]
fn connections_that_sockets_have_stay_where_the_address_comes_back_to() {
    lab::skip_unless_root!();
    let scene = scene("kernel-passage-own");
    serve(&scene.old, "[::]:80", "old");
    serve(&scene.new, "[::]:80", "new");
    // Both hosts have the address, and all neighbours know `old`. Connections of `old` stay there,
    // and the rest is forwarded to `new`, which does not know them.
    scene
        .new
        .sysctl("net/ipv4/conf/all/arp_ignore", "8")
        .unwrap();
    scene
        .new
        .ip(&["address", "add", "10.0.0.100/24", "dev", "eth0"])
        .unwrap();
    for (vip, other) in [("10.0.0.100", "10.0.0.2"), ("fd00::100", "fd00::2")] {
        let address: IpAddr = vip.parse().unwrap();
        let at = std::net::SocketAddr::new(address, 80);
        let mut connections: Vec<TcpStream> = (0..600)
            .map(|_| scene.client.tcp_connect(at, PATIENCE).unwrap())
            .collect();
        let passage = Passage {
            table: Passage::name_of_passes("test"),
            passes: vec![Passes {
                address,
                to: other.parse().unwrap(),
                by: index(&scene.old),
            }],
            keeps_own: true,
            ..Passage::default()
        };
        scene.old.enter(|| passage.apply().unwrap());
        connections.push(scene.client.tcp_connect(at, PATIENCE).unwrap());
        for stream in &mut connections {
            assert_eq!(ask(stream).unwrap(), "old");
        }
        let forgets = Passage {
            keeps_own: false,
            ..passage
        };
        scene.old.enter(|| forgets.apply().unwrap());
        if address.is_ipv4() {
            assert!(ask(&mut connections[0]).is_err(), "it was passed on");
        }
        scene.old.enter(|| forgets.remove_tables().unwrap());
    }
}

#[test]
fn it_says_whether_the_kernel_can_and_leaves_nothing() {
    lab::skip_unless_root!();
    let lab = Lab::new("kernel-passage-can").unwrap();
    let host = lab.host("a").unwrap();
    host.enter(|| Passage::probe_kernel_support().unwrap());
    let own = Passage::name(&std::process::id().to_string());
    assert!(!host.enter(|| Passage::remove(&own).unwrap()));
}

#[test]
fn the_kernel_is_asked_without_a_table_that_a_killed_process_would_leave() {
    lab::skip_unless_root!();
    let lab = Lab::new("kernel-passage-killed").unwrap();
    let host = lab.host("a").unwrap();
    host.enter(|| {
        let news = net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::NONBLOCK,
            Some(netlink::NETFILTER),
        )
        .unwrap();
        // NFNLGRP_NFTABLES of the kernel's uapi/linux/netfilter/nfnetlink.h.
        net::bind(&news, &SocketAddrNetlink::new(0, 1 << 6)).unwrap();
        let mut event = [0; 4096];
        let mut has_news = || net::recv(&news, &mut event, RecvFlags::empty()).is_ok();
        Passage::probe_kernel_support().unwrap();
        assert!(!has_news(), "a table was made");
        let table = Passage {
            table: Passage::name("test"),
            quiet: vec![Quiet {
                address: Ipv4Addr::LOCALHOST.into(),
                instead: None,
            }],
            ..Passage::default()
        };
        table.apply().unwrap();
        assert!(has_news());
    });
}
