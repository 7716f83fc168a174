//! A shelf of a directory, which keeps how each fetch ended.

use boot::content::{Absent, Asker, Content, Fetched, Shelf};
use lab::{Scratch, eventually};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long anything may take that is waited for.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The files of a directory, by their names, and `made/QUERY` as bytes.
pub struct Directory {
    pub scratch: Scratch,
    ends: Mutex<Vec<(String, Fetched)>>,
}

impl Directory {
    pub fn new() -> Arc<Directory> {
        let directory = Directory {
            scratch: Scratch::new().unwrap(),
            ends: Mutex::default(),
        };
        Arc::new(directory)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Writes noise of this length.
    pub fn noise(&self, name: &str, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        lab::Random::new(length as u64).fill(&mut bytes);
        self.scratch.write(name, &bytes).unwrap();
        bytes
    }

    pub fn fifo(&self, name: &str) {
        let made = Command::new("mkfifo").arg(self.path(name)).status();
        assert!(made.unwrap().success());
        let about = std::fs::metadata(self.path(name)).unwrap();
        assert!(about.file_type().is_fifo());
    }

    pub fn ends(&self) -> Vec<(String, Fetched)> {
        self.ends.lock().unwrap().clone()
    }

    /// Waits until a fetch of this name has ended as wanted.
    pub fn wait_for(&self, name: &str, wanted: impl Fn(&Fetched) -> bool) {
        let is_there = || {
            let ends = self.ends();
            ends.iter().any(|(of, end)| of == name && wanted(end))
        };
        assert!(eventually(LIMIT, is_there), "{name}: {:?}", self.ends());
    }
}

impl Shelf for Directory {
    fn find(&self, name: &str, query: &str, _: &Asker) -> Result<Content, Absent> {
        if name == "made" {
            return Ok(Content::Made(query.as_bytes().into()));
        }
        let path = self.path(name);
        // Exact names only: no other directory, and no other spelling.
        let is_one = Path::new(name).components().count() == 1 && !name.contains("..");
        match is_one && path.exists() {
            true => Ok(Content::File(path)),
            false => Err(Absent(format!("no file {name}"))),
        }
    }

    fn fetched(&self, name: &str, _: &Asker, end: &Fetched) {
        let mut ends = self.ends.lock().unwrap();
        ends.push((name.to_owned(), end.clone()));
    }
}

pub fn is_broken(words: &str) -> impl Fn(&Fetched) -> bool {
    move |end| matches!(end, Fetched::Broken(why) if why.contains(words))
}

/// Runs a client to its end.
pub fn client(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}
