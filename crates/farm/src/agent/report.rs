//! Encodes and decodes the reply of a host agent. The farm connects, sends one line (`check`, or
//! `notice TEXT`) and reads the reply: a line with the words of HAProxy's agent check, then, from
//! our own agent, the sessions of the host.
//!
//! ```text
//! up 75%
//! sessions 2
//! session anna active
//! session bert disconnected 3600
//! ```
//!
//! The host may be hostile: reading never panics, and the stored data is bounded by the bytes of a
//! reply.

use crate::user::FarmUser;
use std::fmt::Write;

pub const REPLY_BYTES_MAX: usize = 64 << 10;
const SHOWN_MAX: usize = 128;
/// Maximum weight, in percent of the configured weight.
const PERCENT_MAX: u32 = 25_600;
const SINCE_S_MAX: u64 = 10 * 365 * 86_400;

/// Administrative state that an agent requests for its host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admin {
    Ready,
    Drain,
    /// The host gets no new users, because of maintenance.
    Maintenance,
}

impl Admin {
    fn of(word: &str) -> Option<Admin> {
        let all = [Admin::Ready, Admin::Drain, Admin::Maintenance];
        all.into_iter().find(|one| one.word() == word)
    }

    pub fn word(self) -> &'static str {
        match self {
            Admin::Ready => "ready",
            Admin::Drain => "drain",
            Admin::Maintenance => "maint",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentReply {
    /// Administrative word of the reply: `ready`, `drain` or `maint`.
    pub admin: Option<Admin>,
    /// Word of the reply about health. `up`: true; `down`, `stopped`, `fail` or `failed`: false.
    pub is_up: Option<bool>,
    /// Percentage of the configured weight.
    pub percent: Option<u32>,
    pub maxconn: Option<u64>,
    /// Text of the reply after `#`.
    pub description: String,
    pub unknown: Option<String>,
    /// Sessions of the host; None if the reply does not mention them.
    pub sessions: Option<Sessions>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sessions {
    pub count: u64,
    pub named: Vec<Session>,
}

impl Sessions {
    pub fn is_whole(&self) -> bool {
        u64::try_from(self.named.len()) == Ok(self.count)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    pub user: FarmUser,
    /// True if a client is connected to the session.
    pub is_active: bool,
    /// Time since the session became active or inactive, seconds.
    pub since_s: Option<u64>,
}

impl AgentReply {
    /// Parses a reply.
    ///
    /// # Errors
    /// Returns an error if the reply contains nothing known.
    pub fn read(bytes: &[u8]) -> Result<AgentReply, String> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split(['\n', '\0']).map(str::trim);
        let mut report = AgentReply::default();
        report.first(lines.next().unwrap_or_default());
        for line in lines {
            report.line(line);
        }
        if report.is_empty() {
            match &report.unknown {
                Some(word) => Err(format!("unknown reply: {word}")),
                None => Err("empty reply".to_owned()),
            }
        } else {
            Ok(report)
        }
    }

    fn is_empty(&self) -> bool {
        let has_words = self.admin.is_some() || self.is_up.is_some();
        let has_numbers = self.percent.is_some() || self.maxconn.is_some();
        !has_words && !has_numbers && self.sessions.is_none()
    }

    fn first(&mut self, line: &str) {
        let (said, description) = line.split_once('#').unwrap_or((line, ""));
        self.description = shown(description);
        let words = said.split([' ', '\t', ',', '\r']);
        let mut words = words.filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            match word.to_ascii_lowercase().as_str() {
                "up" => self.is_up = Some(true),
                "down" | "stopped" | "fail" | "failed" => self.is_up = Some(false),
                "sessions" => self.counts(words.next()),
                other => match Admin::of(other) {
                    Some(admin) => self.admin = Some(admin),
                    None => self.number(other, word),
                },
            }
        }
    }

    fn number(&mut self, lower: &str, word: &str) {
        let percent = lower.strip_suffix('%').and_then(|n| n.parse::<u32>().ok());
        let maxconn = lower
            .strip_prefix("maxconn:")
            .and_then(|n| n.parse::<u64>().ok());
        if let Some(percent) = percent {
            self.percent = Some(percent.min(PERCENT_MAX));
        } else if maxconn.is_some() {
            self.maxconn = maxconn;
        } else {
            self.unknown.get_or_insert_with(|| shown(word));
        }
    }

    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        match word {
            "" => {}
            "sessions" => self.counts(Some(rest.trim())),
            "session" => match session(rest) {
                Some(session) => {
                    let sessions = self.sessions.get_or_insert_default();
                    sessions.named.push(session);
                }
                None => drop(self.unknown.get_or_insert_with(|| shown(line))),
            },
            _ => drop(self.unknown.get_or_insert_with(|| shown(word))),
        }
    }

    fn counts(&mut self, number: Option<&str>) {
        match number.and_then(|number| number.parse().ok()) {
            Some(count) => self.sessions.get_or_insert_default().count = count,
            None => drop(self.unknown.get_or_insert_with(|| "sessions".to_owned())),
        }
    }
}

/// Reply of an agent while it is received. Without a list of sessions, only the end of the
/// connection completes the reply.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    /// Offset of the current, incomplete line.
    line: usize,
    /// Number of sessions that the reply announces; None before that line.
    count: Option<u64>,
    /// Number of complete lines after the line that announces the number of sessions.
    behind: u64,
}

impl Incoming {
    /// Appends received bytes. Returns false if the reply is too long.
    #[must_use]
    pub fn take(&mut self, bytes: &[u8]) -> bool {
        let begin = self.bytes.len();
        if begin + bytes.len() > REPLY_BYTES_MAX {
            return false;
        }
        self.bytes.extend_from_slice(bytes);
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            let line = &self.bytes[self.line..begin + at];
            match self.count {
                Some(_) => self.behind += 1,
                None => self.count = announced(line),
            }
            self.line = begin + at + 1;
        }
        true
    }

    pub fn is_complete(&self) -> bool {
        self.count.is_some_and(|count| self.behind >= count)
    }

    /// Returns whether a complete line has been received, which is all that a plain agent of
    /// HAProxy sends.
    pub fn has_line(&self) -> bool {
        self.line > 0
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn announced(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?;
    line.trim().strip_prefix("sessions ")?.trim().parse().ok()
}

/// Parses `USER active|disconnected [SECONDS]`. Names of users may have spaces.
fn session(text: &str) -> Option<Session> {
    let text = text.trim();
    let (before, last) = text.rsplit_once([' ', '\t'])?;
    let (name, state, since_s) = match last.parse::<u64>() {
        Ok(seconds) => {
            let (name, state) = before.trim_end().rsplit_once([' ', '\t'])?;
            (name, state, Some(seconds.min(SINCE_S_MAX)))
        }
        Err(_) => (before, last, None),
    };
    let is_active = match state {
        "active" => true,
        "disconnected" => false,
        _ => return None,
    };
    Some(Session {
        user: FarmUser::named(name)?,
        is_active,
        since_s,
    })
}

/// Shortens a text from an agent for display, and removes characters that would break a line.
fn shown(text: &str) -> String {
    let good = text.trim().chars().filter(|c| !c.is_control());
    good.take(SHOWN_MAX).collect()
}

/// A session as our agent writes it: name, whether a client is connected, and for how long,
/// seconds.
pub type ReportedSession<'w> = (&'w str, bool, Option<u64>);

/// Writes a reply: HAProxy's words, and as many named sessions as fit. The announced number
/// includes the unknown sessions, so that the farm notices an incomplete list.
pub fn write(words: &str, sessions: &[ReportedSession<'_>], unknown: usize) -> String {
    let mut text = format!("{words}\nsessions {}\n", sessions.len() + unknown);
    for (name, is_active, since_s) in sessions {
        let state = if *is_active { "active" } else { "disconnected" };
        let mut line = format!("session {name} {state}");
        if let Some(seconds) = since_s {
            // Ignores the result: writing to a string cannot fail.
            let _ = write!(line, " {seconds}");
        }
        if text.len() + line.len() >= REPLY_BYTES_MAX {
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::Random;

    fn read(text: &str) -> AgentReply {
        AgentReply::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn words_are_those_of_haproxy() {
        let report = read("UP, 75% maxconn:30 drain # two disks are full\r\n");
        let expected = AgentReply {
            admin: Some(Admin::Drain),
            is_up: Some(true),
            percent: Some(75),
            maxconn: Some(30),
            description: "two disks are full".to_owned(),
            ..AgentReply::default()
        };
        assert_eq!(report, expected);
        for (text, up, admin) in [
            ("down", Some(false), None),
            ("stopped\n", Some(false), None),
            ("fail#x", Some(false), None),
            ("ready up", Some(true), Some(Admin::Ready)),
            ("maint\nup", None, Some(Admin::Maintenance)),
        ] {
            let report = read(text);
            assert_eq!((report.is_up, report.admin), (up, admin), "{text}");
            assert_eq!(report.sessions, None);
        }
        assert_eq!(read("99999%").percent, Some(PERCENT_MAX));
        for (text, why) in [
            ("", "empty reply"),
            ("\u{1b}hello up", ""),
            ("hello world", "unknown reply: hello"),
            ("-5%", "unknown reply: -5%"),
        ] {
            let said = AgentReply::read(text.as_bytes()).err().unwrap_or_default();
            assert_eq!(said, why, "{text:?}");
        }
    }

    #[test]
    fn session_lists_accept_all_names_and_mark_truncation() {
        let sessions = |text: &str| read(text).sessions.unwrap();
        let all = sessions(
            "up\nsessions 3\nsession EXAMPLE\\Anna active\nsession John Smith disconnected 60\r\n\
             session bert disconnected\n",
        );
        assert!(all.is_whole());
        let shown: Vec<_> = all
            .named
            .iter()
            .map(|one| (one.user.name.as_str(), one.is_active, one.since_s))
            .collect();
        let expected = [
            ("anna", true, None),
            ("john smith", false, Some(60)),
            ("bert", false, None),
        ];
        assert_eq!(shown, expected);
        let cut = sessions("up\nsessions 3\nsession anna active\n");
        assert!(!cut.is_whole() && cut.count == 3);
        assert!(sessions("up\nsessions 0\n").is_whole());
        assert!(sessions("up sessions 0").is_whole());
        let wrong = read("up\nsessions 1\nsession anna asleep\n");
        assert_eq!(wrong.unknown.as_deref(), Some("session anna asleep"));
        assert!(!wrong.sessions.unwrap().is_whole());
        // Without the announced number it is not known whether the list is complete.
        assert!(!sessions("up\nsession anna active\n").is_whole());
    }

    fn incoming(pieces: &[&[u8]]) -> Incoming {
        let mut incoming = Incoming::default();
        assert!(pieces.iter().all(|piece| incoming.take(piece)));
        incoming
    }

    #[test]
    fn a_fragmented_reply_ends_with_its_last_session() {
        let whole = b"up\nsessions 2\nsession anna active\nsession bert disconnected 5\n";
        for end in 0..whole.len() {
            let (first, second) = whole.split_at(end);
            assert!(!incoming(&[first]).is_complete(), "{end}");
            let all = incoming(&[first, second]);
            assert!(all.is_complete() && all.bytes() == whole, "{end}");
        }
        assert!(incoming(&[b"up\nsessions 0\n"]).is_complete());
        let plain = incoming(&[b"up\n"]);
        assert!(plain.has_line() && !plain.is_complete());
        assert!(!incoming(&[b"up"]).has_line());
        let mut incoming = incoming(&[&[b'x'; REPLY_BYTES_MAX]]);
        assert!(!incoming.take(b"x"));
    }

    #[test]
    fn reports_of_the_agent_are_parsed_and_bounded() {
        let text = write(
            "up",
            &[("anna", true, None), ("John Smith", false, Some(7))],
            0,
        );
        let sessions = read(&text).sessions.unwrap();
        assert!(sessions.is_whole() && incoming(&[text.as_bytes()]).is_complete());
        assert_eq!(sessions.named[1].since_s, Some(7));
        let name = "x".repeat(100);
        let many = write("up", &vec![(name.as_str(), true, None); 2_000], 0);
        assert!(many.len() <= REPLY_BYTES_MAX);
        let sessions = read(&many).sessions.unwrap();
        assert!(sessions.count == 2_000 && !sessions.is_whole());
    }

    #[test]
    fn hostile_replies_never_panic() {
        let good = "up 75% maxconn:5\nsessions 2\nsession anna active\nsession b disconnected 5\n";
        for seed in 0..5_000 {
            let mut random = Random::new(seed);
            let mut bytes = good.repeat(3).into_bytes();
            for _ in 0..random.between(1, 20) {
                let at = random.index(bytes.len());
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }
            bytes.truncate(random.index(bytes.len() + 1));
            let _ = (incoming(&[&bytes]).is_complete(), AgentReply::read(&bytes));
        }
        let most = format!("up\nsessions {}\nsession a active\n", u64::MAX);
        assert!(!read(&most).sessions.unwrap().is_whole());
        assert!(!incoming(&[most.as_bytes()]).is_complete());
    }
}
