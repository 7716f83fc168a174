//! Draws the editor of a configuration file, the diagnostics of a check, and the review of a change
//! before it becomes a configuration version.

use super::super::words::clean;
use super::super::{ConsolePage, PageContext, frame};
use super::{difference, highlight, reason};
use ::access::page::hidden;
use maud::{Markup, PreEscaped, html};
use part::versions::{Difference, Finding, Findings};

const FINDINGS_MAX: usize = 100;
const ROWS: usize = 30;

/// State of an edit of a configuration file.
#[derive(Clone, Copy)]
pub struct EditState<'e> {
    pub of: u64,
    pub path: &'e str,
    pub text: &'e str,
    pub message: &'e str,
    pub paths: &'e [String],
    pub wrong: Option<&'e str>,
    /// Configuration version that was accepted since the user began to edit; None if there is none.
    pub meanwhile: Option<&'e NewerVersion>,
}

/// A configuration version that was accepted while the user edited an older one.
#[derive(Clone, Debug, Default)]
pub struct NewerVersion {
    pub accepted: u64,
    pub author: String,
    pub message: String,
    /// Differences between the edited configuration version and the newer one; None if they are no
    /// longer known.
    pub differences: Option<Vec<Difference>>,
    /// Text of the edited file in the newer configuration version; None if that has no such text.
    pub text: Option<String>,
}

fn fields(shown: &PageContext<'_>, editing: &EditState<'_>) -> Markup {
    html! {
        (hidden("csrf", &shown.viewer.csrf))
        (hidden("of", &editing.of.to_string()))
        (hidden("path", editing.path))
    }
}

pub fn editor(
    shown: &PageContext<'_>,
    editing: &EditState<'_>,
    found: Option<&Findings>,
) -> Markup {
    let title = format!("Edit {}", editing.path);
    let content = html! {
        @if let Some(wrong) = editing.wrong { p.wrong role="alert" { (clean(wrong)) } }
        @if editing.paths.len() > 1 {
            nav.pick aria-label="Files" {
                @for path in editing.paths {
                    a href={ "/config/edit?path=" (super::super::words::encode(path)) }
                        aria-current=[(path == editing.path).then_some("page")] { (clean(path)) }
                }
            }
        }
        form #edit method="post" action="/config/edit" {
            (fields(shown, editing))
            @if let Some(meanwhile) = editing.meanwhile { (stale(editing, meanwhile)) }
            div.editor {
                pre.gutter #gutter aria-hidden="true" {}
                div.field {
                    label.vh for="text" { "Text of " (clean(editing.path)) }
                    // Adds a line feed, because browsers drop the one that follows the tag.
                    textarea #text name="text" rows=(ROWS) wrap="off" spellcheck="false" autocapitalize="none"
                        autocomplete="off" aria-describedby="findings" { "\n" (editing.text) }
                    div.marks #marks aria-hidden="true" {}
                }
            }
            p.links {
                button name="do" value="check" { "Check" } " "
                @if editing.meanwhile.is_none() {
                    button.first name="do" value="review" { "Review the change…" } " "
                }
                a.button href="/config" { "Discard" }
            }
            p.aside { "Secrets are hidden (***). A line that you do not change keeps its secret." }
        }
        section.findings #findings aria-live="polite" {
            @if let Some(found) = found { (findings(found, editing)) }
        }
        aside.manual #manual aria-live="off" {}
    };
    frame::below(
        &ConsolePage::Configuration,
        shown,
        &title,
        Some("/edit.js"),
        &content,
    )
}

/// Explains which configuration version was accepted during the edit, and how to continue. Nothing
/// that the user has typed is lost.
fn stale(editing: &EditState<'_>, meanwhile: &NewerVersion) -> Markup {
    let accepted = meanwhile.accepted;
    let all = meanwhile.differences.as_deref();
    let (here, elsewhere): (Vec<&Difference>, Vec<&Difference>) = all
        .unwrap_or_default()
        .iter()
        .partition(|one| one.path == editing.path);
    html! {
        section.subject.bad role="alert" {
            h2 { "Version " (accepted) " was accepted while you edited version " (editing.of) }
            p {
                "By " (clean(&meanwhile.author)) ": " (clean(&meanwhile.message)) ". Your text is below, as you left it. "
                "It cannot be applied before the changes of version " (accepted) " are in it: it would undo them."
            }
            @match (all, here.is_empty()) {
                (None, _) => p.muted { "Version " (editing.of) " is no longer stored, so the changes since then are unknown." },
                (Some(_), true) => p { "This file is the same in both versions: there is nothing to merge." },
                (Some(_), false) => {
                    p { "What changed in this file since version " (editing.of) ":" }
                    div.differences { (difference::of(here)) }
                }
            }
            @if !elsewhere.is_empty() {
                p.muted {
                    "Other files that changed: "
                    (elsewhere.iter().map(|one| clean(&one.path)).collect::<Vec<_>>().join(", "))
                }
            }
            @match &meanwhile.text {
                Some(text) => details {
                    summary { "The text of version " (accepted) }
                    pre.code tabindex="0" { (text) }
                },
                None => p { "Version " (accepted) " has no such file: your text cannot be applied." },
            }
            @if meanwhile.text.is_some() {
                p { "Merge the changes into your text by hand, then continue from version " (accepted) "." }
                button name="onto" value=(accepted) { "My text has them: continue from version " (accepted) }
            }
        }
    }
}

pub fn findings(found: &Findings, editing: &EditState<'_>) -> Markup {
    let errors = found
        .all
        .iter()
        .filter(|one| one.severity == "error")
        .count();
    let warnings = found
        .all
        .iter()
        .filter(|one| one.severity == "warning")
        .count();
    let words = |number: usize, noun: &str| super::super::words::counted(number, noun);
    html! {
        @if let Some(meanwhile) = editing.meanwhile {
            p.note.old {
                "Version " (meanwhile.accepted) " of " (clean(&meanwhile.author)) " was accepted while you edit: "
                "“Check” shows what changed."
            }
        }
        p.outcome {
            @match (found.good, errors, warnings) {
                (true, _, 0) => span.s.good { "No mistake: this machine could serve it." },
                (true, _, warnings) => span.s.busy { (words(warnings, "warning")) ": this machine could serve it." },
                (false, 0, _) => span.s.bad { "This machine could not serve it." },
                (false, errors, _) => span.s.bad { (words(errors, "mistake")) },
            }
        }
        ol.found {
            @for one in found.all.iter().take(FINDINGS_MAX) { (finding(one, editing)) }
        }
        @if found.all.len() > FINDINGS_MAX {
            p.more { "… and " (found.all.len() - FINDINGS_MAX) " more." }
        }
    }
}

fn finding(one: &Finding, editing: &EditState<'_>) -> Markup {
    let is_here = one.file.as_deref() == Some(editing.path);
    let line = one.line.filter(|_| is_here);
    let text = line.and_then(|line| {
        let at = usize::try_from(line).ok()?.checked_sub(1)?;
        editing.text.lines().nth(at)
    });
    let class = if one.severity == "error" {
        "bad"
    } else {
        "busy"
    };
    html! {
        li class=(class) data-line=[line] data-column=[one.column.filter(|_| is_here)]
            data-end=[one.end_column.filter(|_| is_here && one.end_line == one.line)]
            data-words=(message(one)) {
            @if let (Some(line), Some(text)) = (line, text) {
                pre.code { span.l { a.n href="#text" { (line) } (highlight::line(text)) "\n" } (carets(one, text)) }
            }
            p {
                span class={ "s " (class) } { (clean(&one.message)) }
                @if !one.code.is_empty() { " " a href={ "/config/manual?code=" (clean(&one.code)) } { (clean(&one.code)) } }
                @if let (false, Some(file)) = (is_here, &one.file) {
                    span.muted { " " (clean(file)) @if let Some(line) = one.line { ":" (line) } }
                }
            }
            @if !one.label.is_empty() && one.label != one.message { p.muted { (clean(&one.label)) } }
            @for note in &one.notes { p.muted { (clean(note)) } }
            @if let Some(help) = &one.help { p.help { "→ " (clean(help)) } }
        }
    }
}

fn message(one: &Finding) -> String {
    let help = one.help.as_ref().map(|help| format!(" ({help})"));
    clean(&one.message).into_owned() + &clean(&help.unwrap_or_default())
}

fn carets(one: &Finding, text: &str) -> Markup {
    let at = |column: Option<u64>| column.and_then(|at| usize::try_from(at).ok()?.checked_sub(1));
    let Some(from) = at(one.column).filter(|from| *from <= text.len()) else {
        return html! {};
    };
    let end = at(one.end_column).filter(|_| one.end_line == one.line);
    let end = end
        .unwrap_or(from + 1)
        .clamp(from + 1, text.len().max(from + 1));
    // Keeps tabs, so that the marks align with the words.
    let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
    let before: String = text
        .char_indices()
        .take_while(|(at, _)| *at < from)
        .map(|(_, c)| blank(c))
        .collect();
    let marked = text
        .char_indices()
        .filter(|(at, _)| (from..end).contains(at))
        .count()
        .max(1);
    html! { span.l.carets aria-hidden="true" { span.n {} (PreEscaped(before)) ("^".repeat(marked)) "\n" } }
}

pub fn review(shown: &PageContext<'_>, editing: &EditState<'_>, found: &Findings) -> Markup {
    let title = format!("Change {}", editing.path);
    let content = html! {
        @if let Some(wrong) = editing.wrong { p.wrong role="alert" { (clean(wrong)) } }
        section.findings { (findings(found, editing)) }
        @if !found.changes.is_empty() {
            section.changes {
                h2 { "What changes" }
                ul { @for line in &found.changes { li { (clean(line)) } } }
                @if found.changes.iter().any(|line| line.starts_with("console")) {
                    p.note {
                        "This changes the console. Choose a time for the confirmation below: if the change locks you "
                        "out, it is rolled back by itself."
                    }
                }
            }
        }
        div.differences { (difference::of(&found.differences)) }
        form.card method="post" action="/config/apply" {
            (fields(shown, editing))
            textarea.vh name="text" tabindex="-1" aria-hidden="true" readonly { "\n" (editing.text) }
            @if found.good && !found.differences.is_empty() {
                (reason(editing.message))
                button.first name="do" value="apply" { "Apply" }
                " "
            }
            button name="do" value="edit" formaction="/config/edit" formnovalidate { "Edit further" }
        }
    };
    frame::below(&ConsolePage::Configuration, shown, &title, None, &content)
}
