//! Finds the files of an `include` line: expands wildcards and braces in its name, and decides
//! which missing files are errors.

use super::outside::Outside;
use std::path::{Path, PathBuf};

/// Maximum number of names that braces expand to.
const NAMES_MAX: usize = 1024;

/// Conditions that are errors in an include, as set by `include_check`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct IncludeChecks {
    /// True if an unreadable file is an error.
    pub(super) readable: bool,
    /// True if a plain name that matches no file is an error.
    pub(super) found: bool,
    /// True if a name with wildcards that matches no file is an error.
    pub(super) wildcard: bool,
    /// True if a name from a brace expansion that matches no file is an error.
    pub(super) brace: bool,
}

impl IncludeChecks {
    const ALL: IncludeChecks = IncludeChecks {
        readable: true,
        found: true,
        wildcard: true,
        brace: true,
    };

    /// Returns the union of both.
    pub(super) fn with(self, more: IncludeChecks) -> IncludeChecks {
        IncludeChecks {
            readable: self.readable || more.readable,
            found: self.found || more.found,
            wildcard: self.wildcard || more.wildcard,
            brace: self.brace || more.brace,
        }
    }

    /// Applies the words of an `include_check` line. Plain words replace all checks, words with `+`
    /// and `-` change single ones, and a line without words enables all.
    pub(super) fn change(&mut self, words: &[&str]) {
        if words.is_empty() {
            *self = IncludeChecks::ALL;
        }
        if words.first().is_some_and(|w| !w.starts_with(['+', '-'])) {
            *self = IncludeChecks::default();
        }
        for word in words {
            let on = !word.starts_with('-');
            match word.trim_start_matches(['+', '-']) {
                "readable" => self.readable = on,
                "match" => self.found = on,
                "wildcard_match" => self.wildcard = on,
                "brace_match" => self.brace = on,
                _ => {}
            }
        }
        self.readable |= self.found || self.wildcard || self.brace;
    }

    /// Returns whether the result of a match is an error.
    pub(super) fn refuses(self, found: &MatchedFiles) -> bool {
        (!found.missing.is_empty() && self.brace)
            || (found.paths.is_empty() && (self.wildcard || self.found && !found.wild))
    }
}

/// Returns the checks that `include` or a variant of it adds; None for another word.
pub(super) fn variant(word: &str) -> Option<IncludeChecks> {
    let none = IncludeChecks::default();
    let readable = IncludeChecks {
        readable: true,
        ..none
    };
    Some(match word {
        "include" => none,
        "includer" => readable,
        "includem" => IncludeChecks {
            found: true,
            ..readable
        },
        "includew" => IncludeChecks {
            wildcard: true,
            found: true,
            ..readable
        },
        "includeb" => IncludeChecks {
            brace: true,
            ..readable
        },
        "includea" => IncludeChecks::ALL,
        _ => return None,
    })
}

pub(super) fn unquoted(text: &str) -> String {
    let text = text.trim();
    for quote in ['"', '\''] {
        let inside = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote));
        if let Some(inside) = inside {
            return inside.to_owned();
        }
    }
    text.to_owned()
}

/// Files that the name in an `include` line matches.
#[derive(Debug, Default)]
pub(super) struct MatchedFiles {
    pub(super) paths: Vec<PathBuf>,
    /// Missing files: included paths without wildcards that do not exist.
    pub(super) missing: Vec<PathBuf>,
    /// True if the name contained a wildcard.
    pub(super) wild: bool,
}

/// Returns the files that a name matches, relative to the directory of the including file.
pub(super) fn expand(directory: &Path, written: &str, outside: &mut dyn Outside) -> MatchedFiles {
    let mut found = MatchedFiles::default();
    for name in braces(written) {
        let wild = name.contains(['*', '?', '[']);
        found.wild |= wild;
        let path = directory.join(&name);
        if !wild {
            match outside.read(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    found.missing.push(path);
                }
                _ => found.paths.push(path),
            }
            continue;
        }
        found.paths.extend(matching(&path, outside));
    }
    found
}

/// Returns the paths that a path with wildcards matches, sorted.
fn matching(pattern: &Path, outside: &mut dyn Outside) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    let mut parts = pattern.components().peekable();
    while let Some(part) = parts.next() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?', '[']) {
            paths.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let last = parts.peek().is_none();
        let mut next = Vec::new();
        for path in paths {
            let here = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &path
            };
            for entry in outside.list(here).unwrap_or_default() {
                let hidden = entry.starts_with('.') && !name.starts_with('.');
                if !hidden && wild(name.as_bytes(), entry.as_bytes()) && next.len() < NAMES_MAX {
                    next.push(path.join(&entry));
                }
            }
        }
        paths = next;
        // Drops directories, which cannot be included.
        if last {
            paths.retain(|path| outside.list(path).is_err());
        }
    }
    paths
}

/// Returns whether a name matches `*`, `?`, `[a-z]`. Time grows at most with the product of both
/// lengths, because only the last star is ever revisited.
fn wild(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(b'[') => class(&pattern[p..], name[n]),
            Some(b'?') => Some(1),
            Some(b'\\') => (pattern.get(p + 1) == Some(&name[n])).then_some(2),
            Some(byte) => (*byte == name[n]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(width), _) => {
                p += width;
                n += 1;
            }
            (None, Some((after, from))) => {
                star = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|b| *b == b'*')
}

/// Returns the length of the character class at the start of `pattern`, or None if the class does
/// not contain the byte.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let not = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = 1 + usize::from(not);
    let close = pattern.iter().skip(start + 1).position(|b| *b == b']')? + start + 1;
    let inside = &pattern[start..close];
    let mut holds = false;
    let mut at = 0;
    while at < inside.len() {
        match (inside.get(at + 1), inside.get(at + 2)) {
            (Some(b'-'), Some(end)) => {
                holds |= (inside[at]..=*end).contains(&byte);
                at += 3;
            }
            _ => {
                holds |= inside[at] == byte;
                at += 1;
            }
        }
    }
    (holds != not).then_some(close + 1)
}

/// Expands braces such as `{a,b{c,d}}` to all names.
fn braces(name: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut work = vec![name.to_owned()];
    while let Some(name) = work.pop() {
        if done.len() + work.len() >= NAMES_MAX {
            break;
        }
        match group(&name) {
            None => done.push(name),
            Some((open, close, parts)) => {
                let (before, after) = (&name[..open], &name[close + 1..]);
                for part in parts.iter().rev() {
                    work.push(format!("{before}{part}{after}"));
                }
            }
        }
    }
    done
}

/// Finds the first group of braces: its ends and its parts.
fn group(name: &str) -> Option<(usize, usize, Vec<&str>)> {
    let open = name.find('{')?;
    let mut depth = 0_usize;
    let mut start = open + 1;
    let mut parts = Vec::new();
    for (at, byte) in name.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b',' if depth == 1 => {
                parts.push(&name[start..at]);
                start = at + 1;
            }
            b'}' if depth == 1 => {
                parts.push(&name[start..at]);
                return Some((open, at, parts));
            }
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_the_shell_does() {
        for (pattern, name, matches) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.cfg", false),
            ("a?c", "abc", true),
            ("a[b-d]c", "acc", true),
            ("a[!b-d]c", "acc", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("[", "[", false),
            ("a\\*", "a*", true),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(
                wild(pattern.as_bytes(), name.as_bytes()),
                matches,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!wild(pattern.as_bytes(), "a".repeat(20_000).as_bytes()));
    }

    #[test]
    fn braces_make_names() {
        assert_eq!(
            braces("{foo/{,cat,dog},bar}"),
            ["foo/", "foo/cat", "foo/dog", "bar"]
        );
        assert_eq!(braces("a{b"), ["a{b"]);
        assert!(braces(&"{a,b}".repeat(40)).len() <= NAMES_MAX);
    }

    #[test]
    fn include_check_adds_and_takes_away() {
        let mut checks = IncludeChecks::default();
        checks.change(&["+match", "-wildcard_match"]);
        assert!(checks.found && checks.readable && !checks.wildcard);
        checks.change(&[]);
        assert_eq!(checks, IncludeChecks::ALL);
        checks.change(&["readable"]);
        assert!(checks.readable && !checks.found);
    }
}
