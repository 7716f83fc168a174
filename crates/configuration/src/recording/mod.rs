//! Records the inputs of a load and the results of its queries: enough to build the same
//! configuration again in a process without the files, privileges or a resolver. This module does
//! no IO.
//!
//! A recording excludes everything that an unprivileged process in an empty root can query at any
//! time: its environment (`env()`, `show env`), the host name (`%H`, `hostname`), the time. The
//! time zone of logs comes from a file, which `model::log::time_zone` reads before the chroot.

mod form;

pub use form::RecordingError;

use crate::node::Nodes;
use crate::options::LoadOptions;
use crate::outside::{Answers, EarlierAnswers};
use crate::sections::SectionKeywords;
use language::source::Text;
use language::{Environment, Facts};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"EVENKEEL";
/// The PEM marker before any kind of private key.
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";
/// Version of the format; recordings of another version are refused.
const VERSION: u32 = 8;

/// Maximum size of other files that may name variables (`lf-file`), in bytes.
const NAMING_BYTES_MAX: usize = 1 << 20;
/// Variables that are set for every configuration.
const SET_FOR_FILES: [&str; 2] = ["HAPROXY_CFGFILES", "HAPROXY_LOCALPEER"];

fn identifiers(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.split(move |byte| !part(byte))
        .filter(|word| !word.is_empty())
}

/// Returns the keys whose values differ in two maps, or that only one of them has.
fn changed_keys<K: Ord, V: PartialEq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    name: impl Fn(&K) -> String,
) -> Vec<String> {
    let old_only_or_different = old
        .iter()
        .filter(|(key, value)| new.get(key) != Some(value));
    let new_only = new.keys().filter(|key| !old.contains_key(key));
    let keys = old_only_or_different.map(|(key, _)| key).chain(new_only);
    keys.map(name).collect()
}

/// The inputs of a load, and all its queries with their results.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    /// The configuration files, in their order.
    pub files: Vec<(String, Text)>,
    pub environment: Environment,
    pub facts: Facts,
    pub options: LoadOptions,
    /// The words that begin sections, in the version of Evenkeel that did the load.
    pub words: SectionKeywords,
    pub imports: Vec<Export>,
    /// The nodes of the configuration, once determined.
    pub(crate) nodes: Option<Nodes>,
    answers: Answers,
}

/// An object that sections of one part of the platform define, and sections of others may refer
/// to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Export {
    /// The kind of object: `virtual-ip`.
    pub kind: String,
    /// The name, unique within the kind.
    pub name: String,
    #[serde(with = "serde_bytes")]
    value: Vec<u8>,
}

impl Export {
    /// Creates an export with the data of an object that other parts may see.
    ///
    /// # Panics
    ///
    /// Panics if the value's own `Serialize` fails.
    pub fn new(kind: &str, name: &str, value: &impl Serialize) -> Export {
        Export {
            kind: kind.to_owned(),
            name: name.to_owned(),
            value: rmp_serde::to_vec_named(value).expect("memory takes all"),
        }
    }

    /// Creates an export that consists of a name only, and is not needed after the load.
    pub fn name(kind: &str, name: &str) -> Export {
        Export {
            kind: kind.to_owned(),
            name: name.to_owned(),
            value: Vec::new(),
        }
    }

    pub(crate) fn is_name(&self) -> bool {
        self.value.is_empty()
    }

    /// Returns the exported value; `None` if it is not of this type.
    pub fn value<T: DeserializeOwned>(&self) -> Option<T> {
        rmp_serde::from_slice(&self.value).ok()
    }
}

/// Number of first bytes of a recording that [`without_secrets`] needs.
#[cfg(test)]
const HEAD_BYTES: usize = MAGIC.len() + size_of::<u32>() + 1;

/// Returns whether a recording with these first bytes contains no key, so that it may be written
/// to a file. Returns false for bytes that are not a recording.
pub fn without_secrets(head: &[u8]) -> bool {
    let rest = head.strip_prefix(MAGIC);
    let rest = rest.and_then(|rest| rest.strip_prefix(&VERSION.to_le_bytes()));
    rest.is_some_and(|rest| rest.first() == Some(&0))
}

impl Recording {
    /// Returns the nodes that the files apply to; `None` before the first load.
    pub fn nodes(&self) -> Option<&Nodes> {
        self.nodes.as_ref()
    }

    pub fn is_equivalent(&self, other: &Recording) -> bool {
        self.changed_inputs(other).is_empty()
    }

    /// Returns the changed inputs, for messages: `file /etc/a.pem`, `host name web1`. Changed lines
    /// of the configuration are only named `configuration files`. Empty if both lead to the same
    /// configuration.
    ///
    /// The comparison ignores the addresses of this host, which include changing virtual ones (they
    /// matter only through the node that they identify). It also ignores whether unresolved names
    /// are accepted, as in a start but not in a reload, and the description of the configuration
    /// version, which is for messages.
    pub fn changed_inputs(&self, other: &Recording) -> Vec<String> {
        // Names all fields, so that the compiler reports a field that is added later and missing in
        // this comparison.
        let Recording {
            files,
            environment: _,
            facts,
            options: _,
            words,
            imports,
            nodes,
            answers: old,
        } = self;
        let Answers {
            files: old_files,
            secrets,
            entries,
            modes,
            directories,
            hosts,
            accounts,
            own_addresses: _,
            own_files,
        } = old;
        let new = &other.answers;
        let path = |path: &PathBuf| path.display().to_string();
        let mut changed = Vec::new();
        let mut add = |kind: &str, names: Vec<String>| {
            changed.extend(names.into_iter().map(|name| format!("{kind} {name}")));
        };
        add("file", changed_keys(old_files, &new.files, path));
        add("file", changed_keys(secrets, &new.secrets, path));
        add("directory", changed_keys(entries, &new.entries, path));
        add("mode of file", changed_keys(modes, &new.modes, path));
        add(
            "directory",
            changed_keys(directories, &new.directories, path),
        );
        add("host name", changed_keys(hosts, &new.hosts, String::clone));
        let account = |(_, name): &(_, String)| name.clone();
        add("account", changed_keys(accounts, &new.accounts, account));
        let variables = |of: &Recording| -> BTreeMap<String, Vec<u8>> {
            let all = of.environment.iter();
            all.map(|(name, value)| (name.to_owned(), value.to_vec()))
                .collect()
        };
        let variables = changed_keys(&variables(self), &variables(other), String::clone);
        add("environment variable", variables);
        changed.dedup();
        let options = |of: &Recording| LoadOptions {
            ignore_unresolved: false,
            version: String::new(),
            ..of.options.clone()
        };
        let rest = [
            (*files != other.files, "configuration files"),
            (*nodes != other.nodes, "nodes of the cluster"),
            (options(self) != options(other), "program options"),
            (*facts != other.facts, "features of the program"),
            (*words != other.words, "sections of the program"),
            (*imports != other.imports, "names of other parts"),
            (*own_files != new.own_files, "files of this machine's own"),
        ];
        let rest = rest.into_iter().filter(|(differs, _)| *differs);
        changed.extend(rest.map(|(_, what)| what.to_owned()));
        changed
    }

    /// Creates the inputs of a load, without results of queries.
    pub fn new(
        files: Vec<(String, Text)>,
        environment: Environment,
        facts: Facts,
        options: LoadOptions,
        words: SectionKeywords,
    ) -> Self {
        Recording {
            files,
            environment,
            facts,
            options,
            words,
            imports: Vec::new(),
            nodes: None,
            answers: Answers::default(),
        }
    }

    pub fn take_answers(&mut self) -> Answers {
        std::mem::take(&mut self.answers)
    }

    pub fn store_answers(&mut self, answers: Answers) {
        self.answers = answers;
    }

    /// Returns the names of variables that the files may refer to: all their words, and the words
    /// in the values of these variables. Other variables are not recorded, so that a replay sees no
    /// secret that the environment of the start happens to contain. `at_end` is the environment
    /// after the last line; variables that lines set are named by those lines.
    pub fn named_variables(&self, at_end: &Environment) -> BTreeSet<Vec<u8>> {
        let files = self.files.iter().map(|(_, text)| &text[..]);
        let named = self.answers.files.values().flatten().map(|text| &text[..]);
        let named = named.filter(|text| text.len() <= NAMING_BYTES_MAX);
        let mut wanted: BTreeSet<Vec<u8>> = SET_FOR_FILES.map(|name| name.into()).into();
        let both = at_end.iter().chain(self.environment.iter());
        let mut left: HashMap<&[u8], &[u8]> =
            both.map(|(name, value)| (name.as_bytes(), value)).collect();
        let mut texts: Vec<&[u8]> = files.chain(named).collect();
        for name in SET_FOR_FILES {
            texts.extend(left.remove(name.as_bytes()));
        }
        // Compares the first byte and the length of each word with those of the variables first:
        // nearly all words are no variables, and this usually shows it.
        let shape = |name: &[u8]| {
            let first = name.first().copied().unwrap_or(0);
            (usize::from(first), 1_u64 << name.len().min(63))
        };
        let mut lengths = [0_u64; 256];
        for (first, length) in left.keys().map(|name| shape(name)) {
            lengths[first] |= length;
        }
        let may_be = |name: &&[u8]| {
            let (first, length) = shape(name);
            lengths[first] & length != 0
        };
        while let Some(text) = texts.pop() {
            for name in identifiers(text).filter(may_be) {
                if let Some(value) = left.remove(name) {
                    wanted.insert(name.to_vec());
                    texts.push(value);
                }
            }
        }
        wanted
    }

    /// Returns all files that were read or searched for, including the configuration files, each
    /// once: a change of any of them may change the outcome. Relative names start at the directory
    /// of the process that did the load.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let named = self.files.iter().map(|(name, _)| Path::new(name));
        let answers = &self.answers;
        let all: BTreeSet<&Path> = named
            .chain(answers.files.keys().map(|path| path.as_path()))
            .chain(answers.secrets.keys().map(|path| path.as_path()))
            .chain(answers.entries.keys().map(|path| path.as_path()))
            .chain(answers.modes.keys().map(|path| path.as_path()))
            .chain(answers.directories.keys().map(|path| path.as_path()))
            .collect();
        all.into_iter()
    }

    pub fn listed(&self) -> impl Iterator<Item = &Path> {
        self.answers.entries.keys().map(|path| path.as_path())
    }

    /// Adds the resolved addresses and account numbers of this load to those of earlier loads.
    pub fn add_to(&self, found: &mut EarlierAnswers) {
        found.add(&self.answers);
    }

    /// Returns the readable files that lines name, keys and certificates included, each once.
    pub fn read(&self) -> impl Iterator<Item = &Path> {
        let answers = &self.answers;
        let files = answers.files.iter().filter(|(_, found)| found.is_ok());
        let secrets = answers.secrets.iter().filter(|(_, found)| found.is_ok());
        let files = files.map(|(path, _)| path.as_path());
        let all: BTreeSet<&Path> = files
            .chain(secrets.map(|(path, _)| path.as_path()))
            .collect();
        all.into_iter()
    }

    /// Returns a hash of the content of all files: equal for the same files, and almost certainly
    /// different for others. Ignores the content of the files in `except`, unless they were read as
    /// secrets.
    pub fn content(&self, except: &BTreeSet<PathBuf>) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (name, text) in &self.files {
            (name, &text[..]).hash(&mut hasher);
        }
        let answers = &self.answers;
        for (path, found) in &answers.files {
            if !except.contains(path) {
                path.hash(&mut hasher);
                let found = found.as_ref().map(|text| &text[..]);
                found.hash(&mut hasher);
            }
        }
        for (path, found) in &answers.secrets {
            path.hash(&mut hasher);
            let found = found.as_ref().map(|secret| secret.bytes());
            found.hash(&mut hasher);
        }
        (&answers.entries, &answers.modes, &answers.directories).hash(&mut hasher);
        hasher.finish()
    }

    /// Returns the readable files that lines name, with their content, and whether they were read
    /// as secrets: everything that another machine needs to load the same. Ignores files that
    /// belong to each machine.
    pub fn readable_files(&self) -> impl Iterator<Item = (&Path, &[u8], bool)> {
        let answers = &self.answers;
        let secrets = answers.secrets.iter().filter_map(|(path, found)| {
            let bytes = found.as_ref().ok()?.bytes();
            Some((path.as_path(), bytes, true))
        });
        let files = answers.files.iter().filter_map(|(path, found)| {
            let text = found.as_ref().ok()?;
            Some((path.as_path(), &text[..], false))
        });
        let files = files.filter(|(path, ..)| !answers.secrets.contains_key(*path));
        let all = secrets.chain(files);
        all.filter(|(path, ..)| !answers.own_files.contains(*path))
    }

    /// Returns the directories that lines name, with the names in them if these were queried.
    pub fn directories(&self) -> impl Iterator<Item = (&Path, &[OsString])> {
        let answers = &self.answers;
        let listed = answers.entries.iter().filter_map(|(path, found)| {
            let names = found.as_ref().ok()?;
            Some((path.as_path(), &names[..]))
        });
        let only_named = answers.directories.iter().filter(|(path, is)| {
            let listed = answers.entries.get(*path).is_some_and(Result::is_ok);
            **is && !listed
        });
        listed.chain(only_named.map(|(path, _)| (path.as_path(), &[][..])))
    }

    /// Returns the files that lines name, each once, with the content of those that could be read.
    /// The content of secrets is not returned.
    pub fn named(&self) -> impl Iterator<Item = (&Path, Option<&[u8]>)> {
        let answers = &self.answers;
        let files = answers.files.iter();
        let unread = answers.secrets.keys().chain(answers.entries.keys());
        let unread = unread.chain(answers.modes.keys());
        let unread = unread.chain(answers.directories.keys());
        let unread = unread.filter(|path| !answers.files.contains_key(*path));
        files
            .map(|(path, found)| (path.as_path(), found.as_ref().ok().map(|text| &text[..])))
            .chain(unread.map(|path| (path.as_path(), None)))
    }

    /// Returns the files that were read as secrets (certificates with their keys), each with a
    /// hash of its content, by which a change is noticed.
    pub fn secrets(&self) -> impl Iterator<Item = (&Path, u64)> {
        let read = self.answers.secrets.iter();
        read.filter_map(|(path, found)| {
            let mut hasher = DefaultHasher::new();
            found.as_ref().ok()?.bytes().hash(&mut hasher);
            Some((path.as_path(), hasher.finish()))
        })
    }

    /// Returns whether the recording contains data that must not be written to a file: a file read
    /// as a secret, or a key in another file.
    pub fn has_secrets(&self) -> bool {
        let answers = &self.answers;
        let key = |text: &[u8]| memchr::memmem::find(text, PRIVATE_KEY).is_some();
        let mut texts = self.files.iter().map(|(_, text)| text);
        answers.secrets.values().any(Result::is_ok)
            || texts.any(|text| key(text))
            || answers.files.values().flatten().any(|text| key(text))
    }

    /// Returns the bytes for [`Recording::decode`]. They are wiped when dropped.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        form::to_vec(self)
    }

    /// Writes the bytes of [`Recording::encode`] without a copy, in many small writes, so a
    /// file needs a buffered writer.
    ///
    /// # Errors
    /// Fails if the writer fails.
    pub fn write_to(&self, out: &mut impl io::Write) -> io::Result<()> {
        form::write(self, out)
    }

    /// Decodes the bytes of [`Recording::encode`], which may be hostile.
    ///
    /// # Errors
    /// The bytes are invalid, or of another version of the format.
    pub fn decode(bytes: &[u8]) -> Result<Recording, RecordingError> {
        form::recording(bytes)
    }
}

#[cfg(test)]
mod tests;
