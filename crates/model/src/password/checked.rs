//! What is known of the credentials of a stream.

use super::Hash;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What credentials are kept under.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key(pub(crate) [u8; 32]);

/// A password that is to be verified.
#[derive(Debug)]
pub struct Job {
    /// What its result is kept under.
    pub key: Key,
    /// The hash that it should have.
    pub hash: Arc<Hash>,
    /// It.
    pub password: Zeroizing<Vec<u8>>,
    /// The user exists; else the work is done so that nobody sees the difference.
    pub exists: bool,
}

/// Too many wait already, or the system gave no thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy;

/// Different credentials of one stream that are looked at: rules may change its
/// header, and there are several lists.
pub(crate) const ANSWERS_MAX: usize = 16;

/// What is known of the credentials of a stream.
#[derive(Debug, Default)]
pub struct Checked {
    pub(crate) answers: RefCell<Vec<(Key, Result<bool, Busy>)>>,
    pub(crate) wanted: RefCell<Option<Job>>,
    pub(crate) busy: Cell<bool>,
}

impl Checked {
    pub(crate) fn known(&self, key: &Key) -> Option<Result<bool, Busy>> {
        let answers = self.answers.borrow();
        let found = answers.iter().find(|(known, _)| known == key);
        found.map(|(_, answer)| *answer)
    }

    pub(crate) fn keep(&self, key: Key, answer: Result<bool, Busy>) {
        let mut answers = self.answers.borrow_mut();
        if answers.len() < ANSWERS_MAX {
            answers.push((key, answer));
        }
    }
}
