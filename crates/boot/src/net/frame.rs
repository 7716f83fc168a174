//! Sends and receives at the packet socket of an interface (packet(7)): sends UDP over IPv4 to the
//! MAC address of a machine that has no address yet, sends ARP probes and Wake-on-LAN packets, and
//! receives ARP replies (RFC 826, 5227).

use super::packet;
use crate::mac::Mac;
use rustix::net::{RecvFlags, recv};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const WAKE: u16 = 0x0842;
/// Maximum number of other packets that are read in search of an ARP reply.
const OTHERS_MAX: usize = 4_096;
const ARP_BYTES: usize = 28;

/// Packet socket of one interface, which receives ARP replies only.
#[derive(Debug)]
pub struct PacketSockets {
    socket: OwnedFd,
    interface: u32,
}

/// Sender of an ARP reply: the MAC address that has an IPv4 address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArpSender {
    pub address: Ipv4Addr,
    pub mac: Mac,
}

impl PacketSockets {
    /// Opens the packet socket of an interface.
    ///
    /// # Errors
    ///
    /// A system call fails: there is no such interface, or the permission is missing.
    pub fn open(interface: u32) -> io::Result<PacketSockets> {
        let socket = packet::open()?;
        // Sets the filter before the socket is bound: accepts only ARP replies, since a network is
        // full of ARP requests.
        packet::filter(&socket, &[(6, 2, &[2])])?;
        packet::bind(&socket, interface, ARP)?;
        Ok(PacketSockets { socket, interface })
    }

    /// Returns the descriptor, which is readable when an ARP reply has arrived.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a UDP packet from this address and port to a MAC address, without blocking.
    ///
    /// # Errors
    ///
    /// A system call fails.
    pub fn send_udp(
        &self,
        from: SocketAddrV4,
        to: SocketAddrV4,
        mac: Mac,
        payload: &[u8],
    ) -> io::Result<()> {
        let packet = udp(from, to, payload);
        self.send(IPV4, mac, &packet)
    }

    /// Sends an ARP probe for an address, as a machine that has no address yet does (RFC 5227,
    /// 2.1.1), without blocking.
    ///
    /// # Errors
    ///
    /// A system call fails.
    pub fn send_arp_probe(&self, own: Mac, address: Ipv4Addr) -> io::Result<()> {
        let mut packet = [0; ARP_BYTES];
        // Hardware and protocol type, their lengths, and the opcode of a request.
        packet[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
        packet[8..14].copy_from_slice(&own.0);
        packet[24..28].copy_from_slice(&address.octets());
        self.send(ARP, Mac([0xff; 6]), &packet)
    }

    /// Sends a Wake-on-LAN packet (AMD's Magic Packet), without blocking: six bytes of ones, and
    /// the MAC address sixteen times.
    ///
    /// # Errors
    ///
    /// A system call fails.
    pub fn wake(&self, mac: Mac) -> io::Result<()> {
        let mut packet = vec![0xff; 6];
        (0..16).for_each(|_| packet.extend(mac.0));
        self.send(WAKE, Mac([0xff; 6]), &packet)
    }

    /// Returns the next ARP reply. None: no reply has arrived, or too many other packets have
    /// arrived before it.
    pub fn next_arp_reply(&self) -> Option<ArpSender> {
        for _ in 0..OTHERS_MAX {
            let mut packet = [0; ARP_BYTES];
            let (read, _) = recv(&self.socket, &mut packet[..], RecvFlags::DONTWAIT).ok()?;
            if let Some(owner) = owner(&packet[..read.min(ARP_BYTES)]) {
                return Some(owner);
            }
        }
        None
    }

    fn send(&self, protocol: u16, mac: Mac, packet: &[u8]) -> io::Result<()> {
        packet::send(&self.socket, self.interface, protocol, mac, packet)
    }
}

fn owner(packet: &[u8]) -> Option<ArpSender> {
    let head: &[u8; 8] = packet.first_chunk()?;
    if *head != [0, 1, 8, 0, 6, 4, 0, 2] {
        return None;
    }
    let mac: [u8; 6] = packet.get(8..14)?.try_into().ok()?;
    let address: [u8; 4] = packet.get(14..18)?.try_into().ok()?;
    Some(ArpSender {
        address: address.into(),
        mac: Mac(mac),
    })
}

fn udp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let udp_bytes = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
    let mut packet = Vec::with_capacity(payload.len() + 28);
    // Version and header length, type of service, total length; no fragments; TTL 64, UDP.
    packet.extend([0x45, 0]);
    packet.extend(udp_bytes.saturating_add(20).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    let sum = checksum(packet.chunks(2));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut datagram = Vec::with_capacity(payload.len() + 8);
    datagram.extend(from.port().to_be_bytes());
    datagram.extend(to.port().to_be_bytes());
    datagram.extend(udp_bytes.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let mut pseudo = Vec::with_capacity(12);
    pseudo.extend(from.ip().octets());
    pseudo.extend(to.ip().octets());
    pseudo.extend([0, 17]);
    pseudo.extend(udp_bytes.to_be_bytes());
    let sum = match checksum(pseudo.chunks(2).chain(datagram.chunks(2))) {
        // A checksum of zero would mean that the packet has none.
        0 => u16::MAX,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    packet.extend(datagram);
    packet
}

fn checksum<'b>(pairs: impl Iterator<Item = &'b [u8]>) -> u16 {
    let word = |pair: &[u8]| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(u16::from_be_bytes([high, 0])),
        _ => 0,
    };
    let sum: u32 = pairs.map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::udp::mac_of;
    use super::*;

    #[test]
    fn a_packet_for_a_card_has_both_checksums() {
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 20, 0, 2), 67);
        let to = SocketAddrV4::new(Ipv4Addr::new(10, 20, 0, 107), 68);
        let packet = udp(from, to, b"abc");
        let expected = [
            0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0x65, 0xfb, 10, 20, 0, 2, 10, 20, 0, 107, 0, 67, 0,
            68, 0, 11, 0x66, 0x3f, b'a', b'b', b'c',
        ];
        // A packet with its checksum sums to all ones.
        assert_eq!(checksum(packet[..20].chunks(2)), 0);
        assert_eq!(packet.len(), expected.len());
        assert_eq!(
            (&packet[..10], &packet[12..26], &packet[28..]),
            (&expected[..10], &expected[12..26], &expected[28..])
        );
        let pseudo = [10, 20, 0, 2, 10, 20, 0, 107, 0, 17, 0, 11];
        assert_eq!(checksum(pseudo.chunks(2).chain(packet[20..].chunks(2))), 0);
    }

    #[test]
    fn only_an_answer_of_arp_says_who_has_an_address() {
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 2, 0x52, 0x54, 0, 0, 0, 7, 10, 20, 0, 9];
        packet.extend([0; 10]);
        let found = ArpSender {
            address: Ipv4Addr::new(10, 20, 0, 9),
            mac: Mac([0x52, 0x54, 0, 0, 0, 7]),
        };
        assert_eq!(owner(&packet), Some(found));
        assert_eq!(owner(&packet[..17]), None);
        packet[7] = 1;
        assert_eq!(owner(&packet), None);
        assert_eq!(owner(&[]), None);
    }

    #[test]
    fn an_answer_of_arp_comes_through_the_filter_with_the_card_that_has_the_address() {
        if !lab::may_run("an answer of ARP", lab::privileged()) {
            return;
        }
        let lab = lab::Lab::new("frames").unwrap();
        let lan = lab.switch("lan").unwrap();
        let hosts = ["one", "two"].map(|name| lab.host(name).unwrap());
        for (host, address) in hosts.iter().zip(["10.20.0.1/24", "10.20.0.2/24"]) {
            lan.attach(host).unwrap().address(address).unwrap();
        }
        let [one, two] = &hosts;
        let mac = |host: &lab::LabHost| host.enter(|| mac_of("eth0").unwrap());
        let frames = one.enter(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            let index = rustix::net::netdevice::name_to_index(&socket, "eth0").unwrap();
            PacketSockets::open(index).unwrap()
        });
        let address = Ipv4Addr::new(10, 20, 0, 2);
        frames.send_arp_probe(mac(one), address).unwrap();
        let mut found = None;
        let came = lab::eventually(std::time::Duration::from_secs(30), || {
            found = frames.next_arp_reply();
            found.is_some()
        });
        assert!(came, "no answer");
        let mac = mac(two);
        assert_eq!(found, Some(ArpSender { address, mac }));
    }
}
