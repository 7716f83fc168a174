//! Executes a simulated history of consensus: members start, clients send requests, disturbances
//! hit members, and everything is healed. Then it is calm, and all members must agree.

use super::client::{Client, read};
use super::defect::RaftDefect;
use super::host::{Common, RaftHost, now};
use super::leases::Table;
use super::linear::Operation;
use super::network::{MEMBERS, RaftSimulatedNetwork, Weather};
use super::observer::Observer;
use super::plan::{Disturbance, SimulationPlan};
use super::record::{ClientOp, Fate, Key, Observed, Record};
use super::runtime::{Members, SimulatedProcess};
use crate::command::{CommandBody, Invitation};
use crate::member::{Digest, MemberId, MemberKind};
use crate::raft::Engine;
use lab::Random;
use openraft_rt::AsyncRuntime;
use part::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Time of calm within which all members must agree.
const CALM: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);
const TRIES: usize = 50;
/// Client number of the simulation itself.
const WORLD: usize = 99;

pub struct RaftSimulation {
    plan: SimulationPlan,
    random: Random,
    pub(super) hosts: Vec<RaftHost>,
    pub(super) common: Arc<Common>,
    /// Hosts to restart, with the time of the restart.
    begins: Vec<(u64, usize)>,
    /// Hosts whose disks get room again, with the time.
    empties: Vec<(u64, usize)>,
}

impl RaftSimulation {
    pub fn new(
        plan: SimulationPlan,
        mut random: Random,
        defect: Option<RaftDefect>,
        traced: bool,
    ) -> RaftSimulation {
        let network = RaftSimulatedNetwork::new(random.fork(), plan.weather);
        let nodes = (1..)
            .zip(&plan.kinds)
            .filter(|(_, kind)| **kind == MemberKind::Node);
        let nodes = nodes.map(|(id, _)| MemberId(id)).collect();
        let hosts = (plan.kinds.iter().copied().enumerate())
            .map(|(place, kind)| {
                RaftHost::new(place, kind, &nodes, &mut random, plan.snapshot_entries)
            })
            .collect();
        let delays_writes = plan.delays_writes;
        RaftSimulation {
            plan,
            random,
            hosts,
            common: Arc::new(Common {
                network,
                record: Mutex::new(Record::default()),
                observer: Mutex::new(Observer::default()),
                leases: Mutex::new(Table::default()),
                over: AtomicBool::new(false),
                defect,
                trace: traced.then(|| Mutex::new(Vec::new())),
                delays_writes,
            }),
            begins: Vec::new(),
            empties: Vec::new(),
        }
    }

    pub fn weather(&self) -> Weather {
        self.plan.weather
    }

    pub fn common(&self) -> Arc<Common> {
        self.common.clone()
    }

    /// Runs the whole history. Returns the violation, if any.
    pub async fn run(mut self) -> Result<(), String> {
        if self.common.defect == Some(RaftDefect::SyncsNothing) {
            for host in &self.hosts {
                host.disk.lie();
                host.promise.lie();
            }
        }
        if self.common.defect == Some(RaftDefect::AnswersBeforeTheSync) {
            for host in &self.hosts {
                host.disk.lose_last_sync();
                host.promise.lose_last_sync();
            }
        }
        self.found().await?;
        self.common.note(|| "founded".to_owned());
        let clients = self.clients();
        for (later, what) in self.plan.steps.clone() {
            self.wait(later).await?;
            self.happen(what).await?;
        }
        let rest = Duration::from_millis(self.random.below(800));
        self.wait(rest).await?;
        self.heal().await?;
        self.wait(Duration::from_millis(600)).await?;
        self.common.over.store(true, Ordering::Relaxed);
        for client in clients {
            let _ = client.await;
        }
        self.end().await
    }

    pub(super) async fn found(&mut self) -> Result<(), String> {
        let common = self.common.clone();
        for host in &mut self.hosts {
            host.start(&common).await?;
        }
        let member = self.hosts[0].member();
        let engine = self.engine(0).ok_or("the first one is not there")?;
        let founded = self.hosts[0]
            .process
            .spawn(async move { engine.found("a".to_owned(), member, vec![1]).await });
        founded
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("not founded: {error}"))?;
        for place in 1..self.hosts.len() {
            self.take_in(place, 0).await?;
        }
        for host in &mut self.hosts {
            host.backup = host.disk.backup();
        }
        Ok(())
    }

    async fn take_in(&mut self, place: usize, by: usize) -> Result<(), String> {
        let host = &self.hosts[place];
        let (id, member) = (host.id(), host.member());
        let token = Digest([100 + place as u8; 32]);
        let invite = CommandBody::Invite(Invitation {
            token,
            kind: host.kind,
            valid_ms: 60_000,
        });
        let admit = CommandBody::Admit { token, member };
        let engine = self.engine(by).ok_or("who is to be asked is not there")?;
        let asked = self.hosts[by].process.spawn(async move {
            engine.propose(invite).await.map_err(|it| it.to_string())?;
            engine.propose(admit).await.map_err(|it| it.to_string())?;
            engine.add(id).await.map_err(|error| error.to_string())
        });
        match Members::timeout(Duration::from_secs(8), asked).await {
            Ok(Ok(done)) => done.map_err(|error| format!("{id} is not taken in: {error}")),
            _ => Err(format!("{id} is not taken in")),
        }
    }

    fn clients(&mut self) -> Vec<<Members as AsyncRuntime>::JoinHandle<()>> {
        let nodes = self
            .plan
            .kinds
            .iter()
            .filter(|kind| **kind == MemberKind::Node);
        let nodes = nodes.count() as u64;
        (0..self.plan.clients + self.plan.readers)
            .map(|number| {
                let client = Client {
                    number,
                    random: self.random.fork(),
                    common: self.common.clone(),
                    kinds: self.plan.kinds.clone(),
                    nodes,
                    think_ms: self.plan.think_ms,
                    only_reads: number >= self.plan.clients,
                    seen: Default::default(),
                };
                SimulatedProcess::of_nobody(client.run())
            })
            .collect()
    }

    pub(super) fn engine(&self, place: usize) -> Option<Engine<Members>> {
        Some(self.common.network.running(place)?.engine)
    }

    fn leader(&self) -> Option<usize> {
        (0..self.hosts.len()).find(|place| {
            let engine = self.engine(*place);
            engine.is_some_and(|engine| engine.raft_status().leading)
        })
    }

    /// Lets time pass: restarts due processes, frees disks that were full for a while, and checks
    /// all members.
    pub(super) async fn wait(&mut self, long: Duration) -> Result<(), String> {
        let until = now() + long.as_nanos() as u64;
        loop {
            self.check_members()?;
            let common = self.common.clone();
            let due = |(at, _): &(u64, usize)| *at <= now();
            while let Some(next) = self.begins.iter().position(due) {
                let (_, place) = self.begins.swap_remove(next);
                self.hosts[place].start(&common).await?;
            }
            while let Some(next) = self.empties.iter().position(due) {
                let (_, place) = self.empties.swap_remove(next);
                self.hosts[place].fill(false);
            }
            let left = until.saturating_sub(now());
            if left == 0 {
                return Ok(());
            }
            Members::sleep(Duration::from_nanos(left).min(LOOK)).await;
        }
    }

    /// Checks all members. Restarts one whose disk failed, as its supervisor would.
    fn check_members(&mut self) -> Result<(), String> {
        let common = self.common.clone();
        for host in &mut self.hosts {
            if let Some(what) = host.panicked() {
                return Err(what);
            }
            let Some(running) = common.network.running(host.place) else {
                continue;
            };
            let standing = running.engine.raft_status();
            lock(&common.observer).stands(host.id(), &standing);
            host.lost &= standing.lost.is_some();
            if let Some(why) = host.halted(&common) {
                if !host.failed {
                    return Err(format!("{} has stopped: {why} ({why:?})", host.id()));
                }
                common.note(|| format!("{} has stopped: {why}", host.id()));
                host.kill(&common);
                self.begins.push((now() + 50_000_000, host.place));
            }
        }
        match lock(&common.observer).wrong.take() {
            Some(wrong) => Err(wrong),
            None => Ok(()),
        }
    }

    async fn happen(&mut self, what: Disturbance) -> Result<(), String> {
        self.common.note(|| format!("{what:?}"));
        let network = self.common.network.clone();
        match what {
            Disturbance::Cut(from, to) => network.set_cut(from, to, true),
            Disturbance::CutBoth(one, other) => {
                network.set_cut(one, other, true);
                network.set_cut(other, one, true);
            }
            Disturbance::Partition(side) => network.partition(side),
            Disturbance::LeaderInMinority => {
                if let Some(leader) = self.leader() {
                    let members = self.plan.kinds.len();
                    let side = 1 << leader;
                    let with = (leader + 1 + self.random.below(2) as usize) % members;
                    let with = if members > 3 { 1 << with } else { 0 };
                    network.partition(side | with);
                }
            }
            Disturbance::Heal => network.heal(),
            Disturbance::Loss(loss) => network.set_weather(|weather| weather.loss = loss),
            Disturbance::Late(late) => network.set_weather(|weather| weather.late = late),
            Disturbance::Slow(ms) => network.set_weather(|weather| weather.slow_us = ms * 1_000),
            Disturbance::StandStill(place, long) => self.stand_still(place, long),
            Disturbance::LeaderStandsStill(long) => {
                if let Some(place) = self.leader() {
                    self.stand_still(place, long);
                }
            }
            Disturbance::Kill(place, long) => self.kill(place, long),
            Disturbance::KillLeader(long) => {
                if let Some(place) = self.leader() {
                    self.kill(place, long);
                }
            }
            Disturbance::PowerCut(place, long) => self.cut_power(place, long),
            Disturbance::Blackout(long) => {
                for place in 0..self.hosts.len() {
                    let later = self.random.below(60);
                    self.cut_power(place, long + later);
                }
            }
            Disturbance::DiskFails(place) => {
                self.hosts[place].failed = true;
                self.hosts[place].disk.fail_soon();
            }
            Disturbance::DiskFull(place, long) => self.fill(place, long),
            Disturbance::LeaderDiskFull(long) => {
                if let Some(place) = self.leader() {
                    self.fill(place, long);
                }
            }
            Disturbance::SlowDisk(place, ms) => {
                let slow = Some((20, Duration::from_millis(ms)));
                self.hosts[place].disk.slow(slow);
            }
            Disturbance::BackUp(place) => {
                let host = &mut self.hosts[place];
                host.backup = host.disk.backup();
            }
            Disturbance::LoseStore(place, long) => self.lose(place, long, RaftHost::lose_store),
            Disturbance::RollBack(place, long) => self.lose(place, long, RaftHost::roll_back),
            Disturbance::LosePromise(place, long) => self.lose(place, long, RaftHost::lose_promise),
            Disturbance::HandOver => self.hand_over(),
            Disturbance::ReplaceArbiter => self.replace_arbiter().await?,
        }
        Ok(())
    }

    fn stand_still(&self, place: usize, long_ms: u64) {
        let process = &self.hosts[place].process;
        process.stand_still(Duration::from_millis(long_ms));
    }

    fn fill(&mut self, place: usize, long_ms: u64) {
        self.hosts[place].fill(true);
        self.empties.push((now() + long_ms * 1_000_000, place));
    }

    pub(super) fn kill(&mut self, place: usize, long_ms: u64) {
        if self.common.network.running(place).is_none() {
            return;
        }
        let common = self.common.clone();
        self.hosts[place].kill(&common);
        self.begins.push((now() + long_ms * 1_000_000, place));
        if self.plan.connections_die {
            let gone = self.hosts[place].id();
            for other in (0..self.hosts.len()).filter_map(|place| self.engine(place)) {
                other.lost(gone);
            }
        }
    }

    /// Kills the process and changes its files. Does nothing while another member lacks
    /// its log: with two of three lost no majority could decide.
    pub(super) fn lose(&mut self, place: usize, long_ms: u64, change: impl Fn(&RaftHost)) {
        let several = self.hosts.iter().any(|host| host.lost || host.gone);
        if several || self.common.network.running(place).is_none() {
            return;
        }
        self.kill(place, long_ms);
        let host = &mut self.hosts[place];
        change(host);
        host.lost = self.common.defect.is_none();
    }

    pub(super) fn cut_power(&mut self, place: usize, long_ms: u64) {
        if self.common.network.running(place).is_none() {
            return;
        }
        let common = self.common.clone();
        self.hosts[place].cut_power(&common);
        self.begins.push((now() + long_ms * 1_000_000, place));
    }

    fn hand_over(&mut self) {
        let place = self.random.below(self.hosts.len() as u64) as usize;
        if let Some(engine) = self.engine(place) {
            let asked = async move { engine.hand_over(None).await.is_ok() };
            drop(self.hosts[place].process.spawn(asked));
        }
    }

    /// The arbiter is lost for good: the nodes are healed, as by an operator, and add
    /// another one.
    async fn replace_arbiter(&mut self) -> Result<(), String> {
        let old = 2;
        let new = self.hosts.len();
        let lost = self.hosts.iter().any(|host| host.lost);
        if new >= MEMBERS || lost || self.hosts[old].gone {
            return Ok(());
        }
        self.heal_all_but(Some(old)).await?;
        let common = self.common.clone();
        if common.network.running(old).is_some() {
            self.hosts[old].cut_power(&common);
        }
        self.hosts[old].gone = true;
        let (interval, kind) = (self.plan.snapshot_entries, MemberKind::Arbiter);
        let nodes = self
            .hosts
            .iter()
            .filter(|host| host.kind == MemberKind::Node);
        let nodes = nodes.map(RaftHost::id).collect();
        let host = RaftHost::new(new, kind, &nodes, &mut self.random, interval);
        self.hosts.push(host);
        self.hosts[new].start(&common).await?;
        let gone = self.hosts[old].id();
        let mut last = String::new();
        for _ in 0..TRIES {
            self.wait(Duration::from_millis(100)).await?;
            last = match self.take_in(new, 0).await {
                Ok(()) => match self.take_out(gone).await {
                    Ok(()) => {
                        common.note(|| "the arbiter is replaced".to_owned());
                        return Ok(());
                    }
                    Err(what) => what,
                },
                Err(what) => what,
            };
        }
        Err(format!("the arbiter is not replaced: {last}"))
    }

    async fn take_out(&mut self, gone: MemberId) -> Result<(), String> {
        let engine = self.engine(0).ok_or("who is to be asked is not there")?;
        let asked = self.hosts[0].process.spawn(async move {
            engine.drop(gone).await.map_err(|it| it.to_string())?;
            let remove = CommandBody::Remove { member: gone };
            let removed = engine.propose(remove).await;
            removed.map(drop).map_err(|error| error.to_string())
        });
        match Members::timeout(Duration::from_secs(8), asked).await {
            Ok(Ok(done)) => done,
            _ => Err(format!("{gone} is not taken out")),
        }
    }

    pub(super) async fn heal(&mut self) -> Result<(), String> {
        self.common.note(|| "all is healed".to_owned());
        self.heal_all_but(None).await
    }

    async fn heal_all_but(&mut self, gone: Option<usize>) -> Result<(), String> {
        let common = self.common.clone();
        common.network.heal();
        self.begins.clear();
        for host in &mut self.hosts {
            host.disk.heal();
            host.promise.heal();
            if host.halted(&common).is_some() {
                host.kill(&common);
            }
            if Some(host.place) != gone {
                host.start(&common).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn end(&mut self) -> Result<(), String> {
        let began = now();
        loop {
            self.wait(LOOK).await?;
            let why = self.differ();
            let Some(why) = why else {
                break;
            };
            if now() - began > CALM.as_nanos() as u64 {
                return Err(format!("in a long calm: {why}"));
            }
        }
        self.read_all().await?;
        self.check_words()?;
        lock(&self.common.record).linearizable()
    }

    fn differ(&self) -> Option<String> {
        if !lock(&self.common.leases).is_held() {
            return Some("nobody has the lease".to_owned());
        }
        let there = || self.hosts.iter().filter(|host| !host.gone);
        let mut states = Vec::new();
        for host in there() {
            let Some(engine) = self.engine(host.place) else {
                return Some(format!("{} is not there", host.id()));
            };
            let standing = engine.raft_status();
            if let Some(why) = standing.lost {
                return Some(format!("{} does not vote: {why}", host.id()));
            }
            if standing.leader.is_none() {
                return Some(format!("{} knows no leader", host.id()));
            }
            if standing.leading && host.kind == MemberKind::Arbiter {
                return Some(format!("the arbiter {} leads", host.id()));
            }
            states.push((host.id(), standing.log.applied, engine.state()));
        }
        let (first, applied, state) = states.first()?;
        let other = (states.iter()).find(|(_, at, it)| at != applied || it != state)?;
        Some(format!(
            "{first} is at {applied:?} and {} at {:?}",
            other.0, other.1
        ))
    }

    /// Reads all keys from all members once more.
    async fn read_all(&mut self) -> Result<(), String> {
        for place in 0..self.hosts.len() {
            let Some(running) = self.common.network.running(place) else {
                continue;
            };
            for key in [Key::Lease(0), Key::Lease(1), Key::Versions] {
                let engine = running.engine.clone();
                let called_at = now();
                let asked = running
                    .process
                    .spawn(async move { read(&engine, key, false).await });
                let single = asked.await.ok().flatten();
                let id = self.hosts[place].id();
                let single = single.ok_or_else(|| format!("{id} reads nothing in a calm"))?;
                let operation = Operation {
                    client: WORLD,
                    op: ClientOp::Read,
                    called_at,
                    returned: Some((now(), Observed::Is(single))),
                };
                let mut record = lock(&self.common.record);
                record.operations.entry(key).or_default().push(operation);
            }
        }
        Ok(())
    }

    /// Checks that acknowledged events occur once and refused ones do not occur.
    fn check_words(&self) -> Result<(), String> {
        let engine = self.engine(0).ok_or("the first one is not there")?;
        let state = engine.state();
        for (words, fate) in &lock(&self.common.record).words {
            let count = state.events().filter(|event| event.words == *words).count();
            let fits = match fate {
                Fate::Acknowledged => count == 1,
                Fate::NotDone => count == 0,
                Fate::Unknown => count <= 1,
            };
            if !fits {
                return Err(format!("'{words}' was {fate:?} and is there {count} times"));
            }
        }
        Ok(())
    }
}
