//! Serves the control socket, at which `evenkeel reload` and other commands send requests to a
//! supervisor. Only the same user and root may connect.

use crate::directory::{self, Claims, DirectoryError, Entry, SocketOwner};
use crate::handed::number;
use part::channel::{Channel, ChannelError, Received};
use part::role::{DecodeError, DiagnosticFormat, HandedClient, SupervisorMessage};
use part::{SharedFd, memory};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{SocketFlags, accept_with, sockopt};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CLIENTS_MAX: usize = 64;
const ACCEPTS_MAX: usize = 16;
const MESSAGES_MAX: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestInterface {
    Control,
    Master,
    Cluster,
}

/// A client that requested a reload and waits for the result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asker {
    pub id: u64,
    pub at: RequestInterface,
    /// Output format of the reload's result.
    pub look: Option<DiagnosticFormat>,
    /// True if runtime changes of lists and maps must be discarded.
    pub fresh: bool,
}

struct Client {
    id: u64,
    channel: Channel,
    /// True if the client has a pending request; further requests are ignored until it has the
    /// result.
    asked: bool,
    /// True if the client got its result; the connection closes once it was sent.
    told: bool,
    ask: u64,
}

#[derive(Default)]
pub struct ClientRequests {
    pub askers: Vec<Asker>,
    /// Messages for parts, with the id of the client.
    pub questions: Vec<(u64, Received)>,
}

pub struct ControlSocket {
    listener: OwnedFd,
    clients: Vec<Client>,
    next_id: u64,
    entry: Entry,
}

impl ControlSocket {
    pub fn open(
        program: &str,
        paths: &[PathBuf],
        claims: &Claims,
    ) -> Result<ControlSocket, DirectoryError> {
        let (entry, listener) = directory::enter(SocketOwner::Supervisor, program, paths, claims)?;
        Ok(ControlSocket::kept(entry, listener))
    }

    /// Restores a socket that was open before this process executed another program.
    pub fn kept(entry: Entry, listener: OwnedFd) -> ControlSocket {
        ControlSocket {
            listener,
            clients: Vec::new(),
            next_id: 1,
            entry,
        }
    }

    pub fn socket(&self) -> (&OwnedFd, &Path) {
        (&self.listener, self.entry.socket())
    }

    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Returns the clients without a result, for the next program image.
    pub fn hand_over(&self, asked: impl Fn(u64) -> Option<DiagnosticFormat>) -> Vec<HandedClient> {
        let waiting = self.clients.iter().filter(|client| !client.told);
        waiting
            .map(|client| HandedClient {
                descriptor: number(&client.channel),
                asked: asked(client.id),
            })
            .collect()
    }

    /// Restores a client of the previous program image. Returns its reload request, if it has one.
    pub fn welcome(&mut self, fd: OwnedFd, asked: Option<DiagnosticFormat>) -> Option<Asker> {
        let channel = Channel::new(fd).ok()?;
        let id = self.add(channel, asked.is_some());
        asked.map(|look| Asker {
            id,
            at: RequestInterface::Control,
            look: Some(look),
            fresh: false,
        })
    }

    fn add(&mut self, channel: Channel, asked: bool) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.clients.push(Client {
            id,
            channel,
            asked,
            told: false,
            ask: 0,
        });
        id
    }

    pub fn is_quiet(&self) -> bool {
        self.clients.iter().all(|client| client.channel.is_quiet())
    }

    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let listener = PollFd::new(&self.listener, PollFlags::IN);
        let clients = self.clients.iter();
        std::iter::once(listener)
            .chain(clients.map(|one| PollFd::new(&one.channel, one.channel.interest())))
    }

    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.clients.iter().map(|client| &client.channel)
    }

    pub fn knows(&self, id: u64) -> bool {
        self.clients.iter().any(|client| client.id == id)
    }

    pub fn read_clients(&mut self) -> ClientRequests {
        self.accept();
        let mut heard = ClientRequests::default();
        self.clients
            .retain_mut(|client| match client.hear(&mut heard) {
                Ok(()) => !client.told || client.channel.waits(),
                Err(_) => false,
            });
        heard
    }

    pub fn send_response(
        &mut self,
        id: u64,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) {
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else {
            return;
        };
        client.asked = false;
        client.told = true;
        let sent = (client.channel).send_numbered(client.ask, message, descriptors);
        if sent.is_err() {
            self.clients.retain(|client| client.id != id);
        }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            let Ok(fd) = accept_with(&self.listener, SocketFlags::CLOEXEC) else {
                return;
            };
            if !may_speak(&fd) || !self.makes_room() {
                continue;
            }
            if let Ok(channel) = Channel::new(fd) {
                self.add(channel, false);
            }
        }
    }

    /// Returns whether there is room for another client. If there is none, disconnects the oldest
    /// client without a request.
    fn makes_room(&mut self) -> bool {
        if self.clients.len() < CLIENTS_MAX {
            return true;
        }
        let idle = |client: &Client| !client.asked && !client.told;
        let oldest = self.clients.iter().position(idle);
        oldest.map(|at| self.clients.remove(at)).is_some()
    }

    pub fn send_reload_result(&mut self, id: u64, exit: u8, text: &str) {
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else {
            return;
        };
        client.asked = false;
        client.told = true;
        let told: Result<(), ChannelError> = memory::create("evenkeel reload", text.as_bytes())
            .map_err(ChannelError::System)
            .and_then(|fd| {
                let message = SupervisorMessage::Reloaded { exit };
                client.channel.send(&message, &[Arc::new(fd)])
            });
        if told.is_err() {
            self.clients.retain(|client| client.id != id);
        }
    }
}

impl Client {
    /// Reads the client's messages. A second request is ignored, because a client has at most one
    /// request in progress.
    fn hear(&mut self, heard: &mut ClientRequests) -> Result<(), ChannelError> {
        self.channel.flush()?;
        for _ in 0..MESSAGES_MAX {
            let received = self.channel.receive().inspect_err(|error| {
                // Responds once more, so that the client sees that the message formats differ.
                if let ChannelError::Decode(DecodeError::Version(_)) = error {
                    let _ = self
                        .channel
                        .send(&SupervisorMessage::Unknown { kind: 0 }, &[]);
                }
            });
            let Some(received) = received? else {
                break;
            };
            match received.message {
                SupervisorMessage::Reload { .. }
                | SupervisorMessage::TellReport { .. }
                | SupervisorMessage::GiveVersion
                | SupervisorMessage::TraceEvents(_)
                | SupervisorMessage::Part(_)
                    if self.asked => {}
                SupervisorMessage::Reload { look, fresh } => {
                    self.asked = true;
                    heard.askers.push(Asker {
                        id: self.id,
                        at: RequestInterface::Control,
                        look: Some(look),
                        fresh,
                    });
                }
                SupervisorMessage::TellReport { .. }
                | SupervisorMessage::GiveVersion
                | SupervisorMessage::TraceEvents(_)
                | SupervisorMessage::Part(_) => {
                    self.asked = true;
                    self.ask = received.ask;
                    heard.questions.push((self.id, received));
                }
                SupervisorMessage::Unknown { .. } => {}
                other => {
                    let kind = other.kind();
                    self.channel
                        .send(&SupervisorMessage::Unknown { kind }, &[])?;
                }
            }
        }
        Ok(())
    }
}

/// Returns whether the peer is the same user or root.
fn may_speak(fd: &OwnedFd) -> bool {
    let own = rustix::process::geteuid();
    sockopt::socket_peercred(fd).is_ok_and(|peer| peer.uid == own || peer.uid.is_root())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELOAD: SupervisorMessage = SupervisorMessage::Reload {
        look: DiagnosticFormat {
            color: false,
            unicode: false,
            width: 0,
            as_json: false,
        },
        fresh: false,
    };

    struct ControlFixture {
        control: ControlSocket,
        directory: PathBuf,
    }

    impl ControlFixture {
        fn new(name: &str) -> ControlFixture {
            let name = format!("evenkeel-control-{name}-{}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            let (entry, listener) = directory::enter_in(
                &directory,
                SocketOwner::Supervisor,
                "evenkeel",
                &[],
                &Claims::default(),
            )
            .unwrap();
            let control = ControlSocket::kept(entry, listener);
            ControlFixture { control, directory }
        }

        fn client(&self) -> Channel {
            let fd = directory::connected(self.control.socket().1).unwrap();
            Channel::new(fd).unwrap()
        }

        fn heard(&mut self, turns: usize) -> Vec<Asker> {
            (0..turns)
                .flat_map(|_| self.control.read_clients().askers)
                .collect()
        }
    }

    impl Drop for ControlFixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }

    #[test]
    fn repeated_requests_of_a_client_count_once() {
        let mut bed = ControlFixture::new("again");
        let mut client = bed.client();
        for _ in 0..8 * MESSAGES_MAX {
            client.send(&RELOAD, &[]).unwrap();
        }
        let mut other = bed.client();
        other.send(&RELOAD, &[]).unwrap();
        let first = bed.heard(1);
        assert_eq!(first.len(), 2, "the other one is heard in the same turn");
        let mut heard = 0;
        while client.waits() && heard < 1_000 {
            heard += 1;
            assert!(bed.heard(1).is_empty());
            client.flush().unwrap();
        }
        assert!(bed.heard(20).is_empty());
        bed.control
            .send_reload_result(first[0].id, 0, "it went well");
        let told = client.wait(None).unwrap();
        assert_eq!(told.message, SupervisorMessage::Reloaded { exit: 0 });
    }

    #[test]
    fn client_of_another_version_is_told_the_version() {
        let mut bed = ControlFixture::new("version");
        let client = directory::connected(bed.control.socket().1).unwrap();
        let foreign = [&[b'E', 200], &[0; 14][..]].concat();
        rustix::io::write(&client, &foreign).unwrap();
        assert!(bed.heard(2).is_empty());
        let mut reply = [0; 64];
        rustix::io::read(&client, &mut reply).unwrap();
        assert_eq!(reply[..2], [b'E', part::role::VERSION]);
    }

    #[test]
    fn idle_clients_are_closed_before_waiting_ones() {
        let mut bed = ControlFixture::new("idle");
        let mut first = bed.client();
        first.send(&RELOAD, &[]).unwrap();
        let asker = bed.heard(1).remove(0);
        let idle: Vec<Channel> = (0..2 * CLIENTS_MAX)
            .map(|_| {
                let client = bed.client();
                bed.heard(1);
                client
            })
            .collect();
        assert_eq!(bed.control.clients.len(), CLIENTS_MAX);
        let mut last = bed.client();
        last.send(&RELOAD, &[]).unwrap();
        assert_eq!(bed.heard(2).len(), 1, "it is heard");
        assert!(bed.control.knows(asker.id));
        drop(idle);
    }

    #[test]
    fn disconnected_clients_are_forgotten() {
        let mut bed = ControlFixture::new("gone");
        let mut client = bed.client();
        client.send(&RELOAD, &[]).unwrap();
        let asker = bed.heard(1).remove(0);
        assert!(bed.control.knows(asker.id));
        drop(client);
        bed.heard(1);
        assert!(!bed.control.knows(asker.id));
    }
}
