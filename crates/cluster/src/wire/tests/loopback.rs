//! Tests members on one machine, over its real TCP.

use super::super::{Event, Loss, MESSAGE_BYTES_MAX, PathKind};
use super::*;
use crate::authority::PeerRejection;
use crate::wire::CallError;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn members_reach_each_other_directly_and_through_a_third() {
    on_one_thread(async {
        let paper = Paper::new(&free_addresses(3));
        let echo = Echo::default();
        let one = serving(&paper, 1, &echo).await;
        let two = serving(&paper, 2, &echo).await;
        let three = serving(&paper, 3, &echo).await;
        // Each way is dialed from both sides.
        for (wire, to) in [(&one, 2), (&one, 3), (&two, 3)] {
            until("all ways stand", || connections(wire, to) == 4).await;
        }
        let answer = one
            .call(MemberId(2), Service::Control, b"hello".to_vec(), LIMIT)
            .await;
        assert_eq!(answer.unwrap(), b"hello of 1 for control");
        let path = &one.paths()[0];
        assert_eq!(
            (path.member, path.way),
            (MemberId(2), Some(PathKind::Direct))
        );
        assert!(path.broken.is_empty(), "{:?}", path.broken);
        let ways: Vec<PathKind> = path.connections.iter().map(|one| one.way).collect();
        let through = PathKind::Through(MemberId(3));
        assert_eq!(ways, [PathKind::Direct, PathKind::Direct, through, through]);
        assert!(
            serde_json::to_string(&one.paths())
                .unwrap()
                .contains("\"direct\"")
        );
        assert_eq!(three.counted(|c| &c.tunnels), 2);
        assert_eq!(echo.asked.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn small_messages_overtake_large_ones() {
    on_one_thread(async {
        let paper = Paper::new(&free_addresses(2));
        let echo = Echo::default();
        let one = serving(&paper, 1, &echo).await;
        let _two = serving(&paper, 2, &echo).await;
        until("there is a way", || connections(&one, 2) == 2).await;
        let large: Vec<u8> = (0..MESSAGE_BYTES_MAX / 2)
            .map(|at| (at / 7) as u8)
            .collect();
        let big = one.call(MemberId(2), Service::Gossip, large.clone(), LIMIT);
        let small = async {
            for _ in 0..20 {
                let answer = one.call(MemberId(2), Service::Lease, vec![1], LIMIT).await;
                assert!(answer.is_ok());
            }
        };
        let (answer, ()) = tokio::join!(big, small);
        let answer = answer.unwrap();
        assert!(answer.starts_with(&large) && answer.ends_with(b" of 1 for gossip"));
        let too_large = vec![0; MESSAGE_BYTES_MAX + 1];
        let refused = one.call(MemberId(2), Service::Raft, too_large, LIMIT).await;
        assert!(matches!(refused, Err(CallError::TooLarge { .. })));
    });
}

#[test]
fn handled_request_without_response_is_not_reported_as_unprocessed() {
    on_one_thread(async {
        let paper = Paper::new(&free_addresses(2));
        let echo = Echo::default();
        let one = serving(&paper, 1, &echo).await;
        let _two = serving(&paper, 2, &echo).await;
        until("there is a way", || connections(&one, 2) == 2).await;
        // The response is longer than the request, and therefore too long.
        let longest = vec![0; MESSAGE_BYTES_MAX];
        let call = one.call(MemberId(2), Service::Control, longest, LIMIT);
        assert_eq!(call.await, Err(CallError::Broken(MemberId(2))));
        assert_eq!(echo.asked.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn slow_response_repeats_a_request_executed_once() {
    on_one_thread(async {
        let paper = Paper::new(&free_addresses(3));
        let release = Arc::new(Notify::new());
        let echo = Echo {
            held: Some(Arc::clone(&release)),
            ..Echo::default()
        };
        let one = serving(&paper, 1, &echo).await;
        let two = serving(&paper, 2, &echo).await;
        let _three = serving(&paper, 3, &echo).await;
        until("all ways stand", || connections(&one, 2) == 4).await;
        let asking = one.call(MemberId(2), Service::Control, b"once".to_vec(), LIMIT);
        let answering = async {
            until("the copies are seen", || two.counted(|c| &c.repeated) >= 1).await;
            release.notify_one();
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer.unwrap(), b"once of 1 for control");
        assert_eq!(echo.asked.load(Ordering::Relaxed), 1);
        assert!(one.counted(|c| &c.sent_again) >= 1);
    });
}

#[test]
fn closed_member_is_down_at_once_and_returns() {
    on_one_thread(async {
        let paper = Paper::new(&free_addresses(3));
        let echo = Echo::default();
        let one = serving(&paper, 1, &echo).await;
        let two = serving(&paper, 2, &echo).await;
        let _three = serving(&paper, 3, &echo).await;
        until("all ways stand", || connections(&one, 2) == 4).await;
        let mut events = one.events();
        two.stop();
        loop {
            let event = events.recv().await.unwrap();
            if let Event::Down { member, why } = event {
                assert_eq!((member, why), (MemberId(2), Loss::Closed));
                break;
            }
        }
        let refused = one
            .call(MemberId(2), Service::Raft, Vec::new(), LIMIT)
            .await;
        assert!(matches!(
            refused,
            Err(CallError::Unreachable(_) | CallError::Broken(_))
        ));
        let path = &one.paths()[0];
        assert!(!path.up && path.way.is_none());
        let _again = serving(&paper, 2, &echo).await;
        until("it is back", || connections(&one, 2) == 4).await;
        let answer = one
            .call(MemberId(2), Service::Raft, Vec::new(), LIMIT)
            .await;
        assert!(answer.is_ok());
    });
}

#[test]
fn removed_member_is_informed_and_cannot_return() {
    on_one_thread(async {
        let paper = Paper::new(&free_addresses(3));
        let echo = Echo::default();
        let one = serving(&paper, 1, &echo).await;
        let two = serving(&paper, 2, &echo).await;
        let three = serving(&paper, 3, &echo).await;
        until("all ways stand", || connections(&one, 2) == 4).await;
        let mut events = two.events();
        let mut trust = paper.trust();
        trust.removed.insert(paper.identity(2).key().digest());
        trust.members.remove(&MemberId(2));
        trust.highest = MemberId(3);
        one.set_trust(trust.clone()).unwrap();
        three.set_trust(trust).unwrap();
        loop {
            if let Event::RefusedBy { why, .. } = events.recv().await.unwrap() {
                assert_eq!(why, PeerRejection::Removed);
                break;
            }
        }
        // The removed member keeps dialing, and both sides count the refusals.
        until("it is refused again", || one.counted(|c| &c.refused) >= 6).await;
        assert_eq!(connections(&one, 2), 0);
        let call = two.call(
            MemberId(1),
            Service::Raft,
            Vec::new(),
            Duration::from_secs(1),
        );
        assert!(call.await.is_err());
        assert_eq!(echo.asked.load(Ordering::Relaxed), 0);
        let answer = one
            .call(MemberId(3), Service::Raft, Vec::new(), LIMIT)
            .await;
        assert!(answer.is_ok());
    });
}

#[test]
fn new_key_is_accepted_by_a_member_absent_at_the_change() {
    on_one_thread(async {
        let paper = Paper::new(&free_addresses(2));
        let echo = Echo::default();
        let one = serving(&paper, 1, &echo).await;
        let two = serving(&paper, 2, &echo).await;
        until("there are ways", || connections(&one, 2) == 2).await;
        let key = MemberKey::generate().unwrap();
        let before = [paper.identity(2).key().digest()];
        let request = key.request(b"").unwrap();
        let certificate = paper
            .authority
            .sign(MemberId(2), &request, &before)
            .unwrap();
        let chain = [paper.authority.certificate().to_vec()];
        let renewed = MemberIdentity::new(CLUSTER, MemberId(2), key, certificate, &chain).unwrap();
        let digest = renewed.key().digest();
        two.set_identity(Arc::new(renewed)).unwrap();
        // Open connections continue; new ones present the new identity.
        let answer = one
            .call(MemberId(2), Service::Raft, Vec::new(), LIMIT)
            .await;
        assert!(answer.is_ok());
        one.stop();
        let late = serving(&paper, 1, &echo).await;
        until("it is known", || connections(&late, 2) == 2).await;
        let mut trust = paper.trust();
        trust.members.get_mut(&MemberId(2)).unwrap().certificate = digest;
        late.set_trust(trust).unwrap();
        assert_eq!(connections(&late, 2), 2);
        assert_eq!(late.counted(|c| &c.refused), 0);
    });
}

#[test]
fn non_repeatable_request_is_not_sent_to_a_restarted_process() {
    on_one_thread(async {
        let paper = Paper::new(&free_addresses(2));
        let slow = Echo {
            held: Some(Arc::default()),
            ..Echo::default()
        };
        let one = serving(&paper, 1, &slow).await;
        let two = serving(&paper, 2, &slow).await;
        until("there are ways", || connections(&one, 2) == 2).await;
        let asking = {
            let one = one.clone();
            tokio::spawn(async move {
                one.call(MemberId(2), Service::Control, b"once".to_vec(), PATIENCE)
                    .await
            })
        };
        until("it is asked", || slow.asked.load(Ordering::Relaxed) == 1).await;
        two.stop();
        let quick = Echo::default();
        let _again = serving(&paper, 2, &quick).await;
        let answer = asking.await.unwrap();
        assert_eq!(answer, Err(CallError::Broken(MemberId(2))));
        assert_eq!(quick.asked.load(Ordering::Relaxed), 0);
    });
}
