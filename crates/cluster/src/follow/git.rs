//! Fetches a branch of a git repository by the system's `git`, verifies signatures, and reads the
//! files of a revision. The bare mirror only ever fetches. Nothing is checked out, and nothing of
//! the repository runs.

use super::decide::{Branch, BranchHead, Signature, Trouble};
use super::files::{RepositoryFile, SpaceLeft};
use super::program::{
    self, Asking, FAR_LIMIT, LIST_BYTES_MAX, NEAR_LIMIT, ProgramOutput, WORDS_BYTES_MAX,
};
use super::{MESSAGE_BYTES_MAX, Revision, is_hash};
use crate::file_set::SET_BYTES_MAX;
use crate::keyword::Followed;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Exit code of `git ls-remote --exit-code` if there is no such branch.
const NO_SUCH_BRANCH: i32 = 2;
const MIRRORED: &str = "refs/evenkeel/branch";
/// Lock files that git creates while it changes a mirror.
const LOCKS: [&str; 5] = [
    "refs/evenkeel/branch.lock",
    "packed-refs.lock",
    "shallow.lock",
    "config.lock",
    "HEAD.lock",
];
/// Configuration of the mirror's git, in place of the user's and the system's.
const CONFIGURATION: &str = "\
[safe]
\tdirectory = *
[core]
\thooksPath = /dev/null
\tfsmonitor = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[credential]
\thelper =
";
/// Largest number of new commits whose signatures are checked.
const COMMITS_MAX: usize = 1000;
const COMMITS_AT_ONCE: usize = 100;
const GPG_KEYS: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";

#[derive(Debug)]
pub(super) struct Git<'g> {
    pub settings: &'g Followed,
    pub mirror: &'g Path,
}

impl Git<'_> {
    async fn run(
        &self,
        arguments: &[&str],
        far: bool,
        said_max: usize,
        input: Vec<u8>,
    ) -> Result<ProgramOutput, Trouble> {
        let file = |name: &str| self.mirror.join(name).into_os_string();
        let asking = Asking {
            program: "git",
            arguments: arguments.iter().map(OsString::from).collect(),
            environment: vec![
                ("GIT_DIR", self.mirror.into()),
                ("GIT_CONFIG_NOSYSTEM", "1".into()),
                ("GIT_CONFIG_GLOBAL", file("evenkeel.gitconfig")),
                ("GIT_ALLOW_PROTOCOL", "file:ssh:https:git".into()),
                ("GIT_TERMINAL_PROMPT", "0".into()),
                ("GIT_ASKPASS", "/bin/false".into()),
                ("GIT_SSH", "ssh".into()),
                ("GIT_SSH_VARIANT", "ssh".into()),
                ("GIT_NO_REPLACE_OBJECTS", "1".into()),
                ("GNUPGHOME", file("keys")),
            ],
            directory: self.mirror,
            limit: if far { FAR_LIMIT } else { NEAR_LIMIT },
            said_max,
            input,
            grows: far,
        };
        program::ask(asking).await
    }

    async fn near(&self, arguments: &[&str]) -> Result<ProgramOutput, Trouble> {
        self.run(arguments, false, WORDS_BYTES_MAX, Vec::new())
            .await
    }

    async fn answer(&self, arguments: &[&str]) -> Result<ProgramOutput, Trouble> {
        self.near(arguments).await?.well()
    }

    pub(super) async fn fetch_branch(
        &self,
        last: Option<&str>,
        keys: Option<&[u8]>,
    ) -> Result<Branch, Trouble> {
        self.prepare().await?;
        let Some((name, id)) = self.branch().await? else {
            return Ok(Branch::Gone);
        };
        let known = self.has(&id).await?;
        let id = if known { id } else { self.fetch(&name).await? };
        let follows_last = match last.filter(|last| *last != id) {
            None => true,
            Some(last) => self.follows(last, &id).await?,
        };
        let signature = match keys {
            None => None,
            // Skips the verification: a rewritten branch is refused anyway, and the last accepted
            // revision was verified before.
            Some(_) if !follows_last || last == Some(&*id) => Some(Signature::Good),
            Some(keys) => Some(self.signatures(last, &id, keys).await?),
        };
        Ok(Branch::At(Box::new(BranchHead {
            revision: self.revision(&id).await?,
            follows_last,
            signature,
        })))
    }

    async fn prepare(&self) -> Result<(), Trouble> {
        if self.mirror.join("HEAD").exists() {
            // Only one process works here, so these locks are left from one that was killed,
            // and would block every other.
            for lock in LOCKS {
                let _ = std::fs::remove_file(self.mirror.join(lock));
            }
            return Ok(());
        }
        let made = || -> std::io::Result<()> {
            let mut directory = std::fs::DirBuilder::new();
            directory.recursive(true).mode(0o700).create(self.mirror)?;
            write(
                &self.mirror.join("evenkeel.gitconfig"),
                CONFIGURATION.as_bytes(),
            )
        };
        made().map_err(|error| program::no_mirror(self.mirror, &error))?;
        let bare = ["init", "--quiet", "--bare", "--template="];
        self.answer(&bare).await.map(|_| ())
    }

    /// Returns the branch's full name and its newest revision; None if it does not exist.
    async fn branch(&self) -> Result<Option<(String, String)>, Trouble> {
        let url = self.settings.url.as_str();
        let name = match &self.settings.branch {
            Some(branch) => format!("refs/heads/{branch}"),
            None => "HEAD".to_owned(),
        };
        let arguments = [
            "ls-remote",
            "--quiet",
            "--exit-code",
            "--symref",
            "--",
            url,
            &name,
        ];
        let said = self
            .run(&arguments, true, WORDS_BYTES_MAX, Vec::new())
            .await?;
        if said.code == Some(NO_SUCH_BRANCH) {
            return Ok(None);
        }
        let said = said.well()?;
        let text = String::from_utf8_lossy(&said.out);
        let mut full = name.clone();
        for line in text.lines() {
            let Some((value, of)) = line.split_once('\t') else {
                continue;
            };
            if of != name {
                continue;
            }
            match value.strip_prefix("ref: ") {
                Some(to) => full = to.to_owned(),
                None if is_hash(value) => return Ok(Some((full, value.to_owned()))),
                None => {}
            }
        }
        Ok(None)
    }

    async fn has(&self, id: &str) -> Result<bool, Trouble> {
        let commit = format!("{id}^{{commit}}");
        Ok(is_hash(id) && self.near(&["cat-file", "-e", &commit]).await?.good())
    }

    async fn fetch(&self, name: &str) -> Result<String, Trouble> {
        let mapping = format!("+{name}:{MIRRORED}");
        let arguments = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--",
            self.settings.url.as_str(),
            &mapping,
        ];
        let fetched = self
            .run(&arguments, true, WORDS_BYTES_MAX, Vec::new())
            .await;
        match fetched {
            Ok(said) => said.well()?,
            Err(trouble @ Trouble::TooLarge { .. }) => {
                // Deletes a mirror that is too large, so that the next poll begins with an empty
                // one.
                let _ = std::fs::remove_dir_all(self.mirror);
                return Err(trouble);
            }
            other => other?,
        };
        let commit = format!("{MIRRORED}^{{commit}}");
        let said = self
            .answer(&["rev-parse", "--verify", "--quiet", &commit])
            .await?;
        let id = said.line();
        if is_hash(&id) {
            Ok(id)
        } else {
            Err(said.failed())
        }
    }

    async fn follows(&self, last: &str, id: &str) -> Result<bool, Trouble> {
        if !self.has(last).await? {
            return Ok(false);
        }
        let said = self
            .near(&["merge-base", "--is-ancestor", last, id])
            .await?;
        match said.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(said.failed()),
        }
    }

    async fn revision(&self, id: &str) -> Result<Revision, Trouble> {
        let format = "--format=%an <%ae>%x00%ct%x00%B";
        let said = self
            .answer(&["log", "-1", "--no-show-signature", format, id])
            .await?;
        let text = String::from_utf8_lossy(&said.out);
        let mut parts = text.splitn(3, '\0');
        let mut part = || parts.next().unwrap_or_default();
        let (author, time, message) = (part(), part(), part());
        Ok(Revision {
            id: id.to_owned(),
            author: language::truncated(author, MESSAGE_BYTES_MAX).to_owned(),
            time_s: time.parse().unwrap_or_default(),
            message: language::truncated(message.trim_end(), MESSAGE_BYTES_MAX).to_owned(),
        })
    }

    /// Verifies the signatures of all commits since the last accepted revision, or of the newest
    /// commit alone if none was accepted. An unsigned commit must not come in under a signed merge.
    async fn signatures(
        &self,
        last: Option<&str>,
        id: &str,
        keys: &[u8],
    ) -> Result<Signature, Trouble> {
        let commits = match last {
            // Verifies only the newest commit: commits from before the repository was followed need
            // no signature.
            None => vec![id.to_owned()],
            Some(last) => self.between(last, id).await?,
        };
        if commits.len() > COMMITS_MAX {
            let commits_max = COMMITS_MAX;
            return Ok(Signature::TooMany { commits_max });
        }
        let allowed = self.keep_keys(keys).await?;
        for some in commits.chunks(COMMITS_AT_ONCE) {
            if !self.verify(&allowed, some).await?.good() {
                return self.which(&allowed, some).await;
            }
        }
        Ok(Signature::Good)
    }

    /// Returns the commits that lead from one to another, the oldest first, on all paths.
    async fn between(&self, last: &str, id: &str) -> Result<Vec<String>, Trouble> {
        let range = format!("{last}..{id}");
        let most = format!("--max-count={}", COMMITS_MAX + 1);
        let listed = ["rev-list", "--topo-order", "--reverse", &most, &range];
        let said = self.answer(&listed).await?;
        let text = String::from_utf8_lossy(&said.out);
        let commits: Vec<String> = text.lines().map(str::to_owned).collect();
        if commits.iter().all(|commit| is_hash(commit)) {
            Ok(commits)
        } else {
            Err(said.failed())
        }
    }

    async fn verify(&self, allowed: &str, commits: &[String]) -> Result<ProgramOutput, Trouble> {
        let mut arguments = vec!["-c", allowed, "verify-commit"];
        arguments.extend(commits.iter().map(String::as_str));
        self.near(&arguments).await
    }

    /// Returns the first of these commits without a valid signature.
    async fn which(&self, allowed: &str, commits: &[String]) -> Result<Signature, Trouble> {
        for commit in commits {
            let said = self.verify(allowed, std::slice::from_ref(commit)).await?;
            if said.good() {
                continue;
            }
            let commit = commit.clone();
            if !self.is_signed(&commit).await? {
                return Ok(Signature::Missing { commit });
            }
            let words = match &*said.complaint {
                "" => "git ended early".to_owned(),
                words => words.to_owned(),
            };
            return Ok(Signature::Bad { commit, words });
        }
        Ok(Signature::Good)
    }

    /// Returns whether a commit has a signature, valid or not.
    async fn is_signed(&self, commit: &str) -> Result<bool, Trouble> {
        let text = self.answer(&["cat-file", "commit", commit]).await?.out;
        let head = text
            .split(|b| *b == b'\n')
            .take_while(|line| !line.is_empty());
        let mut signed = head.filter(|line| line.starts_with(b"gpgsig"));
        Ok(signed.next().is_some())
    }

    /// Writes the accepted keys where git finds them; returns the option for that.
    async fn keep_keys(&self, keys: &[u8]) -> Result<String, Trouble> {
        let no_keys = |error: std::io::Error| Trouble::NoKeys {
            words: error.to_string(),
        };
        let file = self.mirror.join("evenkeel.signers");
        write(&file, keys).map_err(no_keys)?;
        let home = self.mirror.join("keys");
        // Deletes the key ring first: keys that are no longer accepted must not remain.
        program::remove(&home).map_err(no_keys)?;
        let mut directory = std::fs::DirBuilder::new();
        directory.mode(0o700).create(&home).map_err(no_keys)?;
        if keys.windows(GPG_KEYS.len()).any(|part| part == GPG_KEYS) {
            self.import(&file).await?;
        }
        Ok(format!("gpg.ssh.allowedSignersFile={}", file.display()))
    }

    async fn import(&self, file: &Path) -> Result<(), Trouble> {
        let asking = Asking {
            program: "gpg",
            arguments: vec![
                "--batch".into(),
                "--quiet".into(),
                "--no-autostart".into(),
                "--import".into(),
                "--".into(),
                file.into(),
            ],
            environment: vec![("GNUPGHOME", self.mirror.join("keys").into())],
            directory: self.mirror,
            limit: NEAR_LIMIT,
            said_max: WORDS_BYTES_MAX,
            input: Vec::new(),
            grows: false,
        };
        let no_keys = |words| Err(Trouble::NoKeys { words });
        match program::ask(asking).await {
            Ok(said) if said.good() => Ok(()),
            Ok(said) => no_keys(said.complaint),
            Err(Trouble::Unreachable { words }) => no_keys(words),
            Err(other) => Err(other),
        }
    }

    pub(super) async fn files(&self, id: &str) -> Result<Vec<RepositoryFile>, Trouble> {
        let list = ["ls-tree", "-r", "-z", "--long", "--full-tree", id];
        let listed = self.run(&list, false, LIST_BYTES_MAX, Vec::new()).await?;
        let listed = listed.well()?;
        let mut room = SpaceLeft::default();
        let mut wanted: Vec<(String, u32, u64)> = Vec::new();
        let mut input = Vec::new();
        for entry in listed.out.split(|b| *b == 0) {
            let Some((path, mode, object, bytes)) = entry_of(entry) else {
                continue;
            };
            if !super::files::is_taken(&path) {
                continue;
            }
            room.reserve_file(bytes)?;
            input.extend_from_slice(object.as_bytes());
            input.push(b'\n');
            wanted.push((path, mode, bytes));
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let heads = wanted.len().saturating_mul(HEAD_BYTES_MAX);
        let said_max = usize::try_from(SET_BYTES_MAX).unwrap_or(usize::MAX);
        let said_max = said_max.saturating_add(heads);
        let said = self
            .run(&["cat-file", "--batch"], false, said_max, input)
            .await?;
        let said = said.well()?;
        contents(wanted, &said.out).ok_or_else(|| said.failed())
    }
}

/// Longest line that `cat-file --batch` puts before a content.
const HEAD_BYTES_MAX: usize = 128;

/// Parses an entry of `git ls-tree --long`, `100644 blob OBJECT SIZE\tPATH`. None for links and
/// submodules, which are not read.
fn entry_of(entry: &[u8]) -> Option<(String, u32, String, u64)> {
    let entry = std::str::from_utf8(entry).ok()?;
    let (head, path) = entry.split_once('\t')?;
    let mut words = head.split_whitespace();
    let (mode, kind, object, bytes) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let mode = match mode {
        "100644" => 0o644,
        "100755" => 0o755,
        _ => return None,
    };
    let fine = kind == "blob" && is_hash(object);
    fine.then(|| {
        Some((
            path.to_owned(),
            mode,
            object.to_owned(),
            bytes.parse().ok()?,
        ))
    })?
}

/// Splits the output of `cat-file --batch` into contents, in the order of the request.
fn contents(wanted: Vec<(String, u32, u64)>, mut said: &[u8]) -> Option<Vec<RepositoryFile>> {
    let mut files = Vec::with_capacity(wanted.len());
    for (path, mode, bytes) in wanted {
        let end = said.iter().position(|b| *b == b'\n')?;
        let (head, rest) = said.split_at_checked(end)?;
        let rest = rest.get(1..)?;
        let told: u64 = std::str::from_utf8(head)
            .ok()?
            .rsplit(' ')
            .next()?
            .parse()
            .ok()?;
        if told != bytes {
            return None;
        }
        let (content, rest) = rest.split_at_checked(usize::try_from(bytes).ok()?)?;
        said = rest.strip_prefix(b"\n")?;
        files.push(RepositoryFile {
            path,
            mode,
            bytes: content.to_vec(),
        });
    }
    Some(files)
}

/// Writes a small file that only this user may read.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(bytes)
}
