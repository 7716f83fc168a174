//! Runs engines in one process, with calls that tests cut, lose and count.

use crate::command::{CommandBody, CommandResult, Invitation};
use crate::member::{ClusterMember, Digest, MemberId, MemberKind};
use crate::raft::transport::{CallError, MemberTransport};
use crate::raft::{Engine, Settings, test_keys};
use crate::store::Store;
use openraft_rt_tokio::TokioRuntime;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub type Tested = Engine<TokioRuntime>;

#[derive(Default)]
struct Switch {
    engines: BTreeMap<MemberId, Tested>,
    cut: BTreeSet<(MemberId, MemberId)>,
    /// Number of coming calls from each member whose responses are lost.
    deaf: BTreeMap<MemberId, u64>,
}

#[derive(Clone, Default)]
pub struct Hub {
    switch: Arc<Mutex<Switch>>,
    pub largest: Arc<AtomicU64>,
    pub bytes: Arc<AtomicU64>,
}

#[derive(Clone)]
pub struct Way {
    from: MemberId,
    hub: Hub,
}

impl MemberTransport for Way {
    async fn call(
        &self,
        to: MemberId,
        bytes: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        self.hub
            .largest
            .fetch_max(bytes.len() as u64, Ordering::Relaxed);
        self.hub
            .bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let engine = {
            let switch = self.hub.switch.lock().unwrap();
            if switch.cut.contains(&(self.from, to)) {
                return Err(CallError::Unreachable);
            }
            switch
                .engines
                .get(&to)
                .cloned()
                .ok_or(CallError::Unreachable)?
        };
        let from = self.from;
        // The call continues at the receiver when its caller no longer waits.
        let work = tokio::spawn(async move { engine.handle(from, bytes).await });
        let answer = tokio::time::timeout(limit, work)
            .await
            .map_err(|_| CallError::Timeout)?
            .map_err(|_| CallError::Closed)?;
        let mut switch = self.hub.switch.lock().unwrap();
        if switch.cut.contains(&(to, self.from)) || !switch.engines.contains_key(&to) {
            return Err(CallError::Closed);
        }
        if let Some(left) = switch.deaf.get_mut(&self.from)
            && *left > 0
        {
            *left -= 1;
            return Err(CallError::Closed);
        }
        Ok(answer)
    }
}

impl Hub {
    pub fn cut(&self, one: u64, other: u64) {
        let (one, other) = (MemberId(one), MemberId(other));
        let mut switch = self.switch.lock().unwrap();
        switch.cut.extend([(one, other), (other, one)]);
    }

    pub fn switch_on(&self, one: u64, other: u64) {
        let (one, other) = (MemberId(one), MemberId(other));
        let mut switch = self.switch.lock().unwrap();
        switch
            .cut
            .retain(|way| *way != (one, other) && *way != (other, one));
    }

    pub fn mend(&self) {
        self.switch.lock().unwrap().cut.clear();
    }

    pub fn lose_answers(&self, of: u64, count: u64) {
        self.switch.lock().unwrap().deaf.insert(MemberId(of), count);
    }

    pub fn way(&self, id: u64) -> Way {
        Way {
            from: MemberId(id),
            hub: self.clone(),
        }
    }

    pub async fn start(&self, id: u64, kind: MemberKind, store: Store) -> Tested {
        let settings = Settings {
            // A loaded machine is not a failure.
            propose_limit: PATIENCE,
            ..Settings::default()
        };
        self.start_with(id, kind, store, settings).await
    }

    pub async fn start_with(
        &self,
        id: u64,
        kind: MemberKind,
        store: Store,
        settings: Settings,
    ) -> Tested {
        let way = self.way(id);
        let id = MemberId(id);
        let settings = Settings {
            nodes: (1..=9).filter(|id| *id != 3).map(MemberId).collect(),
            ..settings
        };
        let signer = test_keys::signer(id);
        let engine = Tested::open(id, kind, settings, store, signer, way)
            .await
            .unwrap();
        self.switch
            .lock()
            .unwrap()
            .engines
            .insert(id, engine.clone());
        engine
    }

    /// Kills a member as if its process were killed: its connections die at once.
    pub async fn kill(&self, id: u64) {
        let id = MemberId(id);
        let (gone, others) = {
            let mut switch = self.switch.lock().unwrap();
            let gone = switch.engines.remove(&id);
            (gone, switch.engines.values().cloned().collect::<Vec<_>>())
        };
        for other in others {
            other.lost(id);
        }
        if let Some(gone) = gone {
            gone.stop().await;
        }
    }
}

pub fn member(id: u64, kind: MemberKind) -> ClusterMember {
    ClusterMember {
        id: MemberId(id),
        name: format!("host{id}"),
        kind,
        addresses: vec![([127, 0, 0, 1], 7000).into()],
        certificate: test_keys::certificate(MemberId(id)),
        sealing_key: (kind == MemberKind::Node).then(|| vec![id as u8; 32]),
        format: crate::command::FORMAT,
    }
}

pub fn memory() -> Store {
    Store::with_backend(redb::backends::InMemoryBackend::new()).unwrap()
}

pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Founds a cluster with the first of these engines and adds the others.
pub async fn found(engines: &[(u64, MemberKind, Tested)]) {
    let (id, kind, first) = &engines[0];
    let answer = first
        .found("test".into(), member(*id, *kind), vec![1, 2, 3])
        .await
        .unwrap();
    assert_eq!(answer, CommandResult::Done);
    for (id, kind, _) in &engines[1..] {
        admit(first, *id, *kind).await;
        first.add(MemberId(*id)).await.unwrap();
    }
}

pub async fn admit(first: &Tested, id: u64, kind: MemberKind) {
    let token = Digest([100 + id as u8; 32]);
    let invite = CommandBody::Invite(Invitation {
        token,
        kind,
        valid_ms: 60_000,
    });
    assert_eq!(first.propose(invite).await.unwrap(), CommandResult::Done);
    let admit = CommandBody::Admit {
        token,
        member: member(id, kind),
    };
    assert_eq!(first.propose(admit).await.unwrap(), CommandResult::Done);
}

/// Two nodes and an arbiter, in memory, of which the first leads.
pub async fn pair(hub: &Hub) -> [Tested; 3] {
    let a = hub.start(1, MemberKind::Node, memory()).await;
    let b = hub.start(2, MemberKind::Node, memory()).await;
    let c = hub.start(3, MemberKind::Arbiter, memory()).await;
    found(&[
        (1, MemberKind::Node, a.clone()),
        (2, MemberKind::Node, b.clone()),
        (3, MemberKind::Arbiter, c.clone()),
    ])
    .await;
    [a, b, c]
}

pub fn event(words: impl Into<String>) -> CommandBody {
    CommandBody::Event {
        words: words.into(),
    }
}

pub fn told(engine: &Tested, words: &str) -> usize {
    engine
        .state()
        .events()
        .filter(|event| event.words == words)
        .count()
}
