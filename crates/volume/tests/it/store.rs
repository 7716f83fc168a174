//! Tests that metadata changes are stored with each engine (io_uring and threads), and loaded
//! again.

use lab::{Random, ScratchDirectory};
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::BTreeMap;
use volume::device::{self, Backing};
use volume::disk::{POOL_BYTES, Pool, Preference};
use volume::layout::{MetadataChange, Superblock, SyncState, VolumeId};
use volume::store::Store;

const SIZE: u64 = 40 << 30;
const ID: VolumeId = VolumeId([6; 16]);

fn head() -> Superblock {
    Superblock {
        volume: None,
        size_bytes: SIZE,
        data_offset: 0,
        promised: 0,
        incarnation: 1,
        state: SyncState::Syncing(0),
        unflushed: None,
        hot: Vec::new(),
        identity: None,
        overwrite: None,
    }
}

fn finish(store: &mut Store) {
    loop {
        if let Some(result) = store.progress() {
            return result.unwrap();
        }
        let mut fds: Vec<PollFd<'_>> = store
            .descriptors()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let _ = poll(&mut fds, None);
    }
}

#[test]
fn changes_of_metadata_are_stored_and_loaded() {
    for prefers in [Preference::Best, Preference::Threads] {
        let scratch = ScratchDirectory::new().unwrap();
        let backing = Backing::File(scratch.path().to_path_buf());
        let created = device::create(&backing, "mail", head(), false, &mut |_| {});
        let (opened, metadata) = created.unwrap();
        let pool = Pool::new().unwrap();
        let mut store = Store::new(&opened.metadata, &pool, metadata, prefers).unwrap();
        assert_eq!(store.progress(), None);
        let mut random = Random::new(9);
        let mut dirty: BTreeMap<u32, u64> = BTreeMap::new();
        let mut last = head();
        for promised in 1..30 {
            let fill = (promised % 11 == 0).then_some(false);
            if fill.is_some() {
                dirty.clear();
            }
            let bits = (0..random.below(40)).map(|_| (random.below(10_240) as u32, random.next()));
            let bits: BTreeMap<u32, u64> = bits.collect();
            dirty.extend(&bits);
            last = Superblock {
                // The first change writes every page.
                volume: Some(ID),
                promised,
                hot: (0..random.below(1025) as u32).collect(),
                ..head()
            };
            store.store(&MetadataChange {
                head: last.clone(),
                fill,
                bits: bits
                    .into_iter()
                    .map(|(one, word)| (one, vec![word; 16]))
                    .collect(),
            });
            finish(&mut store);
        }
        assert_eq!(pool.free_bytes(), POOL_BYTES);
        drop((store, opened));
        let (_, _, loaded) = device::open(&backing, "mail", Some(ID)).unwrap();
        assert_eq!((&loaded.head, loaded.damaged_pages), (&last, 0));
        for (place, words) in loaded.dirty.chunks(16).enumerate() {
            let expected = dirty.get(&(place as u32)).copied().unwrap_or_default();
            assert!(words.iter().all(|word| *word == expected), "{place}");
        }
    }
}
