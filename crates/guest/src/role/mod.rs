//! Runs the guest role: all guests of this node on one thread that blocks on none of them. The
//! agreement of the cluster ([`crate::agreement`]) and the events of QEMU drive the life cycle
//! ([`crate::life`]) of each guest.
//!
//! A guest outlives the role: when the role ends for any reason, guests continue to run, and the
//! next role adopts them.

pub mod carrier;
mod door;
mod far;
mod fencing;
mod machine;
mod moved;
mod moves;
mod offers;
pub mod report;
mod silence;
mod standing;
mod stream;
mod talk;
mod trouble;
mod volumes;

use crate::agreement::{
    self, Agreement, ClusterRequests, GuestDecision, IdleGuests, LeaseEnds, LocalState,
    OperatorOrder,
};
use crate::check::Checker;
use crate::clock::{boot, boottime_ms, boottime_ns};
use crate::config::{Guests, resource};
use crate::fence::gate::PreviousNodes;
use crate::fence::nodes::Nodes;
use crate::keyword::NAME;
use crate::life::{DesiredState, GuestStatus, Input};
use crate::message::{BEING_REMOVED, GuestConfiguration, GuestOrder, GuestResponse, RefusalReason};
use crate::placement::Room;
use crate::qemu::group::GuestGroups;
use crate::qemu::home::GuestDirectory;
use crate::qemu::process::Confine;
use machine::GuestMachine;
use moves::Migrations;
use part::codec;
use part::control::LeaseRecord;
use part::power::control::PowerControl;
use part::report::StatusReport;
use part::role::{LeaseNews, UsedVolume, UsedVolumes, WantedLease};
use part::voice::write_error;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Interval at which a record is sent again that the cluster does not have yet, milliseconds.
const RECORD_AGAIN_MS: u64 = 500;
/// Maximum number of turns until the states of all guests no longer change.
const TURNS_MAX: usize = 4;
/// Memory that guests do not get if the section of the node sets no capacity, bytes.
const RESERVE_BYTES: u64 = 512 << 20;

/// Environment variable that limits the bandwidth of a migration, bytes per second.
#[cfg(feature = "test-seams")]
const BANDWIDTH_VARIABLE: &str = "EVENKEEL_GUEST_MOVE_BANDWIDTH";

/// Returns the value for [`RoleEnvironment::move_bandwidth`] from the environment variable, by
/// which tests limit it.
#[cfg(feature = "test-seams")]
pub fn move_bandwidth() -> u64 {
    let limit = std::env::var(BANDWIDTH_VARIABLE).ok();
    limit.and_then(|limit| limit.parse().ok()).unwrap_or(0)
}

/// Returns the value for [`RoleEnvironment::move_bandwidth`]: unlimited.
#[cfg(not(feature = "test-seams"))]
pub const fn move_bandwidth() -> u64 {
    0
}

/// Environment of the role: paths and limits.
#[derive(Clone, Debug)]
pub struct RoleEnvironment {
    /// Runtime directory, with the sockets of volumes and the directories of guests.
    pub runtime: PathBuf,
    pub program: PathBuf,
    /// Landlock confinement of each QEMU process; None: no confinement.
    pub confine: Option<Confine>,
    /// Delegated control group, below which each QEMU process has its own; None: QEMU processes
    /// stay in the group of the role.
    pub groups: Option<GuestGroups>,
    pub has_kvm: bool,
    /// Maximum bandwidth of a migration, bytes per second; zero: unlimited.
    pub move_bandwidth: u64,
    /// Guests and other resources of other instances of Evenkeel on the machine, one per line. This
    /// role does not touch these guests.
    pub claimed: BTreeSet<String>,
    /// Path of the evenkeel binary, with which the role runs commands of operators at other nodes.
    pub commands: PathBuf,
}

/// Pending messages to the cluster and to the volume role.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoleMessages {
    /// All requested or watched leases; None if they have not changed.
    pub leases: Option<Vec<WantedLease>>,
    pub records: Vec<LeaseRecord>,
    /// Volumes in use; None if they have not changed.
    pub volumes: Option<UsedVolumes>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct HandoverState {
    stopped: BTreeSet<String>,
    drained: bool,
    fenced: BTreeMap<String, u64>,
    gate: PreviousNodes,
    held: LeaseEnds,
}

/// Guest role of this node.
#[derive(Debug)]
pub struct GuestRole {
    place: RoleEnvironment,
    guests: Guests,
    machines: BTreeMap<String, GuestMachine>,
    agreement: Agreement,
    decided: BTreeMap<String, GuestDecision>,
    killed: BTreeSet<String>,
    volumes: volumes::Volumes,
    moves: Migrations,
    far: far::RemoteRequests,
    streams: stream::Streams,
    set: OwnedFd,
    said: RoleOutbox,
    fencing: fencing::Fencing,
    nowhere: IdleGuests,
}

#[derive(Debug, Default)]
struct RoleOutbox {
    leases: Vec<WantedLease>,
    used: Vec<UsedVolume>,
    /// Records that the cluster has not confirmed yet, each with the time at which it was sent.
    records: BTreeMap<String, (LeaseRecord, u64)>,
    next: RoleMessages,
    /// True at the start and after the supervisor was replaced: everything is sent then.
    is_new: bool,
}

impl GuestRole {
    /// Starts the role with the payload of a configuration version, and with the state of the
    /// previous role process.
    ///
    /// # Errors
    /// The payload is invalid, or a system call fails.
    pub fn new(
        place: RoleEnvironment,
        payload: &[u8],
        kept: Option<&[u8]>,
    ) -> Result<GuestRole, String> {
        let guests: Guests = codec::decode(payload).map_err(|error| error.to_string())?;
        let set = epoll::create(CreateFlags::CLOEXEC).map_err(|errno| errno.to_string())?;
        let kept = kept.and_then(|bytes| codec::decode::<HandoverState>(bytes).ok());
        let kept = kept.unwrap_or_default();
        let agreement = Agreement::new(&guests.me, room(&guests)).with_boot(boot());
        let agreement = agreement.after(kept.held);
        let mut role = GuestRole {
            place,
            guests,
            machines: BTreeMap::new(),
            agreement,
            decided: BTreeMap::new(),
            killed: BTreeSet::new(),
            volumes: volumes::Volumes::default(),
            moves: Migrations::default(),
            far: far::RemoteRequests::default(),
            streams: stream::Streams::default(),
            set,
            said: RoleOutbox {
                is_new: true,
                ..RoleOutbox::default()
            },
            fencing: fencing::Fencing::default(),
            nowhere: IdleGuests::default(),
        };
        role.fencing.nodes = Nodes::resume(kept.fenced);
        role.agreement.resume_gate(kept.gate);
        if role.guests.me.is_empty() {
            role.agreement.drain_alone(kept.drained);
            for name in kept.stopped {
                // Ignores an error: a guest without a section cannot be stopped.
                let _ = role
                    .agreement
                    .order(&role.guests, &name, OperatorOrder::Stop, 0);
            }
        }
        role.find();
        role.turn();
        Ok(role)
    }

    fn find(&mut self) {
        let mut names: BTreeSet<String> = self.guests.guests.keys().cloned().collect();
        // Counts no other guests if the runtime directory is missing.
        let mut others = GuestDirectory::guests(&self.place.runtime).unwrap_or_default();
        others.retain(|name| !self.place.claimed.contains(&resource(name)));
        names.extend(others);
        for name in names {
            let machine = GuestMachine::find(&name, &self.place);
            if self.guests.guests.contains_key(&name) || machine.life.is_there() {
                self.machines.insert(name, machine);
            }
        }
    }

    /// Applies another configuration version.
    ///
    /// # Errors
    /// The payload is invalid. The current configuration stays in effect.
    pub fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        let guests: Guests = codec::decode(payload).map_err(|error| error.to_string())?;
        if guests.me != self.guests.me {
            self.agreement = Agreement::new(&guests.me, room(&guests)).with_boot(boot());
            self.said.is_new = true;
        }
        self.agreement.set_room(room(&guests));
        self.guests = guests;
        for name in self.guests.guests.keys() {
            if !self.machines.contains_key(name) {
                let machine = GuestMachine::find(name, &self.place);
                self.machines.insert(name.clone(), machine);
            }
        }
        self.turn();
        Ok(())
    }

    /// Returns a descriptor that becomes readable when a QEMU process has sent something or has
    /// ended.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    pub fn due(&self) -> Option<Instant> {
        let machines = self.machines.iter();
        let deadlines = machines.filter_map(|(name, machine)| machine.deadline(self.wish(name)));
        let records = self
            .said
            .records
            .values()
            .map(|(_, sent)| sent + RECORD_AGAIN_MS);
        let leases = self.agreement.deadline_ms(boottime_ns());
        let all = deadlines.chain(records).chain(leases);
        let at = all
            .chain(self.fencing_due())
            .chain(self.moves_due())
            .chain(self.far.due())
            .chain(self.streams.due())
            .chain(self.volumes.due(boottime_ms()))
            .min()?;
        let left = at.saturating_sub(boottime_ms());
        Some(Instant::now() + Duration::from_millis(left))
    }

    pub fn turn(&mut self) {
        for _ in 0..TURNS_MAX {
            let before = self.state_of_all();
            self.once();
            if self.state_of_all() == before {
                break;
            }
        }
        self.feed();
        self.watch();
    }

    fn state_of_all(&self) -> Vec<([bool; 4], Option<GuestStatus>)> {
        let of = |machine: &GuestMachine| {
            let shown = machine.shown.as_ref().map(|(shown, _)| shown.clone());
            let life = &machine.life;
            let is_up = machine.is_up();
            let all = [life.is_there(), life.may_run(), is_up, life.is_restarting()];
            (all, shown)
        };
        self.machines.values().map(of).collect()
    }

    fn once(&mut self) {
        let now = boottime_ms();
        for (name, machine) in &mut self.machines {
            machine.poll_process(now);
            machine.run_periodic_checks(self.guests.guests.get(name), now);
        }
        self.fence(now);
        let locals = self
            .machines
            .iter()
            .map(|(name, machine)| (name.clone(), machine.local(self.disks(name, machine, now))));
        let locals: BTreeMap<String, LocalState> = locals.collect();
        let (decided, told) = self.agreement.decide(&self.guests, &locals, boottime_ns());
        for (name, one) in &decided {
            if self.decided.get(name) != Some(one) {
                tracing::info!(
                    guest = name,
                    wish = ?one.wish,
                    epoch = one.epoch,
                    goes_to = one.goes_to,
                    reason = one.why,
                    "placement decided"
                );
            }
        }
        self.decided = decided;
        self.nowhere
            .update_idle_guests(&self.agreement, &self.guests, &locals, boottime_ns());
        self.see_not_taken(now);
        self.advance_migrations(now);
        self.far.poll_responses(now);
        self.streams.tidy(now);
        self.advance_standstills(now);
        let wishes: Vec<(DesiredState, Option<u64>)> = self
            .machines
            .keys()
            .map(|name| (self.wish(name), self.epoch_of(name)))
            .collect();
        for ((name, machine), (wish, epoch)) in self.machines.iter_mut().zip(wishes) {
            if self.decided.get(name).is_some_and(|one| one.forgives) {
                machine.life.apply_input(Input::Forgive, now);
            }
            let kills = wish == DesiredState::Kill && machine.is_left();
            let decided = self.decided.get(name).filter(|one| one.wish == wish);
            if let Some(one) = decided.filter(|_| kills) {
                machine.note(&one.why);
            }
            machine.allow(epoch);
            machine.advance(wish, self.guests.guests.get(name), &self.place, now);
            if !machine.life.is_there() {
                self.killed.remove(name);
            }
        }
        let guests = &self.guests.guests;
        self.machines.retain(|name, machine| {
            let stays = guests.contains_key(name) || machine.life.is_there();
            if !stays {
                machine.forget();
            }
            stays
        });
        self.queue_requests(told, now);
    }

    fn queue_requests(&mut self, told: ClusterRequests, now: u64) {
        let said = &mut self.said;
        let is_new = std::mem::take(&mut said.is_new);
        let leases = agreement::wanted(&told.leases, &self.guests);
        if is_new || said.leases != leases {
            said.leases.clone_from(&leases);
            said.next.leases = Some(leases);
        }
        said.records.retain(|name, (sent, _)| {
            let mut wanted = told.records.iter();
            wanted.any(|one| one.name == *name && *one == *sent)
        });
        for record in told.records {
            let sent = said.records.get(&record.name);
            if sent.is_none_or(|(_, at)| now >= at + RECORD_AGAIN_MS) {
                let name = record.name.clone();
                said.records.insert(name, (record.clone(), now));
                said.next.records.push(record);
            }
        }
        let used = self.used();
        if is_new || self.said.used != used {
            self.said.used.clone_from(&used);
            self.said.next.volumes = Some(UsedVolumes {
                part: NAME.to_owned(),
                volumes: used,
            });
        }
    }

    fn watch(&mut self) {
        let add = |fd: BorrowedFd<'_>, flags| match epoll::add(
            &self.set,
            fd,
            EventData::new_u64(0),
            flags,
        ) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => {
                write_error(&format!("evenkeel: guests: cannot watch QEMU: {errno}\n"));
            }
        };
        for machine in self.machines.values() {
            if let Some(process) = machine.process() {
                add(process.as_fd(), EventFlags::IN);
            }
            if let Some(monitor) = machine.monitor() {
                add(monitor.as_fd(), EventFlags::IN);
            }
            if let Some((fd, flags)) = machine.checker.as_ref().and_then(Checker::watched) {
                add(fd, flags);
            }
            if let Some((fd, flags)) = machine.standing_watched() {
                add(fd, flags);
            }
        }
        let add_in = |fd| add(fd, EventFlags::IN);
        self.fencing.nodes.watched().for_each(add_in);
        self.moves_wake().into_iter().for_each(add_in);
        self.far.wakes().for_each(add_in);
    }

    pub fn apply_lease_news(&mut self, news: LeaseNews) {
        match news {
            LeaseNews::Known(leases) => self.agreement.apply_leases(leases.0),
            LeaseNews::HandOver { name } => self.agreement.hand_over(&name),
        }
        self.turn();
    }

    pub fn order(&mut self, message: &GuestOrder) -> GuestResponse {
        let answer = match message {
            GuestOrder::At { node, order } if *node != self.guests.me => self.send(node, order),
            GuestOrder::At { order, .. } => self.carry_out(order),
            GuestOrder::Sent { number } => self.sent(*number),
            GuestOrder::Remembered { node, name } => self.far.remembered(node, name),
            message => self.carry_out(message),
        };
        self.turn();
        answer
    }

    fn carry_out(&mut self, message: &GuestOrder) -> GuestResponse {
        let done = match message {
            GuestOrder::Start { name } => self.start(name),
            GuestOrder::Stop { name, kills } => self.stop(name, *kills),
            GuestOrder::EndRestore { name } => self.end_restore(name),
            GuestOrder::Move { name, node } => self.move_to(name, node),
            GuestOrder::Drain {
                drained,
                shuts_down,
            } => {
                self.moves.shuts_down = *drained && *shuts_down;
                self.drain(*drained, *shuts_down)
            }
            GuestOrder::ConfirmOff { node } => {
                let now = boottime_ns();
                self.agreement.confirm_off(&self.guests, node, now)
            }
            GuestOrder::How { name } => return GuestResponse::of(report::how(self, name)),
            GuestOrder::Remove { name } => return self.remove(name),
            GuestOrder::Shown { name } => {
                return GuestResponse {
                    bytes: report::shown(self, name),
                    ..GuestResponse::of(Ok(String::new()))
                };
            }
            GuestOrder::At { .. } | GuestOrder::Sent { .. } | GuestOrder::Remembered { .. } => {
                Err("an order is forwarded to one node only".to_owned())
            }
        };
        GuestResponse::of(done.map(|()| String::new()))
    }

    fn start(&mut self, name: &str) -> Result<(), String> {
        if self.guests.templates.contains_key(name) {
            return Err(format!(
                "guest '{name}' is a template, which never starts: `evenkeel guest clone {name} NEW` makes a guest from it"
            ));
        }
        self.agreement
            .order(&self.guests, name, OperatorOrder::Start, boottime_ns())?;
        if let Some(machine) = self.machines.get_mut(name) {
            machine.life.apply_input(Input::Forgive, boottime_ms());
        }
        Ok(())
    }

    fn stop(&mut self, name: &str, kills: bool) -> Result<(), String> {
        // Kills a guest even if the stop is refused: the guest may have no section, or its QEMU may
        // not respond.
        let is_there = self
            .machines
            .get(name)
            .is_some_and(|machine| machine.life.is_there());
        let ordered = self
            .agreement
            .order(&self.guests, name, OperatorOrder::Stop, boottime_ns());
        if kills && is_there {
            self.killed.insert(name.to_owned());
            return Ok(());
        }
        ordered
    }

    fn end_restore(&mut self, name: &str) -> Result<(), String> {
        let order = OperatorOrder::EndRestore;
        self.agreement
            .order(&self.guests, name, order, boottime_ns())
    }

    fn remove(&mut self, name: &str) -> GuestResponse {
        match self.erase(name) {
            Ok(Some(words)) => GuestResponse::of(Ok(words)),
            Ok(None) => GuestResponse {
                reason: RefusalReason::BeingRemoved,
                ..GuestResponse::of(Err(BEING_REMOVED.to_owned()))
            },
            Err(words) => GuestResponse::of(Err(words)),
        }
    }

    /// Removes what is left of a guest. Returns None while parts of it still exist.
    fn erase(&mut self, name: &str) -> Result<Option<String>, String> {
        let guests = &self.guests;
        if guests.guests.contains_key(name) || guests.templates.contains_key(name) {
            return Err(format!(
                "the section of guest '{name}' is still served: remove it from the files first"
            ));
        }
        // Refuses a name that would lead out of the runtime directory, because the name becomes a
        // component of a path.
        if name.contains('/') || name.starts_with('.') || name.is_empty() {
            return Err(format!("'{name}' is not a guest name"));
        }
        if self.machines.contains_key(name) {
            return Err(format!(
                "guest '{name}' is still shutting down on this node"
            ));
        }
        let home = GuestDirectory::new(&self.place.runtime, name);
        let has_home = home.path().exists();
        home.remove();
        if home.path().exists() {
            let path = home.path().display();
            return Err(format!(
                "{path} cannot be removed, or something else is in it"
            ));
        }
        let erased = self
            .agreement
            .erase(&self.guests, name, has_home, boottime_ns())?;
        Ok(erased.map(|has_erased| {
            if has_erased {
                format!("removed what was left of guest {name}")
            } else {
                format!("nothing is left of guest {name}")
            }
        }))
    }

    fn move_to(&mut self, name: &str, node: &str) -> Result<(), String> {
        if let Some(guest) = self.guests.guests.get(name)
            && guest.migrate == crate::config::Migrate::Never
        {
            return Err(format!(
                "guest '{name}' has `migrate never`: it moves only where its node fails"
            ));
        }
        let order = OperatorOrder::Move(node.to_owned());
        // Checks only whether the node suits the guest. Any other obstacle is reported when the
        // order is given.
        if self.agreement.holder(name) == self.guests.me && node != self.guests.me {
            self.agreement
                .suits(&self.guests, name, node, boottime_ns())?;
        }
        self.moves.stays.remove(name);
        self.agreement
            .order(&self.guests, name, order, boottime_ns())
    }

    fn drain(&mut self, drained: bool, shuts_down: bool) -> Result<(), String> {
        if self.guests.me.is_empty() {
            self.agreement.drain_alone(drained);
            return Ok(());
        }
        let written = if drained {
            self.agreement
                .drain(&self.guests, shuts_down, boottime_ns())?
        } else {
            self.agreement.fill(boottime_ns())?
        };
        self.said.next.records.push(written);
        Ok(())
    }

    /// Sends everything again, because another supervisor has adopted this role.
    pub fn adopted(&mut self) {
        self.said.is_new = true;
        self.said.records.clear();
        self.turn();
    }

    /// Returns and clears the pending messages.
    pub fn take_outbox(&mut self) -> RoleMessages {
        std::mem::take(&mut self.said.next)
    }

    pub fn kept(&self) -> Vec<u8> {
        let stopped = if self.guests.me.is_empty() {
            self.agreement.stopped()
        } else {
            BTreeSet::new()
        };
        codec::encode(&HandoverState {
            drained: self.guests.me.is_empty() && self.agreement.is_drained(),
            stopped,
            fenced: self.fencing.nodes.started().clone(),
            gate: self.agreement.gate().clone(),
            held: self.agreement.holds(boottime_ns()),
        })
    }

    pub fn end(&mut self) {
        self.end_standings();
        let written = self.leave();
        self.said.next.records.extend(written);
    }

    /// Returns the fencing methods of a node, for `evenkeel fence test`. None: the node has no
    /// section.
    pub fn fences(&self, node: &str) -> Option<Vec<PowerControl>> {
        self.guests.nodes.get(node).map(|node| node.fences.clone())
    }

    pub fn known(&self, name: &str) -> GuestConfiguration {
        let machine = self.machines.get(name).filter(|one| one.life.is_there());
        GuestConfiguration {
            served: self
                .guests
                .guests
                .get(name)
                .or_else(|| self.guests.templates.get(name))
                .cloned(),
            started_as: machine.and_then(|one| one.started_as.clone()),
        }
    }

    pub fn report(&self) -> StatusReport {
        report::of(self)
    }
}

fn room(guests: &Guests) -> Room {
    let said = guests.nodes.get(&guests.me).and_then(|node| node.room);
    let said = said.unwrap_or_default();
    let all = || {
        let info = rustix::system::sysinfo();
        let bytes = u64::from(info.mem_unit).saturating_mul(info.totalram as u64);
        bytes.saturating_sub(RESERVE_BYTES)
    };
    Room {
        memory_bytes: said.memory_bytes.unwrap_or_else(all),
        cpus: said.cpus.unwrap_or(u32::MAX),
    }
}
