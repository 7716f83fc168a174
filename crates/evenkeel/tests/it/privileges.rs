//! Tests of the privileges that a serving process keeps, and that they suffice: for servers and
//! logs of every kind, operators, signals, and a soft stop.

use crate::harness::{Bench, PATIENCE, evenkeel, finish, run, start};
use crate::supervised::Supervised;
use lab::{eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

/// Bytes of a response: enough to fill every buffer between server and client.
const BODY: usize = 3 << 20;
const NOBODY: &str = "65534";

fn answer(mut stream: impl Read + Write) {
    let _ = stream.read(&mut [0; 4096]);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&vec![b'x'; BODY]);
}

/// Starts a server on TCP and one on a Unix socket, and returns the TCP address. Their threads run
/// until the process ends.
fn servers(unix: &Path) -> std::net::SocketAddr {
    let (tcp, unix) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        UnixListener::bind(unix).unwrap(),
    );
    let address = tcp.local_addr().unwrap();
    std::thread::spawn(move || tcp.incoming().flatten().for_each(answer));
    std::thread::spawn(move || unix.incoming().flatten().for_each(answer));
    address
}

fn get(port: u16) -> Option<usize> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    answer.starts_with(b"HTTP/1.1 200").then_some(answer.len())
}

fn ask(socket: &Path, command: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    writeln!(stream, "{command}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Returns the kernel's status of each thread of a process, by the names of its lines.
fn statuses(process: u32) -> Vec<HashMap<String, String>> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let status = |text: String| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect()
    };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok())
        .map(status)
        .collect()
}

fn assert_confined(process: u32, user: &str) {
    let threads = statuses(process);
    assert!(threads.len() > 3, "{threads:?}");
    for thread in threads {
        let name = &thread["Name"];
        assert_eq!(thread["NoNewPrivs"], "1", "{name}");
        assert_eq!(thread["Seccomp"], "2", "{name}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(thread[set], "0000000000000000", "{name} {set}");
        }
        for ids in ["Uid", "Gid"] {
            let all = |ids: &str| ids.split('\t').all(|id| id == user);
            assert!(all(&thread[ids]), "{name} {ids} {}", thread[ids]);
        }
    }
}

/// Returns the serving process: the started one, or its role.
fn serving(child: &Child) -> u32 {
    let own = Pid::from_raw(child.id().try_into().unwrap());
    let roles = crate::supervised::children_of(own);
    roles.first().map_or(child.id(), |role| *role as u32)
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

/// Runs a proxy with every kind of server and log, and checks its privileges and its service.
fn serves_confined(bench: &Bench, arguments: &[&str], program: &Path, global: &str, user: &str) {
    let path = |name: &str| bench.scratch.path().join(name);
    let (stats, app, log) = (path("stats"), path("app"), path("log"));
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(bench.scratch.path(), open.clone()).unwrap();
    let server = servers(&app);
    let logs = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UnixDatagram::bind(&log).unwrap(),
    );
    for path in [&app, &log] {
        std::fs::set_permissions(path, open.clone()).unwrap();
    }
    let port = free_port().unwrap();
    let text = format!(
        "global\n    nbthread 2\n    stats socket {} level admin\n    log {} local0\n    log {} local0\n{global}\n\
         defaults\n    mode http\n    log global\n    option httplog\n    timeout client 30s\n    timeout server 30s\n    \
         timeout connect 5s\nfrontend web\n    bind 127.0.0.1:{port}\n    default_backend app\nbackend app\n    \
         server one {server} check inter 50ms\n    server two {} check inter 50ms\n",
        stats.display(),
        logs.0.local_addr().unwrap(),
        log.display(),
        app.display(),
    );
    bench.file("confined.cfg", &text);
    let child = start(program, bench.scratch.path(), arguments);
    assert!(eventually(PATIENCE, || get(port).is_some()));
    assert_confined(serving(&child), user);
    for _ in 0..6 {
        assert!(get(port).is_some_and(|length| length > BODY));
    }
    let mut line = [0; 4096];
    logs.0.set_read_timeout(Some(PATIENCE)).unwrap();
    logs.1.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(logs.0.recv(&mut line).unwrap() > 0);
    assert!(logs.1.recv(&mut line).unwrap() > 0);
    let checked = || {
        let rows = ask(&stats, "show stat");
        ["app,one,", "app,two,"].iter().all(|server| {
            let row = rows.lines().find(|row| row.starts_with(server));
            row.is_some_and(|row| row.contains(",UP,") && row.contains(",L4OK,"))
        })
    };
    assert!(eventually(PATIENCE, checked), "both are checked");
    ask(&stats, "set server app/one state maint");
    assert!(get(port).is_some());
    for one in [Signal::SIGTTOU, Signal::SIGTTIN, Signal::SIGHUP] {
        signal(&child, one);
        std::thread::sleep(Duration::from_millis(100));
    }
    signal(&child, Signal::SIGUSR1);
    let outcome = finish(child);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
}

fn own_user() -> String {
    nix::unistd::geteuid().to_string()
}

#[test]
fn process_that_keeps_its_user_has_no_privileges() {
    let bench = Bench::new();
    let program = bench.haproxy.clone();
    if nix::unistd::geteuid().is_root() {
        // Root keeps one capability: to connect to Unix sockets of other users.
        let text = bench_text_without_unix(&bench);
        let child = start(&program, bench.scratch.path(), ["-db", "-f", "tcp.cfg"]);
        assert!(eventually(PATIENCE, || get(text).is_some()));
        assert_confined(child.id(), "0");
        signal(&child, Signal::SIGUSR1);
        assert_eq!(finish(child).code(), Some(0));
    } else {
        serves_confined(
            &bench,
            &["-db", "-f", "confined.cfg"],
            &program,
            "",
            &own_user(),
        );
    }
}

/// Writes a configuration with a TCP server only, and returns the port of the proxy.
fn bench_text_without_unix(bench: &Bench) -> u16 {
    let server = servers(&bench.scratch.path().join("unused"));
    let port = free_port().unwrap();
    let text = crate::harness::listening(port, "");
    bench.file(
        "tcp.cfg",
        &text.replace("127.0.0.1:9\n", &format!("{server}\n")),
    );
    port
}

#[test]
fn user_of_the_file_serves_without_privileges() {
    lab::skip_unless_root!();
    let bench = Bench::new();
    let global = format!("    uid {NOBODY}\n    gid {NOBODY}");
    let program = bench.haproxy.clone();
    serves_confined(
        &bench,
        &["-db", "-f", "confined.cfg"],
        &program,
        &global,
        NOBODY,
    );
}

#[test]
fn root_serves_as_nobody_without_a_user_in_the_file() {
    lab::skip_unless_root!();
    let bench = Bench::new();
    serves_confined(
        &bench,
        &["run", "-f", "confined.cfg"],
        evenkeel(),
        "",
        NOBODY,
    );
}

#[cfg(feature = "console")]
#[test]
fn check_lists_the_privileges_of_each_process() {
    let bench = Bench::new();
    bench.file(
        "own.cfg",
        "global\n    uid 77\n    chroot /var/empty\ndefaults\n    timeout client 1s\n    timeout server 1s\n    \
         timeout connect 1s\nlisten l\n    bind 127.0.0.1:8080\n    server s 127.0.0.1:1 source 127.0.0.1:81\n",
    );
    let check = |format: &str| {
        let arguments = ["check", "--privileges", "--format", format, "own.cfg"];
        let outcome = run(evenkeel(), bench.scratch.path(), arguments);
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        outcome.stdout
    };
    let full = check("full");
    for said in [
        "supervisor: ",
        "loader: ",
        "proxy: ",
        "(own.cfg:10)",
        "/var/empty",
        "127.0.0.1:8080",
    ] {
        assert!(full.contains(said), "{said}: {full}");
    }
    assert_eq!(check("concise").lines().count(), 4);
    let json: serde_json::Value = serde_json::from_str(&check("json")).unwrap();
    let proxy = &json["processes"][2];
    assert_eq!(
        (&proxy["name"], &proxy["user"]["id"]),
        (&"proxy".into(), &77.into())
    );
    assert_eq!(
        proxy["capabilities"][0]["capability"],
        "CAP_NET_BIND_SERVICE"
    );
    assert_eq!(proxy["capabilities"][0]["line"], "own.cfg:10");
    bench.file("console.cfg", "console\n    bind 127.0.0.1:8611 plain\n");
    let arguments = [
        "check",
        "--privileges",
        "--format",
        "json",
        "own.cfg",
        "console.cfg",
    ];
    let outcome = run(evenkeel(), bench.scratch.path(), arguments);
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let [console, route] = [&json["processes"][4], &json["processes"][5]];
    assert_eq!(
        (&console["name"], &route["name"]),
        (&"console role".into(), &"route process".into())
    );
    for one in [console, route] {
        assert_eq!(one["user"]["id"], 65_534, "{one}");
        assert_eq!(
            one["capabilities"].as_array().map(Vec::len),
            Some(0),
            "{one}"
        );
    }
    assert!(console.to_string().contains("127.0.0.1:8611"), "{console}");
    bench.file("bad.cfg", "global\n    uid x\n");
    let refused = run(
        evenkeel(),
        bench.scratch.path(),
        ["check", "--privileges", "bad.cfg"],
    );
    assert_eq!(refused.code(), Some(1));
    assert!(refused.stdout.contains("error["), "{}", refused.stdout);
}

#[cfg(feature = "cluster")]
#[test]
fn control_role_is_confined_and_responds() {
    lab::enter_own_network();
    let bench = Bench::new();
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let init = [
        "cluster", "init", "shop", "--name", "a", "--listen", &listen, "--state", "state",
    ];
    let founded = run(evenkeel(), bench.scratch.path(), init);
    assert_eq!(founded.code(), Some(0), "{}", founded.stderr);
    let arguments = ["run", "--state", "state"];
    let supervised = Supervised::start(evenkeel(), bench.scratch.path(), arguments);
    // The socket and the log of the cluster are in the directories that the role may write to.
    let status = || run(evenkeel(), bench.scratch.path(), ["cluster", "status"]);
    assert!(
        eventually(PATIENCE, || status().stdout.contains("a is the leader")),
        "{}",
        status().stderr
    );
    let is_control = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"evenkeel: control")
    };
    let control = supervised.children().into_iter().find(is_control);
    for thread in statuses(control.unwrap() as u32) {
        let name = &thread["Name"];
        assert_eq!(thread["NoNewPrivs"], "1", "{name}");
        assert_eq!(thread["Seccomp"], "2", "{name}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"] {
            assert_eq!(thread[set], "0000000000000000", "{name} {set}");
        }
    }
    let ended = supervised.end(Signal::SIGTERM);
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
}
