//! Checks whether users other than root can change programs that the role starts as root.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Path of the evenkeel binary that runs.
const OWN: &str = "/proc/self/exe";
/// Maximum number of symbolic links in one path, as in the kernel.
const LINKS_MAX: usize = 40;
/// Programs that run another file, whose path is their first argument that is not an option.
const INTERPRETERS: &[&str] = &[
    "sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "env", "perl", "ruby", "lua", "php",
    "nice", "ionice", "timeout", "setsid", "nohup",
];

/// Returns the first part of a program's path, or of the path of the script that an interpreter
/// runs, that a user other than root can change. Missing files are ignored.
pub fn changeable(words: &[String]) -> Option<PathBuf> {
    // Accepts the evenkeel binary, which is already running.
    if words.first().is_some_and(|program| program == OWN) {
        return None;
    }
    let runs_another = |word: &str| {
        let name = Path::new(word).file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| INTERPRETERS.contains(&name) || name.starts_with("python"))
    };
    let mut left = words;
    while let Some((program, rest)) = left.split_first() {
        if is_path(program)
            && let Some(part) = changeable_part(Path::new(program))
        {
            return Some(part);
        }
        let next = rest
            .iter()
            .position(|word| is_path(word) || runs_another(word));
        let next = next.filter(|_| runs_another(program))?;
        left = &rest[next..];
    }
    None
}

fn is_path(word: &str) -> bool {
    word.starts_with('/')
}

/// Returns the first directory, link or file on a path that others can change.
fn changeable_part(path: &Path) -> Option<PathBuf> {
    let mut left: Vec<OsString> = components(path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    if is_changeable(&at) {
        return Some(at);
    }
    while let Some(name) = left.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        at.push(&name);
        let found = std::fs::symlink_metadata(&at).ok()?;
        if !found.is_symlink() {
            if can_be_changed(&found) {
                return Some(at);
            }
            continue;
        }
        // Checks only the owner of a link, which has no mode of its own; its directory is checked,
        // too.
        if found.uid() != 0 {
            return Some(at);
        }
        links += 1;
        let to = std::fs::read_link(&at)
            .ok()
            .filter(|_| links <= LINKS_MAX)?;
        if to.is_absolute() {
            at = PathBuf::from("/")
        } else {
            at.pop();
        }
        left.extend(components(&to));
    }
    None
}

/// Returns the names in a path, the first one last.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|one| match one {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<OsString> = names.collect();
    names.reverse();
    names
}

fn is_changeable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| can_be_changed(&found))
}

/// Returns whether users other than root can write a file, or replace the contents of a directory.
fn can_be_changed(found: &Metadata) -> bool {
    let group = if found.gid() == 0 { 0 } else { 0o020 };
    // Accepts a sticky directory, in which other users cannot replace files of root.
    let is_sticky = found.is_dir() && found.mode() & 0o1000 != 0;
    found.uid() != 0 || (found.mode() & (0o002 | group) != 0 && !is_sticky)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn every_part_of_the_path_and_each_link_counts() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let scratch = ScratchDirectory::new().unwrap();
        let directory = scratch.path().join("d");
        fs::create_dir(&directory).unwrap();
        let program = directory.join("p");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        mode(scratch.path(), 0o755);
        let found = |path: &Path| changeable(&[path.display().to_string()]);
        let cases: [(&Path, u32, u32, bool); 8] = [
            (&program, 0o755, 0, false),
            (&program, 0o757, 0, true),
            (&program, 0o775, 0, false),
            (&program, 0o755, 7, true),
            (&directory, 0o757, 0, true),
            (&directory, 0o1777, 0, false),
            (&directory, 0o755, 7, true),
            (&directory, 0o775, 0, false),
        ];
        for (path, bits, owner, expected) in cases {
            for path in [&directory, &program] {
                mode(path, 0o755);
                chown(path, Some(0), Some(0)).unwrap();
            }
            mode(path, bits);
            chown(path, Some(owner), None).unwrap();
            let path = expected.then(|| path.to_owned());
            assert_eq!(found(&program), path, "{bits:o} of {owner}");
        }
        // The group is not root's.
        chown(&directory, Some(0), Some(7)).unwrap();
        mode(&directory, 0o775);
        assert_eq!(found(&program), Some(directory.clone()));
        mode(&directory, 0o755);
        assert_eq!(found(&program), None);
        // A link leads through a directory that others can change.
        let open = scratch.path().join("open");
        fs::create_dir(&open).unwrap();
        symlink("../d/p", open.join("second")).unwrap();
        let first = directory.join("first");
        symlink(open.join("second"), &first).unwrap();
        assert_eq!(found(&first), None);
        mode(&open, 0o777);
        assert_eq!(found(&first), Some(open.clone()));
        mode(&open, 0o755);
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        mode(&program, 0o777);
        let path = program.display();
        for line in [
            format!("/bin/sh {path}"),
            format!("/usr/bin/env python3 -u {path} x"),
            format!("/usr/bin/timeout 5 /bin/sh -e {path}"),
        ] {
            assert_eq!(changeable(&words(&line)), Some(program.clone()), "{line}");
        }
        // A file that another program reads is not a program.
        assert_eq!(changeable(&words(&format!("/bin/cat {path}"))), None);
        // A circle of links ends.
        symlink("circle", directory.join("circle")).unwrap();
        assert_eq!(found(&directory.join("circle")), None);
    }
}
