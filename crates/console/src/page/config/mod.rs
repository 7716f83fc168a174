//! Draws the pages of the configuration: the configuration versions and their rollout, the files,
//! and changes.

mod difference;
mod edit;
mod file;
mod highlight;

pub use edit::{EditState, NewerVersion, editor, findings, review};
pub use file::{ViewedFile, file};

use super::words::{clean, date, encode, moment};
use super::{ConsolePage, PageContext, frame, state};
use crate::user::UserRole;
use ::access::page::hidden;
use maud::{Markup, html};
use part::report::Grade;
use part::versions::{
    ConfigurationVersion, Difference, File, VersionFiles, VersionStage, Versions,
};

const SERVED: &str = "/config/served";

const STEPS: [(VersionStage, &str); 4] = [
    (VersionStage::Checking, "Checked by every node"),
    (VersionStage::Canary, "Canary: one node serves it"),
    (VersionStage::Rollout, "All nodes serve it"),
    (VersionStage::AwaitsConfirmation, "Confirmed"),
];

fn may_change(shown: &PageContext<'_>, versions: &Versions) -> bool {
    shown.viewer.role == UserRole::Admin && versions.frozen.is_empty()
}

pub(super) fn of(shown: &PageContext<'_>) -> Markup {
    let Some(versions) = &shown.platform.versions else {
        if shown.platform.members.len() > 1 {
            return html! {
                p.note { "The control role of this machine does not respond: its versions cannot be shown now." }
                p.links { a.button href=(SERVED) { "The files that are served" } }
            };
        }
        return html! {
            section.served {
                h2 { "Served now" }
                p { "The files of this machine, as they were at the last load." }
                p.links { a.button href=(SERVED) { "Files" } }
            }
            p.empty {
                "No versions: this machine does not belong to a cluster, or its control role does not respond. A member \
                 keeps versions: who changed what, when and why; changes in the browser; the way back. "
                code { "evenkeel cluster init NAME" } " makes it a member, also alone."
            }
        };
    };
    let accepted = versions.accepted;
    let accepted = versions.all.iter().find(|one| Some(one.id) == accepted);
    html! {
        @for words in &versions.frozen {
            p.note { b { "Changes are frozen" } ": " (clean(words)) }
        }
        @for one in versions.all.iter().filter(|one| one.stage.is_in_progress()) {
            (in_progress(shown, versions, one))
        }
        (served(shown, versions, accepted))
        section aria-labelledby="history" {
            h2 #history { "History" }
            @if versions.all.is_empty() { p.empty { "There is no version yet." } }
            ol.history {
                @for one in &versions.all { (entry(shown, versions, one)) }
            }
        }
    }
}

fn by(version: &ConfigurationVersion) -> Markup {
    let ms = u64::try_from(version.time_s)
        .unwrap_or_default()
        .saturating_mul(1_000);
    html! { span.muted { (date(ms)) " " (moment(ms).1) " by " (clean(&version.author)) } }
}

fn in_progress(
    shown: &PageContext<'_>,
    versions: &Versions,
    version: &ConfigurationVersion,
) -> Markup {
    let waits = version.stage == VersionStage::AwaitsConfirmation;
    let at = STEPS.iter().position(|(stage, _)| *stage == version.stage);
    let at = at.unwrap_or_default();
    html! {
        section.moving aria-labelledby="moving" {
            h2 #moving { "Version " (version.id) ": " (clean(&version.message)) }
            p { (by(version)) }
            ol.steps {
                @for (index, (stage, words)) in STEPS.iter().enumerate() {
                    @if *stage != VersionStage::AwaitsConfirmation || waits {
                        li class=(if index < at { "done" } else if index == at { "here" } else { "later" })
                            aria-current=[(index == at).then_some("step")] {
                            (words)
                            @if let Some(more) = more(version).filter(|_| index == at) {
                                " " span.muted { (clean(more)) }
                            }
                        }
                    }
                }
            }
            (reports(version))
            p.links {
                a href={ "/config/difference?to=" (version.id) } { "Changes" } " "
                a href={ "/config/file?version=" (version.id) } { "Files" }
            }
            @if may_change(shown, versions) {
                form.act method="post" action="/config/act" {
                    (hidden("csrf", &shown.viewer.csrf))
                    (hidden("version", &version.id.to_string()))
                    @if waits { button.first name="do" value="confirm" { "Confirm" } }
                    button name="do" value="cancel" { "Roll back" }
                }
            }
        }
    }
}

/// Returns details of a configuration version's stage besides its name: the node, or the remaining
/// time.
fn more(version: &ConfigurationVersion) -> Option<&str> {
    let (_, more) = version.stage_words.split_once(['(', ','])?;
    Some(more.trim().trim_end_matches(')'))
}

fn reports(version: &ConfigurationVersion) -> Markup {
    html! {
        @if !version.reports.is_empty() {
            ul.reports {
                @for (node, words) in &version.reports { li { b { (clean(node)) } @for line in words.lines() { " " (clean(line)) br; } } }
            }
        }
    }
}

fn served(
    shown: &PageContext<'_>,
    versions: &Versions,
    accepted: Option<&ConfigurationVersion>,
) -> Markup {
    html! {
        section.served aria-labelledby="served" {
            h2 #served { "Served now" }
            @match accepted {
                None => p.empty {
                    "No version is accepted yet. "
                    code { "evenkeel config apply FILE… -m MESSAGE" } " makes the first one of files."
                },
                Some(one) => {
                    p { b { "Version " (one.id) } ": " (clean(&one.message)) }
                    p { (by(one)) }
                    @if versions.serving != versions.accepted {
                        p.note {
                            @match versions.serving {
                                Some(other) if versions.all.iter().any(|one| one.id == other && one.stage.is_in_progress()) => {
                                    "This machine tries version " (other) " now."
                                },
                                Some(other) => { "This machine serves version " (other) "." },
                                None => "This machine serves no version.",
                            }
                        }
                    }
                    p.links {
                        a.button href={ "/config/file?version=" (one.id) } { "Files" } " "
                        @if may_change(shown, versions) {
                            a.button href="/config/edit" { "Edit" }
                        }
                    }
                }
            }
        }
    }
}

fn grade(versions: &Versions, version: &ConfigurationVersion) -> Grade {
    match version.stage {
        VersionStage::Accepted if versions.accepted == Some(version.id) => Grade::Good,
        VersionStage::Accepted => Grade::Standby,
        VersionStage::Refused | VersionStage::RolledBack => Grade::Bad,
        _ => Grade::Busy,
    }
}

fn entry(shown: &PageContext<'_>, versions: &Versions, version: &ConfigurationVersion) -> Markup {
    let is_served = versions.accepted == Some(version.id);
    let words = if is_served {
        "accepted, served"
    } else {
        &version.stage_words
    };
    let can_return = matches!(
        version.stage,
        VersionStage::Accepted | VersionStage::RolledBack
    ) && !is_served;
    html! {
        li.(if version.stage == VersionStage::Accepted { "stem" } else { "twig" }) {
            p {
                b { "Version " (version.id) } " " (state::word(&clean(words), grade(versions, version)))
            }
            p.message { (clean(&version.message)) }
            p {
                (by(version))
                @if !version.origin.is_empty() { span.muted { " · " (clean(&version.origin)) } }
            }
            @if !version.why.is_empty() { pre.why { (version.why.lines().map(clean).collect::<Vec<_>>().join("\n")) } }
            p.links {
                a href={ "/config/difference?to=" (version.id) } { "Changes" } " "
                a href={ "/config/file?version=" (version.id) } { "Files" } " "
                @if can_return && may_change(shown, versions) {
                    a href={ "/config/roll-back?to=" (version.id) } { "Return to it" }
                }
            }
        }
    }
}

pub fn differences(
    shown: &PageContext<'_>,
    from: Option<u64>,
    to: u64,
    all: &[Difference],
) -> Markup {
    let title = match from {
        Some(from) => format!("From version {from} to version {to}"),
        None => format!("Version {to}"),
    };
    frame::below(
        &ConsolePage::Configuration,
        shown,
        &title,
        None,
        &html! { div.differences { (difference::of(all)) } },
    )
}

pub fn files(shown: &PageContext<'_>, files: &VersionFiles) -> Markup {
    let title = format!("Version {}", files.version);
    let content = html! {
        section.served {
            h2 { "Files" }
            (listed(&files.files, |path| file::path(files.version, path)))
        }
    };
    frame::below(&ConsolePage::Configuration, shown, &title, None, &content)
}

/// Draws the files of the configuration version that this machine serves: all of them, or the file
/// with a path.
pub fn served_files(shown: &PageContext<'_>, files: &[File], path: &str) -> Option<Markup> {
    if path.is_empty() {
        let content = html! {
            section.served {
                h2 { "Files" }
                (listed(files, |path| format!("{SERVED}?path={}", encode(path))))
            }
        };
        return Some(frame::below(
            &ConsolePage::Configuration,
            shown,
            "Served now",
            None,
            &content,
        ));
    }
    let file = files.iter().find(|file| file.path == path)?;
    let content = html! {
        p.links { a.button href=(SERVED) { "All files" } }
        @match &file.text {
            Some(text) => (file::lines(text, None)),
            None => p { (clean(&file.description)) },
        }
    };
    let title = format!("Served now: {path}");
    Some(frame::below(
        &ConsolePage::Configuration,
        shown,
        &title,
        None,
        &content,
    ))
}

fn listed(files: &[File], to: impl Fn(&str) -> String) -> Markup {
    html! {
        ul.files {
            @for one in files {
                li {
                    @match &one.text {
                        Some(text) => {
                            a href=(to(&one.path)) { (clean(&one.path)) }
                            span.muted { " " (super::words::counted(text.lines().count(), "line")) }
                        },
                        None => { (clean(&one.path)) " " span.muted { (clean(&one.description)) } }
                    }
                    @if !one.main { span.muted { " · named by the files before" } }
                }
            }
        }
    }
}

pub fn roll_back(
    shown: &PageContext<'_>,
    to: u64,
    all: &[Difference],
    wrong: Option<&str>,
) -> Markup {
    let title = format!("Return to version {to}");
    let content = html! {
        section.served {
            @if let Some(wrong) = wrong { p.wrong role="alert" { (clean(wrong)) } }
            p { "The files of version " (to) " become a new version: checked by every node, then tried by one." }
            form method="post" action="/config/roll-back" {
                (hidden("csrf", &shown.viewer.csrf))
                (hidden("to", &to.to_string()))
                (reason(""))
                button.first type="submit" { "Return to version " (to) }
            }
        }
        div.differences { (difference::of(all)) }
    };
    frame::below(&ConsolePage::Configuration, shown, &title, None, &content)
}

pub fn manual(text: Option<&str>) -> Markup {
    html! { @if let Some(text) = text { pre { (text) } } }
}

pub fn explained(shown: &PageContext<'_>, code: &str, text: &str) -> Markup {
    let content = html! { aside.manual { pre { (text) } } };
    frame::below(&ConsolePage::Configuration, shown, code, None, &content)
}

fn reason(message: &str) -> Markup {
    html! {
        label for="message" { "Reason, for the history" }
        input #message name="message" value=(message) required maxlength="1000" autocomplete="off";
        label for="confirm" { "Confirmation" }
        select #confirm name="confirm" {
            option value="" { "As configured in the files" }
            option value="60" { "Roll back unless confirmed within 1 minute" }
            option value="300" { "Roll back unless confirmed within 5 minutes" }
            option value="1800" { "Roll back unless confirmed within 30 minutes" }
        }
    }
}
