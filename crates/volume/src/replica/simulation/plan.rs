//! What happens in a history: drawn from its seed, then healed, then calm.

use super::node::GEOMETRY;
use lab::Random;

/// Milliseconds in the nanoseconds of a history.
pub const MS: u64 = 1_000_000;

/// Something that goes wrong, or that an operator does.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The process is killed, and restarts so much later.
    Kill(usize, u64),
    /// The machine loses power, for so long.
    Power(usize, u64),
    /// Both do, for different times.
    PowerOfBoth(u64, u64),
    /// The machine stands still.
    Pause(usize, u64),
    /// Nothing passes the direct link to these receivers.
    Cut([bool; 2], u64),
    /// These nodes do not reach a majority.
    Alone([bool; 2], u64),
    /// A node reaches nothing.
    Isolate(usize, u64),
    /// The connection is closed.
    Drop,
    /// Operations of the disk take this long.
    Stall(usize, u64),
    /// A block cannot be read or written.
    BadBlock(usize, u64, u64),
    /// The disk fails.
    DeadDisk(usize, u64),
    HandOver,
    /// A verify begins, or one that runs is stopped.
    Verify(bool),
    StopVerify,
    /// An operator has the other copy compared as a whole.
    Resync,
    /// Blocks of a copy become something else: so many are tried.
    Rot(usize, u64),
    /// The node reloads: its copy is to have so many blocks.
    Reload(usize, u64),
    /// The file of a node names it alone, for so long.
    Single(usize, u64),
    /// Freezes, and so much later hands over or goes on.
    Freeze(u64, bool),
}

/// A history before it happens.
#[derive(Clone, Debug)]
pub struct Plan {
    pub faults: Vec<(u64, Fault)>,
    pub healed_at: u64,
    /// Parts in a million that clocks are too fast: of both nodes, and of the leader.
    pub drift_ppm: [i64; 2],
    pub leader_ppm: u64,
    pub clients: usize,
    pub depth: usize,
    pub think_ns: u64,
    /// Clients that leave a node that does not respond.
    pub impatient: bool,
    /// Blocks that most requests are for.
    pub crowd: u64,
    /// The disk of this node reports flushes that it does not do.
    pub liar: Option<usize>,
    /// Requests fail when the lease has been over for so long.
    pub fail_ns: Option<u64>,
    /// The size at the beginning, blocks, and that of a second copy that is blank.
    pub blocks: [u64; 2],
    /// Both copies keep checksums, and blocks rot. In the end: everything is read before a
    /// verify.
    pub rots: Option<bool>,
    /// The second copy is blank.
    pub blank: bool,
    /// The second copy missed the beginning, or is from long ago.
    pub stale: bool,
    /// Percent of requests.
    pub reads: u64,
    pub flushes: u64,
    pub net_ns: u64,
    pub disk_ns: u64,
    /// Percent of proposals and responses of the cluster that are lost.
    pub cluster_loss: u64,
}

pub fn draw(random: &mut Random) -> Plan {
    let count = random.pick(&[1, 2, 2, 3, 3, 4, 5, 6]);
    let mut faults = Vec::new();
    let mut at = 8 * MS;
    for _ in 0..count {
        // Some at nearly the same time.
        at += random.pick(&[MS / 5, 2 * MS, 8 * MS, 20 * MS, 40 * MS]) * random.between(1, 4) / 3;
        faults.push((at, fault(random)));
    }
    let most = GEOMETRY.blocks;
    let grows = random.percent(35);
    let blocks = [(); 2].map(|()| match grows {
        true => random.pick(&[most, 48, 44, 30]),
        false => most,
    });
    if blocks != [most; 2] {
        for _ in 0..random.between(0, 4) {
            let to = random.pick(&[44, 52, most, most]);
            let reload = Fault::Reload(random.index(2), to);
            faults.push((random.between(2, at / MS) * MS, reload));
        }
    }
    Plan {
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

impl Plan {
    /// Some histories have `without-majority error`.
    pub fn may_fail(&mut self, random: &mut Random) {
        let bound = random.pick(&[MS / 2, 3 * MS, 12 * MS]);
        self.fail_ns = random.percent(35).then_some(bound);
    }

    /// The majority is lost again and again, and requests fail; the copies lose each other, and
    /// a node that has the lease again is lost soon.
    pub fn lose_majority(&mut self, random: &mut Random) {
        self.fail_ns = Some(random.pick(&[MS / 2, 2 * MS]));
        (self.blank, self.stale, self.cluster_loss) = (false, false, 60);
        (self.crowd, self.reads, self.depth, self.clients) = (1, 60, 3, 1);
        self.faults.clear();
        let mut at = 8 * MS;
        for _ in 0..3 {
            let alone = random.between(32, 50) * MS;
            let cut = Fault::Cut([true, true], alone + 40 * MS);
            self.faults.push((at, cut));
            let alone_at = at + random.below(MS);
            self.faults
                .push((alone_at, Fault::Alone([true, true], alone)));
            let lost = at + alone + random.between(1, 12) * MS;
            let kill = Fault::Kill(random.index(2), 60 * MS);
            self.faults.push((lost, kill));
            at += alone + 80 * MS;
        }
        self.healed_at = at;
    }

    /// Blocks rot again and again.
    pub fn rot(&mut self, random: &mut Random) {
        self.rots = Some(random.percent(50));
        for _ in 0..random.between(4, 24) {
            let at = random.between(2, self.healed_at / MS) * MS;
            let rot = Fault::Rot(random.index(2), random.between(1, 4));
            self.faults.push((at, rot));
        }
        if random.percent(30) {
            self.verify(random);
        }
    }

    /// Adds verifies.
    pub fn verify(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, 4) {
            let what = match random.percent(80) {
                true => Fault::Verify(random.percent(50)),
                false => Fault::StopVerify,
            };
            let at = random.between(2, self.healed_at / MS) * MS;
            self.faults.push((at, what));
        }
    }

    /// Leaves out all losses of power of a node.
    pub fn keep_power(&mut self, of: usize) {
        self.faults.retain(|(_, fault)| match fault {
            Fault::Power(node, _) => *node != of,
            Fault::PowerOfBoth(..) => false,
            _ => true,
        });
    }
}

fn fault(random: &mut Random) -> Fault {
    let node = random.index(2);
    let short = random.between(1, 12) * MS;
    let long = random.between(10, 90) * MS;
    let any = random.pick(&[short, short, long]);
    match random.below(32) {
        0..=3 => Fault::Kill(node, short),
        4..=7 => Fault::Power(node, any),
        8..=10 => Fault::PowerOfBoth(any, random.pick(&[short, long])),
        11..=13 => Fault::Pause(node, any),
        14..=16 => Fault::Cut(
            random.pick(&[[true, true], [true, false], [false, true]]),
            any,
        ),
        17..=18 => Fault::Alone(
            random.pick(&[[true, true], [true, false], [false, true]]),
            long,
        ),
        19..=21 => Fault::Isolate(node, long),
        22 => Fault::Drop,
        23 => Fault::Stall(node, any),
        24 => Fault::BadBlock(node, random.below(56), long),
        25 => Fault::DeadDisk(node, any),
        26 | 27 => Fault::HandOver,
        29 | 30 => Fault::Single(node, any),
        28 => Fault::Freeze(short, random.percent(50)),
        31 => Fault::Resync,
        _ => Fault::Drop,
    }
}
