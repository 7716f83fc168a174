//! Runs all virtual routers of one machine, with their sync groups, without IO: passes inputs to
//! their state machines, and queues the resulting actions for the driver.

use super::context::Context;
#[cfg(test)]
use super::defect::VrrpDefect;
use super::machine::VirtualRouter;
use super::{
    GroupSettings, Instance, OwnershipLimits, Reason, Resume, Settings, Time, VrrpAction,
    VrrpState, VrrpStatus,
};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// After a planned stop, the previous owner may still have client connections for this time.
const STOPPED_A_MOMENT_AGO: Duration = Duration::from_secs(5);

/// All virtual routers of one machine.
///
/// In every turn, the driver passes in all packets that arrived ([`Router::handle_packet`]) and all
/// replies of neighbours. Then it calls [`Router::handle_time`], then [`Router::poll`] until there
/// are no actions left, and sleeps until [`Router::deadline`].
#[derive(Debug)]
pub struct Router {
    pub(super) settings: Vec<Settings>,
    pub(super) groups: Vec<GroupSettings>,
    pub(super) machines: Vec<VirtualRouter>,
    pub(super) member_of: Vec<Option<usize>>,
    /// Members that wait to start until all members of their group have been started.
    waiting: Vec<Option<(Time, Option<Resume>)>>,
    pub(super) group_states: Vec<VrrpState>,
    pub(super) actions: VecDeque<VrrpAction>,
    has_successor: bool,
    #[cfg(test)]
    pub(super) defect: Option<VrrpDefect>,
}

impl Router {
    /// Creates the virtual routers; none is started.
    pub fn new(settings: Vec<Settings>, groups: Vec<GroupSettings>) -> Router {
        let mut member_of = vec![None; settings.len()];
        for (place, group) in groups.iter().enumerate() {
            for member in &group.members {
                if let Some(of) = member_of.get_mut(*member) {
                    *of = Some(place);
                }
            }
        }
        Router {
            machines: settings.iter().map(VirtualRouter::new).collect(),
            member_of,
            waiting: vec![None; settings.len()],
            group_states: vec![VrrpState::Init; groups.len()],
            actions: VecDeque::new(),
            has_successor: false,
            settings,
            groups,
            #[cfg(test)]
            defect: None,
        }
    }

    pub fn settings(&self) -> (&[Settings], &[GroupSettings]) {
        (&self.settings, &self.groups)
    }

    /// Starts a router. Its fault, priority, limits and source must be set before with
    /// [`Router::set_fault`], [`Router::set_priority`], [`Router::set_standing`] and
    /// [`Router::set_source`].
    ///
    /// With the stored state of a previous process, a master continues as master at once if that
    /// state is no older than its down interval. All others get a `Release` for leftovers in the
    /// kernel. A group resumes as a whole or not at all, so all its members must be started at the
    /// same `now`.
    pub fn start(&mut self, now: Time, at: Instance, resume: Option<Resume>) {
        if self.has_successor {
            return;
        }
        let Some(slot) = self.waiting.get_mut(at.0) else {
            return;
        };
        *slot = Some((now, resume));
        let members = self.members(at);
        let all = members.iter().all(|member| {
            let waits = self.waiting.get(member.0).is_some_and(Option::is_some);
            waits || self.state(*member) != VrrpState::Init
        });
        if all {
            self.begin(now, &members);
        }
    }

    fn begin(&mut self, now: Time, members: &[Instance]) {
        let goes_on = members.iter().all(|member| self.goes_on(now, *member));
        let faulty = self.faulty(members);
        for member in members {
            let Some((_, resume)) = self.waiting.get_mut(member.0).and_then(Option::take) else {
                continue;
            };
            // All members of a group continue as master, or none does.
            let resume = resume.filter(|kept| {
                kept.state != VrrpState::Master || goes_on || !self.is_grouped(*member)
            });
            let faulty = faulty.clone().filter(|(of, _)| of != member);
            self.step(now, *member, |machine, ctx| match faulty {
                Some((_, why)) if machine.fault.is_none() => machine.enter_fault(ctx, why),
                _ => machine.begin(ctx, Reason::Started, resume),
            });
        }
        self.report_groups();
    }

    fn goes_on(&mut self, now: Time, at: Instance) -> bool {
        let Some(Some((_, resume))) = self.waiting.get(at.0).cloned() else {
            return false;
        };
        let may = self.step(now, at, |machine, ctx| {
            resume.is_some_and(|kept| machine.can_resume_as_master(ctx, &kept))
        });
        may.unwrap_or_default()
    }

    pub fn poll(&mut self) -> Option<VrrpAction> {
        self.actions.pop_front()
    }

    /// Returns the latest time at which [`Router::handle_time`] must be called.
    pub fn deadline(&self) -> Option<Time> {
        if self.has_successor {
            return None;
        }
        self.machines
            .iter()
            .filter_map(VirtualRouter::deadline)
            .min()
    }

    /// Advances the time. All packets that have arrived must be passed in before.
    pub fn handle_time(&mut self, now: Time) {
        for at in (0..self.machines.len()).map(Instance) {
            let want = self.step(now, at, VirtualRouter::handle_timers).flatten();
            self.settle(now, at, want);
        }
    }

    /// Handles a VRRP packet (without its IP header) that arrived on the interface of the instance
    /// with this router id.
    pub fn handle_packet(&mut self, now: Time, at: Instance, from: IpAddr, ttl: u8, bytes: &[u8]) {
        let want = self.step(now, at, |machine, ctx| {
            machine.receive_packet(ctx, from, ttl, bytes)
        });
        self.settle(now, at, want.flatten());
    }

    /// Handles a neighbour's claim of an address of the instance: the reply to
    /// [`VrrpAction::Probe`], or any other ARP packet or neighbour advertisement with the address
    /// as the sender's. `mac_is_ours`: the MAC belongs to one of this machine's interfaces (the
    /// virtual MAC counts only while the instance is master).
    ///
    /// For a backup that probes, the claim shows that the owner's kernel is alive. For a master,
    /// another machine uses the address. The master reports that and responds with announcements at
    /// a limited rate, unless it gives the addresses up ([`OwnershipLimits::yields_to_users`]).
    pub fn handle_neighbour(
        &mut self,
        now: Time,
        at: Instance,
        address: IpAddr,
        mac_is_ours: bool,
        mac: [u8; 6],
    ) {
        if mac_is_ours {
            return;
        }
        let want = self.step(now, at, |machine, ctx| match machine.state {
            VrrpState::Backup => {
                machine.answered_as_backup(ctx, address);
                None
            }
            VrrpState::Master => machine.foreign_use(ctx, address, mac),
            VrrpState::Init | VrrpState::Fault => None,
        });
        self.settle(now, at, want.flatten());
    }

    /// Handles that another program deleted an address (or route or rule) of a virtual router. A
    /// master restores and announces it, at a limited rate; in other states nothing happens.
    pub fn handle_address_lost(&mut self, now: Time, at: Instance) {
        self.step(now, at, |machine, ctx| {
            if machine.state == VrrpState::Master {
                machine.restore_address(ctx);
            }
        });
    }

    /// Sets (`words`: the message) or clears (None) the fault of something that the virtual router
    /// needs. While a member of a sync group has a fault, the whole group is in that state.
    pub fn set_fault(&mut self, now: Time, at: Instance, words: Option<String>) {
        let failed = words.is_some();
        self.step(now, at, |machine, _| machine.fault = words);
        let members = self.members(at);
        match self.faulty(&members) {
            Some((of, why)) if failed => self.fail(now, &members, of, &why),
            Some(_) => {}
            None => {
                for member in &members {
                    self.step(now, *member, |machine, ctx| {
                        if machine.state == VrrpState::Fault {
                            machine.begin(ctx, Reason::Recovered, None);
                        }
                    });
                }
            }
        }
        self.report_groups();
    }

    /// Sets the priority with the weights of all tracked objects, 1 to 254 (255 is reserved for an
    /// address owner). Without this call, the configured priority applies.
    pub fn set_priority(&mut self, now: Time, at: Instance, effective: u8) {
        self.update_priority(now, at, |machine| {
            machine.inputs.effective = Some(effective);
        });
    }

    /// Sets the limits on what the router announces and takes; None: as configured. The addresses
    /// of a silent owner are taken in any case.
    pub fn set_standing(&mut self, now: Time, at: Instance, standing: Option<OwnershipLimits>) {
        self.update_priority(now, at, |machine| machine.inputs.standing = standing);
    }

    /// Changes the inputs of the priority; a master announces the new priority at once.
    fn update_priority(
        &mut self,
        now: Time,
        at: Instance,
        change: impl FnOnce(&mut VirtualRouter),
    ) {
        self.step(now, at, |machine, ctx| {
            let before = machine.priority(ctx.settings);
            let yielded = machine.inputs.yields_to_users();
            change(machine);
            // Probes once when the master begins to yield: another machine may use the addresses
            // already.
            if machine.state == VrrpState::Master && machine.inputs.yields_to_users() && !yielded {
                let instance = ctx.at;
                ctx.queue_report(VrrpAction::Probe { instance });
            }
            if machine.state == VrrpState::Master && machine.priority(ctx.settings) != before {
                machine.announce_change(ctx);
            }
        });
    }

    /// Grants the addresses by a lease: no other machine has them, so a router in the backup state
    /// need not wait for silence. If the previous owner stopped a moment ago, it may still have
    /// client connections.
    pub fn grant_lease(&mut self, now: Time, at: Instance) {
        self.step(now, at, |machine, _| {
            if machine.state == VrrpState::Backup {
                machine.wait.expire_by(now);
                if let Some((owner, 0, heard)) = machine.owner
                    && now.since(heard) < STOPPED_A_MOMENT_AGO
                {
                    machine.wait.owner_stopped(owner);
                }
            }
        });
    }

    /// Sets the source address of adverts, when it becomes known or changes.
    pub fn set_source(&mut self, now: Time, at: Instance, source: IpAddr) {
        self.step(now, at, |machine, ctx| {
            let changed = machine.source.replace(source) != Some(source);
            if changed && machine.state == VrrpState::Master {
                machine.announce_change(ctx);
            }
        });
    }

    /// Executes a planned stop: a master releases the addresses, and then sends an advert of
    /// priority zero. The other members of the group stop, too.
    pub fn stop(&mut self, now: Time, at: Instance) {
        for member in self.members(at) {
            self.step(now, member, VirtualRouter::enter_init);
        }
        self.report_groups();
    }

    pub fn stop_all(&mut self, now: Time) {
        for at in (0..self.machines.len()).map(Instance) {
            self.step(now, at, VirtualRouter::enter_init);
        }
        self.report_groups();
    }

    /// Ends all activity, because another process takes over with the stored state: from now on
    /// nothing is sent or released.
    pub fn stop_for_successor(&mut self, _now: Time) {
        self.has_successor = true;
        self.actions.clear();
    }

    /// Executes a hand-over that an operator requested. Requests may finish for `drain`. Then
    /// adverts with priority zero let another router become master, while this machine keeps the
    /// addresses until that router's first advert arrives. If no router becomes master, this
    /// machine keeps the addresses. All members of a group are handed over together. Returns
    /// whether a hand-over began: not if no member is master, or one is in progress.
    pub fn hand_over(&mut self, now: Time, at: Instance, drain: Duration) -> bool {
        let mut begun = false;
        for member in self.members(at) {
            let done = self.step(now, member, |machine, ctx| {
                machine.state == VrrpState::Master && machine.hand_over(ctx, drain)
            });
            begun |= done.unwrap_or_default();
        }
        begun
    }

    /// Ends the drain of a hand-over early, because the requests in progress have finished.
    pub fn drained(&mut self, now: Time, at: Instance) {
        for member in self.members(at) {
            self.step(now, member, VirtualRouter::drained);
        }
    }

    pub fn status(&self, of: Instance) -> Option<VrrpStatus> {
        let settings = self.settings.get(of.0)?;
        Some(self.machines.get(of.0)?.status(settings))
    }

    /// Returns the state of a virtual router for the process that replaces this one.
    pub fn instance_snapshot(&self, now: Time, of: Instance) -> Option<Resume> {
        Some(self.machines.get(of.0)?.resume_snapshot(now))
    }

    pub(super) fn has_successor(&self) -> bool {
        self.has_successor
    }

    fn state(&self, of: Instance) -> VrrpState {
        self.machines.get(of.0).map_or(VrrpState::Init, |m| m.state)
    }

    /// Executes a step of one virtual router; None if there is no such router, or another process
    /// has taken over.
    pub(super) fn step<T>(
        &mut self,
        now: Time,
        at: Instance,
        work: impl FnOnce(&mut VirtualRouter, &mut Context<'_>) -> T,
    ) -> Option<T> {
        if self.has_successor {
            return None;
        }
        let machine = self.machines.get_mut(at.0)?;
        let mut ctx = Context {
            now,
            at,
            settings: self.settings.get(at.0)?,
            out: &mut self.actions,
            #[cfg(test)]
            defect: self.defect,
        };
        Some(work(machine, &mut ctx))
    }
}
