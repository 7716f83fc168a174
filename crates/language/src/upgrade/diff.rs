//! Two texts line by line, in the form that `patch` takes.

use crate::difference::order;
use std::fmt::Write;

/// Lines shown around a change.
const CONTEXT: usize = 3;

/// The difference between two texts of a file; nothing where there is none.
pub fn unified(name: &str, old: &[u8], new: &[u8]) -> String {
    let (old, new) = (lines(old), lines(new));
    let changes = changes(&old, &new);
    let mut out = String::new();
    let mut at = 0;
    while let Some(first) = changes.get(at) {
        if out.is_empty() {
            let _ = writeln!(out, "--- {name}\n+++ {name}");
        }
        // Changes near each other stand in one piece.
        let mut last = at;
        while let Some(next) = changes.get(last + 1) {
            if next.old.0 - changes[last].old.1 > 2 * CONTEXT {
                break;
            }
            last += 1;
        }
        piece(
            &mut out,
            &old,
            &new,
            &changes[at..=last],
            first.old.0.saturating_sub(CONTEXT),
        );
        at = last + 1;
    }
    out
}

/// Lines `old.0..old.1` became `new.0..new.1`.
struct Change {
    old: (usize, usize),
    new: (usize, usize),
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    if text.is_empty() || text.ends_with(b"\n") {
        lines.pop();
    }
    lines
}

fn changes(old: &[&[u8]], new: &[&[u8]]) -> Vec<Change> {
    let places = order::pair(old, new);
    let mut changes = Vec::new();
    let (mut old_at, mut new_at) = (0, 0);
    let stays = places.partners.iter().zip(&places.moved).enumerate();
    let stays =
        stays.filter_map(|(at, (partner, moved))| Some((at, (*partner)?)).filter(|_| !moved));
    for (new_line, old_line) in stays.chain([(new.len(), old.len())]) {
        if old_line > old_at || new_line > new_at {
            changes.push(Change {
                old: (old_at, old_line),
                new: (new_at, new_line),
            });
        }
        (old_at, new_at) = (old_line + 1, new_line + 1);
    }
    changes
}

fn piece(out: &mut String, old: &[&[u8]], new: &[&[u8]], changes: &[Change], from: usize) {
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
        return;
    };
    let to = (last.old.1 + CONTEXT).min(old.len());
    let new_from = first.new.0 - (first.old.0 - from);
    let new_to = last.new.1 + (to - last.old.1);
    // An empty range is named by the line before it.
    let range = |from: usize, to: usize| match to - from {
        0 => format!("{from},0"),
        1 => format!("{}", from + 1),
        count => format!("{},{count}", from + 1),
    };
    let _ = writeln!(
        out,
        "@@ -{} +{} @@",
        range(from, to),
        range(new_from, new_to)
    );
    let mut write = |sign: char, lines: &[&[u8]]| {
        for line in lines {
            let _ = writeln!(out, "{sign}{}", String::from_utf8_lossy(line));
        }
    };
    let mut at = from;
    for change in changes {
        write(' ', &old[at..change.old.0]);
        write('-', &old[change.old.0..change.old.1]);
        write('+', &new[change.new.0..change.new.1]);
        at = change.old.1;
    }
    write(' ', &old[at..to]);
}
