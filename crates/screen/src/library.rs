//! Reads the JavaScript libraries that draw a display or a terminal, from packages of the
//! distribution.

use crate::files::{StaticFiles, modules, spice, terminal};
use std::path::Path;
use std::sync::Arc;

/// JavaScript library that a package of the distribution installs.
pub struct ScreenLibrary {
    pub name: &'static str,
    pub package: &'static str,
    pub directory: &'static str,
    /// Path of the main file, without which the library counts as missing. The first segment of the
    /// path is common to all files of the library.
    pub main: &'static str,
    pub style: Option<&'static str>,
    read: fn(&Path) -> StaticFiles,
}

impl ScreenLibrary {
    pub(crate) const NOVNC: ScreenLibrary = ScreenLibrary {
        name: "noVNC",
        package: "novnc",
        directory: "/usr/share/novnc",
        main: "novnc/core/rfb.js",
        style: None,
        read: modules,
    };
    pub(crate) const XTERM: ScreenLibrary = ScreenLibrary {
        name: "xterm.js 3",
        package: "node-xterm",
        directory: "/usr/share/nodejs/xterm",
        main: "xterm/xterm.js",
        style: Some("xterm/xterm.css"),
        read: terminal,
    };
    pub(crate) const SPICE: ScreenLibrary = ScreenLibrary {
        name: "spice-html5",
        package: "spice-html5",
        directory: "/usr/share/spice-html5",
        main: "spice-html5/main.js",
        style: None,
        read: spice,
    };

    pub fn folder(&self) -> &'static str {
        let split = self.main.split_once('/');
        split.map_or(self.main, |(folder, _)| folder)
    }
}

/// The files of the libraries that are installed on this machine.
#[derive(Clone, Debug, Default)]
pub struct Libraries(Arc<StaticFiles>);

impl Libraries {
    /// Reads the files of the given libraries that are installed on this machine.
    pub(crate) fn read(all: &[&ScreenLibrary]) -> Libraries {
        let read = |library: &&ScreenLibrary| (library.read)(Path::new(library.directory));
        Libraries(Arc::new(all.iter().flat_map(read).collect()))
    }

    pub fn has(&self, library: &ScreenLibrary) -> bool {
        self.0.contains_key(library.main)
    }

    /// Returns a file and its media type by its path, without a leading slash.
    pub fn file(&self, path: &str) -> Option<(&'static str, Arc<[u8]>)> {
        let kind = if path.ends_with(".css") {
            "text/css; charset=utf-8"
        } else {
            "text/javascript; charset=utf-8"
        };
        Some((kind, self.0.get(path).cloned()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_library_are_below_one_folder() {
        let all = [
            ScreenLibrary::NOVNC,
            ScreenLibrary::XTERM,
            ScreenLibrary::SPICE,
        ];
        let folders = all.map(|library| library.folder());
        assert_eq!(folders, ["novnc", "xterm", "spice-html5"]);
        assert!(!Libraries::default().has(&ScreenLibrary::NOVNC));
        assert!(
            Libraries::default()
                .file(ScreenLibrary::NOVNC.main)
                .is_none()
        );
    }
}
