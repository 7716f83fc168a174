//! `evenkeel volume`: how volumes are; creating one as its section says, and removing one.
//! The state is asked of the running supervisor; what is created and removed is looked at
//! here, with the rights of the caller.

use super::status::report;
use super::{load_options, print, refuse, reload, word};
use crate::loader::addresses;
use crate::parts::Payloads;
use crate::process;
use clap::ArgMatches;
use configuration::files;
use language::render;
use part::codec;
use part::report::{Report, Subject};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use supervisor::directory::{self, Instance};
use volume::command::{self, CommandError};
use volume::config::{Spec, Volumes, backing_words, parse_backing, size_words};
use volume::device::{Backing, DeviceError};
use volume::keyword::NAME as PART;
use volume::report::{BACKING, CLIENTS, SIZE, SOCKET, VOLUME};

/// How long a role may take to serve a volume that was created.
const SERVED_LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Does what the words behind `volume` ask.
pub fn main(matches: &ArgMatches) -> ExitCode {
    let done = match matches.subcommand() {
        Some(("list", matches)) => list(matches),
        Some(("show", matches)) => show(matches),
        Some(("create", matches)) => create(matches),
        Some(("remove", matches)) => remove(matches),
        _ => return ExitCode::FAILURE,
    };
    match done {
        Ok(text) => print(&text),
        Err(words) => refuse(words),
    }
}

fn asked(matches: &ArgMatches) -> Result<(Instance, Report), String> {
    let instance = reload::selected(matches)?;
    let report = report(&instance, PART).map_err(|error| error.to_string())?;
    Ok((instance, report))
}

/// Prints a line for each volume.
fn list(matches: &ArgMatches) -> Result<String, String> {
    let (_, report) = asked(matches)?;
    if matches.get_flag("json") {
        return Ok(report.json());
    }
    let mut rows = vec![["NAME", "STATE", "SIZE", "CLIENTS", "BACKING"].map(str::to_owned)];
    for one in report.of_kind(VOLUME) {
        let size = one.value(SIZE).map(size_words).unwrap_or_default();
        let clients = one.value(CLIENTS).unwrap_or_default().to_string();
        let (state, backing) = (
            one.state.word.clone(),
            one.words(BACKING).unwrap_or_default(),
        );
        rows.push([one.name.clone(), state, size, clients, backing]);
    }
    let widths: Vec<usize> = (0..5)
        .map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text: String = rows.iter().map(line).collect();
    for one in report.of_kind(VOLUME).filter(|one| !one.why.is_empty()) {
        text += &format!("{}: {}\n", one.name, one.why);
    }
    Ok(text)
}

/// Prints all of one volume.
fn show(matches: &ArgMatches) -> Result<String, String> {
    let (_, mut report) = asked(matches)?;
    let name = word(matches, "NAME");
    find(&report, &name)?;
    report.subjects.retain(|one| one.name == name);
    if matches.get_flag("json") {
        return Ok(report.json());
    }
    let numbers = report.subjects.iter().map(|one| report.lines_of(one));
    Ok(numbers.collect::<String>())
}

fn find<'r>(report: &'r Report, name: &str) -> Result<&'r Subject, String> {
    report.find(VOLUME, name).ok_or_else(|| {
        format!(
            "the served configuration has no volume '{name}' on this machine. If its section is new, reload, or name \
             the file with `--from FILE`"
        )
    })
}

/// What the section of a volume says: that of these files, or of the running instance.
fn section(matches: &ArgMatches, name: &str) -> Result<(Spec, Option<Instance>), String> {
    if let Some(from) = matches.get_many::<PathBuf>("FROM") {
        let from: Vec<PathBuf> = from.cloned().collect();
        return Ok((of_files(&from, name)?, None));
    }
    let hint = |words| format!("{words}. `--from FILE` reads the section from a file");
    let (instance, report) = asked(matches).map_err(hint)?;
    let subject = find(&report, name)?;
    let backing = subject.words(BACKING).as_deref().and_then(parse_backing);
    let (size_bytes, backing) = subject
        .value(SIZE)
        .zip(backing)
        .ok_or("the role does not report the size and the backing of the volume")?;
    let spec = Spec {
        size_bytes,
        backing,
    };
    Ok((spec, Some(instance)))
}

fn of_files(from: &[PathBuf], name: &str) -> Result<Spec, String> {
    let mut files = files::read_some(from).map_err(|error| error.to_string())?;
    addresses::split(&mut files);
    let site = process::load_files(files, None, load_options(), None);
    if site.proxy.config.is_none() {
        let loaded = &site.proxy;
        let text = render::concise(&loaded.sources, &loaded.diagnostics, false);
        return Err(format!("the files have errors:\n{}", text.trim_end()));
    }
    let running = site.running(&Payloads::new());
    let volumes = running.into_iter().find(|one| one.part.name == PART);
    let volumes = volumes.and_then(|one| codec::decode::<Volumes>(&one.given.payload).ok());
    let spec = volumes.and_then(|mut volumes| volumes.0.remove(name));
    spec.ok_or_else(|| format!("these files have no volume '{name}' for this machine"))
}

fn create(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let (spec, instance) = section(matches, &name)?;
    let created = command::create(&name, &spec, matches.get_flag("yes"), &mut |_| {});
    let id = created.map_err(|error| match &error {
        CommandError::Device(DeviceError::NotEmpty { .. }) => {
            format!("{error}. `evenkeel volume create {name} --yes` gives all of that up")
        }
        _ => error.to_string(),
    })?;
    let (size, backing) = (size_words(spec.size_bytes), backing_words(&spec.backing));
    let mut text = format!("created volume {name}: {size} on {backing} (identity {id})\n");
    if let Some(instance) = instance {
        text += &served(&instance, &name);
    }
    Ok(text)
}

/// Waits until a role serves a volume that was created.
fn served(instance: &Instance, name: &str) -> String {
    let until = Instant::now() + SERVED_LIMIT;
    loop {
        let report = report(instance, PART).ok();
        let socket = report.and_then(|report| report.find(VOLUME, name)?.words(SOCKET));
        if let Some(socket) = socket {
            return format!("clients connect to nbd+unix:///{name}?socket={socket}\n");
        }
        if Instant::now() >= until {
            return format!("it is not served yet: `evenkeel volume show {name}` says why\n");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn remove(matches: &ArgMatches) -> Result<String, String> {
    let name = word(matches, "NAME");
    let backing = match matches.get_many::<String>("backing") {
        Some(words) => {
            let words: Vec<&str> = words.map(String::as_str).collect();
            parse_backing(&words.join(" "))
                .ok_or("`--backing` expects `file DIRECTORY` or `device PATH`")?
        }
        None if matches.contains_id("FROM") => section(matches, &name)?.0.backing,
        None => {
            return Err(format!(
                "where is the data of volume '{name}'? Add `--backing file DIRECTORY`, `--backing device PATH`, or \
                 `--from FILE` with a file that still has its section"
            ));
        }
    };
    if let Some(pid) = configured(&name, &backing) {
        return Err(format!(
            "process {pid} has volume '{name}' in its configuration: remove the section and reload first. Nothing was \
             removed"
        ));
    }
    let volume = command::open(&name, &backing).map_err(|error| error.to_string())?;
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

/// The process of a running instance that has the volume in its configuration.
fn configured(name: &str, backing: &Backing) -> Option<u32> {
    let same = |one: &Subject| {
        let has = one.words(BACKING).as_deref().and_then(parse_backing);
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
