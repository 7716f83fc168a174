//! The room that the backing has for a larger size: prepared on a thread of its own, because
//! the loop waits for no disk, then told to the replica, which decides when the volume grows.

use super::Mirror;
use super::mailbox::Letter;
use crate::config::size_words;
use crate::device::{self, Backing, Device};
use crate::replica::{BLOCK_BYTES, Input, OtherState};
use std::ops::Range;

/// The room, bytes.
#[derive(Debug)]
pub(super) struct Room {
    device: Device,
    backing: Backing,
    name: String,
    /// The size that the file says.
    wanted: u64,
    /// The largest size for which its checksums leave room.
    size_max: u64,
    /// The size that is stored.
    stored: u64,
    /// Up to here, zeroes follow the end of the volume.
    prepared: u64,
    /// What the replica was told.
    told: u64,
    /// The size that clients see.
    shown: u64,
    /// It is being prepared.
    is_busy: bool,
    /// Why it was not.
    trouble: Option<String>,
}

impl Room {
    /// Of a copy of this size.
    pub(super) fn new(
        device: &Device,
        backing: &Backing,
        name: &str,
        (size, size_max): (u64, u64),
    ) -> Room {
        Room {
            device: device.clone(),
            backing: backing.clone(),
            name: name.to_owned(),
            wanted: size,
            size_max,
            stored: size,
            prepared: size,
            told: size,
            shown: size,
            is_busy: false,
            trouble: None,
        }
    }

    /// The replica begins again, and knows nothing of it.
    pub(super) fn begins_again(&mut self) {
        self.told = self.stored;
    }

    /// The size for clients, bytes.
    pub(super) fn shown(&self) -> u64 {
        self.shown
    }
}

impl Mirror {
    /// The file says this size.
    pub(super) fn wants_size(&mut self, bytes: u64) {
        self.room.wanted = bytes;
        self.room.trouble = None;
        self.shown.is_due = true;
        self.tell_room();
        self.prepare();
    }

    /// Prepares the backing, if it is to have more room.
    fn prepare(&mut self) {
        let room = &mut self.room;
        if room.is_busy || room.wanted <= room.prepared || room.trouble.is_some() {
            return;
        }
        if room.wanted > room.size_max {
            let words =
                "it grows when the volume role is restarted: its checksums are behind its data";
            room.trouble = Some(words.to_owned());
            return;
        }
        let range = room.prepared..room.wanted;
        let (device, backing, name) =
            (room.device.clone(), room.backing.clone(), room.name.clone());
        let (head, mailbox) = (self.local.head().clone(), self.outside.mailbox.clone());
        let builder = std::thread::Builder::new().name(format!("room/{name}"));
        let thread = builder.spawn(move || {
            let result = device::prepare(&device, &head, &backing, &name, range.clone());
            let result = result.map_err(|error| error.to_string());
            mailbox.letters().put_once(Letter::Prepared(range, result));
        });
        match thread {
            Ok(_) => room.is_busy = true,
            Err(error) => room.trouble = Some(format!("cannot start a thread: {error}")),
        }
    }

    /// The backing was prepared, or not.
    pub(super) fn prepared(&mut self, range: Range<u64>, result: Result<(), String>) {
        let room = &mut self.room;
        room.is_busy = false;
        self.shown.is_due = true;
        // Otherwise the copy became smaller meanwhile, and more is to be done.
        if range.start == room.prepared {
            match result {
                Ok(()) => room.prepared = range.end,
                // The file may say another size by now.
                Err(words) if range.end == room.wanted => {
                    (self.outside.say)(format!("cannot grow: {words}"));
                    room.trouble = Some(words);
                }
                Err(_) => {}
            }
        }
        self.tell_room();
        self.prepare();
    }

    /// Tells the replica how much room there is.
    pub(super) fn tell_room(&mut self) {
        let room = &mut self.room;
        let (from, to) = (room.told, room.wanted.min(room.prepared).max(room.stored));
        if from != to {
            room.told = to;
            let (from, to) = (from.min(to) / BLOCK_BYTES, to / BLOCK_BYTES);
            self.feed(Input::Room { from, to });
        }
    }

    /// Something was stored, perhaps another size.
    pub(super) fn size_stored(&mut self) {
        let (size, room) = (self.local.head().size_bytes, &mut self.room);
        if size == room.stored {
            return;
        }
        if size < room.stored {
            (room.prepared, room.told) = (size, size);
        }
        room.stored = size;
        room.prepared = room.prepared.max(size);
        room.told = room.told.max(size);
        self.prepare();
    }

    /// The volume has this size for clients.
    pub(super) fn resized(&mut self, blocks: u64) {
        let bytes = blocks * BLOCK_BYTES;
        if bytes > self.room.shown {
            self.room.shown = bytes;
            self.export.grow(bytes);
            self.shown.is_due = true;
        }
    }

    /// Why it has another size than the file says.
    pub(super) fn size_words(&self) -> Option<String> {
        let room = &self.room;
        let (has, wanted) = (size_words(room.shown), size_words(room.wanted));
        if room.wanted < room.shown {
            return Some(format!(
                "it has {has} and cannot shrink to {wanted}: write `size {has}`"
            ));
        }
        if room.wanted == room.shown {
            return None;
        }
        if let Some(trouble) = &room.trouble {
            return Some(format!("cannot grow from {has} to {wanted}: {trouble}"));
        }
        let report = self.replica.report(super::boottime());
        let other = &self.lease.names.other;
        let why = match (report.serves, report.other) {
            _ if room.is_busy => "the backing is being prepared".to_owned(),
            (true, OtherState::InSync) => format!(
                "the copy on {other} has room for {} only: its node has not reloaded yet, or its \
                 backing has no room (`evenkeel volume list` there)",
                size_words(report.room[1] * BLOCK_BYTES)
            ),
            (true, _) => "when the other copy is in sync or away".to_owned(),
            (false, _) => "when its owner does".to_owned(),
        };
        Some(format!("has {has} and grows to {wanted}: {why}"))
    }
}
