//! Finds the paths that must be watched for `watch`, so that changed files cause a reload: those of
//! a version's files, including symbolic links on the way. For a load after a change, the module
//! chooses which text of the configuration is loaded.
//!
//! The module watches nothing. The supervisor does, and reads no files.

use super::LoadFailure;
use super::wishes::Wishes;
use configuration::Recording;
use keyword::load::Loaded;
use part::role::{Load, NotLoaded, Watch, WatchedDirectory};
use part::voice::MessagePrinter;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Limit of symbolic links in one path, as in the kernel.
const LINKS_MAX: usize = 40;

/// Reads the configuration files. After a change of a watched file, if only referenced files are
/// watched, the served text of the proxy's files is loaded instead: an unfinished edit must not be
/// loaded.
pub fn read(
    load: &Load,
    before: Option<&Recording>,
    wishes: &mut Wishes,
    voice: &mut MessagePrinter,
) -> Result<(), LoadFailure> {
    let watch = load.previous.as_ref().and_then(|plan| plan.watch.as_ref());
    if let Some(before) = before
        && load.watched
        && watch.is_some_and(|watch| !watch.configuration)
    {
        // Reads all files to split them by language, then replaces those of the proxy by the served
        // text.
        wishes.read(voice)?;
        let files = before.files.iter();
        wishes.files = files
            .map(|(name, text)| (name.clone(), text.to_vec()))
            .collect();
        return Ok(());
    }
    wishes.read(voice)
}

pub fn unchanged(loaded: &Loaded, before: Option<&Recording>) -> bool {
    let states = &loaded.watched.states;
    before.is_some_and(|before| before.content(states) == loaded.recording.content(states))
}

pub fn files_to_watch(
    loaded: &Loaded,
    wishes: &Wishes,
    voice: &mut MessagePrinter,
) -> Option<Watch> {
    // Returns None for a cluster version, whose files never change.
    let wish = loaded.watched.setting.filter(|_| wishes.set.is_none())?;
    let mut watch = Watch {
        delay_ms: wish.delay_ms,
        configuration: wish.configuration,
        directories: places(wish.configuration, wishes, Some(loaded)),
    };
    match watch.fit() {
        0 => {}
        left_out => voice.warning(format_args!(
            "{left_out} directories exceed the limit: changes of their files are not detected"
        )),
    }
    Some(watch)
}

/// Builds the result of a failed load, with the paths to watch until a version loads. They include
/// the files that the refused version names, if it was loaded. Without a watched served version
/// there are none.
pub fn refused(
    load: &Load,
    wishes: &Wishes,
    loaded: Option<&Loaded>,
    voice: &MessagePrinter,
) -> LoadFailure {
    let previous = load.previous.as_ref().and_then(|plan| plan.watch.as_ref());
    let watch = previous.map(|previous| {
        let mut watch = Watch {
            directories: places(previous.configuration, wishes, loaded),
            ..*previous
        };
        watch.fit();
        watch
    });
    let content = match loaded {
        Some(loaded) => loaded.recording.content(&loaded.watched.states),
        None => {
            let mut hasher = DefaultHasher::new();
            voice.collected_messages().hash(&mut hasher);
            hasher.finish()
        }
    };
    LoadFailure(NotLoaded {
        exit: 1,
        unchanged: false,
        content,
        watch,
    })
}

fn places(configuration: bool, wishes: &Wishes, loaded: Option<&Loaded>) -> Vec<WatchedDirectory> {
    let mut places = WatchedDirectories::default();
    if configuration {
        for path in &wishes.paths {
            places.add(path);
        }
        for (name, _) in wishes.files.iter().chain(&wishes.address_files) {
            places.add(Path::new(name));
        }
        for path in &wishes.included {
            places.add(path);
        }
    }
    places.named = true;
    if let Some(loaded) = loaded {
        let states = &loaded.watched.states;
        let named = loaded.recording.named();
        for (path, _) in named.filter(|(path, _)| !states.contains(*path)) {
            places.add(path);
        }
        for path in loaded.recording.listed() {
            places.add_all_of(path);
        }
    }
    places.into_directories()
}

#[derive(Default)]
struct Interest {
    names: BTreeSet<OsString>,
    /// The configuration is all `.cfg` files of this directory, which the command line names.
    listed: bool,
    /// Every file in the directory counts, even a new one.
    every: bool,
    /// The directory contains only referenced files, and no configuration file.
    only_named: bool,
}

/// Watched directories, by their paths without symbolic links.
#[derive(Default)]
struct WatchedDirectories {
    known: BTreeMap<PathBuf, Interest>,
    named: bool,
}

impl WatchedDirectories {
    /// Adds the directories to watch for a path, which is followed as the kernel follows it. In
    /// each, the names are watched whose change redirects the path: links, the last component, and
    /// the first missing one. If the path is a directory, its `.cfg` files are watched.
    fn add(&mut self, path: &Path) {
        let Ok(path) = std::path::absolute(path) else {
            return;
        };
        let mut left = parts(&path);
        let mut links = 0;
        let mut at = PathBuf::from("/");
        while let Some(part) = left.pop_front() {
            if part == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            let data = std::fs::symlink_metadata(&next);
            let link = data.as_ref().is_ok_and(|data| data.is_symlink());
            if data.as_ref().is_ok_and(|data| data.is_dir()) {
                at = next;
                self.place(&at);
                continue;
            }
            self.place(&at).names.insert(part);
            let target = std::fs::read_link(&next);
            let (true, Ok(target)) = (link, target) else {
                return;
            };
            links += 1;
            if links > LINKS_MAX {
                return;
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                left.push_front(part);
            }
        }
        self.place(&at).listed = true;
    }

    /// Adds a directory of which a line loads all files, as `crt` does.
    fn add_all_of(&mut self, path: &Path) {
        // Watches the target of a link; the path to the target was added by its name.
        if let Ok(path) = std::fs::canonicalize(path)
            && path.is_dir()
        {
            self.place(&path).every = true;
        }
    }

    fn place(&mut self, at: &Path) -> &mut Interest {
        let new = Interest {
            only_named: self.named,
            ..Interest::default()
        };
        self.known.entry(at.to_owned()).or_insert(new)
    }

    /// Returns the directories to watch. Those with configuration files come first, because the
    /// last ones are dropped above the limit.
    fn into_directories(self) -> Vec<WatchedDirectory> {
        let mut known: Vec<(PathBuf, Interest)> = self.known.into_iter().collect();
        known.sort_by_key(|(_, place)| place.only_named);
        let bytes = |text: &OsStr| text.as_bytes().to_vec();
        known
            .into_iter()
            .map(|(path, place)| WatchedDirectory {
                path: bytes(path.as_os_str()),
                names: place.names.iter().map(|name| bytes(name)).collect(),
                every: place.every,
                suffix: if place.listed {
                    b".cfg".to_vec()
                } else {
                    Vec::new()
                },
            })
            .collect()
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct WatchTestDirectory(PathBuf);

    impl Drop for WatchTestDirectory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn scratch(name: &str) -> WatchTestDirectory {
        let name = format!("evenkeel-watched-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        WatchTestDirectory(path.canonicalize().unwrap())
    }

    fn names(places: WatchedDirectories, directory: &Path) -> Vec<String> {
        let directories = places.into_directories();
        let path = directory.as_os_str().as_bytes();
        let found = directories.iter().find(|one| one.path == path);
        let names = found.map(|one| one.names.clone()).unwrap_or_default();
        let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
        names.iter().map(text).collect()
    }

    #[test]
    fn every_link_of_a_path_is_watched() {
        let scratch = scratch("links");
        let dir = &scratch.0;
        std::fs::create_dir(dir.join("..one")).unwrap();
        std::fs::write(dir.join("..one/a.cfg"), "").unwrap();
        symlink("..one", dir.join("..data")).unwrap();
        symlink("..data/a.cfg", dir.join("a.cfg")).unwrap();
        let places = || {
            let mut places = WatchedDirectories::default();
            places.add(&dir.join("a.cfg"));
            places
        };
        assert_eq!(names(places(), dir), ["..data", "a.cfg"]);
        assert_eq!(names(places(), &dir.join("..one")), ["a.cfg"]);
        assert!(places().known.contains_key(dir.parent().unwrap()));
    }

    #[test]
    fn first_missing_component_of_a_path_is_watched() {
        let scratch = scratch("missing");
        let mut places = WatchedDirectories::default();
        places.add(&scratch.0.join("sub/deep/x.map"));
        assert_eq!(names(places, &scratch.0), ["sub"]);
    }

    #[test]
    fn link_loop_ends() {
        let scratch = scratch("loop");
        symlink("loop", scratch.0.join("loop")).unwrap();
        let mut places = WatchedDirectories::default();
        places.add(&scratch.0.join("loop/x"));
        assert_eq!(names(places, &scratch.0), ["loop"]);
    }

    #[test]
    fn new_configuration_files_in_a_directory_are_watched() {
        let scratch = scratch("directory");
        let mut places = WatchedDirectories::default();
        places.add(&scratch.0);
        let directories = places.into_directories();
        let own = scratch.0.as_os_str().as_bytes();
        let found = directories.iter().find(|one| one.path == own).unwrap();
        assert!(found.counts(b"new.cfg") && !found.counts(b"new.cfg~"));
    }

    #[test]
    fn the_directories_of_the_configuration_come_first() {
        let scratch = scratch("order");
        let directory = |name: &str| {
            let path = scratch.0.join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let (maps, conf) = (directory("a-maps"), directory("b-conf"));
        let mut places = WatchedDirectories::default();
        places.add(&conf.join("a.cfg"));
        places.named = true;
        places.add(&maps.join("a.map"));
        let directories = places.into_directories();
        let at = |path: &Path| {
            let path = path.as_os_str().as_bytes();
            directories.iter().position(|one| one.path == path).unwrap()
        };
        assert!(at(&conf) < at(&maps));
    }
}
