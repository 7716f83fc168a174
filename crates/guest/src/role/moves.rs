//! Executes live migrations of guests between two nodes: this module carries out the orders of
//! [`crate::migration`] on connections of [`super::carrier`].

use super::carrier::{IncomingConnection, NodeConnections, OutgoingConnection};
use super::machine::GuestMachine;
use super::moved::MigrationEvent;
use super::{GuestRole, talk::MigrationConnection};
use crate::agreement::GuestDecision;
use crate::clock::{boottime_ms, boottime_ns};
use crate::config::Migrate;
use crate::life::{DesiredState, GuestStatus, Input as LifeInput, QemuStatus};
use crate::migration::source::{
    Input, MigrationOutcome, STANDSTILL_MS, SourceOrder, SourceResources,
};
use crate::migration::target;
use crate::migration::{
    CANCEL, ConnectionPurpose, MigrationMessage, MigrationRequest, MigrationSource,
    MigrationTarget, Progress, difference,
};
use crate::qemu::monitor::CommandPurpose;
use part::role::VolumeUse;
use part::trace;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::SyncSender;

pub(super) const LOOK_MS: u64 = 250;
/// Delay after which the migration of a guest that could not migrate is tried again, milliseconds.
const AGAIN_MS: u64 = 60_000;
const TAKEN_MAX_MS: u64 = 5_000;
/// Time for which the request of an incoming guest is held before it is refused, milliseconds: the
/// report that permits the migration may be late.
const REFUSED_AFTER_MS: u64 = 3_000;
/// Time for which a request is held while another guest is about to free the capacity,
/// milliseconds. Shorter than the timeout of the request's source.
const ROOM_AFTER_MS: u64 = 80_000;
/// Limit of held requests, less one.
const ASKED_MAX: usize = 31;
const DEPARTURES_MAX: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Migrations {
    pub(super) carrier: Option<NodeConnections>,
    pub(super) departures: BTreeMap<String, OutgoingMigration>,
    arrivals: BTreeMap<String, IncomingMigration>,
    asked: Vec<QueuedMigrationRequest>,
    pub(super) stays: BTreeMap<String, FailedMigration>,
    /// True if guests that cannot migrate are shut down while the node is drained.
    pub(super) shuts_down: bool,
}

impl Migrations {
    fn stay(&mut self, machine: &mut GuestMachine, name: &str, to: &str, why: String, now: u64) {
        tracing::info!(guest = name, to, reason = why, "move failed");
        machine.note(&format!("it did not move to {to}: {why}"));
        let stay = FailedMigration {
            to: to.to_owned(),
            why,
            until: now + AGAIN_MS,
        };
        self.stays.insert(name.to_owned(), stay);
    }
}

#[derive(Debug)]
pub(super) struct OutgoingMigration {
    pub(super) to: String,
    pub(super) source: MigrationSource,
    /// Bytes sent, bytes that remain, bytes per second.
    pub(super) copied: [u64; 3],
    number: u64,
    talk: MigrationConnection,
    /// Socket to which QEMU connects; None once it has connected.
    listener: Option<UnixListener>,
    stream: Option<OutgoingConnection>,
    /// Time at which the migration ended. None while it is in progress.
    over: Option<u64>,
    is_taken: bool,
}

#[derive(Debug)]
struct QueuedMigrationRequest {
    ask: MigrationRequest,
    from: String,
    talk: MigrationConnection,
    at: u64,
}

#[derive(Debug)]
struct IncomingMigration {
    from: String,
    target: MigrationTarget,
    number: u64,
    talk: MigrationConnection,
    has_started: bool,
    /// Downtime of the guest as reported by the source, and the time of the report, milliseconds.
    still: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(super) struct FailedMigration {
    pub(super) to: String,
    pub(super) why: String,
    until: u64,
}

fn capabilities(more: &[&str]) -> Value {
    let own = ["pause-before-switchover", "late-block-activate", "events"];
    let all = own.iter().chain(more);
    let on = all.map(|one| json!({"capability": one, "state": true}));
    json!({"capabilities": on.collect::<Vec<_>>()})
}

impl GuestMachine {
    /// Cancels a migration, if there is one. QEMU refuses the command if there is none.
    fn cancel_move(&mut self) {
        for (command, state) in CANCEL {
            let arguments = state.map(|state| ("state".to_owned(), state.into()));
            let about = CommandPurpose::Move("migrate_cancel");
            self.send_with(about, command, arguments.into_iter().collect());
        }
    }
}

/// Returns the trace span for the events of a migration. Both nodes know the number of the
/// migration.
fn move_span(guest: &str, number: u64) -> tracing::Span {
    tracing::error_span!("move", guest, op = trace::operation_of(number))
}

impl OutgoingMigration {
    fn carry_out(&mut self, orders: Vec<SourceOrder>, machine: &mut GuestMachine, bandwidth: u64) {
        for order in orders {
            match &order {
                // Traces no message that only keeps the connection alive.
                SourceOrder::Send(MigrationMessage::Alive) => {}
                order => tracing::info!(order = ?order, "move: step of the source"),
            }
            match order {
                SourceOrder::Send(message) => self.talk.send(&message),
                SourceOrder::Cancel => {
                    machine.note("its move is cancelled");
                    machine.cancel_move();
                }
                SourceOrder::Continue => {
                    machine.note(
                        "its volumes are on the other node: the rest of its memory is copied",
                    );
                    let state = json!({"state": "pre-switchover"});
                    machine.order_move("migrate-continue", state);
                }
                SourceOrder::Migrate => self.migrate(machine, bandwidth),
                SourceOrder::Standstill(ms) => {
                    let parameters = json!({"downtime-limit": ms});
                    machine.order_move("migrate-set-parameters", parameters);
                }
            }
        }
    }

    fn migrate(&mut self, machine: &mut GuestMachine, bandwidth: u64) {
        let path = machine.home.outgoing();
        // Ignores an error: the file may be missing.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).and_then(|listener| {
            // Permits all users, because only root and QEMU can reach the directory.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        self.listener = match listener {
            Ok(listener) => Some(listener),
            Err(error) => {
                let words = format!("cannot listen at {}: {error}", path.display());
                let failed = self
                    .source
                    .apply_input(Input::Qemu(Progress::Failed(words)), boottime_ms());
                return self.carry_out(failed, machine, bandwidth);
            }
        };
        machine.note(&format!("it moves to {}: its memory is copied", self.to));
        machine.order_move("migrate-set-capabilities", capabilities(&["auto-converge"]));
        let parameters = json!({"downtime-limit": STANDSTILL_MS, "max-bandwidth": bandwidth});
        machine.order_move("migrate-set-parameters", parameters);
        let path = machine.home.for_qemu(&path);
        let uri = format!("unix:{}", path.display());
        machine.order_move("migrate", json!({"uri": uri}));
    }

    fn apply_qemu_events(&mut self, machine: &mut GuestMachine, now: u64) -> Vec<SourceOrder> {
        let mut orders = Vec::new();
        for one in std::mem::take(&mut machine.moved) {
            let input = match one {
                MigrationEvent::Copied(copied) => {
                    self.copied = copied;
                    continue;
                }
                MigrationEvent::Is(progress) => Input::Qemu(progress),
                MigrationEvent::Pass(pass) => Input::Pass(pass),
                MigrationEvent::Replied("migrate", Err(words)) => {
                    Input::Qemu(Progress::Failed(words))
                }
                MigrationEvent::Replied("migrate-continue", Err(words)) => Input::Lost(words),
                MigrationEvent::Replied(..) => continue,
            };
            orders.extend(self.source.apply_input(input, now));
        }
        orders
    }

    fn connect(&mut self, name: &str, carrier: &NodeConnections) {
        let Some(Ok((socket, _))) = self.listener.as_ref().map(UnixListener::accept) else {
            return;
        };
        self.listener = None;
        let hello = ConnectionPurpose::Stream {
            guest: name.to_owned(),
            number: self.number,
        };
        self.stream = Some(carrier.dial(&self.to, hello, socket));
    }
}

impl GuestRole {
    /// Sets the trusted nodes of the cluster. Guests can be migrated from now on.
    pub fn trust(&mut self, trusted: wire::TrustedNodes) {
        if self.moves.carrier.is_none() {
            self.moves.carrier = NodeConnections::new().ok();
        }
        if let Some(carrier) = &mut self.moves.carrier {
            carrier.trust(trusted);
        }
        self.turn();
    }

    pub(super) fn moving_wish(&self, name: &str) -> DesiredState {
        let wish = self
            .decided
            .get(name)
            .map_or(DesiredState::Hold, |one| one.wish);
        let Some(machine) = self.machines.get(name) else {
            return wish;
        };
        if self.killed.contains(name) {
            return DesiredState::Kill;
        }
        let epoch = self.decided.get(name).and_then(|one| one.epoch);
        if let Some(arrival) = self.moves.arrivals.get(name) {
            return match (arrival.target.failed(), arrival.target.has_arrived()) {
                (Some(_), _) => DesiredState::Kill,
                (None, true) if epoch.is_some() => wish,
                (None, _) => DesiredState::Arrive,
            };
        }
        let is_there = machine.life.is_there();
        // Kills a QEMU process that a previous role process started for an incoming migration: how
        // much of the guest has arrived is unknown.
        if is_there && machine.epoch.is_none() && !self.guests.me.is_empty() {
            return DesiredState::Kill;
        }
        match wish {
            DesiredState::ShutDown { .. } if is_there && self.goes_later(name) => DesiredState::Run,
            _ => wish,
        }
    }

    /// Returns whether a guest that has to leave runs here until then: it migrates live, or could
    /// not migrate a moment ago.
    fn goes_later(&self, name: &str) -> bool {
        let goes = self
            .decided
            .get(name)
            .is_some_and(|one| one.goes_to.is_some());
        let could_not = self.moves.stays.contains_key(name);
        let shuts_down = self.moves.shuts_down && (could_not || self.is_ending(name));
        goes && !shuts_down && (self.moves_live(name) || could_not)
    }

    fn is_ending(&self, name: &str) -> bool {
        let shown = self.machines.get(name).and_then(|one| one.shown.as_ref());
        matches!(
            shown,
            Some((GuestStatus::ShuttingDown(_) | GuestStatus::Ending, _))
        )
    }

    fn moves_live(&self, name: &str) -> bool {
        let guest = self.guests.guests.get(name);
        guest.is_some_and(|guest| guest.migrate == Migrate::Live)
    }

    pub(super) fn epoch_of(&self, name: &str) -> Option<u64> {
        let arrival = self.moves.arrivals.get(name);
        let comes = arrival.is_some_and(|arrival| !arrival.target.has_arrived());
        let is_left = self.machines.get(name).is_some_and(|machine| {
            arrival.is_none() && machine.life.is_there() && machine.epoch.is_none()
        });
        let epoch = self.decided.get(name).and_then(|one| one.epoch);
        epoch.filter(|_| !comes && (!is_left || self.guests.me.is_empty()))
    }

    pub(super) fn has_incoming_migration(&self, name: &str) -> bool {
        self.moves.arrivals.contains_key(name)
    }

    /// Returns how a migrating guest uses its volumes on this node; None: as the agreement decides.
    pub(super) fn moving_use(&self, name: &str) -> Option<VolumeUse> {
        let leaves = self
            .moves
            .departures
            .get(name)
            .filter(|one| one.source.hands_over());
        let comes = self
            .moves
            .arrivals
            .get(name)
            .filter(|one| one.target.takes_volumes());
        match (leaves, comes) {
            (Some(_), _) => Some(VolumeUse::HandsOver),
            (None, Some(_)) => Some(VolumeUse::Alone),
            (None, None) => None,
        }
    }

    pub(super) fn moves_wake(&self) -> Vec<BorrowedFd<'_>> {
        let leaving = self.moves.departures.values().flat_map(|one| {
            let listener = one.listener.as_ref().map(AsFd::as_fd);
            [Some(one.talk.as_fd()), listener].into_iter().flatten()
        });
        let coming = self.moves.arrivals.values().map(|one| one.talk.as_fd());
        let carrier = self.moves.carrier.as_ref().map(NodeConnections::wakes);
        leaving.chain(coming).chain(carrier).collect()
    }

    pub(super) fn moves_due(&self) -> Option<u64> {
        let moves = &self.moves;
        let is_moving =
            !moves.departures.is_empty() || !moves.arrivals.is_empty() || !moves.asked.is_empty();
        let stays = moves.stays.values().map(|one| one.until).min();
        if is_moving {
            Some(boottime_ms() + LOOK_MS)
        } else {
            stays
        }
    }

    /// Reports guests that the target did not accept, so that the operator's command that waits for
    /// the migration ends.
    pub(super) fn see_not_taken(&mut self, now: u64) {
        for (name, one) in &self.decided {
            let (Some(to), Some(machine)) = (&one.not_taken_by, self.machines.get_mut(name)) else {
                continue;
            };
            if self.moves.stays.contains_key(name) {
                continue;
            }
            let why = "that node is away, or did not accept it".to_owned();
            self.moves.stay(machine, name, to, why, now);
        }
    }

    pub(super) fn advance_migrations(&mut self, now: u64) {
        while let Some(came) = self
            .moves
            .carrier
            .as_mut()
            .and_then(NodeConnections::take_incoming)
        {
            self.take_in(came, now);
        }
        self.lead_asked(now);
        self.begin_moves(now);
        self.lead_departures(now);
        self.lead_arrivals(now);
        self.resolve();
        self.moves.stays.retain(|_, stay| stay.until > now);
    }

    fn begin_moves(&mut self, now: u64) {
        let names: Vec<String> = self.machines.keys().cloned().collect();
        for name in names {
            let is_full = self.moves.departures.len() >= DEPARTURES_MAX;
            let waits = self.moves.stays.contains_key(&name) || self.is_ending(&name);
            let stands = self.machines.get(&name).is_some_and(GuestMachine::stands);
            if is_full || waits || stands || self.moves.departures.contains_key(&name) {
                continue;
            }
            let decided = self.decided.get(&name).filter(|one| one.epoch.is_some());
            let Some(to) = decided.and_then(|one| one.goes_to.clone()) else {
                continue;
            };
            let runs = |one: &&GuestMachine| one.life.status() == Some(QemuStatus::Running);
            let Some(machine) = self.machines.get(&name).filter(runs) else {
                continue;
            };
            let stays = machine
                .started_as
                .as_ref()
                .and_then(|one| self.volume_stays(one));
            match stays {
                // Keeps the guest here. Otherwise it would stay paused until the migration fails,
                // or start on no node.
                Some(why) => self.stay(&name, &to, why, now),
                None if self.moves_live(&name) => self.begin(&name, to, now),
                None => {}
            }
        }
    }

    fn begin(&mut self, name: &str, to: String, now: u64) {
        let machine = self.machines.get_mut(name);
        let (Some(machine), Some(carrier)) = (machine, &self.moves.carrier) else {
            return;
        };
        let Some(spec) = machine.started_as.clone().filter(|_| carrier.is_ready()) else {
            return;
        };
        let Ok((own, local)) = UnixStream::pair() else {
            return;
        };
        let number = boottime_ns();
        let op = trace::operation_of(number);
        tracing::info!(op, guest = name, to, live = true, "move started");
        let memory = spec.memory_bytes;
        let ask = MigrationRequest {
            guest: name.to_owned(),
            number,
            spec,
            has_kvm: self.place.has_kvm,
        };
        machine.note(&format!("it is to move to {to}"));
        machine.moved.clear();
        // Cancels a migration that a previous role may have left in QEMU.
        machine.cancel_move();
        let line = carrier.dial(&to, ConnectionPurpose::Ask(Box::new(ask)), local);
        let departure = OutgoingMigration {
            source: MigrationSource::new(memory, now),
            to: to.clone(),
            copied: [0; 3],
            number,
            talk: MigrationConnection::new(own, line, now),
            listener: None,
            stream: None,
            over: None,
            is_taken: false,
        };
        self.moves.departures.insert(name.to_owned(), departure);
        // Records the target, which the record has to name before the lease is released.
        let _ = self
            .agreement
            .settle_move(&self.guests, name, Some(&to), boottime_ns());
    }

    /// Records that a guest does not migrate: the command that waits for the migration ends, and
    /// the migration is tried again later.
    fn stay(&mut self, name: &str, to: &str, why: String, now: u64) {
        if let Some(machine) = self.machines.get_mut(name) {
            self.moves.stay(machine, name, to, why, now);
        }
        // Ignores a refusal: without the lease, another node writes the record.
        let _ = self
            .agreement
            .settle_move(&self.guests, name, None, boottime_ns());
    }

    fn lead_departures(&mut self, now: u64) {
        let names: Vec<String> = self.moves.departures.keys().cloned().collect();
        for name in names {
            let Some(mut departure) = self.moves.departures.remove(&name) else {
                continue;
            };
            if self.lead_departure(&name, &mut departure, now) {
                self.moves.departures.insert(name, departure);
            }
        }
    }

    fn lead_departure(&mut self, name: &str, departure: &mut OutgoingMigration, now: u64) -> bool {
        let _operation = move_span(name, departure.number).entered();
        let decided = self.decided.get(name).cloned();
        let Some(machine) = self.machines.get(name) else {
            return false;
        };
        let here = SourceResources {
            has_lease: decided.as_ref().is_some_and(|one| one.epoch.is_some()),
            has_volumes: self.has_volumes(name, machine),
        };
        // Checks the volumes only until the hand-over has begun; from then on, the timeout of the
        // migration alone limits it.
        let stays = machine
            .started_as
            .as_ref()
            .filter(|_| !departure.source.hands_over());
        let stays = stays.and_then(|guest| self.volume_stays(guest));
        let goes_on =
            decided.and_then(|one: GuestDecision| one.goes_to) == Some(departure.to.clone());
        let bandwidth = self.place.move_bandwidth;
        let Some(machine) = self.machines.get_mut(name) else {
            return false;
        };
        let mut orders = departure.apply_qemu_events(machine, now);
        let (messages, lost) = departure.talk.read(now);
        for message in messages {
            departure.is_taken |= message == MigrationMessage::Taken;
            orders.extend(departure.source.apply_input(Input::Heard(message), now));
        }
        if let Some(carrier) = &self.moves.carrier {
            departure.connect(name, carrier);
        }
        let trouble = departure.stream.as_ref().map(OutgoingConnection::trouble);
        let trouble = trouble.filter(|words| !words.is_empty()).or(lost);
        if let Some(words) = trouble {
            orders.extend(departure.source.apply_input(Input::Lost(words), now));
        }
        if here.has_lease && !goes_on {
            let words = "its move was cancelled".to_owned();
            orders.extend(departure.source.apply_input(Input::Stop(words), now));
        }
        if let Some(words) = stays {
            orders.extend(departure.source.apply_input(Input::Stop(words), now));
        }
        orders.extend(departure.source.next(here, now));
        departure.carry_out(orders, machine, bandwidth);
        if departure.source.outcome().is_none() && departure.talk.is_due(now) {
            departure.talk.send(&MigrationMessage::Alive);
            machine.order_move("query-migrate", Value::Null);
        }
        let outcome = departure.source.outcome().cloned();
        match outcome {
            None => true,
            Some(MigrationOutcome::Stays(why)) => {
                self.stay(name, &departure.to, why, now);
                false
            }
            Some(MigrationOutcome::Moved) => {
                if departure.over.is_none() {
                    tracing::info!(to = departure.to, "guest moved");
                    machine.note(&format!("it has moved to {}", departure.to));
                    // Counts the guest as moved at once, so that the lease is released without
                    // waiting for QEMU, which may no longer respond.
                    machine
                        .life
                        .apply_input(LifeInput::Says(QemuStatus::Moved), now);
                }
                let over = *departure.over.get_or_insert(now);
                let is_known = departure.is_taken || now >= over + TAKEN_MAX_MS;
                !is_known || (here.has_lease && goes_on)
            }
        }
    }

    fn take_in(&mut self, came: IncomingConnection, now: u64) {
        match came.hello {
            ConnectionPurpose::Stream { guest, number } => {
                let arrival = self.moves.arrivals.get(&guest);
                let is_own =
                    arrival.is_some_and(|one| one.number == number && one.from == came.from);
                let machine = self.machines.get(&guest).filter(|_| is_own);
                let socket = machine.map(|one| UnixStream::connect(one.home.incoming()));
                if let Some(Ok(socket)) = socket {
                    // Ignores an error: if the connection has ended, the socket closes, which the
                    // source notices.
                    let _ = came.give.send(socket);
                }
            }
            ConnectionPurpose::Ask(ask) => {
                self.queue_migration_request(*ask, &came.from, &came.give, now)
            }
            ConnectionPurpose::Order(order) => self.execute_remote_order(&order, &came.give),
            ConnectionPurpose::Remote(what) => self.serve_stream(&what, &came.from, &came.give),
        }
    }

    fn queue_migration_request(
        &mut self,
        ask: MigrationRequest,
        from: &str,
        give: &SyncSender<UnixStream>,
        now: u64,
    ) {
        let Ok((own, local)) = UnixStream::pair() else {
            return;
        };
        if give.send(local).is_err() {
            return;
        }
        let talk = MigrationConnection::new(own, OutgoingConnection::default(), now);
        let from = from.to_owned();
        self.moves.asked.truncate(ASKED_MAX);
        self.moves.asked.push(QueuedMigrationRequest {
            ask,
            from,
            talk,
            at: now,
        });
        self.lead_asked(now);
    }

    /// Accepts incoming guests that are permitted. A refusal is delayed, because the knowledge of
    /// this node may be out of date.
    fn lead_asked(&mut self, now: u64) {
        for mut asked in std::mem::take(&mut self.moves.asked) {
            match self.may_come(&asked.ask, &asked.from) {
                Ok(()) => {
                    let _operation = move_span(&asked.ask.guest, asked.ask.number).entered();
                    tracing::info!(from = asked.from, "move accepted");
                    self.take(asked);
                }
                Err((words, wait_ms)) if now >= asked.at.saturating_add(wait_ms) => {
                    let _operation = move_span(&asked.ask.guest, asked.ask.number).entered();
                    tracing::info!(from = asked.from, reason = words, "move refused");
                    asked.talk.send(&MigrationMessage::Abort(words));
                }
                Err(_) => {
                    let (_, lost) = asked.talk.read(now);
                    if lost.is_none() {
                        self.moves.asked.push(asked);
                    }
                }
            }
        }
    }

    fn take(&mut self, asked: QueuedMigrationRequest) {
        let QueuedMigrationRequest {
            ask, from, talk, ..
        } = asked;
        let arrival = IncomingMigration {
            from: from.clone(),
            target: MigrationTarget::default(),
            number: ask.number,
            talk,
            has_started: false,
            still: None,
        };
        if let Some(machine) = self.machines.get_mut(&ask.guest) {
            machine.note(&format!("it comes from {from}"));
            machine.moved.clear();
            machine.arrives = true;
            // Resets earlier failures and a shutdown here, because the guest runs on the source
            // node.
            machine.life.apply_input(LifeInput::Forgive, boottime_ms());
        }
        self.moves.arrivals.insert(ask.guest, arrival);
    }

    /// Checks whether a guest may migrate to this node.
    ///
    /// # Errors
    /// The guest is unknown or still runs here, this node is drained, `from` does not hold the
    /// guest's lease, the KVM support or the configuration differs, or there is no room. Returns
    /// the text and the time for which the request is held before it is refused, milliseconds.
    fn may_come(&self, ask: &MigrationRequest, from: &str) -> Result<(), (String, u64)> {
        self.is_for_here(ask, from)
            .map_err(|words| (words, REFUSED_AFTER_MS))?;
        let coming = self.moves.arrivals.keys();
        let room = self
            .agreement
            .has_room_now(&self.guests, &ask.guest, coming);
        room.map_err(|lack| {
            if lack.passes {
                (lack.words, ROOM_AFTER_MS)
            } else {
                (lack.words, REFUSED_AFTER_MS)
            }
        })
    }

    fn is_for_here(&self, ask: &MigrationRequest, from: &str) -> Result<(), String> {
        let me = &self.guests.me;
        let name = &ask.guest;
        let guest = self.guests.guests.get(name);
        let guest =
            guest.ok_or_else(|| format!("the configuration of {me} has no guest {name}"))?;
        let machine = self
            .machines
            .get(name)
            .filter(|machine| !machine.life.is_there());
        if machine.is_none() || self.moves.arrivals.contains_key(name) {
            return Err(format!("a QEMU process of guest {name} still runs on {me}"));
        }
        if self.agreement.is_drained() {
            return Err(format!("{me} is drained"));
        }
        if self.agreement.holder(name) != from {
            return Err(format!(
                "as far as {me} knows, guest {name} is not on {from}"
            ));
        }
        if ask.has_kvm != self.place.has_kvm {
            return Err("only one of the two nodes has /dev/kvm".to_owned());
        }
        match difference(&ask.spec, guest) {
            None => Ok(()),
            Some(what) => Err(format!(
                "it was started with another configuration ({what}): it takes effect when it is \
                 stopped and started"
            )),
        }
    }

    fn lead_arrivals(&mut self, now: u64) {
        let names: Vec<String> = self.moves.arrivals.keys().cloned().collect();
        for name in names {
            let Some(mut arrival) = self.moves.arrivals.remove(&name) else {
                continue;
            };
            if self.lead_arrival(&name, &mut arrival, now) {
                self.moves.arrivals.insert(name, arrival);
            } else if let Some(machine) = self.machines.get_mut(&name) {
                machine.arrives = false;
            }
        }
    }

    fn lead_arrival(&mut self, name: &str, arrival: &mut IncomingMigration, now: u64) -> bool {
        let _operation = move_span(name, arrival.number).entered();
        let Some(machine) = self.machines.get(name) else {
            return false;
        };
        let here = target::TargetResources {
            has_lease: self
                .decided
                .get(name)
                .is_some_and(|one| one.epoch.is_some()),
            has_volumes: self.has_volumes(name, machine),
        };
        let me = &self.guests.me;
        let Some(machine) = self.machines.get_mut(name) else {
            return false;
        };
        let mut orders = Vec::new();
        let is_there = machine.life.is_there();
        arrival.has_started |= is_there;
        if !is_there && !arrival.target.has_arrived() {
            let ended = match machine.life.failure() {
                Some(why) => Some(Progress::Failed(format!("{me} cannot start it: {why}"))),
                None => arrival.has_started.then_some(Progress::Gone),
            };
            let ended = ended.map(target::Input::Qemu);
            orders.extend(
                ended
                    .into_iter()
                    .flat_map(|one| arrival.target.apply_input(one)),
            );
        }
        if machine.life.status() == Some(QemuStatus::Arriving) {
            orders.extend(arrival.target.apply_input(target::Input::Waits));
        }
        for one in std::mem::take(&mut machine.moved) {
            let input = match one {
                MigrationEvent::Is(progress) => target::Input::Qemu(progress),
                MigrationEvent::Replied("migrate-incoming", Ok(())) => target::Input::Listens,
                MigrationEvent::Replied(_, Err(words)) => {
                    target::Input::Qemu(Progress::Failed(words))
                }
                MigrationEvent::Copied(_)
                | MigrationEvent::Pass(_)
                | MigrationEvent::Replied(..) => continue,
            };
            orders.extend(arrival.target.apply_input(input));
        }
        let (messages, lost) = arrival.talk.read(now);
        for message in &messages {
            if let MigrationMessage::Done { still_ms } = message {
                arrival.still = Some((*still_ms, now));
            }
        }
        let heard = messages.into_iter().map(target::Input::Heard);
        let lost = lost.map(target::Input::Lost);
        for input in heard.chain(lost) {
            orders.extend(arrival.target.apply_input(input));
        }
        orders.extend(arrival.target.next(here, now));
        for order in orders {
            match order {
                target::TargetOrder::Send(message) => arrival.talk.send(&message),
                target::TargetOrder::Listen => {
                    machine.order_move("migrate-set-capabilities", capabilities(&[]));
                    let path = machine.home.for_qemu(&machine.home.incoming());
                    let uri = format!("unix:{}", path.display());
                    machine.order_move("migrate-incoming", json!({"uri": uri}));
                }
            }
        }
        if arrival.talk.is_due(now) {
            arrival.talk.send(&MigrationMessage::Alive);
        }
        match arrival.target.failed() {
            Some(words) => {
                if machine.arrives {
                    machine.arrives = false;
                    machine.note(&format!("it did not arrive from {}: {words}", arrival.from));
                }
                machine.life.is_there()
            }
            // Ends the migration: from now on the guest belongs to this node like any other.
            None if here.has_lease && machine.life.status() == Some(QemuStatus::Running) => {
                let still = arrival
                    .still
                    .map(|(ms, since)| ms + now.saturating_sub(since));
                let still = still.unwrap_or_default();
                machine.note(&format!(
                    "it continues on this node; it was paused for {still} ms"
                ));
                false
            }
            None => true,
        }
    }

    /// Lets guests run that a previous role process has left paused for a migration.
    fn resolve(&mut self) {
        let left = self.machines.iter().filter(|(name, machine)| {
            let holds = self
                .decided
                .get(*name)
                .is_some_and(|one| one.epoch.is_some());
            machine.life.status() == Some(QemuStatus::Moving)
                && !self.moves.departures.contains_key(*name)
                && holds
                && self.has_volumes(name, machine)
        });
        let left: Vec<String> = left.map(|(name, _)| name.clone()).collect();
        for name in left {
            if let Some(machine) = self.machines.get_mut(&name) {
                machine.cancel_move();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Guest, Guests};
    use crate::role::RoleEnvironment;
    use part::codec;
    use part::role::{KnownLease, KnownLeases, LeaseNews};
    use std::sync::mpsc::sync_channel;

    /// Creates the guest role of beta, without QEMU, while guest mail runs on alpha.
    fn beta(scratch: &lab::ScratchDirectory, mail: &Guest) -> GuestRole {
        let place = RoleEnvironment {
            runtime: scratch.path().to_owned(),
            program: "/nonexistent/qemu".into(),
            confine: None,
            has_kvm: false,
            move_bandwidth: 0,
            groups: None,
            claimed: std::collections::BTreeSet::new(),
            commands: "/nonexistent".into(),
        };
        let guests = Guests {
            me: "beta".to_owned(),
            guests: [("mail".to_owned(), mail.clone())].into(),
            ..Guests::default()
        };
        let mut role = GuestRole::new(place, &codec::encode(&guests), None).unwrap();
        role.apply_lease_news(LeaseNews::Known(KnownLeases(vec![KnownLease {
            name: "guest/mail".to_owned(),
            epoch: 1,
            until_ns: 0,
            holder: "alpha".to_owned(),
            number: 0,
            record: Vec::new(),
            is_inherited: false,
        }])));
        role
    }

    #[test]
    fn target_that_cannot_start_qemu_aborts_with_its_reason() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let mail = Guest {
            prefer: vec!["alpha".to_owned(), "beta".to_owned()],
            ..Guest::plain(1 << 20)
        };
        let mut role = beta(&scratch, &mail);
        // The second attempt, after a failed one, is made and reported as well.
        for attempt in 1..=2 {
            let ask = MigrationRequest {
                guest: "mail".to_owned(),
                number: attempt,
                spec: mail.clone(),
                has_kvm: false,
            };
            let (give, given) = sync_channel(1);
            let now = boottime_ms();
            role.queue_migration_request(ask, "alpha", &give, now);
            for _ in 0..5 {
                role.turn();
            }
            let line = OutgoingConnection::default();
            let mut alpha = MigrationConnection::new(given.recv().unwrap(), line, now);
            let (messages, _) = alpha.read(now);
            let [MigrationMessage::Abort(why)] = &messages[..] else {
                panic!("attempt {attempt}: {messages:?}");
            };
            assert!(
                why.starts_with("beta cannot start it: ") && why.contains("/nonexistent/qemu"),
                "{why}"
            );
            let events = &role.machines["mail"].events;
            let starts = events
                .iter()
                .filter(|event| event.to.starts_with("/nonexistent"));
            assert_eq!(starts.count() as u64, attempt);
        }
    }
}
