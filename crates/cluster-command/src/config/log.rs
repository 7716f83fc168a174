//! Implements `config log` and `config status`: queries the versions and the status of the cluster,
//! and prints them as text or JSON.

use super::{ConfigError, print, records, time};
use clap::ArgMatches;
use cluster::command::{Reported, VersionId, VersionOrigin};
use cluster::member::MemberId;
use cluster::request::Request;
use cluster::role::status::{ClusterStatus, Configuration};
use cluster::state::{RolloutStage, VersionRecord};
use language::difference::without_credentials;
use std::collections::BTreeMap;
use std::fmt::Write;

const WORDS_LINES_MAX: usize = 12;
const REVISION_DIGITS: usize = 12;

pub(super) fn main(matches: &ArgMatches) -> Result<(), ConfigError> {
    let max = matches.get_one::<u64>("count").copied().unwrap_or(20);
    if matches.get_flag("json") {
        print(&(super::json(&Request::Log { max })? + "\n"));
        return Ok(());
    }
    let all = records(max)?;
    if all.is_empty() {
        return Err(ConfigError::NoVersion(None));
    }
    let names = match status_of() {
        Ok(status) => status
            .members
            .iter()
            .map(|m| (m.id, m.name.clone()))
            .collect(),
        Err(_) => BTreeMap::new(),
    };
    let served = super::accepted(&all).map(|record| record.id);
    let entries = all.iter().map(|record| entry(record, served, &names));
    print(&entries.collect::<Vec<_>>().join("\n"));
    Ok(())
}

pub(super) fn status_of() -> Result<ClusterStatus, ConfigError> {
    Ok(serde_json::from_str(&super::json(&Request::Status)?)?)
}

fn entry(
    record: &VersionRecord,
    served: Option<VersionId>,
    names: &BTreeMap<MemberId, String>,
) -> String {
    let proposal = &record.proposal;
    let mut out = String::new();
    let stage = match &record.stage {
        RolloutStage::Accepted if served == Some(record.id) => "accepted, served".to_owned(),
        stage => stage.to_string(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "version {}  {stage}  {}  {}",
        record.id,
        time(proposal.time_s),
        language::render::visible(&proposal.author),
    );
    for line in proposal.message.lines() {
        let line = format!("    {}", language::render::visible(line));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    match &proposal.origin {
        VersionOrigin::Applied => {}
        VersionOrigin::Followed {
            repository,
            revision,
        } => {
            let short = revision.get(..REVISION_DIGITS).unwrap_or(revision);
            // Masks credentials, which earlier releases stored with the URL.
            let repository = without_credentials(repository);
            let _ = writeln!(out, "    revision {short} of {repository}");
        }
        VersionOrigin::RolledBack { to } => {
            let _ = writeln!(out, "    rollback to version {to}");
        }
    }
    if record.words.is_empty() {
        return out;
    }
    let _ = writeln!(out, "    {stage} because:");
    let words: Vec<&str> = record.words.trim_end().lines().collect();
    for line in words.iter().take(WORDS_LINES_MAX) {
        let _ = writeln!(out, "      {}", language::render::visible(line));
    }
    if words.len() > WORDS_LINES_MAX {
        let more = words.len() - WORDS_LINES_MAX;
        let _ = writeln!(out, "      … and {more} more lines (--json has them)");
    }
    // Leaves out reports about a version that worked: they are no reason for the outcome.
    let against = |outcome| {
        matches!(
            outcome,
            Reported::Refused | Reported::Worse | Reported::WentBack
        )
    };
    let said = record
        .reports
        .iter()
        .filter(|(_, said)| !said.words.is_empty() && against(said.outcome));
    for (node, said) in said.filter(|(_, said)| !record.words.contains(said.words.trim_end())) {
        let node = names.get(node).cloned().unwrap_or_else(|| node.to_string());
        let first = said.words.lines().next().unwrap_or_default();
        let _ = writeln!(out, "      {node}: {}", language::render::visible(first));
    }
    out
}

pub(super) fn status(json: bool) -> Result<(), ConfigError> {
    let text = super::json(&Request::Status)?;
    let status: ClusterStatus = serde_json::from_str(&text)?;
    if json {
        let whole: serde_json::Value = serde_json::from_str(&text)?;
        let parts = ["configuration", "following", "frozen"];
        let parts = parts.iter().filter_map(|name| {
            let part = whole.get(*name)?.clone();
            Some(((*name).to_owned(), part))
        });
        let parts: serde_json::Map<_, _> = parts.collect();
        print(&format!("{}\n", serde_json::Value::Object(parts)));
        return Ok(());
    }
    print(&words(&status));
    Ok(())
}

fn words(status: &ClusterStatus) -> String {
    let configuration: &Configuration = &status.configuration;
    let mut lines: Vec<String> = Vec::new();
    lines.push(match configuration.accepted {
        Some(version) if configuration.accepted_words.is_empty() => {
            format!("accepted: version {version}")
        }
        Some(_) => format!("accepted: {}", configuration.accepted_words),
        None => "no version is accepted yet".to_owned(),
    });
    lines.push(match (configuration.serving, configuration.on_trial) {
        (Some(version), true) => format!("this node serves version {version}, a candidate"),
        (Some(version), false) if configuration.by_itself => format!(
            "this node serves version {version}, the last one that it accepted; without a leader it cannot know newer \
             ones"
        ),
        (Some(version), false) => format!("this node serves version {version}"),
        (None, _) => "this node serves no version".to_owned(),
    });
    if let Some(version) = configuration.moving {
        let words = if configuration.moving_words.is_empty() {
            format!("version {version}")
        } else {
            configuration.moving_words.clone()
        };
        lines.push(format!("in progress: {words}"));
    }
    if !configuration.trouble.is_empty() {
        lines.push(format!(
            "problem on this node: {}",
            configuration.trouble.trim_end()
        ));
    }
    for following in &status.following {
        let accepted = following.accepted.as_deref().map_or_else(
            || "no revision accepted yet".to_owned(),
            |revision| format!("accepted: {}", cluster::follow::decide::short(revision)),
        );
        lines.push(format!("follows {}; {accepted}", following.followed));
        lines.extend(following.trouble.iter().map(|words| format!("  {words}")));
    }
    lines.extend(status.frozen.iter().map(|words| format!("frozen: {words}")));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::command::{Judging, Proposal};
    use std::sync::Arc;

    fn record(id: u64, stage: RolloutStage, words: &str, origin: VersionOrigin) -> VersionRecord {
        VersionRecord {
            id: VersionId(id),
            from: MemberId(1),
            proposal: Arc::new(Proposal {
                parent: None,
                author: "anna@alpha".to_owned(),
                message: "more servers\n\nfor the holidays".to_owned(),
                time_s: 1_700_000_000,
                origin,
                files: Vec::new(),
                listings: Vec::new(),
                judging: Judging {
                    judge_ms: 0,
                    confirm_within_ms: None,
                },
            }),
            stage,
            reports: BTreeMap::new(),
            found: BTreeMap::new(),
            words: words.to_owned(),
            proposed_at: 1,
            decided_at: None,
            decided_time_s: None,
        }
    }

    #[test]
    fn log_shows_author_time_reason_and_outcome() {
        let followed = VersionOrigin::Followed {
            repository: "git /srv/lb.git, branch main".to_owned(),
            revision: "0123456789abcdef0123".to_owned(),
        };
        let long: String = (0..20).map(|n| format!("line {n}\n")).collect();
        let all = [
            record(9, RolloutStage::Checking, "", VersionOrigin::Applied),
            record(
                8,
                RolloutStage::Accepted,
                "",
                VersionOrigin::RolledBack { to: VersionId(5) },
            ),
            record(
                7,
                RolloutStage::TakenBack,
                "errors went from 0 to 31 %",
                followed,
            ),
            record(6, RolloutStage::Refused, &long, VersionOrigin::Applied),
            record(5, RolloutStage::Accepted, "", VersionOrigin::Applied),
        ];
        let names = BTreeMap::new();
        let told: Vec<String> = all
            .iter()
            .map(|record| entry(record, Some(VersionId(8)), &names))
            .collect();
        // Replaces the time, which depends on the local time zone.
        let told = told.join("\n").replace(&time(1_700_000_000), "TIME");
        insta::assert_snapshot!(told);
    }

    #[test]
    fn status_shows_the_served_version_and_unknowns() {
        let mut status = ClusterStatus::default();
        assert_eq!(
            words(&status),
            "no version is accepted yet\nthis node serves no version\n"
        );
        status.configuration.accepted = Some(VersionId(4));
        status.configuration.serving = Some(VersionId(4));
        status.configuration.by_itself = true;
        status.frozen = vec!["changes: no majority answers".to_owned()];
        let told = words(&status);
        assert!(
            told.contains("the last one that it accepted") && told.contains("frozen: changes"),
            "{told}"
        );
    }
}
