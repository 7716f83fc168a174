//! Tests lines on the wrong side of a proxy, prefixes, inheritance, and the environment of a load.

use super::{codes, text, told};
use crate::load::load;
use configuration::LoadOptions;
use language::{Environment, Facts};
use model::config::{
    BindAddress, ErrorPage, Mode, ProxyOption, ServerAddress, SeverityOutput, StatsLevel,
};

/// Timeouts, so that no warning is given about missing ones.
const QUIET: &str = "defaults\n    mode http\n    timeout client 30s\n    timeout connect 5s\n    timeout server 30s\n";

#[test]
fn lines_on_the_wrong_side_are_ignored_with_a_warning_and_some_refused() {
    let loaded = text(&format!(
        "{QUIET}frontend f\n    bind :8080\n    retries 3\n    default_backend b\nbackend b\n    maxconn 5\n    stats enable\n"
    ));
    assert_eq!(codes(&loaded), ["W0113", "W0113"], "{}", told(&loaded));
    let config = loaded.config.expect("only warnings");
    assert_eq!(config.proxies[0].retries, None);
    assert_eq!(config.proxies[1].maxconn, None);
    // Operators can see the warnings later (`show startup-logs`).
    let warnings = config.reported.matches("[WARNING]").count();
    assert_eq!(warnings, 2, "{}", config.reported);
}

#[test]
fn options_can_be_undone_and_connection_modes_exclude_each_other() {
    let loaded = text(&format!(
        "{QUIET}    option dontlognull\n    option httpclose\n    option redispatch\n\
         listen a\n    bind :8080\n    no option dontlognull\n    no option redispatch\n    option http-server-close\n\
         listen b\n    bind :8081\n    no option httpclose\n\
         listen c\n    bind :8082\n    no option http-server-close\n    default option dontlognull\n"
    ));
    let config = loaded
        .config
        .as_ref()
        .unwrap_or_else(|| panic!("{}", told(&loaded)));
    let has = |at: usize, option| config.proxies[at].has(option);
    assert!(!has(0, ProxyOption::DontLogNull));
    assert!(has(1, ProxyOption::DontLogNull));
    assert!(!has(2, ProxyOption::DontLogNull));
    assert_eq!(
        (config.proxies[0].redispatch, config.proxies[1].redispatch),
        (None, Some(-1))
    );
    assert!(has(0, ProxyOption::HttpServerClose) && !has(0, ProxyOption::HttpClose));
    assert!(!has(1, ProxyOption::HttpClose));
    assert!(
        has(2, ProxyOption::HttpClose),
        "another mode's `no` leaves it"
    );
}

#[test]
fn a_statistics_page_of_a_section_forgets_that_of_its_defaults() {
    let loaded = text(&format!(
        "{QUIET}    stats auth a:b\n    stats uri /d\nlisten a\n    bind :8080\nlisten b\n    bind :8081\n    stats realm x\n"
    ));
    let config = loaded.config.expect("no error");
    let page = |at: usize| config.proxies[at].stats.as_deref().expect("a page");
    assert_eq!((&*page(0).uri, page(0).users.len()), (&b"/d"[..], 1));
    assert_eq!(
        (&*page(1).uri, page(1).users.len()),
        (&b"/haproxy?stats"[..], 0)
    );
}

#[test]
fn variables_that_global_sets_are_seen_by_the_lines_that_follow() {
    let loaded = text(&format!(
        "global\n    setenv PORT 8080\n    presetenv PORT 9090\n{QUIET}listen a\n    bind \":${{PORT}}\"\n"
    ));
    let config = loaded
        .config
        .as_ref()
        .unwrap_or_else(|| panic!("{}", told(&loaded)));
    let BindAddress::Inet(address) = config.proxies[0].binds[0].address else {
        panic!()
    };
    assert_eq!(address.port(), 8080);
}

#[test]
fn a_bind_line_makes_a_listener_for_each_address_and_port() {
    let loaded = text(&format!(
        "{QUIET}frontend f\n    bind :8080-8082,[::1]:90, name x v6only\n    bind abns@app\n    bind ipv6@:99\n"
    ));
    let config = loaded
        .config
        .as_ref()
        .unwrap_or_else(|| panic!("{}", told(&loaded)));
    let binds = &config.proxies[0].binds;
    let shown: Vec<String> = binds[..4]
        .iter()
        .map(|bind| match bind.address {
            BindAddress::Inet(address) => format!("{} {} {}", bind.id, address, bind.name),
            _ => String::new(),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "1 0.0.0.0:8080 x",
            "2 0.0.0.0:8081 x",
            "3 0.0.0.0:8082 x",
            "4 [::1]:90 x"
        ]
    );
    assert!(matches!(&binds[4].address, BindAddress::Abstract(name) if name.len() == 107));
    assert!(config.listens());
}

#[test]
fn proxies_are_numbered_around_the_ids_of_the_file() {
    for (global, expected) in [
        ("", [1, 10, 3]),
        // With a statistics socket, the first ID belongs to it.
        ("global\n    stats socket /x\n", [2, 10, 4]),
    ] {
        let loaded = text(&format!(
            "{global}{QUIET}listen a\n    bind :1\nlisten b\n    bind :2\n    id 10\nbackend c\n    \
             stats enable\n"
        ));
        let config = loaded.config.expect("no error");
        let ids: Vec<u32> = config.proxies.iter().map(|proxy| proxy.id).collect();
        assert_eq!(ids, expected, "{global}");
    }
}

#[test]
fn settings_of_the_process_are_kept_and_the_first_of_two_counts() {
    let loaded = text(
        "global\n    daemon\n    maxconn 10\n    maxconn 20\n    nbthread 2\n    hard-stop-after 5s\n    \
         stats socket /run/x.sock mode 660 level admin expose-fd listeners\n    stats timeout 30\n    \
         tune.bufsize 32k\n    cpu-map auto:1/1-2 4-5\n    no strict-limits\n",
    );
    assert_eq!(codes(&loaded), ["W0106"], "{}", told(&loaded));
    let global = loaded.config.expect("no error").global;
    assert_eq!((global.maxconn, global.threads), (Some(10), Some(2)));
    assert_eq!(
        (global.hard_stop_after_ms, global.stats_timeout_ms),
        (Some(5000), Some(30))
    );
    assert_eq!(
        (global.tune.bufsize, global.strict_limits),
        (32768, Some(false))
    );
    let socket = &global.stats_sockets[0];
    assert!(socket.level == StatsLevel::Admin && socket.expose_listeners);
    assert_eq!(socket.bind.owner.mode, Some(0o660));
    assert_eq!(global.cpus_of_thread(2), Some(vec![5]));
}

#[test]
fn rare_lines_have_the_meaning_of_haproxy() {
    let loaded = text(&format!(
        "global\n    noreuseport\n    stats socket /run/x.sock severity-output number\n\
         {QUIET}frontend f\n    bind :1 severity-output string\n    default_backend b\n\
         backend b\n    retries -1\n    server s 127.0.0.1:80\n"
    ));
    // Only a statistics socket accepts commands.
    assert!(codes(&loaded).contains(&"W0116"), "{}", told(&loaded));
    let config = loaded.config.expect("no error");
    assert!(config.global.exclusive_ports);
    let socket = &config.global.stats_sockets[0];
    assert_eq!(socket.severity, SeverityOutput::Number);
    assert_eq!(config.proxies[1].retries, Some(0));
    let refused = text("global\n    stats socket /run/x.sock severity-output loud\n");
    assert!(refused.config.is_none());
}

#[test]
fn error_pages_are_read_from_where_default_path_says() {
    let directory = std::env::temp_dir().join(format!("evenkeel-pages-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("503.http"), "HTTP/1.0 503 Busy\r\n\r\nlater").expect("a file");
    let origin = directory.display();
    let loaded = text(&format!(
        "global\n    default-path origin {origin}\n{QUIET}    errorfile 503 503.http\n    errorloc303 403 /no\n\
         listen a\n    bind :1\n    errorfile 403 /dev/null\n"
    ));
    std::fs::remove_dir_all(&directory).expect("its end");
    let config = loaded
        .config
        .as_ref()
        .unwrap_or_else(|| panic!("{}", told(&loaded)));
    let errors = &config.proxies[0].errors;
    assert!(matches!(&errors[0], (503, ErrorPage::File(file)) if *file.body == *b"later"));
    assert!(matches!(&errors[1], (403, ErrorPage::Silent)));
    assert_eq!(config.proxies[0].mode, Mode::Http);
}

#[test]
fn zero_warning_refuses_what_would_only_be_warned_about() {
    let file = |global: &str| format!("{global}{QUIET}frontend f\n    bind :1\n    fullconn 5\n");
    assert!(text(&file("")).config.is_some());
    let loaded = text(&file("global\n    zero-warning\n"));
    assert!(loaded.config.is_none());
    assert_eq!(codes(&loaded), ["W0113", "E0304"]);
}

#[test]
fn disabled_proxies_are_not_asked_for_what_is_missing() {
    let loaded = text("frontend f\n    disabled\n    default_backend nowhere\n");
    assert!(codes(&loaded).is_empty(), "{}", told(&loaded));
    assert!(!loaded.config.expect("no error").listens());
}

#[test]
fn an_address_that_no_interface_has_is_warned_about_on_its_own_host() {
    let file =
        format!("{QUIET}frontend f\n    bind 192.0.2.77:8080-8090\n    bind 127.0.0.9:8080\n");
    let load_here = |resolve_names| {
        let files = vec![("test.cfg".to_owned(), file.clone().into_bytes())];
        let options = LoadOptions {
            resolve_names,
            ..LoadOptions::default()
        };
        codes(&load(
            files,
            Environment::empty(),
            Facts::new("2.6.12"),
            options,
        ))
    };
    let nonlocal = std::fs::read_to_string("/proc/sys/net/ipv4/ip_nonlocal_bind");
    if nonlocal.is_ok_and(|text| text.trim() == "0") {
        assert_eq!(load_here(true), ["W0108"]);
    }
    assert!(load_here(false).is_empty());
}

#[test]
fn a_password_in_a_file_that_everyone_can_read_is_warned_about_once() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("evenkeel-password-{}.cfg", std::process::id()));
    let file = format!("{QUIET}    stats auth a:b\nlisten a\n    bind :1\n    stats auth c:d\n");
    std::fs::write(&path, &file).expect("a file");
    let load_it = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its mode");
        let files = vec![(path.display().to_string(), file.clone().into_bytes())];
        let loaded = load(
            files,
            Environment::empty(),
            Facts::new("2.6.12"),
            LoadOptions::default(),
        );
        codes(&loaded)
    };
    let (open, closed) = (load_it(0o644), load_it(0o640));
    std::fs::remove_file(&path).expect("its end");
    assert_eq!(open, ["W0109"]);
    assert!(closed.is_empty());
}

#[test]
fn rules_behind_rules_of_a_later_family_are_warned_about() {
    let loaded = text(&format!(
        "{QUIET}frontend f\n    bind :1\n    use_backend b if TRUE\n    monitor fail if TRUE\nbackend b\n    stats enable\n"
    ));
    assert_eq!(codes(&loaded), ["W0115"], "{}", told(&loaded));
}

/// Configuration whose addresses are in environment variables.
const IN_VARIABLES: &str = "global\n    log ${LOG}:514 local0\n    stats socket $DIRECTORY/admin level admin\n\
     peers p\n    peer other $IP:${PEER}\n\
     resolvers r\n    nameserver n ${DNS}\n\
     mailers m\n    mailer m1 $IP:$PORT\n\
     ring g\n    server s $IP:$PORT\n\
     frontend f\n    bind fd@${fd}\n    bind 'unix@$DIRECTORY/f',abns@${fd}x\n    bind $IP:$PORT-${LAST}\n    bind ipv4@$IP:1${PEER}\n    default_backend b\n\
     backend b\n    source $IP\n    server s1 ${IP}:${PORT} addr $IP port 80 source ${IP}:$PORT-9000 socks4 $IP:$LAST\n";

fn with_variables(text: &str) -> crate::load::Loaded {
    let mut environment = Environment::empty();
    for (name, value) in [
        ("LOG", "127.0.0.1"),
        ("DIRECTORY", "/run/x"),
        ("IP", "127.0.0.2"),
        ("PEER", "1024"),
        ("DNS", "tcp@127.0.0.3:53"),
        ("PORT", "8001"),
        ("LAST", "8002"),
        ("fd", "5"),
    ] {
        environment.set(name, value);
    }
    let files = vec![("test.cfg".to_owned(), text.as_bytes().to_vec())];
    let facts = Facts::new("2.6.12");
    load(files, environment, facts, LoadOptions::default())
}

#[test]
fn variables_of_addresses_need_no_quotes() {
    let loaded = with_variables(&format!("{QUIET}{IN_VARIABLES}"));
    let config = loaded
        .config
        .as_ref()
        .unwrap_or_else(|| panic!("{}", told(&loaded)));
    assert!(!codes(&loaded).contains(&"W0126"), "{}", told(&loaded));
    let proxy = |name: &str| config.proxies.iter().find(|p| &*p.name == name).unwrap();
    let inet = |text: &str| BindAddress::Inet(text.parse().unwrap());
    let binds = proxy("f").binds.iter().map(|bind| bind.address.clone());
    assert_eq!(
        binds.collect::<Vec<_>>(),
        [
            BindAddress::Fd(5),
            BindAddress::Unix("/run/x/f".into()),
            BindAddress::abstract_filled("5x"),
            inet("127.0.0.2:8001"),
            inet("127.0.0.2:8002"),
            inet("127.0.0.2:11024"),
        ]
    );
    let server = &proxy("b").servers[0];
    let address = ServerAddress::Inet("127.0.0.2:8001".parse().unwrap());
    assert_eq!(server.address, address);
    assert_eq!(server.options.source, "127.0.0.2:8001".parse().ok());
    assert_eq!(server.options.source_ways.ports, Some((8001, 9000)));
    assert_eq!(server.options.socks4, "127.0.0.2:8002".parse().ok());
    assert_eq!(proxy("b").source, "127.0.0.2:0".parse().ok());
    let asked = &config.resolvers[0].servers[0];
    assert_eq!(asked.address, "127.0.0.3:53".parse().unwrap());
    assert!(asked.stream);
}

#[test]
fn variables_of_addresses_that_are_not_set_are_named() {
    let listen = |line: &str| {
        let loaded = with_variables(&format!("{QUIET}listen l\n    {line}\n"));
        told(&loaded)
    };
    let here = listen("bind ${NOWHERE}:80");
    let warned = "test.cfg:7:10: warning[W0126]: the environment variable 'NOWHERE' is not set and expands to an empty string";
    assert!(here.contains(warned), "{here}");
    let refused = listen("bind fd@${NONE}$NIX");
    assert!(refused.contains("E0"), "{refused}");
    let loaded = with_variables(&format!("{QUIET}listen l\n    bind fd@${{NONE}}$NIX\n"));
    let notes: Vec<String> = loaded
        .diagnostics
        .iter()
        .flat_map(|d| d.notes.clone())
        .collect();
    assert_eq!(
        notes,
        ["the environment variables 'NONE', 'NIX' are not set and expand to empty strings"]
    );
}
