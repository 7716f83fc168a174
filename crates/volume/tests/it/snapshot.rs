//! Tests that a snapshot under concurrent writes is consistent.

use lab::{ScratchDirectory, skip_unless_installed, skip_unless_root};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use volume::device::{self, Backing, SnapshotReason, Stamp, snapshot};
use volume::layout::{Superblock, SyncState, VolumeId};

const SIZE: u64 = 32 << 20;
const WRITERS: u64 = 4;
/// Number of blocks that a writer writes in turn.
const BLOCKS: u64 = 64;

#[repr(align(4096))]
struct AlignedBlock([u8; 4096]);

struct Mounted(ScratchDirectory);

impl Mounted {
    fn new() -> Mounted {
        let mounted = Mounted(ScratchDirectory::new().unwrap());
        let (image, at) = (mounted.0.path().join("image"), mounted.0.path().join("at"));
        std::fs::create_dir(&at).unwrap();
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(512 << 20).unwrap();
        let made = Command::new("mkfs.xfs").arg("-q").arg(&image).status();
        assert!(made.unwrap().success());
        let mount = Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&at)
            .status();
        assert!(mount.unwrap().success());
        mounted
    }
}

fn head() -> Superblock {
    Superblock {
        volume: Some(VolumeId([1; 16])),
        size_bytes: SIZE,
        data_offset: 0,
        promised: 0,
        incarnation: 1,
        state: SyncState::Joined(1),
        unflushed: None,
        hot: Vec::new(),
        identity: None,
        overwrite: None,
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let at = self.0.path().join("at");
        let _ = Command::new("umount").arg("-l").arg(at).status();
    }
}

#[test]
fn a_snapshot_has_all_that_was_acknowledged_before_it_and_no_gap() {
    skip_unless_root!();
    skip_unless_installed!("mkfs.xfs");
    let mounted = Mounted::new();
    let backing = Backing::File(mounted.0.path().join("at"));
    let (opened, _) = device::create(&backing, "mail", head(), false, &mut |_| {}).unwrap();
    assert!(opened.is_direct);
    // Each writer writes its blocks in turn and counts them; each write begins when the previous
    // one has ended.
    let acknowledged: Arc<Vec<AtomicU64>> =
        Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    let ends = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (file, ends) = (Arc::clone(&opened.data.file), Arc::clone(&ends));
            let acknowledged = Arc::clone(&acknowledged);
            std::thread::spawn(move || {
                let mut block = Box::new(AlignedBlock([0; 4096]));
                for number in 1.. {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    block.0[..8].copy_from_slice(&u64::to_be_bytes(number));
                    let offset = (writer * BLOCKS + number % BLOCKS) * 4096;
                    file.write_all_at(&block.0, offset).unwrap();
                    acknowledged[writer as usize].store(number, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for round in 0..10 {
        std::thread::sleep(Duration::from_millis(30));
        let counts = || -> Vec<u64> {
            acknowledged
                .iter()
                .map(|one| one.load(Ordering::SeqCst))
                .collect()
        };
        let before = counts();
        let taken = snapshot::take(&backing, "mail", Stamp(round), SnapshotReason::Manual).unwrap();
        let after = counts();
        check(&std::fs::read(&taken.path).unwrap(), &before, &after);
        taken.remove().unwrap();
    }
    ends.store(true, Ordering::Relaxed);
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());
    assert_eq!(snapshot::list(&backing, "mail").unwrap(), []);
}

/// Checks that each writer's blocks are those of its first writes: at least the ones acknowledged
/// `before` the snapshot, and at most one more than those `after` it.
fn check(bytes: &[u8], before: &[u64], after: &[u64]) {
    assert_eq!(bytes.len() as u64, SIZE);
    for writer in 0..WRITERS {
        let number = |place: u64| {
            let at = ((writer * BLOCKS + place) * 4096) as usize;
            u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
        };
        let last = (0..BLOCKS).map(number).max().unwrap();
        let (least, most) = (before[writer as usize], after[writer as usize] + 1);
        assert!((least..=most).contains(&last), "{least} {last} {most}");
        for number_then in (1..=last).rev().take(BLOCKS as usize) {
            assert_eq!(number(number_then % BLOCKS), number_then, "writer {writer}");
        }
    }
}
