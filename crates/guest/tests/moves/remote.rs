//! Tests commands that an operator gives at one node for a guest of the other one.

use crate::{MigrationFixture, NODES, PATIENCE};
use guest::console;
use guest::message::GuestOrder;
use guest::migration::take_frame;
use guest::remote::{Output, RemoteCommand, StreamRequest, StreamResponse};
use guest::role::report::{GUEST, RUNNING};
use lab::eventually;
use part::report::StatusReport;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Creates a script at a node, in place of the evenkeel binary.
fn program(site: &MigrationFixture, index: usize, script: &str) {
    let path = site.scratch[index].path().join("command");
    fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
}

impl MigrationFixture {
    fn begin_at(&mut self, index: usize, node: &str, what: RemoteCommand) -> StreamResponse {
        let node = node.to_owned();
        self.roles[index].stream(&StreamRequest::Begin { node, what })
    }

    fn pass(&mut self, index: usize, number: u64, bytes: &[u8]) -> StreamResponse {
        let bytes = bytes.to_vec();
        self.turn();
        self.roles[index].stream(&StreamRequest::Pass { number, bytes })
    }

    /// Polls until the stream has ended, or until the output suffices. Returns the output.
    #[track_caller]
    fn passes(&mut self, number: u64, enough: impl Fn(&[u8]) -> bool) -> (Vec<u8>, StreamResponse) {
        let (mut came, mut last) = (Vec::new(), StreamResponse::default());
        let ended = eventually(PATIENCE, || {
            last = self.pass(1, number, &[]);
            came.extend(last.bytes.clone());
            last.is_over || enough(&came)
        });
        assert!(ended, "it does not end: {came:?}");
        (came, last)
    }
}

fn outputs(mut came: Vec<u8>) -> Vec<Output> {
    let mut all = Vec::new();
    while let Some(one) = take_frame(&mut came).unwrap() {
        all.push(one);
    }
    assert!(came.is_empty());
    all
}

fn log(follows: bool) -> RemoteCommand {
    let name = "mail".to_owned();
    RemoteCommand::Log { name, follows }
}

#[test]
fn a_command_runs_at_the_node_of_the_guest_and_its_output_comes_back() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = MigrationFixture::new(12, 0);
    program(&site, 0, "echo \"$@\"; echo trouble >&2; exit 3");
    let begun = site.begin_at(1, "alpha", log(false));
    assert!(!begun.is_over, "{begun:?}");
    let (came, last) = site.passes(begun.number, |_| false);
    assert_eq!(last.words, "");
    let mut said = outputs(came);
    assert_eq!(said.pop(), Some(Output::Ended(3)));
    said.sort_by_key(|one| matches!(one, Output::Err(_)));
    let expected = [
        Output::Out(b"guest --here log -- mail\n".to_vec()),
        Output::Err(b"trouble\n".to_vec()),
    ];
    assert_eq!(said, expected);
    // No such node exists.
    let gamma = site.begin_at(1, "gamma", log(false));
    let (came, last) = site.passes(gamma.number, |_| false);
    assert!(came.is_empty(), "{came:?}");
    assert!(last.words.starts_with("node gamma: "), "{}", last.words);
    let words = site.pass(1, 77, &[]).words;
    assert!(words.contains("restarted"), "{words}");
    // A command that cannot be run is reported.
    fs::remove_file(site.scratch[0].path().join("command")).unwrap();
    let begun = site.begin_at(1, "alpha", log(false));
    let (came, _) = site.passes(begun.number, |_| false);
    let said = outputs(came);
    let [Output::Err(words), Output::Ended(1)] = &said[..] else {
        panic!("{said:?}");
    };
    assert!(String::from_utf8_lossy(words).contains("No such file"));
}

#[test]
fn a_log_that_is_followed_ends_with_its_reader() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = MigrationFixture::new(13, 0);
    program(&site, 0, "echo $$; exec sleep 1000");
    let begun = site.begin_at(1, "alpha", log(true));
    let (came, _) = site.passes(begun.number, |came| came.ends_with(b"\n"));
    let said = outputs(came);
    let [Output::Out(pid)] = &said[..] else {
        panic!("{said:?}");
    };
    let pid = String::from_utf8_lossy(pid).trim().to_owned();
    let process = Path::new("/proc").join(pid);
    assert!(process.exists());
    let number = begun.number;
    site.roles[1].stream(&StreamRequest::End { number });
    assert!(eventually(PATIENCE, || !process.exists()));
}

#[test]
fn followed_log_and_console_end_when_the_other_node_is_revoked() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = MigrationFixture::new(28, 0);
    program(&site, 0, "echo $$; exec sleep 1000");
    let log = site.begin_at(1, "alpha", log(true));
    let (came, _) = site.passes(log.number, |came| came.ends_with(b"\n"));
    let said = outputs(came);
    let [Output::Out(pid)] = &said[..] else {
        panic!("{said:?}");
    };
    let process = Path::new("/proc").join(String::from_utf8_lossy(pid).trim());
    assert!(process.exists());
    let (name, who) = ("mail".to_owned(), "anna".to_owned());
    let console = site.begin_at(1, NODES[0], RemoteCommand::Console { name, who });
    assert_eq!(site.pass(1, console.number, b"x").taken, 1);
    site.revoke(0);
    for number in [log.number, console.number] {
        let (_, last) = site.passes(number, |_| false);
        assert!(last.is_over);
    }
    assert!(eventually(PATIENCE, || !process.exists()));
}

#[test]
fn the_serial_terminal_is_connected_from_another_node() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = MigrationFixture::new(14, 0);
    let name = "mail".to_owned();
    let who = "anna, at the web console".to_owned();
    let begun = site.begin_at(1, NODES[0], RemoteCommand::Console { name, who });
    // The firmware prints nothing: QEMU accepts input as far as its device has space.
    let taken = site.pass(1, begun.number, b"x").taken;
    assert_eq!(taken, 1);
    let home = site.scratch[0].path().join("guest-mail/serial.sock");
    assert!(home.exists());
    // Another operator gets the name of the current one.
    let home = site.scratch[0].path().join("guest-mail");
    let has = || console::take(&home, "").err().unwrap_or_default();
    let named = || has().contains("in use by anna, at the web console of node beta:");
    site.passes(begun.number, |_| named());
    assert!(named(), "{}", has());
    // When the guest ends, so does the connection.
    crate::kill(site.process(0));
    let (_, last) = site.passes(begun.number, |_| false);
    assert!(last.is_over);
}

#[test]
fn a_remote_guest_is_shown_with_its_last_known_state() {
    lab::skip_unless_installed!("qemu-system-x86_64");
    let mut site = MigrationFixture::new(15, 0);
    let shown = |name: &str| GuestOrder::Shown {
        name: name.to_owned(),
    };
    for (name, has_events) in [("", false), ("mail", true)] {
        let answer = site.order_at(1, "alpha", shown(name));
        assert_eq!((answer.good, answer.age_ms), (true, 0), "{answer:?}");
        let report = StatusReport::decode(&answer.bytes).unwrap();
        let mail = report.find(GUEST, "mail").unwrap();
        assert_eq!(
            (&*mail.state.word, mail.value(RUNNING)),
            ("running", Some(1))
        );
        assert_eq!(!mail.events.is_empty(), has_events);
    }
    let own = site.roles[1].order(&shown("mail"));
    let report = StatusReport::decode(&own.bytes).unwrap();
    assert!(report.find(GUEST, "mail").is_none());
    let remembered = |node: &str, name: &str| GuestOrder::Remembered {
        node: node.to_owned(),
        name: name.to_owned(),
    };
    let kept = site.roles[1].order(&remembered("alpha", "mail"));
    let report = StatusReport::decode(&kept.bytes).unwrap();
    assert!(report.find(GUEST, "mail").is_some());
    assert!(
        site.roles[1]
            .order(&remembered("gamma", "mail"))
            .bytes
            .is_empty()
    );
}
