//! Runs the volumes of this node, each on its own thread. The role's thread starts and stops them
//! and reads their status. It never waits for a disk.

mod copies;
mod elsewhere;
mod keeper;
mod listening;
mod network;
mod pair;
mod snapshots;
mod socket;
mod stopping;
mod usage;
mod worker;

pub use elsewhere::refusal as refusal_of_elsewhere;
pub use socket::path as socket_path;
pub use worker::{Confine, VolumeEnvironment};

use crate::export::is_command;
use crate::link::dial::{Registry, ReplicationLink};
use crate::message::{VolumeOrder, copy_socket};
use crate::mirror::NO_CLUSTER;
use crate::mirror::mailbox::{ClusterRequest, MailboxMessage, Queue};
use crate::mirror::{self, MirrorStatus};
use crate::overwrite::{MarkChange, OverwriteMark};
use crate::replica::{OtherState, ReplicaOrder};
use copies::CopyService;
use elsewhere::ExternalVolumeState;
use listening::ReplicationListener;
use network::VolumeListeners;
use part::role::{KnownLease, LeaseNews, OrderResponse};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use worker::MirrorContext;

use crate::config::{ExternalVolume, KeptState, Spec, Volumes, shrinks};
use crate::report;
use crate::status::named;
use part::codec;
use part::control::{Epoch, LeaseRecord};
use part::report::StatusReport;
use snapshots::Snapshots;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use usage::Usage;
use wire::TrustedNodes;
use worker::Worker;

/// Volume role with its running volumes.
#[derive(Debug)]
pub struct VolumeRole {
    place: VolumeEnvironment,
    workers: BTreeMap<String, Worker>,
    elsewhere: BTreeMap<String, ExternalVolumeState>,
    ending: Vec<Worker>,
    /// Deadline for all volumes to stop; None while the role is not stopping.
    stops_at: Option<Instant>,
    snapshots: BTreeMap<String, Snapshots>,
    usage: Usage,
    network: VolumeListeners,
    ties: MirrorContext,
    listening: Option<ReplicationListener>,
    copying: CopyService,
    /// Leases as the cluster reported them last; None before the first report.
    leases: Option<Vec<KnownLease>>,
    ranks: BTreeMap<String, u32>,
    is_new: bool,
    former_users: BTreeMap<String, String>,
    former_specs: BTreeMap<String, Spec>,
    /// End of the time after a start in which the users of volumes report again.
    reports_until: Instant,
    changes_checked_at: Instant,
}

const REPORTS_WITHIN: Duration = Duration::from_secs(30);
const WAITS_LOOK: Duration = Duration::from_millis(500);

/// Requests of the volumes to the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterRequests {
    /// Ranks of all leases by name; None if they have not changed. Rank zero: the lease is only
    /// watched.
    pub leases: Option<Vec<(String, u32)>>,
    pub records: Vec<LeaseRecord>,
}

fn needless(message: &VolumeOrder, shown: Option<&MirrorStatus>) -> Option<String> {
    let Some(shown) = shown else {
        return Some(
            "the copy of this node is not open: `evenkeel volume list` says why".to_owned(),
        );
    };
    match message {
        VolumeOrder::Adopt { .. } | VolumeOrder::ServeAlone { .. } if !shown.knows_lease => {
            Some(NO_CLUSTER.to_owned())
        }
        VolumeOrder::Adopt { .. } => shown.no_adoption.clone(),
        VolumeOrder::ServeAlone { name } if !shown.report.lacks => Some(match &shown.no_adoption {
            None => format!(
                "the cluster does not have the copy of this node as a complete one: `evenkeel volume adopt \
                 {name}` continues with its data"
            ),
            Some(why) => format!("the copy of this node does not need this command: {why}"),
        }),
        VolumeOrder::Verify { .. } | VolumeOrder::Admit { .. } if !shown.report.serves => {
            Some("this node does not serve the volume: run the command at its owner".to_owned())
        }
        VolumeOrder::Verify { .. } if shown.report.other != OtherState::InSync => {
            Some("the other copy is not in sync: there is nothing to compare with".to_owned())
        }
        VolumeOrder::Verify { .. } if is_verifying(shown) => {
            Some("a verify of it is already running: `evenkeel volume show` shows the progress".to_owned())
        }
        VolumeOrder::StopVerify { .. } if !is_verifying(shown) => {
            Some("no verify of it is running on this node".to_owned())
        }
        VolumeOrder::Discard { .. } => match &shown.apart {
            None => Some(
                "the copy of this node is not refused, so there is nothing to discard".to_owned(),
            ),
            Some(apart) if !apart.other_serves => Some(format!(
                "{} does not serve this volume now, so nothing could fill this copy",
                shown.other
            )),
            Some(_) => None,
        },
        VolumeOrder::Resync { everything, .. } => unable(shown, *everything),
        VolumeOrder::Reopen { .. } => Some(
            "it has two copies: data that a failed flush may have lost is written again automatically"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Executes an order for a volume with one replica: a check of its checksums, or a reopen.
fn order_of_one(message: &VolumeOrder, worker: &Worker) -> Result<(), String> {
    let name = worker.name();
    let sums = worker.status().sums.sums();
    let is_running = sums.verified.is_some_and(|one| one.ended.is_none());
    match message {
        VolumeOrder::Verify { .. } | VolumeOrder::StopVerify { .. } if !sums.is_on => Err(format!(
            "volume '{name}' has one copy and no checksums: there is nothing to compare it with. `verify yes` in its \
             section keeps checksums"
        )),
        VolumeOrder::Verify { .. } if is_running => Err(
            "a verify of it is already running: `evenkeel volume show` shows the progress"
                .to_owned(),
        ),
        VolumeOrder::StopVerify { .. } if !is_running => {
            Err("no verify of it is running on this node".to_owned())
        }
        VolumeOrder::Verify { .. } => {
            worker.check(true);
            Ok(())
        }
        VolumeOrder::StopVerify { .. } => {
            worker.check(false);
            Ok(())
        }
        VolumeOrder::Reopen { .. } if worker.status().has_failed_writes() => {
            worker.reopen();
            Ok(())
        }
        VolumeOrder::Reopen { .. } => Err(format!(
            "no write or flush of volume '{name}' has failed, so there is no reason to open it again"
        )),
        _ => Err(format!(
            "volume '{name}' has one copy: this command is for volumes with two"
        )),
    }
}

fn change_mark(message: &VolumeOrder, worker: &Worker) -> Result<(), String> {
    let name = worker.name();
    let change = match message {
        VolumeOrder::Mark { mark, is_done, .. } => {
            let mark = OverwriteMark::from_number(*mark);
            let mark = mark.ok_or("the mark of an incomplete volume must not be zero")?;
            let user = worker.named_user();
            if !is_done && !user.is_some_and(|user| is_command(&user)) {
                return Err(format!(
                    "no command has volume '{name}' open, so it is not marked as incomplete"
                ));
            }
            if *is_done {
                MarkChange::Clear(mark)
            } else {
                MarkChange::Set(mark)
            }
        }
        _ => {
            let overwrite = worker.status().overwrite();
            let overwrite = overwrite
                .ok_or_else(|| format!("volume '{name}' is complete as far as this node knows"))?;
            if overwrite.is_running {
                return Err(format!("volume '{name}': {}", overwrite.refusal(&name)));
            }
            MarkChange::Clear(overwrite.mark)
        }
    };
    match worker.mailbox().filter(|_| worker.is_mirror()) {
        Some(mailbox) => mailbox.letters().put_once(MailboxMessage::Mark(change)),
        None => worker.change_mark(change),
    }
    Ok(())
}

fn is_verifying(shown: &MirrorStatus) -> bool {
    let verify = shown.report.verify.as_ref();
    verify.is_some_and(|verify| verify.ended.is_none())
}

fn unable(shown: &MirrorStatus, everything: bool) -> Option<String> {
    let (report, other) = (&shown.report, &shown.other);
    if !report.serves {
        return Some("this node does not serve the volume: run it on the owner".to_owned());
    }
    if let Err(why) = &shown.link {
        return Some(format!("{other} is not connected: {why}"));
    }
    if report.refused {
        return Some(format!(
            "the copy of {other} is refused: {}. Nothing was changed",
            shown.said
        ));
    }
    let is_needless = !everything && report.other == OtherState::InSync;
    is_needless.then(|| "both copies are in sync".to_owned())
}

pub fn lease_of(name: &str) -> String {
    format!("{}/{name}", crate::keyword::NAME)
}

impl VolumeRole {
    /// Creates a role without volumes. Must be called before the process is confined.
    ///
    /// # Errors
    /// No file descriptor is available.
    pub fn new(place: VolumeEnvironment) -> Result<VolumeRole, Errno> {
        let registry = Arc::new(Registry::default());
        Ok(VolumeRole {
            place,
            copying: CopyService::new(&registry),
            workers: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            ending: Vec::new(),
            stops_at: None,
            snapshots: BTreeMap::new(),
            usage: Usage::default(),
            network: VolumeListeners::default(),
            ties: MirrorContext {
                registry,
                wishes: Arc::new(Queue::new()?),
                boot: mirror::boot(),
            },
            listening: None,
            leases: None,
            ranks: BTreeMap::new(),
            is_new: false,
            former_users: BTreeMap::new(),
            former_specs: BTreeMap::new(),
            reports_until: Instant::now() + REPORTS_WITHIN,
            changes_checked_at: Instant::now(),
        })
    }

    pub fn kept(&self) -> Vec<u8> {
        let state = match self.stops_at {
            // Keeps the users from before the stop: a stopping role closes all connections, and the
            // guests that keep running reconnect after the next start.
            Some(_) => KeptState {
                users: self.former_users.clone(),
                waiting: self.former_specs.clone(),
            },
            None => KeptState {
                users: self.users(),
                waiting: self.held_specs(),
            },
        };
        state.encode()
    }

    fn held_specs(&self) -> BTreeMap<String, Spec> {
        let held = self.waiting_changes().keys();
        held.filter_map(|name| Some((name.clone(), self.workers.get(name)?.spec())))
            .collect()
    }

    fn awaits_reports(&self) -> bool {
        Instant::now() < self.reports_until
    }

    pub fn next_due(&self) -> Option<Instant> {
        let waits = !self.waiting_changes().is_empty();
        waits.then(|| self.changes_checked_at + WAITS_LOOK)
    }

    pub fn check_waiting_changes(&mut self) {
        self.changes_checked_at = Instant::now();
        self.apply_pending_configuration();
    }

    fn users(&self) -> BTreeMap<String, String> {
        let workers = self.workers.iter();
        workers
            .filter_map(|(name, worker)| Some((name.clone(), worker.named_user()?)))
            .collect()
    }

    /// Loads the state of the previous process. Each volume is reserved for the user that it had,
    /// which reconnects by itself.
    pub fn resume(&mut self, kept: &[u8]) {
        let state = KeptState::decode(kept);
        (self.former_users, self.former_specs) = (state.users, state.waiting);
    }

    /// Returns the descriptor that is readable when a volume has a request to the cluster.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.ties.wishes.as_fd()
    }

    /// Sends all requests and states again, for a supervisor that was restarted.
    pub fn resend_reports(&mut self) {
        self.is_new = true;
        self.usage.resend_notifications();
    }

    pub fn wishes(&mut self) -> ClusterRequests {
        let mut wishes = ClusterRequests::default();
        for (name, wish) in self.ties.wishes.take() {
            match wish {
                // Accepts the rank of any volume: one that is configured with one node may still
                // have one of two replicas, and then needs the lease.
                ClusterRequest::Rank(rank) => {
                    let is_known = self.ranks.contains_key(&name);
                    if is_known || self.workers.contains_key(&name) {
                        self.is_new |= self.ranks.insert(name, rank) != Some(rank);
                    }
                }
                ClusterRequest::Keep(what) => {
                    let ending = self.ending.iter().find(|worker| worker.name() == name);
                    if let Some(worker) = self.workers.get(&name).or(ending) {
                        worker.keep(what);
                    }
                }
                ClusterRequest::Record {
                    epoch,
                    number,
                    value,
                } => wishes.records.push(LeaseRecord {
                    name: lease_of(&name),
                    epoch: Epoch(epoch),
                    number,
                    value,
                    frees: String::new(),
                }),
            }
        }
        if std::mem::take(&mut self.is_new) {
            let ranks = self.ranks.iter();
            wishes.leases = Some(ranks.map(|(name, rank)| (lease_of(name), *rank)).collect());
        }
        wishes
    }

    pub fn apply_lease_news(&mut self, news: LeaseNews) {
        match news {
            LeaseNews::Known(leases) => {
                for (name, one) in &mut self.elsewhere {
                    let lease = lease_of(name);
                    one.learn(leases.0.iter().find(|one| one.name == lease).cloned());
                }
                self.leases = Some(leases.0);
                for (name, worker) in &self.workers {
                    self.tell_lease(name, worker);
                }
                self.apply_pending_configuration();
            }
            LeaseNews::HandOver { name } => {
                let of = |one: &&String| lease_of(one) == name;
                let name = self.workers.keys().find(of);
                let worker = name.and_then(|name| self.workers.get(name));
                if let Some(mailbox) = worker.and_then(Worker::mailbox) {
                    mailbox
                        .letters()
                        .put(MailboxMessage::Order(ReplicaOrder::HandOver));
                }
            }
        }
    }

    pub fn trust(&mut self, trusted: TrustedNodes) {
        // Ends connections with nodes that the cluster no longer has.
        let before = self.ties.registry.trusted();
        let trusted = Arc::new(trusted.continue_from(before.as_deref()));
        self.ties.registry.trust(Arc::clone(&trusted));
        // Restarts the listener, because this node's address may have changed.
        if let Some(listening) = self.listening.take_if(|one| one.cable().ends.is_none()) {
            let cable = listening.cable().clone();
            drop(listening);
            self.listening = ReplicationListener::start(&cable, &self.ties.registry);
        }
        let links = self.listening.as_ref().map(ReplicationListener::cable);
        self.copying.trust(trusted, links);
    }

    fn tell_lease(&self, name: &str, worker: &Worker) {
        if let (Some(mailbox), Some(leases)) = (worker.mailbox(), &self.leases) {
            let lease = lease_of(name);
            let lease = leases.iter().find(|one| one.name == lease).cloned();
            if mailbox.lease().as_ref() != Some(&lease) {
                mailbox.set_lease(lease);
            }
        }
    }

    pub fn order(&self, message: &VolumeOrder) -> OrderResponse {
        OrderResponse::of(self.execute_order(message).map(|()| String::new()))
    }

    fn execute_order(&self, message: &VolumeOrder) -> Result<(), String> {
        let (name, letter) = match message {
            VolumeOrder::Copy {
                node,
                volume,
                run,
                socket,
            } => {
                let socket = copy_socket(&self.place.runtime, *socket);
                return self.copying.dial(&socket, node, volume, *run);
            }
            VolumeOrder::HandOver { name } => {
                (name, Some(MailboxMessage::Order(ReplicaOrder::HandOver)))
            }
            VolumeOrder::ServeAlone { name } => {
                (name, Some(MailboxMessage::Order(ReplicaOrder::ServeAlone)))
            }
            VolumeOrder::Adopt { name } => (name, Some(MailboxMessage::Adopt)),
            VolumeOrder::Admit { name, node } => (name, Some(MailboxMessage::Admit(node.clone()))),
            VolumeOrder::Verify { name, repairs } => {
                let repairs = *repairs;
                (
                    name,
                    Some(MailboxMessage::Order(ReplicaOrder::Verify { repairs })),
                )
            }
            VolumeOrder::StopVerify { name } => {
                (name, Some(MailboxMessage::Order(ReplicaOrder::StopVerify)))
            }
            VolumeOrder::Discard { name } => (name, Some(MailboxMessage::Discard)),
            VolumeOrder::Reopen { name }
            | VolumeOrder::Mark { name, .. }
            | VolumeOrder::Accept { name } => (name, None),
            VolumeOrder::Resync { name, everything } => {
                let everything = *everything;
                (
                    name,
                    Some(MailboxMessage::Order(ReplicaOrder::Resync { everything })),
                )
            }
        };
        if let Some(one) = self.elsewhere.get(name) {
            return Err(one.refusal(name));
        }
        let Some(worker) = self.workers.get(name) else {
            return Err(format!("there is no volume '{name}' on this node"));
        };
        if let VolumeOrder::Admit { node, .. } = message
            && !(node.is_empty() || worker.has_copy_at(node))
        {
            return Err(format!("volume '{name}' has no copy on node '{node}'"));
        }
        if let VolumeOrder::Mark { .. } | VolumeOrder::Accept { .. } = message {
            return change_mark(message, worker);
        }
        let shown = worker.status().mirror;
        match worker.mailbox().filter(|_| worker.is_mirror()) {
            Some(mailbox) => {
                if let Some(words) = needless(message, shown.as_ref()) {
                    return Err(named(&words, name));
                }
                if let Some(letter) = letter {
                    mailbox.letters().put(letter);
                }
                Ok(())
            }
            None => order_of_one(message, worker),
        }
    }

    fn listen(&mut self, volumes: &Volumes) {
        let mut pairs = volumes.0.values().filter_map(|spec| spec.pair.as_ref());
        // Listens only if the other node of a volume dials, whose name then sorts first.
        let cable = pairs.find(|pair| pair.me > pair.other);
        let cable = cable.map(|pair| &pair.cable);
        if self.listening.as_ref().map(ReplicationListener::cable) != cable {
            self.listening = None;
            self.listening = cable.and_then(|cable: &ReplicationLink| {
                ReplicationListener::start(cable, &self.ties.registry)
            });
        }
        let links = self.listening.as_ref().map(ReplicationListener::cable);
        self.copying.change(volumes, links);
    }

    /// Applies a new configuration. Unchanged volumes keep running.
    ///
    /// # Errors
    /// The payload cannot be decoded, or a volume would shrink. Then nothing changes.
    pub fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        let mut volumes = codec::decode::<Volumes>(payload).map_err(|error| error.to_string())?;
        for (name, spec) in &volumes.0 {
            let worker = self.workers.get(name);
            let same = worker.filter(|worker| worker.spec().backing == spec.backing);
            let has = same.and_then(Worker::size_bytes);
            if let Some(has) = has.filter(|has| spec.size_bytes < *has) {
                return Err(shrinks(name, has, spec.size_bytes));
            }
        }
        self.hold(payload, &mut volumes);
        self.listen(&volumes);
        self.network.change(&mut volumes, &self.place.runtime);
        self.change_elsewhere(std::mem::take(&mut volumes.1));
        let stays = |(name, worker): &(String, Worker)| {
            let spec = volumes.0.get(name);
            let has = worker.spec();
            spec.is_some_and(|spec| spec.continues(&has))
        };
        let all = std::mem::take(&mut self.workers).into_iter();
        let (workers, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = all.partition(stays);
        self.workers = workers;
        for (name, worker) in gone {
            // Reserves the volume for its user, whose clients reconnect to the next worker.
            if let Some(user) = worker
                .named_user()
                .filter(|_| volumes.0.contains_key(&name))
            {
                self.former_users.insert(name, user);
            }
            worker.stop(false);
            self.ending.push(worker);
        }
        self.ending.retain(|worker| !worker.has_ended());
        // Keeps the rank of a stopping volume, which releases its lease itself after its requests
        // have ended.
        let known = self.ranks.len();
        let (workers, ending, elsewhere) = (&self.workers, &self.ending, &self.elsewhere);
        self.ranks.retain(|name, _| {
            elsewhere.contains_key(name)
                || workers.contains_key(name)
                || ending.iter().any(|worker| worker.name() == *name)
        });
        self.is_new |= self.ranks.len() != known;
        self.snapshots.retain(|name, one| {
            let spec = volumes.0.get(name);
            spec.is_some_and(|spec| one.fits(&spec.backing, spec.snapshots))
        });
        for (name, spec) in volumes.0 {
            let (backing, schedule) = (spec.backing.clone(), spec.snapshots);
            match self.workers.get_mut(&name) {
                Some(worker) => worker.change(&spec),
                None => {
                    if spec.pair.is_some() {
                        self.ranks.insert(name.clone(), 0);
                        self.is_new = true;
                    }
                    let user = self.former_users.remove(&name);
                    let worker =
                        Worker::start(&name, spec, self.place.clone(), self.ties.clone(), user);
                    self.tell_lease(&name, &worker);
                    worker.set_use(self.usage.of(&name), self.usage.grant(&name));
                    self.workers.insert(name.clone(), worker);
                }
            }
            let worker = self.workers.get(&name);
            if let Some((schedule, worker)) = schedule.zip(worker)
                && !self.snapshots.contains_key(&name)
            {
                let own = Snapshots::start(&name, &backing, schedule, worker.serves());
                self.snapshots.insert(name, own);
            }
        }
        let workers = self.workers.iter();
        self.copying
            .set_running_volumes(workers.map(|(name, worker)| (name.clone(), worker.shared())));
        Ok(())
    }

    fn change_elsewhere(&mut self, volumes: BTreeMap<String, ExternalVolume>) {
        self.elsewhere.retain(|name, one| {
            let spec = volumes.get(name);
            spec.is_some_and(|spec| spec.external.storage == one.spec.external.storage)
        });
        for (name, spec) in volumes {
            match self.elsewhere.get_mut(&name) {
                Some(one) => one.spec = spec,
                None => {
                    let mut one = ExternalVolumeState::new(spec);
                    let lease = lease_of(&name);
                    let mut leases = self.leases.iter().flatten();
                    one.learn(leases.find(|one| one.name == lease).cloned());
                    one.set_use(self.usage.of(&name));
                    self.elsewhere.insert(name, one);
                }
            }
        }
        self.rank_elsewhere();
    }

    fn rank_elsewhere(&mut self) {
        for (name, one) in self
            .elsewhere
            .iter()
            .filter(|(_, one)| one.spec.has_lease())
        {
            self.is_new |= self.ranks.insert(name.clone(), one.rank()) != Some(one.rank());
        }
    }

    pub fn report(&self) -> StatusReport {
        let ending = self.ending.iter().filter(|worker| !worker.has_ended());
        let new = |name: &str| self.workers.contains_key(name);
        let ending = ending.filter(|worker| !new(&worker.name()));
        let mut report = report::of(ending.chain(self.workers.values()).map(|worker| {
            let mut status = worker.status();
            let snapshots = self.snapshots.get(&status.name);
            status.snapshots = snapshots.map(|one| (one.schedule, one.taken()));
            status.network = self.network.seen(&status.name);
            status
        }));
        for subject in &mut report.subjects {
            if let Some(why) = self.waiting_changes().get(&subject.name) {
                *subject = std::mem::take(subject).fact(report::CHANGE, why.clone());
            }
        }
        let elsewhere = self.elsewhere.iter();
        report
            .subjects
            .extend(elsewhere.map(|(name, one)| one.subject(name)));
        self.usage
            .add_to(&mut report, |name, used| self.is_ready(name, used));
        report
    }
}
