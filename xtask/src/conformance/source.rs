//! Provides the tests from a git directory at the revision of a release, or from a checkout. Tests
//! from git are unpacked into a scratch directory and never copied into the tree.

use super::error::ConformanceError;
use super::expected::RELEASES;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Location of the tests of a release.
#[derive(Debug)]
pub struct Source {
    pub folder: PathBuf,
}

impl Source {
    /// Unpacks the tests of a release.
    pub fn unpack(
        source: &Path,
        release: &str,
        scratch: &Path,
    ) -> Result<Source, ConformanceError> {
        let revision = RELEASES.iter().find(|(name, _)| *name == release);
        let revision = revision.map_or(release, |(_, revision)| revision);
        if archive(source, revision, scratch)? {
            let folder = scratch.join("reg-tests");
            for_varnishtest(&folder)?;
            return Ok(Source { folder });
        }
        // Uses the directory as an unpacked release without git.
        let folder = source.join("reg-tests");
        let found = std::fs::canonicalize(&folder).ok();
        let none = || ConformanceError::NoTests {
            source: source.to_owned(),
            release: revision.to_owned(),
        };
        Ok(Source {
            folder: found.filter(|folder| folder.is_dir()).ok_or_else(none)?,
        })
    }
}

/// Replaces the flag `-Ws` of `haproxy`, which varnishtest does not support, by `-W`. The
/// difference is the notification of a service manager, which no test has.
fn for_varnishtest(folder: &Path) -> Result<(), ConformanceError> {
    let entries = |path: &Path| {
        let source = |source| ConformanceError::File {
            path: path.to_owned(),
            source,
        };
        let found: std::io::Result<Vec<_>> = std::fs::read_dir(path).and_then(Iterator::collect);
        found.map_err(source)
    };
    for directory in entries(folder)? {
        let directory = directory.path();
        if !directory.is_dir() {
            continue;
        }
        for test in entries(&directory)? {
            let path = test.path();
            if path.extension().is_none_or(|extension| extension != "vtc") {
                continue;
            }
            // Ignores an unreadable test, which has no such line.
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if !text.contains(" -Ws ") {
                continue;
            }
            let lines = text.lines().map(|line| {
                if line.starts_with("haproxy ") {
                    line.replace(" -Ws ", " -W ") + "\n"
                } else {
                    format!("{line}\n")
                }
            });
            let rewritten: String = lines.collect();
            std::fs::write(&path, rewritten)
                .map_err(|source| ConformanceError::File { path, source })?;
        }
    }
    Ok(())
}

/// Returns whether git has the tests of a revision.
fn archive(source: &Path, revision: &str, scratch: &Path) -> Result<bool, ConformanceError> {
    let start = |program| move |source| ConformanceError::Start { program, source };
    let mut git = Command::new("git")
        .arg("-C")
        .arg(source)
        .args(["archive", revision, "reg-tests"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(start("git"))?;
    let Some(output) = git.stdout.take() else {
        return Ok(false);
    };
    let unpacked = Command::new("tar")
        .args(["x", "-C"])
        .arg(scratch)
        .stdin(output)
        .stderr(Stdio::null())
        .status()
        .map_err(start("tar"))?;
    let packed = git.wait().map_err(start("git"))?;
    Ok(packed.success() && unpacked.success())
}
