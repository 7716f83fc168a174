//! Implements `evenkeel support`: saves the configuration with masked secrets, status, events, and
//! facts about processes and system in one archive, for a report of a problem.

use super::definition::{process_id, serving_files};
use super::{refuse, status};
use crate::identity;
use crate::recorded_files::set_of;
use ::command::instance;
use ::command::json::{self, OutputFormat};
use clap::{Arg, ArgMatches, Command};
use cluster::file_set::SetFile;
use cluster::history::{MaskedFile, Redaction};
use cluster_command::mask;
use configuration::Recording;
use instance_command::trace::{self, RoleEvents};
use jiff::Zoned;
use jiff::tz::TimeZone;
use language::reason;
use part::memory;
use part::role::{SupervisorMessage, TraceRequest};
use part::space;
use part::trace::PRINTED;
use serde::Serialize;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use supervisor::directory::Instance;
use zeroize::Zeroizing;

const REPORT_LIMIT: Duration = Duration::from_secs(10);
const FILE_BYTES_MAX: u64 = 16 << 20;
const MESSAGES_MAX: usize = 500;
const SYSTEM: [&str; 8] = [
    "/proc/version",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/pressure/memory",
    "/proc/pressure/io",
    "/proc/sys/fs/file-nr",
    "/etc/os-release",
];
const PROCESS: [&str; 3] = ["status", "limits", "io"];
/// Directories whose free space is listed, besides those of the configuration.
const DIRECTORIES: [&str; 5] = ["/", "/run", "/tmp", "/var/lib/evenkeel", "/var/log"];

const README: &str = "\
Archive of `evenkeel support`, for a report of a problem.

versions.txt            program, system and kernel
status.json             status of all parts, as `evenkeel status --json` prints it
configuration/          files of the running version; secrets are masked, keys and certificates described
events/ROLE.txt, .json  trace events of each role, as `evenkeel trace ROLE` prints them, also of roles that have ended
messages.txt            the newest messages of all processes
system/                 facts from /proc about the machine and the processes, and free space
errors.txt              what could not be collected

Passwords, keys and other secrets of the configuration are masked in all files. Addresses, host names, user names
and paths are not masked: read the files before you send them to anybody.
";

pub fn definition(command: Command) -> Command {
    command
        .about("Save status, events and configuration without secrets in one archive")
        .long_about(
            "Saves one tar archive for the report of a problem with a running `evenkeel run`, `haproxy -W` or `keepalived` \
             of the same user: versions, the configuration with masked secrets, the status of all parts, the trace events \
             of all roles (also of those that have ended), the newest messages, and facts about the system. Only its owner \
             may read the file. Passwords and keys of the configuration are masked; addresses and names are not.",
        )
        .after_help("Examples:\n  evenkeel support\n  evenkeel support /tmp/report.tar")
        .arg(
            Arg::new("ARCHIVE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("File to write, which must not exist; default: evenkeel-support-HOST-TIME.tar"),
        )
        .arg(serving_files().num_args(1))
        .arg(process_id())
        .arg(json::option())
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    let path = matches.get_one::<PathBuf>("ARCHIVE").cloned();
    let path = path.unwrap_or_else(default_path);
    let saved = instance::selected(matches).and_then(|instance| save(&instance, &path));
    match saved {
        Ok(files) => {
            let text = format!(
                "{}: {files} files; secrets of the configuration are masked, addresses and names are not\n",
                path.display()
            );
            let archive = path.display().to_string();
            OutputFormat::of(matches).print_result(text, &SavedArchive { archive, files })
        }
        Err(error) => refuse(error),
    }
}

/// Result of the command, for `--json`.
#[derive(Serialize)]
struct SavedArchive {
    archive: String,
    files: usize,
}

fn default_path() -> PathBuf {
    let time = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    format!("evenkeel-support-{}-{time}.tar", identity::host_name()).into()
}

fn save(instance: &Instance, path: &Path) -> Result<usize, String> {
    let mut archive = SupportArchive::default();
    archive.add_all(instance);
    let failed = |error: io::Error| format!("cannot write {}", space::write_error(path, &error));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(failed)?;
    archive.write(&mut file).map_err(|error| {
        // The archive is incomplete, and another attempt creates the file again.
        let _ = fs::remove_file(path);
        failed(error)
    })
}

#[derive(Default)]
struct SupportArchive {
    files: Vec<(String, Vec<u8>)>,
    errors: Vec<String>,
    secrets: Option<Redaction>,
}

impl SupportArchive {
    fn add_all(&mut self, instance: &Instance) {
        self.add("README.txt", README);
        self.add_configuration(instance);
        self.add("versions.txt", &versions(instance));
        self.add_status(instance);
        match trace::request(instance, TraceRequest::default()) {
            Ok(roles) => {
                self.add_events(&roles);
                self.add_processes(instance, &roles);
            }
            Err(error) => self.errors.push(format!("events: {error}")),
        }
        self.add_system(instance);
        let errors = if self.errors.is_empty() {
            "none\n".to_owned()
        } else {
            self.errors.join("\n") + "\n"
        };
        self.add("errors.txt", &errors);
    }

    fn add(&mut self, name: &str, text: &str) {
        let text = match &self.secrets {
            Some(secrets) => secrets.apply(text),
            None => text.to_owned(),
        };
        self.files.push((name.to_owned(), text.into_bytes()));
    }

    /// Adds the configuration files of the running version with masked secrets, and stores these
    /// secrets so that later texts of the archive are masked, too.
    fn add_configuration(&mut self, instance: &Instance) {
        let mut files = running_files(instance).unwrap_or_else(|error| {
            self.errors.push(format!("configuration: {error}"));
            Vec::new()
        });
        // Adds keepalived's files from disk: the running version does not contain them.
        for path in &instance.paths {
            let path_text = path.display().to_string();
            if files.iter().any(|file| file.path == path_text) {
                continue;
            }
            if let Ok(bytes) = read(path) {
                files.push(SetFile {
                    path: path_text,
                    main: true,
                    secret: false,
                    mode: 0,
                    bytes,
                });
            }
        }
        let mask = mask();
        self.secrets = Some(Redaction::of_files(&files, &mask));
        let of_files = mask.of(&files);
        for (number, file) in files.iter().enumerate() {
            let name = file.path.trim_start_matches('/').replace(['/', '\\'], "_");
            let name = format!("configuration/{number:03}-{name}");
            match of_files.seen(file) {
                MaskedFile::Text(text) => self.add(&name, &String::from_utf8_lossy(&text)),
                MaskedFile::Description(words) => self.add(&name, &format!("{words}\n")),
            }
        }
    }

    fn add_status(&mut self, instance: &Instance) {
        let parts: Vec<&str> = status::shown_parts().collect();
        let reports = status::reports_within(instance, &parts, REPORT_LIMIT);
        let mut all = Vec::new();
        for (part, report) in parts.iter().zip(reports) {
            match report {
                Ok(report) => all.push(report.json().trim_end().to_owned()),
                Err(error) if error.has_nothing() => {}
                Err(error) => self.errors.push(format!("status of {part}: {error}")),
            }
        }
        self.add("status.json", &format!("[{}]\n", all.join(",")));
    }

    fn add_events(&mut self, roles: &[RoleEvents]) {
        let zone = TimeZone::system();
        let mut messages: Vec<(i64, String)> = Vec::new();
        let mut levels = String::new();
        for one in roles {
            let role = &one.role.role;
            levels += &format!("{role}: {}\n", one.role.levels);
            let contents = match one.contents() {
                Ok(contents) => contents,
                Err(error) => {
                    self.errors.push(format!("events of {role}: {error}"));
                    continue;
                }
            };
            let (mut text, mut json) = (String::new(), String::new());
            for event in &contents.records {
                let line = event.record.line(role, &zone);
                json += &format!("{}\n", event.record.json(role));
                text += &format!("{line}\n");
                if event.record.target == PRINTED {
                    messages.push((event.record.time_us, line));
                }
            }
            if contents.damaged > 0 || contents.lost > 0 {
                text += &format!(
                    "{} events are incomplete; the journal did not accept {}\n",
                    contents.damaged, contents.lost
                );
            }
            self.add(&format!("events/{role}.txt"), &text);
            self.add(&format!("events/{role}.json"), &json);
        }
        self.add("events/levels.txt", &levels);
        messages.sort();
        let left_out = messages.len().saturating_sub(MESSAGES_MAX);
        let lines: Vec<String> = messages
            .into_iter()
            .skip(left_out)
            .map(|(_, line)| line)
            .collect();
        self.add("messages.txt", &(lines.join("\n") + "\n"));
    }

    fn add_processes(&mut self, instance: &Instance, roles: &[RoleEvents]) {
        let roles = roles
            .iter()
            .filter_map(|one| Some((one.role.role.as_str(), one.role.process?)));
        let mut processes: Vec<(&str, i32)> = roles.collect();
        if let Ok(pid) = i32::try_from(instance.pid)
            && !processes.iter().any(|(_, known)| *known == pid)
        {
            processes.push(("supervisor", pid));
        }
        for (role, pid) in processes {
            for fact in PROCESS {
                let path = format!("/proc/{pid}/{fact}");
                if let Some(text) = self.text(Path::new(&path)) {
                    self.add(&format!("system/{role}-{fact}.txt"), &text);
                }
            }
        }
    }

    fn add_system(&mut self, instance: &Instance) {
        for path in SYSTEM {
            if let Some(text) = self.text(Path::new(path)) {
                let name = path.trim_start_matches('/').replace('/', "-");
                self.add(&format!("system/{name}.txt"), &text);
            }
        }
        let mut space = String::new();
        let own = instance.paths.iter().filter_map(|path| path.parent());
        for directory in DIRECTORIES.iter().map(Path::new).chain(own) {
            if let Ok(found) = rustix::fs::statvfs(directory) {
                let mib = |blocks: u64| (blocks.saturating_mul(found.f_frsize)) >> 20;
                space += &format!(
                    "{}: {} MiB of {} MiB free, {} of {} inodes free\n",
                    directory.display(),
                    mib(found.f_bavail),
                    mib(found.f_blocks),
                    found.f_favail,
                    found.f_files
                );
            }
        }
        self.add("system/space.txt", &space);
    }

    /// Reads a file of the system. Returns None if the file does not exist; other errors are
    /// recorded in the archive.
    fn text(&mut self, path: &Path) -> Option<String> {
        match read(path) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.errors
                    .push(format!("{}: {}", path.display(), reason(&error)));
                None
            }
        }
    }

    fn write(self, file: &mut impl Write) -> io::Result<usize> {
        let time = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
        let mut builder = tar::Builder::new(file);
        for (name, bytes) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(time);
            builder.append_data(&mut header, format!("evenkeel-support/{name}"), &bytes[..])?;
        }
        builder.into_inner()?.flush()?;
        Ok(self.files.len())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn running_files(instance: &Instance) -> Result<Vec<SetFile>, String> {
    let answer = status::ask(
        instance,
        &SupervisorMessage::GiveVersion,
        status::ANSWER_LIMIT,
    );
    let answer = answer.map_err(|error| error.to_string())?;
    let file = answer.descriptors.first();
    let file = file.ok_or_else(|| status::not_known(instance))?;
    let bytes = Zeroizing::new(memory::read(file).map_err(|error| error.to_string())?);
    if bytes.is_empty() {
        return Err("the process no longer has the text of its configuration".to_owned());
    }
    let recording = Recording::decode(&bytes).map_err(|error| error.to_string())?;
    Ok(set_of(&recording))
}

fn versions(instance: &Instance) -> String {
    let kernel = rustix::system::uname();
    let program = fs::read_link(format!("/proc/{}/exe", instance.pid));
    let program = program.map_or_else(|error| reason(&error), |path| path.display().to_string());
    format!(
        "command: evenkeel {} (messages {})\nrunning: process {} as {}, program {program}\ntested against HAProxy {}\n\
         kernel: {} {} {}\nhost: {}\ntime: {}\n",
        identity::VERSION,
        part::role::VERSION,
        instance.pid,
        instance.program,
        identity::HAPROXY_LEVEL,
        kernel.sysname().to_string_lossy(),
        kernel.release().to_string_lossy(),
        kernel.machine().to_string_lossy(),
        identity::host_name(),
        Zoned::now(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn archive_masks_the_secrets_of_the_configuration_everywhere() {
        let text = "userlist u\n user anna insecure-password S3CRETpass\n";
        let files = [SetFile {
            path: "/etc/a.cfg".to_owned(),
            main: true,
            secret: false,
            mode: 0,
            bytes: text.as_bytes().to_vec(),
        }];
        let mut archive = SupportArchive {
            secrets: Some(Redaction::of_files(&files, &mask())),
            ..SupportArchive::default()
        };
        archive.add("messages.txt", "refused: password S3CRETpass of anna\n");
        archive.add("README.txt", README);
        let mut bytes = Vec::new();
        assert_eq!(archive.write(&mut bytes).expect("an archive"), 2);
        let mut read = BTreeMap::new();
        for entry in tar::Archive::new(&bytes[..]).entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a path").display().to_string();
            assert_eq!(entry.header().mode().expect("a mode"), 0o600);
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("a text");
            read.insert(name, text);
        }
        let messages = &read["evenkeel-support/messages.txt"];
        assert!(
            !messages.contains("S3CRET") && messages.contains("anna"),
            "{messages}"
        );
        assert!(read["evenkeel-support/README.txt"].contains("masked"));
    }
}
