//! Runs the DHCP thread of one network: opens the sockets while the interface exists, answers
//! requests, stores leases and the progress of single boots, and passes listeners to the file
//! servers.

use super::BootEnvironment;
use super::server::{DhcpThreadControl, FileServers, lock};
use super::six::{self, Ipv6Sockets};
use super::sockets::{Outgoing, Sockets, TFTP};
use super::waiting::{PendingOffers, PendingRequest};
use crate::config::Ipv4Network;
use crate::dhcp::desk::{ClusterNodeAddresses, DhcpDecision, DhcpNodeAddresses};
use crate::dhcp::reply::{DhcpReplyType, receiver, write};
use crate::dhcp::request::{DhcpMessageType, Request};
use crate::journal::{LeaseJournal, name6};
use crate::net::addresses::{self, AddressMonitor};
use crate::net::batch::{self, PacketBatch};
use crate::net::lifetime;
use crate::net::router::RouterSocket;
use crate::net::udp;
use crate::site::{NetworkState, SharedNetworkState};
use crate::tftp;
use crate::turns;
use configuration::outside::Outside;
use part::channel::timespec;
use part::report::Moment;
use part::voice::write_error;
use record::ConfirmationDecision;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::netdevice::name_to_index;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Poll interval of the interface.
const LOOK: Duration = Duration::from_secs(2);
/// Poll interval of nodes for which a response waits, milliseconds.
const WAITS_MS: u64 = 50;
/// Longest wait of a response for other nodes, milliseconds. By then its client has repeated the
/// request.
pub(super) const WAITING_MS: u64 = 4_000;
/// Limit of responses that wait at one time.
pub(super) const WAITING_MAX: usize = 8_192;
/// Limit of ARP replies that are processed before other packets.
const OWNERS_MAX: usize = 512;
/// Longest time that a packet may have waited: see [`crate::dhcp::pool`].
const WAIT_MAX: Duration = Duration::from_secs(5);

/// DHCP thread of one network.
pub(super) struct DhcpThread {
    site: SharedNetworkState,
    place: BootEnvironment,
    orders: Arc<Mutex<DhcpThreadControl>>,
    wake: Option<Arc<OwnedFd>>,
    files: Arc<FileServers>,
    sockets: Option<Sockets>,
    /// None without IPv6 in the section or at the interface.
    six: Option<Ipv6Sockets>,
    /// Offers that wait for ARP replies of other users of the address.
    offers: PendingOffers<Option<Outgoing>>,
    next_poll: Instant,
    /// None where the system reports no changes: the addresses are then read at each poll.
    changes: Option<AddressMonitor>,
    /// Table of the IPv6 addresses of this host. None: the system has none.
    addresses6: Option<File>,
    /// Reason for which single boots are not stored.
    turns_trouble: Option<String>,
    batch: PacketBatch,
    /// Responses that wait until other nodes have their leases, and the start of the wait.
    waiting: Vec<(u64, Outgoing)>,
}

fn now_ms() -> u64 {
    Moment::now().boottime_ms
}

impl DhcpThread {
    pub(super) fn new(
        site: SharedNetworkState,
        place: BootEnvironment,
        files: Arc<FileServers>,
    ) -> DhcpThread {
        DhcpThread {
            site,
            place,
            orders: Arc::default(),
            wake: None,
            files,
            sockets: None,
            six: None,
            offers: PendingOffers::default(),
            next_poll: Instant::now(),
            changes: AddressMonitor::watch().ok(),
            // Opened before the thread is confined.
            addresses6: lifetime::open_table().ok(),
            turns_trouble: None,
            batch: PacketBatch::default(),
            waiting: Vec::new(),
        }
    }

    pub(super) fn ordered(
        self,
        orders: Arc<Mutex<DhcpThreadControl>>,
        wake: Arc<OwnedFd>,
    ) -> DhcpThread {
        DhcpThread {
            orders,
            wake: Some(wake),
            ..self
        }
    }

    pub(super) fn run(mut self) {
        self.confine();
        if let Some(wake) = &self.wake {
            self.site.lock().set_writer(Arc::clone(wake));
        }
        self.read_turns();
        self.poll_interface();
        loop {
            self.wait();
            self.store_turns();
            if lock(&self.orders).stop {
                return;
            }
            if self.next_poll <= Instant::now() {
                self.poll_interface();
            }
            self.wake_machines();
            self.process_packets();
            self.store_turns();
        }
    }

    /// Confines this thread to the directory of its leases. A reload that names another directory
    /// starts another thread.
    fn confine(&mut self) {
        let directory = self.site.lock().lan().leases.clone();
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory);
        let confined = made.and_then(|()| (self.place.only_writes)(&directory));
        if let Err(error) = confined {
            let name = self.site.lock().name().to_owned();
            let why = language::reason(&error);
            let directory = directory.display();
            write_error(&format!(
                "evenkeel: boot {name}: cannot use {directory}: {why}\n"
            ));
        }
    }

    /// Reads the progress of single boots. Without it nothing is booted once, and the report says
    /// so.
    fn read_turns(&mut self) {
        let path = self.turns_file();
        // Written at once: single boots that cannot be stored must not begin.
        let read = turns::read_with_others(&path)
            .and_then(|turns| turns::write(&path, &turns).map(|()| turns));
        match read {
            Ok(turns) => {
                self.turns_trouble = None;
                self.site.lock().read_turns(turns);
            }
            Err(error) => self.turns_trouble = Some(cannot_keep(&path, &error)),
        }
    }

    fn turns_file(&self) -> PathBuf {
        let site = self.site.lock();
        site.lan().leases.join(format!("{}.turns", site.name()))
    }

    /// Writes the progress of single boots, if it has changed.
    fn store_turns(&mut self) {
        let Some(turns) = self.site.lock().unstored_turns() else {
            return;
        };
        let path = self.turns_file();
        match turns::write(&path, &turns) {
            Ok(()) => {
                self.turns_trouble = None;
                self.site.lock().stored_turns(turns);
            }
            Err(error) => {
                self.turns_trouble = Some(cannot_keep(&path, &error));
                self.site.lock().cannot_keep_turns();
            }
        }
    }

    /// Waits for the next event or deadline.
    fn wait(&mut self) {
        let mut left = self.next_poll.saturating_duration_since(Instant::now());
        let end_ms = self.site.lock().next_end_ms();
        let advert_ms = self
            .six
            .as_ref()
            .filter(|_| self.advertises())
            .map(Ipv6Sockets::due_ms);
        let six_waits = self.six.as_ref().is_some_and(Ipv6Sockets::waits);
        let waits = !self.waiting.is_empty() || six_waits;
        let ends = [end_ms, advert_ms, waits.then(|| now_ms() + WAITS_MS)];
        if let Some(end_ms) = ends.into_iter().flatten().min() {
            left = left.min(Duration::from_millis(end_ms.saturating_sub(now_ms())));
        }
        if let Some(due) = self.offers.due() {
            left = left.min(due.saturating_duration_since(Instant::now()));
        }
        let timeout = timespec(left);
        let mut watched: Vec<PollFd<'_>> = Vec::with_capacity(8);
        let changes = self.changes.as_ref();
        watched.extend(changes.map(|changes| PollFd::new(changes, PollFlags::IN)));
        watched.extend(
            self.wake
                .iter()
                .map(|wake| PollFd::new(&**wake, PollFlags::IN)),
        );
        if let Some(sockets) = &self.sockets {
            watched.push(PollFd::new(&sockets.dhcp, PollFlags::IN));
            watched.push(PollFd::new(&sockets.proxy, PollFlags::IN));
            watched.push(PollFd::from_borrowed_fd(
                sockets.frames.wakes(),
                PollFlags::IN,
            ));
            let own = sockets.own_sources.wakes();
            watched.push(PollFd::from_borrowed_fd(own, PollFlags::IN));
            let router = sockets.router.as_ref().map(RouterSocket::wakes);
            watched.extend(router.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        }
        let six = self.six.as_ref().map(|six| &six.dhcp);
        watched.extend(six.map(|socket| PollFd::new(socket, PollFlags::IN)));
        // Interrupted or not: the caller re-evaluates everything.
        let _ = poll(&mut watched, Some(&timeout));
        if self.changes.as_ref().is_some_and(AddressMonitor::any) {
            self.next_poll = Instant::now();
        }
        if let Some(wake) = &self.wake {
            let mut count = [0; 8];
            let is_woken = rustix::io::read(&**wake, &mut count).is_ok();
            // A wake-up that only releases a response needs no poll of the interface.
            if is_woken && u64::from_ne_bytes(count) > self.site.lock().rings() {
                self.next_poll = Instant::now();
            }
        }
    }

    /// Returns whether router advertisements are sent, or wait.
    fn advertises(&self) -> bool {
        let has_router = self
            .sockets
            .as_ref()
            .is_some_and(|all| all.router.is_some());
        has_router && self.site.lock().advertises().is_some()
    }

    /// Polls the interface: opens the sockets of one that exists, and closes those of one that
    /// has gone.
    fn poll_interface(&mut self) {
        self.next_poll = Instant::now() + LOOK;
        let mut troubles = Vec::new();
        let closed = self.site.lock().why_closed();
        if let Some(why) = closed {
            return self.close(why);
        }
        let (interface, http_port, explicit) = {
            let site = self.site.lock();
            let lan = site.lan();
            (lan.interface.clone(), lan.ports.http, lan.network)
        };
        let index = index(&interface);
        let is_open = |sockets: &Sockets| {
            sockets.name == interface
                && Some(sockets.index) == index
                && sockets.http_port == http_port
        };
        if !self.sockets.as_ref().is_some_and(is_open) {
            // Closes the old sockets before the new ones are opened, because the ports may be the
            // same.
            (self.sockets, self.six) = (None, None);
            self.offers.clear();
            self.close_files();
            if let Some(index) = index {
                match Sockets::open(&interface, index, http_port) {
                    Ok(sockets) => {
                        self.sockets = Some(sockets);
                        troubles.extend(self.open_files().err());
                    }
                    Err(error) => troubles.push(error),
                }
            } else {
                troubles.push(format!("interface {interface} is not on this machine"));
            }
            if !troubles.is_empty() {
                // The next poll tries all of it again.
                self.sockets = None;
            }
        }
        troubles.extend(self.poll_interface6().err());
        let here = self
            .sockets
            .as_ref()
            .and_then(|sockets| interface_address(sockets, explicit));
        let host = addresses::of_host();
        troubles.extend(host.and_then(|host| self.set_host(host).err()));
        let mut site = self.site.lock();
        let nodes = site.nodes();
        let here = here.map(|here| DhcpNodeAddresses { nodes, ..here });
        site.set_node_address(here, now_ms());
        if let Some(range) = site.range().filter(|_| !site.is_kept()) {
            let directory = site.lan().leases.clone();
            let is_in_range = |address| range.has(address);
            let journal = LeaseJournal::open_or_inherit(&directory, site.name(), is_in_range);
            let journal = journal.map_err(|error| {
                let why = language::reason(&error);
                format!("cannot keep leases in {}: {why}", directory.display())
            });
            if let Some(words) = journal.as_ref().ok().and_then(LeaseJournal::damage) {
                write_error(&format!("evenkeel: boot: {words}\n"));
            }
            site.keep_in(journal, now_ms());
        }
        drop(site);
        if self.turns_trouble.is_some() && !self.site.lock().has_turns() {
            self.read_turns();
        }
        troubles.extend(self.turns_trouble.clone());
        lock(&self.orders).troubles = troubles;
    }

    /// Sets the addresses of this host: no machine gets one, and requests from them are received.
    fn set_host(&mut self, host: BTreeSet<IpAddr>) -> Result<(), String> {
        self.site.lock().set_host(host.clone(), now_ms());
        let Some(sockets) = &mut self.sockets else {
            return Ok(());
        };
        let own = host.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        sockets.own_sources.set(own.collect()).map_err(|error| {
            let why = language::reason(&error);
            format!("cannot hear clients that use an address of this host: {why}")
        })
    }

    /// Closes all sockets while this node may not respond at all.
    fn close(&mut self, why: String) {
        (self.sockets, self.six) = (None, None);
        self.offers.clear();
        self.waiting.clear();
        self.close_files();
        let mut site = self.site.lock();
        site.set_node_address(None, now_ms());
        site.set_node_address6(None, now_ms());
        drop(site);
        lock(&self.orders).troubles = vec![why];
    }

    fn close_files(&self) {
        // Ignores the results: the removal of listeners cannot fail.
        let _ = self.files.tftp.change(Vec::new());
        let _ = self.files.http.change(Vec::new());
    }

    /// Starts the file servers on the open sockets.
    fn open_files(&self) -> Result<(), String> {
        let Some(sockets) = &self.sockets else {
            return Ok(());
        };
        let interface = &sockets.name;
        let six = self.six.as_ref();
        let tftp = Some(&sockets.tftp)
            .into_iter()
            .chain(six.map(|six| &six.tftp));
        let tftp = tftp.map(|socket| {
            let socket = socket.try_clone()?.into();
            let interface = Some(interface.clone());
            Ok::<_, io::Error>(tftp::TftpListener { socket, interface })
        });
        let http = Some(&sockets.http)
            .into_iter()
            .chain(six.map(|six| &six.http));
        let http = http.map(TcpListener::try_clone).collect::<io::Result<_>>();
        tftp.collect::<io::Result<_>>()
            .and_then(|listeners| self.files.tftp.change(listeners))
            .and_then(|()| self.files.http.change(http?))
            .map_err(|error| {
                let why = language::reason(&error);
                format!("cannot serve files at {interface}: {why}")
            })
    }

    /// Polls the interface for IPv6: opens and closes its sockets. A failure does not affect
    /// IPv4.
    fn poll_interface6(&mut self) -> Result<(), String> {
        let (config, virtual_addresses) = {
            let site = self.site.lock();
            let network = site.lan().six.as_ref().map(|six| six.network);
            (network, site.lan().virtual_addresses.clone())
        };
        let (Some(sockets), Some(network)) = (&mut self.sockets, config) else {
            self.site.lock().set_node_address6(None, now_ms());
            if self.six.take().is_some() {
                self.open_files()?;
            }
            return Ok(());
        };
        let (interface, index) = (sockets.name.clone(), sockets.index);
        let http_port = sockets.http_port;
        if sockets.router.is_none() {
            sockets.router = RouterSocket::open(&interface, index).ok();
        }
        let table = self.addresses6.as_ref();
        let here =
            six::interface_address6(table, &interface, sockets.mac, network, &virtual_addresses);
        let is_here = here.is_some();
        self.site.lock().set_node_address6(here, now_ms());
        self.keep_leases6();
        if !is_here {
            return Err(format!(
                "interface {interface} has no IPv6 address of {network}"
            ));
        }
        if self.six.is_none() {
            self.six = Some(Ipv6Sockets::open(
                &interface,
                index,
                TFTP,
                http_port,
                now_ms(),
            )?);
            self.open_files()?;
        }
        Ok(())
    }

    fn keep_leases6(&self) {
        let mut site = self.site.lock();
        let Some(range) = site.range6().filter(|_| site.needs_journal6()) else {
            return;
        };
        let directory = site.lan().leases.clone();
        let is_in_range = |address| range.has(address);
        let name = name6(site.name());
        let journal = LeaseJournal::open_or_inherit(&directory, &name, is_in_range);
        let journal = journal.map_err(|error| {
            let why = language::reason(&error);
            format!(
                "cannot keep leases of IPv6 in {}: {why}",
                directory.display()
            )
        });
        if let Some(words) = journal.as_ref().ok().and_then(LeaseJournal::damage) {
            write_error(&format!("evenkeel: boot: {words}\n"));
        }
        site.keep_in6(journal, now_ms());
    }

    fn wake_machines(&mut self) {
        let wakes = std::mem::take(&mut lock(&self.orders).wakes);
        if let Some(sockets) = &self.sockets {
            for mac in wakes {
                // A machine that is off never responds; the next order sends the packet again.
                let _ = sockets.frames.wake(mac);
            }
        }
    }

    fn answer_routers(&mut self) {
        let Some(sockets) = &self.sockets else {
            return;
        };
        let Some(router) = &sockets.router else {
            return;
        };
        let (site, now) = (self.site.lock(), now_ms());
        if let (Some(six), Some(network)) = (&mut self.six, site.advertises()) {
            drop(site);
            return six.advertise(router, network, sockets.mac, now);
        }
        while let Some(question) = router.question() {
            let boots = question.mac.is_some_and(|mac| site.boots_now(mac, now));
            if let Some(to) = question.address().filter(|_| boots) {
                // A packet that cannot be sent is lost like any other; the machine repeats its
                // request.
                let _ = router.answer(to);
            }
        }
    }

    /// Processes all packets that have arrived.
    fn process_packets(&mut self) {
        let mut site = self.site.lock();
        site.expire(now_ms());
        site.store_adopted();
        site.send_copies(now_ms());
        drop(site);
        self.answer_routers();
        if let Some(six) = &mut self.six {
            six.answer(&self.site, &mut self.batch, WAIT_MAX, now_ms);
        }
        let Some(sockets) = &self.sockets else {
            return;
        };
        let mut site = self.site.lock();
        let offers = &mut self.offers;
        let mut outgoing = Vec::new();
        for (socket, is_proxy_port) in [(&sockets.dhcp, false), (&sockets.proxy, true)] {
            self.batch.receive(socket);
            // Handles ARP replies first: the user of an offered address responded before the client
            // took the offer.
            handle_arp_replies(&mut site, sockets, offers, &mut outgoing);
            // Reads the time after the packets have arrived: a lease begins when it is given, or
            // later.
            let now = now_ms();
            for packet in self.batch.packets() {
                if packet.waited > WAIT_MAX {
                    // Skips the packet, because this process was suspended meanwhile: the sender
                    // has repeated its request or given up.
                    continue;
                }
                let SocketAddr::V4(from) = packet.from else {
                    continue;
                };
                let port = if is_proxy_port {
                    from.port()
                } else {
                    udp::CLIENT
                };
                let came = ReceivedPacket {
                    bytes: packet.bytes,
                    arp_replies: 0,
                    port,
                    is_proxy_port,
                };
                outgoing.extend(decide(&mut site, sockets, offers, came, now));
            }
        }
        for packet in (0..batch::PACKETS).map_while(|_| sockets.own_sources.receive()) {
            let came = ReceivedPacket::at_server_port(&packet, 0);
            outgoing.extend(decide(&mut site, sockets, offers, came, now_ms()));
        }
        // Handles ARP replies again, since the decisions may have taken some time.
        let now = Instant::now();
        handle_arp_replies(&mut site, sockets, offers, &mut outgoing);
        for (asked, out) in offers.take(now) {
            // Decides again about a request that waited: no host has responded at its address.
            let out = out.or_else(|| {
                let came = ReceivedPacket::at_server_port(&asked.packet, asked.again.max(1));
                decide(&mut site, sockets, offers, came, now_ms())
            });
            outgoing.extend(out);
        }
        let Some(here) = site.here().cloned() else {
            return;
        };
        drop(site);
        let (kept, other): (Vec<Outgoing>, Vec<Outgoing>) =
            outgoing.into_iter().partition(|one| one.is_kept);
        sockets.send_all(&here, &other);
        let told = self.take_sendable_responses(kept);
        if let Some(sockets) = &self.sockets {
            sockets.send_all(&here, &told);
        }
    }

    /// Stores leases. Returns the responses, including earlier ones, that may be sent now: their
    /// leases are on disk, and at the other nodes.
    fn take_sendable_responses(&mut self, kept: Vec<Outgoing>) -> Vec<Outgoing> {
        let mut site = self.site.lock();
        site.store();
        let now = now_ms();
        self.waiting.extend(kept.into_iter().map(|one| (now, one)));
        let (mut told, mut later) = (Vec::new(), Vec::new());
        for (since, one) in std::mem::take(&mut self.waiting) {
            match site.decide_confirmation(one.mac, one.address, now) {
                ConfirmationDecision::Now => told.push(one),
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
        told
    }
}

/// Drops offers of addresses that another host uses, and offers other addresses to their clients.
fn handle_arp_replies(
    site: &mut NetworkState,
    sockets: &Sockets,
    offers: &mut PendingOffers<Option<Outgoing>>,
    outgoing: &mut Vec<Outgoing>,
) {
    for owner in (0..OWNERS_MAX).map_while(|_| sockets.frames.next_arp_reply()) {
        let is_conflict = site.in_use(owner.address, owner.mac, now_ms());
        // An address with a lease is offered to its client whatever other hosts or its own card
        // respond.
        let ends = |out: &Option<Outgoing>| is_conflict || out.is_none();
        if let Some(asked) = offers.drop_offer(owner.address, ends) {
            let came = ReceivedPacket::at_server_port(&asked.packet, asked.again);
            outgoing.extend(decide(site, sockets, offers, came, now_ms()));
        }
    }
}

/// Packet of a DHCP client, or of a relay agent.
#[derive(Clone, Copy)]
struct ReceivedPacket<'p> {
    bytes: &'p [u8],
    /// Number of earlier decisions about the packet, each followed by an ARP reply for the address
    /// or by the end of the wait for one.
    arp_replies: u8,
    /// Port to which the response is sent.
    port: u16,
    is_proxy_port: bool,
}

impl<'p> ReceivedPacket<'p> {
    fn at_server_port(bytes: &'p [u8], arp_replies: u8) -> ReceivedPacket<'p> {
        ReceivedPacket {
            bytes,
            arp_replies,
            port: udp::CLIENT,
            is_proxy_port: false,
        }
    }
}

/// Decides the response to a packet: now, or when no other host has responded at the address, or
/// when its client has responded there.
fn decide(
    site: &mut NetworkState,
    sockets: &Sockets,
    offers: &mut PendingOffers<Option<Outgoing>>,
    packet: ReceivedPacket<'_>,
    now_ms: u64,
) -> Option<Outgoing> {
    let again = packet.arp_replies;
    if again == 0 && is_too_early(site, offers, packet.bytes) {
        return None;
    }
    let (request, decision) = site.decide(packet.bytes, packet.is_proxy_port, now_ms)?;
    let here = site.here()?;
    sockets.probe(&decision);
    let out = outgoing_of(&request, &decision, here, &site.lan().tells, packet.port);
    // Another host may respond: the client is not probed twice.
    let claimed = decision.waits_for(&request).filter(|_| again == 0);
    match claimed.or(decision.probe.filter(|_| decision.is_offer())) {
        Some(address) => {
            let packet = packet.bytes.to_vec();
            offers
                .add(
                    address,
                    PendingRequest { packet, again },
                    out,
                    Instant::now(),
                )
                .flatten()
        }
        None => out,
    }
}

/// Returns whether a client requests an address whose offer still waits for ARP replies, so that
/// it cannot know the offer. The client repeats its request.
fn is_too_early(
    site: &NetworkState,
    offers: &PendingOffers<Option<Outgoing>>,
    packet: &[u8],
) -> bool {
    if offers.due().is_none() {
        return false;
    }
    let Ok(request) = Request::read(packet) else {
        return false;
    };
    let address = request.claims.wants.or(request.claims.uses);
    // A client with a lease of the address keeps it, also while others send requests in its name.
    let is_early = |address| offers.is_waiting(address) && !site.has_lease(request.mac, address);
    request.kind == DhcpMessageType::Request && address.is_some_and(is_early)
}

fn outgoing_of(
    request: &Request,
    decision: &DhcpDecision,
    here: &DhcpNodeAddresses,
    tells: &crate::config::ClientParameters,
    port: u16,
) -> Option<Outgoing> {
    let answer = decision.answer.as_ref()?;
    let bytes = write(
        request,
        answer,
        decision.speaks_for.unwrap_or(here.address),
        tells,
    )?;
    Some(Outgoing {
        mac: request.mac,
        to: receiver(request, answer),
        is_kept: answer.verdict == DhcpReplyType::Yes,
        address: answer
            .address
            .and_then(|given| given.address)
            .map(IpAddr::V4),
        bytes,
        port,
    })
}

fn cannot_keep(path: &Path, error: &io::Error) -> String {
    let why = language::reason(error);
    format!(
        "cannot keep what was booted once in {}: {why}",
        path.display()
    )
}

fn index(interface: &str) -> Option<u32> {
    // Any socket serves for the query.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    name_to_index(&socket, interface).ok()
}

/// Returns this node's address at an interface: the one in the network of the section, or else
/// the first.
fn interface_address(
    sockets: &Sockets,
    explicit: Option<Ipv4Network>,
) -> Option<DhcpNodeAddresses> {
    let interfaces = Outside::default().interfaces();
    let interface = interfaces
        .into_iter()
        .find(|one| one.name == sockets.name)?;
    let mut addresses = interface
        .addresses
        .iter()
        .filter_map(|(address, prefix)| match address {
            IpAddr::V4(address) => Some((*address, Ipv4Network::of(*address, *prefix))),
            IpAddr::V6(_) => None,
        });
    let own = |(address, _): &(Ipv4Addr, Ipv4Network)| {
        explicit.is_none_or(|network| network.has(*address))
    };
    let first = addresses.clone().next()?;
    // Clients behind a relay have another network than this node.
    let (address, network) = addresses.find(own).unwrap_or(first);
    Some(DhcpNodeAddresses {
        address,
        network: explicit.unwrap_or(network),
        nodes: ClusterNodeAddresses::default(),
    })
}
