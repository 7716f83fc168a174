//! Remembers which file the running program came from, and detects that another program was
//! installed there.

use part::spawn::OWN_PROGRAM;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Program {
    path: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Newer {
    pub path: PathBuf,
    /// True if the supervisor must execute the program, too; false if only the role runs another
    /// one.
    pub whole: bool,
    file: FileIdentity,
}

/// Device and inode number. A running file keeps its inode after it was deleted, so no other file
/// gets the same one.
type FileIdentity = (u64, u64);

fn identity(path: &Path) -> Option<FileIdentity> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.dev(), data.ino()))
}

impl Program {
    /// Creates the identity of this process's program. A symbolic link in the path is resolved
    /// again at each reload, because a package may change its target.
    pub fn of_start() -> Program {
        let running = identity(Path::new(OWN_PROGRAM));
        let named = std::env::args_os().next();
        let path = named.and_then(|name| find(&name, running));
        Program {
            path: path.or_else(|| std::env::current_exe().ok()),
        }
    }

    /// Returns the installed program if this process, or an adopted role, runs another one.
    pub fn newer(&self, adopted: Option<i32>) -> Option<Newer> {
        let path = self.path.as_ref()?;
        // Returns None if the program was removed.
        let there = identity(path)?;
        let whole = identity(Path::new(OWN_PROGRAM)).is_some_and(|running| running != there);
        let role = adopted.and_then(|pid| identity(Path::new(&format!("/proc/{pid}/exe"))));
        let other = role.is_some_and(|running| running != there);
        (whole || other).then(|| Newer {
            path: path.clone(),
            whole,
            file: there,
        })
    }
}

impl Newer {
    #[cfg(test)]
    pub fn of_test(path: &str) -> Newer {
        Newer {
            path: path.into(),
            whole: true,
            file: (0, 0),
        }
    }

    /// Returns whether the file was removed or replaced again, so that the program there was not
    /// tested.
    pub fn is_replaced(&self) -> bool {
        identity(&self.path) != Some(self.file)
    }
}

/// Returns whether a role runs another program than this process; false if that cannot be
/// determined.
pub fn is_of_another_program(role: i32) -> bool {
    let running = identity(Path::new(&format!("/proc/{role}/exe")));
    running.is_some() && running != identity(Path::new(OWN_PROGRAM))
}

/// Returns the file that the first word of the command line names, if it is the running one.
fn find(name: &OsStr, running: Option<FileIdentity>) -> Option<PathBuf> {
    let is_it = |path: &PathBuf| running.is_some() && identity(path) == running;
    if name.as_bytes().contains(&b'/') {
        return std::path::absolute(name).ok().filter(is_it);
    }
    let directories = std::env::var_os("PATH")?;
    std::env::split_paths(&directories)
        .map(|directory| directory.join(name))
        .filter(|path| path.is_absolute())
        .find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_program_is_newer_but_a_removed_one_is_not() {
        let own = std::env::current_exe().unwrap();
        let link = std::env::temp_dir().join(format!("evenkeel-program-{}", std::process::id()));
        std::os::unix::fs::symlink(&own, &link).unwrap();
        let found = find(link.as_os_str(), identity(Path::new(OWN_PROGRAM)));
        assert_eq!(
            found.as_ref(),
            Some(&link),
            "the link, not what it leads to"
        );
        let program = Program { path: found };
        assert_eq!(program.newer(None), None);
        std::fs::remove_file(&link).unwrap();
        assert_eq!(program.newer(None), None);
        std::fs::write(&link, "another").unwrap();
        let newer = program.newer(Some(std::process::id().cast_signed()));
        let newer = newer.expect("another file");
        assert!(newer.path == link && newer.whole && !newer.is_replaced());
        let other = link.with_extension("other");
        std::fs::write(&other, "a third").unwrap();
        std::fs::rename(&other, &link).unwrap();
        assert!(newer.is_replaced());
        std::fs::remove_file(&link).unwrap();
        assert!(newer.is_replaced());
    }

    #[test]
    fn another_program_of_the_same_name_is_distinguished() {
        let running = identity(Path::new(OWN_PROGRAM));
        assert_eq!(find(OsStr::new("/bin/sh"), running), None);
        assert_eq!(find(OsStr::new("sh"), running), None);
    }
}
