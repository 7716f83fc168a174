//! Opens the IPv6 sockets of one network, sends router advertisements, answers DHCPv6 packets, and
//! chooses this node's IPv6 address. The sockets of IPv4 do not depend on them.

use super::running::{WAITING_MAX, WAITING_MS};
use crate::config::Ipv6Network;
use crate::dhcp6::advert::{self, AdvertDestination, AdvertSchedule};
use crate::dhcp6::desk::Dhcpv6ServerIdentity;
use crate::mac::Mac;
use crate::net::batch::{self, PacketBatch};
use crate::net::lifetime;
use crate::net::router::RouterSocket;
use crate::net::six::{self, SenderMacs};
use crate::site::{NetworkState, SharedNetworkState};
use configuration::outside::Outside;
use record::ConfirmationDecision;
use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket};
use std::time::Duration;

/// IPv6 sockets at an interface.
pub(super) struct Ipv6Sockets {
    pub(super) dhcp: UdpSocket,
    pub(super) tftp: UdpSocket,
    pub(super) http: TcpListener,
    cards: SenderMacs,
    schedule: AdvertSchedule,
    /// Responses that wait until other nodes have their leases, and the start of the wait.
    waiting: Vec<(u64, Outgoing)>,
}

struct Outgoing {
    mac: Mac,
    to: SocketAddrV6,
    /// True if its lease must be on disk first.
    is_lease: bool,
    /// Address that the packet assigns.
    address: Option<IpAddr>,
    bytes: Vec<u8>,
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Ipv6Sockets {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// A system call fails; the text says for which socket, and why.
    pub(super) fn open(
        interface: &str,
        index: u32,
        tftp_port: u16,
        http_port: u16,
        now_ms: u64,
    ) -> Result<Ipv6Sockets, String> {
        let failed = |what: &str, error: io::Error| {
            let why = language::reason(&error);
            format!("cannot open {what} at {interface}: {why}")
        };
        let dhcp = six::dhcp(interface, index);
        let dhcp = dhcp.and_then(|socket| batch::prepare(&socket).map(|()| socket));
        Ok(Ipv6Sockets {
            dhcp: dhcp.map_err(|error| failed("port 547 of DHCPv6", error))?,
            tftp: six::open(interface, tftp_port)
                .map_err(|error| failed("the port of TFTP over IPv6", error))?,
            http: six::listen(interface, http_port)
                .map_err(|error| failed("the port of HTTP over IPv6", error))?,
            cards: SenderMacs::open(index).map_err(|error| failed("the frames of IPv6", error))?,
            schedule: AdvertSchedule::new(now_ms),
            waiting: Vec::new(),
        })
    }

    /// Returns the time of the next router advertisement.
    pub(super) fn due_ms(&self) -> u64 {
        self.schedule.due_ms()
    }

    /// Reads router solicitations, and sends the advertisements that are due.
    pub(super) fn advertise(
        &mut self,
        router: &RouterSocket,
        network: Ipv6Network,
        card: Mac,
        now_ms: u64,
    ) {
        while let Some(question) = router.question() {
            self.schedule.asked(question.address(), now_ms, random());
        }
        let packet = advert::packet(network, card);
        for to in self.schedule.take(now_ms, random()) {
            let to = match to {
                AdvertDestination::All => None,
                AdvertDestination::One(to) => Some(to),
            };
            // A packet that cannot be sent is lost like any other; the machine repeats its
            // request.
            let _ = router.advertise(to, &packet);
        }
    }

    /// Responds to DHCPv6 packets that have arrived.
    pub(super) fn answer(
        &mut self,
        site: &SharedNetworkState,
        batch: &mut PacketBatch,
        wait_max: Duration,
        now_ms: fn() -> u64,
    ) {
        batch.receive(&self.dhcp);
        self.cards.look();
        // Reads the time after the packets have arrived: a lease begins when it is given, or later.
        let now = now_ms();
        let mut outgoing = Vec::new();
        let mut of_all = site.lock();
        for packet in batch.packets() {
            // Ignores a packet that waited longer: this process was suspended meanwhile, and the
            // sender has repeated its request or given up.
            if packet.waited <= wait_max
                && let SocketAddr::V6(from) = packet.from
            {
                outgoing.extend(self.decide(&mut of_all, packet.bytes, from, now));
            }
        }
        drop(of_all);
        let (leases, others): (Vec<Outgoing>, Vec<Outgoing>) =
            outgoing.into_iter().partition(|one| one.is_lease);
        others.iter().for_each(|one| self.send(one));
        self.waiting
            .extend(leases.into_iter().map(|one| (now, one)));
        // Leases are confirmed to clients only when they are on disk, and at the other nodes.
        let mut site = site.lock();
        site.store6();
        let mut later = Vec::new();
        for (since, one) in std::mem::take(&mut self.waiting) {
            match site.decide_confirmation(one.mac, one.address, now) {
                ConfirmationDecision::Now => self.send(&one),
                ConfirmationDecision::Later
                    if now < since + WAITING_MS && later.len() < WAITING_MAX =>
                {
                    later.push((since, one));
                }
                ConfirmationDecision::Later | ConfirmationDecision::Never => site.withheld(one.mac),
            }
        }
        drop(site);
        self.waiting = later;
    }

    /// Returns whether responses wait for other nodes.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn decide(
        &self,
        site: &mut NetworkState,
        bytes: &[u8],
        from: SocketAddrV6,
        now_ms: u64,
    ) -> Option<Outgoing> {
        let card = self.cards.of(*from.ip());
        let (request, decision) = site.decide6(bytes, *from.ip(), card, now_ms)?;
        let port = if request.hops.is_empty() {
            six::CLIENT
        } else {
            six::SERVER
        };
        Some(Outgoing {
            mac: request.mac,
            to: SocketAddrV6::new(*from.ip(), port, 0, from.scope_id()),
            is_lease: decision.is_lease,
            address: decision
                .answer
                .iter()
                .flat_map(|answer| &answer.grants)
                .find_map(|grant| grant.address)
                .map(IpAddr::V6),
            bytes: site.written6(&request, &decision)?,
        })
    }

    fn send(&self, one: &Outgoing) {
        // A packet that cannot be sent is lost like any other; the client repeats its request.
        let _ = self.dhcp.send_to(&one.bytes, one.to);
    }
}

/// Returns this node's address at an interface: one of the network of the section, or else any,
/// where its clients are behind relays. Machines keep it in their scripts and use disks there, so
/// it must not expire or move: see [`crate::net::lifetime::choose`]. `virtual_addresses`: those
/// that move between nodes.
pub(super) fn interface_address6(
    table: Option<&File>,
    interface: &str,
    card: Mac,
    network: Ipv6Network,
    virtual_addresses: &BTreeSet<IpAddr>,
) -> Option<Dhcpv6ServerIdentity> {
    let is_moving = |address: Ipv6Addr| virtual_addresses.contains(&address.into());
    let listed = table.map(|table| lifetime::of_interface(table, interface));
    let all = match listed {
        Some(Ok(all)) => all,
        Some(Err(_)) | None => {
            let interfaces = Outside::default().interfaces();
            let interface = interfaces.into_iter().find(|one| one.name == interface)?;
            let all = interface.addresses.into_iter();
            let all = all.filter_map(|(address, _)| match address {
                IpAddr::V6(address) => Some(lifetime::Ipv6Lifetime::permanent(address)),
                IpAddr::V4(_) => None,
            });
            all.collect()
        }
    };
    let address = lifetime::choose(&all, |one| network.has(one), is_moving)?;
    Some(Dhcpv6ServerIdentity::new(address, card))
}
