//! Finds the lines that begin sections. A word may be both the name of a section and a keyword
//! within another section (`node`, which is also a keyword of `global`): then the indentation
//! decides.

/// Decides which lines begin a section. The caller passes the first word of each line, in order.
#[derive(Clone, Debug)]
pub struct Outline<'n> {
    names: Vec<&'n str>,
    /// Names that are also keywords, each with the section that has the keyword.
    shared: Vec<(&'n str, &'n str)>,
    current: Option<&'n str>,
    /// The current section has an indented line.
    indented: bool,
}

impl<'n> Outline<'n> {
    pub fn new(
        names: impl IntoIterator<Item = &'n str>,
        shared: impl IntoIterator<Item = (&'n str, &'n str)>,
    ) -> Outline<'n> {
        Outline {
            names: names.into_iter().collect(),
            shared: shared.into_iter().collect(),
            current: None,
            indented: false,
        }
    }

    /// Processes the first word of a line, and whether white space precedes it. Returns whether the
    /// line begins a section.
    ///
    /// A name that is also a keyword of the current section begins a section only at the left
    /// margin, below indented lines.
    pub fn begins_section(&mut self, word: &str, indented: bool) -> bool {
        let name = self.names.iter().find(|name| **name == word).copied();
        let is_keyword = |name: &str| {
            let here =
                |(shared, within): &(&str, &str)| *shared == name && self.current == Some(*within);
            self.shared.iter().any(here) && (indented || !self.indented)
        };
        match name.filter(|name| !is_keyword(name)) {
            Some(name) => {
                (self.current, self.indented) = (Some(name), false);
                true
            }
            None => {
                self.indented |= indented;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(text: &str) -> Vec<&str> {
        let names = ["global", "listen", "node"];
        let mut outline = Outline::new(names, [("node", "global")]);
        let begins = |line: &&str| {
            let word = line.split_whitespace().next().unwrap_or_default();
            outline.begins_section(word, line.starts_with(' '))
        };
        text.lines().filter(begins).collect()
    }

    #[test]
    fn a_name_that_is_also_a_keyword_begins_a_section_at_the_margin_below_indented_lines() {
        assert_eq!(
            sections("global\n    node a\nlisten b"),
            ["global", "listen b"]
        );
        assert_eq!(
            sections("global\n    maxconn 1\nnode a\n    address x\nnode b"),
            ["global", "node a", "node b"]
        );
        assert_eq!(
            sections("global\nmaxconn 1\nnode a\nlisten b"),
            ["global", "listen b"]
        );
        assert_eq!(sections("  listen b\n  node a"), ["  listen b", "  node a"]);
        assert_eq!(sections("node a\nglobal\nnode b"), ["node a", "global"]);
    }
}
