//! Executes a simulated history of leases: events in the order of a time that no machine knows.
//! Checks that no lease is held twice.

use super::agreement::Agreement;
use crate::command::{Epoch, LeaseCommand};
use crate::lease::defect::{InjectedLeaseDefect, LeaseDefect};
use crate::lease::{
    Boottime, Confirmed, DRIFT_DIVISOR, Grantor, Holder, HolderRequest, Lease, LeaseRequest,
    NotGranted, NotRenewed, Received, Renewal, quarantine_ns,
};
use crate::member::MemberId;
use lab::Random;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const HOSTS: usize = 3;
/// Name of the contended lease.
const NAME: &str = "volume/a";
const EVENTS: usize = 60_000;
const MS: u64 = 1_000_000;
const VALID_MS: [u64; 3] = [500, 700, 1_500];
/// Duration of the phase with disturbances.
const DISTURBED_MS: u64 = 20_000;
/// Duration of the calm phase, in which every member that wants the lease gets it.
const CALM_MS: u64 = 12_000;

#[derive(Clone, Debug)]
enum SimulatedMessage {
    Elected(u64),
    Deposed(u64),
    Begun(Epoch),
    Renewal(usize, Renewal),
    Confirmed(Received, Option<(Confirmed, usize)>),
    Want(usize, LeaseRequest),
    /// The holder of this epoch releases the lease.
    Released(usize, Epoch),
    Settled(u64, LeaseCommand),
    Renewed(Renewal),
    OldEpoch(Renewal),
    Knows(usize),
    Tick,
    /// The process checked the time under this epoch, and acts now.
    Acts(Epoch),
}

#[derive(Clone, Debug)]
enum LeaseSimulationEvent {
    Tell(usize, SimulatedMessage),
    Confirm(usize, u64, Received, Boottime),
    Append(Option<(usize, u64)>, LeaseCommand),
    Resume(usize),
    Disturb,
    Calm,
}

struct LeaseHost {
    /// Drift of its clock, millionths.
    drift_ppm: i64,
    booted_ns: u64,
    holder: Option<Holder>,
    /// Expiry up to which the other processes of the host trust the report of the
    /// previous process.
    former: Option<Boottime>,
    grantor: Option<Grantor>,
    /// The last confirmation, which a correct leader does not use again.
    confirmed: Option<Confirmed>,
    knows: usize,
    stands_still: bool,
    inbox: Vec<SimulatedMessage>,
    wants: bool,
    valid_ms: u64,
    cut: bool,
}

pub struct LeaseSimulation {
    now: u64,
    random: Random,
    broken: InjectedLeaseDefect,
    agreement: Agreement,
    hosts: Vec<LeaseHost>,
    events: BinaryHeap<Reverse<(u64, usize)>>,
    payloads: Vec<Option<LeaseSimulationEvent>>,
    calm: bool,
    last_held: Epoch,
    trace: Option<Vec<String>>,
}

impl LeaseSimulation {
    pub fn new(mut random: Random, broken: InjectedLeaseDefect, traced: bool) -> LeaseSimulation {
        let most = 1_000_000 / DRIFT_DIVISOR as i64;
        let hosts = (0..HOSTS).map(|_| LeaseHost {
            drift_ppm: match random.below(3) {
                0 => -most,
                1 => most,
                _ => random.below(2 * most as u64) as i64 - most,
            },
            booted_ns: random.below(1 << 50),
            holder: None,
            former: None,
            grantor: None,
            confirmed: None,
            knows: 0,
            stands_still: false,
            inbox: Vec::new(),
            wants: random.percent(75),
            valid_ms: random.pick(&VALID_MS),
            cut: false,
        });
        let mut world = LeaseSimulation {
            now: 0,
            hosts: hosts.collect(),
            random,
            broken,
            agreement: Agreement::new(broken),
            events: BinaryHeap::new(),
            payloads: Vec::new(),
            calm: false,
            last_held: Epoch(0),
            trace: traced.then(Vec::new),
        };
        world.elect();
        for host in 0..HOSTS {
            world.begin(host);
            world.at(0, LeaseSimulationEvent::Tell(host, SimulatedMessage::Tick));
        }
        world.at(10 * MS, LeaseSimulationEvent::Disturb);
        world.at(DISTURBED_MS * MS, LeaseSimulationEvent::Calm);
        world
    }

    /// Runs the whole history. Returns the violation, if any.
    pub fn run(&mut self) -> Result<(), String> {
        for _ in 0..EVENTS {
            let Some(Reverse((at, place))) = self.events.pop() else {
                return Err("nothing is to happen any more".to_owned());
            };
            if at >= (DISTURBED_MS + CALM_MS) * MS {
                return self.end();
            }
            self.now = at;
            if let Some(event) = self.payloads[place].take() {
                self.happen(event)?;
                self.check()?;
            }
        }
        Err(format!("more than {EVENTS} events"))
    }

    pub fn describe_events(&self) -> String {
        let drifts: Vec<i64> = self.hosts.iter().map(|host| host.drift_ppm).collect();
        let mut told = format!("at {} ms, drift {drifts:?}\n", self.now / MS);
        told += &self.trace.iter().flatten().cloned().collect::<String>();
        told
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3} {}\n", now as f64 / MS as f64, words()));
        }
    }

    fn at(&mut self, after_ns: u64, event: LeaseSimulationEvent) {
        let place = self.payloads.len();
        self.payloads.push(Some(event));
        self.events.push(Reverse((self.now + after_ns, place)));
    }

    fn clock(&self, host: usize) -> Boottime {
        let of = &self.hosts[host];
        let drift = self.now as i128 * i128::from(of.drift_ppm) / 1_000_000;
        Boottime(of.booted_ns + (self.now as i128 + drift) as u64)
    }

    fn until(&self, host: usize, then: Boottime) -> u64 {
        let left = i128::from(then.since(self.clock(host)));
        (left * 1_000_000 / i128::from(1_000_000 + self.hosts[host].drift_ppm)) as u64 + 1
    }

    fn way(&mut self) -> u64 {
        match self.random.below(20) {
            0 if !self.calm => self.random.between(MS, 2_500 * MS),
            1 | 2 => self.random.between(MS, 40 * MS),
            _ => self.random.between(MS / 10, MS),
        }
    }

    fn send(&mut self, from: usize, to: usize, told: SimulatedMessage) {
        let cut = from != to && (self.hosts[from].cut || self.hosts[to].cut);
        if cut || (!self.calm && self.random.percent(3)) {
            return;
        }
        let way = self.way();
        if !self.calm && self.random.percent(4) {
            let again = self.way();
            self.at(again, LeaseSimulationEvent::Tell(to, told.clone()));
        }
        self.at(way, LeaseSimulationEvent::Tell(to, told));
    }

    fn happen(&mut self, event: LeaseSimulationEvent) -> Result<(), String> {
        match event {
            LeaseSimulationEvent::Tell(host, told) => {
                if self.hosts[host].stands_still {
                    self.hosts[host].inbox.push(told);
                    return Ok(());
                }
                self.deliver_message(host, told)?;
            }
            LeaseSimulationEvent::Confirm(host, term, received, asked_at) => {
                let read = self.agreement.confirm(host, term);
                let confirmed = read.map(|index| (Confirmed { term, asked_at }, index));
                let way = self.way();
                self.at(
                    way,
                    LeaseSimulationEvent::Tell(
                        host,
                        SimulatedMessage::Confirmed(received, confirmed),
                    ),
                );
            }
            LeaseSimulationEvent::Append(by, command) => self.append(by, command),
            LeaseSimulationEvent::Resume(host) => {
                self.hosts[host].stands_still = false;
                for told in std::mem::take(&mut self.hosts[host].inbox) {
                    self.deliver_message(host, told)?;
                    self.check()?;
                }
            }
            LeaseSimulationEvent::Disturb => self.disturb(),
            LeaseSimulationEvent::Calm => {
                self.calm = true;
                for host in 0..HOSTS {
                    self.hosts[host].cut = false;
                }
                self.elect();
            }
        }
        Ok(())
    }

    fn append(&mut self, by: Option<(usize, u64)>, command: LeaseCommand) {
        let taken = self.agreement.append(by.map(|(_, term)| term), &command);
        let index = self.agreement.committed();
        if taken {
            let lease = self.agreement.leases[index];
            self.note(|| format!("committed {command:?}: {lease:?}"));
            for host in 0..HOSTS {
                let way = self.way();
                self.at(
                    way,
                    LeaseSimulationEvent::Tell(host, SimulatedMessage::Knows(index)),
                );
            }
        }
        // The response may be lost.
        if let Some((host, term)) = by.filter(|_| self.calm || self.random.percent(90)) {
            let way = self.way();
            self.at(
                way,
                LeaseSimulationEvent::Tell(host, SimulatedMessage::Knows(index)),
            );
            self.at(
                way + 1,
                LeaseSimulationEvent::Tell(host, SimulatedMessage::Settled(term, command)),
            );
        }
    }

    fn deliver_message(&mut self, host: usize, told: SimulatedMessage) -> Result<(), String> {
        let now = self.clock(host);
        let broken = self.broken;
        if !matches!(
            told,
            SimulatedMessage::Tick | SimulatedMessage::Knows(_) | SimulatedMessage::Acts(_)
        ) {
            self.note(|| format!("{host}: {told:?}"));
        }
        let of = &mut self.hosts[host];
        match told {
            SimulatedMessage::Elected(term) => {
                if of.grantor.as_ref().is_none_or(|had| had.term() < term) {
                    let mut grantor = Grantor::new(term, now);
                    grantor.break_it(broken);
                    of.grantor = Some(grantor);
                    of.confirmed = None;
                }
            }
            SimulatedMessage::Deposed(term) => {
                if of.grantor.as_ref().is_some_and(|had| had.term() <= term) {
                    of.grantor = None;
                }
            }
            SimulatedMessage::Begun(seen) => {
                let seen = if broken.is(LeaseDefect::ResumesFormerEpoch) {
                    Epoch(0)
                } else {
                    seen
                };
                let id = MemberId(host as u64);
                let mut holder = Holder::new(id, NAME.to_owned(), of.valid_ms, seen);
                holder.break_it(broken);
                if !of.wants {
                    holder.release();
                }
                of.holder = Some(holder);
            }
            SimulatedMessage::Renewal(from, renewal) => self.renewal(host, from, renewal),
            SimulatedMessage::Confirmed(received, confirmed) => {
                self.confirmed(host, received, confirmed)
            }
            SimulatedMessage::Want(from, want) => self.want(host, from, want),
            SimulatedMessage::Released(from, epoch) => self.released(host, from, epoch),
            SimulatedMessage::Settled(term, command) => {
                if let Some(grantor) = of.grantor.as_mut().filter(|had| had.term() == term) {
                    grantor.settled(&command);
                }
            }
            SimulatedMessage::Renewed(renewal) => {
                if let Some(holder) = &mut of.holder {
                    holder.renewed(&renewal, now);
                }
            }
            SimulatedMessage::OldEpoch(renewal) => {
                if let Some(holder) = &mut of.holder {
                    holder.refused(&renewal);
                }
            }
            SimulatedMessage::Knows(index) => {
                of.knows = of.knows.max(index);
                let lease = self.agreement.leases[of.knows];
                if let Some(holder) = &mut of.holder {
                    holder.observe(Some(&lease));
                }
            }
            SimulatedMessage::Tick => self.tick(host),
            SimulatedMessage::Acts(epoch) => return self.acts(host, epoch),
        }
        Ok(())
    }

    fn renewal(&mut self, host: usize, from: usize, renewal: Renewal) {
        let at = self.clock(host);
        let Some(term) = self.hosts[host].grantor.as_ref().map(Grantor::term) else {
            return;
        };
        let received = Received {
            from: MemberId(from as u64),
            renewal,
            at,
        };
        // An implementation might reuse the confirmation that it has.
        if let Some(had) = self.hosts[host]
            .confirmed
            .filter(|_| self.random.percent(30))
        {
            let index = self.hosts[host].knows;
            if self.answer(host, &received, had, index).is_ok() {
                return;
            }
        }
        let way = self.way();
        self.at(way, LeaseSimulationEvent::Confirm(host, term, received, at));
    }

    fn confirmed(&mut self, host: usize, of: Received, confirmed: Option<(Confirmed, usize)>) {
        // A failed confirmation is delivered like one of another term.
        let none = Confirmed {
            term: 0,
            asked_at: Boottime::default(),
        };
        let (confirmed, index) = confirmed.unwrap_or((none, self.hosts[host].knows));
        if confirmed.term > 0 {
            self.hosts[host].confirmed = Some(confirmed);
        }
        let _ = self.answer(host, &of, confirmed, index);
    }

    fn answer(
        &mut self,
        host: usize,
        received: &Received,
        confirmed: Confirmed,
        index: usize,
    ) -> Result<(), NotRenewed> {
        let now = self.clock(host);
        let known = self.hosts[host].knows.max(index);
        let lease: Lease = self.agreement.leases[known];
        let Some(grantor) = &mut self.hosts[host].grantor else {
            return Ok(());
        };
        let said = grantor.answer(Some(&lease), received, confirmed, now);
        let renewal = received.renewal.clone();
        match said {
            Ok(()) => self.send(
                host,
                received.from.0 as usize,
                SimulatedMessage::Renewed(renewal),
            ),
            Err(NotRenewed::OldEpoch) => {
                self.send(
                    host,
                    received.from.0 as usize,
                    SimulatedMessage::OldEpoch(renewal),
                );
            }
            Err(NotRenewed::Unconfirmed | NotRenewed::Granting) => {}
        }
        said
    }

    fn want(&mut self, host: usize, from: usize, want: LeaseRequest) {
        let now = self.clock(host);
        let Some(term) = self.hosts[host].grantor.as_ref().map(Grantor::term) else {
            return;
        };
        // A leader confirms the state that it reads.
        let Some(read) = self.agreement.confirm(host, term) else {
            let lease = self.agreement.leases[self.hosts[host].knows];
            return self.grant(host, from, &want, now, lease, term);
        };
        let lease = self.agreement.leases[read];
        self.grant(host, from, &want, now, lease, term);
    }

    fn released(&mut self, host: usize, from: usize, epoch: Epoch) {
        let now = self.clock(host);
        let grantor = self.hosts[host].grantor.as_mut();
        let from = MemberId(from as u64);
        if let Some(command) = grantor.map(|one| one.pass(NAME, epoch, from, now)) {
            self.propose(command);
        }
    }

    fn grant(
        &mut self,
        host: usize,
        from: usize,
        want: &LeaseRequest,
        now: Boottime,
        lease: Lease,
        term: u64,
    ) {
        let Some(grantor) = &mut self.hosts[host].grantor else {
            return;
        };
        match grantor.grant(Some(&lease), MemberId(from as u64), want, now) {
            Ok(command) | Err(NotGranted::Granting(command)) => {
                let slow = !self.calm && self.random.percent(25);
                let way = if slow {
                    self.random.between(50 * MS, 800 * MS)
                } else {
                    self.way()
                };
                if !self.calm && self.random.percent(10) {
                    let again = self.way();
                    let command = command.clone();
                    self.at(
                        again,
                        LeaseSimulationEvent::Append(Some((host, term)), command),
                    );
                }
                self.at(
                    way,
                    LeaseSimulationEvent::Append(Some((host, term)), command),
                );
            }
            // The holder repeats its requests: some of the refusals are remembered.
            Err(NotGranted::NotBefore(_)) if self.random.percent(80) => {}
            Err(NotGranted::NotBefore(then)) => {
                let wait = self.until(host, then);
                self.at(
                    wait,
                    LeaseSimulationEvent::Tell(host, SimulatedMessage::Want(from, want.clone())),
                );
            }
            Err(
                NotGranted::Granted(_)
                | NotGranted::BetterWaits
                | NotGranted::Busy
                | NotGranted::Unfit,
            ) => {}
        }
    }

    fn tick(&mut self, host: usize) {
        let now = self.clock(host);
        let due = self.hosts[host]
            .holder
            .as_mut()
            .and_then(|holder| holder.due(now));
        let leads = if self.random.percent(80) {
            self.agreement.leader
        } else {
            Some(self.random.below(HOSTS as u64) as usize)
        };
        match due {
            Some(HolderRequest::Want(want)) => {
                if let Some(to) = leads {
                    self.send(host, to, SimulatedMessage::Want(host, want));
                }
            }
            Some(HolderRequest::Renew(renewal)) => {
                if let Some(to) = leads {
                    self.send(host, to, SimulatedMessage::Renewal(host, renewal));
                }
            }
            Some(HolderRequest::Release(command)) => {
                self.hosts[host].former = None;
                self.release(host, leads, command);
            }
            None => {}
        }
        if let Some(epoch) = self.hosts[host].holder.as_ref().and_then(|it| it.held(now)) {
            // An action takes a moment after the clock was read.
            let moment = self.random.between(1_000, 100_000);
            self.at(
                moment,
                LeaseSimulationEvent::Tell(host, SimulatedMessage::Acts(epoch)),
            );
            if !self.calm && self.random.percent(1) {
                // The host is suspended between reading the clock and acting.
                self.pause(host);
            }
        }
        let next = self.random.between(5 * MS, 20 * MS);
        self.at(
            next,
            LeaseSimulationEvent::Tell(host, SimulatedMessage::Tick),
        );
    }

    /// A holder proposes its release itself, or sends it to the leader that it knows.
    fn release(&mut self, host: usize, leads: Option<usize>, command: LeaseCommand) {
        match (command, leads) {
            (LeaseCommand::Release { epoch, .. }, Some(to)) if self.random.percent(70) => {
                self.send(host, to, SimulatedMessage::Released(host, epoch));
            }
            (command, _) => self.propose(command),
        }
    }

    fn propose(&mut self, command: LeaseCommand) {
        let way = self.way();
        if !self.calm && self.random.percent(15) {
            let again = self.way();
            self.at(again, LeaseSimulationEvent::Append(None, command.clone()));
        }
        self.at(way, LeaseSimulationEvent::Append(None, command));
    }

    fn acts(&mut self, host: usize, epoch: Epoch) -> Result<(), String> {
        let now = self.clock(host);
        let held = self.hosts[host].holder.as_ref().and_then(|it| it.held(now));
        if held != Some(epoch) && !self.broken.is(LeaseDefect::ChecksBeforeThePause) {
            return Ok(());
        }
        let other = (0..HOSTS).find(|other| *other != host && self.holds(*other));
        match other {
            Some(other) => Err(format!("{host} acts with {epoch:?} while {other} holds it")),
            None => Ok(()),
        }
    }

    fn holds(&self, host: usize) -> bool {
        let now = self.clock(host);
        let of = &self.hosts[host];
        of.holder
            .as_ref()
            .is_some_and(|holder| holder.held(now).is_some())
            || of.former.is_some_and(|until| now < until)
    }

    fn check(&mut self) -> Result<(), String> {
        let holding: Vec<usize> = (0..HOSTS).filter(|host| self.holds(*host)).collect();
        if holding.len() > 1 {
            return Err(format!("{holding:?} hold it"));
        }
        let Some(host) = holding.first() else {
            return Ok(());
        };
        let now = self.clock(*host);
        let epoch = self.hosts[*host]
            .holder
            .as_ref()
            .and_then(|it| it.held(now));
        if let Some(epoch) = epoch {
            if epoch < self.last_held {
                return Err(format!(
                    "{host} holds it under {epoch:?} after {:?}",
                    self.last_held
                ));
            }
            self.last_held = epoch;
        }
        Ok(())
    }

    fn end(&self) -> Result<(), String> {
        let wanted = self.hosts.iter().any(|host| host.wants);
        let held = (0..HOSTS).any(|host| self.holds(host));
        match (wanted, held) {
            (true, false) => Err("it is wanted, and nobody gets it".to_owned()),
            (false, true) => Err("nobody wants it, and somebody holds it".to_owned()),
            _ => Ok(()),
        }
    }

    fn elect(&mut self) {
        let host = self.random.below(HOSTS as u64) as usize;
        self.agreement.term += 1;
        self.agreement.leader = Some(host);
        let term = self.agreement.term;
        self.note(|| format!("term {term}: {host} leads"));
        let way = self.way();
        self.at(
            way,
            LeaseSimulationEvent::Tell(host, SimulatedMessage::Elected(term)),
        );
        for other in 0..HOSTS {
            let late = if self.calm {
                MS
            } else {
                self.random.between(MS, 3_000 * MS)
            };
            if other != host {
                self.at(
                    late,
                    LeaseSimulationEvent::Tell(other, SimulatedMessage::Deposed(term)),
                );
            }
        }
    }

    /// Starts a process: it reads the committed state.
    fn begin(&mut self, host: usize) {
        let seen = self.agreement.leases[self.agreement.committed()].epoch;
        let index = self.agreement.committed();
        self.at(
            MS,
            LeaseSimulationEvent::Tell(host, SimulatedMessage::Begun(seen)),
        );
        self.at(
            MS + 1,
            LeaseSimulationEvent::Tell(host, SimulatedMessage::Knows(index)),
        );
    }

    fn disturb(&mut self) {
        if self.calm {
            return;
        }
        let host = self.random.below(HOSTS as u64) as usize;
        match self.random.below(12) {
            0 | 1 => self.elect(),
            2 | 3 => self.pause(host),
            4 => self.restart(host),
            5 => {
                self.give_up(host);
                if self.random.percent(50) {
                    self.restart(host);
                }
            }
            6 | 7 => {
                self.hosts[host].wants = true;
                if let Some(holder) = &mut self.hosts[host].holder {
                    holder.want();
                }
            }
            8 | 9 => self.hosts[host].cut = true,
            _ => self.hosts.iter_mut().for_each(|host| host.cut = false),
        }
        let next = self.random.pick(&[20, 100, 400, 1_000]);
        let next = self.random.between(1, next) * MS;
        self.at(next, LeaseSimulationEvent::Disturb);
    }

    fn pause(&mut self, host: usize) {
        if self.hosts[host].stands_still {
            return;
        }
        let long = self.random.pick(&[1, 200, 800, 3_000]);
        self.note(|| format!("{host} stands still for {long} ms"));
        self.hosts[host].stands_still = true;
        self.at(long * MS, LeaseSimulationEvent::Resume(host));
    }

    /// Restarts the process. Other processes of the machine keep what they were told.
    fn restart(&mut self, host: usize) {
        self.note(|| format!("{host} begins anew"));
        let valid_ms = self.random.pick(&VALID_MS);
        let of = &mut self.hosts[host];
        let until = of.holder.take().and_then(|holder| holder.until());
        of.former = of.former.max(until);
        of.grantor = None;
        of.inbox.clear();
        of.valid_ms = valid_ms;
        of.wants = true;
        if of.stands_still {
            // The process lost its timer.
            of.inbox.push(SimulatedMessage::Tick);
        }
        if self.agreement.leader == Some(host) {
            self.elect();
        }
        self.begin(host);
    }

    fn give_up(&mut self, host: usize) {
        let of = &mut self.hosts[host];
        of.wants = false;
        let released = of.holder.as_mut().and_then(Holder::release);
        self.note(|| format!("{host} wants it no more: {released:?}"));
        if let Some(command) = released {
            // All processes of the machine were notified first.
            self.hosts[host].former = None;
            let leads = self.agreement.leader;
            self.release(host, leads, command);
        }
    }
}

#[test]
fn the_calm_is_long_enough_for_any_validity() {
    let longest = VALID_MS.into_iter().map(quarantine_ns).max();
    assert!(longest.is_some_and(|ns| ns * 2 < CALM_MS * MS));
}
