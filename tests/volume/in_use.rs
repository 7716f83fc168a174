//! Tests volumes with two copies while clients use them at either node: commands that would
//! overwrite them are refused, and long ranges go to the owner.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, VolumeSite, other};
use lab::eventually;
use std::fs;

const BLOCK: u64 = 4096;

#[test]
#[ignore = "it takes long: make test-long"]
fn a_volume_with_a_client_at_the_other_node_is_not_overwritten() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-in-use");
    let path = volumes.scratch().join("disk.raw");
    fs::write(&path, [7; 4096]).unwrap();
    let from = path.to_str().unwrap();
    let owner = volumes.in_sync();
    for used in [owner, other(owner)] {
        let free = other(used);
        let mut client = Client::connect(&volumes.socket(used)).unwrap();
        client.write(3, &[3; 4096], true).unwrap();
        let words = format!("volume 'mail' has clients (1 at {used}): stop them first");
        let to = format!("{free}:mail");
        let at = |node| volumes.site.machine(node);
        for (node, command) in [
            (free, vec!["volume", "import", "mail", from, "--yes"]),
            (used, vec!["volume", "import", "mail", from, "--yes"]),
            (used, vec!["copy", from, &to, "--yes"]),
        ] {
            let said = at(node).command(&command);
            said.refused(&[&words, "Nothing was written"]);
        }
        assert_eq!(client.read(3).unwrap(), [3; 4096]);
        drop(client);
        let import = ["volume", "import", "mail", from, "--yes"];
        at(free).command(&import).well();
        let mut client = Client::connect(&volumes.socket(used)).unwrap();
        assert_eq!(client.read(0).unwrap(), [7; 4096]);
        assert_eq!(client.read(3).unwrap(), [0; 4096]);
    }
}

#[test]
fn ranges_longer_than_one_request_are_trimmed_and_zeroed_at_either_node() {
    lab::skip_unless_root!();
    let size = 96 << 20;
    let volumes = VolumeSite::with_size("volume-long-ranges", size);
    let owner = volumes.in_sync();
    for node in [owner, other(owner)] {
        let mut client = Client::connect(&volumes.socket(node)).unwrap();
        for empties in [Client::trim, Client::zero] {
            for block in [0, size / BLOCK - 1] {
                client.write(block, &[5; 4096], false).unwrap();
            }
            empties(&mut client, 0, size as u32).unwrap();
            for block in [0, size / BLOCK - 1] {
                assert_eq!(client.read(block).unwrap(), [0; 4096], "{node}");
            }
        }
    }
    // A copy zeroes the blocks after the end of its source.
    let path = volumes.scratch().join("disk.raw");
    fs::write(&path, [7; 4096]).unwrap();
    let mut client = Client::connect(&volumes.socket(owner)).unwrap();
    client.write(size / BLOCK - 1, &[5; 4096], false).unwrap();
    drop(client);
    let free = || volumes.fact(owner, "clients").as_deref() == Some("0");
    assert!(eventually(SOON, free), "{}", volumes.tell());
    let to = format!("{}:mail", other(owner));
    let copy = ["copy", path.to_str().unwrap(), &to, "--yes"];
    volumes.site.machine(owner).command(&copy).well();
    let mut client = Client::connect(&volumes.socket(owner)).unwrap();
    assert_eq!(client.read(0).unwrap(), [7; 4096]);
    assert_eq!(client.read(size / BLOCK - 1).unwrap(), [0; 4096]);
}

#[test]
fn a_node_whose_clients_may_not_write_says_so_before_it_writes() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-excluded-import");
    let path = volumes.scratch().join("disk.raw");
    fs::write(&path, [7; 4096]).unwrap();
    let from = path.to_str().unwrap();
    let owner = volumes.in_sync();
    let there = other(owner);
    let at = |node| volumes.site.machine(node);
    at(owner)
        .command(&["volume", "admit", "mail", there])
        .well();
    let words = format!("only clients of {there} may write to volume 'mail'");
    let admit = format!("`evenkeel volume admit mail {owner}`");
    let words = [&*words, &admit, "Nothing was written"];
    let to = format!("{owner}:mail");
    let import = ["volume", "import", "mail", from, "--yes"];
    at(owner).command(&import).refused(&words);
    at(there)
        .command(&["copy", from, &to, "--yes"])
        .refused(&words);
    let knows = || volumes.fact(there, "only clients of").is_some();
    assert!(eventually(SOON, knows), "{}", volumes.tell());
    at(there).command(&import).well();
}
