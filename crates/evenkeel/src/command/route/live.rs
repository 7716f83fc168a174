//! Evaluates a request for `evenkeel route` with the state of a running instance. The instance is
//! queried for its configuration version and its state, and is not changed.

use super::super::{files, run, status};
use super::{RouteFailure, config, files_refused, in_words, is_without_file, load};
use ::command::instance;
use clap::ArgMatches;
use configuration::Recording;
use part::memory;
use part::role::SupervisorMessage;
use proxy::message::{AskedKey, ProxyMessage as OfProxy};
use route::rounds::{self, NotServed};
use route::{Request, RouteReport};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use supervisor::directory::Instance;
use zeroize::Zeroizing;

/// Time limit for all responses of the instance together.
const LIMIT: Duration = Duration::from_secs(5);
const STATE_BYTES_MAX: usize = 64 << 20;

/// A running instance, and the deadline for all of its responses.
struct Asking {
    instance: Instance,
    until: Instant,
}

/// Evaluates the request with the state of the running instance that the options select.
pub fn report(matches: &ArgMatches, request: &Request) -> Result<RouteReport, RouteFailure> {
    let pid = matches.get_one::<u32>("pid").copied();
    let files = if is_without_file(matches) {
        files_behind(matches)
    } else {
        files(matches)
    };
    let instance = instance::find_instance(&run::absolute(&files), pid)?;
    let is_candidate = !is_without_file(matches);
    let of_load = matches.get_flag("no-resolve") || matches.contains_id("node");
    if !is_candidate && (of_load || !files.is_empty()) {
        return Err(RouteFailure::Words(
            "without FILE the configuration is the running one: -f, --node and --no-resolve need a FILE before the \
             request"
                .to_owned(),
        ));
    }
    // Loads the files before the time limit of the instance starts: loading may query nameservers.
    let candidate = is_candidate.then(|| load(matches, &files)).transpose()?;
    let asking = Asking {
        instance,
        until: Instant::now() + LIMIT,
    };
    let recording = match candidate {
        Some(loaded) => {
            config(loaded.config, &loaded.sources, &loaded.diagnostics)?;
            loaded.recording
        }
        None => asking.version()?,
    };
    let state = |keys: &[AskedKey]| asking.state(keys).map_err(in_words_of);
    let mut report = rounds::serve(request, &recording, state).map_err(refused)?;
    if let Some(live) = &mut report.live {
        live.instance = format!("process {}", instance::described(&asking.instance));
    }
    Ok(report)
}

fn in_words_of(refused: RouteFailure) -> String {
    match refused {
        RouteFailure::Words(words) | RouteFailure::Files(words) => words,
    }
}

fn refused(why: NotServed) -> RouteFailure {
    match why {
        NotServed::Silent(words) => RouteFailure::Words(words),
        NotServed::NotFollowed(error) => RouteFailure::Words(in_words(error)),
        NotServed::Invalid(loaded) => files_refused(&loaded.sources, &loaded.diagnostics),
    }
}

fn files_behind(matches: &ArgMatches) -> Vec<PathBuf> {
    let files = matches.get_many::<PathBuf>("FILES");
    files.into_iter().flatten().cloned().collect()
}

impl Asking {
    fn ask(&self, message: &SupervisorMessage) -> Result<OwnedFd, RouteFailure> {
        let left = self.until.saturating_duration_since(Instant::now());
        // A timeout of zero would mean no timeout.
        let left = left.max(Duration::from_millis(1));
        let received = status::ask(&self.instance, message, Some(left));
        let received = received.map_err(|error| error.to_string())?;
        match (received.message, received.descriptors.into_iter().next()) {
            (SupervisorMessage::Answer { .. }, Some(file)) => Ok(file),
            (SupervisorMessage::Answer { .. }, None) => Err(RouteFailure::Words(format!(
                "process {} did not reply with its state",
                self.instance.pid
            ))),
            _ => Err(RouteFailure::Words(status::not_known(&self.instance))),
        }
    }

    fn version(&self) -> Result<Recording, RouteFailure> {
        let file = self.ask(&SupervisorMessage::GiveVersion)?;
        let bytes = Zeroizing::new(memory::read(&file).map_err(|error| self.words(&error))?);
        if bytes.is_empty() {
            return Err(RouteFailure::Words(format!(
                "process {} no longer has the text of its configuration: name the files before the request",
                self.instance.pid
            )));
        }
        Ok(Recording::decode(&bytes).map_err(|error| self.words(&error))?)
    }

    /// Returns the instance's current state: of large tables only the entries with these keys.
    fn state(&self, keys: &[AskedKey]) -> Result<Vec<u8>, RouteFailure> {
        let keys = keys.to_vec();
        let message = OfProxy::TellLive { keys }.envelope();
        let file = self.ask(&SupervisorMessage::Part(Box::new(message)))?;
        memory::check(&file, STATE_BYTES_MAX).map_err(|error| self.words(&error))?;
        Ok(memory::read(&file).map_err(|error| self.words(&error))?)
    }

    fn words(&self, error: &dyn std::fmt::Display) -> String {
        format!("process {}: {error}", self.instance.pid)
    }
}
