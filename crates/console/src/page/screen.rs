//! The page of a guest's display or terminal. A library draws it; the script of the page connects it.

use super::words::clean;
use super::{Page, Shown, frame};
use crate::platform::Platform;
use crate::screen::Kind;
use crate::user::Viewer;
use maud::{Markup, html};

/// The document for an object of a part. `path` is its own address.
pub fn document(
    platform: &Platform,
    viewer: &Viewer,
    (part, object): (&str, &str),
    kind: &Kind,
    (path, has_library): (&str, bool),
) -> Markup {
    let shown = Shown::all(platform, viewer);
    let title = format!("{} of {}", kind.title, clean(object));
    let library = &kind.library;
    let content = html! {
        @if has_library {
            @if let Some(style) = library.style { link rel="stylesheet" href={ "/" (style) }; }
            div.screen-tools {
                p #screen-state.screen-state role="status" {}
                button #screen-keys type="button" disabled { (kind.key) }
                button #screen-again type="button" hidden { "Connect again" }
            }
            div #screen.screen data-kind=(kind.path) data-socket={ (path) "/socket" } data-library={ "/" (library.main) }
                data-hint=(kind.hint) role="group" aria-label=(title) {}
            noscript { p.empty { "This page needs scripts: " (library.name) " draws it. " (by_hand()) } }
        } @else {
            p.empty {
                (kind.title) "s are drawn by " (library.name) ", which this node does not have at "
                code { (library.place) } ". Install the package " code { (library.package) }
                ", and restart the console: " code { "pkill -f 'evenkeel: console'" }
                " is enough, it starts again at once. " (by_hand())
            }
        }
    };
    let script = has_library.then_some("/screen.js");
    frame::below(
        &Page::Part(part.to_owned()),
        &shown,
        (&title, script),
        &content,
    )
}

fn by_hand() -> Markup {
    html! {
        "The serial terminal is also at " code { "evenkeel guest console NAME" } "."
    }
}
