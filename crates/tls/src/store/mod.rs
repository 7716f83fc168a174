//! Stores the certificates, CA files, CRL files and crt-lists of a configuration, by the names
//! that operators use, and the changes that operators make. A change is prepared for every line
//! that uses the file, then applied to all of them or to none. Handshakes never read the store.

mod command;
mod lists;
mod ocsp;
mod orders;
mod show;

pub use command::StoreError;
pub use orders::StoreOrder;

use super::authorities::Authorities;
use super::certified::{Certified, Parts};
use super::crt_list::List;
use super::revocation::Revocations;
use super::tickets::FileKeys;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Place in the configuration of a line that uses files of the store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigLocation {
    /// Section, such as `Proxy 'www'`.
    pub owner: Box<str>,
    /// Line, such as `bind '*:443'`.
    pub what: Box<str>,
    /// File and line number, such as `haproxy.cfg:12`.
    pub line: Box<str>,
}

/// Second phase of a change: installs the prepared state. Cannot fail.
pub type Prepared = Box<dyn FnOnce() + Send>;

/// A line of the configuration that uses files of the store, such as a `bind` line. A change is
/// applied in two phases: all of them prepare, and only if none fails does each install its new
/// state.
pub trait Dependent: Send + Sync {
    /// Builds the new state from the store without using it yet.
    ///
    /// # Errors
    /// A message for the operator: the store lacks a file, or the files do not fit the settings.
    fn prepare(self: Arc<Self>, stock: &Stock) -> Result<Prepared, String>;
    /// Returns how often the line presents a certificate.
    fn certificate_uses(&self, name: &str) -> usize;
    /// Returns how often the line uses a crt-list.
    fn list_uses(&self, name: &str) -> usize;
    /// Returns whether the line presents the first certificate of a crt-list if no name matches.
    fn is_default_for_list(&self, name: &str) -> bool {
        self.list_uses(name) > 0
    }
    /// Returns how many of the line's certificates are used together with a CA file or CRL file.
    fn file_uses(&self, name: &str) -> usize;
    /// Returns whether the line names a CA file or CRL file.
    fn names_file(&self, name: &str) -> bool;
    fn place(&self) -> &ConfigLocation;
}

/// The files by name. None: an operator has created the file, and it is still empty.
#[derive(Debug, Default)]
pub struct Stock {
    certificates: BTreeMap<Box<str>, Option<Arc<Certified>>>,
    authorities: BTreeMap<Box<str>, Option<Arc<Authorities>>>,
    revocations: BTreeMap<Box<str>, Option<Arc<Revocations>>>,
    lists: BTreeMap<Box<str>, List>,
}

/// A name that the store does not have.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not loaded")]
pub struct Missing(Box<str>);

fn found<'m, T>(map: &'m BTreeMap<Box<str>, Option<T>>, name: &str) -> Result<&'m T, Missing> {
    let found = map.get(name).and_then(Option::as_ref);
    found.ok_or_else(|| Missing(name.into()))
}

impl Stock {
    /// Returns the certificate with this name.
    ///
    /// # Errors
    /// The store has no such certificate, or it is still empty.
    pub fn certificate(&self, name: &str) -> Result<&Arc<Certified>, Missing> {
        found(&self.certificates, name)
    }

    /// Returns the CA certificates of a file.
    ///
    /// # Errors
    /// The store has no such file, or it is still empty.
    pub fn authorities(&self, name: &str) -> Result<Arc<Authorities>, Missing> {
        found(&self.authorities, name).map(Arc::clone)
    }

    /// Returns the revocations of a CRL file.
    ///
    /// # Errors
    /// The store has no such file, or it is still empty.
    pub fn revocations(&self, name: &str) -> Result<Arc<Revocations>, Missing> {
        found(&self.revocations, name).map(Arc::clone)
    }

    /// Returns the crt-list with this name.
    ///
    /// # Errors
    /// The store has no such list.
    pub fn list(&self, name: &str) -> Result<&List, Missing> {
        let list = self.lists.get(name);
        list.ok_or_else(|| Missing(name.into()))
    }
}

/// An uncommitted change. There is at most one of each kind.
#[derive(Debug)]
struct Transaction<T> {
    name: Box<str>,
    new: T,
}

#[derive(Default)]
struct StoreState {
    stock: Stock,
    certificate: Option<Transaction<Parts>>,
    authorities: Option<Transaction<Arc<Authorities>>>,
    revocations: Option<Transaction<Arc<Revocations>>>,
    dependents: Vec<Weak<dyn Dependent>>,
    /// Keys of the files of `tls-ticket-keys`, by the name of the file. The files are in the order
    /// in which lines first named them.
    ticket_keys: Vec<(Box<str>, Arc<FileKeys>)>,
    orders: orders::StoreOrders,
}

/// The store of a configuration.
#[derive(Default)]
pub struct Store(Mutex<StoreState>);

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        write!(f, "Store({} certificates)", inner.stock.certificates.len())
    }
}

impl Store {
    fn inner(&self) -> MutexGuard<'_, StoreState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn with<R>(&self, look: impl FnOnce(&Stock) -> R) -> R {
        look(&self.inner().stock)
    }

    pub fn certificate(&self, name: &str) -> Option<Arc<Certified>> {
        let inner = self.inner();
        inner.stock.certificate(name).ok().map(Arc::clone)
    }

    pub fn authorities(&self, name: &str) -> Option<Arc<Authorities>> {
        self.inner().stock.authorities(name).ok()
    }

    pub fn revocations(&self, name: &str) -> Option<Arc<Revocations>> {
        self.inner().stock.revocations(name).ok()
    }

    pub fn has_certificate(&self, name: &str) -> bool {
        self.inner().stock.certificates.contains_key(name)
    }

    pub fn has_list(&self, name: &str) -> bool {
        self.inner().stock.lists.contains_key(name)
    }

    pub fn add_certificate(&self, name: &str, certified: Certified) {
        let mut inner = self.inner();
        let certified = Some(Arc::new(certified));
        inner.stock.certificates.insert(name.into(), certified);
    }

    pub fn add_authorities(&self, name: &str, authorities: Arc<Authorities>) {
        let mut inner = self.inner();
        inner
            .stock
            .authorities
            .insert(name.into(), Some(authorities));
    }

    pub fn add_revocations(&self, name: &str, revocations: Arc<Revocations>) {
        let mut inner = self.inner();
        inner
            .stock
            .revocations
            .insert(name.into(), Some(revocations));
    }

    pub fn add_list(&self, name: &str, list: List) {
        self.inner().stock.lists.insert(name.into(), list);
    }

    /// Returns the keys of a file, which all lines that name the file share. The first call for a
    /// file stores `read`, the keys in the file; later calls return the stored keys and drop
    /// `read`.
    pub fn ticket_keys_of(&self, name: &str, read: FileKeys) -> Arc<FileKeys> {
        let mut inner = self.inner();
        let known = inner.ticket_keys.iter().find(|(known, _)| **known == *name);
        if let Some((_, ring)) = known {
            return Arc::clone(ring);
        }
        let ring = Arc::new(read);
        inner.ticket_keys.push((name.into(), Arc::clone(&ring)));
        ring
    }

    /// Returns all files with ticket keys, in HAProxy's order: the last named comes first.
    pub fn ticket_keys(&self) -> Vec<(Box<str>, Arc<FileKeys>)> {
        self.inner().ticket_keys.iter().rev().cloned().collect()
    }

    /// Registers a line that uses files of the store. It is notified of changes until it is
    /// dropped.
    pub fn register_dependent(&self, dependent: Weak<dyn Dependent>) {
        self.inner().dependents.push(dependent);
    }
}

impl StoreState {
    fn dependents(&mut self) -> Vec<Arc<dyn Dependent>> {
        self.dependents.retain(|one| one.strong_count() > 0);
        self.dependents.iter().filter_map(Weak::upgrade).collect()
    }

    /// Lets the lines for which `uses` returns a number prepare for a change, and then applies it.
    /// Returns the sum of these numbers. If one of them fails, nothing is applied.
    fn publish(&mut self, uses: impl Fn(&dyn Dependent) -> Option<usize>) -> Result<usize, String> {
        let (mut prepared, mut count) = (Vec::new(), 0);
        for dependent in self.dependents() {
            let Some(used) = uses(&*dependent) else {
                continue;
            };
            count += used;
            let place = dependent.place().clone();
            let made = dependent.prepare(&self.stock);
            let told = |why| {
                let ConfigLocation { owner, what, line } = place;
                format!("{owner}: {why} for {what} at [{line}].")
            };
            prepared.push(made.map_err(told)?);
        }
        prepared.into_iter().for_each(|take_in| take_in());
        Ok(count)
    }

    fn publish_list(&mut self, name: &str) -> Result<usize, String> {
        self.publish(|one| Some(one.list_uses(name)).filter(|uses| *uses > 0))
    }
}

#[cfg(test)]
mod tests;
