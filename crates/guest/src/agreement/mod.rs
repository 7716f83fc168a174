//! Decides for this node about guests, as a pure state machine: which leases the node requests,
//! which records it writes under them, and the desired state of each guest here. Reads no clock and
//! sends nothing.
//!
//! - A guest runs only on the node that holds its lease `guest/NAME`. The holder writes the record
//!   of the lease ([`GuestRecord`]).
//! - A node accepts guests as long as it holds the lease `guest/@NODE`. Every other node requests
//!   that lease, too, at a lower rank. So each node learns that a node has failed, and a returning
//!   node gets its lease back.
//! - Each node computes the placement of a guest in the same way ([`crate::placement`]). If two
//!   nodes see different inputs, the lease decides.
//! - A guest leaves a node before the node releases its lease.

mod alone;
mod copies;
mod defect;
mod drain;
mod erase;
mod external;
mod fencing;
mod gone;
mod late;
mod mine;
mod nowhere;
mod orders;
mod room;
#[cfg(test)]
mod tests;
mod words;

pub use crate::record::{Fenced, GuestRecord, NodeRecord};
pub use mine::LeaseEnds;
pub use nowhere::IdleGuests;
pub use room::WaitReason;

use crate::config::{Guest, Guests};
use crate::defect::InjectedDefect;
use crate::life::DesiredState;
use crate::placement::{self, PlacementResult, Room, View};
use defect::AgreementDefect;
use part::control::LeaseRecord;
use part::role::{KnownLease, WantedLease};
use std::collections::{BTreeMap, BTreeSet};

/// Rank with which a node requests its own lease, and the lease of a guest that it holds.
const OWN: u32 = 100;
/// Rank with which a node requests the lease of another node.
const OTHERS: u32 = 1;
const PREFIX: &str = "guest/";
const NODES: &str = "guest/@";
/// Time for which the target node of a guest's migration may be unavailable, milliseconds.
const AWAY_MS: u64 = 5_000;
/// Validity of a renewal of a node's own lease if nodes are fenced, milliseconds. Short, so that a
/// failed node is noticed before the leases of its guests end.
pub const FENCED_VALID_MS: u64 = 500;
/// Validity of the lease of a node for another node that holds it, milliseconds.
const FENCED_OTHERS_MS: u64 = 2_000;

/// State of a guest on this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalState {
    /// A QEMU process exists or may exist.
    pub is_there: bool,
    /// The virtual CPUs run, or may run.
    pub may_run: bool,
    /// Epoch of the lease in which the guest was started, or last allowed to run.
    pub epoch: Option<u64>,
    /// True if the guest runs, and its health check succeeds.
    pub is_up: bool,
    /// The guest shut down by itself.
    pub is_off: bool,
    /// Reason of the last failure, if the guest failed too often.
    pub failed: Option<String>,
    /// True if the guest's volumes are writable on this node, and on no other.
    pub has_volumes: bool,
    /// Both copies of the mirrored volumes are complete, so the volumes could be handed over now.
    pub has_both_copies: bool,
    /// Volume of which this node has no copy, while the other node serves it.
    pub without_copy: Option<String>,
    /// Volume that another user has opened since this guest opened it.
    pub superseded: Option<String>,
    /// True if the guest was migrated to another node; what is left of its process never runs
    /// again.
    pub has_moved: bool,
    /// True if the QEMU process ended without closing its disks: some of its writes may still be in
    /// flight.
    pub left_open: bool,
    /// Time that the guest has to shut down, as it was configured last, milliseconds.
    pub stop_ms: Option<u64>,
}

/// Order of an operator for a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OperatorOrder {
    Start,
    /// The guest shuts down and stays down.
    Stop,
    Move(String),
    /// The planned move is cancelled.
    Stay,
    /// Removes the mark that an earlier release set in the guest's record: a restore of its disks
    /// has begun and not ended.
    EndRestore,
}

/// Order of an operator that the cluster has not recorded yet.
#[derive(Clone, PartialEq, Eq, Debug)]
struct PendingOrder {
    order: OperatorOrder,
    /// Epoch of the lease when the order was given, or when this node last received the lease
    /// again.
    epoch: u64,
}

/// Decision about a guest on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestDecision {
    pub wish: DesiredState,
    /// Epoch of the lease with which the guest may run on this node.
    pub epoch: Option<u64>,
    pub uses_volumes: bool,
    /// Earlier failures and shutdowns on this node no longer count: another node has held the lease
    /// since.
    pub forgives: bool,
    pub goes_to: Option<String>,
    /// Target of a migration that did not accept the guest.
    pub not_taken_by: Option<String>,
    pub waits_for_volumes: bool,
    /// Reason why the guest runs on another node or not at all, as text; empty if it runs on this
    /// node.
    pub why: String,
}

/// Leases to be requested from the cluster, and records to be written there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterRequests {
    /// Requested leases with their ranks; zero: the lease is only watched.
    pub leases: Vec<(String, u32)>,
    pub records: Vec<LeaseRecord>,
}

/// Agreement of the nodes about guests, from the view of this node. The caller passes the reports
/// of the cluster to [`Agreement::apply_leases`]. [`Agreement::decide`] returns the desired state
/// of each guest on this node and the requests to the cluster, which the caller sends. To be called
/// after each change, and at [`Agreement::deadline_ms`].
#[derive(Debug, Default)]
pub struct Agreement {
    me: String,
    own: NodeRecord,
    leases: BTreeMap<String, KnownLease>,
    is_known: bool,
    pending: BTreeMap<String, PendingOrder>,
    /// Leases of other nodes that this node releases.
    yields: BTreeSet<String>,
    /// Guests that returned to this node because the target of their migration did not accept them.
    targets_gone: BTreeSet<String>,
    drains: Option<drain::DrainRequest>,
    places: BTreeMap<String, PlacementResult>,
    broken: InjectedDefect<AgreementDefect>,
    fencing: fencing::FencingState,
    /// Guests without a section whose record is being removed.
    erases: BTreeMap<String, erase::RecordRemoval>,
    held_since: external::ExternalDiskState,
    mine: mine::LocalLeases,
    here: room::LocalGuests,
    late: late::LateNodes,
}

fn lease_of(guest: &str) -> String {
    format!("{PREFIX}{guest}")
}

fn lease_of_node(node: &str) -> String {
    format!("{NODES}{node}")
}

pub fn wanted(leases: &[(String, u32)], guests: &Guests) -> Vec<WantedLease> {
    let fences = guests.nodes.values().any(|node| !node.fences.is_empty());
    let of = |(name, rank): &(String, u32)| WantedLease {
        name: name.clone(),
        rank: *rank,
        watch: *rank == 0,
        valid_ms: match fences && name.starts_with(NODES) {
            true if *rank == OWN => FENCED_VALID_MS,
            true => FENCED_OTHERS_MS,
            false => 0,
        },
    };
    leases.iter().map(of).collect()
}

impl Agreement {
    pub fn new(me: &str, room: Room) -> Agreement {
        Agreement {
            me: me.to_owned(),
            own: NodeRecord {
                memory_bytes: room.memory_bytes,
                cpus: room.cpus,
                ..NodeRecord::default()
            },
            ..Agreement::default()
        }
    }

    /// Sets the capacity of this machine, which a reload can change.
    pub fn set_room(&mut self, room: Room) {
        self.own.memory_bytes = room.memory_bytes;
        self.own.cpus = room.cpus;
    }

    pub fn apply_leases(&mut self, leases: Vec<KnownLease>) {
        self.is_known = true;
        let named = leases.into_iter().map(|lease| (lease.name.clone(), lease));
        self.leases = named.collect();
        let drained = self
            .leases
            .get(&lease_of_node(&self.me))
            .and_then(|lease| NodeRecord::decode(&lease.record));
        if let Some(record) = drained {
            self.apply_drain_record(&record);
        }
        self.update_holders();
        let leases = &self.leases;
        self.mine.retain_held_leases(|name| {
            let lease = leases.get(&lease_of(name));
            lease.is_some_and(|lease| lease.holder == self.me)
        });
        self.yields
            .retain(|name| leases.get(name).is_some_and(|lease| lease.until_ns > 0));
    }

    /// Releases the lease of another node, which has returned and requests it. Ignores all other
    /// leases.
    pub fn hand_over(&mut self, name: &str) {
        let is_others = name.starts_with(NODES) && name != lease_of_node(&self.me);
        if is_others && !self.is(AgreementDefect::NeverYields) {
            self.yields.insert(name.to_owned());
        }
    }

    fn is(&self, defect: AgreementDefect) -> bool {
        self.broken.is(&defect)
    }

    fn record_of(&self, name: &str) -> GuestRecord {
        let lease = self.leases.get(&lease_of(name));
        lease
            .and_then(|lease| GuestRecord::decode(&lease.record))
            .unwrap_or_default()
    }

    /// Returns whether a node holds its own lease, as far as this node knows. This node itself also
    /// counts as available while it holds the lease of a guest: then it was only late with a
    /// renewal.
    fn is_there(&self, node: &str, now_ns: u64) -> bool {
        let lease = self.leases.get(&lease_of_node(node));
        lease.is_some_and(|lease| {
            if node == self.me {
                lease.until_ns > now_ns || self.holds_a_guest(now_ns)
            } else {
                lease.holder == node
            }
        })
    }

    /// Returns whether a node has been unavailable for longer than a busy node would be.
    fn is_away(&self, node: &str, now_ns: u64) -> bool {
        let since = self.gone_since(node).unwrap_or(0);
        let is_over = now_ns / 1_000_000 >= since.saturating_add(AWAY_MS);
        !self.is_there(node, now_ns) && is_over
    }

    fn holds_a_guest(&self, now_ns: u64) -> bool {
        let mut held = self.leases.values().filter(|one| one.until_ns > now_ns);
        held.any(|one| !one.name.starts_with(NODES))
    }

    pub fn nodes(&self, guests: &Guests, now_ns: u64) -> BTreeMap<String, bool> {
        let names = names(guests).into_iter();
        names
            .map(|name| {
                let is_there = self.is_there(&name, now_ns);
                (name, is_there)
            })
            .collect()
    }

    /// Returns the node that holds the lease of a guest, or held it last and did not release it, as
    /// the cluster reports it; empty: none.
    pub fn holder(&self, name: &str) -> &str {
        let lease = self.leases.get(&lease_of(name));
        lease.map_or("", |lease| lease.holder.as_str())
    }

    fn view(&self, guests: &Guests, now_ns: u64) -> View {
        let mut view = View::default();
        for name in names(guests) {
            if !self.is_there(&name, now_ns) {
                continue;
            }
            let lease = self.leases.get(&lease_of_node(&name));
            let record = lease.and_then(|lease| NodeRecord::decode(&lease.record));
            // Leaves out a node that has not reported its capacity, so that it gets no guests.
            let Some(record) = record else {
                continue;
            };
            view.nodes.push(placement::AvailableNode {
                room: Room {
                    memory_bytes: record.memory_bytes,
                    cpus: record.cpus,
                },
                is_drained: record.drained,
                name,
            });
        }
        for (name, guest) in &guests.guests {
            let record = self.record_of(name);
            if !record.stopped.is_empty() && !self.is(AgreementDefect::PlacesStopped) {
                continue;
            }
            let holder = self.holder(name);
            // A guest whose lease this node has released does not run here, even if the cluster
            // still reports this node as the holder. A lease that an earlier process of this role
            // held is resumed: no other node requests it.
            let is_given_up = holder == self.me
                && self.held(name, now_ns).is_none()
                && (self.mine.has_given_up(name) || self.is(AgreementDefect::LeavesItsOwn));
            let is_held =
                !holder.is_empty() && (!is_given_up || self.is(AgreementDefect::TakesBack));
            if is_held {
                view.runs.insert(name.clone(), holder.to_owned());
            }
            let mut prefers = guest.prefer.clone();
            let tries_again = self.tries_again(name, &prefers, &record, now_ns);
            let is_me = |node: &String| *node == self.me && tries_again;
            prefers.retain(|node| !record.failed.contains_key(node) || is_me(node));
            if let Some(tied) = self.tied_to(name, &record, now_ns) {
                prefers.retain(|node| *node == tied);
            }
            let is_running = is_held && self.is_there(holder, now_ns);
            if !is_running && record.to.is_empty() && self.awaited_node(&prefers, now_ns).is_some()
            {
                prefers.clear();
            }
            if prefers.contains(&record.to) {
                // Places a guest that has left its node at the target, which has the guest's
                // volumes and memory.
                if !is_held && !self.is(AgreementDefect::TurnsBack) {
                    view.arrives.insert(name.clone(), record.to.clone());
                }
                prefers.retain(|node| *node != record.to);
                prefers.insert(0, record.to.clone());
            }
            view.guests.push(placement::GuestSpec {
                name: name.clone(),
                takes: guest.takes(),
                prefers,
                priority: guest.order.priority,
                fails_back: guest.order.fails_back,
                beside: guest.order.beside.clone(),
                apart: guest.order.apart.clone(),
            });
        }
        view
    }

    pub fn decide(
        &mut self,
        guests: &Guests,
        locals: &BTreeMap<String, LocalState>,
        now_ns: u64,
    ) -> (BTreeMap<String, GuestDecision>, ClusterRequests) {
        if guests.me.is_empty() {
            return (
                self.without_cluster(guests, locals),
                ClusterRequests::default(),
            );
        }
        self.update_gone_nodes(guests, now_ns);
        self.here.update_local_guests(locals);
        let left = locals.iter().filter(|(_, local)| local.left_open);
        self.held_since.left = left.map(|(name, _)| name.clone()).collect();
        let mut names = guests.guests.keys();
        self.late.is_awaited = names.any(|name| {
            let record = self.record_of(name);
            self.awaited_words(name, guests, &record, now_ns).is_some()
        });
        self.places = placement::place(&self.view(guests, now_ns));
        let mut told = ClusterRequests {
            leases: self.of_nodes(guests),
            records: self.results(now_ns),
        };
        self.decide_drain(guests, now_ns);
        self.write_node_record(&mut told, now_ns);
        let mut decided = BTreeMap::new();
        let unknown = LocalState::default();
        for (name, guest) in &guests.guests {
            let local = locals.get(name).unwrap_or(&unknown);
            let one = self.decide_one(name, guest, guests, local, now_ns, &mut told);
            decided.insert(name.clone(), one);
        }
        // Watches the leases of templates: a guest that became a template may still shut down on
        // another node.
        let is_here = |name: &&String| locals.get(*name).is_some_and(|local| local.is_there);
        let templates = guests.templates.keys().filter(|name| !is_here(name));
        told.leases
            .extend(templates.map(|name| (lease_of(name), 0)));
        decided.extend(self.decide_gone(guests, locals, now_ns, &mut told));
        for (name, local) in locals {
            if let (Some(volume), Some(one)) = (&local.superseded, decided.get_mut(name))
                && local.is_there
            {
                end_superseded(one, volume);
            }
        }
        self.request_erasures(guests, &mut told, now_ns);
        (decided, told)
    }

    fn held(&self, name: &str, now_ns: u64) -> Option<&KnownLease> {
        let lease = self.leases.get(&lease_of(name));
        lease.filter(|lease| lease.until_ns > now_ns)
    }

    fn of_nodes(&self, guests: &Guests) -> Vec<(String, u32)> {
        let names = names(guests).into_iter();
        names
            .map(|name| {
                let lease = lease_of_node(&name);
                let rank = if name == self.me {
                    OWN
                } else if self.yields.contains(&lease) {
                    0
                } else {
                    OTHERS
                };
                (lease, rank)
            })
            .collect()
    }

    /// Writes the record of this node if the cluster does not have the current one.
    fn write_node_record(&self, told: &mut ClusterRequests, now_ns: u64) {
        let name = lease_of_node(&self.me);
        let Some(lease) = self
            .leases
            .get(&name)
            .filter(|lease| lease.until_ns > now_ns)
        else {
            return;
        };
        let wanted = self.requested_record();
        let is_known = NodeRecord::decode(&lease.record).as_ref() == Some(&wanted);
        if !is_known && !self.is_leaving() {
            told.records.push(LeaseRecord::next(lease, wanted.encode()));
        }
    }

    fn decide_one(
        &mut self,
        name: &str,
        guest: &Guest,
        guests: &Guests,
        local: &LocalState,
        now_ns: u64,
        told: &mut ClusterRequests,
    ) -> GuestDecision {
        let record = self.record_of(name);
        let Some(lease) = self.held(name, now_ns).cloned() else {
            self.forget(name, &record);
            self.update_held_lease(name, None, now_ns);
            let decided = self.not_held(name, guests, &record, local, now_ns);
            told.leases.push((lease_of(name), self.rank(name, local)));
            return decided;
        };
        // Ignores earlier failures if another node may have held the lease in between.
        let is_stale = local
            .epoch
            .is_some_and(|epoch| lease.epoch > epoch.saturating_add(1));
        let forgives = is_stale && !local.is_there && !self.is(AgreementDefect::NeverForgives);
        let is_stale = is_stale && !self.is(AgreementDefect::ContinuesStale);
        let forgiven = LocalState {
            is_off: false,
            failed: None,
            ..local.clone()
        };
        let local = if forgives { &forgiven } else { local };
        self.resume(name, &lease, &record, local);
        self.update_held_lease(name, Some(lease.epoch), now_ns);
        let mut wanted = self.wanted(name, &record, local, now_ns);
        self.update_failures(name, guests, local, &mut wanted, now_ns);
        let stays = self.is_placed_here(name, &wanted);
        wanted.opened = self.opened(name, guest, &record, local, stays, now_ns);
        if wanted != record {
            told.records
                .push(LeaseRecord::next(&lease, wanted.encode()));
        } else {
            self.pending.remove(name);
        }
        // Releases the lease only after the guest has left and the record names its target.
        let has_left =
            !local.is_there || local.has_moved || self.is(AgreementDefect::ReleasesEarly);
        let leaves = !stays && has_left && wanted == record && !self.has_open(&record);
        let rank = self.mine.rank(name, leaves);
        told.leases.push((lease_of(name), rank));
        let fencing = self.fencing_of(name, guests, local, &record, now_ns);
        let is_open = self.is_open_here(guest, &record);
        let open = self.open_words(name, guests, &record, now_ns);
        let waits_for_volumes = stays && !local.has_volumes && open.is_none();
        let why = match (stays, local.has_volumes) {
            (false, _) => open.unwrap_or_else(|| self.why(name, guests, &wanted, now_ns)),
            (true, has_volumes) => open
                .or_else(|| words::not_ready(has_volumes, is_open))
                .or(fencing)
                .or_else(|| self.waits_here(name, guests, local, now_ns))
                .unwrap_or_default(),
        };
        let cut_off = copies::cut_off(local, stays, &self.me, &record);
        let wish = if local.is_there && (is_stale || cut_off.is_some()) {
            DesiredState::Kill
        } else {
            wish_of(guest, local, is_open, stays, !why.is_empty())
        };
        GuestDecision {
            wish,
            // Returns no epoch with a kill, which is for the process of an earlier epoch.
            epoch: (wish != DesiredState::Kill).then_some(lease.epoch),
            uses_volumes: stays || local.is_there,
            forgives,
            goes_to: self.goes_to(name, &wanted).filter(|_| !stays),
            not_taken_by: self.not_taken_by(name, &record, &wanted),
            waits_for_volumes: waits_for_volumes && cut_off.is_none(),
            why: cut_off.unwrap_or(why),
        }
    }

    /// Returns why a guest that does not run here yet has to wait until a node is fenced; None: it
    /// does not wait.
    fn fencing_of(
        &mut self,
        name: &str,
        guests: &Guests,
        local: &LocalState,
        record: &GuestRecord,
        now_ns: u64,
    ) -> Option<String> {
        if local.is_there {
            self.fencing.gate.started(name);
            None
        } else {
            self.waits_for_fencing(name, guests, record.up, now_ns)
        }
    }

    fn goes_to(&self, name: &str, wanted: &GuestRecord) -> Option<String> {
        if !wanted.stopped.is_empty() || wanted.failed.contains_key(&self.me) {
            return None;
        }
        match (wanted.to.as_str(), self.places.get(name)) {
            ("", Some(PlacementResult::On(node))) if *node != self.me => Some(node.clone()),
            ("", _) => None,
            (to, _) => Some(to.to_owned()),
        }
    }

    fn not_held(
        &self,
        name: &str,
        guests: &Guests,
        record: &GuestRecord,
        local: &LocalState,
        now_ns: u64,
    ) -> GuestDecision {
        let lease = self.leases.get(&lease_of(name));
        let other = lease.filter(|lease| !lease.holder.is_empty() && lease.holder != self.me);
        // Kills a process that is obsolete because the lease has been granted to another node
        // since.
        let is_elsewhere =
            other.is_some_and(|lease| local.epoch.is_none_or(|epoch| lease.epoch > epoch));
        let wish = match local.is_there {
            false => DesiredState::Hold,
            true if self.is(AgreementDefect::RunsWithoutLease) => DesiredState::Run,
            // Freezes a migrated guest instead: it ends by itself and never runs again here.
            true if is_elsewhere
                && !local.has_moved
                && !self.is(AgreementDefect::ContinuesStale) =>
            {
                DesiredState::Kill
            }
            // Changes nothing while the lease that the previous role process held has not expired.
            true if other.is_none() && self.mine.may_go_on(name, local, now_ns) => {
                DesiredState::Hold
            }
            true => DesiredState::Freeze,
        };
        let why = match (local.is_there, other) {
            (true, _) if wish == DesiredState::Hold => {
                "the cluster has not confirmed yet that this node holds its lease".to_owned()
            }
            (true, Some(lease)) => format!("it is on {} now", lease.holder),
            (true, None) if local.has_moved => "it has moved to the other node".to_owned(),
            (true, None) if self.is_alone(now_ns) => {
                "this node does not hold its lease: no majority of the cluster is reachable"
                    .to_owned()
            }
            (true, None) => "this node does not hold its lease".to_owned(),
            (false, Some(lease)) => format!("on {}", lease.holder),
            (false, None) => self
                .open_words(name, guests, record, now_ns)
                .unwrap_or_else(|| self.why(name, guests, record, now_ns)),
        };
        GuestDecision {
            wish,
            epoch: None,
            uses_volumes: false,
            forgives: false,
            goes_to: None,
            not_taken_by: None,
            waits_for_volumes: false,
            why,
        }
    }

    /// Returns the rank with which this node requests the lease of a guest that it does not hold.
    fn rank(&self, name: &str, local: &LocalState) -> u32 {
        let is_placed = self.is_place_of(name);
        // Requests the lease for an order: the record of a guest that runs on no node can only be
        // written under the guest's lease.
        let pending = self.pending.get(name).map(|pending| &pending.order);
        let ordered = matches!(
            pending,
            Some(OperatorOrder::Start | OperatorOrder::EndRestore)
        );
        // Requests the lease that an earlier process of this role held: only the holder can write
        // to which node the guest moves.
        let is_own = self.holder(name) == self.me
            && !self.mine.has_given_up(name)
            && !self.is(AgreementDefect::LeavesItsOwn);
        let wants = self.is_known && (is_placed || ordered || is_own);
        // Keeps the leases of running guests after a restart of the role. What is left of a
        // migrated guest's process needs no lease.
        let is_left = local.is_there && !local.has_moved;
        if wants || is_left { OWN } else { 0 }
    }

    fn wanted(
        &self,
        name: &str,
        record: &GuestRecord,
        local: &LocalState,
        now_ns: u64,
    ) -> GuestRecord {
        let mut wanted = record.clone();
        // Clears the target if the migration is complete or the target node is unavailable.
        let is_away = self.is_away(&wanted.to, now_ns) && !self.is(AgreementDefect::KeepsTarget);
        // Clears the target of a guest whose disks were not closed: the guest stays on its node.
        let is_tied = local.left_open && self.has_open(record);
        if wanted.to == self.me || self.targets_gone.contains(name) || is_away || is_tied {
            wanted.to.clear();
        }
        match self.pending.get(name).map(|pending| &pending.order) {
            // Ignores the order if another node, which runs an earlier release, has begun to
            // restore disks since.
            Some(OperatorOrder::Start) if wanted.stopped == words::RESTORING => {}
            Some(OperatorOrder::Start) => {
                wanted.stopped.clear();
                wanted.failed.clear();
            }
            Some(OperatorOrder::Stop) if wanted.stopped == words::RESTORING => {}
            Some(OperatorOrder::Stop) => words::BY_OPERATOR.clone_into(&mut wanted.stopped),
            Some(OperatorOrder::EndRestore) if wanted.stopped == words::RESTORING => {
                words::BY_OPERATOR.clone_into(&mut wanted.stopped)
            }
            Some(OperatorOrder::EndRestore) => {}
            Some(OperatorOrder::Move(to)) => {
                wanted.to.clone_from(to);
                wanted.failed.remove(to);
            }
            Some(OperatorOrder::Stay) => wanted.to.clear(),
            None if wanted.stopped == words::RESTORING => {}
            None if local.is_off => words::BY_ITSELF.clone_into(&mut wanted.stopped),
            None => {
                if let Some(why) = &local.failed {
                    // Cuts the reason as in the record, because the new record is compared with the
                    // old one.
                    wanted
                        .failed
                        .insert(self.me.clone(), crate::record::cut(why));
                }
            }
        }
        if local.failed.is_none() && self.is_place_of(name) {
            // Clears the failure on this node, where the guest may be tried again.
            wanted.failed.remove(&self.me);
        }
        wanted.up = local.is_up && wanted.stopped.is_empty();
        wanted
    }

    fn is_place_of(&self, name: &str) -> bool {
        matches!(self.places.get(name), Some(PlacementResult::On(node)) if *node == self.me)
    }

    fn is_placed_here(&self, name: &str, wanted: &GuestRecord) -> bool {
        let GuestRecord {
            stopped,
            to,
            failed,
            ..
        } = wanted;
        if !stopped.is_empty() || !to.is_empty() || failed.contains_key(&self.me) {
            return false;
        }
        match self.places.get(name) {
            Some(PlacementResult::On(node)) => *node == self.me,
            Some(PlacementResult::Down(_)) => false,
            // Counts as placed here: an order to start the guest is pending that the record does
            // not contain yet.
            None => true,
        }
    }

    /// Returns the next time at which a held lease ends, so that guests are paused, or at which a
    /// guest need not wait any longer, for instance for fencing; milliseconds.
    pub fn deadline_ms(&self, now_ns: u64) -> Option<u64> {
        let held = self.leases.values().filter(|lease| lease.until_ns > now_ns);
        let ends = held.map(|lease| lease.until_ns.div_ceil(1_000_000));
        ends.chain(self.mine.deadline_ms(now_ns))
            .chain(self.fencing.gate.deadline(now_ns / 1_000_000))
            .chain(self.reset_deadline(now_ns))
            .chain(self.here.deadline_ms(now_ns / 1_000_000))
            .chain(self.late.deadline_ms(now_ns / 1_000_000))
            .min()
    }
}

/// Returns the desired state of a guest whose lease this node holds. `stays`: the guest is placed
/// here.
fn wish_of(
    guest: &Guest,
    local: &LocalState,
    is_open: bool,
    stays: bool,
    waits: bool,
) -> DesiredState {
    match (stays, local.is_there) {
        (false, _) => DesiredState::ShutDown {
            within_ms: guest.stop_ms,
        },
        (true, true) if !(local.may_run || local.has_volumes && is_open) => DesiredState::Hold,
        (true, false) if waits => DesiredState::Hold,
        (true, _) => DesiredState::Run,
    }
}

/// Ends a guest at once if another user has opened its volume since the guest did: the guest's
/// memory belongs to an older state of the volume and must not be written.
fn end_superseded(decided: &mut GuestDecision, volume: &str) {
    decided.wish = DesiredState::Kill;
    decided.epoch = None;
    decided.why = format!(
        "another user has used volume {volume} since this guest opened it: its process is killed, and \
         unwritten data is lost"
    );
}

fn names(guests: &Guests) -> BTreeSet<String> {
    let named = guests.guests.values().flat_map(|guest| &guest.prefer);
    named.cloned().collect()
}
