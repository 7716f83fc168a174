//! The words that begin sections, and the part of each.

use language::Outline;
use serde::{Deserialize, Serialize};

/// The sections of a part.
#[derive(Clone, Copy, Debug)]
pub struct Sections {
    /// Their names, and what each is for.
    pub names: &'static [(&'static str, &'static str)],
    /// Names of sections, of whichever part, that are also keywords of one of these, each
    /// with that one: HAProxy's `global` has a line `node`.
    pub shared: &'static [(&'static str, &'static str)],
    /// The sections in which `on` is a keyword of the section.
    pub own_on: &'static [&'static str],
    /// The sections whose own line `on` names the nodes that the whole section is for.
    pub on_lists: &'static [&'static str],
    /// The sections that have another meaning on each node without a line `on`.
    pub by_node: &'static [&'static str],
    /// Lines in sections of other parts that are of this part: the section, and their first
    /// words. The section begins for both parts.
    pub lines_in: &'static [(&'static str, &'static [&'static str])],
    /// The sections that apply to all nodes, so that `on` is an error.
    pub for_all: &'static [&'static str],
    /// Words of their lines before a secret.
    pub secrets: &'static [&'static str],
}

impl Sections {
    /// No sections; what is left unsaid of others.
    pub const NONE: Sections = Sections {
        names: &[],
        shared: &[],
        own_on: &[],
        on_lists: &[],
        by_node: &[],
        lines_in: &[],
        for_all: &[],
        secrets: &[],
    };

    /// Whether `on` is a keyword of this section, and not what stands before one.
    pub(crate) fn has_own_on(&self, section: &str) -> bool {
        self.own_on.contains(&section) || self.on_lists.contains(&section)
    }

    /// The first words of its lines in a section of another part.
    pub(crate) fn words_in(&self, section: &str) -> impl Iterator<Item = &'static str> {
        let of = self
            .lines_in
            .iter()
            .filter(move |(name, _)| *name == section);
        of.flat_map(|(_, words)| words.iter().copied())
    }

    /// Whether a word begins one of them.
    pub fn has(&self, word: &str) -> bool {
        self.names.iter().any(|(name, _)| *name == word)
    }
}

/// The words that begin sections, of all parts of a program.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Words {
    names: Vec<String>,
    shared: Vec<(String, String)>,
}

impl Words {
    /// Collects the words of these parts.
    pub fn of<'s>(parts: impl IntoIterator<Item = &'s Sections>) -> Words {
        let mut words = Words::default();
        for sections in parts {
            let names = sections.names.iter().map(|(name, _)| (*name).to_owned());
            words.names.extend(names);
            let shared = sections.shared.iter();
            let shared = shared.map(|(word, within)| ((*word).to_owned(), (*within).to_owned()));
            words.shared.extend(shared);
        }
        words.names.sort_unstable();
        words
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Names that are also keywords, each with the section that has the keyword.
    pub fn shared(&self) -> impl Iterator<Item = (&str, &str)> {
        let shared = self.shared.iter();
        shared.map(|(word, within)| (word.as_str(), within.as_str()))
    }

    /// Whether a word begins a section.
    pub fn has(&self, word: &str) -> bool {
        self.names().any(|name| name == word)
    }

    /// Returns the outline of files with these sections.
    pub fn outline(&self) -> Outline<'_> {
        Outline::new(self.names(), self.shared())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_all_parts_make_one_outline() {
        let proxy = Sections {
            names: &[("listen", ""), ("global", "")],
            shared: &[("node", "global")],
            ..Sections::NONE
        };
        let address = Sections {
            names: &[("node", "")],
            ..Sections::NONE
        };
        let words = Words::of([&proxy, &address]);
        assert_eq!(
            words.names().collect::<Vec<_>>(),
            ["global", "listen", "node"]
        );
        assert!(words.has("node") && !words.has("address"));
        let mut outline = words.outline();
        let begins = [("global", false), ("node", true), ("listen", false)];
        let begins = begins.map(|(word, indented)| outline.begins(word, indented));
        assert_eq!(begins, [true, false, true]);
    }
}
