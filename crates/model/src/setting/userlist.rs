//! `userlist`: users, their passwords and groups.

use crate::password::Hash;
use configuration::outside::Secret;
use std::sync::{Arc, OnceLock};

/// A password as the file gives it.
#[derive(Clone, Debug)]
pub enum Password {
    /// None, or one of a kind that is not verified: the user never comes in.
    None,
    /// `insecure-password`
    Clear(Secret),
    /// `password`
    Hashed(Arc<Hash>),
}

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name.
    pub name: Box<str>,
    /// Its password.
    pub password: Password,
    /// The groups that it is in.
    pub groups: Vec<Box<str>>,
}

/// A list of users.
#[derive(Clone, Debug, Default)]
pub struct Userlist {
    /// Its name.
    pub name: Box<str>,
    /// Its users, by name.
    pub users: Vec<User>,
    /// Its groups.
    pub groups: Vec<Box<str>>,
    /// What the password of a user who does not exist is compared with.
    pub decoy: Option<Arc<Hash>>,
}

impl Userlist {
    /// A user of it. Its users are in the order of their names.
    pub fn user(&self, name: &[u8]) -> Option<&User> {
        let at = self
            .users
            .binary_search_by(|user| user.name.as_bytes().cmp(name));
        self.users.get(at.ok()?)
    }
}

/// The list that an expression names: filled in when the whole file is known.
pub type UserlistSlot = Arc<OnceLock<Arc<Userlist>>>;
