//! Injects and heals the faults of a simulated history, and performs the final checks.

use super::super::client::Want;
use super::super::node::{GEOMETRY, SimulatedNode};
use super::super::plan::{MS, PlannedFault};
use super::super::traffic::SPAN;
use super::{CalmStep, MisplacedDisks, ReplicaSimulation, ReplicaSimulationEvent};
use crate::replica::{Blocks, Input, NodeId, ReplicaOrder, Verify};

impl ReplicaSimulation {
    pub(super) fn fault(&mut self, fault: PlannedFault) -> Result<(), String> {
        self.tell(|| format!("{fault:?}"));
        match fault {
            PlannedFault::Kill(node, wait) => {
                self.stop(node, false);
                self.after(wait, ReplicaSimulationEvent::Start(node));
            }
            PlannedFault::Power(node, wait) => {
                self.stop(node, true);
                self.after(wait, ReplicaSimulationEvent::PowerOn(node));
            }
            PlannedFault::PowerOfBoth(first, second) => {
                for (node, wait) in [(0, first), (1, second)] {
                    self.stop(node, true);
                    self.after(wait, ReplicaSimulationEvent::PowerOn(node));
                }
            }
            PlannedFault::Swap(wait) => self.misplace(None, wait),
            PlannedFault::Duplicate(node, wait) => self.misplace(Some(node), wait),
            PlannedFault::Pause(node, wait) => {
                let until = self.now + wait;
                self.nodes[node].paused_until = until;
            }
            PlannedFault::Cut(cut, wait) => self.cut(cut, wait),
            PlannedFault::Alone(alone, wait) => self.alone(alone, wait),
            PlannedFault::Isolate(node, wait) => {
                self.cut([true, true], wait);
                self.alone([node == 0, node == 1], wait);
            }
            PlannedFault::Drop => {
                if let Some(session) = self.network.session {
                    self.disconnect(session, None);
                }
            }
            PlannedFault::Stall(node, wait) => {
                let until = self.now + wait;
                self.nodes[node].disk.faults.stalled_until = until;
            }
            PlannedFault::BadBlock(node, block, wait) => {
                self.nodes[node].disk.faults.bad_block = Some(block);
                self.after(wait, ReplicaSimulationEvent::DiskHealed(node));
            }
            PlannedFault::DeadDisk(node, wait) => {
                self.nodes[node].disk.faults.dead = true;
                self.after(wait, ReplicaSimulationEvent::DiskHealed(node));
            }
            PlannedFault::Single(node, wait) => {
                self.names(node, true);
                self.after(wait, ReplicaSimulationEvent::Both(node));
            }
            PlannedFault::Reload(node, blocks) => {
                // The configured size is never smaller than the current size of the copy.
                self.nodes[node].wanted = blocks.max(self.nodes[node].wanted);
                self.prepare(node);
            }
            PlannedFault::Verify(repairs) => return self.order(ReplicaOrder::Verify { repairs }),
            PlannedFault::StopVerify => return self.order(ReplicaOrder::StopVerify),
            PlannedFault::HandOver => return self.order(ReplicaOrder::HandOver),
            PlannedFault::Rot(node, tries) => self.rot(node, tries),
            PlannedFault::Resync => return self.order(ReplicaOrder::Resync { everything: true }),
            PlannedFault::Freeze(wait, hands_over) => {
                let then = if hands_over {
                    ReplicaOrder::HandOver
                } else {
                    ReplicaOrder::Thaw
                };
                self.after(wait, ReplicaSimulationEvent::Order(then));
                return self.order(ReplicaOrder::Freeze);
            }
        }
        Ok(())
    }

    pub(super) fn order(&mut self, order: ReplicaOrder) -> Result<(), String> {
        for node in 0..2 {
            let is_paused = self.nodes[node].paused_until > self.now;
            if self.nodes[node].served.is_some() && !is_paused {
                self.handle(node, Input::Order(order))?;
            }
        }
        Ok(())
    }

    /// Changes a node's configuration to one node or both, and restarts its process.
    pub(super) fn names(&mut self, node: usize, single: bool) {
        if self.nodes[node].single != single {
            self.stop(node, false);
            self.nodes[node].single = single;
            self.after(MS, ReplicaSimulationEvent::Start(node));
        }
    }

    pub(super) fn prepare(&mut self, node: usize) {
        let one = &self.nodes[node];
        let (life, from, to) = (one.life, one.prepared, one.wanted);
        if one.replica.is_some() && to > from {
            let takes = self.random.between(1, 30) * MS / 3;
            self.after(
                takes,
                ReplicaSimulationEvent::Prepared(node, life, from, to),
            );
        }
    }

    pub(super) fn prepared(
        &mut self,
        node: usize,
        life: u64,
        from: u64,
        to: u64,
    ) -> Result<(), String> {
        let one = &mut self.nodes[node];
        if one.life != life {
            return Ok(());
        }
        if one.prepared != from {
            // Prepares again: the copy has shrunk, or another preparation has ended earlier.
            self.prepare(node);
            return Ok(());
        }
        one.disk.prepare(from, to);
        one.prepared = to;
        self.handle(node, Input::Room { from, to })
    }

    fn stop(&mut self, node: usize, power: bool) {
        let is_alive = self.nodes[node].replica.is_some();
        if !is_alive && !power {
            return;
        }
        let life = self.nodes[node].life;
        if power {
            self.nodes[node].disk.cut_power(&mut self.random);
            self.nodes[node].power_off(self.now);
            self.intact[node] = false;
            let record = &self.agreement.record;
            let held = (0..2)
                .any(|copy| self.intact[copy] && record.in_sync.contains(NodeId(copy as u16)));
            if !held {
                self.traffic.checker.power_lost();
            }
        } else {
            self.nodes[node].disk.kill(&mut self.random);
            self.nodes[node].stop();
        }
        if let Some(session) = self.network.session {
            self.disconnect(session, Some(node));
        }
        for op in self.traffic.waiting_for(node, life) {
            let wait = self.random.between(MS, 8 * MS);
            let client = self.traffic.ops[op].client;
            if self.random.percent(70) {
                self.traffic.at[client] = 1 - node;
            }
            self.after(wait, ReplicaSimulationEvent::Send(op));
        }
    }

    /// Swaps the disks of both machines, or replaces that of one machine with a clone of the
    /// other's.
    fn misplace(&mut self, duplicate_at: Option<usize>, wait: u64) {
        self.lose_power_of_both();
        let [one, other] = &mut self.nodes;
        std::mem::swap(&mut one.disk, &mut other.disk);
        let replaced = duplicate_at.map(|node| {
            let clone = self.nodes[node].disk.clone();
            let own = std::mem::replace(&mut self.nodes[1 - node].disk, clone);
            (node, own)
        });
        let nodes = (0..2).filter(|node| duplicate_at.is_none_or(|at| at == *node));
        let unchanged = nodes.map(|node| {
            let disk = &self.nodes[node].disk;
            (node, disk.kept.clone(), disk.image.clone())
        });
        self.misplaced = Some(MisplacedDisks {
            unchanged: unchanged.collect(),
            replaced,
        });
        self.after(wait, ReplicaSimulationEvent::PutBack);
    }

    /// Puts the disks back, and checks that nothing was written to a disk of the other machine.
    pub(super) fn put_back(&mut self) -> Result<(), String> {
        let Some(misplaced) = self.misplaced.take() else {
            return Ok(());
        };
        self.tell(|| "the disks go back".to_owned());
        self.lose_power_of_both();
        for (node, kept, image) in &misplaced.unchanged {
            let disk = &self.nodes[*node].disk;
            let size = kept.head.blocks as usize;
            if disk.kept != *kept || disk.image[..size] != image[..size] {
                return Err(format!("the disk of {} was written at {node}", 1 - node));
            }
        }
        match misplaced.replaced {
            Some((node, disk)) => self.nodes[node].disk = disk,
            None => {
                let [one, other] = &mut self.nodes;
                std::mem::swap(&mut one.disk, &mut other.disk);
            }
        }
        Ok(())
    }

    fn lose_power_of_both(&mut self) {
        for node in 0..2 {
            self.stop(node, true);
            self.after(MS, ReplicaSimulationEvent::PowerOn(node));
        }
    }

    fn cut(&mut self, cut: [bool; 2], wait: u64) {
        for (node, cut) in cut.into_iter().enumerate() {
            self.network.cut[node] |= cut;
        }
        self.after(wait, ReplicaSimulationEvent::Uncut(cut));
        // A connection that is cut for too long is closed by both sides at different times.
        if let Some(session) = self.network.session
            && self.random.percent(60)
        {
            let patience = self.random.below(12 * MS);
            if patience < wait {
                self.after(patience, ReplicaSimulationEvent::GiveUp(session));
            }
        }
    }

    fn alone(&mut self, alone: [bool; 2], wait: u64) {
        for (node, alone) in alone.into_iter().enumerate() {
            if alone {
                self.reaches[node] = false;
                self.after(wait, ReplicaSimulationEvent::Reach(node));
            }
        }
    }

    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.tell(|| "everything is healed".to_owned());
        self.reaches = [true; 2];
        self.uncut([true, true]);
        for node in 0..2 {
            self.nodes[node].paused_until = 0;
            self.names(node, false);
            self.nodes[node].disk.heal();
            self.nodes[node].power_on();
            self.start(node)?;
            self.nodes[node].wanted = GEOMETRY.blocks;
            self.prepare(node);
        }
        self.plan.cluster_loss = 0;
        self.overwrite_lost();
        if let Some(session) = self.network.session {
            self.disconnect(session, None);
        }
        self.order(ReplicaOrder::Thaw)
    }

    /// Returns whether all requests are answered and both copies are in sync.
    pub(super) fn is_calm(&self) -> bool {
        let mirrored =
            |node: &SimulatedNode| node.replica.as_ref().is_some_and(|r| r.is_mirrored());
        let verifies =
            |node: &SimulatedNode| node.replica.as_ref().is_some_and(|r| r.is_verifying());
        // A late request may still be in flight.
        let is_quiet = (0..2).all(|node| self.network.waiting(node) == 0);
        is_quiet
            && self.traffic.is_done()
            && self.agreement.record.in_sync.is_both()
            && self.nodes.iter().any(mirrored)
            && !self.nodes.iter().any(verifies)
            && self
                .nodes
                .iter()
                .all(|node| node.disk.is_idle() && node.disk.kept.head.blocks == GEOMETRY.blocks)
    }

    /// Corrupts blocks of a copy that are intact in the other one.
    fn rot(&mut self, node: usize, tries: u64) {
        for _ in 0..tries {
            let block = if self.random.percent(70) {
                self.random.below(self.plan.crowd) * 11 % SPAN
            } else {
                self.random.below(SPAN)
            };
            let is_other = self.nodes[1 - node].disk.rotten(block).is_some();
            if !is_other && self.nodes[node].disk.rot(block) {
                self.tell(|| format!("block {block} rots at {node}"));
            }
        }
    }

    /// Overwrites blocks whose only complete copy has rotted, because reads of them fail.
    fn overwrite_lost(&mut self) {
        for node in 0..2 {
            for first in 0..SPAN {
                let was = self.nodes[node].disk.rotten(first);
                let other = self.nodes[1 - node].disk.image[first as usize];
                if was.is_some_and(|was| was != other) {
                    let want = Want::Write(Blocks { first, count: 1 }, false);
                    let op = self.traffic.open_op(self.plan.clients, want);
                    self.after(MS / 10, ReplicaSimulationEvent::Send(op));
                }
            }
        }
    }

    pub(super) fn step(&mut self) -> Result<(), String> {
        match self.steps.front() {
            Some(CalmStep::Read) => {
                self.steps.pop_front();
                self.read_all();
                Ok(())
            }
            // Repeats until one verify has covered the whole volume.
            Some(CalmStep::Verify) => self.order(ReplicaOrder::Verify { repairs: true }),
            None => Ok(()),
        }
    }

    pub(super) fn verified(&mut self, verify: &Verify) -> Result<(), String> {
        if verify.differing > 0 {
            return Err(format!("copies in sync differ: {verify}"));
        }
        let is_last =
            self.now > self.plan.healed_at && self.steps.front() == Some(&CalmStep::Verify);
        if !is_last || verify.ended != Some(Ok(())) || !verify.repairs {
            return Ok(());
        }
        self.steps.pop_front();
        for block in 0..SPAN {
            if self
                .nodes
                .iter()
                .any(|node| node.disk.rotten(block).is_some())
            {
                return Err(format!("block {block} is rotten after a verify: {verify}"));
            }
        }
        Ok(())
    }

    pub fn repaired(&self) -> u64 {
        self.nodes.iter().map(|node| node.disk.repaired).sum()
    }

    pub(super) fn read_all(&mut self) {
        let client = self.plan.clients;
        for first in (0..GEOMETRY.blocks).step_by(8) {
            let want = Want::Read(Blocks { first, count: 8 });
            let op = self.traffic.open_op(client, want);
            self.after(MS / 10, ReplicaSimulationEvent::Send(op));
        }
    }

    pub(super) fn check_end(&self) -> Result<(), String> {
        let [one, other] = [0, 1].map(|node| &self.nodes[node].disk.image);
        for block in 0..GEOMETRY.blocks as usize {
            if one[block] != other[block] {
                let (one, other) = (one[block], other[block]);
                return Err(format!("block {block} differs in the end: {one}, {other}"));
            }
            if block as u64 >= SPAN && one[block] != 0 {
                return Err(format!(
                    "block {block} was never written, and has {}",
                    one[block]
                ));
            }
        }
        Ok(())
    }

    pub(super) fn stuck(&self) -> String {
        let mut text = "no progress after everything was healed:".to_owned();
        for (place, node) in self.nodes.iter().enumerate() {
            let report = node.replica.as_ref();
            let report = report.map(|replica| replica.report(node.local(self.now)));
            text += &format!("\n  node {place}: {report:?}");
        }
        let open = self.traffic.ops.iter().filter(|op| !op.done).count();
        let record = &self.agreement.record;
        text + &format!(
            "\n  {open} operations open, epoch {:?}, {record:?}",
            self.agreement.epoch
        )
    }
}
