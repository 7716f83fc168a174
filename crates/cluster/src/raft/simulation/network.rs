//! Simulates the network between the members: each direction of each pair can be cut. Calls and
//! responses are lost, delayed, duplicated and reordered.

use super::defect::{self, RaftDefect};
use super::leases;
use super::runtime::{Members, SimulatedProcess};
use crate::member::MemberId;
use crate::raft::Engine;
use crate::raft::transport::{CallError, MemberTransport};
use crate::role::leases::Grants;
use lab::Random;
use openraft_rt::AsyncRuntime;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Largest number of members, including those that join later.
pub const MEMBERS: usize = 6;

#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Smallest delay of a packet, microseconds.
    pub delay_us: u64,
    /// Largest random addition to the delay, microseconds.
    pub jitter_us: u64,
    /// Additional delay while links are slow, microseconds.
    pub slow_us: u64,
    /// Percentage of packets that are lost.
    pub loss: u64,
    /// Percentage of packets that are duplicated.
    pub double: u64,
    /// Percentage of packets that are delayed.
    pub late: u64,
}

#[derive(Clone)]
pub struct RunningProcess {
    pub engine: Engine<Members>,
    pub process: SimulatedProcess,
    pub grants: Arc<Grants<Members>>,
}

struct SimulatedNetworkState {
    random: Random,
    weather: Weather,
    cut: [[bool; MEMBERS]; MEMBERS],
    running: [Option<RunningProcess>; MEMBERS],
}

#[derive(Clone)]
pub struct RaftSimulatedNetwork(Arc<Mutex<SimulatedNetworkState>>);

impl RaftSimulatedNetwork {
    pub fn new(random: Random, weather: Weather) -> RaftSimulatedNetwork {
        RaftSimulatedNetwork(Arc::new(Mutex::new(SimulatedNetworkState {
            random,
            weather,
            cut: Default::default(),
            running: Default::default(),
        })))
    }

    fn inner(&self) -> MutexGuard<'_, SimulatedNetworkState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_weather(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.inner().weather);
    }

    pub fn set_running(&self, place: usize, running: Option<RunningProcess>) {
        let before = std::mem::replace(&mut self.inner().running[place], running);
        drop(before);
    }

    pub fn running(&self, place: usize) -> Option<RunningProcess> {
        self.inner().running[place].clone()
    }

    pub fn set_cut(&self, from: usize, to: usize, cut: bool) {
        self.inner().cut[from][to] = cut;
    }

    /// Partitions the network: the hosts of one side no longer hear those of the other.
    pub fn partition(&self, side: u64) {
        let mut inner = self.inner();
        for a in 0..MEMBERS {
            for b in 0..MEMBERS {
                inner.cut[a][b] = (side >> a) & 1 != (side >> b) & 1;
            }
        }
    }

    pub fn heal(&self) {
        let mut inner = self.inner();
        inner.cut = Default::default();
        inner.weather.loss = 0;
        inner.weather.late = 0;
        inner.weather.slow_us = 0;
    }

    /// Ends the history: no process runs any more.
    pub fn end(&self) {
        let running = std::mem::take(&mut self.inner().running);
        drop(running);
    }

    /// Returns when a packet arrives, or None if it is lost.
    fn way(&self, from: usize, to: usize) -> Option<Duration> {
        let mut inner = self.inner();
        let weather = inner.weather;
        if inner.cut[from][to] || inner.random.percent(weather.loss) {
            return None;
        }
        let mut us = weather.delay_us + inner.random.below(weather.jitter_us + weather.slow_us + 1);
        if inner.random.percent(weather.late) {
            us += inner.random.below(400_000);
        }
        Some(Duration::from_micros(us))
    }

    fn doubles(&self) -> bool {
        let mut inner = self.inner();
        let chance = inner.weather.double;
        inner.random.percent(chance)
    }
}

#[derive(Clone)]
pub struct SimulatedTransport {
    pub place: usize,
    pub network: RaftSimulatedNetwork,
    pub defect: Option<RaftDefect>,
}

type ResponseSender = tokio::sync::mpsc::UnboundedSender<Vec<u8>>;

impl SimulatedTransport {
    /// Carries one copy of a call, outside of any process.
    fn carry(&self, to: usize, bytes: Vec<u8>, answer: ResponseSender) {
        let Some(way) = self.network.way(self.place, to) else {
            return;
        };
        let (network, from, broken) = (self.network.clone(), self.place, self.defect);
        SimulatedProcess::of_nobody(async move {
            Members::sleep(way).await;
            let Some(running) = network.running(to) else {
                return;
            };
            let back = network.clone();
            let process = running.process.clone();
            process.spawn(async move {
                let from_id = MemberId(from as u64 + 1);
                let asked = broken.map(|_| bytes.clone());
                let said = match bytes.split_first() {
                    Some((&leases::MARK, question)) => {
                        running.grants.answer(from_id, question).await
                    }
                    _ => running.engine.handle(from_id, bytes).await,
                };
                let said = match asked {
                    Some(asked) => defect::reply(broken, &asked, said),
                    None => said,
                };
                drop(running);
                if let Some(way) = back.way(to, from) {
                    SimulatedProcess::of_nobody(async move {
                        Members::sleep(way).await;
                        let _ = answer.send(said);
                    });
                }
            });
        });
    }
}

impl MemberTransport for SimulatedTransport {
    async fn call(
        &self,
        to: MemberId,
        bytes: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let to = (to.0 as usize).wrapping_sub(1);
        if to >= MEMBERS {
            return Err(CallError::Refused);
        }
        if self.network.running(to).is_none() && !self.network.doubles() {
            // The machine is up and reports that no process listens.
            return Err(CallError::Unreachable);
        }
        let (answer, mut answers) = tokio::sync::mpsc::unbounded_channel();
        if self.network.doubles() {
            self.carry(to, bytes.clone(), answer.clone());
        }
        for bytes in defect::request(self.defect, bytes) {
            self.carry(to, bytes, answer.clone());
        }
        drop(answer);
        let waits = Members::timeout(limit, async {
            match answers.recv().await {
                Some(said) => said,
                // Lost packets are not reported, so the call runs into its timeout.
                None => std::future::pending().await,
            }
        });
        waits.await.map_err(|_| CallError::Timeout)
    }
}
