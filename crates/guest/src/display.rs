//! Relays SPICE displays of guests to operators. One operator at a time has the display of a guest,
//! with one connection for each channel. The channels end together; if this relay ends one, the
//! operator gets the reason.
//!
//! Clients can crash QEMU: a message that it does not expect ends it with a signal. The same
//! happens if the client of the display channel disconnects, or is silent for long, before QEMU has
//! answered the first message after the ticket. So the relay passes on only messages that a browser
//! needs. It sends that first message if the client does not, and stays connected until QEMU has
//! answered.
//!
//! QEMU ends the current session of a display when another client presents a valid ticket. A client
//! therefore acquires the display when it sends its ticket, not before.

use crate::console::end;
use part::lock;
use part::report::Opens;
use protocol::spice::{
    DISPLAY, INIT_BYTES, LINK_BYTES, MAIN, SHORT_HEADER_BYTES, SpiceOutputState, TICKET_BYTES,
    bytes_behind, channel, has_ticket, init, is_init, is_modern, passed_bytes,
};
use std::collections::BTreeMap;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Timeout for a client to send its complete link message, then its ticket, and on the display
/// channel its first message. Also the timeout for QEMU to close a channel.
const LIMIT: Duration = Duration::from_secs(5);
/// Maximum time for which a client waits for the end of another client's display session.
const END_LIMIT: Duration = Duration::from_secs(2);
const PIECE_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
pub struct Displays {
    all: Mutex<BTreeMap<String, InUse>>,
    ends: Condvar,
}

#[derive(Debug)]
struct InUse {
    who: String,
    channels: BTreeMap<u8, Arc<UnixStream>>,
    is_ending: bool,
}

impl Displays {
    pub fn pass(&self, guest: &str, who: &str, operator: UnixStream, socket: &UnixStream) {
        let operator = Arc::new(operator);
        let begun = begin(&operator).and_then(|begun| {
            let is_held = begun.number == MAIN && !self.is_free(guest);
            if is_held {
                Err(ChannelEnd::Says(self.in_use(guest)))
            } else {
                Ok(begun)
            }
        });
        let begun = match begun {
            Ok(begun) => begun,
            // Sends the message in place of the server's reply; the display page understands it.
            // The operator may have left.
            Err(ChannelEnd::Says(words)) => {
                return drop((&*operator).write_all(format!("{words}\r\n").as_bytes()));
            }
            Err(ChannelEnd::Gone) => return,
        };
        let channel = Channel {
            number: begun.number,
            operator: &operator,
            guest: socket,
            state: Mutex::default(),
            changes: Condvar::new(),
        };
        let take = || self.take(guest, who, begun.number, &operator);
        let taken = thread::scope(|scope| {
            let to_guest = scope.spawn(|| channel.to_guest(&begun.link, take));
            channel.to_operator();
            to_guest.join()
        });
        drop(taken);
    }

    /// Returns whether a client could acquire the display now, or as soon as the current session
    /// has ended.
    fn is_free(&self, guest: &str) -> bool {
        lock(&self.all)
            .get(guest)
            .is_none_or(|display| display.is_ending)
    }

    fn in_use(&self, guest: &str) -> String {
        let all = lock(&self.all);
        let who = all.get(guest).map_or("", |display| &display.who);
        Opens::Spice.in_use(who)
    }

    /// Acquires a channel until the returned value is dropped. The main channel is the first of a
    /// session, and each channel type is open only once: a second channel of the same type can
    /// crash QEMU.
    fn take(
        &self,
        guest: &str,
        who: &str,
        number: u8,
        operator: &Arc<UnixStream>,
    ) -> Result<AcquiredChannel<'_>, String> {
        let all = lock(&self.all);
        let is_ending =
            |all: &mut BTreeMap<String, InUse>| all.get(guest).is_some_and(|one| one.is_ending);
        let waited = self.ends.wait_timeout_while(all, END_LIMIT, is_ending);
        let (mut all, _) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        let display = match (all.get_mut(guest), number) {
            (None, MAIN) => all.entry(guest.to_owned()).or_insert_with(|| InUse {
                who: who.to_owned(),
                channels: BTreeMap::new(),
                is_ending: false,
            }),
            (None, _) => return Err(ENDED.to_owned()),
            (Some(display), MAIN) => return Err(Opens::Spice.in_use(&display.who)),
            (Some(display), _) if display.is_ending || display.channels.contains_key(&number) => {
                return Err(Opens::Spice.in_use(&display.who));
            }
            (Some(display), _) => display,
        };
        display.channels.insert(number, Arc::clone(operator));
        Ok(AcquiredChannel {
            displays: self,
            guest: guest.to_owned(),
            number,
        })
    }
}

const ENDED: &str = "the display has ended";

/// Channel acquired by an operator.
struct AcquiredChannel<'d> {
    displays: &'d Displays,
    guest: String,
    number: u8,
}

impl AcquiredChannel<'_> {
    fn end_all(&self) {
        if let Some(display) = lock(&self.displays.all).get_mut(&self.guest) {
            display.is_ending = true;
            for operator in display.channels.values() {
                // Ignores an error: the channel may have ended already.
                let _ = operator.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for AcquiredChannel<'_> {
    fn drop(&mut self) {
        let mut all = lock(&self.displays.all);
        if let Some(display) = all.get_mut(&self.guest) {
            display.channels.remove(&self.number);
            if display.channels.is_empty() {
                all.remove(&self.guest);
            }
        }
        self.displays.ends.notify_all();
    }
}

#[derive(Debug)]
enum ChannelEnd {
    Gone,
    Says(String),
}

impl From<io::Error> for ChannelEnd {
    fn from(_: io::Error) -> ChannelEnd {
        ChannelEnd::Gone
    }
}

/// Start of a client's channel: its type, and its link message as received.
struct ChannelStart {
    number: u8,
    link: Vec<u8>,
}

fn begin(operator: &UnixStream) -> Result<ChannelStart, ChannelEnd> {
    let says = |words: &str| ChannelEnd::Says(words.to_owned());
    let until = Instant::now() + LIMIT;
    let mut link = [0; LINK_BYTES];
    read_until(operator, &mut link, until)?;
    let number =
        channel(&link).ok_or_else(|| says("the channel did not start with the SPICE protocol"))?;
    let size = bytes_behind(&link)
        .ok_or_else(|| says("the channel did not start with the SPICE protocol"))?;
    let mut behind = vec![0; size];
    read_until(operator, &mut behind, until)?;
    if !is_modern(&link, &behind) {
        return Err(says(
            "the SPICE client is too old: it must select its authentication and send mini headers",
        ));
    }
    let link = [&link[..], &behind].concat();
    Ok(ChannelStart { number, link })
}

struct Channel<'a> {
    number: u8,
    operator: &'a UnixStream,
    guest: &'a UnixStream,
    state: Mutex<RelayState>,
    changes: Condvar,
}

#[derive(Default)]
struct RelayState {
    is_accepted: bool,
    has_answered: bool,
    is_over: bool,
    words: Option<String>,
}

impl Channel<'_> {
    /// Relays from the operator to the guest. `take` acquires the channel once the operator's
    /// ticket has arrived.
    fn to_guest<'d>(
        &self,
        link: &[u8],
        take: impl FnOnce() -> Result<AcquiredChannel<'d>, String>,
    ) -> Option<AcquiredChannel<'d>> {
        let mut taken = None;
        let over = self.pass_all(link, take, &mut taken);
        if let Err(ChannelEnd::Says(words)) = over {
            self.say(words, taken.is_some());
        }
        // Closes the connection, so that the operator's page sees the end immediately.
        let _ = self.operator.shutdown(Shutdown::Both);
        // Ends the session only by a channel that has joined it: the session may belong to another
        // operator.
        let is_part = self.number == MAIN || lock(&self.state).is_accepted;
        if let Some(taken) = taken.as_ref().filter(|_| is_part) {
            taken.end_all();
        }
        if taken.is_some() && self.number == DISPLAY {
            let state = lock(&self.state);
            drop(self.changes.wait_while(state, |state| !state.has_answered));
        }
        end([self.operator, self.guest]);
        taken
    }

    fn pass_all<'d>(
        &self,
        link: &[u8],
        take: impl FnOnce() -> Result<AcquiredChannel<'d>, String>,
        taken: &mut Option<AcquiredChannel<'d>>,
    ) -> Result<(), ChannelEnd> {
        let mut guest = self.guest;
        guest.write_all(link)?;
        let mut ticket = [0; TICKET_BYTES];
        read_until(self.operator, &mut ticket, Instant::now() + LIMIT)?;
        if !has_ticket(&ticket) {
            return Err(ChannelEnd::Says(
                "the SPICE client has no ticket".to_owned(),
            ));
        }
        *taken = Some(take().map_err(ChannelEnd::Says)?);
        guest.write_all(&ticket)?;
        if self.number == DISPLAY {
            self.pass_first()?;
        }
        self.operator.set_read_timeout(None)?;
        self.pass_messages()
    }

    /// Sends the reason of the end to the operator, after the guest's remaining bytes. QEMU ends
    /// the channel when its client does.
    fn say(&self, words: String, has_ticket: bool) {
        let mut state = lock(&self.state);
        state.words = Some(words);
        if has_ticket && self.number == DISPLAY {
            state = self.wait_while(state, |state| !state.has_answered);
            if !state.has_answered {
                return;
            }
        }
        // Ignores an error: the channel may have ended already.
        let _ = self.guest.shutdown(Shutdown::Write);
        drop(self.wait_while(state, |state| !state.is_over));
    }

    fn wait_while<'s>(
        &self,
        state: std::sync::MutexGuard<'s, RelayState>,
        is_so: impl Fn(&mut RelayState) -> bool,
    ) -> std::sync::MutexGuard<'s, RelayState> {
        let waited = self.changes.wait_timeout_while(state, LIMIT, is_so);
        waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
    }

    fn to_operator(&self) {
        let (mut guest, mut operator) = (self.guest, self.operator);
        let mut piece = vec![0; PIECE_BYTES];
        let mut sent = SpiceOutputState::default();
        while let Ok(read @ 1..) = guest.read(&mut piece) {
            let bytes = piece.get(..read).unwrap_or_default();
            sent.take(bytes);
            self.change(|state| {
                state.is_accepted = sent.is_accepted();
                state.has_answered = sent.has_begun();
            });
            if operator.write_all(bytes).is_err() {
                // Shuts the operator's side down, which the thread of the other direction notices.
                // The guest may still have to answer.
                let _ = operator.shutdown(Shutdown::Both);
            }
        }
        let words = lock(&self.state).words.take();
        if let Some(notice) = words.and_then(|words| sent.error_notification(&words)) {
            // Ignores an error: the operator may be gone.
            let _ = operator.write_all(&notice);
        }
        self.change(|state| (state.has_answered, state.is_over) = (true, true));
        end([self.operator, self.guest]);
    }

    fn change(&self, change: impl FnOnce(&mut RelayState)) {
        change(&mut lock(&self.state));
        self.changes.notify_all();
    }

    fn pass_first(&self) -> Result<(), ChannelEnd> {
        let mut first = [0; INIT_BYTES];
        let read = read_until(self.operator, &mut first, Instant::now() + LIMIT);
        let read = read.map_err(ChannelEnd::from).and_then(|()| {
            if is_init(&first) {
                Ok(first)
            } else {
                Err(self.not_passed(&first))
            }
        });
        let mut guest = self.guest;
        guest.write_all(read.as_ref().unwrap_or(&init()))?;
        read.map(drop)
    }

    fn pass_messages(&self) -> Result<(), ChannelEnd> {
        let mut operator = BufReader::new(self.operator);
        let mut guest = self.guest;
        loop {
            let mut header = [0; SHORT_HEADER_BYTES];
            operator.read_exact(&mut header)?;
            let size =
                passed_bytes(self.number, &header).ok_or_else(|| self.not_passed(&header))?;
            let mut message = vec![0; SHORT_HEADER_BYTES + size];
            let (head, body) = message.split_at_mut(SHORT_HEADER_BYTES);
            head.copy_from_slice(&header);
            operator.read_exact(body)?;
            guest.write_all(&message)?;
        }
    }

    /// Returns the end of a channel whose client sent a message that is not permitted. `message`
    /// starts with the message type.
    fn not_passed(&self, message: &[u8]) -> ChannelEnd {
        let kind = message
            .first_chunk()
            .map_or(0, |kind| u16::from_le_bytes(*kind));
        let channel = self.number;
        ChannelEnd::Says(format!(
            "the display was closed: its client sent a message that is not forwarded to guests (type \
             {kind}, channel {channel})"
        ))
    }
}

fn read_until(mut from: &UnixStream, mut buffer: &mut [u8], until: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        // Waits at least a millisecond, because a timeout of zero would mean no limit.
        from.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match from.read(buffer) {
            _ if left.is_zero() => return Err(ErrorKind::TimedOut.into()),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => buffer = buffer.get_mut(read..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
