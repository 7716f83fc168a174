//! Draws the content of the page of a display or a terminal, or what to install if its JavaScript
//! library is missing. The library draws the display; the script of the page connects it.

use crate::kind::ScreenKind;
use maud::{Markup, html};

pub const SCRIPT: &str = include_str!("screen.js");
pub const SCRIPT_PATH: &str = "/screen.js";
pub const STYLE: &str = include_str!("screen.css");

/// Returns the content of a page at `path`, which has its WebSocket below it. `otherwise` describes
/// the alternative for a browser without scripts.
pub fn content(kind: &ScreenKind, title: &str, path: &str, otherwise: &Markup) -> Markup {
    let library = &kind.library;
    html! {
        @if let Some(style) = library.style { link rel="stylesheet" href={ "/" (style) }; }
        div.screen-tools {
            p #screen-state.screen-state role="status" {}
            button #screen-keys type="button" disabled { (kind.key) }
            button #screen-again type="button" hidden { "Connect again" }
        }
        div #screen.screen data-kind=(kind.path) data-socket={ (path) "/socket" } data-library={ "/" (library.main) }
            data-hint=(kind.hint) role="group" aria-label=(title) {}
        noscript { p.empty { "This page needs scripts: " (library.name) " draws it. " (otherwise) } }
    }
}

/// Returns the content if the JavaScript library is missing. `process` is the role to restart after
/// the library was installed.
pub fn missing(kind: &ScreenKind, process: &str, otherwise: &Markup) -> Markup {
    let library = &kind.library;
    html! {
        p.empty {
            (kind.title) "s are drawn by " (library.name) ", which this node does not have at "
            code { (library.directory) } ". Install the package " code { (library.package) }
            ", and restart the " (process) ": " code { "pkill -f 'evenkeel: " (process) "'" }
            " is enough: the console starts again at once. " (otherwise)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::KINDS;

    #[test]
    fn a_page_says_what_it_needs() {
        let [display, _, terminal] = &KINDS;
        let page = content(
            display,
            "Display of mail",
            "/screen/mail",
            &html! { "Else." },
        );
        let page = page.into_string();
        assert!(
            page.contains("data-socket=\"/screen/mail/socket\""),
            "{page}"
        );
        assert!(page.contains("draws it. Else.</p></noscript>"), "{page}");
        let page = missing(terminal, "console", &html! {}).into_string();
        assert!(page.contains("<code>node-xterm</code>"), "{page}");
        assert!(page.contains("pkill -f 'evenkeel: console'"), "{page}");
    }
}
