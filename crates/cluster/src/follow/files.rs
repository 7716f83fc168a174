//! Builds the files of a version from the files of a revision: those of the repository,
//! and accepted files from elsewhere.

use super::decide::Trouble;
use crate::file_set::{FILES_MAX, FileSet, SET_BYTES_MAX, SetFile};
use crate::keyword::Followed;
use std::collections::{BTreeMap, BTreeSet};

const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";
const FIRST: &str = "haproxy.cfg";

/// A file of a revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RepositoryFile {
    /// Path from the top of the repository.
    pub path: String,
    pub mode: u32,
    pub bytes: Vec<u8>,
}

/// Returns whether a file of the repository belongs to the version. Files of the
/// version control systems and hidden files do not.
pub(super) fn is_taken(path: &str) -> bool {
    !path.is_empty()
        && !path
            .split('/')
            .any(|part| part.starts_with('.') || part.is_empty())
}

/// Number and size of the files of a version. Refuses a file that exceeds [`FILES_MAX`] or
/// [`SET_BYTES_MAX`].
#[derive(Debug, Default)]
pub(super) struct SpaceLeft {
    files: usize,
    bytes: u64,
}

impl SpaceLeft {
    pub(super) fn reserve_file(&mut self, bytes: u64) -> Result<(), Trouble> {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.files <= FILES_MAX && self.bytes <= SET_BYTES_MAX {
            Ok(())
        } else {
            Err(Trouble::TooLarge {
                bytes_max: SET_BYTES_MAX,
            })
        }
    }
}

pub(super) fn set(
    settings: &Followed,
    files: Vec<RepositoryFile>,
    accepted: Option<&FileSet>,
) -> Result<FileSet, Trouble> {
    let mains = mains(settings, &files, accepted)?;
    let listings = listings(settings, &files, accepted);
    let mut owned: BTreeMap<String, SetFile> = BTreeMap::new();
    for file in files {
        let path = settings.path(&file.path);
        let secret = file
            .bytes
            .windows(PRIVATE_KEY.len())
            .any(|part| part == PRIVATE_KEY);
        let file = SetFile {
            path: path.clone(),
            main: mains.contains(&path),
            secret,
            mode: file.mode,
            bytes: file.bytes,
        };
        owned.insert(path, file);
    }
    let others = accepted.into_iter().flat_map(|set| &set.files);
    let others = others.filter(|file| !settings.owns(&file.path));
    let mut room = SpaceLeft::default();
    let mut set = FileSet {
        listings,
        ..FileSet::default()
    };
    // Files of the command line come first, in the order of the accepted version; new ones follow
    // in the order of `mains`.
    let places = accepted.into_iter().flat_map(|set| &set.files);
    let places = places.filter(|file| file.main).map(|file| &file.path);
    let mut order: Vec<&String> = Vec::new();
    for path in places.chain(&mains) {
        if !order.contains(&path) {
            order.push(path);
        }
    }
    let mut others: BTreeMap<String, SetFile> = others
        .map(|file| (file.path.clone(), file.clone()))
        .collect();
    for path in order {
        let own = owned.get(path).filter(|file| file.main).is_some();
        let file = if own {
            owned.remove(path)
        } else {
            others.remove(path)
        };
        set.files.extend(file);
    }
    set.files.extend(owned.into_values());
    set.files.extend(others.into_values());
    for file in &set.files {
        room.reserve_file(file.bytes.len() as u64)?;
    }
    Ok(set)
}

/// Returns the paths of the files that nodes load like files of their command line: those of the
/// `follow` line, or else those of the accepted version that still exist, or else `haproxy.cfg`, or
/// else all `.cfg` files at the top of the repository.
fn mains(
    settings: &Followed,
    files: &[RepositoryFile],
    accepted: Option<&FileSet>,
) -> Result<Vec<String>, Trouble> {
    let there = |path: &str| files.iter().any(|file| settings.path(&file.path) == path);
    if !settings.files.is_empty() {
        let all = settings.files.iter();
        return all
            .map(|name| {
                let path = settings.path(name);
                if there(&path) {
                    Ok(path)
                } else {
                    Err(Trouble::NoFile { name: name.clone() })
                }
            })
            .collect();
    }
    let before = accepted.into_iter().flat_map(|set| &set.files);
    let before = before.filter(|file| file.main && there(&file.path));
    let before: Vec<String> = before.map(|file| file.path.clone()).collect();
    if !before.is_empty() {
        return Ok(before);
    }
    let first = settings.path(FIRST);
    if there(&first) {
        return Ok(vec![first]);
    }
    let top = |file: &&RepositoryFile| !file.path.contains('/') && file.path.ends_with(".cfg");
    let mut top: Vec<String> = files
        .iter()
        .filter(top)
        .map(|file| settings.path(&file.path))
        .collect();
    top.sort();
    if top.is_empty() {
        Err(Trouble::NoFile {
            name: FIRST.to_owned(),
        })
    } else {
        Ok(top)
    }
}

/// Returns the directories of the repository with the names in them, and those outside
/// of it.
fn listings(
    settings: &Followed,
    files: &[RepositoryFile],
    accepted: Option<&FileSet>,
) -> Vec<(String, Vec<String>)> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    all.insert(settings.directory.clone(), BTreeSet::new());
    for file in files {
        let path = settings.path(&file.path);
        let mut rest = path.as_str();
        while let Some((directory, name)) = rest.rsplit_once('/') {
            if directory != settings.directory && !settings.owns(directory) {
                break;
            }
            all.entry(directory.to_owned())
                .or_default()
                .insert(name.to_owned());
            rest = directory;
        }
    }
    let others = accepted.into_iter().flat_map(|set| &set.listings);
    for (directory, names) in others {
        if !settings.owns(directory) && *directory != settings.directory {
            all.insert(directory.clone(), names.iter().cloned().collect());
        }
    }
    all.into_iter()
        .map(|(directory, names)| (directory, names.into_iter().collect()))
        .collect()
}
