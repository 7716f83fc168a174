//! Tests what a keeper of copies writes, and what it reads after a start.

use super::*;
use crate::dhcp::pool::Holder;
use crate::mac::Mac;
use lab::ScratchDirectory;
use std::net::IpAddr;
use std::sync::mpsc::channel;

fn change(last: u8, holder: Holder) -> LeaseChange {
    LeaseChange {
        address: IpAddr::from([10, 0, 0, last]),
        holder,
    }
}

const CLIENT: Holder = Holder::Client(Mac([2, 0, 0, 0, 0, 1]));

/// Sends a message to a keeper, and returns the confirmation; None: there is none.
fn tell(
    keeper: &CopyWriter,
    epoch: u64,
    said: &[LeaseCopyContent],
) -> Option<Result<(), OwnedCopyError>> {
    let (says, said_so) = channel();
    for said in said {
        let says = says.clone();
        let job = LeaseCopyWrite {
            node: "alpha".to_owned(),
            told: LeaseCopyMessage {
                part: 1,
                epoch,
                number: 1,
                content: said.clone(),
            },
            done: Box::new(move |done| says.send(done).unwrap()),
        };
        assert!(keeper.take(job).is_ok());
    }
    drop(says);
    said_so.iter().last()
}

fn keeper(scratch: &ScratchDirectory) -> (CopyWriter, SharedCopies) {
    let copies = SharedCopies::default();
    let directory = scratch.path().join("copies");
    let keeper = CopyWriter::start(directory, "lan", copies.clone(), |_| Ok(()));
    (keeper.unwrap(), copies)
}

#[test]
fn a_copy_that_was_confirmed_is_there_after_a_restart() {
    let scratch = ScratchDirectory::new().unwrap();
    let (first, _) = keeper(&scratch);
    let whole = [
        LeaseCopyContent::Begin(3),
        LeaseCopyContent::Changes(vec![
            change(1, CLIENT),
            change(2, Holder::Unclear(None)),
            change(3, CLIENT),
        ]),
        LeaseCopyContent::Whole,
    ];
    assert_eq!(tell(&first, 7, &whole), Some(Ok(())));
    let later = LeaseCopyContent::Changes(vec![change(3, Holder::Nobody), change(4, CLIENT)]);
    assert_eq!(tell(&first, 7, &[later]), Some(Ok(())));
    // An incomplete copy changes nothing.
    assert_eq!(tell(&first, 8, &[LeaseCopyContent::Begin(3)]), None);
    drop(first);
    let (second, copies) = keeper(&scratch);
    // The keeper has read its files before it accepts messages.
    let stray = LeaseCopyContent::Changes(vec![change(9, CLIENT)]);
    assert_eq!(
        tell(&second, 9, &[stray]),
        Some(Err(OwnedCopyError::NotBegun))
    );
    let copies = lock_copies(&copies);
    let copy = copies.of(1, "alpha", 7).unwrap();
    let known = [
        change(1, CLIENT),
        change(2, Holder::Unclear(None)),
        change(4, CLIENT),
    ];
    assert_eq!(copy.division, 3);
    assert!(copy.known().eq(&known));
    assert_eq!(
        (copies.of(1, "alpha", 8), copies.of(1, "beta", 7)),
        (None, None)
    );
}

#[test]
fn what_cannot_be_written_is_not_confirmed_and_begins_again() {
    let scratch = ScratchDirectory::new().unwrap();
    scratch.write("copies", "no directory").unwrap();
    let (keeper, copies) = keeper(&scratch);
    let whole = [LeaseCopyContent::Begin(3), LeaseCopyContent::Whole];
    assert_eq!(
        tell(&keeper, 7, &whole),
        Some(Err(OwnedCopyError::NotBegun))
    );
    assert_eq!(lock_copies(&copies).whole(1), None);
}

#[test]
fn a_damaged_file_is_no_copy() {
    let scratch = ScratchDirectory::new().unwrap();
    for text in [
        "",
        "alpha",
        "alpha x\n",
        "alpha 7\n",
        "alpha 7 3\n10.0.0.1 nonsense\n",
        "alpha 7 3",
    ] {
        let path = scratch.write("one", text).unwrap();
        assert_eq!(read_copy(&path), None, "{text:?}");
    }
    let (keeper, _) = keeper(&scratch);
    let whole = [
        LeaseCopyContent::Begin(3),
        LeaseCopyContent::Changes(vec![change(1, CLIENT)]),
        LeaseCopyContent::Whole,
    ];
    assert_eq!(tell(&keeper, 7, &whole), Some(Ok(())));
    let path = scratch.path().join("copies/lan@part1.copy");
    let written = std::fs::read(&path).unwrap();
    assert!(read_copy(&path).is_some());
    for at in 0..written.len() {
        let mut damaged = written.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        // Damage of the last frame looks like a write that was never confirmed.
        let has_all = |copy: &LeaseCopy| copy.known().eq(&[change(1, CLIENT)]);
        let read = read_copy(&path);
        assert!(
            read.is_none_or(|(copy, generation)| has_all(&copy) && generation == 0),
            "{at}"
        );
    }
}

#[test]
fn copy_of_an_earlier_version_is_read_and_replaced_with_the_next_change() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.path().join("copies/lan@part1.copy");
    std::fs::create_dir(scratch.path().join("copies")).unwrap();
    std::fs::write(
        &path,
        "alpha 7 3\n10.0.0.1 ?\nfd00::1 02:00:00:00:00:01\ngeneration 5\n",
    )
    .unwrap();
    let (keeper, copies) = keeper(&scratch);
    assert_eq!(lock_copies(&copies).opened_generation(), 5);
    assert_eq!(
        lock_copies(&copies)
            .of(1, "alpha", 7)
            .map(|copy| copy.known().len()),
        Some(2)
    );
    let later = LeaseCopyContent::Changes(vec![change(4, CLIENT)]);
    assert_eq!(tell(&keeper, 7, &[later]), Some(Ok(())));
    assert!(Journal::is_in(&std::fs::read(&path).unwrap()));
    let (copy, generation) = read_copy(&path).unwrap();
    assert_eq!((copy.known().len(), generation), (3, 6));
}

#[test]
fn torn_text_is_a_copy_without_its_last_line() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch
        .write("one", "alpha 7 3\n10.0.0.1 ?\n10.0.0.2 -")
        .unwrap();
    let (copy, generation) = read_copy(&path).unwrap();
    assert_eq!(generation, 0);
    assert!(copy.known().eq(&[change(1, Holder::Unclear(None))]));
}

#[test]
fn what_is_added_to_a_file_that_was_removed_is_not_confirmed() {
    let scratch = ScratchDirectory::new().unwrap();
    let (keeper, copies) = keeper(&scratch);
    let whole = [LeaseCopyContent::Begin(3), LeaseCopyContent::Whole];
    assert_eq!(tell(&keeper, 7, &whole), Some(Ok(())));
    std::fs::remove_dir_all(scratch.path().join("copies")).unwrap();
    let later = LeaseCopyContent::Changes(vec![change(4, CLIENT)]);
    assert_eq!(
        tell(&keeper, 7, &[later]),
        Some(Err(OwnedCopyError::NotBegun))
    );
    assert_eq!(lock_copies(&copies).whole(1), None);
}

#[test]
fn a_keeper_that_moves_keeps_what_it_knows_and_writes_it_with_the_next_change() {
    let scratch = ScratchDirectory::new().unwrap();
    let (first, copies) = keeper(&scratch);
    let whole = [
        LeaseCopyContent::Begin(3),
        LeaseCopyContent::Changes(vec![change(1, CLIENT)]),
        LeaseCopyContent::Whole,
    ];
    assert_eq!(tell(&first, 7, &whole), Some(Ok(())));
    let other = scratch.path().join("other");
    std::fs::create_dir(&other).unwrap();
    // An old copy would count as the newest.
    std::fs::write(other.join("lan@part1.copy"), "alpha 7 3\n10.0.0.9 ?\n").unwrap();
    let second = first.moved(other.clone(), "lan", |_| Ok(())).unwrap();
    assert!(!other.join("lan@part1.copy").exists());
    let known = lock_copies(&copies).of(1, "alpha", 7).cloned();
    assert_eq!(known.map(|copy| copy.known().len()), Some(1));
    let later = LeaseCopyContent::Changes(vec![change(2, CLIENT)]);
    assert_eq!(tell(&second, 7, &[later]), Some(Ok(())));
    let (copy, generation) = read_copy(&other.join("lan@part1.copy")).unwrap();
    assert_eq!((copy.known().len(), generation), (2, 2));
}

#[test]
fn older_copies_are_recognised_and_dropped() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.path().join("copies/lan@part1.copy");
    let (first, copies) = keeper(&scratch);
    let whole = [LeaseCopyContent::Begin(3), LeaseCopyContent::Whole];
    let later = |last| [LeaseCopyContent::Changes(vec![change(last, CLIENT)])];
    assert_eq!(tell(&first, 7, &whole), Some(Ok(())));
    let older = std::fs::read(&path).unwrap();
    assert_eq!(tell(&first, 7, &later(1)), Some(Ok(())));
    assert_eq!(tell(&first, 7, &later(2)), Some(Ok(())));
    let newest = lock_copies(&copies).generation();
    let (_, again) = keeper(&scratch);
    let read = |copies: &SharedCopies| {
        let copies = lock_copies(copies);
        (copies.generation(), copies.opened_generation())
    };
    assert_eq!((newest, read(&again)), (3, (3, 3)));
    std::fs::write(&path, older).unwrap();
    let (second, again) = keeper(&scratch);
    assert_eq!(read(&again), (1, 1));
    lock_copies(&again).forget_older(newest);
    assert_eq!(lock_copies(&again).whole(1), None);
    assert_eq!(read(&again), (3, 3));
    // The holder has to send the complete copy.
    assert_eq!(
        tell(&second, 7, &later(4)),
        Some(Err(OwnedCopyError::NotBegun))
    );
    assert_eq!(tell(&second, 7, &whole), Some(Ok(())));
    assert_eq!(read(&again), (4, 3));
}
