//! The page of a guest's display. noVNC draws it; the script of the page connects it.

use super::words::clean;
use super::{Page, Shown, frame};
use crate::platform::Platform;
use crate::screen::NOVNC;
use crate::user::Viewer;
use maud::{Markup, html};

/// The document for an object of a part. `path` is its own address.
pub fn document(
    platform: &Platform,
    viewer: &Viewer,
    (part, object): (&str, &str),
    (path, has_novnc): (&str, bool),
) -> Markup {
    let shown = Shown::all(platform, viewer);
    let title = format!("Display of {}", clean(object));
    let content = html! {
        @if has_novnc {
            div.screen-tools {
                p #screen-state.screen-state role="status" { "Connecting…" }
                button #screen-keys type="button" disabled { "Ctrl-Alt-Del" }
                button #screen-again type="button" hidden { "Connect again" }
            }
            div #screen.screen data-socket={ (path) "/socket" } {}
            noscript { p.empty { "A display needs scripts: noVNC draws it. " (by_hand()) } }
        } @else {
            p.empty {
                "Displays are drawn by noVNC, which this node does not have at " code { (NOVNC) } ". Install the package "
                code { "novnc" } ", and restart the console: "
                code { "pkill -f 'evenkeel: console'" } " is enough, it starts again at once. " (by_hand())
            }
        }
    };
    let script = has_novnc.then_some("/screen.js");
    frame::below(
        &Page::Part(part.to_owned()),
        &shown,
        (&title, script),
        &content,
    )
}

fn by_hand() -> Markup {
    html! {
        "The serial terminal is at " code { "evenkeel guest console NAME" } "."
    }
}
