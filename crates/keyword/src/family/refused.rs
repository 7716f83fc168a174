//! Records refused lines, and lines for other nodes, so that settings missing because of them are
//! not reported again: a refused `bind` is not followed by "has no 'bind'". The decision to refuse
//! a line is made elsewhere.

use super::Loader;
use language::ConfigLine;
use model::config::ProxyIndex;
use model::rules::draft::Section;
use std::collections::HashMap;

/// First words of refused lines and of lines for other nodes, by section, each once.
#[derive(Debug, Default)]
pub(crate) struct RefusedLines {
    proxies: HashMap<ProxyIndex, Vec<Box<str>>>,
    defaults: HashMap<usize, Vec<Box<str>>>,
    other_nodes: HashMap<ProxyIndex, Vec<Box<str>>>,
}

impl RefusedLines {
    pub fn record_refused_line(&mut self, section: Section, word: &str) {
        let words = match section {
            Section::Proxy(index, _) => self.proxies.entry(index).or_default(),
            Section::Defaults(index) => self.defaults.entry(index).or_default(),
            _ => return,
        };
        if !words.iter().any(|known| **known == *word) {
            words.push(word.into());
        }
    }

    pub fn record_line_for_other_nodes(&mut self, section: Section, word: &str) {
        let Section::Proxy(index, _) = section else {
            return;
        };
        let words = self.other_nodes.entry(index).or_default();
        if !words.iter().any(|known| **known == *word) {
            words.push(word.into());
        }
    }

    pub fn has_line_for_other_nodes(&self, proxy: ProxyIndex, word: &str) -> bool {
        let words = self.other_nodes.get(&proxy);
        words.is_some_and(|words| words.iter().any(|known| **known == *word))
    }

    pub fn inherit(&mut self, defaults: usize, proxy: ProxyIndex) {
        if let Some(words) = self.defaults.get(&defaults) {
            self.proxies.insert(proxy, words.clone());
        }
    }

    /// Returns whether a line with one of these first words was refused in a proxy or its
    /// `defaults`.
    pub fn any(&self, proxy: ProxyIndex, words: &[&str]) -> bool {
        let refused = self.proxies.get(&proxy);
        refused.is_some_and(|refused| refused.iter().any(|word| words.contains(&&**word)))
    }
}

impl Loader {
    /// Returns whether a line about the checks of a proxy was refused, so that further missing
    /// settings are unknown.
    pub(crate) fn checks_refused(&self, proxy: ProxyIndex) -> bool {
        self.refused
            .any(proxy, &["tcp-check", "http-check", "option"])
    }

    /// Records a refused line. ACLs named in it count as used, so that they cause no further
    /// warning.
    pub(crate) fn refused_line(&mut self, line: &ConfigLine) {
        let skip = usize::from(matches!(line.words[0].str(), "no" | "default"));
        if let Some(word) = line.word(skip) {
            self.refused.record_refused_line(self.section, &word.text());
        }
        for word in &line.words {
            self.acls.mention(word.str().trim_start_matches('!'));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::config::ProxyKind;

    #[test]
    fn a_proxy_lacks_what_was_refused_in_it_and_in_its_defaults() {
        let mut refused = RefusedLines::default();
        refused.record_refused_line(Section::Defaults(1), "timeout");
        refused.record_refused_line(Section::Proxy(ProxyIndex(0), ProxyKind::Backend), "server");
        refused.inherit(1, ProxyIndex(1));
        refused.inherit(2, ProxyIndex(2));
        assert!(refused.any(ProxyIndex(0), &["bind", "server"]));
        assert!(!refused.any(ProxyIndex(0), &["timeout"]));
        assert!(refused.any(ProxyIndex(1), &["timeout"]));
        assert!(!refused.any(ProxyIndex(2), &["timeout"]));
    }
}
