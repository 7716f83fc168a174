//! Implements `config apply` and `config rollback`: prints the difference of a proposed version,
//! sends the proposal to the control role, and prints the result. Other commands propose versions
//! by it, too.

use super::mask::mask;
use super::seen::BaseVersions;
use super::versions;
use super::{
    ChangeResult, ConfigError, VERSIONS_MAX, accepted, answer, answer_after, author, now_s,
    records, set, version,
};
use clap::ArgMatches;
use cluster::command::{Judging, VersionId, VersionOrigin};
use cluster::file_set::FileSet;
use cluster::history;
use cluster::keyword::ConfigSection;
use cluster::member::MemberKind;
use cluster::request::{Apply, ControlReply, Request};
use cluster::state::{RolloutStage, VersionRecord};
use command::instance::absolute;
use command::json::OutputFormat;
use command::word;
use part::voice::{Form, MessagePrinter};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

const LINES_MAX: usize = 200;
const RECENT: u64 = 8;

pub(super) fn main(matches: &ArgMatches) -> Result<(), ConfigError> {
    let paths: Vec<PathBuf> = command::files(matches);
    let paths: Vec<PathBuf> = paths
        .iter()
        .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
        .collect();
    let status = super::log::status_of()?;
    let state = matches.get_one::<PathBuf>("state").cloned();
    let state = state.unwrap_or_else(|| match status.directory.as_str() {
        "" => cluster::role::directory::USUAL.into(),
        known => known.into(),
    });
    let format = OutputFormat::of(matches);
    let mut voice = MessagePrinter::new(Form::Own, false);
    voice.record_diagnostics();
    let new = versions::collect(&paths, &status, &mut voice)?;
    let printed = voice.recorded_diagnostics();
    let key = absolute(&paths);
    let mut seen = BaseVersions::read(&state);
    let records = records(VERSIONS_MAX)?;
    let served = accepted(&records);
    let parent = version(matches, "onto").or_else(|| seen.version(&key));
    let old = match served {
        Some(record) if parent != Some(record.id) => {
            return Err(unseen(&records, parent, record, format));
        }
        Some(record) => Some(set(Some(record.id))?),
        None => None,
    };
    let wanted = VersionProposal {
        parent: served.map(|record| record.id),
        old,
        new,
        origin: VersionOrigin::Applied,
        message: word(matches, "message"),
    };
    if let Some(version) = propose(wanted, &printed, matches)?
        && let Err(error) = seen.note(&key, version)
    {
        // Prints a warning only: the version is accepted even if the note cannot be written.
        voice.warning(format_args!(
            "version {version} is accepted, but this machine cannot record that these files belong to it ({error}): \
             the next apply of these files needs `--onto {version}`"
        ));
    }
    Ok(())
}

pub(super) struct VersionProposal {
    pub parent: Option<VersionId>,
    pub old: Option<FileSet>,
    pub new: FileSet,
    pub origin: VersionOrigin,
    pub message: String,
}

/// Prints the difference, sends the request to the cluster, and waits for the result. Diagnostics
/// that are `printed` already are not printed again for each node. Returns None if nothing changes.
pub(super) fn propose(
    wanted: VersionProposal,
    printed: &BTreeSet<String>,
    matches: &ArgMatches,
) -> Result<Option<VersionId>, ConfigError> {
    let VersionProposal {
        parent,
        old,
        new,
        origin,
        message,
    } = wanted;
    let format = OutputFormat::of(matches);
    let nothing = FileSet::default();
    let differences = history::between(old.as_ref().unwrap_or(&nothing), &new, &mask());
    if differences.is_empty() && old.is_some() {
        let words = "no change: this version is already accepted".to_owned();
        ChangeResult::new(words, parent, false).print(format)?;
        return Ok(parent);
    }
    if let Some(old) = &old {
        format.note(&shortened(&history::unified(&differences)));
        format.note(&of_guests(old, &new));
        super::copies::check(old, &new, matches)?;
    }
    let apply = Apply {
        parent,
        author: author(matches),
        message,
        time_s: now_s(),
        origin,
        judging: judging(matches, &new),
        set: new,
    };
    let (who, when) = (apply.author.clone(), apply.time_s);
    let ours = move |record: &VersionRecord| {
        record.proposal.author == who && record.proposal.time_s == when
    };
    let reply = answer_after(&Request::Apply(Box::new(apply)), format, printed);
    print_change_result(reply, ours, format)
}

fn of_guests(old: &FileSet, new: &FileSet) -> String {
    let members = super::log::status_of().map(|status| status.members);
    let members = members.unwrap_or_default().into_iter();
    let nodes = members.filter(|member| member.kind == MemberKind::Node);
    let nodes: Vec<String> = nodes.map(|node| node.name).collect();
    let lines = versions::of_guests(old, new, &nodes).into_iter();
    lines.map(|line| line + "\n").collect()
}

/// Prints the result of a proposal. After a refusal, queries whether a node served the version
/// before it was rolled back.
fn print_change_result(
    reply: Result<ControlReply, ConfigError>,
    ours: impl Fn(&VersionRecord) -> bool,
    format: OutputFormat,
) -> Result<Option<VersionId>, ConfigError> {
    match reply {
        Ok(ControlReply::Done { words, version }) => {
            ChangeResult::new(words, version, true).print(format)?;
            Ok(version)
        }
        Ok(_) => Err(ConfigError::Strange),
        Err(ConfigError::Refused(words)) => {
            let recent = records(RECENT).unwrap_or_default();
            let taken_back = |record: &VersionRecord| record.stage == RolloutStage::TakenBack;
            if recent
                .iter()
                .any(|record| ours(record) && taken_back(record))
            {
                Err(ConfigError::TakenBack(words))
            } else {
                Err(ConfigError::Refused(words))
            }
        }
        Err(error) => Err(error),
    }
}

/// Returns how long a candidate is judged and when it must be confirmed: by options of the command,
/// otherwise by the lines of the changed files.
fn judging(matches: &ArgMatches, set: &FileSet) -> Judging {
    let section = ConfigSection::read(set, &versions::grammar(set));
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let given = |name| matches.get_one::<Duration>(name).copied();
    let judge = if matches.get_flag("now") {
        Duration::ZERO
    } else {
        given("judge").unwrap_or(section.judge)
    };
    Judging {
        judge_ms: ms(judge),
        confirm_within_ms: given("confirm-within").or(section.confirm).map(ms),
    }
}

fn unseen(
    records: &[VersionRecord],
    parent: Option<VersionId>,
    served: &VersionRecord,
    format: OutputFormat,
) -> ConfigError {
    let known = parent.filter(|parent| records.iter().any(|record| record.id == *parent));
    let heading = match (parent, known) {
        (Some(parent), Some(_)) => format!(
            "these files are based on version {parent}; version {} of {} is accepted: {}\n",
            served.id, served.proposal.author, served.proposal.message
        ),
        _ => format!(
            "these files were not applied on this machine before; version {} of {} is accepted: {}\n",
            served.id, served.proposal.author, served.proposal.message
        ),
    };
    format.note(&heading);
    let shown = known.map(|parent| -> Result<String, ConfigError> {
        let (old, new) = (set(Some(parent))?, set(Some(served.id))?);
        Ok(history::unified(&history::between(&old, &new, &mask())))
    });
    match shown {
        Some(Ok(text)) => {
            format.note(&shortened(&text));
        }
        Some(Err(error)) => return error,
        None => {}
    }
    format.note(&format!(
        "to get its files, with passwords: evenkeel config show --version {0} --export DIRECTORY\nwhen your files \
         contain its changes: evenkeel config apply … --onto {0}\n",
        served.id
    ));
    ConfigError::Stale(served.id)
}

fn shortened(text: &str) -> String {
    let lines = text.lines().count();
    if lines <= LINES_MAX {
        return text.to_owned();
    }
    let mut shown: String = text
        .lines()
        .take(LINES_MAX)
        .flat_map(|line| [line, "\n"])
        .collect();
    shown.push_str(&format!("… and {} more lines\n", lines - LINES_MAX));
    shown
}

pub(super) fn rollback(matches: &ArgMatches) -> Result<(), ConfigError> {
    let Some(to) = version(matches, "VERSION") else {
        return Err(ConfigError::NoVersion(None));
    };
    let all = records(VERSIONS_MAX)?;
    if !all.iter().any(|record| record.id == to) {
        return Err(ConfigError::NoVersion(Some(to)));
    }
    let wanted = set(Some(to))?;
    let old = match accepted(&all) {
        Some(record) => set(Some(record.id))?,
        None => FileSet::default(),
    };
    let differences = history::between(&old, &wanted, &mask());
    let format = OutputFormat::of(matches);
    format.note(&shortened(&history::unified(&differences)));
    format.note(&of_guests(&old, &wanted));
    super::copies::check(&old, &wanted, matches)?;
    let newest = all.first().map_or(VersionId(0), |record| record.id);
    let request = Request::Rollback {
        version: to,
        author: author(matches),
        message: word(matches, "message"),
        judging: judging(matches, &wanted),
    };
    let again = VersionOrigin::RolledBack { to };
    let ours = move |record: &VersionRecord| record.id > newest && record.proposal.origin == again;
    print_change_result(answer(&request, format), ours, format).map(|_| ())
}

pub(super) fn cancel_words(matches: &ArgMatches) -> String {
    let who = author(matches);
    match matches.get_one::<String>("message") {
        Some(message) => format!("cancelled by {who}: {message}"),
        None => format!("cancelled by {who}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_difference_is_shortened_with_a_count() {
        let text: String = (0..LINES_MAX + 3).map(|n| format!("{n}\n")).collect();
        let shown = shortened(&text);
        assert!(shown.ends_with("199\n… and 3 more lines\n"), "{shown}");
        assert_eq!(shortened("a\nb\n"), "a\nb\n");
    }

    #[test]
    fn command_line_overrides_judging_of_the_files() {
        let judged = |words: &[&str], text: &str| {
            let words = [&["config", "apply", "f", "-m", "x"][..], words].concat();
            let matches =
                super::super::config(clap::Command::new("config")).get_matches_from(words);
            let (_, matches) = matches.subcommand().unwrap();
            let set = FileSet {
                files: vec![cluster::file_set::SetFile {
                    path: "/f".to_owned(),
                    main: true,
                    secret: false,
                    mode: 0o644,
                    bytes: text.as_bytes().to_vec(),
                }],
                ..FileSet::default()
            };
            let judging = judging(matches, &set);
            (judging.judge_ms, judging.confirm_within_ms)
        };
        let section = "config\n    judge 30s\n    confirm 5m\n";
        assert_eq!(judged(&[], ""), (10_000, None));
        assert_eq!(judged(&[], section), (30_000, Some(300_000)));
        assert_eq!(judged(&["--judge", "2"], section), (2_000, Some(300_000)));
        assert_eq!(
            judged(&["--now", "--confirm-within", "1m"], section),
            (0, Some(60_000))
        );
    }
}
