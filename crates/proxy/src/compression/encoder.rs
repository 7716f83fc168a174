//! An encoder of one body: bytes in, bytes out.

use super::Limits;
use crate::config::Algorithm;
use flate2::{Compress, Compression, FlushCompress, Status};
use std::sync::Arc;

/// Room that is made for output at once, bytes; more is made while there is more.
const OUTPUT_MIN: usize = 1024;

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

/// What compresses one body.
#[derive(Debug)]
pub struct Encoder {
    /// None: bytes go through as they are.
    compress: Option<Compress>,
    output: Vec<u8>,
    ended: bool,
    limits: Arc<Limits>,
    /// Its place among the encoders of the process.
    _place: super::limits::Place,
}

/// Why a body could not be compressed on: the library refused, which it has no
/// reason to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncoderBroke;

impl Encoder {
    /// An encoder; None where too much memory is taken by others.
    pub(super) fn new(algorithm: Algorithm, level: u32, limits: &Arc<Limits>) -> Option<Box<Self>> {
        let place = limits.take(algorithm)?;
        let (level, bits) = (Compression::new(level), limits.window_bits);
        let compress = match algorithm {
            Algorithm::Identity => None,
            Algorithm::Gzip => Some(Compress::new_gzip(level, bits)),
            Algorithm::Deflate => Some(Compress::new_with_window_bits(level, true, bits)),
            Algorithm::RawDeflate => Some(Compress::new_with_window_bits(level, false, bits)),
        };
        Some(Box::new(Encoder {
            compress,
            output: Vec::new(),
            ended: false,
            limits: Arc::clone(limits),
            _place: place,
        }))
    }

    /// Takes data and gives what is to be sent for it; behind the end nothing.
    pub fn feed<'e>(
        &'e mut self,
        data: &'e [u8],
        flush: Flush,
        now_ms: u64,
    ) -> Result<&'e [u8], EncoderBroke> {
        let Some(compress) = &mut self.compress else {
            return Ok(data);
        };
        self.limits.give(data.len() as u64, now_ms);
        self.output.clear();
        if self.ended || (data.is_empty() && flush == Flush::No) {
            return Ok(&[]);
        }
        let how = match flush {
            Flush::No => FlushCompress::None,
            Flush::All => FlushCompress::Sync,
            Flush::End => FlushCompress::Finish,
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
                Status::StreamEnd => {
                    self.ended = true;
                    break;
                }
                // With room left over, all that was asked for is there.
                Status::Ok | Status::BufError if rest.is_empty() && has_room => {
                    if flush != Flush::End {
                        break;
                    }
                }
                Status::Ok | Status::BufError => {}
            }
        }
        Ok(&self.output)
    }
}
