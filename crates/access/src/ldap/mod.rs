//! Users of a directory (LDAP), such as Active Directory or OpenLDAP: the directory has their names, groups and
//! passwords. A name is searched for, and then bound to with the password that was typed.
//!
//! Nothing of a user goes to a server before TLS has begun, unless the line says `plain`, and an empty password
//! goes to none.

mod connection;
mod name;
mod names;
mod standing;
#[cfg(test)]
mod tests;

pub use name::Asked;
pub use standing::Standing;

use crate::second_factor::SecondFactor;
use connection::Connection;
pub(crate) use connection::roots;
use protocol::ldap::{Entry, Filter, code, escape, first_value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a server has until it accepts us; then the next one is asked.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long a server has for a search or a bind.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(15);
/// Groups of a user that a search finds.
const GROUPS_MAX: u32 = 1_000;
/// No attribute (RFC 4511 section 4.5.1.8): the distinguished name of a group is enough.
const NONE: &str = "1.1";
/// What stands in filters for the name of a user without its domain.
pub const SHORT: &str = "%u";
/// The same for the name as it was typed.
pub const TYPED: &str = "%n";
/// The same for the distinguished name of the user.
pub const DISTINGUISHED: &str = "%d";

/// How a server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Security {
    /// In TLS from the first byte.
    Tls,
    /// In TLS after StartTLS.
    StartTls,
    /// Without TLS.
    Plain,
}

/// A server of a directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Server {
    /// The name that its certificate has to have.
    pub name: String,
    /// Its port.
    #[serde(default)]
    pub port: u16,
    /// Where it is, as its name was resolved at the load; empty: the name had no address then.
    pub addresses: Vec<SocketAddr>,
    /// How it is spoken to.
    pub security: Security,
}

/// How the groups of a user are found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Grouping {
    /// The entry of the user has them in this attribute.
    Attribute(String),
    /// A search with this filter finds them.
    Filter(String),
}

/// A directory, and who of it may sign in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Directory {
    /// Its servers; the next one is asked when one does not answer.
    pub servers: Vec<Server>,
    /// The certificates that sign those of servers, PEM.
    #[serde(with = "serde_bytes")]
    pub authorities: Vec<u8>,
    /// The distinguished name below which users and groups are.
    pub base: String,
    /// The account that searches; None: nobody in particular.
    pub account: Option<(String, Vec<u8>)>,
    /// What finds a user.
    pub filter: String,
    /// What finds the groups of one.
    pub grouping: Grouping,
    /// Only users of these groups may sign in; empty: all.
    pub only: Vec<String>,
    /// The groups that lines of the section name. Nobody hears of others.
    pub named: Vec<String>,
    /// Second factors, by the name of the user in lower case.
    pub second_factors: BTreeMap<String, SecondFactor>,
    /// Whether users without a second factor cannot sign in.
    pub second_factor_required: bool,
}

/// A user who was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The distinguished name.
    distinguished: String,
    /// The name, as the directory has it, in lower case and without a domain.
    pub name: String,
    /// Groups that lines of the section name.
    pub groups: Vec<String>,
}

/// Why no server finds a user.
#[derive(Debug)]
pub struct Unfound {
    /// A server was asked for the user, and did not find out.
    pub has_answer: bool,
    /// Which servers, and why, in words.
    pub words: String,
}

/// Why a server does not find a user.
enum Failed {
    /// It does not answer, or not us.
    Server(String),
    /// The search for this user failed; that for another one may not. Whether it took too long.
    Search(String, bool),
}

/// The directory has several entries of a name.
struct Several;

/// A server that has been asked for a user, and can be asked for the password.
pub struct Seat {
    connection: Connection,
    server: Server,
    address: SocketAddr,
}

impl Directory {
    /// Finds a user by a name. `Ok` with None: the directory has none, or several.
    ///
    /// # Errors
    /// No server finds out whether there is one.
    pub async fn find(
        &self,
        asked: &Asked,
        standing: &Standing,
    ) -> Result<(Seat, Option<Found>), Unfound> {
        let servers = standing.resolved(&self.servers).await;
        let nowhere = { servers.iter() }.filter(|server| server.addresses.is_empty());
        let nowhere = nowhere.map(|server| format!("{}: the name has no address", server.name));
        let mut troubles: Vec<String> = nowhere.collect();
        let mut has_answer = false;
        let search = async {
            for (server, address) in standing.order(&servers) {
                let why = match self.find_at(server, address, asked).await {
                    Ok((seat, found)) => {
                        standing.answers((server, address));
                        return Some((seat, found));
                    }
                    Err(Failed::Server(why)) => {
                        standing.is_silent((server, address), &why);
                        why
                    }
                    Err(Failed::Search(why, is_late)) => {
                        match is_late {
                            true => standing.is_silent((server, address), &why),
                            false => standing.answers((server, address)),
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
            Ok(None) if !has_answer => standing.has_none(),
            Ok(_) => {}
        }
        let Some((seat, found)) = found.ok().flatten() else {
            let troubles = troubles.join("; ");
            return Err(Unfound {
                has_answer,
                words: format!("cannot ask the LDAP directory: {troubles}"),
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
        asked: &Asked,
    ) -> Result<(Seat, Result<Option<Found>, Several>), Failed> {
        let connected = self.connect(server, address).await;
        let mut connection = connected.map_err(Failed::Server)?;
        let found = self.search(&mut connection, asked).await?;
        let seat = Seat {
            connection,
            server: server.clone(),
            address,
        };
        Ok((seat, found))
    }

    /// Connects with a server, and binds as the account that searches.
    async fn connect(&self, server: &Server, address: SocketAddr) -> Result<Connection, String> {
        let connected = async {
            let mut connection = Connection::open(server, address, &self.authorities).await?;
            self.sign_in(&mut connection).await?;
            Ok(connection)
        };
        let connected = timeout(CONNECT_LIMIT, connected).await;
        connected.unwrap_or_else(|_| Err(late(CONNECT_LIMIT)))
    }

    /// Tries the servers that did not answer, those of which it is time.
    pub async fn tries(&self, standing: &Standing) {
        let servers = standing.resolved(&self.servers).await;
        for (server, address) in standing.due(&servers, Instant::now()) {
            match self.connect(server, address).await {
                Ok(connection) => {
                    connection.close().await;
                    standing.answers((server, address));
                }
                Err(why) => standing.is_silent((server, address), &why),
            }
        }
    }

    /// Binds as the account that searches.
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
        asked: &Asked,
    ) -> Result<Result<Option<Found>, Several>, Failed> {
        let (short, typed) = (escape(&asked.short), escape(&asked.typed));
        let filled = |text: &str| fill(text, &[(SHORT, &short), (TYPED, &typed)]);
        let failed = |why| Failed::Search(why, false);
        let filter = filled(&self.filter).map_err(failed)?;
        // The template says which attribute has the name.
        let template = Filter::parse(&self.filter);
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
        // A bind to an empty name would be an anonymous one.
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
                let found = self.groups(connection, fill(text, &values), &entry.name);
                // That of another user may be found at once.
                let found = timeout(ANSWER_LIMIT, found).await;
                let found = found.map_err(|_| Failed::Search(late(ANSWER_LIMIT), true))?;
                found.map_err(failed)?
            }
        };
        Ok(Ok(Some(Found {
            distinguished: entry.name,
            name,
            groups: self.of_lines(&groups),
        })))
    }

    /// The distinguished names of the groups that a filter finds; `name` is that of the user.
    async fn groups(
        &self,
        connection: &mut Connection,
        filter: Result<Filter, String>,
        name: &str,
    ) -> Result<Vec<String>, String> {
        let filter = filter?;
        let found = connection.search(&self.base, &filter, &[NONE], GROUPS_MAX);
        let (found, has_more) = found.await?;
        match has_more {
            true => Err(format!(
                "{name} is in more groups than it returns, at most {GROUPS_MAX}: narrow 'group-filter'"
            )),
            false => Ok(found.into_iter().map(|group| group.name).collect()),
        }
    }

    /// Those groups that lines name, of the distinguished names of all groups of a user. A line names a group by its
    /// distinguished name, or by the first value of that.
    fn of_lines(&self, groups: &[String]) -> Vec<String> {
        let lower: Vec<(String, String)> = { groups.iter() }
            .map(|group| {
                let first = first_value(group).unwrap_or_else(|| group.clone());
                (group.to_lowercase(), first.to_lowercase())
            })
            .collect();
        let has = |named: &&String| {
            let named = named.to_lowercase();
            { lower.iter() }.any(|(whole, first)| *whole == named || *first == named)
        };
        self.named.iter().filter(has).cloned().collect()
    }

    /// Whether a user of these groups may sign in.
    pub fn admits(&self, groups: &[String]) -> bool {
        self.only.is_empty() || groups.iter().any(|group| self.only.contains(group))
    }

    /// What a user has besides the password.
    pub fn second_factor(&self, name: &str) -> SecondFactor {
        match self.second_factors.get(name) {
            Some(second) => second.clone(),
            None if self.second_factor_required => SecondFactor::Missing,
            None => SecondFactor::None,
        }
    }

    /// What sessions of its users depend on: with another one of these they end.
    pub fn identity(&self) -> (&str, &str, &Grouping) {
        (&self.base, &self.filter, &self.grouping)
    }

    /// Whether a password is that of a user. For nobody a bind is made, too, so that the time that it takes does not
    /// say whether there is such a user.
    ///
    /// # Errors
    /// The server does not say so, in words; it is asked last then.
    pub async fn verify(
        &self,
        seat: Seat,
        (found, password): (Option<&Found>, &str),
        standing: &Standing,
    ) -> Result<bool, String> {
        let Seat {
            mut connection,
            server,
            address,
        } = seat;
        let silent = |why: String| {
            standing.is_silent((&server, address), &why);
            format!(
                "cannot ask the LDAP directory: {} ({address}): {why}",
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
    format!("no answer within {} s", limit.as_secs())
}

fn refused(what: &str, code: u32, words: &str) -> String {
    match words {
        "" => format!("{what}: result code {code}"),
        words => format!("{what}: result code {code}: {words}"),
    }
}

/// A filter with values in it, which are escaped already. One pass: a value that looks like a name of another one
/// stays as it is.
fn fill(text: &str, values: &[(&str, &str)]) -> Result<Filter, String> {
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
    Filter::parse(&filled).map_err(|error| format!("filter: {error}"))
}

/// The name of a user, by the first of these attributes that the entry has.
fn named(entry: &Entry, attributes: &[&str]) -> Option<String> {
    let mut values = attributes
        .iter()
        .filter_map(|name| entry.values(name).first());
    Some(Asked::read(values.next()?)?.short)
}
