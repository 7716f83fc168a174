//! Simulates clients, which send requests to any member, and record the times, the requests and the
//! results.

use super::defect::RaftDefect;
use super::host::{Common, now};
use super::linear::Operation;
use super::network::RunningProcess;
use super::record::{ClientOp, Fate, Key, Observed, Single};
use super::runtime::Members;
use crate::command::{
    CommandBody, CommandResult, Decision, Epoch, Judging, LeaseCommand, Proposal, RolloutStep,
    VersionId, VersionOrigin,
};
use crate::member::{MemberId, MemberKind};
use crate::raft::{Engine, ProposeError};
use lab::Random;
use openraft_rt::AsyncRuntime;
use part::lock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Time after which a client stops waiting for the result of an operation, and records the result
/// as unknown.
const GIVES_UP: Duration = Duration::from_millis(2_500);
const LEASES: u64 = 2;

pub struct Client {
    pub number: usize,
    pub random: Random,
    pub common: Arc<Common>,
    pub kinds: Vec<MemberKind>,
    pub nodes: u64,
    pub think_ms: u64,
    pub only_reads: bool,
    /// Value last seen of each key.
    pub seen: [Single; LEASES as usize + 1],
}

enum CallResult {
    Observed(Observed),
    NotDone,
    Unknown,
}

impl Client {
    pub async fn run(mut self) {
        let mut count = 0;
        while !self.common.over.load(Ordering::Relaxed) {
            let think = self.random.below(self.think_ms * 1_000 + 1);
            Members::sleep(Duration::from_micros(think)).await;
            let place = self.random.below(self.kinds.len() as u64) as usize;
            let Some(running) = self.common.network.running(place) else {
                continue;
            };
            count += 1;
            if !self.only_reads && self.random.percent(20) {
                self.tell(running, count).await;
            } else {
                self.operate(running, place).await;
            }
        }
    }

    async fn tell(&mut self, running: RunningProcess, count: u64) {
        let words = format!("said {}-{count}", self.number);
        let unknown = Fate::Unknown;
        lock(&self.common.record)
            .words
            .insert(words.clone(), unknown);
        let body = CommandBody::Event {
            words: words.clone(),
        };
        let engine = running.engine.clone();
        let asked = running
            .process
            .spawn(async move { engine.propose(body).await });
        let fate = match Members::timeout(GIVES_UP, asked).await {
            Ok(Ok(Ok(CommandResult::Done))) => Fate::Acknowledged,
            Ok(Ok(Err(ProposeError::NoLeader | ProposeError::Busy))) => Fate::NotDone,
            _ => Fate::Unknown,
        };
        self.common
            .note(|| format!("client {}: {words}: {fate:?}", self.number));
        lock(&self.common.record).words.insert(words, fate);
    }

    async fn operate(&mut self, running: RunningProcess, member: usize) {
        let place = self.random.below(LEASES + 1) as usize;
        let key = match place as u64 {
            LEASES => Key::Versions,
            lease => Key::Lease(lease as u8),
        };
        let op = match self.kinds[member] {
            MemberKind::Node => self.draw(key, self.seen[place], member as u64 + 1),
            // Skips the arbiter, which may not propose.
            MemberKind::Arbiter => ClientOp::Read,
        };
        let called_at = now();
        let outcome = ask(&self.common, running, key, op.clone()).await;
        let returned_at = now();
        self.common.note(|| {
            let said = match &outcome {
                CallResult::Observed(said) => format!("{said:?}"),
                CallResult::NotDone => "not done".to_owned(),
                CallResult::Unknown => "unknown".to_owned(),
            };
            let (number, since) = (self.number, called_at as f64 / 1e6);
            format!("client {number}: since {since:.3} {key:?} {op:?}: {said}")
        });
        let returned = match outcome {
            // Operations that were not executed are excluded. If one was executed
            // nevertheless, the other results have no order.
            CallResult::NotDone => return,
            CallResult::Unknown if op == ClientOp::Read => return,
            CallResult::Unknown => None,
            CallResult::Observed(said) => {
                self.learn(place, &op, &said);
                Some((returned_at, said))
            }
        };
        let operation = Operation {
            client: self.number,
            op,
            called_at,
            returned,
        };
        let mut record = lock(&self.common.record);
        record.operations.entry(key).or_default().push(operation);
    }

    fn draw(&mut self, key: Key, seen: Single, from: u64) -> ClientOp {
        if self.only_reads {
            return ClientOp::Read;
        }
        let any = self.random.percent(10);
        match (key, self.random.below(10)) {
            (_, 0..=3) => ClientOp::Read,
            (Key::Lease(_), 4..=7) => ClientOp::Grant {
                holder: self.random.between(1, self.nodes),
                after: if any { seen.count + 1 } else { seen.count },
            },
            (Key::Lease(_), _) => ClientOp::Release {
                from,
                epoch: seen.count,
            },
            (Key::Versions, 4..=7) => ClientOp::Propose {
                fit: self.kinds[from as usize - 1] == MemberKind::Node,
            },
            (Key::Versions, _) => ClientOp::TakeBack {
                version: seen.holder.unwrap_or(seen.count),
            },
        }
    }

    fn learn(&mut self, place: usize, op: &ClientOp, said: &Observed) {
        let seen = &mut self.seen[place];
        match (op, said) {
            (_, Observed::Is(single)) => *seen = *single,
            (ClientOp::TakeBack { .. }, _) => {}
            (_, Observed::Given(count)) => seen.count = *count,
            (ClientOp::Propose { .. }, Observed::Busy(version)) => seen.holder = Some(*version),
            _ => {}
        }
    }
}

async fn ask(common: &Common, running: RunningProcess, key: Key, op: ClientOp) -> CallResult {
    let engine = running.engine.clone();
    if op == ClientOp::Read {
        let unconfirmed = match common.defect {
            Some(RaftDefect::ReadsUnconfirmed) => true,
            Some(RaftDefect::ConfirmsAlone) => engine.raft_status().leading,
            _ => false,
        };
        let asked = running
            .process
            .spawn(async move { read(&engine, key, unconfirmed).await });
        return match Members::timeout(GIVES_UP, asked).await {
            Ok(Ok(Some(single))) => CallResult::Observed(Observed::Is(single)),
            _ => CallResult::Unknown,
        };
    }
    let body = body(key, &op);
    let asked = running
        .process
        .spawn(async move { engine.propose(body).await });
    match Members::timeout(GIVES_UP, asked).await {
        Ok(Ok(Ok(answer))) => CallResult::Observed(Observed::of(answer)),
        Ok(Ok(Err(ProposeError::NoLeader | ProposeError::Busy))) => CallResult::NotDone,
        _ => CallResult::Unknown,
    }
}

/// Returns a member's value of a key, after the member confirmed that it is the newest.
pub async fn read(engine: &Engine<Members>, key: Key, unconfirmed: bool) -> Option<Single> {
    if !unconfirmed {
        engine.confirm().await.ok()?;
    }
    let state = engine.state();
    Some(match key {
        Key::Versions => Single {
            count: state.last_version.0,
            holder: state.on_its_way().map(|record| record.id.0),
        },
        Key::Lease(lease) => match state.lease(&name(lease)) {
            None => Single::default(),
            Some(lease) => Single {
                count: lease.epoch.0,
                holder: lease.holder.map(|holder| holder.0),
            },
        },
    })
}

fn name(lease: u8) -> String {
    format!("lease/{lease}")
}

fn body(key: Key, op: &ClientOp) -> CommandBody {
    let name = match key {
        Key::Lease(lease) => name(lease),
        Key::Versions => String::new(),
    };
    match op {
        ClientOp::Grant { holder, after } => CommandBody::Lease(LeaseCommand::Grant {
            name,
            holder: MemberId(*holder),
            valid_ms: 1_000,
            after: Epoch(*after),
        }),
        ClientOp::Release { epoch, .. } => CommandBody::Lease(LeaseCommand::Release {
            name,
            epoch: Epoch(*epoch),
        }),
        ClientOp::TakeBack { version } => CommandBody::Decide(Decision {
            version: VersionId(*version),
            step: RolloutStep::TakeBack {
                words: "a client wants it".to_owned(),
            },
        }),
        ClientOp::Propose { .. } | ClientOp::Read => CommandBody::Propose(Box::new(Proposal {
            parent: None,
            author: "a client".to_owned(),
            message: "a change".to_owned(),
            time_s: 0,
            origin: VersionOrigin::Applied,
            files: Vec::new(),
            listings: Vec::new(),
            judging: Judging {
                judge_ms: 0,
                confirm_within_ms: None,
            },
        })),
    }
}
