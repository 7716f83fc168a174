//! Implements `evenkeel volume snapshot`, `restore` and `clone`. The command takes a snapshot with
//! the privileges of the caller: the file system or the thin pool makes it atomic. A restore writes
//! through the volume's socket, so that every copy of the volume receives it.

use super::overwrite::{self, Overwrite};
use super::transfer::{self, CopyEndpoints, Stopped};
use super::{connects, find, load_volume_report, section};
use crate::command;
use crate::config::{Spec, size_words};
use crate::device::{DeviceError, Snapshot, SnapshotError, SnapshotReason, Stamp, snapshot};
use crate::overwrite::OverwriteKind;
use crate::report::INCOMPLETE;
use ::command::{print, refuse, word};
use clap::ArgMatches;
use nix::sys::signalfd::SignalFd;
use part::status::{CompleteCopies, VolumeReport};
use std::io::{Write, stderr};
use std::process::ExitCode;
use std::time::Duration;

/// Maximum number of retries after a pause, if a snapshot of the current second exists already. All
/// pauses together last more than a second.
const TRIES_MAX: u32 = 15;
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn take(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (spec, _) = section(matches, &name)?;
    if let Some(stamp) = matches.get_one::<String>("remove") {
        let found = one(&spec, &name, stamp)?;
        found.remove().map_err(|error| error.to_string())?;
        return Ok(format!("removed snapshot {stamp} of volume {name}\n"));
    }
    let taken = manual(matches, &spec, &name)?;
    // Scripts read the name from standard output, so the rest goes to standard error.
    let _ = writeln!(
        stderr(),
        "snapshot {} of volume {name}: {}",
        taken.stamp,
        taken.path.display()
    );
    Ok(format!("{}\n", taken.stamp))
}

fn manual(matches: &ArgMatches, spec: &Spec, name: &str) -> Result<Snapshot, String> {
    is_complete(matches, spec, name)?;
    now(spec, name, SnapshotReason::Manual).map_err(|error| error.to_string())
}

/// Refuses a volume that is marked as incomplete, or whose local copy is incomplete. Without a
/// running instance, neither can be checked.
pub fn is_complete(matches: &ArgMatches, spec: &Spec, name: &str) -> Result<(), String> {
    let (_, instance) = section(matches, name)?;
    if instance.is_none() {
        return Ok(());
    }
    let (_, report) = load_volume_report(matches)?;
    let subject = find(&report, name)?;
    let volume = VolumeReport::of(subject);
    if volume.overwriting.is_some() {
        let words = subject.words(INCOMPLETE).unwrap_or_default();
        return Err(format!(
            "volume '{name}' is incomplete, so it has no snapshot: {words}. `evenkeel volume show {name}` says what to do"
        ));
    }
    if let Some(pair) = &spec.pair {
        match volume.complete {
            CompleteCopies::Both | CompleteCopies::Local => {}
            CompleteCopies::Other | CompleteCopies::Neither => {
                let other = &pair.other;
                return Err(format!(
                    "the copy of volume '{name}' on this node is not complete, so a snapshot of it would lack writes. \
                     Take it on {other}"
                ));
            }
            CompleteCopies::Unknown => {
                return Err(format!(
                    "it is not known yet whether the copy of volume '{name}' on this node is complete{}. Try again when \
                     `evenkeel volume show {name}` says which copies are complete",
                    words_after_colon(&subject.why)
                ));
            }
        }
    }
    Ok(())
}

fn words_after_colon(why: &str) -> String {
    match why {
        "" => String::new(),
        why => format!(": {why}"),
    }
}

/// Takes a snapshot. If a snapshot of the current second exists already, waits for the next second.
pub(super) fn now(
    spec: &Spec,
    name: &str,
    kind: SnapshotReason,
) -> Result<Snapshot, SnapshotError> {
    let mut tries = 0;
    loop {
        match snapshot::take(&spec.backing, name, Stamp::now(), kind) {
            Err(SnapshotError::Device(DeviceError::Exists(_))) if tries < TRIES_MAX => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn one(spec: &Spec, name: &str, stamp: &str) -> Result<Snapshot, String> {
    snapshot::find(&spec.backing, name, stamp).map_err(|error| error.to_string())
}

pub(super) fn lines(matches: &ArgMatches, name: &str) -> String {
    // Omits the snapshots for a user who may not read them.
    let all = section(matches, name).and_then(|(spec, _)| {
        snapshot::list(&spec.backing, name).map_err(|error| error.to_string())
    });
    let line = |one: &Snapshot| {
        let words = one.kind.words();
        let comma = if words.is_empty() { "" } else { ", " };
        format!(
            "snapshot: {}, {}{comma}{words}\n",
            one.name(),
            size_words(one.size_bytes)
        )
    };
    all.unwrap_or_default().iter().map(line).collect()
}

/// Restores a volume from a snapshot, after taking a snapshot of its current state. No snapshot is
/// taken of an incomplete volume.
pub(super) fn restore(matches: &ArgMatches) -> ExitCode {
    let (name, stamp) = (word(matches, "NAME"), word(matches, "SNAPSHOT"));
    match prepare(matches, &name, &stamp) {
        Err(error) => error.exit(". Nothing was written"),
        Ok(Restore {
            ends,
            signals,
            before,
            mark,
        }) => {
            let copied = transfer::copy(
                &format!("restoring {name}"),
                ends.source,
                ends.target,
                signals,
            );
            let copied = copied.and_then(|_| Ok(mark.end(matches)?));
            match (copied, before) {
                (Ok(()), before) => {
                    transfer::warn_of_others(matches, &name, &ends.users);
                    let before = before.map_or_else(
                        || "it was incomplete before".to_owned(),
                        |before| format!("the state before is snapshot {before}"),
                    );
                    print(&format!("volume {name} is restored to {stamp}; {before}\n"))
                }
                (Err(error), before) => {
                    let before = before.map_or(String::new(), |before| {
                        format!(", or {before}, the state before")
                    });
                    error.exit(&format!(
                        ". Volume {name} is refused as incomplete until you restore it again{before}; or `evenkeel volume \
                         accept {name} --yes` uses it as it is"
                    ))
                }
            }
        }
    }
}

struct Restore {
    ends: CopyEndpoints,
    signals: SignalFd,
    before: Option<Stamp>,
    mark: Overwrite,
}

fn prepare(matches: &ArgMatches, name: &str, stamp: &str) -> Result<Restore, Stopped> {
    let (spec, _) = section(matches, name)?;
    let found = one(&spec, name, stamp)?;
    if !matches.get_flag("yes") {
        return Err(format!(
            "`--yes` replaces all data of volume {name} by that of {stamp}, after a snapshot of what it is now"
        )
        .into());
    }
    let ends = transfer::ends(matches, name, &found)?;
    let signals = transfer::signals()?;
    let before = match overwrite::incomplete(matches, name)? {
        None => Some(manual(matches, &spec, name)?.stamp),
        Some(_) => None,
    };
    let mark = Overwrite::begin(matches, name, OverwriteKind::VolumeRestore)?;
    Ok(Restore {
        ends,
        signals,
        before,
        mark,
    })
}

pub(super) fn clone(matches: &ArgMatches) -> ExitCode {
    match cloned(matches) {
        Ok(text) => print(&text),
        Err(words) => refuse(words),
    }
}

fn cloned(matches: &ArgMatches) -> Result<String, String> {
    let [name, stamp, new] = ["NAME", "SNAPSHOT", "NEW"].map(|one| word(matches, one));
    let (spec, _) = section(matches, &name)?;
    let (new_spec, instance) = section(matches, &new)?;
    let (found, made) = match stamp.as_str() {
        "now" => (manual(matches, &spec, &name)?, true),
        stamp => (one(&spec, &name, stamp)?, false),
    };
    let created = command::create_from(&new, &new_spec, &found);
    if made && let Err(error) = found.remove() {
        let _ = writeln!(stderr(), "warning: {error}");
    }
    let id = created.map_err(|error| error.to_string())?;
    let size = size_words(new_spec.size_bytes);
    let of = found.stamp;
    let text = format!("created volume {new} of {name} at {of}: {size} (identity {id})\n");
    Ok(text + &instance.map(|_| connects(&new)).unwrap_or_default())
}
