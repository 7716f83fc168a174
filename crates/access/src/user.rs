//! Defines the users of a section who may sign in, with their second factors.

use crate::ldap::LdapDirectory;
use crate::pam::System;
pub use crate::second_factor::SecondFactor;
use configuration::{Account, Password};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuthorizedUser {
    pub account: Account,
    #[serde(default)]
    pub second_factor: SecondFactor,
}

impl AuthorizedUser {
    pub fn new(account: Account) -> AuthorizedUser {
        AuthorizedUser {
            account,
            second_factor: SecondFactor::None,
        }
    }
}

/// Source of the users of a section.
pub trait Users: Sync {
    fn find(&self, name: &str) -> Option<(&Account, &SecondFactor)>;

    /// Returns any user as a decoy: the password of an unknown user is verified against this one,
    /// to take the same time.
    fn any(&self) -> Option<&Account>;

    fn system(&self) -> &System;

    fn has_system_users(&self) -> bool;

    fn directory(&self) -> Option<&LdapDirectory> {
        None
    }
}

/// Users of a section that stores no further data about them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct List {
    pub users: Vec<AuthorizedUser>,
    pub system: System,
    pub directory: Option<LdapDirectory>,
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

    fn has_system_users(&self) -> bool {
        let mut users = self.users.iter();
        users.any(|user| user.account.password == Password::System)
    }

    fn directory(&self) -> Option<&LdapDirectory> {
        self.directory.as_ref()
    }
}
