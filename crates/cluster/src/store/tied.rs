//! Opens a store together with its promise file, compares the two, and ties new stores to new
//! promise files.

use crate::command::VersionId;
use crate::log::{LogId, Vote};
use crate::store::backlog::Backlog;
use crate::store::disk::{Disk, Op};
use crate::store::error::Loss;
use crate::store::promise::{self, Keeper, Nonce, Promise, StoreOwner};
use crate::store::{Done, Store, StoreError};
use part::codec;
use part::lock;
use redb::StorageBackend;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Owner of a store, and the nonce of its promise file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct OwnerRecord {
    owner: StoreOwner,
    nonce: Nonce,
}

/// The result of opening a store with its promise file.
pub enum OpenedStore {
    Whole(Store),
    /// Promised data is missing: the store must not be used.
    Lost(Loss),
}

/// Location of a promise file.
pub enum PromiseLocation<'p> {
    Path(&'p Path),
    /// In another backend, for simulations.
    Backend(Box<dyn Fn() -> Box<dyn StorageBackend> + 'p>),
}

impl PromiseLocation<'_> {
    fn read(&self) -> io::Result<PromiseFile> {
        let file = match self {
            PromiseLocation::Path(path) => promise::open(path)?,
            PromiseLocation::Backend(open) => Some(Backlog::of(open())),
        };
        let Some(file) = file else {
            return Ok(PromiseFile::None);
        };
        let empty = file.len()? == 0;
        Ok(match Keeper::read(file)? {
            Some(keeper) => PromiseFile::Promise(keeper),
            // In simulations a missing file is represented by an empty one.
            None if empty && matches!(self, PromiseLocation::Backend(_)) => PromiseFile::None,
            None => PromiseFile::Damaged,
        })
    }

    fn make(&self, promise: Promise) -> io::Result<Keeper> {
        let file = match self {
            PromiseLocation::Path(path) => promise::make(path)?,
            PromiseLocation::Backend(open) => Backlog::of(open()),
        };
        Keeper::make(file, promise)
    }
}

enum PromiseFile {
    None,
    Damaged,
    Promise(Keeper),
}

impl Store {
    /// Opens the store of a member with its promise file. A store from before the promise files
    /// gets one, and its contents are accepted as they are.
    ///
    /// # Errors
    /// Returns errors that are temporary or need an operator: the disk fails, another process has
    /// the store open, a newer release of evenkeel wrote it.
    pub fn open_tied(
        path: &Path,
        at: &Path,
        owner: &StoreOwner,
    ) -> Result<OpenedStore, StoreError> {
        if !path.try_exists().map_err(|error| io_error(path, error))? {
            return Ok(OpenedStore::Lost(Loss::Missing));
        }
        // Checks the size first, because redb would create a new database in an empty file.
        let empty = std::fs::metadata(path).map_err(|error| io_error(path, error))?;
        if empty.len() == 0 {
            return Ok(OpenedStore::Lost(Loss::Empty));
        }
        match Store::open(path) {
            Ok(store) => store.compare_with_promise(&PromiseLocation::Path(at), owner),
            Err(StoreError::Damaged { damage, .. }) => Ok(OpenedStore::Lost(Loss::Damaged(damage))),
            Err(error) => Err(error),
        }
    }

    /// Compares an open store with its promise file.
    ///
    /// # Errors
    /// Fails if the store or the promise file cannot be read or written. Missing promised data is
    /// no error, but [`OpenedStore::Lost`].
    pub fn compare_with_promise(
        mut self,
        at: &PromiseLocation<'_>,
        owner: &StoreOwner,
    ) -> Result<OpenedStore, StoreError> {
        let failed = |error| self.promise_error(error);
        let tie = self.disk.tie()?;
        let found = at.read().map_err(failed)?;
        let mut keeper = match (tie, found) {
            (_, PromiseFile::Damaged) => return Ok(OpenedStore::Lost(Loss::Unpromised)),
            (Some(_), PromiseFile::None) => return Ok(OpenedStore::Lost(Loss::Unpromised)),
            (Some(tie), PromiseFile::Promise(keeper)) => {
                if tie.owner != *owner || keeper.promise().owner != *owner {
                    return Ok(OpenedStore::Lost(Loss::Foreign));
                }
                if tie.nonce != keeper.promise().nonce {
                    return Ok(OpenedStore::Lost(Loss::Untied));
                }
                keeper
            }
            (None, PromiseFile::Promise(keeper)) if keeper.promise().tying => {
                if keeper.promise().owner != *owner {
                    return Ok(OpenedStore::Lost(Loss::Foreign));
                }
                keeper
            }
            (None, PromiseFile::Promise(_)) => return Ok(OpenedStore::Lost(Loss::Untied)),
            (None, PromiseFile::None) => {
                // Creates a promise file for a store from before the promise files. An empty store
                // has lost its content: joining and founding tie their stores themselves.
                if self.vote().is_none() && self.end().is_none() {
                    return Ok(OpenedStore::Lost(Loss::Empty));
                }
                at.make(upgrading(owner)?).map_err(failed)?
            }
        };
        if self.disk.is_condemned()? || !self.has(keeper.promise()) {
            return Ok(OpenedStore::Lost(Loss::Older));
        }
        if keeper.promise().tying {
            self.disk.write_tie(&OwnerRecord {
                owner: owner.clone(),
                nonce: keeper.promise().nonce,
            })?;
        }
        // Restores what a power cut removed from the promise file.
        let (starts, vote, end) = (self.starts(), self.vote(), self.end());
        keeper
            .change(|promise| {
                promise.tying = false;
                promise.starts = promise.starts.max(starts);
                promise.vote = vote;
                promise.last = end;
            })
            .map_err(|error| self.promise_error(error))?;
        self.keep_promises(keeper);
        Ok(OpenedStore::Whole(self))
    }

    /// Ties a new, empty store to a new promise file. With a `loss` the store replaces a lost one:
    /// the promises about starts and versions remain, and the others must admit the member again.
    ///
    /// # Errors
    /// Fails if the store or the promise file cannot be read or written, or if the system has no
    /// random numbers.
    pub fn renew(
        mut self,
        at: &PromiseLocation<'_>,
        owner: &StoreOwner,
        loss: Option<&Loss>,
    ) -> Result<Store, StoreError> {
        let failed = |error| self.promise_error(error);
        let before = match at.read().map_err(failed)? {
            PromiseFile::Promise(keeper) if keeper.promise().owner == *owner => {
                keeper.promise().clone()
            }
            _ => Promise::default(),
        };
        let before = match loss {
            Some(_) => before,
            None => Promise::default(),
        };
        let nonce = nonce()?;
        self.disk.write_tie(&OwnerRecord {
            owner: owner.clone(),
            nonce,
        })?;
        if let Some(loss) = loss {
            self.disk.write_lost(&loss.to_string())?;
            lock(&self.book).lost = Some(loss.to_string());
        }
        self.disk.write(&[Op::Starts(before.starts)], true)?;
        lock(&self.book).starts = before.starts;
        let promise = Promise {
            owner: owner.clone(),
            nonce,
            starts: before.starts,
            accepted: before.accepted,
            ..Promise::default()
        };
        let keeper = at.make(promise).map_err(failed)?;
        self.keep_promises(keeper);
        Ok(self)
    }

    /// Simulates a crash between the two steps of an upgrade.
    #[cfg(test)]
    pub(super) fn stop_in_the_middle_of_an_upgrade(
        &self,
        at: &PromiseLocation<'_>,
        owner: &StoreOwner,
    ) {
        drop(at.make(upgrading(owner).unwrap()).unwrap());
    }

    fn keep_promises(&mut self, keeper: Keeper) {
        let keeper = Arc::new(Mutex::new(keeper));
        self.executor.keep_promises(keeper.clone());
        self.promises = Some(keeper);
    }

    /// Returns the last position that the log, its purged part or the snapshot reaches.
    fn end(&self) -> Option<LogId> {
        let book = lock(&self.book);
        let snapshot = book.snapshot.as_ref().and_then(|meta| meta.last_log_id);
        book.last.max(book.purged).max(snapshot)
    }

    fn has(&self, promise: &Promise) -> bool {
        let vote: Option<Vote> = self.vote();
        let votes = match (promise.vote, vote) {
            (None, _) => true,
            (Some(promised), Some(vote)) => promise::is_kept(promised, vote),
            (Some(_), None) => false,
        };
        votes && self.end() >= promise.last && lock(&self.book).starts >= promise.starts
    }

    fn promise_error(&self, error: io::Error) -> StoreError {
        io_error(&self.disk.path().with_file_name("promise"), error)
    }

    /// Returns why the others must admit this member again; None if the member takes part.
    pub fn lost(&self) -> Option<String> {
        lock(&self.book).lost.clone()
    }

    /// Records that the others admitted this member again; `done` is called when that is
    /// on disk.
    pub fn found_again(&self, starts: u64, done: Done) {
        {
            let mut book = lock(&self.book);
            book.lost = None;
            book.starts = book.starts.max(starts);
        }
        self.write(vec![Op::Starts(starts), Op::Found], true, 0, done);
    }

    /// Promises that this node accepted a version. The promise is on disk on return.
    ///
    /// # Errors
    /// Fails if the promise file cannot be written.
    pub fn accepts(&self, version: VersionId) -> Result<(), StoreError> {
        let Some(promises) = &self.promises else {
            return Ok(());
        };
        let mut keeper = promises.lock().unwrap_or_else(PoisonError::into_inner);
        keeper
            .change(|promise| promise.accepted = promise.accepted.max(Some(version)))
            .map_err(|error| self.promise_error(error))
    }

    pub fn accepted_before(&self) -> Option<VersionId> {
        let keeper = self.promises.as_ref()?.lock();
        let keeper = keeper.unwrap_or_else(PoisonError::into_inner);
        keeper.promise().accepted
    }

    /// Records that another member knows of a promise that this store does not have: the store
    /// counts as lost when it is opened the next time.
    pub fn condemn(&self, done: Done) {
        self.write(vec![Op::Condemn], true, 0, done);
    }

    pub fn starts(&self) -> u64 {
        lock(&self.book).starts
    }
}

fn io_error(path: &Path, error: io::Error) -> StoreError {
    StoreError::Disk {
        path: path.to_owned(),
        source: Arc::new(redb::Error::Io(error)),
    }
}

/// Returns the promise for a store that has no promise file yet.
fn upgrading(owner: &StoreOwner) -> Result<Promise, StoreError> {
    Ok(Promise {
        owner: owner.clone(),
        nonce: nonce()?,
        tying: true,
        ..Promise::default()
    })
}

fn nonce() -> Result<Nonce, StoreError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| StoreError::Ended)?;
    Ok(Nonce(bytes))
}

impl Disk {
    fn tie(&self) -> Result<Option<OwnerRecord>, StoreError> {
        self.meta(super::disk::TIE)
    }

    fn is_condemned(&self) -> Result<bool, StoreError> {
        Ok(self.meta::<bool>(super::disk::CONDEMNED)?.unwrap_or(false))
    }

    fn write_tie(&self, tie: &OwnerRecord) -> Result<(), StoreError> {
        self.write(&[Op::Value(super::disk::TIE, codec::encode(tie))], true)
    }

    fn write_lost(&self, why: &str) -> Result<(), StoreError> {
        self.write(&[Op::Value(super::disk::LOST, codec::encode(why))], true)
    }
}
