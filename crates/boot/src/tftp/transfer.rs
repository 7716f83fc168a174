//! Transfers one file to one TFTP client, without I/O: takes packets and the time, and returns
//! which packets are due. The transfer never reads a file: it names the blocks that are due.
//!
//! A packet is due after a new ACK, after a timeout, and (at most twice) after a repeated request,
//! so a duplicated packet does not duplicate others (RFC 1123, 4.2.3.1). With a window, a repeated
//! ACK means that the first block of a window was lost (RFC 7440), and an ACK within a window, that
//! a later one was. The transfer resumes there, but the number of blocks that are repeated for this
//! reason is bounded: such ACKs may also come from duplicated packets.

use super::packet::{Options, TftpPacket, option_ack};
use std::ops::Range;
use std::time::{Duration, Instant};
use thiserror::Error;

const BLOCK_BYTES: u16 = 512;
/// Smallest block size that a client may request, bytes (RFC 2348).
const BLOCK_BYTES_MIN: u64 = 8;
const BLOCK_BYTES_MAX: u16 = 65_464;
/// Largest window, blocks: a burst that the buffers of a network card hold.
const WINDOW_MAX: u64 = 64;
/// First retransmission timeout. Each retransmission doubles it, up to [`BACK_OFF_MAX`].
const TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum retransmission timeout, unless the client requests a longer one.
const BACK_OFF_MAX: Duration = Duration::from_secs(8);
const TIMEOUT_S_MAX: u64 = 30;
/// Maximum number of retransmissions to a client that has sent an ACK.
const AGAIN_MAX: u32 = 5;
/// Maximum number of retransmissions to a client that has sent no ACK. Such a client may not exist,
/// because the source address of a request may be forged.
const AGAIN_UNHEARD_MAX: u32 = 2;
/// Number of windows that may be sent again because of ACKs, beyond those that the client has
/// received.
const RESUMED_WINDOWS: u64 = 4;
const LONGEST: Duration = Duration::from_secs(3600);

/// Negotiated terms of a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransferTerms {
    block_bytes: u16,
    window: u64,
    timeout: Duration,
    option_ack: Option<Vec<u8>>,
}

impl TransferTerms {
    /// Negotiates the options of a request for a file of `size` bytes, with blocks of at most
    /// `block_max` bytes (512 is always allowed). A larger block size or window is reduced to the
    /// maximum; other values outside of their range are ignored.
    pub fn agree(options: &Options, size: u64, block_max: u16) -> TransferTerms {
        let mut terms = TransferTerms {
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

    pub fn block_bytes(&self) -> u16 {
        self.block_bytes
    }

    pub fn window(&self) -> u64 {
        self.window
    }

    pub fn option_ack(&self) -> Option<&[u8]> {
        self.option_ack.as_deref()
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DuePackets {
    Options,
    /// A range of blocks; the first one of a file is 1. [`Transfer::number`] returns their number
    /// in a packet.
    Blocks(Range<u64>),
}

/// Reason why a transfer ended before the client had everything.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TransferError {
    #[error("the client ended it with error {code}: {words}")]
    Client { code: u16, words: String },
    #[error("timeout: no ACK from the client")]
    Silent,
    #[error("timeout: the transfer took longer than {} s", LONGEST.as_secs())]
    Slow,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransferResult {
    Whole,
    /// The client refused the options: often it only requests the length.
    Declined,
    Broken(TransferError),
}

/// Transfer of one file to one client, without I/O. The caller sends the packets that are due and
/// reports that ([`Transfer::sent`]), and passes the packets of the client and the time.
#[derive(Clone, Debug)]
pub struct Transfer {
    terms: TransferTerms,
    size: u64,
    /// Number of the last block, which is shorter than all other blocks, and empty if the length is
    /// a multiple of the block size.
    last: u64,
    /// True if an ACK has arrived, which proves that the client requested the file.
    is_heard: bool,
    options_unconfirmed: bool,
    options_due: bool,
    confirmed: u64,
    /// Number of the block to send next.
    next: u64,
    sent: u64,
    /// Block below which a repeated ACK does not cause a retransmission.
    resumed_until: u64,
    resent: u64,
    again: u32,
    deadline: Instant,
    until: Instant,
    end: Option<TransferResult>,
}

impl Transfer {
    pub fn new(terms: TransferTerms, size: u64, now: Instant) -> Transfer {
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

    pub fn terms(&self) -> &TransferTerms {
        &self.terms
    }

    pub fn end(&self) -> Option<&TransferResult> {
        self.end.as_ref()
    }

    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// Returns the time at which [`Transfer::handle_time`] must run.
    pub fn deadline(&self) -> Instant {
        self.deadline.min(self.until)
    }

    pub fn confirmed_bytes(&self) -> u64 {
        let bytes = self.confirmed.saturating_mul(self.terms.block_bytes.into());
        bytes.min(self.size)
    }

    /// Returns the number of a block in packets: after 65535 follows 0.
    pub fn number(block: u64) -> u16 {
        (block & 0xffff) as u16
    }

    pub fn bytes_of(&self, blocks: &Range<u64>) -> Range<u64> {
        let at = |block: u64| {
            let before = block.saturating_sub(1);
            let at = before.saturating_mul(self.terms.block_bytes.into());
            at.min(self.size)
        };
        at(blocks.start)..at(blocks.end)
    }

    pub fn due(&self) -> Option<DuePackets> {
        if self.end.is_some() {
            return None;
        }
        if self.options_unconfirmed {
            return self.options_due.then_some(DuePackets::Options);
        }
        // Sends only a single block before the first ACK: the source address may be forged.
        let window = if self.is_heard { self.terms.window } else { 1 };
        let behind = (self.confirmed + window).min(self.last) + 1;
        (self.next < behind).then_some(DuePackets::Blocks(self.next..behind))
    }

    /// Records what was sent: the OACK, or the first `blocks` of the due blocks.
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

    pub fn handle(&mut self, packet: &TftpPacket, now: Instant) {
        if self.end.is_some() {
            return;
        }
        match packet {
            TftpPacket::Ack(block) => self.handle_ack(*block, now),
            TftpPacket::Error { code, words } => {
                self.end = Some(if self.options_unconfirmed {
                    TransferResult::Declined
                } else {
                    TransferResult::Broken(TransferError::Client {
                        code: *code,
                        words: words.clone(),
                    })
                });
            }
            TftpPacket::Read(_) | TftpPacket::Write | TftpPacket::OfServer => {}
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
            // Ignores an ACK that is old, or of a block that was never sent.
            return;
        }
        if behind > 0 {
            self.confirmed = confirmed;
            self.next = self.next.max(confirmed + 1);
            self.resume();
            self.progress(now);
            if confirmed == self.last {
                self.end = Some(TransferResult::Whole);
            }
        } else if self.terms.window > 1 && self.is_heard && confirmed >= self.resumed_until {
            self.resumed_until = confirmed + 2 * self.terms.window;
            self.resume();
        }
    }

    /// Continues at the first block that the client does not have, unless too many blocks were
    /// repeated for such ACKs.
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

    /// Handles a repeated request. Returns whether the client has sent no ACK yet; in this case the
    /// first packet is sent again, at most twice.
    pub fn handle_again(&mut self) -> bool {
        let is_so = !self.is_heard && self.end.is_none();
        if is_so && self.again < AGAIN_UNHEARD_MAX {
            self.again += 1;
            self.rewind();
        }
        is_so
    }

    pub fn handle_time(&mut self, now: Instant) {
        if self.end.is_some() || now < self.deadline() {
            return;
        }
        if now >= self.until {
            self.end = Some(TransferResult::Broken(TransferError::Slow));
            return;
        }
        let most = if self.is_heard {
            AGAIN_MAX
        } else {
            AGAIN_UNHEARD_MAX
        };
        if self.again >= most {
            self.end = Some(TransferResult::Broken(TransferError::Silent));
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
