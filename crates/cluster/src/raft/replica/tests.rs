//! Tests applied entries, and the snapshots that a replica builds.

use super::*;
use crate::raft::test_keys;
use openraft::entry::RaftEntry;
use openraft::vote::RaftLeaderIdExt;
use openraft_rt_tokio::TokioRuntime;

const ME: MemberId = MemberId(1);

fn memory() -> Store {
    Store::with_backend(redb::backends::InMemoryBackend::new()).unwrap()
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(crate::log::LeaderId::new_committed(term, ME), index)
}

fn meta(last: LogId) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(last),
        last_membership: Membership::default(),
    }
}

fn signs() -> Sealing {
    Sealing::Signs(ME, test_keys::signer(ME))
}

async fn save(store: &Store, last: LogId, image: Vec<u8>) {
    ask::<TokioRuntime, _>(|done| store.save_snapshot(meta(last), image, BTreeSet::new(), done))
        .await
        .unwrap();
}

#[tokio::test]
#[should_panic(expected = "does not follow the last stored entry")]
async fn first_applied_entry_must_have_index_0() {
    let shared = ReplicaState::<TokioRuntime>::new();
    let mut replica = Replica::open(memory(), shared, signs()).await.unwrap();
    let entry = Entry::new(id(1, 5), EntryPayload::Blank);
    let _ = replica.apply_one(entry).await;
}

#[tokio::test]
async fn obsolete_snapshot_does_not_change_the_seal() {
    let (store, shared) = (memory(), ReplicaState::<TokioRuntime>::new());
    save(&store, id(1, 10), vec![1]).await;
    let mut builder = Builder {
        store: store.clone(),
        shared: shared.clone(),
        sealing: signs(),
        state: ClusterState::default(),
        sessions: Sessions::default(),
        meta: meta(id(1, 5)),
    };
    // Signatures are not required yet, so the image has no seal.
    builder.build_snapshot().await.unwrap();
    assert_eq!(store.snapshot_meta().unwrap().last_log_id, Some(id(1, 10)));
    assert!(!shared.is_unsealed());
    builder.meta = meta(id(1, 11));
    builder.build_snapshot().await.unwrap();
    assert_eq!(store.snapshot_meta().unwrap().last_log_id, Some(id(1, 11)));
    assert!(shared.is_unsealed());
}
