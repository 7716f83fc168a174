//! Tests queues in which streams under several configurations wait.

use super::testing::{following, tree};
use super::tests::{assign, limited, slot, stream, ticket, wait};
use super::{ServerSlot, Ticket, first_to_accept};
use crate::config::{Balance, Config, ServerIndex};
use crate::state::ServerState;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(200);

fn state(config: &Config, n: usize) -> &Arc<ServerState> {
    &config.proxies[0].servers[n].state
}

fn granted(config: &Arc<Config>) -> ServerSlot {
    slot(assign(&mut stream(config), None))
}

fn waits(config: &Arc<Config>) -> Ticket {
    ticket(assign(&mut stream(config), None))
}

fn waiting(config: &Config) -> u32 {
    config.proxies[0].state.backend.queue.waiting.current()
}

#[test]
fn a_server_that_came_passes_over_those_whose_tree_does_not_have_it() {
    let old = tree(Balance::RoundRobin, &[limited(1)]);
    let held = granted(&old);
    let older = waits(&old);
    let new = following(
        &old,
        Balance::RoundRobin,
        &[("s0", limited(1)), ("s1", limited(1))],
    );
    // The new stream gets the slot at once, although an older one waits.
    let own = granted(&new);
    assert!(Arc::ptr_eq(own.server(), state(&new, 1)));
    let newer = waits(&new);
    drop(own);
    let got = wait(newer, SOON).expect("the slot of the new server");
    assert_eq!(got.server, ServerIndex(1));
    assert_eq!(waiting(&new), 1);
    drop(held);
    let got = wait(older, SOON).expect("the slot of the old server");
    assert_eq!(got.server, ServerIndex(0));
    assert_eq!(waiting(&new), 0);
}

#[test]
fn those_of_a_server_that_goes_are_served_by_the_others_of_their_tree() {
    let old = tree(Balance::Source, &[limited(1), limited(1)]);
    // All streams have the same address, so they wait for one server while the other is free.
    let held = granted(&old);
    let gone = usize::from(!Arc::ptr_eq(held.server(), state(&old, 0)));
    let names = ["s0", "s1"];
    let tickets = [waits(&old), waits(&old)];
    assert_eq!(state(&old, gone).queue.waiting.current(), 2);
    let stays = 1 - gone;
    let new = following(&old, Balance::Source, &[(names[stays], limited(1))]);
    assert_eq!(state(&old, gone).queue.waiting.current(), 0);
    for ticket in tickets {
        // The index refers to the stream's own configuration.
        let got = wait(ticket, SOON).expect("the other server");
        assert_eq!(got.server, ServerIndex(stays as u32));
        assert!(Arc::ptr_eq(got.slot.server(), state(&new, 0)));
    }
    drop(held);
    assert_eq!(state(&old, gone).traffic.sessions.current(), 0);
}

#[test]
fn where_a_tree_has_no_other_server_the_one_that_goes_serves_them() {
    let old = tree(Balance::RoundRobin, &[limited(1), limited(1)]);
    let held = [granted(&old), granted(&old)];
    let waiting_before = [waits(&old), waits(&old), waits(&old)];
    let new = following(&old, Balance::RoundRobin, &[("other", limited(1))]);
    // A stream that starts under the older configuration after the change.
    let late = waits(&old);
    let newer = granted(&new);
    assert!(Arc::ptr_eq(newer.server(), state(&new, 0)));
    drop(newer);
    drop(held);
    for ticket in waiting_before.into_iter().chain([late]) {
        let got = wait(ticket, SOON).expect("a server that was removed");
        assert!(got.slot.server().is_retired());
    }
    let all = old.proxies[0].servers.iter().chain(&new.proxies[0].servers);
    assert!(
        all.into_iter()
            .all(|s| s.state.traffic.sessions.current() == 0)
    );
    // A free slot is granted at once.
    assert!(granted(&old).server().is_retired());
}

#[test]
fn a_removed_server_that_is_down_serves_nobody() {
    let old = tree(Balance::RoundRobin, &[limited(1)]);
    state(&old, 0).set_health(crate::state::HealthState::Down, 2);
    let _new = following(&old, Balance::RoundRobin, &[("other", limited(1))]);
    assert!(matches!(
        assign(&mut stream(&old), None),
        super::Assignment::Refused(super::QueueRefusal::NoServer)
    ));
}

#[test]
fn ten_thousand_who_cannot_take_a_server_are_passed_over_quickly() {
    let options = vec![limited(1); 2000];
    let old = tree(Balance::RoundRobin, &options);
    let held: Vec<ServerSlot> = options.iter().map(|_| granted(&old)).collect();
    let tickets: Vec<Ticket> = (0..10_000).map(|_| waits(&old)).collect();
    let new = following(&old, Balance::RoundRobin, &[("other", limited(1))]);
    let own = granted(&new);
    let newer = waits(&new);
    // If each of the others examined all waiters, this would take seconds. The best of several
    // tries counts, so that a suspended machine causes no failure.
    let tries = (0..10).map(|_| {
        let at = Instant::now();
        let found = first_to_accept(&new.proxies[0].state.backend.queue.list(), state(&new, 0));
        assert!(found.is_some());
        at.elapsed()
    });
    assert!(tries.min() < Some(Duration::from_millis(500)));
    drop(own);
    assert!(wait(newer, SOON).is_some());
    drop(tickets);
    drop(held);
    assert_eq!(waiting(&new), 0);
}
