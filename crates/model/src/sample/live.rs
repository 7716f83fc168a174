//! Holds lists of patterns and maps that operators (`add map`, `del acl`…) and rules change while
//! traffic flows.
//!
//! The content of a file stays compiled in the configuration. Until the first change, a request
//! reads only that, after checking one flag. The first change builds an index of the whole list,
//! which replaces the compiled content from then on; further changes update the index. Rules
//! (`set-map`, `add-acl`) change lists on serving threads, so the index of their lists is built
//! when the file is loaded. Changes are carried over to the next configuration ([`carry`]).
//! Changes to patterns that are written in the configuration itself, not in a file, are lost with
//! the configuration.

mod carry;
mod entries;
mod index;

use super::map::{Gives, parse};
use super::matching::Method;
use super::value::{Sample, SampleValue, whole_integer};
use crate::clock::revision;
pub use carry::Changes;
use entries::Entries;
use index::Index;
use language::difference::{SecretUses, is_compared_with_secrets, vocabulary};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

/// Maximum number of entries in a changed list.
pub const ENTRIES_MAX: usize = 4 << 20;

/// Maximum number of entries to which rules can extend a list. Clients may control what rules add.
/// A longer file keeps its content.
const RULE_ENTRIES_MAX: usize = 1 << 20;
/// Maximum size of the keys and values to which rules can extend a list, bytes.
const RULE_BYTES_MAX: usize = 64 << 20;

/// Maximum number of list versions that operators have prepared and not committed (`prepare acl`,
/// `prepare map`).
const PREPARED_MAX: usize = 16;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Number that identifies the entry in commands (`#` and the number), even if other entries are
    /// added or removed.
    pub number: u64,
    pub key: Box<[u8]>,
    /// Value of the entry; None in a list of patterns.
    pub value: Option<Box<[u8]>>,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, |value| value.len())
    }
}

/// Comparison of the entries of some lists, for one test or map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct How {
    pub method: Method,
    pub ignore_case: bool,
    /// True if numbers are written as version numbers, such as `3.1`.
    pub versions: bool,
    /// Type of the values of a map; None for a test.
    pub gives: Option<Gives>,
}

/// Index that overrides the compiled patterns of one test or map after a change.
#[derive(Debug)]
pub struct Live {
    how: How,
    /// Numbers of the lists that the index contains, in order.
    lists: Vec<usize>,
    changed: AtomicBool,
    overlay: RwLock<Option<Index>>,
}

impl Live {
    /// Returns whether the index overrides the content of the file: an entry was changed, or the
    /// index was built because rules may change the list.
    #[inline]
    pub fn is_changed(&self) -> bool {
        self.changed.load(Relaxed)
    }

    /// Returns the number of the entry that a value matches, and the value of a map.
    pub fn find(&self, value: &SampleValue<'_>) -> Option<(u64, Sample<'static>)> {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        let ((_, number), value) = overlay.as_ref()?.find(value)?;
        Some((number, value.cloned()))
    }
}

impl Live {
    /// Applies a change of one of the lists to the index.
    fn change(&self, index: &mut Index, list: usize, changed: &Changed) -> Result<(), ListError> {
        match changed {
            Changed::Put(entries) => entries.iter().try_for_each(|one| index.insert(list, one)),
            Changed::Gone(entries) => {
                entries.iter().for_each(|one| index.remove(list, one));
                Ok(())
            }
            Changed::Cleared => {
                index.clear(list);
                Ok(())
            }
        }
    }

    /// Returns the value of a map, with the groups of the matching regular expression inserted.
    pub fn fill(&self, value: &SampleValue<'_>) -> Sample<'static> {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        overlay.as_ref()?.fill(value)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListError {
    /// No entry has this key or number.
    NotFound,
    /// Pattern that is invalid for a user of the list.
    BadPattern,
    /// Value that is not of the type of the map.
    BadValue,
    /// List that would have more than [`ENTRIES_MAX`] entries.
    Full,
    /// List that would have more than [`PREPARED_MAX`] prepared versions.
    Prepared,
    /// List version with a higher number than the last prepared one.
    Future,
    /// List version that is older than the one in use, was not prepared, or cannot be numbered.
    Range,
}

/// Pattern, and its value in a map.
pub type PatternPair = (Box<[u8]>, Option<Box<[u8]>>);

/// Change of a list by an operator.
#[derive(Clone, Debug)]
pub enum Edit {
    Add(Vec<PatternPair>),
    /// Sets the value of the entries with a key, or of the entry with a number.
    Set(Which, Box<[u8]>),
    Delete(Which),
    Clear,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    Key(Box<[u8]>),
    Number(u64),
}

/// List of entries: a file, or the patterns of one line.
#[derive(Debug)]
pub struct List {
    /// Name of the file in the configuration; None for the patterns of a line.
    pub file: Option<Arc<str>>,
    pub is_map: bool,
    /// Description of the users of the list, for messages.
    pub used_by: String,
    /// True if the entries are secrets, such as the keys of an API.
    is_secret: bool,
    /// Expression that the patterns of a line are compared with; empty for a file.
    expression: Box<str>,
    base: Vec<Entry>,
    /// Hash of `base`, computed when it is first needed.
    base_hash: OnceLock<u64>,
    changed: Option<Arc<Entries>>,
    /// Entries of an older configuration on which `changed` is based.
    adopted: Option<Arc<Entries>>,
    versions: Versions,
}

/// Prepared versions of a list, besides the version in use.
#[derive(Clone, Default, Debug)]
struct Versions {
    /// Number of the version in use.
    current: u32,
    /// Number of the last prepared version.
    last: u32,
    prepared: BTreeMap<u32, Arc<Entries>>,
}

impl Versions {
    fn prepared(&mut self, version: u32) -> Result<&mut Arc<Entries>, ListError> {
        if version > self.last {
            return Err(ListError::Future);
        }
        self.prepared.get_mut(&version).ok_or(ListError::Range)
    }
}

impl List {
    fn base_hash(&self) -> u64 {
        *self.base_hash.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            for entry in &self.base {
                (&entry.key, &entry.value).hash(&mut hasher);
            }
            hasher.finish()
        })
    }

    fn base_bytes(&self) -> usize {
        self.base.iter().map(Entry::bytes).sum()
    }

    fn len(&self) -> usize {
        self.changed
            .as_deref()
            .map_or(self.base.len(), Entries::len)
    }

    fn entries(&self) -> Box<dyn Iterator<Item = &Entry> + '_> {
        match &self.changed {
            Some(changed) => Box::new(changed.iter()),
            None => Box::new(self.base.iter()),
        }
    }
}

#[derive(Debug, Default)]
struct ConfigLists {
    lists: Vec<List>,
    users: Vec<Arc<Live>>,
}

impl ConfigLists {
    fn loaded_hashes(&self, users: &Range<usize>) -> impl Iterator<Item = u64> {
        let users = self.users.get(users.clone()).unwrap_or_default();
        let lists = users.iter().flat_map(|user| &user.lists);
        lists.filter_map(|at| Some(self.lists.get(*at)?.base_hash()))
    }
}

#[derive(Debug, Default)]
pub struct Lists {
    inner: Mutex<ConfigLists>,
    /// True if changes under an older configuration are discarded.
    takes_files: AtomicBool,
}

/// Line of `show acl` or `show map`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    pub id: usize,
    /// Name of the file; empty for the patterns of a line.
    pub file: String,
    pub used_by: String,
    pub entries: usize,
    /// Numbers of the list version in use and of the last prepared one.
    pub versions: (u32, u32),
}

/// Result of comparing a value with a list, for one of its users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Met {
    /// Comparison that the test or map makes.
    pub how: How,
    pub entry: Option<Entry>,
}

impl Lists {
    /// Ignores poisoning: only a bug can panic while the lock is held, and the data is consistent
    /// then.
    fn inner(&self) -> MutexGuard<'_, ConfigLists> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a list. A file that is already registered is the same list.
    pub fn add(
        &self,
        file: Option<Arc<str>>,
        is_map: bool,
        used_by: String,
        entries: impl Iterator<Item = PatternPair>,
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
            is_secret: false,
            expression: Box::default(),
            file,
            is_map,
            used_by,
            base: entries.enumerate().map(entry).collect(),
            base_hash: OnceLock::new(),
            changed: None,
            adopted: None,
            versions: Versions::default(),
        });
        inner.lists.len() - 1
    }

    pub fn set_expression(&self, at: usize, expression: &str) {
        if let Some(list) = self.inner().lists.get_mut(at) {
            list.expression = expression.into();
        }
    }

    /// Returns whether other lines decide if the entries of a list are secrets: it has them from a
    /// file, or they are compared with a variable, a capture or a header that rules may set.
    pub fn depend_on_uses(&self) -> bool {
        let depends = |list: &List| list.file.is_some() || SecretUses::depends_on(&list.expression);
        self.inner().lists.iter().any(depends)
    }

    /// Marks the lists whose entries are secrets because of their use.
    pub fn hide_secrets(&self, secret: &SecretUses) {
        for list in &mut self.inner().lists {
            let is_listed = |file: &str| secret.contains(file);
            list.is_secret |=
                list.file.as_deref().is_some_and(is_listed) || secret.carry(&list.expression);
        }
    }

    /// Returns whether the entries of a list are secrets. Decided at each call, because a load that
    /// nobody queries must not pay for the vocabulary.
    pub fn is_secret(&self, at: usize) -> bool {
        let inner = self.inner();
        let is_compared = |list: &List| is_compared_with_secrets(&list.expression, vocabulary());
        inner
            .lists
            .get(at)
            .is_some_and(|list| list.is_secret || !list.expression.is_empty() && is_compared(list))
    }

    pub fn use_count(&self) -> usize {
        self.inner().users.len()
    }

    /// Returns whether two ranges of tests and maps, of two configurations, use lists that were
    /// loaded with the same entries. Changes at run time do not count.
    pub(crate) fn were_loaded_alike(
        &self,
        users: &Range<usize>,
        older: &Lists,
        older_users: &Range<usize>,
    ) -> bool {
        if std::ptr::eq(self, older) {
            return users == older_users;
        }
        let (older, inner) = (older.inner(), self.inner());
        let before = older.loaded_hashes(older_users);
        inner.loaded_hashes(users).eq(before)
    }

    pub fn user(&self, how: How, lists: Vec<usize>) -> Arc<Live> {
        let live = Arc::new(Live {
            how,
            lists,
            changed: AtomicBool::new(false),
            overlay: RwLock::new(None),
        });
        self.inner().users.push(Arc::clone(&live));
        live
    }

    /// Returns a summary of all maps, or of all lists of ACLs.
    pub fn summaries(&self, maps: bool) -> Vec<Summary> {
        let inner = self.inner();
        let of_kind = inner.lists.iter().enumerate();
        of_kind
            .filter(|(_, list)| list.is_map == maps)
            .map(|(id, list)| Summary {
                id,
                file: list.file.as_deref().unwrap_or_default().to_owned(),
                used_by: list.used_by.clone(),
                entries: list.len(),
                versions: (list.versions.current, list.versions.last),
            })
            .collect()
    }

    /// Finds a list by `#` and its number, or by its file.
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

    pub fn entries(&self, at: usize) -> Vec<Entry> {
        let inner = self.inner();
        inner
            .lists
            .get(at)
            .map_or_else(Vec::new, |list| list.entries().cloned().collect())
    }

    pub fn current_version(&self, at: usize) -> Option<u32> {
        Some(self.inner().lists.get(at)?.versions.current)
    }

    /// Returns the next entries of a list version, with larger numbers than `after`, in their
    /// order. Returns none at the end, or if the list version no longer exists.
    pub fn entries_after(&self, at: usize, version: u32, after: u64, max: usize) -> Vec<Entry> {
        let inner = self.inner();
        let Some(list) = inner.lists.get(at) else {
            return Vec::new();
        };
        let entries = match list.versions.prepared.get(&version) {
            None if version != list.versions.current => return Vec::new(),
            None => list.changed.as_ref(),
            prepared => prepared,
        };
        match entries {
            Some(entries) => entries.after(after).take(max).cloned().collect(),
            None => {
                // Searches by bisection, because the entries of a file have ascending numbers.
                let start = list.base.partition_point(|entry| entry.number <= after);
                list.base.iter().skip(start).take(max).cloned().collect()
            }
        }
    }

    /// Prepares a new version of a list, which is empty and not in use. Returns its number.
    ///
    /// # Errors
    /// `NotFound` if there is no such list. `Prepared` if it has too many prepared versions.
    /// `Range` if the version numbers are used up.
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

    /// Changes a version of a list, prepared or in use.
    ///
    /// # Errors
    /// `NotFound` if there is no such list or entry. `Future` if the version is not prepared yet,
    /// `Range` if it no longer exists. Others as [`Self::edit`].
    pub fn edit_version(&self, at: usize, version: u32, edit: Edit) -> Result<(), ListError> {
        let mut inner = self.inner();
        let ConfigLists { lists, users } = &mut *inner;
        let list = lists.get_mut(at).ok_or(ListError::NotFound)?;
        if version == list.versions.current {
            drop(inner);
            return self.edit(at, edit);
        }
        // Errors are reported now, and not when the whole version is committed.
        let users = users.iter().filter(|user| user.lists.contains(&at));
        check(users.map(Arc::as_ref), &edit)?;
        // Copies the entries only if an older configuration shares them, because a prepared list
        // version may grow to millions of entries, one at a time.
        let entries = Arc::make_mut(list.versions.prepared(version)?);
        if edit.exceeds_limit(entries.len()) {
            return Err(ListError::Full);
        }
        apply(entries, edit).map(drop)
    }

    /// Puts a prepared version into use in one step. Earlier versions are dropped.
    ///
    /// # Errors
    /// `NotFound` if there is no such list. `Range` if the version is not newer than the one in
    /// use, or was never prepared. `BadPattern` or `BadValue` if a user of the list cannot use its
    /// entries.
    pub fn commit(&self, at: usize, version: u32) -> Result<(), ListError> {
        let mut inner = self.inner();
        let list = inner.lists.get_mut(at).ok_or(ListError::NotFound)?;
        let versions = &list.versions;
        if version <= versions.current || version > versions.last {
            return Err(ListError::Range);
        }
        let entries = versions.prepared.get(&version).cloned().unwrap_or_default();
        inner.replace(at, entries)?;
        if let Some(list) = inner.lists.get_mut(at) {
            list.versions.current = version;
            list.versions.prepared.retain(|other, _| *other > version);
        }
        revision::advance();
        Ok(())
    }

    /// Compares a text with a list, for each test or map that uses it.
    pub fn find_matches(&self, at: usize, text: &str) -> Vec<Met> {
        let inner = self.inner();
        let users = inner.users.iter().filter(|user| user.lists.contains(&at));
        users
            .map(|user| Met {
                how: user.how,
                entry: inner.meet(user.how, at, text),
            })
            .collect()
    }

    /// Changes a list for all its users, or changes nothing. The first change compiles the whole
    /// list, unless [`Lists::make_ready`] did so before; further changes process only the changed
    /// entries.
    ///
    /// # Errors
    /// `NotFound` if there is no such list or entry. `Full` if the list would exceed
    /// [`ENTRIES_MAX`]. `BadPattern` or `BadValue` if a user of the list cannot use an entry.
    pub fn edit(&self, at: usize, edit: Edit) -> Result<(), ListError> {
        self.inner().edit(at, edit)?;
        revision::advance();
        Ok(())
    }

    /// Builds the index of a list in advance, because rules change it on serving threads.
    pub(crate) fn make_ready(&self, at: usize) -> Result<(), ListError> {
        self.inner().edit(at, Edit::Add(Vec::new()))
    }

    /// Sets the value of a key in a map, or adds the key to a list of patterns unless it exists.
    /// Called for rules.
    ///
    /// # Errors
    /// `NotFound` if the list does not exist or was not made ready. `Full` if it would exceed the
    /// limits for rules. Others as [`Self::edit`].
    pub fn put(&self, at: usize, key: &[u8], value: Option<&[u8]>) -> Result<(), ListError> {
        let mut inner = self.inner();
        let list = inner.lists.get(at).ok_or(ListError::NotFound)?;
        let entries = list.changed.as_ref().ok_or(ListError::NotFound)?;
        let is_new = entries.of_key(key).next().is_none();
        let other = |entry: &Entry| value.is_some() && entry.value.as_deref() != value;
        let differs = entries.of_key(key).any(other);
        if is_new {
            let more = key.len() + value.map_or(0, <[u8]>::len);
            let long = entries.len() >= RULE_ENTRIES_MAX.max(list.base.len());
            let large = entries.bytes() + more > RULE_BYTES_MAX;
            if long || (large && entries.bytes() + more > list.base_bytes()) {
                return Err(ListError::Full);
            }
            return inner.edit(at, Edit::Add(vec![(key.into(), value.map(Into::into))]));
        }
        match value.filter(|_| differs) {
            Some(value) => inner.edit(at, Edit::Set(Which::Key(key.into()), value.into())),
            None => Ok(()),
        }
    }

    /// Removes a key, which need not exist. Called for rules.
    ///
    /// # Errors
    /// Fails in the same cases as [`Self::edit`], except for `NotFound`.
    pub fn take(&self, at: usize, key: &[u8]) -> Result<(), ListError> {
        match self.inner().edit(at, Edit::Delete(Which::Key(key.into()))) {
            Err(ListError::NotFound) => Ok(()),
            result => result,
        }
    }
}

/// Effect of a change, for the indexes that contain the list.
enum Changed {
    /// Entries that are new, or have another value.
    Put(Vec<Entry>),
    Gone(Vec<Entry>),
    Cleared,
}

impl Edit {
    /// Returns whether a list of this many entries has no space for those that the change adds. A
    /// longer file can still become shorter.
    fn exceeds_limit(&self, entries: usize) -> bool {
        match self {
            Edit::Add(more) if more.is_empty() => false,
            Edit::Add(more) => entries.saturating_add(more.len()) > ENTRIES_MAX,
            Edit::Set(..) | Edit::Delete(_) | Edit::Clear => false,
        }
    }
}

/// Checks that all users of a list can use the entries that are added or set.
fn check<'u>(users: impl Iterator<Item = &'u Live>, edit: &Edit) -> Result<(), ListError> {
    for user in users {
        match edit {
            Edit::Add(more) => {
                for (key, value) in more {
                    Index::check(user.how, key, value.as_deref())?;
                }
            }
            Edit::Set(_, value) => {
                if let Some(gives) = user.how.gives {
                    parse(gives, value).ok_or(ListError::BadValue)?;
                }
            }
            Edit::Delete(_) | Edit::Clear => {}
        }
    }
    Ok(())
}

fn apply(entries: &mut Entries, edit: Edit) -> Result<Changed, ListError> {
    match edit {
        Edit::Clear => {
            *entries = Entries::default();
            Ok(Changed::Cleared)
        }
        Edit::Add(more) => Ok(Changed::Put(entries.add(more))),
        Edit::Set(which, value) => entries.set(&which, &value).map(Changed::Put),
        Edit::Delete(which) => entries.delete(&which).map(Changed::Gone),
    }
}

impl ConfigLists {
    /// Changes a list for all its users, or changes nothing.
    fn edit(&mut self, at: usize, edit: Edit) -> Result<(), ListError> {
        let ConfigLists { lists, users } = self;
        let list = lists.get_mut(at).ok_or(ListError::NotFound)?;
        if edit.exceeds_limit(list.len()) {
            return Err(ListError::Full);
        }
        let of_list = users.iter().filter(|user| user.lists.contains(&at));
        check(of_list.clone().map(Arc::as_ref), &edit)?;
        let are_indexed = of_list.clone().all(|user| user.is_changed());
        let Some(entries) = list.changed.as_mut().filter(|_| are_indexed) else {
            // Changes a copy of the entries and builds the indexes from it, which may fail: the
            // entries of the file may be invalid for a user of the list.
            let mut entries = match &list.changed {
                Some(entries) => Entries::clone(entries),
                None => Entries::of(list.base.iter()),
            };
            apply(&mut entries, edit)?;
            return self.replace(at, Arc::new(entries));
        };
        let changed = apply(Arc::make_mut(entries), edit)?;
        for user in of_list {
            let mut overlay = user.overlay.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(index) = overlay.as_mut() {
                // Cannot fail, because all entries were checked above.
                user.change(index, at, &changed)?;
            }
        }
        Ok(())
    }

    /// Replaces the entries of a list, or changes nothing.
    fn replace(&mut self, at: usize, entries: Arc<Entries>) -> Result<(), ListError> {
        let list = self.lists.get_mut(at).ok_or(ListError::NotFound)?;
        let before = list.changed.replace(entries);
        let result = self.rebuild_indexes(at);
        if result.is_err()
            && let Some(list) = self.lists.get_mut(at)
        {
            list.changed = before;
        }
        result
    }

    /// Builds the index for each test and map that uses a list, and puts the indexes into use.
    fn rebuild_indexes(&self, at: usize) -> Result<(), ListError> {
        let users = self.users.iter().filter(|user| user.lists.contains(&at));
        let mut made = Vec::new();
        for user in users {
            made.push((user, index(&self.lists, user)?));
        }
        for (user, index) in made {
            let mut overlay = user.overlay.write().unwrap_or_else(PoisonError::into_inner);
            let before = overlay.replace(index);
            drop(overlay);
            user.changed.store(true, Relaxed);
            drop(before);
        }
        Ok(())
    }

    fn meet(&self, how: How, at: usize, text: &str) -> Option<Entry> {
        let value = match how.method {
            Method::Int | Method::Bool => SampleValue::Int(whole_integer(text.as_bytes())?),
            Method::Ip => SampleValue::ip(text.parse::<IpAddr>().ok()?),
            _ => SampleValue::text(text.as_bytes()),
        };
        let list = self.lists.get(at)?;
        // Compiles no values of a map, because only the number of the matching entry is needed.
        let how = How { gives: None, ..how };
        let index = Index::of(how, list.entries().map(|entry| (0, entry))).ok()?;
        let (_, number) = index.find(&value)?.0;
        list.entries().find(|entry| entry.number == number).cloned()
    }
}

/// Builds the index of the current entries of all lists that one test or map uses.
fn index(lists: &[List], user: &Live) -> Result<Index, ListError> {
    let entries = user
        .lists
        .iter()
        .filter_map(|at| Some((*at, lists.get(*at)?)));
    let entries = entries.flat_map(|(at, list)| list.entries().map(move |entry| (at, entry)));
    Index::of(user.how, entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(method: Method) -> How {
        How {
            method,
            ignore_case: false,
            versions: false,
            gives: None,
        }
    }

    fn list(lists: &Lists, keys: &[&str]) -> usize {
        let pairs = keys.iter().map(|key| (key.as_bytes().into(), None));
        lists.add(Some("/list".into()), false, "acl".to_owned(), pairs)
    }

    fn add(key: &str) -> Edit {
        Edit::Add(vec![(key.as_bytes().into(), None)])
    }

    #[test]
    fn edit_that_one_user_refuses_changes_nothing() {
        let lists = Lists::default();
        let at = list(&lists, &["web"]);
        let names = lists.user(how(Method::Str), vec![at]);
        // The first entry is no address, which is found when the index is built.
        let addresses = lists.user(how(Method::Ip), vec![at]);
        let before = lists.entries(at);
        assert_eq!(lists.edit(at, add("10.0.0.1")), Err(ListError::BadPattern));
        assert_eq!(lists.entries(at), before);
        assert!(!names.is_changed() && !addresses.is_changed());
        // A list that becomes valid for all users can be changed.
        let web = Edit::Delete(Which::Key((*b"web").into()));
        assert_eq!(lists.edit(at, web), Ok(()));
        assert_eq!(lists.edit(at, add("10.0.0.1")), Ok(()));
        assert!(names.is_changed() && addresses.is_changed());
        assert_eq!(lists.entries(at).len(), 1);
    }

    #[test]
    fn deletion_of_a_missing_key_changes_nothing() {
        let lists = Lists::default();
        let at = list(&lists, &["web"]);
        let user = lists.user(how(Method::Str), vec![at]);
        let missing = || Edit::Delete(Which::Key((*b"x").into()));
        assert_eq!(lists.edit(at, missing()), Err(ListError::NotFound));
        assert!(!user.is_changed());
        lists.edit(at, add("y")).unwrap();
        assert_eq!(lists.edit(at, missing()), Err(ListError::NotFound));
        assert_eq!(lists.entries(at).len(), 2);
    }

    #[test]
    fn list_above_the_limit_can_become_shorter() {
        let key = || Which::Key((*b"x").into());
        for edit in [
            Edit::Clear,
            Edit::Delete(key()),
            Edit::Set(key(), Box::default()),
            Edit::Add(Vec::new()),
        ] {
            assert!(!edit.exceeds_limit(ENTRIES_MAX + 1), "{edit:?}");
        }
        assert!(add("x").exceeds_limit(ENTRIES_MAX));
        assert!(!add("x").exceeds_limit(ENTRIES_MAX - 1));
    }
}
