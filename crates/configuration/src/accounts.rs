//! Users as one part's sections define them, and another part signs them in.

use serde::{Deserialize, Serialize};

/// A list of users.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Accounts {
    /// Its users, by name.
    pub users: Vec<Account>,
    /// Its groups.
    pub groups: Vec<String>,
}

/// A user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The name.
    pub name: String,
    /// The groups that it is in.
    pub groups: Vec<String>,
    /// How it proves who it is.
    pub password: Password,
}

/// A password as the file gives it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Password {
    /// None that could be verified: the user never comes in.
    None,
    /// The system checks it (PAM).
    System,
    /// A directory checks it (LDAP).
    Directory,
    /// The password itself.
    Clear(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Its hash, as crypt(3) writes it.
    Hashed(String),
}

impl Accounts {
    /// The kind of these lists, for references to one.
    pub const KIND: &'static str = "userlist";
}
