//! Tests state files: the states that servers get, and the warnings about damaged files. The
//! expectations are what haproxy 2.6 does with the same files.

use super::super::{Loaded, load};
use super::*;
use configuration::LoadOptions;
use language::{Environment, Facts};
use model::control::install;
use model::state::now_ms;
use std::path::PathBuf;

const HEADER: &str = "1\n# be_id be_name srv_id srv_name srv_addr …\n";

struct StateDirectory(PathBuf);

impl StateDirectory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("states-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        StateDirectory(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for StateDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn file(text: &str) -> Loaded {
    let text = format!(
        "{text}\ndefaults\n    mode http\n    timeout client 5s\n    timeout server 5s\n    timeout connect 1s\n"
    );
    load(
        vec![("test.cfg".to_owned(), text.into_bytes())],
        Environment::empty(),
        Facts::new("2.6.12"),
        LoadOptions::default(),
    )
}

/// Loads a backend with servers, each given by its line and its state. Returns status, weight, age
/// and address of each server, and the warnings about the state file.
fn told(name: &str, servers: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let scratch = StateDirectory::new(name);
    let mut states = HEADER.to_owned();
    let mut config = format!(
        "global\n    server-state-file {}/all\nbackend bk\n    load-server-state-from-file global\n    \
         timeout server 5s\n    timeout connect 1s\n",
        scratch.0.display()
    );
    for (n, (line, state)) in servers.iter().enumerate() {
        config += &format!("    server s{n} {line}\n");
        states += &format!("3 bk {n} s{n} {state} - 0 0 - - 0\n");
    }
    scratch.write("all", &states);
    let loaded = file(&config);
    let warnings = loaded.diagnostics.iter().filter(|d| d.code.id == "W0605");
    let warnings = warnings.map(|d| d.message.clone()).collect();
    let mut config = loaded.config.unwrap_or_default();
    install(&mut config, None, now_ms());
    let now = now_ms();
    let servers = config.proxies.iter().flat_map(|p| &p.servers);
    let told = servers.map(|server| {
        let report = server.state.report(now);
        let ago = now.saturating_sub(report.last_change_ms) / 1000;
        let address = report.address.map(|a| a.to_string()).unwrap_or_default();
        format!(
            "{} w{} {ago}s {address}",
            report.status_text(),
            report.weight
        )
    });
    (told.collect(), warnings)
}

#[test]
fn servers_begin_as_the_file_says() {
    let (told, warnings) = told(
        "begin",
        &[
            (
                "127.0.0.1:22 check weight 11",
                "127.0.0.9 0 0 5 11 100 8 2 0 6 0 0 0 - 2222",
            ),
            (
                "127.0.0.1:22 check weight 12",
                "127.0.0.1 2 0 5 99 200 6 3 4 6 0 0 0 - 22",
            ),
            ("127.0.0.1:22", "127.0.0.1 0 1 1 1 300 6 3 4 6 0 0 0 - 22"),
            (
                "127.0.0.1:22 check",
                "127.0.0.1 2 8 1 1 400 6 3 2 6 0 0 0 - 22",
            ),
            (
                "127.0.0.1:22 disabled",
                "127.0.0.1 2 0 1 1 500 6 3 4 6 0 0 0 - 22",
            ),
            (
                "127.0.0.1:22 disabled",
                "127.0.0.1 2 4 1 1 500 6 3 4 6 0 0 0 - 22",
            ),
            ("127.0.0.1:22", "127.0.0.1 0 5 1 1 500 6 3 4 6 0 0 0 - 22"),
            (
                "127.0.0.1:22 check",
                "127.0.0.1 3 0 1 1 600 16 4 3 6 0 0 0 - 22",
            ),
            (
                "127.0.0.1:22 check",
                "127.0.0.1 3 0 1 1 600 16 4 9 6 0 0 0 - 22",
            ),
            (
                "127.0.0.1:22 check slowstart 100s",
                "127.0.0.1 1 0 1 1 50 6 3 4 6 0 0 0 - 22",
            ),
            (
                "127.0.0.1:22 check slowstart 100s",
                "127.0.0.1 1 0 1 1 150 6 3 4 6 0 0 0 - 22",
            ),
        ],
    );
    assert_eq!(
        told,
        [
            "DOWN w5 100s 127.0.0.1:2222",
            "UP w12 200s ",
            "MAINT w1 300s ",
            "DRAIN w1 400s ",
            "MAINT w1 0s ",
            "no check w1 500s ",
            "no check w1 0s ",
            "NOLB 2/3 w1 600s ",
            "NOLB 1/3 w1 600s ",
            "UP 1/3 w1 0s ",
            "UP 1/3 w1 150s ",
        ]
    );
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn what_no_process_writes_is_told_and_not_applied() {
    let (told, warnings) = told(
        "bad",
        &[
            (
                "127.0.0.1:22 check",
                "127.0.0.1 9 0 1 1 50 6 3 0 6 0 0 0 - 22",
            ),
            (
                "127.0.0.1:22 check",
                "127.0.0.1 0 9 1 1 50 6 3 0 6 0 0 0 - 22",
            ),
            (
                "127.0.0.1:22 check",
                "127.0.0.1 0 0 300 1 50 6 3 0 6 0 0 0 - 22",
            ),
            (
                "127.0.0.1:22 check",
                "127.0.0.1 0 0 1 1 50 99 3 0 6 0 0 0 - 22",
            ),
            (
                "127.0.0.1:22 check",
                "127.0.0.1 0 0 1 1 50 6 9 0 6 0 0 0 - 22",
            ),
            (
                "127.0.0.1:22 check",
                "127.0.0.1 0 0 1 1 50 6 3 0 6 0 0 0 - 99999",
            ),
            ("127.0.0.1:22 check", "zz 0 0 1 1 -5 6 3 -2 6 0 0 0 - x"),
        ],
    );
    assert!(told[..6].iter().all(|s| s == "UP 1/3 w1 0s "), "{told:?}");
    assert_eq!(told[6], "DOWN w1 0s ");
    let fields: Vec<&str> = warnings
        .iter()
        .filter_map(|w| w.split("invalid ").nth(1))
        .collect();
    assert_eq!(
        fields,
        [
            "srv_op_state '9'",
            "srv_admin_state '9'",
            "srv_uweight '300'",
            "srv_check_status '99'",
            "srv_check_result '9'",
            "srv_port '99999'"
        ]
    );
}

#[test]
fn a_backend_can_have_a_file_of_its_own() {
    let scratch = StateDirectory::new("own");
    let line = |backend: &str| {
        format!("{HEADER}3 {backend} 1 s1 127.0.0.1 0 0 1 1 50 6 3 0 6 0 0 0 - 22 - 0 0 - - 0\n")
    };
    scratch.write("one", &line("one"));
    scratch.write("named", &line("two"));
    let backend = |name: &str, more: &str| {
        format!(
            "backend {name}\n    timeout server 5s\n    timeout connect 1s\n    \
             load-server-state-from-file local\n    server s1 127.0.0.1:22 check\n{more}"
        )
    };
    let loaded = file(&format!(
        "global\n    server-state-base {}\n{}{}{}",
        scratch.0.display(),
        backend("one", "    server-state-file-name use-backend-name\n"),
        backend("two", "    server-state-file-name named\n"),
        backend("three", ""),
    ));
    let config = loaded.config.unwrap();
    let saved = config
        .proxies
        .iter()
        .map(|p| p.servers[0].options.saved.is_some());
    assert_eq!(saved.collect::<Vec<_>>(), [true, true, false]);
    let warned: Vec<&str> = loaded.diagnostics.iter().map(|d| &*d.message).collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("three") && warned[0].contains("No such file"));
}

#[test]
fn a_damaged_file_gives_no_states() {
    let line = "3 bk 1 s1 127.0.0.1 0 0 1 1 50 6 3 0 6 0 0 0 - 22 -";
    let states = |text: &str| lines(text).map(|l| l.get("bk").map_or(0, Vec::len));
    assert_eq!(states(&format!("1\n{line}\n\n# end\n")), Ok(1));
    assert_eq!(states(&format!("1\n{line} 0 0 - - 0 and more\n")), Ok(1));
    for text in ["", "2\n", "x\n", "1", "\n1\n"] {
        assert_eq!(states(text), Err(Wrong::Version), "{text:?}");
    }
    assert_eq!(states(&format!("1\n{line}")), Err(Wrong::Line(2)));
    assert_eq!(states("1\n#\n3 bk 1 s1 127.0.0.1 0\n"), Err(Wrong::Line(3)));
}

#[test]
fn names_are_told_from_addresses() {
    for text in ["web.example:80", "localhost", "ipv4@web:80", "web:+1"] {
        assert!(is_name(text), "{text}");
    }
    for text in [
        "127.0.0.1:80",
        "::1",
        "[::1]:80",
        "::1:80",
        "*:80",
        ":80",
        "/run/x.sock",
        "ipv6@::1",
    ] {
        assert!(!is_name(text), "{text}");
    }
}
