//! Tests members that were away, and leaders that become silent.

use super::bed::{Hub, Tested, event, found, memory, pair, told, until};
use crate::command::{CommandBody, CommandResult};
use crate::member::{Digest, MemberId, MemberKind};
use crate::raft::Settings;
use crate::raft::transport::MESSAGE_BYTES_MAX;
use std::sync::atomic::Ordering;
use std::time::Duration;

const PIECE_BYTES: usize = 200 << 10;

fn settings() -> Settings {
    Settings {
        snapshot_entries: 30,
        keep_entries: 1,
        ..Settings::default()
    }
}

async fn put(engine: &Tested, byte: u8) -> Digest {
    let bytes = vec![byte; PIECE_BYTES];
    let digest = crate::member::digest(&bytes);
    let answer = engine
        .propose(CommandBody::Chunk { digest, bytes })
        .await
        .unwrap();
    assert_eq!(answer, CommandResult::Done);
    digest
}

async fn three(hub: &Hub) -> [Tested; 3] {
    let a = hub
        .start_with(1, MemberKind::Node, memory(), settings())
        .await;
    let b = hub
        .start_with(2, MemberKind::Node, memory(), settings())
        .await;
    let c = hub
        .start_with(3, MemberKind::Arbiter, memory(), settings())
        .await;
    found(&[
        (1, MemberKind::Node, a.clone()),
        (2, MemberKind::Node, b.clone()),
        (3, MemberKind::Arbiter, c.clone()),
    ])
    .await;
    [a, b, c]
}

#[tokio::test]
async fn a_member_that_was_away_gets_a_snapshot_and_only_the_pieces_that_it_lacks() {
    let hub = Hub::default();
    let [a, b, _c] = three(&hub).await;
    let mut pieces = Vec::new();
    for byte in 0..6 {
        pieces.push(put(&a, byte).await);
    }
    until("B has the pieces", || b.state().chunks().count() == 6).await;
    hub.cut(1, 2);
    hub.cut(2, 3);
    pieces.push(put(&a, 100).await);
    for number in 0..200 {
        a.propose(event(format!("number {number}"))).await.unwrap();
    }
    until("the log went into a snapshot", || {
        a.inner
            .store
            .ends()
            .0
            .is_some_and(|purged| purged.index > 100)
    })
    .await;
    hub.bytes.store(0, Ordering::Relaxed);
    hub.mend();
    until("B has all", || told(&b, "number 199") == 1).await;
    let bytes = hub.bytes.load(Ordering::Relaxed) as usize;
    assert!(bytes > PIECE_BYTES, "{bytes}");
    assert!(bytes < 3 * PIECE_BYTES, "{bytes}: pieces came again");
    for digest in pieces {
        let bytes = b.chunk(digest).await.unwrap();
        assert_eq!(crate::member::digest(&bytes.unwrap()), digest);
    }
    assert!(b.inner.store.snapshot_meta().is_some());
    b.confirm().await.unwrap();
    assert_eq!(*a.state(), *b.state());
}

#[tokio::test]
async fn no_message_is_large_however_large_state_and_log_are() {
    let hub = Hub::default();
    let [a, b, _c] = three(&hub).await;
    hub.cut(1, 2);
    hub.cut(2, 3);
    for byte in 0..10 {
        put(&a, byte).await;
        a.propose(event(format!("{byte}").repeat(30_000)))
            .await
            .unwrap();
    }
    for number in 0..40 {
        a.propose(event(format!("number {number}"))).await.unwrap();
    }
    hub.mend();
    until("B has all", || told(&b, "number 39") == 1).await;
    b.confirm().await.unwrap();
    assert_eq!(b.state().chunks().count(), 10);
    let largest = hub.largest.load(Ordering::Relaxed) as usize;
    assert!(largest <= MESSAGE_BYTES_MAX, "{largest}");
}

#[tokio::test]
async fn a_member_restarted_from_a_snapshot_has_the_same_state() {
    let hub = Hub::default();
    let store = memory();
    let a = hub
        .start_with(1, MemberKind::Node, store.clone(), settings())
        .await;
    found(&[(1, MemberKind::Node, a.clone())]).await;
    let piece = put(&a, 7).await;
    for number in 0..100 {
        a.propose(event(format!("number {number}"))).await.unwrap();
    }
    until("there is a snapshot", || store.snapshot_meta().is_some()).await;
    let before = a.state();
    hub.kill(1).await;
    let again = hub.start_with(1, MemberKind::Node, store, settings()).await;
    again.confirm().await.unwrap();
    assert_eq!(*again.state(), *before);
    assert!(again.chunk(piece).await.unwrap().is_some());
    again.propose(event("after")).await.unwrap();
    assert_eq!(told(&again, "after"), 1);
}

#[tokio::test]
async fn after_a_silent_loss_the_node_leads_and_the_arbiter_never_did() {
    let hub = Hub::default();
    let [_a, b, c] = pair(&hub).await;
    hub.cut(1, 2);
    hub.cut(1, 3);
    until("B leads", || {
        assert!(!c.raft_status().leading);
        b.raft_status().leading
    })
    .await;
    b.propose(event("after")).await.unwrap();
}

#[tokio::test]
async fn after_a_silent_loss_too_the_arbiter_brings_a_node_up_and_hands_over() {
    let hub = Hub::default();
    let [a, b, c] = pair(&hub).await;
    hub.cut(1, 2);
    hub.cut(2, 3);
    a.propose(event("with the arbiter alone")).await.unwrap();
    hub.cut(1, 3);
    hub.switch_on(2, 3);
    until("B leads", || b.raft_status().leading).await;
    assert_eq!(told(&b, "with the arbiter alone"), 1);
    assert!(!c.raft_status().leading);
    // The entries that A alone has are removed when it returns.
    hub.mend();
    b.propose(event("after")).await.unwrap();
    until("A follows", || told(&a, "after") == 1).await;
    assert_eq!(a.raft_status().leader, Some(MemberId(2)));
}

#[tokio::test]
async fn an_arbiter_that_leads_takes_no_proposals_and_nothing_is_lost_by_it() {
    let hub = Hub::default();
    let [a, b, c] = pair(&hub).await;
    hub.cut(1, 2);
    hub.cut(2, 3);
    a.propose(event("before")).await.unwrap();
    hub.kill(1).await;
    hub.switch_on(2, 3);
    // Both propose at once, whichever member is leader meanwhile.
    let (one, other) = tokio::join!(c.propose(event("of the arbiter")), b.propose(event("of B")));
    // The state decides what an arbiter may propose; this test only requires a result.
    one.unwrap();
    assert_eq!(other.unwrap(), CommandResult::Done);
    until("it is known here", || told(&b, "of B") == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(told(&b, "before"), 1);
    assert!(b.raft_status().leading);
}
