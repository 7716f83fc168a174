//! Libraries of JavaScript that draw a display or a terminal, from packages of the distribution.

use crate::files::{Files, modules, spice, terminal};
use std::path::Path;
use std::sync::Arc;

/// A library from a package of the distribution.
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

impl Library {
    /// What draws displays by VNC.
    pub(crate) const NOVNC: Library = Library {
        name: "noVNC",
        package: "novnc",
        place: "/usr/share/novnc",
        main: "novnc/core/rfb.js",
        style: None,
        read: modules,
    };
    /// What draws terminals.
    pub(crate) const XTERM: Library = Library {
        name: "xterm.js 3",
        package: "node-xterm",
        place: "/usr/share/nodejs/xterm",
        main: "xterm/xterm.js",
        style: Some("xterm/xterm.css"),
        read: terminal,
    };
    /// What draws displays by SPICE.
    pub(crate) const SPICE: Library = Library {
        name: "spice-html5",
        package: "spice-html5",
        place: "/usr/share/spice-html5",
        main: "spice-html5/main.js",
        style: None,
        read: spice,
    };

    /// The first part of the paths of its files.
    pub fn folder(&self) -> &'static str {
        let split = self.main.split_once('/');
        split.map_or(self.main, |(folder, _)| folder)
    }
}

/// The files of the libraries that this machine has.
#[derive(Clone, Debug, Default)]
pub struct Libraries(Arc<Files>);

impl Libraries {
    /// Reads those of them that this machine has.
    pub(crate) fn read(all: &[&Library]) -> Libraries {
        let read = |library: &&Library| (library.read)(Path::new(library.place));
        Libraries(Arc::new(all.iter().flat_map(read).collect()))
    }

    /// Whether there is a library.
    pub fn has(&self, library: &Library) -> bool {
        self.0.contains_key(library.main)
    }

    /// A file by its path, which has no slash in front, and its type.
    pub fn file(&self, path: &str) -> Option<(&'static str, Arc<[u8]>)> {
        let kind = match path.ends_with(".css") {
            true => "text/css; charset=utf-8",
            false => "text/javascript; charset=utf-8",
        };
        Some((kind, self.0.get(path).cloned()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_library_are_below_one_folder() {
        let all = [Library::NOVNC, Library::XTERM, Library::SPICE];
        let folders = all.map(|library| library.folder());
        assert_eq!(folders, ["novnc", "xterm", "spice-html5"]);
        assert!(!Libraries::default().has(&Library::NOVNC));
        assert!(Libraries::default().file(Library::NOVNC.main).is_none());
    }
}
