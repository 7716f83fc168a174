//! Makes all queries of a load to its environment: files, host names, accounts, addresses of
//! interfaces. The queries go either to the system or to prepared files, and the results are
//! recorded, or only to the recording of an earlier load. Each query is made once per load, so the
//! same file or name means the same in every line. This module does not know what the results mean.

mod fallback;
mod identity;
mod live;
mod prepared;
mod secret;

pub use fallback::{EarlierAnswers, Fallback, Lack};
pub use identity::FileIdentity;
pub use prepared::{Prepared, PreparedFile};
pub use secret::Secret;

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use language::source::Text;

/// Maximum size of a file that a line may name, in bytes; most lines accept less.
pub const NAMED_FILE_BYTES_MAX: u64 = 512 << 20;
const UNANSWERED_MAX: usize = 100;
/// Result of a query for a file that the recording does not contain.
const NOT_RECORDED: Unreadable = Unreadable::Refused(rustix::io::Errno::NOENT.raw_os_error());

/// The reason why a file has no readable bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Unreadable {
    /// The file exceeds this many bytes.
    TooLarge(u64),
    /// The system refused with this error number.
    Refused(i32),
    /// No file can have such a name.
    Unnameable,
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        error
            .raw_os_error()
            .map_or(Unreadable::Unnameable, Unreadable::Refused)
    }
}

impl From<Unreadable> for io::Error {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::TooLarge(_) => io::ErrorKind::FileTooLarge.into(),
            Unreadable::Refused(number) => io::Error::from_raw_os_error(number),
            Unreadable::Unnameable => io::ErrorKind::InvalidInput.into(),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Unreadable::TooLarge(max) => write!(out, "the file has more than {max} bytes"),
            Unreadable::Unnameable => out.write_str("invalid file name"),
            Unreadable::Refused(number) => {
                let error = io::Error::from_raw_os_error(number);
                out.write_str(&language::reason(&error))
            }
        }
    }
}

/// A user or group of the system, looked up by its name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Account {
    Known(u32),
    /// No such account exists. Contains the name of a similar account, if there is one.
    Unknown(Option<Box<str>>),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum AccountKind {
    User,
    Group,
}

/// A query, as it is reported if there is no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SystemQuery {
    File(PathBuf),
    Secret(PathBuf),
    Entries(PathBuf),
    Mode(PathBuf),
    Directory(PathBuf),
    Host(String),
    Account(AccountKind, String),
    OwnAddresses,
    /// The interface in whose network a virtual address is, with the name of the section of the
    /// address.
    InterfaceOf(IpAddr, String),
    /// A program that runs as root: only root must be able to change it.
    Unchangeable(PathBuf),
}

impl fmt::Display for SystemQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SystemQuery::File(path) => write!(f, "the content of the file '{}'", path.display()),
            SystemQuery::Secret(path) => write!(f, "the content of the file '{}'", path.display()),
            SystemQuery::Entries(path) => {
                write!(f, "the files in the directory '{}'", path.display())
            }
            SystemQuery::Mode(path) => {
                write!(f, "the permissions of the file '{}'", path.display())
            }
            SystemQuery::Directory(path) => {
                write!(f, "whether '{}' is a directory", path.display())
            }
            SystemQuery::Host(name) => write!(f, "the addresses of '{name}'"),
            SystemQuery::Account(AccountKind::User, name) => write!(f, "the user '{name}'"),
            SystemQuery::Account(AccountKind::Group, name) => write!(f, "the group '{name}'"),
            SystemQuery::OwnAddresses => write!(f, "the addresses of this host"),
            SystemQuery::InterfaceOf(address, _) => {
                write!(f, "the interface in whose network {address} is")
            }
            SystemQuery::Unchangeable(path) => {
                write!(f, "whether only root can change '{}'", path.display())
            }
        }
    }
}

/// The names of the files in a directory, sorted by their bytes.
pub type Entries = Arc<[OsString]>;

/// Recorded queries with their results.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answers {
    pub files: BTreeMap<PathBuf, Result<Text, Unreadable>>,
    pub secrets: BTreeMap<PathBuf, Result<Secret, Unreadable>>,
    /// The names in directories, sorted.
    pub entries: BTreeMap<PathBuf, Result<Entries, Unreadable>>,
    /// For each file: true if everyone may read it.
    pub modes: BTreeMap<PathBuf, bool>,
    /// For each path: true if it is a directory.
    pub directories: BTreeMap<PathBuf, bool>,
    /// The addresses of hosts, in the resolver's order; empty for a name that does not resolve.
    pub hosts: BTreeMap<String, Arc<[IpAddr]>>,
    pub accounts: BTreeMap<(AccountKind, String), Account>,
    /// The addresses of this host, if they were queried; the inner value is `None` if they are
    /// unknown.
    pub own_addresses: Option<Option<Arc<[IpAddr]>>>,
    /// Files that belong to each machine separately: they are not part of the cluster's
    /// configuration, and are read on this machine.
    pub own_files: BTreeSet<PathBuf>,
}

/// Destination of the queries of a load: the system, a recording, or prepared files.
#[derive(Debug, Default)]
pub struct Outside {
    answers: Answers,
    recorded: bool,
    /// Files of a configuration that was prepared elsewhere, which are used in place of this
    /// machine's.
    prepared: Option<Box<Prepared>>,
    fallback: Option<Arc<Fallback>>,
    unanswered: Vec<SystemQuery>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interface {
    pub name: String,
    /// The addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// The result of checking whether a program can be executed; better results are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Runs {
    Missing,
    Directory,
    NotExecutable,
    Yes,
}

/// Looks a result up, or makes the query and stores the result. Returns `None` if there is no
/// result.
fn look_up_or_query<Q, K, A>(
    answers: &mut BTreeMap<K, A>,
    question: &Q,
    recorded: bool,
    answer: impl FnOnce(&Q) -> A,
) -> Option<A>
where
    Q: Ord + ToOwned<Owned = K> + ?Sized,
    K: Ord + Borrow<Q>,
    A: Clone,
{
    if let Some(known) = answers.get(question) {
        return Some(known.clone());
    }
    if recorded {
        return None;
    }
    let new = answer(question);
    answers.insert(question.to_owned(), new.clone());
    Some(new)
}

impl Outside {
    pub fn recorded(answers: Answers) -> Self {
        Outside {
            answers,
            recorded: true,
            ..Outside::default()
        }
    }

    /// Creates an environment with prepared files; hosts, accounts and addresses are those of this
    /// machine.
    pub fn prepared(prepared: Prepared) -> Self {
        Outside {
            prepared: Some(Box::new(prepared)),
            ..Outside::default()
        }
    }

    /// Uses results of an earlier load where this machine has none.
    pub fn with_fallback(self, fallback: Option<Arc<Fallback>>) -> Self {
        Outside { fallback, ..self }
    }

    /// Returns whether the configuration was accepted earlier, so that it must start again.
    pub fn is_accepted(&self) -> bool {
        let fallback = self.fallback.as_ref();
        fallback.is_some_and(|one| one.is_of_accepted())
    }

    /// Records that the load continues without a result of this query, which the machine may have
    /// later.
    pub fn continue_without(&self, question: SystemQuery) {
        if let Some(fallback) = &self.fallback {
            fallback.record_missing(question, None);
        }
    }

    /// Queries a path in the recording, in the prepared files, or on this machine.
    fn query_path<A: Clone>(
        &mut self,
        answers: fn(&mut Answers) -> &mut BTreeMap<PathBuf, A>,
        path: &Path,
        of_version: impl FnOnce(&mut Prepared) -> A,
        of_machine: impl FnOnce(&Path) -> A,
        question: fn(PathBuf) -> SystemQuery,
    ) -> Option<A> {
        let own = self.answers.own_files.contains(path);
        let version = self.prepared.as_deref_mut().filter(|_| !own);
        let answers = answers(&mut self.answers);
        let found = look_up_or_query(answers, path, self.recorded, |path| match version {
            Some(version) => of_version(version),
            None => of_machine(path),
        });
        if found.is_none() {
            self.record_unanswered(question(path.to_owned()));
        }
        found
    }

    /// Marks a file as belonging to this machine, whatever configuration is loaded.
    pub fn mark_as_local(&mut self, path: &Path) {
        self.answers.own_files.insert(path.to_owned());
    }

    /// Returns a hint for a message about a file that is missing in the prepared files.
    pub fn advice(&self, message: &str) -> Option<String> {
        self.prepared.as_ref()?.advice(message)
    }

    /// Reads a file of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// The file cannot be read, or is too large.
    pub fn read(&mut self, path: &Path, bytes_max: u64) -> Result<Text, Unreadable> {
        let known = self.answers.files.get(path);
        // Forgets the earlier error that the file is too large if this line accepts a larger size.
        let larger = |known: &Result<Text, Unreadable>| matches!(known, Err(Unreadable::TooLarge(max)) if *max < bytes_max);
        if !self.recorded && known.is_some_and(larger) {
            self.answers.files.remove(path);
        }
        let found = self.query_path(
            |answers| &mut answers.files,
            path,
            |version| version.read(path, bytes_max),
            |path| live::read(path, bytes_max),
            SystemQuery::File,
        );
        match found {
            Some(Ok(text)) if text.len() as u64 > bytes_max => Err(Unreadable::TooLarge(bytes_max)),
            Some(Err(Unreadable::TooLarge(_))) => Err(Unreadable::TooLarge(bytes_max)),
            Some(found) => found,
            None => Err(NOT_RECORDED),
        }
    }

    /// Reads a file that may contain a key: the bytes are wiped with their last owner, and never
    /// written to a file.
    ///
    /// # Errors
    /// The file cannot be read, or is too large.
    pub fn read_secret(&mut self, path: &Path, bytes_max: u64) -> Result<Secret, Unreadable> {
        let found = self.query_path(
            |answers| &mut answers.secrets,
            path,
            |version| version.read_secret(path, bytes_max),
            |path| live::read_secret(path, bytes_max),
            SystemQuery::Secret,
        );
        match found {
            Some(Ok(secret)) if secret.bytes().len() as u64 > bytes_max => {
                Err(Unreadable::TooLarge(bytes_max))
            }
            Some(found) => found,
            None => Err(NOT_RECORDED),
        }
    }

    /// Returns the names in a directory, sorted by their bytes.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn entries(&mut self, path: &Path) -> Result<Entries, Unreadable> {
        let found = self.query_path(
            |answers| &mut answers.entries,
            path,
            |version| version.entries(path),
            live::entries,
            SystemQuery::Entries,
        );
        found.unwrap_or(Err(NOT_RECORDED))
    }

    /// Returns whether every user of this machine may read a file.
    pub fn readable_by_all(&mut self, path: &Path) -> bool {
        let found = self.query_path(
            |answers| &mut answers.modes,
            path,
            |version| version.readable_by_all(path),
            live::readable_by_all,
            SystemQuery::Mode,
        );
        found.unwrap_or(false)
    }

    /// Returns whether a user can execute a file on this machine now. Programs are not part of a
    /// configuration, so the result is not recorded, and a replay skips the check.
    pub fn can_execute(&self, path: &Path, uid: Option<u32>) -> Runs {
        if self.recorded {
            Runs::Yes
        } else {
            live::can_execute(path, uid)
        }
    }

    /// Returns whether a path is an empty file on this machine now, not recorded, like
    /// `Outside::can_execute`.
    pub fn is_empty(&self, path: &Path) -> bool {
        !self.recorded && live::is_empty(path)
    }

    /// Returns whether no file has this name on this machine now, not recorded, like
    /// `Outside::can_execute`. False if the user may not inspect the path.
    pub fn is_missing(&self, path: &Path) -> bool {
        !self.recorded && live::is_missing(path)
    }

    /// Returns the identity of a file on this machine now, not recorded, like
    /// `Outside::can_execute`: a replay compares names only.
    pub fn file_identity(&self, path: &Path) -> FileIdentity {
        let numbers = (!self.recorded).then(|| live::file_numbers(path)).flatten();
        FileIdentity::new(path, numbers)
    }

    pub fn is_directory(&mut self, path: &Path) -> bool {
        let found = self.query_path(
            |answers| &mut answers.directories,
            path,
            |version| version.is_directory(path),
            Path::is_dir,
            SystemQuery::Directory,
        );
        found.unwrap_or(false)
    }

    /// Returns the addresses of a host, in the resolver's order; empty if its name does not
    /// resolve.
    pub fn addresses(&mut self, name: &str) -> Arc<[IpAddr]> {
        let fallback = self.fallback.as_deref();
        let found =
            look_up_or_query(
                &mut self.answers.hosts,
                name,
                self.recorded,
                |name| match fallback {
                    Some(fallback) => fallback.host(name, live::addresses),
                    None => live::addresses(name),
                },
            );
        found.unwrap_or_else(|| {
            self.record_unanswered(SystemQuery::Host(name.to_owned()));
            Arc::new([])
        })
    }

    pub fn account(&mut self, kind: AccountKind, name: &str) -> Account {
        let question = (kind, name.to_owned());
        let fallback = self.fallback.as_deref();
        let found = look_up_or_query(
            &mut self.answers.accounts,
            &question,
            self.recorded,
            |(kind, name)| match live::account(*kind, name) {
                Account::Unknown(near) => {
                    let earlier = fallback.and_then(|one| one.account(*kind, name));
                    earlier.map_or(Account::Unknown(near), Account::Known)
                }
                known => known,
            },
        );
        found.unwrap_or_else(|| {
            self.record_unanswered(SystemQuery::Account(kind, name.to_owned()));
            Account::Unknown(None)
        })
    }

    /// Returns the addresses of this host's interfaces; `None` if they are unknown or the system
    /// lets anyone bind any address.
    pub fn own_addresses(&mut self) -> Option<Arc<[IpAddr]>> {
        if self.answers.own_addresses.is_none() && self.recorded {
            self.record_unanswered(SystemQuery::OwnAddresses);
            return None;
        }
        let found = &mut self.answers.own_addresses;
        found.get_or_insert_with(live::own_addresses).clone()
    }

    /// Returns the current interfaces of this host; none for a replay, because they are not
    /// recorded.
    pub fn interfaces(&self) -> Vec<Interface> {
        if self.recorded {
            Vec::new()
        } else {
            live::interfaces()
        }
    }

    fn record_unanswered(&mut self, question: SystemQuery) {
        if self.unanswered.len() < UNANSWERED_MAX && !self.unanswered.contains(&question) {
            self.unanswered.push(question);
        }
    }

    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Returns the names of files and directories that could not be read.
    pub fn unreadable(&self) -> Vec<String> {
        let answers = &self.answers;
        let files = answers.files.iter().filter(|(_, found)| found.is_err());
        let secrets = answers.secrets.iter().filter(|(_, found)| found.is_err());
        let entries = answers.entries.iter().filter(|(_, found)| found.is_err());
        let files = files.map(|(path, _)| path);
        let rest = secrets.map(|(path, _)| path);
        let rest = rest.chain(entries.map(|(path, _)| path));
        let names = files.chain(rest).map(|path| path.display().to_string());
        names.filter(|name| !name.is_empty()).collect()
    }

    pub fn unanswered(&self) -> &[SystemQuery] {
        &self.unanswered
    }

    pub fn into_answers(self) -> Answers {
        self.answers
    }
}

#[cfg(test)]
mod tests;
