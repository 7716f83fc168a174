//! Tests histories of partitions, pauses, migrations and killed roles, each from its seed. At no
//! time do two instances of a guest exist whose writes both reach a copy. Afterwards the guest runs
//! on one node, with all data that it had flushed. `GUEST_PARTITIONS` is the number of histories,
//! `GUEST_PARTITION_SEED` the first seed.

use crate::cluster::site::Said;
use crate::guest::records::{self, Shown};
use crate::guest::site::{GuestSite, kill};
use crate::guest::ticks::TickMonitor;
use crate::volume::site::{NODES, other};
use lab::{
    FirewallBlock, InjectedFault, PacketFilter, Random, TransportProtocol, eventually, setting,
    sleep_in_test,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

/// Number of histories; `GUEST_PARTITIONS` sets another number.
const HISTORIES: u64 = 30;
const STEPS_MIN: u64 = 3;
const STEPS_MAX: u64 = 6;
/// The longest time from a step to the next one, milliseconds: longer than a lease is good.
const NEXT_MS_MAX: u64 = 6000;
/// Range of the duration of a pause, milliseconds.
const PAUSE_MS: [u64; 2] = [2000, 8000];
/// Longest overlap of two instances, ticks. One of them cannot write then. The overlap lasts from
/// the end of an external pause until the role has paused its guest: half a second, then QEMU is
/// killed.
const OVERLAP_MAX: usize = 10;
const VOLUMES: u16 = 7444;

/// Remaining abilities of a member that is cut from the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    Nothing,
    Hears,
    Sends,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// A member is cut from the others.
    Member(&'static str, Cut),
    /// The copies do not reach each other.
    Copies,
    Heal,
    /// A node is suspended for that many milliseconds.
    Pause(&'static str, u64),
    /// The guest is moved to the node where it is not, by an order on this one.
    Move(&'static str),
    Kill(&'static str, &'static str),
}

impl Step {
    fn draw(random: &mut Random) -> Step {
        let node = random.pick(NODES.as_slice());
        match random.below(12) {
            0..4 => {
                let member = random.pick(&["alpha", "beta", "alpha", "beta", "arbiter"]);
                let cut = random.pick(&[Cut::Nothing, Cut::Nothing, Cut::Hears, Cut::Sends]);
                Step::Member(member, cut)
            }
            4 => Step::Copies,
            5 => Step::Heal,
            6 | 7 => Step::Pause(node, random.between(PAUSE_MS[0], PAUSE_MS[1])),
            8 | 9 => Step::Move(node),
            _ => {
                let role = random.pick(&["guest-role", "volume-role", "control-role"]);
                Step::Kill(node, role)
            }
        }
    }
}

#[derive(Default)]
struct Broken {
    faults: Vec<InjectedFault>,
    blocks: Vec<FirewallBlock>,
}

impl Broken {
    fn cut(&mut self, site: &GuestSite, member: &str, cut: Cut) {
        let back = &site.volumes.site.back;
        for machine in site.volumes.site.machines() {
            if machine.name() == member {
                continue;
            }
            let (one, other) = (&site.machine(member).host, &machine.host);
            // With `Cut::Hears`, packets that the member sends still pass.
            if cut != Cut::Hears {
                self.faults.push(back.one_way(one, other).unwrap());
            }
            if cut != Cut::Sends {
                self.faults.push(back.one_way(other, one).unwrap());
            }
        }
    }

    fn heal(&mut self) {
        self.faults
            .drain(..)
            .for_each(|fault| fault.heal().unwrap());
        self.blocks
            .drain(..)
            .for_each(|block| block.lift().unwrap());
    }
}

/// Suspends all processes of a node, including the guest, for a time.
fn pause(site: &GuestSite, node: &str, time: Duration) {
    let qemu = site.qemu(node);
    let signal = |signal| {
        let pid = qemu.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        // The process may have ended, and its ID may belong to another one.
        if site.qemu(node) == qemu {
            let _ = pid.map(|pid| kill_process(pid, signal));
        }
    };
    let frozen = site.machine(node).freeze();
    signal(Signal::STOP);
    sleep_in_test(time, "a node stands still");
    // The worse order: no role runs yet that could pause the guest.
    signal(Signal::CONT);
    frozen.thaw();
}

struct History<'a> {
    site: &'a GuestSite,
    seed: u64,
    begun: Instant,
    broken: Broken,
}

impl<'a> History<'a> {
    fn note(&self, words: &str) {
        println!(
            "seed {}, {:.1} s: {words}",
            self.seed,
            self.begun.elapsed().as_secs_f64()
        );
    }

    fn take<'scope>(&mut self, step: Step, scope: &'scope Scope<'scope, 'a>) {
        self.note(&format!("{step:?}"));
        let site = self.site;
        match step {
            Step::Member(member, cut) => self.broken.cut(site, member, cut),
            Step::Copies => {
                let volumes = PacketFilter::all().port(TransportProtocol::Tcp, VOLUMES);
                let block = site.machine("alpha").host.block(&volumes);
                self.broken.blocks.push(block.unwrap());
            }
            Step::Heal => self.broken.heal(),
            Step::Pause(node, ms) => pause(site, node, Duration::from_millis(ms)),
            Step::Move(by) => {
                // The move may be refused, and may wait until all members are connected again.
                let (seed, machine) = (self.seed, site.machine(by));
                let to = if site.qemu("alpha").is_some() {
                    "beta"
                } else {
                    "alpha"
                };
                scope.spawn(move || {
                    let Said { good, out, err } = machine.command(&["guest", "move", "mail", to]);
                    println!("seed {seed}: moved to {to}: {good}: {out}{err}");
                });
            }
            Step::Kill(node, role) => {
                // The role may be about to restart.
                let pid = site.machine(node).role(role);
                kill(pid.map(|pid| pid.as_raw_nonzero().get().unsigned_abs()));
            }
        }
    }

    /// Takes all steps of the history, and then connects all members again.
    fn pass(&mut self) {
        let mut random = Random::new(self.seed);
        thread::scope(|scope| {
            for _ in 0..random.between(STEPS_MIN, STEPS_MAX) {
                let step = Step::draw(&mut random);
                self.take(step, scope);
                // The next step happens in the middle of a move.
                let next_ms_max = match step {
                    Step::Move(_) => NEXT_MS_MAX / 4,
                    _ => NEXT_MS_MAX,
                };
                let next = Duration::from_millis(random.below(next_ms_max));
                sleep_in_test(next, "a step has its effect");
            }
            self.note("all is connected again");
            self.broken.heal();
        });
    }
}

/// Reads the consoles, then checks both copies.
#[track_caller]
fn holds(site: &GuestSite, shown: &mut Shown) -> usize {
    for node in NODES {
        let heard = records::hear(shown, &site.said(node));
        assert_eq!(heard, Ok(()), "{node}: {}", site.tell());
    }
    let starts = NODES.map(|node| {
        let copy = fs::read(site.volumes.file(node)).unwrap();
        let starts = records::check(&copy, shown);
        let starts = starts.unwrap_or_else(|wrong| panic!("{node}: {wrong}\n{}", site.tell()));
        starts.into_iter().map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(starts[0], starts[1], "{}", site.tell());
    starts[0].len()
}

/// Waits until the guest runs on one node and continues, its copies are in sync, and both nodes are
/// there.
#[track_caller]
fn rests(site: &GuestSite) -> &'static str {
    let wrote = NODES.map(|node| site.wrote(node)).into_iter().max();
    let node = site.goes_on(wrote.unwrap_or_default());
    let alone = || site.qemu(node).is_some() && site.qemu(other(node)).is_none();
    assert!(
        eventually(crate::cluster::site::SOON, alone),
        "{}",
        site.tell()
    );
    site.volumes.in_sync();
    NODES.into_iter().for_each(|node| site.is_there(node));
    node
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn no_history_of_partitions_has_two_instances_that_write() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::recording("guest-parts") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let first = setting("GUEST_PARTITION_SEED").unwrap_or(1);
    let count = setting("GUEST_PARTITIONS").unwrap_or(HISTORIES);
    let mut shown = Shown::new();
    for seed in first..first + count {
        let mut history = History {
            site: &site,
            seed,
            begun: Instant::now(),
            broken: Broken::default(),
        };
        let watch = TickMonitor::start(NODES.map(|node| site.home(node)));
        history.pass();
        let node = rests(&site);
        let overlap = watch.stop();
        assert!(overlap.seen() > 0, "no tick was seen: {}", site.tell());
        let overlap = overlap.longest();
        let starts = holds(&site, &mut shown);
        history.note(&format!(
            "rests on {node}; {} numbers by {starts} starts; two ran for {overlap} ticks at most",
            shown.len()
        ));
        assert!(overlap <= OVERLAP_MAX, "{overlap}: {}", site.tell());
    }
    // Nothing writes any longer: the copies are equal to the last byte.
    let stop = ["guest", "stop", "mail"];
    site.machine("alpha").command(&stop).well();
    site.volumes.in_sync();
    let copies = NODES.map(|node| fs::read(site.volumes.file(node)).unwrap());
    assert!(copies[0] == copies[1], "{}", site.tell());
    holds(&site, &mut shown);
}
