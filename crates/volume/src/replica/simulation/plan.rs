//! Plan of a history, drawn from its seed: a phase with faults, then healing, then calm.

use super::node::GEOMETRY;
use lab::Random;

pub const MS: u64 = 1_000_000;

/// Fault, or action of an operator.
#[derive(Clone, Copy, Debug)]
pub enum PlannedFault {
    /// The process is killed and restarts after this time.
    Kill(usize, u64),
    /// The machine loses power for this time.
    Power(usize, u64),
    /// Both machines lose power, for different times.
    PowerOfBoth(u64, u64),
    Pause(usize, u64),
    /// Messages to these receivers are delayed on the link between the nodes, for this time.
    Cut([bool; 2], u64),
    /// Cuts these nodes off from the majority.
    Alone([bool; 2], u64),
    /// The node reaches neither the other node nor the cluster, for this time.
    Isolate(usize, u64),
    Drop,
    /// Stalls the node's disk: operations that begin in this time do not end before it is over.
    Stall(usize, u64),
    BadBlock(usize, u64, u64),
    DeadDisk(usize, u64),
    /// Both machines lose power, and get the disks of each other for this time.
    Swap(u64),
    /// Both machines lose power, and this one gets a clone of the other's disk for this time.
    Duplicate(usize, u64),
    HandOver,
    /// Starts a verify; true: the verify repairs differences.
    Verify(bool),
    StopVerify,
    /// An operator orders a full comparison of the other copy.
    Resync,
    /// Blocks of a copy rot, with this number of tries to find a suitable block.
    Rot(usize, u64),
    /// The node loads a configuration with this size, blocks.
    Reload(usize, u64),
    /// The node's configuration names only this node for this time.
    Single(usize, u64),
    /// Freezes requests, and after this time hands the volume over (true) or resumes.
    Freeze(u64, bool),
}

#[derive(Clone, Debug)]
pub struct SimulationPlan {
    pub faults: Vec<(u64, PlannedFault)>,
    pub healed_at: u64,
    /// Clock errors of both nodes and of the leader, parts per million too fast.
    pub drift_ppm: [i64; 2],
    pub leader_ppm: u64,
    pub clients: usize,
    pub depth: usize,
    pub think_ns: u64,
    /// Clients move to another node if theirs does not respond.
    pub impatient: bool,
    /// Number of blocks that receive most requests.
    pub crowd: u64,
    /// Node whose disk reports flushes without effect.
    pub liar: Option<usize>,
    /// Time from the end of the lease until requests fail, nanoseconds.
    pub fail_ns: Option<u64>,
    /// Size of the volume, and size of the second copy if that is blank, blocks.
    pub blocks: [u64; 2],
    /// Both copies keep checksums, and blocks rot. True if everything is read before the final
    /// verify.
    pub rots: Option<bool>,
    /// The second copy is blank.
    pub blank: bool,
    /// The second copy missed the beginning of the history, or is outdated.
    pub stale: bool,
    /// Percentages of requests.
    pub reads: u64,
    pub flushes: u64,
    pub net_ns: u64,
    pub disk_ns: u64,
    /// Percentage of the cluster's proposals and responses that are lost.
    pub cluster_loss: u64,
}

pub fn draw(random: &mut Random) -> SimulationPlan {
    let count = random.pick(&[1, 2, 2, 3, 3, 4, 5, 6]);
    let mut faults = Vec::new();
    let mut at = 8 * MS;
    for _ in 0..count {
        // Several faults may occur at nearly the same time.
        at += random.pick(&[MS / 5, 2 * MS, 8 * MS, 20 * MS, 40 * MS]) * random.between(1, 4) / 3;
        faults.push((at, fault(random)));
    }
    let most = GEOMETRY.blocks;
    let grows = random.percent(35);
    let blocks = [(); 2].map(|()| {
        if grows {
            random.pick(&[most, 48, 44, 30])
        } else {
            most
        }
    });
    if blocks != [most; 2] {
        for _ in 0..random.between(0, 4) {
            let to = random.pick(&[44, 52, most, most]);
            let reload = PlannedFault::Reload(random.index(2), to);
            faults.push((random.between(2, at / MS) * MS, reload));
        }
    }
    SimulationPlan {
        faults,
        blocks,
        healed_at: at + random.between(2, 40) * MS,
        drift_ppm: [0, 1].map(|_| random.pick(&[0, 0, 50_000, -50_000, 110_000, -110_000])),
        leader_ppm: random.pick(&[0, 0, 110_000]),
        clients: random.pick(&[1, 1, 2]),
        depth: random.pick(&[1, 2, 4, 8]),
        think_ns: random.pick(&[300_000, 1_000_000, 3_000_000]),
        impatient: random.percent(50),
        crowd: random.pick(&[1, 2, 6, 16]),
        liar: None,
        fail_ns: None,
        rots: None,
        blank: random.percent(16),
        stale: random.percent(16),
        reads: random.pick(&[20, 40, 60]),
        flushes: random.pick(&[2, 10, 20]),
        net_ns: random.pick(&[30_000, 100_000, 400_000]),
        disk_ns: random.pick(&[30_000, 100_000, 600_000]),
        cluster_loss: random.pick(&[0, 5, 30, 60]),
    }
}

impl SimulationPlan {
    /// Enables `without-majority error` in some histories.
    pub fn may_fail(&mut self, random: &mut Random) {
        let bound = random.pick(&[MS / 2, 3 * MS, 12 * MS]);
        self.fail_ns = random.percent(35).then_some(bound);
    }

    /// Adds repeated losses of the majority, in which requests fail. The copies lose each other,
    /// and a node that regains the lease is soon lost.
    pub fn lose_majority(&mut self, random: &mut Random) {
        self.fail_ns = Some(random.pick(&[MS / 2, 2 * MS]));
        (self.blank, self.stale, self.cluster_loss) = (false, false, 60);
        (self.crowd, self.reads, self.depth, self.clients) = (1, 60, 3, 1);
        self.faults.clear();
        let mut at = 8 * MS;
        for _ in 0..3 {
            let alone = random.between(32, 50) * MS;
            let cut = PlannedFault::Cut([true, true], alone + 40 * MS);
            self.faults.push((at, cut));
            let alone_at = at + random.below(MS);
            self.faults
                .push((alone_at, PlannedFault::Alone([true, true], alone)));
            let lost = at + alone + random.between(1, 12) * MS;
            let kill = PlannedFault::Kill(random.index(2), 60 * MS);
            self.faults.push((lost, kill));
            at += alone + 80 * MS;
        }
        self.healed_at = at;
    }

    pub fn rot(&mut self, random: &mut Random) {
        self.rots = Some(random.percent(50));
        for _ in 0..random.between(4, 24) {
            let at = random.between(2, self.healed_at / MS) * MS;
            let rot = PlannedFault::Rot(random.index(2), random.between(1, 4));
            self.faults.push((at, rot));
        }
        if random.percent(30) {
            self.verify(random);
        }
    }

    /// Puts disks into the wrong machine at one time of the history.
    pub fn misplace(&mut self, random: &mut Random) {
        let at = random.between(4, self.healed_at / MS) * MS;
        let wait = random.between(30, 90) * MS;
        let fault = random.pick(&[
            PlannedFault::Swap(wait),
            PlannedFault::Swap(wait),
            PlannedFault::Duplicate(0, wait),
            PlannedFault::Duplicate(1, wait),
        ]);
        self.faults.push((at, fault));
        self.healed_at = self.healed_at.max(at + wait + 2 * MS);
    }

    pub fn verify(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 4) {
            let what = if random.percent(80) {
                PlannedFault::Verify(random.percent(50))
            } else {
                PlannedFault::StopVerify
            };
            let at = random.between(2, self.healed_at / MS) * MS;
            self.faults.push((at, what));
        }
    }

    /// Removes all power losses of a node.
    pub fn keep_power(&mut self, of: usize) {
        self.faults.retain(|(_, fault)| match fault {
            PlannedFault::Power(node, _) => *node != of,
            PlannedFault::PowerOfBoth(..) => false,
            _ => true,
        });
    }
}

fn fault(random: &mut Random) -> PlannedFault {
    let node = random.index(2);
    let short = random.between(1, 12) * MS;
    let long = random.between(10, 90) * MS;
    let any = random.pick(&[short, short, long]);
    match random.below(32) {
        0..=3 => PlannedFault::Kill(node, short),
        4..=7 => PlannedFault::Power(node, any),
        8..=10 => PlannedFault::PowerOfBoth(any, random.pick(&[short, long])),
        11..=13 => PlannedFault::Pause(node, any),
        14..=16 => PlannedFault::Cut(
            random.pick(&[[true, true], [true, false], [false, true]]),
            any,
        ),
        17..=18 => PlannedFault::Alone(
            random.pick(&[[true, true], [true, false], [false, true]]),
            long,
        ),
        19..=21 => PlannedFault::Isolate(node, long),
        22 => PlannedFault::Drop,
        23 => PlannedFault::Stall(node, any),
        24 => PlannedFault::BadBlock(node, random.below(56), long),
        25 => PlannedFault::DeadDisk(node, any),
        26 | 27 => PlannedFault::HandOver,
        29 | 30 => PlannedFault::Single(node, any),
        28 => PlannedFault::Freeze(short, random.percent(50)),
        31 => PlannedFault::Resync,
        _ => PlannedFault::Drop,
    }
}
