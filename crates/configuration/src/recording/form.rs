//! Encodes the recording of a load as bytes, and decodes it: a header, then MessagePack. Encoding
//! borrows all bytes, so that no copy of a secret remains. The order of the fields is the format;
//! a change increments [`super::VERSION`].

use super::{Export, LoadOptions, MAGIC, Recording, VERSION};
use crate::node::Nodes;
use crate::outside::{Account, AccountKind, Answers, Secret, Unreadable};
use crate::sections::SectionKeywords;
use language::source::Text;
use language::{Environment, Facts};
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Maximum size of a configuration file in bytes: spans are 32 bits wide.
const FILE_BYTES_MAX: usize = 1 << 30;
/// Maximum nesting of values: no field has more.
const DEPTH_MAX: usize = 16;

/// The reason why bytes are not a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("not a recording of a load")]
    NotOne,
    #[error("the recording has format version {0}, but this program supports {VERSION}")]
    Version(u32),
    /// The bytes end early, or further bytes follow the end.
    #[error("the recording has {found} bytes instead of {named}")]
    Length {
        /// Number of bytes after the header.
        found: u64,
        /// Number of bytes that the header specifies.
        named: u64,
    },
    #[error("the recording is malformed: {0}")]
    Malformed(rmp_serde::decode::Error),
    #[error("a file of the recording has {0} bytes")]
    TooLarge(usize),
}

type PathAnswers<'b, A> = Vec<(&'b Bytes, A)>;

#[derive(Serialize, Deserialize)]
#[serde(remote = "Facts")]
struct ProgramFacts {
    version: String,
    features: BTreeSet<String>,
    enabled: BTreeSet<String>,
    tls_library: String,
    openssl_version: Option<String>,
    awslc_api: Option<u32>,
}

/// The fields of a recording in their encoded form.
#[derive(Serialize, Deserialize)]
struct EncodedRecording<'b> {
    #[serde(borrow)]
    files: Vec<(&'b str, &'b Bytes)>,
    environment: Vec<(&'b str, &'b Bytes)>,
    #[serde(with = "ProgramFacts")]
    facts: Facts,
    options: LoadOptions,
    words: SectionKeywords,
    imports: Vec<Export>,
    nodes: Option<Nodes>,
    named: PathAnswers<'b, Result<&'b Bytes, Unreadable>>,
    secrets: PathAnswers<'b, Result<&'b Bytes, Unreadable>>,
    entries: PathAnswers<'b, Result<Vec<&'b Bytes>, Unreadable>>,
    modes: PathAnswers<'b, bool>,
    directories: PathAnswers<'b, bool>,
    hosts: Vec<(&'b str, Vec<IpAddr>)>,
    accounts: Vec<((AccountKind, &'b str), Account)>,
    /// Addresses of this host; an empty list if they were not queried.
    own_addresses: Vec<Option<Vec<IpAddr>>>,
    own_files: Vec<&'b Bytes>,
}

fn of_path(path: &Path) -> &Bytes {
    Bytes::new(path.as_os_str().as_bytes())
}

fn path(bytes: &Bytes) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

/// Converts the answers about files or directories, each with `value`.
fn named<'b, A, B>(
    answers: &'b BTreeMap<PathBuf, A>,
    value: impl Fn(&'b A) -> B,
) -> PathAnswers<'b, B> {
    let answers = answers.iter();
    answers.map(|(path, a)| (of_path(path), value(a))).collect()
}

fn table<A, B>(answers: PathAnswers<'_, A>, value: impl Fn(A) -> B) -> BTreeMap<PathBuf, B> {
    let answers = answers.into_iter();
    answers.map(|(name, a)| (path(name), value(a))).collect()
}

impl<'b> From<&'b Recording> for EncodedRecording<'b> {
    fn from(recording: &'b Recording) -> Self {
        let answers = &recording.answers;
        let files = recording.files.iter();
        let variables = recording.environment.iter();
        let names = |names: &'b Arc<[OsString]>| {
            let bytes = |name: &'b OsString| Bytes::new(name.as_bytes());
            names.iter().map(bytes).collect()
        };
        EncodedRecording {
            files: files.map(|(n, text)| (&**n, Bytes::new(text))).collect(),
            environment: variables.map(|(n, v)| (n, Bytes::new(v))).collect(),
            facts: recording.facts.clone(),
            options: recording.options.clone(),
            words: recording.words.clone(),
            imports: recording.imports.clone(),
            nodes: recording.nodes.clone(),
            named: named(&answers.files, |found| match found {
                Ok(text) => Ok(Bytes::new(text)),
                Err(error) => Err(*error),
            }),
            secrets: named(&answers.secrets, |found| match found {
                Ok(secret) => Ok(Bytes::new(secret.bytes())),
                Err(error) => Err(*error),
            }),
            entries: named(&answers.entries, |found| match found {
                Ok(found) => Ok(names(found)),
                Err(error) => Err(*error),
            }),
            modes: named(&answers.modes, |open| *open),
            directories: named(&answers.directories, |is| *is),
            hosts: answers
                .hosts
                .iter()
                .map(|(name, found)| (&**name, found.to_vec()))
                .collect(),
            accounts: answers
                .accounts
                .iter()
                .map(|((kind, name), found)| ((*kind, &**name), found.clone()))
                .collect(),
            own_addresses: answers
                .own_addresses
                .iter()
                .map(|found| found.as_ref().map(|found| found.to_vec()))
                .collect(),
            own_files: answers.own_files.iter().map(|path| of_path(path)).collect(),
        }
    }
}

impl From<EncodedRecording<'_>> for Recording {
    fn from(form: EncodedRecording<'_>) -> Recording {
        let text = |bytes: &Bytes| Text::new(bytes.to_vec());
        let files = form.files.into_iter();
        let mut environment = Environment::empty();
        for (name, value) in form.environment {
            environment.set(name, value.to_vec());
        }
        let own_addresses = form.own_addresses.into_iter().next();
        Recording {
            files: files
                .map(|(n, bytes)| (n.to_owned(), text(bytes)))
                .collect(),
            environment,
            facts: form.facts,
            options: form.options,
            words: form.words,
            imports: form.imports,
            nodes: form.nodes,
            answers: Answers {
                files: table(form.named, |found| found.map(text)),
                secrets: table(form.secrets, |found| found.map(|bytes| Secret::copy(bytes))),
                entries: table(form.entries, |found| {
                    let name = |bytes: &Bytes| OsStr::from_bytes(bytes).to_owned();
                    found.map(|names| names.into_iter().map(name).collect())
                }),
                modes: table(form.modes, |open| open),
                directories: table(form.directories, |is| is),
                hosts: form
                    .hosts
                    .into_iter()
                    .map(|(name, found)| (name.to_owned(), found.into()))
                    .collect(),
                accounts: form
                    .accounts
                    .into_iter()
                    .map(|((kind, name), found)| ((kind, name.to_owned()), found))
                    .collect(),
                own_addresses: own_addresses.map(|found| found.map(Into::into)),
                own_files: form.own_files.into_iter().map(path).collect(),
            },
        }
    }
}

/// Counts the written bytes, so that the buffer is allocated once.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the encoded recording. Only the system can cause an error, because every type can be
/// serialised.
fn body(form: &EncodedRecording<'_>, out: &mut impl Write) -> io::Result<()> {
    rmp_serde::encode::write(out, form).map_err(io::Error::other)
}

pub(super) fn write(recording: &Recording, out: &mut impl Write) -> io::Result<()> {
    let form = EncodedRecording::from(recording);
    let mut count = Count(0);
    body(&form, &mut count)?;
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&[u8::from(recording.has_secrets())])?;
    out.write_all(&count.0.to_le_bytes())?;
    body(&form, out)
}

pub(super) fn to_vec(recording: &Recording) -> Zeroizing<Vec<u8>> {
    let mut count = Count(0);
    // Ignores the result, because writing to a counter or a `Vec` never fails.
    let _ = write(recording, &mut count);
    // Allocates the full capacity, so that no old buffer with parts of a secret remains.
    let mut bytes = Zeroizing::new(Vec::with_capacity(count.0 as usize));
    let _ = write(recording, &mut *bytes);
    bytes
}

/// Splits a number off the header.
fn head<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), RecordingError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(RecordingError::NotOne)?;
    Ok((*number, rest))
}

pub(super) fn recording(bytes: &[u8]) -> Result<Recording, RecordingError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(RecordingError::NotOne)?;
    let (version, rest) = head(rest)?;
    let version = u32::from_le_bytes(version);
    if version != VERSION {
        return Err(RecordingError::Version(version));
    }
    // Ignores the byte that tells whether there are secrets: it is for programs that read only the
    // header.
    let ([_secrets], rest) = head(rest)?;
    let (named, rest) = head(rest)?;
    let (named, found) = (u64::from_le_bytes(named), rest.len() as u64);
    if found != named {
        return Err(RecordingError::Length { found, named });
    }
    let mut from = rmp_serde::Deserializer::from_read_ref(rest);
    from.set_max_depth(DEPTH_MAX);
    let form = EncodedRecording::deserialize(&mut from).map_err(RecordingError::Malformed)?;
    match form
        .files
        .iter()
        .find(|(_, text)| text.len() > FILE_BYTES_MAX)
    {
        Some((_, text)) => Err(RecordingError::TooLarge(text.len())),
        None => Ok(form.into()),
    }
}
