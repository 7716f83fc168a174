//! A transfer to one client, as a value without I/O: packets and the time come in, and what is to be
//! sent comes out. It never reads a file: it says which blocks are due.
//!
//! Only an ACK that is not known yet makes it send, and the passing of time: so a doubled packet
//! makes no other one doubled (RFC 1123, 4.2.3.1). With a window, a repeated ACK says that the first
//! block of a window was lost (RFC 7440), and an ACK within a window, that a later one was. The
//! transfer resumes there, but sends no more blocks again than the client has: what else such ACKs
//! say may come from doubled packets.

use super::packet::{Options, Packet, option_ack};
use std::ops::Range;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Bytes of a block without the option.
const BLOCK_BYTES: u16 = 512;
/// The fewest and the most bytes of a block (RFC 2348).
const BLOCK_BYTES_MIN: u64 = 8;
const BLOCK_BYTES_MAX: u16 = 65_464;
/// The most blocks of a window: a burst that the buffers of a network card hold.
const WINDOW_MAX: u64 = 64;
/// When a packet is sent again for the first time; then after twice as long each time.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The longest time between two of them, where the client does not want a longer one.
const BACK_OFF_MAX: Duration = Duration::from_secs(8);
/// The longest timeout that a client may want, seconds.
const TIMEOUT_S_MAX: u64 = 30;
/// How often a packet is sent again: to a client that has sent an ACK, and to one that may not
/// know of it, because another one has sent the request under its address.
const AGAIN_MAX: u32 = 5;
const AGAIN_UNHEARD_MAX: u32 = 2;
/// The windows that ACKs may make it send again beyond what the client has.
const RESUMED_WINDOWS: u64 = 4;
/// The longest transfer.
const LONGEST: Duration = Duration::from_secs(3600);

/// What client and server agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    block_bytes: u16,
    window: u64,
    timeout: Duration,
    /// The OACK, if options were agreed on.
    option_ack: Option<Vec<u8>>,
}

impl Terms {
    /// Agrees on the options of a request for a file of `size` bytes, with blocks of at most
    /// `block_max` bytes. An option outside of its range is ignored.
    pub fn agree(options: &Options, size: u64, block_max: u16) -> Terms {
        let mut terms = Terms {
            block_bytes: BLOCK_BYTES,
            window: 1,
            timeout: TIMEOUT,
            option_ack: None,
        };
        let mut agreed = Vec::new();
        if let Some(wanted) = options
            .block_bytes
            .filter(|bytes| *bytes >= BLOCK_BYTES_MIN)
        {
            let most = block_max.clamp(BLOCK_BYTES, BLOCK_BYTES_MAX);
            terms.block_bytes = u16::try_from(wanted).unwrap_or(most).min(most);
            agreed.push(("blksize", u64::from(terms.block_bytes)));
        }
        let fits = |seconds: &u64| (1..=TIMEOUT_S_MAX).contains(seconds);
        if let Some(seconds) = options.timeout_s.filter(fits) {
            terms.timeout = Duration::from_secs(seconds);
            agreed.push(("timeout", seconds));
        }
        if options.size {
            agreed.push(("tsize", size));
        }
        if let Some(window) = options.window.filter(|blocks| *blocks > 0) {
            terms.window = window.min(WINDOW_MAX);
            agreed.push(("windowsize", terms.window));
        }
        terms.option_ack = (!agreed.is_empty()).then(|| option_ack(&agreed));
        terms
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> u16 {
        self.block_bytes
    }

    /// Blocks that are sent before an ACK.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// The OACK packet, if there is one.
    pub fn option_ack(&self) -> Option<&[u8]> {
        self.option_ack.as_deref()
    }
}

/// What is to be sent now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Due {
    /// The OACK.
    Options,
    /// These blocks, of which the first one of a file is 1. Their number in a packet is
    /// [`Transfer::number`].
    Blocks(Range<u64>),
}

/// Why a transfer ended before the client had everything.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Broken {
    /// The client sent an error.
    #[error("the client ended it with error {code}: {words}")]
    Client {
        /// Its code.
        code: u16,
        /// Its message.
        words: String,
    },
    /// The client is silent.
    #[error("timeout: no ACK from the client")]
    Silent,
    /// It lasted too long.
    #[error("timeout: the transfer took longer than {} s", LONGEST.as_secs())]
    Slow,
}

/// How a transfer ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The client has everything.
    Whole,
    /// The client did not want the options: often it only wants to know the length.
    Declined,
    /// It ended before.
    Broken(Broken),
}

/// A transfer.
#[derive(Clone, Debug)]
pub struct Transfer {
    terms: Terms,
    size: u64,
    /// The last block: shorter than the others, and empty if the length is a multiple of theirs.
    last: u64,
    /// Whether an ACK has come, so the client wants this.
    is_heard: bool,
    /// Whether the OACK has no ACK yet, and whether it is to be sent.
    options_unconfirmed: bool,
    options_due: bool,
    /// The last block that the client has.
    confirmed: u64,
    /// The next block to send, and the one behind the last that ever was sent.
    next: u64,
    sent: u64,
    /// A repeated ACK of an earlier block than this does not resume.
    resumed_until: u64,
    /// Blocks that ACKs made it send again.
    resent: u64,
    again: u32,
    deadline: Instant,
    until: Instant,
    end: Option<End>,
}

impl Transfer {
    /// Begins a transfer of a file of `size` bytes.
    pub fn new(terms: Terms, size: u64, now: Instant) -> Transfer {
        let has_options = terms.option_ack.is_some();
        Transfer {
            last: size / u64::from(terms.block_bytes) + 1,
            size,
            is_heard: false,
            options_unconfirmed: has_options,
            options_due: has_options,
            confirmed: 0,
            next: 1,
            sent: 1,
            resumed_until: 0,
            resent: 0,
            again: 0,
            deadline: now + terms.timeout,
            until: now + LONGEST,
            end: None,
            terms,
        }
    }

    /// What was agreed on.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// How it ended.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether the client has sent an ACK.
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// When [`Transfer::handle_time`] has something to do.
    pub fn deadline(&self) -> Instant {
        self.deadline.min(self.until)
    }

    /// How many bytes the client has.
    pub fn confirmed_bytes(&self) -> u64 {
        let bytes = self.confirmed.saturating_mul(self.terms.block_bytes.into());
        bytes.min(self.size)
    }

    /// The number of a block in packets: it begins at 0 again behind 65535.
    pub fn number(block: u64) -> u16 {
        (block & 0xffff) as u16
    }

    /// The bytes of the file in some blocks.
    pub fn bytes_of(&self, blocks: &Range<u64>) -> Range<u64> {
        let at = |block: u64| {
            let before = block.saturating_sub(1);
            let at = before.saturating_mul(self.terms.block_bytes.into());
            at.min(self.size)
        };
        at(blocks.start)..at(blocks.end)
    }

    /// What is to be sent now.
    pub fn due(&self) -> Option<Due> {
        if self.end.is_some() {
            return None;
        }
        if self.options_unconfirmed {
            return self.options_due.then_some(Due::Options);
        }
        // Before an ACK a single block: the client may not have asked.
        let window = if self.is_heard { self.terms.window } else { 1 };
        let behind = (self.confirmed + window).min(self.last) + 1;
        (self.next < behind).then_some(Due::Blocks(self.next..behind))
    }

    /// What was due is sent: the OACK, or the first `blocks` of those.
    pub fn sent(&mut self, blocks: u64, now: Instant) {
        if self.options_unconfirmed {
            self.options_due = false;
        } else {
            self.next = (self.next + blocks).min(self.last + 1);
            self.sent = self.sent.max(self.next);
        }
        self.deadline = now + self.wait();
    }

    fn wait(&self) -> Duration {
        let doubled = self.terms.timeout.saturating_mul(1 << self.again.min(16));
        doubled.min(BACK_OFF_MAX.max(self.terms.timeout))
    }

    /// A packet of the client has come.
    pub fn handle(&mut self, packet: &Packet, now: Instant) {
        if self.end.is_some() {
            return;
        }
        match packet {
            Packet::Ack(block) => self.handle_ack(*block, now),
            Packet::Error { code, words } => {
                self.end = Some(match self.options_unconfirmed {
                    true => End::Declined,
                    false => End::Broken(Broken::Client {
                        code: *code,
                        words: words.clone(),
                    }),
                });
            }
            Packet::Read(_) | Packet::Write | Packet::OfServer => {}
        }
    }

    fn handle_ack(&mut self, block: u16, now: Instant) {
        if self.options_unconfirmed {
            if block == 0 {
                (self.options_unconfirmed, self.options_due) = (false, false);
                self.progress(now);
            }
            return;
        }
        let behind = u64::from(block.wrapping_sub(Transfer::number(self.confirmed)));
        let confirmed = self.confirmed + behind;
        if confirmed >= self.sent {
            // Of the past, or of nothing that was sent.
            return;
        }
        if behind > 0 {
            self.confirmed = confirmed;
            self.next = self.next.max(confirmed + 1);
            self.resume();
            self.progress(now);
            if confirmed == self.last {
                self.end = Some(End::Whole);
            }
        } else if self.terms.window > 1 && self.is_heard && confirmed >= self.resumed_until {
            self.resumed_until = confirmed + 2 * self.terms.window;
            self.resume();
        }
    }

    /// Goes back to the first block that the client does not have.
    fn resume(&mut self) {
        let resent = self.resent + (self.next - 1 - self.confirmed);
        if resent <= self.confirmed + RESUMED_WINDOWS * self.terms.window {
            self.resent = resent;
            self.next = self.confirmed + 1;
        }
    }

    fn progress(&mut self, now: Instant) {
        self.is_heard = true;
        self.again = 0;
        self.deadline = now + self.wait();
    }

    /// The request has come again: the client has got nothing yet. Whether that is so.
    pub fn handle_again(&mut self) -> bool {
        let is_so = !self.is_heard && self.end.is_none();
        if is_so && self.again < AGAIN_UNHEARD_MAX {
            self.again += 1;
            self.rewind();
        }
        is_so
    }

    /// Time has passed.
    pub fn handle_time(&mut self, now: Instant) {
        if self.end.is_some() || now < self.deadline() {
            return;
        }
        if now >= self.until {
            self.end = Some(End::Broken(Broken::Slow));
            return;
        }
        let most = match self.is_heard {
            true => AGAIN_MAX,
            false => AGAIN_UNHEARD_MAX,
        };
        if self.again >= most {
            self.end = Some(End::Broken(Broken::Silent));
            return;
        }
        self.again += 1;
        self.rewind();
        self.deadline = now + self.wait();
    }

    fn rewind(&mut self) {
        self.next = self.confirmed + 1;
        self.options_due = self.options_unconfirmed;
    }
}
