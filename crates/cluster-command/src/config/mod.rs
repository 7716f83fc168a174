//! Implements `evenkeel config`: shows the configuration versions of a cluster and their history,
//! and proposes new ones. The command sends requests to the control role of this machine, on any
//! node.

mod apply;
mod copies;
mod definition;
mod diff;
mod edit;
mod log;
mod mask;
mod seen;
mod show;
#[cfg(test)]
mod tests;
mod versions;

pub use definition::config;
pub use mask::mask;
pub use versions::{CheckedVersion, VersionLoader, payload, set_version_loader};

use clap::ArgMatches;
use cluster::command::VersionId;
use cluster::file_set::FileSet;
use cluster::request::{AskError, ControlReply, Request};
use cluster::state::{RolloutStage, VersionRecord};
use command::json::OutputFormat;
use command::print;
use part::voice::{Form, MessagePrinter};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const VERSIONS_MAX: u64 = 1_000;

const TAKEN_BACK: u8 = 3;

#[derive(Debug, thiserror::Error)]
enum ConfigError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("{0}")]
    Refused(String),
    /// A candidate was served and rolled back, with the message of the control role.
    #[error("{0}")]
    TakenBack(String),
    #[error("unexpected reply of the control role")]
    Strange,
    #[error("cannot parse the reply of the control role: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{}", no_version(*.0))]
    NoVersion(Option<VersionId>),
    #[error("version {1} has no file '{0}'; `evenkeel config show --version {1}` lists its files")]
    NoFile(String, VersionId),
    #[error("{0}")]
    Collect(String),
    #[error("{}", part::space::write_error(Path::new(.0), .1))]
    Io(String, std::io::Error),
    #[error("{0}")]
    Unknown(String),
    /// The files lack the changes of this accepted version, whose difference was printed.
    #[error(
        "nothing was changed: version {0} was accepted after these files were last applied on this machine. Merge it \
         into them (`evenkeel config show --export DIRECTORY` writes it), then add `--onto {0}`"
    )]
    Stale(VersionId),
    #[error("nothing was changed: the text has errors")]
    Edited,
    #[error("cannot start the editor '{0}'; set EDITOR to another one")]
    NoEditor(String),
}

fn no_version(version: Option<VersionId>) -> String {
    match version {
        Some(version) => format!(
            "version {version} does not exist or is no longer kept; `evenkeel config log` lists the versions"
        ),
        None => "no version is accepted yet; create the first one with `evenkeel config apply FILE… -m MESSAGE`"
            .to_owned(),
    }
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    let done = match matches.subcommand() {
        Some(("show", matches)) => show::main(matches),
        Some(("log", matches)) => log::main(matches),
        Some(("diff", matches)) => diff::main(matches),
        Some(("blame", matches)) => diff::blame(matches),
        Some(("apply", matches)) => apply::main(matches),
        Some(("edit", matches)) => edit::main(matches),
        Some(("rollback", matches)) => apply::rollback(matches),
        Some(("confirm", matches)) => order(
            matches,
            &Request::Confirm {
                version: version(matches, "VERSION"),
            },
        ),
        Some(("cancel", matches)) => order(
            matches,
            &Request::TakeBack {
                words: apply::cancel_words(matches),
            },
        ),
        Some(("follow", matches)) => order(matches, &Request::Follow),
        Some(("status", matches)) => log::status(matches.get_flag("json")),
        _ => return ExitCode::FAILURE,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            MessagePrinter::new(Form::Own, false).alert(&error);
            code(&error)
        }
    }
}

fn code(error: &ConfigError) -> ExitCode {
    match error {
        ConfigError::TakenBack(_) => ExitCode::from(TAKEN_BACK),
        ConfigError::Ask(AskError::Ended | AskError::Silent(_)) => {
            ExitCode::from(crate::connection::UNKNOWN)
        }
        ConfigError::Unknown(_) => ExitCode::from(crate::connection::UNKNOWN),
        _ => ExitCode::FAILURE,
    }
}

fn version(matches: &ArgMatches, name: &str) -> Option<VersionId> {
    matches.get_one::<u64>(name).copied().map(VersionId)
}

/// Sends a request, and prints the progress in this format.
fn answer(request: &Request, format: OutputFormat) -> Result<ControlReply, ConfigError> {
    answer_after(request, format, &BTreeSet::new())
}

/// Sends a request as [`answer`], and leaves out the diagnostics that were printed before.
fn answer_after(
    request: &Request,
    format: OutputFormat,
    printed: &BTreeSet<String>,
) -> Result<ControlReply, ConfigError> {
    let mut client = crate::connection::connect()?;
    let reply = client.done(request, ANSWER_LIMIT, |words| {
        format.note(&format!("{}\n", without_printed(words, printed)));
    })?;
    match reply {
        ControlReply::Refused { words } => Err(ConfigError::Refused(words)),
        ControlReply::Unknown { words } => Err(ConfigError::Unknown(words)),
        reply => Ok(reply),
    }
}

fn without_printed(words: &str, printed: &BTreeSet<String>) -> String {
    let is_new = |line: &&str| !printed.contains(*line);
    let lines: Vec<&str> = words.lines().filter(is_new).collect();
    match lines[..] {
        // All that the first line announces was printed before.
        [heading] if lines.len() < words.lines().count() => {
            format!("{}, with the same warnings", heading.trim_end_matches(':'))
        }
        _ => lines.join("\n"),
    }
}

/// Sends a request about the version in progress, and prints the result.
fn order(matches: &ArgMatches, request: &Request) -> Result<(), ConfigError> {
    let format = OutputFormat::of(matches);
    match answer(request, format)? {
        ControlReply::Done { words, version } => {
            ChangeResult::new(words, version, true).print(format)
        }
        _ => Err(ConfigError::Strange),
    }
}

/// Result of a change that the cluster did not refuse, for `--json`.
#[derive(Serialize)]
struct ChangeResult {
    /// False if the files are those of the accepted version.
    changed: bool,
    /// The new version; of `config cancel`, the accepted version.
    version: Option<VersionId>,
    /// None if the cluster does not respond any more.
    stage: Option<RolloutStage>,
    done: String,
}

impl ChangeResult {
    fn new(done: String, version: Option<VersionId>, changed: bool) -> ChangeResult {
        ChangeResult {
            changed,
            version,
            stage: None,
            done,
        }
    }

    fn print(mut self, format: OutputFormat) -> Result<(), ConfigError> {
        if format == OutputFormat::Json
            && let Some(version) = self.version
        {
            let records = records(VERSIONS_MAX).unwrap_or_default();
            let mut records = records.into_iter();
            let record = records.find(|record| record.id == version);
            self.stage = record.map(|record| record.stage);
        }
        let text = format!("{}\n", self.done);
        let text = format.render(text, &self);
        print(&text.map_err(ConfigError::Collect)?);
        Ok(())
    }
}

fn json(request: &Request) -> Result<String, ConfigError> {
    match answer(request, OutputFormat::Text)? {
        ControlReply::Json(text) => Ok(text),
        _ => Err(ConfigError::Strange),
    }
}

fn records(max: u64) -> Result<Vec<VersionRecord>, ConfigError> {
    Ok(serde_json::from_str(&json(&Request::Log { max })?)?)
}

/// Requests the files of a version, or those of the accepted version.
fn set(version: Option<VersionId>) -> Result<FileSet, ConfigError> {
    match answer(&Request::Show { version }, OutputFormat::Text)? {
        ControlReply::Set(set) => Ok(*set),
        _ => Err(ConfigError::Strange),
    }
}

/// Requests the files of the accepted version from the control role.
///
/// # Errors
/// Returns the reason why there are none, as a message.
pub fn accepted_files() -> Result<FileSet, String> {
    set(None).map_err(|error| error.to_string())
}

fn named<'m>(matches: &'m ArgMatches, set: &FileSet) -> Result<Vec<&'m str>, ConfigError> {
    let names = command::words(matches, "FILE");
    let has = |name: &str| set.files.iter().any(|file| file.path == name);
    match names.iter().find(|name| !has(name)) {
        Some(missing) => Err(ConfigError::NoFile((*missing).to_owned(), set.version)),
        None => Ok(names),
    }
}

fn write_own(path: &Path, bytes: &[u8]) -> Result<(), ConfigError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let failed = |error| ConfigError::Io(path.display().to_string(), error);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(bytes).map_err(|error| {
        // An incomplete file could be taken for the whole one.
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}

fn accepted(records: &[VersionRecord]) -> Option<&VersionRecord> {
    let accepted = |record: &&VersionRecord| record.stage == RolloutStage::Accepted;
    records.iter().find(accepted)
}

/// Returns the author for a proposal: option `--author`, or the user, before `sudo` or `doas`, and
/// this host.
fn author(matches: &ArgMatches) -> String {
    let given = matches.try_get_one::<String>("author").ok().flatten();
    if let Some(author) = given {
        return author.clone();
    }
    let before = std::env::var("SUDO_USER").or_else(|_| std::env::var("DOAS_USER"));
    let uid = rustix::process::getuid().as_raw();
    let user = before.ok().filter(|name| !name.is_empty());
    let user = user.or_else(|| command::user_name(uid));
    let user = user.unwrap_or_else(|| uid.to_string());
    format!("{user}@{}", part::identity::host_name())
}

fn time(seconds: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_second(seconds) else {
        return seconds.to_string();
    };
    let zoned = time.to_zoned(jiff::tz::TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}
