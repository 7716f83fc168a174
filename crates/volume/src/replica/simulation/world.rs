//! Machines, network, cluster and clients of one simulated history, in virtual time.

mod faults;

use super::AttemptNumbers;
use super::agreement::{Agreement, AgreementReply, AgreementRequest, VALID_NS, usable_ns};
use super::disk::Disk;
use super::network::{Item, SimulatedNetwork};
use super::node::{GEOMETRY, SimulatedNode, VOLUME};
use super::plan::{MS, PlannedFault, SimulationPlan};
use super::traffic::{Next, Traffic};
use crate::replica::defect::{InjectedDefect, ReplicaDefect};
use crate::replica::{
    CopyId, DiskResult, Durable, Epoch, Generation, Geometry, InSync, Incarnation, Input, NodeId,
    Notice, OperationId, Record, ReplicaAction, ReplicaOrder, RequestId, RequestOutcome, Session,
    Time,
};
use lab::Random;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Maximum time, in the calm phase at the end, until both copies are in sync and all requests are
/// answered, nanoseconds.
const CALM_NS: u64 = 2_000 * MS;
/// Maximum number of events in a history.
const EVENTS_MAX: u64 = 400_000;

/// Kind of report of a disk operation.
#[derive(Clone, Copy, Debug)]
enum DiskReportKind {
    Operation(OperationId),
    Store(u64),
}

#[derive(Debug)]
enum ReplicaSimulationEvent {
    Deliver(Session, usize),
    LinkLost(Session, usize),
    /// Both sides notice the end of the connection.
    GiveUp(Session),
    Connect,
    /// A disk operation takes effect; its process is notified later.
    DiskEnd(usize, u64, u64, DiskReportKind),
    Hear(usize, u64, Box<Input<AttemptNumbers>>),
    Tick(usize, u64, u64),
    Agent(usize, u64),
    /// A request that a process sent to the cluster at this time of its clock arrives.
    AskArrives(usize, u64, Time, Box<AgreementRequest>),
    ReplyArrives(usize, u64, Time, Box<AgreementReply>),
    Client(usize),
    Send(usize),
    Impatient(usize, u32),
    Fault(PlannedFault),
    Start(usize),
    PowerOn(usize),
    Uncut([bool; 2]),
    Reach(usize),
    DiskHealed(usize),
    /// The node's configuration names both nodes again.
    Both(usize),
    /// The disks go back into their machines.
    PutBack,
    /// A process has zeroed the space after the end of the volume, from one block to another.
    Prepared(usize, u64, u64, u64),
    Order(ReplicaOrder),
    Heal,
}

#[derive(Debug)]
pub struct ReplicaSimulation {
    plan: SimulationPlan,
    random: Random,
    broken: InjectedDefect,
    now: u64,
    sequence: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    bodies: Vec<Option<ReplicaSimulationEvent>>,
    nodes: [SimulatedNode; 2],
    network: SimulatedNetwork,
    agreement: Agreement,
    /// True for each node that reaches a majority of the cluster.
    reaches: [bool; 2],
    traffic: Traffic,
    /// True for each copy that still has all writes that it ever acknowledged.
    intact: [bool; 2],
    /// Disks in the wrong machine.
    misplaced: Option<MisplacedDisks>,
    /// Last epoch in which a node began to serve.
    decided: Epoch,
    told: Option<String>,
    steps: VecDeque<CalmStep>,
}

/// Disks in the wrong machine.
#[derive(Debug)]
struct MisplacedDisks {
    /// Machine with a clone, and its own disk; None: the disks are swapped.
    replaced: Option<(usize, Disk)>,
    /// Machines with the disk of the other one, and the state of that disk, which must not change.
    unchanged: Vec<(usize, Durable, Vec<u32>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CalmStep {
    /// A last client reads everything.
    Read,
    /// A verify repairs all differences; nothing rotten may be left.
    Verify,
}

impl ReplicaSimulation {
    pub fn new(
        plan: SimulationPlan,
        mut random: Random,
        defect: Option<ReplicaDefect>,
        traced: bool,
    ) -> ReplicaSimulation {
        let record = Record {
            incarnation: Incarnation(1),
            generation: Generation(1),
            epoch: Epoch(0),
            in_sync: if plan.blank || plan.stale {
                InSync::One(NodeId(0))
            } else {
                InSync::Both(NodeId(0), NodeId(1))
            },
            copies: Vec::new(),
            forks: Vec::new(),
        };
        let blocks = GEOMETRY.blocks as usize;
        let sized = |blocks| Geometry { blocks, ..GEOMETRY };
        let first = sized(plan.blocks[0]);
        let mut kept = [(); 2].map(|()| Durable::created(first, VOLUME));
        let mut images = [vec![0; blocks], vec![0; blocks]];
        for image in &mut images {
            // Space after the end of the volume has unknown content.
            image[plan.blocks[0] as usize..].fill(u32::MAX);
        }
        if plan.blank || plan.stale {
            images[1].fill(u32::MAX);
        }
        if plan.blank {
            kept[1] = Durable::blank(sized(plan.blocks[1]));
        }
        if plan.stale {
            kept[1].head.state = crate::replica::CopyState::Joined(Generation(0));
        }
        for (node, kept) in kept.iter_mut().enumerate() {
            kept.head.identity.node = Some(NodeId(node as u16));
            kept.head.identity.copy = Some(CopyId(node as u64 + 1));
        }
        let [kept_0, kept_1] = kept;
        let [image_0, image_1] = images;
        let disks = [(kept_0, image_0, 0), (kept_1, image_1, 1)];
        let broken = InjectedDefect { by: defect };
        let nodes = disks.map(|(kept, image, node)| {
            let mut disk = Disk::new(GEOMETRY, kept, image);
            if plan.rots.is_some() {
                disk.keep_sums(broken);
            }
            SimulatedNode::new(disk, plan.drift_ppm[node])
        });
        let steps = match plan.rots {
            None => VecDeque::from([CalmStep::Read]),
            Some(true) => VecDeque::from([CalmStep::Read, CalmStep::Verify]),
            Some(false) => VecDeque::from([CalmStep::Verify, CalmStep::Read]),
        };
        ReplicaSimulation {
            traffic: Traffic::new(&plan, &mut random),
            agreement: Agreement::new(record, plan.leader_ppm),
            plan,
            random,
            broken,
            steps,
            now: 0,
            sequence: 0,
            events: BinaryHeap::new(),
            bodies: Vec::new(),
            nodes,
            network: SimulatedNetwork::default(),
            reaches: [true; 2],
            intact: [true; 2],
            misplaced: None,
            decided: Epoch(0),
            told: traced.then(String::new),
        }
    }

    pub fn told(&self) -> String {
        let told = self.told.clone().unwrap_or_default();
        format!("{:?}\n{told}", self.plan)
    }

    fn tell(&mut self, what: impl Fn() -> String) {
        if let Some(told) = &mut self.told {
            *told += &format!("{:>9.3} {}\n", self.now as f64 / 1e6, what());
        }
    }

    fn at(&mut self, at: u64, event: ReplicaSimulationEvent) {
        self.sequence += 1;
        let place = self.bodies.len();
        self.bodies.push(Some(event));
        self.events.push(Reverse((at, self.sequence, place)));
    }

    fn after(&mut self, ns: u64, event: ReplicaSimulationEvent) {
        self.at(self.now + ns, event);
    }

    /// Runs the history. Returns the number of acknowledged requests.
    pub fn run(&mut self) -> Result<u64, String> {
        for node in 0..2 {
            self.nodes[node].disk.faults.lies = self.plan.liar == Some(node);
            self.after(0, ReplicaSimulationEvent::Start(node));
        }
        self.after(MS / 10, ReplicaSimulationEvent::Connect);
        for client in 0..self.plan.clients {
            for _ in 0..self.plan.depth {
                self.after(MS, ReplicaSimulationEvent::Client(client));
            }
        }
        for (at, fault) in self.plan.faults.clone() {
            self.at(at, ReplicaSimulationEvent::Fault(fault));
        }
        let healed_at = self.plan.healed_at;
        self.at(healed_at, ReplicaSimulationEvent::Heal);
        for count in 0.. {
            if self.now > healed_at + CALM_NS || count > EVENTS_MAX {
                return Err(self.stuck());
            }
            if self.now > healed_at + 6 * MS && count % 16 == 0 && self.is_calm() {
                if self.steps.is_empty() {
                    break;
                }
                self.step()?;
            }
            self.next()?;
        }
        self.check_end()?;
        Ok(self.traffic.acknowledged)
    }

    fn next(&mut self) -> Result<(), String> {
        let Some(Reverse((at, sequence, place))) = self.events.pop() else {
            return Err("nothing happens any more".to_owned());
        };
        self.now = self.now.max(at);
        let Some(event) = self.bodies[place].take() else {
            return Ok(());
        };
        // A paused machine processes events after its pause.
        let node = match &event {
            ReplicaSimulationEvent::Hear(node, ..)
            | ReplicaSimulationEvent::Tick(node, ..)
            | ReplicaSimulationEvent::Agent(node, _)
            | ReplicaSimulationEvent::ReplyArrives(node, ..)
            | ReplicaSimulationEvent::LinkLost(_, node)
            | ReplicaSimulationEvent::Deliver(_, node) => Some(*node),
            _ => None,
        };
        if let Some(until) = node.map(|node| self.nodes[node].paused_until)
            && until > self.now
        {
            self.bodies[place] = Some(event);
            self.events.push(Reverse((until, sequence, place)));
            return Ok(());
        }
        self.happen(event)
    }

    /// Reports to a replica that the other node is silent, or no longer is. Correctness must not
    /// depend on the time of that report. Searches for defects disable it, because only a few
    /// histories expose some defects.
    fn tell_silence(&mut self, session: Session, node: usize, is: bool) -> Result<(), String> {
        if session.0 % 2 == 1 && self.broken.by.is_none() {
            self.handle(node, Input::Silent(is))
        } else {
            Ok(())
        }
    }

    fn happen(&mut self, event: ReplicaSimulationEvent) -> Result<(), String> {
        match event {
            ReplicaSimulationEvent::Deliver(session, node) => match self
                .network
                .receive(session, node)
            {
                Some(Item::Connected) => {
                    self.tell_silence(session, node, false)?;
                    self.handle(node, Input::Connected(session))
                }
                Some(Item::Message(message)) => self.handle(node, Input::Message(session, message)),
                None => Ok(()),
            },
            ReplicaSimulationEvent::LinkLost(session, node) => {
                self.handle(node, Input::Lost(session))?;
                self.tell_silence(session, node, true)
            }
            ReplicaSimulationEvent::GiveUp(session) => {
                self.disconnect(session, None);
                Ok(())
            }
            ReplicaSimulationEvent::Connect => self.connect(),
            ReplicaSimulationEvent::DiskEnd(node, life, key, report) => {
                self.disk_end(node, life, key, report)
            }
            ReplicaSimulationEvent::Hear(node, life, input) if self.nodes[node].life == life => {
                self.handle(node, *input)
            }
            ReplicaSimulationEvent::Tick(node, life, at) => {
                let ours = self.nodes[node].life == life && self.nodes[node].tick_at == Some(at);
                if ours {
                    self.nodes[node].tick_at = None;
                    self.handle(node, Input::Tick)?;
                    return self.has_ticked(node);
                }
                Ok(())
            }
            ReplicaSimulationEvent::Agent(node, life) => self.agent(node, life),
            ReplicaSimulationEvent::AskArrives(node, life, sent, ask) => {
                self.ask(node, life, sent, *ask)
            }
            ReplicaSimulationEvent::ReplyArrives(node, life, sent, reply) => {
                self.replied(node, life, sent, *reply)
            }
            ReplicaSimulationEvent::Client(client) => self.client(client),
            ReplicaSimulationEvent::Send(op) => self.send(op),
            ReplicaSimulationEvent::Impatient(op, attempt) => self.impatient(op, attempt),
            ReplicaSimulationEvent::Fault(fault) => self.fault(fault),
            ReplicaSimulationEvent::Start(node) => self.start(node),
            ReplicaSimulationEvent::PowerOn(node) => {
                self.nodes[node].power_on();
                self.start(node)
            }
            ReplicaSimulationEvent::Uncut(cut) => {
                self.uncut(cut);
                Ok(())
            }
            ReplicaSimulationEvent::Reach(node) => {
                self.reaches[node] = true;
                Ok(())
            }
            ReplicaSimulationEvent::DiskHealed(node) => {
                self.nodes[node].disk.heal();
                Ok(())
            }
            ReplicaSimulationEvent::Both(node) => {
                self.names(node, false);
                Ok(())
            }
            ReplicaSimulationEvent::Prepared(node, life, from, to) => {
                self.prepared(node, life, from, to)
            }
            ReplicaSimulationEvent::PutBack => self.put_back(),
            ReplicaSimulationEvent::Order(order) => self.order(order),
            ReplicaSimulationEvent::Heal => self.heal(),
            ReplicaSimulationEvent::Hear(..) => Ok(()),
        }
    }

    /// Passes an input to the replica of a node.
    fn handle(&mut self, node: usize, input: Input<AttemptNumbers>) -> Result<(), String> {
        if self.nodes[node].replica.is_none() {
            return Ok(());
        }
        if self.told.is_some() && !matches!(input, Input::Tick | Input::Renewed { .. }) {
            self.tell(|| format!("{node} < {input:?}"));
        }
        let mut actions = Vec::new();
        let local = self.nodes[node].local(self.now);
        if let Some(replica) = &mut self.nodes[node].replica {
            replica.handle(local, input, &mut actions);
        }
        self.served(node);
        for action in actions {
            self.act(node, action)?;
        }
        self.schedule(node);
        Ok(())
    }

    /// Checks whether a node has begun to serve, which decides the outcome of earlier attempts.
    fn served(&mut self, node: usize) {
        let serves = (self.nodes[node].replica.as_ref()).and_then(|replica| replica.serves());
        let before = std::mem::replace(&mut self.nodes[node].served, serves);
        // A node may stop and resume serving within its epoch, which decides nothing.
        let is_new = serves.is_some_and(|epoch| epoch > self.decided);
        if is_new && before != serves {
            self.decided = serves.unwrap_or_default();
            let life = self.nodes[node].life;
            self.traffic.serves(node, life);
            for copy in 0..2 {
                if self.agreement.record.in_sync.contains(NodeId(copy as u16)) {
                    self.intact[copy] = true;
                }
            }
        }
    }

    /// Checks that a tick changed something: otherwise a driver would wake up again and again.
    fn has_ticked(&self, node: usize) -> Result<(), String> {
        let now = self.nodes[node].local(self.now);
        let replica = self.nodes[node].replica.as_ref();
        match replica.and_then(|replica| replica.deadline()) {
            Some(deadline) if deadline <= now => Err(format!(
                "node {node}: the deadline {deadline:?} is over at {now:?}"
            )),
            _ => Ok(()),
        }
    }

    fn schedule(&mut self, node: usize) {
        let deadline = (self.nodes[node].replica.as_ref()).and_then(|replica| replica.deadline());
        let Some(deadline) = deadline else {
            return;
        };
        let at = self.nodes[node].real(deadline).max(self.now + 1_000);
        if self.nodes[node].tick_at.is_none_or(|tick| at < tick) {
            self.nodes[node].tick_at = Some(at);
            let life = self.nodes[node].life;
            self.at(at, ReplicaSimulationEvent::Tick(node, life, at));
        }
    }

    fn act(&mut self, node: usize, action: ReplicaAction<AttemptNumbers>) -> Result<(), String> {
        if self.told.is_some() {
            self.tell(|| format!("{node} > {action:?}"));
        }
        let life = self.nodes[node].life;
        match action {
            ReplicaAction::Reply(id, outcome) => return self.reply(node, id, &outcome),
            ReplicaAction::Disk(id, operation) => {
                let key = self.sequence;
                self.nodes[node].disk.begin(key, operation);
                self.disk_later(node, key, DiskReportKind::Operation(id));
            }
            ReplicaAction::Store(number, change) => {
                let key = self.sequence;
                self.nodes[node].disk.store(key, change);
                self.disk_later(node, key, DiskReportKind::Store(number));
            }
            ReplicaAction::Send(session, message) if self.network.session == Some(session) => {
                self.transmit(session, 1 - node, Item::Message(message));
            }
            ReplicaAction::Send(..) => {}
            ReplicaAction::Disconnect(session) => self.disconnect(session, Some(node)),
            ReplicaAction::Propose(epoch, record) => {
                self.inquire(node, life, AgreementRequest::Propose(epoch, record));
            }
            ReplicaAction::Release(epoch) => {
                self.nodes[node].granted = None;
                self.nodes[node].seen = epoch;
                self.inquire(node, life, AgreementRequest::Release(epoch));
            }
            ReplicaAction::Say(Notice::Verified(verify)) => self.verified(&verify)?,
            ReplicaAction::Say(Notice::Older) => {
                return Err("a copy that nobody replaced is older".to_owned());
            }
            ReplicaAction::Say(_) | ReplicaAction::Resized(_) => {}
        }
        Ok(())
    }

    fn transmit(&mut self, session: Session, to: usize, item: Item) {
        let delay = self.plan.net_ns + self.random.below(self.plan.net_ns);
        let at = self.network.send(to, item, self.now + delay);
        self.at(at, ReplicaSimulationEvent::Deliver(session, to));
    }

    fn disk_later(&mut self, node: usize, key: u64, report: DiskReportKind) {
        self.sequence += 1;
        let disk = self.plan.disk_ns;
        let rare = self.random.once_in(20);
        let takes = disk / 4 + self.random.below(if rare { disk * 8 } else { disk });
        let stalled_until = self.nodes[node].disk.faults.stalled_until;
        let at = (self.now + takes).max(stalled_until);
        let life = self.nodes[node].life;
        self.at(at, ReplicaSimulationEvent::DiskEnd(node, life, key, report));
    }

    fn disk_end(
        &mut self,
        node: usize,
        life: u64,
        key: u64,
        report: DiskReportKind,
    ) -> Result<(), String> {
        if self.nodes[node].life != life {
            return Ok(());
        }
        let was = self.nodes[node].disk.kept.head.state;
        let had = self.nodes[node].disk.kept.head.blocks;
        let Some(result) = self.nodes[node].disk.end(key, &mut self.random) else {
            return Ok(());
        };
        if let Some(block) = self.nodes[node].disk.false_alarm {
            return Err(format!("block {block} is right, and counts as damaged"));
        }
        let has = self.nodes[node].disk.kept.head.blocks;
        if has < had {
            self.nodes[node].prepared = has;
            self.prepare(node);
        }
        self.nodes[node].prepared = self.nodes[node].prepared.max(has);
        let is = self.nodes[node].disk.kept.head.state;
        if was != is && matches!(is, crate::replica::CopyState::Joined(_)) {
            self.intact[node] = true;
        }
        let input = match (report, result) {
            (DiskReportKind::Operation(id), result) => Input::Disk(id, result),
            (DiskReportKind::Store(number), DiskResult::Failed) => Input::StoreFailed(number),
            (DiskReportKind::Store(number), _) => Input::Stored(number),
        };
        self.after(0, ReplicaSimulationEvent::Hear(node, life, Box::new(input)));
        Ok(())
    }

    /// Requests or renews the lease on behalf of a node's process.
    fn agent(&mut self, node: usize, life: u64) -> Result<(), String> {
        if self.nodes[node].life != life {
            return Ok(());
        }
        let local = self.nodes[node].local(self.now);
        let record = &self.agreement.record;
        let replica = self.nodes[node].replica.as_ref();
        let rank = replica.map_or(0, |replica| replica.rank(local, record));
        let seen = self.nodes[node].seen;
        match &self.nodes[node].granted {
            Some((epoch, ..)) => {
                let ask = AgreementRequest::Renew(*epoch);
                self.inquire(node, life, ask);
            }
            None if rank > 0 => self.inquire(node, life, AgreementRequest::Want(rank, seen)),
            None => {}
        }
        self.after(VALID_NS / 6, ReplicaSimulationEvent::Agent(node, life));
        Ok(())
    }

    fn inquire(&mut self, node: usize, life: u64, ask: AgreementRequest) {
        let sent = self.nodes[node].local(self.now);
        let copies = if self.random.percent(10) { 2 } else { 1 };
        for _ in 0..copies {
            let slow = if self.random.percent(5) {
                12 * MS
            } else {
                MS / 5
            };
            let delay = MS / 10 + self.random.below(slow);
            let event = ReplicaSimulationEvent::AskArrives(node, life, sent, Box::new(ask.clone()));
            self.after(delay, event);
        }
    }

    fn ask(
        &mut self,
        node: usize,
        life: u64,
        sent: Time,
        ask: AgreementRequest,
    ) -> Result<(), String> {
        let is_lost = matches!(ask, AgreementRequest::Propose(..)) && {
            let loss = self.plan.cluster_loss;
            self.random.percent(loss)
        };
        // A grant for the request of another process would be wasted.
        let is_stale = matches!(ask, AgreementRequest::Want(..)) && self.nodes[node].life != life;
        if !self.reaches[node] || is_lost || is_stale {
            return Ok(());
        }
        let shown = self.told.is_some()
            && !matches!(ask, AgreementRequest::Renew(_) | AgreementRequest::Want(..));
        let text = if shown {
            format!("{ask:?}")
        } else {
            String::new()
        };
        let reply = self.agreement.ask(node, ask, self.now);
        if shown {
            self.tell(|| format!("{node} asked the cluster: {text} -> {reply:?}"));
        }
        if let Some(reply) = reply
            && !self.random.percent(self.plan.cluster_loss)
        {
            let delay = MS / 10 + self.random.below(MS / 5);
            let event = ReplicaSimulationEvent::ReplyArrives(node, life, sent, Box::new(reply));
            self.after(delay, event);
        }
        Ok(())
    }

    fn replied(
        &mut self,
        node: usize,
        life: u64,
        sent: Time,
        reply: AgreementReply,
    ) -> Result<(), String> {
        if self.nodes[node].life != life || !self.reaches[node] {
            return Ok(());
        }
        match reply {
            AgreementReply::Granted(epoch, record) => {
                let held = self.nodes[node].granted.as_ref().map(|held| held.0);
                if held.is_none_or(|held| held < epoch) {
                    self.nodes[node].granted = Some((epoch, record, false));
                    self.inquire(node, life, AgreementRequest::Renew(epoch));
                }
            }
            AgreementReply::Renewed(epoch) => {
                let until = sent.after(usable_ns());
                let Some((held, record, known)) = &mut self.nodes[node].granted else {
                    return Ok(());
                };
                if *held != epoch {
                    return Ok(());
                }
                let input = if std::mem::replace(known, true) {
                    Input::Renewed { epoch, until }
                } else {
                    Input::Granted {
                        epoch,
                        until,
                        record: record.clone(),
                    }
                };
                return self.handle(node, input);
            }
            AgreementReply::Over(epoch) => {
                if self.nodes[node]
                    .granted
                    .as_ref()
                    .is_some_and(|held| held.0 == epoch)
                {
                    self.nodes[node].granted = None;
                    self.nodes[node].seen = epoch;
                    return self.handle(node, Input::LeaseEnded);
                }
            }
            AgreementReply::Recorded(record) => return self.handle(node, Input::Recorded(record)),
        }
        Ok(())
    }

    fn reply(
        &mut self,
        node: usize,
        id: RequestId,
        outcome: &RequestOutcome<AttemptNumbers>,
    ) -> Result<(), String> {
        let is_served = matches!(outcome, RequestOutcome::Done | RequestOutcome::Data(_));
        if is_served && !self.agreement.record.in_sync.contains(NodeId(node as u16)) {
            return Err(format!("node {node} replied to {id:?}, and is not in sync"));
        }
        let serves = self.nodes[node].served;
        if is_served && serves != Some(self.agreement.epoch) {
            let current = self.agreement.epoch;
            return Err(format!(
                "node {node} replied in {serves:?}, and {current:?} is current"
            ));
        }
        // Each failed request adds a possible history to the checker, so clients wait longer before
        // they repeat.
        let patience = match (outcome, self.plan.fail_ns) {
            (RequestOutcome::Failed, Some(_)) => 8 * MS,
            _ => MS / 5,
        };
        let again = self.random.between(patience, patience.max(MS) * 2);
        match self.traffic.reply(id, outcome)? {
            Next::Done => {
                let client = self.traffic.ops[self.op_of(id)].client;
                let think = self.random.below(self.plan.think_ns) + self.plan.think_ns / 4;
                self.after(think, ReplicaSimulationEvent::Client(client));
            }
            Next::Elsewhere(op) => {
                let client = self.traffic.ops[op].client;
                if self.traffic.at[client] == node {
                    self.traffic.at[client] = 1 - node;
                }
                self.after(again, ReplicaSimulationEvent::Send(op));
            }
            Next::Again(op) => self.after(again, ReplicaSimulationEvent::Send(op)),
            Next::Nothing => {}
        }
        Ok(())
    }

    fn op_of(&self, id: RequestId) -> usize {
        let is_it = |op: &&super::client::ClientOperation| u64::from(op.attempt) == id.0;
        let place = self.traffic.ops.iter().rposition(|op| is_it(&op));
        place.unwrap_or_default()
    }

    fn client(&mut self, client: usize) -> Result<(), String> {
        let is_over = self.now > self.plan.healed_at + 5 * MS;
        if is_over || client == self.plan.clients {
            return Ok(());
        }
        let op = self.traffic.begin(client, &self.plan, &mut self.random);
        self.send(op)
    }

    fn send(&mut self, op: usize) -> Result<(), String> {
        // Another attempt of the client has completed the operation already.
        if self.traffic.ops[op].done {
            return Ok(());
        }
        let client = self.traffic.ops[op].client;
        let node = self.traffic.at[client];
        if self.nodes[node].replica.is_none() {
            self.traffic.at[client] = 1 - node;
            self.after(MS, ReplicaSimulationEvent::Send(op));
            return Ok(());
        }
        let life = self.nodes[node].life;
        let (id, request) = self.traffic.attempt(op, life);
        let delay = self.random.below(MS / 20);
        self.after(
            delay,
            ReplicaSimulationEvent::Hear(node, life, Box::new(Input::Request(id, request))),
        );
        if self.plan.impatient {
            let patience = self.random.between(15, 60) * MS;
            self.after(patience, ReplicaSimulationEvent::Impatient(op, id.0 as u32));
        }
        Ok(())
    }

    /// Moves a client away from a node that does not respond. Its request stays at that node.
    fn impatient(&mut self, op: usize, attempt: u32) -> Result<(), String> {
        let entry = &self.traffic.ops[op];
        if entry.done || entry.attempt != attempt {
            return Ok(());
        }
        let (client, node) = (entry.client, entry.node);
        self.traffic.at[client] = 1 - node;
        self.send(op)
    }

    fn connect(&mut self) -> Result<(), String> {
        let up = self
            .nodes
            .iter()
            .all(|node| node.replica.is_some() && !node.single);
        if up && self.network.session.is_none() && self.network.cut == [false, false] {
            let session = self.network.connect();
            for node in 0..2 {
                self.transmit(session, node, Item::Connected);
            }
        }
        let again = self.random.between(1, 4) * MS;
        self.after(again, ReplicaSimulationEvent::Connect);
        Ok(())
    }

    /// Ends the connection. The other side, or both sides, notice that a moment later.
    fn disconnect(&mut self, session: Session, by: Option<usize>) {
        if self.network.session != Some(session) {
            return;
        }
        self.network.close();
        for node in 0..2 {
            if by != Some(node) {
                let delay = self.random.below(3 * MS);
                self.after(delay, ReplicaSimulationEvent::LinkLost(session, node));
            }
        }
    }

    fn uncut(&mut self, cut: [bool; 2]) {
        for (node, cut) in cut.into_iter().enumerate() {
            if cut {
                self.network.cut[node] = false;
            }
            if let Some(session) = self.network.session {
                for _ in 0..self.network.waiting(node) {
                    self.after(MS / 20, ReplicaSimulationEvent::Deliver(session, node));
                }
            }
        }
    }

    fn start(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].start(node, self.now, self.broken, self.plan.fail_ns) {
            self.nodes[node].seen = self.agreement.epoch;
            self.tell(|| format!("{node} starts"));
            let life = self.nodes[node].life;
            let wait = self.random.below(2 * MS);
            self.after(wait, ReplicaSimulationEvent::Agent(node, life));
            self.schedule(node);
            self.prepare(node);
        }
        Ok(())
    }
}
