//! Stores the results of verified passwords at a stream.

use super::Hash;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Key of the verification result for credentials.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key(pub(crate) [u8; 32]);

#[derive(Debug)]
pub struct PasswordCheck {
    pub key: Key,
    pub hash: Arc<Hash>,
    /// Password to verify; wiped when dropped.
    pub password: Zeroizing<Vec<u8>>,
    /// True if the user exists. Otherwise the work is only done so that the response time does not
    /// reveal that.
    pub exists: bool,
}

/// Too many verifications are waiting, or the system could not create a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy;

/// Maximum number of different credentials that are verified for a stream: rules may change the
/// header, and there may be several userlists.
pub(crate) const ANSWERS_MAX: usize = 16;

#[derive(Debug, Default)]
pub struct Checked {
    pub(crate) answers: RefCell<Vec<(Key, Result<bool, Busy>)>>,
    pub(crate) wanted: RefCell<Option<PasswordCheck>>,
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
