//! What of a guest opens in the browser: a row for each kind, the files of the library that draws it,
//! which are read from the package of the distribution, and how many are open.

mod files;

use files::{Files, modules, terminal};
use part::lock;
use part::report::Opens;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// Displays and terminals that are open at one time.
pub const OPEN_MAX: usize = 32;

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

/// A library of JavaScript from a package of the distribution.
pub struct Library {
    /// What it is called.
    pub name: &'static str,
    /// The package.
    pub package: &'static str,
    /// Where the package has it.
    pub place: &'static str,
    /// The file without which there is none; the first part of its path is that of all its files.
    pub main: &'static str,
    /// Its style sheet, if it has one.
    pub style: Option<&'static str>,
    read: fn(&Path) -> Files,
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
        library: Library {
            name: "noVNC",
            package: "novnc",
            place: "/usr/share/novnc",
            main: "novnc/core/rfb.js",
            style: None,
            read: modules,
        },
    },
    Kind {
        opens: Opens::Terminal,
        path: "terminal",
        noun: "terminal",
        title: "Terminal",
        hint: "Connected. Enter shows the prompt; Ctrl-] leaves the terminal.",
        key: "Send Ctrl-]",
        library: Library {
            name: "xterm.js 3",
            package: "node-xterm",
            place: "/usr/share/nodejs/xterm",
            main: "xterm/xterm.js",
            style: Some("xterm/xterm.css"),
            read: terminal,
        },
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

/// What is open, and the files that draw it.
pub struct Screens {
    files: Files,
    /// A permit for each that may be open.
    pub places: Arc<Semaphore>,
    /// Who has which terminal open here.
    holders: Mutex<BTreeMap<String, String>>,
}

/// A terminal that is open here; when it is dropped, another operator may have it.
pub struct Held {
    screens: Arc<Screens>,
    object: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.screens.holders).remove(&self.object);
    }
}

impl Default for Screens {
    /// Without any library.
    fn default() -> Self {
        Screens {
            files: Files::new(),
            places: Arc::new(Semaphore::new(OPEN_MAX)),
            holders: Mutex::default(),
        }
    }
}

impl Screens {
    /// With the libraries of this machine, as far as it has them.
    pub fn load() -> Screens {
        let read = |kind: &Kind| (kind.library.read)(Path::new(kind.library.place));
        Screens {
            files: KINDS.iter().flat_map(read).collect(),
            ..Screens::default()
        }
    }

    /// Takes the terminal of an object for somebody.
    ///
    /// # Errors
    /// Who has it.
    pub fn hold(self: &Arc<Self>, object: &str, by: &str) -> Result<Held, String> {
        let mut holders = lock(&self.holders);
        if let Some(holder) = holders.get(object) {
            return Err(holder.clone());
        }
        holders.insert(object.to_owned(), by.to_owned());
        Ok(Held {
            screens: Arc::clone(self),
            object: object.to_owned(),
        })
    }

    /// Who has the terminal of an object open here.
    pub fn holder(&self, object: &str) -> Option<String> {
        lock(&self.holders).get(object).cloned()
    }

    /// Whether there is a library.
    pub fn has(&self, library: &Library) -> bool {
        self.files.contains_key(library.main)
    }

    /// A file, by its path.
    pub fn file(&self, path: &str) -> Option<Arc<[u8]>> {
        self.files.get(path).cloned()
    }
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
        assert!(!Screens::default().has(&display.library));
    }

    #[test]
    fn one_has_a_terminal_and_the_next_one_hears_who() {
        let screens = Arc::new(Screens::default());
        let held = screens.hold("guest mail", "anna").unwrap();
        let refused = screens.hold("guest mail", "bert").err();
        assert_eq!(refused.as_deref(), Some("anna"));
        assert!(screens.hold("guest erp", "bert").is_ok());
        drop(held);
        assert_eq!(screens.holder("guest mail"), None);
        assert!(screens.hold("guest mail", "bert").is_ok());
    }
}
