//! Implements the client side of NBD: the handshake until an export is chosen ([`Dial`]), the
//! heads of requests ([`NbdRequestKind`]), and the server's replies ([`NbdReplyHeader`]). The
//! caller handles payloads.

use super::handshake::{
    FIXED_NEWSTYLE, NBD_MAGIC, NO_ZEROES, OPTION_MAGIC, REPLY_MAGIC, info, kind, option,
};
use super::reply::{self, Extent};
use super::request::{ALLOCATION, command, offers};
use super::{NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, take, take_u16, take_u32, take_u64};

const REPLY_BYTES_MAX: u32 = 64 << 10;
const REPLIES_MAX: u32 = 64;
/// Length of the shortest reply head, that of a simple reply, in bytes.
pub const HEAD_BYTES_MIN: usize = reply::SIMPLE_BYTES;
/// Maximum length in bytes of a chunk without data: an error, or extents.
pub const CONTENT_BYTES_MAX: u32 = 1 << 20;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NbdNegotiationError {
    #[error("this is not an NBD server")]
    NotNbd,
    #[error("the NBD server does not offer the fixed newstyle handshake")]
    OldStyle,
    #[error("the NBD server requires TLS, which is not supported here")]
    TlsRequired,
    #[error("the NBD server has no export '{0}'")]
    NoSuchExport(String),
    #[error("the NBD server refuses the export (reply {kind:#x}){}{words}", if .words.is_empty() { "" } else { ": " })]
    Refused { kind: u32, words: String },
    #[error("the NBD server sent a malformed reply")]
    Malformed,
    #[error("the NBD export has {0} bytes, more than any disk")]
    TooLarge(u64),
    #[error("the name of the NBD export is too long")]
    NameTooLong,
}

/// An export that a server offers to this client. All sizes are in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NbdExport {
    pub size: u64,
    /// Granularity of offsets and lengths, in bytes.
    pub block_min: u32,
    pub payload_max: u32,
    /// Id that the server assigned to the context `base:allocation`, if it offers block status.
    pub allocation: Option<u32>,
    flags: u16,
}

impl NbdExport {
    pub fn flags(&self) -> u16 {
        self.flags
    }

    pub fn is_read_only(&self) -> bool {
        self.flags & offers::READ_ONLY != 0
    }

    pub fn can_flush(&self) -> bool {
        self.flags & offers::FLUSH != 0
    }

    /// Returns whether the server can write zeroes without a payload.
    pub fn can_zero(&self) -> bool {
        self.flags & offers::WRITE_ZEROES != 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NbdNegotiationStage {
    Greeting,
    Structured,
    Contexts,
    Go,
}

/// Handshake with a server for the export of a name.
#[derive(Clone, Debug)]
pub struct Dial {
    name: String,
    /// The client does not request structured replies.
    is_plain: bool,
    stage: NbdNegotiationStage,
    replies: u32,
    allocation: Option<u32>,
    export: Option<(u64, u16)>,
    blocks: Option<(u32, u32)>,
}

impl Dial {
    /// Starts a handshake, in which the server sends first. `is_plain`: without structured
    /// replies, and therefore without block status.
    ///
    /// # Errors
    /// The name is longer than that of any export.
    pub fn new(name: &str, is_plain: bool) -> Result<Dial, NbdNegotiationError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(NbdNegotiationError::NameTooLong);
        }
        Ok(Dial {
            name: name.to_owned(),
            is_plain,
            stage: NbdNegotiationStage::Greeting,
            replies: 0,
            allocation: None,
            export: None,
            blocks: None,
        })
    }

    /// Handles bytes from the front of `input`, and appends the bytes to send to `out`. Returns
    /// the export once it is chosen. The caller passes the bytes left in `input` again, followed
    /// by new ones.
    ///
    /// # Errors
    /// The server cannot be used.
    pub fn handle(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<NbdExport>, NbdNegotiationError> {
        if self.stage == NbdNegotiationStage::Greeting {
            let mut bytes = *input;
            let (Some(magic), Some(style)) = (take(&mut bytes, 8), take(&mut bytes, 8)) else {
                return Ok(None);
            };
            if magic != NBD_MAGIC {
                return Err(NbdNegotiationError::NotNbd);
            }
            if style != OPTION_MAGIC {
                return Err(NbdNegotiationError::OldStyle);
            }
            let Some(flags) = take_u16(&mut bytes).map(u32::from) else {
                return Ok(None);
            };
            if flags & FIXED_NEWSTYLE == 0 {
                return Err(NbdNegotiationError::OldStyle);
            }
            *input = bytes;
            out.extend_from_slice(&(FIXED_NEWSTYLE | (flags & NO_ZEROES)).to_be_bytes());
            let first = if self.is_plain {
                NbdNegotiationStage::Go
            } else {
                NbdNegotiationStage::Structured
            };
            self.ask(first, out);
        }
        while let Some(reply) = next(input)? {
            self.replies += 1;
            if self.replies > REPLIES_MAX || reply.option != self.stage.option() {
                return Err(NbdNegotiationError::Malformed);
            }
            if let Some(offer) = self.take(reply.kind, reply.data, out)? {
                return Ok(Some(offer));
            }
        }
        Ok(None)
    }

    fn ask(&mut self, stage: NbdNegotiationStage, out: &mut Vec<u8>) {
        self.stage = stage;
        let mut data = Vec::new();
        let text = |data: &mut Vec<u8>, text: &str| {
            // The conversion cannot fail, because names have a maximum length.
            let length = u32::try_from(text.len()).unwrap_or(0);
            data.extend_from_slice(&length.to_be_bytes());
            data.extend_from_slice(text.as_bytes());
        };
        match stage {
            NbdNegotiationStage::Greeting | NbdNegotiationStage::Structured => {}
            NbdNegotiationStage::Contexts => {
                text(&mut data, &self.name);
                data.extend_from_slice(&1_u32.to_be_bytes());
                text(&mut data, ALLOCATION);
            }
            NbdNegotiationStage::Go => {
                text(&mut data, &self.name);
                data.extend_from_slice(&1_u16.to_be_bytes());
                data.extend_from_slice(&info::BLOCK_SIZE.to_be_bytes());
            }
        }
        let length = u32::try_from(data.len()).unwrap_or(0);
        out.extend_from_slice(&OPTION_MAGIC);
        out.extend_from_slice(&stage.option().to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&data);
    }

    fn take(
        &mut self,
        kind: u32,
        mut data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<NbdExport>, NbdNegotiationError> {
        let is_error = kind & kind::ERROR != 0;
        match (self.stage, kind) {
            (_, kind::TLS_REQUIRED) => return Err(NbdNegotiationError::TlsRequired),
            (NbdNegotiationStage::Structured, kind::ACK) => {
                self.ask(NbdNegotiationStage::Contexts, out)
            }
            (NbdNegotiationStage::Structured | NbdNegotiationStage::Contexts, _) if is_error => {
                self.ask(NbdNegotiationStage::Go, out)
            }
            (NbdNegotiationStage::Contexts, kind::META_CONTEXT) => {
                let id = take_u32(&mut data).ok_or(NbdNegotiationError::Malformed)?;
                if data == ALLOCATION.as_bytes() {
                    self.allocation = Some(id);
                }
            }
            (NbdNegotiationStage::Contexts, kind::ACK) => self.ask(NbdNegotiationStage::Go, out),
            (NbdNegotiationStage::Go, kind::INFO) => {
                self.learn(data).ok_or(NbdNegotiationError::Malformed)?
            }
            (NbdNegotiationStage::Go, kind::ACK) => return self.offer().map(Some),
            (NbdNegotiationStage::Go, kind::UNKNOWN) => {
                return Err(NbdNegotiationError::NoSuchExport(self.name.clone()));
            }
            (NbdNegotiationStage::Go, _) if is_error => {
                let words = String::from_utf8_lossy(data);
                let words = words.chars().filter(|one| !one.is_control()).collect();
                return Err(NbdNegotiationError::Refused { kind, words });
            }
            _ => return Err(NbdNegotiationError::Malformed),
        }
        Ok(None)
    }

    fn learn(&mut self, mut data: &[u8]) -> Option<()> {
        match take_u16(&mut data)? {
            info::EXPORT => self.export = Some((take_u64(&mut data)?, take_u16(&mut data)?)),
            info::BLOCK_SIZE => {
                let (min, _, max) = (
                    take_u32(&mut data)?,
                    take_u32(&mut data)?,
                    take_u32(&mut data)?,
                );
                let is_plain = min.is_power_of_two() && min <= 64 << 10 && max >= min;
                self.blocks = is_plain.then_some((min, max));
                self.blocks?;
            }
            _ => {}
        }
        Some(())
    }

    fn offer(&self) -> Result<NbdExport, NbdNegotiationError> {
        let (size, flags) = self.export.ok_or(NbdNegotiationError::Malformed)?;
        if size > i64::MAX as u64 {
            return Err(NbdNegotiationError::TooLarge(size));
        }
        // A server that announces no block sizes accepts any size up to the usual maximum payload.
        let (block_min, payload_max) = self.blocks.unwrap_or((1, PAYLOAD_BYTES_MAX));
        Ok(NbdExport {
            size,
            block_min,
            payload_max: payload_max.min(PAYLOAD_BYTES_MAX),
            allocation: self.allocation,
            flags,
        })
    }
}

impl NbdNegotiationStage {
    fn option(self) -> u32 {
        match self {
            NbdNegotiationStage::Greeting | NbdNegotiationStage::Structured => {
                option::STRUCTURED_REPLY
            }
            NbdNegotiationStage::Contexts => option::SET_META_CONTEXT,
            NbdNegotiationStage::Go => option::GO,
        }
    }
}

struct NbdOptionReply<'b> {
    option: u32,
    kind: u32,
    data: &'b [u8],
}

fn next<'b>(input: &mut &'b [u8]) -> Result<Option<NbdOptionReply<'b>>, NbdNegotiationError> {
    let mut bytes = *input;
    let Some(magic) = take_u64(&mut bytes) else {
        return Ok(None);
    };
    if magic != REPLY_MAGIC {
        return Err(NbdNegotiationError::Malformed);
    }
    let numbers = [
        take_u32(&mut bytes),
        take_u32(&mut bytes),
        take_u32(&mut bytes),
    ];
    let [Some(option), Some(kind), Some(length)] = numbers else {
        return Ok(None);
    };
    if length > REPLY_BYTES_MAX {
        return Err(NbdNegotiationError::Malformed);
    }
    let Some(data) = take(&mut bytes, length as usize) else {
        return Ok(None);
    };
    *input = bytes;
    Ok(Some(NbdOptionReply { option, kind, data }))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NbdRequestKind {
    Read,
    Write,
    /// Make the range read as zeroes; it may become unallocated.
    Zeroes,
    Flush,
    Status,
    Disconnect,
}

/// Appends the head of a request; the payload of a write follows it.
pub fn request(wish: NbdRequestKind, cookie: u64, offset: u64, length: u32, out: &mut Vec<u8>) {
    let command = match wish {
        NbdRequestKind::Read => command::READ,
        NbdRequestKind::Write => command::WRITE,
        NbdRequestKind::Zeroes => command::WRITE_ZEROES,
        NbdRequestKind::Flush => command::FLUSH,
        NbdRequestKind::Status => command::BLOCK_STATUS,
        NbdRequestKind::Disconnect => command::DISCONNECT,
    };
    out.extend_from_slice(&super::request::REQUEST_MAGIC.to_be_bytes());
    out.extend_from_slice(&0_u16.to_be_bytes());
    out.extend_from_slice(&command.to_be_bytes());
    out.extend_from_slice(&cookie.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
}

/// Content that follows a [`NbdReplyHeader`] on the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NbdReplyBody {
    /// Simple reply without an error: all bytes of a read, nothing for other requests.
    Whole,
    /// Simple reply: the request failed with this error number.
    Failed(u32),
    Nothing,
    /// A part of a read: an offset of 8 bytes, and this number of data bytes.
    Data(u32),
    /// A part of a read that is all zeroes: an offset and a length ([`hole`]).
    Hole,
    /// Extents for this number of bytes ([`extents`]).
    Status(u32),
    /// Error for this number of bytes ([`error`]).
    Error(u32),
    /// Unknown content: this number of bytes to skip.
    Other(u32),
}

/// Head of a simple reply, or of a chunk of a structured reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NbdReplyHeader {
    pub cookie: u64,
    /// No further chunk follows for this request.
    pub is_last: bool,
    pub body: NbdReplyBody,
}

impl NbdReplyHeader {
    /// Parses a head at the front of `input`; `None` if it is incomplete.
    ///
    /// # Errors
    /// The server violated the protocol.
    pub fn decode(input: &mut &[u8]) -> Result<Option<NbdReplyHeader>, NbdNegotiationError> {
        let mut bytes = *input;
        let Some(magic) = take_u32(&mut bytes) else {
            return Ok(None);
        };
        let head = match magic {
            reply::SIMPLE_MAGIC => NbdReplyHeader::simple(&mut bytes),
            reply::CHUNK_MAGIC => NbdReplyHeader::chunk(&mut bytes)?,
            _ => return Err(NbdNegotiationError::Malformed),
        };
        if head.is_some() {
            *input = bytes;
        }
        Ok(head)
    }

    fn simple(bytes: &mut &[u8]) -> Option<NbdReplyHeader> {
        let (error, cookie) = (take_u32(bytes)?, take_u64(bytes)?);
        Some(NbdReplyHeader {
            cookie,
            is_last: true,
            body: if error == 0 {
                NbdReplyBody::Whole
            } else {
                NbdReplyBody::Failed(error)
            },
        })
    }

    fn chunk(bytes: &mut &[u8]) -> Result<Option<NbdReplyHeader>, NbdNegotiationError> {
        let numbers = (take_u16(bytes), take_u16(bytes));
        let (Some(flags), Some(kind), Some(cookie), Some(length)) =
            (numbers.0, numbers.1, take_u64(bytes), take_u32(bytes))
        else {
            return Ok(None);
        };
        let body = match (kind, length) {
            (reply::kind::NONE, 0) => NbdReplyBody::Nothing,
            (reply::kind::OFFSET_DATA, 9..) if length - 8 <= PAYLOAD_BYTES_MAX => {
                NbdReplyBody::Data(length - 8)
            }
            (reply::kind::OFFSET_HOLE, 12) => NbdReplyBody::Hole,
            (_, 0..=CONTENT_BYTES_MAX) => match kind {
                reply::kind::BLOCK_STATUS => NbdReplyBody::Status(length),
                kind if kind & reply::kind::IS_ERROR != 0 => NbdReplyBody::Error(length),
                reply::kind::NONE | reply::kind::OFFSET_DATA | reply::kind::OFFSET_HOLE => {
                    return Err(NbdNegotiationError::Malformed);
                }
                _ => NbdReplyBody::Other(length),
            },
            _ => return Err(NbdNegotiationError::Malformed),
        };
        Ok(Some(NbdReplyHeader {
            cookie,
            is_last: flags & reply::DONE != 0,
            body,
        }))
    }
}

/// Parses the content of [`NbdReplyBody::Hole`]: offset and length in bytes.
pub fn hole(mut content: &[u8]) -> Option<(u64, u32)> {
    Some((take_u64(&mut content)?, take_u32(&mut content)?))
}

/// Parses the content of [`NbdReplyBody::Status`]; `None` if it is malformed or about another
/// context than `allocation`.
pub fn extents(mut content: &[u8], allocation: u32) -> Option<Vec<Extent>> {
    if take_u32(&mut content)? != allocation || !content.len().is_multiple_of(8) {
        return None;
    }
    let mut extents = Vec::new();
    while let (Some(length), Some(flags)) = (take_u32(&mut content), take_u32(&mut content)) {
        if length == 0 {
            return None;
        }
        // Allocated ranges that read as zeroes are reported as holes, because they need not be
        // read either.
        let hole = flags & reply::ZERO != 0;
        extents.push(Extent { length, hole });
    }
    (!extents.is_empty()).then_some(extents)
}

/// Parses the content of [`NbdReplyBody::Error`]: the error number, and the server's message.
pub fn error(mut content: &[u8]) -> Option<(u32, String)> {
    let (number, length) = (take_u32(&mut content)?, take_u16(&mut content)?);
    let words = take(&mut content, usize::from(length))?;
    let words = String::from_utf8_lossy(words);
    let words = words.chars().filter(|one| !one.is_control()).collect();
    Some((number, words))
}

#[cfg(test)]
mod tests {
    use super::super::{
        Export, GREETING, Handshake, NbdHandshakeStep, NbdRequestHeader, NbdTransport, Session,
    };
    use super::*;
    use proptest::prelude::*;

    const MAIL: u64 = 1 << 20;

    fn exports() -> Vec<Export> {
        vec![Export {
            name: "mail".to_owned(),
            description: "the volume mail".to_owned(),
            size: MAIL,
            read_only: false,
            multi_conn: false,
            block_min: 512,
            block_preferred: 4096,
        }]
    }

    /// Runs a handshake between this client and this server, with `chunk` bytes at a time.
    fn meet(
        name: &str,
        transport: NbdTransport,
        chunk: usize,
    ) -> Result<(NbdExport, Session), NbdNegotiationError> {
        meet_as(name, transport, chunk, false)
    }

    fn meet_as(
        name: &str,
        transport: NbdTransport,
        chunk: usize,
        is_plain: bool,
    ) -> Result<(NbdExport, Session), NbdNegotiationError> {
        let exports = exports();
        let mut dial = Dial::new(name, is_plain)?;
        let mut server = Handshake::new(transport);
        let (mut to_client, mut to_server) = (GREETING.to_vec(), Vec::new());
        let (mut input, mut session) = (Vec::new(), None);
        for _ in 0..10_000 {
            let count = chunk.min(to_client.len());
            input.extend(to_client.drain(..count));
            let mut bytes = input.as_slice();
            let offer = dial.handle(&mut bytes, &mut to_server)?;
            let left = bytes.len();
            input.drain(..input.len() - left);
            if let Some(offer) = offer {
                assert!(input.is_empty() && to_client.is_empty());
                return Ok((offer, session.expect("the server has begun as well")));
            }
            let mut bytes = to_server.as_slice();
            if let Ok(NbdHandshakeStep::Transmit(begun)) =
                server.handle(&mut bytes, &exports, &mut to_client)
            {
                session = Some(begun);
            }
            let left = bytes.len();
            to_server.drain(..to_server.len() - left);
        }
        panic!("no end");
    }

    #[test]
    fn our_client_chooses_an_export_of_our_server() {
        for chunk in [1, 7, 1000] {
            let (offer, session) = meet("mail", NbdTransport::Plain, chunk).unwrap();
            assert_eq!((offer.size, offer.block_min), (MAIL, 512));
            assert_eq!(offer.allocation, Some(Session::ALLOCATION_ID));
            assert_eq!(offer.payload_max, PAYLOAD_BYTES_MAX);
            assert!(offer.can_zero() && offer.can_flush() && !offer.is_read_only());
            assert!(session.structured);
            let (offer, session) = meet_as("mail", NbdTransport::Plain, chunk, true).unwrap();
            assert!(!session.structured);
            assert_eq!((offer.size, offer.allocation), (MAIL, None));
            assert_eq!(offer.flags(), session.flags());
        }
        let unknown = meet("web", NbdTransport::Plain, 99);
        assert_eq!(
            unknown.unwrap_err(),
            NbdNegotiationError::NoSuchExport("web".to_owned())
        );
        let tls = meet("mail", NbdTransport::TlsRequired, 99);
        assert_eq!(tls.unwrap_err(), NbdNegotiationError::TlsRequired);
        let long = Dial::new(&"x".repeat(NAME_BYTES_MAX + 1), false);
        assert_eq!(long.unwrap_err(), NbdNegotiationError::NameTooLong);
    }

    #[test]
    fn a_server_without_structured_replies_and_block_sizes_can_be_used() {
        let mut dial = Dial::new("", false).unwrap();
        let mut out = Vec::new();
        let mut hear = |bytes: &[u8], out: &mut Vec<u8>| {
            out.clear();
            let mut input = bytes;
            let offer = dial.handle(&mut input, out);
            assert!(input.is_empty());
            offer
        };
        // The server announces the fixed newstyle handshake only, so the client's flags request
        // nothing else.
        assert_eq!(hear(b"NBDMAGICIHAVEOPT\0\x01", &mut out), Ok(None));
        let asked = [&[0, 0, 0, 1][..], b"IHAVEOPT", &[0, 0, 0, 8], &[0; 4]].concat();
        assert_eq!(out, asked);
        let reply = |option: u32, kind: u32, data: &[u8]| {
            let head = [option, kind, data.len() as u32].map(u32::to_be_bytes);
            [&REPLY_MAGIC.to_be_bytes()[..], &head.concat(), data].concat()
        };
        assert_eq!(hear(&reply(8, kind::UNSUPPORTED, b""), &mut out), Ok(None));
        let data = [0, 0, 0, 0, 0, 1, 0, 3];
        let asked = [b"IHAVEOPT", &[0, 0, 0, 7, 0, 0, 0, 8][..], &data].concat();
        assert_eq!(out, asked);
        let export = [0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 3];
        let both = [reply(7, kind::INFO, &export), reply(7, kind::ACK, b"")].concat();
        let offer = hear(&both, &mut out).unwrap().unwrap();
        assert_eq!(
            (offer.size, offer.block_min, offer.allocation),
            (4096, 1, None)
        );
        assert!(offer.is_read_only() && !offer.can_zero() && !offer.can_flush());
    }

    #[test]
    fn export_larger_than_any_disk_is_refused() {
        for (size, is_fit) in [(i64::MAX as u64, true), (1 << 63, false), (u64::MAX, false)] {
            let mut dial = Dial::new("", true).unwrap();
            let reply = |kind: u32, data: &[u8]| {
                let head = [7, kind, data.len() as u32].map(u32::to_be_bytes);
                [&REPLY_MAGIC.to_be_bytes()[..], &head.concat(), data].concat()
            };
            let export = [&[0, 0][..], &size.to_be_bytes(), &[0, 1]].concat();
            let says = [
                b"NBDMAGICIHAVEOPT\0\x01",
                &reply(kind::INFO, &export)[..],
                &reply(kind::ACK, b""),
            ]
            .concat();
            let offer = dial.handle(&mut says.as_slice(), &mut Vec::new());
            if is_fit {
                assert_eq!(offer.unwrap().unwrap().size, size)
            } else {
                assert_eq!(offer, Err(NbdNegotiationError::TooLarge(size)))
            }
        }
    }

    #[test]
    fn invalid_server_greeting_is_refused() {
        let hear = |bytes: &[u8]| {
            let mut dial = Dial::new("x", false).unwrap();
            let mut input = bytes;
            dial.handle(&mut input, &mut Vec::new())
        };
        assert_eq!(hear(b"SSH-2.0-OpenSSH_9"), Err(NbdNegotiationError::NotNbd));
        assert_eq!(
            hear(b"NBDMAGIC\0\0\x42\x02\x81\x86\x12\x53"),
            Err(NbdNegotiationError::OldStyle)
        );
        assert_eq!(
            hear(b"NBDMAGICIHAVEOPT\0\0"),
            Err(NbdNegotiationError::OldStyle)
        );
        let greeting = b"NBDMAGICIHAVEOPT\0\x03".to_vec();
        let head = |option: u32, kind: u32, length: u32| {
            let head = [option, kind, length].map(u32::to_be_bytes);
            [&greeting[..], &REPLY_MAGIC.to_be_bytes(), &head.concat()].concat()
        };
        assert_eq!(
            hear(&head(8, 1, u32::MAX)),
            Err(NbdNegotiationError::Malformed)
        );
        assert_eq!(
            hear(&head(7, 1, 0)),
            Err(NbdNegotiationError::Malformed),
            "not what was asked"
        );
        assert_eq!(
            hear(&[&greeting[..], &[7; 20]].concat()),
            Err(NbdNegotiationError::Malformed)
        );
    }

    #[test]
    fn heads_of_replies_are_read_as_our_server_writes_them() {
        let (_, session) = meet("mail", NbdTransport::Plain, 64).unwrap();
        let plain = Session::new(session.export.clone(), false, false);
        let piece = reply::NbdReadChunk {
            offset: 4096,
            length: 512,
            is_last: false,
        };
        let mut table: Vec<(Vec<u8>, u64, bool, NbdReplyBody)> = Vec::new();
        let mut add = |last, body, write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            table.push((out, 9, last, body));
        };
        use super::super::Errno::Io;
        add(true, NbdReplyBody::Whole, &|out| {
            reply::done(&plain, 9, out)
        });
        add(true, NbdReplyBody::Failed(5), &|out| {
            reply::failed(&plain, 9, Io, out)
        });
        add(true, NbdReplyBody::Nothing, &|out| {
            reply::done(&session, 9, out)
        });
        add(false, NbdReplyBody::Data(512), &|out| {
            reply::data(&session, 9, piece, out)
        });
        add(false, NbdReplyBody::Hole, &|out| {
            assert!(reply::hole(&session, 9, piece, out));
        });
        let found = [(512, true), (1024, false)].map(|(length, hole)| Extent { length, hole });
        add(true, NbdReplyBody::Status(20), &|out| {
            reply::status(9, &found, out)
        });
        let words = Io.words().len() as u32;
        add(true, NbdReplyBody::Error(6 + words), &|out| {
            reply::failed(&session, 9, Io, out)
        });
        for (bytes, cookie, is_last, body) in table {
            let mut input = bytes.as_slice();
            let head = NbdReplyHeader::decode(&mut input).unwrap().unwrap();
            assert_eq!(
                (head.cookie, head.is_last, head.body),
                (cookie, is_last, body)
            );
            match body {
                NbdReplyBody::Hole => assert_eq!(hole(input), Some((4096, 512))),
                NbdReplyBody::Status(_) => {
                    assert_eq!(extents(input, 1), Some(found.to_vec()));
                    assert_eq!(extents(input, 2), None, "another context");
                }
                NbdReplyBody::Error(_) => {
                    assert_eq!(error(input), Some((5, Io.words().to_owned())))
                }
                _ => {}
            }
            for short in 0..16 {
                assert_eq!(NbdReplyHeader::decode(&mut &bytes[..short]), Ok(None));
            }
        }
    }

    #[test]
    fn requests_are_those_that_our_server_reads() {
        use super::super::NbdCommand;
        let (_, session) = meet("mail", NbdTransport::Plain, 64).unwrap();
        let zeroes = NbdCommand::Zeroes {
            fua: false,
            allocate: false,
            fast: false,
        };
        for (wish, length, command) in [
            (NbdRequestKind::Read, 512, NbdCommand::Read { whole: false }),
            (NbdRequestKind::Write, 512, NbdCommand::Write { fua: false }),
            (NbdRequestKind::Zeroes, 512, zeroes),
            (
                NbdRequestKind::Status,
                512,
                NbdCommand::Status { one: false },
            ),
            (NbdRequestKind::Flush, 0, NbdCommand::Flush),
            (NbdRequestKind::Disconnect, 0, NbdCommand::Disconnect),
        ] {
            let mut out = Vec::new();
            request(wish, 77, u64::from(length), length, &mut out);
            let asked = NbdRequestHeader::decode(out.as_slice().try_into().unwrap()).unwrap();
            assert_eq!((asked.cookie, asked.length), (77, length));
            assert_eq!(session.command(&asked), Ok(command));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_server_make_the_client_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let greeting = b"NBDMAGICIHAVEOPT\0\x03".to_vec();
            let magic = REPLY_MAGIC.to_be_bytes().to_vec();
            for front in [vec![], greeting.clone(), [greeting, magic].concat()] {
                let all = [front, bytes.clone()].concat();
                let _ = Dial::new("x", false).unwrap().handle(&mut all.as_slice(), &mut Vec::new());
            }
            for magic in [reply::SIMPLE_MAGIC, reply::CHUNK_MAGIC] {
                let all = [&magic.to_be_bytes()[..], &bytes].concat();
                let _ = NbdReplyHeader::decode(&mut all.as_slice());
            }
            let _ = (hole(&bytes), extents(&bytes, 1), error(&bytes));
        }
    }
}
