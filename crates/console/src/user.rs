//! Defines the users of the console and their roles.

use serde::{Deserialize, Serialize};

/// Role of a user. Each role includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserRole {
    #[default]
    Viewer,
    /// May take servers out of service and put them back, and move guests and other objects.
    Operator,
    Admin,
}

impl UserRole {
    pub const ALL: [UserRole; 3] = [UserRole::Viewer, UserRole::Operator, UserRole::Admin];

    pub fn word(self) -> &'static str {
        match self {
            UserRole::Viewer => "viewer",
            UserRole::Operator => "operator",
            UserRole::Admin => "admin",
        }
    }
}

/// Scope of a token: the maximum of what a program may do with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Read,
    Operate,
    Configure,
}

impl Scope {
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Operate, Scope::Configure];

    pub fn word(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Operate => "operate",
            Scope::Configure => "configure",
        }
    }

    pub fn at_most(self) -> UserRole {
        match self {
            Scope::Read => UserRole::Viewer,
            Scope::Operate => UserRole::Operator,
            Scope::Configure => UserRole::Admin,
        }
    }
}

/// A user who has signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Viewer {
    pub name: String,
    /// Name of the token with which a program acts for the user. None for a user in a browser.
    pub token: Option<String>,
    pub role: UserRole,
    pub csrf: String,
}

impl Viewer {
    pub fn shown(&self) -> String {
        match &self.token {
            Some(token) => format!("{} (token {token})", self.name),
            None => self.name.clone(),
        }
    }
}
