//! Tests of the command line under the name `keepalived`: its output and exit codes, compared with
//! the real keepalived if that is installed.

use crate::harness::{CommandOutput, evenkeel, run};
use lab::{Lab, LabHost, ScratchDirectory};
use std::path::{Path, PathBuf};

const BASE: &str = "vrrp_instance VI_1 {\n interface v0\n virtual_router_id 51\n priority 150\n \
                    virtual_ipaddress {\n 10.9.9.9/32\n }\n";

fn ours(directory: &Path, words: &[&str]) -> CommandOutput {
    let words = std::iter::once("keepalived").chain(words.iter().copied());
    run(evenkeel(), directory, words)
}

fn oracle() -> Option<PathBuf> {
    let found = ["/usr/sbin/keepalived", "/usr/bin/keepalived"];
    let found = found.iter().map(PathBuf::from).find(|path| path.exists());
    lab::may_run("keepalived's command line", lab::installed("keepalived"))
        .then_some(found)
        .flatten()
}

#[test]
fn the_numbers_of_signals_and_what_is_not_understood_are_those_of_the_real_one() {
    let scratch = ScratchDirectory::new().unwrap();
    let Some(oracle) = oracle() else {
        return;
    };
    for words in [
        &["--signum=STOP"][..],
        &["--signum=RELOAD"],
        &["--signum=DATA"],
        &["--signum=STATS"],
        &["--signum=STATS_CLEAR"],
        &["--signum=JSON"],
        &["--signum=BOGUS"],
        &["-Z"],
        &["--bogus"],
        &["--config-test", "-f", "missing.conf"],
    ] {
        let (here, there) = (
            ours(scratch.path(), words),
            run(&oracle, scratch.path(), words),
        );
        assert_eq!(here.code(), there.code(), "{words:?}");
        assert_eq!(here.stdout, there.stdout, "{words:?}");
        assert_eq!(here.stderr, there.stderr, "{words:?}");
    }
}

#[test]
fn every_option_of_the_real_usage_is_in_ours_and_none_is_unknown() {
    let scratch = ScratchDirectory::new().unwrap();
    let Some(oracle) = oracle() else {
        return;
    };
    let usage = run(&oracle, scratch.path(), ["--help"]);
    let names: Vec<String> = usage
        .stderr
        .split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)))
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        // `--help` prevents the start, unless it is the value of the option.
        let outcome = ours(scratch.path(), &[&name, "x", "--help"]);
        assert!(
            !outcome.stderr.contains("Unknown option"),
            "{name}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn the_version_and_the_usage_go_to_standard_error() {
    let scratch = ScratchDirectory::new().unwrap();
    let version = ours(scratch.path(), &["-v"]);
    assert!(version.stderr.starts_with("Keepalived v2.2.7 (evenkeel "));
    assert_eq!((version.code(), version.stdout.as_str()), (Some(0), ""));
    let usage = ours(scratch.path(), &["-h"]);
    assert!(usage.stderr.starts_with("Usage: keepalived [OPTION...]\n"));
    assert_eq!((usage.code(), usage.stdout.as_str()), (Some(0), ""));
}

#[test]
fn health_checkers_are_refused_with_an_alternative() {
    let scratch = ScratchDirectory::new().unwrap();
    for flag in ["-C", "-T"] {
        let outcome = ours(scratch.path(), &[flag, "-n", "-f", "x.conf"]);
        assert_eq!(outcome.code(), Some(1), "{flag}");
        assert!(outcome.stderr.contains(flag), "{}", outcome.stderr);
    }
}

#[test]
fn start_without_a_file_is_logged_and_exits_with_6() {
    let scratch = ScratchDirectory::new().unwrap();
    let words = ["-n", "-l", "-G", "-f", "missing.conf"];
    let outcome = ours(scratch.path(), &words);
    assert_eq!(outcome.code(), Some(6), "{}", outcome.stderr);
    let missing = ": Config files missing 'missing.conf'.";
    assert!(outcome.stderr.contains(missing), "{}", outcome.stderr);
}

fn host(lab: &Lab) -> LabHost {
    let host = lab.host("one").unwrap();
    let add = ["link", "add", "v0", "type", "veth", "peer", "name", "v1"];
    host.ip(&add).unwrap();
    host.ip(&["link", "set", "v0", "up"]).unwrap();
    host.ip(&["link", "set", "v1", "up"]).unwrap();
    host.ip(&["addr", "add", "10.0.0.1/24", "dev", "v0"])
        .unwrap();
    host
}

#[test]
fn a_test_of_a_file_exits_as_the_real_one_does() {
    lab::skip_unless_root!();
    let Some(oracle) = oracle() else {
        return;
    };
    let lab = Lab::new("keepalived-check").unwrap();
    let host = host(&lab);
    let scratch = ScratchDirectory::new().unwrap();
    let secure = "global_defs {\n enable_script_security\n script_user root\n}\n";
    let elsewhere = BASE.replace("v0", "nosuch0");
    for (name, text) in [
        ("valid", format!("{BASE}}}\n")),
        ("unknown keyword", format!("{BASE} bogus 3\n}}\n")),
        ("unknown block", format!("{BASE}}}\nbogus 3\n")),
        ("no brace", BASE.to_owned()),
        ("no interface", format!("{elsewhere}}}\n")),
        (
            "script without security",
            format!("{BASE} notify /bin/true\n}}\n"),
        ),
        ("script", format!("{secure}{BASE} notify /bin/true\n}}\n")),
        (
            "script that is not there",
            format!("vrrp_script chk {{\n script /nonexistent/chk\n}}\n{secure}{BASE}}}\n"),
        ),
        (
            "scripts to notify that are not there",
            format!("{BASE} notify_master \"/nonexistent/m x\"\n notify /nonexistent/n\n}}\n"),
        ),
        (
            "scripts of which one is there",
            format!("{BASE} notify_master /nonexistent/m\n notify /bin/true\n}}\n"),
        ),
        (
            "no address",
            format!(
                "{}}}\n",
                BASE.split(" virtual_ipaddress").next().unwrap_or_default()
            ),
        ),
        (
            "long password",
            format!("{BASE} authentication {{\n auth_type PASS\n auth_pass 1234567890\n }}\n}}\n"),
        ),
    ] {
        scratch.write("k.conf", &text).unwrap();
        let words = ["-t", "-f", "k.conf"];
        let (here, there) = host.enter(|| {
            (
                ours(scratch.path(), &words),
                run(&oracle, scratch.path(), words),
            )
        });
        let said = (&here.stderr, &there.stderr);
        assert_eq!(here.code(), there.code(), "{name}: {said:?}");
    }
}

#[test]
fn config_test_may_write_to_a_log_file() {
    let scratch = ScratchDirectory::new().unwrap();
    scratch.write("k.conf", "bogus 3\n").unwrap();
    let outcome = ours(scratch.path(), &["-tsaid.txt", "-f", "k.conf"]);
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (Some(5), ""));
    let said = std::fs::read_to_string(scratch.path().join("said.txt")).unwrap();
    assert!(said.starts_with("(k.conf: Line 1) "), "{said}");
}
