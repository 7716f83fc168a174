//! A row for each kind of what opens in a browser.

use crate::library::{Libraries, Library};
use part::report::Opens;

/// A kind of what opens, with its page.
pub struct Kind {
    /// What the part speaks.
    pub opens: Opens,
    /// The first word of its paths, which its script knows too.
    pub path: &'static str,
    /// It is for one user at a time.
    pub is_for_one: bool,
    /// Connections of one that is open.
    pub connections: usize,
    /// What it is called.
    pub noun: &'static str,
    /// The same, at the beginning of a sentence.
    pub title: &'static str,
    /// Status of the page when it is connected.
    pub hint: &'static str,
    /// The button that sends a key for which the browser or the page has another use.
    pub key: &'static str,
    /// What draws it.
    pub library: Library,
}

/// Status of the page of a display.
const OF_DISPLAY: &str =
    "Connected. Click into the display to type there; Ctrl-Alt-Home leaves it.";

/// All kinds.
pub static KINDS: [Kind; 3] = [
    Kind {
        opens: Opens::Display,
        path: "screen",
        is_for_one: false,
        connections: 1,
        noun: "display",
        title: "Display",
        hint: OF_DISPLAY,
        key: "Ctrl-Alt-Del",
        library: Library::NOVNC,
    },
    Kind {
        opens: Opens::Spice,
        path: "spice",
        is_for_one: true,
        // Main, display, inputs and cursor, and what else there may be.
        connections: 8,
        noun: "display",
        title: "Display",
        hint: OF_DISPLAY,
        key: "Ctrl-Alt-Del",
        library: Library::SPICE,
    },
    Kind {
        opens: Opens::Terminal,
        path: "terminal",
        is_for_one: true,
        connections: 1,
        noun: "terminal",
        title: "Terminal",
        hint: "Connected. Enter shows the prompt; Ctrl-] leaves the terminal.",
        key: "Send Ctrl-]",
        library: Library::XTERM,
    },
];

/// The row of a kind.
pub fn of(opens: Opens) -> &'static Kind {
    let [display, spice, terminal] = &KINDS;
    match opens {
        Opens::Display => display,
        Opens::Terminal => terminal,
        Opens::Spice => spice,
    }
}

/// Reads the libraries of all kinds that this machine has.
pub fn libraries() -> Libraries {
    Libraries::read(&KINDS.each_ref().map(|kind| &kind.library))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_kind_is_found_by_what_it_opens_and_has_paths_of_its_own() {
        for kind in &KINDS {
            assert!(std::ptr::eq(of(kind.opens), kind));
        }
        let paths: BTreeSet<_> = KINDS.iter().map(|kind| kind.path).collect();
        assert_eq!(paths.len(), KINDS.len());
    }
}
