//! Tests members that were removed from the cluster, and start again without a link to another
//! member.

use super::real::{Real, all_vote, eventually, three};
use super::{MemberTestDirectory, apply};
use crate::request::Request;
use crate::role::directory::{REMOVED, STORE, StateDirectory};
use crate::role::setup;
use part::role::VersionStanding;
use std::path::PathBuf;

fn mark(member: &Real) -> PathBuf {
    member.place.directory.join(REMOVED)
}

fn is_told(member: &Real) -> bool {
    let status = member.status();
    let says = |words: &String| words.contains("was removed from the cluster");
    status.is_some_and(|status| status.frozen.iter().any(says))
}

fn remove_stopped_b(a: &Real, b: &mut Real) {
    b.stop();
    a.done(&Request::Remove { name: "b".into() });
    eventually("two are left", || all_vote(a, 2), || a.text());
    b.start();
    eventually("b is told", || is_told(b) && mark(b).exists(), || b.text());
}

#[test]
fn removed_member_stays_removed_without_a_link() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    a.done(&Request::Apply(apply(None, "one", 0)));
    remove_stopped_b(&a, &mut b);
    b.stop();
    a.stop();
    c.stop();
    let starts_removed = |b: &mut Real| {
        b.start();
        eventually("b is removed", || is_told(b), || b.text());
        let standings = || b.machine.shows().standings;
        eventually("it is reported", || !standings().is_empty(), || b.text());
        assert_eq!(standings(), [VersionStanding::Removed], "{}", b.text());
        b.stop();
    };
    starts_removed(&mut b);
    // On a full disk the mark is empty.
    std::fs::write(mark(&b), b"").unwrap();
    starts_removed(&mut b);
    // The log of the member is lost, or cannot be read.
    let store = b.place.directory.join(STORE);
    let log = std::fs::read(&store).unwrap();
    std::fs::remove_file(&store).unwrap();
    starts_removed(&mut b);
    std::fs::remove_file(&store).unwrap();
    std::fs::create_dir(&store).unwrap();
    starts_removed(&mut b);
    std::fs::remove_dir(&store).unwrap();
    std::fs::write(&store, log).unwrap();
}

#[test]
fn recovery_alone_ends_a_reported_removal() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    remove_stopped_b(&a, &mut b);
    b.stop();
    a.stop();
    c.stop();
    setup::recover_alone(&b.place.directory).unwrap();
    assert!(!mark(&b).exists());
    b.start();
    eventually("b is alone", || all_vote(&b, 1), || b.text());
    assert!(!is_told(&b), "{}", b.text());
    b.stop();
}

#[test]
fn majority_that_confirms_a_member_clears_its_mark() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    a.done(&Request::Apply(apply(None, "one", 0)));
    for member in [&mut b, &mut c] {
        member.stop();
        let directory = StateDirectory::open(&member.place.directory).unwrap();
        directory.mark_removed("reported").unwrap();
        member.start();
        eventually(
            "the mark is gone",
            || !mark(member).exists(),
            || member.text(),
        );
        let is_back = || all_vote(member, 3) && !is_told(member);
        eventually("it is a member", is_back, || member.text());
    }
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
}

#[test]
fn refused_write_of_the_mark_is_reported_and_repeated() {
    let scratch = MemberTestDirectory::new();
    let [mut a, mut b, mut c] = three(&scratch);
    let in_the_way = b.place.directory.join(format!(".{REMOVED}.new"));
    std::fs::create_dir(&in_the_way).unwrap();
    b.stop();
    a.done(&Request::Remove { name: "b".into() });
    b.start();
    let reported = || is_told(&b) && b.text().contains("cannot store on its disk");
    eventually("b reports it", reported, || b.text());
    assert!(!mark(&b).exists());
    std::fs::remove_dir(&in_the_way).unwrap();
    eventually("it is written", || mark(&b).exists(), || b.text());
    for member in [&mut a, &mut b, &mut c] {
        member.stop();
    }
}
