//! Defines the errors of HTTP/2 connections and streams, with the code for the peer and the text
//! for a log.

use std::fmt;

macro_rules! error_codes {
    ($($name:ident = $number:literal, $words:literal;)*) => {
        /// An error code of RFC 9113 section 7. An unknown number counts as `INTERNAL_ERROR`, as
        /// that section allows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        #[allow(missing_docs)]
        pub enum ErrorCode { $($name = $number,)* }

        impl ErrorCode {
            pub fn name(self) -> &'static str {
                match self { $(ErrorCode::$name => $words,)* }
            }
        }

        impl From<u32> for ErrorCode {
            fn from(number: u32) -> ErrorCode {
                match number {
                    $($number => ErrorCode::$name,)*
                    _ => ErrorCode::InternalError,
                }
            }
        }
    };
}

error_codes! {
    NoError = 0x0, "NO_ERROR";
    ProtocolError = 0x1, "PROTOCOL_ERROR";
    InternalError = 0x2, "INTERNAL_ERROR";
    FlowControlError = 0x3, "FLOW_CONTROL_ERROR";
    SettingsTimeout = 0x4, "SETTINGS_TIMEOUT";
    StreamClosed = 0x5, "STREAM_CLOSED";
    FrameSizeError = 0x6, "FRAME_SIZE_ERROR";
    RefusedStream = 0x7, "REFUSED_STREAM";
    Cancel = 0x8, "CANCEL";
    CompressionError = 0x9, "COMPRESSION_ERROR";
    ConnectError = 0xa, "CONNECT_ERROR";
    EnhanceYourCalm = 0xb, "ENHANCE_YOUR_CALM";
    InadequateSecurity = 0xc, "INADEQUATE_SECURITY";
    Http11Required = 0xd, "HTTP_1_1_REQUIRED";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident, $code:ident, $abuse:literal, $words:literal;)*) => {
        /// Reason why a connection had to end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Why { $(#[doc = $words] $name,)* }

        impl Why {
            pub fn code(self) -> ErrorCode {
                match self { $(Why::$name => ErrorCode::$code,)* }
            }

            /// Returns whether this looks like an attack rather than a mistake.
            pub fn is_abuse(self) -> bool {
                match self { $(Why::$name => $abuse,)* }
            }

            pub fn words(self) -> &'static str {
                match self { $(Why::$name => $words,)* }
            }

            pub const ALL: &'static [Why] = &[$(Why::$name,)*];
        }
    };
}

reasons! {
    Preface, ProtocolError, false, "the connection did not begin with the preface of HTTP/2";
    FirstFrame, ProtocolError, false, "the first frame was not SETTINGS";
    FrameTooLong, FrameSizeError, false, "a frame longer than SETTINGS_MAX_FRAME_SIZE allows";
    FrameLength, FrameSizeError, false, "a frame whose length its type does not allow";
    Padding, ProtocolError, false, "padding longer than its frame";
    StreamZero, ProtocolError, false, "a stream frame on stream 0";
    StreamNotZero, ProtocolError, false, "a connection frame on a stream";
    StreamParity, ProtocolError, false, "a stream number that the peer may not open";
    StreamOrder, ProtocolError, false, "a stream number lower than one opened before";
    StreamIdle, ProtocolError, false, "a frame on a stream that was never opened";
    StreamEnded, StreamClosed, false, "a frame on a stream that had ended";
    Continuation, ProtocolError, false, "a header block interrupted by, or CONTINUATION without, its HEADERS";
    SelfDependency, ProtocolError, false, "a stream that depends on itself";
    Push, ProtocolError, false, "a PUSH_PROMISE, which was never enabled";
    SettingValue, ProtocolError, false, "a setting with an invalid value";
    SettingWindow, FlowControlError, false, "a SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1";
    WindowZero, ProtocolError, false, "a WINDOW_UPDATE with an increment of 0";
    WindowOverflow, FlowControlError, false, "a flow-control window above 2^31-1";
    WindowExceeded, FlowControlError, false, "more DATA than the connection's window allowed";
    Compression, CompressionError, false, "a header block that HPACK cannot decode";
    BlockTooLong, EnhanceYourCalm, true, "a header block longer than the limit";
    ContinuationFlood, EnhanceYourCalm, true, "too many CONTINUATION frames for one header block";
    RapidReset, EnhanceYourCalm, true, "streams opened and reset too often";
    ForcedResets, EnhanceYourCalm, true, "too many streams reset because of the peer's errors";
    RefusedStreams, EnhanceYourCalm, true, "too many streams opened above the announced limit";
    EmptyFrames, EnhanceYourCalm, true, "too many frames without content";
    TinyData, EnhanceYourCalm, true, "too many DATA frames of a few bytes";
    SettingsFlood, EnhanceYourCalm, true, "too many SETTINGS";
    PingFlood, EnhanceYourCalm, true, "too many PINGs";
    PriorityFlood, EnhanceYourCalm, true, "too many PRIORITY frames";
    WindowFlood, EnhanceYourCalm, true, "too many WINDOW_UPDATEs for the data that was sent";
    UnknownFlood, EnhanceYourCalm, true, "too many frames of unknown types";
    LateFrames, EnhanceYourCalm, true, "too many frames on streams that are closed";
    OverlongHeads, EnhanceYourCalm, true, "too many header lists longer than the limit";
    RepliesUnread, EnhanceYourCalm, true, "the peer does not read the requested responses";
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// A connection error caused by what the peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why} ({code})")]
pub struct ConnectionError {
    pub code: ErrorCode,
    pub why: Why,
}

impl ConnectionError {
    pub fn is_abuse(&self) -> bool {
        self.why.is_abuse()
    }
}

impl From<Why> for ConnectionError {
    fn from(why: Why) -> ConnectionError {
        ConnectionError {
            code: why.code(),
            why,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The peer's limit of open streams, or the configured one, is reached: the caller can retry
    /// later.
    Full,
    /// The stream numbers are used up: a new connection is needed.
    Exhausted,
    /// The connection is shutting down, because either side has sent GOAWAY or the connection
    /// failed; or this side is a server, which opens no streams.
    GoingAway,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The stream is closed, was reset or never existed; or the connection has failed.
    Gone,
    Ended,
    HeadersFirst,
}
