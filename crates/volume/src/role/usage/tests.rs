//! Tests notifications to roles that use volumes. The volume role has one volume with one replica.

use super::super::{VolumeEnvironment, VolumeRole};
use super::*;
use crate::config::{KeptState, RESYNC_RATE, ReplicaPair, Spec, Volumes};
use crate::device::Backing;
use crate::device::bed::{create_mail, joined};
use crate::layout::{Superblock, stored_overwrite};
use crate::link::dial::ReplicationLink;
use crate::message::VolumeOrder;
use crate::overwrite::{OverwriteKind, OverwriteMark};
use crate::report::CHANGE;
use lab::{ScratchDirectory, eventually};
use part::codec;
use part::role::{KnownLease, KnownLeases, LeaseNews};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const SIZE: u64 = 1 << 20;

fn role(runtime: &Path) -> VolumeRole {
    let confine = |_: &Path, _: &Backing| Ok(());
    let runtime = runtime.to_owned();
    VolumeRole::new(VolumeEnvironment { runtime, confine }).unwrap()
}

/// Returns a configuration with one volume of one replica.
fn version(directory: &Path) -> Vec<u8> {
    let spec = Spec {
        size_bytes: SIZE,
        backing: Backing::File(directory.to_owned()),
        snapshots: None,
        pair: None,
        node: Some("alpha".to_owned()),
        without_majority: Default::default(),
        verify: None,
        read_only: false,
        bind: None,
    };
    codec::encode(&Volumes([("mail".to_owned(), spec)].into(), [].into()))
}

fn create(directory: &Path) {
    create_mail(directory, joined(SIZE, 1));
}

fn used(part: &str, name: &str, r#use: VolumeUse) -> UsedVolumes {
    let name = name.to_owned();
    let volumes = vec![UsedVolume {
        name,
        r#use,
        ..UsedVolume::default()
    }];
    let part = part.to_owned();
    UsedVolumes { part, volumes }
}

/// Returns the notification of one role about one volume, if there is one.
fn one(role: &mut VolumeRole) -> Option<VolumeState> {
    let mut news = role.news();
    assert!(news.len() <= 1, "{news:?}");
    let (part, news) = news.pop()?;
    assert_eq!((&*part, news.volumes.len()), ("guest", 1));
    news.volumes.into_iter().next()
}

#[test]
fn a_part_gets_the_volume_state_on_request_and_on_change() {
    let (runtime, directory) = (
        ScratchDirectory::new().unwrap(),
        ScratchDirectory::new().unwrap(),
    );
    let mut role = role(runtime.path());
    role.uses(used("guest", "mail", VolumeUse::Alone));
    let unknown = one(&mut role).unwrap();
    let words = "the served configuration has no volume 'mail' on this node";
    assert_eq!((unknown.ready, &*unknown.why), (false, words));
    assert_eq!(one(&mut role), None);
    role.uses(used("guest", "mail", VolumeUse::Alone));
    assert_eq!(one(&mut role), Some(unknown));

    role.change(&version(directory.path())).unwrap();
    let mut last = None;
    let mut is = |role: &mut VolumeRole, ready: bool, words: &str| {
        let is = || {
            // A change wakes the role, so that no polling is needed.
            let second = Timespec::try_from(Duration::from_secs(1)).unwrap();
            let wakes = role.wakes();
            let mut watched = [PollFd::from_borrowed_fd(wakes, PollFlags::IN)];
            let _ = poll(&mut watched, Some(&second));
            role.wishes();
            last = one(role).or(last.take());
            let state = last.as_ref();
            state.is_some_and(|state| state.ready == ready && state.why.contains(words))
        };
        assert!(eventually(SOON, is), "{last:?}");
    };
    is(&mut role, false, "`evenkeel volume create mail` creates it");
    create(directory.path());
    is(&mut role, true, "");
    // A new supervisor does not know the states, so they are sent again.
    assert_eq!(one(&mut role), None);
    role.resend_reports();
    let ready = one(&mut role).unwrap();
    assert!(ready.ready && ready.stays);
    let words = "it has one copy, on this node: it cannot move to another one";
    assert_eq!(ready.why, words);

    role.uses(used("guest", "mail", VolumeUse::Reads));
    let ready = one(&mut role).unwrap();
    assert_eq!((ready.ready, ready.stays, &*ready.why), (true, false, ""));
    role.uses(used("guest", "mail", VolumeUse::HandsOver));
    let stays = one(&mut role).unwrap();
    assert_eq!((stays.ready, stays.r#use), (false, VolumeUse::HandsOver));
    assert!(stays.why.contains("one copy"), "{}", stays.why);
}

#[test]
fn a_used_volume_stays_unchanged_until_its_guest_ends() {
    let (runtime, directory) = (
        ScratchDirectory::new().unwrap(),
        ScratchDirectory::new().unwrap(),
    );
    create(directory.path());
    let now = version(directory.path());
    let mut volumes: Volumes = codec::decode(&now).unwrap();
    volumes
        .0
        .values_mut()
        .for_each(|spec| spec.read_only = true);
    let without = codec::encode(&Volumes([].into(), [].into()));
    for (then, is_gone) in [(codec::encode(&volumes), false), (without, true)] {
        let mut role = role(runtime.path());
        role.change(&now).unwrap();
        role.uses(used("guest", "mail", VolumeUse::Alone));
        // A refused configuration does not become the pending one.
        let mut smaller: Volumes = codec::decode(&now).unwrap();
        smaller.0.values_mut().for_each(|spec| spec.size_bytes /= 2);
        let has_opened = || role.workers["mail"].size_bytes().is_some();
        assert!(eventually(SOON, has_opened));
        role.change(&codec::encode(&smaller)).unwrap_err();
        assert!(role.usage.held.1 == now);
        role.change(&then).unwrap();
        assert!(!role.workers["mail"].spec().read_only);
        // The next configuration also lacks the volume, which is kept again.
        role.change(&then).unwrap();
        assert!(!role.workers["mail"].spec().read_only);
        let empty = UsedVolumes {
            part: "guest".to_owned(),
            volumes: Vec::new(),
        };
        role.uses(empty);
        assert_eq!(role.workers.is_empty(), is_gone);
        assert!(role.workers.values().all(|worker| worker.spec().read_only));
        assert!(role.usage.held.0.is_empty());
    }
}

#[test]
fn the_report_names_the_parts_that_use_a_volume() {
    let (runtime, directory) = (
        ScratchDirectory::new().unwrap(),
        ScratchDirectory::new().unwrap(),
    );
    create(directory.path());
    let mut role = role(runtime.path());
    role.change(&version(directory.path())).unwrap();
    let words = |role: &VolumeRole| role.report().subjects[0].words(USED_BY);
    assert_eq!(words(&role), None);
    role.uses(used("guest", "mail", VolumeUse::Alone));
    let is_ready = || words(&role).as_deref() == Some("guest, alone");
    assert!(eventually(SOON, is_ready), "{:?}", words(&role));
    role.uses(used("farm", "mail", VolumeUse::Reads));
    let both = words(&role);
    assert_eq!(both.as_deref(), Some("farm, reads; guest, alone"));
    role.uses(used("guest", "mail", VolumeUse::HandsOver));
    let words_of = words(&role).unwrap();
    assert!(words_of.contains("guest, hands over, not ready: it has one copy"));
    role.forget_user("guest");
    assert_eq!(words(&role).as_deref(), Some("farm, reads"));
    role.forget_user("farm");
    assert_eq!(words(&role), None);
}

#[test]
fn the_strongest_use_of_several_parts_counts_and_parts_have_a_bound() {
    let runtime = ScratchDirectory::new().unwrap();
    let mut role = role(runtime.path());
    role.uses(used("guest", "mail", VolumeUse::Alone));
    role.uses(used("farm", "mail", VolumeUse::Reads));
    assert_eq!(role.usage.of("mail"), Some(VolumeUse::Alone));
    assert_eq!(role.usage.of("other"), None);
    role.uses(used("farm", "mail", VolumeUse::HandsOver));
    assert_eq!(role.usage.of("mail"), Some(VolumeUse::HandsOver));
    for number in 0..2 * PARTS_MAX {
        let part = format!("part{number}");
        role.uses(used(&part, "mail", VolumeUse::Reads));
    }
    assert_eq!(role.news().len(), PARTS_MAX);
    // Known roles can still change their use.
    role.uses(used("guest", "mail", VolumeUse::Reads));
    assert_eq!(role.news().len(), 1);
}

/// Returns a configuration with one volume of two replicas, on `alpha` and another node.
fn version_of_two(directory: &Path, other: &str) -> Vec<u8> {
    let mut volumes: Volumes = codec::decode(&version(directory)).unwrap();
    for spec in volumes.0.values_mut() {
        spec.node = None;
        spec.pair = Some(ReplicaPair {
            me: "alpha".to_owned(),
            other: other.to_owned(),
            cable: ReplicationLink::default(),
            resync_rate: RESYNC_RATE,
        });
    }
    codec::encode(&volumes)
}

fn held_by(holder: &str) -> LeaseNews {
    LeaseNews::Known(KnownLeases(vec![KnownLease {
        name: "volume/mail".to_owned(),
        epoch: 3,
        holder: holder.to_owned(),
        ..KnownLease::default()
    }]))
}

#[test]
fn copy_leaves_its_pair_after_the_other_node_released_the_volume() {
    let (runtime, directory) = (
        ScratchDirectory::new().unwrap(),
        ScratchDirectory::new().unwrap(),
    );
    create(directory.path());
    let one = version(directory.path());
    let two = version_of_two(directory.path(), "beta");
    for then in [one, version_of_two(directory.path(), "gamma")] {
        let mut role = role(runtime.path());
        role.change(&two).unwrap();
        role.apply_lease_news(held_by("beta"));
        role.change(&then).unwrap();
        let other = |role: &VolumeRole| {
            let pair = role.workers["mail"].spec().pair;
            pair.map(|pair| pair.other)
        };
        assert_eq!(other(&role).as_deref(), Some("beta"));
        let words = role.report().subjects[0].words(CHANGE);
        let words = words.unwrap_or_default();
        assert!(words.starts_with("beta serves it"), "{words}");
        // The next process keeps the old configuration, too, until it knows the leases.
        let state = role.kept();
        drop(role);
        let mut role = self::role(runtime.path());
        role.resume(&state);
        role.change(&then).unwrap();
        assert_eq!(other(&role).as_deref(), Some("beta"));
        role.uses(used("guest", "other", VolumeUse::Alone));
        assert!(role.usage.held.0.is_empty());
        drop(role);
        let mut role = self::role(runtime.path());
        role.change(&two).unwrap();
        role.apply_lease_news(held_by("beta"));
        role.change(&then).unwrap();
        role.apply_lease_news(held_by("alpha"));
        assert!(role.usage.held.0.is_empty());
    }
}

#[test]
fn block_size_of_a_volume_stays_while_it_is_used() {
    let (runtime, directory) = (
        ScratchDirectory::new().unwrap(),
        ScratchDirectory::new().unwrap(),
    );
    create(directory.path());
    let one = version(directory.path());
    let two = version_of_two(directory.path(), "beta");
    let mut checked = codec::decode::<Volumes>(&one).unwrap();
    checked.0.get_mut("mail").unwrap().verify = Some(RESYNC_RATE);
    for then in [two, codec::encode(&checked)] {
        let mut role = role(runtime.path());
        role.change(&one).unwrap();
        role.uses(used("guest", "mail", VolumeUse::Alone));
        role.change(&then).unwrap();
        assert!(!role.workers["mail"].spec().has_whole_blocks());
        let words = role.report().subjects[0].words(CHANGE);
        let words = words.unwrap_or_default();
        assert!(words.contains("uses it here"), "{words}");
        role.forget_user("guest");
        assert!(role.workers["mail"].spec().has_whole_blocks());
        // Smaller requests than before disturb nobody.
        role.uses(used("guest", "mail", VolumeUse::Alone));
        role.change(&one).unwrap();
        assert!(role.waiting_changes().is_empty());
    }
}

#[test]
fn volume_removed_under_its_user_survives_a_restart_of_the_role() {
    let (runtime, directory) = (
        ScratchDirectory::new().unwrap(),
        ScratchDirectory::new().unwrap(),
    );
    create(directory.path());
    let without = codec::encode(&Volumes([].into(), [].into()));
    let mut first = role(runtime.path());
    first.change(&version(directory.path())).unwrap();
    first.uses(used("guest", "mail", VolumeUse::Alone));
    first.change(&without).unwrap();
    let state = first.kept();
    assert!(!KeptState::decode(&state).waiting.is_empty());
    drop(first);
    let mut next = role(runtime.path());
    next.resume(&state);
    next.change(&without).unwrap();
    assert!(next.workers.contains_key("mail"));
    let why = |role: &VolumeRole| role.waiting_changes()["mail"].clone();
    assert!(why(&next).contains("has not reported"), "{}", why(&next));
    next.uses(used("guest", "mail", VolumeUse::Alone));
    assert!(next.workers.contains_key("mail"), "its user reported again");
    assert!(why(&next).contains("uses it here"), "{}", why(&next));
    assert!(next.next_due().is_some());
    next.forget_user("guest");
    assert!(next.workers.is_empty());
    assert_eq!(next.next_due(), None);
    assert!(KeptState::decode(&next.kept()).waiting.is_empty());
}

#[test]
fn kept_state_of_an_earlier_program_has_the_users() {
    let users = BTreeMap::from([("mail".to_owned(), "guest/a".to_owned())]);
    let state = KeptState::decode(&codec::encode(&users));
    assert_eq!((state.users, state.waiting.len()), (users, 0));
    assert_eq!(KeptState::decode(b"no state"), KeptState::default());
}

#[test]
fn incomplete_volume_is_not_ready_until_it_is_accepted() {
    let (runtime, directory) = (
        ScratchDirectory::new().unwrap(),
        ScratchDirectory::new().unwrap(),
    );
    let mark = OverwriteMark::new(OverwriteKind::VolumeRestore, 1_796_043_600, 7);
    let head = Superblock {
        overwrite: Some(mark),
        ..joined(SIZE, 1)
    };
    create_mail(directory.path(), head);
    let mut role = role(runtime.path());
    role.change(&version(directory.path())).unwrap();
    role.uses(used("guest", "mail", VolumeUse::Alone));
    let mut last = None;
    let mut is = |role: &mut VolumeRole, ready: bool, words: &str| {
        let is = || {
            role.wishes();
            last = one(role).or(last.take());
            let state = last.as_ref();
            state.is_some_and(|state| state.ready == ready && state.why.contains(words))
        };
        assert!(eventually(SOON, is), "{last:?}");
    };
    let words = "it is incomplete: `evenkeel volume restore` of 20261130T130000Z was interrupted";
    is(&mut role, false, words);
    let name = || "mail".to_owned();
    // A command may change the mark only while it has the volume open, and another mark stays.
    let other = VolumeOrder::Mark {
        name: name(),
        mark: 1,
        is_done: false,
    };
    assert!(!role.order(&other).good);
    let other = VolumeOrder::Mark {
        name: name(),
        mark: 1,
        is_done: true,
    };
    assert!(role.order(&other).good);
    is(&mut role, false, words);
    assert!(role.order(&VolumeOrder::Accept { name: name() }).good);
    is(&mut role, true, "");
    assert!(!role.order(&VolumeOrder::Accept { name: name() }).good);
    let metadata = std::fs::read(directory.path().join("mail.metadata")).unwrap();
    assert_eq!(stored_overwrite(&metadata), None);
}
