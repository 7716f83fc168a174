//! Tests a role whose leases move to another directory, and the files on disk afterwards.

use super::*;
use crate::config::{AddressSource, BootConfig, LanConfig};
use crate::dhcp::pool::Holder;
use crate::mac::Mac;
use crate::role::BootRole;
use lab::ScratchDirectory;
use part::codec;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
const LEASES: &str = "store 77\nlease 7200\n10.0.0.1 02:00:00:00:00:01\n10.0.0.2 ?\n";

fn place() -> BootEnvironment {
    BootEnvironment {
        only_reads: || Ok(()),
        only_writes: |_| Ok(()),
        runtime: || PathBuf::from("/nowhere"),
    }
}

fn payload(leases: &Path) -> Vec<u8> {
    let lan = LanConfig {
        gives: AddressSource::Range {
            first: Ipv4Addr::new(10, 0, 0, 1),
            last: Ipv4Addr::new(10, 0, 0, 9),
        },
        lease_s: 7_200,
        leases: leases.to_owned(),
        ..LanConfig::plain("nowhere0")
    };
    codec::encode(&BootConfig {
        lans: [("lan".to_owned(), lan)].into(),
        ..BootConfig::default()
    })
}

fn known(directory: &Path) -> (u32, Vec<(Ipv4Addr, Holder)>) {
    let journal = LeaseJournal::open(directory, "lan").unwrap();
    (journal.store(), journal.known().collect())
}

fn names(directory: &Path) -> Vec<String> {
    let found = std::fs::read_dir(directory).unwrap();
    let found = found.map(|one| one.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = found.collect();
    names.sort();
    names
}

#[test]
fn leases_are_in_the_other_directory_before_the_one_before_is_left() {
    let scratch = ScratchDirectory::new().unwrap();
    let [first, second] = ["first", "second"].map(|name| scratch.path().join(name));
    std::fs::create_dir(&first).unwrap();
    std::fs::write(first.join("lan.leases"), LEASES).unwrap();
    // Old contents of the other directory are ignored.
    std::fs::create_dir(&second).unwrap();
    std::fs::write(second.join("lan.leases"), "store 3\n10.0.0.9 ?\n").unwrap();
    let mut role = BootRole::new(place(), &payload(&first)).unwrap();
    role.change(&payload(&second)).unwrap();
    assert!(names(&first).is_empty(), "{:?}", names(&first));
    role.stop();
    let all = vec![
        (Ipv4Addr::new(10, 0, 0, 1), Holder::Client(CLIENT)),
        (Ipv4Addr::new(10, 0, 0, 2), Holder::Unclear(None)),
    ];
    assert_eq!(known(&second), (77, all));
}

#[test]
fn leases_stay_if_the_other_directory_cannot_be_used_and_all_else_changes() {
    let scratch = ScratchDirectory::new().unwrap();
    let first = scratch.path().join("first");
    std::fs::create_dir(&first).unwrap();
    std::fs::write(first.join("lan.leases"), LEASES).unwrap();
    let file = scratch.write("file", "no directory").unwrap();
    let mut role = BootRole::new(place(), &payload(&first)).unwrap();
    let stays = |role: &mut BootRole, directory: &Path| {
        role.change(&payload(directory)).unwrap();
        format!("{:?}", role.report())
    };
    let told = stays(&mut role, &file);
    let words = format!(
        "leases stay in {}: cannot keep leases in {}",
        first.display(),
        file.display()
    );
    assert!(told.contains(&words), "{told}");
    // Other changes of the configuration take effect nevertheless.
    let mut other = codec::decode::<BootConfig>(&payload(&file)).unwrap();
    other.lans.get_mut("lan").unwrap().interface = "elsewhere0".to_owned();
    role.change(&codec::encode(&other)).unwrap();
    let told = format!("{:?}", role.report());
    assert!(
        told.contains("elsewhere0") && told.contains(&words),
        "{told}"
    );
    // Another process that has the leases there keeps them.
    let taken = scratch.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    let holder = LeaseJournal::<Ipv4Addr>::open(&taken, "lan").unwrap();
    assert!(stays(&mut role, &taken).contains("another process"));
    drop(holder);
    // The configuration is as before again.
    assert!(!stays(&mut role, &first).contains("leases stay"));
    role.stop();
    assert_eq!(known(&first).0, 77);
    assert_eq!(known(&first).1.len(), 2);
}

#[test]
fn a_directory_by_another_name_keeps_its_leases() {
    let scratch = ScratchDirectory::new().unwrap();
    let first = scratch.path().join("first");
    std::fs::create_dir(&first).unwrap();
    std::fs::write(first.join("lan.leases"), LEASES).unwrap();
    let other = scratch.path().join("other");
    std::os::unix::fs::symlink(&first, &other).unwrap();
    let mut role = BootRole::new(place(), &payload(&first)).unwrap();
    role.change(&payload(&other)).unwrap();
    role.stop();
    assert_eq!(known(&first).0, 77);
    assert_eq!(known(&first).1.len(), 2);
}

#[test]
fn leases_of_ipv6_and_what_was_booted_once_move_too() {
    let scratch = ScratchDirectory::new().unwrap();
    let leaving = LeavingFiles {
        leases: None,
        leases6: Some(b"store 5\nlease 60\nfd00::1 02:00:00:00:00:01\n".to_vec()),
        turns: Some(turns::read(Path::new("/nowhere/turns")).unwrap()),
    };
    let entering = enter(scratch.path(), "lan", &leaving).unwrap();
    let six = entering.leases6.unwrap();
    let one = (
        "fd00::1".parse::<Ipv6Addr>().unwrap(),
        Holder::Client(CLIENT),
    );
    assert_eq!((six.store(), six.longest_s()), (5, 60));
    assert_eq!(six.known().collect::<Vec<_>>(), [one]);
    assert!(entering.leases.is_none());
    assert!(scratch.path().join("lan.turns").exists());
}
