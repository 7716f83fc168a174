//! Tests changes of servers, and which of their state a new configuration keeps.

use super::{adopt, install};
use crate::config::{Balance, Config, ServerAddress, ServerOptions};
use crate::queue::testing::{following, tree};
use crate::state::{AdminState, CheckResult, CheckStatus, HealthState, ServerState, now_ms};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

fn checked() -> ServerOptions {
    ServerOptions {
        check: true,
        rise: 2,
        fall: 3,
        ..Default::default()
    }
}

fn server(config: &Config, n: usize) -> &Arc<ServerState> {
    &config.proxies[0].servers[n].state
}

/// Applies checks (`+` passed, `-` failed, `4` conditional) and returns the status after each, as
/// in HAProxy's statistics.
fn story(options: ServerOptions, checks: &str) -> Vec<String> {
    let config = tree(Balance::RoundRobin, &[options]);
    let state = server(&config, 0);
    let step = |(n, check): (usize, char)| {
        let status = match check {
            '+' => CheckStatus::Layer7Ok,
            '4' => CheckStatus::Layer7OkConditional,
            _ => CheckStatus::Layer7Status,
        };
        state.take_check(CheckResult::new(status, 0), n as u64);
        state.report(n as u64).status_text()
    };
    checks.chars().enumerate().map(step).collect()
}

#[test]
fn rise_and_fall_count_as_haproxy_counts_them() {
    // The first failure of a new server is enough.
    assert_eq!(story(checked(), "-"), ["DOWN"]);
    assert_eq!(
        story(checked(), "+--+---"),
        ["UP", "UP 2/3", "UP 1/3", "UP", "UP 2/3", "UP 1/3", "DOWN"]
    );
    assert_eq!(
        story(checked(), "-+-++"),
        ["DOWN", "DOWN 1/2", "DOWN", "DOWN 1/2", "UP"]
    );
    assert_eq!(story(checked(), "+4-+"), ["UP", "NOLB", "NOLB 2/3", "UP"]);
}

#[test]
fn an_unchecked_server_says_so() {
    let config = tree(Balance::RoundRobin, &[ServerOptions::default()]);
    let state = server(&config, 0);
    assert_eq!(state.report(1).status_text(), "no check");
    state.set_admin(AdminState::Drain, 2);
    assert_eq!(state.report(2).status_text(), "DRAIN");
    assert!(!state.usable() && state.usable_for_persistence());
    state.set_admin(AdminState::Maintenance, 3);
    assert_eq!(state.report(3).status_text(), "MAINT");
    assert!(!state.usable_for_persistence());
}

#[test]
fn a_backend_knows_its_usable_servers_and_its_down_times() {
    let backup = ServerOptions {
        backup: true,
        ..Default::default()
    };
    let config = tree(Balance::RoundRobin, &[Default::default(), backup]);
    let backend = &config.proxies[0].state;
    assert_eq!((backend.active_usable(), backend.backup_usable()), (1, 1));
    let change = server(&config, 0).set_admin(AdminState::Maintenance, 100);
    assert!(change.happened() && !change.lineup.went_down);
    let change = server(&config, 1).set_weight(0, 200);
    assert!(change.lineup.went_down);
    assert_eq!(backend.usable_servers(), 0);
    assert_eq!(backend.backend_report(250).downtime_ms, 50);
    let change = server(&config, 0).set_admin(AdminState::Ready, 300);
    assert!(change.lineup.came_up);
    let report = backend.backend_report(900);
    assert_eq!(
        (report.downtime_ms, report.last_change_ms, report.up),
        (100, 300, true)
    );
    assert_eq!(server(&config, 0).report(900).downtime_ms, 200);
}

#[test]
fn a_server_that_comes_up_warms_up_over_slowstart() {
    let options = ServerOptions {
        weight: 100,
        maxconn: 50,
        slowstart_ms: 1000,
        ..checked()
    };
    let config = tree(Balance::RoundRobin, &[options]);
    let state = server(&config, 0);
    // Servers do not start slowly when the process starts.
    assert_eq!((state.weight(), state.limit()), (1600, 50));
    state.set_admin(AdminState::Maintenance, 0);
    state.set_admin(AdminState::Ready, 10_000);
    assert_eq!((state.throttle(), state.weight(), state.limit()), (1, 1, 1));
    state.warm_up(10_500);
    assert_eq!(
        (state.throttle(), state.weight(), state.limit()),
        (50, 800, 25)
    );
    state.warm_up(11_000);
    assert_eq!(
        (state.throttle(), state.weight(), state.limit()),
        (100, 1600, 50)
    );
}

#[test]
fn the_next_tree_takes_over_by_name_what_its_file_does_not_say_otherwise() {
    let old = tree(Balance::RoundRobin, &[checked(), checked(), checked()]);
    server(&old, 0).set_admin(AdminState::Drain, 5);
    server(&old, 1).set_weight(9, 5);
    server(&old, 1).take_check(CheckResult::new(CheckStatus::Layer4Error, 0), 6);
    let fresh = tree(Balance::RoundRobin, &[checked(), checked()]);
    let mut config = Config {
        proxies: fresh.proxies.clone(),
        ..Config::default()
    };
    config.proxies[0].servers[0].options.weight = 4;
    config.proxies[0].servers[1].name = "s1".into();
    install(&mut config, Some(&old), 7);
    assert!(Arc::ptr_eq(&config.proxies[0].state, &old.proxies[0].state));
    assert!(Arc::ptr_eq(server(&config, 1), server(&old, 1)));
    assert_eq!(server(&config, 0).report(7).status_text(), "DRAIN 1/3");
    assert_eq!(server(&config, 0).user_weight(), (4, 4));
    assert_eq!(server(&config, 1).user_weight(), (9, 1));
    assert_eq!(server(&config, 1).report(7).health, HealthState::Down);
    // The third server was removed: it is neither counted nor used.
    assert!(!server(&old, 2).usable());
    assert_eq!(config.proxies[0].state.active_usable(), 0);
    server(&config, 0).set_admin(AdminState::Ready, 8);
    assert_eq!(config.proxies[0].state.active_usable(), 1);
}

#[test]
fn a_server_that_lives_keeps_its_uid_for_itself() {
    let config = tree(Balance::RoundRobin, &[checked()]);
    let uid = server(&config, 0).uid;
    let others: Vec<ServerState> = (0..100)
        .map(|_| ServerState::new("draft", Arc::default()))
        .collect();
    assert!(others.iter().all(|other| other.uid != uid));
    assert!(now_ms() > 0);
}

#[test]
fn a_server_that_was_removed_and_comes_again_is_a_new_one() {
    let old = tree(Balance::RoundRobin, &[checked(), checked()]);
    server(&old, 1).set_weight(9, 5);
    let without = following(&old, Balance::RoundRobin, &[("s0", checked())]);
    let removed = server(&old, 1);
    assert!(removed.is_retired() && !removed.usable() && removed.is_up());
    assert_eq!(old.proxies[0].state.backend.balance.retired(), 1);
    let again = following(
        &without,
        Balance::RoundRobin,
        &[("s0", checked()), ("s1", checked())],
    );
    assert!(!Arc::ptr_eq(server(&again, 1), removed));
    assert_eq!(server(&again, 1).user_weight(), (1, 1));
    assert_eq!(again.proxies[0].state.active_usable(), 2);
    assert_eq!(
        (old.version + 2, without.version + 1),
        (again.version, again.version)
    );
    drop(old);
    assert_eq!(again.proxies[0].state.backend.balance.retired(), 0);
}

#[test]
fn another_address_or_source_is_another_way_to_a_server_and_nothing_else_is() {
    let old = tree(Balance::RoundRobin, &[checked()]);
    let weighty = ServerOptions {
        weight: 7,
        ..checked()
    };
    let same = following(&old, Balance::RoundRobin, &[("s0", weighty)]);
    assert_eq!(
        same.proxies[0].servers[0].way,
        old.proxies[0].servers[0].way
    );
    let sourced = ServerOptions {
        source: Some(([127, 0, 0, 9], 0).into()),
        ..checked()
    };
    let other = following(&same, Balance::RoundRobin, &[("s0", sourced)]);
    let ways = [&old, &other].map(|config| config.proxies[0].servers[0].way);
    assert_ne!(ways[0], ways[1]);
    // Idle connections under the older configuration are no longer reused; those under the newer
    // one are.
    let state = server(&other, 0);
    assert_ne!(state.way(), state.way().of_file(ways[0]));
    assert_eq!(state.way(), state.way().of_file(ways[1]));
    // A return to the previous address also gets a new generation.
    let back = following(&other, Balance::RoundRobin, &[("s0", checked())]);
    assert!(!ways.contains(&back.proxies[0].servers[0].way));
    // An address that an operator sets gets a new generation, too.
    let before = state.way();
    state.set_address(Some(([127, 0, 0, 1], 1).into()), 10);
    assert_ne!(state.way(), before);
}

#[test]
fn the_limit_is_the_files_also_where_only_minconn_gives_it() {
    let limited = |maxconn, minconn| ServerOptions {
        maxconn,
        minconn,
        ..Default::default()
    };
    let mut config = tree(Balance::RoundRobin, &[limited(0, 20)]);
    assert_eq!(server(&config, 0).maxconn(), 20);
    for (maxconn, minconn, limit) in [(0, 0, 0), (10, 5, 10), (10, 30, 30), (10, 5, 10)] {
        let options = [("s0", limited(maxconn, minconn))];
        config = following(&config, Balance::RoundRobin, &options);
        assert_eq!(server(&config, 0).maxconn(), limit, "{maxconn} {minconn}");
    }
}

#[test]
fn a_server_without_checks_stays_down_where_an_operator_said_so() {
    let old = tree(Balance::RoundRobin, &[Default::default()]);
    server(&old, 0).set_health(HealthState::Down, 5);
    let new = following(&old, Balance::RoundRobin, &[("s0", Default::default())]);
    assert!(!server(&new, 0).is_up());
    // When a new file removes the checks, their results no longer apply.
    let checks = following(&new, Balance::RoundRobin, &[("s0", checked())]);
    assert!(!server(&checks, 0).is_up());
    let none = following(&checks, Balance::RoundRobin, &[("s0", Default::default())]);
    assert!(server(&none, 0).is_up());
}

#[test]
fn an_operators_address_stays_until_the_file_gives_another() {
    let at = |port: u16| ServerAddress::Inet(([127, 0, 0, 1], port).into());
    let file = |address: ServerAddress, old: &Config| {
        let next = tree(Balance::RoundRobin, &[checked()]);
        let mut config = Config {
            proxies: next.proxies.clone(),
            ..Config::default()
        };
        config.proxies[0].servers[0].address = address;
        install(&mut config, Some(old), 9);
        config
    };
    let first = file(at(1), &Config::default());
    let state = Arc::clone(server(&first, 0));
    state.set_address(Some(([127, 0, 0, 1], 7).into()), 10);
    let second = file(at(1), &first);
    assert_eq!(state.address_override(), Some(at(7)));
    let third = file(at(2), &second);
    assert_eq!(state.address_override(), None);
    assert!(state.usable());
    state.set_address(Some(([127, 0, 0, 1], 7).into()), 11);
    let _unresolved = file(ServerAddress::Unresolved, &third);
    assert_eq!(state.address_override(), None);
    assert!(state.in_maintenance() && !state.usable());
}

#[test]
fn no_connection_to_an_older_address_passes_for_one_of_the_newest_way() {
    for n in 1..300 {
        let config = tree(Balance::RoundRobin, &[Default::default()]);
        let (state, start) = (server(&config, 0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !start.load(SeqCst) {
                    std::hint::spin_loop();
                }
                state.set_address(Some(([127, 0, 0, 1], n).into()), 1);
            });
            let before = state.way();
            start.store(true, SeqCst);
            // A thread that connects reads in this order: first the generation, then the address.
            loop {
                let (way, address) = (state.way(), state.address_override());
                if way != before {
                    assert!(address.is_some(), "the {n}th");
                    break;
                }
            }
        });
    }
}

#[test]
fn an_operators_address_makes_another_way_also_while_a_tree_is_installed() {
    let config = tree(Balance::RoundRobin, &[Default::default()]);
    let (state, done) = (server(&config, 0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                state.set_way(0);
            }
        });
        let ways: std::collections::HashSet<_> = (0..30_000)
            .map(|n: u32| {
                state.set_address(Some(([127, 0, 0, 1], (n % 2) as u16).into()), 1);
                format!("{:?}", state.way())
            })
            .collect();
        done.store(true, SeqCst);
        assert_eq!(ways.len(), 30_000);
    });
}

#[test]
fn what_checks_found_belongs_to_the_address_that_they_queried() {
    let at = |port: u16| ServerAddress::Inet(([127, 0, 0, 1], port).into());
    let file = |ports: [u16; 2]| {
        let next = tree(Balance::RoundRobin, &[checked(), checked()]);
        let mut config = Config {
            proxies: next.proxies.clone(),
            ..Config::default()
        };
        for (server, port) in config.proxies[0].servers.iter_mut().zip(ports) {
            server.address = at(port);
        }
        config
    };
    let (alive, dead) = (1, 2);
    let mut old = file([alive, dead]);
    install(&mut old, None, 4);
    let failure = CheckResult::new(CheckStatus::Layer4Error, 3);
    server(&old, 1).take_check(failure, 5);
    let mut exchanged = file([dead, alive]);
    let outdated = adopt(&mut exchanged, Some(&old), 6);
    // The older configuration still serves.
    assert!(server(&old, 0).usable() && !server(&old, 1).usable());
    outdated.end(7);
    assert!(!server(&exchanged, 0).usable());
    assert_eq!(server(&exchanged, 1).report(7).status_text(), "UP 1/3");
    // The same addresses again: nothing is restarted.
    server(&exchanged, 0).take_check(CheckResult::new(CheckStatus::Layer4Ok, 3), 8);
    let mut same = file([dead, alive]);
    adopt(&mut same, Some(&exchanged), 9).end(9);
    assert_eq!(server(&same, 0).report(9).status_text(), "DOWN 1/2");
}
