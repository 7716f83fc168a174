//! Defines the errors of HTTP/1 messages, with their position in the message.

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultKind {
    HeadTooLong,
    /// More header lines than `tune.http.maxhdr`.
    TooManyHeaders,
    TooManyBlankLines,
    Http2Preface,
    /// The request line has no version: HTTP/0.9.
    Http09,
    MethodByte,
    MethodMissing,
    TargetByte,
    /// A target that is neither a path, a URL, `*` nor CONNECT's `host:port`.
    TargetForm,
    Version,
    /// The status is not a number of three digits from 100 up.
    Status,
    /// A NUL, or a carriage return that does not end a line.
    ControlByte,
    ColonMissing,
    /// A line that begins with a colon.
    NameMissing,
    /// A byte that is not allowed in a header name, such as a space before the colon.
    NameByte,
    FoldedFirstLine,
    /// A folded line in a header that frames or routes the message.
    FoldedFraming,
    ContentLength,
    ContentLengthsDiffer,
    /// A body with a method that allows none in an HTTP/1.0 request.
    UnexpectedBody,
    /// A Transfer-Encoding that does not end in `chunked`, or contains it twice.
    TransferEncoding,
    /// Another transfer coding before `chunked`.
    TransferCoding,
    HostsDiffer,
    /// A Host that differs from the authority of the target.
    HostMismatch,
    HostByte,
    /// A WebSocket upgrade without its key, or a response to it without the accept value.
    WebSocketKey,
    /// A 101 that was not requested or that names no protocol.
    UnexpectedUpgrade,
    ChunkSize,
    ChunkExtension,
    ChunkLineTooLong,
    ChunkEnd,
    /// A line feed without a carriage return in a chunked body.
    BareLineFeed,
    BodyTooLong,
    TrailersTooLong,
    /// HTTP/2: a pseudo-header that is unknown, repeated, or not allowed at its position.
    PseudoHeader,
    PseudoMissing,
    Scheme,
    AuthorityEmpty,
    NameCase,
    /// HTTP/2: a header that is only allowed in HTTP/1 connections.
    ConnectionSpecific,
    /// HTTP/2: a head that declares a length, but is not followed by a body.
    LengthWithoutBody,
    /// HTTP/2: an interim response that ends the stream.
    InterimEnd,
    /// HTTP/2: extended CONNECT for a protocol that cannot be forwarded.
    Protocol,
}

impl FaultKind {
    /// Returns the description, without a final full stop.
    pub fn words(self) -> &'static str {
        use FaultKind::*;
        match self {
            HeadTooLong => "the head is larger than the buffer",
            TooManyHeaders => "too many header lines",
            TooManyBlankLines => "too many blank lines before the head",
            Http2Preface => "HTTP/2 preface on an HTTP/1 connection",
            Http09 => "no version in the request line (HTTP/0.9)",
            MethodByte => "forbidden byte in the method",
            MethodMissing => "no method",
            TargetByte => "forbidden byte in the target",
            TargetForm => "the target is neither a path, a URL, '*' nor host:port of CONNECT",
            Version => "the version is not HTTP/1.x",
            Status => "the status is not a number from 100 to 999",
            ControlByte => "NUL or stray carriage return",
            ColonMissing => "header line without a colon",
            NameMissing => "header line without a name",
            NameByte => "forbidden byte in a header name",
            FoldedFirstLine => "the first header line begins with a space",
            FoldedFraming => "folded line in a header that frames or routes the message",
            ContentLength => "content-length is not a plain decimal number",
            ContentLengthsDiffer => "content-length values differ",
            UnexpectedBody => "a body with a method that has none in HTTP/1.0",
            TransferEncoding => "transfer-encoding must end with one 'chunked'",
            TransferCoding => "transfer coding other than 'chunked'",
            HostsDiffer => "host values differ",
            HostMismatch => "host differs from the authority of the target",
            HostByte => "forbidden byte in host",
            WebSocketKey => "WebSocket handshake without its key",
            UnexpectedUpgrade => "101 without a requested protocol",
            ChunkSize => "chunk size is not a hexadecimal number",
            ChunkExtension => "forbidden byte in a chunk extension",
            ChunkLineTooLong => "chunk size line is too long",
            ChunkEnd => "chunk does not end where its size says",
            BareLineFeed => "line feed without carriage return in a chunked body",
            BodyTooLong => "the chunks add up to too many bytes",
            TrailersTooLong => "the trailer section is too long",
            PseudoHeader => "pseudo-header that is unknown, repeated or out of place",
            PseudoMissing => "a pseudo-header is missing",
            Scheme => "invalid scheme",
            AuthorityEmpty => "the authority is empty",
            NameCase => "capital letter in a header name of HTTP/2",
            ConnectionSpecific => "connection-specific header in HTTP/2",
            LengthWithoutBody => "content-length of a message that ends with its head",
            InterimEnd => "an interim response ends the stream",
            Protocol => "extended CONNECT for an unsupported protocol",
        }
    }

    pub fn request_status(self) -> u16 {
        match self {
            FaultKind::UnexpectedBody => 413,
            FaultKind::TransferCoding => 422,
            _ => 400,
        }
    }

    /// Returns the status of the response to an HTTP/2 request with this fault. `None` if the
    /// request is malformed, so that its stream is reset with PROTOCOL_ERROR (RFC 9113, section
    /// 8.1.1). As in HAProxy, violations of HTTP/2 itself cause a reset, and violations of HTTP in
    /// any version cause a response.
    pub fn http2_status(self) -> Option<u16> {
        match self {
            FaultKind::MethodByte
            | FaultKind::Scheme
            | FaultKind::HostByte
            | FaultKind::HostsDiffer
            | FaultKind::HostMismatch
            | FaultKind::AuthorityEmpty
            | FaultKind::Protocol => Some(400),
            FaultKind::HeadTooLong | FaultKind::TooManyHeaders => Some(431),
            _ => None,
        }
    }
}

/// An error with its position in the input of the parser.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} (at byte {at})", .kind.words())]
pub struct HttpParseError {
    pub kind: FaultKind,
    /// Position: an offset into the head; for a body, into the bytes decoded so far; for HTTP/2,
    /// into the names and values of the list.
    pub at: u64,
}

impl HttpParseError {
    pub fn new(kind: FaultKind, at: usize) -> HttpParseError {
        HttpParseError {
            kind,
            at: at as u64,
        }
    }
}
