//! Implements `evenkeel volume resync`, which orders that the other node's copy is compared
//! completely and receives the differences. The command can also discard the copy of this node in
//! favour of the other one, if the other node refuses this copy.

use super::order::{not_owner, tell};
use super::progress::ProgressDisplay;
use super::snapshot::now;
use super::{find, load_volume_report, section};
use crate::config::{Spec, size_words};
use crate::device::{Backing, Snapshot, SnapshotError, SnapshotReason, Stamp};
use crate::message::VolumeOrder;
use crate::report::{CONNECTED_NUMBER, DIRTY, MIRRORED, OWNER_HERE, RESYNCS, SIZE, WRITTEN_HERE};
use crate::transfer::Progress;
use ::command::options::flag;
use ::command::word;
use clap::{Arg, ArgMatches, Command};
use part::report::Subject;
use part::status::{CopyNodes, VolumeReport, VolumeServiceState};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, UNIX_EPOCH};
use supervisor::directory::Instance;

const LOOK_EVERY: Duration = Duration::from_millis(200);
const EFFECT: Duration = Duration::from_secs(5);
const AWAY_MAX: Duration = Duration::from_secs(30);
const DISCARD_MAX: Duration = Duration::from_secs(10);

pub fn command() -> Command {
    Command::new("resync")
        .about("Compare the whole other copy, or discard a copy that has diverged")
        .long_about(
            "Takes the other copy of a volume out of sync, compares all of it by checksums, and sends it \
             what differs. Run it on the owner, whose copy is the valid one: after a disk was repaired or \
             replaced, or if you doubt the other copy. Clients continue, with priority; until the end of \
             the resync only the owner has all data. It shows the progress; ^C ends the command, not the \
             resync. A resync after a connection was lost begins by itself and needs no command.\n\nWith \
             `--discard-mine`, on the node whose copy is refused (state `refused`, after copies have \
             diverged): discards this copy in favour of that of the other node. Without `--yes` it shows \
             what would be lost. With it, it takes a snapshot of this copy where the backing can (a file on \
             XFS or btrfs, a thin logical volume), then has the copy filled by the other node. Nothing is \
             ever discarded without this command.",
        )
        .after_help(
            "Examples:\n  evenkeel volume resync mail\n  evenkeel volume resync mail --from here\n  \
             evenkeel volume resync mail --discard-mine\n  evenkeel volume resync mail --discard-mine --yes",
        )
        .arg(Arg::new("NAME").required(true).help("The volume"))
        .arg(
            Arg::new("source")
                .long("from")
                .value_name("NODE")
                .help("The node whose copy is the valid one, as a check: `here`, or the name of the owner"),
        )
        .arg(
            flag("changed", "Send only what the other copy is known to lack, at once instead of at the next attempt")
                .conflicts_with("discard-mine"),
        )
        .arg(flag("discard-mine", "Discard the copy of this node").conflicts_with("source"))
        .arg(flag("yes", "Discard it").requires("discard-mine"))
}

pub fn resync(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (instance, report) = load_volume_report(matches)?;
    let subject = find(&report, &name)?;
    let copies = VolumeReport::of(subject).copies;
    let Some(CopyNodes { local, other }) = copies else {
        return Err(format!(
            "volume '{name}' has one copy: there is nothing to resynchronise"
        ));
    };
    if matches.get_flag("discard-mine") {
        return discard(matches, &instance, subject, &name, &local, &other);
    }
    if let Some(source) = matches.get_one::<String>("source") {
        from(source, subject, (&name, &local, &other))?;
    }
    if subject.value(OWNER_HERE) != Some(1) {
        return Err(not_owner(subject, &name));
    }
    let before = subject.value(RESYNCS);
    let everything = !matches.get_flag("changed");
    let message = VolumeOrder::Resync {
        name: name.clone(),
        everything,
    };
    tell(&instance, &message)?;
    follow(matches, &name, &other, before)
}

/// Checks that the operator names the node whose copy is complete.
fn from(source: &str, subject: &Subject, names: (&str, &str, &str)) -> Result<(), String> {
    let (name, me, other) = names;
    let is_owner = subject.value(OWNER_HERE) == Some(1);
    if source == "here" || source.eq_ignore_ascii_case(me) {
        return Ok(());
    }
    if !source.eq_ignore_ascii_case(other) {
        return Err(format!(
            "volume '{name}' has no copy on '{source}': its copies are on {me} and {other}"
        ));
    }
    Err(if is_owner {
        format!(
            "the owner's copy is the valid one, and the owner of volume '{name}' is {me}. To use the copy \
             of {other}, first run `evenkeel volume hand-over {name}`. Nothing was changed"
        )
    } else {
        format!("run it on {other}, the owner of volume '{name}'. Nothing was changed")
    })
}

fn follow(
    matches: &ArgMatches,
    name: &str,
    other: &str,
    before: Option<u64>,
) -> Result<String, String> {
    let progress = Progress::default();
    let mut shown = ProgressDisplay::new(&format!("resynchronising {name}"));
    let ordered = Instant::now();
    let mut connected = Instant::now();
    loop {
        std::thread::sleep(LOOK_EVERY);
        let (_, report) = load_volume_report(matches)?;
        let subject = find(&report, name)?;
        let is = |number: &str| subject.value(number) == Some(1);
        if !is(OWNER_HERE) && ordered.elapsed() >= EFFECT {
            shown.clear();
            return Err(format!(
                "this node no longer serves volume '{name}': the other node continues the resync if it \
                 serves. `evenkeel volume show {name}` shows the state"
            ));
        }
        let took_effect = subject.value(RESYNCS) != before || ordered.elapsed() >= EFFECT;
        if took_effect && is(MIRRORED) {
            shown.clear();
            return Ok(format!(
                "both copies of volume {name} are in sync: {}\n",
                shown.summary(&progress)
            ));
        }
        if is(CONNECTED_NUMBER) {
            connected = Instant::now();
        }
        if connected.elapsed() >= AWAY_MAX {
            shown.clear();
            return Err(format!(
                "{other} is not connected: the resync of volume '{name}' continues when it is back"
            ));
        }
        let size = subject.value(SIZE).unwrap_or_default();
        let left = subject.value(DIRTY).unwrap_or_default().min(size);
        let done = if is(MIRRORED) { 0 } else { size - left };
        progress.total.store(size, Ordering::Relaxed);
        progress.done.store(done, Ordering::Relaxed);
        progress.data.store(done, Ordering::Relaxed);
        shown.show(&progress);
    }
}

fn discard(
    matches: &ArgMatches,
    instance: &Instance,
    subject: &Subject,
    name: &str,
    me: &str,
    other: &str,
) -> Result<String, String> {
    if VolumeReport::of(subject).state != VolumeServiceState::Refused {
        return Err(match subject.value(OWNER_HERE) {
            Some(1) => format!(
                "this node owns volume '{name}', so its copy is the valid one. If the copy of {other} is \
                 refused, discard that one there. Nothing was changed"
            ),
            _ => format!(
                "the copy of this node is not refused (state: {}), so there is nothing to discard. Nothing was \
                 changed",
                subject.state.word
            ),
        });
    }
    let (spec, _) = section(matches, name)?;
    if !matches.get_flag("yes") {
        return Err(lost(subject, &spec, name, me, other));
    }
    let snapshot = match now(&spec, name, SnapshotReason::Discarded) {
        Ok(taken) => Some(taken),
        Err(SnapshotError::Backing(_) | SnapshotError::NoClones(_)) => None,
        Err(error) => {
            return Err(format!(
                "no snapshot of the copy: {error}. Nothing was changed. Without a snapshot: `evenkeel volume remove` \
                 and `create`, see docs/volumes.md"
            ));
        }
    };
    let message = VolumeOrder::Discard {
        name: name.to_owned(),
    };
    if let Err(words) = tell(instance, &message) {
        let removed = snapshot.map(|one| one.remove());
        let left = match removed {
            Some(Err(error)) => format!(". Its snapshot stays: {error}"),
            _ => String::new(),
        };
        return Err(words + &left);
    }
    began(matches, name)?;
    Ok(summary(snapshot.as_ref(), name, me, other))
}

fn began(matches: &ArgMatches, name: &str) -> Result<(), String> {
    let until = Instant::now() + DISCARD_MAX;
    loop {
        std::thread::sleep(LOOK_EVERY);
        let (_, report) = load_volume_report(matches)?;
        let subject = find(&report, name)?;
        if VolumeReport::of(subject).state != VolumeServiceState::Refused {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(format!(
                "the copy was not discarded: `evenkeel volume show {name}` shows why"
            ));
        }
    }
}

fn summary(snapshot: Option<&Snapshot>, name: &str, me: &str, other: &str) -> String {
    let kept = match snapshot {
        Some(one) => format!("; its previous state is snapshot {}", one.name()),
        None => String::new(),
    };
    format!(
        "the copy of volume {name} on {me} is discarded and filled from {other}{kept}. `evenkeel volume show {name}` on \
         {other} shows the progress\n"
    )
}

fn lost(subject: &Subject, spec: &Spec, name: &str, me: &str, other: &str) -> String {
    let written = subject.words(WRITTEN_HERE).unwrap_or_default();
    let changed = match changed(&spec.backing, name) {
        Some(stamp) => format!("\n  last write to its data: {stamp}"),
        None => String::new(),
    };
    let keeps = match &spec.backing {
        Backing::File(_) => {
            "a snapshot of it is taken first if the file system supports it (XFS, btrfs)"
        }
        Backing::Lvm(logical) if logical.pool.is_some() => "a thin snapshot of it is taken first",
        _ => "this backing has no snapshots: its data is overwritten",
    };
    format!(
        "nothing was changed. With `--yes` the copy of volume {name} on {me} ({}) is discarded in favour of \
         that of {other}:\n  why it is refused: {}\n  written here and not on {other}: {written}{changed}\n \
          {keeps}",
        size_words(spec.size_bytes),
        subject.why
    )
}

fn changed(backing: &Backing, name: &str) -> Option<Stamp> {
    let Backing::File(directory) = backing else {
        return None;
    };
    let data = std::fs::metadata(directory.join(format!("{name}.volume"))).ok()?;
    let since = data.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Stamp(since.as_secs()))
}
