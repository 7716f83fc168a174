//! Receives DHCP requests from source addresses that this host has itself.
//!
//! A client continues to use its address until it is refused, even if a node has the address
//! meanwhile. The kernel drops a packet whose source is a local address (a martian source, RFC
//! 1812, 5.3.7) before a UDP socket gets it, so its client would never be refused.

use super::packet;
use super::udp::SERVER;
use std::io;
use std::mem::zeroed;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const IPV4: u16 = 0x0800;
const HEAD_BYTES: usize = 28;
const PACKET_BYTES: usize = 2_048;
/// Maximum number of packets that are read in search of a request to this host.
const OTHERS_MAX: usize = 64;

/// Packet socket for requests at one interface whose source is an address of this host.
#[derive(Debug)]
pub struct LocalRequestSocket {
    socket: OwnedFd,
    addresses: Vec<Ipv4Addr>,
}

impl LocalRequestSocket {
    /// Opens the socket of an interface. No request arrives before [`LocalRequestSocket::set`].
    ///
    /// # Errors
    ///
    /// A system call fails: there is no such interface, or the permission is missing.
    pub fn open(interface: u32) -> io::Result<LocalRequestSocket> {
        let socket = packet::open()?;
        attach(&socket, &[])?;
        packet::bind(&socket, interface, IPV4)?;
        Ok(LocalRequestSocket {
            socket,
            addresses: Vec::new(),
        })
    }

    /// Sets the addresses of this host. Requests from the first [`packet::VALUES_MAX`] of them are
    /// received.
    ///
    /// # Errors
    ///
    /// A system call fails. The previous addresses stay.
    pub fn set(&mut self, addresses: Vec<Ipv4Addr>) -> io::Result<()> {
        if self.addresses != addresses {
            attach(&self.socket, &addresses)?;
            self.addresses = addresses;
        }
        Ok(())
    }

    /// Returns the descriptor, which is readable when a request has arrived.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Returns the next request, without blocking.
    pub fn receive(&self) -> Option<Vec<u8>> {
        for _ in 0..OTHERS_MAX {
            let mut bytes = vec![0; PACKET_BYTES];
            let (read, kind) = receive(&self.socket, &mut bytes)?;
            let is_incoming = [libc::PACKET_HOST, libc::PACKET_BROADCAST].contains(&kind);
            bytes.truncate(read);
            if let Some((to, request)) = payload(&bytes).filter(|_| is_incoming)
                && (to == Ipv4Addr::BROADCAST || self.addresses.contains(&to))
            {
                return Some(request.to_vec());
            }
        }
        None
    }
}

/// Sets the filter for requests from these addresses: unfragmented, and without IPv4 options,
/// which clients do not send.
fn attach(socket: &OwnedFd, addresses: &[Ipv4Addr]) -> io::Result<()> {
    let sources: Vec<u32> = addresses.iter().map(|one| one.to_bits()).collect();
    let wanted: [(u32, u8, &[u32]); 5] = [
        (0, 1, &[0x45]),
        (6, 2, &[0, 0x4000]),
        (9, 1, &[17]),
        (22, 2, &[SERVER as u32]),
        (12, 4, &sources),
    ];
    packet::filter(socket, &wanted)
}

fn payload(packet: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let head: &[u8; HEAD_BYTES] = packet.first_chunk()?;
    let to = Ipv4Addr::new(head[16], head[17], head[18], head[19]);
    let udp_bytes = usize::from(u16::from_be_bytes([head[24], head[25]]));
    let end = (HEAD_BYTES - 8).checked_add(udp_bytes)?;
    Some((to, packet.get(HEAD_BYTES..end)?))
}

fn receive(socket: &OwnedFd, bytes: &mut [u8]) -> Option<(usize, u8)> {
    // SAFETY: all zeros are a valid address.
    let mut from: libc::sockaddr_ll = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the buffer and the address are writable for their sizes until the call ends.
    let read = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT,
            (&raw mut from).cast(),
            &raw mut length,
        )
    };
    Some((usize::try_from(read).ok()?, from.sll_pkttype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    #[test]
    fn cut_packet_has_no_payload() {
        let mut packet = vec![0; HEAD_BYTES];
        packet[16..20].copy_from_slice(&[10, 20, 0, 2]);
        packet[25] = 11;
        packet.extend(b"abc");
        let to = Ipv4Addr::new(10, 20, 0, 2);
        assert_eq!(payload(&packet), Some((to, &b"abc"[..])));
        assert_eq!(payload(&packet[..30]), None);
        assert_eq!(payload(&packet[..27]), None);
        packet[25] = 7;
        assert_eq!(payload(&packet), None);
    }

    #[test]
    fn request_from_an_own_address_is_received() {
        if !lab::may_run("a request from an own address", lab::privileged()) {
            return;
        }
        let lab = lab::Lab::new("own-source").unwrap();
        let lan = lab.switch("lan").unwrap();
        let hosts = ["one", "two"].map(|name| lab.host(name).unwrap());
        for (host, addresses) in [
            (&hosts[0], ["10.20.0.1/24", "10.20.0.7/24"].as_slice()),
            (&hosts[1], &["10.20.0.7/24", "10.20.0.8/24"]),
        ] {
            let port = lan.attach(host).unwrap();
            for address in addresses {
                port.address(address).unwrap();
            }
        }
        let [one, two] = &hosts;
        let (server, client) = (Ipv4Addr::new(10, 20, 0, 1), Ipv4Addr::new(10, 20, 0, 7));
        let (mut own, udp) = one.enter(|| {
            let udp = super::super::udp::open("eth0", SERVER).unwrap();
            let index = rustix::net::netdevice::name_to_index(&udp, "eth0").unwrap();
            (LocalRequestSocket::open(index).unwrap(), udp)
        });
        own.set(vec![server, client]).unwrap();
        // The kernel does not reply to ARP requests from one of its own addresses: the client knows
        // the MAC address already.
        let card = one.enter(|| super::super::udp::mac_of("eth0").unwrap());
        let mut command = std::process::Command::new("ip");
        let words = format!("neigh replace {server} lladdr {card} nud permanent dev eth0");
        command.args(words.split(' '));
        two.run(command).unwrap();
        let send = |from: Ipv4Addr, words: &[u8]| {
            two.enter(|| {
                let socket = UdpSocket::bind((from, 0)).unwrap();
                let _ = socket.send_to(words, (server, SERVER));
            });
        };
        let mut found = None;
        let came = lab::eventually(Duration::from_secs(30), || {
            send(client, b"renew");
            found = own.receive();
            found.is_some()
        });
        assert!(came, "nothing came");
        assert_eq!(found.as_deref(), Some(&b"renew"[..]));
        // Packets that the UDP socket gets must not be received twice.
        let other = Ipv4Addr::new(10, 20, 0, 8);
        let mut bytes = [0; 16];
        let came = lab::eventually(Duration::from_secs(30), || {
            send(other, b"other");
            udp.recv(&mut bytes).is_ok()
        });
        assert!(came && bytes.starts_with(b"other"));
        while let Some(late) = own.receive() {
            assert_eq!(late, b"renew");
        }
    }
}
