//! Errors of HTTP/1 messages, with their position.

/// The kinds of errors.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultKind {
    /// The head is longer than the buffer lets it be.
    HeadTooLong,
    /// More header lines than `tune.http.maxhdr`.
    TooManyHeaders,
    /// More blank lines before the head than anyone needs.
    TooManyBlankLines,
    /// The HTTP/2 preface where HTTP/1 was expected.
    Http2Preface,
    /// No version: HTTP/0.9.
    Http09,
    /// A byte that no method may hold.
    MethodByte,
    /// No method.
    MethodMissing,
    /// A byte that no target may hold.
    TargetByte,
    /// A target that is neither a path, a URL, `*` nor CONNECT's `host:port`.
    TargetForm,
    /// Not `HTTP/1.x`.
    Version,
    /// A status that is not three digits from 100 up.
    Status,
    /// A NUL, or a carriage return that ends no line.
    ControlByte,
    /// A line without a colon.
    ColonMissing,
    /// A line that begins with its colon.
    NameMissing,
    /// A byte that no header name may hold, such as a space before the colon.
    NameByte,
    /// The first header line begins with a space.
    FoldedFirstLine,
    /// A folded line in a header that frames or routes the message.
    FoldedFraming,
    /// A Content-Length that is not a plain decimal number that fits.
    ContentLength,
    /// Content-Lengths that differ.
    ContentLengthsDiffer,
    /// A body where the method of an HTTP/1.0 request has none.
    UnexpectedBody,
    /// A Transfer-Encoding that does not end in `chunked`, or says it twice.
    TransferEncoding,
    /// Another coding before `chunked`.
    TransferCoding,
    /// Chunks in HTTP/1.0, where nobody has to understand them.
    /// Hosts that differ.
    HostsDiffer,
    /// A Host that differs from the authority of the target.
    HostMismatch,
    /// A byte that no Host may hold.
    HostByte,
    /// A WebSocket upgrade without its key, or its answer without the accept.
    WebSocketKey,
    /// A 101 which nobody asked for or which names no protocol.
    UnexpectedUpgrade,
    /// A chunk size that is no hexadecimal number that fits.
    ChunkSize,
    /// A byte that no chunk extension may hold.
    ChunkExtension,
    /// A chunk size line that is too long.
    ChunkLineTooLong,
    /// A chunk that does not end where its size says.
    ChunkEnd,
    /// A line feed without its carriage return in a chunked body.
    BareLineFeed,
    /// The chunks add up to more than can be counted.
    BodyTooLong,
    /// A trailer section that is too long.
    TrailersTooLong,
    /// HTTP/2: a pseudo-header that is unknown, repeated, or stands where none
    /// may.
    PseudoHeader,
    /// HTTP/2: a pseudo-header that every such message has.
    PseudoMissing,
    /// HTTP/2: a scheme that is none.
    Scheme,
    /// HTTP/2: an authority that names nobody.
    AuthorityEmpty,
    /// HTTP/2: a capital letter in a name.
    NameCase,
    /// HTTP/2: a header that only HTTP/1's connections have.
    ConnectionSpecific,
    /// HTTP/2: a length, and no body behind the head.
    LengthWithoutBody,
    /// HTTP/2: an interim response that is the last.
    InterimEnd,
    /// HTTP/2: extended CONNECT for a protocol that cannot be passed on.
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

    /// The status with which a request that has this fault is answered.
    pub fn request_status(self) -> u16 {
        match self {
            FaultKind::UnexpectedBody => 413,
            FaultKind::TransferCoding => 422,
            _ => 400,
        }
    }

    /// The status with which a request over HTTP/2 is answered; `None` where it
    /// is malformed, so that its stream is reset with PROTOCOL_ERROR (RFC 9113,
    /// section 8.1.1). As with HAProxy, what HTTP/2 itself forbids resets, and
    /// what any version of HTTP forbids is answered.
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

/// A fault at a byte of the input that the parser was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} (at byte {at})", .kind.words())]
pub struct Fault {
    /// The kind of error.
    pub kind: FaultKind,
    /// Where: an offset into the head; for a body, into the bytes of it that
    /// had been decoded; for HTTP/2, into the names and values of the list.
    pub at: u64,
}

impl Fault {
    /// Wrong there: an offset into the head.
    pub fn new(kind: FaultKind, at: usize) -> Fault {
        Fault {
            kind,
            at: at as u64,
        }
    }
}
