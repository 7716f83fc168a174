//! A row for each kind of what opens in a browser.

use crate::library::{Libraries, Library};
use part::report::Opens;

/// A kind of what opens, with its page.
pub struct Kind {
    /// What the part speaks.
    pub opens: Opens,
    /// The first word of its paths, which its script knows too.
    pub path: &'static str,
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

/// All kinds.
pub static KINDS: [Kind; 2] = [
    Kind {
        opens: Opens::Display,
        path: "screen",
        noun: "display",
        title: "Display",
        hint: "Connected. Click into the display to type there; Ctrl-Alt-Home leaves it.",
        key: "Ctrl-Alt-Del",
        library: Library::NOVNC,
    },
    Kind {
        opens: Opens::Terminal,
        path: "terminal",
        noun: "terminal",
        title: "Terminal",
        hint: "Connected. Enter shows the prompt; Ctrl-] leaves the terminal.",
        key: "Send Ctrl-]",
        library: Library::XTERM,
    },
];

/// The row of a kind.
pub fn of(opens: Opens) -> &'static Kind {
    let [display, terminal] = &KINDS;
    match opens {
        Opens::Display => display,
        Opens::Terminal => terminal,
    }
}

/// Reads the libraries of all kinds that this machine has.
pub fn libraries() -> Libraries {
    Libraries::read(&KINDS.each_ref().map(|kind| &kind.library))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_what_it_opens_and_has_paths_of_its_own() {
        for kind in &KINDS {
            assert!(std::ptr::eq(of(kind.opens), kind));
        }
        let [display, terminal] = &KINDS;
        assert_ne!(display.path, terminal.path);
    }
}
