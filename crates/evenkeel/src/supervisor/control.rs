//! The control socket: `evenkeel reload` and whatever later speaks to a
//! supervisor. Only the same user and root are heard.

use super::directory::{self, DirectoryError, Entry, Kind};
use super::upgrade::number;
use crate::roles::channel::{Channel, ChannelError};
use crate::roles::memory;
use protocol::role::{HandedClient, Look, Message};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{SocketFlags, accept_with, sockopt};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Commands that are heard at one time.
const CLIENTS_MAX: usize = 64;

/// Where a supervisor can be asked for something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// The control socket.
    Control,
    /// The master's socket.
    Master,
}

/// Somebody who asked for a change and waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asker {
    /// Which client.
    pub id: u64,
    /// Where it asked.
    pub at: Door,
    /// How what is printed is to look.
    pub look: Option<Look>,
}

struct Client {
    id: u64,
    channel: Channel,
    /// It was told all, and goes when it has heard it.
    told: bool,
}

/// The socket and who is connected to it.
pub struct Control {
    listener: OwnedFd,
    clients: Vec<Client>,
    next_id: u64,
    entry: Entry,
}

impl Control {
    /// Can be reached from now on.
    pub fn open(program: &str, paths: &[PathBuf]) -> Result<Control, DirectoryError> {
        let (entry, listener) = directory::enter(Kind::Supervisor, program, paths)?;
        Ok(Control::kept(entry, listener))
    }

    /// One that could be reached before this process executed another program.
    pub fn kept(entry: Entry, listener: OwnedFd) -> Control {
        Control {
            listener,
            clients: Vec::new(),
            next_id: 1,
            entry,
        }
    }

    /// The socket and its path.
    pub fn socket(&self) -> (&OwnedFd, &Path) {
        (&self.listener, self.entry.socket())
    }

    /// Those who are connected and were not told yet, for the next image.
    pub fn hand_over(&self, asked: impl Fn(u64) -> Option<Look>) -> Vec<HandedClient> {
        let waiting = self.clients.iter().filter(|client| !client.told);
        waiting
            .map(|client| HandedClient {
                descriptor: number(&client.channel),
                asked: asked(client.id),
            })
            .collect()
    }

    /// Somebody who was connected to the image before; what was asked for.
    pub fn welcome(&mut self, fd: OwnedFd, asked: Option<Look>) -> Option<Asker> {
        let channel = Channel::new(fd).ok()?;
        let id = self.add(channel);
        asked.map(|look| Asker {
            id,
            at: Door::Control,
            look: Some(look),
        })
    }

    fn add(&mut self, channel: Channel) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.clients.push(Client {
            id,
            channel,
            told: false,
        });
        id
    }

    /// Whether nothing is half said.
    pub fn is_quiet(&self) -> bool {
        self.clients.iter().all(|client| client.channel.is_quiet())
    }

    /// What is to be watched.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let listener = PollFd::new(&self.listener, PollFlags::IN);
        let clients = self.clients.iter();
        std::iter::once(listener)
            .chain(clients.map(|one| PollFd::new(&one.channel, one.channel.interest())))
    }

    /// Hears everyone; who asks for a change.
    pub fn hear(&mut self) -> Vec<Asker> {
        self.accept();
        let mut askers = Vec::new();
        self.clients.retain_mut(|client| {
            if client.channel.flush().is_err() {
                return false;
            }
            loop {
                match client.channel.receive() {
                    Ok(None) => return !client.told || client.channel.waits(),
                    Ok(Some(received)) => match received.message {
                        Message::Reload(look) => askers.push(Asker {
                            id: client.id,
                            at: Door::Control,
                            look: Some(look),
                        }),
                        Message::Unknown { .. } => {}
                        other => {
                            let kind = other.kind();
                            if client
                                .channel
                                .send(&Message::Unknown { kind }, &[])
                                .is_err()
                            {
                                return false;
                            }
                        }
                    },
                    Err(_) => return false,
                }
            }
        });
        askers
    }

    fn accept(&mut self) {
        while let Ok(fd) = accept_with(&self.listener, SocketFlags::CLOEXEC) {
            if self.clients.len() >= CLIENTS_MAX || !may_speak(&fd) {
                continue;
            }
            if let Ok(channel) = Channel::new(fd) {
                self.add(channel);
            }
        }
    }

    /// Tells somebody how it went.
    pub fn tell(&mut self, id: u64, exit: u8, text: &str) {
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else {
            return;
        };
        client.told = true;
        let told: Result<(), ChannelError> = memory::create("evenkeel reload", text.as_bytes())
            .map_err(ChannelError::System)
            .and_then(|fd| {
                let message = Message::Reloaded { exit };
                client.channel.send(&message, &[Arc::new(fd)])
            });
        if told.is_err() {
            self.clients.retain(|client| client.id != id);
        }
    }
}

/// The same user, and root.
fn may_speak(fd: &OwnedFd) -> bool {
    let own = rustix::process::geteuid();
    sockopt::socket_peercred(fd).is_ok_and(|peer| peer.uid == own || peer.uid.is_root())
}
