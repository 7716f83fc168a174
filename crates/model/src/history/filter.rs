//! Parses and applies the arguments of `show requests`, which select entries of the request
//! history.

use super::{Entry, EntryText};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Default of `max`: number of returned entries.
const MAX_DEFAULT: usize = 100;
/// Maximum of `max`: number of returned entries.
const MAX_MOST: usize = 10_000;
/// Maximum number of threads in a cursor.
const CURSOR_MAX: usize = 256;

/// Reason for which a filter is invalid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilterError {
    Unknown(String),
    NoValue(String),
    BadValue {
        name: &'static str,
        value: String,
        expected: &'static str,
    },
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterError::Unknown(name) => {
                let names = NAMES.join(", ");
                write!(f, "unknown filter '{name}', expected {names} or json")
            }
            FilterError::NoValue(name) => write!(f, "'{name}' needs a value"),
            FilterError::BadValue {
                name,
                value,
                expected,
            } => write!(
                f,
                "'{value}' is not valid for '{name}': expected {expected}"
            ),
        }
    }
}

impl std::error::Error for FilterError {}

const NAMES: [&str; 9] = [
    "since", "host", "path", "status", "client", "server", "frontend", "outcome", "max",
];

/// First letters of termination states that mean a failure. The proxy's own decisions and responses
/// (`P`, `L`) are not failures.
const FAILED: &[u8] = b"CcSsRIDUK";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum StatusFilter {
    Exactly(u16),
    Class(u16),
}

/// A client address, with or without a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Client {
    Address(IpAddr),
    Port(SocketAddr),
}

type Bytes = Box<[u8]>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryFilter {
    /// Only entries with higher numbers than these, one number for each thread.
    since: Vec<u64>,
    host: Option<Bytes>,
    path: Option<Bytes>,
    status: Option<StatusFilter>,
    client: Option<Client>,
    server: Option<(Bytes, Option<Bytes>)>,
    frontend: Option<Bytes>,
    /// True: only failed requests. False: only requests that did not fail.
    failed: Option<bool>,
    pub max: usize,
    pub json: bool,
}

impl Default for HistoryFilter {
    fn default() -> Self {
        HistoryFilter {
            since: Vec::new(),
            host: None,
            path: None,
            status: None,
            client: None,
            server: None,
            frontend: None,
            failed: None,
            max: MAX_DEFAULT,
            json: false,
        }
    }
}

impl HistoryFilter {
    /// Parses filters: names with their values.
    ///
    /// # Errors
    /// A filter is unknown, or its value is missing or invalid.
    pub fn read(words: &[&str]) -> Result<HistoryFilter, FilterError> {
        let mut filter = HistoryFilter::default();
        let mut words = words.iter().copied();
        while let Some(name) = words.next() {
            if name == "json" {
                filter.json = true;
                continue;
            }
            let Some(name) = NAMES.into_iter().find(|one| *one == name) else {
                return Err(FilterError::Unknown(shown(name)));
            };
            let Some(value) = words.next() else {
                return Err(FilterError::NoValue(name.to_owned()));
            };
            let expected = filter.set(name, value);
            expected.map_err(|expected| FilterError::BadValue {
                name,
                value: shown(value),
                expected,
            })?;
        }
        Ok(filter)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let text = || Some(value.as_bytes().into());
        match name {
            "host" => self.host = text(),
            "path" => self.path = text(),
            "frontend" => self.frontend = text(),
            "since" => {
                let numbers = value.split('.').take(CURSOR_MAX).map(str::parse);
                let numbers = numbers.collect::<Result<_, _>>();
                self.since = numbers.map_err(|_| "what an earlier reply showed behind 'since'")?;
            }
            "status" => {
                let of_class = value
                    .strip_suffix("xx")
                    .and_then(|class| class.parse().ok());
                let status = match of_class {
                    Some(class @ 1..=5) => Some(StatusFilter::Class(class)),
                    _ => value.parse().ok().map(StatusFilter::Exactly),
                };
                self.status = Some(status.ok_or("a number or 1xx to 5xx")?);
            }
            "outcome" => {
                self.failed = Some(match value {
                    "failed" => true,
                    "ok" => false,
                    _ => return Err("failed or ok"),
                });
            }
            "client" => {
                let port = value.parse().map(|at: SocketAddr| {
                    Client::Port(SocketAddr::new(at.ip().to_canonical(), at.port()))
                });
                let address = value
                    .parse()
                    .map(|ip: IpAddr| Client::Address(ip.to_canonical()));
                let client = port.or(address);
                self.client = Some(client.map_err(|_| "an address, or an address with a port")?);
            }
            "server" => {
                let (backend, server) = match value.split_once('/') {
                    Some((backend, server)) => (backend, Some(server.as_bytes().into())),
                    None => (value, None),
                };
                self.server = Some((backend.as_bytes().into(), server));
            }
            _ => {
                let max = value
                    .parse()
                    .ok()
                    .filter(|max| (1..=MAX_MOST).contains(max));
                self.max = max.ok_or("a number from 1 to 10000")?;
            }
        }
        Ok(())
    }

    /// Returns the number of the last entry of a thread that the caller already has.
    pub fn since(&self, thread: usize) -> u64 {
        self.since.get(thread).copied().unwrap_or_default()
    }

    /// Returns whether an entry matches, apart from `since`.
    pub fn fits(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<Bytes>, fits: &dyn Fn(&[u8]) -> bool| {
            wanted.as_deref().is_none_or(fits)
        };
        let text = |field| entry.text(field);
        is(&self.host, &|host| is_host(text(EntryText::Host), host))
            && is(&self.path, &|path| text(EntryText::Path).starts_with(path))
            && is(&self.frontend, &|name| {
                entry.is_text(EntryText::Frontend, name)
            })
            && self.status.is_none_or(|status| match status {
                StatusFilter::Exactly(status) => entry.ended.status == status,
                StatusFilter::Class(class) => entry.ended.status / 100 == class,
            })
            && self.failed.is_none_or(|failed| failed == has_failed(entry))
            && self.client.is_none_or(|client| match client {
                Client::Address(ip) => entry.client.ip() == Some(ip),
                Client::Port(at) => {
                    entry.client.ip() == Some(at.ip()) && entry.client.port() == Some(at.port())
                }
            })
            && self.server.as_ref().is_none_or(|(backend, server)| {
                entry.is_text(EntryText::Backend, backend)
                    && is(server, &|name| entry.is_text(EntryText::Server, name))
            })
    }
}

/// Returns whether a request ended with a status of 5xx, or was cut short: by the client, the
/// server, a lack of resources, an internal error or an operator.
fn has_failed(entry: &Entry) -> bool {
    let first = entry.ended.letters.first();
    entry.ended.status / 100 == 5 || first.is_some_and(|letter| FAILED.contains(letter))
}

fn is_host(host: &[u8], wanted: &[u8]) -> bool {
    let without_port = match host.iter().rposition(|byte| *byte == b':') {
        Some(at) => host.get(..at).unwrap_or_default(),
        None => host,
    };
    host.eq_ignore_ascii_case(wanted) || without_port.eq_ignore_ascii_case(wanted)
}

/// Shortens a word for a message, and removes control characters.
fn shown(word: &str) -> String {
    let kept = word.chars().take(64);
    kept.map(|c| if c.is_control() { '?' } else { c }).collect()
}
