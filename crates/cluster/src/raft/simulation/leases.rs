//! Simulates a lease that all nodes request, on the real consensus: holders and grants of the role,
//! with clocks that drift. Checks that no two members hold it at once, and that each holder knows
//! every record that was written under it before.

use super::host::{Common, now};
use super::network::{MEMBERS, SimulatedTransport};
use super::runtime::Members;
use crate::command::{CommandBody, CommandResult, Epoch, LeaseRecord};
use crate::lease::{Boottime, DRIFT_DIVISOR, HolderRequest, Renewal};
use crate::member::MemberId;
use crate::raft::Engine;
use crate::raft::transport::MemberTransport;
use crate::role::leases::{Holders, RenewalReply, ask_leader};
use lab::Random;
use openraft_rt::AsyncRuntime;
use part::lock;
use part::role::{KnownLease, WantedLease};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const NAME: &str = "volume/a";
const VALID_MS: u64 = 600;
/// Number of ranks by which nodes are preferred as holders.
const RANKS: u64 = 3;
const LOOK: Duration = Duration::from_millis(15);
/// Longest time that a starting member waits for the leader to confirm itself.
const CONFIRM_LIMIT: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_millis(500);
/// First byte that no message between engines has.
pub const MARK: u8 = 0xc1;

#[derive(Clone, Copy)]
pub struct Clock {
    booted_ns: u64,
    drift_ppm: i64,
}

impl Clock {
    pub fn draw(random: &mut Random) -> Clock {
        let most = 1_000_000 / DRIFT_DIVISOR as i64;
        Clock {
            booted_ns: random.below(1 << 50),
            drift_ppm: match random.below(3) {
                0 => -most,
                1 => most,
                _ => random.below(2 * most as u64) as i64 - most,
            },
        }
    }

    pub fn now(self) -> Boottime {
        let now = i128::from(now());
        let drift = now * i128::from(self.drift_ppm) / 1_000_000;
        Boottime(self.booted_ns + (now + drift) as u64)
    }
}

/// Leases of a machine, each with its expiry by the machine's own clock.
#[derive(Default)]
pub struct Table {
    holds: [Option<(Clock, Boottime)>; MEMBERS],
    /// The highest number of a record that its writer knows to be written, and its epoch.
    written: (Epoch, u64),
}

impl Table {
    fn holding(&self) -> Vec<usize> {
        let holds =
            |place: &usize| self.holds[*place].is_some_and(|(clock, end)| clock.now() < end);
        (0..MEMBERS).filter(holds).collect()
    }

    pub fn is_held(&self) -> bool {
        !self.holding().is_empty()
    }

    /// The machine lost power: none of its processes holds anything.
    pub fn forget(&mut self, place: usize) {
        self.holds[place] = None;
    }
}

/// Requests and uses the lease as long as its process lives.
pub struct Actor {
    pub link: SimulatedTransport,
    pub engine: Engine<Members>,
    pub clock: Clock,
    pub common: Arc<Common>,
    pub random: Random,
}

impl Actor {
    fn id(&self) -> MemberId {
        MemberId(self.link.place as u64 + 1)
    }

    fn wish(&mut self) -> WantedLease {
        WantedLease {
            name: NAME.to_owned(),
            rank: self.random.below(RANKS) as u32,
            watch: false,
            valid_ms: 0,
        }
    }

    pub async fn run(mut self) {
        let mut holders = Holders::new(self.id(), VALID_MS);
        let mut records = 0;
        holders.want([self.wish()]);
        let (answers, mut answered) = unbounded_channel();
        loop {
            if self.random.percent(1) {
                holders.want([]);
            } else if self.random.percent(10) {
                holders.want([self.wish()]);
            }
            holders.release_unwanted();
            if holders.has_new() {
                let confirmed = Members::timeout(CONFIRM_LIMIT, self.engine.confirm()).await;
                if matches!(confirmed, Ok(Ok(_))) {
                    holders.begin(&self.engine.state());
                }
            }
            holders.update_holders(&self.engine.state());
            if let Some((epoch, number)) = self.publish(&holders)
                && self.random.percent(10)
            {
                records = number.max(records) + 1;
                self.record(epoch, records);
            }
            for ask in holders.due(self.clock.now()) {
                self.ask(ask, answers.clone());
            }
            let next = Members::timeout(LOOK, answered.recv()).await;
            if let Ok(Some((renewal, told))) = next {
                // The holder usually releases the lease for a member with a higher rank.
                let better = holders.answered(&renewal, told, self.clock.now());
                if better && self.random.percent(90) {
                    holders.want([]);
                }
            }
            self.publish(&holders);
        }
    }

    /// Records until when this member holds the lease, and reports a violation if another member
    /// holds it too, or if the holder lacks the last record. Returns the epoch in which the lease
    /// is held, and the number of its record.
    fn publish(&self, holders: &Holders) -> Option<(Epoch, u64)> {
        let known = holders.known(self.clock.now(), &self.engine.state());
        let held = known.iter().find(|lease| lease.until_ns > 0);
        let until = held.map(|held| Boottime(held.until_ns));
        let mut table = lock(&self.common.leases);
        // Keeps the end that a previous process of the role reported: the users of the lease still
        // rely on it.
        if !known.iter().any(|lease| lease.is_inherited) {
            table.holds[self.link.place] = until.map(|until| (self.clock, until));
        }
        let holding = table.holding();
        if holding.len() > 1 {
            let mut observer = lock(&self.common.observer);
            observer.report_violation(format!("{holding:?} (from 0) hold the lease at once"));
        }
        let (epoch, written) = table.written;
        // The member may learn of its own writes a little later.
        let behind = |held: &&KnownLease| held.epoch > epoch.0 && held.number < written;
        if let Some(held) = held.filter(behind) {
            let has = held.number;
            let mut observer = lock(&self.common.observer);
            observer.report_violation(format!("the holder has the record {has:?} of {written:?}"));
        }
        held.map(|held| (Epoch(held.epoch), held.number))
    }

    /// Writes a record that follows all those of this epoch and of earlier ones.
    fn record(&self, epoch: Epoch, number: u64) {
        let (engine, common) = (self.engine.clone(), self.common.clone());
        Members::spawn(async move {
            let record = LeaseRecord {
                name: NAME.to_owned(),
                epoch,
                number,
                value: epoch.0.to_be_bytes().to_vec(),
                frees: String::new(),
            };
            if let Ok(CommandResult::Done) = engine.propose(CommandBody::Record(record)).await {
                let mut table = lock(&common.leases);
                let newer = table.written.max((epoch, number));
                table.written = newer;
            }
        });
    }

    fn ask(&self, ask: HolderRequest, answers: UnboundedSender<(Renewal, RenewalReply)>) {
        let (engine, link) = (self.engine.clone(), self.link.clone());
        Members::spawn(async move {
            let call = |leader, question: Vec<u8>| async move {
                let mut bytes = vec![MARK];
                bytes.extend(question);
                link.call(leader, bytes, LIMIT).await.ok()
            };
            if let Some(told) = ask_leader(&engine, ask, call).await {
                let _ = answers.send(told);
            }
        });
    }
}
