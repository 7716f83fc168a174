//! Tests of the master socket (`-S`), compared with HAProxy's, and of the notifications to a
//! service manager (`-Ws`, `evenkeel run`).

use crate::harness::{Bench, PATIENCE, evenkeel, oracle_path, run};
use crate::supervised::{Supervised, answers, children_of, get, origin, passes};
use lab::{eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

/// Opens a session at the socket, with a time limit for reads.
fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends the text and reads the response until the socket is closed.
fn ask(path: &Path, text: &str) -> String {
    try_ask(path, text).unwrap()
}

fn try_ask(path: &Path, text: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Reads until the response ends with this text.
fn read_to(stream: &mut UnixStream, end: &str) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(end.as_bytes()) {
        let read = stream.read(&mut byte).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

struct Master {
    supervised: Supervised,
    bench: Bench,
    port: u16,
    /// The sockets of the levels admin, operator and user.
    sockets: [std::path::PathBuf; 3],
}

/// Version in responses: HAProxy's language level, with the version of this program.
const OWN_VERSION: &str = concat!("3.4.0-evenkeel-", env!("CARGO_PKG_VERSION"));

impl Master {
    fn start(program: Option<&Path>) -> Master {
        let bench = Bench::new();
        let port = free_port().unwrap();
        bench.file("a.cfg", &passes("", &[port], origin("one")));
        let path = |name: &str| bench.scratch.path().join(name);
        let sockets = ["admin", "operator", "user"].map(path);
        let words: Vec<String> = sockets
            .iter()
            .map(|path| {
                let level = path.file_name().unwrap().to_str().unwrap();
                format!("{},mode,600,level,{level}", path.display())
            })
            .collect();
        let mut arguments = vec!["-W", "-f", "a.cfg"];
        words.iter().for_each(|word| arguments.extend(["-S", word]));
        let program = program.unwrap_or(&bench.haproxy);
        let supervised = Supervised::start(program, bench.scratch.path(), arguments);
        assert!(answers(port, "one"));
        let up = || UnixStream::connect(&sockets[2]).is_ok();
        assert!(eventually(PATIENCE, up));
        // Waits for a complete response: the real master executes itself again before it serves its
        // socket, and refuses or closes earlier connections.
        assert!(eventually(PATIENCE, || {
            try_ask(&sockets[0], "@1 show version\n").is_ok_and(|said| said.ends_with("\n\n"))
        }));
        Master {
            supervised,
            bench,
            port,
            sockets,
        }
    }

    fn admin(&self, text: &str) -> String {
        ask(&self.sockets[0], text)
    }

    fn worker(&self) -> i32 {
        children_of(self.supervised.pid)[0]
    }

    /// Replaces process numbers, versions and times.
    fn without_numbers(&self, text: &str) -> String {
        let mut text = text.replace(&self.supervised.pid.to_string(), "MASTER");
        text = text.replace(&self.worker().to_string(), "WORKER");
        let mut out = String::new();
        for line in text.split_inclusive('\n') {
            let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
            let plain = words.iter().map(|word| match word.trim_end() {
                bare if bare.starts_with("2.6.") || bare == OWN_VERSION => "VERSION",
                bare if bare.starts_with("0d00h") => "UPTIME",
                bare => bare,
            });
            out += &plain.collect::<Vec<_>>().join(" ");
            out.push('\n');
        }
        out
    }
}

fn masters(test: &str) -> Vec<Master> {
    let mut all = vec![Master::start(None)];
    if lab::may_run(test, lab::installed("haproxy")) {
        all.push(Master::start(Some(&oracle_path())));
    }
    all
}

#[test]
fn master_socket_responds_as_in_haproxy() {
    let masters = masters("the answers of a master's socket");
    for text in [
        "help\n",
        "help show\n",
        "help reload\n",
        "show\n",
        "\n",
        ";\n",
        "show version\n",
        "show version extra;;show version\n",
        "show version \\; show proc\n",
        "show version\r\n",
        "show proc\n",
        "show proc debug\n",
        "show cli level\n",
        "prompt\n",
        "prompt;prompt;show version\n",
        "prompt;show version;quit;show version\n",
        "prompt;user;show cli level;reload\n",
        "prompt;operator;user;operator;show version\n",
        "user;show cli level\n",
        "quit\n",
        "@1\n",
        "@1 show version\n",
        "@1;show version\n",
        "@1 quit\n",
        "@1 show cli level\n",
        "@1 user;show cli level\n",
        "@1 show env HAPROXY_NONE\n",
        "@ show version;@0 show version;@master show version\n",
        "prompt;@1;show version;@;show version\n",
        "prompt\n@1\nuser\nshow cli level\n@\nshow cli level\n",
        "prompt;@2;show version\n",
        "@!1 show version\n",
        "@x\n",
        "@1x\n",
        "@-1\n",
        "show version;@1 show version;show proc\n",
        "@1 show version <<\nx\n\nshow cli level\n",
        "",
    ] {
        let said: Vec<String> = masters
            .iter()
            .map(|master| master.without_numbers(&master.admin(text)))
            .collect();
        assert!(
            said.windows(2).all(|pair| pair[0] == pair[1]),
            "{text:?}: {said:#?}"
        );
    }
    for master in masters {
        let worker = format!("@!{} show cli level\n", master.worker());
        assert_eq!(master.admin(&worker), "admin\n\n");
        let [_, operator, user] = &master.sockets;
        assert_eq!(ask(operator, "@1 show cli level\n"), "operator\n\n");
        assert_eq!(
            ask(user, "@1 show cli level;show cli level\n"),
            "user\n\nuser\n\n"
        );
        assert_eq!(ask(user, "@1 clear counters\n"), "Permission denied\n\n");
        assert_eq!(ask(user, "reload\n"), "Permission denied\n\n");
        assert_eq!(ask(user, "operator;show version\n"), "Permission denied!\n");
        let mode = std::fs::metadata(user).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(master.supervised.end(Signal::SIGTERM).code(), Some(0));
    }
}

#[test]
fn a_session_stays_open_until_its_client_ends_it() {
    for master in masters("a session at a master's socket") {
        let mut stream = connect(&master.sockets[0]);
        for _ in 0..2 {
            stream.write_all(b"show cli level\n").unwrap();
            assert_eq!(read_to(&mut stream, "\n\n"), "admin\n\n");
        }
        stream.write_all(b"prompt\n@1\n").unwrap();
        let prompt = format!("{}> ", master.worker());
        assert_eq!(read_to(&mut stream, &prompt), format!("master> {prompt}"));
        stream.write_all(b"show cli level\nquit\n").unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, format!("admin\n\n{prompt}{prompt}"));
    }
}

/// Rows of `show proc`: kind, reloads with the text after them, pid.
fn rows(table: &str) -> Vec<(String, String, i32)> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let end = words.iter().position(|word| word.starts_with("0d"))?;
            let reloads = words[2..end].join(" ");
            Some((words[1].to_owned(), reloads, words[0].parse().ok()?))
        })
        .collect()
}

#[test]
fn reload_at_the_socket_changes_in_place_and_counts_as_haproxy_counts() {
    for (ours, master) in masters("reload at the master's socket")
        .into_iter()
        .enumerate()
    {
        let ours = ours == 0;
        let before = master.worker();
        master
            .bench
            .file("a.cfg", &passes("", &[master.port], origin("two")));
        let said = ask(&master.sockets[1], "reload\n");
        assert!(answers(master.port, "two"));
        let settled = |reloads: &str, worker: &str| {
            eventually(PATIENCE, || {
                let Ok(mut stream) = UnixStream::connect(&master.sockets[0]) else {
                    return false;
                };
                let mut table = String::new();
                let _ = stream.write_all(b"show proc\n");
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_string(&mut table);
                let rows = rows(&table);
                let is = |at: usize, text: &str| rows.get(at).is_some_and(|row| row.1 == text);
                rows.len() == 2 && is(0, reloads) && is(1, worker)
            })
        };
        assert!(settled("1 [failed: 0]", "0"));
        master.bench.file("a.cfg", "nonsense\n");
        let refused = ask(&master.sockets[0], "show version;reload;show version\n");
        assert!(settled("2 [failed: 1]", "1"));
        let mut stream = connect(&master.sockets[0]);
        stream.write_all(b"prompt\n").unwrap();
        assert_eq!(read_to(&mut stream, "> "), "master[ReloadFailed]> ");
        drop(stream);
        if ours {
            assert!(said.starts_with("Success=1\n--\n[NOTICE]"), "{said}");
            assert!(said.ends_with(") : Loading success.\n\n"), "{said}");
            let (_, refused) = refused.split_once("\n\n").unwrap();
            assert!(refused.starts_with("Success=0\n--\n"), "{refused}");
            assert!(refused.contains("[a.cfg:1]") && refused.contains("Loading failure!"));
            assert_eq!(master.worker(), before, "one process all along");
        } else {
            assert_eq!(said, "", "haproxy 2.6 says nothing");
        }
        master
            .bench
            .file("a.cfg", &passes("", &[master.port], origin("three")));
        master.supervised.signal(Signal::SIGUSR2);
        assert!(settled("3 [failed: 0]", "0"));
        assert_eq!(get(master.port).as_deref(), Some("three"));
    }
}

#[test]
fn failed_listener_has_the_message_of_haproxy() {
    let bench = Bench::new();
    let port = free_port().unwrap();
    bench.listening(port, "");
    for (socket, words) in [
        (
            "nonsense",
            "config : missing port specification in 'nonsense'",
        ),
        (
            "m.sock,level,bad",
            "''level' only supports 'user', 'operator', and 'admin' (got 'bad')'",
        ),
        (
            "m.sock,mode",
            "'m.sock mode' : ''mode' : missing or invalid mode ''",
        ),
        ("m.sock,foo", "config : '"),
        (
            "/nonexistent/m.sock",
            "Binding [master-socket:0] for proxy MASTER: cannot bind UNIX socket (No such file or directory) [/nonexistent/m.sock]",
        ),
    ] {
        let absolute = socket.replace(
            "m.sock",
            bench.scratch.path().join("m.sock").to_str().unwrap(),
        );
        let socket = if socket.starts_with('/') {
            socket
        } else {
            &absolute
        };
        let words = words.replace(
            "'m.sock",
            &format!("'{}", bench.scratch.path().join("m.sock").display()),
        );
        let arguments = ["-W", "-f", "listening.cfg", "-S", socket];
        let both = [
            Some(bench.run(arguments)),
            bench.oracle("a master's socket that cannot be opened", arguments),
        ];
        for outcome in both.into_iter().flatten() {
            assert_eq!(outcome.code(), Some(1), "{socket}");
            assert!(
                outcome.stderr.contains(&words),
                "{words}: {}",
                outcome.stderr
            );
        }
    }
}

#[test]
fn check_validates_the_master_socket_without_opening_it() {
    let bench = Bench::new();
    let port = free_port().unwrap();
    bench.listening(port, "");
    for (arguments, code) in [
        (
            &[
                "-Ws",
                "-c",
                "-q",
                "-f",
                "listening.cfg",
                "-S",
                "unix@m.sock",
            ][..],
            0,
        ),
        (
            &["-W", "-c", "-f", "listening.cfg", "-S", "unix@m.sock,foo"],
            1,
        ),
    ] {
        assert_eq!(bench.run(arguments).code(), Some(code));
        let theirs = bench.oracle("-c with a master's socket", arguments);
        assert!(theirs.is_none_or(|theirs| theirs.code() == Some(code)));
    }
}

/// Processor time of a process, in hundredths of a second.
fn ticks(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn silent_and_slow_sessions_block_nobody() {
    let master = Master::start(None);
    let silent: Vec<UnixStream> = (0..200).map(|_| connect(&master.sockets[0])).collect();
    let mut slow = connect(&master.sockets[0]);
    slow.set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    // The session requests far more than it reads.
    let line = "help;".repeat(500) + "help\n";
    while slow.write_all(line.as_bytes()).is_ok() {}
    // Checks that a session which does not read takes no processor time.
    let before = ticks(master.supervised.pid);
    lab::sleep_in_test(Duration::from_millis(500), "its processor time is measured");
    assert!(ticks(master.supervised.pid) - before < 10);
    let unended = "x".repeat(20_000);
    assert!(
        master
            .admin(&unended)
            .starts_with("The line is longer than")
    );
    let many = ";".repeat(2_000) + "\n";
    assert!(master.admin(&many).starts_with("The line has more than"));
    master
        .bench
        .file("a.cfg", &passes("", &[master.port], origin("two")));
    assert!(master.admin("reload\n").starts_with("Success=1\n"));
    assert_eq!(master.admin("@1 show cli level\n"), "admin\n\n");
    assert_eq!(get(master.port).as_deref(), Some("two"));
    drop((silent, slow));
    assert_eq!(master.supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn killed_worker_is_replaced_and_responds() {
    let master = Master::start(None);
    let mut stream = connect(&master.sockets[0]);
    stream.write_all(b"prompt\n@1\n").unwrap();
    let first = master.worker();
    read_to(&mut stream, &format!("{first}> "));
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    assert!(eventually(PATIENCE, || {
        let workers = children_of(master.supervised.pid);
        !workers.is_empty() && !workers.contains(&first)
    }));
    assert_eq!(master.admin("@1 show cli level\n"), "admin\n\n");
    // The session ends with its worker.
    stream.write_all(b"show version\n").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    let gone = format!("Can't find the target PID matching the prefix '@!{first}'\n");
    assert_eq!(rest, gone);
    let outcome = master.supervised.end(Signal::SIGINT);
    assert_eq!(outcome.code(), Some(130), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("exited with code 137 (Killed)"));
}

#[test]
fn evenkeel_run_has_the_same_socket() {
    let bench = Bench::new();
    let port = free_port().unwrap();
    bench.file("a.cfg", &passes("", &[port], origin("one")));
    let arguments = ["run", "-f", "a.cfg", "-S", "unix@m.sock,mode,600"];
    let supervised = Supervised::start(evenkeel(), bench.scratch.path(), arguments);
    assert!(answers(port, "one"));
    let socket = bench.scratch.path().join("m.sock");
    let table = ask(&socket, "show proc\n");
    assert_eq!(rows(&table).len(), 2, "{table}");
    bench.file("a.cfg", "nonsense\n");
    let said = ask(&socket, "reload\n");
    assert!(
        said.starts_with("Success=0\n--\n") && said.contains("a.cfg:1"),
        "{said}"
    );
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
    let refused = run(
        evenkeel(),
        bench.scratch.path(),
        ["run", "-f", "a.cfg", "-S", "nonsense"],
    );
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("-S: missing port"),
        "{}",
        refused.stderr
    );
}

/// Returns the next message to the service manager.
fn heard(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let length = manager.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn heard_beginning(manager: &UnixDatagram, begin: &str) -> String {
    let mut said = heard(manager);
    while !said.starts_with(begin) {
        said = heard(manager);
    }
    said
}

#[test]
fn service_manager_is_notified() {
    let bench = Bench::new();
    let socket = bench.scratch.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let own = ["run", "-f", "a.cfg"];
    for (program, arguments) in [
        (evenkeel(), &own[..]),
        (&bench.haproxy, &["-Ws", "-f", "a.cfg"]),
    ] {
        let port = free_port().unwrap();
        bench.file("a.cfg", &passes("", &[port], origin("one")));
        let variables = [
            ("NOTIFY_SOCKET", socket.to_str().unwrap()),
            ("WATCHDOG_USEC", "600000"),
        ];
        let supervised =
            Supervised::start_with(program, bench.scratch.path(), arguments, &variables);
        let pid = supervised.pid;
        let ready = |version: u32| {
            format!("READY=1\nMAINPID={pid}\nSTATUS=serving version {version} with 1 listener")
        };
        // Ignores earlier messages: a start on a busy machine takes longer than the watchdog's
        // interval.
        let begun = ready(1) + "\nERRNO=0";
        assert_eq!(heard_beginning(&manager, "READY"), begun);
        assert_eq!(heard_beginning(&manager, "WATCHDOG"), "WATCHDOG=1");
        assert!(answers(port, "one"));
        for child in supervised.children() {
            let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap();
            let text = String::from_utf8_lossy(&environment).into_owned();
            assert!(
                !text.contains("NOTIFY_SOCKET") && !text.contains("WATCHDOG"),
                "{text}"
            );
        }
        bench.file("a.cfg", &passes("", &[port], origin("two")));
        supervised.signal(Signal::SIGHUP);
        let said = heard_beginning(&manager, "RELOADING");
        assert!(said.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{said}");
        assert_eq!(heard_beginning(&manager, "READY"), ready(2) + "\nERRNO=0");
        bench.file("a.cfg", "nonsense\n");
        supervised.signal(Signal::SIGHUP);
        let refused = "; the last reload was refused\nERRNO=22";
        assert_eq!(heard_beginning(&manager, "READY"), ready(2) + refused);
        assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
        assert_eq!(
            heard_beginning(&manager, "STOPPING"),
            "STOPPING=1\nSTATUS=stopping"
        );
    }
}

#[test]
fn master_without_ws_sends_no_notifications() {
    let bench = Bench::new();
    let socket = bench.scratch.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let port = free_port().unwrap();
    bench.file("a.cfg", &passes("", &[port], origin("one")));
    let variables = [("NOTIFY_SOCKET", socket.to_str().unwrap())];
    let arguments = ["-W", "-f", "a.cfg"];
    let master =
        Supervised::start_with(&bench.haproxy, bench.scratch.path(), arguments, &variables);
    assert!(answers(port, "one"));
    assert_eq!(master.end(Signal::SIGTERM).code(), Some(0));
    assert!(manager.recv(&mut [0; 64]).is_err());
}
