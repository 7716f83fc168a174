//! Nodes that fail together or one after the other, and are back: what either node knows is known to both then,
//! and nothing is withheld.

use super::super::desk::Desk;
use super::super::pool::{Holder, Pool};
use super::{GRANT_MS, Node, Odds, PARTS, Packet, World, gives, name};

/// How long a node leaves a part to one that knows its leases, milliseconds.
pub(super) const AWAIT_MS: u64 = 15_000;
/// For how long one of two nodes that fail together goes on alone, before the other one fails or is back, at most,
/// milliseconds: longer than the cluster grants a part.
const DOWN_MS: u64 = 12_000;
const SEEDS: u64 = 40;

/// How nodes fail, and are back.
type Fails = fn(&mut World) -> Result<(), String>;

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
            if let Some(node) = self.knows_before(part).or(self.grants[part].node) {
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
                if self.knows_before(part).is_none_or(|better| better == node) {
                    self.grant(node, part);
                }
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
                let until_ms = self.now_ms + self.random.below(DOWN_MS);
                while self.now_ms < until_ms {
                    self.calm()?;
                }
                match fails {
                    true => self.fail(node),
                    false => self.nodes[node].start(&self.lan, self.now_ms),
                }
            }
        }
        Ok(())
    }

    /// The node that knows what the holder of a part withholds, and is handed the part.
    fn knows_before(&self, part: usize) -> Option<usize> {
        let record = &self.records[part];
        (0..2).find(|node| {
            let one = &self.nodes[*node];
            one.is_awake(self.now_ms) && !one.holds(part) && one.knows_before(part, record)
        })
    }

    /// A node fails, and the other one when it has gone on for a while. The first one goes on alone, until the
    /// other one is back; with another range, if it is moved meanwhile.
    fn fail_in_turn(&mut self, is_moved: bool) -> Result<(), String> {
        let first = self.random.index(2);
        for (node, steps) in [(first, 300), (1 - first, 20)] {
            self.fail(node);
            self.calm_for(steps)?;
        }
        self.nodes[first].start(&self.lan, self.now_ms);
        self.calm_for(1_500)?;
        if is_moved {
            self.lan.gives = gives(&mut self.random);
            self.nodes[first].change(&self.lan, self.now_ms);
            self.calm_for(200)?;
        }
        self.nodes[1 - first].start(&self.lan, self.now_ms);
        self.calm_for(20)
    }

    fn fail(&mut self, node: usize) {
        (0..2).for_each(|from| self.cut(from));
        self.nodes[node].crash();
        self.unknown.retain(|(of, _), _| *of != node);
    }

    /// Addresses that are given to nobody because this node does not know whose they are. A client that has one of
    /// each part has another one of them withheld.
    fn withheld(&mut self) -> usize {
        let pools = self.nodes.iter_mut();
        let pools = pools.filter_map(|node| node.desk().and_then(Desk::pool));
        let is_unknown = |pool: &Pool| {
            let known = pool.known().filter(|(address, _)| pool.holds(*address));
            let unknown = known.filter(|(_, holder)| matches!(holder, Holder::Before(_)));
            unknown.count()
        };
        pools.map(|pool| is_unknown(pool)).sum()
    }
}

fn begin(seed: u64, awaits: bool) -> Result<World, String> {
    let mut world = World::new(seed, None);
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

/// `after`: steps after the failure, from which on no address may be withheld.
fn run(seed: u64, (awaits, after): (bool, u64), fails: Fails) -> Result<u64, String> {
    let mut world = begin(seed, awaits)?;
    for round in 0..6 {
        world.calm_for(300)?;
        fails(&mut world)?;
        for step in 1..=1_500 {
            world.calm()?;
            let withheld = if step >= after { world.withheld() } else { 0 };
            if withheld > 0 {
                return Err(format!(
                    "round {round}, step {step}: {withheld} addresses are withheld"
                ));
            }
        }
    }
    Ok(world.nodes.iter().map(Node::back).sum())
}

#[test]
fn nothing_is_withheld_once_a_node_is_back_that_had_gone_on_alone() {
    let all: [Fails; 2] = [
        |world| world.fail_in_turn(false),
        |world| world.fail_in_turn(true),
    ];
    for (is_moved, fails) in all.into_iter().enumerate() {
        let runs = (0..SEEDS / 3).map(|seed| {
            let ran = run(seed, (true, 1_000), fails);
            ran.unwrap_or_else(|why| panic!("seed {seed}, moved {is_moved}: {why}"))
        });
        // Parts went back to it.
        assert!(runs.sum::<u64>() > 10);
    }
}

#[test]
fn nothing_is_withheld_once_two_nodes_that_failed_together_are_back() {
    for seed in 0..SEEDS {
        run(seed, (true, 1), World::fail_together)
            .unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn a_node_that_does_not_wait_for_the_other_one_is_found() {
    assert!((0..SEEDS).any(|seed| run(seed, (false, 1), World::fail_together).is_err()));
}
