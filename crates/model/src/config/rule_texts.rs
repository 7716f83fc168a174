//! Texts of rule lines for operators who query which rules took effect. All requests of a
//! configuration share one copy, with secrets masked and limited in size.

use language::SourceMap;
use language::difference::{Vocabulary, mask_secrets, vocabulary};

/// Maximum length of a kept line, and of all lines of a configuration, bytes.
const LINE_BYTES_MAX: usize = 512;
const BYTES_MAX: usize = 4 << 20;
/// Prefixes of the lines to which requests may refer.
const BEGINNINGS: [&str; 15] = [
    "http-",
    "tcp-",
    "use_backend",
    "use-server",
    "default_backend",
    "redirect",
    "stick",
    "req",
    "rsp",
    "block",
    "force-persist",
    "ignore-persist",
    "monitor",
    "persist",
    "cookie",
];

/// Texts of the rule lines.
#[derive(Default, Debug)]
pub struct RuleTexts {
    files: Vec<(Box<str>, Vec<LineRange>)>,
    text: String,
}

/// Number of a line, and the range of its text.
#[derive(Clone, Copy, Debug)]
struct LineRange {
    number: u32,
    begin: u32,
    end: u32,
}

impl RuleTexts {
    /// Collects the rules from the files of a load.
    pub fn of(sources: &SourceMap) -> RuleTexts {
        RuleTexts::with(sources, vocabulary())
    }

    fn with(sources: &SourceMap, vocabulary: &Vocabulary<'_>) -> RuleTexts {
        let mut all = RuleTexts::default();
        for (_, file) in sources.files() {
            let mut lines = Vec::new();
            for (number, line) in (1..).zip(file.text.split(|byte| *byte == b'\n')) {
                if is_rule(line) && !all.keep(number, &mask_secrets(line, vocabulary), &mut lines) {
                    break;
                }
            }
            all.files.push((file.name.as_str().into(), lines));
        }
        all.text.shrink_to_fit();
        all
    }

    /// Adds a line. Returns whether there was room.
    fn keep(&mut self, number: u32, line: &[u8], lines: &mut Vec<LineRange>) -> bool {
        let line = String::from_utf8_lossy(line);
        let begin = self.text.len();
        for word in line.split_whitespace() {
            if self.text.len() > begin {
                self.text.push(' ');
            }
            self.text.push_str(word);
            if self.text.len() - begin > LINE_BYTES_MAX {
                let mut end = (begin..=begin + LINE_BYTES_MAX).rev();
                let end = end.find(|at| self.text.is_char_boundary(*at));
                self.text.truncate(end.unwrap_or(begin));
                self.text.push('…');
                break;
            }
        }
        if self.text.len() > BYTES_MAX {
            self.text.truncate(begin);
            return false;
        }
        lines.push(LineRange {
            number,
            begin: begin as u32,
            end: self.text.len() as u32,
        });
        true
    }

    /// Returns the text of a line of a file.
    pub fn get(&self, file: &str, number: u32) -> Option<&str> {
        let (_, lines) = self.files.iter().find(|(name, _)| **name == *file)?;
        let at = lines.binary_search_by_key(&number, |line| line.number);
        let line = lines.get(at.ok()?)?;
        self.text.get(line.begin as usize..line.end as usize)
    }
}

/// Returns whether a line is a rule; also one for a cluster node (`on NODE …`).
fn is_rule(line: &[u8]) -> bool {
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let first = match words.next() {
        Some(b"on") => words.nth(1),
        first => first,
    };
    first.is_some_and(|first| {
        let mut beginnings = BEGINNINGS.iter();
        beginnings.any(|begin| first.starts_with(begin.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> RuleTexts {
        let mut sources = SourceMap::default();
        sources.add("a.cfg", text.as_bytes().to_vec());
        let vocabulary = Vocabulary {
            secrets: vec!["password", "auth"],
            ..Vocabulary::default()
        };
        RuleTexts::with(&sources, &vocabulary)
    }

    #[test]
    fn rules_are_found_by_their_lines_with_secrets_covered() {
        let all = texts(
            "frontend a\n bind :80\n  http-request   deny if { path /x }\n on alpha use_backend b # why\n \
             http-request auth SECRET\n server a 127.0.0.1:1\n",
        );
        assert_eq!(
            all.get("a.cfg", 3),
            Some("http-request deny if { path /x }")
        );
        assert_eq!(all.get("a.cfg", 4), Some("on alpha use_backend b # why"));
        assert!(!all.text.contains("SECRET"), "{all:?}");
        for (file, line) in [("a.cfg", 2), ("a.cfg", 6), ("a.cfg", 99), ("b.cfg", 3)] {
            assert_eq!(all.get(file, line), None);
        }
    }

    #[test]
    fn long_lines_are_cut_and_all_of_them_are_bounded() {
        let long = format!(
            "http-request deny if {{ path {} }}\n",
            "\u{e4}".repeat(2_000)
        );
        let all = texts(&long.repeat(20_000));
        let first = all.get("a.cfg", 1).unwrap();
        assert!(first.len() <= LINE_BYTES_MAX + '…'.len_utf8() && first.ends_with('…'));
        assert!(all.text.len() <= BYTES_MAX && all.text.len() > BYTES_MAX / 2);
        assert_eq!(all.get("a.cfg", 20_000), None);
        assert!(all.get("a.cfg", 7_000).is_some());
    }
}
