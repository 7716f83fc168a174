//! The changes between two configurations, in words, for the operator who requests a
//! reload. Sections are compared by kind and name, and lines within them by their words:
//! spaces, comments and quoting make no difference, and order matters only among lines
//! that begin with the same word.
//!
//! It compares the text: variables stay names, and a line under `.if` is compared with
//! its condition. It knows no keyword; the caller says which words begin a section and
//! which precede a secret. A [`Difference`] contains no secret. It does not say what a
//! change means.

mod cover;
mod lines;
mod order;
mod render;
mod secret;
#[cfg(test)]
mod tests;
mod words;

pub use cover::{covered, secrets};
pub(crate) use cover::{expanded_secrets, starred};
pub use render::LINES_SHOWN;
pub use secret::{COVER, is_suspect, without_credentials};

use lines::{Line, Section};
use std::collections::HashMap;
use std::sync::OnceLock;

/// The words of which something is known.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary<'a> {
    /// The first words that begin a section.
    pub sections: Vec<&'a str>,
    /// Names that are also keywords, with the section that has the keyword
    /// ([`crate::Outline`]).
    pub shared: Vec<(&'a str, &'a str)>,
    /// Words before a secret: `password`, `auth`.
    pub secrets: Vec<&'a str>,
    /// Words before a program and its arguments: `notify_master`.
    pub programs: Vec<&'a str>,
}

/// The words of the keywords of this program: see [`know`].
static KNOWN: OnceLock<Vocabulary<'static>> = OnceLock::new();

/// Says once, at the start of the program, which words precede secrets. Everything that quotes a
/// configuration covers what stands behind them; without it, only what names itself secret.
pub fn know(vocabulary: Vocabulary<'static>) {
    // The words of one program are always the same.
    let _ = KNOWN.set(vocabulary);
}

pub(crate) fn known() -> &'static Vocabulary<'static> {
    static NONE: Vocabulary<'static> = Vocabulary {
        sections: Vec::new(),
        shared: Vec::new(),
        secrets: Vec::new(),
        programs: Vec::new(),
    };
    KNOWN.get().unwrap_or(&NONE)
}

/// One version of a configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'a> {
    /// Its files, in their order.
    pub files: &'a [(String, Vec<u8>)],
    /// The contents that lines name, by the name for people: `map /etc/routes.map`.
    pub other: &'a [(String, Vec<u8>)],
}

/// The changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Sections, in the order of the new version; then those that are gone.
    pub sections: Vec<SectionChange>,
    /// Other texts, in the same order.
    pub texts: Vec<TextChange>,
}

impl Difference {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty() && self.texts.is_empty()
    }
}

/// The change of a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SectionChange {
    /// Its first word; empty for lines before the first section.
    pub kind: String,
    /// Its second word; empty where it has none.
    pub name: String,
    /// The change.
    pub change: Change,
}

/// The change of a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Added; its number of lines.
    New(usize),
    /// Removed.
    Gone,
    /// Its lines changed, or its position among the sections.
    Changed {
        /// Its lines.
        lines: Vec<LineChange>,
        /// Sections that it stood behind stand behind it.
        moved: bool,
    },
}

/// The change of a line. Texts are for people: secrets are masked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineChange {
    /// Added.
    Added(String),
    /// Removed.
    Removed(String),
    /// Some of its words are others.
    Changed(String),
    /// It stands at another place among those that begin with the same word.
    Moved(String),
}

/// The change of another text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextChange {
    /// Its name for people.
    pub name: String,
    /// The change.
    pub change: TextDifference,
}

/// The change of another text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextDifference {
    /// Added; its number of lines.
    New(usize),
    /// No longer named.
    Gone,
    /// Its lines changed.
    Lines {
        /// Lines that were not there.
        added: usize,
        /// Lines that are no more.
        removed: usize,
    },
    /// Its lines are the same in another order, or only their ends differ.
    Reordered,
    /// A binary file whose content changed.
    Bytes,
}

/// Compares two versions.
pub fn between(old: Texts<'_>, new: Texts<'_>, vocabulary: &Vocabulary<'_>) -> Difference {
    Difference {
        sections: sections(
            &lines::read(old.files, vocabulary),
            &lines::read(new.files, vocabulary),
            vocabulary,
        ),
        texts: texts(old.other, new.other),
    }
}

/// The key by which a section is found in the other version: kind, name, and the ordinal
/// among the sections of that name.
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
    let places = order::pair(
        &old.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        &new.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
    );
    let mut changes = Vec::new();
    for (at, (_, section)) in new.iter().enumerate() {
        let change = match places.partners[at] {
            None => Change::New(section.body().len()),
            Some(before) => {
                let lines = changed_lines(&old[before].1.lines, &section.lines, vocabulary);
                let moved = places.moved[at];
                if lines.is_empty() && !moved {
                    continue;
                }
                Change::Changed { lines, moved }
            }
        };
        changes.push(section_change(section, change));
    }
    for at in places.gone {
        changes.push(section_change(old[at].1, Change::Gone));
    }
    changes
}

fn section_change(section: &Section, change: Change) -> SectionChange {
    SectionChange {
        kind: words::shown(&section.kind),
        name: words::shown(&section.name),
        change,
    }
}

/// Changes of lines: in the order of the new version, then those that are gone.
fn changed_lines(old: &[Line], new: &[Line], vocabulary: &Vocabulary<'_>) -> Vec<LineChange> {
    if old == new {
        return Vec::new();
    }
    let mut moved = vec![false; new.len()];
    let mut added = Vec::new();
    let mut gone = Vec::new();
    for (before, after) in groups(old, new) {
        let pick = |lines: &[usize], of: &'_ [Line]| -> Vec<Line> {
            lines.iter().map(|at| of[*at].clone()).collect()
        };
        let places = order::pair(&pick(&before, old), &pick(&after, new));
        for (n, at) in after.iter().enumerate() {
            moved[*at] = places.moved[n];
            if places.partners[n].is_none() {
                added.push(*at);
            }
        }
        gone.extend(places.gone.iter().map(|n| before[*n]));
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

fn pick_lines<'l>(lines: &'l [Line], at: &[usize]) -> Vec<&'l Line> {
    at.iter().map(|at| &lines[*at]).collect()
}

/// The places of lines that begin with the same word, before and after.
fn groups(old: &[Line], new: &[Line]) -> Vec<(Vec<usize>, Vec<usize>)> {
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
