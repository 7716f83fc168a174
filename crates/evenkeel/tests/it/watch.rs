//! Tests of `watch`: changes of files cause a reload, whichever way the files are written, and
//! invalid files are refused once.

use crate::harness::{Bench, CommandOutput, PATIENCE};
use crate::supervised::{Supervised, answers, get, passes};
use lab::{ScratchDirectory, eventually, free_port};
use nix::sys::signal::Signal;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

/// Time in which a detected change would be loaded: longer than the delay of these tests and a
/// load.
const A_WHILE: Duration = Duration::from_millis(1500);

fn free() -> u16 {
    free_port().unwrap()
}

/// Returns a configuration that responds with the content of a page.
fn pages(watch: &str, port: u16, page: &Path) -> String {
    format!(
        "global\n    maxconn 100\n    watch {watch} delay 200ms\ndefaults\n    mode http\n    timeout client 30s\n    \
         timeout server 30s\n    timeout connect 5s\nfrontend web\n    bind 127.0.0.1:{port}\n    \
         http-request return status 200 content-type text/plain file {}\n",
        page.display()
    )
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// Message of a reload that succeeded.
const RELOADED: &str = "configuration reloaded; serving on";

/// Message of a reload that was refused.
const REFUSED: &str = "nothing was changed";
const RETURNED: &str = "have returned to the served content";

/// Waits until the supervisor has printed this text `times` times, ends it, and checks the count.
/// The serving process applies a change before the supervisor reports it.
fn end(supervised: Supervised, words: &str, times: usize) -> CommandOutput {
    let said = eventually(PATIENCE, || supervised.times_said(words) >= times);
    assert!(said, "{words}: {times} times");
    lab::sleep_in_test(A_WHILE / 3, "a watch that finds nothing is silent");
    let outcome = supervised.end(Signal::SIGTERM);
    let count = outcome.stderr.matches(words).count();
    assert_eq!(count, times, "{words}: {}", outcome.stderr);
    outcome
}

#[test]
fn changed_page_is_served_and_a_touch_is_ignored() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let page = scratch.write("page", "one").unwrap();
    scratch.write("a.cfg", pages("files", port, &page)).unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    replace(&page, "two");
    assert!(answers(port, "two"), "replaced");
    fs::write(&page, "three").unwrap();
    assert!(answers(port, "three"), "written in place");
    fs::write(&page, "three").unwrap();
    lab::sleep_in_test(A_WHILE, "a watch that finds nothing is silent");
    // If only referenced files are watched, an incomplete configuration is not read.
    scratch.write("a.cfg", "global\n    srever\n").unwrap();
    fs::write(&page, "four").unwrap();
    assert!(answers(port, "four"));
    let outcome = end(supervised, RELOADED, 3);
    assert!(!outcome.stderr.contains("srever"), "{}", outcome.stderr);
    assert!(
        !outcome.stderr.contains("nothing was"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("page"), "{}", outcome.stderr);
}

#[test]
fn incomplete_file_is_not_loaded() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let page = scratch.write("page", "old").unwrap();
    scratch.write("a.cfg", pages("files", port, &page)).unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "old"));
    let mut file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&page)
        .unwrap();
    file.write_all(b"first half, ").unwrap();
    lab::sleep_in_test(A_WHILE, "a watch that finds nothing is silent");
    assert_eq!(get(port).as_deref(), Some("old"), "it is still written");
    file.write_all(b"second half").unwrap();
    drop(file);
    assert!(answers(port, "first half, second half"));
    end(supervised, RELOADED, 1);
}

#[test]
fn a_link_that_is_turned_is_noticed_as_in_a_volume_of_kubernetes() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let volume = scratch.path().join("volume");
    let fill = |name: &str, text: &str| {
        fs::create_dir_all(volume.join(name)).unwrap();
        fs::write(volume.join(name).join("page"), text).unwrap();
        symlink(name, volume.join("..new")).unwrap();
        fs::rename(volume.join("..new"), volume.join("..data")).unwrap();
    };
    fill("..1", "one");
    symlink("..data/page", volume.join("page")).unwrap();
    scratch
        .write("a.cfg", pages("files", port, &volume.join("page")))
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    for (name, text) in [("..2", "two"), ("..3", "three")] {
        fill(name, text);
        assert!(answers(port, text));
    }
    fs::remove_dir_all(volume.join("..1")).unwrap();
    fs::write(volume.join("..3/page"), "in place").unwrap();
    assert!(answers(port, "in place"), "behind the link");
    let outcome = end(supervised, RELOADED, 3);
    assert!(!outcome.stderr.contains("error"), "{}", outcome.stderr);
}

#[test]
fn bad_configuration_is_refused_once_and_the_next_loads() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let page = scratch.write("page", "one").unwrap();
    let good = pages("all", port, &page);
    let file = scratch.write("a.cfg", &good).unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let bad = good.clone() + "    srever x\n";
    for _ in 0..3 {
        replace(&file, &bad);
        assert!(eventually(PATIENCE, || supervised.has_said(REFUSED)));
        lab::sleep_in_test(A_WHILE, "a watch that finds nothing is silent");
    }
    assert_eq!(get(port).as_deref(), Some("one"));
    // The file names another one that is created later.
    let later = scratch.path().join("later");
    replace(&file, &pages("all", port, &later));
    assert!(eventually(PATIENCE, || supervised.times_said(REFUSED) == 2));
    lab::sleep_in_test(A_WHILE, "a watch that finds nothing is silent");
    fs::write(&later, "two").unwrap();
    assert!(answers(port, "two"), "a file that was missing has come");
    let outcome = end(supervised, RELOADED, 1);
    let count = |words: &str| outcome.stderr.matches(words).count();
    assert_eq!(count(REFUSED), 2, "{}", outcome.stderr);
    assert_eq!(count("srever' "), 1, "{}", outcome.stderr);
}

#[test]
fn vanishing_files_cause_no_reload_storm() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let directory = scratch.path().join("conf");
    fs::create_dir(&directory).unwrap();
    let page = scratch.write("page", "one").unwrap();
    let file = directory.join("a.cfg");
    fs::write(&file, pages("all", port, &page)).unwrap();
    let supervised = Supervised::run(&scratch, "conf");
    assert!(answers(port, "one"));
    // Some editors replace files in this way.
    let text = fs::read(&file).unwrap();
    fs::rename(&file, directory.join("a.cfg~")).unwrap();
    fs::write(&file, &text).unwrap();
    lab::sleep_in_test(A_WHILE, "a watch that finds nothing is silent");
    // Renames the whole directory, and restores it later.
    let away = scratch.path().join("away");
    fs::rename(&directory, &away).unwrap();
    assert!(eventually(PATIENCE, || supervised.has_said(REFUSED)));
    lab::sleep_in_test(2 * A_WHILE, "a watch that finds nothing is silent");
    assert_eq!(get(port).as_deref(), Some("one"));
    fs::rename(&away, &directory).unwrap();
    assert!(eventually(PATIENCE, || supervised.has_said(RETURNED)));
    lab::sleep_in_test(2 * A_WHILE, "a watch that finds nothing is silent");
    // A further file of the directory.
    let added = free();
    let further =
        format!("frontend more\n    bind 127.0.0.1:{added}\n    http-request return status 200\n");
    fs::write(directory.join("b.cfg"), further).unwrap();
    assert!(eventually(PATIENCE, || std::net::TcpStream::connect((
        "127.0.0.1",
        added
    ))
    .is_ok()));
    let outcome = end(supervised, RELOADED, 1);
    for words in [REFUSED, RETURNED] {
        let count = outcome.stderr.matches(words).count();
        assert_eq!(count, 1, "{words}: {}", outcome.stderr);
    }
}

#[test]
fn touch_is_silent_and_hup_always_reloads() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let origin = crate::supervised::origin("app");
    scratch
        .write(
            "a.cfg",
            passes("    watch all delay 100ms\n", &[port], origin),
        )
        .unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "app"));
    let file = scratch.path().join("a.cfg");
    for _ in 0..3 {
        let text = fs::read(&file).unwrap();
        fs::write(&file, text).unwrap();
        lab::sleep_in_test(A_WHILE / 3, "a watch that finds nothing is silent");
    }
    assert_eq!(supervised.reload().code(), Some(0));
    end(supervised, RELOADED, 1);
}

#[test]
fn requester_gets_the_reason_even_with_quiet() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free();
    let good = passes("    quiet\n", &[port], crate::supervised::origin("app"));
    scratch.write("a.cfg", &good).unwrap();
    let supervised = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "app"));
    scratch.write("a.cfg", good + "    srever x\n").unwrap();
    let told = supervised.reload();
    let outcome = supervised.end(Signal::SIGTERM);
    for told in [told.stderr, outcome.stderr] {
        assert!(told.contains("did you mean 'server'"), "{told}");
    }
}

#[test]
fn under_the_name_of_haproxy_it_works_with_w_and_is_warned_of_without() {
    let bench = Bench::new();
    let port = free();
    let page = bench.file("page", "one");
    bench.file("a.cfg", &pages("all", port, &page));
    let directory = bench.scratch.path();
    let words = ["-W", "-db", "-f", "a.cfg"];
    let supervised = Supervised::start(&bench.haproxy, directory, words);
    assert!(answers(port, "one"));
    replace(&page, "two");
    assert!(answers(port, "two"));
    let outcome = end(supervised, "Loading success.", 2);
    let count = |words: &str| outcome.stderr.matches(words).count();
    assert_eq!(count("no effect"), 0, "{}", outcome.stderr);
    let alone = Supervised::start(&bench.haproxy, directory, &words[1..]);
    assert!(answers(port, "two"));
    let outcome = end(alone, "-W", 1);
    assert!(outcome.stderr.contains("-W"), "{}", outcome.stderr);
}
