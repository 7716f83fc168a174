//! Compares two texts line by line, and prints the differences in the format that `patch`
//! accepts.

use similar::TextDiff;

/// Returns the difference between two texts of a file; empty if there is none.
pub fn unified(name: &str, old: &[u8], new: &[u8]) -> String {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let (old, new) = (lines(&old), lines(&new));
    let mut how = TextDiff::configure();
    let difference = how.newline_terminated(true).diff_slices(&old, &new);
    let mut shown = difference.unified_diff();
    let shown = shown.header(name, name).missing_newline_hint(false);
    shown.to_string()
}

fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    if text.is_empty() || text.ends_with('\n') {
        lines.pop();
    }
    lines
}
