//! Implements `evenkeel guest snapshot`, `snapshots` and `restore`: takes, lists and restores
//! snapshots of all disks of a guest at one moment. The guest role pauses the guest; the command
//! takes the snapshots with the privileges of the caller.

use super::disks::{self, Disk, Moment};
use super::moment::{self, SnapshotEnvironment};
use super::{find, load_guest_report, order};
use clap::ArgMatches;
use command::status::ask_part;
use command::word;
use guest::message::{Stand, StandstillProgress, StandstillRequest, StandstillStatus};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt;
use std::io::{Write, stderr};
use std::time::{Duration, Instant};
use supervisor::directory::Instance;
use volume::cli::overwrite::{self, Overwrite};
use volume::cli::{snapshot as of_volume, transfer};
use volume::config::size_words;
use volume::device::{Label, Snapshot, SnapshotReason, Stamp, snapshot};
use volume::overwrite::OverwriteKind;

const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_secs(25);
/// Poll interval while a snapshot with the current second as its time exists.
const SECOND_LOOK: Duration = Duration::from_millis(50);

pub(super) fn take(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (instance, _) = load_guest_report(matches)?;
    let known = disks::known(&instance, &name)?;
    // Uses the disks with which a running guest was started.
    let guest = known.started_as.or(known.served);
    let guest = guest.ok_or_else(|| super::unknown(&name))?;
    let disks = disks::of(matches, &guest)?;
    if disks.is_empty() {
        return Err(format!(
            "guest {name} has no writable disk: there is nothing to take a snapshot of"
        ));
    }
    if let Some(one) = matches.get_one::<String>("remove") {
        return removed(&disks, &name, one);
    }
    let label = matches.get_one::<String>("name").map_or("", String::as_str);
    let taken = of_all(matches, &instance, &name, label, false, &disks);
    let (stamp, stood) = taken.map_err(|words| format!("no snapshot of guest {name}: {words}"))?;
    let all: Vec<&str> = disks.iter().map(|disk| &*disk.volume).collect();
    if let Some(words) = not_over(&name, stamp, &stood) {
        return Err(words);
    }
    // Writes the details to standard error, because scripts read the name from standard output.
    let _ = writeln!(
        stderr(),
        "snapshot {stamp} of guest {name}, {}: {}",
        all.join(", "),
        how(&stood)
    );
    Ok(format!("{stamp}\n"))
}

/// Returns the error for a complete snapshot after which the guest has not confirmed in time that
/// it continues; None if it has.
pub(super) fn not_over(name: &str, stamp: Stamp, stood: &StandstillStatus) -> Option<String> {
    (stood.state != StandstillProgress::Over).then(|| {
        format!(
            "snapshot {stamp} of guest {name} was taken and is complete, but the guest has not confirmed \
             within {} s that it continues: its file systems may still be frozen, and its programs may \
             wait. Its agent gets the command to thaw them each second; `evenkeel guest show {name}` \
             reports the result, and `fsfreeze --unfreeze` in the guest thaws them manually",
            LOOK_MAX.as_secs()
        )
    })
}

pub(super) fn how(stood: &StandstillStatus) -> String {
    if stood.is_down {
        return "the guest is down, so its disks are consistent".to_owned();
    }
    let still = match stood.stood_ms {
        0 => "it has not reported yet that it continues".to_owned(),
        ms => format!("the guest was paused for {ms} ms"),
    };
    match &stood.not_frozen {
        None => format!(
            "file systems are consistent, frozen by the guest agent for {} ms; {still}",
            stood.frozen_ms
        ),
        Some(why) => format!(
            "as after a loss of power (crash-consistent), because file systems were not frozen: {why}; {still}"
        ),
    }
}

/// Takes snapshots of all disks at one moment, and returns their common time. The guest is not
/// paused if it is a template, whose disks nobody can write.
pub(super) fn of_all(
    matches: &ArgMatches,
    instance: &Instance,
    name: &str,
    label: &str,
    is_template: bool,
    disks: &[Disk],
) -> Result<(Stamp, StandstillStatus), String> {
    let kind = SnapshotReason::Guest(Label::parse(label).ok_or_else(|| {
        format!("'{label}' is not a snapshot name: up to 32 letters, digits, `.`, `_` and `-`, not a time")
    })?);
    let has = disks::moments(disks)?;
    let same = |(_, other): &&(Stamp, Label)| !label.is_empty() && other.text() == label;
    if let Some((stamp, _)) = has.keys().find(same) {
        return Err(format!(
            "a snapshot '{label}' of {stamp} exists: `evenkeel guest snapshot {name} --remove {label}` \
             removes it"
        ));
    }
    // Checks everything that can be checked in advance before the pause.
    for disk in disks {
        of_volume::is_complete(matches, &disk.spec, &disk.volume)?;
        let can = snapshot::can(&disk.spec.backing, &disk.volume);
        can.map_err(|error| format!("volume {}: {error}", disk.volume))?;
    }
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty()).map_err(|errno| errno.to_string())?;
    let mut real = Real {
        matches,
        instance,
        name,
        number: u64::from_ne_bytes(bytes),
        is_template,
        disks,
        title: (second(disks)?, kind),
        until: Instant::now() + LOOK_MAX,
    };
    // Blocks signals, because an interruption would leave an incomplete set of snapshots.
    let signals = transfer::signals().map_err(|error| error.to_string())?;
    let taken = moment::take(
        &mut real,
        &disks
            .iter()
            .map(|disk| disk.volume.clone())
            .collect::<Vec<_>>(),
    );
    drop(signals);
    let (_, stood) = taken?;
    Ok((real.title.0, stood))
}

fn second(disks: &[Disk]) -> Result<Stamp, String> {
    loop {
        let stamp = Stamp::now();
        let mut is_free = true;
        for disk in disks {
            let all = snapshot::list(&disk.spec.backing, &disk.volume);
            let all = all.map_err(|error| error.to_string())?;
            is_free &= all.iter().all(|one| one.stamp != stamp);
        }
        if is_free {
            return Ok(stamp);
        }
        std::thread::sleep(SECOND_LOOK);
    }
}

fn of_template(step: Stand) -> StandstillStatus {
    StandstillStatus {
        state: match step {
            Stand::Begin | Stand::Look => StandstillProgress::Stands,
            Stand::End => StandstillProgress::Over,
        },
        words: String::new(),
        is_down: true,
        not_frozen: None,
        stood_ms: 0,
        frozen_ms: 0,
    }
}

struct Real<'a> {
    matches: &'a ArgMatches,
    instance: &'a Instance,
    name: &'a str,
    number: u64,
    is_template: bool,
    disks: &'a [Disk],
    title: (Stamp, SnapshotReason),
    until: Instant,
}

impl Real<'_> {
    fn disk(&self, volume: &str) -> Result<&Disk, String> {
        let mut disks = self.disks.iter();
        let found = disks.find(|disk| disk.volume == volume);
        found.ok_or_else(|| format!("no disk {volume}"))
    }
}

impl SnapshotEnvironment for Real<'_> {
    type Made = Snapshot;

    fn control_guest(&mut self, step: Stand) -> Result<StandstillStatus, String> {
        if self.is_template {
            return Ok(of_template(step));
        }
        let ask = StandstillRequest {
            name: self.name.to_owned(),
            number: self.number,
            step,
        };
        ask_part(self.instance, ask.envelope())
    }

    fn wait(&mut self) -> bool {
        std::thread::sleep(LOOK_EVERY);
        Instant::now() < self.until
    }

    fn take(&mut self, volume: &str) -> Result<Snapshot, String> {
        let (stamp, kind) = self.title;
        let disk = self.disk(volume)?;
        let taken = snapshot::take(&disk.spec.backing, volume, stamp, kind);
        taken.map_err(|error| error.to_string())
    }

    fn is_complete(&mut self, volume: &str) -> Result<(), String> {
        let disk = self.disk(volume)?;
        of_volume::is_complete(self.matches, &disk.spec, volume)
    }

    fn remove(&mut self, made: Snapshot) -> Result<(), String> {
        made.remove().map_err(|error| error.to_string())
    }
}

fn removed(disks: &[Disk], name: &str, one: &str) -> Result<String, String> {
    let (title, moment) = disks::find(disks, name, one)?;
    for (_, snapshot) in moment.snapshots {
        snapshot.remove().map_err(|error| {
            format!(
                "{error}. A part of the snapshot may be removed: the same command removes the rest"
            )
        })?;
    }
    Ok(format!(
        "removed snapshot {} of guest {name}\n",
        disks::words(&title)
    ))
}

pub(super) fn list(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (instance, _) = load_guest_report(matches)?;
    let guest = disks::known(&instance, &name)?;
    let guest = guest
        .served
        .or(guest.started_as)
        .ok_or_else(|| super::unknown(&name))?;
    let disks = disks::of(matches, &guest)?;
    let lines = lines_of(&disks)?;
    Ok(if lines.is_empty() {
        format!("guest {name} has no snapshots\n")
    } else {
        lines
    })
}

/// Returns the lines about snapshots in `evenkeel guest show`; none without access to the volumes.
pub(super) fn lines(matches: &ArgMatches, instance: &Instance, name: &str) -> String {
    let guest = disks::known(instance, name).ok();
    let guest = guest.and_then(|guest| guest.served.or(guest.started_as));
    let disks = guest.and_then(|guest| disks::of(matches, &guest).ok());
    let lines = disks.and_then(|disks| lines_of(&disks).ok());
    lines.unwrap_or_default()
}

fn lines_of(disks: &[Disk]) -> Result<String, String> {
    let line = |(title, moment): (&(Stamp, Label), &Moment)| {
        let of = moment
            .snapshots
            .iter()
            .map(|(volume, one)| format!("{volume} {}", size_words(one.size_bytes)));
        let of: Vec<String> = of.collect();
        let lacks = if moment.lacks.is_empty() {
            String::new()
        } else {
            format!("; incomplete: without {}", moment.lacks.join(", "))
        };
        format!(
            "snapshot: {}, {}{lacks}\n",
            disks::words(title),
            of.join(", ")
        )
    };
    Ok(disks::moments(disks)?.iter().map(line).collect())
}

pub(super) fn restore(matches: &ArgMatches) -> Result<String, String> {
    let [name, one] = ["NAME", "SNAPSHOT"].map(|one| word(matches, one));
    let instance = is_down(matches, &name)?;
    let guest = disks::known(&instance, &name)?.served;
    let disks = disks::of(matches, &guest.ok_or_else(|| super::unknown(&name))?)?;
    let (title, moment) = disks::find(&disks, &name, &one)?;
    let words = disks::words(&title);
    if !moment.lacks.is_empty() {
        return Err(format!(
            "snapshot {words} is incomplete: it lacks {}. `evenkeel volume restore` restores single volumes",
            moment.lacks.join(", ")
        ));
    }
    let all: Vec<&str> = moment
        .snapshots
        .iter()
        .map(|(volume, _)| &**volume)
        .collect();
    if !matches.get_flag("yes") {
        return Err(format!(
            "`--yes` replaces all data of {} by that of {words}: later writes are lost, except that a \
             snapshot of the current state is taken first",
            all.join(", ")
        ));
    }
    // Keeps the guest down until an operator starts it, in particular during the restore.
    order::keep_down(matches, &name)?;
    let ends = moment
        .snapshots
        .iter()
        .map(|(volume, from)| transfer::ends(matches, volume, from).map(|ends| (volume, ends)))
        .collect::<Result<Vec<_>, _>>();
    let ends = ends.map_err(|error| format!("{error}. Nothing was written"))?;
    let not_written = |error: &dyn fmt::Display| format!("{error}. Nothing was written");
    let before = match incomplete_of(matches, &all)? {
        Some(_) => None,
        None => {
            let before = of_all(matches, &instance, &name, "", false, &disks);
            Some(before.map_err(|words| not_written(&words))?.0)
        }
    };
    // Marks all volumes before the first one is written, because the guest needs the disks of one
    // moment.
    let mut marks = Vec::new();
    for volume in &all {
        marks.push(
            Overwrite::begin(matches, volume, OverwriteKind::GuestRestore)
                .map_err(|error| marked_only(&not_written(&error), &all, marks.len()))?,
        );
    }
    let or_before = before.map_or(String::new(), |before| {
        format!(", or to {before}, the state before")
    });
    for (volume, ends) in ends {
        let what = format!("restoring {volume}");
        let copied = transfer::signals()
            .and_then(|signals| transfer::copy(&what, ends.source, ends.target, signals));
        copied.map_err(|error| {
            format!(
                "{error}. Volume {volume} holds a part of the snapshot, and later disks are unchanged. They \
                 are refused as incomplete: restore the guest again{or_before}"
            )
        })?;
        transfer::warn_of_others(matches, volume, &ends.users);
    }
    for mark in marks {
        mark.end(matches)?;
    }
    // Removes the mark of earlier versions of the program, which marked the guest instead of its
    // volumes.
    order::end_restore(matches, &name)?;
    let before = before.map_or_else(
        || "it was incomplete before".to_owned(),
        |before| format!("the state before is snapshot {before}"),
    );
    Ok(format!(
        "guest {name} is restored to {words}; {before}. `evenkeel guest start {name}` starts it\n"
    ))
}

pub(super) fn incomplete_of(
    matches: &ArgMatches,
    volumes: &[&str],
) -> Result<Option<(String, String)>, String> {
    for volume in volumes {
        if let Some(words) = overwrite::incomplete(matches, volume)? {
            return Ok(Some(((*volume).to_owned(), words)));
        }
    }
    Ok(None)
}

/// Adds to an error the volumes that were marked as incomplete before it. Their content has not
/// changed.
fn marked_only(error: &str, volumes: &[&str], count: usize) -> String {
    match &volumes[..count.min(volumes.len())] {
        [] => error.to_owned(),
        marked => format!(
            "{error}, but {} is marked as incomplete: restore again, or `evenkeel volume accept` with its name",
            marked.join(", ")
        ),
    }
}

/// Returns the instance if the guest is down and on no node, otherwise an error.
pub(super) fn is_down(matches: &ArgMatches, name: &str) -> Result<Instance, String> {
    let (instance, report) = load_guest_report(matches)?;
    let subject = find(&report, name)?;
    // Checks the process and not the lease: a guest that waits for its volumes has its lease
    // already.
    match (subject.value("process"), order::elsewhere(&report, name)) {
        (Some(0) | None, None) => Ok(instance),
        (Some(0) | None, Some(on)) => Err(format!(
            "guest {name} is on {on}: `evenkeel guest stop {name}` first"
        )),
        _ => Err(format!(
            "guest {name} is {}: `evenkeel guest stop {name}` first",
            subject.state.word
        )),
    }
}
