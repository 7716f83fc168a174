//! Nodes that fail together and are back a moment later: what either node knows is known to both then, and
//! nothing is withheld.

use super::super::desk::Desk;
use super::{Defect, GRANT_MS, Odds, PARTS, Packet, World, name};

/// How long a node leaves a part to one that knows its leases, milliseconds.
pub(super) const AWAIT_MS: u64 = 15_000;
const SEEDS: u64 = 60;

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
        strikes: false,
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
        world.fail_together()?;
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

#[test]
fn a_node_that_does_not_wait_for_the_other_one_is_found() {
    assert!((0..SEEDS).any(|seed| run(seed, false, None).is_err()));
}
