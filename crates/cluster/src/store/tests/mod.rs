//! Compares the store with a model of it, with power losses at any operation.

mod faulty;
mod promises;

use crate::command::{ClusterCommand, CommandBody};
use crate::log::{Entry, LeaderId, LogId, Membership, Proposed, SnapshotMeta, Ticket, Vote};
use crate::member::digest;
use crate::member::{Digest, MemberId};
use crate::store::cache::CACHE_BYTES_MAX;
use crate::store::held::TestDisk;
use crate::store::writer::COMMITTED_EVERY;
use crate::store::{Store, StoreError};
use faulty::Faulty;
use lab::Random;
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::vote::RaftLeaderIdExt;
use part::codec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const ME: MemberId = MemberId(1);

/// Calls the store, and waits for its callback.
fn now<T: Send + 'static>(
    start: impl FnOnce(Box<dyn FnOnce(Result<T, StoreError>) + Send>),
) -> Result<T, StoreError> {
    let (tell, told) = channel();
    start(Box::new(move |result| tell.send(result).unwrap()));
    told.recv().unwrap_or(Err(StoreError::Ended))
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new_committed(term, ME), index)
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    Entry::new(
        id(term, index),
        EntryPayload::Normal(Proposed::unsigned(
            Ticket {
                member: ME,
                start: 1,
                number: index,
                settled: 0,
            },
            ClusterCommand::new(
                ME,
                0,
                CommandBody::Event {
                    words: "x".repeat(bytes),
                },
            ),
        )),
    )
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Model {
    vote: Option<Vote>,
    purged: Option<u64>,
    /// Index to term and size.
    log: BTreeMap<u64, (u64, usize)>,
    /// Index, and image of the snapshot as a repeated byte with its count.
    snapshot: Option<(u64, usize, u8)>,
    chunks: BTreeSet<Digest>,
}

impl Model {
    fn next(&self) -> u64 {
        self.log
            .last_key_value()
            .map(|(index, _)| index + 1)
            .or(self.purged.map(|purged| purged + 1))
            .unwrap_or(0)
    }

    fn read(store: &Store, wanted: &BTreeSet<Digest>) -> Model {
        let (purged, last) = store.ends();
        let end = last.map_or(0, |id| id.index + 1);
        let log: Vec<Entry> = now(|done| store.entries(0..end, usize::MAX, done)).unwrap();
        let chunks = wanted
            .iter()
            .filter(|digest| now(|done| store.chunk(**digest, done)).unwrap().is_some())
            .copied()
            .collect();
        Model {
            vote: store.vote(),
            purged: purged.map(|id| id.index),
            log: log
                .iter()
                .map(|entry| {
                    let EntryPayload::Normal(proposed) = &entry.payload else {
                        panic!("{entry:?}");
                    };
                    let CommandBody::Event { words } = &proposed.command.body else {
                        panic!("{entry:?}");
                    };
                    (
                        entry.log_id.index,
                        (entry.log_id.leader_id.term, words.len()),
                    )
                })
                .collect(),
            snapshot: now(|done| store.snapshot(done))
                .unwrap()
                .map(|(meta, image)| {
                    let byte = image.first().copied().unwrap_or(0);
                    assert!(image.iter().all(|other| *other == byte));
                    (meta.last_log_id.unwrap().index, image.len(), byte)
                }),
            chunks,
        }
    }
}

fn truncate(store: &Store, model: &mut Model, random: &mut Random) -> Result<(), StoreError> {
    let keep = random.below(model.log.len() as u64 + 1);
    let first = *model.log.first_key_value().unwrap().0;
    let end = first + model.log.len() as u64;
    // Entries in a snapshot are committed and never removed.
    let floor = model.snapshot.map_or(0, |(at, ..)| at + 1);
    let from = (first + keep).max(floor.min(end));
    let last = if from > first {
        Some(id(model.log[&(from - 1)].0, from - 1))
    } else {
        model.purged.map(|purged| id(0, purged))
    };
    model.log.retain(|index, _| *index < from);
    now(|done| store.truncate_after(last, done))
}

/// Writes a snapshot; the entries in it are removed from the log.
fn snapshot(store: &Store, model: &mut Model, random: &mut Random) -> Result<(), StoreError> {
    let first = *model.log.first_key_value().unwrap().0;
    let end = first + model.log.len() as u64;
    let newer = model.snapshot.map_or(0, |(at, ..)| at);
    let at = (first + random.below(model.log.len() as u64)).max(newer.min(end - 1));
    let (byte, bytes) = (
        1 + random.next() as u8 / 2,
        random.below(20_000) as usize + 1,
    );
    let image = vec![byte; bytes];
    let meta = SnapshotMeta {
        last_log_id: Some(id(model.log[&at].0, at)),
        last_membership: Membership::default(),
    };
    let keep: BTreeSet<Digest> = model
        .chunks
        .iter()
        .filter(|_| random.below(2) == 0)
        .copied()
        .collect();
    model.snapshot = Some((at, bytes, byte));
    model.chunks = keep.clone();
    now(|done| store.save_snapshot(meta, image, keep, done))
}

/// Makes one random change to both. Returns whether the change must be on disk once it
/// was acknowledged.
fn step(store: &Store, model: &mut Model, random: &mut Random, term: &mut u64) -> (bool, bool) {
    let mut durable = false;
    let result = match random.below(8) {
        0 => {
            *term += 1;
            durable = true;
            let vote = Vote::new(*term, ME);
            model.vote = Some(vote);
            now(|done| store.save_vote(vote, done))
        }
        1 if !model.log.is_empty() => {
            *term += 1;
            truncate(store, model, random)
        }
        2 if model.log.len() > 3 => {
            durable = true;
            snapshot(store, model, random)
        }
        3 if model
            .snapshot
            .as_ref()
            .is_some_and(|(at, ..)| model.log.contains_key(at)) =>
        {
            let at = model.snapshot.unwrap().0;
            let to = id(model.log[&at].0, at);
            model.log.retain(|index, _| *index > at);
            model.purged = Some(at);
            now(|done| store.purge(to, done))
        }
        4 => {
            // With the first entry that a snapshot could have, so that it decides.
            let bytes = vec![random.next() as u8; 1 + random.below(9000) as usize];
            let digest = digest(&bytes);
            model.chunks.insert(digest);
            now(|done| store.put_chunk(digest, bytes, 0, done))
        }
        _ => {
            durable = true;
            let count = 1 + random.below(5);
            let mut entries = Vec::new();
            for _ in 0..count {
                let index = model.next();
                let bytes = random.below(3000) as usize;
                entries.push(entry(*term, index, bytes));
                model.log.insert(index, (*term, bytes));
            }
            now(|done| {
                store.append(entries, done);
            })
        }
    };
    (durable, result.is_ok())
}

#[test]
fn whatever_is_done_is_read_again() {
    for seed in 1..40u64 {
        let mut random = Random::new(seed);
        let disk = Faulty::default();
        let mut store = Store::with_backend(disk.clone()).unwrap();
        let mut model = Model::default();
        let mut term = 1;
        let mut ever = BTreeSet::new();
        for number in 0..60 {
            let (_, done) = step(&store, &mut model, &mut random, &mut term);
            assert!(done, "seed {seed}");
            ever.extend(model.chunks.iter().copied());
            assert_eq!(Model::read(&store, &ever), model, "seed {seed}, {number}");
            if number % 17 == 16 {
                let mut start = 0;
                now(|done| start = store.start(done)).unwrap();
                drop(store);
                store = Store::with_backend(disk.clone()).unwrap();
                let mut next = 0;
                now(|done| next = store.start(done)).unwrap();
                assert_eq!(next, start + 1);
                assert_eq!(Model::read(&store, &ever), model, "seed {seed}, {number}");
            }
        }
    }
}

#[test]
fn what_was_told_to_be_on_disk_is_there_after_power_was_lost_at_any_operation() {
    for seed in 1..80u64 {
        let mut random = Random::new(seed);
        let disk = Faulty::default();
        let store = Store::with_backend(disk.clone()).unwrap();
        let mut model = Model::default();
        let mut term = 1;
        let mut ever = BTreeSet::new();
        // Possible states, from the last one that was certainly on disk.
        let mut possible = vec![model.clone()];
        disk.light_fuse(random.below(400));
        for _ in 0..400 {
            let (durable, done) = step(&store, &mut model, &mut random, &mut term);
            ever.extend(model.chunks.iter().copied());
            if done && durable {
                possible.clear();
            }
            possible.push(model.clone());
            if !done {
                break;
            }
        }
        drop(store);
        let disk = disk.after_power_loss(&mut random);
        let store =
            Store::with_backend(disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found = Model::read(&store, &ever);
        assert!(
            possible.contains(&found),
            "seed {seed}: {found:?} is none of {possible:?}"
        );
    }
}

#[test]
fn what_is_agreed_on_is_never_on_disk_before_its_entries() {
    let disk = Faulty::default();
    let store = Store::with_backend(disk.clone()).unwrap();
    now(|done| {
        store.append([entry(1, 0, 10), entry(1, 1, 10)], done);
    })
    .unwrap();
    store.save_committed(Some(id(1, 1)));
    store.save_committed(Some(id(1, 0)));
    store.save_committed(Some(id(1, 1)));
    let mut random = Random::new(7);
    let before = Store::with_backend(disk.after_power_loss(&mut random)).unwrap();
    assert_eq!(before.committed(), None);
    before.save_committed(Some(id(1, 1)));
    now(|done| before.save_vote(Vote::new(3, ME), done)).unwrap();
    assert_eq!(before.committed(), Some(id(1, 1)));
}

#[test]
fn a_prepared_vote_counts_as_given_after_a_restart_and_is_given_without_another_write() {
    let disk = Faulty::default();
    let store = Store::with_backend(disk.clone()).unwrap();
    let [old, soon, other] =
        [(3, 2), (4, 2), (4, 3)].map(|(term, of)| Vote::new(term, MemberId(of)));
    now(|done| store.save_vote(old, done)).unwrap();
    now(|done| store.prepare_vote(soon, done)).unwrap();
    assert_eq!(store.vote(), Some(old), "it is not given yet");
    assert!(store.has_written(soon));
    let mut random = Random::new(7);
    let restarted = |random: &mut Random| {
        let store = Store::with_backend(disk.after_power_loss(random)).unwrap();
        store.vote()
    };
    assert_eq!(restarted(&mut random), Some(soon));
    // Any write would be noticed.
    disk.light_fuse(0);
    now(|done| store.save_vote(soon, done)).unwrap();
    assert_eq!(store.vote(), Some(soon));

    // Another member of the same term was quicker.
    let disk = Faulty::default();
    let store = Store::with_backend(disk.clone()).unwrap();
    now(|done| store.save_vote(old, done)).unwrap();
    now(|done| store.prepare_vote(soon, done)).unwrap();
    now(|done| store.save_vote(other, done)).unwrap();
    assert!(!store.has_written(soon));
    now(|done| store.prepare_vote(soon, done)).unwrap();
    assert!(!store.has_written(soon), "its term is not newer");
    let store = Store::with_backend(disk.after_power_loss(&mut random)).unwrap();
    assert_eq!(store.vote(), Some(other));
}

#[test]
fn what_is_agreed_on_goes_to_disk_with_some_of_the_entries_and_with_all_else() {
    // Appends that many entries in sequence, runs another write, and cuts the power.
    let mut random = Random::new(7);
    let mut on_disk = |entries: u64, then: &dyn Fn(&Store)| {
        let disk = Faulty::default();
        let store = Store::with_backend(disk.clone()).unwrap();
        for index in 0..entries {
            now(|done| {
                store.append([entry(1, index, 10)], done);
            })
            .unwrap();
            store.save_committed(Some(id(1, index)));
        }
        then(&store);
        let before = Store::with_backend(disk.after_power_loss(&mut random)).unwrap();
        before.committed().map(|id| id.index)
    };
    let every = u64::from(COMMITTED_EVERY);
    // The write that includes the commit index only covers the entries before it.
    assert_eq!(on_disk(every + 1, &|_| ()), None);
    assert_eq!(on_disk(every + 2, &|_| ()), Some(every));
    assert_eq!(on_disk(2 * every + 2, &|_| ()), Some(every));
    assert_eq!(on_disk(2 * every + 3, &|_| ()), Some(2 * every + 1));
    let sync = |store: &Store| now(|done| store.sync(done)).unwrap();
    assert_eq!(on_disk(10, &sync), Some(9));
    let vote = |store: &Store| now(|done| store.save_vote(Vote::new(3, ME), done)).unwrap();
    assert_eq!(on_disk(10, &vote), Some(9));
    let purge = |store: &Store| {
        store.purge(id(1, 3), Box::new(|_| ()));
        now(|done| {
            store.append([entry(1, 10, 10)], done);
        })
        .unwrap();
    };
    assert_eq!(on_disk(10, &purge), Some(9));
}

#[test]
fn a_damaged_file_is_an_error_in_words_and_never_a_panic() {
    let disk = Faulty::default();
    {
        let store = Store::with_backend(disk.clone()).unwrap();
        for index in 0..200 {
            now(|done| {
                store.append([entry(1, index, 500)], done);
            })
            .unwrap();
        }
        now(|done| store.save_vote(Vote::new(3, ME), done)).unwrap();
    }
    let whole = now_bytes(&disk);
    let mut refused = 0;
    for seed in 1..200u64 {
        let mut random = Random::new(seed);
        let damaged = Faulty::of(whole.clone());
        for _ in 0..8 {
            damaged.turn_bit(&mut random);
        }
        match Store::with_backend(damaged.clone()) {
            Err(error) => {
                refused += 1;
                let words = error.to_string();
                assert!(
                    words.contains("evenkeel cluster join") || words.contains("disk"),
                    "{words}"
                );
                // redb may have repaired the file meanwhile, but the lost data is still missing.
                assert!(
                    Store::with_backend(damaged).is_err(),
                    "seed {seed}: taken the second time"
                );
            }
            // The flipped bits were in unused space.
            Ok(store) => {
                assert_eq!(store.vote(), Some(Vote::new(3, ME)));
                let log: Vec<Entry> = now(|done| store.entries(0..200, usize::MAX, done)).unwrap();
                assert_eq!(log.len(), 200);
            }
        }
    }
    assert!(refused > 20, "{refused}");
    for bytes in [b"no database at all".to_vec(), vec![0xff; 8192]] {
        assert!(Store::with_backend(Faulty::of(bytes)).is_err());
    }
}

fn now_bytes(disk: &Faulty) -> Vec<u8> {
    use redb::StorageBackend;
    let mut bytes = vec![0; disk.len().unwrap() as usize];
    disk.read(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn memory_for_entries_is_bounded_and_all_of_them_are_read() {
    let store = Store::with_backend(Faulty::default()).unwrap();
    for index in 0..100 {
        now(|done| {
            store.append([entry(1, index, 60_000)], done);
        })
        .unwrap();
        assert!(store.cached() <= CACHE_BYTES_MAX + 61_000);
    }
    let log: Vec<Entry> = now(|done| store.entries(0..100, usize::MAX, done)).unwrap();
    assert_eq!(log.len(), 100);
    let some: Vec<Entry> = now(|done| store.entries(0..100, 200_000, done)).unwrap();
    assert_eq!(some.len(), 3);
    let one: Vec<Entry> = now(|done| store.entries(50..100, 1, done)).unwrap();
    assert_eq!(one.len(), 1);
    assert!(codec::encode(&one[0]).len() > 60_000);
}

#[test]
fn pieces_that_came_behind_a_snapshot_stay_and_others_go() {
    let store = Store::with_backend(Faulty::default()).unwrap();
    let piece = |byte: u8| (digest(&[byte; 10]), vec![byte; 10]);
    for (byte, index) in [(1, 1), (2, 2), (3, 9)] {
        let (digest, bytes) = piece(byte);
        now(|done| store.put_chunk(digest, bytes, index, done)).unwrap();
    }
    // A snapshot that is received names a chunk that arrives, and one that is in the store.
    let (present, bytes) = piece(5);
    now(|done| store.put_chunk(present, bytes, 1, done)).unwrap();
    let (incoming, bytes) = piece(4);
    let pin = store.pin_chunks(BTreeSet::from([incoming, present]));
    now(|done| store.write_chunk(incoming, bytes, done)).unwrap();
    let meta = SnapshotMeta {
        last_log_id: Some(id(1, 5)),
        last_membership: Membership::default(),
    };
    let keep = BTreeSet::from([piece(1).0]);
    now(|done| store.save_snapshot(meta.clone(), vec![1], keep.clone(), done)).unwrap();
    let all: BTreeSet<Digest> = (1..6).map(|byte| piece(byte).0).collect();
    let missing = now(|done| store.missing(all.clone(), done)).unwrap();
    assert_eq!(missing, [piece(2).0]);
    drop(pin);
    now(|done| store.save_snapshot(meta.clone(), vec![1], keep, done)).unwrap();
    let missing: BTreeSet<Digest> = now(|done| store.missing(all, done))
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(missing, BTreeSet::from([piece(2).0, incoming, present]));
    // An older snapshot that was built meanwhile changes nothing.
    let older = SnapshotMeta {
        last_log_id: Some(id(1, 4)),
        ..meta
    };
    now(|done| store.save_snapshot(older, vec![2], BTreeSet::new(), done)).unwrap();
    let (meta, image) = now(|done| store.snapshot(done)).unwrap().unwrap();
    assert_eq!((meta.last_log_id, image), (Some(id(1, 5)), vec![1]));
}

/// Returns the result of an operation that takes a while, if there is one by now.
fn soon(told: &Receiver<Result<(), StoreError>>) -> Option<Result<(), StoreError>> {
    told.recv_timeout(Duration::from_millis(100)).ok()
}

#[test]
fn vote_replaced_while_prepared_is_written_again() {
    let disk = TestDisk::new();
    let store = Store::with_slow_backend(disk.clone()).unwrap();
    let [a, b, c] = [(5, 1), (6, 2), (5, 3)].map(|(term, of)| Vote::new(term, MemberId(of)));
    now(|done| store.prepare_vote(a, done)).unwrap();
    disk.hold(true);
    // B requests a pre-vote while its own vote is being written.
    let (tell, prepared) = channel();
    store.prepare_vote(b, Box::new(move |result| tell.send(result).unwrap()));
    assert!(!store.has_written(a));
    // A requests the vote.
    let (tell, saved) = channel();
    store.save_vote(a, Box::new(move |result| tell.send(result).unwrap()));
    assert!(soon(&saved).is_none(), "the disk does not have the vote");
    disk.hold(false);
    prepared.recv().unwrap().unwrap();
    saved.recv().unwrap().unwrap();
    assert!(!store.has_written(b));
    // Another candidate of the same term gets neither the vote nor a write.
    now(|done| store.prepare_vote(c, done)).unwrap();
    drop(store);
    let store = Store::with_slow_backend(disk).unwrap();
    assert_eq!(store.vote(), Some(a));
}

#[test]
fn vote_of_an_older_or_equal_term_is_not_prepared() {
    let disk = TestDisk::new();
    let store = Store::with_slow_backend(disk.clone()).unwrap();
    let [a, older, equal] =
        [(6, 1), (5, 2), (6, 3)].map(|(term, of)| Vote::new(term, MemberId(of)));
    now(|done| store.save_vote(Vote::new(4, ME), done)).unwrap();
    now(|done| store.prepare_vote(a, done)).unwrap();
    for vote in [older, equal] {
        now(|done| store.prepare_vote(vote, done)).unwrap();
        assert!(store.has_written(a) && !store.has_written(vote));
    }
    drop(store);
    let store = Store::with_slow_backend(disk).unwrap();
    assert_eq!(store.vote(), Some(a));
}

#[test]
fn prepared_vote_is_saved_after_all_earlier_entries() {
    let disk = TestDisk::new();
    let store = Store::with_slow_backend(disk.clone()).unwrap();
    let vote = Vote::new(5, MemberId(2));
    now(|done| store.prepare_vote(vote, done)).unwrap();
    disk.hold(true);
    let (tell, appended) = channel();
    store.append(
        [entry(4, 0, 10)],
        Box::new(move |result| tell.send(result).unwrap()),
    );
    let (tell, saved) = channel();
    store.save_vote(vote, Box::new(move |result| tell.send(result).unwrap()));
    assert!(soon(&saved).is_none(), "an entry is not on disk");
    disk.hold(false);
    appended.recv().unwrap().unwrap();
    saved.recv().unwrap().unwrap();
}
