//! Tests a configuration in Mercurial with a cron job, as users have it today: the job pulls new
//! changesets, updates the files, and reloads.

use crate::harness::{Bench, run};
use crate::supervised::{Supervised, answers, origin, passes};
use lab::free_port;
use nix::sys::signal::Signal;
use std::path::Path;

const SCRIPT: &str = "\
#!/bin/sh
cd live || exit 1
if hg incoming; then
  hg pull || exit 1
  hg update -C || exit 1
  kill -USR2 \"$(cat ../haproxy.pid)\"
else
  echo 'nothing is new'
fi
";

#[test]
fn cron_job_reloads_without_a_new_process() {
    lab::skip_unless_installed!("hg");
    let bench = Bench::new();
    let directory = bench.scratch.path();
    let hg = |arguments: &[&str]| {
        let arguments = [&["--config", "ui.username=anna"][..], arguments].concat();
        let outcome = run(Path::new("hg"), directory, &arguments);
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    };
    let port = free_port().unwrap();
    let commit = |name: &'static str| {
        bench.file("central/haproxy.cfg", &passes("", &[port], origin(name)));
        hg(&["-R", "central", "commit", "--addremove", "-m", name]);
    };
    hg(&["init", "central"]);
    commit("one");
    hg(&["clone", "central", "live"]);
    bench.file("sync.sh", SCRIPT);
    let arguments = ["-W", "-f", "live/haproxy.cfg", "-p", "haproxy.pid"];
    let master = Supervised::start(&bench.haproxy, directory, arguments);
    assert!(answers(port, "one"));
    let role = master.role();
    let sync = || run(Path::new("sh"), directory, ["sync.sh"]);
    let outcome = sync();
    assert!(
        outcome.stdout.contains("nothing is new"),
        "{}",
        outcome.stdout
    );
    commit("two");
    let outcome = sync();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(answers(port, "two"));
    assert_eq!(master.role(), role, "one process all along");
    let outcome = master.end(Signal::SIGTERM);
    assert_eq!(
        outcome.stderr.matches("Loading success.").count(),
        2,
        "{}",
        outcome.stderr
    );
}
