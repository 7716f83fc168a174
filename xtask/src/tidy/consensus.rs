//! Checks that the sources of consensus are those that a maintainer reviewed:
//! `third-party/openraft`, and the packages of `Cargo.lock` that only they use. `docs/consensus.md`
//! records their digest, and says what a review is. The digest detects a change; it does not say
//! whether the change is right.

use super::lock::{self, LockedPackage};
use super::tree::{self, Tree};
use super::{Finding, TidyError, Wrong};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const REVIEW: &str = "docs/consensus.md";
const SOURCES: &str = "third-party/openraft";
const LOCK: &str = "Cargo.lock";

/// Packages that take part in consensus. Those in `SOURCES` have no checksum in the lock file,
/// unless somebody replaced them with published ones.
const PACKAGES: [&str; 12] = [
    "anyerror",
    "backoff-series",
    "display-more",
    "maplit",
    "openraft",
    "openraft-macros",
    "openraft-rt",
    "openraft-rt-sim",
    "openraft-rt-tokio",
    "peel-off",
    "quorum-set",
    "validit",
];

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>, TidyError> {
    let digest = digest(tree.root(), &packages(tree.text_of(LOCK)))?;
    Ok(judge(tree.text_of(REVIEW), &digest).into_iter().collect())
}

fn judge(review: &str, digest: &str) -> Option<Finding> {
    let is_reviewed = review.contains(&format!("`{digest}`"));
    (!is_reviewed).then(|| Finding {
        file: REVIEW.to_owned(),
        line: 1,
        wrong: Wrong::Unreviewed {
            digest: digest.to_owned(),
        },
    })
}

/// Returns the entries of a lock file for `PACKAGES`, without their dependencies.
fn packages(lock: &str) -> String {
    let mut packages = String::new();
    for package in lock::packages(lock) {
        let LockedPackage {
            name,
            version,
            source,
            checksum,
            ..
        } = package;
        if PACKAGES.contains(&name) {
            packages.push_str(&format!("{name} {version} {source} {checksum} \n"));
        }
    }
    packages
}

/// Returns a digest of the sources and the packages. git computes it: its object names are digests.
fn digest(root: &Path, packages: &str) -> Result<String, TidyError> {
    let git = || {
        let mut command = Command::new("git");
        command.arg("-C").arg(root);
        command
    };
    let mut paths = tree::listed(root, SOURCES)?;
    paths.retain(|path| root.join(path).is_file());
    paths.sort_unstable();
    paths.dedup();

    let mut hash = git();
    hash.args(["hash-object", "--no-filters", "--"])
        .args(&paths);
    let hashes = tree::output("git hash-object", hash)?;
    let hashes = String::from_utf8_lossy(&hashes);
    let mut record = packages.to_owned();
    for (path, hash) in paths.iter().zip(hashes.lines()) {
        record.push_str(&format!("{path} {hash}\n"));
    }
    let mut whole = git();
    whole.args(["hash-object", "--no-filters", "--stdin"]);
    output_of("git hash-object", whole, &record)
}

/// Returns the first line that a program prints for this input.
fn output_of(
    program: &'static str,
    mut command: Command,
    input: &str,
) -> Result<String, TidyError> {
    let failed = |source| TidyError::Run { program, source };
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(TidyError::Failed {
            program,
            stderr: format!("{}", output.status),
        });
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    Ok(printed.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n\
        [[package]]\nname = \"openraft\"\nversion = \"0.10.0\"\ndependencies = [\n \"tokio\",\n]\n\n\
        [[package]]\nname = \"tokio\"\nversion = \"1.54.1\"\nchecksum = \"aa\"\n\n\
        [[package]]\nname = \"validit\"\nversion = \"0.2.6\"\nsource = \"registry\"\nchecksum = \"bb\"\n";

    #[test]
    fn lock_entries_of_consensus_count_alone() {
        assert_eq!(
            packages(LOCK),
            "openraft 0.10.0   \nvalidit 0.2.6 registry bb \n"
        );
        let other = LOCK.replace("1.54.1", "1.55.0");
        assert_eq!(packages(&other), packages(LOCK));
        let published = LOCK.replace("0.10.0\"\n", "0.10.0\"\nchecksum = \"cc\"\n");
        assert_ne!(packages(&published), packages(LOCK));
    }

    #[test]
    fn digest_without_review_is_refused() {
        assert_eq!(judge("reviewed: `12ab`", "12ab"), None);
        let found = judge("reviewed: `12ab`", "34cd").expect("not reviewed");
        let digest = "34cd".to_owned();
        assert_eq!(found.wrong, Wrong::Unreviewed { digest });
    }

    #[test]
    fn changed_file_and_changed_package_change_the_digest() {
        let root = std::env::temp_dir().join(format!("tidy-consensus-{}", std::process::id()));
        let sources = root.join(SOURCES);
        std::fs::create_dir_all(&sources).expect("a directory");
        let git = Command::new("git")
            .arg("-C")
            .arg(&root)
            .args(["init", "-q"])
            .status();
        assert!(git.expect("git runs").success());
        let file = sources.join("lib.rs");
        std::fs::write(&file, "fn vote() {}\n").expect("a file");
        let digest = |packages| digest(&root, packages).expect("a digest");

        let first = digest("openraft 1");
        assert_eq!(digest("openraft 1"), first);
        assert_ne!(digest("openraft 2"), first);
        std::fs::write(&file, "fn vote() { }\n").expect("a file");
        assert_ne!(digest("openraft 1"), first);
        std::fs::write(&file, "fn vote() {}\n").expect("a file");
        std::fs::write(sources.join("new.rs"), "").expect("a file");
        assert_ne!(digest("openraft 1"), first);
        std::fs::remove_dir_all(&root).expect("removed");
    }
}
