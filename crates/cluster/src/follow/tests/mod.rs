//! Tests the follower with repositories that the real programs create.

mod decide;
mod git;
mod hg;
mod programs;
mod service;

use super::*;
use crate::file_set::SetFile;
use crate::keyword::System;
use std::process::Command;
use std::time::Duration;

struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn new(name: &str) -> TemporaryDirectory {
        let name = format!("evenkeel-follow-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        TemporaryDirectory(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("HGRCPATH", "")
        .env("HGPLAIN", "1");
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {complaint}"
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn followed(system: System, url: &Path) -> Followed {
    Followed {
        system,
        url: url.to_string_lossy().into_owned(),
        branch: None,
        directory: "/etc/haproxy".to_owned(),
        files: Vec::new(),
        every: Duration::from_secs(60),
        signed_by: None,
    }
}

fn file(path: &str, main: bool, text: &str) -> SetFile {
    SetFile {
        path: path.to_owned(),
        main,
        secret: false,
        mode: 0o644,
        bytes: text.as_bytes().to_vec(),
    }
}

/// The cluster's knowledge of a repository, and its accepted version.
#[derive(Default)]
struct ClusterView {
    past: Past,
    accepted: Option<Arc<FileSet>>,
}

impl ClusterView {
    async fn look(&self, follower: &mut Follower) -> PollResult {
        follower
            .poll_repository(&self.past, self.accepted.clone())
            .await
    }

    /// Polls, and accepts the proposed revision.
    async fn take(&mut self, follower: &mut Follower) -> ProposedRevision {
        let outcome = self.look(follower).await;
        let PollResult::Propose(wanted) = outcome else {
            panic!("nothing was proposed: {outcome:?}");
        };
        self.decided(&wanted.revision.id, ProposalResult::Accepted);
        self.accepted = Some(Arc::new(wanted.set.clone()));
        *wanted
    }

    fn decided(&mut self, revision: &str, fate: ProposalResult) {
        self.past.versions.push(FollowedVersion {
            version: VersionId(self.past.versions.len() as u64 + 1),
            revision: revision.to_owned(),
            fate,
        });
    }
}

/// Returns why a poll was refused, and whether that was reported before.
fn refused(outcome: PollResult) -> (Trouble, bool) {
    match outcome {
        PollResult::Refused(refused) => (refused.trouble, refused.again),
        other => panic!("not refused: {other:?}"),
    }
}

fn names(set: &FileSet) -> Vec<String> {
    let name = |file: &SetFile| {
        if file.main {
            format!("{} (main)", file.path)
        } else {
            file.path.clone()
        }
    };
    set.files.iter().map(name).collect()
}
