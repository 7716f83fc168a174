//! An encoder of one body: bytes in, bytes out.
//!
//! All that it makes is raw deflate with a head and an end of our own, so that the
//! library's state, which is most of its memory, can be given back while nobody takes
//! the output ([`Encoder::park`]) and a new one can go on where it stopped. Where the
//! limits allow none, the rest goes as stored blocks: larger, but right.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use model::config::Algorithm;
use model::state::compression::{EncoderPermit, Limits, OfClient};
use std::cell::RefCell;
use std::sync::Arc;

/// Room that is made for output at once, bytes; more is made while there is more.
const OUTPUT_MIN: usize = 1024;
/// States that a thread keeps for the next bodies.
const STATES_KEPT: usize = 4;
/// The longest stored block.
const STORED_BYTES_MAX: usize = 65_535;
/// Adler-32 counts modulo this, and so many bytes fit into its sums before.
const ADLER_MODULUS: u32 = 65_521;
const ADLER_RUN: usize = 5552;

/// What is to be delivered of what was given so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// What the encoder likes: more input follows at once.
    No,
    /// All of it: who reads it must not wait for more.
    All,
    /// All of it, and the end.
    End,
}

/// What an algorithm says at the end of what was put in.
#[derive(Debug)]
enum Check {
    None,
    Gzip(Crc),
    Zlib { low: u32, high: u32 },
}

/// What compresses one body.
#[derive(Debug)]
pub struct Encoder {
    algorithm: Algorithm,
    level: u32,
    /// The library's state; None while it is parked.
    state: Option<State>,
    check: Check,
    /// What was made and not given yet.
    output: Vec<u8>,
    began: bool,
    ended: bool,
    limits: Arc<Limits>,
    client: OfClient,
}

/// The library's state, and its place among those of the process.
#[derive(Debug)]
struct State {
    compress: Compress,
    _place: EncoderPermit,
}

thread_local! {
    /// States of bodies that have ended, with level and window.
    static KEPT: RefCell<Vec<(u32, u8, Compress)>> = const { RefCell::new(Vec::new()) };
}

/// Frees the states that this thread keeps for the next bodies.
pub fn release_kept() {
    let kept = KEPT.try_with(|kept| std::mem::take(&mut *kept.borrow_mut()));
    drop(kept);
}

/// Why a body could not be compressed on: the library refused, which it has no
/// reason to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncoderBroke;

impl Encoder {
    /// An encoder; None where too much memory is taken by others, or by others of
    /// the same client.
    pub(super) fn new(
        algorithm: Algorithm,
        level: u32,
        limits: &Arc<Limits>,
        client: &OfClient,
    ) -> Option<Box<Self>> {
        let check = match algorithm {
            Algorithm::Gzip => Check::Gzip(Crc::new()),
            Algorithm::Deflate => Check::Zlib { low: 1, high: 0 },
            Algorithm::RawDeflate | Algorithm::Identity => Check::None,
        };
        let mut encoder = Encoder {
            algorithm,
            level,
            state: None,
            check,
            output: Vec::new(),
            began: false,
            ended: false,
            limits: Arc::clone(limits),
            client: client.clone(),
        };
        let ready = algorithm == Algorithm::Identity || encoder.unpark();
        ready.then(|| Box::new(encoder))
    }

    /// Takes a state of the library; false where the limits allow none.
    fn unpark(&mut self) -> bool {
        let Some(place) = self.limits.take(&self.client) else {
            return false;
        };
        let (level, bits) = (self.level, self.limits.window_bits);
        let kept = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let fits = kept
                .iter()
                .position(|(l, b, _)| (*l, *b) == (level, bits))?;
            Some(kept.swap_remove(fits).2)
        });
        let made = || Compress::new_with_window_bits(Compression::new(level), false, bits);
        self.state = Some(State {
            compress: kept.ok().flatten().unwrap_or_else(made),
            _place: place,
        });
        true
    }

    /// Gives the library's state back while nobody takes the output, or gives input.
    /// What it still held comes with the next output.
    pub fn park(&mut self) {
        if self.state.is_some() && !self.ended && self.deflate(&[], FlushCompress::Sync).is_err() {
            // The next bytes are told.
            return;
        }
        self.give_back();
    }

    /// Ends the use of the library's state; one that ended its body is kept.
    fn give_back(&mut self) {
        let Some(mut state) = self.state.take() else {
            return;
        };
        // Reset in the middle of a body, level 1 of zlib-rs 0.6.8 goes on in the block
        // that it had begun, and the next body is damaged.
        if !self.ended {
            return;
        }
        state.compress.reset();
        let (level, bits) = (self.level, self.limits.window_bits);
        // Without a list (the thread is ending) or with a full one, freed.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < STATES_KEPT {
                kept.push((level, bits, state.compress));
            }
        });
    }

    /// Whether the library's state is there.
    #[cfg(test)]
    pub fn is_parked(&self) -> bool {
        self.state.is_none()
    }

    /// Takes data and gives what is to be sent for it; behind the end nothing. The
    /// memory may be given back by [`Encoder::recycle`].
    pub fn feed(
        &mut self,
        data: &[u8],
        flush: Flush,
        now_ms: u64,
    ) -> Result<Vec<u8>, EncoderBroke> {
        if self.algorithm == Algorithm::Identity {
            self.output.extend_from_slice(data);
            return Ok(std::mem::take(&mut self.output));
        }
        self.limits.give(data.len() as u64, now_ms);
        if self.ended || (data.is_empty() && flush == Flush::No) {
            return Ok(Vec::new());
        }
        self.begin();
        self.count(data);
        let ready = self.state.is_some() || self.unpark();
        match (ready, flush) {
            (true, Flush::No) => self.deflate(data, FlushCompress::None)?,
            (true, Flush::All) => self.deflate(data, FlushCompress::Sync)?,
            (true, Flush::End) => self.deflate(data, FlushCompress::Finish)?,
            (false, _) => self.store(data, flush == Flush::End),
        }
        if flush == Flush::End {
            self.ended = true;
            self.give_back();
            self.end();
        }
        Ok(std::mem::take(&mut self.output))
    }

    /// Takes memory back that [`Encoder::feed`] gave.
    pub fn recycle(&mut self, mut output: Vec<u8>) {
        if self.output.is_empty() {
            output.clear();
            self.output = output;
        }
    }

    fn deflate(&mut self, data: &[u8], how: FlushCompress) -> Result<(), EncoderBroke> {
        let Some(State { compress, .. }) = &mut self.state else {
            return Err(EncoderBroke);
        };
        let mut rest = data;
        loop {
            self.output.reserve(OUTPUT_MIN.max(rest.len() / 2));
            let before = compress.total_in();
            let status = compress
                .compress_vec(rest, &mut self.output, how)
                .map_err(|_| EncoderBroke)?;
            let taken = usize::try_from(compress.total_in() - before).unwrap_or(rest.len());
            rest = rest.get(taken..).unwrap_or_default();
            let has_room = self.output.len() < self.output.capacity();
            match status {
                Status::StreamEnd => return Ok(()),
                // With room left over, all that was asked for is there.
                Status::Ok | Status::BufError if rest.is_empty() && has_room => {
                    if how != FlushCompress::Finish {
                        return Ok(());
                    }
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }

    /// Stored blocks: what costs no memory.
    fn store(&mut self, data: &[u8], end: bool) {
        for piece in data.chunks(STORED_BYTES_MAX) {
            let length = piece.len() as u16;
            self.output.push(0);
            self.output.extend_from_slice(&length.to_le_bytes());
            self.output.extend_from_slice(&(!length).to_le_bytes());
            self.output.extend_from_slice(piece);
        }
        if end {
            self.output.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
        }
    }

    /// What stands before the data.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.began, true) {
            return;
        }
        match self.check {
            Check::None => {}
            // No name, no time; made on Unix.
            Check::Gzip(_) => {
                let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
                self.output.extend_from_slice(&head);
            }
            Check::Zlib { .. } => {
                let method = (u32::from(self.limits.window_bits) - 8) << 4 | 8;
                // Both bytes together are a multiple of 31.
                let flags = 31 - (method << 8) % 31;
                self.output.extend_from_slice(&[method as u8, flags as u8]);
            }
        }
    }

    fn count(&mut self, data: &[u8]) {
        match &mut self.check {
            Check::None => {}
            Check::Gzip(crc) => crc.update(data),
            Check::Zlib { low, high } => {
                for run in data.chunks(ADLER_RUN) {
                    for byte in run {
                        *low += u32::from(*byte);
                        *high += *low;
                    }
                    *low %= ADLER_MODULUS;
                    *high %= ADLER_MODULUS;
                }
            }
        }
    }

    /// What stands behind the data.
    fn end(&mut self) {
        match &self.check {
            Check::None => {}
            Check::Gzip(crc) => {
                self.output.extend_from_slice(&crc.sum().to_le_bytes());
                self.output.extend_from_slice(&crc.amount().to_le_bytes());
            }
            Check::Zlib { low, high } => {
                let sum = high << 16 | low;
                self.output.extend_from_slice(&sum.to_be_bytes());
            }
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.give_back();
    }
}
