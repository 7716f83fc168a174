//! What a file says of the console.

use crate::user::{Role, Scope};
use ::access::pam::System;
use ::access::proxies::TrustedProxies;
use ::access::user::Users;
use configuration::{Account, Password};
use part::codec;
use serde::{Deserialize, Serialize};
use std::net::{Ipv6Addr, SocketAddr};

/// The port where nothing else is said.
pub const PORT: u16 = 8600;

/// The console of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Where it listens.
    pub address: SocketAddr,
    /// How connections are secured.
    pub security: Security,
    /// Who may sign in, and what each may do.
    pub users: Vec<User>,
    /// What programs come with.
    #[serde(default)]
    pub tokens: Vec<Token>,
    /// Who checks the passwords of users of the system.
    #[serde(default)]
    pub system: System,
    /// The proxies in front.
    #[serde(default)]
    pub proxies: TrustedProxies,
    /// Connections of trusted proxies begin with a PROXY header.
    #[serde(default)]
    pub accepts_proxy: bool,
    /// The machine is a member of a cluster.
    #[serde(default)]
    pub is_member: bool,
}

pub use ::access::user::SecondFactor;

/// How connections are secured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Security {
    /// By a certificate that the role makes itself.
    Own,
    /// By this certificate with its issuers and its key, PEM.
    Certificate(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Not: only this machine reaches it, such as a proxy with a certificate of its own.
    Plain,
}

/// Somebody who may sign in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// As the list has them.
    pub account: Account,
    /// What they may do.
    pub role: Role,
    /// What they have besides the password.
    #[serde(default)]
    pub second_factor: SecondFactor,
}

/// What a program comes with, for a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Its name.
    pub name: String,
    /// The user whose role it has, within its scope.
    pub user: String,
    /// What it may at most.
    pub scope: Scope,
    /// When it expires, seconds since 1970.
    pub until_s: Option<u64>,
    /// The SHA-256 of its text.
    pub hash: [u8; 32],
}

impl Token {
    /// Whether it has expired, by seconds since 1970.
    pub fn has_expired(&self, now_s: u64) -> bool {
        self.until_s.is_some_and(|until_s| until_s <= now_s)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            address: SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)),
            security: Security::Own,
            users: Vec::new(),
            tokens: Vec::new(),
            system: System::default(),
            proxies: TrustedProxies::default(),
            accepts_proxy: false,
            is_member: false,
        }
    }
}

impl Config {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is none.
    pub fn read(payload: &[u8]) -> Result<Config, String> {
        codec::decode(payload).map_err(|error| error.to_string())
    }

    /// The user of a name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.account.name == name)
    }
}

impl Users for Config {
    fn find(&self, name: &str) -> Option<(&Account, &SecondFactor)> {
        let found = self.user(name)?;
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
}

/// What differs between two payloads, a line each.
pub fn difference(before: Option<&[u8]>, now: Option<&[u8]>) -> Vec<String> {
    let read = |payload: Option<&[u8]>| payload.and_then(|payload| Config::read(payload).ok());
    match (read(before), read(now)) {
        (None, Some(_)) => vec!["console added".to_owned()],
        (Some(_), None) => vec!["console removed".to_owned()],
        (Some(before), Some(now)) => {
            let mut lines = Vec::new();
            if before.address != now.address {
                let (before, now) = (before.address, now.address);
                lines.push(format!("console: address {before} -> {now}"));
            }
            if before.security != now.security {
                lines.push("console: certificate changed".to_owned());
            }
            if before.system != now.system {
                lines.push("console: PAM changed".to_owned());
            }
            if (&before.proxies, before.accepts_proxy) != (&now.proxies, now.accepts_proxy) {
                lines.push("console: trusted proxies changed".to_owned());
            }
            if before.users != now.users {
                lines.push("console: users changed".to_owned());
            }
            if before.tokens != now.tokens {
                lines.push("console: tokens changed".to_owned());
            }
            lines
        }
        (None, None) => Vec::new(),
    }
}
