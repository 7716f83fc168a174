//! Tests how each load-balancing algorithm distributes streams over servers.

use super::{Choice, Request, Take, choose};
use crate::config::{Balance, Config, Proxy, ProxyOption, ServerIndex, ServerOptions};
use crate::queue::testing::{following, tree};
use crate::state::{AdminState, ServerState};
use std::sync::Arc;

const ASK: Request = Request {
    key: None,
    avoid: None,
    look: true,
};

fn weights(weights: &[u32]) -> Vec<ServerOptions> {
    weights
        .iter()
        .map(|weight| ServerOptions {
            weight: *weight,
            ..Default::default()
        })
        .collect()
}

/// Reports a slot as taken without counting a session at the server.
fn visit(_: &Arc<ServerState>) -> Take {
    Take::Taken
}

fn stay(server: &Arc<ServerState>) -> Take {
    if server.traffic.sessions.increment_below(server.limit()) {
        Take::Taken
    } else {
        Take::Full
    }
}

fn sequence(proxy: &Proxy, n: usize, take: fn(&Arc<ServerState>) -> Take) -> String {
    let name = |choice| match choice {
        Choice::Taken(index) => char::from_digit(index.0, 36).unwrap_or('?'),
        Choice::Full(_) => 'F',
        Choice::None => '-',
    };
    (0..n)
        .map(|_| name(choose(proxy, &ASK, &mut { take })))
        .collect()
}

fn count(sequence: &str, server: char) -> usize {
    sequence.chars().filter(|c| *c == server).count()
}

fn state(config: &Config, n: usize) -> &Arc<ServerState> {
    &config.proxies[0].servers[n].state
}

#[test]
fn equal_weights_take_turns_in_the_order_of_the_file() {
    for balance in [
        Balance::RoundRobin,
        Balance::StaticRoundRobin,
        Balance::LeastConnections,
    ] {
        let config = tree(balance.clone(), &weights(&[1, 1, 1]));
        assert_eq!(
            sequence(&config.proxies[0], 9, visit),
            "012012012",
            "{balance:?}"
        );
    }
}

#[test]
fn round_robin_gives_each_its_share_in_every_lap_and_never_in_bursts() {
    for shares in [
        vec![2, 1],
        vec![1, 2, 3],
        vec![5, 1, 1],
        vec![10, 20],
        vec![256, 1],
    ] {
        let config = tree(Balance::RoundRobin, &weights(&shares));
        let lap: u32 = shares.iter().sum();
        let laps = sequence(&config.proxies[0], 4 * lap as usize, visit);
        for (server, share) in shares.iter().enumerate() {
            let name = char::from_digit(server as u32, 10).unwrap();
            assert_eq!(
                count(&laps, name),
                4 * *share as usize,
                "{shares:?}: {laps}"
            );
            // No server waits much longer for its turn than its fair share of the lap.
            let fair = lap.div_ceil(*share) as usize;
            let gap = laps.split(name).map(str::len).max().unwrap();
            assert!(gap <= fair + 1, "{shares:?}: {laps}");
        }
    }
}

#[test]
fn a_server_that_joins_neither_starves_the_others_nor_is_starved() {
    let config = tree(Balance::RoundRobin, &weights(&[1, 1, 1]));
    let proxy = &config.proxies[0];
    state(&config, 2).set_admin(AdminState::Maintenance, 1);
    assert_eq!(sequence(proxy, 6, visit), "010101");
    state(&config, 2).set_admin(AdminState::Ready, 2);
    let after = sequence(proxy, 9, visit);
    assert!(
        (0..3).all(|n| count(&after, char::from_digit(n, 10).unwrap()) == 3),
        "{after}"
    );
    assert!(!after.contains("22") && !after.contains("00"), "{after}");
}

#[test]
fn a_weight_that_changes_counts_from_the_next_choice_on() {
    let config = tree(Balance::RoundRobin, &weights(&[1, 1]));
    let proxy = &config.proxies[0];
    sequence(proxy, 5, visit);
    state(&config, 0).set_weight(3, 1);
    let after = sequence(proxy, 40, visit);
    assert!((29..=31).contains(&count(&after, '0')), "{after}");
    state(&config, 0).set_weight(0, 1);
    assert_eq!(sequence(proxy, 4, visit), "1111");
    state(&config, 1).set_weight(0, 1);
    assert_eq!(sequence(proxy, 2, visit), "--");
}

#[test]
fn full_servers_are_passed_over_while_another_is_not() {
    let options = |maxconn| ServerOptions {
        maxconn,
        ..Default::default()
    };
    for balance in [
        Balance::RoundRobin,
        Balance::StaticRoundRobin,
        Balance::LeastConnections,
    ] {
        let config = tree(balance.clone(), &[options(1), options(4)]);
        let proxy = &config.proxies[0];
        let got = sequence(proxy, 7, stay);
        assert_eq!(
            (count(&got, '0'), count(&got, '1')),
            (1, 4),
            "{balance:?} {got}"
        );
        assert!(got.ends_with("FF"));
        // A released slot is found again.
        state(&config, 0).traffic.sessions.decrement();
        state(&config, 0).relieved();
        assert_eq!(sequence(proxy, 2, stay), "0F", "{balance:?}");
    }
}

#[test]
fn least_connections_follows_sessions_over_weight() {
    let config = tree(Balance::LeastConnections, &weights(&[1, 3]));
    let proxy = &config.proxies[0];
    let got = sequence(proxy, 40, stay);
    assert_eq!((count(&got, '0'), count(&got, '1')), (10, 30), "{got}");
    for _ in 0..10 {
        state(&config, 0).traffic.sessions.decrement();
        state(&config, 0).relieved();
    }
    let got = sequence(proxy, 10, stay);
    assert_eq!(count(&got, '0'), 10, "{got}");
    // Sessions that persistence assigned count as well.
    (0..100).for_each(|_| _ = state(&config, 1).traffic.sessions.increment());
    assert_eq!(sequence(proxy, 3, stay), "000");
}

#[test]
fn least_connections_is_the_same_over_many_servers() {
    let config = tree(Balance::LeastConnections, &weights(&[1; 30]));
    let proxy = &config.proxies[0];
    sequence(proxy, 60, stay);
    assert!((0..30).all(|n| state(&config, n).traffic.sessions.current() == 2));
    // Two servers with equally few sessions take the streams in turns.
    for n in [7, 21] {
        (0..2).for_each(|_| _ = state(&config, n).traffic.sessions.decrement());
        state(&config, n).relieved();
    }
    assert_eq!(sequence(proxy, 4, stay), "7l7l");
}

#[test]
fn first_fills_the_lowest_id_before_the_next() {
    let options = ServerOptions {
        maxconn: 2,
        ..Default::default()
    };
    let config = tree(Balance::First, &[options.clone(), options]);
    assert_eq!(sequence(&config.proxies[0], 5, stay), "0011F");
}

#[test]
fn source_keeps_a_client_at_its_server_and_tells_whom_to_wait_for() {
    let options = ServerOptions {
        maxconn: 1,
        ..Default::default()
    };
    let config = tree(
        Balance::Source,
        &[options.clone(), options.clone(), options],
    );
    let proxy = &config.proxies[0];
    let of = |host: u8, avoid| Request {
        key: Some(super::table::hash_of([127, 0, 0, host].into())),
        avoid,
        look: true,
    };
    // The order is that of HAProxy 2.6.12 with three equal servers.
    let got: Vec<Choice> = (1..=6)
        .map(|host| choose(proxy, &of(host, None), &mut visit))
        .collect();
    let want = [2, 0, 1, 2, 0, 1].map(|server| Choice::Taken(ServerIndex(server)));
    assert_eq!(got, want);
    let failed = Some(ServerIndex(2));
    assert_eq!(
        choose(proxy, &of(1, failed), &mut visit),
        Choice::Taken(ServerIndex(0))
    );
    choose(proxy, &of(1, None), &mut stay);
    assert_eq!(
        choose(proxy, &of(1, None), &mut stay),
        Choice::Full(Some(ServerIndex(2)))
    );
}

#[test]
fn random_prefers_the_less_loaded() {
    let config = tree(Balance::Random(2), &weights(&[1, 1, 1, 1]));
    let got = sequence(&config.proxies[0], 400, stay);
    for server in ['0', '1', '2', '3'] {
        assert!((90..=110).contains(&count(&got, server)), "{got}");
    }
}

#[test]
fn backups_serve_when_no_other_does_and_all_of_them_only_when_asked() {
    let backup = ServerOptions {
        backup: true,
        ..Default::default()
    };
    let servers = [ServerOptions::default(), backup.clone(), backup];
    let config = tree(Balance::RoundRobin, &servers);
    assert_eq!(sequence(&config.proxies[0], 2, visit), "00");
    state(&config, 0).set_admin(AdminState::Maintenance, 1);
    assert_eq!(sequence(&config.proxies[0], 4, visit), "1111");
    assert_eq!(config.proxies[0].state.usable_servers(), 1);
    let mut all = config.proxies[0].clone();
    all.options.set(ProxyOption::AllBackups, true);
    assert_eq!(sequence(&all, 4, visit), "1212");
}

#[test]
fn the_server_that_failed_is_avoided_while_there_is_another() {
    for balance in [
        Balance::RoundRobin,
        Balance::StaticRoundRobin,
        Balance::LeastConnections,
        Balance::First,
        Balance::Random(2),
    ] {
        let config = tree(balance.clone(), &weights(&[1, 1]));
        let request = Request {
            avoid: Some(ServerIndex(0)),
            ..ASK
        };
        for _ in 0..4 {
            let got = choose(&config.proxies[0], &request, &mut visit);
            assert_eq!(got, Choice::Taken(ServerIndex(1)), "{balance:?}");
        }
        state(&config, 1).set_admin(AdminState::Maintenance, 1);
        let got = choose(&config.proxies[0], &request, &mut visit);
        assert_eq!(got, Choice::Taken(ServerIndex(0)), "{balance:?}");
    }
}

#[test]
fn ten_thousand_full_servers_cost_no_more_than_two() {
    let options = ServerOptions {
        maxconn: 1,
        ..Default::default()
    };
    for balance in [Balance::RoundRobin, Balance::LeastConnections] {
        let config = tree(balance, &vec![options.clone(); 10_000]);
        let proxy = &config.proxies[0];
        let mut tries = 0u64;
        let mut take = |server: &Arc<ServerState>| {
            tries += 1;
            stay(server)
        };
        for _ in 0..10_000 {
            assert!(matches!(choose(proxy, &ASK, &mut take), Choice::Taken(_)));
        }
        for _ in 0..1000 {
            assert_eq!(choose(proxy, &ASK, &mut take), Choice::Full(None));
        }
        // Each full server is examined again when it is removed from the heap: once before and
        // once after the registration for its next free slot.
        assert!(tries <= 30_000 + 1000, "{tries}");
    }
}

fn next(old: &Config, balance: Balance, names: &[&str]) -> Arc<Config> {
    let servers: Vec<(&str, ServerOptions)> = names
        .iter()
        .map(|name| (*name, ServerOptions::default()))
        .collect();
    following(old, balance, &servers)
}

#[test]
fn turns_go_on_where_they_stood_across_a_change() {
    for balance in [Balance::RoundRobin, Balance::StaticRoundRobin] {
        let old = tree(balance.clone(), &weights(&[1, 1, 1, 1]));
        assert_eq!(sequence(&old.proxies[0], 6, visit), "012301");
        let new = next(&old, balance.clone(), &["s0", "s1", "s2", "s3"]);
        assert_eq!(sequence(&new.proxies[0], 6, visit), "230123", "{balance:?}");
    }
}

#[test]
fn two_trees_take_their_turns_side_by_side_and_hear_the_same_news() {
    let old = tree(Balance::RoundRobin, &weights(&[1, 1, 1]));
    assert_eq!(sequence(&old.proxies[0], 3, visit), "012");
    let new = next(&old, Balance::RoundRobin, &["s2", "s0", "s1"]);
    for _ in 0..3 {
        assert_eq!(sequence(&old.proxies[0], 1, visit).len(), 1);
        assert_eq!(sequence(&new.proxies[0], 1, visit).len(), 1);
    }
    state(&new, 0).set_admin(AdminState::Maintenance, 5);
    assert_eq!(count(&sequence(&old.proxies[0], 6, visit), '2'), 0);
    assert_eq!(count(&sequence(&new.proxies[0], 6, visit), '0'), 0);
    state(&new, 0).set_admin(AdminState::Ready, 6);
    assert_eq!(count(&sequence(&old.proxies[0], 6, visit), '2'), 2);
    assert_eq!(count(&sequence(&new.proxies[0], 6, visit), '0'), 2);
}

#[test]
fn a_server_that_is_no_more_in_the_newest_tree_gets_no_turn_in_any() {
    let old = tree(Balance::LeastConnections, &weights(&[1, 1, 1]));
    let new = next(&old, Balance::LeastConnections, &["s0", "s2"]);
    assert_eq!(count(&sequence(&old.proxies[0], 6, visit), '1'), 0);
    assert_eq!(sequence(&new.proxies[0], 4, visit), "0101");
}

#[test]
fn news_for_a_tree_that_nobody_asks_any_more_are_bounded() {
    let old = tree(Balance::RoundRobin, &weights(&[1, 1, 1]));
    sequence(&old.proxies[0], 3, visit);
    let new = next(&old, Balance::RoundRobin, &["s0", "s1", "s2"]);
    for n in 0..1000 {
        state(&new, n % 3).set_weight(1 + n as u32 % 5, 7);
        sequence(&new.proxies[0], 1, visit);
    }
    let longest = |config: &Config| {
        let news = config.proxies[0].state.backend.balance.lock_changes();
        news.iter().map(|one| one.uids.len()).max().unwrap()
    };
    assert!(longest(&new) <= 64, "{}", longest(&new));
    drop(old);
    state(&new, 0).set_weight(9, 8);
    assert_eq!(new.proxies[0].state.backend.balance.lock_changes().len(), 1);
}

#[test]
fn ten_thousand_servers_are_in_line_before_the_first_choice_and_news_come_in_parts() {
    let old = tree(Balance::RoundRobin, &weights(&vec![1; 10_000]));
    crate::balance::prepare(&old, None);
    sequence(&old.proxies[0], 1, visit);
    for n in 0..10_000 {
        state(&old, n).set_weight(2, 5);
    }
    let unread = || {
        old.proxies[0].state.backend.balance.lock_changes()[0]
            .uids
            .len()
    };
    assert_eq!(unread(), 10_000);
    let mut before = unread();
    while before > 0 {
        sequence(&old.proxies[0], 1, visit);
        let read = before - unread();
        assert!(
            (1..=crate::state::balance::NEWS_AT_ONCE).contains(&read),
            "{read}"
        );
        before -= read;
    }
}
