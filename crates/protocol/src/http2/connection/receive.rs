//! Splits the input of an HTTP/2 connection, which arrives in any pieces, into frames. A frame
//! whose head is invalid is refused here; the other modules interpret the payloads.

use super::super::frame::{
    CONTINUATION, DATA, FLAG_ACK, GOAWAY, HEAD_BYTES, HEADERS, Http2FrameHeader, PING, PREFACE,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use super::super::stream::StreamEnd;
use super::super::{ErrorCode, Http2Role, Why};
use super::Connection;
use super::limits::Flood;

/// Maximum number of frames without an event that one call processes. Then the owner gets a
/// progress event, so that it can write the output before it continues.
const QUIET_FRAMES_MAX: u32 = 256;

#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// The client's preface, of which `seen` bytes have arrived.
    Preface {
        seen: usize,
    },
    Head,
    /// A short payload, which must arrive completely before it is processed.
    Short(Http2FrameHeader),
    Settings {
        left: u32,
    },
    Block {
        head: Http2FrameHeader,
        left: u32,
    },
    PadLength(Http2FrameHeader),
    Data {
        stream: u32,
        left: u32,
        pad: u32,
        end_stream: bool,
    },
    Skip {
        left: u32,
    },
}

/// Result of parsing a piece of input. Ranges refer to the input.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReceiveStep {
    Again,
    NeedMore,
    Progress,
    Headers {
        stream: u32,
        end_stream: bool,
        trailers: bool,
    },
    Data {
        stream: u32,
        from: usize,
        to: usize,
        end_stream: bool,
    },
    Reset {
        stream: u32,
        code: ErrorCode,
        ours: bool,
    },
    Window {
        stream: Option<u32>,
    },
    SettingsChanged,
    GoAway {
        last: u32,
        code: ErrorCode,
    },
    Pong,
}

/// State of a stream that is not in the table of open streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    Idle,
    /// The stream was opened after the GOAWAY of this side, and is ignored.
    Ignored,
    Closed(StreamEnd),
}

impl Connection {
    pub(super) fn advance(&mut self, input: &[u8], at: &mut usize) -> Result<ReceiveStep, Why> {
        if self.failed {
            *at = input.len();
            return Ok(ReceiveStep::NeedMore);
        }
        if let Some(why) = self.doomed.take() {
            return Err(why);
        }
        if let Some(step) = self.next_excluded_stream() {
            return Ok(step);
        }
        let frames_before = self.statistics.frames_received;
        loop {
            let step = self.piece(input, at)?;
            if !matches!(step, ReceiveStep::Again) {
                return Ok(step);
            }
            if self.statistics.frames_received - frames_before >= u64::from(QUIET_FRAMES_MAX) {
                return Ok(ReceiveStep::Progress);
            }
        }
    }

    fn piece(&mut self, input: &[u8], at: &mut usize) -> Result<ReceiveStep, Why> {
        match self.reading {
            Reading::Head => match self.short(HEAD_BYTES, input, at) {
                Some(head) => self.begin_frame(Http2FrameHeader::read(&head)),
                None => Ok(ReceiveStep::NeedMore),
            },
            Reading::Data {
                stream,
                left,
                pad,
                end_stream,
            } => self.data_piece(stream, left, pad, end_stream, input, at),
            Reading::Block { head, left } => self.block_piece(head, left, input, at),
            Reading::Short(head) => {
                // GOAWAY may carry debug data, which is ignored.
                let length = if head.kind == GOAWAY { 8 } else { head.length };
                let Some(payload) = self.short(length as usize, input, at) else {
                    return Ok(ReceiveStep::NeedMore);
                };
                self.skip(head.length - length);
                self.control(head, payload)
            }
            Reading::Settings { left: 0 } => {
                self.reading = Reading::Head;
                self.settings_end()
            }
            Reading::Settings { left } => {
                let Some(entry) = self.short(6, input, at) else {
                    return Ok(ReceiveStep::NeedMore);
                };
                self.reading = Reading::Settings { left: left - 6 };
                self.setting(entry)?;
                Ok(ReceiveStep::Again)
            }
            Reading::PadLength(head) => match self.short(1, input, at) {
                Some([pad, ..]) => self.begin_content(head, 1, u32::from(pad)),
                None => Ok(ReceiveStep::NeedMore),
            },
            Reading::Skip { left } => {
                let taken = take(left, input, at);
                self.skip(left - taken);
                Ok(if left == taken {
                    ReceiveStep::Again
                } else {
                    ReceiveStep::NeedMore
                })
            }
            Reading::Preface { seen } => self.preface(seen, input, at),
        }
    }

    fn preface(&mut self, seen: usize, input: &[u8], at: &mut usize) -> Result<ReceiveStep, Why> {
        let wanted = &PREFACE[seen..];
        let rest = &input[*at..];
        let length = wanted.len().min(rest.len());
        if rest[..length] != wanted[..length] {
            return Err(Why::Preface);
        }
        *at += length;
        if length == wanted.len() {
            self.reading = Reading::Head;
            return Ok(ReceiveStep::Again);
        }
        self.reading = Reading::Preface {
            seen: seen + length,
        };
        Ok(ReceiveStep::NeedMore)
    }

    /// Returns a short payload once it is complete; otherwise keeps the bytes that have arrived.
    fn short(&mut self, length: usize, input: &[u8], at: &mut usize) -> Option<[u8; HEAD_BYTES]> {
        let rest = &input[*at..];
        let mut all = [0; HEAD_BYTES];
        if self.small_bytes == 0 && rest.len() >= length {
            all[..length].copy_from_slice(&rest[..length]);
            *at += length;
            return Some(all);
        }
        let have = usize::from(self.small_bytes);
        let more = (length - have).min(rest.len());
        self.small[have..have + more].copy_from_slice(&rest[..more]);
        *at += more;
        if have + more < length {
            self.small_bytes = (have + more) as u8;
            return None;
        }
        self.small_bytes = 0;
        all[..length].copy_from_slice(&self.small[..length]);
        Some(all)
    }

    pub(super) fn skip(&mut self, left: u32) {
        self.reading = if left == 0 {
            Reading::Head
        } else {
            Reading::Skip { left }
        };
    }

    fn begin_frame(&mut self, head: Http2FrameHeader) -> Result<ReceiveStep, Why> {
        self.statistics.frames_received += 1;
        if !self.settled && (head.kind != SETTINGS || head.has(FLAG_ACK)) {
            return Err(Why::FirstFrame);
        }
        if head.length > self.options.frame_bytes_max {
            return Err(Why::FrameTooLong);
        }
        if self.block.is_open() != (head.kind == CONTINUATION) {
            return Err(Why::Continuation);
        }
        match head.kind {
            DATA => return self.begin_data(head),
            HEADERS => self.begin_block(head)?,
            CONTINUATION => self.continue_block(head)?,
            SETTINGS => self.begin_settings(head)?,
            PRIORITY => {
                on_stream(head)?;
                return self.begin_priority(head);
            }
            RST_STREAM => {
                on_stream(head)?;
                self.begin_short(head, 4)?;
            }
            WINDOW_UPDATE => self.begin_short(head, 4)?,
            PING => {
                on_connection(head)?;
                self.begin_short(head, 8)?;
            }
            GOAWAY => {
                on_connection(head)?;
                self.begin_short(head, head.length.max(8))?;
            }
            PUSH_PROMISE => return Err(Why::Push),
            _ => {
                self.charge(Flood::UnknownFrames)?;
                self.skip(head.length);
            }
        }
        Ok(ReceiveStep::Again)
    }

    pub(super) fn begin_short(&mut self, head: Http2FrameHeader, length: u32) -> Result<(), Why> {
        if head.length != length {
            return Err(Why::FrameLength);
        }
        self.reading = Reading::Short(head);
        Ok(())
    }

    /// Returns whether the peer opens the streams with this number (odd ones are the client's).
    pub(super) fn is_peers(&self, stream: u32) -> bool {
        (stream & 1 == 1) == (self.options.role == Http2Role::Server)
    }

    pub(super) fn absent(&self, stream: u32) -> Absent {
        let opened = match self.options.role {
            Http2Role::Server => stream & 1 == 1 && stream <= self.highest_peer,
            Http2Role::Client => stream & 1 == 1 && stream < self.next_own,
        };
        if !opened {
            Absent::Idle
        } else if self.is_peers(stream) && self.accepted_last.is_some_and(|last| stream > last) {
            Absent::Ignored
        } else {
            Absent::Closed(self.closed.find(stream))
        }
    }

    pub(super) fn charge(&mut self, flood: Flood) -> Result<(), Why> {
        self.meters.charge(flood, &self.options.limits)
    }

    pub(super) fn reply(&mut self, kind: u8, flags: u8, payload: &[u8]) -> Result<(), Why> {
        let waiting = self.output.reply(kind, flags, 0, payload);
        self.replied(waiting)
    }

    fn replied(&mut self, waiting: usize) -> Result<(), Why> {
        if waiting > self.options.limits.reply_bytes_max {
            Err(Why::RepliesUnread)
        } else {
            Ok(())
        }
    }

    /// Handles an error of the peer on a stream: sends RST_STREAM and removes the stream.
    pub(super) fn stream_error(
        &mut self,
        stream: u32,
        code: ErrorCode,
    ) -> Result<ReceiveStep, Why> {
        self.charge(Flood::ForcedResets)?;
        self.send_reset(stream, code)?;
        let Some(gone) = self.streams.remove(stream) else {
            return Ok(ReceiveStep::Again);
        };
        self.closed.remember(
            stream,
            if gone.peer_ended {
                StreamEnd::Ended
            } else {
                StreamEnd::ResetByUs
            },
        );
        Ok(ReceiveStep::Reset {
            stream,
            code,
            ours: true,
        })
    }

    pub(super) fn send_reset(&mut self, stream: u32, code: ErrorCode) -> Result<(), Why> {
        self.statistics.resets_sent += 1;
        let waiting = self.output.reset(stream, code);
        self.replied(waiting)
    }

    pub(super) fn fail(&mut self, why: Why) {
        self.failed = true;
        self.output
            .go_away(self.highest_peer_stream().0, why.code());
        self.streams.clear();
        self.block.abandon();
    }
}

/// Consumes up to `left` bytes of the input; returns their number.
pub(super) fn take(left: u32, input: &[u8], at: &mut usize) -> u32 {
    let taken = (input.len() - *at).min(left as usize);
    *at += taken;
    taken as u32
}

pub(super) fn on_stream(head: Http2FrameHeader) -> Result<(), Why> {
    if head.stream == 0 {
        Err(Why::StreamZero)
    } else {
        Ok(())
    }
}

pub(super) fn on_connection(head: Http2FrameHeader) -> Result<(), Why> {
    if head.stream != 0 {
        Err(Why::StreamNotZero)
    } else {
        Ok(())
    }
}
