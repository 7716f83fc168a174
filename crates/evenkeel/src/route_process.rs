//! Runs the process that evaluates the route of one request for the console, which cannot read the
//! configuration. The supervisor starts it for one query. The process changes to an unprivileged
//! user and drops all capabilities and file access. It reads the query from the console's
//! connection, requests the proxy's state through the supervisor, and writes the report with masked
//! secrets.

use crate::recorded_files::set_of;
use cluster::history::Redaction;
use cluster_command::mask;
use configuration::Recording;
use confinement::{Confinement, ConfinementError, ServiceUser};
use console::inquiry::route::{DescribedRequest, QUESTION_BYTES_MAX, RouteProcessCommand};
use language::difference::{COVER, mask_secrets};
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use part::channel::{Channel, ChannelError, Received};
use part::role::SupervisorMessage;
use part::{entry, memory};
use proxy::message::{AskedKey, ProxyMessage as OfProxy};
use route::rounds::{self, NotServed};
use route::{Request, RouteDestination, RouteEndpoint, RouteReport, RouteRequest};
use serde_json::json;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Time limit each for reading the query, for writing the report, and for the proxy's state.
const LIMIT: Duration = Duration::from_secs(4);
const CPU_SECONDS_MAX: u64 = 6;
const DATA_BYTES_MAX: u64 = 2 << 30;
const STATE_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
enum RouteError {
    #[error("the supervisor: {0}")]
    Channel(ChannelError),
    #[error("rights and limits: {0}")]
    Rights(#[from] Errno),
    #[error(transparent)]
    Confinement(#[from] ConfinementError),
    #[error("the console: {0}")]
    Console(#[from] io::Error),
}

pub fn main(channel: Channel) -> ExitCode {
    entry::exit("the process of a route", serve(channel))
}

fn first(received: Received) -> Option<(UnixStream, OwnedFd)> {
    let mut descriptors = received.descriptors.into_iter();
    match received.message {
        SupervisorMessage::Part(_) => Some((descriptors.next()?.into(), descriptors.next()?)),
        _ => None,
    }
}

fn serve(mut channel: Channel) -> Result<(), RouteError> {
    let first = entry::first(&mut channel, first);
    let (mut connection, bundle) = first.map_err(RouteError::Channel)?;
    drop_privileges()?;
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(LIMIT))?;
    connection.set_write_timeout(Some(LIMIT))?;
    let mut question = String::new();
    let bytes_max = u64::try_from(QUESTION_BYTES_MAX).unwrap_or(u64::MAX);
    BufReader::new((&connection).take(bytes_max)).read_line(&mut question)?;
    let text = answered(channel, &question, &bundle);
    let text = text.unwrap_or_else(|words| json!({ "error": words }).to_string() + "\n");
    connection.write_all(text.as_bytes())?;
    Ok(())
}

fn drop_privileges() -> Result<(), RouteError> {
    let confinement = Confinement::route();
    // Makes the kernel kill this process first when memory runs out. A failure is ignored.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    confinement::prepare(&confinement)?;
    confinement::become_user(ServiceUser::Route, None)?;
    setrlimit(Resource::RLIMIT_CPU, CPU_SECONDS_MAX, CPU_SECONDS_MAX)?;
    setrlimit(Resource::RLIMIT_DATA, DATA_BYTES_MAX, DATA_BYTES_MAX)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    confinement::apply(&confinement)?;
    Ok(())
}

fn answered(channel: Channel, line: &str, bundle: &OwnedFd) -> Result<String, String> {
    let line = serde_json::from_str(line);
    let line: RouteProcessCommand = line.map_err(|_| "invalid request".to_owned())?;
    let recording = recording(bundle)?;
    match line {
        RouteProcessCommand::Files => Ok(files(&recording)),
        RouteProcessCommand::Route(question) => {
            report(channel, &question, &recording).map(|report| report.json())
        }
    }
}

fn recording(bundle: &OwnedFd) -> Result<Recording, String> {
    let bytes = memory::read(bundle).map_err(|error| error.to_string())?;
    let bytes = Zeroizing::new(bytes);
    if bytes.is_empty() {
        return Err(
            "the supervisor no longer has the text of the served configuration: run `evenkeel reload` to restore it"
                .to_owned(),
        );
    }
    Recording::decode(&bytes).map_err(|error| error.to_string())
}

fn files(recording: &Recording) -> String {
    let set = set_of(recording);
    let mask = mask().of(&set);
    let shown = set.iter().map(|file| mask.shown(file));
    json!(shown.collect::<Vec<_>>()).to_string() + "\n"
}

/// Masks the secrets of the files in a report: in lines, conditions and compared values, in the
/// reason of the outcome, and in the target of a redirection.
fn mask_report(report: &mut RouteReport, recording: &Recording) {
    let (mask, set) = (mask(), set_of(recording));
    let secrets = Redaction::of_files(&set, &mask);
    let of_files = mask.of(&set);
    let shown = |text: &str| {
        let text = mask_secrets(text.as_bytes(), of_files.vocabulary());
        secrets.apply(&String::from_utf8_lossy(&text))
    };
    for line in &mut report.lines {
        line.text = shown(&line.text);
        if let Some(words) = &mut line.fails {
            *words = secrets.apply(words);
        }
        for term in &mut line.terms {
            let name = shown(&term.name);
            let is_secret = name != term.name;
            term.name = name;
            for value in &mut term.values {
                *value = if is_secret {
                    COVER.to_owned()
                } else {
                    secrets.apply(value)
                };
            }
        }
    }
    match &mut report.outcome {
        RouteDestination::Server { why, .. }
        | RouteDestination::Waits { why, .. }
        | RouteDestination::Reply { why, .. }
        | RouteDestination::Nothing { why } => *why = secrets.apply(why),
    }
    if let RouteDestination::Reply {
        location: Some(location),
        ..
    } = &mut report.outcome
    {
        *location = shown(location);
    }
}

fn report(
    channel: Channel,
    question: &DescribedRequest,
    recording: &Recording,
) -> Result<RouteReport, String> {
    let request = request(question)?;
    let mut asking = Asking {
        channel,
        until: Instant::now() + LIMIT,
        number: 0,
    };
    let report = rounds::serve(&request, recording, |keys| asking.state(keys));
    let mut report = report.map_err(in_words)?;
    mask_report(&mut report, recording);
    Ok(report)
}

fn request(question: &DescribedRequest) -> Result<Request, String> {
    let mut asked = RouteRequest::parse(&format!("{} {}", question.method, question.url))?;
    for header in &question.headers {
        asked.add_header(header)?;
    }
    asked.body = question.data.clone().into_bytes();
    asked.check_length()?;
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let end = |text: &str| match text {
        "" => Ok(None),
        text => route::end(text).map(Some).ok_or_else(|| {
            format!(
                "'{text}' is not an IP address, such as 192.0.2.1, 192.0.2.1:443 or \
                 [2001:db8::1]:443"
            )
        }),
    };
    let [source, to]: [Option<RouteEndpoint>; 2] = [end(&question.source)?, end(&question.to)?];
    Ok(Request {
        frontend: some(&question.frontend),
        source,
        to,
        sni: some(&question.sni),
        ..Request::new(asked)
    })
}

fn in_words(why: NotServed) -> String {
    match why {
        NotServed::Silent(words) => words,
        NotServed::NotFollowed(error) => error.to_string(),
        NotServed::Invalid(_) => {
            "the configuration that is served cannot be loaded again".to_owned()
        }
    }
}

/// Requests the proxy's state through the supervisor, until a deadline.
struct Asking {
    channel: Channel,
    until: Instant,
    number: u64,
}

impl Asking {
    fn state(&mut self, keys: &[AskedKey]) -> Result<Vec<u8>, String> {
        let keys = keys.to_vec();
        let message = OfProxy::TellLive { keys }.envelope();
        let failed = |error: ChannelError| format!("the supervisor: {error}");
        self.number += 1;
        (self.channel)
            .send_numbered(
                self.number,
                &SupervisorMessage::Part(Box::new(message)),
                &[],
            )
            .map_err(failed)?;
        let left = self.until.saturating_duration_since(Instant::now());
        // A timeout of zero would mean no timeout.
        let left = left.max(Duration::from_millis(1));
        let received = self.channel.wait(Some(left)).map_err(failed)?;
        let file = match (received.message, received.descriptors.into_iter().next()) {
            (SupervisorMessage::Answer { .. }, Some(file)) => file,
            (SupervisorMessage::Nobody { words, .. }, _) => return Err(words),
            _ => return Err("the proxy did not reply with its state".to_owned()),
        };
        memory::check(&file, STATE_BYTES_MAX).map_err(|error| error.to_string())?;
        memory::read(&file).map_err(|error| error.to_string())
    }
}
