//! Computes the changes between two configurations as text, for the operator who requests a
//! reload. Sections are compared by kind and name, and lines within them by their words: spaces,
//! comments and quoting make no difference, and order matters only among lines that begin with
//! the same word.
//!
//! The comparison uses the text: variables stay names, and a line under `.if` is compared with
//! its condition. This module knows no keyword; the caller supplies the words that begin a
//! section and those that precede a secret. A [`Difference`] contains no secret. It does not
//! describe the meaning of a change.

mod cover;
mod lines;
mod lists;
mod misspelt;
mod order;
mod render;
mod secret;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use cover::{expanded_secrets, starred};
pub use cover::{mask_secrets, secrets};
pub use lists::SecretUses;
pub use render::LINES_SHOWN;
pub use secret::{
    COVER, is_compared_with_secrets, is_suspect, masked_value, without_credentials,
    without_parameters,
};

use crate::SourceMap;
use lines::{DiffLine, Section};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

/// The words with a special meaning in the comparison.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary<'a> {
    pub sections: Vec<&'a str>,
    /// Section names that are also keywords, with the section that has the keyword
    /// ([`crate::Outline`]).
    pub shared: Vec<(&'a str, &'a str)>,
    /// Words before a secret: `password`, `auth`.
    pub secrets: Vec<&'a str>,
    /// Words before an external command and its arguments: `notify_master`.
    pub programs: Vec<&'a str>,
    /// All words of keywords, sorted. Any other word may be misspelt, and precede a secret. Empty:
    /// misspelt words are not detected.
    pub words: Vec<&'a str>,
    /// Uses of secrets in the masked configuration; see [`Vocabulary::for_texts`].
    pub uses: SecretUses,
}

impl<'a> Vocabulary<'a> {
    /// Returns the vocabulary for a configuration with these files: what its lines use as secrets
    /// is masked in all of them.
    pub fn for_texts<'t>(
        &self,
        texts: impl IntoIterator<Item = &'t [u8]>,
    ) -> Cow<'_, Vocabulary<'a>> {
        let uses = SecretUses::of(texts, self);
        if uses.is_empty() || uses == self.uses {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Vocabulary {
            uses,
            ..self.clone()
        })
    }

    /// Returns the vocabulary with which to mask one text. The vocabulary of a configuration knows
    /// its texts already.
    fn for_text(&self, text: &[u8]) -> Cow<'_, Vocabulary<'a>> {
        if self.uses.is_empty() {
            self.for_texts([text])
        } else {
            Cow::Borrowed(self)
        }
    }
}

/// Builds the vocabulary of the keywords of Evenkeel: see [`set_vocabulary`].
static BUILD: OnceLock<fn() -> Vocabulary<'static>> = OnceLock::new();

/// Sets the words that precede secrets, once, at the start of the process. Everything that quotes a
/// configuration masks the words after them; without this call, only words whose names suggest a
/// secret cause masking. `build` runs at the first use, because it takes milliseconds and most
/// processes quote nothing.
pub fn set_vocabulary(build: fn() -> Vocabulary<'static>) {
    // Ignores a second call: the words of one binary are always the same.
    let _ = BUILD.set(build);
}

/// Returns the words that [`set_vocabulary`] has set; none before that call.
pub fn vocabulary() -> &'static Vocabulary<'static> {
    static KNOWN: OnceLock<Vocabulary<'static>> = OnceLock::new();
    static NONE: Vocabulary<'static> = Vocabulary {
        sections: Vec::new(),
        shared: Vec::new(),
        secrets: Vec::new(),
        programs: Vec::new(),
        words: Vec::new(),
        uses: SecretUses::NONE,
    };
    match BUILD.get() {
        Some(build) => KNOWN.get_or_init(build),
        None => &NONE,
    }
}

impl SourceMap {
    /// Returns the vocabulary for these files, by which everything that quotes them masks secrets.
    pub fn vocabulary(&self) -> &Vocabulary<'static> {
        let found = self.vocabulary.get_or_init(|| {
            let texts = self.files().map(|(_, file)| file.text.as_slice());
            let found: Vocabulary<'static> = vocabulary().for_texts(texts).into_owned();
            Box::new(found)
        });
        found.downcast_ref().unwrap_or_else(|| vocabulary())
    }
}

/// Texts of one configuration version.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'a> {
    pub files: &'a [(String, Vec<u8>)],
    /// Other contents that lines refer to, with a display name: `map /etc/routes.map`.
    pub other: &'a [(String, Vec<u8>)],
}

/// Changes between two configuration versions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Changed sections, in the order of the new configuration version; removed sections follow.
    pub sections: Vec<SectionChange>,
    /// Changes of other texts, in the same order.
    pub texts: Vec<TextChange>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty() && self.texts.is_empty()
    }
}

/// The change of a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SectionChange {
    /// The first word; empty for lines before the first section.
    pub kind: String,
    /// The second word; empty if there is none.
    pub name: String,
    pub change: SectionChangeKind,
}

/// The kind of change of a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SectionChangeKind {
    /// Added, with this number of lines.
    New(usize),
    Gone,
    /// The lines changed, or the position among the sections.
    Changed {
        lines: Vec<LineChange>,
        /// The section was moved relative to others.
        moved: bool,
    },
}

/// The change of a line. Texts are for display: secrets are masked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineChange {
    Added(String),
    Removed(String),
    Changed(String),
    Moved(String),
}

/// The change of another text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextChange {
    pub name: String,
    pub change: TextDifference,
}

/// The kind of change of another text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextDifference {
    New(usize),
    Gone,
    Lines {
        added: usize,
        removed: usize,
    },
    /// The lines are the same in another order, or only the line ends differ.
    Reordered,
    /// The content of a binary file changed.
    Bytes,
}

pub fn compute(old: Texts<'_>, new: Texts<'_>, vocabulary: &Vocabulary<'_>) -> Difference {
    let files = old.files.iter().chain(new.files);
    let vocabulary = &*vocabulary.for_texts(files.map(|(_, text)| text.as_slice()));
    Difference {
        sections: sections(
            &lines::read(old.files, vocabulary),
            &lines::read(new.files, vocabulary),
            vocabulary,
        ),
        texts: texts(old.other, new.other),
    }
}

/// The key that identifies a section in the other configuration version: kind, name, and the
/// ordinal among the sections of that name.
type Key<'s> = (&'s [u8], &'s [u8], usize);

fn keyed(sections: &[Section]) -> Vec<(Key<'_>, &Section)> {
    let mut seen: HashMap<(&[u8], &[u8]), usize> = HashMap::new();
    let mut keyed = Vec::with_capacity(sections.len());
    for section in sections {
        let nth = seen.entry((&section.kind, &section.name)).or_default();
        keyed.push(((&*section.kind, &*section.name, *nth), section));
        *nth += 1;
    }
    keyed
}

fn sections(old: &[Section], new: &[Section], vocabulary: &Vocabulary<'_>) -> Vec<SectionChange> {
    let (old, new) = (keyed(old), keyed(new));
    let places = order::match_entries(
        &old.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        &new.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
    );
    let mut changes = Vec::new();
    for (at, (_, section)) in new.iter().enumerate() {
        let change = match places.old_indices[at] {
            None => SectionChangeKind::New(section.body().len()),
            Some(before) => {
                let lines = changed_lines(&old[before].1.lines, &section.lines, vocabulary);
                let moved = places.moved[at];
                if lines.is_empty() && !moved {
                    continue;
                }
                SectionChangeKind::Changed { lines, moved }
            }
        };
        changes.push(section_change(section, change));
    }
    for at in places.removed {
        changes.push(section_change(old[at].1, SectionChangeKind::Gone));
    }
    changes
}

fn section_change(section: &Section, change: SectionChangeKind) -> SectionChange {
    SectionChange {
        kind: words::displayed_word(&section.kind),
        name: words::displayed_word(&section.name),
        change,
    }
}

/// Returns the changed lines in the order of the new configuration version, followed by the removed
/// ones.
fn changed_lines(
    old: &[DiffLine],
    new: &[DiffLine],
    vocabulary: &Vocabulary<'_>,
) -> Vec<LineChange> {
    if old == new {
        return Vec::new();
    }
    let mut moved = vec![false; new.len()];
    let mut added = Vec::new();
    let mut gone = Vec::new();
    for (before, after) in groups(old, new) {
        let pick = |lines: &[usize], of: &'_ [DiffLine]| -> Vec<DiffLine> {
            lines.iter().map(|at| of[*at].clone()).collect()
        };
        let places = order::match_entries(&pick(&before, old), &pick(&after, new));
        for (n, at) in after.iter().enumerate() {
            moved[*at] = places.moved[n];
            if places.old_indices[n].is_none() {
                added.push(*at);
            }
        }
        gone.extend(places.removed.iter().map(|n| before[*n]));
    }
    added.sort_unstable();
    gone.sort_unstable();
    let pairs = words::partners(&pick_lines(old, &gone), &pick_lines(new, &added));
    let mut changes = Vec::new();
    let mut used = vec![false; gone.len()];
    for (at, line) in new.iter().enumerate() {
        if moved[at] {
            changes.push(LineChange::Moved(secret::text(line, vocabulary)));
        }
        let Ok(n) = added.binary_search(&at) else {
            continue;
        };
        changes.push(match pairs.get(n).copied().flatten() {
            Some(before) => {
                used[before] = true;
                LineChange::Changed(words::change(&old[gone[before]], line, vocabulary))
            }
            None => LineChange::Added(secret::text(line, vocabulary)),
        });
    }
    for (_, at) in gone.iter().enumerate().filter(|(n, _)| !used[*n]) {
        changes.push(LineChange::Removed(secret::text(&old[*at], vocabulary)));
    }
    changes
}

fn pick_lines<'l>(lines: &'l [DiffLine], at: &[usize]) -> Vec<&'l DiffLine> {
    at.iter().map(|at| &lines[*at]).collect()
}

/// Returns the indices of lines that begin with the same word, in the old and the new configuration
/// version.
fn groups(old: &[DiffLine], new: &[DiffLine]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut found: HashMap<&[u8], usize> = HashMap::new();
    let mut groups: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    for (lines, is_new) in [(old, false), (new, true)] {
        for (at, line) in lines.iter().enumerate() {
            let group = *found.entry(line.first()).or_insert_with(|| {
                groups.push(Default::default());
                groups.len() - 1
            });
            let (before, after) = &mut groups[group];
            if is_new { after } else { before }.push(at);
        }
    }
    groups
}

fn texts(old: &[(String, Vec<u8>)], new: &[(String, Vec<u8>)]) -> Vec<TextChange> {
    let before: HashMap<&str, &[u8]> = old.iter().map(|(n, t)| (&**n, &**t)).collect();
    let after: HashMap<&str, &[u8]> = new.iter().map(|(n, t)| (&**n, &**t)).collect();
    let mut changes = Vec::new();
    let mut told = std::collections::HashSet::new();
    for (name, text) in new {
        let change = match before.get(&**name) {
            None if text.contains(&0) => Some(TextDifference::New(0)),
            None => Some(TextDifference::New(lines::of_text(text).count())),
            Some(then) => lines::compare_texts(then, text),
        };
        if let Some(change) = change
            && told.insert(&**name)
        {
            changes.push(TextChange {
                name: name.clone(),
                change,
            });
        }
    }
    for (name, _) in old {
        if !after.contains_key(&**name) && told.insert(&**name) {
            changes.push(TextChange {
                name: name.clone(),
                change: TextDifference::Gone,
            });
        }
    }
    changes
}
