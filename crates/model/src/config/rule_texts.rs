//! Keeps the texts of rule lines, for operators who query which rules took effect on a request.
//! All requests of a configuration share one copy, limited in size. Secrets are masked when a
//! line is queried, because a load that nobody queries must not pay for it.

use language::SourceMap;
use language::difference::{SecretUses, Vocabulary, mask_secrets, vocabulary};
use std::fmt;
use std::sync::OnceLock;

/// Maximum length of a displayed line, bytes.
const SHOWN_BYTES_MAX: usize = 512;
/// Maximum length of a stored line, bytes. The rest of a longer line is dropped.
const LINE_BYTES_MAX: usize = 2_048;
/// Maximum length of all lines of a configuration, bytes.
const BYTES_MAX: usize = 4 << 20;
/// Beginnings of the lines that are kept: rules, to which requests refer, and lines through which
/// a secret can reach a rule.
const BEGINNINGS: [&str; 19] = [
    "acl",
    "capture",
    "set-var",
    "unique-id",
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

#[derive(Default)]
pub struct RuleTexts {
    files: Vec<(Box<str>, Vec<LineRange>)>,
    /// The lines as they are written, secrets included.
    text: Vec<u8>,
    /// True if some lines did not fit, so that not every path of a secret is known.
    is_cut: bool,
    /// Words that precede secrets, by which lines are masked; created by the first query.
    vocabulary: OnceLock<Vocabulary<'static>>,
}

impl fmt::Debug for RuleTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleTexts")
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug)]
struct LineRange {
    number: u32,
    begin: u32,
    end: u32,
}

impl RuleTexts {
    pub fn of(sources: &SourceMap) -> RuleTexts {
        let mut all = RuleTexts::default();
        for (_, file) in sources.files() {
            let mut lines = Vec::new();
            for (number, line) in (1..).zip(file.text.split(|byte| *byte == b'\n')) {
                if is_rule(line) && !all.keep(number, line, &mut lines) {
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
        let line = line.trim_ascii();
        let kept = &line[..line.len().min(LINE_BYTES_MAX)];
        let has_room = self.text.len() + kept.len() <= BYTES_MAX;
        self.is_cut |= !has_room || kept.len() < line.len();
        if !has_room {
            return false;
        }
        let begin = self.text.len() as u32;
        self.text.extend_from_slice(kept);
        lines.push(LineRange {
            number,
            begin,
            end: self.text.len() as u32,
        });
        true
    }

    fn vocabulary(&self) -> &Vocabulary<'static> {
        self.vocabulary.get_or_init(|| {
            let lines = self.files.iter().flat_map(|(_, lines)| lines);
            let texts = lines.map(|line| self.line(line));
            let mut found = vocabulary().for_texts(texts).into_owned();
            if self.is_cut {
                found.uses.set_incomplete();
            }
            found
        })
    }

    pub fn uses(&self) -> &SecretUses {
        &self.vocabulary().uses
    }

    fn line(&self, line: &LineRange) -> &[u8] {
        let range = line.begin as usize..line.end as usize;
        self.text.get(range).unwrap_or_default()
    }

    /// Returns the text of a line of a file, with secrets masked.
    pub fn get(&self, file: &str, number: u32) -> Option<String> {
        let (_, lines) = self.files.iter().find(|(name, _)| **name == *file)?;
        let at = lines.binary_search_by_key(&number, |line| line.number);
        let line = mask_secrets(self.line(lines.get(at.ok()?)?), self.vocabulary());
        let line = String::from_utf8_lossy(&line);
        let mut shown = String::new();
        for word in line.split_whitespace() {
            if !shown.is_empty() {
                shown.push(' ');
            }
            shown.push_str(word);
            if shown.len() > SHOWN_BYTES_MAX {
                shown.truncate(language::truncated(&shown, SHOWN_BYTES_MAX).len());
                shown.push('…');
                break;
            }
        }
        Some(shown)
    }
}

/// Returns whether a line is a rule (with or without `on NODE …`), or uses an environment
/// variable, which can be a secret because of this use.
fn is_rule(line: &[u8]) -> bool {
    if line.contains(&b'$') {
        return true;
    }
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
        RuleTexts::of(&sources)
    }

    #[test]
    fn rules_are_found_by_their_lines_with_secrets_covered() {
        let all = texts(
            "frontend a\n bind :80\n  http-request   deny if { path /x }\n on alpha use_backend b # why\n \
             http-request set-header Authorization SECRET\n server a 127.0.0.1:1\n",
        );
        assert_eq!(
            all.get("a.cfg", 3),
            Some("http-request deny if { path /x }".to_owned())
        );
        let kept = Some("on alpha use_backend b # why".to_owned());
        assert_eq!(all.get("a.cfg", 4), kept);
        let masked = Some("http-request set-header Authorization ***".to_owned());
        assert_eq!(all.get("a.cfg", 5), masked);
        assert!(!format!("{all:?}").contains("SECRET"));
        for (file, line) in [("a.cfg", 2), ("a.cfg", 6), ("a.cfg", 99), ("b.cfg", 3)] {
            assert_eq!(all.get(file, line), None);
        }
    }

    #[test]
    fn secrets_are_followed_through_all_kept_lines() {
        let all = texts(
            "global\n set-var-fmt proc.k MARK\nfrontend a\n http-request set-header X-Tmp MARK\n \
             http-request set-header X-Key %[req.hdr(x-tmp)]%[var(proc.k)]%[env(PLAIN)]\n",
        );
        let shown = all.get("a.cfg", 4);
        assert_eq!(shown, Some("http-request set-header X-Tmp ***".to_owned()));
        let uses = all.uses();
        assert!(uses.are_in_variable("proc.k") && uses.are_in_environment("PLAIN"));
        assert!(!uses.are_in_variable("proc.x") && !uses.are_in_environment("HOME"));
        let long = "x".repeat(LINE_BYTES_MAX);
        let all = texts(&format!("frontend a\n http-request deny if {long}\n"));
        assert!(all.uses().are_in_variable("proc.x"));
    }

    #[test]
    fn long_lines_are_cut_and_all_of_them_are_bounded() {
        let long = format!(
            "http-request deny if {{ path {} }}\n",
            "\u{e4}".repeat(2_000)
        );
        let all = texts(&long.repeat(20_000));
        let first = all.get("a.cfg", 1).unwrap();
        assert!(first.len() <= SHOWN_BYTES_MAX + '…'.len_utf8() && first.ends_with('…'));
        assert!(all.text.len() <= BYTES_MAX && all.text.len() > BYTES_MAX / 2);
        assert_eq!(all.get("a.cfg", 20_000), None);
        assert!(all.get("a.cfg", 1_000).is_some());
    }
}
