//! `evenkeel status`: the state of the processes and of every part that runs beside the
//! proxy, or of one of these. It asks the running supervisor, as `evenkeel reload` does.

use super::{print, refuse, reload};
use clap::ArgMatches;
use part::channel::{Channel, ChannelError, Received};
use part::report::{BYTES_MAX, StatusReport};
use part::role::{DecodeError, PartMessage, SupervisorMessage, VERSION};
use part::{codec, identity, memory, row};
use serde::de::DeserializeOwned;
use std::process::ExitCode;
use std::time::Duration;
use std::{fmt, iter};
use supervisor::directory::{self, Instance};

/// Deadline of a supervisor's response.
pub const ANSWER_LIMIT: Option<Duration> = Some(Duration::from_secs(10));

/// Runs `evenkeel status`.
pub fn main(matches: &ArgMatches) -> ExitCode {
    let parts: Vec<&str> = parts().collect();
    let wanted = matches.get_one::<String>("PART").map(String::as_str);
    match wanted {
        Some(part) if !parts.contains(&part) => refuse(format_args!(
            "unknown part '{part}'; parts with a status: {}",
            parts.join(", ")
        )),
        Some(part) => of_part(part, matches),
        None => of_all(&parts, matches),
    }
}

/// The parts that have a report: the processes, and all parts beside the proxy.
pub fn parts() -> impl Iterator<Item = &'static str> {
    let beside = row::all().iter().filter(|row| row.sidecar().is_some());
    iter::once(supervisor::PART).chain(beside.map(|row| row.part))
}

/// The parts whose reports the console and `evenkeel top` show: also that of the cluster, which only
/// a member has.
pub fn shown_parts() -> impl Iterator<Item = &'static str> {
    let all = row::all().iter().map(|row| row.part);
    parts().chain(all.filter(|part| *part == cluster::message::PART))
}

/// Prints the state of one part.
pub fn of_part(part: &str, matches: &ArgMatches) -> ExitCode {
    let found = reload::selected(matches).map_err(NoAnswer::from);
    match found.and_then(|instance| report(&instance, part)) {
        Ok(report) => show(&[report], matches),
        Err(error) => refuse(error),
    }
}

/// Reason why there is no response.
pub struct NoAnswer {
    words: String,
    /// The version that is served has something of the part that was asked.
    missing: bool,
    /// The served version does not contain the part.
    nothing: bool,
}

impl NoAnswer {
    /// Returns whether the served version contains the part, and its report is missing.
    pub fn is_missing(&self) -> bool {
        self.missing
    }

    /// Returns whether the served version does not contain the part.
    pub fn has_nothing(&self) -> bool {
        self.nothing
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<String> for NoAnswer {
    fn from(words: String) -> NoAnswer {
        NoAnswer {
            words,
            missing: false,
            nothing: false,
        }
    }
}

fn of_all(parts: &[&str], matches: &ArgMatches) -> ExitCode {
    let instance = match reload::selected(matches) {
        Ok(instance) => instance,
        Err(words) => return refuse(words),
    };
    let (mut reports, mut why) = (Vec::new(), Vec::new());
    for part in parts {
        match report(&instance, part) {
            Ok(report) => reports.push(report),
            Err(error) if error.missing => reports.push(StatusReport::silent(part, &error.words)),
            Err(error) => why.push(error.words),
        }
    }
    if reports.is_empty() {
        refuse(why.join("; "))
    } else {
        show(&reports, matches)
    }
}

/// Prints reports in the form that the options name: JSON is a list.
fn show(reports: &[StatusReport], matches: &ArgMatches) -> ExitCode {
    let all = |form: fn(&StatusReport) -> String| reports.iter().map(form).collect::<Vec<_>>();
    if matches.get_flag("json") {
        let all = all(StatusReport::json);
        let all: Vec<&str> = all.iter().map(|one| one.trim_end()).collect();
        return print(&format!("[{}]\n", all.join(",")));
    }
    if matches.get_flag("metrics") {
        let mut metrics = String::new();
        reports.iter().for_each(|one| one.metrics(&mut metrics));
        return print(&metrics);
    }
    print(&all(StatusReport::text).join("\n"))
}

/// The state of a part, as its role reports it.
///
/// # Errors
/// Returns why there is no report.
pub fn report(instance: &Instance, part: &str) -> Result<StatusReport, NoAnswer> {
    report_within(instance, part, ANSWER_LIMIT)
}

/// The same, within a limit.
///
/// # Errors
/// Returns why there is no report.
pub fn report_within(
    instance: &Instance,
    part: &str,
    limit: Option<Duration>,
) -> Result<StatusReport, NoAnswer> {
    let part = part.to_owned();
    let answer = ask(instance, &SupervisorMessage::TellReport { part }, limit)?;
    let file = answer.descriptors.first();
    let file = file.ok_or_else(|| not_known(instance))?;
    let gone = |error: &dyn fmt::Display| format!("process {}: {error}", instance.pid);
    let bytes = memory::check(file, BYTES_MAX).and_then(|_| memory::read(file));
    let report = StatusReport::decode(&bytes.map_err(|error| gone(&error))?);
    Ok(report.map_err(|error| gone(&error))?)
}

/// Asks a supervisor, and waits for the answer; without a limit for as long as it takes.
///
/// # Errors
/// Returns why there is no report.
pub fn ask(
    instance: &Instance,
    message: &SupervisorMessage,
    limit: Option<Duration>,
) -> Result<Received, NoAnswer> {
    let connected = || Channel::new(directory::connected(&instance.socket)?);
    let asked = connected().map_err(ChannelError::System);
    let received = asked.and_then(|mut channel| {
        channel.send_numbered(1, message, &[])?;
        channel.wait(limit)
    });
    let received = received.map_err(|error| explain_no_response(instance, &error))?;
    match received.message {
        SupervisorMessage::Nobody { words, missing } => Err(NoAnswer {
            words,
            missing,
            nothing: !missing,
        }),
        _ => Ok(received),
    }
}

/// Asks the role of a part, which has the name of its section.
///
/// # Errors
/// Why there is no answer, in words.
pub fn ask_part<T: DeserializeOwned>(
    instance: &Instance,
    message: PartMessage,
) -> Result<T, String> {
    let part = message.part.clone();
    let message = SupervisorMessage::Part(Box::new(message));
    let answer =
        ask(instance, &message, ANSWER_LIMIT).map_err(|error| if error.has_nothing() {
format!(
                "the served configuration has no `{part}` section: add one, and run `evenkeel reload`"
            )
} else {
error.to_string()
})?;
    let SupervisorMessage::Answer { bytes } = answer.message else {
        return Err(not_known(instance));
    };
    codec::decode(&bytes).map_err(|_| not_known(instance))
}

/// The state of a part in the form that the options name, or only of the section that an argument names.
///
/// # Errors
/// Why there is none, in words.
pub fn sections(matches: &ArgMatches, part: &str, argument: &str) -> Result<String, String> {
    let instance = reload::selected(matches)?;
    let mut report = report(&instance, part).map_err(|error| error.to_string())?;
    if let Some(name) = matches.get_one::<String>(argument) {
        report.subjects.retain(|one| one.name == *name);
        if report.subjects.is_empty() {
            return Err(format!(
                "the served configuration has no `{part}` section '{name}'"
            ));
        }
    }
    if matches.get_flag("json") {
        Ok(report.json())
    } else {
        Ok(report.text())
    }
}

/// Why there is no answer. A supervisor of another version drops the connection, or its
/// reply cannot be read.
fn explain_no_response(instance: &Instance, error: &ChannelError) -> String {
    let pid = instance.pid;
    let differs = match error {
        ChannelError::Closed => directory::connected(&instance.socket).is_ok(),
        ChannelError::Decode(DecodeError::Version(_)) => true,
        _ => false,
    };
    if differs {
        format!(
            "process {pid} runs another version of evenkeel, and does not understand this one ({}, messages {VERSION}): \
             use its program for this command (/proc/{pid}/exe), or restart it with this one",
            identity::VERSION
        )
    } else {
        format!("process {pid}: {error}")
    }
}

/// The words where a supervisor of another program answers.
pub fn not_known(instance: &Instance) -> String {
    format!("process {} does not support this command", instance.pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept, bind, listen, socket_with,
    };

    /// Returns the message about a supervisor that sends this response and hangs up.
    fn said_of(reply: &'static [u8]) -> String {
        let scratch = ScratchDirectory::new().unwrap();
        let socket = scratch.path().join("1.sock");
        let kind = SocketType::SEQPACKET;
        let fd = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        bind(&fd, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
        listen(&fd, 4).unwrap();
        let served = std::thread::spawn(move || {
            let client = accept(&fd).unwrap();
            rustix::io::read(&client, &mut [0; 64]).unwrap();
            if !reply.is_empty() {
                rustix::io::write(&client, reply).unwrap();
            }
            fd
        });
        let instance = Instance {
            pid: 4711,
            program: "evenkeel".to_owned(),
            network: 1,
            paths: Vec::new(),
            claims: Default::default(),
            socket,
            is_elsewhere: false,
        };
        let asked = ask(&instance, &SupervisorMessage::TellPulse, ANSWER_LIMIT);
        drop(served.join().unwrap());
        asked.err().unwrap().to_string()
    }

    #[test]
    fn a_supervisor_of_another_version_is_called_that() {
        for reply in [
            &[][..],
            &[b'E', 200, 42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            let said = said_of(reply);
            assert!(said.contains("runs another version of evenkeel"), "{said}");
            assert!(said.contains("/proc/4711/exe"), "{said}");
        }
    }
}
