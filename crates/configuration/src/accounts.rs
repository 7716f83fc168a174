//! Defines the users and groups that a section of one part of the platform exports, so that
//! another part can authenticate them.

use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Accounts {
    pub users: Vec<Account>,
    pub groups: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub groups: Vec<String>,
    pub password: Password,
}

/// A password as given in the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Password {
    /// No verifiable password: authentication always fails.
    None,
    /// Password that the operating system verifies (PAM).
    System,
    /// Password that a directory verifies (LDAP).
    Directory,
    Clear(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The hash in the format of crypt(3).
    Hashed(String),
}

impl Accounts {
    /// Kind under which the lists are exported and referred to.
    pub const KIND: &'static str = "userlist";
}
