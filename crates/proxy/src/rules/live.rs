//! Lists of patterns and maps that operators change while traffic flows
//! (`add map`, `del acl`…).
//!
//! What the file says stays in the tree, compiled, and is all that a request
//! looks at until the first change: one look at a flag. A change compiles the
//! whole list anew, off the data plane, and lays it over. What was changed goes
//! on under the next configuration where the file of the list has the same lines
//! there, and is forgotten where it has others: who writes the file has the last
//! word. Patterns that stand in the configuration itself end with it.

use super::map::{Gives, filled, parse};
use super::matching::{Method, Patterns};
use super::pattern;
use super::value::{Value, whole_integer};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Most entries that a list may be changed to.
pub const ENTRIES_MAX: usize = 4 << 20;

/// Versions of a list that are prepared at one time.
const PREPARED_MAX: usize = 16;

/// One entry of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What `#` and this number name, also when others come and go.
    pub number: u64,
    /// The pattern.
    pub key: Box<[u8]>,
    /// The value, in a map.
    pub value: Option<Box<[u8]>>,
}

/// How the entries of some lists are compared, for one test or map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct How {
    /// The way of matching.
    pub method: Method,
    /// Upper and lower case are the same.
    pub ignore_case: bool,
    /// Numbers are written as versions.
    pub versions: bool,
    /// What a map gives.
    pub gives: Option<Gives>,
}

/// Entries compiled for one test or map.
#[derive(Debug)]
struct Compiled {
    patterns: Patterns,
    values: Vec<Value<'static>>,
}

/// What lies over the compiled patterns of one test or map.
#[derive(Debug)]
pub struct Live {
    how: How,
    /// The lists that it is made of, in this order.
    lists: Vec<usize>,
    changed: AtomicBool,
    overlay: RwLock<Option<Compiled>>,
}

impl Live {
    /// Whether something lies over what the file says.
    #[inline]
    pub fn is_changed(&self) -> bool {
        self.changed.load(Relaxed)
    }

    /// The place of the entry that a value matches, and what a map gives for it.
    pub fn find(&self, value: &Value<'_>) -> Option<(usize, Option<Value<'static>>)> {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        let compiled = overlay.as_ref()?;
        let at = compiled.patterns.find(value)?;
        Some((at, compiled.values.get(at).cloned()))
    }

    /// What a map gives for a value, with the groups of its expression filled in.
    pub fn fill(&self, value: &Value<'_>) -> Option<Value<'static>> {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        let compiled = overlay.as_ref()?;
        let at = compiled.patterns.find(value)?;
        filled(&compiled.patterns, at, value, compiled.values.get(at)?)
    }
}

/// Why a list could not be changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListError {
    /// No entry is meant.
    NotFound,
    /// A pattern that cannot be used.
    BadPattern,
    /// A value that is not of the kind that the map gives.
    BadValue,
    /// It would be longer than [`ENTRIES_MAX`].
    Full,
    /// More than [`PREPARED_MAX`] versions would be prepared at one time.
    Prepared,
    /// A version that was not prepared yet.
    Future,
    /// A version that cannot be had (any more).
    Range,
}

fn compile(how: How, entries: &[&Entry]) -> Result<Compiled, ListError> {
    let keys = entries.iter().map(|entry| entry.key.clone()).collect();
    let patterns = pattern::compile_plain(how.method, keys, how.ignore_case, how.versions)
        .ok_or(ListError::BadPattern)?;
    let value = |gives, entry: &&Entry| {
        let text = match gives {
            Gives::Key => &entry.key,
            _ => entry.value.as_deref().unwrap_or_default(),
        };
        parse(gives, text).ok_or(ListError::BadValue)
    };
    let values = match how.gives {
        Some(gives) => entries
            .iter()
            .map(|entry| value(gives, entry))
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    Ok(Compiled { patterns, values })
}

/// A pattern and, in a map, its value.
pub type Pair = (Box<[u8]>, Option<Box<[u8]>>);

/// What an operator does to a list.
#[derive(Clone, Debug)]
pub enum Edit {
    /// More entries.
    Add(Vec<Pair>),
    /// Another value of the entries of a key, or of the one of a number.
    Set(Which, Box<[u8]>),
    /// Without those.
    Delete(Which),
    /// Without any.
    Clear,
}

/// Which entries are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// Those of a key.
    Key(Box<[u8]>),
    /// That of a number.
    Number(u64),
}

impl Which {
    fn is(&self, entry: &Entry) -> bool {
        match self {
            Which::Key(key) => entry.key == *key,
            Which::Number(number) => entry.number == *number,
        }
    }
}

/// One list: a file, or the patterns of one line.
#[derive(Debug)]
pub struct List {
    /// The file, as the configuration names it.
    pub file: Option<Arc<str>>,
    /// Its entries have values.
    pub is_map: bool,
    /// Who uses it, for people.
    pub used_by: String,
    base: Vec<Entry>,
    changed: Option<Arc<Vec<Entry>>>,
    versions: Versions,
}

/// Versions of a list that are prepared beside the one in use.
#[derive(Clone, Default, Debug)]
struct Versions {
    /// The one in use.
    current: u32,
    /// The last that was prepared.
    last: u32,
    prepared: BTreeMap<u32, Arc<Vec<Entry>>>,
}

impl Versions {
    /// One that is prepared.
    fn prepared(&mut self, version: u32) -> Result<&mut Arc<Vec<Entry>>, ListError> {
        if version > self.last {
            return Err(ListError::Future);
        }
        self.prepared.get_mut(&version).ok_or(ListError::Range)
    }
}

impl List {
    fn entries(&self) -> &[Entry] {
        self.changed.as_deref().map_or(&self.base, Vec::as_slice)
    }
}

#[derive(Debug, Default)]
struct Inner {
    lists: Vec<List>,
    users: Vec<Arc<Live>>,
}

/// All lists of a configuration.
#[derive(Debug, Default)]
pub struct Lists(Mutex<Inner>);

/// A line of `show acl` or `show map`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Its number.
    pub id: usize,
    /// The file, or nothing.
    pub file: String,
    /// Who uses it.
    pub used_by: String,
    /// Its length.
    pub entries: usize,
    /// The number of the version in use, and that of the last one prepared.
    pub versions: (u32, u32),
}

/// What a value meets in a list, for one of those that use it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Met {
    /// How it is compared.
    pub how: How,
    /// The entry that it matches.
    pub entry: Option<Entry>,
}

impl Lists {
    /// Nothing panics while it is held but for a bug, and it is whole then.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a list in; a file that is there already is that one.
    pub(crate) fn add(
        &self,
        (file, is_map): (Option<Arc<str>>, bool),
        used_by: String,
        entries: impl Iterator<Item = Pair>,
    ) -> usize {
        let mut inner = self.inner();
        let same =
            |list: &List| list.file.is_some() && (&list.file, list.is_map) == (&file, is_map);
        if let Some(at) = inner.lists.iter().position(same) {
            return at;
        }
        let entry = |(n, (key, value))| Entry {
            number: n as u64 + 1,
            key,
            value,
        };
        inner.lists.push(List {
            file,
            is_map,
            used_by,
            base: entries.enumerate().map(entry).collect(),
            changed: None,
            versions: Versions::default(),
        });
        inner.lists.len() - 1
    }

    /// A test or a map uses lists.
    pub(crate) fn user(&self, how: How, lists: Vec<usize>) -> Arc<Live> {
        let live = Arc::new(Live {
            how,
            lists,
            changed: AtomicBool::new(false),
            overlay: RwLock::new(None),
        });
        self.inner().users.push(Arc::clone(&live));
        live
    }

    /// All ACLs' lists, or all maps.
    pub fn summaries(&self, maps: bool) -> Vec<Summary> {
        let inner = self.inner();
        let of_kind = inner.lists.iter().enumerate();
        of_kind
            .filter(|(_, list)| list.is_map == maps)
            .map(|(id, list)| Summary {
                id,
                file: list.file.as_deref().unwrap_or_default().to_owned(),
                used_by: list.used_by.clone(),
                entries: list.entries().len(),
                versions: (list.versions.current, list.versions.last),
            })
            .collect()
    }

    /// The list of `#` and a number, or of a file.
    pub fn named(&self, name: &str, maps: bool) -> Option<usize> {
        let inner = self.inner();
        let number = name.strip_prefix('#').and_then(|n| n.parse::<usize>().ok());
        match number {
            Some(at) => {
                let list = inner.lists.get(at);
                list.filter(|list| list.is_map == maps).map(|_| at)
            }
            None => inner
                .lists
                .iter()
                .position(|list| list.is_map == maps && list.file.as_deref() == Some(name)),
        }
    }

    /// The entries of a list as they are now.
    pub fn entries(&self, at: usize) -> Vec<Entry> {
        let inner = self.inner();
        inner
            .lists
            .get(at)
            .map_or_else(Vec::new, |list| list.entries().to_vec())
    }

    /// The entries of one of its versions; none of one that is no more.
    pub fn entries_of(&self, at: usize, version: u32) -> Vec<Entry> {
        let inner = self.inner();
        let Some(list) = inner.lists.get(at) else {
            return Vec::new();
        };
        match list.versions.prepared.get(&version) {
            Some(entries) => entries.to_vec(),
            None if version == list.versions.current => list.entries().to_vec(),
            None => Vec::new(),
        }
    }

    /// Begins another version of a list, empty and not in use; its number.
    pub fn prepare(&self, at: usize) -> Result<u32, ListError> {
        let mut inner = self.inner();
        let list = inner.lists.get_mut(at).ok_or(ListError::NotFound)?;
        let versions = &mut list.versions;
        if versions.prepared.len() >= PREPARED_MAX {
            return Err(ListError::Prepared);
        }
        versions.last = versions.last.checked_add(1).ok_or(ListError::Range)?;
        versions.prepared.insert(versions.last, Arc::default());
        Ok(versions.last)
    }

    /// Changes one of its versions, which may be the one in use.
    pub fn edit_version(&self, at: usize, version: u32, edit: Edit) -> Result<(), ListError> {
        let mut inner = self.inner();
        let Inner { lists, users } = &mut *inner;
        let list = lists.get_mut(at).ok_or(ListError::NotFound)?;
        if version == list.versions.current {
            drop(inner);
            return self.edit(at, edit);
        }
        // Not copied but for an older configuration that has it, too: it may
        // grow to millions, one after the other.
        let entries = Arc::make_mut(list.versions.prepared(version)?);
        let had = entries.len();
        apply(entries, edit)?;
        let new: Vec<&Entry> = entries.iter().skip(had).collect();
        // What is bad is told now, not when all of it is to be used.
        let users = users.iter().filter(|user| user.lists.contains(&at));
        let mut compiled = users.map(|user| compile(user.how, &new).map(drop));
        let result = match entries.len() > ENTRIES_MAX {
            true => Err(ListError::Full),
            false => compiled.try_for_each(|one| one),
        };
        if result.is_err() {
            entries.truncate(had);
        }
        result
    }

    /// Uses a version that was prepared, in one step. Those before it are gone.
    pub fn commit(&self, at: usize, version: u32) -> Result<(), ListError> {
        let mut inner = self.inner();
        let list = inner.lists.get_mut(at).ok_or(ListError::NotFound)?;
        let versions = &list.versions;
        if version <= versions.current || version > versions.last {
            return Err(ListError::Range);
        }
        let entries = versions.prepared.get(&version).cloned().unwrap_or_default();
        let before = list.changed.replace(entries);
        let result = inner.lay_over(at);
        if let Some(list) = inner.lists.get_mut(at) {
            match result {
                Ok(()) => {
                    list.versions.current = version;
                    list.versions.prepared.retain(|other, _| *other > version);
                }
                Err(_) => list.changed = before,
            }
        }
        result
    }

    /// What a text meets in a list, for each test or map that uses it.
    pub fn meet(&self, at: usize, text: &str) -> Vec<Met> {
        let inner = self.inner();
        let users = inner.users.iter().filter(|user| user.lists.contains(&at));
        users
            .map(|user| Met {
                how: user.how,
                entry: inner.meet(user.how, at, text),
            })
            .collect()
    }

    /// Changes a list for all that use it, or leaves all as it is. Compiles the
    /// whole list: not on a thread that serves.
    pub fn edit(&self, at: usize, edit: Edit) -> Result<(), ListError> {
        let mut inner = self.inner();
        let Some(list) = inner.lists.get_mut(at) else {
            return Err(ListError::NotFound);
        };
        let mut entries = list.entries().to_vec();
        apply(&mut entries, edit)?;
        if entries.len() > ENTRIES_MAX {
            return Err(ListError::Full);
        }
        let before = list.changed.replace(Arc::new(entries));
        let result = inner.lay_over(at);
        if result.is_err()
            && let Some(list) = inner.lists.get_mut(at)
        {
            list.changed = before;
        }
        result
    }

    /// Takes over what was changed in the lists of an older configuration, where
    /// their files are the same. To be done again when the older one may have
    /// been changed since: what was not costs nothing then.
    pub fn adopt(&self, older: &Lists) {
        let older = older.inner();
        for old in older.lists.iter().filter(|list| list.file.is_some()) {
            if old.changed.is_none() && old.versions.last == 0 {
                continue;
            }
            let mut inner = self.inner();
            let is = |list: &List| {
                (&list.file, list.is_map) == (&old.file, old.is_map) && list.base == old.base
            };
            let Some(at) = inner.lists.iter().position(is) else {
                continue;
            };
            inner.lists[at].versions = old.versions.clone();
            let Some(changed) = &old.changed else {
                continue;
            };
            let has = inner.lists[at].changed.as_ref();
            if has.is_some_and(|has| Arc::ptr_eq(has, changed)) {
                continue;
            }
            inner.lists[at].changed = Some(Arc::clone(changed));
            // What a new user of the list cannot use is not laid over for it.
            if inner.lay_over(at).is_err() {
                inner.lists[at].changed = None;
            }
        }
    }
}

fn apply(entries: &mut Vec<Entry>, edit: Edit) -> Result<(), ListError> {
    let length = entries.len();
    match edit {
        Edit::Clear => entries.clear(),
        Edit::Add(more) => {
            let next = entries.iter().map(|entry| entry.number).max().unwrap_or(0) + 1;
            let entry = |(number, (key, value))| Entry { number, key, value };
            entries.extend((next..).zip(more).map(entry));
        }
        Edit::Set(which, value) => {
            let mut found = false;
            for entry in entries.iter_mut().filter(|entry| which.is(entry)) {
                entry.value = Some(value.clone());
                found = true;
            }
            return if found {
                Ok(())
            } else {
                Err(ListError::NotFound)
            };
        }
        Edit::Delete(which) => {
            entries.retain(|entry| !which.is(entry));
            if entries.len() == length {
                return Err(ListError::NotFound);
            }
        }
    }
    Ok(())
}

impl Inner {
    /// Compiles a list for all that use it, and lays it over.
    fn lay_over(&self, at: usize) -> Result<(), ListError> {
        let users = self.users.iter().filter(|user| user.lists.contains(&at));
        let mut made = Vec::new();
        for user in users {
            let lists = user.lists.iter().filter_map(|at| self.lists.get(*at));
            let entries: Vec<&Entry> = lists.flat_map(|list| list.entries()).collect();
            made.push((user, compile(user.how, &entries)?));
        }
        for (user, compiled) in made {
            let mut overlay = user.overlay.write().unwrap_or_else(PoisonError::into_inner);
            let before = overlay.replace(compiled);
            drop(overlay);
            user.changed.store(true, Relaxed);
            drop(before);
        }
        Ok(())
    }

    fn meet(&self, how: How, at: usize, text: &str) -> Option<Entry> {
        let value = match how.method {
            Method::Int | Method::Bool => Value::Int(whole_integer(text.as_bytes())?),
            Method::Ip => Value::ip(text.parse::<IpAddr>().ok()?),
            _ => Value::text(text.as_bytes()),
        };
        let entries: Vec<&Entry> = self.lists.get(at)?.entries().iter().collect();
        // Only which entry it is counts here.
        let how = How { gives: None, ..how };
        let found = compile(how, &entries).ok()?.patterns.find(&value)?;
        entries.get(found).map(|entry| (*entry).clone())
    }
}
