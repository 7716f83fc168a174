//! Draws the page of a guest's display or terminal.

use super::words::clean;
use super::{ConsolePage, PageContext, frame};
use crate::platform::Platform;
use crate::user::Viewer;
use maud::{Markup, html};
use screen::kind::ScreenKind;
use screen::page::{self, SCRIPT_PATH};

/// Draws the document for a guest's display or terminal, or for such an object of another part of
/// the platform. `path` is the path of the page itself.
pub fn document(
    platform: &Platform,
    viewer: &Viewer,
    part: &str,
    object: &str,
    kind: &ScreenKind,
    path: &str,
    has_library: bool,
) -> Markup {
    let shown = PageContext::all(platform, viewer);
    let title = format!("{} of {}", kind.title, clean(object));
    let content = if has_library {
        page::content(kind, &title, path, &by_hand())
    } else {
        page::missing(kind, "console", &by_hand())
    };
    let script = has_library.then_some(SCRIPT_PATH);
    frame::below(
        &ConsolePage::Part(part.to_owned()),
        &shown,
        &title,
        script,
        &content,
    )
}

fn by_hand() -> Markup {
    html! {
        "The serial terminal is also at " code { "evenkeel guest console NAME" } "."
    }
}
