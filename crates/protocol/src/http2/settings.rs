//! Holds and validates the SETTINGS that a peer sends (RFC 9113 section 6.5.2, RFC 8441).

use super::{Http2Role, Why};

pub(super) const HEADER_TABLE_SIZE: u16 = 0x1;
pub(super) const ENABLE_PUSH: u16 = 0x2;
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 0x4;
pub(super) const MAX_FRAME_SIZE: u16 = 0x5;
pub(super) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
pub(super) const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// Initial window of a connection and its streams, in bytes.
pub(super) const WINDOW_DEFAULT: u32 = 65_535;
pub(super) const WINDOW_MAX: u32 = (1 << 31) - 1;
/// Frame size in bytes that every endpoint accepts, and the minimum that may be announced.
pub(super) const FRAME_BYTES_MIN: u32 = 16_384;
/// Maximum frame size in bytes that may be announced.
pub(super) const FRAME_BYTES_MAX: u32 = (1 << 24) - 1;

/// Settings of the peer, with defaults for those that it did not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Table size in bytes that our encoder may use.
    pub header_table_bytes: u32,
    /// Maximum number of streams that this side may have open; None: not limited.
    pub concurrent_streams_max: Option<u32>,
    /// Initial send window of a new stream, in bytes.
    pub initial_window: u32,
    pub frame_bytes_max: u32,
    /// Maximum size of a field list that the peer accepts, if it sent one.
    pub header_list_bytes_max: Option<u32>,
    /// Extended CONNECT (RFC 8441) may be used.
    pub connect_protocol: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            header_table_bytes: 4096,
            concurrent_streams_max: None,
            initial_window: WINDOW_DEFAULT,
            frame_bytes_max: FRAME_BYTES_MIN,
            header_list_bytes_max: None,
            connect_protocol: false,
        }
    }
}

impl Settings {
    /// Applies one setting of the peer; `role` is that of this side. Unknown settings are ignored.
    pub(super) fn take(&mut self, role: Http2Role, id: u16, value: u32) -> Result<(), Why> {
        match id {
            HEADER_TABLE_SIZE => self.header_table_bytes = value,
            // Refuses an invalid value, and a server that enables pushes. A client may allow
            // pushes, but this side never sends one.
            ENABLE_PUSH if value > 1 || (role == Http2Role::Client && value != 0) => {
                return Err(Why::SettingValue);
            }
            MAX_CONCURRENT_STREAMS => self.concurrent_streams_max = Some(value),
            INITIAL_WINDOW_SIZE if value > WINDOW_MAX => return Err(Why::SettingWindow),
            INITIAL_WINDOW_SIZE => self.initial_window = value,
            MAX_FRAME_SIZE if !(FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&value) => {
                return Err(Why::SettingValue);
            }
            MAX_FRAME_SIZE => self.frame_bytes_max = value,
            MAX_HEADER_LIST_SIZE => self.header_list_bytes_max = Some(value),
            // Refuses to disable extended CONNECT once it was enabled (RFC 8441, section 3).
            ENABLE_CONNECT_PROTOCOL if value > 1 || (value == 0 && self.connect_protocol) => {
                return Err(Why::SettingValue);
            }
            ENABLE_CONNECT_PROTOCOL => self.connect_protocol = value == 1,
            _ => {}
        }
        Ok(())
    }
}
