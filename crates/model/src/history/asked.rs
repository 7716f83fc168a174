//! Finds the recorded request that an operator names in `show request`: by its unique id, by the id
//! from `show sess`, or by a log line that contains the unique id, or the client and the date.

use super::{Entry, EntryText};
use crate::log::{DateStyle, append_date};
use crate::transaction::Endpoint;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

/// Maximum number of examined bytes of a line.
const LINE_MAX: usize = 8 * 1024;
/// Maximum number of examined addresses and dates of a line, each.
const MARKS_MAX: usize = 16;
/// Rating of an entry whose id was searched for.
const BY_ID: u32 = 1000;
/// Rating of an entry whose unique id is in the searched line.
const BY_UNIQUE_ID: u32 = 500;
/// Rating of an entry that has the client and date of the searched line.
const BY_DATE: u32 = 100;
/// Minimum length of a unique id that is searched for within a line.
const UNIQUE_ID_MIN: usize = 4;

/// A parsed search word or log line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistorySearch {
    line: Box<[u8]>,
    is_word: bool,
    id: Option<u64>,
    clients: Vec<SocketAddr>,
    dates: Vec<Box<[u8]>>,
}

impl HistorySearch {
    pub fn read(text: &str) -> HistorySearch {
        let text = language::truncated(text.trim(), LINE_MAX);
        let is_word = !text.contains(char::is_whitespace);
        let words = text.split(|c: char| c.is_whitespace() || "\"'(),;".contains(c));
        let words = words.filter(|word| !word.is_empty());
        let clients = words.clone().filter_map(client).take(MARKS_MAX);
        let bracketed = text.split('[').skip(1).filter_map(|rest| {
            let (date, _) = rest.split_once(']')?;
            Some(date.as_bytes().into())
        });
        let id = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
        HistorySearch {
            line: text.as_bytes().into(),
            is_word,
            id: if is_word { id(text) } else { None },
            clients: clients.collect(),
            dates: bracketed.take(MARKS_MAX).collect(),
        }
    }

    /// Returns the rating of an entry; None if it does not match.
    pub fn fits(&self, entry: &Entry) -> Option<u32> {
        if self.id == Some(entry.id) {
            return Some(BY_ID);
        }
        let unique_id = entry.text(EntryText::UniqueId);
        if self.is_word {
            let is_it = !unique_id.is_empty() && self.has_unique_id(unique_id);
            return is_it.then_some(BY_UNIQUE_ID);
        }
        let by_id = unique_id.len() >= UNIQUE_ID_MIN && self.has_unique_id(unique_id);
        let by_date = self.is_client(entry.client) && self.is_date(entry);
        let sure = match (by_id, by_date) {
            (false, false) => return None,
            (by_id, by_date) => u32::from(by_id) * BY_UNIQUE_ID + u32::from(by_date) * BY_DATE,
        };
        // Further matches raise the rating, because several requests of a connection may have
        // begun in the same millisecond.
        let server = [EntryText::Backend, EntryText::Server].map(|field| entry.text(field));
        let times = entry.timers().into_bytes();
        let path = entry.text(EntryText::Path);
        let more = [&server.join(&b'/'), &times, path];
        let more = more.iter().filter(|text| self.contains(text)).count();
        Some(sure + u32::try_from(more).unwrap_or_default())
    }

    fn contains(&self, text: &[u8]) -> bool {
        memchr::memmem::find(&self.line, text).is_some()
    }

    /// Returns whether the text contains the unique id of an entry as a whole word. The entry may
    /// have only the beginning of a long id.
    fn has_unique_id(&self, id: &[u8]) -> bool {
        if self.is_word {
            let is_cut = id.len() == EntryText::UniqueId.bytes_max();
            return *self.line == *id || (is_cut && self.line.starts_with(id));
        }
        let is_inside = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        memchr::memmem::find_iter(&self.line, id).any(|at| {
            let before = at.checked_sub(1).and_then(|at| self.line.get(at));
            let behind = self.line.get(at + id.len());
            let is_cut = id.len() == EntryText::UniqueId.bytes_max();
            !is_inside(before) && (is_cut || !is_inside(behind))
        })
    }

    fn is_client(&self, client: Endpoint) -> bool {
        let (Some(ip), Some(port)) = (client.ip(), client.port()) else {
            return false;
        };
        self.clients.contains(&SocketAddr::new(ip, port))
    }

    /// Returns whether the line contains one of the entry's dates: `%tr` of `httplog`, `%t` of
    /// `tcplog`, or the Common Log Format without milliseconds.
    fn is_date(&self, entry: &Entry) -> bool {
        if self.dates.is_empty() {
            return false;
        }
        let mut shown = Vec::new();
        entry.began_ms.iter().any(|ms| {
            let at = UNIX_EPOCH + Duration::from_millis(*ms);
            [DateStyle::Millis, DateStyle::Local, DateStyle::Gmt]
                .into_iter()
                .any(|style| {
                    shown.clear();
                    append_date(&mut shown, at, style);
                    self.dates.iter().any(|date| **date == *shown)
                })
        })
    }
}

fn client(word: &str) -> Option<SocketAddr> {
    let (ip, port) = word.rsplit_once(':')?;
    let ip: IpAddr = ip.trim_matches(['[', ']']).parse().ok()?;
    Some(SocketAddr::new(ip.to_canonical(), port.parse().ok()?))
}
