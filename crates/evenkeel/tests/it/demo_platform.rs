//! Tests of `evenkeel demo --platform`: a cluster in namespaces, its console, the faults of its
//! menu, and a complete cleanup at its end.

use crate::harness::{PATIENCE, evenkeel};
use lab::tls::{TlsClient, TlsOffer};
use lab::{eventually, skip_unless_root, with_default_signals};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Timeout for the start of a cluster on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(180);

/// The running demo, with its standard input and output.
struct Demo {
    child: Child,
    keys: Option<ChildStdin>,
    lines: Receiver<String>,
    printed: String,
}

impl Demo {
    fn start() -> Demo {
        let mut command = Command::new(evenkeel());
        with_default_signals(&mut command)
            .args(["demo", "--platform"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Demo {
            keys: child.stdin.take(),
            child,
            lines,
            printed: String::new(),
        }
    }

    /// Waits until the demo prints a line that contains these words, and returns it.
    #[track_caller]
    fn line(&mut self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(SOON);
            let line = line.unwrap_or_else(|_| panic!("no `{words}` in:\n{}", self.printed));
            self.printed += &format!("{line}\n");
            if line.contains(words) {
                return line;
            }
        }
    }

    fn press(&mut self, key: &str) {
        let keys = self.keys.as_mut().unwrap();
        writeln!(keys, "{key}").unwrap();
    }

    /// Ends the demo, and checks that nothing is left of it.
    #[track_caller]
    fn ends_without_a_trace(mut self) {
        self.line("are removed");
        let mut status = None;
        let ended = eventually(PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended && status.unwrap().success(), "{}", self.printed);
        let own = format!("evenkeel-lab-{}-", self.child.id());
        let gone = || left(&own).is_empty();
        assert!(eventually(PATIENCE, gone), "{:?}", left(&own));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Kills the demo after a failed test; its guard process ends everything that it started.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns namespaces, directories and processes whose name contains `own`.
fn left(own: &str) -> Vec<String> {
    let names = |directory: &str| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.collect::<Vec<String>>()
    };
    let temporary = std::env::temp_dir();
    let mut found = [names("/run/netns"), names(temporary.to_str().unwrap())].concat();
    found.retain(|name| name.starts_with(own));
    for pid in names("/proc") {
        // The arguments and the environment name the directory.
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let all = [read("cmdline"), read("environ")].concat();
        if String::from_utf8_lossy(&all).contains(own) {
            found.push(format!("process {pid}"));
        }
    }
    found
}

#[test]
fn the_platform_demo_shows_its_console_injects_faults_and_leaves_nothing() {
    skip_unless_root!();
    lab::skip_unless_installed!("curl");
    let mut demo = Demo::start();
    let console = demo.line("Console of alpha");
    let address = console.split("https://").nth(1).unwrap();
    let address: SocketAddr = address.split('/').next().unwrap().parse().unwrap();
    let link = demo.line("  alpha ");
    let path = link.split(&address.to_string()).nth(1).unwrap().to_owned();
    demo.line("  q  quit");
    let get = |path: &str| {
        let client = TlsClient::new_local(&TlsOffer::default()).unwrap();
        let mut connection = client.connect(address).unwrap();
        connection.get(path).unwrap()
    };
    // Without a session everything leads to the sign-in; the link signs in.
    let answer = get("/");
    assert!(answer.status < 400, "{answer:?}");
    let answer = get(&path);
    assert!(answer.status < 400, "{answer:?}");
    // The console has the same menu.
    let order = |kind: &str, name: &str, word: &str| {
        let form = format!("what=offer&part=demonstration&kind={kind}&name={name}&word={word}");
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--max-time", "30", "-u", "admin:keel", "-d", &form]);
        let output = curl.arg(format!("https://{address}/api/v1/act")).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    // Repeats the action until the console has polled the report that offers it.
    let mut said = String::new();
    let cuts = || {
        said = order("link", "alpha to beta", "cut");
        said.contains("the demonstration executes it")
    };
    assert!(eventually(SOON, cuts), "{said}");
    demo.line("The link between alpha and beta is cut: expect alpha to keep the address");
    demo.press("3");
    demo.line("Every process of alpha was killed: expect beta to take the address over");
    demo.line("beta has 10.60.0.100");
    demo.press("h");
    demo.line("All faults are healed");
    demo.line("alpha has 10.60.0.100");
    demo.press("q");
    demo.ends_without_a_trace();
}

#[test]
fn the_platform_demo_ends_with_its_input_also_while_it_starts() {
    skip_unless_root!();
    let mut demo = Demo::start();
    demo.line("Cluster:");
    let pid = rustix::process::Pid::from_raw(i32::try_from(demo.child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    demo.ends_without_a_trace();
    let mut demo = Demo::start();
    drop(demo.keys.take());
    demo.ends_without_a_trace();
}
