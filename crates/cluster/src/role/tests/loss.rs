//! Tests members whose stores are lost, emptied, damaged or replaced by older ones.

use super::real::{Real, all_vote, eventually, three};
use super::{MemberTestDirectory, apply};
use crate::command::VersionId;
use crate::request::{ControlReply, Request};
use crate::role::directory::{ACCEPTED, PROMISE, SEALING_KEY, STORE, STORE_LOST, StateDirectory};
use crate::role::setup;
use std::path::PathBuf;

fn file(member: &Real, name: &str) -> PathBuf {
    member.place.directory.join(name)
}

fn serves(member: &Real, text: &str) -> bool {
    member.machine.settled().as_deref() == Some(text)
}

fn on_disk(member: &Real) -> Option<VersionId> {
    let directory = StateDirectory::open(&member.place.directory).unwrap();
    directory.accepted().unwrap().map(|set| set.version)
}

fn does_not_vote(member: &Real, why: &str) -> bool {
    let text = member.text();
    text.contains(why) && text.contains("it is not a voter")
}

fn all_are_well(members: [&Real; 3]) -> bool {
    members.iter().all(|member| {
        let well = |status: crate::role::status::ClusterStatus| {
            status.members.iter().all(|member| member.lost.is_empty())
        };
        all_vote(member, 3) && member.status().is_some_and(well)
    })
}

#[test]
fn emptied_store_neither_votes_nor_rolls_back() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    a.done(&Request::Apply(apply(None, "one", 0)));
    c.stop();
    a.done(&Request::Apply(apply(Some(1), "two", 0)));
    eventually("b serves two", || serves(&b, "two"), || b.text());
    let kept = || on_disk(&b) == Some(VersionId(2));
    eventually("b keeps it", kept, || b.text());
    a.stop();
    b.stop();
    let store = std::fs::File::options().write(true).open(file(&b, STORE));
    store.unwrap().set_len(0).unwrap();
    b.start();
    c.start();
    eventually(
        "b says so",
        || does_not_vote(&b, "the store is empty"),
        || b.text(),
    );
    let told = || does_not_vote(&c, "b: the store is empty");
    eventually("the arbiter knows", told, || c.text());
    for member in [&b, &c] {
        assert!(!member.status().unwrap().majority, "{}", member.text());
    }
    b.refused(&Request::Rotate);
    assert_eq!(on_disk(&b), Some(VersionId(2)));
    // The member with the whole log returns.
    a.start();
    eventually("all vote again", || all_are_well([&a, &b, &c]), || a.text());
    for member in [&a, &b] {
        let status = member.status().unwrap();
        assert_eq!(status.configuration.serving, Some(VersionId(2)));
    }
    assert_eq!(
        (on_disk(&a), on_disk(&b)),
        (Some(VersionId(2)), Some(VersionId(2)))
    );
    assert!(file(&b, STORE_LOST).exists());
    b.done(&Request::Apply(apply(Some(2), "three", 0)));
    eventually("a serves three", || serves(&a, "three"), || a.text());
    let told = || {
        a.text()
            .contains("the log of b was lost (the store is empty)")
    };
    eventually("all are told", told, || a.text());
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
}

#[test]
fn member_recovers_from_any_missing_or_old_file() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    a.done(&Request::Apply(apply(None, "one", 0)));
    for member in [&mut b, &mut c] {
        member.stop();
        let (store, promise) = (file(member, STORE), file(member, PROMISE));
        let older = std::fs::read(&store).unwrap();
        member.start();
        eventually("it votes", || all_vote(member, 3), || member.text());
        let version = a.status().unwrap().configuration.accepted.unwrap();
        let text = format!("after {version}");
        a.done(&Request::Apply(apply(Some(version.0), &text, 0)));
        for (change, why) in [
            (0, "older than this member's promises"),
            (1, "the store is missing"),
            (2, "the promise file is missing"),
            (3, "the store is damaged"),
        ] {
            member.stop();
            match change {
                0 => std::fs::write(&store, &older).unwrap(),
                1 => std::fs::remove_file(&store).unwrap(),
                2 => std::fs::remove_file(&promise).unwrap(),
                _ => std::fs::write(&store, b"nothing").unwrap(),
            }
            member.start();
            let told = || a.text().contains(why) && all_vote(&a, 3);
            eventually(why, told, || format!("{}\n{}", a.text(), member.text()));
            let well = || {
                member
                    .status()
                    .is_some_and(|s| s.members.iter().all(|m| m.lost.is_empty()))
            };
            eventually(
                "it votes again",
                || all_vote(member, 3) && well(),
                || member.text(),
            );
        }
    }
    a.done(&Request::Apply(apply(Some(3), "last", 0)));
    eventually("b serves it", || serves(&b, "last"), || b.text());
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
}

#[test]
fn older_copy_of_the_directory_is_detected() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    a.done(&Request::Apply(apply(None, "one", 0)));
    b.stop();
    let files = [file(&b, STORE), file(&b, PROMISE)];
    let older = files.each_ref().map(|path| std::fs::read(path).unwrap());
    for (version, text) in [(1, "two"), (2, "three")] {
        b.start();
        eventually("b votes", || all_vote(&b, 3), || b.text());
        b.done(&Request::Apply(apply(Some(version), text, 0)));
        b.stop();
    }
    for (path, bytes) in files.iter().zip(&older) {
        std::fs::write(path, bytes).unwrap();
    }
    b.start();
    let told = || b.text().contains("was replaced by an older copy of itself");
    eventually("b notices", told, || b.text());
    b.stop();
    b.start();
    let told = || {
        a.text()
            .contains("the log of b was lost (the store is older")
    };
    let all = || [&a, &b, &c].map(Real::text).join("\n");
    eventually("b has it again", told, all);
    assert_eq!(on_disk(&b), Some(VersionId(3)));
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
}

#[test]
fn status_explains_recovery_without_any_log() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    a.done(&Request::Apply(apply(None, "one", 0)));
    eventually("b keeps it", || on_disk(&b).is_some(), || b.text());
    for member in [&mut a, &mut b] {
        member.stop();
        std::fs::write(file(member, STORE), b"").unwrap();
    }
    a.start();
    b.start();
    for member in [&a, &b, &c] {
        let told = || {
            let text = member.text();
            text.contains("no node has its log") && text.contains("cluster init")
        };
        eventually("it is told", told, || member.text());
    }
    assert_eq!(
        a.status().unwrap().configuration.serving,
        Some(VersionId(1))
    );
    a.stop();
    let refused = setup::recover_alone(&a.place.directory).unwrap_err();
    assert!(
        refused.to_string().contains("no log to continue with"),
        "{refused}"
    );
    b.stop();
    c.stop();
}

#[test]
fn damaged_accepted_version_is_reported_and_written_again() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    a.done(&Request::Apply(apply(None, "one", 0)));
    a.done(&Request::Apply(apply(Some(1), "two", 0)));
    let kept = || on_disk(&b) == Some(VersionId(2));
    eventually("b keeps it", kept, || b.text());
    b.stop();
    let accepted = file(&b, ACCEPTED);
    for path in [accepted.clone(), crate::durable::copy_of(&accepted)] {
        std::fs::write(path, b"\xffgarbage").unwrap();
    }
    b.start();
    let is_reported = || b.text().contains("cannot read the accepted version");
    eventually("b reports it", is_reported, || b.text());
    // The promise file still has the newest accepted version.
    let promised = || {
        let status = b.status()?;
        let me = status.members.iter().find(|member| member.name == "b")?;
        me.accepted
    };
    let is_promised = || promised() == Some(VersionId(2));
    eventually("b remembers its promise", is_promised, || b.text());
    let is_on_disk = || {
        let directory = StateDirectory::open(&b.place.directory).unwrap();
        directory
            .accepted()
            .is_ok_and(|set| set.is_some_and(|set| set.version == VersionId(2)))
    };
    eventually("b writes it again", is_on_disk, || b.text());
    let is_over = || !b.text().contains("the disk of b fails");
    eventually("the status is clean", is_over, || b.text());
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
}

#[test]
fn node_recovers_from_a_lost_or_damaged_sealing_key() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    a.done(&Request::Apply(apply(None, "one", 0)));
    let others = std::fs::read(file(&a, SEALING_KEY)).unwrap();
    for (round, damage) in [None, Some(&b"\xff"[..]), Some(b""), Some(&others)]
        .into_iter()
        .enumerate()
    {
        eventually("b serves one", || serves(&b, "one"), || b.text());
        b.stop();
        match damage {
            None => std::fs::remove_file(file(&b, SEALING_KEY)).unwrap(),
            Some(bytes) => std::fs::write(file(&b, SEALING_KEY), bytes).unwrap(),
        }
        b.start();
        eventually("all vote", || all_vote(&b, 3), || b.text());
        // Refused until the other node has encrypted the missing keys.
        let text = format!("after damage {round}");
        let applied = || {
            let accepted = a.status().and_then(|s| s.configuration.accepted);
            let wanted = Request::Apply(apply(accepted.map(|id| id.0), &text, 0));
            matches!(a.ask(&wanted), Ok(ControlReply::Done { .. }))
        };
        eventually("it is accepted", applied, || a.text());
        eventually("b serves it", || serves(&b, &text), || b.text());
        let accepted = || a.status().and_then(|s| s.configuration.accepted);
        let back = Request::Apply(apply(accepted().map(|id| id.0), "one", 0));
        a.done(&back);
    }
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
}
