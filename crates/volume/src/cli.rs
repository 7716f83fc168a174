//! Implements `evenkeel volume`: shows, creates, grows, attaches and removes volumes. The
//! submodules implement the other subcommands. The state comes from the running supervisor. The
//! command itself creates, grows and removes replicas, with the privileges of the caller.

#![allow(
    clippy::missing_errors_doc,
    reason = "an error is the message that a command prints"
)]

pub mod completion;
pub mod copy;
pub mod definition;
pub mod order;
pub mod overwrite;
pub mod progress;
pub mod resync;
pub mod snapshot;
pub mod transfer;
mod verify;

use crate::attach;
use crate::command::{self, CommandError};
use crate::config::{
    ReplicaPair, Spec, Volumes, WithoutMajority, backing_words, parse_backing, size_words,
};
use crate::device::{Backing, DeviceError, device_bytes};
use crate::keyword::NAME as PART;
use crate::report::{BACKING, CLIENTS, SERVING, SIZE, VOLUME};
use crate::role::{refusal_of_elsewhere, socket_path};
use ::command::instance::selected;
use ::command::json::end_order;
use ::command::status::report;
use ::command::{Subcommand, end, payload_of_files, word};
use clap::ArgMatches;
use part::codec;
use part::report::{StatusReport, Subject};
use part::status::VolumeReport;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use supervisor::directory::{self, Instance};

const SERVED_LIMIT: Duration = Duration::from_secs(5);
const USABLE_LOOK: Duration = Duration::from_millis(50);

pub static COMMANDS: [Subcommand; 2] = [
    Subcommand::new("volume", definition::volume, main),
    Subcommand::new("copy", copy::definition, copy::main),
];

pub fn main(matches: &ArgMatches) -> ExitCode {
    let Some((name, matches)) = matches.subcommand() else {
        return ExitCode::FAILURE;
    };
    let done = match name {
        "list" => return end(list(matches)),
        "show" => return end(show(matches)),
        "create" => create(matches),
        "grow" => grow(matches),
        "attach" => attach(matches),
        "detach" => detach(matches),
        "snapshot" => snapshot::take(matches),
        "restore" => return snapshot::restore(matches),
        "clone" => return snapshot::clone(matches),
        "remove" => remove(matches),
        "export" => return transfer::export(matches),
        "import" => return transfer::import(matches),
        "verify" => return verify::main(matches),
        "hand-over" => order::hand_over(matches),
        "adopt" => order::adopt(matches),
        "resync" => resync::resync(matches),
        "serve-alone" => order::serve_alone(matches),
        "reopen" => order::reopen(matches),
        "accept" => overwrite::accept(matches),
        "admit" => order::admit(matches),
        _ => return ExitCode::FAILURE,
    };
    end_order(matches, done)
}

pub fn load_volume_report(matches: &ArgMatches) -> Result<(Instance, StatusReport), String> {
    let instance = selected(matches)?;
    let report = report(&instance, PART).map_err(|error| error.to_string())?;
    Ok((instance, report))
}

fn list(matches: &ArgMatches) -> Result<String, String> {
    let (_, report) = load_volume_report(matches)?;
    if matches.get_flag("json") {
        return Ok(report.json());
    }
    Ok(report.table(VOLUME, &["size", CLIENTS, BACKING]))
}

fn show(matches: &ArgMatches) -> Result<String, String> {
    let (_, mut report) = load_volume_report(matches)?;
    let name = word(matches, "NAME");
    find_volume(&report, &name)?;
    report.subjects.retain(|one| one.name == name);
    if matches.get_flag("json") {
        return Ok(report.json());
    }
    let numbers = report.subjects.iter().map(|one| report.lines_of(one));
    Ok(numbers.collect::<String>() + &snapshot::lines(matches, &name))
}

fn find<'r>(report: &'r StatusReport, name: &str) -> Result<&'r Subject, String> {
    let subject = find_volume(report, name)?;
    match VolumeReport::of(subject).external_storage.as_str() {
        "" => Ok(subject),
        storage => Err(refusal_of_elsewhere(name, storage)),
    }
}

fn find_volume<'r>(report: &'r StatusReport, name: &str) -> Result<&'r Subject, String> {
    report.find(VOLUME, name).ok_or_else(|| {
        format!(
            "the served configuration has no volume '{name}' on this machine: there is no such section, or its `on` names \
             other nodes. If the section is new, reload, or name the file with `--from FILE`"
        )
    })
}

/// Returns the section of a volume, from the given files or from the running instance.
pub fn section(matches: &ArgMatches, name: &str) -> Result<(Spec, Option<Instance>), String> {
    if let Some(from) = matches.try_get_many::<PathBuf>("FROM").ok().flatten() {
        let from: Vec<PathBuf> = from.cloned().collect();
        return Ok((of_files(&from, name)?, None));
    }
    let hint = |words| format!("{words}. `--from FILE` reads the section from a file");
    let (instance, report) = load_volume_report(matches).map_err(hint)?;
    let subject = find(&report, name)?;
    let volume = VolumeReport::of(subject);
    let backing = parse_backing(&volume.backing, name);
    let (size_bytes, backing) = subject
        .value(SIZE)
        .zip(backing)
        .ok_or("the role does not report the size and the backing of the volume")?;
    let copies = volume.copies.as_ref();
    let pair = copies.map(|copies| ReplicaPair::of(&copies.local, &copies.other));
    let spec = Spec {
        size_bytes,
        backing,
        snapshots: None,
        pair,
        node: None,
        without_majority: WithoutMajority::default(),
        verify: None,
        read_only: false,
        bind: None,
    };
    Ok((spec, Some(instance)))
}

fn of_files(from: &[PathBuf], name: &str) -> Result<Spec, String> {
    let volumes = payload_of_files(from, PART)?;
    let volumes = volumes.and_then(|payload| codec::decode::<Volumes>(&payload).ok());
    let elsewhere = volumes.as_ref().and_then(|volumes| volumes.1.get(name));
    if let Some(elsewhere) = elsewhere {
        let storage = elsewhere.external.storage.to_string();
        return Err(refusal_of_elsewhere(name, &storage));
    }
    let spec = volumes.and_then(|mut volumes| volumes.0.remove(name));
    spec.ok_or_else(|| format!("these files have no volume '{name}' for this machine"))
}

fn create(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (spec, instance) = section(matches, &name)?;
    if instance.is_some()
        && VolumeReport::of(find(&load_volume_report(matches)?.1, &name)?).has_deleted_files
    {
        return Err(format!(
            "volume '{name}' is still open although its files were deleted: `evenkeel volume show {name}` \
             says what to do"
        ));
    }
    let created = command::create(&name, &spec, matches.get_flag("yes"), &mut |_| {});
    let id = created.map_err(|error| match &error {
        CommandError::Device(DeviceError::NotEmpty { .. }) => {
            format!("{error}. `evenkeel volume create {name} --yes` overwrites all of that")
        }
        CommandError::Device(DeviceError::Exists(path)) => {
            let why = command::open(&name, &spec.backing).err();
            let other = spec.pair.as_ref().map(|pair| pair.other.as_str());
            let rescue = why.as_ref().and_then(|why| match why {
                CommandError::Device(why) => command::rescue(why, &name, &spec.backing, other),
                _ => None,
            });
            rescue.map_or_else(
                || error.to_string(),
                |rescue| {
                    format!(
                        "{} exists already, with metadata that cannot be used. {rescue}",
                        path.display()
                    )
                },
            )
        }
        _ => error.to_string(),
    })?;
    let (size, backing) = (size_words(spec.size_bytes), backing_words(&spec.backing));
    let mut text = format!("created volume {name}: {size} on {backing} (identity {id})\n");
    let pair = spec.pair.as_ref().filter(|pair| !pair.other.is_empty());
    if let Some(ReplicaPair { other, .. }) = pair {
        text += &format!(
            "this is the copy of this node: if the copy of {other} does not exist yet, run `evenkeel volume \
             create {name}` there, too\n"
        );
    }
    Ok(text + &instance.map(|_| connects(&name)).unwrap_or_default())
}

fn connects(name: &str) -> String {
    match served(name) {
        Ok(socket) => format!(
            "clients connect to nbd+unix:///{name}?socket={}\n",
            socket.display()
        ),
        Err(_) => format!("it is not served yet: `evenkeel volume show {name}` says why\n"),
    }
}

/// Waits until the volume role serves a new volume, and returns the volume's socket. The role
/// serves as soon as it sends a greeting to clients.
pub fn served(name: &str) -> io::Result<PathBuf> {
    let runtime = directory::path();
    let socket = socket_path(&runtime, name);
    let until = Instant::now() + SERVED_LIMIT;
    let left = || until.saturating_duration_since(Instant::now());
    let events = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&events, &runtime, WatchFlags::ATTRIB)?;
    let mut stream = loop {
        if let Ok(stream) = UnixStream::connect(&socket) {
            break stream;
        }
        let mut watched = [PollFd::new(&events, PollFlags::IN)];
        if poll(&mut watched, Timespec::try_from(left()).ok().as_ref())? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        rustix::io::read(&events, &mut [0; 4096])?;
    };
    stream.set_read_timeout(Some(left().max(Duration::from_millis(1))))?;
    stream.read_exact(&mut [0; 8])?;
    Ok(socket)
}

/// Waits until clients can use a new volume; false if that takes longer than `SERVED_LIMIT`. A
/// volume with two copies has its socket before that.
pub fn is_usable(matches: &ArgMatches, name: &str) -> bool {
    let until = Instant::now() + SERVED_LIMIT;
    loop {
        let report = load_volume_report(matches).map(|(_, report)| report).ok();
        let subject = report.as_ref().and_then(|report| report.find(VOLUME, name));
        if subject.and_then(|subject| subject.value(SERVING)) == Some(1) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(USABLE_LOOK);
    }
}

fn attach(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let address = transfer::address(matches, &name)?;
    let number = attach::attach(address, &name).map_err(|error| error.to_string())?;
    Ok(format!("volume {name} is /dev/nbd{number}\n"))
}

fn detach(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let number = attach::detach(&name).map_err(|error| error.to_string())?;
    Ok(format!("volume {name} is no longer /dev/nbd{number}\n"))
}

/// Enlarges the logical volume of a volume that is to grow, for which the volume role lacks the
/// privileges. Other backing stores need no command.
fn grow(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (spec, _) = section(matches, &name)?;
    let (size, backing) = (size_words(spec.size_bytes), backing_words(&spec.backing));
    let Backing::Lvm(logical) = &spec.backing else {
        return Err(format!(
            "volume '{name}' is on {backing}: write the larger `size` into its section and reload"
        ));
    };
    let bytes = device_bytes(spec.size_bytes).1;
    let extended = logical.extend(bytes).map_err(|error| error.to_string())?;
    let path = logical.path.display();
    Ok(if extended {
        format!("extended {path} for {size}: `evenkeel reload` grows the volume\n")
    } else {
        format!("{path} already has room for {size}\n")
    })
}

fn remove(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let backing = match matches.get_many::<String>("backing") {
        Some(words) => {
            let words: Vec<&str> = words.map(String::as_str).collect();
            parse_backing(&words.join(" "), &name)
                .ok_or("`--backing` expects `file DIRECTORY`, `device PATH` or `lvm GROUP`")?
        }
        None if matches.contains_id("FROM") => section(matches, &name)?.0.backing,
        None => {
            return Err(format!(
                "where is the data of volume '{name}'? Add `--backing file DIRECTORY`, `--backing device PATH`, \
                 `--backing lvm GROUP`, or `--from FILE` with a file that still has its section"
            ));
        }
    };
    if let Some(pid) = configured(&name, &backing) {
        return Err(format!(
            "process {pid} has volume '{name}' in its configuration: remove the section and reload first. Nothing was \
             removed"
        ));
    }
    let volume = match command::open(&name, &backing) {
        Ok(volume) => volume,
        Err(why) => return remove_leftover(&name, &backing, &why, matches.get_flag("yes")),
    };
    let id = volume
        .id()
        .map(|id| format!(", identity {id}"))
        .unwrap_or_default();
    let what = format!(
        "volume {name} with {} on {}{id}",
        size_words(volume.size_bytes()),
        backing_words(&backing)
    );
    if !matches.get_flag("yes") {
        return Err(format!(
            "nothing was removed. With `--yes` this deletes all data of {what}"
        ));
    }
    volume
        .remove(&name, &backing)
        .map_err(|error| error.to_string())?;
    Ok(format!("removed {what}\n"))
}

fn remove_leftover(
    name: &str,
    backing: &Backing,
    why: &CommandError,
    confirmed: bool,
) -> Result<String, String> {
    let leftover = command::leftover(why, name, backing).map_err(|error| error.to_string())?;
    let leftover = leftover.ok_or_else(|| why.to_string())?;
    let files = leftover.files().map_err(|error| error.to_string())?;
    let words =
        |(path, bytes): &(&Path, u64)| format!("{} ({})", path.display(), size_words(*bytes));
    let files: Vec<String> = files.iter().map(words).collect();
    let files = files.join(" and ");
    if !confirmed {
        return Err(format!(
            "nothing was removed. Volume {name} cannot be opened: {why}. With `--yes` this deletes what is left of it: \
             {files}"
        ));
    }
    leftover.remove().map_err(|error| error.to_string())?;
    Ok(format!("removed what was left of volume {name}: {files}\n"))
}

fn configured(name: &str, backing: &Backing) -> Option<u32> {
    let same = |one: &Subject| {
        let has = parse_backing(&VolumeReport::of(one).backing, name);
        has.is_none_or(|has| is_same(has.path(), backing.path()))
    };
    let all = directory::instances().unwrap_or_default();
    let has = |instance: &&Instance| {
        let report = report(instance, PART).ok();
        report.is_some_and(|report| report.find(VOLUME, name).is_some_and(same))
    };
    all.iter().find(has).map(|instance| instance.pid)
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().ok() == other.canonicalize().ok()
}
