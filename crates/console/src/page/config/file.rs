//! Draws a file of a configuration version, on request with the configuration version that last
//! changed each line.

use super::super::words::{clean, date, encode};
use super::super::{ConsolePage, PageContext, frame};
use super::{highlight, may_change};
use maud::{Markup, html};
use part::versions::{BlameLine, File};

const LINES_MAX: usize = 20_000;

pub struct ViewedFile<'v> {
    pub version: u64,
    pub file: &'v File,
    /// Configuration version that last changed each line. None if not requested.
    pub blame: Option<&'v [BlameLine]>,
}

pub(super) fn path(version: u64, path: &str) -> String {
    format!("/config/file?version={version}&path={}", encode(path))
}

pub fn file(shown: &PageContext<'_>, viewed: &ViewedFile<'_>) -> Markup {
    let title = format!("Version {}: {}", viewed.version, viewed.file.path);
    let own = path(viewed.version, &viewed.file.path);
    let versions = shown.platform.versions.as_deref();
    let is_accepted = versions.is_some_and(|all| all.accepted == Some(viewed.version));
    let may_change = versions.is_some_and(|all| may_change(shown, all));
    let content = html! {
        p.links {
            @if viewed.blame.is_some() { a.button href=(own) { "Without authors" } }
            @else { a.button href={ (own) "&blame=yes" } { "Authors" } }
            " " a.button href={ "/config/file?version=" (viewed.version) } { "All files" }
            @if is_accepted && may_change && viewed.file.text.is_some() {
                " " a.button href={ "/config/edit?path=" (encode(&viewed.file.path)) } { "Edit" }
            }
        }
        @match &viewed.file.text {
            Some(text) => (lines(text, viewed.blame)),
            None => p { (clean(&viewed.file.description)) },
        }
    };
    frame::below(&ConsolePage::Configuration, shown, &title, None, &content)
}

pub(super) fn lines(text: &str, blame: Option<&[BlameLine]>) -> Markup {
    let version = |at: usize| {
        blame
            .and_then(|blame| blame.get(at))
            .map(|from| from.version)
    };
    html! {
        pre.code tabindex="0" {
            @for (at, line) in text.lines().enumerate().take(LINES_MAX) {
                span.l id={ "L" (at + 1) } {
                    @if let Some(from) = blame.map(|blame| blame.get(at)) {
                        // Shows the author once for consecutive lines of one configuration version.
                        @let is_new = at == 0 || version(at) != version(at - 1);
                        span.from { (from.filter(|_| is_new).map_or_else(String::new, describe_last_change)) }
                    }
                    a.n href={ "#L" (at + 1) } { (at + 1) }
                    (highlight::line(line)) "\n"
                }
            }
        }
        @if text.lines().count() > LINES_MAX { p.more { "… and more lines." } }
    }
}

fn describe_last_change(line: &BlameLine) -> String {
    let older = if line.or_older { " or older" } else { "" };
    let ms = u64::try_from(line.time_s)
        .unwrap_or_default()
        .saturating_mul(1_000);
    format!(
        "{}{older} {} {}",
        line.version,
        clean(&line.author),
        date(ms)
    )
}
