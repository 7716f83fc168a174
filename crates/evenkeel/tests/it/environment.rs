//! Tests of the environment variables that a role inherits from its supervisor.

use crate::addresses::AddressFixture;
use crate::harness::{PATIENCE, evenkeel, run_with};
use crate::supervised::{Supervised, roles_of};
use lab::{ScratchDirectory, eventually, free_port};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::path::Path;

const SECRET: &str = "s3cr3t-of-another-service";

fn environment(pid: i32) -> BTreeMap<String, String> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let words = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    words
        .map(|word| {
            let word = String::from_utf8_lossy(word);
            let (name, value) = word.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn role(directory: &Path, shown: &str) -> Option<i32> {
    let is_it = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(shown.as_bytes())
    };
    roles_of(directory).into_iter().find(is_it)
}

#[test]
fn proxy_gets_only_the_variables_named_in_its_file() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    let text = format!(
        "global\n stats socket {}/s level admin\ndefaults\n mode http\n timeout client 5s\n timeout server 5s\n \
         timeout connect 5s\nfrontend web\n bind \"127.0.0.1:${{PORT}}\"\n http-request return status 200 content-type text/plain lf-string \"${{STAGE}} %[env(STAGE)] %[env(MISSING),length]\"\n",
        scratch.path().display()
    );
    scratch.write("a.cfg", text).unwrap();
    let port_text = port.to_string();
    let variables = [
        ("API_TOKEN", SECRET),
        ("NOTIFY_SOCKET", "/nowhere"),
        ("PORT", port_text.as_str()),
        ("STAGE", "test"),
        ("TZ", "Asia/Tokyo"),
        ("LC_TIME", "C"),
    ];
    let words = ["run", "-f", "a.cfg"];
    let supervised = Supervised::start_with(evenkeel(), scratch.path(), words, &variables);
    let body = || crate::supervised::get(port);
    assert!(eventually(PATIENCE, || body().as_deref() == Some("test test ")));
    let seen = environment(supervised.role().unwrap());
    assert_eq!(seen.get("TZ").map(String::as_str), Some("Asia/Tokyo"));
    assert_eq!(seen.get("LC_TIME").map(String::as_str), Some("C"));
    for name in ["API_TOKEN", "NOTIFY_SOCKET", "PORT", "STAGE", "HOME"] {
        assert!(!seen.contains_key(name), "{seen:?}");
    }
    // The variables that the file names are set.
    let asked = ask(&scratch.path().join("s"), "show env");
    assert!(asked.contains("STAGE=test\n"), "{asked}");
    assert!(!asked.contains(SECRET), "{asked}");
    // The restarted role gets the same variables.
    let first = supervised.role().unwrap();
    crate::addresses::end(first);
    let next = || supervised.role().filter(|role| *role != first);
    assert!(eventually(PATIENCE, || next().is_some()));
    assert!(eventually(PATIENCE, || body().as_deref() == Some("test test ")));
    assert!(!environment(next().unwrap()).contains_key("API_TOKEN"));
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

fn ask(socket: &Path, command: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn scripts_get_login_variables_or_all_under_keepalived() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("role-environment");
    let variables = [("API_TOKEN", SECRET), ("HOME", "/root"), ("USER", "root")];
    for (words, inherits) in [
        (&["run", "-f", "k.conf"][..], false),
        (
            &[
                "keepalived",
                "-nlG",
                "-f",
                "k.conf",
                "-p",
                "k.pid",
                "-r",
                "v.pid",
            ][..],
            true,
        ),
    ] {
        let directory = bed.scratch.path();
        let enter = || Supervised::start_with(evenkeel(), directory, words, &variables);
        let supervised = bed.host.enter(enter);
        bed.comes(crate::addresses::VIP);
        let seen = environment(role(directory, "evenkeel: address").unwrap());
        assert_eq!(seen.contains_key("API_TOKEN"), inherits, "{seen:?}");
        assert_eq!(seen.get("HOME").map(String::as_str), Some("/root"));
        assert!(seen.contains_key("PATH"));
        assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
    }
}

#[test]
fn check_sees_the_whole_environment() {
    let scratch = ScratchDirectory::new().unwrap();
    let text = "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
                frontend web\n bind \"127.0.0.1:${SOME_PORT}\"\n";
    scratch.write("a.cfg", text).unwrap();
    let outcome = run_with(
        evenkeel(),
        scratch.path(),
        ["check", "a.cfg"],
        &[("SOME_PORT", "8080")],
    );
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
}
