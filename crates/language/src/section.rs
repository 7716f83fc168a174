//! Parses sections with a name, and detects lines that such a section may contain only once.

use crate::arguments::{Args, ArgumentCodes, section_name};
use crate::{Code, ConfigLine, ConfigWord, Diagnostic, Span, Spanned};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// Longest name of such a section, and of the objects in it, bytes.
const NAME_MAX: usize = 64;

/// A kind of section, with the codes of its errors.
#[derive(Debug)]
pub struct SectionKind {
    pub keyword: &'static str,
    pub syntax: &'static str,
    /// The name of a section in messages, such as "the farm's name".
    pub name_text: &'static str,
    pub sections_max: usize,
    pub arguments: &'static ArgumentCodes,
    pub name: &'static Code,
    pub duplicate: &'static Code,
    pub missing: &'static Code,
    pub too_many: &'static Code,
}

/// A section that has a name and a [`SectionKind`].
pub trait NamedSection {
    const KIND: SectionKind;

    fn name(&self) -> &Spanned<String>;
    fn given(&mut self) -> &mut GivenLines;
}

/// Implements [`NamedSection`] for a struct with the fields `name` and `given`, with the codes of the
/// module `codes`: `named_section!(Farm, "farm", "the farm's name", SECTIONS_MAX)`.
#[macro_export]
macro_rules! named_section {
    ($section:ty, $keyword:literal, $name_text:literal, $sections_max:expr) => {
        impl $crate::section::NamedSection for $section {
            const KIND: $crate::section::SectionKind = $crate::section::SectionKind {
                keyword: $keyword,
                syntax: concat!($keyword, " <name>"),
                name_text: $name_text,
                sections_max: $sections_max,
                arguments: &codes::OF_ARGUMENTS,
                name: &codes::NAME,
                duplicate: &codes::TWICE,
                missing: &codes::MISSING,
                too_many: &codes::TOO_MANY,
            };

            fn name(&self) -> &$crate::Spanned<String> {
                &self.name
            }

            fn given(&mut self) -> &mut $crate::section::GivenLines {
                &mut self.given
            }
        }
    };
}

/// Parses the first line of a section. Returns its name, which none of `known` has.
///
/// # Errors
/// The name is missing, invalid or used, a word follows it, or there are too many sections.
pub fn begin<S: NamedSection>(
    known: &[S],
    head: &ConfigLine,
) -> Result<Spanned<String>, Diagnostic> {
    let kind = S::KIND;
    let mut args = Args::new(head, 1, kind.keyword, kind.syntax, kind.arguments);
    let word = args.required(kind.name_text)?;
    args.end()?;
    let name = kind.object_name(kind.keyword, word)?;
    if let Some(first) = known.iter().find(|one| one.name().value == name.value) {
        let told = format!("duplicate '{}' section '{}'", kind.keyword, name.value);
        let told = Diagnostic::error(kind.name, name.span, told);
        return Err(told.name_taken_at(first.name().span));
    }
    if known.len() >= kind.sections_max {
        let told = format!("more than {} {} sections", kind.sections_max, kind.keyword);
        return Err(Diagnostic::error(kind.too_many, head.span, told));
    }
    Ok(name)
}

/// Returns the current section, for a keyword that may be repeated.
///
/// # Errors
/// Fails if no section has begun.
pub fn many<'d, S: NamedSection>(
    sections: &'d mut [S],
    args: &Args<'_>,
    keyword: &'static str,
) -> Result<&'d mut S, Diagnostic> {
    let span = args.line().span;
    let section = sections.last_mut().ok_or_else(|| {
        let told = format!("no {} section has begun", S::KIND.keyword);
        Diagnostic::error(S::KIND.missing, span, told)
    })?;
    section.given().0.push((keyword, span));
    Ok(section)
}

/// Returns the current section, for a keyword that may be given once.
///
/// # Errors
/// No section has begun, or an earlier line has the keyword.
pub fn once<'d, S: NamedSection>(
    sections: &'d mut [S],
    args: &Args<'_>,
    keyword: &'static str,
) -> Result<&'d mut S, Diagnostic> {
    let section = many(sections, args, keyword)?;
    let span = args.line().span;
    match section.given().first(keyword) {
        Some(first) if first != span => {
            let told = format!("'{keyword}' may appear only once in a section");
            let told = Diagnostic::error(S::KIND.duplicate, span, told);
            Err(told.duplicate_of(first))
        }
        _ => Ok(section),
    }
}

/// Returns an error for each value that an earlier line has already. The text is the message of
/// the error for this value.
pub fn duplicates<K: Hash + Eq>(
    code: &'static Code,
    values: impl Iterator<Item = (K, Span, String)>,
) -> Vec<Diagnostic> {
    let mut seen: HashMap<K, Span> = HashMap::new();
    let errors = values.filter_map(|(value, span, told)| match seen.entry(value) {
        Entry::Occupied(first) => {
            let told = Diagnostic::error(code, span, told);
            Some(told.duplicate_of(*first.get()))
        }
        Entry::Vacant(free) => {
            free.insert(span);
            None
        }
    });
    errors.collect()
}

/// The keywords of a section with their positions, including those of refused lines.
#[derive(Debug, Default)]
pub struct GivenLines(Vec<(&'static str, Span)>);

impl GivenLines {
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Span)> + '_ {
        self.0.iter().copied()
    }

    /// Returns the position of the first line with a keyword.
    pub fn first(&self, keyword: &str) -> Option<Span> {
        let found = self.0.iter().find(|(known, _)| *known == keyword);
        found.map(|(_, span)| *span)
    }

    pub fn has(&self, keyword: &str) -> bool {
        self.first(keyword).is_some()
    }
}

impl SectionKind {
    /// Parses the name of a section or of an object in it.
    ///
    /// # Errors
    /// The name has invalid characters, or too many.
    pub fn object_name(
        &self,
        object: &str,
        word: &ConfigWord,
    ) -> Result<Spanned<String>, Diagnostic> {
        let name = section_name(object, word, self.name)?;
        if name.len() > NAME_MAX || name.starts_with('.') || name.contains(':') || name.is_empty() {
            let told = format!("'{name}' cannot be the name of a {object}");
            let told = Diagnostic::error(self.name, word.span, told);
            let label = "at most 64 letters, digits, `.`, `_` and `-`, and no `.` in front";
            return Err(told.label(label));
        }
        Ok(Spanned::new(name.to_owned(), word.span))
    }
}
