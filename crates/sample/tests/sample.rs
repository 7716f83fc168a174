//! Tests the sample part in a running program: check, documentation, reload, adoption and cluster.

use lab::{ScratchDirectory, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const COUNTERS: &str = "counter visitors\n    every 10ms\n    step 2\n";
const PROXY: &str = "frontend web\n    bind unix@web.sock\n    mode http\n    timeout client 5s\n    \
                     http-request return status 200\n";

struct SampleFixture {
    scratch: ScratchDirectory,
    program: PathBuf,
}

/// A supervisor, which is ended with the test.
struct SupervisorProcess(Child);

impl Drop for SupervisorProcess {
    fn drop(&mut self) {
        end(self.0.id().cast_signed(), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

impl Drop for SampleFixture {
    fn drop(&mut self) {
        // A role outlives its supervisor.
        self.roles(b"evenkeel: ")
            .into_iter()
            .for_each(|role| end(role, Signal::SIGKILL));
    }
}

impl SampleFixture {
    fn new(text: &str) -> SampleFixture {
        let scratch = ScratchDirectory::new().unwrap();
        scratch.write("site.cfg", text).unwrap();
        let program = scratch.path().join("evenkeel-sample");
        copy(&program);
        SampleFixture { scratch, program }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).current_dir(self.scratch.path());
        command.env(
            "EVENKEEL_RUNTIME_DIRECTORY",
            self.scratch.path().join("runtime"),
        );
        command
    }

    fn run(&self, words: &[&str]) -> (bool, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(words).output().unwrap();
        let all = [stdout, stderr].concat();
        (status.success(), String::from_utf8(all).unwrap())
    }

    fn good(&self, words: &[&str]) -> String {
        let (good, said) = self.run(words);
        assert!(good, "{words:?}: {said}");
        said
    }

    fn serve(&self) -> SupervisorProcess {
        let mut command = self.command(&["run", "-f", "site.cfg"]);
        let serving = SupervisorProcess(command.stderr(Stdio::inherit()).spawn().unwrap());
        assert!(eventually(PATIENCE, || self.count() > 0), "it counts");
        serving
    }

    /// Returns the count of the role, or 0 if no role responds.
    fn count(&self) -> u64 {
        let (good, metrics) = self.run(&["status", "counter", "--metrics"]);
        let line = metrics
            .lines()
            .find(|line| line.starts_with("evenkeel_counter_total{"));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        count.filter(|_| good).unwrap_or(0)
    }

    fn grows_beyond(&self, count: u64) {
        assert!(
            eventually(PATIENCE, || self.count() > count),
            "beyond {count}"
        );
    }

    fn role(&self) -> Option<i32> {
        self.roles(b"evenkeel: counter").first().copied()
    }

    fn roles(&self, title: &[u8]) -> Vec<i32> {
        let runtime = self.scratch.path().join("runtime").display().to_string();
        let numbers = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_role = |pid: &i32| {
            let read =
                |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let ours = String::from_utf8_lossy(&read("environ")).contains(&runtime);
            read("cmdline").starts_with(title) && ours
        };
        pids.filter(is_role).collect()
    }
}

/// Copies the program by another process: a file that this process writes may be inherited by other
/// tests.
fn copy(to: &Path) {
    let new = to.with_extension("new");
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_evenkeel-sample"))
        .arg(&new)
        .status();
    assert!(copied.unwrap().success());
    std::fs::rename(new, to).unwrap();
}

fn end(pid: i32, signal: Signal) {
    // Ignores an error: the process may have ended already.
    let _ = kill(Pid::from_raw(pid), signal);
}

#[test]
fn a_part_needs_no_more_than_250_lines() {
    let lines = include_str!("../src/lib.rs").lines().count();
    assert!(lines <= 250, "{lines}");
}

#[test]
fn its_files_are_checked_and_its_words_are_documented() {
    let bed = SampleFixture::new(&COUNTERS.replace("step 2", "stepp 2"));
    let (good, said) = bed.run(&["check", "site.cfg"]);
    assert!(
        !good && said.contains("E0990") && said.contains("did you mean 'step'?"),
        "{said}"
    );
    bed.scratch
        .write("site.cfg", COUNTERS.replace("step 2", "step 2000"))
        .unwrap();
    assert!(bed.run(&["check", "site.cfg"]).1.contains("E0992"));
    bed.scratch.write("site.cfg", COUNTERS).unwrap();
    assert!(bed.good(&["check", "site.cfg"]).contains("1 counters"));
    assert!(bed.good(&["keyword", "every"]).contains("grows once in it"));
    assert!(bed.good(&["manual", "Counters"]).contains("counter <name>"));
    assert!(bed.good(&["explain", "E0992"]).contains("counter section"));
    assert!(bed.good(&["--help"]).contains("counters"));
}

#[test]
fn it_counts_on_when_processes_die_and_its_state_is_shown() {
    let bed = SampleFixture::new(&format!("{COUNTERS}{PROXY}"));
    let mut serving = bed.serve();
    assert!(
        bed.good(&["counters"])
            .starts_with("counter visitors: counting")
    );
    assert!(bed.good(&["status"]).contains("counter visitors"));
    assert!(bed.good(&["counters", "--json"]).contains("\"counter\""));
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let (role, count) = (bed.role().unwrap(), bed.count());
        end(role, signal);
        let follows = || bed.role().is_some_and(|other| other != role);
        assert!(eventually(PATIENCE, follows));
        bed.grows_beyond(count);
    }
    // The supervisor is killed: the next one adopts the role.
    let (role, count) = (bed.role().unwrap(), bed.count());
    serving.0.kill().unwrap();
    serving.0.wait().unwrap();
    let again = bed.serve();
    bed.grows_beyond(count);
    assert_eq!(bed.role(), Some(role));
    end(again.0.id().cast_signed(), Signal::SIGTERM);
    assert!(eventually(PATIENCE, || bed.role().is_none()));
}

#[test]
fn a_reload_changes_removes_and_brings_it() {
    let bed = SampleFixture::new(&format!("{COUNTERS}{PROXY}"));
    let _serving = bed.serve();
    let role = bed.role();
    bed.scratch
        .write(
            "site.cfg",
            format!("{}{PROXY}", COUNTERS.replace("step 2", "step 7")),
        )
        .unwrap();
    let count = bed.count();
    assert!(bed.good(&["reload"]).contains("+ counter visitors"));
    bed.grows_beyond(count);
    assert_eq!(bed.role(), role, "the same process");
    bed.scratch.write("site.cfg", PROXY).unwrap();
    assert!(bed.good(&["reload"]).contains("- counter visitors"));
    assert!(eventually(PATIENCE, || bed.role().is_none()));
    let (good, said) = bed.run(&["counters"]);
    assert!(
        !good && said.contains("the served configuration has no counters"),
        "{said}"
    );
    bed.scratch
        .write("site.cfg", format!("{COUNTERS}{PROXY}"))
        .unwrap();
    assert!(bed.good(&["reload"]).contains("1 counters"));
    bed.grows_beyond(0);
}

#[test]
fn alone_it_needs_no_proxy_and_another_program_goes_on_counting() {
    let bed = SampleFixture::new(COUNTERS);
    let serving = bed.serve();
    let (role, count) = (bed.role(), bed.count());
    copy(&bed.program);
    bed.good(&["reload"]);
    assert!(eventually(PATIENCE, || bed
        .role()
        .is_some_and(|other| Some(other) != role)));
    bed.grows_beyond(count);
    bed.scratch
        .write("site.cfg", COUNTERS.replace("every", "evry"))
        .unwrap();
    assert!(!bed.run(&["reload"]).0);
    bed.grows_beyond(count);
    end(serving.0.id().cast_signed(), Signal::SIGTERM);
    assert!(eventually(PATIENCE, || bed.role().is_none()));
}

#[test]
fn a_cluster_shows_how_the_part_is_on_each_member() {
    lab::enter_own_network();
    let bed = SampleFixture::new(&format!("{COUNTERS}{PROXY}"));
    let listen = format!("127.0.0.1:{}", lab::free_port().unwrap());
    bed.good(&[
        "cluster", "init", "shop", "--name", "alpha", "--listen", &listen, "--state", "state",
    ]);
    let mut command = bed.command(&["run", "--state", "state"]);
    let _serving = SupervisorProcess(command.stderr(Stdio::inherit()).spawn().unwrap());
    let shows = |words: &str| {
        eventually(PATIENCE, || {
            bed.run(&["cluster", "status"]).1.contains(words)
        })
    };
    assert!(shows("alpha is the leader"));
    bed.good(&["config", "apply", "site.cfg", "-m", "counts", "--now"]);
    assert!(shows("visitors counting"));
    let json = bed.good(&["cluster", "status", "--json"]);
    assert!(json.contains("\"part\":\"counter\""), "{json}");
    // The part of a role that does not respond is shown as unknown.
    let role = bed.role().unwrap();
    end(role, Signal::SIGSTOP);
    assert!(shows("unknown"));
    assert!(bed.run(&["status"]).1.contains("part counter: unknown"));
    end(role, Signal::SIGCONT);
    assert!(shows("visitors counting"));
}
