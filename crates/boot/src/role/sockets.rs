//! Opens the IPv4 sockets of one network, and sends responses and ARP probes by them.

use crate::dhcp::desk::{DhcpDecision, DhcpNodeAddresses};
use crate::dhcp::reply::ReplyDestination;
use crate::mac::Mac;
use crate::net::frame::PacketSockets;
use crate::net::own_source::LocalRequestSocket;
use crate::net::router::RouterSocket;
use crate::net::{batch, tcp, udp};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};

pub(super) const TFTP: u16 = 69;

/// IPv4 sockets at an interface.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) name: String,
    pub(super) index: u32,
    /// Port of the HTTP listener that is open.
    pub(super) http_port: u16,
    pub(super) mac: Mac,
    pub(super) dhcp: UdpSocket,
    pub(super) proxy: UdpSocket,
    pub(super) tftp: UdpSocket,
    pub(super) http: TcpListener,
    pub(super) frames: PacketSockets,
    /// Requests of clients that use an address of this host.
    pub(super) own_sources: LocalRequestSocket,
    /// None without IPv6 at the interface: no machine solicits routers there.
    pub(super) router: Option<RouterSocket>,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) mac: Mac,
    pub(super) to: ReplyDestination,
    /// True if its lease must be on disk first.
    pub(super) is_kept: bool,
    /// Address that the packet assigns.
    pub(super) address: Option<IpAddr>,
    pub(super) bytes: Vec<u8>,
    /// UDP port of the client.
    pub(super) port: u16,
}

impl Sockets {
    pub(super) fn open(interface: &str, index: u32, http_port: u16) -> Result<Sockets, String> {
        let failed = |what: &str, port: u16, error: io::Error| {
            let why = language::reason(&error);
            let help = match error.kind() {
                io::ErrorKind::AddrInUse if what == "DHCP" => {
                    ": another DHCP server runs on this machine"
                }
                _ => "",
            };
            format!("cannot open port {port} of {what} at {interface}: {why}{help}")
        };
        let port = |port: u16| {
            let socket = udp::open(interface, port);
            let prepared = socket.and_then(|socket| batch::prepare(&socket).map(|()| socket));
            prepared.map_err(|error| failed("DHCP", port, error))
        };
        let frames = PacketSockets::open(index);
        let frames = frames.map_err(|error| {
            format!(
                "cannot send to cards at {interface}: {}",
                language::reason(&error)
            )
        })?;
        Ok(Sockets {
            name: interface.to_owned(),
            index,
            http_port,
            mac: udp::mac_of(interface).unwrap_or(Mac([0; 6])),
            dhcp: port(udp::SERVER)?,
            proxy: port(udp::PROXY)?,
            tftp: udp::open(interface, TFTP).map_err(|error| failed("TFTP", TFTP, error))?,
            http: tcp::listen(interface, http_port)
                .map_err(|error| failed("HTTP", http_port, error))?,
            frames,
            own_sources: LocalRequestSocket::open(index)
                .map_err(|error| failed("DHCP", udp::SERVER, error))?,
            router: RouterSocket::open(interface, index).ok(),
        })
    }

    /// Sends an ARP request for an offered address: the reply arrives before the client takes the
    /// offer.
    pub(super) fn probe(&self, decision: &DhcpDecision) {
        if let Some(address) = decision.probe {
            // Ignores an error: an ARP request that cannot be sent finds no user.
            let _ = self.frames.send_arp_probe(self.mac, address);
        }
    }

    pub(super) fn send_all(&self, here: &DhcpNodeAddresses, all: &[Outgoing]) {
        for one in all {
            // A packet that cannot be sent is lost like any other; the client repeats its
            // request.
            let _ = self.send(here, one);
        }
    }

    fn send(&self, here: &DhcpNodeAddresses, one: &Outgoing) -> io::Result<()> {
        let from = SocketAddrV4::new(here.address, udp::SERVER);
        match one.to {
            ReplyDestination::Relay(relay) => {
                let to = SocketAddrV4::new(relay, udp::SERVER);
                self.dhcp.send_to(&one.bytes, to).map(drop)
            }
            ReplyDestination::Configured(address) => {
                let socket = if one.port == udp::CLIENT {
                    &self.dhcp
                } else {
                    &self.proxy
                };
                let to = SocketAddrV4::new(address, one.port);
                socket.send_to(&one.bytes, to).map(drop)
            }
            ReplyDestination::Fresh(address) => {
                let to = SocketAddrV4::new(address, udp::CLIENT);
                self.frames.send_udp(from, to, one.mac, &one.bytes)
            }
            ReplyDestination::All => self.send_to_all(from, one),
            ReplyDestination::AllAnd(address) => {
                self.send_to_all(from, one)?;
                let to = SocketAddrV4::new(address, udp::CLIENT);
                if here.network.has(address) {
                    // A node may have the address meanwhile, and respond to ARP: the packet goes
                    // to the client's card.
                    return self.frames.send_udp(from, to, one.mac, &one.bytes);
                }
                self.dhcp.send_to(&one.bytes, to).map(drop)
            }
        }
    }

    fn send_to_all(&self, from: SocketAddrV4, one: &Outgoing) -> io::Result<()> {
        let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, udp::CLIENT);
        self.frames.send_udp(from, to, Mac([0xff; 6]), &one.bytes)
    }
}
