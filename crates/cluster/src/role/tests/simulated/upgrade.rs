//! Tests that at most one node at a time is permitted to replace its program.

use super::{Seats, SimulatedMachine, SimulationOrder, all_vote, seeds, simulate};
use crate::request::{ControlReply, Request};
use crate::role::upgrade::VALID_MS;
use std::time::Duration;
use tokio::time::sleep;

async fn is_permitted(seat: &SimulatedMachine) -> bool {
    match seat.ask(Request::BeginUpgrade).await {
        Some(ControlReply::Done { .. }) => true,
        Some(ControlReply::Refused { words }) => {
            assert!(words.contains("is being upgraded"), "{words}");
            false
        }
        other => panic!("{}: {other:?}", seat.name),
    }
}

async fn end(seat: &SimulatedMachine) {
    let reply = seat.ask(Request::EndUpgrade).await;
    assert!(
        matches!(reply, Some(ControlReply::Done { .. })),
        "{reply:?}"
    );
}

/// Both nodes request the permission at the same time. Returns the node that has it, and the other.
async fn first_of_two(seats: &Seats) -> (usize, usize) {
    match tokio::join!(is_permitted(&seats[0]), is_permitted(&seats[1])) {
        (true, false) => (0, 1),
        (false, true) => (1, 0),
        both => panic!("permitted: {both:?}"),
    }
}

#[test]
fn one_node_at_a_time_is_permitted_to_upgrade() {
    for seed in seeds(1..3, 40) {
        simulate(seed, |seats, orders, mut dice| async move {
            let (first, second) = first_of_two(&seats).await;
            assert!(
                !is_permitted(&seats[2]).await,
                "the arbiter waits for the node"
            );
            // The upgrade replaces the control role of the node. Any member may fail meanwhile.
            let any = dice.below(3) as usize;
            for at in [first, any] {
                let name = seats[at].name;
                orders.borrow_mut().push(SimulationOrder::Crash(name));
                sleep(Duration::from_millis(200 + dice.below(4000))).await;
                orders.borrow_mut().push(SimulationOrder::Bounce(name));
                sleep(Duration::from_secs(1)).await;
                all_vote(&seats, 3).await;
                assert!(!is_permitted(&seats[second]).await);
            }
            assert!(is_permitted(&seats[first]).await, "the same node continues");
            // The end of another node's upgrade is not for this one to report.
            end(&seats[second]).await;
            assert!(!is_permitted(&seats[second]).await);
            end(&seats[first]).await;
            assert!(is_permitted(&seats[2]).await, "no node is being upgraded");
            assert!(is_permitted(&seats[second]).await);
            assert!(!is_permitted(&seats[first]).await);
        });
    }
}

#[test]
#[ignore = "a quarter of an hour is simulated"]
fn abandoned_upgrade_blocks_others_for_a_limited_time() {
    simulate(1, |seats, orders, _| async move {
        let (first, second) = first_of_two(&seats).await;
        let name = seats[first].name;
        orders.borrow_mut().push(SimulationOrder::Crash(name));
        sleep(Duration::from_secs(30)).await;
        assert!(!is_permitted(&seats[second]).await);
        // A new leader counts the whole time from its election.
        sleep(Duration::from_millis(VALID_MS + VALID_MS / 4)).await;
        assert!(is_permitted(&seats[second]).await);
        orders.borrow_mut().push(SimulationOrder::Bounce(name));
        sleep(Duration::from_secs(1)).await;
        all_vote(&seats, 3).await;
        assert!(!is_permitted(&seats[first]).await);
    });
}
