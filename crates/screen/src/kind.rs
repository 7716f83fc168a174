//! Defines the table of the kinds of guest views that open in a browser (VNC display, SPICE
//! display, serial terminal), with the page and the limits of each.

use crate::library::{Libraries, ScreenLibrary};
use part::report::Opens;

/// Kind of a view of an object in the browser (such as a display or a terminal), with the texts and
/// the library of its page.
pub struct ScreenKind {
    pub opens: Opens,
    pub path: &'static str,
    /// Restricts the view to one user at a time.
    pub is_for_one: bool,
    /// Maximum connections of one open view.
    pub connections: usize,
    pub noun: &'static str,
    /// The noun with a capital letter, for the beginning of a sentence.
    pub title: &'static str,
    pub hint: &'static str,
    /// Button that sends a key to the guest which the browser or the page would otherwise handle.
    pub key: &'static str,
    pub library: ScreenLibrary,
}

impl ScreenKind {
    /// Returns the kind that replaces this one among the kinds that an object offers: the display
    /// of a guest may have changed its protocol.
    pub fn replacement_kind(
        &self,
        mut offered: impl Iterator<Item = Opens>,
    ) -> Option<&'static ScreenKind> {
        let noun = self.opens.noun();
        let other = offered.find(|opens| opens.noun() == noun && *opens != self.opens)?;
        Some(of(other))
    }

    /// Returns the reason why the view does not open. `instead` is the kind that replaces it.
    pub fn why_none(&self, object: &str, instead: Option<&ScreenKind>) -> String {
        let noun = self.noun;
        match instead {
            Some(_) => {
                format!("The {noun} of {object} now has another page: reload this page.")
            }
            None => format!("{object} has no {noun} now: it does not run, or none is configured."),
        }
    }
}

const OF_DISPLAY: &str =
    "Connected. Click into the display to type there; Ctrl-Alt-Home leaves it.";

pub static KINDS: [ScreenKind; 3] = [
    ScreenKind {
        opens: Opens::Display,
        path: "screen",
        is_for_one: false,
        connections: 1,
        noun: "display",
        title: "Display",
        hint: OF_DISPLAY,
        key: "Ctrl-Alt-Del",
        library: ScreenLibrary::NOVNC,
    },
    ScreenKind {
        opens: Opens::Spice,
        path: "spice",
        is_for_one: true,
        // SPICE uses one connection per channel: main, display, inputs and cursor, and optional
        // further ones.
        connections: 8,
        noun: "display",
        title: "Display",
        hint: OF_DISPLAY,
        key: "Ctrl-Alt-Del",
        library: ScreenLibrary::SPICE,
    },
    ScreenKind {
        opens: Opens::Terminal,
        path: "terminal",
        is_for_one: true,
        connections: 1,
        noun: "terminal",
        title: "Terminal",
        hint: "Connected. Enter shows the prompt; Ctrl-] leaves the terminal.",
        key: "Send Ctrl-]",
        library: ScreenLibrary::XTERM,
    },
];

pub fn of(opens: Opens) -> &'static ScreenKind {
    let [display, spice, terminal] = &KINDS;
    match opens {
        Opens::Display => display,
        Opens::Terminal => terminal,
        Opens::Spice => spice,
    }
}

/// Reads the libraries of all kinds that are installed on this machine.
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

    #[test]
    fn a_display_of_another_kind_is_in_the_place_of_one_that_is_gone() {
        let [display, spice, terminal] = &KINDS;
        let instead = |kind: &ScreenKind, offered: &[Opens]| {
            let instead = kind.replacement_kind(offered.iter().copied());
            let words = kind.why_none("mail", instead);
            assert_eq!(words.contains("has another page"), instead.is_some());
            instead.map(|kind| kind.path)
        };
        assert_eq!(
            instead(display, &[Opens::Terminal, Opens::Spice]),
            Some("spice")
        );
        assert_eq!(instead(spice, &[Opens::Display]), Some("screen"));
        for (kind, offered) in [
            (display, &[Opens::Terminal, Opens::Display][..]),
            (display, &[]),
            (terminal, &[Opens::Spice]),
        ] {
            assert_eq!(instead(kind, offered), None);
        }
        for kind in &KINDS {
            assert_eq!(kind.noun, kind.opens.noun());
        }
    }
}
