//! Draws the differences between the files of two configuration versions.

use super::super::words::clean;
use maud::{Markup, html};
use part::versions::Difference;

const LINES_MAX: usize = 2_000;

pub(super) fn of<'d>(all: impl IntoIterator<Item = &'d Difference>) -> Markup {
    let all: Vec<&Difference> = all.into_iter().collect();
    html! {
        @if all.is_empty() { p.empty { "The files are the same." } }
        @for one in all {
            section {
                h2 { (clean(&one.path)) }
                @if !one.words.is_empty() { p { (clean(&one.words)) } }
                @if !one.lines.is_empty() { (lines(&one.lines)) }
            }
        }
    }
}

fn lines(text: &str) -> Markup {
    let rest = text.lines().count().saturating_sub(LINES_MAX);
    html! {
        pre.code.diff tabindex="0" {
            @for line in text.lines().take(LINES_MAX) {
                span class=(kind(line)) { (line.split('\t').map(clean).collect::<Vec<_>>().join("\t")) "\n" }
            }
        }
        @if rest > 0 { p.more { "… and " (rest) " more lines." } }
    }
}

fn kind(line: &str) -> &'static str {
    match line.as_bytes().first() {
        Some(b'+') => "l add",
        Some(b'-') => "l del",
        Some(b'@') => "l hunk",
        _ => "l",
    }
}
