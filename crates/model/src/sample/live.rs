//! Lists of patterns and maps that operators change while traffic flows
//! (`add map`, `del acl`…).
//!
//! What the file says stays in the tree, compiled, and is all that a request
//! looks at until the first change: one look at a flag. The first change makes an
//! index of the whole list that lies over it from then on; further ones change
//! what they mean in it. Rules (`set-map`, `add-acl`) change lists on threads that
//! serve, so theirs are made ready when the file is loaded. What was changed goes
//! on under the next configuration ([`carry`]). Patterns that stand in the
//! configuration itself end with it.

mod carry;
mod entries;
mod index;

use super::map::{Gives, parse};
use super::matching::Method;
use super::value::{Value, whole_integer};
use crate::clock::revision;
pub use carry::Changes;
use entries::Entries;
use index::Index;
use language::difference::is_suspect;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Most entries that a list may be changed to.
pub const ENTRIES_MAX: usize = 4 << 20;

/// Most entries that rules let a list grow to, and bytes of their keys and values:
/// clients may decide what they add. A longer file keeps what it has.
const RULE_ENTRIES_MAX: usize = 1 << 20;
const RULE_BYTES_MAX: usize = 64 << 20;

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

impl Entry {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, |value| value.len())
    }
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

/// What lies over the compiled patterns of one test or map.
#[derive(Debug)]
pub struct Live {
    how: How,
    /// The lists that it is made of, in this order.
    lists: Vec<usize>,
    changed: AtomicBool,
    overlay: RwLock<Option<Index>>,
}

impl Live {
    /// Whether something lies over what the file says.
    #[inline]
    pub fn is_changed(&self) -> bool {
        self.changed.load(Relaxed)
    }

    /// The number of the entry that a value matches, and what a map gives for it.
    pub fn find(&self, value: &Value<'_>) -> Option<(u64, Option<Value<'static>>)> {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        let ((_, number), value) = overlay.as_ref()?.find(value)?;
        Some((number, value.cloned()))
    }
}

impl Live {
    /// Takes a change of one of its lists into what lies over.
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

    /// What a map gives for a value, with the groups of its expression filled in.
    pub fn fill(&self, value: &Value<'_>) -> Option<Value<'static>> {
        let overlay = self.overlay.read().unwrap_or_else(PoisonError::into_inner);
        overlay.as_ref()?.fill(value)
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

/// One list: a file, or the patterns of one line.
#[derive(Debug)]
pub struct List {
    /// The file, as the configuration names it.
    pub file: Option<Arc<str>>,
    /// Its entries have values.
    pub is_map: bool,
    /// Who uses it, for people.
    pub used_by: String,
    /// Its entries are secrets, such as the keys of an API.
    is_secret: bool,
    base: Vec<Entry>,
    changed: Option<Arc<Entries>>,
    /// What an older configuration had, of which `changed` was made.
    adopted: Option<Arc<Entries>>,
    versions: Versions,
}

/// Versions of a list that are prepared beside the one in use.
#[derive(Clone, Default, Debug)]
struct Versions {
    /// The one in use.
    current: u32,
    /// The last that was prepared.
    last: u32,
    prepared: BTreeMap<u32, Arc<Entries>>,
}

impl Versions {
    /// One that is prepared.
    fn prepared(&mut self, version: u32) -> Result<&mut Arc<Entries>, ListError> {
        if version > self.last {
            return Err(ListError::Future);
        }
        self.prepared.get_mut(&version).ok_or(ListError::Range)
    }
}

impl List {
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
struct Inner {
    lists: Vec<List>,
    users: Vec<Arc<Live>>,
}

/// All lists of a configuration.
#[derive(Debug, Default)]
pub struct Lists {
    inner: Mutex<Inner>,
    /// What was changed under an older configuration is forgotten.
    takes_files: AtomicBool,
}

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
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a list in; a file that is there already is that one.
    pub fn add(
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
        let is_secret = file.as_deref().is_some_and(|file| {
            let name = file.rsplit('/').next().unwrap_or_default();
            is_suspect(name)
        });
        inner.lists.push(List {
            is_secret,
            file,
            is_map,
            used_by,
            base: entries.enumerate().map(entry).collect(),
            changed: None,
            adopted: None,
            versions: Versions::default(),
        });
        inner.lists.len() - 1
    }

    /// Says that the entries of a list are secrets.
    pub fn hide(&self, at: usize) {
        if let Some(list) = self.inner().lists.get_mut(at) {
            list.is_secret = true;
        }
    }

    /// Whether the entries of a list are secrets.
    pub fn is_secret(&self, at: usize) -> bool {
        let inner = self.inner();
        inner.lists.get(at).is_some_and(|list| list.is_secret)
    }

    /// A test or a map uses lists.
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
                entries: list.len(),
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
            .map_or_else(Vec::new, |list| list.entries().cloned().collect())
    }

    /// The entries of one of its versions; none of one that is no more.
    pub fn entries_of(&self, at: usize, version: u32) -> Vec<Entry> {
        let inner = self.inner();
        let Some(list) = inner.lists.get(at) else {
            return Vec::new();
        };
        match list.versions.prepared.get(&version) {
            Some(entries) => entries.iter().cloned().collect(),
            None if version == list.versions.current => list.entries().cloned().collect(),
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
        // What is bad is told now, not when all of it is to be used.
        let users = users.iter().filter(|user| user.lists.contains(&at));
        check(users.map(Arc::as_ref), &edit)?;
        // Not copied but for an older configuration that has it, too: it may
        // grow to millions, one after the other.
        let entries = Arc::make_mut(list.versions.prepared(version)?);
        if entries.len().saturating_add(edit.adds()) > ENTRIES_MAX {
            return Err(ListError::Full);
        }
        apply(entries, edit).map(drop)
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
        inner.replace(at, entries)?;
        if let Some(list) = inner.lists.get_mut(at) {
            list.versions.current = version;
            list.versions.prepared.retain(|other, _| *other > version);
        }
        revision::advance();
        Ok(())
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

    /// Changes a list for all that use it, or leaves all as it is. The first change
    /// of a list compiles it anew, unless it was made ready before
    /// ([`Lists::make_ready`]); further ones look at what they change only.
    pub fn edit(&self, at: usize, edit: Edit) -> Result<(), ListError> {
        self.inner().edit(at, edit)?;
        revision::advance();
        Ok(())
    }

    /// Makes a list ready to be changed by rules, on threads that serve.
    pub(crate) fn make_ready(&self, at: usize) -> Result<(), ListError> {
        self.inner().edit(at, Edit::Add(Vec::new()))
    }

    /// A rule gives a key this value, in a map, or adds it to a list of patterns
    /// unless it is there.
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

    /// A rule removes a key; it need not be there.
    pub fn take(&self, at: usize, key: &[u8]) -> Result<(), ListError> {
        match self.inner().edit(at, Edit::Delete(Which::Key(key.into()))) {
            Err(ListError::NotFound) => Ok(()),
            result => result,
        }
    }
}

/// What a change came to, for those who have compiled the list.
enum Changed {
    /// These are there now, or have another value.
    Put(Vec<Entry>),
    /// These are gone.
    Gone(Vec<Entry>),
    /// All are.
    Cleared,
}

impl Edit {
    /// How many entries it adds.
    fn adds(&self) -> usize {
        match self {
            Edit::Add(more) => more.len(),
            Edit::Set(..) | Edit::Delete(_) | Edit::Clear => 0,
        }
    }
}

/// Whether all users of a list can use what is added or set.
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

impl Inner {
    fn edit(&mut self, at: usize, edit: Edit) -> Result<(), ListError> {
        let Inner { lists, users } = self;
        let list = lists.get_mut(at).ok_or(ListError::NotFound)?;
        if list.len().saturating_add(edit.adds()) > ENTRIES_MAX {
            return Err(ListError::Full);
        }
        let of_list = users.iter().filter(|user| user.lists.contains(&at));
        check(of_list.clone().map(Arc::as_ref), &edit)?;
        let mut entries = match list.changed.take() {
            Some(entries) => entries,
            None => Arc::new(Entries::of(list.base.iter())),
        };
        let applied = apply(Arc::make_mut(&mut entries), edit);
        list.changed = Some(entries);
        let changed = applied?;
        for user in of_list {
            let mut overlay = user.overlay.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(index) = overlay.as_mut() {
                user.change(index, at, &changed)?;
                continue;
            }
            let index = index(lists, user)?;
            *overlay = Some(index);
            drop(overlay);
            user.changed.store(true, Relaxed);
        }
        Ok(())
    }

    /// Gives a list these entries, or leaves it as it is.
    fn replace(&mut self, at: usize, entries: Arc<Entries>) -> Result<(), ListError> {
        let list = self.lists.get_mut(at).ok_or(ListError::NotFound)?;
        let before = list.changed.replace(entries);
        let result = self.lay_over(at);
        if result.is_err()
            && let Some(list) = self.lists.get_mut(at)
        {
            list.changed = before;
        }
        result
    }

    /// Compiles a list for all that use it, and lays it over.
    fn lay_over(&self, at: usize) -> Result<(), ListError> {
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
            Method::Int | Method::Bool => Value::Int(whole_integer(text.as_bytes())?),
            Method::Ip => Value::ip(text.parse::<IpAddr>().ok()?),
            _ => Value::text(text.as_bytes()),
        };
        let list = self.lists.get(at)?;
        // Only which entry it is counts here.
        let how = How { gives: None, ..how };
        let index = Index::of(how, list.entries().map(|entry| (0, entry))).ok()?;
        let (_, number) = index.find(&value)?.0;
        list.entries().find(|entry| entry.number == number).cloned()
    }
}

/// The lists of a user as they are now, compiled for it.
fn index(lists: &[List], user: &Live) -> Result<Index, ListError> {
    let entries = user
        .lists
        .iter()
        .filter_map(|at| Some((*at, lists.get(*at)?)));
    let entries = entries.flat_map(|(at, list)| list.entries().map(move |entry| (at, entry)));
    Index::of(user.how, entries)
}
