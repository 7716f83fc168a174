//! Holds the state of one network that its servers (DHCP, TFTP and HTTP, each on a thread) share,
//! behind one lock. Decides about requests, applies the configuration and the cluster's grants, and
//! passes leases and single boots to the thread that stores them.

mod admission;
mod elsewhere;
mod files;
mod host;
mod keeping;
mod leaving;
mod sharing;
mod shelf;
mod show;
mod six;
mod standing;

pub use elsewhere::{ACTIVITIES_MAX, AnsweredRequest, MachineActivity, WORDS_MAX};
pub use leaving::{EnteredFiles, LeavingFiles};
pub use sharing::{MessageNotifier, SharedCopies, lock as lock_copies};
pub use shelf::NetworkContentSource;
pub use show::{NETWORK, ServerStatus, rows};
pub use standing::{
    Generations, HeldPart, Knowledge, LeaseFiles, MovedPart, NodeLeaseStatus, PartAdoption,
    PreviousRanges,
};

use crate::assignment::{BootTarget, SingleBootProgress, assigned};
use crate::config::{Image, LanConfig};
use crate::dhcp::desk::{ClusterNodeAddresses, DhcpDecision, DhcpNodeAddresses, DhcpServer};
use crate::dhcp::limit::ClientRateLimiter;
use crate::dhcp::loads::Leader;
use crate::dhcp::pool::Pool;
use crate::dhcp::range::{Address, Range};
use crate::dhcp::reply::DhcpReplyType;
use crate::dhcp::request::{BootStage, DhcpMessageType, RelayRoute, Request};
use crate::disk::{BootCounts, Overlays};
use crate::history::{BootHistoryEntry, History};
use crate::journal::LeaseJournal;
use crate::mac::Mac;
use crate::script;
use admission::AdmissionState;
use elsewhere::RemoteActivities;
use files::FileAge;
use keeping::{LeaseStore, PoolConfig};
use part::report::Moment;
use serde::{Deserialize, Serialize};
use sharing::NetworkCopies;
use six::Ipv6State;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Time after which a silent DHCP server is forgotten, milliseconds.
const SERVER_MS: u64 = 600_000;
const OTHERS_MAX: usize = 16;
const NEW_MAX: usize = 1_024;
/// Maximum number of addresses whose machine is remembered, to assign fetches to machines.
const ADDRESSES_MAX: usize = 65_536;

/// Time for which a machine counts as booting after a response, milliseconds.
const BOOTS_MS: u64 = 60_000;

/// Facts that a machine reports about itself, by name.
pub type MachineFacts = BTreeMap<String, String>;

#[derive(Clone)]
pub struct SharedNetworkState(Arc<Mutex<NetworkState>>);

impl SharedNetworkState {
    pub fn new(site: NetworkState) -> SharedNetworkState {
        SharedNetworkState(Arc::new(Mutex::new(site)))
    }

    pub fn is(&self, other: &SharedNetworkState) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Locks the network for this thread. The state can be used even after a panic of another
    /// thread, because responses matter more than a half-applied change.
    pub fn lock(&self) -> MutexGuard<'_, NetworkState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// State of one network: its leases, single boots, history, and the status of this node. The
/// threads of its servers share the value behind one lock.
pub struct NetworkState {
    name: String,
    lan: LanConfig,
    turns: SingleBootProgress,
    turns_status: SingleBootStatus,
    writer: Option<Arc<OwnedFd>>,
    /// None while the interface has no address.
    desk: Option<DhcpServer>,
    limit: ClientRateLimiter,
    reserve: AdmissionState,
    parts: RangeParts,
    history: History,
    seen: NetworkObservations,
    counts: NetworkCounters,
    overlays: BTreeMap<String, Overlays>,
    boots: BootCounts,
    host: BTreeSet<IpAddr>,
    six: Ipv6State,
    files: FileAge,
}

/// Knowledge about single boots. An image is booted once only while this knowledge is complete and
/// can be stored.
#[derive(Debug, Default)]
struct SingleBootStatus {
    /// Record of single boots on disk. None: the file has not been read.
    stored: Option<SingleBootProgress>,
    /// True if another node decided the single boots before this node does, and the record of this
    /// node is older.
    is_unknown: bool,
    has_failed: bool,
    opened: u32,
}

/// Division of the ranges among nodes, and the parts that this node holds.
#[derive(Debug, Default)]
pub struct RangeParts {
    pub count: u32,
    pub standing: NodeLeaseStatus,
    /// Name of this node; empty outside of a cluster.
    pub me: String,
    keeping: LeaseStore<Ipv4Addr>,
    shares: NetworkCopies,
}

#[derive(Debug, Default)]
struct NetworkObservations {
    /// Other DHCP servers, and the time of the last sign of each.
    servers: BTreeMap<Ipv4Addr, Moment>,
    new: BTreeMap<Mac, (Moment, MachineFacts)>,
    macs: HashMap<IpAddr, Mac>,
    /// Files of an image that a machine has fetched completely: the image, and a bit for each file.
    fetched: HashMap<Mac, (String, u32)>,
    elsewhere: RemoteActivities,
}

impl NetworkObservations {
    /// Forgets servers that were silent for long. A server is known only by packets of clients,
    /// which anybody can forge.
    fn forget_servers(&mut self) {
        let now = Moment::now().boottime_ms;
        self.servers
            .retain(|_, at| now.saturating_sub(at.boottime_ms) < SERVER_MS);
    }
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetworkCounters {
    pub requests: u64,
    pub answers: u64,
    pub limited: u64,
    pub unreadable: u64,
    /// Number of address conflicts: another host used an address that was not assigned to it.
    pub conflicts: u64,
}

impl NetworkState {
    /// Creates the state of a network whose interface has not been polled yet.
    pub fn new(name: &str, lan: LanConfig, parts: u32) -> NetworkState {
        NetworkState {
            name: name.to_owned(),
            lan,
            turns: SingleBootProgress::default(),
            turns_status: SingleBootStatus::default(),
            writer: None,
            desk: None,
            limit: ClientRateLimiter::default(),
            reserve: AdmissionState::default(),
            parts: RangeParts {
                count: parts.max(1),
                ..RangeParts::default()
            },
            history: History::default(),
            seen: NetworkObservations::default(),
            counts: NetworkCounters::default(),
            overlays: BTreeMap::new(),
            boots: BootCounts::default(),
            host: BTreeSet::new(),
            six: Ipv6State::default(),
            files: FileAge::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn lan(&self) -> &LanConfig {
        &self.lan
    }

    pub fn turns(&self) -> &SingleBootProgress {
        &self.turns
    }

    /// Returns this node's addresses in the network; None while its interface has none.
    pub fn here(&self) -> Option<&DhcpNodeAddresses> {
        self.desk.as_ref().map(DhcpServer::here)
    }

    pub fn change(&mut self, lan: LanConfig, parts: u32, now_ms: u64) {
        self.turns.keep(&lan);
        let before = (self.range(), self.range6());
        self.parts.count = parts.max(1);
        self.lan = lan;
        self.turns_status.is_unknown |= self.parts.standing.is_led_elsewhere;
        self.settle_turns();
        if before != (self.range(), self.range6()) && !self.parts.me.is_empty() {
            // The cluster has to report which of the new parts this node holds.
            self.share_anew();
        }
        if let Some(here) = self.here().cloned() {
            self.rebuild(here, now_ms);
        }
        self.change6(now_ms);
    }

    pub fn set_node_address(&mut self, here: Option<DhcpNodeAddresses>, now_ms: u64) {
        match here {
            // The cluster reports the addresses of the other nodes.
            Some(here) if self.here() != Some(&here) => self.rebuild(here, now_ms),
            Some(_) => {}
            None => self.desk = None,
        }
    }

    fn rebuild(&mut self, here: DhcpNodeAddresses, now_ms: u64) {
        self.store();
        let plan = self.range().map(|range| PoolConfig {
            range,
            lease_s: self.lan.lease_s,
            reserved: self.reserved(&here),
            unoffered: self
                .lan
                .of_others
                .iter()
                .filter_map(|one| Ipv4Addr::of_ip(*one))
                .collect(),
        });
        let fates = self.parts.shares.fates(self.ranges());
        let before = self.desk.as_mut().and_then(DhcpServer::pool);
        let held = &self.parts.standing.held;
        let keeping = &mut self.parts.keeping;
        let known = before.iter().flat_map(|pool| pool.superseded());
        let known: BTreeSet<Ipv4Addr> = known.map(|(address, _)| address).collect();
        let pool = plan.map(|plan| keeping.pool(plan, before.as_deref(), held, &fates, now_ms));
        let mut desk = DhcpServer::new(self.lan.clone(), here, pool);
        desk.set_of_nodes(self.of_nodes().filter_map(Ipv4Addr::of_ip).collect());
        let superseded = desk.superseded();
        self.desk = Some(desk.following(self.desk.take()));
        self.report_superseded(&known, superseded, now_ms);
        self.pass_turns();
    }

    fn reserved(&self, here: &DhcpNodeAddresses) -> HashSet<Ipv4Addr> {
        let machines = self.lan.machines.values();
        let fixed = machines.filter_map(|machine| machine.address);
        let nodes = here.nodes.there.iter().chain(&here.nodes.gone).copied();
        let nodes = nodes.chain([here.address]);
        let nodes = nodes.chain(self.of_nodes().filter_map(Ipv4Addr::of_ip));
        let told = self
            .lan
            .tells
            .gateway
            .iter()
            .copied()
            .chain(self.lan.tells.server);
        let ends = [here.network.first, here.network.broadcast()];
        fixed.chain(nodes).chain(told).chain(ends).collect()
    }

    pub fn range(&self) -> Option<Range> {
        match self.lan.gives {
            crate::config::AddressSource::Range { first, last } => Some(Range {
                first,
                last,
                parts: self.parts.count,
            }),
            _ => None,
        }
    }

    pub fn keep_in(&mut self, journal: Result<LeaseJournal, String>, now_ms: u64) {
        let is_kept = journal.is_ok();
        self.parts.keeping.keep_in(journal);
        if let Some(here) = self.here().cloned().filter(|_| is_kept) {
            self.rebuild(here, now_ms);
        }
    }

    pub fn is_kept(&self) -> bool {
        self.parts.keeping.is_kept()
    }

    pub fn apply_node_status(&mut self, me: &str, standing: NodeLeaseStatus, now_ms: u64) {
        me.clone_into(&mut self.parts.me);
        let before = std::mem::replace(&mut self.parts.standing, standing);
        let leading = |standing: &NodeLeaseStatus| standing.held.get(&0).map(|held| held.has_turns);
        let begins = leading(&before).is_none() && leading(&self.parts.standing) == Some(false);
        let ends = !before.is_led_elsewhere && self.parts.standing.is_led_elsewhere;
        if !me.is_empty() && (begins || ends) {
            self.turns_status.is_unknown = true;
        }
        self.settle_turns();
        self.pass_turns();
        self.adopt_all(now_ms);
        self.hold_shared(&before.held);
        self.stand6(&before.held, now_ms);
        let nodes = self.parts.standing.nodes.clone();
        if self.here().is_some_and(|here| here.nodes != nodes) {
            let here = self
                .here()
                .cloned()
                .map(|here| DhcpNodeAddresses { nodes, ..here });
            let parts = &mut self.parts;
            parts.keeping.retain(&parts.standing.held);
            // Creating the pool also applies the parts to it.
            return self.set_node_address(here, now_ms);
        }
        let fates = self.parts.shares.fates(self.ranges());
        let pool = self.desk.as_mut().and_then(DhcpServer::pool);
        let parts = &mut self.parts;
        let held = &parts.standing.held;
        parts
            .keeping
            .apply_held_parts(pool, &before.held, held, &fates, now_ms);
    }

    /// Marks all single boots as done if another node leads, or led before: it is not known which
    /// machines have had theirs, and a boot from disk does the least harm. The file of a node that
    /// does not lead contains this, too, because a renamed section continues with the file.
    fn settle_turns(&mut self) {
        if self.turns_status.is_unknown && self.turns_status.stored.is_some() {
            self.turns.mark_all_done(&self.lan);
            self.turns_status.is_unknown = false;
        }
    }

    pub fn leads(&self) -> bool {
        let leads = self.parts.me.is_empty() || self.parts.standing.held.contains_key(&0);
        leads && self.turns_status.stored.is_some()
    }

    /// Returns the other node that decides single boots, or a text that no node has a majority;
    /// None: this node decides.
    pub fn elsewhere(&self) -> Option<String> {
        let leader = self.parts.standing.leader.clone();
        (!self.leads()).then_some(if leader.is_empty() {
            "(none has a majority now)".to_owned()
        } else {
            leader
        })
    }

    fn end_parts(&mut self, now_ms: u64) {
        let held = &self.parts.standing.held;
        let ended: Vec<usize> = held
            .iter()
            .filter(|(_, held)| held.until_ms <= now_ms)
            .map(|(part, _)| *part)
            .collect();
        for part in ended {
            self.parts.standing.held.remove(&part);
            let pool = self.desk.as_mut().and_then(DhcpServer::pool);
            self.parts.keeping.give_up(pool, part);
            self.give_up6(part);
            self.give_up_shared(part);
            self.pass_turns();
        }
    }

    pub fn nodes(&self) -> ClusterNodeAddresses {
        self.parts.standing.nodes.clone()
    }

    /// Returns the servers from which a machine fetches. Over IPv4: the configured server, this
    /// node, and the other nodes. Over IPv6: this node and the other nodes.
    fn servers(&mut self, asker: IpAddr) -> script::FetchServers {
        let mac = self.seen.macs.get(&asker).copied();
        let has_four = mac.is_none_or(|mac| self.address_of(mac).is_some());
        let own = self.here();
        let nodes = own.into_iter().flat_map(|here| {
            Some(here.address)
                .into_iter()
                .chain(here.nodes.there.iter().copied())
        });
        let all = self.lan.tells.server.into_iter().chain(nodes);
        let all: Vec<Ipv4Addr> = all.collect();
        let own = self.here6().filter(|_| asker.is_ipv6());
        // Prefers IPv4 for the disks if the machine has both: the system may search for its root
        // disk without support for IPv6.
        let disks = match own.filter(|_| !has_four) {
            Some(here) => Some(IpAddr::V6(here.address)),
            None => all.first().copied().map(IpAddr::V4),
        };
        script::FetchServers {
            addresses: match own {
                Some(here) => Some(here.address)
                    .into_iter()
                    .chain(self.parts.standing.nodes.six.iter().copied())
                    .map(IpAddr::V6)
                    .collect(),
                None => all.iter().copied().map(IpAddr::V4).collect(),
            },
            port: self.lan.ports.http,
            disks,
        }
    }

    /// Decides the response to a packet. None: the packet is invalid, of another network, or over
    /// the rate limit.
    pub fn decide(
        &mut self,
        packet: &[u8],
        is_proxy_port: bool,
        now_ms: u64,
    ) -> Option<(Request, DhcpDecision)> {
        self.counts.requests += 1;
        self.end_parts(now_ms);
        let Ok(request) = Request::read(packet) else {
            self.counts.unreadable += 1;
            return None;
        };
        if !self.is_for_here(&request.route) {
            return None;
        }
        if !self.limit.admits(request.mac, now_ms) {
            self.counts.limited += 1;
            return None;
        }
        let here = self.here()?.address;
        // RELEASE and DECLINE are for this node or for none, and get no response.
        let gives_back = matches!(
            request.kind,
            DhcpMessageType::Release | DhcpMessageType::Decline
        );
        let names_another = request.claims.server.is_some_and(|server| server != here);
        if request.stage != BootStage::System {
            self.boots.count(request.mac);
        }
        let silent = if gives_back {
            self.why_closed()
        } else {
            self.why_silent(request.mac, names_another, now_ms)
        };
        let decision = match silent {
            Some(why) => DhcpDecision::silent(why),
            None => self.desk.as_mut()?.decide(&request, is_proxy_port, now_ms),
        };
        let decision = self.without_refusal(decision);
        let offered = decision
            .answer
            .as_ref()
            .filter(|answer| answer.verdict == DhcpReplyType::Offer)
            .and_then(|answer| answer.address?.address);
        let decision = match self.cannot_offer(request.mac, offered.map(IpAddr::V4)) {
            Some(why) => DhcpDecision {
                answer: None,
                why,
                ..decision
            },
            None => decision,
        };
        self.seen.forget_servers();
        if let Some(other) = decision.other
            && (self.seen.servers.len() < OTHERS_MAX || self.seen.servers.contains_key(&other))
        {
            self.seen.servers.insert(other, Moment::now());
        }
        let given = decision
            .answer
            .as_ref()
            .and_then(|answer| answer.address?.address);
        if let Some(address) = given.or(request.claims.uses) {
            self.knows(address.into(), request.mac);
        }
        self.counts.answers += u64::from(decision.answer.is_some());
        tracing::debug!(
            mac = %request.mac,
            request = ?request.kind,
            reply = ?decision.answer.as_ref().map(|answer| answer.verdict),
            address = given.map(tracing::field::display),
            reason = decision.why,
            "DHCP request decided"
        );
        self.history.add(request.mac, step(&request, &decision));
        Some((request, decision))
    }

    /// Returns whether a request comes from this network: directly, or through a relay in it.
    fn is_for_here(&self, route: &RelayRoute) -> bool {
        let link = route.link.or(route.relay);
        match (link, self.here()) {
            (Some(link), Some(here)) => here.network.has(link),
            // A section for clients behind a relay serves no other clients.
            (None, Some(here)) => here.network.has(here.address),
            (_, None) => false,
        }
    }

    fn knows(&mut self, address: IpAddr, mac: Mac) {
        if self.seen.macs.len() >= ADDRESSES_MAX && !self.seen.macs.contains_key(&address) {
            self.seen.macs.clear();
        }
        self.seen.macs.insert(address, mac);
    }

    /// Writes the leases to disk for the next start. If that fails, machines whose lease is not
    /// on disk may not get a response (`NetworkState::can_confirm_lease`).
    pub fn store(&mut self) {
        let pool = self.desk.as_mut().and_then(DhcpServer::pool);
        let changes = pool.map(Pool::changes).unwrap_or_default();
        self.parts
            .keeping
            .store(&changes, Moment::now().boottime_ms);
        self.send_changes(self.range(), &changes);
    }

    /// Returns whether everything that the next start needs is on disk.
    pub fn is_stored(&mut self) -> bool {
        let has_turns =
            self.has_turns() && !self.turns_status.is_unknown && self.unstored_turns().is_none();
        has_turns && self.has_all_leases()
    }

    /// Returns whether all leases that the next start needs are on disk.
    fn has_all_leases(&mut self) -> bool {
        let pool = self.desk.as_mut().and_then(DhcpServer::pool);
        // Without the pool, nothing of a part that this node has received is on disk yet.
        let has_pool =
            pool.is_some() || !matches!(self.lan.gives, crate::config::AddressSource::Range { .. });
        let has_changes = pool.is_some_and(|pool| pool.has_changes());
        has_pool && self.can_keep() && !has_changes && self.is_stored6()
    }

    /// Returns whether leases can be stored: otherwise this node assigns none.
    pub fn can_keep(&self) -> bool {
        let has_leases = self.is_kept() || self.range().is_none();
        has_leases && self.parts.keeping.trouble.is_none() && self.can_keep6()
    }

    pub fn can_confirm_lease(&self, mac: Mac) -> bool {
        self.parts.keeping.may_tell(mac)
    }

    pub fn has_lease(&self, mac: Mac, address: Ipv4Addr) -> bool {
        let desk = self.desk.as_ref();
        desk.is_some_and(|desk| desk.leased(mac) == Some(address))
    }

    /// Handles an ARP reply for an address. Returns whether it proves a conflict.
    pub fn in_use(&mut self, address: Ipv4Addr, by: Mac, now_ms: u64) -> bool {
        let Some(desk) = self.desk.as_mut() else {
            return false;
        };
        let (client, is_kept) = (desk.client(address), desk.is_kept(address, by));
        let is_conflict = desk.in_use(address, by, now_ms);
        self.counts.conflicts += u64::from(is_conflict);
        let mut add = |mac, asked, why: String| {
            let step = BootHistoryEntry {
                at: Moment::now(),
                asked,
                answered: String::new(),
                why,
                times: 1,
            };
            self.history.add(mac, step);
        };
        if let Some(client) = client.filter(|_| is_conflict) {
            let why = format!("{by} answers for the address: the next request for it gets a NAK");
            add(client, format!("loses its lease of {address}"), why);
        }
        let why = match (is_conflict, is_kept) {
            (true, _) => "it did not get this address here, so it is given to nobody for a while",
            (false, true) => {
                "the address was declined in its name, but it still answers there: it keeps the address"
            }
            (false, false) => return false,
        };
        add(by, format!("uses {address}"), why.to_owned());
        is_conflict
    }

    /// Returns whether a machine counts as booting: this node has responded to it within
    /// [`BOOTS_MS`].
    pub fn boots_now(&self, mac: Mac, now_ms: u64) -> bool {
        let last = self.history.answered_of(mac);
        last.is_some_and(|step| now_ms.saturating_sub(step.at.boottime_ms) < BOOTS_MS)
    }

    /// Returns the time at which the next lease or other use of an address ends.
    pub fn next_end_ms(&mut self) -> Option<u64> {
        let pool = self.desk.as_mut().and_then(DhcpServer::pool);
        let ends = [
            pool.and_then(|pool| pool.next_end_ms()),
            self.next_end6_ms(),
        ];
        ends.into_iter().flatten().min()
    }

    pub fn expire(&mut self, now_ms: u64) {
        self.end_parts(now_ms);
        if let Some(pool) = self.desk.as_mut().and_then(DhcpServer::pool) {
            pool.expire(now_ms);
        }
        self.expire6(now_ms);
    }

    /// Orders the next boot of a machine; without an image the single boot of the machine's line is
    /// repeated.
    ///
    /// # Errors
    ///
    /// There is no such image; the text says so.
    pub fn order(&mut self, mac: Mac, image: Option<&str>) -> Result<(), String> {
        self.turns.order(&self.lan, mac, image)?;
        self.pass_turns();
        Ok(())
    }

    /// Sets the record of single boots that was read from disk. Before this call, nothing is booted
    /// once.
    pub fn read_turns(&mut self, turns: SingleBootProgress) {
        self.turns_status.stored = Some(turns.clone());
        self.turns_status.opened = turns.generation;
        self.turns = turns;
        self.turns.keep(&self.lan);
        self.turns_status.is_unknown |= self.parts.standing.is_led_elsewhere;
        self.settle_turns();
        self.pass_turns();
    }

    pub fn has_turns(&self) -> bool {
        self.turns_status.stored.is_some()
    }

    pub fn unstored_turns(&self) -> Option<SingleBootProgress> {
        let stored = self.turns_status.stored.as_ref()?;
        (!self.turns.is_as_kept(stored)).then(|| {
            let mut turns = self.turns.clone();
            turns.generation = turns.generation.saturating_add(1);
            turns
        })
    }

    pub fn stored_turns(&mut self, turns: SingleBootProgress) {
        self.turns.generation = turns.generation;
        self.turns_status.stored = Some(turns);
        self.turns_status.has_failed = false;
        self.pass_turns();
    }

    /// Records that single boots cannot be stored: nothing is booted once until they can.
    pub fn cannot_keep_turns(&mut self) {
        self.turns_status.has_failed = true;
        self.pass_turns();
    }

    pub fn set_writer(&mut self, wake: Arc<OwnedFd>) {
        self.writer = Some(wake);
    }

    fn wake_writer(&self) {
        if let Some(wake) = &self.writer {
            // The write fails only if the counter is full, and then the descriptor is readable
            // already.
            let _: Result<usize, _> = rustix::io::write(&**wake, &1_u64.to_ne_bytes());
        }
    }

    /// Records that a machine got no response, because its lease is not on disk or not known to
    /// another node.
    pub fn withheld(&mut self, mac: Mac) {
        let why = self
            .parts
            .keeping
            .trouble
            .clone()
            .or_else(|| self.six.keeping.trouble.clone());
        self.history.add(
            mac,
            BootHistoryEntry {
                at: Moment::now(),
                asked: "the answer is held back".to_owned(),
                answered: String::new(),
                why: why.unwrap_or_else(|| {
                    "its lease is not on the disk here, or not known to another node".to_owned()
                }),
                times: 1,
            },
        );
    }

    fn pass_turns(&mut self) {
        let is_kept = self.turns_status.stored.is_some() && !self.turns_status.has_failed;
        self.turns.is_uncertain = !(is_kept && self.leads()) || self.turns_status.is_unknown;
        let turns = self.turns.clone();
        let is_elsewhere = !self.parts.me.is_empty() && !self.leads();
        let leader = is_elsewhere.then(|| Leader {
            name: self.parts.standing.leader.clone(),
            orders: self.parts.standing.orders.iter().copied().collect(),
        });
        self.six.set_turns(&turns, leader.as_ref());
        if let Some(desk) = &mut self.desk {
            desk.set_turns(turns, leader);
        }
    }

    fn enlist(&mut self, mac: Mac, facts: MachineFacts) {
        if self.seen.new.len() >= NEW_MAX && !self.seen.new.contains_key(&mac) {
            let oldest = self
                .seen
                .new
                .iter()
                .min_by_key(|(_, (at, _))| at.boottime_ms);
            if let Some(oldest) = oldest.map(|(mac, _)| *mac) {
                self.seen.new.remove(&oldest);
            }
        }
        self.seen.new.insert(mac, (Moment::now(), facts));
    }

    pub fn enlisted(&self) -> impl Iterator<Item = (Mac, Moment, &MachineFacts)> {
        let new = self
            .seen
            .new
            .iter()
            .filter(|(mac, _)| !self.lan.machines.contains_key(mac));
        new.map(|(mac, (at, facts))| (*mac, *at, facts))
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// Returns the requests of a machine, the newest last.
    pub fn asked(&self, mac: Mac) -> Vec<BootHistoryEntry> {
        self.history.of(mac)
    }

    pub fn set_boots(&mut self, boots: BootCounts) {
        self.boots = boots;
    }

    pub fn set_overlays(&mut self, overlays: BTreeMap<String, Overlays>) {
        self.overlays = overlays;
    }

    /// Returns the machine at an address if it may use a disk: its line or its next boot selects an
    /// image with this disk.
    pub fn user_of(&mut self, address: IpAddr, disk: &str) -> Option<Mac> {
        let known = self.seen.macs.get(&address).copied();
        if let Some(mac) = known.filter(|mac| self.boots_from(*mac, disk)) {
            return Some(mac);
        }
        // Searches all configured machines, too: the machine may not have sent a request since the
        // role started.
        let lines = self.lan.machines.keys().copied();
        let all: Vec<Mac> = lines.filter(|mac| self.boots_from(*mac, disk)).collect();
        let mut all = all.into_iter();
        all.find(|mac| match address {
            IpAddr::V4(address) => self.address_of(*mac) == Some(address),
            IpAddr::V6(address) => self.address6_of(*mac) == Some(address),
        })
    }

    fn boots_from(&self, mac: Mac, disk: &str) -> bool {
        let has = |image: Option<&Image>| image.and_then(Image::disk) == Some(disk);
        let line = self.lan.machines.get(&mac);
        // Accepts the image of the line also while an operator has ordered another image for the
        // next boot.
        let is_own = line.is_some_and(|machine| has(self.lan.images.get(&machine.image)));
        is_own
            || match assigned(&self.lan, &self.turns, mac) {
                BootTarget::Image(_, image) => has(Some(image)),
                BootTarget::Menu => self.lan.images.values().any(|image| has(Some(image))),
                BootTarget::Enlist | BootTarget::Nothing(_) => false,
            }
    }

    /// Returns the address that a machine has from any node, or would get.
    pub fn address_of(&mut self, mac: Mac) -> Option<Ipv4Addr> {
        self.four_of(mac).map(|(address, _)| address)
    }
}

fn step(request: &Request, decision: &DhcpDecision) -> BootHistoryEntry {
    let mut asked = format!("{} by {}", request.kind.word(), request.stage.word());
    let claims = &request.claims;
    if let Some(address) = claims.wants.or(claims.uses) {
        asked.push_str(&format!(" for {address}"));
    }
    if let Some(server) = claims.server {
        asked.push_str(&format!(" to {server}"));
    }
    if let Some(relay) = request.route.relay {
        asked.push_str(&format!(" through relay {relay}"));
    }
    let answered = decision.answer.as_ref().map_or_else(String::new, |answer| {
        let address = answer.address.and_then(|given| given.address);
        let address = address.map_or_else(String::new, |address| format!(" {address}"));
        format!("{}{address}", answer.verdict.word())
    });
    BootHistoryEntry {
        at: Moment::now(),
        asked,
        answered,
        why: decision.why.clone(),
        times: 1,
    }
}
