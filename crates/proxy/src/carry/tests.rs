//! Tests the transfer of counters and server states between two proxy processes, both simulated
//! in the test.

use super::*;
use model::config::{Balance, Bind, BindAddress, Config, ProxyKind, ServerOptions};
use model::control::install;
use model::queue::testing::tree;
use model::state::{AdminState, CheckResult, CheckStatus, ServerState, Tally, now_ms};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

fn checked() -> ServerOptions {
    ServerOptions {
        check: true,
        ..Default::default()
    }
}

/// Creates the state of a process: a configuration with fresh states and one listener.
fn process(servers: usize) -> Config {
    let tree = tree(Balance::RoundRobin, &vec![checked(); servers]);
    let mut config = Config {
        proxies: tree.proxies.clone(),
        ..Config::default()
    };
    config.proxies[0].binds.push(bind(1));
    config
}

fn bind(id: u32) -> Bind {
    Bind {
        id,
        ..Bind::new(Default::default(), BindAddress::Abstract(b"none".to_vec()))
    }
}

fn server(config: &Config, n: usize) -> &Arc<ServerState> {
    &config.proxies[0].servers[n].state
}

/// Changes every kind of state at least once.
fn live(config: &Config) {
    let proxy = &config.proxies[0].state;
    proxy
        .frontend
        .counters
        .current_shard()
        .add(Tally::BytesIn, 1000);
    proxy
        .backend
        .counters
        .current_shard()
        .add(Tally::Retries, 3);
    proxy.backend.counters.current_shard().times([1, 2, 3, 400]);
    proxy.frontend.sessions.increment();
    proxy.frontend.sessions.increment();
    proxy.frontend.maxconn_set.store(77, Relaxed);
    proxy.frontend.paused.store(true, Relaxed);
    proxy.frontend.log_lines.fetch_add(5, Relaxed);
    proxy.backend.last_session.note(0);
    proxy.frontend.session_rate.count(0);
    proxy
        .listener(1)
        .counters
        .current_shard()
        .add(Tally::Sessions, 9);
    proxy
        .listener(8)
        .counters
        .current_shard()
        .add(Tally::Sessions, 9);
    let now = now_ms();
    server(config, 0)
        .traffic
        .counters
        .current_shard()
        .count(Tally::Sessions);
    server(config, 0).set_admin(AdminState::Drain, now);
    server(config, 1).take_check(
        CheckResult::new(CheckStatus::Layer4Error, 7).info("no"),
        now,
    );
    server(config, 1).traffic.sessions.increment();
}

#[test]
fn state_of_a_process_reaches_the_next() {
    let old = process(2);
    live(&old);
    let told = export(&old, None);
    let new = process(3);
    let imported = import(&told.bytes, &new, None).unwrap();
    // The listener with the id 8 is in no file.
    assert_eq!(
        (imported.proxies, imported.servers, imported.unknown),
        (1, 2, 1)
    );
    let proxy = &new.proxies[0].state;
    assert_eq!(proxy.frontend.counters.read(Tally::BytesIn), 1000);
    assert_eq!(proxy.backend.counters.read(Tally::Retries), 3);
    assert_eq!(
        proxy
            .backend
            .counters
            .highest_ms(model::state::Average::Total),
        400
    );
    assert_eq!(proxy.frontend.sessions.highest(), 2);
    assert_eq!(proxy.frontend.sessions.current(), 0);
    assert_eq!(proxy.frontend.maxconn_set.load(Relaxed), 77);
    assert!(proxy.frontend.paused.load(Relaxed));
    assert_eq!(proxy.frontend.log_lines.load(Relaxed), 5);
    assert_eq!(proxy.backend.last_session.seconds_ago(0), Some(0));
    assert_eq!(
        (
            proxy.frontend.session_rate.read(0),
            proxy.frontend.session_rate.highest(0)
        ),
        (1, 1)
    );
    assert_eq!(proxy.listener(1).counters.read(Tally::Sessions), 9);
    assert_eq!(proxy.listeners().len(), 1);
    let now = now_ms();
    assert_eq!(server(&new, 0).report(now).status_text(), "DRAIN 1/3");
    assert_eq!(server(&new, 0).traffic.counters.read(Tally::Sessions), 1);
    let down = server(&new, 1).report(now);
    assert_eq!(down.status_text(), "DOWN");
    assert_eq!(down.last_check.info, "no");
    assert_eq!(server(&new, 1).traffic.counters.read(Tally::WentDown), 1);
    assert_eq!(server(&new, 1).traffic.sessions.highest(), 1);
    assert!(server(&new, 2).usable());
    assert_eq!(proxy.active_usable(), 1);
}

#[test]
fn later_counts_arrive_once_with_the_rest() {
    let old = process(2);
    live(&old);
    let told = export(&old, None);
    let new = process(2);
    import(&told.bytes, &new, None).unwrap();
    server(&new, 0)
        .traffic
        .counters
        .current_shard()
        .add(Tally::BytesOut, 100);
    server(&new, 0).set_admin(AdminState::Ready, now_ms());
    // The old process finishes its connections; a server that was removed by a later reload counts
    // as well.
    server(&old, 0)
        .traffic
        .counters
        .current_shard()
        .add(Tally::BytesOut, 11);
    server(&old, 1)
        .traffic
        .counters
        .current_shard()
        .count(Tally::ClientAborts);
    old.proxies[0]
        .state
        .frontend
        .counters
        .current_shard()
        .add(Tally::BytesIn, 5);
    old.proxies[0]
        .state
        .frontend
        .log_lines
        .fetch_add(2, Relaxed);
    let rest = told.mark.rest(None);
    let imported = import(&rest, &new, None).unwrap();
    assert_eq!(imported.servers, 2);
    let proxy = &new.proxies[0].state;
    assert_eq!(proxy.frontend.counters.read(Tally::BytesIn), 1005);
    assert_eq!(proxy.backend.counters.read(Tally::Retries), 3);
    assert_eq!(proxy.frontend.log_lines.load(Relaxed), 7);
    assert_eq!(proxy.listener(1).counters.read(Tally::Sessions), 9);
    assert_eq!(server(&new, 0).traffic.counters.read(Tally::BytesOut), 111);
    assert_eq!(
        server(&new, 1).traffic.counters.read(Tally::ClientAborts),
        1
    );
    // The later counts change no state: the states belong to the new process by then.
    assert!(server(&new, 0).usable());
    assert_eq!(proxy.frontend.maxconn_set.load(Relaxed), 77);
}

#[test]
fn process_counters_continue() {
    let runtime = || Runtime::leak(Arc::new(process(1)), 1, 100);
    let (old, new) = (runtime(), runtime());
    old.counters.current_shard().add(Tally::Connections, 40);
    old.connections.increment();
    old.connection_rate.count(old.now_ms());
    let told = export(&old.config(), Some(old));
    let imported = import(&told.bytes, &new.config(), None).unwrap();
    assert_eq!(new.counters.read(Tally::Connections), 0);
    imported.add_process_counters(new);
    old.counters.current_shard().add(Tally::Connections, 2);
    let rest = told.mark.rest(Some(old));
    let imported = import(&rest, &new.config(), Some(new)).unwrap();
    imported.add_process_counters(new);
    assert_eq!(new.counters.read(Tally::Connections), 42);
    assert_eq!(
        (new.connections.highest(), new.connections.current()),
        (1, 0)
    );
    assert_eq!(new.connection_rate.highest(new.now_ms()), 1);
}

#[test]
fn a_pause_of_the_process_is_not_one_of_its_frontends() {
    let runtime = || Runtime::leak(Arc::new(process(1)), 1, 100);
    let paused = |runtime: &Runtime| {
        let config = runtime.config();
        config.proxies[0].state.frontend.paused.load(Relaxed)
    };
    for is_elsewhere in [true, false] {
        let (old, new) = (runtime(), runtime());
        old.ending.has_successor.store(is_elsewhere, Relaxed);
        let frontend = &old.config().proxies[0].state.frontend;
        frontend.paused.store(true, Relaxed);
        let told = export(&old.config(), Some(old));
        import(&told.bytes, &new.config(), None).unwrap();
        assert_eq!(paused(new), !is_elsewhere);
    }
}

#[test]
fn ten_takeovers_keep_the_totals() {
    let mut config = process(1);
    for n in 1..=10 {
        server(&config, 0)
            .traffic
            .counters
            .current_shard()
            .add(Tally::Sessions, n);
        let told = export(&config, None);
        server(&config, 0)
            .traffic
            .counters
            .current_shard()
            .add(Tally::Sessions, 1);
        let next = process(1);
        import(&told.bytes, &next, None).unwrap();
        import(&told.mark.rest(None), &next, None).unwrap();
        config = next;
    }
    assert_eq!(
        server(&config, 0).traffic.counters.read(Tally::Sessions),
        65
    );
}

#[test]
fn cleared_counters_are_sent_completely() {
    let old = process(1);
    server(&old, 0)
        .traffic
        .counters
        .current_shard()
        .add(Tally::Sessions, 50);
    let told = export(&old, None);
    server(&old, 0).traffic.counters.clear();
    server(&old, 0)
        .traffic
        .counters
        .current_shard()
        .add(Tally::Sessions, 4);
    let new = process(1);
    import(&told.mark.rest(None), &new, None).unwrap();
    assert_eq!(server(&new, 0).traffic.counters.read(Tally::Sessions), 4);
}

#[test]
fn down_backend_keeps_its_downtime() {
    let old = process(1);
    let now = now_ms();
    let failed = CheckResult::new(CheckStatus::Layer4Timeout, 7);
    server(&old, 0).take_check(failed, now - 5000);
    let new = process(1);
    import(&export(&old, None).bytes, &new, None).unwrap();
    let report = new.proxies[0].state.backend_report(now_ms());
    assert_eq!((report.downs, report.up), (1, false));
    assert!((5000..6000).contains(&report.downtime_ms), "{report:?}");
    assert!(now_ms() - report.last_change_ms >= 5000);
}

#[test]
fn the_states_outlive_a_change_in_the_new_process() {
    let old = process(2);
    live(&old);
    let new = process(2);
    import(&export(&old, None).bytes, &new, None).unwrap();
    let mut changed = process(2);
    install(&mut changed, Some(&new), now_ms());
    assert_eq!(
        server(&changed, 0).report(now_ms()).status_text(),
        "DRAIN 1/3"
    );
    assert_eq!(
        changed.proxies[0]
            .state
            .frontend
            .counters
            .read(Tally::BytesIn),
        1000
    );
}

#[test]
fn unknown_names_are_counted_and_ignored() {
    let old = process(3);
    let told = export(&old, None).bytes;
    let mut other = process(1);
    assert_eq!(import(&told, &other, None).unwrap().unknown, 2);
    other.proxies[0].name = "other".into();
    let imported = import(&told, &other, None).unwrap();
    assert_eq!((imported.proxies, imported.unknown), (0, 4));
}

#[test]
fn fields_of_a_newer_program_are_skipped() {
    let told = serde_json::json!({
        "what": "is this",
        "proxies": [{
            "whatever": [[0xff, null], {"it": -1.5}],
            "name": "back",
            "servers": [{
                "numbers": 1_u64 << 60,
                "name": "s0",
                "kept": {"admin": "Asleep", "health": "Dreaming"},
            }],
        }],
    });
    let mut bytes = [HEAD, &VERSION.to_le_bytes(), &part::codec::encode(&told)].concat();
    bytes.extend(b"behind the end");
    let config = process(1);
    assert_eq!(import(&bytes, &config, None).unwrap().servers, 1);
}

#[test]
fn incomplete_state_changes_nothing() {
    let old = process(2);
    live(&old);
    let bytes = export(&old, None).bytes;
    let new = process(2);
    for end in 0..bytes.len() {
        let error = import(&bytes[..end], &new, None).unwrap_err();
        assert!(end < HEAD.len() && error == CarryError::Foreign || error == CarryError::Cut);
    }
    let mut newer = bytes.clone();
    newer[HEAD.len()] = 9;
    let error = import(&newer, &new, None).unwrap_err();
    assert_eq!(error, CarryError::Version { found: 9 });
    assert!(error.to_string().contains("version 9"));
    assert_eq!(
        new.proxies[0].state.frontend.counters.read(Tally::BytesIn),
        0
    );
}

#[test]
fn ten_thousand_servers_are_a_few_megabytes() {
    let config = process(10_000);
    for server in &config.proxies[0].servers {
        for n in 0..20 {
            let tally = [Tally::BytesIn, Tally::BytesOut, Tally::Sessions][n % 3];
            server
                .state
                .traffic
                .counters
                .current_shard()
                .add(tally, 1_000_000);
        }
        let passed = CheckResult::new(CheckStatus::Layer4Ok, 1);
        server.state.take_check(passed, now_ms());
    }
    let began = Instant::now();
    let told = export(&config, None);
    let telling = began.elapsed();
    let new = process(10_000);
    let began = Instant::now();
    assert_eq!(import(&told.bytes, &new, None).unwrap().servers, 10_000);
    let hearing = began.elapsed();
    println!(
        "{} bytes, told in {telling:?}, taken in {hearing:?}",
        told.bytes.len()
    );
    assert!(told.bytes.len() < 3_000_000);
    assert!(told.mark.rest(None).len() < 1000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_accepted_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let old = process(2);
        live(&old);
        let mut bytes = export(&old, None).bytes;
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            let length = cut.index(bytes.len());
            bytes.truncate(length);
        }
        let new = process(2);
        let _ = import(&bytes, &new, None);
        // Imports random bytes: whatever they contain, counting and states still work afterwards.
        let now = now_ms();
        for n in 0..2 {
            server(&new, n).take_check(CheckResult::new(CheckStatus::Layer4Error, 1), now);
            server(&new, n).set_admin(AdminState::Maintenance, now + 1);
            server(&new, n).set_admin(AdminState::Ready, now + 2);
            server(&new, n).warm_up(now + 3);
            server(&new, n).report(now + 4).status_text();
            server(&new, n).traffic.session_rate.highest(now);
        }
        new.proxies[0].state.backend_report(now);
        new.proxies[0].state.frontend.session_rate.read(5);
        export(&new, None);
    }
}

#[test]
fn listen_state_maps_to_frontend_and_backend() {
    let one = || process(2);
    let two = || {
        let mut config = process(2);
        let listen = config.proxies.remove(0);
        let front = model::config::Proxy {
            kind: ProxyKind::Frontend,
            servers: Vec::new(),
            ..listen.clone()
        };
        let back = model::config::Proxy {
            kind: ProxyKind::Backend,
            binds: Vec::new(),
            ..listen
        };
        config.proxies = vec![front, back];
        install(&mut config, None, 1);
        assert!(Arc::ptr_eq(
            &config.proxies[0].state,
            &config.proxies[1].state
        ));
        config
    };
    for (old, new) in [(one(), two()), (two(), one()), (two(), two())] {
        let proxy = old.proxies.last().unwrap();
        proxy
            .state
            .frontend
            .counters
            .current_shard()
            .add(Tally::BytesIn, 1000);
        proxy
            .state
            .backend
            .counters
            .current_shard()
            .add(Tally::Retries, 3);
        proxy.state.frontend.log_lines.fetch_add(5, Relaxed);
        proxy.state.frontend.maxconn_set.store(77, Relaxed);
        proxy
            .state
            .listener(1)
            .counters
            .current_shard()
            .count(Tally::Sessions);
        let failed = CheckResult::new(CheckStatus::Layer4Error, 7);
        proxy.servers[1].state.take_check(failed, now_ms());
        let imported = import(&export(&old, None).bytes, &new, None).unwrap();
        assert_eq!((imported.servers, imported.unknown), (2, 0));
        let proxy = new.proxies.last().unwrap();
        assert_eq!(proxy.state.frontend.counters.read(Tally::BytesIn), 1000);
        assert_eq!(proxy.state.backend.counters.read(Tally::Retries), 3);
        assert_eq!(proxy.state.frontend.log_lines.load(Relaxed), 5);
        assert_eq!(proxy.state.frontend.maxconn_set.load(Relaxed), 77);
        assert_eq!(proxy.state.listener(1).counters.read(Tally::Sessions), 1);
        assert!(!proxy.servers[1].state.is_up());
        assert_eq!(proxy.state.active_usable(), 1);
    }
}

#[test]
fn settings_of_operators_for_checks_and_names_reach_the_next_process() {
    use keyword::testing::load_text;
    use model::state::{AgentSet, HostNow};
    let load = || {
        let text = "resolvers r\n nameserver x 127.0.0.1:1\nbackend b\n \
             server a 127.0.0.1:2 check agent-check agent-port 3 resolvers r\n \
             server plain 127.0.0.1:2\n";
        let mut config = load_text(text).config.expect("it loads");
        install(&mut config, None, 0);
        config
    };
    let set = |config: &Config, n| {
        let state = server(config, n);
        state.set_check(Some("127.0.0.9".parse().unwrap()), Some(7999));
        state.set_agent(AgentSet {
            address: Some("127.0.0.8".parse().unwrap()),
            port: Some(7992),
            send: Some((*b"auth").into()),
        });
        state.set_host(Some(HostNow {
            text: "new.test".into(),
            port: 0,
            by_record: false,
            told_beside: false,
        }));
        state.set_resolved(None, now_ms());
    };
    let old = load();
    set(&old, 0);
    set(&old, 1);
    let new = load();
    import(&export(&old, None).bytes, &new, None).unwrap();
    let [of_old, of_new] = [&old, &new].map(|config| {
        let state = server(config, 0);
        let is_unresolved = state.report(now_ms()).unresolved;
        let settings = (state.check_set(), state.agent_set(), state.host());
        (settings, is_unresolved)
    });
    assert_eq!(of_new, of_old);
    assert!(of_new.1);
    // The configuration of the other server no longer has checks, an agent or resolvers.
    let plain = server(&new, 1);
    assert_eq!(plain.check_set(), (None, None));
    assert_eq!(
        (plain.agent_set(), plain.host()),
        (AgentSet::default(), None)
    );
}
