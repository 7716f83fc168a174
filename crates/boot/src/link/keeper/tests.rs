//! Tests what a keeper of copies writes, and what it reads after a start.

use super::*;
use crate::dhcp::mirror::LeaseCopyContent;
use crate::dhcp::pool::Holder;
use crate::mac::Mac;
use lab::ScratchDirectory;
use std::sync::mpsc::channel;

fn change(last: u8, holder: Holder) -> HolderChange<IpAddr> {
    HolderChange {
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
) -> Option<Result<(), LeaseCopyError>> {
    let (says, said_so) = channel();
    for said in said {
        let says = says.clone();
        let job = LeaseCopyWrite {
            node: "alpha".to_owned(),
            told: LeaseCopyMessage {
                part: 1,
                epoch,
                number: 1,
                said: said.clone(),
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
        Some(Err(LeaseCopyError::NotBegun))
    );
    let copies = lock_copies(&copies);
    let copy = copies.of(1, "alpha", 7).unwrap();
    let known = [
        change(1, CLIENT),
        change(2, Holder::Unclear(None)),
        change(4, CLIENT),
    ];
    let known = known.map(|change| (change.address, change.holder));
    assert_eq!(
        (copy.ranges, copy.known().collect::<Vec<_>>()),
        (3, known.to_vec())
    );
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
        Some(Err(LeaseCopyError::NotBegun))
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
        assert_eq!(read(&path), None, "{text:?}");
    }
    let path = scratch
        .write("one", "alpha 7 3\n10.0.0.1 ?\n10.0.0.2 -")
        .unwrap();
    let known = [(IpAddr::from([10, 0, 0, 1]), Holder::Unclear(None))];
    let (copy, generation) = read(&path).unwrap();
    assert_eq!(generation, 0);
    assert_eq!(copy.known().collect::<Vec<_>>(), known);
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
        Some(Err(LeaseCopyError::NotBegun))
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
    let (copy, generation) = read(&other.join("lan@part1.copy")).unwrap();
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
        Some(Err(LeaseCopyError::NotBegun))
    );
    assert_eq!(tell(&second, 7, &whole), Some(Ok(())));
    assert_eq!(read(&again), (4, 3));
}
