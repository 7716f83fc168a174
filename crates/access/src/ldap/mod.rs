//! Authenticates users of an LDAP directory, such as Active Directory or OpenLDAP, which has their
//! names, groups and passwords. The user's entry is found by a search for the name; then the
//! password is verified by a bind.
//!
//! Sends no user data to a server before TLS has begun, unless the line has the option `plain`, and
//! no empty password to any server.

mod connection;
mod name;
mod names;
mod standing;
#[cfg(test)]
mod tests;

pub use name::TypedName;
pub use standing::LdapAvailability;

use crate::second_factor::SecondFactor;
use connection::Connection;
pub(crate) use connection::roots;
use protocol::ldap::{LdapEntry, LdapFilter, code, escape, first_value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::timeout;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(15);
const GROUPS_MAX: u32 = 1_000;
/// Attribute list of a search that requests no attribute (RFC 4511 section 4.5.1.8): the
/// distinguished name of a group is enough.
const NONE: &str = "1.1";
/// Placeholder in a filter for the user's name without its domain.
pub const SHORT: &str = "%u";
/// Placeholder in a filter for the name as the user typed it.
pub const TYPED: &str = "%n";
/// Placeholder in a filter for the distinguished name of the user.
pub const DISTINGUISHED: &str = "%d";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Security {
    Tls,
    StartTls,
    Plain,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Server {
    /// Host name, which its certificate must have.
    pub name: String,
    #[serde(default)]
    pub port: u16,
    /// Addresses to which the name was resolved when the configuration was loaded. Empty: the name
    /// had no address then.
    pub addresses: Vec<SocketAddr>,
    pub security: Security,
}

/// Source of the groups of a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Grouping {
    Attribute(String),
    Filter(String),
}

/// Directory, and the conditions under which its users may sign in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LdapDirectory {
    /// Servers. The next one is tried when one does not respond.
    pub servers: Vec<Server>,
    /// CA certificates for the servers, PEM.
    #[serde(with = "serde_bytes")]
    pub authorities: Vec<u8>,
    pub base: String,
    /// Distinguished name and password of the account for searches. None: anonymous.
    pub account: Option<(String, Vec<u8>)>,
    pub filter: String,
    pub grouping: Grouping,
    /// Groups whose users may sign in. Empty: all users.
    pub only: Vec<String>,
    /// Groups that lines of the section name. Other groups of a user are not passed on.
    pub named: Vec<String>,
    /// Second factors by the name of the user in lower case.
    pub second_factors: BTreeMap<String, SecondFactor>,
    pub second_factor_required: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryUser {
    distinguished: String,
    /// Name as the directory has it, in lower case and without a domain.
    pub name: String,
    pub groups: Vec<String>,
}

/// Reason why no server could search for a user.
#[derive(Debug)]
pub struct Unfound {
    /// True if a server received the search for this user, but gave no result.
    pub has_answer: bool,
    pub words: String,
}

/// Reason why a server could not search for a user.
enum Failed {
    Server(String),
    /// The search for this user failed, but one for another user may succeed. True if it timed out.
    Search(String, bool),
}

/// The directory has several entries for a name.
struct Several;

/// Connection to the server that found a user, by which the user's password is verified.
pub struct BindConnection {
    connection: Connection,
    server: Server,
    address: SocketAddr,
}

impl LdapDirectory {
    /// Finds a user by name. `Ok` with None: the directory has none, or several.
    ///
    /// # Errors
    /// No server could search for the user.
    pub async fn find(
        &self,
        asked: &TypedName,
        standing: &LdapAvailability,
    ) -> Result<(BindConnection, Option<DirectoryUser>), Unfound> {
        let servers = standing.resolved_servers(&self.servers).await;
        let nowhere = servers.iter().filter(|server| server.addresses.is_empty());
        let nowhere = nowhere
            .map(|server| format!("{}: the name does not resolve to an address", server.name));
        let mut troubles: Vec<String> = nowhere.collect();
        let mut has_answer = false;
        let search = async {
            for (server, address) in standing.order(&servers) {
                let why = match self.find_at(server, address, asked).await {
                    Ok((seat, found)) => {
                        standing.note_response(server, address);
                        return Some((seat, found));
                    }
                    Err(Failed::Server(why)) => {
                        standing.note_no_response(server, address, &why);
                        why
                    }
                    Err(Failed::Search(why, is_late)) => {
                        if is_late {
                            standing.note_no_response(server, address, &why)
                        } else {
                            standing.note_response(server, address)
                        }
                        has_answer = true;
                        why
                    }
                };
                troubles.push(format!("{} ({address}): {why}", server.name));
            }
            None
        };
        let found = timeout(LIMIT, search).await;
        match found {
            Err(_) => troubles.push(late(LIMIT)),
            Ok(None) if !has_answer => standing.note_no_server(),
            Ok(_) => {}
        }
        let Some((seat, found)) = found.ok().flatten() else {
            let troubles = troubles.join("; ");
            return Err(Unfound {
                has_answer,
                words: format!("cannot query the LDAP directory: {troubles}"),
            });
        };
        let found = found.unwrap_or_else(|Several| {
            let name = asked.typed.escape_debug();
            standing.log(&format!(
                "'filter' finds several entries of the LDAP directory for '{name}': none of them can sign in by this name"
            ));
            None
        });
        Ok((seat, found))
    }

    async fn find_at(
        &self,
        server: &Server,
        address: SocketAddr,
        asked: &TypedName,
    ) -> Result<(BindConnection, Result<Option<DirectoryUser>, Several>), Failed> {
        let connected = self.connect(server, address).await;
        let mut connection = connected.map_err(Failed::Server)?;
        let found = self.search(&mut connection, asked).await?;
        let seat = BindConnection {
            connection,
            server: server.clone(),
            address,
        };
        Ok((seat, found))
    }

    async fn connect(&self, server: &Server, address: SocketAddr) -> Result<Connection, String> {
        let connected = async {
            let mut connection = Connection::open(server, address, &self.authorities).await?;
            self.sign_in(&mut connection).await?;
            Ok(connection)
        };
        let connected = timeout(CONNECT_LIMIT, connected).await;
        connected.unwrap_or_else(|_| Err(late(CONNECT_LIMIT)))
    }

    /// Probes the servers that did not respond and are due for another attempt.
    pub async fn probe_due_servers(&self, standing: &LdapAvailability) {
        let servers = standing.resolved_servers(&self.servers).await;
        for (server, address) in standing.servers_due_for_probe(&servers, Instant::now()) {
            match self.connect(server, address).await {
                Ok(connection) => {
                    connection.close().await;
                    standing.note_response(server, address);
                }
                Err(why) => standing.note_no_response(server, address, &why),
            }
        }
    }

    async fn sign_in(&self, connection: &mut Connection) -> Result<(), String> {
        let Some((name, password)) = &self.account else {
            return Ok(());
        };
        let outcome = connection.bind(name, password).await?;
        match outcome.code {
            code::SUCCESS => Ok(()),
            code => Err(refused(&format!("bind-dn {name}"), code, &outcome.words)),
        }
    }

    async fn search(
        &self,
        connection: &mut Connection,
        asked: &TypedName,
    ) -> Result<Result<Option<DirectoryUser>, Several>, Failed> {
        let (short, typed) = (escape(&asked.short), escape(&asked.typed));
        let filled = |text: &str| fill_filter(text, &[(SHORT, &short), (TYPED, &typed)]);
        let failed = |why| Failed::Search(why, false);
        let filter = filled(&self.filter).map_err(failed)?;
        // Selects the attribute that has the name, which the filter determines.
        let template = LdapFilter::parse(&self.filter);
        let template = template.map_err(|error| failed(error.to_string()))?;
        let naming = template.equal_to(&[SHORT, TYPED]);
        let mut attributes = naming.clone();
        if let Grouping::Attribute(name) = &self.grouping {
            attributes.push(name);
        }
        let found = connection.search(&self.base, &filter, &attributes, 2);
        let found = timeout(ANSWER_LIMIT, found).await;
        let found = found.map_err(|_| Failed::Server(late(ANSWER_LIMIT)))?;
        let (mut entries, has_more) = found.map_err(failed)?;
        let last = entries.pop();
        if has_more || !entries.is_empty() {
            return Ok(Err(Several));
        }
        // Skips an entry without a name, because a bind to an empty name would be an anonymous one.
        let Some(entry) = last.filter(|entry| !entry.name.is_empty()) else {
            return Ok(Ok(None));
        };
        let Some(name) = named(&entry, &naming) else {
            return Ok(Ok(None));
        };
        let groups: Vec<String> = match &self.grouping {
            Grouping::Attribute(attribute) => entry.values(attribute).to_vec(),
            Grouping::Filter(text) => {
                let own = escape(&entry.name);
                let values = [(SHORT, &*short), (TYPED, &typed), (DISTINGUISHED, &own)];
                let found = self.groups(connection, fill_filter(text, &values), &entry.name);
                // Fails only this search at a timeout: the groups of another user may be found
                // quickly.
                let found = timeout(ANSWER_LIMIT, found).await;
                let found = found.map_err(|_| Failed::Search(late(ANSWER_LIMIT), true))?;
                found.map_err(failed)?
            }
        };
        Ok(Ok(Some(DirectoryUser {
            distinguished: entry.name,
            name,
            groups: self.of_lines(&groups),
        })))
    }

    /// Returns the distinguished names of the groups that a filter finds. `name` is the user's
    /// name.
    async fn groups(
        &self,
        connection: &mut Connection,
        filter: Result<LdapFilter, String>,
        name: &str,
    ) -> Result<Vec<String>, String> {
        let filter = filter?;
        let found = connection.search(&self.base, &filter, &[NONE], GROUPS_MAX);
        let (found, has_more) = found.await?;
        if has_more {
            Err(format!(
                "{name} is in more groups than it returns, at most {GROUPS_MAX}: narrow 'group-filter'"
            ))
        } else {
            Ok(found.into_iter().map(|group| group.name).collect())
        }
    }

    /// Returns the groups that configuration lines name, from the distinguished names of all groups
    /// of a user. A line names a group by its distinguished name, or by the first value in that.
    fn of_lines(&self, groups: &[String]) -> Vec<String> {
        let lower: Vec<(String, String)> = groups
            .iter()
            .map(|group| {
                let first = first_value(group).unwrap_or_else(|| group.clone());
                (group.to_lowercase(), first.to_lowercase())
            })
            .collect();
        let has = |named: &&String| {
            let named = named.to_lowercase();
            lower
                .iter()
                .any(|(whole, first)| *whole == named || *first == named)
        };
        self.named.iter().filter(has).cloned().collect()
    }

    pub fn can_sign_in(&self, groups: &[String]) -> bool {
        self.only.is_empty() || groups.iter().any(|group| self.only.contains(group))
    }

    pub fn second_factor(&self, name: &str) -> SecondFactor {
        match self.second_factors.get(name) {
            Some(second) => second.clone(),
            None if self.second_factor_required => SecondFactor::Missing,
            None => SecondFactor::None,
        }
    }

    /// Returns the settings that determine the identity of the users. A change of any of them ends
    /// the sessions.
    pub fn identity(&self) -> (&str, &str, &Grouping) {
        (&self.base, &self.filter, &self.grouping)
    }

    /// Returns whether a password is that of a user. If there is no user, a bind is made, too, so
    /// that the duration does not reveal whether the user exists.
    ///
    /// # Errors
    /// The server gave no result. It is tried last from now on.
    pub async fn verify(
        &self,
        seat: BindConnection,
        found: Option<&DirectoryUser>,
        password: &str,
        standing: &LdapAvailability,
    ) -> Result<bool, String> {
        let BindConnection {
            mut connection,
            server,
            address,
        } = seat;
        let silent = |why: String| {
            standing.note_no_response(&server, address, &why);
            format!(
                "cannot query the LDAP directory: {} ({address}): {why}",
                server.name
            )
        };
        let nobody = (String::new(), Vec::new());
        let (name, password, is_asked) = match found {
            Some(found) if !password.is_empty() => {
                (&found.distinguished, password.as_bytes(), true)
            }
            _ => {
                let (name, password) = self.account.as_ref().unwrap_or(&nobody);
                (name, &password[..], false)
            }
        };
        let bound = timeout(ANSWER_LIMIT, connection.bind(name, password)).await;
        let bound = bound.unwrap_or_else(|_| Err(late(ANSWER_LIMIT)));
        connection.close().await;
        let outcome = bound.map_err(silent)?;
        match outcome.code {
            code::SUCCESS => Ok(is_asked),
            code::INVALID_CREDENTIALS
            | code::CONSTRAINT_VIOLATION
            | code::NO_SUCH_OBJECT
            | code::INAPPROPRIATE_AUTHENTICATION
            | code::INSUFFICIENT_ACCESS
            | code::UNWILLING => Ok(false),
            code => Err(silent(refused("the bind of a user", code, &outcome.words))),
        }
    }
}

fn late(limit: Duration) -> String {
    format!("no response within {} s", limit.as_secs())
}

fn refused(what: &str, code: u32, words: &str) -> String {
    match words {
        "" => format!("{what}: result code {code}"),
        words => format!("{what}: result code {code}: {words}"),
    }
}

/// Inserts values, which are already escaped, into a filter. A single pass leaves a value unchanged
/// that looks like another placeholder.
fn fill_filter(text: &str, values: &[(&str, &str)]) -> Result<LdapFilter, String> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let value = values.iter().find(|(name, _)| from.starts_with(name));
        let (name, value) = value.map_or(("%", "%"), |(name, value)| (*name, *value));
        filled.push_str(value);
        rest = &from[name.len()..];
    }
    filled.push_str(rest);
    LdapFilter::parse(&filled).map_err(|error| format!("filter: {error}"))
}

/// Returns the name of a user: the first of these attributes that the entry has.
fn named(entry: &LdapEntry, attributes: &[&str]) -> Option<String> {
    let mut values = attributes
        .iter()
        .filter_map(|name| entry.values(name).first());
    Some(TypedName::parse_name(values.next()?)?.short)
}
