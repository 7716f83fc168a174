//! Tests a store that no longer has what it promised: truncated at any length, torn, or replaced by
//! an older store or by another member's, with and without its promise file.

use super::faulty::Faulty;
use super::{entry, id, now};
use crate::command::VersionId;
use crate::log::{LogId, Membership, SnapshotMeta, Vote};
use crate::member::MemberId;
use crate::store::error::Loss;
use crate::store::promise::SYNC_EVERY;
use crate::store::tied::{OpenedStore, PromiseLocation};
use crate::store::{Store, StoreOwner};
use lab::Random;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

struct MemberFiles(PathBuf);

impl MemberFiles {
    fn new() -> MemberFiles {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("evenkeel-promises-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        MemberFiles(path)
    }

    fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    fn promise(&self) -> PathBuf {
        self.0.join("promise")
    }

    fn make(&self, owner: &StoreOwner) -> Store {
        let store = Store::open(&self.store()).unwrap();
        let promise = self.promise();
        store
            .renew(&PromiseLocation::Path(&promise), owner, None)
            .unwrap()
    }

    fn open(&self, owner: &StoreOwner) -> OpenedStore {
        Store::open_tied(&self.store(), &self.promise(), owner).unwrap()
    }

    fn read(&self) -> (Vec<u8>, Vec<u8>) {
        let read = |path| fs::read(path).unwrap();
        (read(self.store()), read(self.promise()))
    }

    fn put(&self, store: Option<&[u8]>, promise: Option<&[u8]>) {
        for (path, bytes) in [(self.store(), store), (self.promise(), promise)] {
            match bytes {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => drop(fs::remove_file(path)),
            }
        }
    }
}

impl Drop for MemberFiles {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn owner(cluster: &str, member: u64) -> StoreOwner {
    StoreOwner {
        cluster: cluster.to_owned(),
        member: MemberId(member),
    }
}

fn append(store: &Store, term: u64, from: u64, to: u64) {
    for index in from..to {
        now(|done| {
            store.append([entry(term, index, 40)], done);
        })
        .unwrap();
    }
}

fn vote(store: &Store, term: u64) {
    now(|done| store.save_vote(Vote::new(term, MemberId(2)), done)).unwrap();
}

/// State on which the other members rely.
#[derive(PartialEq, PartialOrd, Debug)]
struct Has(Option<Vote>, Option<LogId>);

fn has(store: &Store) -> Has {
    Has(store.vote(), store.ends().1)
}

fn whole(opened: OpenedStore) -> Store {
    match opened {
        OpenedStore::Whole(store) => store,
        OpenedStore::Lost(loss) => panic!("{loss}"),
    }
}

fn lost(opened: OpenedStore) -> Loss {
    match opened {
        OpenedStore::Whole(store) => panic!("it is taken for whole with {:?}", has(&store)),
        OpenedStore::Lost(loss) => loss,
    }
}

fn filled(files: &MemberFiles, owner: &StoreOwner) -> Has {
    let store = files.make(owner);
    vote(&store, 3);
    append(&store, 3, 0, 20);
    vote(&store, 4);
    append(&store, 4, 20, 30);
    has(&store)
}

#[test]
fn a_store_truncated_at_any_length_is_lost_or_has_all_that_was_promised() {
    let (files, me) = (MemberFiles::new(), owner("a", 1));
    let promised = filled(&files, &me);
    let (store, promise) = files.read();
    let short = 0..1100;
    let blocks = (0..store.len()).step_by(4096).skip(1);
    let around = blocks.flat_map(|at| [at - 1, at, at + 1]);
    let lengths: Vec<usize> = short.chain(around).chain([store.len() - 1]).collect();
    assert!(lengths.len() > 1100);
    let mut kept = 0;
    for length in lengths {
        files.put(Some(&store[..length]), Some(&promise));
        match files.open(&me) {
            OpenedStore::Lost(_) => {}
            OpenedStore::Whole(store) => {
                kept += 1;
                assert!(has(&store) >= promised, "{length}: {:?}", has(&store));
            }
        }
    }
    // The end of the file may be unused, not all of it.
    assert!(kept < store.len() / 4096);
}

#[test]
fn a_store_with_any_block_of_earlier_or_of_nothing_is_lost_or_has_all() {
    let (files, me) = (MemberFiles::new(), owner("a", 1));
    let open = files.make(&me);
    append(&open, 1, 0, 10);
    drop(open);
    let (before, _) = files.read();
    let open = whole(files.open(&me));
    append(&open, 1, 10, 30);
    vote(&open, 5);
    let promised = has(&open);
    drop(open);
    let (store, promise) = files.read();
    for at in (0..store.len()).step_by(4096) {
        let end = (at + 4096).min(store.len());
        let zeros = [0; 4096];
        let earlier = before.get(at..end).unwrap_or(&zeros[..end - at]);
        for block in [&zeros[..end - at], earlier] {
            let mut torn = store.clone();
            torn[at..end].copy_from_slice(block);
            files.put(Some(&torn), Some(&promise));
            if let OpenedStore::Whole(store) = files.open(&me) {
                assert!(has(&store) >= promised, "{at}: {:?}", has(&store));
            }
        }
    }
}

#[test]
fn of_all_combinations_of_files_only_those_that_fit_are_taken() {
    let (files, me) = (MemberFiles::new(), owner("a", 1));
    // The format without promise files.
    let untied = Store::open(&files.store()).unwrap();
    append(&untied, 1, 0, 3);
    drop(untied);
    let old_format = fs::read(files.store()).unwrap();
    fs::remove_file(files.store()).unwrap();
    let open = files.make(&me);
    append(&open, 1, 0, 10);
    drop(open);
    let (early, early_promise) = files.read();
    let open = whole(files.open(&me));
    append(&open, 1, 10, 20);
    drop(open);
    let (late, late_promise) = files.read();
    let other = |whose: &StoreOwner| {
        let files = MemberFiles::new();
        filled(&files, whose);
        files.read()
    };
    let (members, members_promise) = other(&owner("a", 2));
    let (clusters, clusters_promise) = other(&owner("b", 1));
    let (twin, twin_promise) = other(&me);
    let torn: Vec<u8> = late_promise.iter().map(|byte| byte ^ 1).collect();
    let stores = [
        ("none", None),
        ("empty", Some(&[][..])),
        ("old format", Some(&old_format)),
        ("early", Some(&early)),
        ("late", Some(&late)),
        ("another member's", Some(&members)),
        ("another cluster's", Some(&clusters)),
        ("another life's", Some(&twin)),
    ];
    let promises = [
        ("none", None),
        ("empty", Some(&[][..])),
        ("torn", Some(&torn)),
        ("early", Some(&early_promise)),
        ("late", Some(&late_promise)),
        ("another member's", Some(&members_promise)),
        ("another cluster's", Some(&clusters_promise)),
        ("another life's", Some(&twin_promise)),
    ];
    let fit = [
        ("old format", "none"),
        ("early", "early"),
        // A crash before the promise file was written.
        ("late", "early"),
        ("late", "late"),
        ("another life's", "another life's"),
    ];
    for (store_name, store) in stores {
        for (promise_name, promise) in promises {
            files.put(store, promise);
            let opened = files.open(&me);
            let taken = matches!(opened, OpenedStore::Whole(_));
            let fits = fit.contains(&(store_name, promise_name));
            assert_eq!(taken, fits, "store: {store_name}, promise: {promise_name}");
        }
    }
    files.put(Some(&early), Some(&late_promise));
    assert!(matches!(lost(files.open(&me)), Loss::Older));
    files.put(Some(&late), None);
    assert!(matches!(lost(files.open(&me)), Loss::Unpromised));
}

#[test]
fn an_upgrade_ties_the_store_and_one_that_is_interrupted_is_finished() {
    let (files, me) = (MemberFiles::new(), owner("a", 1));
    let untied = Store::open(&files.store()).unwrap();
    append(&untied, 1, 0, 3);
    drop(untied);
    let old_format = fs::read(files.store()).unwrap();
    drop(whole(files.open(&me)));
    let (_, tied_promise) = files.read();
    assert_eq!(has(&whole(files.open(&me))).1, Some(id(1, 2)));
    // The promise file exists and the store does not know of it.
    fs::remove_file(files.promise()).unwrap();
    files.put(Some(&old_format), None);
    let store = Store::open(&files.store()).unwrap();
    store.stop_in_the_middle_of_an_upgrade(&PromiseLocation::Path(&files.promise()), &me);
    drop(store);
    assert_eq!(has(&whole(files.open(&me))).1, Some(id(1, 2)));
    // A completed upgrade is not repeated for a store from before it.
    files.put(Some(&old_format), Some(&tied_promise));
    assert!(matches!(lost(files.open(&me)), Loss::Untied));
}

#[test]
fn what_a_new_leader_takes_back_is_promised_no_more() {
    let (files, me) = (MemberFiles::new(), owner("a", 1));
    let store = files.make(&me);
    append(&store, 1, 0, 10);
    now(|done| store.truncate_after(Some(id(1, 4)), done)).unwrap();
    now(|done| store.sync(done)).unwrap();
    assert_eq!(has(&store).1, Some(id(1, 4)));
    drop(store);
    let store = whole(files.open(&me));
    append(&store, 2, 5, 6);
    drop(store);
    assert_eq!(has(&whole(files.open(&me))).1, Some(id(2, 5)));
}

#[test]
fn whatever_the_process_was_killed_at_no_acknowledged_entry_is_missing_unnoticed() {
    let (files, me) = (MemberFiles::new(), owner("a", 1));
    let store = files.make(&me);
    let mut copies = Vec::new();
    for index in 0..u64::from(SYNC_EVERY) + 3 {
        append(&store, 1, index, index + 1);
        copies.push(files.read());
    }
    drop(store);
    for (place, (store, _)) in copies.iter().enumerate() {
        let same = Some(store.as_slice());
        files.put(same, Some(&copies[place].1));
        assert_eq!(has(&whole(files.open(&me))).1, Some(id(1, place as u64)));
        if let Some((_, next)) = copies.get(place + 1) {
            files.put(same, Some(next));
            assert!(matches!(lost(files.open(&me)), Loss::Older));
        }
    }
}

#[test]
fn a_new_store_in_place_of_a_lost_one_keeps_starts_versions_and_the_reason() {
    let (files, me) = (MemberFiles::new(), owner("a", 1));
    let store = files.make(&me);
    for _ in 0..5 {
        now(|done| {
            store.start(done);
        })
        .unwrap();
    }
    store.accepts(VersionId(7)).unwrap();
    store.accepts(VersionId(6)).unwrap();
    drop(store);
    fs::remove_file(files.store()).unwrap();
    let loss = lost(files.open(&me));
    let renew = |path: &Path| {
        let store = Store::open(&files.store()).unwrap();
        store
            .renew(&PromiseLocation::Path(path), &me, Some(&loss))
            .unwrap()
    };
    let promise = files.promise();
    drop(renew(&promise));
    let store = whole(files.open(&me));
    assert_eq!(store.lost().as_deref(), Some("the store is missing"));
    assert_eq!(
        (store.starts(), store.accepted_before()),
        (5, Some(VersionId(7)))
    );
    now(|done| store.found_again(1005, done)).unwrap();
    assert_eq!(store.lost(), None);
    drop(store);
    let store = whole(files.open(&me));
    assert_eq!((store.lost(), store.starts()), (None, 1005));
    now(|done| store.condemn(done)).unwrap();
    drop(store);
    assert!(matches!(lost(files.open(&me)), Loss::Older));
}

fn snapshot(store: &Store, at: LogId) {
    let meta = SnapshotMeta {
        last_log_id: Some(at),
        last_membership: Membership::default(),
    };
    now(|done| store.save_snapshot(meta, vec![1], BTreeSet::new(), done)).unwrap();
}

#[test]
fn snapshot_may_replace_entries_of_a_later_term() {
    let (files, me) = (MemberFiles::new(), owner("a", 1));
    let store = files.make(&me);
    append(&store, 5, 0, 9);
    snapshot(&store, id(4, 10));
    // A crash before the purge.
    drop(store);
    let store = whole(files.open(&me));
    assert_eq!(store.ends().1, Some(id(5, 8)));
    now(|done| store.purge_replaced(done)).unwrap();
    assert_eq!(store.ends(), (Some(id(4, 10)), Some(id(4, 10))));
    now(|done| store.sync(done)).unwrap();
    drop(store);
    let store = whole(files.open(&me));
    assert_eq!(store.ends().1, Some(id(4, 10)));
    append(&store, 6, 11, 13);
    drop(store);
    let store = whole(files.open(&me));
    assert_eq!(store.ends().1, Some(id(6, 12)));
    // The log goes on behind the snapshot: nothing is replaced.
    now(|done| store.purge_replaced(done)).unwrap();
    assert_eq!(store.ends(), (Some(id(4, 10)), Some(id(6, 12))));
}

/// Prepares a vote and saves another one, with a power cut after each operation on either file.
fn replace_prepared(prepared: Vote, saved: Vote) {
    let me = owner("a", 1);
    let place = |disk: &Faulty| {
        let disk = disk.clone();
        PromiseLocation::Backend(Box::new(move || Box::new(disk.clone())))
    };
    let mut random = Random::new(7);
    for (cut, is_promise) in (0..30).flat_map(|cut| [(cut, false), (cut, true)]) {
        let (disk, promise) = (Faulty::default(), Faulty::default());
        let store = Store::with_backend(disk.clone()).unwrap();
        let store = store.renew(&place(&promise), &me, None).unwrap();
        vote(&store, 4);
        now(|done| store.prepare_vote(prepared, done)).unwrap();
        let cut_off = if is_promise { &promise } else { &disk };
        cut_off.light_fuse(cut);
        let result = now(|done| store.save_vote(saved, done));
        drop(store);
        let store = Store::with_backend(disk.after_power_loss(&mut random)).unwrap();
        let promise = promise.after_power_loss(&mut random);
        let store = whole(store.compare_with_promise(&place(&promise), &me).unwrap());
        let found = store.vote();
        if result.is_ok() {
            assert_eq!(found, Some(saved));
        } else {
            assert!([Some(prepared), Some(saved)].contains(&found), "{found:?}");
        }
    }
}

#[test]
fn prepared_vote_gives_way_to_another_candidate() {
    let [a, b] = [1, 2].map(|of| Vote::new(5, MemberId(of)));
    replace_prepared(b, a);
}

#[test]
fn prepared_vote_gives_way_to_the_leader_of_an_earlier_term() {
    let leader = Vote::new_committed(5, MemberId(1));
    replace_prepared(Vote::new(6, MemberId(2)), leader);
}
