//! Volumes with two copies while clients use them at either node: what overwrites them is refused.

use crate::volume_site::{Client, VolumeSite, other};
use std::fs;

#[test]
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
        let file = volumes.scratch().join(format!("{used}.raw"));
        let exported = at(free).command(&["volume", "export", "mail", file.to_str().unwrap()]);
        let warning = format!("warning: volume mail has clients (1 at {used}): the export is not");
        let said = exported.well().text();
        assert!(said.contains(&warning), "{said}");
        assert_eq!(client.read(3).unwrap(), [3; 4096]);
        drop(client);
        let said = at(free).command(&["volume", "import", "mail", from, "--yes"]);
        let said = said.well().text();
        assert!(!said.contains("warning"), "{said}");
        let mut client = Client::connect(&volumes.socket(used)).unwrap();
        assert_eq!(client.read(0).unwrap(), [7; 4096]);
        assert_eq!(client.read(3).unwrap(), [0; 4096]);
    }
}
