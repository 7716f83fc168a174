//! Describes the differences between two configurations of farms, one line for each.

use crate::config::{Farm, Farms, Portal};
use part::codec;
use std::collections::{BTreeMap, BTreeSet};

pub fn difference(before: Option<&[u8]>, now: Option<&[u8]>) -> Vec<String> {
    let read = |bytes: Option<&[u8]>| -> Farms {
        bytes
            .and_then(|bytes| codec::decode(bytes).ok())
            .unwrap_or_default()
    };
    let (before, now) = (read(before), read(now));
    let mut lines = Vec::new();
    for (name, farm) in &before.farms {
        match now.farms.get(name) {
            None => lines.push(format!("- farm {name}")),
            Some(new) if new != farm => lines.extend(changed(name, farm, new)),
            Some(_) => {}
        }
    }
    let new = now
        .farms
        .keys()
        .filter(|name| !before.farms.contains_key(*name));
    lines.extend(new.map(|name| format!("+ farm {name}")));
    lines
}

fn changed(name: &str, before: &Farm, now: &Farm) -> Vec<String> {
    let mut lines = vec![format!("~ farm {name}")];
    let gone = before
        .hosts
        .keys()
        .filter(|host| !now.hosts.contains_key(*host));
    lines.extend(gone.map(|host| format!("    - host {host}")));
    for (host, new) in &now.hosts {
        match before.hosts.get(host) {
            None => lines.push(format!("    + host {host}")),
            Some(old) if old != new => lines.push(format!("    ~ host {host}")),
            Some(_) => {}
        }
    }
    match (&before.portal, &now.portal) {
        (None, Some(_)) => lines.push("    + portal".to_owned()),
        (Some(_), None) => lines.push("    - portal".to_owned()),
        (Some(old), Some(new)) if old != new => {
            lines.push("    ~ portal".to_owned());
            lines.extend(moved(old, new));
        }
        _ => {}
    }
    if before.agents != now.agents {
        lines.push("    ~ agents".to_owned());
    }
    if before.users != now.users {
        lines.push("    ~ users".to_owned());
    }
    lines
}

fn moved(before: &Portal, now: &Portal) -> Vec<String> {
    let hosts = |portal: &Portal| -> BTreeMap<String, BTreeSet<String>> {
        let desktop = portal.desktop.iter();
        let desktop = desktop.map(|one| ("desktop".to_owned(), one.hosts.clone()));
        let apps = portal.apps.iter();
        let apps = apps.map(|one| (format!("app {}", one.name), one.hosts.clone()));
        desktop.chain(apps).collect()
    };
    let shown = |hosts: &BTreeSet<String>| {
        if hosts.is_empty() {
            "all hosts".to_owned()
        } else {
            hosts
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(" ")
        }
    };
    let (before, now) = (hosts(before), hosts(now));
    let both = before
        .iter()
        .filter_map(|(name, old)| Some((name, old, now.get(name)?)));
    let moved = both.filter(|(_, old, new)| old != new);
    moved
        .map(|(name, old, new)| format!("        ~ {name}: {} -> {}", shown(old), shown(new)))
        .collect()
}
