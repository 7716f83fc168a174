//! Simulates the network between the machines: each direction of each pair can be cut; packets
//! are lost, delayed, duplicated, and reordered.

use lab::Random;

pub const HOSTS: usize = 4;

#[derive(Clone, Debug)]
pub struct VrrpSimulatedNetwork {
    cut: [[bool; HOSTS]; HOSTS],
    /// The link of a machine is down: the machine and the others receive nothing from each other,
    /// and no client reaches it.
    pub isolated: [bool; HOSTS],
    /// Percentage of packets that are lost.
    pub loss: u64,
    /// Percentage of packets that are duplicated.
    pub double: u64,
    /// Minimum delay of a packet.
    pub delay_ns: u64,
    pub jitter_ns: u64,
    /// Time since which nothing is lost from one machine to another.
    clean_since: [[u64; HOSTS]; HOSTS],
}

impl VrrpSimulatedNetwork {
    pub fn new(delay_ns: u64, jitter_ns: u64) -> VrrpSimulatedNetwork {
        VrrpSimulatedNetwork {
            cut: Default::default(),
            isolated: Default::default(),
            loss: 0,
            double: 0,
            delay_ns,
            jitter_ns,
            clean_since: Default::default(),
        }
    }

    pub fn longest_ns(&self) -> u64 {
        self.delay_ns + self.jitter_ns
    }

    /// Returns whether any packets get from one machine to another.
    pub fn passes(&self, from: usize, to: usize) -> bool {
        !self.cut[from][to] && !self.isolated[from] && !self.isolated[to]
    }

    /// Returns the time since which nothing is lost from one machine to another; None while packets
    /// may be lost.
    pub fn clean_since(&self, from: usize, to: usize) -> Option<u64> {
        (self.passes(from, to) && self.loss == 0).then(|| self.clean_since[from][to])
    }

    /// Variant of [`Self::clean_since`] for both directions.
    pub fn clean_both_since(&self, a: usize, b: usize) -> Option<u64> {
        Some(self.clean_since(a, b)?.max(self.clean_since(b, a)?))
    }

    pub fn set_cut(&mut self, now: u64, from: usize, to: usize, cut: bool) {
        self.change(now, |network| network.cut[from][to] = cut);
    }

    pub fn partition(&mut self, now: u64, side: u64) {
        self.change(now, |network| {
            for a in 0..HOSTS {
                for b in 0..HOSTS {
                    network.cut[a][b] = (side >> a) & 1 != (side >> b) & 1;
                }
            }
        });
    }

    pub fn isolate(&mut self, now: u64, host: usize, isolated: bool) {
        self.change(now, |network| network.isolated[host] = isolated);
    }

    pub fn set_loss(&mut self, now: u64, loss: u64) {
        self.change(now, |network| network.loss = loss);
    }

    pub fn heal(&mut self, now: u64) {
        self.change(now, |network| {
            network.cut = Default::default();
            network.isolated = Default::default();
            network.loss = 0;
        });
    }

    /// Returns the delay of a packet (None: it is lost), and of its duplicate, if there is one.
    pub fn send(&self, random: &mut Random, from: usize, to: usize) -> [Option<u64>; 2] {
        if !self.passes(from, to) || random.percent(self.loss) {
            return [None, None];
        }
        let way = |random: &mut Random| self.delay_ns + random.below(self.jitter_ns + 1);
        let first = way(random);
        let second = random.percent(self.double).then(|| way(random));
        [Some(first), second]
    }

    fn change(&mut self, now: u64, change: impl FnOnce(&mut VrrpSimulatedNetwork)) {
        let before = self.clone();
        change(self);
        for a in 0..HOSTS {
            for b in 0..HOSTS {
                if before.clean_since(a, b).is_none() || self.clean_since(a, b).is_none() {
                    self.clean_since[a][b] = now;
                }
            }
        }
    }
}
