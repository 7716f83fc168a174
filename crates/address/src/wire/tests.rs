//! Tests sockets for adverts between network namespaces.

use super::*;
use lab::{Lab, LabHost, eventually};
use std::net::IpAddr;
use std::time::Duration;

/// Timeout that no step exceeds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two hosts connected by a cable, with addresses of both families.
struct WireHostPair {
    _lab: Lab,
    a: LabHost,
    b: LabHost,
}

impl WireHostPair {
    fn new(name: &str) -> WireHostPair {
        let lab = Lab::new(name).unwrap();
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        let link = lab.link(&a, &b).unwrap();
        for (end, n) in [(&link.a, 1), (&link.b, 2)] {
            end.address(&format!("10.9.0.{n}/24")).unwrap();
            end.address(&format!("2001:db8:9::{n}/64")).unwrap();
            end.address(&format!("fe80::{n}/64")).unwrap();
        }
        WireHostPair { _lab: lab, a, b }
    }
}

/// Returns `eth0` of the host in whose namespace this thread is.
fn eth0() -> (u32, String) {
    let index = crate::kernel::Kernel::open()
        .unwrap()
        .index_of("eth0")
        .unwrap();
    (index, "eth0".to_owned())
}

fn multicast(ipv6: bool) -> VrrpOptions {
    let group = ip(if ipv6 { "ff02::12" } else { "224.0.0.18" });
    VrrpOptions {
        ipv6,
        interface: Some(eth0()),
        transport: VrrpTransport::Multicast { group },
        authenticated: false,
        receive_buffer_bytes: Some(1 << 20),
    }
}

fn unicast(local: Option<&str>, ttl: Option<u8>) -> VrrpOptions {
    VrrpOptions {
        interface: None,
        transport: VrrpTransport::Unicast {
            local: local.map(ip),
            ttl,
        },
        ipv6: local.is_some_and(|l| l.contains(':')),
        authenticated: false,
        receive_buffer_bytes: None,
    }
}

fn open(host: &LabHost, options: impl FnOnce() -> VrrpOptions + Send) -> VrrpSocket {
    host.enter(|| VrrpSocket::open(&options()).unwrap())
}

/// A received packet: bytes, source, destination, TTL, interface.
type ReceivedPacket = (Vec<u8>, IpAddr, IpAddr, u8, u32);

/// Waits until `count` packets have arrived.
fn heard(socket: &mut VrrpSocket, count: usize) -> Vec<ReceivedPacket> {
    let mut all = Vec::new();
    // The caller reports missing packets.
    let _ = eventually(PATIENCE, || {
        let each = |r: Received<'_>| {
            all.push((
                r.bytes.to_vec(),
                r.source,
                r.destination,
                r.ttl,
                r.interface,
            ));
        };
        socket.drain(each).unwrap();
        all.len() >= count
    });
    all
}

#[test]
fn a_packet_to_the_group_arrives_with_its_source_ttl_and_interface_and_not_at_its_sender() {
    lab::skip_unless_root!();
    let pair = WireHostPair::new("wire-group");
    for (ipv6, source, group) in [
        (false, "10.9.0.1", "224.0.0.18"),
        (true, "fe80::1", "ff02::12"),
    ] {
        let mut a = open(&pair.a, || multicast(ipv6));
        let mut b = open(&pair.b, || multicast(ipv6));
        a.send(Some(ip(source)), ip(group), b"an advert").unwrap();
        let came = heard(&mut b, 1);
        let wanted = (
            b"an advert".to_vec(),
            ip(source),
            ip(group),
            255,
            b.interface(),
        );
        assert_eq!(came, [wanted]);
        // A packet that came back to its sender would have arrived before the answer.
        b.send(None, ip(group), b"answer").unwrap();
        let back = heard(&mut a, 1);
        assert_eq!(back.len(), 1);
        assert_eq!((&back[0].0[..], back[0].3), (&b"answer"[..], 255));
    }
}

#[test]
fn a_packet_to_a_peer_has_the_ttl_that_was_asked_for_and_only_its_address_hears_it() {
    lab::skip_unless_root!();
    let pair = WireHostPair::new("wire-peer");
    for (one, two, other) in [
        ("10.9.0.1", "10.9.0.2", "10.9.0.7"),
        ("2001:db8:9::1", "2001:db8:9::2", "2001:db8:9::7"),
    ] {
        let a = open(&pair.a, || unicast(Some(one), Some(64)));
        let mut b = open(&pair.b, || unicast(Some(two), None));
        // A socket can listen on an address that does not exist yet.
        let mut none = open(&pair.b, || unicast(Some(other), None));
        a.send(Some(ip(one)), ip(two), b"hello").unwrap();
        let came = heard(&mut b, 1);
        assert_eq!(came.len(), 1);
        let (bytes, source, destination, ttl, interface) = &came[0];
        assert_eq!(bytes, b"hello");
        assert_eq!((*source, *destination, *ttl), (ip(one), ip(two), 64));
        assert_ne!(*interface, 0);
        assert_eq!(none.drain(|_| ()).unwrap(), 0);
    }
    let a = open(&pair.a, || unicast(None, None));
    assert!(matches!(
        a.send(None, ip("fe80::2"), b""),
        Err(WireError::Family)
    ));
}

#[test]
fn a_virtual_interface_sends_with_its_mac_and_an_address_of_the_one_below() {
    lab::skip_unless_root!();
    use crate::kernel::{Kernel, VmacKind, VmacSpec};
    let pair = WireHostPair::new("wire-vmac");
    for (ipv6, source, group) in [
        (false, "10.9.0.1", "224.0.0.18"),
        (true, "fe80::1", "ff02::12"),
    ] {
        let mac = VmacSpec::mac(51, ipv6);
        let a = pair.a.enter(|| {
            let mut kernel = Kernel::open().unwrap();
            let name = VmacSpec::name(51, ipv6);
            let kind = VmacKind::Macvlan { mac };
            let base = eth0().0;
            let spec = VmacSpec {
                name: name.clone(),
                base,
                kind,
                ipv6,
                vrf: None,
            };
            let vmac = kernel.create_vmac(&spec).unwrap();
            let interface = Some((vmac.link.index, name));
            VrrpSocket::open(&VrrpOptions {
                interface,
                ..multicast(ipv6)
            })
            .unwrap()
        });
        let mut a = a;
        let mut b = open(&pair.b, || multicast(ipv6));
        let frames = pair.b.enter(|| {
            use rustix::net::{AddressFamily, SocketFlags, SocketType, eth, socket_with};
            let (raw, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
            socket_with(AddressFamily::PACKET, raw, flags, Some(eth::ALL)).unwrap()
        });
        a.send(Some(ip(source)), ip(group), b"virtual").unwrap();
        let came = heard(&mut b, 1);
        assert_eq!(
            (&came[0].0[..], came[0].1, came[0].3),
            (&b"virtual"[..], ip(source), 255)
        );
        let mut from = Vec::new();
        let mut frame = [0; 2048];
        while let Ok((length, _)) =
            rustix::net::recv(&frames, &mut frame[..], rustix::net::RecvFlags::DONTWAIT)
        {
            if frame[..length].ends_with(b"virtual") {
                from.push(frame[6..12].to_vec());
            }
        }
        assert_eq!(from, [mac.to_vec()]);
        b.send(None, ip(group), b"to the virtual one").unwrap();
        assert_eq!(heard(&mut a, 1)[0].0, b"to the virtual one");
    }
}

#[test]
fn a_flood_is_handed_out_in_bounded_pieces() {
    lab::skip_unless_root!();
    let pair = WireHostPair::new("wire-flood");
    let a = open(&pair.a, || multicast(false));
    let mut b = open(&pair.b, || multicast(false));
    for n in 0..600_u32 {
        a.send(None, ip("224.0.0.18"), &n.to_be_bytes()).unwrap();
    }
    let mut all = Vec::new();
    let enough = eventually(PATIENCE, || {
        let count = b.drain(|r| all.push(r.bytes.to_vec())).unwrap();
        assert!(count < DRAINED_AT_MOST + 32, "{count}");
        all.len() >= 600
    });
    assert!(enough, "only {} came", all.len());
    let sent: Vec<_> = (0..600_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(all, sent);
}

#[test]
fn an_interface_that_goes_down_is_no_end_and_one_that_is_deleted_does_not_spin() {
    lab::skip_unless_root!();
    let pair = WireHostPair::new("wire-down");
    let a = open(&pair.a, || multicast(false));
    let mut b = open(&pair.b, || multicast(false));
    pair.b.ip(&["link", "set", "eth0", "down"]).unwrap();
    // The error is reported once or not at all; then there is nothing to read.
    b.drain(|_| ()).unwrap();
    assert_eq!(b.drain(|_| ()).unwrap(), 0);
    assert!(matches!(
        b.send(None, ip("224.0.0.18"), b"x"),
        Err(WireError::Send(_))
    ));
    pair.b.ip(&["link", "set", "eth0", "up"]).unwrap();
    let back = eventually(PATIENCE, || {
        let _ = a.send(Some(ip("10.9.0.1")), ip("224.0.0.18"), b"again");
        let mut came = 0;
        b.drain(|_| came += 1).unwrap();
        came > 0
    });
    assert!(back);
    pair.b.ip(&["link", "delete", "eth0"]).unwrap();
    let end = eventually(PATIENCE, || !matches!(b.drain(|_| ()), Ok(n) if n > 0));
    assert!(end);
}

#[test]
fn an_authenticated_packet_arrives_as_it_was_sealed() {
    lab::skip_unless_root!();
    use protocol::vrrp::advert::ah::{self, Envelope};
    let pair = WireHostPair::new("wire-ah");
    let sealed = || VrrpOptions {
        authenticated: true,
        ..multicast(false)
    };
    let (a, mut b) = (open(&pair.a, sealed), open(&pair.b, sealed));
    let key = b"0123456789abcdef";
    let envelope = Envelope {
        from: "10.9.0.1".parse().unwrap(),
        to: "224.0.0.18".parse().unwrap(),
        ttl: 255,
        identification: 7,
    };
    let packet = ah::seal(key, &envelope, 1, b"an advert");
    a.send(None, ip("224.0.0.18"), &packet).unwrap();
    let mut came = Vec::new();
    assert!(eventually(PATIENCE, || {
        b.drain(|r| came.push(r.packet.to_vec())).unwrap();
        !came.is_empty()
    }));
    assert_eq!(came, [packet]);
    let opened = ah::open(key, &came[0]).unwrap();
    assert_eq!(
        (opened.advert, opened.envelope),
        (&b"an advert"[..], envelope)
    );
}

fn keepalived(
    host: &LabHost,
    file: &lab::ScratchDirectory,
    state: &str,
    body: &str,
) -> lab::LabProcess {
    let config = format!(
        "global_defs {{\n router_id x\n}}\nvrrp_instance VI_1 {{\n interface eth0\n \
         state {state}\n virtual_router_id 51\n advert_int 1\n {body}\n}}\n"
    );
    let path = file.path().join("keepalived.conf");
    std::fs::write(&path, config).unwrap();
    let mut command = std::process::Command::new("keepalived");
    command.args(["-n", "-P", "-l", "-f"]).arg(&path);
    for (option, name) in [("-p", "one.pid"), ("-r", "two.pid")] {
        command.arg(option).arg(file.path().join(name));
    }
    let said = std::fs::File::create(file.path().join("said")).unwrap();
    command.stderr(said);
    host.spawn(command).unwrap()
}

#[test]
fn adverts_of_a_real_keepalived_are_heard_and_it_obeys_ours() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("keepalived");
    let cases = [
        (
            false,
            "priority 10\n virtual_ipaddress {\n 10.9.0.100/24\n }",
        ),
        (true, "priority 10\n virtual_ipaddress {\n fe80::51\n }"),
    ];
    for (ipv6, body) in cases {
        let pair = WireHostPair::new("wire-keepalived");
        let scratch = lab::ScratchDirectory::new().unwrap();
        let mut ours = open(&pair.a, || multicast(ipv6));
        let theirs = keepalived(&pair.b, &scratch, "MASTER", body);
        let mut adverts = Vec::new();
        assert!(eventually(PATIENCE, || {
            ours.drain(|r| adverts.push((r.bytes.to_vec(), r.source, r.ttl)))
                .unwrap();
            !adverts.is_empty()
        }));
        let (bytes, source, ttl) = adverts[0].clone();
        let there = ip(if ipv6 { "fe80::2" } else { "10.9.0.2" });
        assert_eq!((bytes[1], source, ttl), (51, there, 255));
        // The same advert with the highest priority: the other kernel accepts it as a packet of
        // keepalived's kind, and keepalived gives way.
        let group = ip(if ipv6 { "ff02::12" } else { "224.0.0.18" });
        let from = ip(if ipv6 { "fe80::1" } else { "10.9.0.1" });
        let mut louder = bytes;
        louder[2] = 200;
        let said = || std::fs::read_to_string(scratch.path().join("said")).unwrap();
        let obeyed = eventually(PATIENCE, || {
            let mut packet = louder.clone();
            checksum(&mut packet, from, group);
            ours.send(Some(from), group, &packet).unwrap();
            said().contains("(VI_1) Entering BACKUP STATE")
        });
        assert!(obeyed, "{}", said());
        drop(theirs);
    }
}

/// Writes the checksum of a packet of version 2 (IPv4) or 3 (IPv6), computed independently.
fn checksum(packet: &mut [u8], from: IpAddr, to: IpAddr) {
    packet[6..8].fill(0);
    let mut all = packet.to_vec();
    if let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) {
        all.extend(from.octets());
        all.extend(to.octets());
        all.extend([0, packet.len() as u8, 0, 112]);
    }
    let mut sum: u32 = all
        .chunks(2)
        .map(|p| u32::from(p[0]) << 8 | u32::from(p[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn arp() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend([
        2, 0, 0, 0, 0, 1, 10, 9, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 10, 9, 0, 1,
    ]);
    frame
}

/// Returns an ICMPv6 packet of a type to all nodes. Its checksum is not computed.
fn icmp6(kind: u8, next_header: u8) -> Vec<u8> {
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    frame.extend([0x60, 0, 0, 0, 0, 24, next_header, 255]);
    frame.extend("fe80::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    frame.extend("ff02::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    frame.extend([kind, 0, 0, 0, 0x20, 0, 0, 0]);
    frame.extend(
        "2001:db8:9::77"
            .parse::<std::net::Ipv6Addr>()
            .unwrap()
            .octets(),
    );
    frame
}

fn frames(socket: &mut PacketSocket, last: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let came = eventually(PATIENCE, || {
        socket
            .drain(|frame| all.push(frame.bytes.to_vec()))
            .unwrap();
        all.iter().any(|frame| frame == last)
    });
    assert!(came, "{all:x?}");
    all
}

#[test]
fn frames_of_arp_pass_both_ways_and_ours_do_not_come_back() {
    lab::skip_unless_root!();
    let pair = WireHostPair::new("wire-arp");
    let open = |host: &LabHost| host.enter(|| PacketSocket::open(eth0().0, false).unwrap());
    let (mut a, mut b) = (open(&pair.a), open(&pair.b));
    let end = [&arp()[..], &[0; 18]].concat();
    a.send(&arp()).unwrap();
    a.send(&end).unwrap();
    assert!(frames(&mut b, &end).contains(&arp()));
    let mut own = Vec::new();
    a.drain(|frame| own.push(frame.bytes.to_vec())).unwrap();
    assert!(!own.contains(&arp()));
    assert!(matches!(a.send(&[0; 4]), Err(WireError::Send(_))));
}

#[test]
fn of_ipv6_only_solicitations_and_advertisements_of_neighbours_come_through() {
    lab::skip_unless_root!();
    let pair = WireHostPair::new("wire-nd");
    let open = |host: &LabHost| host.enter(|| PacketSocket::open(eth0().0, true).unwrap());
    let (a, mut b) = (open(&pair.a), open(&pair.b));
    for frame in [
        icmp6(128, 58),
        icmp6(133, 58),
        icmp6(136, 17),
        icmp6(135, 58),
        icmp6(136, 58),
    ] {
        a.send(&frame).unwrap();
    }
    let came = frames(&mut b, &icmp6(136, 58));
    assert!(came.contains(&icmp6(135, 58)));
    for frame in [icmp6(128, 58), icmp6(133, 58), icmp6(136, 17)] {
        assert!(!came.contains(&frame), "{frame:x?}");
    }
}

#[test]
fn what_cannot_be_opened_says_at_which_step() {
    lab::skip_unless_root!();
    let pair = WireHostPair::new("wire-steps");
    pair.a.enter(|| {
        let fails = |options: &VrrpOptions| VrrpSocket::open(options).unwrap_err().to_string();
        let gone = VrrpOptions {
            interface: Some((99, "gone0".to_owned())),
            ..multicast(false)
        };
        assert!(fails(&gone).starts_with("SO_BINDTODEVICE: "));
        let none = VrrpOptions {
            interface: None,
            ..multicast(false)
        };
        assert!(matches!(
            VrrpSocket::open(&none),
            Err(WireError::NoInterface)
        ));
        let group = VrrpTransport::Multicast {
            group: ip("ff02::12"),
        };
        let mixed = VrrpOptions {
            transport: group,
            ..multicast(false)
        };
        assert!(matches!(VrrpSocket::open(&mixed), Err(WireError::Family)));
        assert!(PacketSocket::open(99, false).is_err());
    });
}
