//! Disks that are slow or full, and logs of newer programs.

use super::bed::{Hub, event, found, member, memory, told, until};
use crate::command::{Answer, Body, Command, FORMAT};
use crate::log::{Proposed, Ticket};
use crate::member::{Kind, MemberId};
use crate::raft::{EngineError, ProposeError};
use crate::store::Store;
use crate::store::held::TestDisk;
use std::time::Duration;

#[tokio::test]
async fn a_majority_of_disks_is_enough_and_the_leaders_need_not_be_among_them() {
    let hub = Hub::default();
    let slow = TestDisk::new();
    let store = Store::with_slow_backend(slow.clone()).unwrap();
    let a = hub.start(1, Kind::Node, store).await;
    let b = hub.start(2, Kind::Node, memory()).await;
    let c = hub.start(3, Kind::Arbiter, memory()).await;
    found(&[
        (1, Kind::Node, a.clone()),
        (2, Kind::Node, b),
        (3, Kind::Arbiter, c),
    ])
    .await;
    slow.hold(true);
    // Followers are told while the leader's own write is not done.
    let answer = a.propose(event("on two of three disks")).await.unwrap();
    assert_eq!(answer, Answer::Done);
    assert_eq!(told(&a, "on two of three disks"), 1);
    slow.hold(false);
}

/// A vote is given only when it is on disk, and a candidate waits 200 ms for it.
#[tokio::test]
async fn disks_slower_than_an_election_have_a_leader_all_the_same() {
    let hub = Hub::default();
    let disks = [1, 2, 3].map(|_| TestDisk::new());
    let stores = disks
        .each_ref()
        .map(|disk| Store::with_slow_backend(disk.clone()).unwrap());
    let [of_a, of_b, of_c] = stores;
    let a = hub.start(1, Kind::Node, of_a).await;
    let b = hub.start(2, Kind::Node, of_b).await;
    let c = hub.start(3, Kind::Arbiter, of_c).await;
    found(&[
        (1, Kind::Node, a.clone()),
        (2, Kind::Node, b.clone()),
        (3, Kind::Arbiter, c),
    ])
    .await;
    for disk in &disks {
        disk.slow_down(Duration::from_millis(400));
    }
    hub.kill(1).await;
    until("B leads", || b.standing().leading).await;
    b.propose(event("slow but sure")).await.unwrap();
    assert_eq!(told(&b, "slow but sure"), 1);
}

#[tokio::test]
async fn a_full_disk_stops_its_member_in_words_and_not_the_others() {
    let hub = Hub::default();
    let disk = TestDisk::new();
    let store = Store::with_slow_backend(disk.clone()).unwrap();
    let a = hub.start(1, Kind::Node, store).await;
    let b = hub.start(2, Kind::Node, memory()).await;
    let c = hub.start(3, Kind::Arbiter, memory()).await;
    found(&[
        (1, Kind::Node, a.clone()),
        (2, Kind::Node, b.clone()),
        (3, Kind::Arbiter, c),
    ])
    .await;
    disk.fill();
    // Its answer may come of the others' disks before its own fails.
    let _ = a.propose(event("too much")).await;
    until("A has stopped", || a.standing().halted.is_some()).await;
    let words = a.standing().halted.unwrap().to_string();
    assert!(words.contains("free some space"), "{words}");
    assert!(matches!(
        a.propose(event("more")).await,
        Err(ProposeError::Stopped(EngineError::Store(_)))
    ));
    until("B leads", || b.standing().leading).await;
    b.propose(event("without A")).await.unwrap();
}

#[tokio::test]
async fn a_command_of_a_newer_program_stops_a_member_rather_than_lead_it_astray() {
    let hub = Hub::default();
    let store = memory();
    let a = hub.start(1, Kind::Node, store.clone()).await;
    found(&[(1, Kind::Node, a.clone())]).await;
    // A newer program ran here and said so; then the older one was put back.
    let mut newer = member(1, Kind::Node);
    newer.format = FORMAT + 1;
    a.propose(Body::Announce(newer)).await.unwrap();
    let command = Command {
        format: FORMAT + 1,
        ..Command::new(MemberId(1), 0, event("news"))
    };
    let ticket = Ticket {
        member: MemberId(1),
        start: 1000,
        number: 0,
        settled: 0,
    };
    assert!(
        a.inner
            .raft
            .client_write(Proposed { ticket, command })
            .await
            .is_err()
    );
    let halted = a.standing().halted.unwrap();
    assert!(matches!(halted, EngineError::Newer { format } if format == FORMAT + 1));
    assert!(halted.to_string().contains("start a newer evenkeel"));
    hub.kill(1).await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_its_sender_named() {
    let hub = Hub::default();
    let a = hub.start(1, Kind::Node, memory()).await;
    for bytes in [Vec::new(), vec![0xc1; 100], b"GET / HTTP/1.1".to_vec()] {
        a.handle(MemberId(9), bytes).await;
    }
    assert_eq!(a.standing().misunderstood, Some(MemberId(9)));
}
