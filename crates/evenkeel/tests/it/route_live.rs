//! Tests of `evenkeel route --live`: the prediction uses the state of a running instance, which the
//! query does not change.

use crate::harness::{CommandOutput, PATIENCE, evenkeel, run};
use crate::supervised::{Supervised, origin};
use lab::{ScratchDirectory, eventually, free_port};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

fn file(scratch: &ScratchDirectory, port: u16, [one, two]: [u16; 2]) -> String {
    let map = scratch.path().join("hosts.map");
    let socket = scratch.path().join("s");
    format!(
        "global
    maxconn 100
    stats socket {socket} level admin
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
    timeout queue 30s
frontend web
    bind 127.0.0.1:{port}
    http-request track-sc0 path table seen
    http-request deny deny_status 429 if {{ sc_http_req_cnt(0) gt 3 }}
    use_backend few if {{ path_beg /few }}
    use_backend ordered if {{ path_beg /ordered }}
    use_backend %[path,map({map},app)]
    default_backend app
backend app
    balance leastconn
    server one 127.0.0.1:{one}
    server two 127.0.0.1:{two}
backend few
    server only 127.0.0.1:{one} maxconn 1
backend ordered
    balance first
    server two 127.0.0.1:{two} id 20
    server one 127.0.0.1:{one} id 10 maxconn 1
backend other
    server three 127.0.0.1:{two}
backend seen
    stick-table type string len 32 size 100k expire 1h store http_req_cnt,gpc0
",
        socket = socket.display(),
        map = map.display(),
    )
}

struct Live {
    scratch: ScratchDirectory,
    port: u16,
    _supervised: Supervised,
}

impl Live {
    fn start(servers: [u16; 2]) -> Live {
        let scratch = ScratchDirectory::new().unwrap();
        let port = free_port().unwrap();
        scratch.write("hosts.map", "/none none\n").unwrap();
        scratch
            .write("a.cfg", file(&scratch, port, servers))
            .unwrap();
        let supervised = Supervised::run(&scratch, "a.cfg");
        let serves = || supervised.has_said("serving on");
        assert!(eventually(PATIENCE, serves));
        Live {
            scratch,
            port,
            _supervised: supervised,
        }
    }

    fn api(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.scratch.path().join("s")).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    /// Executes a command that has no output if it succeeds.
    fn order(&self, command: &str) {
        assert_eq!(self.api(command).trim(), "", "{command}");
    }

    fn get(&self, path: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
    }

    /// Runs `evenkeel route` with these words, and the URL of a path at the end.
    fn route(&self, words: &[&str], path: &str) -> CommandOutput {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let all = ["route"].iter().chain(words).copied();
        run(evenkeel(), self.scratch.path(), all.chain([&*url]))
    }

    #[track_caller]
    fn goes(&self, path: &str, code: i32, wanted: &[&str]) {
        let outcome = self.route(&["--live"], path);
        for words in wanted {
            assert!(
                outcome.stdout.contains(words),
                "{path}: {words}\n{}{}",
                outcome.stdout,
                outcome.stderr
            );
        }
        assert_eq!(outcome.code(), Some(code), "{path}\n{}", outcome.stdout);
    }
}

#[test]
fn run_time_changes_decide() {
    let live = Live::start([origin("one"), origin("two")]);
    live.goes(
        "/",
        0,
        &["any of one, two can be chosen", "with the state of process"],
    );
    live.order("disable server app/one");
    live.goes(
        "/",
        0,
        &[
            "=> server app/two",
            "no other server is available",
            "one is MAINT for ",
        ],
    );
    live.order("enable server app/one");
    live.order("set server app/two state drain");
    live.goes("/", 0, &["=> server app/one", "two is DRAIN for "]);
    live.order("set server app/two state ready");
    live.order("set weight app/one 0");
    live.goes("/", 0, &["=> server app/two", "one is ", "weight 0"]);
    live.order("disable server app/two");
    live.goes(
        "/",
        3,
        &["=> no reply: ", "backend app has no available server"],
    );
    live.order("enable server app/two");
    live.order("set weight app/one 1");
    let map = live.scratch.path().join("hosts.map");
    live.order(&format!("add map {} /shop other", map.display()));
    live.goes(
        "/shop",
        0,
        &["leads to backend other", "=> server other/three"],
    );
    live.api("set server other/three addr 127.0.0.9 port 4321");
    live.goes("/shop", 0, &["=> server other/three (127.0.0.9:4321)"]);
    live.order(&format!("del map {} /shop", map.display()));
    live.goes("/shop", 0, &["=> server app/"]);
    live.api("disable frontend web");
    live.goes("/", 3, &["frontend web is disabled at run time"]);
}

#[test]
fn entries_of_stick_tables_decide_and_the_running_instance_is_not_changed() {
    let live = Live::start([origin("one"), origin("two")]);
    for _ in 0..3 {
        live.get("/often");
    }
    let counted = || {
        live.api("show table seen").contains("key=/often") && {
            live.api("show table seen").contains("http_req_cnt=3")
        }
    };
    assert!(eventually(PATIENCE, counted));
    let show = || {
        // Compares without times and without the sessions of statistics sockets.
        let rows = live.api("show stat");
        let columns = |row: &str| {
            row.split(',')
                .take(20)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let table = live.api("show table seen");
        let entries = table.lines().map(|line| {
            let words = line
                .split(' ')
                .filter(|word| !word.starts_with("exp=") && !word.starts_with("0x"));
            words.collect::<Vec<_>>().join(" ")
        });
        (
            rows.lines().map(columns).collect::<Vec<_>>(),
            entries.collect::<Vec<_>>(),
        )
    };
    let before = show();
    for _ in 0..3 {
        live.goes("/often", 0, &["=> the proxy replies 429", "'4'"]);
        live.goes("/rarely", 0, &["=> server app/"]);
    }
    assert_eq!(show(), before);
    // Adds so many entries that the table is queried by key.
    let mut lines = String::new();
    for n in 0..10_001 {
        lines += &format!("set table seen key /{n} data.gpc0 1;");
        if n % 200 == 199 || n == 10_000 {
            live.api(lines.trim_end_matches(';'));
            lines.clear();
        }
    }
    assert!(
        live.api("show table").contains("used:10002"),
        "{}",
        live.api("show table")
    );
    live.goes("/often", 0, &["=> the proxy replies 429", "'4'"]);
    live.goes("/rarely", 0, &["=> server app/"]);
}

#[test]
fn sessions_decide_and_a_full_server_has_a_queue() {
    // The server accepts and never responds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = silent.local_addr().unwrap().port();
    let live = Live::start([one, origin("two")]);
    let mut held = TcpStream::connect(("127.0.0.1", live.port)).unwrap();
    held.write_all(b"GET /few HTTP/1.1\r\nHost: shop\r\n\r\n")
        .unwrap();
    let (_taken, _) = silent.accept().unwrap();
    live.goes(
        "/few",
        3,
        &[
            "=> waits in the queue of backend few: every available server is full",
            "only is ",
            "1 of 1 sessions",
        ],
    );
    live.order("disable server app/two");
    let mut other = TcpStream::connect(("127.0.0.1", live.port)).unwrap();
    other
        .write_all(b"GET /a HTTP/1.1\r\nHost: shop\r\n\r\n")
        .unwrap();
    let (_taken, _) = silent.accept().unwrap();
    live.order("enable server app/two");
    live.goes(
        "/",
        0,
        &[
            "=> server app/two",
            "it has the fewest sessions for its weight",
            "one is no check for ",
            ", 1 session, weight",
        ],
    );
    let outcome = live.route(&["--live", "--json"], "/few");
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(json["outcome"]["kind"], "queue");
    assert_eq!(json["live"]["servers"][0]["sessions"], 1);
}

#[test]
fn balance_first_takes_the_first_server_that_is_not_full() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = silent.local_addr().unwrap().port();
    let live = Live::start([one, origin("two")]);
    let first = ["=> server ordered/one", "the first one by id"];
    live.goes("/ordered", 0, &first);
    let mut held = TcpStream::connect(("127.0.0.1", live.port)).unwrap();
    held.write_all(b"GET /ordered HTTP/1.1\r\nHost: shop\r\n\r\n")
        .unwrap();
    let (_taken, _) = silent.accept().unwrap();
    let next = [
        "=> server ordered/two",
        "the first one by id with a session left; full: one",
    ];
    live.goes("/ordered", 0, &next);
}

#[test]
fn live_state_applies_to_a_file_by_name() {
    let live = Live::start([origin("one"), origin("two")]);
    live.order("disable server app/one");
    let new = format!(
        "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\nlisten app\n \
         bind 127.0.0.1:{}\n server one 127.0.0.1:1\n server new 127.0.0.1:2\n",
        live.port
    );
    live.scratch.write("new.cfg", new).unwrap();
    let outcome = live.route(&["new.cfg", "--live"], "/");
    let wanted = ["=> server app/new", "one is MAINT", "new is no check"];
    for words in wanted {
        assert!(
            outcome.stdout.contains(words),
            "{}{}",
            outcome.stdout,
            outcome.stderr
        );
    }
    // Without a file, the running configuration is used and not the current content of the file.
    live.scratch.write("a.cfg", "nonsense\n").unwrap();
    live.goes("/", 0, &["=> server app/two"]);
}

#[test]
fn missing_instance_is_reported() {
    let scratch = ScratchDirectory::new().unwrap();
    let outcome = run(
        evenkeel(),
        scratch.path(),
        ["route", "--live", "http://shop/"],
    );
    assert_eq!(outcome.code(), Some(1));
    assert!(
        outcome.stderr.contains("no running `evenkeel run`"),
        "{}",
        outcome.stderr
    );
    let words = ["route", "--live", "--node", "n1", "http://shop/"];
    let outcome = run(evenkeel(), scratch.path(), words);
    assert_eq!(outcome.code(), Some(1), "{}", outcome.stderr);
    let outcome = run(evenkeel(), scratch.path(), ["route", "a.cfg"]);
    assert_eq!(outcome.code(), Some(2), "{}", outcome.stderr);
}
