//! What a load was given and what it asked of the outside, as a value: enough
//! to build the same configuration again in a process that has neither the
//! files nor the rights nor a resolver. It opens nothing itself.
//!
//! Some things are not in it because a process without rights may ask for them
//! at any time, in an empty root, too: its environment (`env()`, `show env`),
//! the host's name (`%H`, `hostname`), the time. The time zone of logs comes
//! from a file; [`crate::log::time_zone`] reads that before the root is left.

mod decode;
mod encode;

pub use decode::RecordingError;

use super::LoadOptions;
use super::outside::Answers;
use language::source::Text;
use language::{Environment, Facts};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// How a recording begins.
const MAGIC: &[u8; 8] = b"EVENKEEL";
/// The version of its form. One that is not ours is refused.
const VERSION: u32 = 1;

/// The inputs of a load, and all questions that it asked, with the answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    /// The files of the configuration, in their order.
    pub files: Vec<(String, Text)>,
    /// The variables that the first line saw.
    pub environment: Environment,
    /// What conditions asked about the program.
    pub facts: Facts,
    /// How it was loaded.
    pub options: LoadOptions,
    answers: Answers,
}

impl Recording {
    /// The inputs of a load that has asked nothing yet.
    pub(super) fn new(
        files: Vec<(String, Text)>,
        environment: Environment,
        facts: Facts,
        options: LoadOptions,
    ) -> Self {
        Recording {
            files,
            environment,
            facts,
            options,
            answers: Answers::default(),
        }
    }

    pub(super) fn take_answers(&mut self) -> Answers {
        std::mem::take(&mut self.answers)
    }

    pub(super) fn keep(&mut self, answers: Answers) {
        self.answers = answers;
    }

    /// All files that were read or looked for, those of the configuration
    /// included, each once: whose change may change the outcome. Relative names
    /// count from the directory of the process that loaded.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let named = self.files.iter().map(|(name, _)| Path::new(name));
        let answers = &self.answers;
        let all: BTreeSet<&Path> = named
            .chain(answers.files.keys().map(|path| path.as_path()))
            .chain(answers.modes.keys().map(|path| path.as_path()))
            .chain(answers.directories.keys().map(|path| path.as_path()))
            .collect();
        all.into_iter()
    }

    /// A number for what all files hold: the same for the same files, and with
    /// near certainty another one for others. `except` are passed over.
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
        (&answers.modes, &answers.directories).hash(&mut hasher);
        hasher.finish()
    }

    /// The files that lines name, each once, with what they hold where they
    /// could be read.
    pub fn named(&self) -> impl Iterator<Item = (&Path, Option<&[u8]>)> {
        let answers = &self.answers;
        let files = answers.files.iter();
        let unread = answers.modes.keys().chain(answers.directories.keys());
        let unread = unread.filter(|path| !answers.files.contains_key(*path));
        files
            .map(|(path, found)| (path.as_path(), found.as_ref().ok().map(|text| &text[..])))
            .chain(unread.map(|path| (path.as_path(), None)))
    }

    /// As bytes that [`Recording::decode`] takes.
    pub fn encode(&self) -> Vec<u8> {
        encode::to_vec(self)
    }

    /// Writes the bytes of [`Recording::encode`] without a copy of them, many of
    /// them in small pieces: a file needs a buffer.
    pub fn write_to(&self, out: &mut impl io::Write) -> io::Result<()> {
        encode::write(self, out)
    }

    /// Reads what [`Recording::encode`] made, from whomever it comes.
    pub fn decode(bytes: &[u8]) -> Result<Recording, RecordingError> {
        decode::recording(bytes)
    }
}

#[cfg(test)]
mod tests;
