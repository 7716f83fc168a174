//! Tests the metadata format: stored state is loaded again, whatever part of the last store was
//! lost.

use super::store::newest_number;
use super::*;
use crate::overwrite::OverwriteMark;
use proptest::prelude::*;

const SIZE: u64 = 300 << 20;
const ID: VolumeId = VolumeId([7; 16]);

fn head(promised: u64, hot: &[u32]) -> Superblock {
    Superblock {
        volume: Some(ID),
        size_bytes: SIZE,
        data_offset: 1 << 20,
        promised,
        incarnation: 1,
        state: SyncState::Joined(3),
        unflushed: Some(5),
        hot: hot.to_vec(),
        identity: None,
        overwrite: None,
    }
}

fn created() -> (Metadata, Vec<u8>) {
    let (metadata, phases) = Metadata::create(head(0, &[]), "mail").unwrap();
    // Old content of the disk must not show through.
    let mut disk = vec![0xa5; metadata_bytes(SIZE).unwrap() as usize];
    phases.iter().for_each(|phase| apply(&mut disk, phase));
    (metadata, disk)
}

fn apply(disk: &mut [u8], phase: &WritePhase) {
    for write in &phase.0 {
        let at = write.offset as usize;
        disk[at..at + write.bytes.len()].copy_from_slice(&write.bytes);
    }
}

fn change(promised: u64, hot: &[u32], fill: Option<bool>, bits: &[(u32, u64)]) -> MetadataChange {
    let bits = bits.iter().map(|(extent, word)| (*extent, vec![*word; 16]));
    MetadataChange {
        head: head(promised, hot),
        fill,
        bits: bits.collect(),
    }
}

fn load(disk: &[u8]) -> Loaded {
    Metadata::load(disk, Some(ID)).unwrap().1
}

#[test]
fn what_is_stored_is_loaded() {
    let (mut metadata, mut disk) = created();
    let loaded = load(&disk);
    assert_eq!(loaded.head, head(0, &[]));
    assert_eq!((loaded.damaged_pages, loaded.dirty.len()), (0, 1200));
    assert!(loaded.dirty.iter().all(|word| *word == 0));

    let all: Vec<u32> = (0..75).collect();
    for (number, (fill, bits)) in [
        (None, vec![(0, 1), (74, u64::MAX)]),
        (Some(true), vec![(31, 6)]),
        (None, vec![(1, 9)]),
        (Some(false), vec![]),
        (None, vec![(73, 3)]),
    ]
    .into_iter()
    .enumerate()
    {
        let change = change(number as u64, &all, fill, &bits);
        for phase in metadata.plan(&change) {
            apply(&mut disk, &phase);
        }
        let loaded = load(&disk);
        assert_eq!((&loaded.head, loaded.damaged_pages), (&change.head, 0));
        for (extent, word) in bits {
            assert_eq!(loaded.dirty[extent as usize * 16], word);
        }
        let other = [0, u64::MAX, u64::MAX, 0, 0][number];
        assert_eq!(loaded.dirty[50 * 16], other);
    }
}

/// Returns the name of the volume in the metadata.
fn name(disk: &[u8]) -> Option<String> {
    let (metadata, _) = Metadata::load(disk, None).unwrap();
    metadata.name().map(str::to_owned)
}

#[test]
fn the_name_of_the_volume_is_kept_by_every_store_until_it_is_renamed() {
    let (mut metadata, mut disk) = created();
    assert_eq!(name(&disk).as_deref(), Some("mail"));
    for count in (0..75).chain([70, 3]) {
        let hot: Vec<u32> = (0..count).collect();
        for phase in metadata.plan(&change(u64::from(count), &hot, None, &[])) {
            apply(&mut disk, &phase);
        }
        assert_eq!(load(&disk).head.hot, hot);
        assert_eq!(name(&disk).as_deref(), Some("mail"));
    }
    for phase in metadata.rename("web") {
        apply(&mut disk, &phase);
    }
    assert_eq!(name(&disk).as_deref(), Some("web"));
    assert_eq!(load(&disk).head.promised, 3, "all else is as before");
}

#[test]
fn metadata_without_a_name_stays_valid() {
    let (mut metadata, mut disk) = created();
    let before = load(&disk).head;
    // Format of releases without names, followed by the leftover of another store.
    let room = newest_number(&disk) % SLOTS * SLOT_BYTES as u64;
    let slot = &mut disk[room as usize..][..SLOT_BYTES];
    let length = u32::from_le_bytes(slot[12..16].try_into().unwrap()) as usize;
    for spoil in [length, length + 8, length + 16, length + 20, length + 24] {
        let kept = std::mem::replace(&mut slot[spoil], 0xff);
        assert!(
            matches!(slot::SuperblockSlot::decode(slot), slot::SlotContent::Valid(one) if one.name.is_none())
        );
        slot[spoil] = kept;
    }
    slot[length..].fill(0);
    assert_eq!(name(&disk), None);
    assert_eq!(load(&disk).head, before);
    for phase in metadata.rename("web") {
        apply(&mut disk, &phase);
    }
    assert_eq!(name(&disk).as_deref(), Some("web"));
}

#[test]
fn a_full_log_fits_and_every_slot_is_used_in_turn() {
    let big = 8 << 30;
    let hot: Vec<u32> = (1000..2024).collect();
    let first = Superblock {
        size_bytes: big,
        ..head(0, &[])
    };
    let (mut metadata, phases) = Metadata::create(first.clone(), "mail").unwrap();
    let mut disk = vec![0; metadata_bytes(big).unwrap() as usize];
    phases.iter().for_each(|phase| apply(&mut disk, phase));
    let mut places = std::collections::BTreeSet::new();
    for promised in 1..=16 {
        let change = MetadataChange {
            head: Superblock {
                promised,
                hot: hot.clone(),
                ..first.clone()
            },
            fill: None,
            bits: Vec::new(),
        };
        let phases = metadata.plan(&change);
        assert_eq!(phases.len(), 1);
        places.insert(phases[0].0[0].offset);
        assert!(phases[0].0[0].bytes.len() <= SLOT_BYTES);
        apply(&mut disk, &phases[0]);
        assert_eq!(load(&disk).head, change.head);
        assert_eq!(name(&disk).as_deref(), Some("mail"));
    }
    assert_eq!(places.len(), SLOTS as usize);
    // The name is in the last sector of the record, in the next one, or across both.
    for count in 970..1000 {
        let change = MetadataChange {
            head: Superblock {
                hot: hot[..count].to_vec(),
                ..first.clone()
            },
            fill: None,
            bits: Vec::new(),
        };
        apply(&mut disk, &metadata.plan(&change)[0]);
        assert_eq!(load(&disk).head, change.head);
        assert_eq!(name(&disk).as_deref(), Some("mail"));
    }
}

#[test]
fn a_damaged_page_is_dirty_as_a_whole_and_a_damaged_slot_leaves_the_one_before_it() {
    let (mut metadata, mut disk) = created();
    for promised in 1..4 {
        for phase in metadata.plan(&change(promised, &[1], None, &[(2, 1)])) {
            apply(&mut disk, &phase);
        }
    }
    let newest = newest_number(&disk) % SLOTS;
    disk[newest as usize * SLOT_BYTES + 40] ^= 1;
    let page = BITMAP_OFFSET as usize + PAGE_BYTES;
    disk[page + 100] ^= 1;
    let loaded = load(&disk);
    assert_eq!((loaded.head.promised, loaded.damaged_pages), (2, 1));
    assert_eq!(loaded.dirty[2 * 16], 1);
    let second = &loaded.dirty[31 * 16..62 * 16];
    assert!(second.iter().all(|word| *word == u64::MAX));
    assert!(loaded.dirty[62 * 16..].iter().all(|word| *word == 0));
    // A page of zeroes is never valid.
    disk[page..page + PAGE_BYTES].fill(0);
    assert_eq!(load(&disk).damaged_pages, 1);
}

#[test]
fn a_copy_that_gets_its_identity_or_grows_keeps_its_bits() {
    let blank = Superblock {
        volume: None,
        ..head(0, &[])
    };
    let (mut metadata, phases) = Metadata::create(blank, "mail").unwrap();
    let mut disk = vec![0; metadata_bytes(2 * SIZE).unwrap() as usize];
    phases.iter().for_each(|phase| apply(&mut disk, phase));
    let grown = Superblock {
        size_bytes: 2 * SIZE,
        ..head(2, &[])
    };
    let changes = [change(1, &[], None, &[(3, 5)]).head, grown];
    for head in changes {
        let bits = vec![(3, vec![5; 16])];
        let fill = None;
        for phase in metadata.plan(&MetadataChange { head, fill, bits }) {
            apply(&mut disk, &phase);
        }
        let loaded = load(&disk);
        assert_eq!((loaded.damaged_pages, loaded.dirty[3 * 16]), (0, 5));
        let dirty = loaded.dirty.iter().filter(|word| **word != 0);
        assert_eq!(dirty.count(), 16);
    }
    assert_eq!(load(&disk).dirty.len(), 2400);
}

#[test]
fn foreign_metadata_is_refused_with_a_message() {
    let (_, disk) = created();
    let refusal = |disk: &[u8]| Metadata::load(disk, Some(ID)).unwrap_err();
    assert_eq!(refusal(&[]), LayoutError::Empty);
    assert!(matches!(
        refusal(&[0; 4096]),
        LayoutError::Truncated { has: 4096, .. }
    ));
    let needs = metadata_bytes(SIZE).unwrap();
    let has = needs - 1;
    assert_eq!(
        refusal(&disk[..has as usize]),
        LayoutError::Truncated { has, needs }
    );
    assert_eq!(refusal(&vec![0; disk.len()]), LayoutError::NotOurs);
    assert_eq!(refusal(&vec![0x5a; disk.len()]), LayoutError::NotOurs);
    let other = VolumeId([8; 16]);
    assert_eq!(
        Metadata::load(&disk, Some(other)).unwrap_err(),
        LayoutError::OtherVolume {
            found: ID,
            expected: other
        }
    );
    let mut torn = disk.clone();
    torn[SLOT_BYTES + 50] ^= 4;
    assert_eq!(refusal(&torn), LayoutError::Damaged);
    // Record of a newer release in any slot.
    let mut newer = disk.clone();
    let mut record = MAGIC.to_vec();
    record.extend_from_slice(&9_u32.to_le_bytes());
    record.extend_from_slice(&32_u32.to_le_bytes());
    record.extend_from_slice(&[1; 8]);
    bytes::seal(&mut record);
    newer[5 * SLOT_BYTES..][..32].copy_from_slice(&record);
    assert_eq!(refusal(&newer), LayoutError::Newer(9));
    for size in [0, 4095, 4097, VOLUME_BYTES_MAX + 4096] {
        assert_eq!(metadata_bytes(size), Err(LayoutError::Size(size)));
    }
    let words = LayoutError::Newer(9).to_string();
    assert_eq!(
        words,
        "the metadata has format 9, this program supports up to 1: upgrade it"
    );
}

/// Returns whether the owner must treat the extent as dirty. Hot extents count as dirty.
fn is_suspect(loaded: &Loaded, extent: u32) -> bool {
    loaded.head.hot.contains(&extent) || loaded.dirty[extent as usize * 16] != 0
}

/// Hot extents, a fill, and the first words of extents' bits.
type GeneratedChange = (Vec<u32>, Option<bool>, Vec<(u32, u64)>);

fn changes() -> impl Strategy<Value = Vec<GeneratedChange>> {
    let fill = prop_oneof![6 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))];
    let bits = proptest::collection::vec((0_u32..75, 0_u64..3), 0..4);
    let hot = proptest::collection::btree_set(0_u32..75, 0..6);
    let hot = hot.prop_map(|hot| hot.into_iter().collect());
    proptest::collection::vec((hot, fill, bits), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Interrupts the last store: some of its sectors are written, some torn, some lost.
    #[test]
    fn an_interrupted_store_leaves_either_head(
        changes in changes(),
        cut in any::<proptest::sample::Index>(),
        kept in any::<u64>(),
    ) {
        let (mut metadata, mut disk) = created();
        let last = changes.len() - 1;
        for (number, (hot, fill, bits)) in changes.iter().enumerate() {
            let change = change(number as u64 + 1, hot, *fill, bits);
            let before = load(&disk);
            let phases = metadata.plan(&change);
            if number < last {
                phases.iter().for_each(|phase| apply(&mut disk, phase));
                prop_assert_eq!(load(&disk).head, change.head);
                continue;
            }
            let cut = cut.index(phases.len());
            phases[..cut].iter().for_each(|phase| apply(&mut disk, phase));
            // In the interrupted phase each sector of 512 bytes may be written or lost.
            for (which, write) in phases[cut].0.iter().enumerate() {
                for (sector, bytes) in write.bytes.chunks(512).enumerate() {
                    if kept >> ((which * 16 + sector) % 64) & 1 == 1 {
                        let at = write.offset as usize + sector * 512;
                        disk[at..at + bytes.len()].copy_from_slice(bytes);
                    }
                }
            }
            let after = load(&disk);
            prop_assert!(after.head == before.head || after.head == change.head);
            if after.head == before.head && fill.is_none() {
                // No dirty extent is forgotten, unless this store cleared it while the extent was
                // hot.
                for extent in 0..75 {
                    let by_order = bits.iter().any(|(one, _)| *one == extent);
                    if is_suspect(&before, extent) && !by_order {
                        prop_assert!(is_suspect(&after, extent), "{}", extent);
                    }
                }
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(
        at in any::<proptest::sample::Index>(),
        bytes in proptest::collection::vec(any::<u8>(), 1..200),
        reseals in any::<bool>(),
    ) {
        let (_, mut disk) = created();
        let at = at.index(3 * SLOT_BYTES);
        disk[at..at + bytes.len()].copy_from_slice(&bytes);
        if reseals {
            // Valid records with random content.
            let mut record = disk[SLOT_BYTES..][..16].to_vec();
            record.extend_from_slice(&bytes);
            let length = record.len() as u32 + 8;
            record[12..16].copy_from_slice(&length.to_le_bytes());
            bytes::seal(&mut record);
            disk[SLOT_BYTES..][..record.len()].copy_from_slice(&record);
        }
        let _ = Metadata::load(&disk, None);
        let _ = Metadata::load(&disk[..at], Some(ID));
    }
}

#[test]
fn identity_is_read_as_it_was_stored_and_is_unknown_to_earlier_programs() {
    let identity = |node: &str| {
        Some(CopyIdentity {
            node: node.to_owned(),
            copy: 7,
            tracked: 8,
        })
    };
    let full: Vec<u32> = (0..256).collect();
    for (name, hot) in [("mail", &[][..]), (&"m".repeat(255), &full)] {
        let mut first = head(1, hot);
        first.size_bytes = 1 << 30;
        first.identity = identity(&"n".repeat(63));
        let (mut metadata, phases) = Metadata::create(first.clone(), name).unwrap();
        let mut bytes = vec![0; metadata_bytes(first.size_bytes).unwrap() as usize];
        let mut write = |phases: Vec<WritePhase>| {
            for write in phases.into_iter().flat_map(|phase| phase.0) {
                let at = write.offset as usize;
                bytes[at..at + write.bytes.len()].copy_from_slice(&write.bytes);
            }
            bytes.clone()
        };
        let (loaded, found) = Metadata::load(&write(phases), None).unwrap();
        assert_eq!((found.head, loaded.name()), (first.clone(), Some(name)));
        // A change stores the identity with the head.
        let next = Superblock {
            identity: identity("alpha"),
            ..first.clone()
        };
        let stored = write(metadata.plan(&MetadataChange {
            head: next.clone(),
            fill: None,
            bits: Vec::new(),
        }));
        let (_, found) = Metadata::load(&stored, None).unwrap();
        assert_eq!(found.head, next);
        // A damaged identity, or one of another store, is ignored.
        let mut damaged = stored.clone();
        for at in (0..stored.len() - 8).filter(|at| stored[*at..].starts_with(b"EKcopy01")) {
            damaged[at + 9] ^= 1;
        }
        assert!(damaged != stored);
        let (loaded, found) = Metadata::load(&damaged, None).unwrap();
        assert_eq!((found.head.identity, loaded.name()), (None, Some(name)));
    }
}

fn mark(number: u64) -> OverwriteMark {
    OverwriteMark::from_number(number).unwrap()
}

/// Returns the bytes of the newest slot from the magic number of the mark on, up to the next
/// sector.
fn stored_mark(disk: &[u8]) -> Option<&[u8]> {
    let at = newest_number(disk) as usize % SLOTS as usize * SLOT_BYTES;
    let slot = &disk[at..at + SLOT_BYTES];
    let begin = slot.windows(8).position(|window| window == b"EKpart01")?;
    Some(&slot[begin..])
}

#[test]
fn mark_of_an_incomplete_volume_is_stored_behind_name_and_identity() {
    let identity = CopyIdentity {
        node: "alpha".to_owned(),
        copy: 7,
        tracked: 8,
    };
    let full: Vec<u32> = (0..75).collect();
    for (name, identity, hot) in [
        ("mail", None, &[][..]),
        ("mail", Some(identity.clone()), &[]),
        (&"m".repeat(255), Some(identity), &full),
    ] {
        let mut first = head(1, hot);
        first.identity = identity;
        let (mut metadata, phases) = Metadata::create(first.clone(), name).unwrap();
        let mut disk = vec![0; metadata_bytes(SIZE).unwrap() as usize];
        phases.iter().for_each(|phase| apply(&mut disk, phase));
        assert_eq!(stored_mark(&disk), None);
        assert_eq!(stored_overwrite(&disk), None);
        let set = Some(mark(0x0100_0000_0000_0007));
        for phase in metadata.set_overwrite(set) {
            apply(&mut disk, &phase);
        }
        // Magic number, number of the store, mark, checksum.
        let bytes = stored_mark(&disk).unwrap();
        assert_eq!(bytes[..8], *b"EKpart01");
        assert_eq!(bytes[8..16], newest_number(&disk).to_le_bytes());
        assert_eq!(bytes[16..24], [7, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(bytes::unseal(&bytes[..32]), Some(&bytes[..24]));
        let (loaded, found) = Metadata::load(&disk, Some(ID)).unwrap();
        assert_eq!(loaded.name(), Some(name));
        assert_eq!(
            (found.head.overwrite, &found.head.identity),
            (set, &first.identity)
        );
        assert_eq!(stored_overwrite(&disk), set);
        // Each further change stores the mark again.
        let next = MetadataChange {
            head: Superblock {
                promised: 9,
                ..found.head
            },
            fill: Some(true),
            bits: vec![(2, vec![5; 16])],
        };
        for phase in metadata.plan(&next) {
            apply(&mut disk, &phase);
            assert_eq!(stored_overwrite(&disk), set);
        }
        // A damaged mark is ignored: the rest of the slot is valid without it.
        let mut damaged = disk.clone();
        for at in (0..disk.len() - 8).filter(|at| disk[*at..].starts_with(b"EKpart01")) {
            damaged[at + 17] ^= 1;
        }
        assert!(damaged != disk);
        assert_eq!(
            (stored_overwrite(&damaged), load(&damaged).head.promised),
            (None, 9)
        );
        for phase in metadata.set_overwrite(None) {
            apply(&mut disk, &phase);
        }
        assert_eq!((stored_mark(&disk), stored_overwrite(&disk)), (None, None));
    }
}

/// Steps of a command that overwrites a volume, in the order in which they become durable.
#[derive(Clone, Copy, PartialEq, Debug)]
enum OverwriteStep {
    SetMark,
    /// Writes a block of the new content.
    Write(usize),
    /// Store that the owner causes itself, such as for its activity log.
    OtherStore(u64),
    RemoveMark,
}

proptest! {
    /// A kill or a power cut at any step of an overwrite leaves the old content without a mark, the
    /// new content without a mark, or the mark. Of the interrupted store, any sectors are written.
    #[test]
    fn interrupted_overwrite_leaves_the_mark(
        end in 0_usize..12,
        written in any::<[u64; 4]>(),
        others in proptest::collection::vec(0_usize..6, 5),
    ) {
        const PARTS: usize = 4;
        let mut steps = vec![OverwriteStep::SetMark];
        steps.extend((0..PARTS).map(OverwriteStep::Write));
        steps.push(OverwriteStep::RemoveMark);
        for (number, at) in others.into_iter().enumerate() {
            let at = at.min(steps.len());
            steps.insert(at, OverwriteStep::OtherStore(number as u64 + 1));
        }
        let (mut metadata, mut disk) = created();
        let mut is_new = [false; PARTS];
        for (index, step) in steps.into_iter().take(end + 1).enumerate() {
            let phases = match step {
                OverwriteStep::SetMark => metadata.set_overwrite(Some(mark(9))),
                OverwriteStep::RemoveMark => metadata.set_overwrite(None),
                OverwriteStep::OtherStore(promised) => {
                    let head = Superblock { promised, ..metadata.head().clone() };
                    metadata.plan(&MetadataChange { head, fill: None, bits: Vec::new() })
                }
                OverwriteStep::Write(part) => {
                    is_new[part] = index < end || written[0] & 1 == 1;
                    continue;
                }
            };
            for write in phases.into_iter().flat_map(|phase| phase.0) {
                for (number, sector) in write.bytes.chunks(512).enumerate() {
                    let is_written = written[number / 64 % 4] >> (number % 64) & 1 == 1;
                    if index < end || is_written {
                        let at = write.offset as usize + number * 512;
                        disk[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
        let is_marked = stored_overwrite(&disk).is_some();
        let is_whole = is_new.iter().all(|new| *new == is_new[0]);
        prop_assert!(is_marked || is_whole, "{is_new:?}");
    }
}
