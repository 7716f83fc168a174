//! Tests the whole role: with real TCP in threads, and in a simulated network.

mod loss;
mod machine;
mod real;
mod removal;
mod simulated;

use crate::command::{Judging, VersionId, VersionOrigin};
use crate::file_set::{FileSet, SetFile};
use crate::request::Apply;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

struct MemberTestDirectory(PathBuf);

impl MemberTestDirectory {
    fn new() -> MemberTestDirectory {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("evenkeel-role-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        MemberTestDirectory(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MemberTestDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn set(text: &str) -> FileSet {
    FileSet {
        files: vec![SetFile {
            path: "/etc/evenkeel.cfg".into(),
            main: true,
            secret: false,
            mode: 0o644,
            bytes: text.as_bytes().to_vec(),
        }],
        ..FileSet::default()
    }
}

fn apply(parent: Option<u64>, text: &str, judge_ms: u64) -> Box<Apply> {
    Box::new(Apply {
        parent: parent.map(VersionId),
        author: "anna".into(),
        message: format!("serve {text}"),
        time_s: 0,
        origin: VersionOrigin::Applied,
        set: set(text),
        judging: Judging {
            judge_ms,
            confirm_within_ms: None,
        },
    })
}
