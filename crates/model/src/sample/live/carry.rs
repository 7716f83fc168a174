//! Keeps the changes that operators and rules made to lists and maps when the configuration or the
//! serving process is replaced. If the file of a list has changed, too, these changes take
//! precedence for the keys concerned. A message reports the differences beforehand, so that nothing
//! is lost silently.

use super::entries::Entries;
use super::{Entry, List, Lists};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Maximum number of lists that a message names; further ones are only counted.
const NAMED_MAX: usize = 10;
/// Advice for operators who want the content of the files instead.
const RESET: &str = "`evenkeel reload --reset-runtime` loads the file";

/// Number of changes that were made at run time to the keys of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Count {
    added: usize,
    removed: usize,
    changed: usize,
}

impl Count {
    fn words(self) -> Option<String> {
        let mut words = String::new();
        for (number, what) in [
            (self.added, "added"),
            (self.removed, "removed"),
            (self.changed, "changed"),
        ] {
            if number > 0 {
                let comma = if words.is_empty() { "" } else { ", " };
                // Writing to a string cannot fail.
                let _ = write!(words, "{comma}{number} {what}");
            }
        }
        (!words.is_empty()).then_some(words)
    }
}

type Values<'l> = Vec<Option<&'l [u8]>>;

fn by_key<'l>(entries: impl Iterator<Item = &'l Entry>) -> HashMap<&'l [u8], Values<'l>> {
    let mut all: HashMap<&[u8], Values<'_>> = HashMap::new();
    for entry in entries {
        let values = all.entry(&entry.key).or_default();
        values.push(entry.value.as_deref());
    }
    all
}

/// Returns the keys of a list whose entries differ from its file, and the number of changes.
fn touched(list: &List) -> (HashSet<&[u8]>, Count) {
    let (base, now) = (by_key(list.base.iter()), by_key(list.entries()));
    let (mut keys, mut count) = (HashSet::new(), Count::default());
    for (key, values) in &now {
        match base.get(key) {
            None => count.added += 1,
            Some(before) if before != values => count.changed += 1,
            Some(_) => continue,
        }
        keys.insert(*key);
    }
    for key in base.keys().filter(|key| !now.contains_key(*key)) {
        count.removed += 1;
        keys.insert(*key);
    }
    (keys, count)
}

/// Key, and the values of its entries in order.
pub type KeyChange = (Box<[u8]>, Vec<Option<Box<[u8]>>>);

/// Changes that were made at run time to a list whose entries come from a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changes {
    pub file: Arc<str>,
    pub is_map: bool,
    /// Keys whose entries differ from the file. A key without entries was removed.
    pub keys: Vec<KeyChange>,
}

impl Changes {
    /// Returns the changes of a list; None if it has no file or equals its file.
    fn of(list: &List) -> Option<Changes> {
        let file = Arc::clone(list.file.as_ref()?);
        list.changed.as_ref()?;
        let (touched, _) = touched(list);
        let now = by_key(list.entries());
        let mut seen = HashSet::new();
        // Orders the keys: first the added and changed ones, in the order of the list, then the
        // removed ones.
        let keys = list.entries().chain(&list.base).map(|entry| &*entry.key);
        let keys = keys.filter(|key| touched.contains(key) && seen.insert(*key));
        let with_values = |key: &[u8]| {
            let values = now.get(key).into_iter().flatten();
            let values = values.map(|value| value.map(Into::into));
            (key.into(), values.collect())
        };
        let keys: Vec<_> = keys.map(with_values).collect();
        (!keys.is_empty()).then_some(Changes {
            file,
            is_map: list.is_map,
            keys,
        })
    }

    /// Returns the entries of a file after these changes.
    fn over(&self, base: &[Entry]) -> Entries {
        let keys = self.keys.iter();
        let mut of_key: HashMap<&[u8], Option<&Vec<_>>> =
            keys.map(|(key, values)| (&**key, Some(values))).collect();
        let mut pairs = Vec::with_capacity(base.len());
        for entry in base {
            match of_key.get_mut(&*entry.key) {
                Some(values) => {
                    let values = values.take().into_iter().flatten();
                    pairs.extend(values.map(|value| (entry.key.clone(), value.clone())));
                }
                None => pairs.push((entry.key.clone(), entry.value.clone())),
            }
        }
        for (key, values) in &self.keys {
            if of_key.get(&**key).is_some_and(Option::is_some) {
                pairs.extend(values.iter().map(|value| (key.clone(), value.clone())));
            }
        }
        let mut all = Entries::default();
        all.add(pairs);
        all
    }
}

fn is_same(one: &List, other: &List) -> bool {
    one.file.is_some() && (&one.file, one.is_map) == (&other.file, other.is_map)
}

impl Lists {
    /// Gives precedence to the files: run-time changes in lists of an older configuration are
    /// discarded.
    pub fn take_files(&self) {
        self.takes_files.store(true, Relaxed);
    }

    /// Applies the changes that were made to the lists of an older configuration. May be repeated
    /// if these lists have changed since; unchanged lists then cost nothing.
    pub fn adopt(&self, older: &Lists) {
        // Returns if both configurations share their lists, or the files have precedence.
        if std::ptr::eq(self, older) || self.takes_files.load(Relaxed) {
            return;
        }
        let older = older.inner();
        for old in older.lists.iter().filter(|list| list.file.is_some()) {
            if old.changed.is_none() && old.versions.last == 0 {
                continue;
            }
            let mut inner = self.inner();
            let found = inner.lists.iter().position(|list| is_same(list, old));
            let Some((at, list)) = found.and_then(|at| Some((at, inner.lists.get_mut(at)?))) else {
                continue;
            };
            if list.base == old.base {
                list.versions = old.versions.clone();
            }
            let Some(changed) = &old.changed else {
                continue;
            };
            let is_it = |from: &Arc<Entries>| Arc::ptr_eq(from, changed);
            if list.adopted.as_ref().is_some_and(is_it) {
                continue;
            }
            let entries = if list.base == old.base {
                Arc::clone(changed)
            } else {
                match Changes::of(old) {
                    Some(changes) => Arc::new(changes.over(&list.base)),
                    // Skips a list that has an index only because rules may change it, and was not
                    // changed.
                    None => continue,
                }
            };
            list.adopted = Some(Arc::clone(changed));
            // If a test or map that now uses the list cannot use an entry, none of the changes is
            // applied.
            let _ = inner.replace(at, entries);
        }
    }

    /// Returns the changes in lists of files, to pass to another process. Lists with more than
    /// `entries_max` entries are omitted.
    pub fn changes(&self, entries_max: usize) -> Vec<Changes> {
        let inner = self.inner();
        let lists = inner.lists.iter();
        let short = |list: &&List| list.len().max(list.base.len()) <= entries_max;
        lists.filter(short).filter_map(Changes::of).collect()
    }

    /// Applies changes from another process to a list of this configuration, if it has that list
    /// and can use the entries.
    pub fn apply_changes(&self, changes: &Changes) {
        let mut inner = self.inner();
        let is_it = |list: &List| {
            list.file.as_ref() == Some(&changes.file) && list.is_map == changes.is_map
        };
        if let Some(at) = inner.lists.iter().position(is_it)
            && let Some(list) = inner.lists.get(at)
        {
            let entries = Arc::new(changes.over(&list.base));
            let _ = inner.replace(at, entries);
        }
    }

    /// Describes where the lists of an older configuration differ from their files, and what
    /// happens to the differences under this configuration: one sentence for each list.
    pub fn differences(&self, older: &Lists) -> Vec<String> {
        if std::ptr::eq(self, older) {
            return Vec::new();
        }
        let (older, inner) = (older.inner(), self.inner());
        let mut sentences = Vec::new();
        let mut more = 0;
        let changed = older.lists.iter().enumerate();
        for (number, old) in changed.filter(|(_, list)| list.changed.is_some()) {
            let (keys, count) = touched(old);
            let Some(words) = count.words() else {
                continue;
            };
            if sentences.len() >= NAMED_MAX {
                more += 1;
                continue;
            }
            let kind = if old.is_map { "map" } else { "acl" };
            let name = match &old.file {
                Some(file) => format!("{kind} '{file}'"),
                None => format!("{kind} #{number} ({})", old.used_by),
            };
            let new = inner.lists.iter().find(|list| is_same(list, old));
            let fate = match new {
                Some(_) if self.takes_files.load(Relaxed) => "dropped, the file applies".to_owned(),
                Some(new) if new.base == old.base => format!("kept; {RESET}"),
                Some(new) => {
                    let before = by_key(old.base.iter());
                    let now = by_key(new.base.iter());
                    let both = keys.iter().filter(|key| before.get(*key) != now.get(*key));
                    match both.count() {
                        0 => format!("kept together with the new lines of the file; {RESET}"),
                        n => format!(
                            "kept, although the file has other values for {n} of these keys; {RESET}"
                        ),
                    }
                }
                None if old.file.is_some() => {
                    "lost, because the configuration no longer uses it".to_owned()
                }
                None => "lost, because its patterns are in the configuration".to_owned(),
            };
            sentences.push(format!(
                "{name} differs from its file, keys at run time: {words}; {fate}"
            ));
        }
        if more > 0 {
            sentences.push(format!("{more} more lists differ from their files"));
        }
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Edit, PatternPair, Which};
    use super::*;

    fn lists(file: Option<&str>, lines: &[(&str, &str)]) -> Lists {
        let lists = Lists::default();
        let pair = |(key, value): &(&str, &str)| -> PatternPair {
            (key.as_bytes().into(), Some(value.as_bytes().into()))
        };
        let file = file.map(Into::into);
        lists.add(file, true, "map at a.cfg:1".into(), lines.iter().map(pair));
        lists
    }

    fn shown(lists: &Lists) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entries = lists.entries(0);
        let line = |e: &Entry| {
            format!(
                "{} {}",
                text(&e.key),
                text(e.value.as_deref().unwrap_or_default())
            )
        };
        entries.iter().map(line).collect()
    }

    fn changed() -> Lists {
        let old = lists(Some("/m"), &[("a", "1"), ("b", "2"), ("c", "3")]);
        let set = Edit::Set(Which::Key((*b"a").into()), (*b"9").into());
        old.edit(0, set).expect("it is there");
        old.edit(0, Edit::Delete(Which::Key((*b"b").into())))
            .expect("it is there");
        let pair: PatternPair = ((*b"d").into(), Some((*b"4").into()));
        old.edit(0, Edit::Add(vec![pair])).expect("room");
        old
    }

    #[test]
    fn changes_go_on_over_the_same_file_and_are_named() {
        let new = lists(Some("/m"), &[("a", "1"), ("b", "2"), ("c", "3")]);
        let words = new.differences(&changed());
        assert_eq!(
            words,
            [
                "map '/m' differs from its file, keys at run time: 1 added, 1 removed, 1 changed; kept; \
              `evenkeel reload --reset-runtime` loads the file"
            ]
        );
        new.adopt(&changed());
        assert_eq!(shown(&new), ["a 9", "c 3", "d 4"]);
    }

    #[test]
    fn changes_go_on_over_other_lines_of_the_file() {
        let new = lists(
            Some("/m"),
            &[("0", "0"), ("a", "7"), ("b", "2"), ("e", "5")],
        );
        let old = changed();
        let words = new.differences(&old).remove(0);
        let both = "kept, although the file has other values for 1 of these keys";
        assert!(words.contains(both), "{words}");
        new.adopt(&old);
        assert_eq!(shown(&new), ["0 0", "a 9", "e 5", "d 4"]);
        // Adopting again also covers later changes of the older lists.
        new.adopt(&old);
        assert_eq!(shown(&new), ["0 0", "a 9", "e 5", "d 4"]);
        old.edit(0, Edit::Delete(Which::Key((*b"d").into())))
            .expect("it is there");
        new.adopt(&old);
        assert_eq!(shown(&new), ["0 0", "a 9", "e 5"]);
    }

    #[test]
    fn the_file_counts_where_that_is_asked_for_and_what_is_lost_is_said() {
        let new = lists(Some("/m"), &[("a", "1")]);
        new.take_files();
        let old = changed();
        assert!(new.differences(&old)[0].ends_with("dropped, the file applies"));
        new.adopt(&old);
        assert_eq!(shown(&new), ["a 1"]);
        let words = lists(Some("/other"), &[]).differences(&old);
        assert!(words[0].ends_with("lost, because the configuration no longer uses it"));
        let inline = lists(None, &[("a", "1")]);
        inline.edit(0, Edit::Clear).expect("possible");
        let words = lists(None, &[("a", "1")]).differences(&inline);
        assert!(
            words[0].starts_with("map #0 (map at a.cfg:1) differs"),
            "{words:?}"
        );
        assert!(words[0].ends_with("lost, because its patterns are in the configuration"));
    }

    #[test]
    fn a_list_that_was_changed_back_differs_in_nothing() {
        let old = lists(Some("/m"), &[("a", "1")]);
        for value in [b"2", b"1"] {
            let set = Edit::Set(Which::Key((*b"a").into()), (*value).into());
            old.edit(0, set).expect("it is there");
        }
        assert!(
            lists(Some("/m"), &[("a", "1")])
                .differences(&old)
                .is_empty()
        );
    }
}
