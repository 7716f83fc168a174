//! Implements `evenkeel status`, which shows the state of the processes and of every part, or of
//! one part. Also sends the queries and orders of other commands to the running supervisor and its
//! roles.

use crate::instance::selected;
use crate::{print, refuse};
use clap::ArgMatches;
use part::channel::{Channel, ChannelError, Received};
use part::report::{BYTES_MAX, StatusReport};
use part::role::{
    DecodeError, DiagnosticFormat, OrderResponse, PartMessage, SupervisorMessage, VERSION,
};
use part::{codec, identity, memory, row, voice};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fmt, iter, thread};
use supervisor::directory::{self, Instance};

pub const ANSWER_LIMIT: Option<Duration> = Some(Duration::from_secs(10));
const REPORT_LIMIT: Duration = Duration::from_secs(4);
/// Interval at which a connection is tried again while the supervisor's queue of clients is full.
const CONNECT_POLL: Duration = Duration::from_millis(20);

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

/// Returns the parts that have a report: the processes, and all parts with a sidecar role.
pub fn parts() -> impl Iterator<Item = &'static str> {
    let beside = row::all().iter().filter(|row| row.sidecar().is_some());
    iter::once(supervisor::PART).chain(beside.map(|row| row.part))
}

/// Returns the parts whose reports the console and `evenkeel top` show: those of [`parts`] and the
/// cluster, which only a member has.
pub fn shown_parts() -> impl Iterator<Item = &'static str> {
    let all = row::all().iter().map(|row| row.part);
    parts().chain(all.filter(|part| *part == part::control::PART))
}

pub fn of_part(part: &str, matches: &ArgMatches) -> ExitCode {
    let found = selected(matches).map_err(NoAnswer::from);
    match found.and_then(|instance| report(&instance, part)) {
        Ok(report) => show(&[report], matches),
        Err(error) => refuse(error),
    }
}

/// Reason why a query to the supervisor, or through it to a role, has no response.
#[derive(Debug)]
pub struct NoAnswer {
    words: String,
    kind: NoAnswerKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NoAnswerKind {
    Silent,
    /// The served version contains the part, whose role does not run or respond.
    Missing,
    /// The served version does not contain the part.
    NotConfigured,
    Other,
}

impl NoAnswer {
    /// Returns whether the served version contains the part, and its report is missing.
    pub fn is_missing(&self) -> bool {
        self.kind == NoAnswerKind::Missing
    }

    pub fn is_silent(&self) -> bool {
        self.kind == NoAnswerKind::Silent
    }

    /// Returns whether the served version does not contain the part.
    pub fn has_nothing(&self) -> bool {
        self.kind == NoAnswerKind::NotConfigured
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
            kind: NoAnswerKind::Other,
        }
    }
}

fn of_all(parts: &[&str], matches: &ArgMatches) -> ExitCode {
    let instance = match selected(matches) {
        Ok(instance) => instance,
        Err(words) => return refuse(words),
    };
    match known(parts, reports_within(&instance, parts, REPORT_LIMIT)) {
        Ok(reports) => show(&reports, matches),
        Err(words) => refuse(words),
    }
}

/// Returns the reports of these parts, with a placeholder for each part that should have one.
///
/// # Errors
/// Returns why there is no report at all.
fn known(
    parts: &[&str],
    answers: Vec<Result<StatusReport, NoAnswer>>,
) -> Result<Vec<StatusReport>, String> {
    let is_there = |answer: &Result<StatusReport, NoAnswer>| match answer {
        Ok(_) => true,
        Err(error) => error.is_missing(),
    };
    if !answers.iter().any(is_there) {
        let mut why: Vec<String> = Vec::new();
        for error in answers.into_iter().filter_map(Result::err) {
            if !why.contains(&error.words) {
                why.push(error.words);
            }
        }
        return Err(why.join("; "));
    }
    let named = parts.iter().zip(answers);
    let report = |(part, answer): (&&str, Result<StatusReport, NoAnswer>)| match answer {
        Ok(report) => Some(report),
        Err(error) if error.is_missing() || error.is_silent() => {
            Some(StatusReport::silent(part, &error.words))
        }
        Err(_) => None,
    };
    Ok(named.filter_map(report).collect())
}

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

/// Returns the state of a part, as its role reports it.
///
/// # Errors
/// Returns why there is no report.
pub fn report(instance: &Instance, part: &str) -> Result<StatusReport, NoAnswer> {
    report_within(instance, part, REPORT_LIMIT)
}

/// Returns the reports of several parts, as [`reports_within`].
pub fn reports<const N: usize>(
    instance: &Instance,
    parts: [&str; N],
) -> [Result<StatusReport, NoAnswer>; N] {
    let mut answers = reports_within(instance, &parts, REPORT_LIMIT).into_iter();
    let lost = || Err(NoAnswer::from("the query failed".to_owned()));
    parts.map(|_| answers.next().unwrap_or_else(lost))
}

/// Returns the reports of several parts, in their order. All parts are queried at the same time, so
/// silent parts take no longer than `limit` together.
pub fn reports_within(
    instance: &Instance,
    parts: &[&str],
    limit: Duration,
) -> Vec<Result<StatusReport, NoAnswer>> {
    thread::scope(|scope| {
        let query = |part: &&str| {
            let part = (*part).to_owned();
            scope.spawn(move || report_within(instance, &part, limit))
        };
        let queries: Vec<_> = parts.iter().map(query).collect();
        let answer = |query: thread::ScopedJoinHandle<'_, _>| {
            let lost = |_| Err(NoAnswer::from("the query failed".to_owned()));
            query.join().unwrap_or_else(lost)
        };
        queries.into_iter().map(answer).collect()
    })
}

fn report_within(
    instance: &Instance,
    part: &str,
    limit: Duration,
) -> Result<StatusReport, NoAnswer> {
    let part = part.to_owned();
    let message = SupervisorMessage::TellReport { part };
    let answer = ask(instance, &message, Some(limit))?;
    let file = answer.descriptors.first();
    let file = file.ok_or_else(|| not_known(instance))?;
    let gone = |error: &dyn fmt::Display| format!("process {}: {error}", instance.pid);
    let bytes = memory::check(file, BYTES_MAX).and_then(|_| memory::read(file));
    let report = StatusReport::decode(&bytes.map_err(|error| gone(&error))?);
    Ok(report.map_err(|error| gone(&error))?)
}

/// Sends a query to a supervisor, and waits for the response. A `limit` of None waits forever.
///
/// # Errors
/// Returns why there is no response.
pub fn ask(
    instance: &Instance,
    message: &SupervisorMessage,
    limit: Option<Duration>,
) -> Result<Received, NoAnswer> {
    let until = limit.map(|limit| Instant::now() + limit);
    let left = || until.map(|until| until.saturating_duration_since(Instant::now()));
    let received = connect(instance, until).and_then(|mut channel| {
        channel.send_numbered(1, message, &[])?;
        channel.wait(left())
    });
    let received = received.map_err(|error| NoAnswer {
        words: match (&error, limit) {
            (ChannelError::Timeout, Some(limit)) => format!(
                "process {} did not respond within {} s",
                instance.pid,
                limit.as_secs()
            ),
            _ => explain_no_response(instance, &error),
        },
        kind: match error {
            ChannelError::Timeout => NoAnswerKind::Silent,
            _ => NoAnswerKind::Other,
        },
    })?;
    match received.message {
        SupervisorMessage::Nobody { words, missing } => Err(NoAnswer {
            words,
            kind: if missing {
                NoAnswerKind::Missing
            } else {
                NoAnswerKind::NotConfigured
            },
        }),
        _ => Ok(received),
    }
}

/// Connects to a supervisor. While its queue of clients is full, the connection is tried again.
fn connect(instance: &Instance, until: Option<Instant>) -> Result<Channel, ChannelError> {
    loop {
        match directory::connected(&instance.socket) {
            Ok(connection) => return Ok(Channel::new(connection)?),
            Err(Errno::AGAIN) if until.is_some_and(|until| until <= Instant::now()) => {
                return Err(ChannelError::Timeout);
            }
            Err(Errno::AGAIN) => thread::sleep(CONNECT_POLL),
            Err(errno) => return Err(ChannelError::System(errno.into())),
        }
    }
}

/// Result of a reload.
#[derive(Debug)]
pub struct Reloaded {
    /// Exit code of the command; 0: the files are applied.
    pub exit: u8,
    /// Changes and warnings, or the errors of the files.
    pub text: String,
}

/// Requests that a supervisor applies its files, and switches to a newly installed program. Waits
/// without a limit: the supervisor has its own limits for the duration of a change.
///
/// # Errors
/// Returns why there is no result.
pub fn reload(instance: &Instance, resets_runtime: bool) -> Result<Reloaded, String> {
    let look = voice::look(&std::io::stderr(), false);
    let look = DiagnosticFormat {
        color: look.color,
        unicode: look.unicode,
        width: u32::try_from(look.width).unwrap_or_default(),
        as_json: false,
    };
    let fresh = resets_runtime;
    let received = ask(instance, &SupervisorMessage::Reload { look, fresh }, None);
    let received = received.map_err(|error| error.to_string())?;
    let SupervisorMessage::Reloaded { exit } = received.message else {
        return Err(not_known(instance));
    };
    let text = received.descriptors.first().map(memory::text);
    let text = text.and_then(Result::ok).unwrap_or_default();
    Ok(Reloaded { exit, text })
}

/// Sends a query to the role of a part, which has the name of its section.
///
/// # Errors
/// Returns why there is no response.
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

/// Sends an order to the role of a part. Returns the text of its result.
///
/// # Errors
/// Returns why the order was refused, or why there is no response.
pub fn order(instance: &Instance, message: PartMessage) -> Result<String, String> {
    let response: OrderResponse = ask_part(instance, message)?;
    if response.good {
        Ok(response.words)
    } else {
        Err(response.words)
    }
}

/// Returns the state of a part as text or JSON, as the options say, or only that of the section
/// that an argument names.
///
/// # Errors
/// There is no report, or no section has this name.
pub fn sections(matches: &ArgMatches, part: &str, argument: &str) -> Result<String, String> {
    let instance = selected(matches)?;
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

/// Explains why there is no response: a supervisor of another version drops the connection, or its
/// response cannot be read.
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

/// Returns the message for a supervisor whose response this command cannot use.
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
    use std::os::fd::OwnedFd;

    /// Returns the message about a supervisor that sends this response and hangs up.
    fn said_of(reply: &'static [u8]) -> String {
        let scratch = ScratchDirectory::new().unwrap();
        let (instance, fd) = supervisor(&scratch, 4);
        let served = std::thread::spawn(move || {
            let client = accept(&fd).unwrap();
            rustix::io::read(&client, &mut [0; 64]).unwrap();
            if !reply.is_empty() {
                rustix::io::write(&client, reply).unwrap();
            }
            fd
        });
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

    /// Creates a supervisor's socket with this queue of clients.
    fn supervisor(scratch: &ScratchDirectory, queue: i32) -> (Instance, OwnedFd) {
        let socket = scratch.path().join("1.sock");
        let kind = SocketType::SEQPACKET;
        let fd = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        bind(&fd, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
        listen(&fd, queue).unwrap();
        let instance = Instance {
            pid: 4711,
            program: "evenkeel".to_owned(),
            network: 1,
            paths: Vec::new(),
            claims: Default::default(),
            socket,
            is_elsewhere: false,
        };
        (instance, fd)
    }

    #[test]
    fn several_parts_are_queried_at_the_same_time() {
        let parts = ["supervisor", "address", "boot", "volume", "guest", "farm"];
        // Tests a queue with room for all clients, and one with less, so that the other clients
        // connect later.
        for queue in [64, 1] {
            let scratch = ScratchDirectory::new().unwrap();
            let (instance, socket) = supervisor(&scratch, queue);
            let served = thread::spawn(move || {
                // Sends the responses only after all requests have arrived.
                let clients = parts.map(|_| Channel::new(accept(&socket).unwrap()).unwrap());
                for mut client in clients {
                    let asked = client.wait(None).unwrap();
                    let SupervisorMessage::TellReport { part } = asked.message else {
                        panic!("{:?}", asked.message);
                    };
                    let (words, missing) = (part, true);
                    let answer = SupervisorMessage::Nobody { words, missing };
                    client.send_numbered(asked.ask, &answer, &[]).unwrap();
                }
            });
            let answers = reports_within(&instance, &parts, Duration::from_secs(600));
            served.join().unwrap();
            let answers = answers.into_iter();
            let words = answers.map(|answer| answer.unwrap_err().to_string());
            let words: Vec<String> = words.collect();
            assert_eq!(words, parts);
        }
    }

    #[test]
    fn supervisor_without_a_response_is_reported_once() {
        let scratch = ScratchDirectory::new().unwrap();
        let (instance, _socket) = supervisor(&scratch, 1);
        // Some of the queries find the queue full until the end.
        let parts = ["supervisor", "address", "boot", "volume"];
        let answers = reports_within(&instance, &parts, Duration::from_secs(1));
        let mut all = answers.iter();
        assert!(all.all(|one| one.as_ref().is_err_and(NoAnswer::is_silent)));
        let words = known(&parts, answers).unwrap_err();
        assert_eq!(words, "process 4711 did not respond within 1 s");
    }

    #[test]
    fn silent_part_is_named_beside_the_others() {
        let silent = |kind| {
            let words = "process 1 did not respond within 4 s".to_owned();
            Err(NoAnswer { words, kind })
        };
        let answers = vec![
            Ok(StatusReport::silent("supervisor", "")),
            silent(NoAnswerKind::Silent),
            silent(NoAnswerKind::NotConfigured),
            silent(NoAnswerKind::Missing),
        ];
        let reports = known(&["supervisor", "volume", "farm", "guest"], answers).unwrap();
        let parts: Vec<&str> = reports.iter().map(|report| &*report.part).collect();
        assert_eq!(parts, ["supervisor", "volume", "guest"]);
        assert!(reports[1].text().contains("did not respond within 4 s"));
    }
}
