//! Prepares space in the backing store for the growth of a volume. A separate thread does that,
//! because the event loop never waits for a disk. The replica then decides when the volume grows.

use super::Mirror;
use super::mailbox::MailboxMessage;
use crate::config::size_words;
use crate::device::{self, Backing, Device};
use crate::replica::{BLOCK_BYTES, Input, OtherState};
use std::ops::Range;

/// Sizes of the volume and its backing store, bytes.
#[derive(Debug)]
pub(super) struct Room {
    device: Device,
    backing: Backing,
    name: String,
    wanted: u64,
    /// Largest size for which the checksums have space.
    size_max: u64,
    stored: u64,
    /// End of the zeroed space after the end of the volume.
    prepared: u64,
    told: u64,
    shown: u64,
    is_busy: bool,
    trouble: Option<String>,
}

impl Room {
    pub(super) fn new(
        device: &Device,
        backing: &Backing,
        name: &str,
        size: u64,
        size_max: u64,
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

    pub(super) fn reset_reported_space(&mut self) {
        self.told = self.stored;
    }

    pub(super) fn client_size_bytes(&self) -> u64 {
        self.shown
    }
}

impl Mirror {
    pub(super) fn apply_configured_size(&mut self, bytes: u64) {
        self.room.wanted = bytes;
        self.room.trouble = None;
        self.shown.is_due = true;
        self.report_space();
        self.prepare();
    }

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
            mailbox
                .letters()
                .put_once(MailboxMessage::Prepared(range, result));
        });
        match thread {
            Ok(_) => room.is_busy = true,
            Err(error) => room.trouble = Some(format!("cannot start a thread: {error}")),
        }
    }

    pub(super) fn prepared(&mut self, range: Range<u64>, result: Result<(), String>) {
        let room = &mut self.room;
        room.is_busy = false;
        self.shown.is_due = true;
        // Ignores the result if the copy has shrunk since the order: more space has to be prepared.
        if range.start == room.prepared {
            match result {
                Ok(()) => room.prepared = range.end,
                // Reports a failure only for the configured size, which may have changed since the
                // order.
                Err(words) if range.end == room.wanted => {
                    (self.outside.say)(format!("cannot grow: {words}"));
                    room.trouble = Some(words);
                }
                Err(_) => {}
            }
        }
        self.report_space();
        self.prepare();
    }

    pub(super) fn report_space(&mut self) {
        let room = &mut self.room;
        let (from, to) = (room.told, room.wanted.min(room.prepared).max(room.stored));
        if from != to {
            room.told = to;
            let (from, to) = (from.min(to) / BLOCK_BYTES, to / BLOCK_BYTES);
            self.apply_input(Input::Room { from, to });
        }
    }

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

    pub(super) fn resized(&mut self, blocks: u64) {
        let bytes = blocks * BLOCK_BYTES;
        if bytes > self.room.shown {
            self.room.shown = bytes;
            self.export.grow(bytes);
            self.shown.is_due = true;
        }
    }

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
