//! The master's socket (`-S`): what the supervisor is asked there and answers
//! by itself, and what it passes on to a worker unread. Opened with the rights
//! of the start, and the supervisor's own: a change does not touch it.
//!
//! It takes lines apart into words by a small table and parses nothing else. It
//! never waits: sessions are counted, their buffers bounded, and one that does
//! nothing gives its place to one that comes.
//!
//! `reload` answers as HAProxy does since 2.7 (`Success=1`, a line with `--`,
//! the messages) and then closes. HAProxy 2.6 closes without a word, so its
//! scripts read nothing and wait for the end, which still means that the change
//! is over, and not only that it began.

mod client;
mod command;
mod hand_over;
mod processes;

pub use client::Wish;
pub use processes::{View, Worker};

use client::{Client, Turn};
use part::role::Level;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use std::error::Error;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sessions at one time.
const CLIENTS_MAX: usize = 64;
/// Sessions that one socket is asked for in one turn.
const ACCEPTS_MAX: usize = 16;
/// How long accepting rests when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct Listener {
    fd: OwnedFd,
    level: Level,
    text: String,
}

/// Opens the sockets of one `-S`, in the order of their addresses; none of them blocks.
pub type Open = dyn Fn() -> Result<Vec<OwnedFd>, Box<dyn Error>>;

/// One `-S`.
#[derive(Clone)]
pub struct MasterSocket {
    /// Its addresses, as they are shown.
    pub addresses: Vec<String>,
    /// What may be done there.
    pub level: Level,
    /// Opens them, with the rights of the start.
    pub open: Arc<Open>,
}

impl fmt::Debug for MasterSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({:?})", self.addresses, self.level)
    }
}

/// The sockets and their sessions.
#[derive(Default)]
pub struct Master {
    listeners: Vec<Listener>,
    clients: Vec<Client>,
    next_id: u64,
    /// Nothing is accepted until then.
    rests_until: Option<Instant>,
}

impl Master {
    /// Opens all of them, or says which one cannot be had.
    pub fn open(masters: &[MasterSocket]) -> Result<Master, Box<dyn Error>> {
        let mut listeners = Vec::new();
        for master in masters {
            let opened = (master.open)()?.into_iter().zip(&master.addresses);
            listeners.extend(opened.map(|(fd, text)| Listener {
                fd,
                level: master.level,
                text: text.clone(),
            }));
        }
        Ok(Master {
            listeners,
            ..Master::default()
        })
    }

    /// What is to be watched.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let accepts = self.rests_until.is_none();
        let listeners = self.listeners.iter().filter(move |_| accepts);
        listeners
            .map(|listener| PollFd::new(&listener.fd, PollFlags::IN))
            .chain(self.clients.iter().flat_map(Client::watched))
    }

    /// When something is due by itself.
    pub fn deadline(&self) -> Option<Instant> {
        self.rests_until
    }

    /// Whether anybody is to be heard at all.
    pub fn is_open(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Hears everyone; what is to be done for them.
    pub fn hear(&mut self, view: &View) -> Vec<Wish> {
        self.accept(view.now);
        let mut wishes = Vec::new();
        let sockets = self.sockets();
        let mut turn = Turn {
            view,
            sockets: &sockets,
            wishes: &mut wishes,
        };
        self.clients.retain_mut(|client| client.turn(&mut turn));
        wishes
    }

    /// Tells a session how the change went that it asked for.
    pub fn tell(&mut self, id: u64, success: bool, text: &str) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
            client.tell(success, text);
        }
    }

    /// Nobody is heard any more: what they can still fetch at once is sent.
    pub fn end(self) {
        for mut client in self.clients {
            client.end();
        }
    }

    fn sockets(&self) -> String {
        let mut text = String::from("# socket lvl processes\n");
        for listener in &self.listeners {
            text += &format!("{} {} all\n", listener.text, command::level(listener.level));
        }
        text + "\n"
    }

    fn accept(&mut self, now: Instant) {
        if self.rests_until.is_some_and(|until| until > now) {
            return;
        }
        self.rests_until = None;
        for listener in &self.listeners {
            for _ in 0..ACCEPTS_MAX {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                match accept_with(&listener.fd, flags) {
                    Ok(socket) => {
                        make_room(&mut self.clients);
                        let client = Client::new(self.next_id, socket, listener.level, now);
                        self.clients.push(client);
                        self.next_id += 1;
                    }
                    Err(Errno::INTR | Errno::CONNABORTED) => {}
                    Err(Errno::AGAIN) => break,
                    Err(_) => {
                        self.rests_until = Some(now + ACCEPT_PAUSE);
                        break;
                    }
                }
            }
        }
    }
}

/// The session that did nothing for the longest time gives its place up; those that wait
/// for something only where no other is left.
fn make_room(clients: &mut Vec<Client>) {
    if clients.len() < CLIENTS_MAX {
        return;
    }
    let oldest = clients
        .iter()
        .enumerate()
        .min_by_key(|(_, client)| (client.waits(), client.heard));
    if let Some((at, _)) = oldest {
        clients.remove(at);
    }
}

/// The addresses as HAProxy shows them to files in `HAPROXY_MASTER_CLI`.
pub fn shown(masters: &[MasterSocket]) -> String {
    let all = masters.iter().rev().flat_map(|master| &master.addresses);
    all.map(String::as_str).collect::<Vec<_>>().join(";")
}
