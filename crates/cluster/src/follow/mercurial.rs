//! Pulls a branch of a Mercurial repository by the system's `hg`, and reads the files of a
//! revision. The mirror has no working directory and only ever pulls. Neither its hooks nor those
//! of the repository run.

use super::decide::{Branch, BranchHead, Trouble};
use super::files::{RepositoryFile, SpaceLeft};
use super::program::{
    self, Asking, FAR_LIMIT, LIST_BYTES_MAX, NEAR_LIMIT, ProgramOutput, WORDS_BYTES_MAX,
};
use super::{MESSAGE_BYTES_MAX, Revision, is_hash};
use crate::file_set::{FILES_MAX, SET_BYTES_MAX};
use crate::keyword::Followed;
use serde::Deserialize;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

const BRANCH_DEFAULT: &str = "default";
/// File beside the mirror's repository that marks its creation as complete.
const MADE: &str = "evenkeel.made";
/// Longest wait for another `hg` process that writes to the mirror, in seconds. There is at most
/// one, left from a previous leadership of this member.
const LOCK_WAIT: &str = "ui.timeout=30";
/// Error messages after which only a new mirror helps: a writer was interrupted and its
/// transaction cannot be undone, or an unrelated process with its pid never releases the
/// lock.
const SPOILED: [&str; 2] = ["abandoned transaction", "timed out waiting for lock"];

#[derive(Debug)]
pub(super) struct Mercurial<'m> {
    pub settings: &'m Followed,
    pub mirror: &'m Path,
}

/// An entry of `hg log -T json`.
#[derive(Deserialize)]
struct Logged {
    user: String,
    /// Seconds since 1970, and the time zone.
    date: (f64, f64),
    desc: String,
}

/// Output of `hg files` for each file, as JSON on a line of its own.
const LISTED: &str = "{dict(path=path,size=size)|json}\n";

#[derive(Deserialize)]
struct Listed {
    path: String,
    size: u64,
}

impl Mercurial<'_> {
    async fn run(
        &self,
        arguments: &[&str],
        far: bool,
        said_max: usize,
    ) -> Result<ProgramOutput, Trouble> {
        let fixed = [
            "--noninteractive",
            "--config",
            "ui.ssh=ssh -oBatchMode=yes -oConnectTimeout=20",
            "--config",
            "ui.archivemeta=False",
            "--config",
            "phases.publish=True",
            "--config",
            LOCK_WAIT,
        ];
        let all = fixed.iter().chain(arguments);
        let asking = Asking {
            program: "hg",
            arguments: all.map(OsString::from).collect(),
            environment: vec![
                ("HGRCPATH", "".into()),
                ("HGRCSKIPREPO", "1".into()),
                ("HGPLAIN", "1".into()),
                ("HGENCODING", "UTF-8".into()),
                ("HGENCODINGMODE", "replace".into()),
            ],
            directory: self.mirror,
            limit: if far { FAR_LIMIT } else { NEAR_LIMIT },
            said_max,
            input: Vec::new(),
            grows: far,
        };
        program::ask(asking).await
    }

    async fn near(&self, arguments: &[&str]) -> Result<ProgramOutput, Trouble> {
        self.run(arguments, false, LIST_BYTES_MAX).await
    }

    async fn answer(&self, arguments: &[&str]) -> Result<ProgramOutput, Trouble> {
        self.near(arguments).await?.well()
    }

    pub(super) async fn pull_branch(&self, last: Option<&str>) -> Result<Branch, Trouble> {
        self.prepare().await?;
        let Some(id) = self.branch().await? else {
            return Ok(Branch::Gone);
        };
        if !self.has(&id).await? {
            self.pull(&id).await?;
        }
        let follows_last = match last.filter(|last| *last != id) {
            None => true,
            Some(last) => self.follows(last, &id).await?,
        };
        Ok(Branch::At(Box::new(BranchHead {
            revision: self.revision(&id).await?,
            follows_last,
            signature: None,
        })))
    }

    /// Creates the mirror if it is missing or incomplete, and undoes an interrupted pull.
    async fn prepare(&self) -> Result<(), Trouble> {
        if !self.mirror.join(MADE).exists() {
            return self.begin_anew().await;
        }
        let left = || self.mirror.join(".hg/store/journal").exists();
        if !left() || self.near(&["recover"]).await?.good() {
            return Ok(());
        }
        if left() {
            self.begin_anew().await
        } else {
            // Continues without the journal: the process that wrote it has ended meanwhile.
            Ok(())
        }
    }

    /// Creates an empty mirror in place of an unusable one.
    async fn begin_anew(&self) -> Result<(), Trouble> {
        let cannot = |error| program::no_mirror(self.mirror, &error);
        program::remove(self.mirror).map_err(cannot)?;
        let mut directory = std::fs::DirBuilder::new();
        let made = directory.recursive(true).mode(0o700).create(self.mirror);
        made.map_err(cannot)?;
        self.answer(&["init", "."]).await?;
        std::fs::write(self.mirror.join(MADE), b"").map_err(cannot)
    }

    async fn branch(&self) -> Result<Option<String>, Trouble> {
        let branch = self.settings.branch.as_deref().unwrap_or(BRANCH_DEFAULT);
        let url = self.settings.url.as_str();
        let arguments = ["identify", "--id", "--debug", "--rev", branch, "--", url];
        let said = self.run(&arguments, true, WORDS_BYTES_MAX).await?;
        if !said.good() {
            return if said.complaint.contains("unknown revision") {
                Ok(None)
            } else {
                Err(said.failed())
            };
        }
        let id = said.line();
        match is_hash(&id) {
            // An identifier of zeros means that the repository has no revision.
            true if id.bytes().all(|b| b == b'0') => Ok(None),
            true => Ok(Some(id)),
            false => Err(said.failed()),
        }
    }

    async fn has(&self, id: &str) -> Result<bool, Trouble> {
        // Accepts full hashes only, because `hg` evaluates the argument of `--rev` as an
        // expression.
        Ok(is_hash(id) && self.near(&["log", "--rev", id, "-T", "x"]).await?.good())
    }

    async fn pull(&self, id: &str) -> Result<(), Trouble> {
        let mut said = self.pull_once(id).await?;
        if SPOILED.iter().any(|words| said.complaint.contains(words)) {
            self.begin_anew().await?;
            said = self.pull_once(id).await?;
        }
        said.well().map(|_| ())
    }

    async fn pull_once(&self, id: &str) -> Result<ProgramOutput, Trouble> {
        let url = self.settings.url.as_str();
        let arguments = ["pull", "--quiet", "--rev", id, "--", url];
        let said = self.run(&arguments, true, WORDS_BYTES_MAX).await;
        if let Err(Trouble::TooLarge { .. }) = said {
            // Deletes a mirror that is too large, so that the next poll begins with an empty one.
            let _ = std::fs::remove_dir_all(self.mirror);
        }
        said
    }

    async fn follows(&self, last: &str, id: &str) -> Result<bool, Trouble> {
        if !self.has(last).await? {
            return Ok(false);
        }
        let both = format!("{last} and ::{id}");
        let said = self.answer(&["log", "--rev", &both, "-T", "x"]).await?;
        Ok(!said.out.is_empty())
    }

    async fn revision(&self, id: &str) -> Result<Revision, Trouble> {
        let said = self.answer(&["log", "--rev", id, "-T", "json"]).await?;
        let told: Option<Vec<Logged>> = serde_json::from_slice(&said.out).ok();
        let Some(logged) = told.and_then(|all| all.into_iter().next()) else {
            return Err(said.failed());
        };
        Ok(Revision {
            id: id.to_owned(),
            author: language::truncated(&logged.user, MESSAGE_BYTES_MAX).to_owned(),
            message: language::truncated(logged.desc.trim_end(), MESSAGE_BYTES_MAX).to_owned(),
            time_s: logged.date.0 as i64,
        })
    }

    pub(super) async fn files(&self, id: &str) -> Result<Vec<RepositoryFile>, Trouble> {
        let said = self.answer(&["files", "--rev", id, "-T", LISTED]).await?;
        let lines = said.out.split(|b| *b == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        let listed: Result<Vec<Listed>, _> = lines.map(serde_json::from_slice).collect();
        let Ok(listed) = listed else {
            return Err(said.failed());
        };
        // Refuses a revision that is too large before `hg archive` writes its files to disk.
        let mut room = SpaceLeft::default();
        for file in listed {
            if super::files::is_taken(&file.path) {
                room.reserve_file(file.size)?;
            }
        }
        let directory = self.mirror.join("evenkeel.files");
        program::remove(&directory).map_err(|error| program::no_mirror(self.mirror, &error))?;
        let to = directory.to_string_lossy().into_owned();
        let arguments = ["archive", "--rev", id, "--type", "files", "--", &to];
        self.answer(&arguments).await?;
        let files = collect(&directory);
        program::remove(&directory).map_err(|error| program::no_mirror(self.mirror, &error))?;
        files.map_err(|error| program::no_mirror(self.mirror, &error))
    }
}

/// Returns the files below a directory, by their paths from there. Links are ignored.
fn collect(top: &Path) -> std::io::Result<Vec<RepositoryFile>> {
    let mut files = Vec::new();
    let mut waiting: Vec<PathBuf> = vec![top.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let data = std::fs::symlink_metadata(entry.path())?;
            let path = entry.path();
            let name = path.strip_prefix(top).ok().and_then(Path::to_str);
            let Some(name) = name.filter(|name| super::files::is_taken(name)) else {
                continue;
            };
            if data.is_dir() {
                waiting.push(path);
                continue;
            }
            if !data.is_file() || files.len() >= FILES_MAX {
                continue;
            }
            let mut bytes = Vec::new();
            let file = std::fs::File::open(&path)?;
            file.take(SET_BYTES_MAX).read_to_end(&mut bytes)?;
            let executable = data.permissions().mode() & 0o100 != 0;
            files.push(RepositoryFile {
                path: name.to_owned(),
                mode: if executable { 0o755 } else { 0o644 },
                bytes,
            });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
