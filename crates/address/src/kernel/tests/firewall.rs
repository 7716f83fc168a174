//! Tests which packets the filter drops.

use super::super::{Firewall, Kernel, VmacKind, VmacSpec};
use crate::config::*;
use lab::{Lab, LabHost, eventually};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

fn bound(host: &LabHost, at: &str) -> UdpSocket {
    let socket = host.udp_bind(at.parse().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Returns how long to wait for a packet that must arrive, or for one that must not.
fn patience(comes: bool) -> Duration {
    if comes {
        Duration::from_secs(60)
    } else {
        Duration::from_millis(1500)
    }
}

/// Returns whether a packet to an address arrives, and a response from it comes back, if and only
/// if it should.
fn answers(client: &UdpSocket, server: &UdpSocket, should: bool) -> bool {
    let to: SocketAddr = server.local_addr().unwrap();
    let mut buffer = [0; 16];
    while client.recv(&mut buffer).is_ok() {}
    eventually(patience(should), || {
        let _ = client.send_to(b"ask", to);
        if let Ok((_, from)) = server.recv_from(&mut [0; 16]) {
            let _ = server.send_to(b"answer", from);
        }
        client.recv(&mut buffer).is_ok()
    })
}

#[test]
fn packets_to_a_refused_address_are_dropped_and_others_are_not() {
    lab::skip_unless_root!();
    let lab = Lab::new("kernel-refuse").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let link = lab.link(&a, &b).unwrap();
    for address in ["10.9.0.2/24", "2001:db8:9::2/64"] {
        link.b.address(address).unwrap();
    }
    let own = ["10.9.0.1", "10.9.0.9", "2001:db8:9::1", "2001:db8:9::9"];
    for address in own {
        let prefix = if address.contains(':') { 64 } else { 24 };
        link.a.address(&format!("{address}/{prefix}")).unwrap();
    }
    let at = |a: &str| {
        if a.contains(':') {
            format!("[{a}]:7000")
        } else {
            format!("{a}:7000")
        }
    };
    let servers = own.map(|address| bound(&a, &at(address)));
    let clients = ["10.9.0.2", "2001:db8:9::2"].map(|address| bound(&b, &at(address)));
    let reached = |expected: [bool; 4]| {
        let all = [0, 1, 2, 3].map(|n: usize| answers(&clients[n / 2], &servers[n], expected[n]));
        assert_eq!(all, expected);
    };
    reached([true; 4]);
    let wall = Firewall {
        table: "test".to_owned(),
        refused: vec![
            ("10.9.0.9".parse().unwrap(), None),
            ("2001:db8:9::9".parse().unwrap(), None),
        ],
        quiet: Vec::new(),
        priority: Some(-5),
        counters: true,
    };
    a.enter(|| wall.apply().unwrap());
    reached([true, false, true, false]);
    // A second call replaces the rules instead of adding to them.
    let less = Firewall {
        refused: wall.refused[..1].to_vec(),
        ..wall.clone()
    };
    a.enter(|| less.apply().unwrap());
    reached([true, false, true, true]);
    a.enter(|| Firewall::remove("test").unwrap());
    a.enter(|| Firewall::remove("test").unwrap());
    reached([true; 4]);
}

#[test]
fn a_link_local_address_is_refused_on_its_interface_only() {
    lab::skip_unless_root!();
    let lab = Lab::new("kernel-refuse-ll").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let link = lab.link(&a, &b).unwrap();
    link.a.address("fe80::9/64").unwrap();
    link.b.address("fe80::2/64").unwrap();
    let index = |host: &LabHost| host.enter(|| Kernel::open().unwrap().index_of("eth0").unwrap());
    let (at_a, at_b) = (index(&a), index(&b));
    let server = bound(&a, &format!("[fe80::9%{at_a}]:7000"));
    let client = bound(&b, &format!("[fe80::2%{at_b}]:7000"));
    let reaches = |should: bool| {
        let to: SocketAddr = format!("[fe80::9%{at_b}]:7000").parse().unwrap();
        eventually(patience(should), || {
            let _ = client.send_to(b"ask", to);
            server.recv(&mut [0; 16]).is_ok()
        })
    };
    let wall = |interface| Firewall {
        table: "test".to_owned(),
        refused: vec![("fe80::9".parse().unwrap(), Some(interface))],
        quiet: Vec::new(),
        ..Firewall::default()
    };
    assert!(reaches(true));
    a.enter(|| wall(at_a + 100).apply().unwrap());
    assert!(reaches(true));
    a.enter(|| wall(at_a).apply().unwrap());
    while server.recv(&mut [0; 16]).is_ok() {}
    assert!(!reaches(false));
}

/// Returns an instance on `eth0` with an address, a link-local one and one on another interface.
fn instance(name: &str, vrid: u8, priority: u8, accept: bool) -> Instance {
    let address = |text: &str, interface: Option<&str>| {
        let mut address = super::addresses::plain(text, 64);
        address.interface = interface.map(str::to_owned);
        address
    };
    Instance {
        name: name.to_owned(),
        interface: "eth0".to_owned(),
        vrid,
        priority,
        ipv6: true,
        transport: InstanceTransport::Multicast {
            group: "ff02::12".parse().unwrap(),
        },
        addresses: vec![address(&format!("fe80::{vrid}"), None)],
        excluded: vec![
            address(&format!("2001:db8::{vrid}"), None),
            address(&format!("fe80::1:{vrid}"), Some("eth1")),
            address(&format!("fe80::2:{vrid}"), Some("gone")),
        ],
        options: Options {
            accept,
            version: 3,
            ..Options::default()
        },
        ..Instance::default()
    }
}

#[test]
fn addresses_of_no_accept_are_refused_unless_this_machine_is_their_owner() {
    let mut virtual_one = instance("c", 53, 100, false);
    virtual_one.vmac = Some(Vmac::default());
    let config = Config {
        dialect: Dialect::Keepalived,
        instances: vec![
            instance("a", 51, 100, true),
            instance("b", 52, 255, false),
            virtual_one,
            instance("d", 54, 100, false),
        ],
        ..Config::default()
    };
    let index = |name: &str| match name {
        "eth0" => Some(2),
        "eth1" => Some(3),
        "vrrp6.53" => Some(9),
        _ => None,
    };
    let wall = Firewall::for_configuration(&config, &[(9, 2)], index);
    let ip = |text: &str| text.parse().unwrap();
    assert_eq!(
        (wall.table.as_str(), &wall.quiet[..]),
        ("keepalived", &[(9, 2)][..])
    );
    assert_eq!(
        wall.refused,
        [
            (ip("fe80::53"), Some(9)),
            (ip("2001:db8::53"), None),
            (ip("fe80::1:53"), Some(3)),
            (ip("fe80::54"), Some(2)),
            (ip("2001:db8::54"), None),
            (ip("fe80::1:54"), Some(3)),
        ]
    );
}

/// Returns the source MACs of the group reports that `b` received.
fn reporters(frames: &rustix::fd::OwnedFd) -> Vec<[u8; 6]> {
    let mut all = Vec::new();
    let mut frame = [0; 2048];
    while let Ok((length, _)) =
        rustix::net::recv(frames, &mut frame[..], rustix::net::RecvFlags::DONTWAIT)
    {
        let igmp = length > 34 && frame[12..14] == [8, 0] && frame[23] == 2;
        if igmp {
            all.push(frame[6..12].try_into().unwrap());
        }
    }
    all
}

#[test]
fn group_reports_of_a_virtual_interface_go_out_by_the_one_below() {
    lab::skip_unless_root!();
    let lab = Lab::new("kernel-quiet").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let link = lab.link(&a, &b).unwrap();
    link.a.address("10.9.0.1/24").unwrap();
    let frames = b.enter(|| {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, eth, socket_with};
        let (raw, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
        socket_with(AddressFamily::PACKET, raw, flags, Some(eth::ALL)).unwrap()
    });
    let mac = VmacSpec::mac(51, false);
    let (vmac, base) = a.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let base = kernel.link("eth0").unwrap().unwrap();
        let spec = VmacSpec {
            name: "vrrp.51".to_owned(),
            base: base.index,
            kind: VmacKind::Macvlan { mac },
            ipv6: false,
            vrf: None,
        };
        let vmac = kernel.create_vmac(&spec).unwrap().link;
        let quiet = vec![(vmac.index, base.index)];
        Firewall {
            table: "test".to_owned(),
            refused: Vec::new(),
            quiet,
            ..Firewall::default()
        }
        .apply()
        .unwrap();
        (vmac, base)
    });
    let socket = a.udp_bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let _ = reporters(&frames);
    let join = |group: &str| {
        let group = group.parse().unwrap();
        let any = std::net::Ipv4Addr::UNSPECIFIED;
        let index = vmac.index;
        rustix::net::sockopt::set_ip_add_membership_with_ifindex(&socket, &group, &any, index)
            .unwrap();
    };
    join("239.1.1.1");
    let mut heard = Vec::new();
    let came = eventually(PATIENCE, || {
        heard.extend(reporters(&frames));
        !heard.is_empty()
    });
    assert!(came);
    assert!(
        heard.iter().all(|from| Some(*from) == base.mac),
        "{heard:x?}"
    );
    // Without the table the reports come from the virtual MAC, which shows that the test can fail.
    a.enter(|| Firewall::remove("test").unwrap());
    join("239.1.1.2");
    assert!(eventually(PATIENCE, || reporters(&frames).contains(&mac)));
}
