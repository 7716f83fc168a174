//! Runs the boot role: a [`Server`] for each network. Applies configurations and reports of the
//! cluster, evaluates the cluster leases, executes the operators' orders, and builds the report.

mod leases;
mod moving;
mod running;
mod server;
mod six;
mod sockets;
mod waiting;

pub use server::Server;

use crate::aoe;
use crate::aoe::server::AoeDiskConfig;
use crate::config::{self, BootConfig, LanConfig};
use crate::disk::overlay::Limits;
use crate::disk::overlays::{OverlayConfig, Overlays};
use crate::disk::{BootCounts, Storage};
use crate::link::{BootNodeLink, CopyWriter, LinkedNetwork, remove_copies};
use crate::mac::{Mac, mark};
use crate::message::{
    MachineHistoryResponse, MachineListResponse, OperatorRequest, PowerControlResponse,
    RecentRequestsResponse, SteppedMachine,
};
use crate::portal::{self, Portal};
use crate::site::{
    Generations, HeldPart, NetworkState, NodeLeaseStatus, ServerStatus, SharedCopies,
    SharedNetworkState, rows,
};
use leases::{ClusterLeases, LocalNode};
use part::codec;
use part::control::LeaseRecord;
use part::report::{Moment, StatusReport};
use part::role::{
    Admission, LeaseNews, MemberNews, Membership, OrderResponse, VOLUME_SOCKET, WantedLease,
    volume_directory,
};
use part::voice::write_error;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::TrustedNodes;

/// Limit of the encoded machines in one response, bytes: it has to fit into a packet.
const SHOWN_BYTES: usize = 40_000;
/// Limit of further addresses of a node in its record: the record has no further room.
const OWN_MAX: usize = 4;
/// Poll interval of the address in a network, nanoseconds.
const LOOK_NS: u64 = 1_000_000_000;
/// Poll interval of the other nodes' knowledge, in a cluster, nanoseconds.
const LOOK_AT_NODES_NS: u64 = 100_000_000;
/// Functions that confine the role's threads, and its runtime directory.
#[derive(Clone, Copy)]
pub struct BootEnvironment {
    /// Restricts this thread, and those that it starts, to reading files.
    pub only_reads: fn() -> io::Result<()>,
    /// Restricts this thread to one directory, in which it may write.
    pub only_writes: fn(&Path) -> io::Result<()>,
    /// Returns the runtime directory, where the sockets of volumes are.
    pub runtime: fn() -> PathBuf,
}

/// Boot role of this machine, with a server for each network.
pub struct BootRole {
    place: BootEnvironment,
    networks: BTreeMap<String, NetworkServer>,
    me: String,
    /// Time of the next evaluation of the leases.
    next_evaluation: Instant,
    /// Leases that were reported to the cluster as wanted last.
    wanted: Vec<WantedLease>,
    pending_messages: ClusterMessages,
    /// None outside of a cluster.
    link: Option<BootNodeLink>,
    membership: Membership,
}

/// Server of one network, with its state.
struct NetworkServer {
    site: SharedNetworkState,
    server: Server,
    disks: aoe::Server,
    portal: Portal,
    overlays: AllOverlays,
    /// Recorded generations for which older files were reported.
    older_reported: Option<Generations>,
    /// None outside of a cluster.
    leases: Option<ClusterLeases>,
    /// Thread that stores the copies of other nodes' parts. None outside of a cluster.
    keeper: Option<CopyWriter>,
    /// Directory that the leases have left; their files there are to be removed.
    left: Option<PathBuf>,
    /// Permission of this node to respond with the configuration version that it serves.
    admission: Admission,
}

/// Overlays of the disks of a network, by the disks' names.
type AllOverlays = BTreeMap<String, Overlays>;

/// Messages of the role to the cluster.
#[derive(Debug, Default)]
pub struct ClusterMessages {
    /// All leases that are wanted or watched, if they have changed.
    pub leases: Option<Vec<WantedLease>>,
    /// Records to be written to the cluster.
    pub records: Vec<LeaseRecord>,
}

impl NetworkServer {
    fn change(
        &mut self,
        mut lan: LanConfig,
        nodes: &[String],
        place: BootEnvironment,
    ) -> Result<(), String> {
        let runtime = (place.runtime)();
        let section = self.site.lock().name().to_owned();
        let overlays = overlays(&section, &lan, &self.overlays, place)?;
        let before = self.site.lock().lan().leases.clone();
        let mut moves = before != lan.leases;
        let mut stays = None;
        if moves && let Err(why) = self.leave(&lan.leases, place) {
            let words = format!(
                "leases stay in {}: {why}; the next change of the configuration tries it again",
                before.display()
            );
            write_error(&format!("evenkeel: boot {section}: {words}\n"));
            stays = Some(words);
            (lan.leases, moves) = (before, false);
        }
        self.site.lock().leases_stay(stays);
        self.overlays = overlays;
        self.site.lock().set_overlays(self.overlays.clone());
        if let Some(leases) = &mut self.leases {
            leases.set_nodes(nodes);
        }
        let parts = self.leases.as_ref().map_or(1, ClusterLeases::parts);
        self.site
            .lock()
            .change(lan, parts, Moment::now().boottime_ms);
        if moves {
            let answers = self.server.answer(self.site.clone(), place);
            answers.map_err(|error| language::reason(&error))?;
        }
        self.server.wake();
        // By now the network knows which clients may use the disks.
        self.serve_disks(&runtime)
            .map_err(|error| language::reason(&error))
    }

    /// Serves the disks of the network; none at a removed member.
    fn serve_disks(&mut self, runtime: &Path) -> io::Result<()> {
        let site = self.site.lock();
        let lan = site.lan();
        let interface = lan.interface.clone();
        let mut disks = served(site.name(), lan, runtime, &self.overlays);
        let mut roots = roots(site.name(), lan, runtime, &self.overlays);
        drop(site);
        if self.admission == Admission::Removed {
            disks.clear();
            roots.disks.clear();
        }
        self.disks.change(&interface, disks)?;
        self.portal.change(roots)
    }

    /// Applies whether this node may respond from now on.
    fn admit(&mut self, admission: Admission, place: BootEnvironment) {
        if self.admission == admission {
            return;
        }
        let before = std::mem::replace(&mut self.admission, admission);
        let (name, notice) = {
            let mut site = self.site.lock();
            site.admit(admission);
            (site.name().to_owned(), site.notice())
        };
        let words = notice.unwrap_or_else(|| "this node answers all clients again".to_owned());
        write_error(&format!("evenkeel: boot {name}: {words}\n"));
        let is_closed = |one| one == Admission::Removed;
        if is_closed(before) != is_closed(admission) {
            self.server.wake();
            if let Err(error) = self.serve_disks(&(place.runtime)()) {
                let why = language::reason(&error);
                write_error(&format!("evenkeel: boot {name}: disks: {why}\n"));
            }
        }
    }

    /// Updates the network from the cluster leases of its pool parts: drops older lease files, and
    /// adds records to write. Returns the cluster leases to hold or observe.
    fn evaluate_leases(
        &mut self,
        me: &str,
        place: BootEnvironment,
        records: &mut Vec<LeaseRecord>,
    ) -> Vec<WantedLease> {
        let Some(leases) = &mut self.leases else {
            return Vec::new();
        };
        let now = now_ns();
        let mut site = self.site.lock();
        let lease_s = site.lan().lease_s;
        let lease6_s = site.lan().six.as_ref().map_or(0, |six| six.lease_s);
        leases.set_range(site.range(), site.range6(), lease_s.max(lease6_s));
        let address = site.here().map(|here| here.address);
        let six = site.here6().map(|here| here.address);
        let orders = site.turns().orders().map(mark).collect::<Vec<_>>();
        if let Some(newer) = leases.newer_generations(site.compared_generations()) {
            let words = site.forget_older(newer, now / 1_000_000);
            leases.forget_parts();
            // Reports the same older files only once: a file that cannot be replaced is compared
            // again at each poll.
            if self.older_reported.replace(newer) != Some(newer) {
                write_error(&format!("evenkeel: boot {}: {words}\n", site.name()));
            }
            let (directory, section) = (site.lan().leases.clone(), site.name().to_owned());
            // A copy that cannot be removed is replaced when its holder sends it again.
            let _ = moving::confined(&directory.clone(), place, move || {
                remove_copies(&directory, &section);
                Ok(())
            });
        }
        if leases.has_node_lease(now) {
            site.set_compared();
        }
        let is_stored = site.is_stored();
        let knowledge = site.knowledge(now / 1_000_000);
        leases.set_own(site.own_of_host(OWN_MAX));
        let local = LocalNode {
            address,
            address6: six,
            orders: &orders,
            is_stored,
        };
        let (standing, written) = leases.evaluate_parts(&local, &knowledge, now);
        for one in written {
            // Adds a record only if it is not waiting already: the leases return it again until the
            // cluster has it.
            if !records.contains(&one) {
                records.push(one);
            }
        }
        site.apply_node_status(me, standing, now / 1_000_000);
        // A node that cannot store leases assigns none: another one may.
        let is_able = (address.is_some() || six.is_some()) && site.can_keep();
        let is_able = is_able && self.admission != Admission::Removed;
        let mut wanted = leases.wants(is_able, now);
        if !self.admission.is_admitted() {
            // Limits the rank: a node with the accepted configuration version takes the parts.
            wanted.iter_mut().for_each(|one| one.rank = one.rank.min(1));
        }
        wanted
    }
}

/// Returns the storage of a disk of a network. `runtime`: directory with the sockets of volumes.
fn storage(section: &str, name: &str, disk: &config::DiskConfig, runtime: &Path) -> Storage {
    match &disk.storage {
        config::StorageConfig::Volume(volume) => Storage::Volume {
            socket: volume_directory(runtime, volume).join(VOLUME_SOCKET),
            // The machines of all networks are one user of the volume, beside a guest or a
            // command.
            export: format!("{volume}/boot/machines"),
        },
        config::StorageConfig::File { path, is_read_only } => Storage::File {
            path: path.clone(),
            // The disk itself is not written: machines change their overlays.
            is_read_only: *is_read_only || disk.overlay.is_some(),
            user: format!("{section}.{name}"),
        },
    }
}

/// Creates the overlays of the disks of a network, and keeps the previous ones that have not
/// changed.
///
/// # Errors
///
/// The system has no thread left; the text says so.
fn overlays(
    section: &str,
    lan: &LanConfig,
    before: &AllOverlays,
    place: BootEnvironment,
) -> Result<AllOverlays, String> {
    let mut all = AllOverlays::new();
    for (name, disk) in &lan.disks {
        let Some(overlay) = &disk.overlay else {
            continue;
        };
        let plan = OverlayConfig {
            directory: overlay.directory.clone(),
            prefix: format!("{section}.{name}"),
            limits: Limits {
                is_kept: overlay.is_kept,
                bytes_max: overlay.bytes_max,
            },
        };
        let same = before.get(name).filter(|before| *before.plan() == plan);
        let overlays = match same {
            Some(same) => Ok(same.clone()),
            None => Overlays::start(plan, place.only_writes),
        };
        let overlays = overlays.map_err(|error| language::reason(&error))?;
        all.insert(name.clone(), overlays);
    }
    Ok(all)
}

/// Returns the disks of the network that are served over Ethernet (AoE).
fn served(
    section: &str,
    lan: &LanConfig,
    runtime: &Path,
    overlays: &AllOverlays,
) -> BTreeMap<String, AoeDiskConfig> {
    let one = |(name, disk): (&String, &config::DiskConfig)| {
        let served = AoeDiskConfig {
            target: disk.target?,
            storage: storage(section, name, disk, runtime),
            overlays: overlays.get(name).cloned(),
        };
        Some((name.clone(), served))
    };
    lan.disks.iter().filter_map(one).collect()
}

/// Returns the disks of the network that are served over TCP (iSCSI, NBD).
fn roots(
    section: &str,
    lan: &LanConfig,
    runtime: &Path,
    overlays: &AllOverlays,
) -> portal::PortalConfig {
    let by_tcp = |(_, disk): &(&String, &config::DiskConfig)| disk.iscsi.is_some() || disk.nbd;
    let one = |(name, disk): (&String, &config::DiskConfig)| {
        let served = portal::PortalDiskConfig {
            storage: storage(section, name, disk, runtime),
            target: disk.iscsi.clone(),
            is_export: disk.nbd,
            is_open: disk.is_open,
            overlays: overlays.get(name).cloned(),
        };
        (name.clone(), served)
    };
    portal::PortalConfig {
        interface: lan.interface.clone(),
        ports: [lan.ports.iscsi, lan.ports.nbd],
        is_six: lan.six.is_some(),
        disks: lan.disks.iter().filter(by_tcp).map(one).collect(),
    }
}

/// Returns the state of a machine without a cluster.
fn alone(held: HeldPart) -> NodeLeaseStatus {
    NodeLeaseStatus {
        held: [(0, held)].into(),
        ..NodeLeaseStatus::default()
    }
}

/// Returns CLOCK_BOOTTIME, nanoseconds.
fn now_ns() -> u64 {
    Moment::now().boottime_ms.saturating_mul(1_000_000)
}

impl BootRole {
    /// Starts the role with a payload.
    ///
    /// # Errors
    /// The payload cannot be decoded, or the system has no thread left; the text says which.
    pub fn new(place: BootEnvironment, payload: &[u8]) -> Result<BootRole, String> {
        let mut role = BootRole {
            place,
            networks: BTreeMap::new(),
            me: String::new(),
            next_evaluation: Instant::now(),
            wanted: Vec::new(),
            pending_messages: ClusterMessages::default(),
            link: None,
            membership: Membership::default(),
        };
        role.apply(payload)?;
        Ok(role)
    }

    /// Applies another payload.
    ///
    /// # Errors
    ///
    /// As at the start.
    pub fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        self.apply(payload)
    }

    fn apply(&mut self, payload: &[u8]) -> Result<(), String> {
        let boots: BootConfig = codec::decode(payload).map_err(|error| error.to_string())?;
        if boots.me != self.me {
            // The machine has joined a cluster or left it: all that it holds restarts.
            self.networks.clear();
        }
        self.me = boots.me;
        self.membership.set_member(!self.me.is_empty());
        if self.me.is_empty() {
            self.link = None
        } else if self.link.is_none() {
            let link = BootNodeLink::start().map_err(|error| language::reason(&error))?;
            self.link = Some(link);
        }
        self.networks
            .retain(|name, _| boots.lans.contains_key(name));
        for (name, lan) in boots.lans {
            match self.networks.get_mut(&name) {
                Some(running) => running.change(lan, &boots.nodes, self.place)?,
                None => {
                    let running = self.start(&name, lan, &boots.nodes)?;
                    self.networks.insert(name, running);
                }
            }
        }
        let with = |(name, one): (&String, &NetworkServer)| {
            let (site, keeper) = (one.site.clone(), one.keeper.clone()?);
            Some((name.clone(), LinkedNetwork { site, keeper }))
        };
        if let Some(link) = &self.link {
            link.set_networks(self.networks.iter().filter_map(with).collect());
        }
        let place = self.place;
        self.networks
            .values_mut()
            .for_each(|running| running.remove_left(place));
        self.evaluate_networks();
        Ok(())
    }

    /// Sets the nodes of the cluster that are trusted.
    pub fn trust(&mut self, trusted: TrustedNodes) {
        if let Some(link) = &self.link {
            link.trust(trusted);
        }
    }

    /// Shares a network with the other nodes: creates its copies, and the thread that stores
    /// them.
    fn share(&self, site: &mut NetworkState) -> Result<Option<CopyWriter>, String> {
        let Some(link) = &self.link else {
            return Ok(None);
        };
        let copies = SharedCopies::default();
        let directory = site.lan().leases.clone();
        let only_writes = self.place.only_writes;
        let keeper = CopyWriter::start(directory, site.name(), copies.clone(), only_writes);
        site.share(copies, link.message_notifier());
        keeper.map(Some).map_err(|error| language::reason(&error))
    }

    fn start(&self, name: &str, lan: LanConfig, nodes: &[String]) -> Result<NetworkServer, String> {
        let is_alone = self.me.is_empty();
        let leases = (!is_alone).then(|| ClusterLeases::new(name, &self.me, nodes));
        let parts = leases.as_ref().map_or(1, ClusterLeases::parts);
        let runtime = (self.place.runtime)();
        let overlays = overlays(name, &lan, &AllOverlays::new(), self.place)?;
        let boots = BootCounts::default();
        let disks = aoe::Server::new(self.place.only_reads, boots.clone());
        let disks = disks.map_err(|error| language::reason(&error))?;
        let admission = self.membership.admission(now_ns());
        let mut site = NetworkState::new(name, lan, parts);
        site.set_boots(boots.clone());
        site.admit(admission);
        if is_alone {
            // Holds the only part: no other node assigns addresses of the range.
            let held = HeldPart {
                has_all_leases: true,
                has_turns: true,
                until_ms: u64::MAX,
                ..HeldPart::default()
            };
            site.apply_node_status(&self.me, alone(held), Moment::now().boottime_ms);
        }
        site.set_overlays(overlays.clone());
        let keeper = self.share(&mut site)?;
        let site = SharedNetworkState::new(site);
        let asked = site.clone();
        let finds: portal::MachineFinder =
            Arc::new(move |from, disk| asked.lock().user_of(from, disk));
        let portal = Portal::new(self.place.only_reads, finds, boots);
        let portal = portal.map_err(|error| language::reason(&error))?;
        let server = Server::start(site.clone(), self.place);
        let server = server.map_err(|error| language::reason(&error))?;
        let mut running = NetworkServer {
            site,
            server,
            disks,
            portal,
            overlays,
            older_reported: None,
            leases,
            keeper,
            left: None,
            admission,
        };
        let served = running.serve_disks(&runtime);
        served.map_err(|error| language::reason(&error))?;
        Ok(running)
    }

    /// Applies the leases that the cluster reports.
    pub fn apply_lease_news(&mut self, news: &LeaseNews) {
        for running in self.networks.values_mut() {
            if let Some(leases) = &mut running.leases {
                match news {
                    LeaseNews::Known(known) => leases.apply_known_leases(&known.0),
                    LeaseNews::HandOver { name } => leases.hand_over(name, now_ns()),
                }
            }
        }
        self.evaluate_networks();
    }

    /// Applies the control role's report about this machine as a member.
    pub fn apply_member_news(&mut self, news: &MemberNews) {
        self.membership.apply_report(news, now_ns());
        self.evaluate_networks();
    }

    /// Returns the time of the next evaluation of the leases.
    pub fn due(&self) -> Option<Instant> {
        let mut leases = self
            .networks
            .values()
            .filter_map(|running| running.leases.as_ref());
        leases.next()?;
        // The address in the network may change without notification.
        Some(self.next_evaluation)
    }

    /// Evaluates the leases of all networks.
    pub fn evaluate_networks(&mut self) {
        let now = now_ns();
        let leases = self
            .networks
            .values()
            .filter_map(|running| running.leases.as_ref());
        let next = leases.filter_map(|leases| leases.due_ns(now)).min();
        let most = if self.link.is_some() {
            LOOK_AT_NODES_NS
        } else {
            LOOK_NS
        };
        let next = next.map_or(most, |next| next.saturating_sub(now).min(most));
        self.next_evaluation = Instant::now() + Duration::from_nanos(next);
        let mut wanted = Vec::new();
        let admission = self.membership.admission(now);
        for running in self.networks.values_mut() {
            running.admit(admission, self.place);
            wanted.extend(running.evaluate_leases(
                &self.me,
                self.place,
                &mut self.pending_messages.records,
            ));
        }
        if !self.me.is_empty() && wanted != self.wanted {
            self.wanted.clone_from(&wanted);
            self.pending_messages.leases = Some(wanted);
        }
    }

    /// Removes and returns the messages to the cluster.
    pub fn take_messages(&mut self) -> ClusterMessages {
        std::mem::take(&mut self.pending_messages)
    }

    /// Repeats all messages to the cluster, because a new supervisor has not received them.
    pub fn repeat_messages(&mut self) {
        self.wanted.clear();
        self.evaluate_networks();
    }

    /// Stops the servers of all networks.
    pub fn stop(&mut self) {
        self.networks.clear();
    }

    /// Returns the report for operators.
    pub fn report(&self) -> StatusReport {
        let unlinked = self
            .link
            .as_ref()
            .map(BootNodeLink::troubles)
            .unwrap_or_default();
        let subjects = self.networks.values().map(|one| {
            let shares = |node: &String| one.leases.as_ref().is_some_and(|all| all.has(node));
            let unlinked = unlinked.iter().filter(|(node, _)| shares(node));
            let servers = ServerStatus {
                unlinked: unlinked
                    .map(|(node, why)| (node.clone(), why.clone()))
                    .collect(),
                disks: one.disks.disk_statuses(),
                roots: one.portal.disk_statuses(),
                portal: one.portal.counters(),
                ..one.server.server_status()
            };
            one.site.lock().subject(&servers)
        });
        StatusReport {
            part: crate::keyword::NAME.to_owned(),
            at: Moment::now(),
            subjects: subjects.collect(),
            rows: rows(),
        }
    }

    /// Executes an operator's order, and returns the encoded response.
    pub fn order(&mut self, message: &OperatorRequest) -> Vec<u8> {
        match message {
            OperatorRequest::Once { machine, image } => {
                codec::encode(&OrderResponse::of(self.once(machine, image)))
            }
            OperatorRequest::Wake { machine } => {
                codec::encode(&OrderResponse::of(self.wake(machine)))
            }
            OperatorRequest::Drop { machine } => {
                codec::encode(&OrderResponse::of(self.drop_changes(machine)))
            }
            OperatorRequest::Power { machine } => codec::encode(&self.power(machine)),
            OperatorRequest::Why { machine } => codec::encode(&self.why(machine)),
            OperatorRequest::Machines {} => codec::encode(&self.machines()),
            OperatorRequest::Watch { after } => codec::encode(&self.watch(after)),
        }
    }

    fn find(&self, machine: &str) -> Result<(&NetworkServer, Mac), String> {
        let mut found = self.networks.values().filter_map(|one| {
            let mac = one.site.lock().find_machine(machine)?;
            Some((one, mac))
        });
        let first = found.next();
        if let Some((other, _)) = found.next() {
            let network = other.site.lock().name().to_owned();
            let told = format!(
                "several networks have a machine '{machine}', among them '{network}': name its MAC address"
            );
            if machine.parse::<Mac>().is_err() {
                return Err(told);
            }
        }
        first.ok_or_else(|| {
            format!("there is no machine '{machine}': no `machine` line has this name, and no machine with this MAC address has asked")
        })
    }

    fn once(&self, machine: &str, image: &str) -> Result<String, String> {
        let (running, mac) = self.find(machine)?;
        let image = Some(image).filter(|image| !image.is_empty());
        let mut site = running.site.lock();
        if !site.has_turns() {
            return Err("what was booted once cannot be kept: see `evenkeel boot show`".to_owned());
        }
        if let Some(leader) = site.elsewhere() {
            return Err(format!(
                "node {leader} decides what machines of this network boot once: run the command there"
            ));
        }
        site.order(mac, image)?;
        Ok(format!("{machine} boots next: {}", site.next(mac)))
    }

    fn wake(&self, machine: &str) -> Result<String, String> {
        let (running, mac) = match (self.find(machine), machine.parse::<Mac>()) {
            (Ok(found), _) => found,
            // A machine that never sent a request can be switched on, too, where there is one
            // network.
            (Err(_), Ok(mac)) if self.networks.len() == 1 => match self.networks.values().next() {
                Some(running) => (running, mac),
                None => return Err("there is no network".to_owned()),
            },
            (Err(words), _) => return Err(words),
        };
        let site = running.site.lock();
        let interface = site.lan().interface.clone();
        let line = site.lan().machines.get(&mac);
        let control = line.and_then(|line| Some((&line.name, line.power.as_ref()?)));
        let control = control.map_or_else(String::new, |(name, control)| {
            format!(
                ". It has power control ({}): `evenkeel boot power on {name}` also sees whether it is on",
                control.name()
            )
        });
        drop(site);
        running.server.wake_machine(mac);
        Ok(format!(
            "sent to {mac} at {interface}; a machine that is set to wake by its card switches on{control}"
        ))
    }

    /// Drops the changes of a machine to disks with overlays.
    fn drop_changes(&self, machine: &str) -> Result<String, String> {
        let (running, mac) = self.find(machine)?;
        let all = running.overlays.iter();
        let mut dropped = Vec::new();
        for (name, overlays) in all.filter(|(_, overlays)| overlays.has(mac)) {
            overlays.renew(mac);
            dropped.push(name.as_str());
        }
        if dropped.is_empty() {
            Err(format!("{machine} has changed no disk with an `overlay`"))
        } else {
            Ok(format!(
                "dropped what {machine} has changed of {}: it boots the disk as it is",
                dropped.join(", ")
            ))
        }
    }

    /// Returns how the power of a machine is controlled, for the command that does it.
    fn power(&self, machine: &str) -> PowerControlResponse {
        match self.find(machine) {
            Ok((running, mac)) => {
                let site = running.site.lock();
                let line = site.lan().machines.get(&mac);
                PowerControlResponse {
                    trouble: String::new(),
                    control: line.and_then(|line| line.power.clone()),
                }
            }
            Err(trouble) => PowerControlResponse {
                trouble,
                control: None,
            },
        }
    }

    fn why(&self, machine: &str) -> MachineHistoryResponse {
        let (running, mac) = match self.find(machine) {
            Ok(found) => found,
            Err(trouble) => {
                return MachineHistoryResponse {
                    trouble,
                    ..MachineHistoryResponse::default()
                };
            }
        };
        let mut site = running.site.lock();
        let shown = site.shown(mac);
        let address = shown.address_words();
        let name = if shown.name.is_empty() {
            "a machine without a line"
        } else {
            &shown.name
        };
        MachineHistoryResponse {
            trouble: String::new(),
            who: format!("{name} ({mac}) in network {}", site.name()),
            next: shown.next,
            address,
            booted: shown.booted,
            elsewhere: shown
                .last
                .zip(Some(shown.last_node))
                .filter(|(_, node)| !node.is_empty()),
            me: self.me.clone(),
            steps: site.asked(mac),
        }
    }

    /// Returns the steps of machines since an earlier response.
    fn watch(&self, after: &BTreeMap<String, u64>) -> RecentRequestsResponse {
        let (mut watched, mut bytes) = (RecentRequestsResponse::default(), 0);
        for (name, running) in &self.networks {
            let site = running.site.lock();
            let history = site.history();
            watched.after.insert(name.clone(), history.number());
            // The first response only states where to begin.
            let Some(number) = after.get(name).copied().filter(|_| !after.is_empty()) else {
                continue;
            };
            let (missed, steps) = history.since(number);
            watched.missed += missed;
            for (mac, step) in steps {
                let named = site.lan().machines.get(mac);
                let who = named.map_or_else(
                    || mac.to_string(),
                    |machine| format!("{} ({mac})", machine.name),
                );
                // Sends as many steps as one response has room for.
                bytes += codec::encode(step).len();
                if bytes < SHOWN_BYTES {
                    watched.steps.push((name.clone(), who, step.clone()));
                    watched.machines.push(SteppedMachine {
                        name: named.map_or_else(String::new, |machine| machine.name.clone()),
                        mac: *mac,
                    });
                } else {
                    watched.missed += 1
                }
            }
        }
        watched
    }

    /// Returns all machines, the most recent requests first: as many as one response has room
    /// for.
    fn machines(&self) -> MachineListResponse {
        let mut all = Vec::new();
        for (name, running) in &self.networks {
            let mut site = running.site.lock();
            let macs = site.macs().into_iter();
            all.extend(macs.map(|mac| (site.asked_ms(mac), name, mac)));
        }
        all.sort_by_key(|(asked, name, mac)| (std::cmp::Reverse(*asked), *name, *mac));
        let (mut machines, mut more, mut bytes) = (Vec::new(), 0, 0);
        let notices = self
            .networks
            .values()
            .find_map(|one| one.site.lock().notice());
        for (_, name, mac) in all {
            if bytes >= SHOWN_BYTES {
                more += 1;
                continue;
            }
            let Some(running) = self.networks.get(name) else {
                continue;
            };
            let shown = running.site.lock().shown(mac);
            bytes += codec::encode(&shown).len();
            machines.push(shown);
        }
        MachineListResponse {
            machines,
            more,
            me: self.me.clone(),
            notice: notices.unwrap_or_default(),
        }
    }
}
