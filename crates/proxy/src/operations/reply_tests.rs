//! Tests the severity of replies on a statistics socket, and what the access level `user` cannot
//! see.

use super::socket::Rights;
use super::tests::{ask, block_on, context, talk, talk_with};
use model::config::StatsLevel;

const FILE: &str = "\
frontend www
 mode http
 bind 127.0.0.1:8080
 default_backend app
backend app
 mode http
 stick-table type ip size 10 store gpc0
 server s1 127.0.0.1:80 check weight 10
";

#[test]
fn replies_begin_with_their_severity_when_enabled() {
    let context = context(FILE);
    for (command, reply) in [
        ("get weight none/s1", "[3]: No such backend.\n\n"),
        ("get weight app/s1", "10 (initial 10)\n\n"),
        ("disable server app/s1", "\n"),
        (
            "set server app/s1 state on",
            "[3]: 'set server <srv> state'",
        ),
        (
            "set server app/s1 addr 127.0.0.9",
            "[4]: IP changed from '127.0.0.1' to '127.0.0.9' by",
        ),
        ("show table none", "[3]: No such table\n\n"),
        ("show cli level", "[6]: admin\n\n"),
        (
            "enable frontend www",
            "[5]: All sockets are already enabled.\n\n",
        ),
        ("shwo", "[6]: Unknown command"),
        ("user;disable server app/s1", "\n[3]: Permission denied\n\n"),
        (
            "set severity-output string;show stat none 1 1",
            "\n[err]: No such proxy.\n\n",
        ),
        (
            "set severity-output none;show table none",
            "\nNo such table\n\n",
        ),
        (
            "set severity-output",
            "[3]: one of 'none', 'number', 'string' is a required argument\n\n",
        ),
    ] {
        let line = format!("set severity-output number;{command}");
        let answer = ask(&context, StatsLevel::Admin, &line);
        let answer = answer.strip_prefix('\n').unwrap();
        assert!(answer.starts_with(reply), "{command}: {answer:?}");
    }
    let counters = ask(
        &context,
        StatsLevel::Admin,
        "set severity-output number;show info",
    );
    assert!(counters.starts_with("\nName: HAProxy\n"), "{counters}");
}

#[test]
fn severity_of_a_socket_applies_without_a_command() {
    let text = format!("{FILE}global\n stats socket /run/a.sock severity-output string\n");
    let context = context(&text);
    let socket = &context.runtime.config().global.stats_sockets[0];
    let rights = Rights {
        level: socket.level,
        expose_listeners: false,
        severity: socket.severity,
    };
    for (command, reply) in [
        ("get weight none/s1", "[err]: No such backend.\n\n"),
        (
            "set severity-output none;get weight none/s1",
            "\nNo such backend.\n\n",
        ),
    ] {
        let input = format!("{command}\n");
        let answer = block_on(talk_with(&context, rights, input.as_bytes()));
        assert_eq!(answer, reply, "{command}");
    }
}

#[test]
fn the_level_user_sees_no_keys_of_a_table() {
    let context = context(FILE);
    let set = "set table app key 192.0.2.7";
    assert_eq!(ask(&context, StatsLevel::Operator, set), "\n");
    let all = ask(&context, StatsLevel::Operator, "show table app");
    assert!(all.contains("key=192.0.2.7"), "{all}");
    let head = ask(&context, StatsLevel::User, "show table app");
    assert!(
        head.contains("used:1\n# contents not dumped") && !head.contains("192.0.2.7"),
        "{head}"
    );
    for command in [
        "show table app key 192.0.2.7",
        "show table app json",
        "clear table app",
        "set table app key 192.0.2.8",
        "get var proc.x",
        "show startup-logs",
    ] {
        let answer = ask(&context, StatsLevel::User, command);
        assert_eq!(answer, "Permission denied\n\n", "{command}");
    }
    assert_eq!(ask(&context, StatsLevel::Operator, "clear table app"), "\n");
}

#[test]
fn table_is_sorted_and_limited() {
    let context = context(FILE);
    let ask = |command: &str| ask(&context, StatsLevel::Operator, command);
    for (key, value) in [("192.0.2.7", 3), ("192.0.2.70", 9), ("198.51.100.1", 5)] {
        ask(&format!("set table app key {key} data.gpc0 {value}"));
    }
    let show = |words: &str| -> serde_json::Value {
        let text = ask(&format!("show table app json {words}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    let keys = |all: &serde_json::Value| -> Vec<String> {
        let entries = all["entries"].as_array().unwrap().iter();
        entries
            .map(|one| one["key"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = show("");
    assert_eq!(keys(&all), ["192.0.2.70", "198.51.100.1", "192.0.2.7"]);
    assert_eq!((&all["used"], &all["size"]), (&3.into(), &10.into()));
    assert_eq!(all["entries"][0]["values"]["gpc0"], 9);
    let two = show("sort gpc0 max 2");
    assert_eq!(keys(&two), ["192.0.2.70", "198.51.100.1"]);
    assert_eq!(two["matching"], 3);
    assert_eq!(keys(&show("has 192. max 9")), ["192.0.2.70", "192.0.2.7"]);
    assert_eq!(keys(&show("has nothing")), [""; 0]);
    for wrong in ["sort gpc1", "max 0", "max 1001", "sort", "x y"] {
        let text = ask(&format!("show table app json {wrong}"));
        assert!(!text.starts_with('{'), "{text}");
    }
}

#[test]
fn latency_lists_targets_with_requests() {
    let context = context(FILE);
    let head = "# pxname,svname,samples,p50_ms,p95_ms,p99_ms\n";
    let show = || ask(&context, StatsLevel::User, "show latency");
    assert_eq!(show(), format!("{head}\n"));
    let config = context.runtime.config();
    let proxy = |name: &str| {
        config
            .proxies
            .iter()
            .find(|proxy| &*proxy.name == name)
            .unwrap()
    };
    proxy("www").state.frontend.counters.current_shard().took(5);
    let server = &proxy("app").servers[0].state.traffic.counters;
    server.current_shard().times([0, 1, 2, 9]);
    assert_eq!(
        show(),
        format!("{head}www,FRONTEND,1,5,5,5\napp,s1,1,9,9,9\n\n")
    );
}

#[test]
fn metrics_are_those_of_the_exporter_with_its_query() {
    let context = context(FILE);
    let show = |query: &str| {
        let command = format!("show metrics {query}");
        ask(&context, StatsLevel::User, command.trim_end())
    };
    let all = show("");
    for name in ["haproxy_process_", "haproxy_frontend_", "haproxy_server_"] {
        assert!(all.contains(name), "{name}: {all}");
    }
    let some = show("scope=backend&scope=server&no-maint");
    assert!(
        some.contains("haproxy_backend_status{proxy=\"app\""),
        "{some}"
    );
    assert!(!some.contains("haproxy_process_") && !some.contains("haproxy_frontend_"));
    assert!(show("scope=nothing").contains("unknown scope"));
}

#[test]
fn a_ring_that_no_log_line_names_is_shown_and_empty() {
    let context = context(&format!("ring spare\n description \"for later\"\n{FILE}"));
    let ask = |command| ask(&context, StatsLevel::Operator, command);
    let all = ask("show events");
    assert!(
        all.contains("    spare      : type=buffer, 0 dropped, for later\n"),
        "{all}"
    );
    assert_eq!(ask("show events spare"), "\n");
    assert_eq!(ask("show events none"), "No such event sink\n\n");
}

#[test]
fn a_payload_is_prompted_for() {
    let context = context(FILE);
    let input = b"prompt\nadd map #99 <<\na b\n\nquit\n";
    let answer = block_on(talk(&context, StatsLevel::Admin, input));
    assert_eq!(
        answer,
        "\n> + + Unknown map identifier. Please use #<id> or <file>.\n\n> "
    );
}

#[test]
fn clear_counters_keeps_the_totals_of_the_process() {
    let context = context(FILE);
    let config = context.runtime.config();
    let frontend = &config.proxies[0].state.frontend;
    frontend
        .counters
        .current_shard()
        .add(model::state::Tally::Requests, 7);
    frontend
        .counters
        .current_shard()
        .add(model::state::Tally::BytesOut, 70);
    let info = |command: &str| ask(&context, StatsLevel::Admin, command);
    for _ in 0..2 {
        let shown = info("clear counters all;show info");
        assert!(shown.contains("\nCumReq: 7\n"), "{shown}");
        assert!(shown.contains("\nTotalBytesOut: 70\n"), "{shown}");
    }
    frontend
        .counters
        .current_shard()
        .add(model::state::Tally::Requests, 1);
    assert!(info("show info").contains("\nCumReq: 8\n"));
}
