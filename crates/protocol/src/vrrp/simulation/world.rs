//! Runs a simulated history of VRRP: events in the order of a global time that no machine knows.
//! Checks the invariants after each event.

use super::check::{InvariantChecks, InvariantResult};
use super::forge;
use super::plan::{Disturbance, VrrpSimulationPlan, down_ns, source};
use super::scene::{Input, Pause, Scene, VrrpSimulatedHost};
use crate::vrrp::defect::VrrpDefect;
use crate::vrrp::{Instance, OwnershipLimits, Reason, Router, Settings, VrrpAction, VrrpState};
use lab::Random;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

const ONE: Instance = Instance(0);
/// Maximum number of packets that wait for a suspended process; more are lost.
const INBOX: usize = 64;
/// Maximum delay of timers while their machine runs, in ns.
const TIMER_NS: u64 = 60_000;
const ADDRESS: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 100));
/// Maximum number of events in a history; more is a flood.
const EVENTS: usize = 60_000;

#[derive(Debug)]
enum VrrpSimulationEvent {
    Arrive(usize, Input),
    Probe(usize, usize),
    Wake(usize),
    Step(usize),
    Unpause(usize, u32),
    Begin(usize, u32),
    Expire(usize),
    Heal,
}

/// Returns the limits for a machine whose services are in a band; None if the plan has no bands.
fn banded(host: usize, settings: &Settings, band: usize) -> Option<OwnershipLimits> {
    let has_bands = !settings.place.is_empty();
    has_bands.then(|| super::standing(host as u8, band, settings.preempt))
}

pub struct VrrpSimulation {
    scene: Scene,
    random: Random,
    checks: InvariantChecks,
    events: BinaryHeap<Reverse<(u64, u32)>>,
    payloads: Vec<Option<VrrpSimulationEvent>>,
    defect: Option<VrrpDefect>,
    trace: Option<Vec<String>>,
}

impl VrrpSimulation {
    /// `traced`: records the actions of machines for display.
    pub fn new(
        plan: VrrpSimulationPlan,
        random: Random,
        defect: Option<VrrpDefect>,
        traced: bool,
    ) -> VrrpSimulation {
        let mut world = VrrpSimulation {
            scene: Scene::new(plan),
            random,
            checks: InvariantChecks::default(),
            events: BinaryHeap::new(),
            payloads: Vec::new(),
            defect,
            trace: traced.then(Vec::new),
        };
        for host in world.scene.places() {
            let at = world.random.below(world.scene.plan.interval_ns);
            world.push(at, VrrpSimulationEvent::Begin(host, 0));
        }
        for step in 0..world.scene.plan.steps.len() {
            let at = world.scene.plan.steps[step].0;
            world.push(at, VrrpSimulationEvent::Step(step));
        }
        world.push(world.scene.plan.healed_at, VrrpSimulationEvent::Heal);
        world
    }

    /// Runs the whole history; returns the first violation.
    pub fn run(&mut self) -> InvariantResult {
        for _ in 0..EVENTS {
            let Some(Reverse((at, place))) = self.events.pop() else {
                return Err("nothing is to happen any more".to_owned());
            };
            if at >= self.scene.plan.ends_at {
                return self.checks.end(&self.scene);
            }
            self.scene.now = at;
            if let Some(event) = self.payloads[place as usize].take() {
                self.happen(event)?;
                self.checks.moment(&self.scene)?;
            }
        }
        Err(format!("more than {EVENTS} events"))
    }

    /// Describes the plan and the recorded actions, for the message of a failed test.
    pub fn told(&self) -> String {
        let plan = &self.scene.plan;
        let mut told = format!("at {} ns\n", self.scene.now);
        for settings in &plan.settings {
            told += &format!(
                "{:?} priority {} place {:?} interval {:?} preempt {} probing {:?}\n",
                settings.version,
                settings.priority,
                settings.place,
                settings.interval,
                settings.preempt,
                settings.probing
            );
        }
        told += &format!(
            "lifetime {:?} drift {:?} delay {} + {} doubled {} healed {} ends {}\n",
            plan.lifetime_ns,
            plan.drift_ppm,
            plan.delay_ns,
            plan.jitter_ns,
            plan.double,
            plan.healed_at,
            plan.ends_at
        );
        for (at, what) in &plan.steps {
            told += &format!("{at:>12} {what:?}\n");
        }
        told + &self.trace.iter().flatten().cloned().collect::<String>()
    }

    /// Records an action, if `traced`.
    fn note(&mut self, host: usize, action: &VrrpAction) {
        let now = self.scene.now;
        if let Some(trace) = &mut self.trace {
            let action = match action {
                VrrpAction::Send { bytes, .. } => format!("advert of priority {}", bytes[2]),
                action => format!("{action:?}"),
            };
            trace.push(format!("{now:>12} machine {host}: {action}\n"));
        }
    }

    fn push(&mut self, at: u64, event: VrrpSimulationEvent) {
        let place = self.payloads.len() as u32;
        self.payloads.push(Some(event));
        self.events.push(Reverse((at, place)));
    }

    fn happen(&mut self, event: VrrpSimulationEvent) -> InvariantResult {
        match event {
            VrrpSimulationEvent::Arrive(host, input) => self.arrive(host, input),
            VrrpSimulationEvent::Probe(asks, asked) => {
                if self.scene.hosts[asked].answers() {
                    let ways = self.scene.network.send(&mut self.random, asked, asks);
                    for way in ways.into_iter().flatten() {
                        let by = Some(asked);
                        let at = self.scene.now + way;
                        self.push(at, VrrpSimulationEvent::Arrive(asks, Input::Claim { by }));
                    }
                }
                Ok(())
            }
            VrrpSimulationEvent::Wake(host) => {
                let of = &mut self.scene.hosts[host];
                if of.awake() && of.wake == self.scene.now {
                    of.wake = u64::MAX;
                    return self.turn(host, None);
                }
                Ok(())
            }
            VrrpSimulationEvent::Step(step) => {
                let what = self.scene.plan.steps[step].1;
                self.disturb(what)
            }
            VrrpSimulationEvent::Unpause(host, life) => {
                if self.scene.hosts[host].life == life {
                    return self.unpause(host);
                }
                Ok(())
            }
            VrrpSimulationEvent::Begin(host, life) => {
                if self.scene.hosts[host].life == life {
                    return self.begin(host);
                }
                Ok(())
            }
            VrrpSimulationEvent::Expire(host) => {
                let now = self.scene.now;
                let of = &mut self.scene.hosts[host];
                if of.expires.is_some_and(|at| at <= now) {
                    of.has = false;
                    of.expires = None;
                    if of.awake() {
                        return self.turn(host, None);
                    }
                }
                Ok(())
            }
            VrrpSimulationEvent::Heal => self.heal(),
        }
    }

    fn arrive(&mut self, host: usize, input: Input) -> InvariantResult {
        let of = &mut self.scene.hosts[host];
        if of.awake() {
            return self.turn(host, Some(input));
        }
        let process_only = of.pause.is_some_and(|pause| !pause.suspended);
        if of.powered && of.router.is_some() && process_only && of.inbox.len() < INBOX {
            of.inbox.push(input);
        }
        Ok(())
    }

    /// Runs a turn of a machine's driver: passes waiting packets and claims and then the time to
    /// the router, and performs the router's actions.
    fn turn(&mut self, host: usize, input: Option<Input>) -> InvariantResult {
        let now = self.scene.now;
        let local = self.scene.local(host, now);
        let Some(mut router) = self.scene.hosts[host].router.take() else {
            return Ok(());
        };
        let of = &mut self.scene.hosts[host];
        if of.state == VrrpState::Master && !of.has {
            router.handle_address_lost(local, ONE);
        }
        let inbox = std::mem::take(&mut of.inbox);
        for input in inbox.into_iter().chain(input) {
            match input {
                Input::Packet { from, ttl, bytes } => {
                    let of = &mut self.scene.hosts[host];
                    let own = router.status(ONE).map_or(0, |status| status.priority);
                    if bytes.get(2).is_some_and(|priority| *priority >= own) {
                        of.pauses = 0;
                    }
                    router.handle_packet(local, ONE, from, ttl, &bytes);
                }
                Input::Claim { by } => {
                    let ours = by == Some(host);
                    if !ours {
                        self.checks.answered(host, now);
                    }
                    router.handle_neighbour(local, ONE, ADDRESS, ours, [2; 6]);
                }
            }
        }
        router.handle_time(local);
        self.scene.hosts[host].router = Some(router);
        self.act(host)
    }

    /// Performs the actions of a machine, and schedules its next wake-up.
    fn act(&mut self, host: usize) -> InvariantResult {
        let now = self.scene.now;
        while let Some(action) = self.next_action(host) {
            self.note(host, &action);
            self.checks.action(&self.scene, host, &action)?;
            self.perform(host, action);
        }
        let local = self.scene.local(host, now);
        let lifetime = self.scene.plan.lifetime_ns;
        let of = &mut self.scene.hosts[host];
        let Some(router) = &of.router else {
            return Ok(());
        };
        of.kept = router.instance_snapshot(local, ONE);
        if of.state == VrrpState::Master && of.has {
            of.expires = lifetime.map(|lifetime| now + lifetime);
        }
        if let Some(deadline) = router.deadline() {
            let late = self.random.below(TIMER_NS);
            let wake = self.scene.global(host, deadline).max(now + 1) + late;
            let of = &mut self.scene.hosts[host];
            // A superfluous earlier wake-up costs one event; a later one would be missed.
            if wake.abs_diff(of.wake) > TIMER_NS || of.wake <= now {
                of.wake = wake;
                self.push(wake, VrrpSimulationEvent::Wake(host));
            }
        }
        Ok(())
    }

    fn next_action(&mut self, host: usize) -> Option<VrrpAction> {
        self.scene.hosts[host].router.as_mut()?.poll()
    }

    fn perform(&mut self, host: usize, action: VrrpAction) {
        match action {
            VrrpAction::Send { bytes, .. } => {
                let input = Input::Packet {
                    from: source(host),
                    ttl: 255,
                    bytes: Rc::new(bytes),
                };
                self.broadcast(host, &input);
            }
            VrrpAction::Acquire { .. } => self.scene.hosts[host].has = true,
            VrrpAction::Release { .. } => {
                self.scene.hosts[host].has = false;
                self.scene.hosts[host].expires = None;
            }
            VrrpAction::Announce { .. } => {
                if self.scene.network.isolated[host] {
                    self.scene.unsure = true;
                } else {
                    self.scene.neighbours = Some(host);
                }
                self.broadcast(host, &Input::Claim { by: Some(host) });
            }
            VrrpAction::Probe { .. } => {
                for other in self.scene.places().filter(|other| *other != host) {
                    let ways = self.scene.network.send(&mut self.random, host, other);
                    for way in ways.into_iter().flatten() {
                        self.push(
                            self.scene.now + way,
                            VrrpSimulationEvent::Probe(host, other),
                        );
                    }
                }
            }
            VrrpAction::Entered { from, to, why, .. } => self.entered(host, from, to, &why),
            VrrpAction::HandOver { .. }
            | VrrpAction::GroupEntered { .. }
            | VrrpAction::HeardLower { .. }
            | VrrpAction::Note { .. } => {}
        }
    }

    fn broadcast(&mut self, host: usize, input: &Input) {
        for other in self.scene.places().filter(|other| *other != host) {
            let ways = self.scene.network.send(&mut self.random, host, other);
            for way in ways.into_iter().flatten() {
                self.push(
                    self.scene.now + way,
                    VrrpSimulationEvent::Arrive(other, input.clone()),
                );
            }
        }
    }

    fn entered(&mut self, host: usize, from: VrrpState, to: VrrpState, why: &Reason) {
        let now = self.scene.now;
        if to == VrrpState::Master {
            self.scene.hosts[host].master_since = now;
            self.scene.hosts[host].unsure =
                !matches!(why, Reason::OwnerStopped { .. } | Reason::Preempts { .. });
            // Clears the doubt unless another machine has the address or no neighbour is reached:
            // the neighbours just received this machine's announcement.
            let told = !self.scene.network.isolated[host];
            self.scene.unsure &= self.other_rules(host) || !told;
        }
        if from == VrrpState::Master {
            self.scene.unsure |= self.goes_unheard(host, why);
        }
        self.scene.hosts[host].state = to;
    }

    /// Returns whether the end of one of two masters goes unnoticed by the other: its last advert
    /// is lost, or it sends none, which is keepalived's default.
    fn goes_unheard(&self, host: usize, why: &Reason) -> bool {
        let says = match why {
            Reason::Preempted { .. } => {
                let settings = &self.scene.plan.settings[host];
                let of = &self.scene.hosts[host];
                let woke =
                    of.awake_since + settings.interval.as_nanos() as u64 * 2 > self.scene.now;
                settings.higher_prio_send_advert || of.unsure || woke
            }
            Reason::Failed(_) | Reason::Stopped => true,
            _ => false,
        };
        let mut others = self.scene.hosts.iter().filter(|other| other.place != host);
        others.any(|other| {
            let clean = self.scene.network.clean_since(host, other.place);
            let hears = says && clean.is_some() && other.rules();
            other.state == VrrpState::Master && !hears
        })
    }

    fn other_rules(&self, host: usize) -> bool {
        let mut hosts = self.scene.hosts.iter();
        hosts.any(|other| {
            other.place != host && (other.answers() || other.state == VrrpState::Master)
        })
    }

    fn begin(&mut self, host: usize) -> InvariantResult {
        let now = self.scene.now;
        let local = self.scene.local(host, now);
        let settings = self.scene.plan.settings[host].clone();
        let of = &mut self.scene.hosts[host];
        if of.router.is_some() {
            return Ok(());
        }
        let mut router = Router::new(vec![settings], vec![]);
        router.defect = self.defect;
        let words = of.faulty.then(|| "a link".to_owned());
        router.set_fault(local, ONE, words);
        if let Some(priority) = of.priority {
            router.set_priority(local, ONE, priority);
        }
        router.set_standing(
            local,
            ONE,
            banded(host, &self.scene.plan.settings[host], of.band),
        );
        router.start(local, ONE, of.kept.take());
        of.powered = true;
        of.pause = None;
        of.inbox.clear();
        of.state = VrrpState::Init;
        of.router = Some(router);
        of.steady_since = now;
        of.awake_since = 0;
        of.pauses = 0;
        of.wake = u64::MAX;
        self.act(host)
    }

    fn unpause(&mut self, host: usize) -> InvariantResult {
        let now = self.scene.now;
        let interval = self.scene.plan.interval_ns;
        let of = &mut self.scene.hosts[host];
        let Some(pause) = of.pause.take() else {
            return Ok(());
        };
        let slept = now - pause.since;
        if slept > interval * 13 / 10 {
            of.pauses += 1;
            of.slept_until = now;
        }
        of.awake_since = now;
        of.steady_since = now;
        of.wake = u64::MAX;
        if of.expires.is_some_and(|at| at <= now) {
            of.has = false;
            of.expires = None;
        }
        let was_master = of.state == VrrpState::Master;
        let heard = of.inbox.iter().any(|input| match input {
            Input::Packet {
                from,
                bytes,
                ttl: 255,
            } => {
                let real = (0..super::network::HOSTS).any(|place| source(place) == *from);
                real && bytes.get(2).is_some_and(|priority| *priority > 0)
            }
            _ => false,
        });
        let heard = heard && now >= self.scene.forged_until;
        self.turn(host, None)?;
        if was_master {
            self.checks.woke(&self.scene, host, slept, heard)?;
        }
        Ok(())
    }

    fn pause(&mut self, host: usize, length: u64, suspended: bool) {
        let now = self.scene.now;
        let of = &mut self.scene.hosts[host];
        if !of.awake() {
            return;
        }
        of.pause = Some(Pause {
            since: now,
            suspended,
        });
        let life = of.life;
        // Records the doubt: while a kernel is suspended, neighbours may learn that another machine
        // has the address.
        if suspended && of.state == VrrpState::Master {
            self.scene.unsure = true;
        }
        self.end_of_life(host);
        self.push(now + length, VrrpSimulationEvent::Unpause(host, life));
    }

    /// Schedules the removal of addresses that no process renews any longer.
    fn end_of_life(&mut self, host: usize) {
        if let Some(at) = self.scene.hosts[host].expires {
            self.push(at.max(self.scene.now), VrrpSimulationEvent::Expire(host));
        }
    }

    fn bury(&mut self, host: usize) {
        let rules = self.scene.hosts[host].state == VrrpState::Master;
        if rules && self.other_rules(host) {
            self.scene.unsure = true;
        }
        let now = self.scene.now;
        let of = &mut self.scene.hosts[host];
        of.router = None;
        of.state = VrrpState::Init;
        of.life += 1;
        // Exempts the machine from the check of resumption: while its kernel was suspended, another
        // machine may have become the owner.
        let slept = of.pause.take().is_some_and(|pause| pause.suspended);
        of.killed_at = if slept { u64::MAX } else { now };
        self.end_of_life(host);
    }

    fn disturb(&mut self, what: Disturbance) -> InvariantResult {
        let now = self.scene.now;
        match what {
            Disturbance::Cut(from, to) => self.scene.network.set_cut(now, from, to, true),
            Disturbance::Partition(side) => self.scene.network.partition(now, side),
            Disturbance::Isolate(host) => self.scene.network.isolate(now, host, true),
            Disturbance::Loss(loss) => self.scene.network.set_loss(now, loss),
            Disturbance::Heal => self.scene.network.heal(now),
            Disturbance::Freeze(host, length) => self.pause(host, length, false),
            Disturbance::Suspend(host, length) => self.pause(host, length, true),
            Disturbance::Kill(host, after) => {
                if self.scene.hosts[host].router.is_some() {
                    self.bury(host);
                    self.begin_later(host, after);
                }
            }
            Disturbance::Crash(host, after) => {
                if self.scene.hosts[host].router.is_some() {
                    self.bury(host);
                    let of = &mut self.scene.hosts[host];
                    of.powered = false;
                    of.has = false;
                    of.expires = None;
                    of.kept = None;
                    self.begin_later(host, after);
                }
            }
            Disturbance::Forge(host, count) => self.forge(host, count),
            Disturbance::Foreign(host) => self.foreign(host),
            Disturbance::Delete(host) => {
                if self.scene.hosts[host].awake() {
                    self.scene.hosts[host].has = false;
                    return self.turn(host, None);
                }
            }
            Disturbance::Priority(host, priority) => {
                self.scene.hosts[host].priority = Some(priority);
                return self.order(host, |router, local| {
                    router.set_priority(local, ONE, priority);
                });
            }
            Disturbance::Band(host, band) => {
                self.scene.hosts[host].band = band;
                let standing = banded(host, &self.scene.plan.settings[host], band);
                return self.order(host, |router, local| {
                    router.set_standing(local, ONE, standing);
                });
            }
            Disturbance::Fault(host, faulty) => return self.fault(host, faulty),
            Disturbance::HandOver(host, drain) => {
                return self.order(host, |router, local| {
                    router.hand_over(local, ONE, Duration::from_nanos(drain));
                });
            }
            Disturbance::Stop(host, after) => return self.stop(host, after),
            Disturbance::Reload(host) => return self.reload(host),
        }
        Ok(())
    }

    fn begin_later(&mut self, host: usize, after: u64) {
        let life = self.scene.hosts[host].life;
        self.push(
            self.scene.now + after,
            VrrpSimulationEvent::Begin(host, life),
        );
    }

    /// Gives an operator's order to a process, if it can handle one now.
    fn order(
        &mut self,
        host: usize,
        give: impl FnOnce(&mut Router, crate::vrrp::Time),
    ) -> InvariantResult {
        let local = self.scene.local(host, self.scene.now);
        let of = &mut self.scene.hosts[host];
        if !of.awake() {
            return Ok(());
        }
        if let Some(router) = &mut of.router {
            give(router, local);
        }
        self.act(host)
    }

    fn fault(&mut self, host: usize, faulty: bool) -> InvariantResult {
        let now = self.scene.now;
        let of = &mut self.scene.hosts[host];
        // Ignores the change, because a suspended process does not notice faults.
        if of.pause.is_some() {
            return Ok(());
        }
        if of.faulty != faulty {
            of.steady_since = now;
        }
        of.faulty = faulty;
        let words = faulty.then(|| "a link".to_owned());
        self.order(host, |router, local| router.set_fault(local, ONE, words))
    }

    fn stop(&mut self, host: usize, after: u64) -> InvariantResult {
        if !self.scene.hosts[host].awake() {
            return Ok(());
        }
        self.order(host, |router, local| router.stop_all(local))?;
        self.bury(host);
        self.scene.hosts[host].kept = None;
        self.begin_later(host, after);
        Ok(())
    }

    fn reload(&mut self, host: usize) -> InvariantResult {
        if !self.scene.hosts[host].awake() {
            return Ok(());
        }
        self.order(host, |router, local| router.stop_for_successor(local))?;
        let before = self.scene.hosts[host].state;
        let awake_since = self.scene.hosts[host].awake_since;
        self.scene.hosts[host].router = None;
        self.begin(host)?;
        let after = self.scene.hosts[host].state;
        // Tolerates a change of state after a recent suspension: the machine only listens, and may
        // not know that it still is master.
        let listens =
            awake_since > 0 && awake_since + self.scene.plan.interval_ns * 2 > self.scene.now;
        if before != VrrpState::Init && before != after && !listens {
            return Err(format!(
                "machine {host} is reloaded: {before:?} becomes {after:?}"
            ));
        }
        Ok(())
    }

    fn foreign(&mut self, _from: usize) {
        // Skips the fault unless a master is awake, receives the claim and can respond.
        let hears = |host: &VrrpSimulatedHost| {
            host.rules() && !self.scene.network.isolated[host.place] && self.scene.network.loss == 0
        };
        if !self.scene.hosts.iter().any(hears) {
            return;
        }
        self.scene.neighbours = None;
        for host in self.scene.places() {
            if !self.scene.network.isolated[host] {
                let at = self.scene.now + self.scene.network.delay_ns;
                self.push(
                    at,
                    VrrpSimulationEvent::Arrive(host, Input::Claim { by: None }),
                );
            }
        }
    }

    fn forge(&mut self, host: usize, count: u64) {
        let settings = self.scene.plan.settings[host].clone();
        let mut at = self.scene.now;
        for _ in 0..count {
            at += self.random.below(self.scene.plan.interval_ns / 40);
            let input = forge::packet(&mut self.random, &settings);
            self.push(at, VrrpSimulationEvent::Arrive(host, input));
        }
        // A forged advert is trusted for a down interval, so the checks pause for this time.
        let down = down_ns(&settings, self.scene.plan.interval_ns);
        self.scene.forged_until = self.scene.forged_until.max(at + down);
    }

    fn heal(&mut self) -> InvariantResult {
        let now = self.scene.now;
        self.scene.network.heal(now);
        for host in self.scene.places() {
            if self.scene.hosts[host].pause.is_some() {
                self.unpause(host)?;
            }
            self.begin(host)?;
            self.fault(host, false)?;
            self.disturb(Disturbance::Band(host, 0))?;
        }
        Ok(())
    }
}
