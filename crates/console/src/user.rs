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

/// Somebody who has signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Viewer {
    /// The name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The token that each of their forms has.
    pub csrf: String,
}
