//! Who looks, and what they may do.

use serde::{Deserialize, Serialize};

/// What somebody may do; each may do what those before may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    #[default]
    Viewer,
    /// Take servers out and in, move what runs.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// Its word in files and on pages.
    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// What a token may at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// What an operator may.
    Operate,
    /// What an admin may.
    Configure,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Operate, Scope::Configure];

    /// Its word in files.
    pub fn word(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Operate => "operate",
            Scope::Configure => "configure",
        }
    }

    /// The role that a token of this scope has at most.
    pub fn at_most(self) -> Role {
        match self {
            Scope::Read => Role::Viewer,
            Scope::Operate => Role::Operator,
            Scope::Configure => Role::Admin,
        }
    }
}

/// Somebody who has signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Viewer {
    /// The name.
    pub name: String,
    /// The token by which a program asks for them.
    pub token: Option<String>,
    /// What they may do.
    pub role: Role,
    /// The token that each of their forms has.
    pub csrf: String,
}

impl Viewer {
    /// The name in events and logs.
    pub fn shown(&self) -> String {
        match &self.token {
            Some(token) => format!("{} (token {token})", self.name),
            None => self.name.clone(),
        }
    }
}
