//! Pairs removed and added lines that are one changed line, and finds how their words differ.

use super::lines::DiffLine;
use super::{Vocabulary, secret};
use similar::DiffTag;
use std::collections::HashMap;

/// Returns the removed line that each added line replaces. Lines are paired in order when their
/// first two words are equal (`server web1 …`). Otherwise they are paired when they are the only
/// ones that begin with their word and contain only a value (`maxconn 100`).
pub(super) fn partners(removed: &[&DiffLine], added: &[&DiffLine]) -> Vec<Option<usize>> {
    let mut pairs = vec![None; added.len()];
    let mut taken = vec![false; removed.len()];
    for words in [2, 1] {
        let mut free: HashMap<&[Vec<u8>], Vec<usize>> = HashMap::new();
        let mut wanting: HashMap<&[Vec<u8>], usize> = HashMap::new();
        for (at, line) in removed
            .iter()
            .enumerate()
            .rev()
            .filter(|(at, _)| !taken[*at])
        {
            if let Some(head) = line.words.get(..words) {
                free.entry(head).or_default().push(at);
            }
        }
        for (line, _) in added.iter().zip(&pairs).filter(|(_, pair)| pair.is_none()) {
            if let Some(head) = line.words.get(..words) {
                *wanting.entry(head).or_default() += 1;
            }
        }
        for (line, pair) in added.iter().zip(&mut pairs).filter(|(_, p)| p.is_none()) {
            let Some(head) = line.words.get(..words) else {
                continue;
            };
            let Some(candidates) = free.get_mut(head) else {
                continue;
            };
            let value = |line: &DiffLine| line.words.len() <= 2;
            let only = |at: &usize| value(line) && value(removed[*at]);
            if words == 1
                && !(candidates.len() == 1
                    && wanting.get(head) == Some(&1)
                    && candidates.iter().all(only))
            {
                continue;
            }
            *pair = candidates.pop();
            if let Some(at) = *pair {
                taken[at] = true;
            }
        }
    }
    pairs
}

pub(super) fn displayed_word(bytes: &[u8]) -> String {
    // Removes the NUL before the `$` of a variable, which only serves the comparison.
    let bytes: Vec<u8> = bytes.iter().copied().filter(|b| *b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Maximum words of a line that are compared. A line never has more ([`crate::reader::WORDS_MAX`]).
const WORDS_COMPARED_MAX: usize = crate::reader::WORDS_MAX;

/// Returns a line and its change: `server web1 10.0.0.1:80 → 10.0.0.2:80, weight 1 → 2`.
pub(super) fn change(old: &DiffLine, new: &DiffLine, vocabulary: &Vocabulary<'_>) -> String {
    let (before, after) = (
        secret::words(old, vocabulary),
        secret::words(new, vocabulary),
    );
    let steps = steps(&old.words, &new.words);
    let head = old
        .words
        .iter()
        .zip(&new.words)
        .take(2)
        .take_while(|(old, new)| old == new)
        .count();
    let mut parts: Vec<String> = Vec::new();
    for (removed, added) in &steps {
        let was = before.get(removed.clone()).unwrap_or_default().join(" ");
        let is = after.get(added.clone()).unwrap_or_default().join(" ");
        // Adds the previous word as the name of the value, unless the head includes that word.
        let name = match added.start.checked_sub(1) {
            Some(at) if at >= head => after.get(at).map(|word| format!("{word} ")),
            _ => None,
        };
        parts.push(match (removed.is_empty(), added.is_empty()) {
            (true, _) => format!("with {is}"),
            (_, true) => format!("without {was}"),
            _ => format!("{}{was} → {is}", name.unwrap_or_default()),
        });
    }
    if old.conditions != new.conditions {
        parts.push(if new.conditions.is_empty() {
            "no longer under a condition".to_owned()
        } else {
            format!("under {}", displayed_word(&new.conditions))
        });
    } else if let Some(last) = parts.last_mut() {
        *last = secret::under(new, std::mem::take(last));
    }
    let mut text = after.get(..head).unwrap_or_default().join(" ");
    if !text.is_empty() {
        text.push(' ');
    }
    text + &parts.join(", ")
}

type WordRange = std::ops::Range<usize>;

fn steps(old: &[Vec<u8>], new: &[Vec<u8>]) -> Vec<(WordRange, WordRange)> {
    let some = |words: &[Vec<u8>]| words.len().min(WORDS_COMPARED_MAX);
    let (old, new) = (&old[..some(old)], &new[..some(new)]);
    let steps = similar::capture_diff_slices(similar::Algorithm::Myers, old, new);
    let differs = steps.iter().filter(|step| step.tag() != DiffTag::Equal);
    let runs = differs.map(|step| (step.old_range(), step.new_range()));
    runs.collect()
}
