//! Lists the words that begin sections, and the part of the platform to which each section
//! belongs.

use language::Outline;
use serde::{Deserialize, Serialize};

/// The sections of a part of the platform.
#[derive(Clone, Copy, Debug)]
pub struct Sections {
    /// The names of the sections, each with its purpose.
    pub names: &'static [(&'static str, &'static str)],
    /// Names of sections that are also keywords in one of these sections, each with that section:
    /// HAProxy's `global` has a line `node`.
    pub shared: &'static [(&'static str, &'static str)],
    /// The sections that have a keyword `on` of their own.
    pub own_on: &'static [&'static str],
    /// The sections with a line `on` that lists the nodes to which the section applies.
    pub on_lists: &'static [&'static str],
    /// The sections that are different on each node even without a line `on`.
    pub by_node: &'static [&'static str],
    /// Lines of this part within sections of other parts: the section, and the first words of the
    /// lines. Both parts are notified when the section begins.
    pub lines_in: &'static [(&'static str, &'static [&'static str])],
    /// The sections that must be equal on all nodes, so that `on` is an error in them.
    pub for_all: &'static [&'static str],
    /// Words that precede a secret in lines of these sections.
    pub secrets: &'static [&'static str],
}

impl Sections {
    /// No sections; the default for omitted fields.
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

    /// Returns whether `on` is a keyword of this section, and not a prefix of other keywords.
    pub(crate) fn has_on_keyword(&self, section: &str) -> bool {
        self.own_on.contains(&section) || self.on_lists.contains(&section)
    }

    pub(crate) fn line_words_in(&self, section: &str) -> impl Iterator<Item = &'static str> {
        let of = self
            .lines_in
            .iter()
            .filter(move |(name, _)| *name == section);
        of.flat_map(|(_, words)| words.iter().copied())
    }

    pub fn has(&self, word: &str) -> bool {
        self.names.iter().any(|(name, _)| *name == word)
    }
}

/// The words that begin sections, of all parts of the platform.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SectionKeywords {
    names: Vec<String>,
    shared: Vec<(String, String)>,
}

impl SectionKeywords {
    pub fn from_parts<'s>(parts: impl IntoIterator<Item = &'s Sections>) -> SectionKeywords {
        let mut words = SectionKeywords::default();
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

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Returns the names that are also keywords, each with the section that has the keyword.
    pub fn shared(&self) -> impl Iterator<Item = (&str, &str)> {
        let shared = self.shared.iter();
        shared.map(|(word, within)| (word.as_str(), within.as_str()))
    }

    pub fn has(&self, word: &str) -> bool {
        self.names().any(|name| name == word)
    }

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
        let words = SectionKeywords::from_parts([&proxy, &address]);
        assert_eq!(
            words.names().collect::<Vec<_>>(),
            ["global", "listen", "node"]
        );
        assert!(words.has("node") && !words.has("address"));
        let mut outline = words.outline();
        let begins = [("global", false), ("node", true), ("listen", false)];
        let begins = begins.map(|(word, indented)| outline.begins_section(word, indented));
        assert_eq!(begins, [true, false, true]);
    }
}
