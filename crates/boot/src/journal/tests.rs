//! Tests the lease file on disks that are torn, full or missing.

use super::*;
use crate::mac::Mac;
use lab::{FullDisk, ScratchDirectory};
use std::fs;

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a14_0000 + number)
}

fn mac(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([2, 0, a, b, c, d])
}

fn lease(number: u32) -> HolderChange {
    HolderChange {
        address: address(number),
        holder: Holder::Client(mac(number)),
    }
}

fn with(holder: Holder, number: u32) -> HolderChange {
    HolderChange {
        address: address(number),
        holder,
    }
}

fn known(directory: &Path) -> Vec<(Ipv4Addr, Holder)> {
    LeaseJournal::<Ipv4Addr>::open(directory, "lan")
        .unwrap()
        .known()
        .collect()
}

#[test]
fn leases_and_what_is_unclear_are_there_after_a_restart_and_ended_ones_are_not() {
    let scratch = ScratchDirectory::new().unwrap();
    let mut journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
    journal.add(&[lease(1), lease(2), lease(3)]).unwrap();
    journal
        .add(&[
            with(Holder::Nobody, 2),
            with(Holder::Unclear(Some(Mac([2, 0, 0, 0, 0, 9]))), 3),
            lease(4),
        ])
        .unwrap();
    drop(journal);
    let expected = [
        (address(1), Holder::Client(mac(1))),
        (address(3), Holder::Unclear(Some(Mac([2, 0, 0, 0, 0, 9])))),
        (address(4), Holder::Client(mac(4))),
    ];
    assert_eq!(known(scratch.path()), expected);
    // A start does not change the file.
    let file = || fs::read(scratch.path().join("lan.leases")).unwrap();
    let before = file();
    assert_eq!(known(scratch.path()), expected);
    assert_eq!(file(), before);
}

#[test]
fn file_of_an_earlier_version_is_read_once_and_replaced() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.path().join("lan.leases");
    let text = "store 7\nlease 900\n10.20.0.1 02:00:00:00:00:01\n10.20.0.2 ? 02:00:00:00:00:02\n\
                10.20.0.3 before\n10.20.0.4 02:00:00:00:00:04\n10.20.0.4 -\n\
                10.20.0.5 before 02:00:00:00:00:05\ngeneration 9\n10.20.0.6 02:00";
    fs::write(&path, text).unwrap();
    let expected = [
        (address(1), Holder::Client(mac(1))),
        (address(2), Holder::Unclear(Some(mac(2)))),
        (address(3), Holder::Before(None)),
        (address(5), Holder::Before(Some(mac(5)))),
    ];
    // The second time, the file has the current format.
    for is_text in [true, false] {
        assert_eq!(Journal::is_in(&fs::read(&path).unwrap()), !is_text);
        let journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
        assert_eq!(journal.known().collect::<Vec<_>>(), expected);
        let file = (journal.store(), journal.generation(), journal.longest_s());
        assert_eq!((file, journal.damage()), ((7, 9, 900), None));
    }
    let mut journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
    journal.add(&[lease(8)]).unwrap();
    assert_eq!(journal.generation(), 10);
}

#[test]
fn a_file_that_was_lost_or_damaged_is_another_one() {
    let scratch = ScratchDirectory::new().unwrap();
    let store = || {
        LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan")
            .unwrap()
            .store()
    };
    let first = store();
    assert_eq!(store(), first);
    let path = scratch.path().join("lan.leases");
    let mut damaged = fs::read(&path).unwrap();
    damaged[20] ^= 1;
    fs::write(&path, damaged).unwrap();
    let second = store();
    fs::write(&path, "").unwrap();
    let third = store();
    // A file of an earlier version.
    fs::write(&path, format!("store {third}\n10.20.0.1 02:00\n")).unwrap();
    let fourth = store();
    fs::remove_file(&path).unwrap();
    let all = [first, second, third, fourth, store()];
    assert!(all.iter().all(|one| *one > 0), "{all:?}");
    let different: std::collections::BTreeSet<u32> = all.into_iter().collect();
    assert_eq!(different.len(), 5, "{all:?}");
}

#[test]
fn a_copy_of_the_locks_descriptor_does_not_keep_the_next_one_away() {
    let scratch = ScratchDirectory::new().unwrap();
    let journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
    // A forked process has such a copy of the descriptor until it executes its program.
    let _copy = journal._lock.0.try_clone().unwrap();
    assert!(LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").is_err());
    drop(journal);
    assert!(LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").is_ok());
}

#[test]
fn file_torn_at_any_byte_has_each_confirmed_lease_before_the_tear() {
    let scratch = ScratchDirectory::new().unwrap();
    let mut journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
    let path = scratch.path().join("lan.leases");
    let mut ends = Vec::new();
    for number in [1, 2] {
        ends.push(fs::read(&path).unwrap().len());
        journal.add(&[lease(number)]).unwrap();
    }
    let store = journal.store();
    drop(journal);
    let whole = fs::read(&path).unwrap();
    ends.push(whole.len());
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
        let writes = ends.iter().filter(|end| **end <= length).count();
        let confirmed = writes.saturating_sub(1);
        let leases = journal.known().count();
        assert_eq!(leases, confirmed, "{length}");
        assert_eq!(journal.generation() as usize, confirmed, "{length}");
        assert!(writes == 0 || journal.store() == store, "{length}");
        assert!(writes == 0 || journal.damage().is_none(), "{length}");
    }
}

#[test]
fn text_torn_at_any_byte_has_each_lease_before_the_tear() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.path().join("lan.leases");
    let whole =
        b"store 7\n10.20.0.1 02:00:00:00:00:01\n10.20.0.2 02:00:00:00:00:02\ngeneration 1\n";
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let lines = whole[..length]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        // The first line is no lease, and the last one is the generation.
        let journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
        let expected = (lines.saturating_sub(1).min(2), u32::from(lines == 4));
        let leases = journal.known().count();
        assert_eq!((leases, journal.generation()), expected, "{length}");
    }
}

#[test]
fn garbage_is_no_lease_and_hides_none() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.path().join("lan.leases");
    for (text, leases) in [
        (&b""[..], 0),
        (b"\n\n\n", 0),
        (b"\0\0\0\0\0\0", 0),
        (
            b"10.20.0.1 02:00:00:00:00:01\n\0\0\0\xff\xfe\n10.20.0.2 02:00:00:00:00:02\n",
            2,
        ),
        (
            b"10.20.0.1 02:00:00:00:00\n10.20.0 02:00:00:00:00:02\n10.20.0.3\n10.20.0.3 !\n",
            0,
        ),
        (
            b"10.20.0.1 02:00:00:00:00:01\n10.20.0.1 -\n10.20.0.1 ?\n",
            1,
        ),
        (b"10.20.0.1 -\n", 0),
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(
            known(scratch.path()).len(),
            leases,
            "{}",
            text.escape_ascii()
        );
    }
}

#[test]
fn a_directory_in_its_place_and_a_missing_directory_are_errors() {
    let scratch = ScratchDirectory::new().unwrap();
    fs::create_dir(scratch.path().join("lan.leases")).unwrap();
    assert!(LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").is_err());
    assert!(LeaseJournal::<Ipv4Addr>::open(&scratch.path().join("nowhere"), "lan").is_err());
    fs::remove_dir(scratch.path().join("lan.leases")).unwrap();
    fs::create_dir(scratch.path().join(".other.leases.new")).unwrap();
    assert!(LeaseJournal::<Ipv4Addr>::open(scratch.path(), "other").is_err());
}

#[test]
fn two_have_the_leases_of_one_section_never_at_one_time() {
    let scratch = ScratchDirectory::new().unwrap();
    let first = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
    let error = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    LeaseJournal::<Ipv4Addr>::open(scratch.path(), "other").unwrap();
    drop(first);
    LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
}

#[test]
fn what_has_ended_is_left_out_before_the_file_is_much_larger_than_its_leases() {
    let scratch = ScratchDirectory::new().unwrap();
    let mut journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
    let all: Vec<HolderChange> = (0..65_536).map(lease).collect();
    journal.add(&all).unwrap();
    // Changes that are no leases are not synced.
    let ends: Vec<HolderChange> = (0..100)
        .map(|number| with(Holder::Nobody, number))
        .collect();
    let length = || {
        fs::metadata(scratch.path().join("lan.leases"))
            .unwrap()
            .len()
    };
    // The end of a lease has 38 bytes in the file.
    let most = length() + 65_536 * 38;
    for _ in 0..2_000 {
        journal.add(&ends).unwrap();
        assert!(length() <= most, "{} {most}", length());
    }
    journal.add(&[lease(7)]).unwrap();
    drop(journal);
    let known = known(scratch.path());
    assert_eq!(known.len(), 65_536 - 99);
    assert_eq!(known[0], (address(7), Holder::Client(mac(7))));
}

#[test]
fn on_a_full_disk_a_lease_is_not_written_and_is_there_once_there_is_room() {
    if !lab::may_run("a full disk", lab::privileged()) {
        return;
    }
    let disk = FullDisk::new(1 << 20).unwrap();
    assert!(LeaseJournal::<Ipv4Addr>::open(&disk.path(), "lan").is_err() || disk.fill().is_ok());
    disk.free_space().unwrap();
    let mut journal = LeaseJournal::<Ipv4Addr>::open(&disk.path(), "lan").unwrap();
    journal.add(&[lease(1)]).unwrap();
    disk.fill().unwrap();
    let many: Vec<HolderChange> = (2..1_000).map(lease).collect();
    assert!(journal.add(&many).is_err());
    assert!(
        journal.rewrite_after_error().is_err(),
        "there is still no room"
    );
    // The cluster must not record a generation that is not on the disk.
    assert_eq!(journal.generation(), 1);
    disk.free_space().unwrap();
    journal.rewrite_after_error().unwrap();
    assert_eq!(journal.generation(), 2);
    drop(journal);
    let journal = LeaseJournal::<Ipv4Addr>::open(&disk.path(), "lan").unwrap();
    assert_eq!(journal.generation(), 2);
    drop(journal);
    assert_eq!(known(&disk.path()).len(), 999);
}

#[test]
fn damage_is_reported_and_the_damaged_file_is_kept() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.path().join("lan.leases");
    let mut journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
    journal.add(&[lease(1)]).unwrap();
    let first = fs::read(&path).unwrap().len();
    journal.add(&[lease(2)]).unwrap();
    drop(journal);
    let mut damaged = fs::read(&path).unwrap();
    damaged[first - 1] ^= 1;
    let text = b"10.20.0.1 02:00:00:00:00:01\n\0\0\n10.20.0.2 02:00:00:00:00:02\n10.20.0.3 02:00";
    for damaged in [&damaged[..], text] {
        fs::write(&path, damaged).unwrap();
        let journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
        let report = journal.damage().expect("it is reported");
        let named = format!("{} is damaged: ", path.display());
        assert!(report.starts_with(&named), "{report}");
        assert_eq!(journal.known().count(), 2);
        drop(journal);
        assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), damaged);
        let journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
        assert_eq!(journal.damage(), None, "it was replaced");
    }
}

#[test]
fn a_directory_that_was_removed_is_named_with_what_to_do_and_nothing_is_stored() {
    let scratch = ScratchDirectory::new().unwrap();
    let directory = scratch.path().join("leases");
    std::fs::create_dir(&directory).unwrap();
    let mut journal: LeaseJournal = LeaseJournal::open(&directory, "lan").unwrap();
    let change = HolderChange {
        address: Ipv4Addr::new(10, 0, 0, 1),
        holder: Holder::Unclear(None),
    };
    journal.add(&[change]).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let error = journal.add(&[change]).unwrap_err();
    let words = journal.trouble(&error);
    let named = format!("cannot keep leases in {}: ", directory.display());
    assert!(words.starts_with(&named), "{words}");
    assert!(
        words.ends_with("make it again and restart Evenkeel"),
        "{words}"
    );
    // Writes work again as soon as the directory is writable.
    std::fs::create_dir(&directory).unwrap();
    journal.rewrite_after_error().unwrap();
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert!(!journal.trouble(&full).contains("restart"));
}

#[test]
fn renamed_section_keeps_the_leases_of_its_range() {
    let scratch = ScratchDirectory::new().unwrap();
    let mut journal = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
    journal.set_longest(600).unwrap();
    journal.add(&[lease(1), lease(2), lease(9)]).unwrap();
    drop(journal);
    let of_other_family = "store 7\nfd00::1 02:00:00:00:00:01\n";
    fs::write(scratch.path().join("lan@6.leases"), of_other_family).unwrap();
    let open = || {
        let is_in_range = |one| one <= address(2);
        LeaseJournal::<Ipv4Addr>::open_or_inherit(scratch.path(), "office", is_in_range).unwrap()
    };
    let mut journal = open();
    let leases: Vec<_> = journal.known().collect();
    let expected = [1, 2].map(|number| (address(number), Holder::Client(mac(number))));
    assert_eq!((leases, journal.longest_s()), (expected.to_vec(), 600));
    assert_eq!(journal.damage(), None);
    // Only a new section inherits leases: an ended lease does not come back.
    journal.add(&[with(Holder::Nobody, 2)]).unwrap();
    drop(journal);
    assert_eq!(open().known().count(), 1);
    let other = LeaseJournal::<Ipv4Addr>::open_or_inherit(scratch.path(), "other", |_| false);
    assert_eq!(other.unwrap().known().count(), 0);
}

#[test]
fn generation_counts_synced_writes_and_older_file_can_be_dropped() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.path().join("lan.leases");
    let open = || LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
    let mut journal = open();
    assert_eq!(journal.generation(), 0);
    journal.add(&[lease(1)]).unwrap();
    let older = fs::read(&path).unwrap();
    journal.add(&[lease(2), lease(3)]).unwrap();
    let store = journal.store();
    // The end of a lease need not reach the disk, so its loss must not look like an older file.
    journal.add(&[with(Holder::Nobody, 3)]).unwrap();
    assert_eq!(journal.generation(), 2);
    drop(journal);
    let journal = open();
    assert_eq!((journal.generation(), journal.store()), (2, store));
    assert_eq!((journal.damage(), journal.known().count()), (None, 2));
    drop(journal);
    fs::write(&path, older).unwrap();
    let mut journal = open();
    assert_eq!((journal.generation(), journal.store()), (1, store));
    journal.forget(9).unwrap();
    drop(journal);
    let journal = open();
    assert_eq!((journal.generation(), journal.known().count()), (10, 0));
    assert_ne!(journal.store(), store);
}

#[test]
fn renamed_section_inherits_copies_of_other_nodes_leases() {
    let scratch = ScratchDirectory::new().unwrap();
    let mut before = LeaseJournal::<Ipv4Addr>::open(scratch.path(), "lan").unwrap();
    before.add(&[lease(1), lease(2)]).unwrap();
    before.set_longest(600).unwrap();
    drop(before);
    let [three, other] = [mac(3), mac(9)];
    let text = format!(
        "beta 7 3\n10.20.0.3 {three}\n10.20.0.2 {other}\n2001:db8::1 {three}\ngeneration 4\n"
    );
    scratch.write("lan@part1.copy", text).unwrap();
    let new = LeaseJournal::<Ipv4Addr>::open_or_inherit(scratch.path(), "office", |_| true);
    let new = new.unwrap();
    let expected = [
        (address(1), Holder::Client(mac(1))),
        // The files do not agree.
        (address(2), Holder::Unclear(None)),
        (address(3), Holder::Client(three)),
    ];
    assert_eq!(new.known().collect::<Vec<_>>(), expected);
    assert_eq!((new.longest_s(), new.damage()), (600, None));
}

#[test]
fn section_with_an_earlier_name_again_has_the_leases_of_the_time_between() {
    let scratch = ScratchDirectory::new().unwrap();
    let open = |name: &str| {
        LeaseJournal::<Ipv4Addr>::open_or_inherit(scratch.path(), name, |_| true).unwrap()
    };
    let mut lan = open("lan");
    lan.add(&[lease(1), lease(2)]).unwrap();
    drop(lan);
    let mut office = open("office");
    office.set_longest(900).unwrap();
    let to_another = with(Holder::Client(mac(7)), 2);
    office.add(&[lease(3), to_another]).unwrap();
    drop(office);
    let lan = open("lan");
    let expected = [
        (address(1), Holder::Client(mac(1))),
        (address(2), Holder::Client(mac(7))),
        (address(3), Holder::Client(mac(3))),
    ];
    assert_eq!(lan.known().collect::<Vec<_>>(), expected);
    assert_eq!((lan.longest_s(), lan.damage()), (900, None));
    drop(lan);
    // A lease that ends now does not come back, and new leases go to the file of the other name.
    let mut lan = open("lan");
    lan.add(&[with(Holder::Nobody, 1), lease(4)]).unwrap();
    drop(lan);
    assert_eq!(open("lan").known().count(), 3);
    let office: Vec<_> = open("office").known().collect();
    assert!(office.contains(&(address(4), Holder::Client(mac(4)))));
}
