//! Handles received frames that contain neither data nor headers: SETTINGS, PING, WINDOW_UPDATE,
//! RST_STREAM, PRIORITY and GOAWAY.

use super::super::frame::{
    FLAG_ACK, GOAWAY, HEAD_BYTES, Http2FrameHeader, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};
use super::super::settings::{HEADER_TABLE_SIZE, WINDOW_MAX};
use super::super::stream::StreamEnd;
use super::super::{ErrorCode, Http2Role, Why};
use super::limits::Flood;
use super::receive::{Absent, Reading, ReceiveStep, on_connection};
use super::send::PING_PAYLOAD;
use super::{Connection, TABLE_BYTES_DEFAULT};

impl Connection {
    pub(super) fn control(
        &mut self,
        head: Http2FrameHeader,
        payload: [u8; HEAD_BYTES],
    ) -> Result<ReceiveStep, Why> {
        let [a, b, c, d, ..] = payload;
        let word = u32::from_be_bytes([a, b, c, d]);
        match head.kind {
            // Refuses a stream that depends on itself; other priorities are ignored (RFC 9113,
            // 5.3.2).
            PRIORITY if word & WINDOW_MAX == head.stream => Err(Why::SelfDependency),
            PRIORITY => Ok(ReceiveStep::Again),
            RST_STREAM => self.peer_reset(head.stream, ErrorCode::from(word)),
            WINDOW_UPDATE => self.window_update(head.stream, word & WINDOW_MAX),
            PING => self.pinged(head, &payload[..8]),
            GOAWAY => {
                let [_, _, _, _, e, f, g, h, _] = payload;
                let code = ErrorCode::from(u32::from_be_bytes([e, f, g, h]));
                self.receive_goaway(word & WINDOW_MAX, code)
            }
            _ => Ok(ReceiveStep::Again),
        }
    }

    pub(super) fn begin_priority(&mut self, head: Http2FrameHeader) -> Result<ReceiveStep, Why> {
        self.charge(Flood::Priorities)?;
        if head.length == 5 {
            self.begin_short(head, 5)?;
            return Ok(ReceiveStep::Again);
        }
        // Fails the whole connection, because RST_STREAM may not be sent on a stream that is not
        // open.
        if self.streams.get(head.stream).is_none() {
            return Err(Why::FrameLength);
        }
        self.skip(head.length);
        self.stream_error(head.stream, ErrorCode::FrameSizeError)
    }

    fn peer_reset(&mut self, id: u32, code: ErrorCode) -> Result<ReceiveStep, Why> {
        self.statistics.resets_received += 1;
        let Some(stream) = self.streams.get(id) else {
            return match self.absent(id) {
                Absent::Idle => Err(Why::StreamIdle),
                _ => {
                    self.charge(Flood::LateFrames)?;
                    Ok(ReceiveStep::Again)
                }
            };
        };
        let client = self.options.role == Http2Role::Client;
        let head_sent = stream.head_sent;
        if client && !head_sent {
            return Err(Why::StreamIdle);
        }
        self.streams.remove(id);
        self.closed.remember(id, StreamEnd::ResetByPeer);
        if !client && !head_sent {
            self.charge(Flood::RapidResets)?;
        }
        Ok(ReceiveStep::Reset {
            stream: id,
            code,
            ours: false,
        })
    }

    fn window_update(&mut self, id: u32, bytes: u32) -> Result<ReceiveStep, Why> {
        self.charge(Flood::WindowUpdates)?;
        if id == 0 {
            if bytes == 0 {
                return Err(Why::WindowZero);
            }
            self.send_window = widened(self.send_window, bytes).ok_or(Why::WindowOverflow)?;
            return Ok(ReceiveStep::Window { stream: None });
        }
        let client = self.options.role == Http2Role::Client;
        let Some(stream) = self.streams.get_mut(id) else {
            return match self.absent(id) {
                Absent::Idle => Err(Why::StreamIdle),
                _ => Ok(ReceiveStep::Again),
            };
        };
        if client && !stream.head_sent {
            return Err(Why::StreamIdle);
        }
        if bytes == 0 {
            return self.stream_error(id, ErrorCode::ProtocolError);
        }
        let Some(window) = widened(stream.send_window, bytes) else {
            return self.stream_error(id, ErrorCode::FlowControlError);
        };
        stream.send_window = window;
        // Reports no window if this side has ended the stream, because nothing waits for it.
        Ok(if stream.we_ended {
            ReceiveStep::Again
        } else {
            ReceiveStep::Window { stream: Some(id) }
        })
    }

    fn pinged(&mut self, head: Http2FrameHeader, payload: &[u8]) -> Result<ReceiveStep, Why> {
        if head.has(FLAG_ACK) && self.ping_awaited && payload == PING_PAYLOAD {
            self.ping_awaited = false;
            return Ok(ReceiveStep::Pong);
        }
        self.charge(Flood::Pings)?;
        if !head.has(FLAG_ACK) {
            self.reply(PING, FLAG_ACK, payload)?;
        }
        Ok(ReceiveStep::Again)
    }

    fn receive_goaway(&mut self, last: u32, code: ErrorCode) -> Result<ReceiveStep, Why> {
        self.charge(Flood::Settings)?;
        // A second GOAWAY can only lower the number of the last stream.
        let last = self.peer_last.map_or(last, |before| before.min(last));
        self.peer_last = Some(last);
        if self.options.role == Http2Role::Client {
            self.sweep_from = Some(0);
        }
        Ok(ReceiveStep::GoAway { last, code })
    }

    pub(super) fn next_excluded_stream(&mut self) -> Option<ReceiveStep> {
        let mut from = self.sweep_from?;
        let Some(id) = self
            .streams
            .remove_above(self.peer_last.unwrap_or(0), &mut from)
        else {
            self.sweep_from = None;
            return None;
        };
        self.sweep_from = Some(from);
        self.closed.remember(id, StreamEnd::ResetByPeer);
        Some(ReceiveStep::Reset {
            stream: id,
            code: ErrorCode::RefusedStream,
            ours: false,
        })
    }

    pub(super) fn begin_settings(&mut self, head: Http2FrameHeader) -> Result<(), Why> {
        on_connection(head)?;
        if !head.length.is_multiple_of(6) || (head.has(FLAG_ACK) && head.length != 0) {
            return Err(Why::FrameLength);
        }
        if head.has(FLAG_ACK) {
            self.reading = Reading::Head;
            return self.settings_acknowledged();
        }
        self.charge(Flood::Settings)?;
        self.peer_next = self.peer.clone();
        self.reading = Reading::Settings { left: head.length };
        Ok(())
    }

    fn settings_acknowledged(&mut self) -> Result<(), Why> {
        if self.acknowledged {
            // Counts a further acknowledgement as a flood, because SETTINGS are sent only once.
            return self.charge(Flood::Settings);
        }
        self.acknowledged = true;
        self.decoder
            .set_table_bytes_max(self.options.header_table_bytes as usize);
        self.acknowledge_windows();
        Ok(())
    }

    pub(super) fn setting(&mut self, entry: [u8; HEAD_BYTES]) -> Result<(), Why> {
        let [i, j, a, b, c, d, ..] = entry;
        let id = u16::from_be_bytes([i, j]);
        let value = u32::from_be_bytes([a, b, c, d]);
        self.peer_next.take(self.options.role, id, value)?;
        if id == HEADER_TABLE_SIZE {
            // Applies each table size at once, because the encoder must announce the smallest of
            // several.
            self.encoder
                .set_table_bytes_max(value.min(TABLE_BYTES_DEFAULT) as usize);
        }
        Ok(())
    }

    /// Applies the settings of a frame after all of it was read, and acknowledges them.
    pub(super) fn settings_end(&mut self) -> Result<ReceiveStep, Why> {
        let change = i64::from(self.peer_next.initial_window) - i64::from(self.peer.initial_window);
        if change != 0 {
            for stream in self.streams.iter_mut() {
                let window = i64::from(stream.send_window) + change;
                stream.send_window = i32::try_from(window).map_err(|_| Why::WindowOverflow)?;
            }
        }
        self.peer = self.peer_next.clone();
        self.reply(SETTINGS, FLAG_ACK, &[])?;
        if !std::mem::replace(&mut self.settled, true) {
            self.widen_connection();
        }
        Ok(ReceiveStep::SettingsChanged)
    }

    pub(super) fn initial_send_window(&self) -> i32 {
        self.peer.initial_window as i32
    }
}

/// Adds to a window; None if the result is too large.
fn widened(window: i32, bytes: u32) -> Option<i32> {
    i32::try_from(i64::from(window) + i64::from(bytes)).ok()
}
