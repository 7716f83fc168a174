//! Serves the master socket (`-S`): handles some commands itself, and forwards the others to a
//! worker unread. The sockets are opened with the privileges of the start and belong to the
//! supervisor; a reload does not change them.
//!
//! The module splits lines into words by a small table and parses nothing else. It never blocks:
//! the number of sessions and their buffers are bounded, and an idle session is closed when a new
//! client needs its slot.
//!
//! `reload` responds as HAProxy does since 2.7 (`Success=1`, a line with `--`, the messages) and
//! then closes the connection. HAProxy 2.6 closes it without a response, so scripts for 2.6 read
//! nothing and wait for the end. The end then means that the reload is over, and not only that it
//! has started.

mod client;
mod command;
mod hand_over;
mod processes;

pub use client::SupervisorRequest;
pub use processes::{View, Worker};

use client::{Client, SessionContext};
use part::role::Level;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use std::error::Error;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CLIENTS_MAX: usize = 64;
const ACCEPTS_MAX: usize = 16;
/// Pause of accepting when the process has no free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct MasterListener {
    fd: OwnedFd,
    level: Level,
    text: String,
}

/// Opens the sockets of one `-S`, in the order of their addresses; none of them blocks.
pub type SocketOpener = dyn Fn() -> Result<Vec<OwnedFd>, Box<dyn Error>>;

/// The configuration of one `-S` option.
#[derive(Clone)]
pub struct MasterSocket {
    pub addresses: Vec<String>,
    pub level: Level,
    /// Opens the sockets, with the privileges of the start.
    pub open: Arc<SocketOpener>,
}

impl fmt::Debug for MasterSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({:?})", self.addresses, self.level)
    }
}

#[derive(Default)]
pub struct Master {
    listeners: Vec<MasterListener>,
    clients: Vec<Client>,
    next_id: u64,
    /// Time until which no connections are accepted; None without a pause.
    rests_until: Option<Instant>,
}

impl Master {
    /// Opens all sockets. The error names the one that failed.
    pub fn open(masters: &[MasterSocket]) -> Result<Master, Box<dyn Error>> {
        let mut listeners = Vec::new();
        for master in masters {
            let opened = (master.open)()?.into_iter().zip(&master.addresses);
            listeners.extend(opened.map(|(fd, text)| MasterListener {
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

    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let accepts = self.rests_until.is_none();
        let listeners = self.listeners.iter().filter(move |_| accepts);
        listeners
            .map(|listener| PollFd::new(&listener.fd, PollFlags::IN))
            .chain(self.clients.iter().flat_map(Client::watched))
    }

    /// Returns the end of the pause of accepting; None without a pause.
    pub fn deadline(&self) -> Option<Instant> {
        self.rests_until
    }

    pub fn is_open(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Serves all sessions. Returns their requests to the supervisor.
    pub fn serve_sessions(&mut self, view: &View) -> Vec<SupervisorRequest> {
        self.accept(view.now);
        let mut wishes = Vec::new();
        let sockets = self.sockets();
        let mut turn = SessionContext {
            view,
            sockets: &sockets,
            wishes: &mut wishes,
        };
        self.clients
            .retain_mut(|client| client.make_progress(&mut turn));
        wishes
    }

    pub fn send_reload_result(&mut self, id: u64, success: bool, text: &str) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
            client.report_reload_result(success, text);
        }
    }

    /// Ends all sessions; sends as much output as the clients accept at once.
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

/// Closes the session that has been idle for the longest time; sessions that wait for a result only
/// if there is no other.
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

/// Formats the addresses as HAProxy's variable `HAPROXY_MASTER_CLI`.
pub fn shown(masters: &[MasterSocket]) -> String {
    let all = masters.iter().rev().flat_map(|master| &master.addresses);
    all.map(String::as_str).collect::<Vec<_>>().join(";")
}
