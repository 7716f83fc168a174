//! Plans the events of a history: drawn from its seed, then healed, then calm.

use super::defect::RaftDefect;
use super::network::Weather;
use crate::member::MemberKind;
use lab::Random;
use std::time::Duration;

const DISTURBANCES: u64 = 9;

#[derive(Clone, Copy, Debug)]
pub enum Disturbance {
    /// The second host no longer receives from the first.
    Cut(usize, usize),
    CutBoth(usize, usize),
    /// Neither side receives from the other.
    Partition(u64),
    /// The leader is in a minority partition, and does not know it.
    LeaderInMinority,
    /// All cuts, losses and slow links end.
    Heal,
    /// Percentage of packets that are lost.
    Loss(u64),
    /// Percentage of packets that are delayed by up to 400 ms.
    Late(u64),
    /// Every packet takes up to this many milliseconds longer.
    Slow(u64),
    /// The process is suspended for this many milliseconds.
    StandStill(usize, u64),
    /// The leader is suspended for this many milliseconds.
    LeaderStandsStill(u64),
    /// The process is killed, and restarts this many milliseconds later.
    Kill(usize, u64),
    /// The leader is killed, and restarts this many milliseconds later.
    KillLeader(u64),
    /// The machine loses power for this many milliseconds.
    PowerCut(usize, u64),
    /// All machines lose power at once.
    Blackout(u64),
    DiskFails(usize),
    /// The disk of a host is full for this many milliseconds.
    DiskFull(usize, u64),
    /// The disk of the leader is full for this many milliseconds.
    LeaderDiskFull(u64),
    /// Some syncs of the disk take this many milliseconds.
    SlowDisk(usize, u64),
    /// The process is killed and its store is lost; it restarts this many milliseconds
    /// later.
    LoseStore(usize, u64),
    BackUp(usize),
    /// The process is killed, and restarts with the copy.
    RollBack(usize, u64),
    /// The process is killed, and its promise file is lost.
    LosePromise(usize, u64),
    HandOver,
    /// The arbiter is lost for good, and another one replaces it.
    ReplaceArbiter,
}

#[derive(Clone, Debug)]
pub struct SimulationPlan {
    pub kinds: Vec<MemberKind>,
    pub weather: Weather,
    /// Disturbances, each with its delay after the one before.
    pub steps: Vec<(Duration, Disturbance)>,
    pub clients: usize,
    pub readers: usize,
    /// Longest time between two operations of a client.
    pub think_ms: u64,
    /// True if the other members see the connections of a killed process close at once.
    pub connections_die: bool,
    pub snapshot_entries: u64,
    /// True if stores write some time after the call, as a writer thread does.
    pub delays_writes: bool,
}

pub fn draw(random: &mut Random) -> SimulationPlan {
    let nodes = random.pick(&[2, 2, 2, 2, 2, 4]);
    let mut kinds = vec![MemberKind::Node; nodes];
    kinds.push(MemberKind::Arbiter);
    let weather = Weather {
        delay_us: random.pick(&[100, 300, 2_000]),
        jitter_us: random.pick(&[100, 1_000, 8_000]),
        slow_us: 0,
        loss: 0,
        double: random.pick(&[0, 0, 3, 20]),
        late: 0,
    };
    let harsh = random.percent(20);
    let mut replaced = nodes > 2;
    let steps = (0..random.between(1, DISTURBANCES))
        .map(|_| {
            let mut what = draw_one(random, kinds.len() as u64, harsh);
            if matches!(what, Disturbance::ReplaceArbiter) && std::mem::replace(&mut replaced, true)
            {
                what = Disturbance::Heal;
            }
            let longest = random.pick(&[20, 200, 600]);
            let later = Duration::from_millis(random.below(longest));
            (later, what)
        })
        .collect();
    SimulationPlan {
        kinds,
        weather,
        steps,
        clients: random.between(2, 4) as usize,
        readers: random.below(2) as usize,
        connections_die: random.percent(60),
        think_ms: random.pick(&[10, 40, 120]),
        snapshot_entries: random.pick(&[20, 60, 100_000]),
        delays_writes: false,
    }
}

/// Returns a plan that can expose a defect: some defects show only if few things
/// happen, in one order. Times and targets are still random.
pub fn provoke(random: &mut Random, defect: RaftDefect) -> SimulationPlan {
    let mut plan = draw(random);
    let mut nodes = 2;
    let mut steps = Vec::new();
    let mut then = |from: u64, to: u64, what: Disturbance| {
        let later = Duration::from_millis(random.between(from, to));
        steps.push((later, what));
    };
    match defect {
        RaftDefect::GrantsEveryVote => {
            // The member that is behind is left with the arbiter, and must become leader.
            for node in [0, 1] {
                then(100, 400, Disturbance::Partition(1 << node));
                then(900, 1_300, Disturbance::LeaderInMinority);
                then(900, 1_500, Disturbance::Heal);
            }
        }
        RaftDefect::IgnoresPromises => {
            // The arbiter is behind, one node is replaced by its copy, and the other one is
            // away.
            for one in [0, 1, 0] {
                then(100, 300, Disturbance::BackUp(one));
                then(10, 50, Disturbance::Partition(1 << 2));
                then(400, 800, Disturbance::Kill(1 - one, 2_000));
                then(10, 30, Disturbance::RollBack(one, 50));
                then(10, 50, Disturbance::Heal);
                then(2_400, 2_800, Disturbance::Heal);
            }
        }
        RaftDefect::AppliesBeforeCommit => {
            // A follower stays with a leader that has no majority.
            nodes = 4;
            for _ in 0..2 {
                then(100, 400, Disturbance::LeaderInMinority);
                then(900, 1_500, Disturbance::Heal);
            }
        }
        RaftDefect::ConfirmsAlone => {
            // Longer than clients wait for a response of the isolated leader.
            then(100, 400, Disturbance::LeaderInMinority);
            then(3_000, 4_000, Disturbance::Heal);
            plan.readers = 2;
        }
        RaftDefect::AcknowledgesUnstored => {
            // The other node is the only follower of the leader, and its disk is full. Then the
            // other node has only the arbiter.
            for one in [0, 1, 0] {
                then(100, 300, Disturbance::DiskFull(one, 1_500));
                then(10, 50, Disturbance::Kill(2, 1_000));
                then(500, 900, Disturbance::PowerCut(one, 20));
                then(0, 5, Disturbance::Kill(1 - one, 1_500));
                then(2_400, 2_800, Disturbance::Heal);
            }
        }
        RaftDefect::LeasesAreNotWaitedFor => {
            // Another leader is elected long before a lease expires.
            for _ in 0..3 {
                then(900, 1_300, Disturbance::KillLeader(1_200));
                then(1_300, 1_500, Disturbance::Heal);
            }
            plan.connections_die = true;
        }
        _ => return plan,
    }
    plan.steps = steps;
    plan.kinds = vec![MemberKind::Node; nodes];
    plan.kinds.push(MemberKind::Arbiter);
    plan
}

fn draw_one(random: &mut Random, members: u64, harsh: bool) -> Disturbance {
    let one = random.below(members) as usize;
    let other = (one + 1 + random.below(members - 1) as usize) % members as usize;
    let short = random.between(1, 60);
    let long = random.between(60, 1_500);
    if harsh {
        // Draws only failures of power and of the leader's process.
        return match random.below(4) {
            0 => Disturbance::Blackout(short),
            1 => Disturbance::PowerCut(one, short),
            2 => Disturbance::PowerCut(other, long),
            _ => Disturbance::KillLeader(short),
        };
    }
    match random.below(36) {
        0 | 1 => Disturbance::Cut(one, other),
        2 => Disturbance::CutBoth(one, other),
        3 | 4 => Disturbance::Partition(random.between(1, (1 << members) - 2)),
        5 | 6 => Disturbance::Heal,
        7 => Disturbance::Loss(random.pick(&[1, 10, 30])),
        8 => Disturbance::Late(random.pick(&[1, 5, 20])),
        9 => Disturbance::StandStill(one, short),
        10 => Disturbance::StandStill(one, long),
        11 => Disturbance::LeaderStandsStill(long),
        12 => Disturbance::Kill(one, short),
        13 => Disturbance::Kill(one, long),
        14 | 15 => Disturbance::KillLeader(long),
        16 => Disturbance::PowerCut(one, long),
        17 => Disturbance::PowerCut(one, short),
        18 => Disturbance::Blackout(short),
        19 => Disturbance::DiskFails(one),
        20 => Disturbance::SlowDisk(one, random.pick(&[2, 20, 100])),
        21 | 22 => Disturbance::HandOver,
        23..=25 => Disturbance::LeaderInMinority,
        26 => Disturbance::Slow(random.pick(&[20, 60, 200])),
        27 => Disturbance::ReplaceArbiter,
        28 => Disturbance::LoseStore(one, short),
        29 => Disturbance::RollBack(one, short),
        30 => Disturbance::LosePromise(one, short),
        31 => Disturbance::LoseStore(one, long),
        32 => Disturbance::DiskFull(one, long),
        33 => Disturbance::DiskFull(one, short),
        34 => Disturbance::LeaderDiskFull(long),
        _ => Disturbance::BackUp(one),
    }
}
