//! Tests that a start cleans up after killed processes whose section was removed while no process
//! ran. The tests use the real QEMU; the guests have no operating system.

use crate::harness::PATIENCE;
use crate::supervised::Supervised;
use crate::volumes::VolumeFixture;
use lab::{eventually, free_port, skip_unless_installed, skip_unless_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The QEMU of a guest, killed on drop.
struct Qemu(Pid);

impl Qemu {
    fn of(bed: &VolumeFixture, guest: &str) -> Option<Qemu> {
        let path = format!("runtime/guest-{guest}/process");
        let text = std::fs::read_to_string(bed.scratch.path().join(path)).ok()?;
        let number = text.split(' ').next()?.parse().ok()?;
        Some(Qemu(Pid::from_raw(number)))
    }

    fn lives(&self) -> bool {
        let title = std::fs::read(format!("/proc/{}/cmdline", self.0)).unwrap_or_default();
        title.windows(4).any(|word| word == b"qemu")
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        if self.lives() {
            let _ = kill(self.0, Signal::SIGKILL);
        }
    }
}

/// Kills the supervisor, with all roles or without them. Returns it if its roles still run, since
/// they keep its standard error open.
fn kill_all(supervised: Supervised, with_roles: bool) -> Option<Supervised> {
    // Suspends the supervisor, which could restart a killed role before it is killed itself.
    supervised.signal(Signal::SIGSTOP);
    for pid in supervised.children().into_iter().filter(|_| with_roles) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    supervised.signal(Signal::SIGKILL);
    if with_roles {
        supervised.finish();
        return None;
    }
    Some(supervised)
}

fn guest(name: &str, disk: &str) -> String {
    format!(
        "guest {name}\n    memory 32m\n    disk {disk}\n    console serial\n    stop-timeout 3s\n"
    )
}

fn listen() -> String {
    let port = free_port().unwrap();
    format!(
        "listen l\n    mode http\n    timeout client 1s\n    bind 127.0.0.1:{port}\n    stats uri /\n"
    )
}

/// Serves a guest with a volume, then kills the supervisor, and with `with_roles` all roles too.
/// The QEMU of the guest continues to run.
fn left(bed: &VolumeFixture, with_roles: bool) -> (Qemu, Option<Supervised>) {
    bed.write(&[bed.section("mail", "64m"), guest("mail", "mail")]);
    bed.create("mail");
    let supervised = bed.serve();
    let runs = || {
        bed.run(&["guest", "show", "mail"])
            .stdout
            .contains("state: running\n")
    };
    assert!(
        eventually(PATIENCE, runs),
        "{:?}",
        bed.run(&["guest", "list"])
    );
    let qemu = Qemu::of(bed, "mail").expect("its process");
    let supervised = kill_all(supervised, with_roles);
    assert!(qemu.lives());
    (qemu, supervised)
}

#[test]
fn guest_without_a_section_is_shut_down_by_the_next_start() {
    skip_unless_root!();
    skip_unless_installed!("qemu-system-x86_64");
    for (rest, with_roles) in [(true, true), (false, true), (true, false)] {
        let bed = VolumeFixture::new();
        let (qemu, _former) = left(&bed, with_roles);
        // Starts with a file that has only the volume, or only a listener.
        bed.write(&if rest {
            vec![bed.section("mail", "64m")]
        } else {
            vec![listen()]
        });
        let supervised = bed.serve();
        let shown = || bed.run(&["guest", "list"]).stdout.contains("mail");
        let is_seen = eventually(PATIENCE, || shown() || !qemu.lives());
        assert!(is_seen, "{:?}", bed.run(&["guest", "list"]));
        assert!(
            eventually(PATIENCE, || !qemu.lives()),
            "{:?}",
            bed.run(&["guest", "list"])
        );
        // An adopted role knows the guest already.
        let is_found = supervised.has_said("guest mail: its QEMU already runs");
        assert!(is_found || !with_roles);
        let home = bed.scratch.path().join("runtime/guest-mail");
        assert!(eventually(PATIENCE, || !home.exists()));
        supervised.end(Signal::SIGTERM);
    }
}

#[test]
fn volume_of_a_guest_without_a_section_is_locked_until_the_guest_has_ended() {
    skip_unless_root!();
    skip_unless_installed!("qemu-system-x86_64");
    let bed = VolumeFixture::new();
    let (qemu, _) = left(&bed, true);
    bed.write(&[bed.section("mail", "64m"), guest("web", "mail")]);
    let supervised = bed.serve();
    // The second guest may only start once the first has ended.
    let second = || Qemu::of(&bed, "web").filter(Qemu::lives);
    let mut found = None;
    let starts = eventually(PATIENCE, || {
        let lived = qemu.lives();
        found = second();
        assert!(
            found.is_none() || !lived || !qemu.lives(),
            "two users of one volume"
        );
        found.is_some()
    });
    assert!(starts && !qemu.lives(), "{:?}", bed.run(&["guest", "list"]));
    supervised.end(Signal::SIGTERM);
}

#[test]
fn guests_of_another_instance_are_not_touched() {
    skip_unless_root!();
    skip_unless_installed!("qemu-system-x86_64");
    let bed = VolumeFixture::new();
    bed.write(&[bed.section("mail", "64m"), guest("mail", "mail")]);
    bed.create("mail");
    let first = bed.serve();
    let runs = |name: &str| {
        let shown = bed.run(&["guest", "list"]).stdout;
        shown
            .lines()
            .any(|line| line.starts_with(name) && line.contains("running"))
    };
    assert!(
        eventually(PATIENCE, || runs("mail")),
        "{:?}",
        bed.run(&["guest", "list"])
    );
    let qemu = Qemu::of(&bed, "mail").expect("its process");
    // A file without guests, and one with a guest of its own.
    bed.scratch.write("two.cfg", listen()).unwrap();
    let second = Supervised::run(&bed.scratch, "two.cfg");
    assert!(eventually(PATIENCE, || second.role().is_some()));
    second.end(Signal::SIGTERM);
    let own = bed.section("web", "64m") + &guest("web", "web");
    bed.scratch.write("three.cfg", own).unwrap();
    bed.good(&["volume", "create", "web", "--from", "three.cfg"]);
    let third = Supervised::run(&bed.scratch, "three.cfg");
    let own = || Qemu::of(&bed, "web").filter(Qemu::lives);
    let mut web = None;
    assert!(eventually(PATIENCE, || {
        web = own();
        web.is_some()
    }));
    assert!(!third.has_said("guest mail"));
    assert!(qemu.lives());
    third.end(Signal::SIGTERM);
    assert!(!first.children().is_empty() && !first.has_said("shut"));
    first.end(Signal::SIGTERM);
}
