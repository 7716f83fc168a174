//! Tests agents with the real xrdp: a farm without any earlier knowledge routes a user to the
//! existing session.

use crate::farm::desktops::{SOON, Site, is_ready, xrdp};
use crate::program::binary;
use lab::{LabHost, LabProcess, ScratchDirectory, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// Options of the `host` lines, which point to the agents of the hosts.
const OPTIONS: &str = " agent-port 9707 agent-inter 300ms";

/// Starts a host with xrdp and our agent, which responds to the farm.
fn with_agent(
    scratch: &ScratchDirectory,
    host: &LabHost,
    name: &str,
    address: &str,
    display: &str,
) -> LabProcess {
    let agent = scratch.path().join(format!("{name}.agent"));
    let line = format!(
        "#!/bin/sh\nexec {} farm agent --bind {address} --allow 10.77.0.1\n",
        binary().display()
    );
    fs::write(agent, line).unwrap();
    xrdp(scratch, host, name, address, display)
}

/// Returns the processes with this name on a host.
fn running(site: &Site, host: usize, name: &str) -> Vec<Pid> {
    let is_so = |pid: &Pid| {
        let comm = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
        comm.is_ok_and(|comm| comm.trim() == name)
    };
    let tree = site.desktop(host).tree();
    tree.into_iter().filter(is_so).collect()
}

/// Returns the reply of a host's agent to a line from the farm's machine.
fn answers(site: &Site, host: u8, line: &str) -> String {
    site.node().enter(|| {
        let at = SocketAddr::from(([10, 77, 0, 10 + host], 9_707));
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
}

#[test]
fn agents_restore_sessions_of_a_farm_without_state() {
    if !is_ready("agents of hosts") {
        return;
    }
    let lines = |_: &ScratchDirectory| "    drain-notice \"Save your work\"\n".to_owned();
    let mut site = Site::with_options(with_agent, OPTIONS, lines);
    site.shows(&["farm", "list"], |text| {
        text.matches("0 sessions").count() == 2
    });
    // The session of anna is at the host that is not the first choice.
    site.ours(&["farm", "drain", "ts1"]);
    let first = site.client(&[]);
    site.has([[0, 0], [1, 0]]);
    site.ours(&["farm", "ready", "ts1"]);
    site.shows(&["farm", "sessions"], |text| text.contains(" active"));
    first.kill_tree();
    site.shows(&["farm", "sessions"], |text| {
        text.matches("disconnected").count() == 2
    });
    site.loses_everything();
    let _second = site.client(&[]);
    site.has([[0, 0], [1, 1]]);
    let why = site.ours(&["farm", "why", "anna"]);
    assert!(why.contains("known at ts2"), "{why}");
    assert!(!why.contains("ts1"), "{why}");
    // The session shows a single notice while its host is drained.
    site.shows(&["farm", "sessions"], |text| text.contains(" active"));
    assert!(running(&site, 2, "xmessage").is_empty());
    site.ours(&["farm", "drain", "ts2"]);
    let is_shown = || !running(&site, 2, "xmessage").is_empty();
    assert!(eventually(SOON, is_shown), "{}", site.read("ts2/agent.out"));
    let answer = answers(&site, 2, "notice Save your work\n");
    assert!(
        answer.starts_with("up\nsessions 1\nsession anna active"),
        "{answer}"
    );
    assert_eq!(running(&site, 2, "xmessage").len(), 1);
    assert_eq!(answers(&site, 1, "check\n"), "up\nsessions 0\n");
}

#[test]
fn a_session_that_its_user_has_ended_is_forgotten() {
    if !is_ready("the end of a session") {
        return;
    }
    let site = Site::with_options(with_agent, OPTIONS, |_| String::new());
    let client = site.client(&[]);
    site.has([[1, 0], [0, 0]]);
    site.shows(&["farm", "sessions"], |text| text.contains(" active"));
    client.kill_tree();
    site.shows(&["farm", "sessions"], |text| text.contains("disconnected"));
    // The program of the session ends, and the session with it.
    for pid in running(&site, 1, "sleep") {
        kill_process(pid, Signal::TERM).unwrap();
    }
    site.shows(&["farm", "sessions"], |text| {
        text.contains("no user has logged on yet")
    });
    let why = site.ours(&["farm", "why", "anna"]);
    assert!(
        why.contains("the agent of ts1 no longer reports the session"),
        "{why}"
    );
}
