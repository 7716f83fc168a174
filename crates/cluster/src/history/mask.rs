//! Masks the files of a configuration version for display. A secret is mentioned but never shown:
//! neither its bytes nor a digest of them, which would allow guesses to be tested.

use crate::file_set::SetFile;
use crate::member::Digest;
use aws_lc_rs::digest::{SHA256, digest};
use language::difference::{Vocabulary, mask_secrets};
use part::versions::File;
use std::borrow::Cow;

const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
const PEM: &[u8] = b"-----BEGIN ";
/// Shortest word of a list that may be a key, bytes.
const KEY_BYTES_MIN: usize = 16;
const KEY_RUN_BYTES_MIN: usize = 12;
const DIGEST_DIGITS: usize = 16;

/// The inputs of the mask. The crates with the keywords supply the words that precede
/// secrets, and the caller supplies a parser of certificates.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'v> {
    pub vocabulary: &'v Vocabulary<'v>,
    /// Returns the subject and the expiry of the certificate in a PEM file, as text.
    pub certificate: fn(&[u8]) -> Option<String>,
}

/// Visible form of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MaskedFile {
    /// The text, with the original number of lines.
    Text(Vec<u8>),
    Description(String),
}

/// Returns whether a list or a map has a word that looks like a key: long, of letters
/// and digits.
fn lists_keys(bytes: &[u8]) -> bool {
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"_-+=".contains(b);
    let looks_like_key = |word: &[u8]| {
        word.len() >= KEY_BYTES_MIN
            && word.iter().all(is_token)
            && word.split(|b| !b.is_ascii_alphanumeric()).any(|run| {
                run.len() >= KEY_RUN_BYTES_MIN
                    && run.iter().any(u8::is_ascii_digit)
                    && run.iter().any(u8::is_ascii_alphabetic)
            })
    };
    bytes
        .split(|b| *b == b'\n')
        .flat_map(|line| line.split(u8::is_ascii_whitespace))
        .any(looks_like_key)
}

/// Returns whether a file is a configuration text, in which words after certain keywords may be
/// secret. In other files (pages, maps) secrets cannot be recognized word by word.
pub fn has_words(file: &SetFile) -> bool {
    file.main || file.path.ends_with(".cfg") || file.path.ends_with(".conf")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

pub fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    Digest(out)
}

/// The mask for the files of a configuration, or of two that are compared.
#[derive(Clone, Debug)]
pub struct FileMask<'v> {
    mask: Mask<'v>,
    /// Vocabulary with what these files use as secrets.
    vocabulary: Cow<'v, Vocabulary<'v>>,
}

impl<'v> Mask<'v> {
    /// Creates the mask for the files of a configuration. The texts among them are searched for
    /// uses of other files, because a list may be a secret only by its use.
    pub fn of<'f>(self, files: impl IntoIterator<Item = &'f SetFile>) -> FileMask<'v> {
        let files = files.into_iter().filter(|file| has_words(file));
        FileMask {
            vocabulary: self
                .vocabulary
                .for_texts(files.map(|file| file.bytes.as_slice())),
            mask: self,
        }
    }
}

impl<'v> FileMask<'v> {
    /// Returns whether a file must not be shown: it is marked as secret, contains a private key, or
    /// is a list that is secret by its use, its name (such as `tokens.map`) or a word that looks
    /// like a key.
    pub fn is_secret(&self, file: &SetFile) -> bool {
        let is_list = !file.main && self.vocabulary.uses.has_use(&file.path);
        let is_named = !has_words(file) && self.vocabulary.uses.contains(&file.path);
        let has_key = || !has_words(file) && !contains(&file.bytes, PEM) && lists_keys(&file.bytes);
        file.secret || is_list || is_named || contains(&file.bytes, PRIVATE_KEY) || has_key()
    }

    pub fn vocabulary(&self) -> &Vocabulary<'v> {
        &self.vocabulary
    }

    /// Returns the lines of a list that is secret because of its use; for any other file, a single
    /// empty line.
    pub(super) fn secret_lines<'f>(&self, file: &'f SetFile) -> impl Iterator<Item = &'f [u8]> {
        let is_list = !file.main && self.vocabulary.uses.has_use(&file.path);
        let text: &[u8] = if is_list { &file.bytes } else { &[] };
        text.split(|b| *b == b'\n')
    }

    pub fn seen(&self, file: &SetFile) -> MaskedFile {
        let bytes = file.bytes.len();
        let certificate = contains(&file.bytes, CERTIFICATE);
        let certificate = certificate
            .then(|| (self.mask.certificate)(&file.bytes))
            .flatten();
        if self.is_secret(file) {
            return MaskedFile::Description(match certificate {
                Some(words) => format!("{words}; with its key (not shown)"),
                None => format!("a secret of {bytes} bytes (not shown)"),
            });
        }
        if let Some(words) = certificate {
            return MaskedFile::Description(words);
        }
        if file.bytes.contains(&0) || std::str::from_utf8(&file.bytes).is_err() {
            let digest = sha256(&file.bytes).to_string();
            let digest = digest.get(..DIGEST_DIGITS).unwrap_or_default();
            return MaskedFile::Description(format!("{bytes} bytes, SHA-256 {digest}…"));
        }
        MaskedFile::Text(self.text(file))
    }

    /// Returns the visible form of a file for clients that may not see its bytes.
    pub fn shown(&self, file: &SetFile) -> File {
        let (text, description) = match self.seen(file) {
            MaskedFile::Text(text) => (
                Some(String::from_utf8_lossy(&text).into_owned()),
                String::new(),
            ),
            MaskedFile::Description(words) => (None, words),
        };
        File {
            path: file.path.clone(),
            main: file.main,
            text,
            description,
        }
    }

    fn text(&self, file: &SetFile) -> Vec<u8> {
        if has_words(file) {
            mask_secrets(&file.bytes, &self.vocabulary)
        } else {
            file.bytes.clone()
        }
    }
}
