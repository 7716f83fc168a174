//! Computes the differences between two configuration versions, file by file, and formats them like
//! `diff -u`. Secrets appear only in their masked form.

use super::mask::{FileMask, Mask, MaskedFile};
use crate::file_set::{FileSet, SetFile};
use language::render::visible;
use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

const CONTEXT: usize = 3;
/// Time spent on finding the smallest difference of two files. A larger difference is
/// used afterwards.
const SEARCH_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FileDifference {
    pub path: String,
    pub change: FileChange,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileChange {
    /// Added; with a description if the content is not shown.
    New {
        lines: String,
        told: Option<String>,
    },
    Gone,
    /// Changed lines, in the format of `patch`.
    Lines {
        lines: String,
    },
    /// The file changed, and its content is not shown.
    Told {
        before: String,
        after: String,
    },
    /// Only the permissions, or the way in which the file is read, changed.
    Kept {
        words: String,
    },
}

/// Compares two versions: the files of the command line first, then the others by
/// their paths.
pub fn between(old: &FileSet, new: &FileSet, mask: &Mask<'_>) -> Vec<FileDifference> {
    // A file that is a secret in one of the versions is masked in both.
    let mask = &mask.of(old.files.iter().chain(&new.files));
    let by_path = |set: &'_ FileSet| -> BTreeMap<String, usize> {
        let files = set.files.iter().enumerate();
        files.map(|(at, file)| (file.path.clone(), at)).collect()
    };
    let (olds, news) = (by_path(old), by_path(new));
    let file = |set: &'_ FileSet, all: &BTreeMap<String, usize>, path: &str| {
        all.get(path).and_then(|at| set.files.get(*at)).cloned()
    };
    let mut paths: Vec<(bool, &String)> = Vec::new();
    for (path, at) in &news {
        let main = new.files.get(*at).is_some_and(|file| file.main);
        paths.push((!main, path));
    }
    for (path, at) in olds.iter().filter(|(path, _)| !news.contains_key(*path)) {
        let main = old.files.get(*at).is_some_and(|file| file.main);
        paths.push((!main, path));
    }
    paths.sort();
    let change = |path: &String| match (file(old, &olds, path), file(new, &news, path)) {
        (Some(before), Some(after)) => changed(&before, &after, mask),
        (None, Some(after)) => Some(new_file(&after, mask)),
        (Some(_), None) => Some(FileChange::Gone),
        (None, None) => None,
    };
    let all = paths.into_iter().filter_map(|(_, path)| {
        let change = change(path)?;
        let path = path.clone();
        Some(FileDifference { path, change })
    });
    all.collect()
}

fn new_file(file: &SetFile, mask: &FileMask<'_>) -> FileChange {
    match mask.seen(file) {
        MaskedFile::Description(words) => FileChange::New {
            lines: String::new(),
            told: Some(words),
        },
        MaskedFile::Text(seen) => FileChange::New {
            lines: pieces(&[], &file.bytes, &[], &seen),
            told: None,
        },
    }
}

fn changed(before: &SetFile, after: &SetFile, mask: &FileMask<'_>) -> Option<FileChange> {
    if before.bytes == after.bytes {
        let words = match (before.main, after.main) {
            (true, false) => "no longer a configuration file".to_owned(),
            (false, true) => "now a configuration file".to_owned(),
            _ if before.mode != after.mode => {
                format!(
                    "mode changed from {:04o} to {:04o}",
                    before.mode, after.mode
                )
            }
            _ => return None,
        };
        return Some(FileChange::Kept { words });
    }
    Some(match (mask.seen(before), mask.seen(after)) {
        (MaskedFile::Text(old_seen), MaskedFile::Text(new_seen)) => FileChange::Lines {
            lines: pieces(&before.bytes, &after.bytes, &old_seen, &new_seen),
        },
        (before, after) => FileChange::Told {
            before: words(before),
            after: words(after),
        },
    })
}

fn words(seen: MaskedFile) -> String {
    match seen {
        MaskedFile::Description(words) => words,
        MaskedFile::Text(text) => format!("a text of {} lines", lines(&text).len()),
    }
}

pub fn unified(differences: &[FileDifference]) -> String {
    let mut out = String::new();
    for difference in differences {
        let path = &difference.path;
        let written = match &difference.change {
            FileChange::New { lines, told: None } => {
                write!(out, "--- /dev/null\n+++ {path}\n{lines}")
            }
            FileChange::New {
                told: Some(told), ..
            } => writeln!(out, "{path} is new: {told}"),
            FileChange::Gone => writeln!(out, "{path} was removed"),
            FileChange::Lines { lines } => write!(out, "--- {path}\n+++ {path}\n{lines}"),
            FileChange::Told { before, after } if before == after => {
                writeln!(out, "{path} changed; before and after: {after}")
            }
            FileChange::Told { before, after } => {
                writeln!(out, "{path} changed from {before} to {after}")
            }
            FileChange::Kept { words } => writeln!(out, "{path}: {words}"),
        };
        // Writing to memory cannot fail.
        debug_assert!(written.is_ok());
    }
    out
}

pub(super) fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    if text.is_empty() || text.ends_with(b"\n") {
        lines.pop();
    }
    lines
}

fn operations(old: &[&[u8]], new: &[&[u8]]) -> Vec<DiffOp> {
    let deadline = Instant::now().checked_add(SEARCH_LIMIT);
    capture_diff_slices_deadline(Algorithm::Patience, old, new, deadline)
}

/// Returns for each line of one text its position in an older one, if it was there.
pub(super) fn origins(old: &[&[u8]], new: &[&[u8]]) -> Vec<Option<usize>> {
    let mut stood = vec![None; new.len()];
    for operation in operations(old, new) {
        if let DiffOp::Equal {
            old_index,
            new_index,
            len,
        } = operation
        {
            let places = stood.iter_mut().skip(new_index).take(len);
            for (place, at) in places.zip(old_index..) {
                *place = Some(at);
            }
        }
    }
    stood
}

/// Returns the hunks of a difference. The difference is computed from the real texts and shown with
/// the masked ones, so that a secret that changed appears as a changed line.
fn pieces(old: &[u8], new: &[u8], old_seen: &[u8], new_seen: &[u8]) -> String {
    let texts = Texts {
        old: lines(old),
        new: lines(new),
        old_seen: lines(old_seen),
        new_seen: lines(new_seen),
        old_ends: old.is_empty() || old.ends_with(b"\n"),
        new_ends: new.is_empty() || new.ends_with(b"\n"),
    };
    let operations = operations(&texts.old, &texts.new);
    let mut out = String::new();
    for group in group_diff_ops(operations, CONTEXT) {
        texts.group(&group, &mut out);
    }
    if out.is_empty() && texts.old_ends != texts.new_ends {
        out.push_str("\\ only the line end of the last line changed\n");
    }
    out
}

struct Texts<'t> {
    old: Vec<&'t [u8]>,
    new: Vec<&'t [u8]>,
    old_seen: Vec<&'t [u8]>,
    new_seen: Vec<&'t [u8]>,
    old_ends: bool,
    new_ends: bool,
}

impl Texts<'_> {
    fn group(&self, group: &[DiffOp], out: &mut String) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return;
        };
        // An empty range is given by the line before it.
        let range = |from: usize, to: usize| match to - from {
            0 => format!("{from},0"),
            1 => format!("{}", from + 1),
            count => format!("{},{count}", from + 1),
        };
        let old = range(first.old_range().start, last.old_range().end);
        let new = range(first.new_range().start, last.new_range().end);
        out.push_str(&format!("@@ -{old} +{new} @@\n"));
        for operation in group {
            let (old, new) = (operation.old_range(), operation.new_range());
            if let DiffOp::Equal { .. } = operation {
                new.for_each(|at| self.line(' ', &self.new_seen, at, self.new_ends, out));
                continue;
            }
            let hidden = old.clone().zip(new.clone()).any(|(old, new)| {
                let seen = self.old_seen.get(old) == self.new_seen.get(new);
                seen && self.old.get(old) != self.new.get(new)
            });
            old.for_each(|at| self.line('-', &self.old_seen, at, self.old_ends, out));
            new.for_each(|at| self.line('+', &self.new_seen, at, self.new_ends, out));
            if hidden {
                out.push_str("\\ a secret changed (not shown)\n");
            }
        }
    }

    fn line(&self, sign: char, seen: &[&[u8]], at: usize, ends: bool, out: &mut String) {
        let text = seen.get(at).copied().unwrap_or_default();
        let text = String::from_utf8_lossy(text);
        out.push(sign);
        for (n, part) in text.trim_end_matches('\r').split('\t').enumerate() {
            out.push_str(if n > 0 { "\t" } else { "" });
            out.push_str(&visible(part));
        }
        out.push('\n');
        if at + 1 == seen.len() && !ends {
            out.push_str("\\ No newline at end of file\n");
        }
    }
}
