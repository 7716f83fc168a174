//! Simulates migrations: connections are cut, roles are killed, leases end and QEMU fails.
//! `MOVE_SEED=n` replays one seed.
//!
//! The model of a guest is a counter in its memory and on its disk. An instance whose counter
//! differs from that on the disk must not run.

use super::source::{self, MigrationSource};
use super::target::{self, MigrationTarget};
use super::{MigrationDefect, MigrationMessage, Progress};
use lab::Random;
use lab::sim::{assert_found, run_seeds};
use std::collections::VecDeque;

const SEEDS: u64 = 20_000;
const STEPS: u64 = 300;

/// The QEMU process of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Qemu {
    None,
    Running,
    Copying,
    Paused,
    Completed,
    Waits,
    Whole,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ResourceOwner {
    Nobody,
    Source,
    Target,
}

struct MigrationSimulation {
    random: Random,
    now: u64,
    source: Option<MigrationSource>,
    target: Option<MigrationTarget>,
    qemu: [Qemu; 2],
    memory: [u64; 2],
    disk: u64,
    lease: ResourceOwner,
    volumes: ResourceOwner,
    /// Node to which the volumes are being handed over.
    wanted: ResourceOwner,
    /// Messages in flight, to the target and to the source.
    wire: [VecDeque<MigrationMessage>; 2],
    is_cut: bool,
    /// True if the source has released its lease.
    gave: bool,
    wrong: Option<String>,
    trace: Vec<String>,
}

impl MigrationSimulation {
    fn new(seed: u64, broken: Option<MigrationDefect>) -> MigrationSimulation {
        MigrationSimulation {
            random: Random::new(seed),
            now: 0,
            source: Some(MigrationSource::new(1 << 30, 0).with(broken)),
            target: Some(MigrationTarget::with(broken)),
            qemu: [Qemu::Running, Qemu::Waits],
            memory: [7, 0],
            disk: 7,
            lease: ResourceOwner::Source,
            volumes: ResourceOwner::Source,
            wanted: ResourceOwner::Source,
            wire: [VecDeque::new(), VecDeque::new()],
            is_cut: false,
            gave: false,
            wrong: None,
            trace: Vec::new(),
        }
    }

    fn note(&mut self, words: String) {
        let now = self.now;
        self.trace.push(format!("{now}: {words}"));
    }

    fn send(&mut self, to: usize, message: MigrationMessage) {
        self.note(format!("to {to}: {message:?}"));
        if !self.is_cut {
            self.wire[to].push_back(message);
        }
    }

    fn source_sees(&mut self, input: source::Input) {
        self.note(format!("source sees {input:?}"));
        let now = self.now;
        let orders = self.source.as_mut().map(|one| one.apply_input(input, now));
        self.source_obeys(orders.unwrap_or_default());
    }

    fn source_obeys(&mut self, orders: Vec<source::SourceOrder>) {
        for order in orders {
            self.note(format!("source: {order:?}"));
            match order {
                source::SourceOrder::Send(message) => self.send(0, message),
                source::SourceOrder::Migrate if self.qemu[0] == Qemu::Running => {
                    self.qemu[0] = Qemu::Copying;
                }
                source::SourceOrder::Continue if self.qemu[0] == Qemu::Paused => self.complete(),
                source::SourceOrder::Cancel
                    if matches!(self.qemu[0], Qemu::Copying | Qemu::Paused) =>
                {
                    self.goes_on();
                    self.source_sees(source::Input::Qemu(Progress::Failed("cancelled".into())));
                }
                _ => {}
            }
        }
    }

    /// Lets a guest run on after QEMU has cancelled its migration.
    fn goes_on(&mut self) {
        if self.qemu[0] == Qemu::Paused {
            if self.lease != ResourceOwner::Source || self.gave {
                self.wrong = Some("it goes on without its lease".to_owned());
            }
            if self.volumes != ResourceOwner::Source {
                self.wrong = Some("it goes on without its volumes".to_owned());
            }
        }
        self.qemu[0] = Qemu::Running;
    }

    /// Copies the rest as QEMU does: all of it, or all except the last write on the source.
    fn complete(&mut self) {
        let arrives = !self.is_cut && self.random.percent(80);
        let fails = self.is_cut || self.random.percent(20);
        if arrives && self.qemu[1] == Qemu::Waits {
            self.qemu[1] = Qemu::Whole;
            self.memory[1] = self.memory[0];
        } else {
            self.qemu[1] = Qemu::None;
        }
        let progress = if fails {
            Progress::Failed("the connection was cut".to_owned())
        } else {
            Progress::Completed
        };
        self.qemu[0] = if fails {
            Qemu::Running
        } else {
            Qemu::Completed
        };
        self.source_sees(source::Input::Qemu(progress));
        let target = match self.qemu[1] {
            Qemu::Whole => Progress::Completed,
            _ => Progress::Gone,
        };
        self.target_sees(target::Input::Qemu(target));
    }

    fn target_sees(&mut self, input: target::Input) {
        self.note(format!("target sees {input:?}"));
        let orders = self.target.as_mut().map(|one| one.apply_input(input));
        self.target_obeys(orders.unwrap_or_default());
    }

    fn target_obeys(&mut self, orders: Vec<target::TargetOrder>) {
        for order in orders {
            match order {
                target::TargetOrder::Send(message) => self.send(1, message),
                target::TargetOrder::Listen => self.target_sees(target::Input::Listens),
            }
        }
    }

    /// Simulates the other parts of the guest roles: agreement and life cycles.
    fn lead(&mut self) {
        let here = source::SourceResources {
            has_lease: self.lease == ResourceOwner::Source && !self.gave,
            has_volumes: self.volumes == ResourceOwner::Source,
        };
        let now = self.now;
        let orders = self.source.as_mut().map(|one| one.next(here, now));
        self.source_obeys(orders.unwrap_or_default());
        let there = target::TargetResources {
            has_lease: self.lease == ResourceOwner::Target,
            has_volumes: self.volumes == ResourceOwner::Target,
        };
        let orders = self.target.as_mut().map(|one| one.next(there, now));
        self.target_obeys(orders.unwrap_or_default());
        let moved = self.qemu[0] == Qemu::Completed;
        self.gave |= moved && self.lease == ResourceOwner::Source;
        // The node that alone uses the volumes.
        let takes = self
            .target
            .as_ref()
            .is_some_and(MigrationTarget::takes_volumes);
        let hands = self
            .source
            .as_ref()
            .is_some_and(MigrationSource::hands_over);
        self.wanted = match (self.lease, takes && hands) {
            (ResourceOwner::Source, true) | (ResourceOwner::Target, _) => ResourceOwner::Target,
            (ResourceOwner::Source, false) => ResourceOwner::Source,
            (ResourceOwner::Nobody, _) => self.wanted,
        };
        // A life cycle pauses the guest, and kills the process if another node has it.
        let may_run = matches!(self.qemu[0], Qemu::Running | Qemu::Copying);
        if self.lease == ResourceOwner::Target || (may_run && !here.has_lease) {
            self.qemu[0] = Qemu::None;
        }
        self.lead_target(there);
    }

    fn lead_target(&mut self, there: target::TargetResources) {
        let failed = self
            .target
            .as_ref()
            .is_none_or(|one| one.failed().is_some());
        if failed && matches!(self.qemu[1], Qemu::Waits | Qemu::Whole) {
            self.qemu[1] = Qemu::None;
        }
        if !(there.has_lease && there.has_volumes) {
            return;
        }
        let arrived = self
            .target
            .as_ref()
            .is_some_and(MigrationTarget::has_arrived);
        match self.qemu[1] {
            Qemu::Whole if arrived => self.qemu[1] = Qemu::Running,
            // The guest starts from its disks.
            Qemu::None => {
                self.qemu[1] = Qemu::Running;
                self.memory[1] = self.disk;
            }
            _ => {}
        }
    }

    fn step(&mut self) {
        self.now += self.random.below(500);
        match self.random.below(16) {
            0 => self.target_sees(target::Input::Waits),
            1..=4 => self.deliver(0),
            5..=8 => self.deliver(1),
            9 if self.qemu[0] == Qemu::Copying => {
                self.qemu[0] = Qemu::Paused;
                self.source_sees(source::Input::Qemu(Progress::Paused));
            }
            10 | 11 => self.volumes = self.wanted,
            12 if self.gave => self.lease = ResourceOwner::Target,
            13 if self.random.percent(6) => self.disaster(),
            14 => self.now += self.random.below(20_000),
            _ => self.write(),
        }
        self.lead();
    }

    fn deliver(&mut self, to: usize) {
        let Some(message) = self.wire[to].pop_front() else {
            return;
        };
        match to {
            0 => self.target_sees(target::Input::Heard(message)),
            _ => self.source_sees(source::Input::Heard(message)),
        }
    }

    fn disaster(&mut self) {
        match self.random.below(5) {
            // The link is cut.
            0 => {
                self.note("cut".to_owned());
                self.is_cut = true;
                self.wire.iter_mut().for_each(VecDeque::clear);
                self.source_sees(source::Input::Lost("cut".to_owned()));
                self.target_sees(target::Input::Lost("cut".to_owned()));
            }
            // The lease ends, and the target receives it.
            1 => {
                self.note("lease lost".to_owned());
                self.lease = ResourceOwner::Nobody;
                self.gave = true;
            }
            2 => {
                self.note("role of the target killed".to_owned());
                self.target = None;
                self.wire.iter_mut().for_each(VecDeque::clear);
                self.source_sees(source::Input::Lost("closed".to_owned()));
            }
            3 => {
                self.note("role of the source killed".to_owned());
                self.source = None;
                self.is_cut = true;
                self.wire.iter_mut().for_each(VecDeque::clear);
                if self.qemu[0] == Qemu::Copying {
                    self.qemu[0] = Qemu::Running;
                }
                self.target_sees(target::Input::Lost("closed".to_owned()));
            }
            _ => {
                self.note("QEMU of the target killed".to_owned());
                if self.qemu[1] != Qemu::Running {
                    self.qemu[1] = Qemu::None;
                    self.target_sees(target::Input::Qemu(Progress::Gone));
                }
            }
        }
    }

    /// Lets running guests write to their volumes.
    fn write(&mut self) {
        for (node, owner) in [(0, ResourceOwner::Source), (1, ResourceOwner::Target)] {
            let runs = matches!(self.qemu[node], Qemu::Running | Qemu::Copying);
            if runs && self.volumes == owner {
                self.memory[node] += 1;
                self.disk = self.memory[node];
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        let runs = |node: usize| matches!(self.qemu[node], Qemu::Running | Qemu::Copying);
        if runs(0) && runs(1) {
            return Err("it runs twice".to_owned());
        }
        for node in [0, 1] {
            if runs(node) && self.memory[node] != self.disk {
                return Err(format!("an old instance runs at {node}"));
            }
        }
        self.wrong.clone().map_or(Ok(()), Err)
    }
}

fn history(seed: u64, broken: Option<MigrationDefect>) -> Result<(), String> {
    let mut world = MigrationSimulation::new(seed, broken);
    for _ in 0..STEPS {
        world.step();
        if let Err(error) = world.check() {
            return Err(format!("seed {seed}: {error}\n{}", world.trace.join("\n")));
        }
    }
    Ok(())
}

#[test]
fn a_moving_guest_is_never_duplicated_or_outdated() {
    run_seeds("MOVE", SEEDS, |seed| history(seed, None));
}

#[test]
fn deliberate_defects_are_found() {
    let defects = [
        MigrationDefect::TrustsTheStream,
        MigrationDefect::ReturnsWithoutLease,
        MigrationDefect::ReturnsWithoutVolumes,
    ];
    assert_found(&defects, SEEDS, |seed, defect| history(seed, Some(defect)));
}
