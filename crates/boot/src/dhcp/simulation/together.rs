//! Nodes that fail together or lose their disks and are back a moment later, and ranges that change again and
//! again: what either node knows is known to both then, and nothing is withheld.

use super::super::desk::Desk;
use super::{Defect, GRANT_MS, Grant, Odds, PARTS, Packet, Record, World, gives, name};

/// How long a node leaves a part to one that knows its leases, milliseconds.
pub(super) const AWAIT_MS: u64 = 15_000;
const SEEDS: u64 = 300;

impl World {
    /// Whether a node leaves a part to one that knows its leases.
    pub(super) fn awaits(&mut self, node: usize, part: usize) -> bool {
        let record = &self.records[part];
        let key = (node, part);
        if !self.odds.awaits || self.nodes[node].knows(part, record) {
            self.unknown.remove(&key);
            return false;
        }
        let now = (record.epoch, self.now_ms);
        let before = self.unknown.get(&key).copied();
        let since = { before.filter(|(epoch, _)| *epoch == record.epoch) }.unwrap_or(now);
        self.unknown.insert(key, since);
        self.now_ms < since.1 + AWAIT_MS
    }

    /// Nodes that are there are connected.
    fn connect(&mut self) {
        for from in 0..2 {
            let all = self.nodes.iter();
            if self.wires[from].link.is_none() && { all }.all(|node| node.is_awake(self.now_ms)) {
                let link = self.nodes[from].sharing.linked(&name(1 - from));
                self.wires[from].link = Some(link);
            }
        }
    }

    /// A step of two nodes and their clients in which nothing fails.
    fn calm(&mut self) -> Result<(), String> {
        self.now_ms += match self.random.below(50) {
            0 => self.random.below(GRANT_MS / 4),
            _ => self.random.below(40),
        };
        for part in 0..PARTS {
            if let Some(node) = self.grants[part].node {
                self.grant(node, part);
            }
        }
        self.turn();
        self.connect();
        self.carry();
        self.deliver()?;
        let node = self.random.index(2);
        match self.random.below(10) {
            0..=2 => self.act(),
            3..=4 => {
                let is_own = self.random.percent(70);
                let part = if is_own { node } else { 1 - node };
                self.grant(node, part);
            }
            _ => {
                let users = self.users();
                for reply in self.nodes[node].work(&mut self.random, &users, self.now_ms) {
                    self.send(&Packet::Reply(reply));
                }
            }
        }
        Ok(())
    }

    fn calm_for(&mut self, steps: u64) -> Result<(), String> {
        (0..self.random.below(steps)).try_for_each(|_| self.calm())
    }

    /// Both nodes fail, and are back.
    fn fail_together(&mut self) -> Result<(), String> {
        for fails in [true, false] {
            let first = self.random.index(2);
            for node in [first, 1 - first] {
                self.calm_for(20)?;
                match fails {
                    true => {
                        (0..2).for_each(|from| self.cut(from));
                        self.nodes[node].crash();
                        self.unknown.retain(|(of, _), _| *of != node);
                    }
                    false => self.nodes[node].start(&self.lan, self.now_ms),
                }
            }
        }
        Ok(())
    }

    /// The disk of a node is empty, while the other node knows what was on it, and clients come at once.
    fn lose_one(&mut self) -> Result<(), String> {
        let node = self.random.index(2);
        let is_other = |grant: &Grant| grant.node == Some(1 - node);
        let is_known = |record: &Record| record.clear && !record.named.is_empty();
        let all = self.grants.iter().zip(&self.records);
        if !{ all }.all(|(grant, record)| is_other(grant) || is_known(record)) {
            return Ok(());
        }
        (0..2).for_each(|from| self.cut(from));
        self.nodes[node].crash();
        self.nodes[node].lose_disk();
        self.unknown.retain(|(of, _), _| *of != node);
        self.calm_for(20)?;
        self.nodes[node].start(&self.lan, self.now_ms);
        Ok(())
    }

    /// Each node hears of the range at another time.
    fn hear_of_range(&mut self) -> Result<(), String> {
        let first = self.random.index(2);
        for node in [first, 1 - first] {
            self.calm_for(100)?;
            self.nodes[node].change(&self.lan, self.now_ms);
        }
        Ok(())
    }

    fn withheld(&mut self) -> u64 {
        let pools = self.nodes.iter_mut();
        let pools = pools.filter_map(|node| node.desk().and_then(Desk::pool));
        pools.map(|pool| pool.count().unclear).sum()
    }
}

fn begin(seed: u64, awaits: bool, defect: Option<Defect>) -> Result<World, String> {
    let mut world = World::new(seed, defect);
    world.odds = Odds {
        late: 2,
        restless: 30,
        lively: 90,
        lasting: 10_000,
        steady: 0,
        awaits,
        empties: false,
        lies: false,
    };
    world.start();
    // Before that, no part has a record that is clear.
    (0..100).try_for_each(|_| world.calm())?;
    Ok(world)
}

fn run(seed: u64, awaits: bool, defect: Option<Defect>) -> Result<(), String> {
    let mut world = begin(seed, awaits, defect)?;
    for round in 0..6 {
        world.calm_for(300)?;
        match world.random.once_in(3) {
            true => world.lose_one()?,
            false => world.fail_together()?,
        }
        (0..1_000).try_for_each(|_| world.calm())?;
        let withheld = world.withheld();
        if withheld > 0 {
            return Err(format!("round {round}: {withheld} addresses are withheld"));
        }
    }
    Ok(())
}

#[test]
fn nothing_is_withheld_once_two_nodes_that_failed_together_are_back() {
    for seed in 0..SEEDS {
        run(seed, true, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// The range changes several times, one soon after the other, and is the first one again.
fn move_often(seed: u64) -> Result<(), String> {
    let mut world = begin(seed, true, None)?;
    world.calm_for(300)?;
    let first = world.lan.gives.clone();
    for _ in 0..world.random.between(1, 5) {
        world.lan.gives = gives(&mut world.random);
        world.hear_of_range()?;
    }
    world.lan.gives = first;
    world.hear_of_range()?;
    (0..3_000).try_for_each(|_| world.calm())?;
    match world.withheld() {
        0 => Ok(()),
        withheld => Err(format!("{withheld} addresses are withheld")),
    }
}

#[test]
fn nothing_is_withheld_when_the_range_has_changed_often() {
    for seed in 0..SEEDS {
        move_often(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn a_node_that_does_not_wait_for_the_other_one_is_found() {
    assert!((0..SEEDS).any(|seed| run(seed, false, None).is_err()));
}
