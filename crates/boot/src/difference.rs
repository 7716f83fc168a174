//! Lists the differences between two configurations of the boot role as lines for messages:
//! sections, and the changed images, disks, machines and lease directory of a section.

use crate::config::{BootConfig, LanConfig};
use part::codec;
use std::collections::BTreeMap;
use std::fmt::Display;

/// Maximum number of lines for the images, the disks or the machines of a section. The rest is
/// counted.
const NAMED_MAX: usize = 20;

pub fn difference(before: Option<&[u8]>, now: Option<&[u8]>) -> Vec<String> {
    let read = |bytes: Option<&[u8]>| -> BootConfig {
        bytes
            .and_then(|bytes| codec::decode(bytes).ok())
            .unwrap_or_default()
    };
    let (before, now) = (read(before), read(now));
    let mut lines = Vec::new();
    for (name, lan) in &before.lans {
        match now.lans.get(name) {
            None => lines.push(format!("- boot {name}")),
            Some(new) if new != lan => lines.extend(changed(name, lan, new)),
            Some(_) => {}
        }
    }
    let new = now
        .lans
        .keys()
        .filter(|name| !before.lans.contains_key(*name));
    lines.extend(new.map(|name| format!("+ boot {name}")));
    lines
}

fn changed(name: &str, before: &LanConfig, now: &LanConfig) -> Vec<String> {
    let mut lines = vec![format!("~ boot {name}")];
    if before.leases != now.leases {
        let (from, to) = (before.leases.display(), now.leases.display());
        lines.push(format!("    ~ leases {from} -> {to}"));
    }
    lines.extend(named("image", &before.images, &now.images, |_, key| {
        key.clone()
    }));
    lines.extend(named("disk", &before.disks, &now.disks, |_, key| {
        key.clone()
    }));
    lines.extend(named(
        "machine",
        &before.machines,
        &now.machines,
        |one, mac| format!("{} ({mac})", one.name),
    ));
    if before.six != now.six {
        lines.push("    ~ IPv6".to_owned());
    }
    lines
}

fn named<K: Ord + Display, V: PartialEq>(
    kind: &str,
    before: &BTreeMap<K, V>,
    now: &BTreeMap<K, V>,
    shown: impl Fn(&V, &K) -> String,
) -> Vec<String> {
    let gone = before.iter().filter(|(key, _)| !now.contains_key(key));
    let gone = gone.map(|(key, value)| format!("    - {kind} {}", shown(value, key)));
    let new = now.iter().filter_map(|(key, value)| match before.get(key) {
        None => Some(format!("    + {kind} {}", shown(value, key))),
        Some(old) if old != value => Some(format!("    ~ {kind} {}", shown(value, key))),
        Some(_) => None,
    });
    let mut lines: Vec<String> = gone.chain(new).collect();
    if lines.len() > NAMED_MAX {
        let more = lines.len() - NAMED_MAX;
        lines.truncate(NAMED_MAX);
        lines.push(format!("    … and {more} more of `{kind}`"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_directory_of_leases_is_a_line() {
        let payload = |leases: &str| {
            let lan = LanConfig {
                leases: leases.into(),
                ..LanConfig::plain("br0")
            };
            codec::encode(&BootConfig {
                lans: [("lan".to_owned(), lan)].into(),
                ..BootConfig::default()
            })
        };
        let lines = difference(Some(&payload("/one")), Some(&payload("/two")));
        assert_eq!(lines, ["~ boot lan", "    ~ leases /one -> /two"]);
    }
}
