//! Defines the configuration of the console, as the console role receives it, and describes the
//! differences between two of them for operators.

use crate::user::{Scope, UserRole};
use ::access::pam::System;
use ::access::proxies::TrustedProxies;
use ::access::user::Users;
use configuration::{Account, Password};
use part::codec;
use serde::{Deserialize, Serialize};
use std::net::{Ipv6Addr, SocketAddr};

pub const PORT: u16 = 8600;

/// Configuration of the console of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    pub address: SocketAddr,
    pub security: Security,
    pub users: Vec<ConsoleUser>,
    #[serde(default)]
    pub tokens: Vec<Token>,
    #[serde(default)]
    pub system: System,
    #[serde(default)]
    pub proxies: TrustedProxies,
    /// Requires a PROXY header on connections from trusted proxies.
    #[serde(default)]
    pub accepts_proxy: bool,
    #[serde(default)]
    pub is_member: bool,
}

pub use ::access::user::SecondFactor;

/// TLS settings of the console.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Security {
    /// TLS with a self-signed certificate that the role creates.
    Own,
    /// TLS with this certificate, its issuers and its key, PEM.
    Certificate(#[serde(with = "serde_bytes")] Vec<u8>),
    /// No TLS: connections are accepted only from this machine, such as from a reverse proxy that
    /// terminates TLS.
    Plain,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConsoleUser {
    pub account: Account,
    pub role: UserRole,
    #[serde(default)]
    pub second_factor: SecondFactor,
}

/// A token with which a program acts for a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Token {
    pub name: String,
    /// User whose role the token has, within its scope.
    pub user: String,
    pub scope: Scope,
    /// Expiry time, seconds since 1970. None: never.
    pub until_s: Option<u64>,
    pub hash: [u8; 32],
}

impl Token {
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
    /// Decodes a payload.
    ///
    /// # Errors
    /// The payload is not a configuration of the console.
    pub fn read(payload: &[u8]) -> Result<Config, String> {
        codec::decode(payload).map_err(|error| error.to_string())
    }

    pub fn user(&self, name: &str) -> Option<&ConsoleUser> {
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

    fn has_system_users(&self) -> bool {
        let mut users = self.users.iter();
        users.any(|user| user.account.password == Password::System)
    }
}

/// Describes the differences between two payloads, a line each.
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
