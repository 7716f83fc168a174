//! Implements `evenkeel guest clone`, which creates a guest from another one. The command prints
//! the sections of the new guest until the running configuration contains them; then it copies the
//! disks to the volumes of this node.

use super::disks::{self, Disk, Moment};
use super::image::place::can_be_named;
use super::{find, load_guest_report, order, snapshot, unknown};
use ::command::word;
use clap::ArgMatches;
use guest::config::Guest;
use guest::role::report::{NODE, THIS_NODE};
use guest::section::{copied, word as written};
use part::report::StatusReport;
use part::status::{GuestReport, GuestState};
use std::fs::File;
use std::io::{Read, Write, stderr};
use volume::cli::overwrite::Overwrite;
use volume::cli::{is_usable, served, transfer};
use volume::command::{self, CommandError};
use volume::config::{backing_words, size_words};
use volume::device::{Backing, DeviceError, Snapshot, SnapshotError, snapshot as snapshots};
use volume::overwrite::OverwriteKind;
use volume::transfer::TransferSource;

const SAME_INSIDE: &str = "Inside, the new guest equals the old one: host name, fixed IP addresses, SSH \
                           host keys and /etc/machine-id. With cloud-init in the guest, a separate \
                           `user-data` sets the host name and creates new SSH host keys at the first start, \
                           because the instance-id differs. Otherwise change them before both guests run: \
                           delete /etc/ssh/ssh_host_* (ssh-keygen -A creates new ones) and empty \
                           /etc/machine-id";

const PIECE_BYTES: usize = 1 << 20;

fn say(words: &str) {
    // Writes to standard error, because standard output has only the sections or the result.
    let _ = writeln!(stderr(), "{words}");
}

pub(super) fn main(matches: &ArgMatches) -> Result<String, String> {
    let [name, new] = ["NAME", "NEW"].map(|one| word(matches, one));
    if name == new {
        return Err(format!("the new guest needs a name other than {name}"));
    }
    can_be_named(&new)?;
    let (instance, report) = load_guest_report(matches)?;
    let from = disks::known(&instance, &name)?.served;
    let from = from.ok_or_else(|| unknown(&name))?;
    let old = disks::of(matches, &from)?;
    let Some(to) = disks::known(&instance, &new)?.served else {
        say(&format!(
            "add these sections to your files, apply or reload them, and run the same command again: it fills the volumes. {SAME_INSIDE}"
        ));
        return Ok(sections(&report, &name, &from, &new, &old));
    };
    if GuestReport::of(find(&report, &new)?).state == GuestState::Template {
        return Err(format!(
            "guest {new} is a template: the new guest cannot be one"
        ));
    }
    let targets = disks::of(matches, &to)?;
    fits(&old, &targets, &name, &new)?;
    // Keeps the new guest down, which must not start with incomplete disks.
    order::keep_down(matches, &new)?;
    let how = fill(matches, &name, &old, &targets)?;
    say(SAME_INSIDE);
    Ok(format!(
        "guest {new} is a clone of {name}: {how}. `evenkeel guest start {new}` starts it\n"
    ))
}

fn fits(old: &[Disk], new: &[Disk], name: &str, of: &str) -> Result<(), String> {
    if old.is_empty() {
        return Err(format!(
            "guest {name} has no writable disk: there is nothing to clone"
        ));
    }
    if old.len() != new.len() {
        return Err(format!(
            "guest {name} has {} writable disks, and the section of {of} has {}: both need the same number, \
             in the same order",
            old.len(),
            new.len()
        ));
    }
    for (old, new) in old.iter().zip(new) {
        if new.spec.size_bytes < old.spec.size_bytes {
            return Err(format!(
                "volume {} has {}, and {} of {name} has {}: it must not be smaller",
                new.volume,
                size_words(new.spec.size_bytes),
                old.volume,
                size_words(old.spec.size_bytes)
            ));
        }
    }
    Ok(())
}

fn volume_of(volume: &str, name: &str, new: &str) -> String {
    match volume.strip_prefix(name) {
        Some(rest) if rest.is_empty() || rest.starts_with(['-', '_', '.']) => {
            format!("{new}{rest}")
        }
        _ => format!("{new}-{volume}"),
    }
}

fn sections(report: &StatusReport, name: &str, from: &Guest, new: &str, disks: &[Disk]) -> String {
    let here = report
        .of_kind(NODE)
        .find(|node| node.value("here") == Some(1));
    let here = here
        .map(|node| &*node.name)
        .filter(|node| *node != THIS_NODE);
    let mut text = copied(new, from, |volume| volume_of(volume, name, new));
    for disk in disks {
        let volume = volume_of(&disk.volume, name, new);
        let spec = &disk.spec;
        text += &format!(
            "\nvolume {}\n    size {}\n",
            written(&volume),
            size_words(spec.size_bytes)
        );
        text += &match (&spec.pair, here) {
            (Some(pair), _) => format!("    on {} {}\n", written(&pair.me), written(&pair.other)),
            (None, Some(here)) => format!("    on {}\n", written(here)),
            (None, None) => String::new(),
        };
        text += &match &spec.backing {
            Backing::Device(_) => "    backing device /dev/…    # a device of its own\n".to_owned(),
            other => format!("    backing {}\n", backing_words(other)),
        };
    }
    text
}

/// Source from which the clone's disks are copied.
enum From {
    /// Snapshots of all disks, taken at one moment. The flag is true if they were taken for this
    /// clone.
    Moment(Moment, bool),
    /// The volumes themselves, to which nothing can write during the copy.
    Volumes,
}

fn fill(matches: &ArgMatches, name: &str, old: &[Disk], new: &[Disk]) -> Result<String, String> {
    have_both_copies(matches, new)?;
    let from = moment(matches, name, old)?;
    let filled = old.iter().zip(new).map(|(old, new)| {
        let snapshot = match &from {
            From::Moment(moment, _) => {
                let mut all = moment.snapshots.iter();
                all.find(|(volume, _)| *volume == old.volume)
                    .map(|(_, one)| one)
            }
            From::Volumes => None,
        };
        one(matches, old, snapshot, new)
    });
    let filled: Result<Vec<String>, String> = filled.collect();
    if let From::Moment(moment, true) = from {
        for (_, one) in moment.snapshots {
            if let Err(error) = one.remove() {
                say(&format!("warning: {error}"));
            }
        }
    }
    Ok(filled?.join(", "))
}

/// Creates this node's copy of each new volume with two copies. Returns an error that lists the
/// volumes which no role serves yet, so that none is filled before all are served.
fn have_both_copies(matches: &ArgMatches, new: &[Disk]) -> Result<(), String> {
    let mut missing = Vec::new();
    let mut on = "";
    for disk in new {
        let Some(pair) = &disk.spec.pair else {
            continue;
        };
        create_empty(disk)?;
        if !is_usable(matches, &disk.volume) {
            on = &pair.other;
            missing.push(format!("`evenkeel volume create {}`", disk.volume));
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "the copies of this node exist, and those of {on} are not served here: run {} on {on}, then \
             this command again; if it reports that they exist, run this command on {on}, which serves them",
            missing.join(" and ")
        ))
    }
}

/// Creates a volume; returns false if it existed.
fn create_empty(disk: &Disk) -> Result<bool, String> {
    let name = &disk.volume;
    match command::create(name, &disk.spec, false, &mut |_| {}) {
        Ok(_) => Ok(true),
        Err(CommandError::Device(DeviceError::Exists(_))) => Ok(false),
        Err(error) => Err(format!("volume {name}: {error}")),
    }
}

/// Returns true if the new volume has two copies, and the file of this node's copy contains only
/// zeroes. The volume itself does not record which blocks were ever written.
fn reads_as_zeroes(disk: &Disk) -> bool {
    let (Backing::File(directory), Some(_)) = (&disk.spec.backing, &disk.spec.pair) else {
        return false;
    };
    let Ok(mut file) = File::open(directory.join(format!("{}.volume", disk.volume))) else {
        return false;
    };
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return true,
            Ok(count) if piece.iter().take(count).all(|byte| *byte == 0) => {}
            _ => return false,
        }
    }
}

fn moment(matches: &ArgMatches, name: &str, old: &[Disk]) -> Result<From, String> {
    if let Some(wanted) = matches.get_one::<String>("snapshot") {
        let (title, moment) = disks::find(old, name, wanted)?;
        return if moment.lacks.is_empty() {
            Ok(From::Moment(moment, false))
        } else {
            Err(format!(
                "snapshot {} is incomplete: it lacks {}",
                disks::words(&title),
                moment.lacks.join(", ")
            ))
        };
    }
    let (instance, report) = load_guest_report(matches)?;
    let subject = find(&report, name)?;
    let is_template = GuestReport::of(subject).state == GuestState::Template;
    let cannot = old
        .iter()
        .find_map(|disk| snapshots::can(&disk.spec.backing, &disk.volume).err());
    match cannot {
        // Uses the volumes of a template without snapshots, because they never change.
        Some(_) if is_template => Ok(From::Volumes),
        Some(_) if subject.value("process") == Some(0) => {
            order::keep_down(matches, name)?;
            Ok(From::Volumes)
        }
        Some(error) => Err(format!(
            "guest {name} runs, and its disks cannot have snapshots: {error}. Stop it first"
        )),
        None => {
            let (stamp, stood) = snapshot::of_all(matches, &instance, name, "", is_template, old)?;
            if !stood.is_down {
                say(&format!("snapshot of {name}: {}", snapshot::how(&stood)));
            }
            if let Some(words) = snapshot::not_over(name, stamp, &stood) {
                say(&format!("warning: {words}"));
            }
            let (_, moment) = disks::find(old, name, &stamp.to_string())?;
            Ok(From::Moment(moment, true))
        }
    }
}

fn one(
    matches: &ArgMatches,
    old: &Disk,
    snapshot: Option<&Snapshot>,
    new: &Disk,
) -> Result<String, String> {
    let name = &new.volume;
    // Clones the snapshot only into a volume with one copy: both copies of another one are empty at
    // first, and the data is copied through the volume.
    if let Some(snapshot) = snapshot.filter(|_| new.spec.pair.is_none()) {
        match command::create_from(name, &new.spec, snapshot) {
            Ok(_) => {
                // Ignores an error: the state is shown until a role serves the volume.
                let _ = served(name);
                return Ok(format!(
                    "volume {name} shares its blocks with {}",
                    old.volume
                ));
            }
            // Falls through to a copy of the data: the storage cannot clone this snapshot.
            Err(CommandError::Snapshot(
                SnapshotError::Elsewhere(_)
                | SnapshotError::NotAFile(_)
                | SnapshotError::NoClones(_),
            )) => {}
            Err(CommandError::Device(DeviceError::Exists(_))) => {}
            Err(error) => return Err(format!("volume {name}: {error}")),
        }
    }
    let may_hold = create_empty(new)? || matches.get_flag("yes") || reads_as_zeroes(new);
    served(name).map_err(|_| {
        format!("volume {name} is not served: `evenkeel volume show {name}` says why")
    })?;
    copy(matches, old, snapshot, name, may_hold).map_err(|error| format!("volume {name}: {error}"))
}

fn copy(
    matches: &ArgMatches,
    old: &Disk,
    snapshot: Option<&Snapshot>,
    name: &str,
    may_hold: bool,
) -> Result<String, transfer::Stopped> {
    let source = match snapshot {
        Some(snapshot) => TransferSource::snapshot(snapshot)?,
        None => transfer::of_volume(matches, &old.volume, "clone")?,
    };
    let ends = transfer::ends_of_new(matches, name, source, &old.volume, may_hold)?;
    let signals = transfer::signals()?;
    let mark = Overwrite::begin(matches, name, OverwriteKind::GuestClone)?;
    let what = format!("copying {} to {name}", old.volume);
    let copied = transfer::copy(&what, ends.source, ends.target, signals);
    let copied = copied.and_then(|summary| {
        mark.end(matches)?;
        Ok(summary)
    });
    let summary = copied.map_err(|error| {
        transfer::Stopped::from(format!(
            "{error}. Its guest does not start in this state: clone again with `--yes`"
        ))
    })?;
    transfer::warn_of_others(matches, name, &ends.users);
    Ok(format!(
        "{} copied to volume {name} ({summary})",
        old.volume
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_of_a_clone_are_named_after_it() {
        for (volume, name) in [
            ("mail", "web"),
            ("mail-data", "web-data"),
            ("mailbox", "web-mailbox"),
            ("data", "web-data"),
        ] {
            assert_eq!(volume_of(volume, "mail", "web"), name);
        }
    }
}
