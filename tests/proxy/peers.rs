//! Tests peers: stick tables shared with HAProxy. They are learned at the start, sent in both
//! directions, and kept when either program restarts, changes its file, or is replaced by another
//! process.

use crate::program::{Program, binary};
use lab::{Location, Peer, Probe, Signal, eventually, free_port};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Timeout of every wait: haproxy waits five seconds for its previous process, and then again for
/// peers.
const PATIENCE: Duration = Duration::from_secs(120);

const CONFIG: &str = "
    global
        localpeer @NAME@
        stats socket {dir}/socket level admin expose-fd listeners
    defaults
        mode http
        timeout client 10s
        timeout server 10s
        timeout connect 2s
    peers mesh
        peer one @ONE@
        peer two @TWO@
        table own type integer size 100 expire 1h store gpt0
    frontend web
        bind @WEB@
        http-request return status 204 if { path /up }
        http-request track-sc0 url_param(key) table shared
        http-request track-sc1 url_param(number) table mesh/own
        http-request sc-inc-gpc0(0)
        http-request sc-set-gpt0(1) 7
        http-request return status 204
    backend shared
        stick-table type string len 32 size 1000 expire 1h store gpc0,http_req_cnt,gpc0_rate(1h),server_id peers mesh
";

struct Mesh {
    peers: [SocketAddr; 2],
    web: [SocketAddr; 2],
}

struct PeersProxy {
    peer: Peer,
    web: SocketAddr,
}

impl Mesh {
    fn new() -> Mesh {
        let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
        Mesh {
            peers: [address(), address()],
            web: [address(), address()],
        }
    }

    fn config(&self, at: usize) -> String {
        CONFIG
            .replace("@NAME@", ["one", "two"][at])
            .replace("@ONE@", &self.peers[0].to_string())
            .replace("@TWO@", &self.peers[1].to_string())
            .replace("@WEB@", &self.web[at].to_string())
    }

    fn start(&self, program: Program, at: usize) -> PeersProxy {
        let web = self.web[at];
        let peer = program
            .start(Location::Here, &self.config(at), web)
            .unwrap();
        PeersProxy { peer, web }
    }

    /// Starts Evenkeel with further arguments.
    fn start_with(&self, at: usize, words: &[&str]) -> PeersProxy {
        let web = self.web[at];
        let binary = binary().display().to_string();
        let words = ["haproxy", "-f", "{dir}/config"]
            .iter()
            .chain(words)
            .copied();
        let words: Vec<&str> = words.collect();
        let peer = Peer::start(Location::Here, &binary, &words, &self.config(at), web).unwrap();
        PeersProxy { peer, web }
    }
}

impl PeersProxy {
    fn ask(&self, target: &str) {
        let mut probe = Probe::new(Location::Here, self.web);
        assert_eq!(probe.get(target).unwrap().status, 204, "{target}");
    }

    /// Returns the reply of the statistics socket; empty while nothing listens for a moment.
    fn command(&self, command: &str) -> String {
        let ask = || -> std::io::Result<String> {
            let mut stream = UnixStream::connect(self.peer.directory().join("socket"))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(format!("{command}\n").as_bytes())?;
            let mut said = String::new();
            stream.read_to_string(&mut said)?;
            Ok(said)
        };
        ask().unwrap_or_default()
    }

    /// Waits until an entry of the table has this value.
    fn comes_to(&self, table: &str, key: &str, value: &str) {
        let found = || {
            let said = self.command(&format!("show table {table}"));
            let line = said.lines().find(|l| l.contains(&format!(" key={key} ")));
            line.is_some_and(|line| line.split(' ').any(|word| word == value))
        };
        assert!(
            eventually(PATIENCE, found),
            "{key} does not come to {value}:\n{}\n{}\n{}",
            self.command(&format!("show table {table}")),
            self.command("show peers"),
            self.peer.output()
        );
    }

    fn kill(self) {
        self.peer.process().signal(Signal::KILL).unwrap();
        self.peer.process().wait(PATIENCE).unwrap();
    }
}

/// Checks all exchanges of entries between these two programs.
fn share(programs: [Program; 2]) {
    let mesh = Mesh::new();
    let one = mesh.start(programs[0], 0);
    for _ in 0..3 {
        one.ask("/?key=before&number=12");
    }
    // A new process gets the existing entries at its start.
    let two = mesh.start(programs[1], 1);
    two.comes_to("shared", "before", "gpc0=3");
    two.comes_to("shared", "before", "http_req_cnt=3");
    two.comes_to("shared", "before", "gpc0_rate(3600000)=3");
    two.comes_to("mesh/own", "12", "gpt0=7");
    // Updates of one process reach the other.
    two.ask("/?key=of-two");
    one.comes_to("shared", "of-two", "gpc0=1");
    one.ask("/?key=of-one");
    one.ask("/?key=of-one");
    two.comes_to("shared", "of-one", "gpc0=2");
    one.ask("/?key=of-two");
    two.comes_to("shared", "of-two", "gpc0=2");
    // A restarted process gets all entries again.
    one.kill();
    two.ask("/?key=alone");
    let one = mesh.start(programs[0], 0);
    for (key, value) in [
        ("before", "gpc0=3"),
        ("of-one", "gpc0=2"),
        ("alone", "gpc0=1"),
    ] {
        one.comes_to("shared", key, value);
    }
    one.ask("/?key=again");
    two.comes_to("shared", "again", "gpc0=1");
    two.kill();
    let two = mesh.start(programs[1], 1);
    two.comes_to("shared", "again", "gpc0=1");
    two.comes_to("mesh/own", "12", "gpt0=7");
}

#[test]
fn haproxy_and_ours_share_tables() {
    lab::skip_unless_installed!("haproxy");
    share([Program::Haproxy, Program::Evenkeel]);
}

#[test]
fn ours_and_haproxy_share_tables() {
    lab::skip_unless_installed!("haproxy");
    share([Program::Evenkeel, Program::Haproxy]);
}

#[test]
fn ours_shares_tables_with_itself() {
    share([Program::Evenkeel, Program::Evenkeel]);
}

#[test]
fn tables_outlive_a_change_of_the_file_and_are_shared_on() {
    let mesh = Mesh::new();
    let one = mesh.start_with(0, &["-W"]);
    let two = mesh.start(Program::Evenkeel, 1);
    one.ask("/?key=before");
    two.comes_to("shared", "before", "gpc0=1");
    let changed = mesh.config(0).replace("status 204 if", "status 205 if");
    one.peer.rewrite(&changed).unwrap();
    one.peer.process().signal(Signal::USR2).unwrap();
    let serves = || {
        let answer = Probe::new(Location::Here, one.web).get("/up");
        answer.is_ok_and(|answer| answer.status == 205)
    };
    assert!(eventually(PATIENCE, serves), "{}", one.peer.output());
    one.comes_to("shared", "before", "gpc0=1");
    one.ask("/?key=behind");
    two.comes_to("shared", "behind", "gpc0=1");
    two.ask("/?key=before");
    one.comes_to("shared", "before", "gpc0=2");
}

#[test]
fn tables_pass_to_the_next_process_and_stay_shared() {
    let mesh = Mesh::new();
    let old = mesh.start_with(0, &["-db"]);
    let two = mesh.start(Program::Evenkeel, 1);
    old.ask("/?key=before");
    old.ask("/?key=before");
    two.comes_to("shared", "before", "gpc0=2");
    // Suspends the other peer, so that the new process can get entries only from its predecessor.
    two.peer.process().signal(Signal::STOP).unwrap();
    let socket = old.peer.directory().join("socket");
    let (pid, socket) = (
        old.peer.process().pid().to_string(),
        socket.display().to_string(),
    );
    let new = mesh.start_with(0, &["-db", "-x", &socket, "-sf", &pid]);
    assert!(
        old.peer.process().wait(PATIENCE).is_some(),
        "the old one stays"
    );
    new.comes_to("shared", "before", "gpc0=2");
    two.peer.process().signal(Signal::CONT).unwrap();
    new.ask("/?key=behind");
    two.comes_to("shared", "behind", "gpc0=1");
    two.ask("/?key=before");
    new.comes_to("shared", "before", "gpc0=3");
}
