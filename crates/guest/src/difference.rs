//! Describes the differences between the guests of two configuration versions as text.

use crate::config::{
    Boot, Check, Console, Disk, Firmware, Guest, Guests, Migrate, NodeSettings, PlacementRules,
    Probe,
};
use image::size;
use language::value::written_time;
use std::collections::BTreeSet;
use std::time::Duration;

const NEXT_START: &str = ", takes effect at its next start";
const SHUTS_DOWN: &str = ", shuts down where it runs, within";

pub(crate) fn difference(before: Option<&[u8]>, now: Option<&[u8]>) -> Vec<String> {
    let read = |bytes: Option<&[u8]>| part::codec::decode::<Guests>(bytes?).ok();
    let before = read(before).unwrap_or_default();
    let now = read(now).unwrap_or_default();
    let gone = before.guests.iter();
    let gone = gone.filter(|(name, _)| !now.guests.contains_key(*name));
    let gone = gone.map(|(name, guest)| {
        let within = written_time(Duration::from_millis(guest.stop_ms));
        format!("- guest {name}{SHUTS_DOWN} {within}")
    });
    let mut lines: Vec<String> = gone.collect();
    for (name, guest) in &now.guests {
        match before.guests.get(name) {
            None => lines.push(format!("+ guest {name}")),
            Some(other) => {
                let changes = machine(other, guest).into_iter();
                let changes = changes.map(|change| change + NEXT_START);
                let changes = changes.chain(operation(other, guest));
                lines.extend(changes.map(|change| format!("~ guest {name}: {change}")));
            }
        }
    }
    lines.extend(
        now.guests
            .iter()
            .flat_map(|(name, guest)| waits(&before, name, guest)),
    );
    let templates = [(&before, &now, '-'), (&now, &before, '+')];
    for (one, other, sign) in templates {
        let only = one.templates.keys();
        let only = only.filter(|name| !other.templates.contains_key(*name));
        lines.extend(only.map(|name| format!("{sign} template {name}")));
    }
    let names: BTreeSet<&String> = before.nodes.keys().chain(now.nodes.keys()).collect();
    for name in names {
        let [before, now] = [&before, &now].map(|all| all.nodes.get(name));
        let changes = node(
            before.unwrap_or(&NodeSettings::default()),
            now.unwrap_or(&NodeSettings::default()),
        );
        lines.extend(
            changes
                .iter()
                .map(|change| format!("~ node {name}: {change}")),
        );
    }
    lines
}

/// Returns the guests that lose a disk to this guest, which starts only when they have closed the
/// disk.
fn waits(before: &Guests, name: &str, guest: &Guest) -> Vec<String> {
    let has = |guest: &Guest, volume: &str| {
        let mut disks = guest.disks.iter();
        disks.any(|disk| disk.volume == volume && !disk.read_only)
    };
    let had_it = before.guests.get(name);
    let new = guest
        .disks
        .iter()
        .filter(|disk| !disk.read_only && !had_it.is_some_and(|guest| has(guest, &disk.volume)));
    let of = |disk: &Disk| {
        let mut others = before.guests.iter();
        let (other, _) =
            others.find(|(other, guest)| *other != name && has(guest, &disk.volume))?;
        Some(format!(
            "~ guest {name}: waits until guest {other} has shut down, if that one runs: it has volume {} open until then",
            disk.volume
        ))
    };
    new.filter_map(of).collect()
}

fn change(what: &str, from: &str, to: &str) -> Option<String> {
    (from != to).then(|| format!("{what} {from} to {to}"))
}

/// Joins words, or says that there are none.
fn joined(words: impl IntoIterator<Item = String>) -> String {
    let words: Vec<String> = words.into_iter().collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(" ")
    }
}

/// Returns the changes that take effect at the next start of the guest.
fn machine(before: &Guest, now: &Guest) -> Vec<String> {
    let both = [before, now];
    let [memory, memory_now] = both.map(|guest| size::words(guest.memory_bytes));
    let [cpus, cpus_now] = both.map(|guest| guest.cpus.to_string());
    let [disks, disks_now] = both.map(|guest| joined(guest.disks.iter().map(disk_words)));
    let [boot, boot_now] = both.map(|guest| boot_word(&guest.boot));
    let [firmware, firmware_now] = both.map(|guest| firmware_word(guest.firmware));
    let [console, console_now] = both.map(|guest| console_word(guest.console));
    let is_other = |word: &str, same: bool| (!same).then(|| format!("{word} changed"));
    let all = [
        change("memory", &memory, &memory_now),
        change("cpus", &cpus, &cpus_now),
        if disks == disks_now {
            is_other("disks", before.disks == now.disks)
        } else {
            change("disks", &disks, &disks_now)
        },
        is_other("network cards", before.nics == now.nics),
        if boot == boot_now {
            is_other("boot", before.boot == now.boot)
        } else {
            change("boot", boot, boot_now)
        },
        change("firmware", firmware, firmware_now),
        change("console", console, console_now),
        is_other("user-data", before.user_data == now.user_data),
    ];
    all.into_iter().flatten().collect()
}

/// Returns the changes that take effect at once.
fn operation(before: &Guest, now: &Guest) -> Vec<String> {
    let both = [before, now];
    let [prefer, prefer_now] = both.map(|guest| joined(guest.prefer.iter().cloned()));
    let [check, check_now] =
        both.map(|guest| guest.check.as_ref().map_or("none".into(), check_words));
    let [migrate, migrate_now] = both.map(|guest| migrate_word(guest.migrate));
    let [stop, stop_now] = both.map(|guest| written_time(Duration::from_millis(guest.stop_ms)));
    let all = [
        change("prefer", &prefer, &prefer_now),
        if check == check_now {
            (before.check != now.check).then(|| "check changed".to_owned())
        } else {
            change("check", &check, &check_now)
        },
        change("migrate", migrate, migrate_now),
        change("stop-timeout", &stop, &stop_now),
    ];
    let all = all.into_iter().flatten();
    all.chain(order(&before.order, &now.order)).collect()
}

fn order(before: &PlacementRules, now: &PlacementRules) -> Vec<String> {
    let both = [before, now];
    let names = |names: &BTreeSet<String>| joined(names.iter().cloned());
    let [after, after_now] = both.map(|order| names(&order.after));
    let [beside, beside_now] = both.map(|order| names(&order.beside));
    let [apart, apart_now] = both.map(|order| names(&order.apart));
    let [priority, priority_now] = both.map(|order| order.priority.to_string());
    let [back, back_now] = both.map(|order| if order.fails_back { "yes" } else { "no" });
    let all = [
        change("start-order after", &after, &after_now),
        change("priority", &priority, &priority_now),
        change("beside", &beside, &beside_now),
        change("apart", &apart, &apart_now),
        change("fail-back", back, back_now),
    ];
    all.into_iter().flatten().collect()
}

fn node(before: &NodeSettings, now: &NodeSettings) -> Vec<String> {
    let room = |node: &NodeSettings| {
        let room = node.room.unwrap_or_default();
        let memory = room
            .memory_bytes
            .map(|bytes| format!("memory {}", size::words(bytes)));
        let cpus = room.cpus.map(|cpus| format!("cpus {cpus}"));
        joined(memory.into_iter().chain(cpus))
    };
    let is_fenced = before.fences == now.fences && before.watchdog == now.watchdog;
    let fencing = (!is_fenced).then(|| "fencing changed".to_owned());
    let room = change("room", &room(before), &room(now));
    fencing.into_iter().chain(room).collect()
}

fn disk_words(disk: &Disk) -> String {
    if disk.read_only {
        format!("{} (ro)", disk.volume)
    } else {
        disk.volume.clone()
    }
}

fn boot_word(boot: &Boot) -> &'static str {
    match boot {
        Boot::Disk => "disk",
        Boot::Network => "network",
        Boot::Iso(_) => "iso",
        Boot::Kernel { .. } => "kernel",
    }
}

fn firmware_word(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Bios => "bios",
        Firmware::Uefi => "uefi",
    }
}

fn console_word(console: Console) -> &'static str {
    match console {
        Console::Vnc => "vnc",
        Console::Spice => "spice",
        Console::Serial => "serial",
    }
}

fn migrate_word(migrate: Migrate) -> &'static str {
    match migrate {
        Migrate::Live => "live",
        Migrate::Cold => "cold",
        Migrate::Never => "never",
    }
}

fn check_words(check: &Check) -> String {
    match &check.probe {
        Probe::Tcp { at, port } => format!("tcp {port} at {at}"),
        Probe::Ping(at) => format!("ping at {at}"),
        Probe::Agent => "agent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Room;
    use std::collections::BTreeMap;

    fn guest(memory_bytes: u64) -> Guest {
        Guest {
            prefer: vec!["alpha".to_owned(), "beta".to_owned()],
            ..Guest::plain(memory_bytes)
        }
    }

    fn payload(guests: &[(&str, Guest)], room: Option<Room>) -> Vec<u8> {
        let guests = guests.iter().cloned();
        let guests = guests.map(|(name, guest)| (name.to_owned(), guest));
        let node = NodeSettings {
            room,
            ..NodeSettings::default()
        };
        part::codec::encode(&Guests {
            me: "alpha".to_owned(),
            nodes: BTreeMap::from([("alpha".to_owned(), node)]),
            guests: guests.collect(),
            ..Guests::default()
        })
    }

    #[test]
    fn differences_name_changes_and_when_they_apply() {
        let before = payload(&[("a", guest(2 << 30)), ("b", guest(2 << 30))], None);
        let mut other = guest(4 << 30);
        other.disks = vec![Disk {
            external: None,
            volume: "data".to_owned(),
            read_only: true,
            bus: Default::default(),
        }];
        other.boot = Boot::Network;
        other.user_data = Some("x".to_owned());
        other.prefer.reverse();
        other.check = Some(Check {
            probe: Probe::Agent,
            inter_ms: 1,
            timeout_ms: 1,
            fall: 1,
            rise: 1,
            grace_ms: 0,
            restarts: false,
        });
        other.order.priority = 5;
        other.stop_ms = 60_000;
        let room = Room {
            memory_bytes: Some(8 << 30),
            cpus: None,
        };
        let now = payload(&[("a", other), ("c", guest(1 << 30))], Some(room));
        assert_eq!(
            difference(Some(&before), Some(&now)),
            [
                "- guest b, shuts down where it runs, within 2m",
                "~ guest a: memory 2g to 4g, takes effect at its next start",
                "~ guest a: disks none to data (ro), takes effect at its next start",
                "~ guest a: boot disk to network, takes effect at its next start",
                "~ guest a: user-data changed, takes effect at its next start",
                "~ guest a: prefer alpha beta to beta alpha",
                "~ guest a: check none to agent",
                "~ guest a: stop-timeout 2m to 1m",
                "~ guest a: priority 0 to 5",
                "+ guest c",
                "~ node alpha: room none to memory 8g",
            ]
        );
        assert_eq!(difference(Some(&now), Some(&now)), [""; 0]);
        assert_eq!(difference(None, Some(&before))[..1], ["+ guest a"]);
    }
}
