//! Hands `virtual-ip` addresses over in a way that keeps open connections alive. A node that hands
//! an address over to a live node keeps the address for `handover-drain` and stops answering for
//! it, so that requests in progress can finish there. The new owner forwards packets of such
//! connections to the old owner. A planned stop first hands all addresses over.
//!
//! This module neither decides nor delays ownership. If the kernel does not support the mechanism,
//! addresses are released at once, as in keepalived.

use super::event_loop::AddressRole;
use super::kept::{KeptHandOver, KeptState};
use super::leases::name_of;
use super::{Level, Notification, clock};
use crate::config::{Config, Dialect, Instance as Settings};
use crate::kernel::{AddressSpec, KernelError, Passage, Passes, Quiet};
use protocol::vrrp::{Announce, HandOver, Instance, Reason, Time, VrrpState};
use std::net::IpAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Time for which the new owner forwards connections after the old owner has dropped the address.
/// Also the time that neighbours get to notice that the old owner has the address again.
const PASS_LONGER: Duration = Duration::from_millis(200);

/// Number of repeated announcements while connections are forwarded. A neighbour that sent its
/// request at the moment of the takeover may have received the old owner's reply last.
const TOLD_AGAIN: u32 = 8;
/// Minimum time between two of these announcements.
const TELL_EVERY_LEAST: Duration = Duration::from_millis(50);

/// Interval at which a stop checks whether requests have finished.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A stop ends its wait once no request was in progress for this long. The last response of the
/// proxy may still be in transit.
const CALM_FOR: Duration = Duration::from_millis(500);

/// Extra time that a stop waits beyond the longest offer and drain time of its instances.
const STOP_LONGER: Duration = Duration::from_millis(300);

/// Stack size of a thread that only makes kernel calls.
const STACK_BYTES: usize = 256 * 1024;

/// Maximum number of remembered drain times that an operator requested.
const WISHES_MAX: usize = 256;

/// Pause before the removal of a table that failed is repeated.
const REMOVE_AGAIN: Duration = Duration::from_secs(5);

const LEFT_TABLES_MAX: usize = 1024;

/// Addresses that another machine owns and that this one keeps until they have drained.
#[derive(Debug)]
struct Linger {
    name: String,
    specs: Vec<AddressSpec>,
    passage: Passage,
    since: Time,
    until: Time,
    calm_since: Option<Time>,
}

/// Connections that are forwarded to the previous owner.
#[derive(Debug)]
struct Pass {
    name: String,
    owner: IpAddr,
    passage: Passage,
    until: Time,
    tell_at: Time,
    tell_every: Duration,
}

impl Pass {
    /// Shortens the forwarding: `owner` has the addresses again since `now`.
    fn end_soon(&mut self, now: Time) {
        self.until = self.until.min(now.after(PASS_LONGER));
    }
}

#[derive(Debug, Default)]
pub(super) struct HandOvers {
    lingers: Vec<Linger>,
    passes: Vec<Pass>,
    /// Firewall tables of instances whose addresses are offered to the other nodes.
    offer_tables: Vec<(String, Passage)>,
    requested_drains: Vec<(String, Duration)>,
    /// Instances whose addresses other nodes may take.
    offered: Vec<String>,
    /// Instances that are handed over only because of the stop.
    for_stop: Vec<String>,
    /// Latest end of a planned stop, or of the wait before `next` is installed.
    stop_at: Option<Time>,
    /// Configuration that is installed once the addresses that it removes are handed over.
    next: Option<Box<Config>>,
    /// True if addresses that no other node took stay after a planned stop.
    stays: bool,
    look_at: Option<Time>,
    trial: Option<JoinHandle<Result<(), KernelError>>>,
    /// Tables that are being removed, by name. The kernel takes a while to remove a table, and
    /// adverts must not wait for it.
    undone: Vec<(String, JoinHandle<Result<(), KernelError>>)>,
    left: LeftTables,
}

/// Tables that could not be removed. They still affect packets, so the removal is repeated.
#[derive(Debug, Default)]
struct LeftTables {
    tables: Vec<(String, Time)>,
    /// Errors that are not logged yet.
    errors: Vec<(String, KernelError)>,
}

impl LeftTables {
    fn deadline(&self) -> Option<Time> {
        let again = self.tables.iter().map(|(_, at)| *at).min();
        if self.errors.is_empty() {
            again
        } else {
            Some(clock::now())
        }
    }

    fn push(&mut self, now: Time, table: String, error: KernelError) {
        self.forget(&table);
        if self.tables.len() < LEFT_TABLES_MAX {
            self.tables.push((table.clone(), now.after(REMOVE_AGAIN)));
        }
        self.errors.push((table, error));
    }

    /// Forgets a table that is created again.
    fn forget(&mut self, table: &str) {
        self.tables.retain(|(left, _)| left != table);
    }

    fn take_due(&mut self, now: Time) -> Vec<String> {
        let due = self.tables.extract_if(.., |(_, at)| *at <= now);
        due.map(|(table, _)| table).collect()
    }
}

/// Returns whether connections survive a hand-over of the instance, which requires our own
/// language, a drain time, and no virtual MAC: the same MAC would have to be on two ports of the
/// network.
pub(super) fn keeps_connections(config: &Config, instance: &Settings) -> bool {
    config.dialect == Dialect::Own
        && !instance.options.handover_drain.is_zero()
        && instance.vmac.is_none()
}

impl HandOvers {
    pub(super) fn deadline(&self) -> Option<Time> {
        let lingers = self.lingers.iter().map(|l| l.until);
        let passes = self.passes.iter().map(|p| p.until.min(p.tell_at));
        let others = [self.stop_at, self.look_at, self.left.deadline()];
        let others = others.into_iter().flatten();
        lingers.chain(passes).chain(others).min()
    }

    /// Returns whether this node still has the addresses of an instance that another node owns.
    pub(super) fn is_lingering(&self, name: &str) -> bool {
        self.lingers.iter().any(|l| l.name == name)
    }

    pub(super) fn take_for_stop(&mut self) -> Vec<String> {
        std::mem::take(&mut self.for_stop)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop_at.is_some() && self.next.is_none()
    }

    pub(super) fn take_next(&mut self) -> Option<Box<Config>> {
        let next = self.next.take()?;
        self.stop_at = None;
        Some(next)
    }

    pub(super) fn kept(&self) -> Vec<KeptHandOver> {
        let lingers = self.lingers.iter().map(|l| (&l.name, None, l.until));
        let passes = self
            .passes
            .iter()
            .map(|p| (&p.name, Some(p.owner), p.until));
        let all = lingers.chain(passes).map(|(name, to, until)| KeptHandOver {
            name: name.clone(),
            to,
            until_ns: until.0,
        });
        all.collect()
    }

    /// Sets the drain time of the next hand-over of an instance. Returns zero, the time to wait
    /// before the hand-over, because connections drain afterwards.
    pub(super) fn set_drain_time(&mut self, name: &str, drain: Duration) -> Duration {
        self.requested_drains.retain(|(other, _)| other != name);
        if self.requested_drains.len() < WISHES_MAX {
            self.requested_drains.push((name.to_owned(), drain));
        }
        Duration::ZERO
    }

    fn take_wish(&mut self, name: &str) -> Option<Duration> {
        let at = self
            .requested_drains
            .iter()
            .position(|(other, _)| other == name)?;
        Some(self.requested_drains.swap_remove(at).1)
    }

    fn undo(&mut self, passage: Passage) {
        let table = passage.table.clone();
        match on_a_thread(move || passage.remove_tables()) {
            Some(undone) => self.undone.push((table, undone)),
            None => {
                if let Err(error) = Passage::remove(&table) {
                    self.left.push(clock::now(), table, error);
                }
            }
        }
    }

    /// Creates a table, after the removal of an older table of the same name has finished.
    fn apply(&mut self, passage: &Passage) -> Result<(), KernelError> {
        while let Some(at) = self.undone.iter().position(|(t, _)| *t == passage.table) {
            // Ignores an error of the removal: the new table would fail with the same one.
            let _ = self.undone.swap_remove(at).1.join();
        }
        self.left.forget(&passage.table);
        passage.apply()
    }

    pub(super) fn record_step(&mut self, name: &str, step: &HandOver) {
        self.offered.retain(|other| other != name);
        match step {
            HandOver::Draining { .. } | HandOver::Offered { .. } => {
                self.offered.push(name.to_owned());
            }
            HandOver::Withdrawn => drop(self.take_wish(name)),
            HandOver::Taken { .. } => {}
        }
    }
}

impl AddressRole {
    pub(super) fn known_instances(&self, config: &Config) -> Vec<String> {
        let kept = self.keeper.instances_before();
        let mut all: Vec<String> = kept.map(|one| one.name.clone()).collect();
        let own = config.instances.iter();
        all.extend(own.map(|one| one.name.clone()));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns the unexpired hand-overs of the previous process that this one can continue.
    pub(super) fn hand_overs_going_on(&self, config: &Config) -> Vec<KeptHandOver> {
        let now = clock::now();
        let kept = self.keeper.before.iter();
        let kept = kept.flat_map(|kept| kept.hand_overs.iter().map(move |one| (kept, one)));
        let goes_on = |(kept, one): &(&KeptState, &KeptHandOver)| {
            let instance = config.instances.iter().find(|i| i.name == one.name);
            let same = instance.filter(|i| keeps_connections(config, i));
            let same = same.and_then(|i| Some((i, kept.of(i)?)));
            same.is_some_and(|(instance, kept)| {
                // Refuses a later end: not even a hand-over that starts now could end later.
                let latest = now.after(instance.options.handover_drain + PASS_LONGER);
                let is_master = kept.state == "MASTER";
                is_master == one.to.is_some() && (now.0..=latest.0).contains(&one.until_ns)
            })
        };
        let going_on = kept.filter(goes_on).map(|(_, one)| one.clone());
        going_on.collect()
    }

    fn continue_hand_over(&mut self, one: &KeptHandOver) {
        let Some(at) = self.place_of(&one.name) else {
            return;
        };
        let (now, until) = (clock::now(), Time(one.until_ns));
        let name = one.name.clone();
        if let Some(owner) = one.to {
            let drain = self
                .members
                .get(at)
                .map(|m| m.config.options.handover_drain);
            let tell_every = TELL_EVERY_LEAST.max(drain.unwrap_or_default() / TOLD_AGAIN);
            self.hand_overs.passes.push(Pass {
                passage: Passage::left(Passage::name_of_passes(&name)),
                name,
                owner,
                until,
                tell_at: now.after(tell_every),
                tell_every,
            });
            return;
        }
        let Some(member) = self.members.get_mut(at) else {
            return;
        };
        member.renew_at = member.config.lifetime.map(|_| now);
        let specs = member.specs(&self.host.links);
        self.set_draining(at, Some(until));
        self.hand_overs.lingers.push(Linger {
            passage: Passage::left(Passage::name(&name)),
            name,
            specs,
            since: now,
            until,
            calm_since: None,
        });
    }

    /// Continues the hand-overs of the previous process, and removes other leftovers of a killed
    /// process.
    pub(super) fn begin_hand_overs(&mut self, known: &[String], going_on: Vec<KeptHandOver>) {
        if self.config.dialect != Dialect::Own {
            return;
        }
        let mut stays = Vec::new();
        for one in &going_on {
            stays.push(match one.to {
                Some(_) => Passage::name_of_passes(&one.name),
                None => Passage::name(&one.name),
            });
            self.continue_hand_over(one);
        }
        for name in known {
            for table in [
                Passage::name(name),
                Passage::name_of_passes(name),
                Passage::name_of_offer(name),
            ] {
                if stays.contains(&table) {
                    continue;
                }
                match Passage::remove(&table) {
                    Ok(true) => {
                        let line =
                            format!("({name}) removed the hand-over rules of a previous process");
                        self.log(Level::Info, &line);
                    }
                    Ok(false) => {}
                    Err(error) => self.hand_overs.left.push(clock::now(), table, error),
                }
            }
        }
        let instances = self.config.instances.iter();
        if instances
            .filter(|i| keeps_connections(&self.config, i))
            .count()
            == 0
        {
            return;
        }
        // Tests the kernel's support on a thread, because the kernel may have to load modules:
        // neither the start nor the first hand-over waits for them.
        self.hand_overs.trial = on_a_thread(Passage::probe_kernel_support);
    }

    /// Collects the results of finished threads, and removes tables again that could not be
    /// removed.
    fn look_at_threads(&mut self, now: Time) {
        let trial = &mut self.hand_overs.trial;
        if let Some(trial) = trial.take_if(|trial| trial.is_finished())
            && let Ok(Err(error)) = trial.join()
        {
            self.cannot(&error);
        }
        let undone = &mut self.hand_overs.undone;
        let ended: Vec<_> = undone.extract_if(.., |(_, t)| t.is_finished()).collect();
        for (table, thread) in ended {
            if let Ok(Err(error)) = thread.join() {
                self.hand_overs.left.push(now, table, error);
            }
        }
        for (table, error) in std::mem::take(&mut self.hand_overs.left.errors) {
            let line = format!("{table}: {error}");
            self.teller.once(&mut self.given.log, Level::Warning, line);
        }
        for table in self.hand_overs.left.take_due(now) {
            self.hand_overs.undo(Passage::left(table));
        }
    }

    fn cannot(&mut self, error: &KernelError) {
        let line = format!("connections cannot survive a hand-over on this machine: {error}");
        self.teller.once(&mut self.given.log, Level::Warning, line);
    }

    /// Prepares a takeover. If a live owner had the addresses, its connections are forwarded to it.
    pub(super) fn prepare_takeover(&mut self, at: usize) {
        let now = clock::now();
        let Some(member) = self.members.get(at) else {
            return;
        };
        let name = member.config.name.clone();
        // Checks the entries of `lingers`, which show that this node had not dropped the addresses
        // yet and still has connections of its own.
        let mut lingers = self.hand_overs.lingers.iter();
        let lingered = lingers.position(|l| l.name == name);
        let lingered = lingered.map(|place| self.hand_overs.lingers.swap_remove(place));
        self.forward_connections(at, now, lingered.is_some());
        if let Some(linger) = lingered {
            self.set_draining(at, None);
            self.hand_overs.undo(linger.passage);
        }
    }

    /// Forwards connections that started at a live previous owner to it. `keeps_own`: some
    /// connections started on this node, before that owner had the addresses.
    fn forward_connections(&mut self, at: usize, now: Time, keeps_own: bool) {
        let Some(member) = self.members.get(at) else {
            return;
        };
        let name = member.config.name.clone();
        let drain = member.config.options.handover_drain;
        let why = self.router.status(Instance(at)).map(|status| status.why);
        let owner = match why {
            Some(Reason::Preempts { owner, .. } | Reason::OwnerStopped { owner }) => owner,
            _ => return,
        };
        if member.holds || !keeps_connections(&self.config, &member.config) {
            return;
        }
        let passes = member.addresses().filter_map(|address| {
            let passes = Passes {
                address: address.address,
                to: owner,
                by: member.interface_of(&self.host.links, address)?,
            };
            (owner.is_ipv6() == address.address.is_ipv6()).then_some(passes)
        });
        let passage = Passage {
            table: Passage::name_of_passes(&name),
            passes: passes.collect(),
            keeps_own,
            ..Passage::default()
        };
        if let Err(error) = self.hand_overs.apply(&passage) {
            return self.cannot(&error);
        }
        let line = format!("({name}) existing connections continue at {owner} for {drain:?}");
        self.log(Level::Info, &line);
        let tell_every = TELL_EVERY_LEAST.max(drain / TOLD_AGAIN);
        self.hand_overs.passes.retain(|p| p.name != name);
        self.hand_overs.passes.push(Pass {
            name,
            owner,
            passage,
            until: now.after(drain + PASS_LONGER),
            tell_at: now.after(tell_every),
            tell_every,
        });
        self.keeper.keep_now();
    }

    /// Releases the addresses to a live owner: silently, and only after the drain time. Returns
    /// false if the addresses must be released at once.
    pub(super) fn release_after_drain(&mut self, at: usize) -> bool {
        let now = clock::now();
        let Some(member) = self.members.get(at) else {
            return false;
        };
        let name = member.config.name.clone();
        let wish = self.hand_overs.take_wish(&name);
        let drain = wish.unwrap_or(member.config.options.handover_drain);
        let status = self.router.status(Instance(at));
        let by = match status.map(|status| (status.state, status.why)) {
            Some((VrrpState::Backup, Reason::HandOver { by } | Reason::Preempted { by, .. })) => {
                Some(by)
            }
            // Names no new owner, because that is the next holder of the lease, whichever node that
            // is.
            Some((VrrpState::Fault, _)) if self.leases.moves(&member.config) => None,
            _ => return false,
        };
        let keeps = keeps_connections(&self.config, &member.config) && !drain.is_zero();
        if !member.holds || !keeps {
            return false;
        }
        let specs = member.specs(&self.host.links);
        // Connections that began at a third machine continue there. Those of the new owner are
        // forwarded until its neighbours have learned where it is.
        for pass in &mut self.hand_overs.passes {
            if pass.name == name && by == Some(pass.owner) {
                pass.end_soon(now);
            }
        }
        let passage = Passage {
            table: Passage::name(&name),
            quiet: self.quiet(&specs),
            ..Passage::default()
        };
        if let Err(error) = self.hand_overs.apply(&passage) {
            self.cannot(&error);
            return false;
        }
        if let Some(member) = self.members.get_mut(at) {
            // Renewals continue until the drain ends, so `renew_at` stays.
            (member.holds, member.extra_at) = (false, None);
        }
        let until = now.after(drain);
        self.set_draining(at, Some(until));
        let by = by.map_or("the next holder of the lease".to_owned(), |by| {
            by.to_string()
        });
        let line = format!(
            "({name}) {by} owns the addresses; existing connections may finish within {drain:?}"
        );
        self.log(Level::Notice, &line);
        let told = Notification::Draining {
            name: name.clone(),
            wait: drain,
        };
        self.given.orders.send_notification(told);
        self.hand_overs.lingers.push(Linger {
            name,
            specs,
            passage,
            since: now,
            until,
            calm_since: None,
        });
        self.keeper.keep_now();
        true
    }

    /// Stops this node from resetting connections while the addresses are offered to other nodes.
    /// The node that takes them may accept connections before this node learns of it, and a reset
    /// from this node would end them.
    pub(super) fn begin_offer(&mut self, at: usize) {
        let Some(member) = self.members.get(at) else {
            return;
        };
        if !member.holds || !keeps_connections(&self.config, &member.config) {
            return;
        }
        let name = member.config.name.clone();
        let passage = Passage {
            table: Passage::name_of_offer(&name),
            offered: member.addresses().map(|address| address.address).collect(),
            ..Passage::default()
        };
        self.end_offer(&name);
        match self.hand_overs.apply(&passage) {
            Ok(()) => self.hand_overs.offer_tables.push((name, passage)),
            Err(error) => self.cannot(&error),
        }
    }

    /// Removes the table of an offer that was accepted or withdrawn, or of addresses that were
    /// released otherwise.
    pub(super) fn end_offer(&mut self, name: &str) {
        let tables = &mut self.hand_overs.offer_tables;
        if let Some(at) = tables.iter().position(|(other, _)| other == name) {
            let (_, passage) = tables.swap_remove(at);
            self.hand_overs.undo(passage);
        }
    }

    /// Returns, for each address, the source address that neighbour requests use in its place.
    fn quiet(&mut self, specs: &[AddressSpec]) -> Vec<Quiet> {
        let virtual_ones: Vec<IpAddr> = self.config.virtual_addresses().collect();
        let listed = self.host.list_addresses(&mut self.given.log);
        let quiet = |spec: &AddressSpec| {
            let own = listed.iter().filter(|seen| {
                let local = |a: IpAddr| matches!(a, IpAddr::V6(a) if a.is_unicast_link_local());
                let usable = !seen.flags.tentative() && !seen.flags.duplicate();
                let fits = seen.address.is_ipv4() || local(seen.address);
                seen.interface == spec.interface
                    && seen.address.is_ipv6() == spec.address.is_ipv6()
                    && !virtual_ones.contains(&seen.address)
                    && usable
                    && fits
            });
            Quiet {
                address: spec.address,
                instead: own.min_by_key(|a| a.flags.secondary()).map(|a| a.address),
            }
        };
        specs.iter().map(quiet).collect()
    }

    pub(super) fn tend_hand_overs(&mut self, now: Time) {
        self.look_at_threads(now);
        self.end_stop_when_idle(now);
        self.stop_stale_forwarding();
        let lingers = self.hand_overs.lingers.iter();
        let over: Vec<String> = lingers
            .filter(|l| l.until <= now)
            .map(|l| l.name.clone())
            .collect();
        for name in over {
            self.end_linger(&name);
        }
        let passes = self.hand_overs.passes.iter();
        let over: Vec<String> = passes
            .filter(|p| p.until <= now)
            .map(|p| p.name.clone())
            .collect();
        for name in over {
            self.end_pass(&name);
        }
        let mut told = Vec::new();
        for pass in &mut self.hand_overs.passes {
            if pass.tell_at <= now {
                pass.tell_at = now.after(pass.tell_every);
                told.push(pass.name.clone());
            }
        }
        for name in told {
            if let Some(at) = self.place_of(&name) {
                self.announce(at, 1, Announce::Refresh);
            }
        }
    }

    fn end_stop_when_idle(&mut self, now: Time) {
        if self.hand_overs.stop_at.is_none() || self.hand_overs.lingers.is_empty() {
            self.hand_overs.look_at = None;
            return;
        }
        if self.hand_overs.look_at.is_some_and(|at| at > now) {
            return;
        }
        self.hand_overs.look_at = Some(now.after(LOOK_EVERY));
        for linger in &mut self.hand_overs.lingers {
            if self.health.under_way(&linger.name) != Some(0) {
                linger.calm_since = None;
                continue;
            }
            let since = *linger.calm_since.get_or_insert(now);
            if now.since(since) >= CALM_FOR {
                linger.until = now;
            }
        }
    }

    /// Stops forwarding to a node that may own the address by now. An address that was released
    /// with its lease may have moved to the node to which its older connections are forwarded, and
    /// that node must not get its own packets back.
    fn stop_stale_forwarding(&mut self) {
        for linger in &self.hand_overs.lingers {
            let at = self
                .members
                .iter()
                .position(|m| m.config.name == linger.name);
            let status = at.and_then(|at| self.router.status(Instance(at)));
            let owner = status.and_then(|status| status.owner);
            let Some((owner, 1.., heard)) = owner.filter(|(.., heard)| *heard >= linger.since)
            else {
                continue;
            };
            for pass in &mut self.hand_overs.passes {
                if pass.name == linger.name && pass.owner == owner {
                    pass.end_soon(heard);
                }
            }
        }
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|m| m.config.name == name)
    }

    fn end_linger(&mut self, name: &str) {
        let Some(place) = self.hand_overs.lingers.iter().position(|l| l.name == name) else {
            return;
        };
        let linger = self.hand_overs.lingers.swap_remove(place);
        self.log(Level::Detail, &format!("({name}) removing VIPs."));
        self.host.remove(&mut self.given.log, name, &linger.specs);
        self.hand_overs.undo(linger.passage);
        if let Some(at) = self.place_of(name) {
            self.set_draining(at, None);
            if let Some(member) = self.members.get_mut(at).filter(|m| !m.holds) {
                member.renew_at = None;
            }
        }
        self.keeper.keep_now();
    }

    fn end_pass(&mut self, name: &str) {
        let all = &mut self.hand_overs.passes;
        if let Some(place) = all.iter().position(|p| p.name == name) {
            let pass = all.swap_remove(place);
            self.hand_overs.undo(pass.passage);
            self.keeper.keep_now();
        }
    }

    pub(super) fn end_hand_overs(&mut self) {
        let lingers = self.hand_overs.lingers.iter();
        for name in lingers.map(|l| l.name.clone()).collect::<Vec<_>>() {
            self.end_linger(&name);
        }
        let passes = self.hand_overs.passes.iter();
        for name in passes.map(|p| p.name.clone()).collect::<Vec<_>>() {
            self.end_pass(&name);
        }
        for (_, passage) in std::mem::take(&mut self.hand_overs.offer_tables) {
            self.hand_overs.undo(passage);
        }
        for (table, _) in std::mem::take(&mut self.hand_overs.left.tables) {
            self.hand_overs.undo(Passage::left(table));
        }
        for (table, thread) in std::mem::take(&mut self.hand_overs.undone) {
            if let Ok(Err(error)) = thread.join() {
                self.log(Level::Warning, &format!("{table}: {error}"));
            }
        }
    }

    /// Starts a planned stop by handing over what can be handed over. Returns false if
    /// there is nothing to wait for, or on a second request.
    pub(super) fn hand_over_all(&mut self, stays: bool) -> bool {
        self.hand_overs.for_stop.clear();
        drop(self.hand_overs.take_next());
        let waits = self.start_hand_overs("Stopping", |_| true);
        self.hand_overs.stays = waits && stays;
        waits
    }

    /// Returns whether addresses stay after a planned stop because no other node took them.
    pub(super) fn has_remaining_addresses(&mut self) -> bool {
        let is_master = |m: &super::member::VrrpInstance| m.state == VrrpState::Master;
        if !std::mem::take(&mut self.hand_overs.stays) || !self.members.iter().any(is_master) {
            return false;
        }
        self.log(
            Level::Notice,
            "the addresses stay until the proxy has finished its connections",
        );
        // Removes the deadline of the stop: from here on, only the next order ends the role.
        self.hand_overs.stop_at = None;
        self.given.orders.send_notification(Notification::Stays);
        true
    }

    /// Installs a configuration, or keeps it until the addresses that it removes are handed over.
    pub(super) fn install_or_defer(&mut self, config: Box<Config>) {
        let is_removed = |one: &Settings| config.instances.iter().all(|i| i.name != one.name);
        let waits =
            self.hand_overs.next.is_some() || self.start_hand_overs("Reloading", is_removed);
        if waits {
            self.hand_overs.next = Some(config)
        } else {
            self.install_config(*config)
        }
    }

    /// Hands over the addresses of the selected instances. Returns false if there is nothing to
    /// wait for, or if a wait is in progress.
    fn start_hand_overs(&mut self, why: &str, which: impl Fn(&Settings) -> bool) -> bool {
        if self.hand_overs.stop_at.is_some() {
            return false;
        }
        let now = clock::now();
        let mut longest = Duration::ZERO;
        let mut waits = false;
        let mut leases = Vec::new();
        for (at, member) in self.members.iter().enumerate() {
            let config = &member.config;
            if !keeps_connections(&self.config, config) || !which(config) {
                continue;
            }
            waits |= self.hand_overs.is_lingering(&config.name);
            // Hands over the lease instead: the cluster grants a free lease to another node.
            if config.options.lease {
                if member.state == VrrpState::Master {
                    longest = longest.max(config.options.handover_drain);
                    leases.push(name_of(config));
                    waits = true;
                }
                continue;
            }
            let adverts = u32::from(config.options.down_timer_adverts.max(1)) + 1;
            let offer = config.options.advert_interval * adverts * 2;
            longest = longest.max(offer + config.options.handover_drain);
            if member.state == VrrpState::Master {
                // Starts an offer. One in progress continues.
                self.router.hand_over(now, Instance(at), Duration::ZERO);
                self.hand_overs.offered.retain(|name| *name != config.name);
                self.hand_overs.offered.push(config.name.clone());
                self.hand_overs.for_stop.push(config.name.clone());
                waits = true;
            }
        }
        if waits {
            self.log(Level::Info, &format!("{why}: handing over the addresses"));
            self.hand_overs.stop_at = Some(now.after(longest + STOP_LONGER));
            for name in leases {
                self.hand_over_lease(name);
            }
            self.act();
        }
        waits
    }

    pub(super) fn has_handed_over(&self, now: Time) -> bool {
        let Some(stop_at) = self.hand_overs.stop_at else {
            return false;
        };
        let waits = |m: &super::member::VrrpInstance| {
            m.state == VrrpState::Master && self.hand_overs.offered.contains(&m.config.name)
        };
        let pending = self.members.iter().any(waits) || !self.hand_overs.lingers.is_empty();
        !pending || stop_at <= now
    }
}

/// Runs work on a thread that inherits the caller's scheduling ([`super::realtime`]).
fn on_a_thread(
    work: impl FnOnce() -> Result<(), KernelError> + Send + 'static,
) -> Option<JoinHandle<Result<(), KernelError>>> {
    let thread = thread::Builder::new().name("passage".to_owned());
    thread.stack_size(STACK_BYTES).spawn(work).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn table_that_was_not_removed_is_due_again() {
        let now = Time(0);
        let mut left = LeftTables::default();
        for table in ["one", "two", "one"] {
            left.push(now, table.to_owned(), Errno::MFILE.into());
        }
        assert!(left.deadline().is_some());
        assert_eq!(std::mem::take(&mut left.errors).len(), 3);
        assert!(left.take_due(now).is_empty());
        left.forget("two");
        let again_at = left.deadline().unwrap();
        assert_eq!(left.take_due(again_at), ["one"]);
        assert_eq!(left.deadline(), None);
    }
}
