//! Defines the rows of the keyword registry. A row has the syntax line, which begins with the
//! keyword's name, the sections that allow it, two sentences of documentation with an example,
//! and the function that builds it. Dispatch, "did you mean", completion, `evenkeel keyword` and
//! the manual use that row; no other place describes a keyword.

use std::collections::HashMap;
use std::sync::OnceLock;

const WORDS_MAX: usize = 4;

/// A keyword, with the function that builds it (the defining crate chooses the type).
#[derive(Debug)]
pub struct Keyword<B: 'static> {
    /// Names of the sections (or lines: "bind", "server") that allow it.
    pub places: &'static [&'static str],
    /// `timeout client <timeout>`: the name and its arguments; fixed words among the arguments are
    /// in braces. `[no]` before the name is not part of it.
    pub syntax: &'static str,
    /// Two sentences or a few more: its effect, when to use it, its default.
    pub doc: &'static str,
    /// Lines that a test loads in a section that allows the keyword.
    pub example: &'static str,
    pub build: B,
}

/// Defines the rows of a table of keywords, each with its syntax and places, builder, example and
/// documentation.
#[macro_export]
macro_rules! rows {
    ($($syntax:literal $places:expr, $build:expr, $example:literal, $doc:expr;)*) => {
        &[$($crate::keyword::Keyword {
            places: $places,
            syntax: $syntax,
            doc: $doc,
            example: $example,
            build: $build,
        }),*]
    };
}

/// Keyword metadata, without the type of its builder.
#[derive(Clone, Copy, Debug)]
pub struct Documented {
    /// "keyword", "bind option", "server option", "action", "fetch", "converter"…
    pub kind: &'static str,
    /// Name of one or more words: `maxconn`, `option httplog`, `http-request deny`.
    pub name: &'static str,
    pub places: &'static [&'static str],
    pub syntax: &'static str,
    pub doc: &'static str,
    pub example: &'static str,
    /// The title of its family, which is a page of the manual; empty if the keyword is not
    /// supported.
    pub family: &'static str,
    /// False for a known keyword that is not supported. Its use is an error with this reason.
    pub built: bool,
}

/// Related keywords, under the title of their manual page.
pub type Family<B> = (&'static str, &'static [Keyword<B>]);

impl<B> Keyword<B> {
    /// Returns the words that its syntax begins with, up to the first argument: `timeout client`.
    pub fn name(&self) -> &'static str {
        let syntax = self.syntax.strip_prefix("[no] ").unwrap_or(self.syntax);
        let mut bytes = syntax.bytes();
        let end = bytes.position(|byte| matches!(byte, b'<' | b'[' | b'{' | b'(' | b'|'));
        let name = &syntax[..end.unwrap_or(syntax.len())];
        if end.is_some_and(|end| syntax[end..].starts_with('|')) {
            name.rsplit_once(' ').map_or(name, |(name, _)| name)
        } else {
            name.trim_end()
        }
    }

    pub fn documented(&self, kind: &'static str, family: &'static str) -> Documented {
        Documented {
            kind,
            family,
            name: self.name(),
            places: self.places,
            syntax: self.syntax,
            doc: self.doc,
            example: self.example,
            built: true,
        }
    }
}

/// Keywords of HAProxy that are not supported: their use is a specific error and is never ignored.
#[derive(Debug)]
pub struct UnsupportedKeywords {
    pub kind: &'static str,
    pub places: Vec<&'static str>,
    pub names: Vec<&'static str>,
}

/// Rows of one kind, by name.
#[derive(Debug)]
pub struct Table<B: 'static> {
    kind: &'static str,
    /// By name: the number, the title of the family, and the row.
    rows: HashMap<&'static str, (usize, &'static str, &'static Keyword<B>)>,
    /// The unsupported keywords of all kinds.
    all_known: fn() -> &'static [UnsupportedKeywords],
    /// The unsupported keywords of this kind, by name; created when a word matches no row.
    unsupported: OnceLock<HashMap<&'static str, &'static UnsupportedKeywords>>,
}

/// The result of a look-up.
#[derive(Debug)]
pub enum KeywordLookup<B: 'static> {
    Built(&'static Keyword<B>, usize),
    /// A keyword that is not supported, with its number of words.
    NotBuilt(&'static str, &'static UnsupportedKeywords, usize),
    Unknown,
}

impl<B: 'static> Table<B> {
    /// Creates a table of all the families of a kind. A row in two families is an error of the
    /// defining crate and panics (a test creates every table). No name in `known` is the start of a
    /// row's longer name.
    pub fn new(
        kind: &'static str,
        families: &[Family<B>],
        known: fn() -> &'static [UnsupportedKeywords],
    ) -> Self {
        let mut table = Table {
            kind,
            rows: HashMap::new(),
            all_known: known,
            unsupported: OnceLock::new(),
        };
        let rows = families
            .iter()
            .flat_map(|(title, rows)| rows.iter().map(move |row| (*title, row)));
        for (number, (title, row)) in rows.enumerate() {
            let name = row.name();
            debug_assert!(name.split(' ').count() <= WORDS_MAX, "{name}");
            assert!(
                table.rows.insert(name, (number, title, row)).is_none(),
                "{kind} {name} defined twice"
            );
        }
        table
    }

    fn known(&self) -> &HashMap<&'static str, &'static UnsupportedKeywords> {
        self.unsupported.get_or_init(|| {
            let groups = (self.all_known)().iter().filter(|k| k.kind == self.kind);
            let names = groups.flat_map(|group| group.names.iter().map(move |name| (*name, group)));
            names
                .filter(|(name, _)| !self.rows.contains_key(name))
                .collect()
        })
    }

    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns the number of a row in the order of the families, if the table has the row.
    pub fn number(&self, row: &Keyword<B>) -> Option<usize> {
        self.rows.get(row.name()).map(|(number, ..)| *number)
    }

    /// Returns the keyword with the most words that match the start of the given words.
    pub fn find<'w>(&self, words: impl Iterator<Item = &'w str>) -> KeywordLookup<B> {
        let mut name = String::new();
        // Offsets of the end of the first word, of the first two words, and so on.
        let mut ends = Vec::with_capacity(WORDS_MAX);
        for (n, word) in words.take(WORDS_MAX).enumerate() {
            if n > 0 {
                name.push(' ');
            }
            // Removes the argument of a keyword such as `set-var(check.a)`.
            let word = match word.split_once('(') {
                Some((before, _)) if n > 0 => before,
                _ => word,
            };
            name.push_str(word);
            ends.push(name.len());
        }
        let names = || {
            let ends = ends.iter().enumerate().rev();
            ends.map(|(n, end)| (n + 1, &name[..*end]))
        };
        if let Some((words, (.., row))) =
            names().find_map(|(words, name)| Some((words, self.rows.get(name)?)))
        {
            return KeywordLookup::Built(row, words);
        }
        let mut names = names();
        let known =
            names.find_map(|(words, name)| Some((words, self.known().get_key_value(name)?)));
        known.map_or(KeywordLookup::Unknown, |(words, (name, group))| {
            KeywordLookup::NotBuilt(name, group, words)
        })
    }

    /// Returns all rows and all known names, sorted by name.
    pub fn documented(&self) -> Vec<Documented> {
        let mut all: Vec<Documented> = self
            .rows
            .values()
            .map(|(_, family, row)| row.documented(self.kind, family))
            .collect();
        all.extend(self.known().iter().map(|(name, group)| Documented {
            kind: self.kind,
            name,
            places: &group.places,
            syntax: name,
            doc: "HAProxy has this keyword. Evenkeel does not support it and refuses the line (E0103): remove it.",
            example: "",
            family: "",
            built: false,
        }));
        all.sort_by_key(|d| d.name);
        all
    }

    /// Returns the names allowed in a section (for "did you mean"), including unsupported ones.
    pub fn names_in<'t>(&'t self, place: &'t str) -> impl Iterator<Item = &'static str> + 't {
        let rows = self
            .rows
            .iter()
            .filter(move |(_, (.., row))| row.places.contains(&place))
            .map(|(name, _)| *name);
        let known = self
            .known()
            .iter()
            .filter(move |(_, g)| g.places.contains(&place))
            .map(|(name, _)| *name);
        rows.chain(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_keyword_is_what_its_syntax_begins_with() {
        for (syntax, name) in [
            ("maxconn <number>", "maxconn"),
            ("option httplog [ clf ]", "option httplog"),
            ("[no] option redispatch [<interval>]", "option redispatch"),
            ("set-var(<name>[,<cond>]) <expr>", "set-var"),
            ("vrrp_version 2|3", "vrrp_version"),
            ("on-marked-up { shutdown-backup-sessions }", "on-marked-up"),
            ("quiet", "quiet"),
        ] {
            let row = Keyword {
                places: &[],
                syntax,
                doc: "",
                example: "",
                build: (),
            };
            assert_eq!(row.name(), name);
        }
    }
}
