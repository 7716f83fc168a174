//! Who may sign in.

use crate::ldap::Directory;
use crate::pam::System;
pub use crate::second_factor::SecondFactor;
use configuration::{Account, Password};
use serde::{Deserialize, Serialize};

/// Somebody who may sign in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// As the list has them.
    pub account: Account,
    /// What they have besides the password.
    #[serde(default)]
    pub second_factor: SecondFactor,
}

impl User {
    /// A user with a password only.
    pub fn new(account: Account) -> User {
        User {
            account,
            second_factor: SecondFactor::None,
        }
    }
}

/// The users of a section.
pub trait Users: Sync {
    /// The user of a name, with what they have besides the password.
    fn find(&self, name: &str) -> Option<(&Account, &SecondFactor)>;

    /// Any user: the password of an unknown one is verified against theirs, to take the same time.
    fn any(&self) -> Option<&Account>;

    /// Who checks the passwords of users of the system.
    fn system(&self) -> &System;

    /// Whether the system checks the passwords of some users.
    fn asks_system(&self) -> bool;

    /// The directory that has the users who are not listed.
    fn directory(&self) -> Option<&Directory> {
        None
    }
}

/// Users of a section that says no more of them than how they sign in.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct List {
    /// The users.
    pub users: Vec<User>,
    /// Who checks the passwords of users of the system.
    pub system: System,
    /// The directory that has all other users.
    pub directory: Option<Directory>,
}

impl Users for List {
    fn find(&self, name: &str) -> Option<(&Account, &SecondFactor)> {
        let found = self.users.iter().find(|user| user.account.name == name)?;
        Some((&found.account, &found.second_factor))
    }

    fn any(&self) -> Option<&Account> {
        self.users.first().map(|user| &user.account)
    }

    fn system(&self) -> &System {
        &self.system
    }

    fn asks_system(&self) -> bool {
        let mut users = self.users.iter();
        users.any(|user| user.account.password == Password::System)
    }

    fn directory(&self) -> Option<&Directory> {
        self.directory.as_ref()
    }
}
