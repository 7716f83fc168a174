//! Restores masked secrets in an edited copy of a text, where the copy still shows that they belong
//! to one original line.

use super::difference::{lines, origins};
use language::difference::{COVER, Vocabulary, mask_secrets};
use std::collections::{BTreeMap, BTreeSet};

/// Restores the secrets that an edited copy of `original` still has covered. The lines of the
/// result end with CRLF if any line of the original does.
///
/// # Errors
/// Returns the numbers, from 1, of the lines whose secrets must be written out: a covered line was
/// changed, or could be one of several original lines.
pub fn uncovered(
    original: &[u8],
    edited: &str,
    vocabulary: &Vocabulary<'_>,
) -> Result<Vec<u8>, Vec<usize>> {
    let shown = mask_secrets(original, vocabulary);
    let (olds, shown) = (lines(original), lines(&shown));
    let olds: Vec<&[u8]> = olds.into_iter().map(without_return).collect();
    let shown: Vec<&[u8]> = shown.into_iter().map(without_return).collect();
    let news: Vec<&[u8]> = lines(edited.as_bytes())
        .into_iter()
        .map(without_return)
        .collect();
    let hidden = Hidden::of(&olds, &shown, &news);
    let stood = origins(&shown, &news);
    let end: &[u8] = if original.windows(2).any(|two| two == b"\r\n") {
        b"\r\n"
    } else {
        b"\n"
    };
    let (mut out, mut wrong) = (Vec::new(), Vec::new());
    for (at, (new, stood)) in news.iter().zip(stood).enumerate() {
        let same = stood.and_then(|at| olds.get(at)).copied();
        match hidden.line(new, same) {
            Some(old) => out.extend_from_slice(old),
            None if has_cover(new) => wrong.push(at + 1),
            None => out.extend_from_slice(new),
        }
        if at + 1 < news.len() || edited.ends_with('\n') {
            out.extend_from_slice(end);
        }
    }
    if wrong.is_empty() {
        Ok(out)
    } else {
        Err(wrong)
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Returns whether a line has a covered secret before its comment. A covered secret
/// looks the same as a literal cover in the line.
fn has_cover(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    text.split('#').next().unwrap_or_default().contains(COVER)
}

/// Lines with secrets, by their visible form.
struct Hidden<'t> {
    known: BTreeMap<&'t [u8], OriginalLines<'t>>,
    open: BTreeSet<&'t [u8]>,
}

struct OriginalLines<'t> {
    first: &'t [u8],
    /// True if lines with other secrets look the same when the secrets are masked.
    is_ambiguous: bool,
    /// True if the edited copy has as many of these lines as the original.
    is_complete: bool,
}

impl<'t> Hidden<'t> {
    fn of(olds: &[&'t [u8]], shown: &[&'t [u8]], news: &[&[u8]]) -> Hidden<'t> {
        let mut known: BTreeMap<&[u8], OriginalLines<'_>> = BTreeMap::new();
        let mut counts: BTreeMap<&[u8], usize> = BTreeMap::new();
        for (old, shown) in olds.iter().zip(shown).filter(|(old, shown)| old != shown) {
            let one = known.entry(shown).or_insert(OriginalLines {
                first: old,
                is_ambiguous: false,
                is_complete: true,
            });
            one.is_ambiguous |= one.first != *old;
            *counts.entry(shown).or_default() += 1;
        }
        for (shown, one) in &mut known {
            let in_copy = news.iter().filter(|new| *new == shown).count();
            one.is_complete = counts.get(shown) == Some(&in_copy);
        }
        let open = olds.iter().zip(shown).filter(|(old, shown)| old == shown);
        Hidden {
            known,
            open: open.map(|(old, _)| *old).collect(),
        }
    }

    /// Returns the original line of a line of the copy; `same` is the original line at
    /// its position.
    fn line(&self, new: &[u8], same: Option<&'t [u8]>) -> Option<&'t [u8]> {
        match self.known.get(new) {
            // A line without a masked secret is the original line at its position, or an equal one
            // that was moved.
            None => same.or_else(|| self.open.get(new).copied()),
            Some(known) if !known.is_ambiguous => Some(known.first),
            Some(known) => same.filter(|_| known.is_complete),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(original: &str, edited: &str) -> Result<String, Vec<usize>> {
        let vocabulary = Vocabulary {
            secrets: vec!["password", "auth"],
            ..Vocabulary::default()
        };
        let bytes = uncovered(original.as_bytes(), edited, &vocabulary)?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    const TEXT: &str = "a\n  user x password ONE\n  user y password TWO # *** \nb *** c\nd\n";

    #[test]
    fn a_copy_with_other_lines_has_the_secrets_of_the_original() {
        let shown = "a\n  user x password ***\n  user y password *** # *** \nb *** c\nd\n";
        assert_eq!(restored(TEXT, shown).unwrap(), TEXT);
        let edited = shown.replace("d\n", "e\nf # ***").replace("a\n", "");
        let expected = TEXT.replace("d\n", "e\nf # ***").replace("a\n", "");
        assert_eq!(restored(TEXT, &edited).unwrap(), expected);
        // A line that moved is still the same one.
        let moved = "  user y password *** # *** \na\n  user x password ***\n";
        let expected = "  user y password TWO # *** \na\n  user x password ONE\n";
        assert_eq!(restored(TEXT, moved).unwrap(), expected);
    }

    #[test]
    fn masked_secret_of_a_changed_line_must_be_written() {
        let edited = "a\n  user z password ***\n  user y password NEW\n  user n password ***\n";
        assert_eq!(restored(TEXT, edited), Err(vec![2, 4]));
        // A cover in a line that had no secret is refused, too.
        assert_eq!(restored(TEXT, "a\n  user x ***\n"), Err(vec![2]));
    }

    #[test]
    fn ambiguous_masked_secrets_are_not_guessed() {
        let text = "one\n  auth a:ONE\ntwo\n  auth a:TWO\n";
        let shown = "one\n  auth ***\ntwo\n  auth ***\n";
        assert_eq!(restored(text, shown).unwrap(), text);
        let with_more = "zero\none\n  auth ***\ntwo\n  auth ***\nthree\n";
        let expected = "zero\none\n  auth a:ONE\ntwo\n  auth a:TWO\nthree\n";
        assert_eq!(restored(text, with_more).unwrap(), expected);
        assert_eq!(restored(text, "one\n  auth ***\n"), Err(vec![2]));
        let swapped = restored(text, "two\n  auth ***\none\n  auth ***\n");
        assert!(swapped.is_err(), "{swapped:?}");
        let same = "one\n  auth a:ONE\ntwo\n  auth a:ONE\n";
        assert_eq!(
            restored(same, "two\n  auth ***\n").unwrap(),
            "two\n  auth a:ONE\n"
        );
    }

    #[test]
    fn lines_end_as_they_did() {
        let text = "a\r\n  auth ONE\r\n";
        let shown = "a\r\n  auth ***\r\nb\r\n";
        assert_eq!(restored(text, shown).unwrap(), "a\r\n  auth ONE\r\nb\r\n");
        // A browser ends lines with a carriage return.
        assert_eq!(restored("a\nb\n", "a\r\nc\r\n").unwrap(), "a\nc\n");
        assert_eq!(restored("a", "a").unwrap(), "a");
        assert_eq!(restored("", "").unwrap(), "");
        assert_eq!(restored("a\n", "").unwrap(), "");
    }
}
