//! Holds the settings of `userlist` sections: users, their passwords and groups.

use crate::password::Hash;
use configuration::outside::Secret;
use std::sync::{Arc, OnceLock};

#[derive(Clone, Debug)]
pub enum Password {
    /// No password, or a hash of an unsupported kind: the user is never accepted.
    None,
    Clear(Secret),
    Hashed(Arc<Hash>),
}

#[derive(Clone, Debug)]
pub struct UserAccount {
    pub name: Box<str>,
    pub password: Password,
    pub groups: Vec<Box<str>>,
}

#[derive(Clone, Debug, Default)]
pub struct Userlist {
    pub name: Box<str>,
    /// Users of the list, sorted by name.
    pub users: Vec<UserAccount>,
    pub groups: Vec<Box<str>>,
    /// Hash that is computed for an unknown user, so that the response time does not reveal which
    /// users exist.
    pub decoy: Option<Arc<Hash>>,
}

impl Userlist {
    pub fn user(&self, name: &[u8]) -> Option<&UserAccount> {
        let at = self
            .users
            .binary_search_by(|user| user.name.as_bytes().cmp(name));
        self.users.get(at.ok()?)
    }
}

/// List that an expression refers to; set when the whole file is loaded.
pub type UserlistSlot = Arc<OnceLock<Arc<Userlist>>>;
