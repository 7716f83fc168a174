//! Hands over the master sockets and sessions when this process executes a newer program: they stay
//! open and the new image continues with them.

use super::client::{Client, SavedSession};
use super::{Master, MasterListener};
use crate::handed::number;
use part::role::{HandedExtra, Level};
use std::os::fd::OwnedFd;
use std::time::Instant;

const LISTENER: &str = "master listener";
const SESSION: &str = "master session";
/// Size of a session's fields before its input, in bytes: level, flags, worker.
const SESSION_BYTES: usize = 6;
const PROMPT: u8 = 1;
const WAITS: u8 = 2;

impl Master {
    pub fn is_quiet(&self) -> bool {
        self.clients.iter().all(Client::is_quiet)
    }

    /// Returns the items for the next image, the sockets first. Sessions that are not idle end.
    pub fn hand_over(&self) -> impl Iterator<Item = HandedExtra> {
        let listeners = self.listeners.iter().map(|one| HandedExtra {
            name: LISTENER.to_owned(),
            descriptor: Some(number(&one.fd)),
            bytes: [&[level(one.level)], one.text.as_bytes()].concat(),
        });
        let sessions = self.clients.iter().filter_map(Client::kept);
        listeners.chain(sessions.map(|kept| session(&kept)))
    }

    /// Restores an item of a previous image. Returns the id of a session that waits for a reload.
    pub fn resume(&mut self, extra: &HandedExtra, fd: OwnedFd) -> Option<u64> {
        match (&*extra.name, &*extra.bytes) {
            (LISTENER, [level, text @ ..]) => {
                self.listeners.push(MasterListener {
                    fd,
                    level: level_of(*level)?,
                    text: String::from_utf8_lossy(text).into_owned(),
                });
                None
            }
            (SESSION, bytes) => {
                let (head, input) = bytes.split_first_chunk::<SESSION_BYTES>()?;
                let [level, flags, worker @ ..] = *head;
                let worker = i32::from_le_bytes(worker);
                let id = self.next_id;
                self.next_id += 1;
                let client = Client::new(id, fd, level_of(level)?, Instant::now());
                let waits = flags & WAITS != 0;
                let worker = (worker != 0).then_some(worker);
                let client = client.resume(flags & PROMPT != 0, waits, worker, input);
                self.clients.push(client);
                waits.then_some(id)
            }
            _ => None,
        }
    }
}

fn session(kept: &SavedSession<'_>) -> HandedExtra {
    let prompt = if kept.prompt { PROMPT } else { 0 };
    let waits = if kept.waits { WAITS } else { 0 };
    let mut bytes = vec![level(kept.level), prompt | waits];
    bytes.extend(kept.worker.unwrap_or(0).to_le_bytes());
    bytes.extend(kept.input);
    HandedExtra {
        name: SESSION.to_owned(),
        descriptor: Some(number(kept.socket)),
        bytes,
    }
}

fn level(level: Level) -> u8 {
    match level {
        Level::User => 0,
        Level::Operator => 1,
        Level::Admin => 2,
    }
}

fn level_of(number: u8) -> Option<Level> {
    let levels = [Level::User, Level::Operator, Level::Admin];
    levels.into_iter().find(|one| level(*one) == number)
}
