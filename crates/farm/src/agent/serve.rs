//! Runs the host agent for xrdp: a small server that sends the sessions of this machine to farms
//! and to HAProxy, and shows notices in them. The agent decides nothing, and responds only to
//! configured addresses.

use super::notice::{self, Notices};
use super::report;
use super::show::Screens;
use super::xrdp::{NameOf, Session, SessionSearch, find_sessions};
use access::network::IpPrefix;
use part::lock;
use part::report::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub const PORT: u16 = 9_707;
const CONNECTIONS_MAX: usize = 32;
/// Timeout for the line that a farm sends. HAProxy may send none.
const LINE_LIMIT: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(5);
const LINE_BYTES_MAX: usize = 1_024;
const REST: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub struct Options {
    pub listen: SocketAddr,
    pub allow: Vec<IpPrefix>,
    pub proc: PathBuf,
    pub name_of: NameOf,
    pub screens: Screens,
}

struct Agent {
    options: Options,
    state: Mutex<AgentServerState>,
}

/// State that the agent keeps between requests.
#[derive(Debug, Default)]
struct AgentServerState {
    notices: Notices<(u32, u64)>,
    since: Since,
}

/// Times at which sessions became active or inactive.
#[derive(Debug, Default)]
struct Since {
    /// Of each session: whether a client is connected, and the time of the last change,
    /// milliseconds; None: it changed before the agent started.
    sessions: BTreeMap<(u32, u64), (bool, Option<u64>)>,
    has_looked: bool,
}

impl Since {
    /// Applies the sessions that were found. Returns for each how long its state has lasted,
    /// seconds; None if the state is older than the agent.
    fn take(&mut self, sessions: &[Session], now_ms: u64) -> Vec<Option<u64>> {
        let before = std::mem::take(&mut self.sessions);
        let has_looked = std::mem::replace(&mut self.has_looked, true);
        let mut all = Vec::new();
        for session in sessions {
            let since = match before.get(&session.key) {
                Some((is_active, since)) if *is_active == session.is_active => *since,
                Some(_) => Some(now_ms),
                None => has_looked.then_some(now_ms),
            };
            self.sessions
                .insert(session.key, (session.is_active, since));
            all.push(since.map(|since| now_ms.saturating_sub(since) / 1_000));
        }
        all
    }
}

impl Agent {
    fn reply(&self, line: &str) -> String {
        let found = find_sessions(&self.options.proc, self.options.name_of);
        let now_ms = Moment::now().boottime_ms;
        let (since, new) = {
            let mut state = lock(&self.state);
            let keys: BTreeSet<_> = found.sessions.iter().map(|one| one.key).collect();
            let new =
                notice::of_line(line).map(|text| (state.notices.sent(&text, &keys, now_ms), text));
            (state.since.take(&found.sessions, now_ms), new)
        };
        if let Some((keys, text)) = new {
            let new = found.sessions.iter().filter(|one| keys.contains(&one.key));
            new.for_each(|session| self.options.screens.show(session, &text));
        }
        written(&found, &since)
    }

    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut line = Vec::new();
        let reads = async {
            let mut byte = [0; 256];
            while line.len() < LINE_BYTES_MAX && !line.contains(&b'\n') {
                match stream.read(&mut byte).await? {
                    0 => break,
                    read => line.extend_from_slice(&byte[..read]),
                }
            }
            Ok::<_, io::Error>(())
        };
        // Treats the bytes received before the timeout as the line, even if it is incomplete.
        timeout(LINE_LIMIT, reads).await.unwrap_or(Ok(()))?;
        let line = String::from_utf8_lossy(&line);
        let reply = self.reply(line.lines().next().unwrap_or_default());
        stream.write_all(reply.as_bytes()).await?;
        stream.shutdown().await
    }
}

fn written(found: &SessionSearch, since: &[Option<u64>]) -> String {
    let words = if found.is_served {
        "up"
    } else {
        "down #xrdp-sesman is not running"
    };
    let sessions = found.sessions.iter().zip(since);
    let sessions: Vec<report::ReportedSession<'_>> = sessions
        .map(|(session, since)| (session.name.as_str(), session.is_active, *since))
        .collect();
    if found.is_blind {
        format!("{words}\n")
    } else {
        report::write(words, &sessions, found.unknown)
    }
}

/// Runs the agent.
///
/// # Errors
/// Fails if the agent cannot listen.
pub fn run(options: Options) -> io::Result<Infallible> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        accepts(listener, options).await
    })
}

async fn accepts(listener: TcpListener, options: Options) -> io::Result<Infallible> {
    let agent = Arc::new(Agent {
        options,
        state: Mutex::default(),
    });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                // Pauses after a failure, for example because no file descriptor is free.
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let from = from.ip().to_canonical();
        let is_allowed = agent
            .options
            .allow
            .iter()
            .any(|one| one.contains_address(from));
        let place = Arc::clone(&places).try_acquire_owned();
        if let (true, Ok(place)) = (is_allowed, place) {
            let agent = Arc::clone(&agent);
            tokio::spawn(async move {
                // Ignores an error: the farm polls again if the connection broke.
                let _ = timeout(LIMIT, agent.serve(stream)).await;
                drop(place);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn session(display: u32, is_active: bool) -> Session {
        Session {
            key: (display, 1),
            name: format!("user{display}"),
            owner: (2_001, 2_001),
            is_active,
            authority: None,
        }
    }

    #[test]
    fn session_durations_follow_from_observed_changes() {
        let mut since = Since::default();
        let mut take = |sessions: &[Session], now_ms| since.take(sessions, now_ms);
        assert_eq!(take(&[session(1, true)], 0), [None]);
        let two = [session(1, false), session(2, true)];
        assert_eq!(take(&two, 10_000), [Some(0), Some(0)]);
        assert_eq!(take(&two, 70_000), [Some(60), Some(60)]);
        assert_eq!(take(&two[1..], 80_000), [Some(70)]);
        assert_eq!(take(&two, 90_000), [Some(0), Some(80)]);
    }

    #[test]
    fn a_reply_has_the_words_of_haproxy_and_the_sessions() {
        let found = SessionSearch {
            is_served: true,
            sessions: vec![session(1, true), session(2, false)],
            ..SessionSearch::default()
        };
        let expected = "up\nsessions 2\nsession user1 active\nsession user2 disconnected 5\n";
        assert_eq!(written(&found, &[None, Some(5)]), expected);
        // If a report does not name all sessions, a farm ends none because of it.
        let partial = SessionSearch {
            unknown: 1,
            ..found.clone()
        };
        let partial = written(&partial, &[None, Some(5)]);
        assert_eq!(partial, expected.replace("sessions 2", "sessions 3"));
        let report = report::AgentReply::read(partial.as_bytes()).unwrap();
        assert!(!report.sessions.unwrap().is_whole());
        let blind = SessionSearch {
            is_blind: true,
            ..SessionSearch::default()
        };
        let blind = written(&blind, &[]);
        let report = report::AgentReply::read(blind.as_bytes()).unwrap();
        assert_eq!((report.is_up, report.sessions), (Some(false), None));
        let none = written(&SessionSearch::default(), &[]);
        assert_eq!(none, "down #xrdp-sesman is not running\nsessions 0\n");
    }

    fn exchange(allow: &str, says: &'static [u8]) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let options = Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            allow: vec![allow.parse().unwrap()],
            proc: Path::new("none").to_owned(),
            name_of: |_| None,
            screens: Screens::default(),
        };
        runtime.block_on(async {
            let listener = TcpListener::bind(options.listen).await.unwrap();
            let at = listener.local_addr().unwrap();
            tokio::spawn(accepts(listener, options));
            let mut stream = TcpStream::connect(at).await.unwrap();
            // The agent may have closed the connection without a reply.
            let _ = stream.write_all(says).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        })
    }

    #[test]
    fn only_addresses_that_are_allowed_are_answered_and_a_line_is_not_needed() {
        // No process is visible at all.
        let answer = "down #xrdp-sesman is not running\n";
        assert_eq!(exchange("127.0.0.0/8", b"check\n"), answer);
        assert_eq!(exchange("127.0.0.1", b""), answer);
        assert_eq!(exchange("127.0.0.1", &[b'x'; 2_000]), answer);
        assert_eq!(exchange("192.0.2.1", b"check\n"), "");
    }
}
