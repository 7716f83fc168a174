//! Displays of guests in the browser, by noVNC: its files, from the package of the distribution, and
//! how many are open.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Where the package `novnc` has its files.
pub const NOVNC: &str = "/usr/share/novnc";
/// What of it is served: modules.
const BELOW: [&str; 2] = ["core", "vendor"];
/// Bounds of what is read of it.
const FILES_MAX: usize = 256;
const FILE_BYTES_MAX: u64 = 1 << 20;
const DEPTH_MAX: usize = 6;
/// Displays that are open at one time.
pub const OPEN_MAX: usize = 32;

/// The displays.
pub struct Screens {
    files: BTreeMap<String, Arc<[u8]>>,
    /// A permit for each display that may be open.
    pub places: Arc<Semaphore>,
}

impl Default for Screens {
    /// Without noVNC.
    fn default() -> Self {
        Screens {
            files: BTreeMap::new(),
            places: Arc::new(Semaphore::new(OPEN_MAX)),
        }
    }
}

impl Screens {
    /// With the noVNC of this machine, if it has one.
    pub fn load() -> Screens {
        Screens::with(Path::new(NOVNC))
    }

    fn with(directory: &Path) -> Screens {
        let mut screens = Screens::default();
        for below in BELOW {
            add(&directory.join(below), below, 0, &mut screens.files);
        }
        screens
    }

    /// Whether there is a noVNC.
    pub fn are_there(&self) -> bool {
        self.files.contains_key("core/rfb.js")
    }

    /// A file, by its path below the directory.
    pub fn file(&self, path: &str) -> Option<Arc<[u8]>> {
        self.files.get(path).cloned()
    }
}

/// Reads the modules of a directory and of those in it. What cannot be read is not there.
fn add(directory: &Path, path: &str, depth: usize, files: &mut BTreeMap<String, Arc<[u8]>>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let (Some(name), Ok(kind)) = (name.to_str(), entry.file_type()) else {
            continue;
        };
        let path = format!("{path}/{name}");
        if kind.is_dir() && depth < DEPTH_MAX {
            add(&entry.path(), &path, depth + 1, files);
        } else if name.ends_with(".js") && files.len() < FILES_MAX {
            let mut bytes = Vec::new();
            let opened = fs::File::open(entry.path());
            let read = opened.and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
            if read.is_ok() {
                files.insert(path, bytes.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::Scratch;

    #[test]
    fn modules_are_served_and_nothing_else() {
        let scratch = Scratch::new().unwrap();
        for directory in ["core/util", "vendor", "app"] {
            fs::create_dir_all(scratch.path().join(directory)).unwrap();
        }
        for file in [
            "core/rfb.js",
            "core/util/int.js",
            "core/README.md",
            "app/ui.js",
            "vnc.html",
        ] {
            scratch.write(file, file).unwrap();
        }
        let screens = Screens::with(scratch.path());
        assert!(screens.are_there());
        assert_eq!(
            screens.file("core/util/int.js").as_deref(),
            Some(&b"core/util/int.js"[..])
        );
        for path in [
            "core/README.md",
            "app/ui.js",
            "vnc.html",
            "core/../vnc.html",
            "",
            "core",
        ] {
            assert!(screens.file(path).is_none(), "{path}");
        }
        assert!(!Screens::with(&scratch.path().join("nothing")).are_there());
    }
}
