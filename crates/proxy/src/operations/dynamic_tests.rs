//! Tests the commands `add server` and `del server`, over reloads and restarts of the process.

use super::command::Context;
use super::tests::{ask, context};
use crate::runtime::Runtime;
use crate::{carry, dynamic};
use keyword::testing::load_text;
use model::config::{Config, Server, ServerIndex, StatsLevel};
use model::state::{self, now_ms};
use std::sync::Arc;

const FILE: &str = "\
defaults
 mode http
backend b
 default-server check inter 3s weight 7
 use-server s3 if FALSE
 server s1 127.0.0.1:81
 server s2 127.0.0.1:82
 server s3 127.0.0.1:83 no-check track s2
 server s4 127.0.0.1:84
backend static
 balance static-rr
backend tcp
 mode tcp
 acl one srv_is_up(b/s1)
 tcp-request content reject if one
frontend f
 bind 127.0.0.1:1
";

fn admin(context: &Context, command: &str) -> String {
    ask(context, StatsLevel::Admin, command)
}

fn server(config: &Config, name: &str) -> Option<Server> {
    let mut all = config.proxies.iter().flat_map(|proxy| &proxy.servers);
    all.find(|server| &*server.name == name).cloned()
}

fn add(context: &Context, words: &str) -> String {
    admin(context, &format!("add server {words}"))
}

#[test]
fn invalid_server_is_refused_with_haproxys_message() {
    let context = context(FILE);
    for (words, told) in [
        ("", "Require 'backend/server'.\n\n"),
        ("b", "Require 'backend/server'.\n\n"),
        ("b/", "Require 'backend/server'.\n\n"),
        ("no/s 127.0.0.1:80", "No such backend.\n\n"),
        (
            "b/n",
            "'server' expects <name> and <addr>[:<port>] as arguments.\n\n",
        ),
        (
            "b/n 127.0.0.1:80 wieght 5",
            "'server': unknown option 'wieght'; did you mean 'weight'?\n\n",
        ),
        (
            "b/n 127.0.0.1:80 init-addr none",
            "'init-addr' option is not accepted for dynamic server.\n\n",
        ),
        (
            "static/n 127.0.0.1:80",
            "Backend must use a dynamic load balancing to support dynamic servers: backend 'static' uses a non dynamic load balancing method.\n\n",
        ),
        (
            "tcp/n 127.0.0.1:80 proto h2",
            "MUX protocol is not usable for server.\n\n",
        ),
        (
            "b/s1 127.0.0.1:80",
            "Already exists a server with the same name in backend.\n\n",
        ),
        (
            "b/n 127.0.0.1:80 id 1",
            "'id' : custom id 1 already used ('server s1').\n\n",
        ),
        (
            "b/n 127.0.0.1:80 check track s1",
            "unable to enable checks and tracking at the same time!\n\n",
        ),
        (
            "b/n 127.0.0.1:80 track no/s1",
            "unable to find required proxy 'no' for tracking.\n\n",
        ),
        (
            "b/n 127.0.0.1:80 agent-check",
            "server n does not have agent port.\n\n",
        ),
        (
            "b/n 127.0.0.1:80 ssl ca-file /no/such.pem",
            "'ca-file': unable to load '/no/such.pem'.\n\n",
        ),
    ] {
        assert_eq!(add(&context, words), told, "{words}");
    }
    assert_eq!(context.runtime.config().version, 1, "nothing has changed");
}

#[test]
fn a_server_is_added_in_maintenance_and_served_by_when_it_is_enabled() {
    let context = context(FILE);
    let before = context.runtime.config();
    let done = "New server registered.\n\n";
    assert_eq!(add(&context, "b/n 127.0.0.1:90 check weight 9"), done);
    let config = context.runtime.config();
    assert_eq!((before.version, config.version), (1, 2));
    let n = server(&config, "n").expect("n");
    // `default-server` does not apply to an added server.
    assert_eq!((n.id, n.options.weight, n.options.inter_ms), (5, 9, 2000));
    assert!(n.state.in_maintenance() && n.state.checks_stopped() && !n.state.usable());
    // The other servers are unchanged.
    let (was, is) = (
        server(&before, "s1").unwrap(),
        server(&config, "s1").unwrap(),
    );
    assert!(Arc::ptr_eq(&was.state, &is.state) && is.options.weight == 7);
    admin(&context, "enable health b/n; enable server b/n");
    assert!(n.state.usable() && !n.state.checks_stopped());
    assert_eq!(add(&context, "b/e 127.0.0.1:90 enabled"), done);
    assert!(
        server(&context.runtime.config(), "e")
            .unwrap()
            .state
            .usable()
    );
    // A host name is not resolved.
    assert_eq!(add(&context, "b/u name.invalid:80"), done);
    assert!(
        server(&context.runtime.config(), "u")
            .unwrap()
            .state
            .in_maintenance()
    );
}

#[test]
fn a_server_that_tracks_follows_one_of_the_file_only() {
    let context = context(FILE);
    let done = "New server registered.\n\n";
    assert_eq!(add(&context, "b/t 127.0.0.1:90 track s2"), done);
    assert_eq!(
        add(&context, "b/v 127.0.0.1:90 track b/t"),
        "unable to use b/t for tracking as it is a dynamic server.\n\n"
    );
    admin(&context, "enable server b/t");
    let up = || {
        server(&context.runtime.config(), "t")
            .unwrap()
            .state
            .is_up()
    };
    assert!(up());
    admin(&context, "disable server b/s2");
    assert!(!up());
    // A server's maintenance also counts if only the tracked server was put into it.
    assert_eq!(admin(&context, "del server b/t"), "Server deleted.\n\n");
}

#[test]
fn only_unreferenced_idle_servers_are_removed() {
    let context = context(FILE);
    let named = "This server cannot be removed at runtime due to other configuration elements pointing to it.\n\n";
    for (words, told) in [
        ("b", "Require 'backend/server'.\n\n"),
        ("no/s", "No such backend.\n\n"),
        ("b/no", "No such server.\n\n"),
        ("b/s1", named),
        ("b/s2", named),
        ("b/s3", named),
        (
            "b/s4",
            "Only servers in maintenance mode can be deleted.\n\n",
        ),
    ] {
        assert_eq!(
            admin(&context, &format!("del server {words}")),
            told,
            "{words}"
        );
    }
    add(&context, "b/n 127.0.0.1:90");
    admin(&context, "disable server b/s4");
    let config = context.runtime.config();
    let s4 = server(&config, "s4").unwrap();
    s4.state.traffic.sessions.increment();
    let busy = "Server still has connections attached to it, cannot remove it.\n\n";
    assert_eq!(admin(&context, "del server b/s4"), busy);
    s4.state.traffic.sessions.decrement();
    assert_eq!(admin(&context, "del server b/s4"), "Server deleted.\n\n");
    let config = context.runtime.config();
    assert!(server(&config, "s4").is_none() && s4.state.is_retired());
    // The servers after it have moved up by one, and are found at their new index.
    let n = server(&config, "n").unwrap();
    assert_eq!(
        config.proxies[0].place_of(n.state.uid),
        Some(ServerIndex(3))
    );
    assert_eq!(admin(&context, "del server b/n"), "Server deleted.\n\n");
}

#[test]
fn added_servers_survive_the_process_and_a_reload() {
    let context = context(FILE);
    add(&context, "b/n 127.0.0.1:90 check weight 9");
    admin(
        &context,
        "enable server b/n; disable server b/s4; del server b/s4",
    );
    let config = context.runtime.config();
    let told = carry::export(&config, None).bytes;
    // Another process with the same file.
    let mut next = load_text(FILE).config.expect("the file is good");
    assert!(carry::import_servers(&told, &mut next).is_empty());
    model::control::install(&mut next, None, now_ms());
    carry::import(&told, &next, None).expect("it can be read");
    assert!(server(&next, "s4").is_none());
    let n = server(&next, "n").expect("n");
    assert!(n.state.usable() && n.state.checks_stopped() && n.options.weight == 9);
    // With another file, removed servers do not count.
    let mut other = load_text(FILE).config.expect("the file is good");
    assert!(dynamic::keep(&mut other, &config).is_empty());
    model::control::install(&mut other, Some(&config), now_ms());
    assert!(server(&other, "s4").is_some());
    let kept = server(&other, "n").expect("n");
    let was = server(&config, "n").expect("n");
    assert!(Arc::ptr_eq(&kept.state, &was.state) && kept.state.usable());
    // A file that contains the server itself, or no such backend.
    let with = FILE.replace("server s4", "server n 127.0.0.1:99\n server s4");
    let mut other = load_text(&with).config.expect("the file is good");
    assert!(dynamic::keep(&mut other, &config).is_empty());
    assert!(server(&other, "n").unwrap().added.is_none());
    let without = "listen x\n bind 127.0.0.1:1\n server s 127.0.0.1:80\n";
    let mut other = load_text(without).config.expect("the file is good");
    assert_eq!(dynamic::keep(&mut other, &config).len(), 1);
}

#[test]
fn any_line_gets_a_response() {
    let context = context(FILE);
    let long = "x".repeat(9000);
    for words in [
        "b/é 127.0.0.1:80",
        "b/n é",
        "b/n 127.0.0.1:80 weight é",
        "b/n 127.0.0.1:99999",
        "b/n 127.0.0.1:80 id 99999999999999999999",
        "b/n 127.0.0.1:80 track /",
        "b/n 127.0.0.1:80 track b/",
        "b/n 127.0.0.1:80 sni %[",
        "b/n 127.0.0.1:80 sni fc_sni,table_trackers(x)",
        "b/n 127.0.0.1:80 source usesrc client",
        "b//n 127.0.0.1:80",
        "b/n @1 @2 @3",
        "b/n fd@0",
        "b/n \\\"\\\" \\\\",
        &format!("b/{long} 127.0.0.1:80 ca-file {long}"),
    ] {
        let told = add(&context, words);
        assert!(!told.trim().is_empty(), "{words}");
    }
    let config = context.runtime.config();
    assert_eq!(config.proxies[0].servers.len(), 4, "none was added");
    let state = server(&config, "s1").unwrap().state;
    assert_eq!(state.report(now_ms()).admin, state::AdminReport::Ready);
}

#[test]
fn changed_limits_and_keys_affect_only_new_sessions() {
    let file = FILE.replace("backend tcp", "backend c\n cookie k insert\nbackend tcp");
    let context = context(&file);
    let of = |name: &str| {
        let config = context.runtime.config();
        let proxy = config.proxies.iter().find(|proxy| &*proxy.name == name);
        proxy.expect("it is there").clone()
    };
    let info = |field: &str| {
        let told = admin(&context, "show info");
        let line = told.lines().find(|line| line.starts_with(field));
        line.unwrap_or_default().to_owned()
    };
    for (setting, field, value, shown) in [
        ("connections", "ConnRateLimit", "7", "7"),
        ("sessions", "SessRateLimit", "8", "8"),
        ("ssl-sessions", "SslRateLimit", "9", "9"),
        ("http-compression", "CompressBpsRateLim", "2", "2048"),
        ("sessions", "SessRateLimit", "0", "0"),
    ] {
        let told = admin(
            &context,
            &format!("set rate-limit {setting} global {value}"),
        );
        assert_eq!(
            (told.as_str(), info(field)),
            ("\n", format!("{field}: {shown}"))
        );
    }
    for wrong in [
        "",
        " foo",
        " sessions",
        " sessions local 5",
        " foo global 5",
    ] {
        let told = admin(&context, &format!("set rate-limit{wrong}"));
        assert!(told.starts_with("'set rate-limit' only supports :\n   - 'connections global'"));
    }
    for wrong in ["", " x", " -1", " 99999999999"] {
        let told = admin(&context, &format!("set rate-limit sessions global{wrong}"));
        assert_eq!(told, "Expects an integer value.\n\n", "{wrong}");
    }
    assert_eq!(admin(&context, "enable dynamic-cookie backend c"), "\n");
    assert_eq!(
        admin(&context, "set dynamic-cookie-key backend c secret"),
        "\n"
    );
    let c = of("c");
    assert!(c.cookie.is_some_and(|cookie| cookie.dynamic));
    assert_eq!(c.dynamic_cookie_key.as_deref(), Some(&b"secret"[..]));
    assert_eq!(admin(&context, "disable dynamic-cookie backend c"), "\n");
    assert!(!of("c").cookie.is_some_and(|cookie| cookie.dynamic));
    let told = admin(&context, "enable dynamic-cookie backend b");
    assert_eq!(told, "The backend has no 'cookie' line.\n\n");
    assert_eq!(
        admin(&context, "enable dynamic-cookie backend no"),
        "No such backend.\n\n"
    );
    assert_eq!(
        admin(&context, "set dynamic-cookie-key backend c"),
        "String value expected.\n\n"
    );
}

#[test]
fn run_time_rates_hold_until_the_file_changes_them() {
    let file = FILE.replace("backend tcp", "backend c\n cookie k insert\nbackend tcp");
    let file = format!("global\n maxsessrate 100\n maxconnrate 50\n{file}");
    let context = context(&file);
    admin(
        &context,
        "set rate-limit sessions global 8; set rate-limit connections global 9; \
         set rate-limit connections global 10; set rate-limit http-compression global 2; \
         enable dynamic-cookie backend c; shutdown frontend f",
    );
    let rates = |config: &Config| {
        let global = &config.global;
        (
            global.session_rate_max,
            global.connection_rate_max,
            global.compression.rate_max,
        )
    };
    let is_dynamic = |config: &Config| {
        let proxy = config.proxies.iter().find(|proxy| &*proxy.name == "c");
        proxy.and_then(|proxy| proxy.cookie.as_ref().map(|cookie| cookie.dynamic))
    };
    let told = carry::export(&context.runtime.config(), Some(context.runtime)).bytes;
    // The next process has the same file, except for another connection rate.
    let next = |text: &str| {
        let mut next = load_text(text).config.expect("the file is valid");
        assert!(carry::import_servers(&told, &mut next).is_empty());
        model::control::install(&mut next, None, now_ms());
        let imported = carry::import(&told, &next, None).expect("it can be read");
        let runtime = Runtime::leak(Arc::new(next), 1, 100);
        imported.add_process_counters(runtime);
        runtime
    };
    let same = next(&file);
    assert_eq!(rates(&same.config()), (Some(8), Some(10), 2048));
    assert_eq!(is_dynamic(&same.config()), Some(true));
    let config = same.config();
    let f = config.proxies.iter().find(|proxy| &*proxy.name == "f");
    assert!(f.expect("f").state.is_shut_down());
    let other_file = file.replace("maxconnrate 50", "maxconnrate 60");
    let other = next(&other_file);
    assert_eq!(rates(&other.config()), (Some(8), Some(60), 2048));
    // The process after the next one still knows which values operators have set.
    let told = carry::export(&other.config(), Some(other)).bytes;
    let mut third = load_text(&other_file).config.expect("the file is valid");
    assert!(carry::import_servers(&told, &mut third).is_empty());
    assert_eq!(rates(&third), (Some(8), Some(60), 2048));
    // A change of the file within a process.
    let mut changed = load_text(&file).config.expect("the file is valid");
    crate::runtime::lock(&same.orders).apply(&mut changed);
    assert_eq!(rates(&changed), (Some(8), Some(10), 2048));
    assert_eq!(is_dynamic(&changed), Some(true));
}

#[test]
fn developer_commands_respond_or_report_unavailability() {
    let context = context(FILE);
    for (command, told) in [
        ("expert-mode", "expert-mode is OFF\n\n"),
        ("expert-mode on;expert-mode", "\nexpert-mode is ON\n\n"),
        (
            "experimental-mode on;experimental-mode off;experimental-mode",
            "\n\nexperimental-mode is OFF\n\n",
        ),
        ("get var", "Missing process-wide variable identifier.\n\n"),
        ("get var proc.nobody_has_this", "Variable not found.\n\n"),
        ("get var txn.x", "Variable not found.\n\n"),
        ("set profiling", "Expects either 'tasks' or 'memory'.\n\n"),
        ("set profiling tasks off", "\n"),
        ("trace nothing start", "No such trace source 'nothing'.\n\n"),
        ("trace 0", "\n"),
    ] {
        assert_eq!(admin(&context, command), told, "{command}");
    }
    assert!(admin(&context, "set profiling tasks on").contains("not available"));
    assert_eq!(
        admin(&context, "show threads")
            .lines()
            .filter(|l| l.contains("Thread"))
            .count(),
        2
    );
    assert!(admin(&context, "show libs").starts_with("0x"));
}

#[test]
fn variables_of_the_process_are_set_and_shown() {
    let context = context(FILE);
    for (command, told) in [
        (
            "set var proc.d1 int(5)",
            "This command is restricted to experimental mode only.\n\n",
        ),
        (
            "experimental-mode on;set var proc.d1 int(5),add(2);get var proc.d1",
            "\n\nproc.d1: type=sint value=<7>\n",
        ),
        (
            "experimental-mode on;set var proc.d2 fmt a\\ %[int(3)];get var proc.d2",
            "\n\nproc.d2: type=str value=<a 3>\n",
        ),
        (
            "experimental-mode on;set var",
            "\nMissing process-wide variable identifier.\n\n",
        ),
        (
            "experimental-mode on;set var proc.x",
            "\nAn expression or a format is expected.\n\n",
        ),
        (
            "experimental-mode on;set var txn.x int(1)",
            "\nOnly variables of the process (proc.) can be set.\n\n",
        ),
    ] {
        assert_eq!(admin(&context, command), told, "{command}");
    }
    for wrong in ["req.hdr(x)", "nothing(", "int(x)", "%["] {
        let told = admin(
            &context,
            &format!("experimental-mode on;set var proc.d3 {wrong}"),
        );
        assert!(told.trim().len() > 5, "{wrong}");
        assert_eq!(
            admin(&context, "get var proc.d3"),
            "Variable not found.\n\n"
        );
    }
    let name = model::rules::VariableName::parse("proc.told").expect("a name");
    let value = model::rules::SampleValue::Str(b"a \"b\"\n".to_vec().into());
    assert!(model::sample::variables::set_process_variable(
        name, value, None
    ));
    let told = admin(&context, "get var proc.told");
    assert_eq!(told, "proc.told: type=str value=<a \\\"b\\\"\\n>\n");
}
