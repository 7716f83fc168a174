//! The agent for xrdp: a small server that answers farms, and HAProxy, with the sessions of this machine, and
//! shows notices in them. It decides nothing, and speaks only to the addresses that it was given.

use super::notice::{self, Notices};
use super::report;
use super::show::Screens;
use super::xrdp::{Found, NameOf, Session, look};
use access::network::Network;
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

/// The port of an agent where nothing says otherwise.
pub const PORT: u16 = 9_707;
/// Connections at one time.
const CONNECTIONS_MAX: usize = 32;
/// How long the line of a farm is waited for: HAProxy may send none.
const LINE_LIMIT: Duration = Duration::from_millis(500);
/// How long a connection may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of a line.
const LINE_BYTES_MAX: usize = 1_024;
/// How long the server rests when it cannot accept.
const REST: Duration = Duration::from_millis(100);

/// What the agent needs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whom it answers.
    pub allow: Vec<Network>,
    /// Where the system shows its processes: `/proc`.
    pub proc: PathBuf,
    /// The name of a user.
    pub name_of: NameOf,
    /// What shows notices.
    pub screens: Screens,
}

/// The agent.
struct Agent {
    options: Options,
    state: Mutex<State>,
}

/// What the agent remembers.
#[derive(Debug, Default)]
struct State {
    notices: Notices<(u32, u64)>,
    since: Since,
}

/// Since when sessions are as they are.
#[derive(Debug, Default)]
struct Since {
    /// Whether somebody is connected, and since when, milliseconds; None: since before the agent began.
    sessions: BTreeMap<(u32, u64), (bool, Option<u64>)>,
    has_looked: bool,
}

impl Since {
    /// Takes what was found; returns for how long each session has been so, seconds.
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
    /// The reply to a line of a farm.
    fn reply(&self, line: &str) -> String {
        let found = look(&self.options.proc, self.options.name_of);
        let now_ms = Moment::now().boottime_ms;
        let (since, new) = {
            let mut state = lock(&self.state);
            let keys: BTreeSet<_> = found.sessions.iter().map(|one| one.key).collect();
            let new = { notice::of_line(line) }
                .map(|text| (state.notices.sent(&text, &keys, now_ms), text));
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
        // What has come by then is the line.
        timeout(LINE_LIMIT, reads).await.unwrap_or(Ok(()))?;
        let line = String::from_utf8_lossy(&line);
        let reply = self.reply(line.lines().next().unwrap_or_default());
        stream.write_all(reply.as_bytes()).await?;
        stream.shutdown().await
    }
}

/// A reply with what was found.
fn written(found: &Found, since: &[Option<u64>]) -> String {
    let words = match found.is_served {
        true => "up",
        false => "down #xrdp-sesman is not running",
    };
    let sessions = found.sessions.iter().zip(since);
    let sessions: Vec<report::Written<'_>> = sessions
        .map(|(session, since)| (session.name.as_str(), session.is_active, *since))
        .collect();
    match found.is_blind {
        true => format!("{words}\n"),
        false => report::write(words, &sessions, found.unknown),
    }
}

/// Runs the agent.
///
/// # Errors
/// It cannot listen.
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
                // Without descriptors it waits for those that there are.
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let from = from.ip().to_canonical();
        let is_allowed = agent.options.allow.iter().any(|one| one.has(from));
        let place = Arc::clone(&places).try_acquire_owned();
        if let (true, Ok(place)) = (is_allowed, place) {
            let agent = Arc::clone(&agent);
            tokio::spawn(async move {
                // A farm that is gone asks again.
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
    fn for_how_long_a_session_is_so_is_known_from_what_the_agent_has_seen() {
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
        let found = Found {
            is_served: true,
            sessions: vec![session(1, true), session(2, false)],
            ..Found::default()
        };
        let expected = "up\nsessions 2\nsession user1 active\nsession user2 disconnected 5\n";
        assert_eq!(written(&found, &[None, Some(5)]), expected);
        // A farm ends no session by a report that does not name all of them, or says nothing of them.
        let partial = Found {
            unknown: 1,
            ..found.clone()
        };
        let partial = written(&partial, &[None, Some(5)]);
        assert_eq!(partial, expected.replace("sessions 2", "sessions 3"));
        let report = report::Report::read(partial.as_bytes()).unwrap();
        assert!(!report.sessions.unwrap().is_whole());
        let blind = Found {
            is_blind: true,
            ..Found::default()
        };
        let blind = written(&blind, &[]);
        let report = report::Report::read(blind.as_bytes()).unwrap();
        assert_eq!((report.is_up, report.sessions), (Some(false), None));
        let none = written(&Found::default(), &[]);
        assert_eq!(none, "down #xrdp-sesman is not running\nsessions 0\n");
    }

    /// What an agent for these addresses answers to this.
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
            // One that is not answered may be closed already.
            let _ = stream.write_all(says).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        })
    }

    #[test]
    fn only_addresses_that_are_allowed_are_answered_and_a_line_is_not_needed() {
        // There are no processes at all to be seen.
        let answer = "down #xrdp-sesman is not running\n";
        assert_eq!(exchange("127.0.0.0/8", b"check\n"), answer);
        assert_eq!(exchange("127.0.0.1", b""), answer);
        assert_eq!(exchange("127.0.0.1", &[b'x'; 2_000]), answer);
        assert_eq!(exchange("192.0.2.1", b"check\n"), "");
    }
}
