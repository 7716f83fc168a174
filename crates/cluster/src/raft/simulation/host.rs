//! Simulates hosts: their disks, and the processes that start and end on them.

use super::defect::RaftDefect;
use super::disk::Disk;
use super::leases::{Actor, Clock, Table};
use super::network::{RaftSimulatedNetwork, RunningProcess, SimulatedTransport};
use super::observer::Observer;
use super::record::Record;
use super::runtime::{Members, SimulatedProcess};
use crate::lease::{self, defect::InjectedLeaseDefect};
use crate::member::{ClusterMember, MemberId, MemberKind};
use crate::raft::{Engine, EngineError, Settings, test_keys};
use crate::role::leases::Grants;
use crate::store::{OpenedStore, PromiseLocation, Store, StoreError, StoreOwner};
use lab::Random;
use openraft::async_runtime::watch::WatchReceiver;
use openraft_rt::AsyncRuntime;
use part::lock;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const START_TRIES: u32 = 40;

pub struct Common {
    pub network: RaftSimulatedNetwork,
    pub record: Mutex<Record>,
    pub observer: Mutex<Observer>,
    pub leases: Mutex<Table>,
    pub over: AtomicBool,
    pub defect: Option<RaftDefect>,
    pub trace: Option<Mutex<Vec<String>>>,
    pub delays_writes: bool,
}

/// Returns the nanoseconds since the history began.
pub fn now() -> u64 {
    let now = openraft_rt_sim::SimInstant::try_now();
    now.map_or(0, |now| now.elapsed_since_start().as_nanos() as u64)
}

impl Common {
    pub fn note(&self, words: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            lock(trace).push(format!("{:>10.3} {}\n", now() as f64 / 1e6, words()));
        }
    }
}

struct Stores {
    owner: StoreOwner,
    disk: Disk,
    promise: Disk,
    process: SimulatedProcess,
    fresh: bool,
    defect: Option<RaftDefect>,
}

impl Stores {
    fn open(&self) -> Result<Store, StoreError> {
        let store = || Store::with_backend(self.disk.open(self.process.clone()));
        let at = PromiseLocation::Backend(Box::new(|| {
            Box::new(self.promise.open(self.process.clone()))
        }));
        if self.fresh {
            self.disk.restore(Vec::new());
            return store()?.renew(&at, &self.owner, None);
        }
        if self.defect == Some(RaftDefect::IgnoresPromises) {
            return store();
        }
        match store()?.compare_with_promise(&at, &self.owner)? {
            OpenedStore::Whole(store) => Ok(store),
            OpenedStore::Lost(loss) => {
                self.disk.restore(Vec::new());
                let probation = self.defect != Some(RaftDefect::ComesBackEmpty);
                let loss = Some(&loss).filter(|_| probation);
                store()?.renew(&at, &self.owner, loss)
            }
        }
    }
}

/// Executes the writes of a store some time after they are requested, several at once.
async fn write_later(store: Store, mut random: Random) {
    loop {
        store.write_delayed();
        let delay_us = random.pick(&[100, 100, 1_000, 1_000, 5_000, 5_000, 20_000, 250_000]);
        Members::sleep(Duration::from_micros(delay_us)).await;
    }
}

pub struct RaftHost {
    pub place: usize,
    pub kind: MemberKind,
    nodes: BTreeSet<MemberId>,
    pub disk: Disk,
    pub promise: Disk,
    pub backup: Vec<u8>,
    fresh: bool,
    /// True if the member's store was lost, and it may not vote yet.
    pub lost: bool,
    clock: Clock,
    random: Random,
    pub process: SimulatedProcess,
    pub gone: bool,
    pub failed: bool,
    pub snapshot_entries: u64,
}

impl RaftHost {
    pub fn new(
        place: usize,
        kind: MemberKind,
        nodes: &BTreeSet<MemberId>,
        random: &mut Random,
        snapshot_entries: u64,
    ) -> RaftHost {
        RaftHost {
            place,
            kind,
            nodes: nodes.clone(),
            disk: Disk::new(random.fork()),
            promise: Disk::new(random.fork()),
            backup: Vec::new(),
            fresh: true,
            lost: false,
            clock: Clock::draw(random),
            random: random.fork(),
            process: SimulatedProcess::default(),
            gone: false,
            failed: false,
            snapshot_entries,
        }
    }

    pub fn id(&self) -> MemberId {
        MemberId(self.place as u64 + 1)
    }

    pub fn member(&self) -> ClusterMember {
        ClusterMember {
            id: self.id(),
            name: format!("host{}", self.id()),
            kind: self.kind,
            addresses: vec![([127, 0, 0, 1], 7443).into()],
            certificate: test_keys::certificate(self.id()),
            sealing_key: (self.kind == MemberKind::Node).then(|| vec![self.place as u8; 32]),
            format: crate::command::FORMAT,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            propose_limit: Duration::from_secs(2),
            snapshot_entries: self.snapshot_entries,
            keep_entries: self.snapshot_entries / 4,
            nodes: self.nodes.clone(),
            clock: || 0,
            ..Settings::default()
        }
    }

    pub async fn start(&mut self, common: &Arc<Common>) -> Result<(), String> {
        if self.gone || common.network.running(self.place).is_some() {
            return Ok(());
        }
        let mut last = String::new();
        for _ in 0..START_TRIES {
            match self.start_once(common).await {
                Ok(()) => return Ok(()),
                Err(what) => last = what,
            }
            Members::sleep(Duration::from_millis(10)).await;
        }
        Err(format!("{} does not start: {last}", self.id()))
    }

    async fn start_once(&mut self, common: &Arc<Common>) -> Result<(), String> {
        let process = SimulatedProcess::default();
        self.process = process.clone();
        self.failed = false;
        self.fill(false);
        let stores = Stores {
            owner: StoreOwner {
                cluster: "a".to_owned(),
                member: self.id(),
            },
            disk: self.disk.clone(),
            promise: self.promise.clone(),
            process: process.clone(),
            fresh: self.fresh,
            defect: common.defect,
        };
        let link = SimulatedTransport {
            place: self.place,
            network: common.network.clone(),
            defect: common.defect,
        };
        let (id, kind, settings) = (self.id(), self.kind, self.settings());
        common.note(|| format!("{id} begins"));
        let own_link = link.clone();
        let signer = test_keys::signer(id);
        let delays = common.delays_writes.then(|| self.random.fork());
        let opening = process.spawn(async move {
            let store = stores.open()?;
            if let Some(random) = delays {
                Members::spawn(write_later(store.clone(), random));
            }
            Engine::open(id, kind, settings, store, signer, link).await
        });
        // A power cut may come in the middle.
        let opened = Members::timeout(Duration::from_secs(2), opening).await;
        let engine: Engine<Members> = match opened {
            Ok(Ok(Ok(engine))) => engine,
            Ok(Ok(Err(error))) => return Err(format!("{error} ({error:?})")),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("it takes too long".to_owned()),
        };
        self.fresh = false;
        lock(&common.observer).begins(id);
        self.watch(common, engine.clone());
        if kind == MemberKind::Node {
            let actor = Actor {
                link: own_link,
                engine: engine.clone(),
                clock: self.clock,
                common: common.clone(),
                random: self.random.fork(),
            };
            process.spawn(actor.run());
        }
        let clock = self.clock;
        let mut grants = Grants::new(engine.clone(), move || clock.now());
        let unwaited = common.defect == Some(RaftDefect::LeasesAreNotWaitedFor);
        grants.break_it(InjectedLeaseDefect {
            by: unwaited.then_some(lease::defect::LeaseDefect::NewLeaderDoesNotWait),
        });
        let running = RunningProcess {
            engine,
            process,
            grants: Arc::new(grants),
        };
        common.network.set_running(self.place, Some(running));
        Ok(())
    }

    /// Observes each state that the process reaches, while it runs.
    fn watch(&self, common: &Arc<Common>, engine: Engine<Members>) {
        let (common, id) = (common.clone(), self.id());
        self.process.spawn(async move {
            let mut changes = engine.changes();
            while changes.changed().await.is_ok() {
                let (state, standing) = (engine.state(), engine.raft_status());
                let mut observer = lock(&common.observer);
                observer.has(id, &state);
                observer.stands(id, &standing);
            }
        });
    }

    pub fn kill(&mut self, common: &Common) {
        common.note(|| format!("{} is killed", self.id()));
        self.disk.release();
        self.promise.release();
        self.end(common);
        if common.defect == Some(RaftDefect::ComesBackEmpty) {
            self.disk.restore(Vec::new());
        }
    }

    pub fn fill(&self, full: bool) {
        self.disk.fill(full);
        self.promise.fill(full);
    }

    pub fn lose_store(&self) {
        self.disk.restore(Vec::new());
    }

    pub fn roll_back(&self) {
        self.disk.restore(self.backup.clone());
    }

    pub fn lose_promise(&self) {
        self.promise.restore(Vec::new());
    }

    pub fn cut_power(&mut self, common: &Common) {
        common.note(|| format!("{} loses power", self.id()));
        self.disk.cut_power();
        self.promise.cut_power();
        lock(&common.leases).forget(self.place);
        self.end(common);
    }

    fn end(&mut self, common: &Common) {
        common.network.set_running(self.place, None);
        self.process.kill();
    }

    /// Returns the message if a task has panicked although the disk works.
    pub fn panicked(&self) -> Option<String> {
        let panics = self.process.panics();
        let first = panics.first().filter(|_| !self.failed)?;
        Some(format!("{} panicked: {first}", self.id()))
    }

    /// Returns the error if the engine stopped by itself, or waits for a disk that only
    /// works again after a restart.
    pub fn halted(&self, common: &Common) -> Option<EngineError> {
        let running = common.network.running(self.place)?;
        let standing = running.engine.raft_status();
        let refused = standing.refused.filter(|_| self.failed);
        standing.halted.or(refused)
    }
}
