//! Compresses one body: plain bytes in, compressed bytes out.
//!
//! The encoder writes the header and the trailer of the format itself, and raw deflate between
//! them. The state of the deflate library, which is most of the memory, can therefore be released
//! while the client does not read ([`Encoder::park`]), and a new state continues later. While the
//! memory limit allows no state, input is sent as stored blocks: larger, but correct.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use model::config::Algorithm;
use model::state::compression::{EncoderPermit, Limits, OfClient};
use std::cell::RefCell;
use std::sync::Arc;

/// Number of bytes by which the output buffer grows; repeated as needed.
const OUTPUT_MIN: usize = 1024;
const STATES_KEPT: usize = 4;
/// Maximum size of a stored block, bytes.
const STORED_BYTES_MAX: usize = 65_535;
/// Modulus of the sums of Adler-32 (RFC 1950).
const ADLER_MODULUS: u32 = 65_521;
const ADLER_RUN: usize = 5552;

/// Selects the output that must be complete after a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// The encoder may hold output back, because more input follows at once.
    No,
    /// All input so far must be in the output, because the reader must not have to wait for more.
    All,
    End,
}

#[derive(Debug)]
enum Check {
    None,
    Gzip(Crc),
    Zlib { low: u32, high: u32 },
}

#[derive(Debug)]
pub struct Encoder {
    algorithm: Algorithm,
    level: u32,
    /// State of the library; None while it is released.
    state: Option<EncoderState>,
    check: Check,
    output: Vec<u8>,
    began: bool,
    ended: bool,
    limits: Arc<Limits>,
    client: OfClient,
}

/// State of the deflate library, counted against the memory limit of the process.
#[derive(Debug)]
struct EncoderState {
    compress: Compress,
    _place: EncoderPermit,
}

thread_local! {
    /// States of the deflate library that finished bodies no longer need, with level and window
    /// size.
    static KEPT: RefCell<Vec<(u32, u8, Compress)>> = const { RefCell::new(Vec::new()) };
}

pub fn release_kept() {
    let kept = KEPT.try_with(|kept| std::mem::take(&mut *kept.borrow_mut()));
    drop(kept);
}

/// The deflate library failed, which should not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncoderBroke;

impl Encoder {
    /// Creates an encoder; None if too much memory is in use, in total or by the same client.
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

    /// Allocates a state of the library; returns false if the limits allow none.
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
        self.state = Some(EncoderState {
            compress: kept.ok().flatten().unwrap_or_else(made),
            _place: place,
        });
        true
    }

    /// Releases the state of the deflate library while no output is read or no input arrives.
    /// Output that the state still holds is returned with the next output.
    pub fn park(&mut self) {
        if self.state.is_some() && !self.ended && self.deflate(&[], FlushCompress::Sync).is_err() {
            // The error is reported with the next input.
            return;
        }
        self.give_back();
    }

    /// Releases the state of the deflate library. If the body has ended, the state is kept for
    /// another body.
    fn give_back(&mut self) {
        let Some(mut state) = self.state.take() else {
            return;
        };
        // After a reset in the middle of a body, level 1 of zlib-rs 0.6.8 continues the current
        // block, and the next body would be corrupted.
        if !self.ended {
            return;
        }
        state.compress.reset();
        let (level, bits) = (self.level, self.limits.window_bits);
        // The state is freed if the thread is ending or the list of states is full.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < STATES_KEPT {
                kept.push((level, bits, state.compress));
            }
        });
    }

    #[cfg(test)]
    pub fn is_parked(&self) -> bool {
        self.state.is_none()
    }

    /// Compresses data and returns the output; empty after the end of the body.
    /// [`Encoder::recycle`] takes the buffer back.
    ///
    /// # Errors
    /// Fails if the compression library does, which should not occur.
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

    /// Returns a buffer that [`Encoder::feed`] provided.
    pub fn recycle(&mut self, mut output: Vec<u8>) {
        if self.output.is_empty() {
            output.clear();
            self.output = output;
        }
    }

    fn deflate(&mut self, data: &[u8], how: FlushCompress) -> Result<(), EncoderBroke> {
        let Some(EncoderState { compress, .. }) = &mut self.state else {
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
                // If there is space left in the buffer, the library has written all output that
                // was requested.
                Status::Ok | Status::BufError if rest.is_empty() && has_room => {
                    if how != FlushCompress::Finish {
                        return Ok(());
                    }
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }

    /// Appends the data as stored blocks, which need no state of the library.
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

    fn begin(&mut self) {
        if std::mem::replace(&mut self.began, true) {
            return;
        }
        match self.check {
            Check::None => {}
            // The header of gzip: no file name, no time, and Unix as the operating system.
            Check::Gzip(_) => {
                let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
                self.output.extend_from_slice(&head);
            }
            Check::Zlib { .. } => {
                let method = (u32::from(self.limits.window_bits) - 8) << 4 | 8;
                // Both bytes together must be a multiple of 31 (RFC 1950).
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
