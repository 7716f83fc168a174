//! Implements the server side of the NBD handshake: options and their replies, until an export is
//! chosen.

use super::request::{ALLOCATION, Session};
use super::{
    Export, NAME_BYTES_MAX, NbdConnectionError, PAYLOAD_BYTES_MAX, take, take_u16, take_u32,
};

pub(super) const NBD_MAGIC: [u8; 8] = *b"NBDMAGIC";
pub(super) const OPTION_MAGIC: [u8; 8] = *b"IHAVEOPT";
pub(super) const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

pub(super) const FIXED_NEWSTYLE: u32 = 1;
pub(super) const NO_ZEROES: u32 = 2;

/// First bytes of a server: they announce the fixed newstyle handshake, and that the zeroes after
/// the reply to `NBD_OPT_EXPORT_NAME` can be omitted.
pub const GREETING: [u8; 18] = greeting();

/// Maximum length of an option's data in bytes: a name and some requests for information.
pub const OPTION_BYTES_MAX: u32 = 16 << 10;
/// Maximum length of the user name that may follow the name of an export, in bytes.
pub const USER_BYTES_MAX: usize = 255;
const OPTIONS_MAX: u32 = 64;
/// Number of zeroes after the reply to `NBD_OPT_EXPORT_NAME`.
const ZEROES: usize = 124;

pub(super) mod option {
    pub const EXPORT_NAME: u32 = 1;
    pub const ABORT: u32 = 2;
    pub const LIST: u32 = 3;
    pub const STARTTLS: u32 = 5;
    pub const INFO: u32 = 6;
    pub const GO: u32 = 7;
    pub const STRUCTURED_REPLY: u32 = 8;
    pub const LIST_META_CONTEXT: u32 = 9;
    pub const SET_META_CONTEXT: u32 = 10;
}

pub(super) mod kind {
    pub const ACK: u32 = 1;
    pub const SERVER: u32 = 2;
    pub const INFO: u32 = 3;
    pub const META_CONTEXT: u32 = 4;
    pub const ERROR: u32 = 1 << 31;
    pub const UNSUPPORTED: u32 = ERROR | 1;
    pub const POLICY: u32 = ERROR | 2;
    pub const INVALID: u32 = ERROR | 3;
    pub const TLS_REQUIRED: u32 = ERROR | 5;
    pub const UNKNOWN: u32 = ERROR | 6;
}

pub(super) mod info {
    pub const EXPORT: u16 = 0;
    pub const NAME: u16 = 1;
    pub const DESCRIPTION: u16 = 2;
    pub const BLOCK_SIZE: u16 = 3;
}

const fn greeting() -> [u8; 18] {
    let mut bytes = [0; 18];
    let mut at = 0;
    while at < 8 {
        bytes[at] = NBD_MAGIC[at];
        bytes[8 + at] = OPTION_MAGIC[at];
        at += 1;
    }
    bytes[17] = (FIXED_NEWSTYLE | NO_ZEROES) as u8;
    bytes
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NbdTransport {
    /// TLS is not required: the socket is a Unix socket, or the configuration allows clear text in
    /// this network.
    Plain,
    /// TLS must begin before anything else.
    TlsRequired,
    Tls,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NbdHandshakeStep {
    Read,
    /// Send the replies, then begin TLS and call [`Handshake::secured`].
    StartTls,
    /// Send the replies, then close the connection, because the client has ended the handshake.
    Close,
    /// Send the replies, then serve requests.
    Transmit(Session),
}

/// Server side of a handshake: options and replies, until the client chooses an export. The caller
/// sends [`GREETING`] first, and then executes the steps that [`Handshake::handle`] returns.
#[derive(Clone, Debug)]
pub struct Handshake {
    transport: NbdTransport,
    flags: Option<u32>,
    options: u32,
    structured: bool,
    /// Name of the export for which the client requested block status.
    allocation: Option<String>,
}

/// Decides which clients may open an export.
#[derive(Clone, Copy)]
pub struct Gate<'g> {
    /// A client may name the user for whom it opens the export, as `EXPORT/USER`.
    pub names_users: bool,
    /// Decides whether a client may open the export as this user, or without a user. An error is
    /// the reason that the client gets.
    pub admit: &'g dyn Fn(Option<&str>) -> Result<(), String>,
}

struct NbdOption<'b> {
    option: u32,
    data: &'b [u8],
}

impl Handshake {
    /// Starts a handshake; [`GREETING`] must be sent first.
    pub fn new(transport: NbdTransport) -> Handshake {
        Handshake {
            transport,
            flags: None,
            options: 0,
            structured: false,
            allocation: None,
        }
    }

    /// Records that TLS has begun, and forgets the structured replies and the metadata context that
    /// were negotiated before.
    pub fn secured(&mut self) {
        self.transport = NbdTransport::Tls;
        self.structured = false;
        self.allocation = None;
    }

    pub fn flags(&self) -> Option<u32> {
        self.flags
    }

    /// Handles bytes from the front of `input`, and appends replies to `out`. The caller passes
    /// the bytes left in `input` again, followed by new ones.
    ///
    /// # Errors
    /// The connection is unusable; replies in `out` are sent before it is closed.
    pub fn handle(
        &mut self,
        input: &mut &[u8],
        exports: &[Export],
        out: &mut Vec<u8>,
    ) -> Result<NbdHandshakeStep, NbdConnectionError> {
        self.handle_gated(input, exports, None, out)
    }

    /// Variant of [`Handshake::handle`] with a gate that decides whether the client may open an
    /// export.
    ///
    /// # Errors
    /// The connection is unusable; replies in `out` are sent before it is closed.
    pub fn handle_gated(
        &mut self,
        input: &mut &[u8],
        exports: &[Export],
        gate: Option<Gate<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<NbdHandshakeStep, NbdConnectionError> {
        if self.flags.is_none() {
            let Some(flags) = take_u32(input) else {
                return Ok(NbdHandshakeStep::Read);
            };
            if flags & FIXED_NEWSTYLE == 0 || flags & !(FIXED_NEWSTYLE | NO_ZEROES) != 0 {
                return Err(NbdConnectionError::Flags);
            }
            self.flags = Some(flags);
        }
        while let Some(asked) = next(input)? {
            self.options += 1;
            if self.options > OPTIONS_MAX {
                return Err(NbdConnectionError::TooManyOptions);
            }
            let step = self.answer(&asked, exports, gate, out)?;
            if step != NbdHandshakeStep::Read {
                return Ok(step);
            }
        }
        Ok(NbdHandshakeStep::Read)
    }

    fn answer(
        &mut self,
        asked: &NbdOption<'_>,
        exports: &[Export],
        gate: Option<Gate<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<NbdHandshakeStep, NbdConnectionError> {
        let wants_tls = self.transport == NbdTransport::TlsRequired;
        match asked.option {
            option::ABORT => {
                reply(out, asked.option, kind::ACK, &[]);
                return Ok(NbdHandshakeStep::Close);
            }
            option::STARTTLS => return Ok(self.start_tls(asked, out)),
            option::EXPORT_NAME if wants_tls => return Err(NbdConnectionError::TlsRequired),
            _ if wants_tls => {
                refuse(out, asked.option, kind::TLS_REQUIRED, "TLS is required");
            }
            option::EXPORT_NAME => return self.export_name(asked.data, exports, gate, out),
            option::LIST => list(asked, exports, out),
            option::INFO | option::GO => return Ok(self.info(asked, exports, gate, out)),
            option::STRUCTURED_REPLY if asked.data.is_empty() => {
                self.structured = true;
                reply(out, asked.option, kind::ACK, &[]);
            }
            option::STRUCTURED_REPLY => {
                refuse(out, asked.option, kind::INVALID, "the option has no data");
            }
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                self.contexts(asked, exports, gate, out);
            }
            _ => refuse(out, asked.option, kind::UNSUPPORTED, "an unknown option"),
        }
        Ok(NbdHandshakeStep::Read)
    }

    fn start_tls(&self, asked: &NbdOption<'_>, out: &mut Vec<u8>) -> NbdHandshakeStep {
        match (self.transport, asked.data) {
            (NbdTransport::TlsRequired, []) => {
                reply(out, asked.option, kind::ACK, &[]);
                return NbdHandshakeStep::StartTls;
            }
            (NbdTransport::TlsRequired, _) => {
                refuse(out, asked.option, kind::INVALID, "the option has no data");
            }
            (NbdTransport::Plain, _) => {
                refuse(out, asked.option, kind::POLICY, "TLS is not offered")
            }
            (NbdTransport::Tls, _) => {
                refuse(out, asked.option, kind::INVALID, "TLS has already begun");
            }
        }
        NbdHandshakeStep::Read
    }

    /// Handles `NBD_OPT_EXPORT_NAME`, the old option to choose an export, which has no reply for
    /// an error.
    fn export_name(
        &mut self,
        name: &[u8],
        exports: &[Export],
        gate: Option<Gate<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<NbdHandshakeStep, NbdConnectionError> {
        let (export, user) = find(exports, gate, name).ok_or(NbdConnectionError::NoSuchExport)?;
        if let Some(gate) = gate {
            (gate.admit)(user).map_err(|_| NbdConnectionError::InUse)?;
        }
        let session = self.session(export, user);
        out.extend_from_slice(&export.size.to_be_bytes());
        out.extend_from_slice(&session.flags().to_be_bytes());
        if self.flags.is_some_and(|flags| flags & NO_ZEROES == 0) {
            out.resize(out.len() + ZEROES, 0);
        }
        Ok(NbdHandshakeStep::Transmit(session))
    }

    /// Handles `NBD_OPT_INFO` and `NBD_OPT_GO`: a name, and the requested information.
    fn info(
        &mut self,
        asked: &NbdOption<'_>,
        exports: &[Export],
        gate: Option<Gate<'_>>,
        out: &mut Vec<u8>,
    ) -> NbdHandshakeStep {
        let Some((name, wanted)) = name_and_wanted(asked.data) else {
            refuse(out, asked.option, kind::INVALID, "a malformed option");
            return NbdHandshakeStep::Read;
        };
        let Some((export, user)) = find(exports, gate, name) else {
            refuse(out, asked.option, kind::UNKNOWN, "no such export");
            return NbdHandshakeStep::Read;
        };
        // Asks the gate only before an export is opened: a request for information changes nothing.
        if asked.option == option::GO
            && let Some(gate) = gate
            && let Err(why) = (gate.admit)(user)
        {
            refuse(out, asked.option, kind::POLICY, &why);
            return NbdHandshakeStep::Read;
        }
        let session = self.session(export, user);
        let mut tell = |info: u16, parts: &[&[u8]]| {
            let mut data = info.to_be_bytes().to_vec();
            parts.iter().for_each(|part| data.extend_from_slice(part));
            reply(out, asked.option, kind::INFO, &data);
        };
        let flags = session.flags().to_be_bytes();
        tell(info::EXPORT, &[&export.size.to_be_bytes(), &flags]);
        if wanted.contains(&info::NAME) {
            tell(info::NAME, &[export.name.as_bytes()]);
        }
        if wanted.contains(&info::DESCRIPTION) {
            tell(info::DESCRIPTION, &[export.description.as_bytes()]);
        }
        // Sends block sizes that bind the client even if it did not request them.
        if wanted.contains(&info::BLOCK_SIZE) || export.block_min > 1 {
            let (min, preferred) = (export.block_min, export.block_preferred);
            let sizes = [min, preferred, PAYLOAD_BYTES_MAX].map(u32::to_be_bytes);
            tell(info::BLOCK_SIZE, &[&sizes[0], &sizes[1], &sizes[2]]);
        }
        reply(out, asked.option, kind::ACK, &[]);
        match asked.option {
            option::GO => NbdHandshakeStep::Transmit(session),
            _ => NbdHandshakeStep::Read,
        }
    }

    /// Handles options about the metadata contexts of an export; the only context is
    /// `base:allocation`.
    fn contexts(
        &mut self,
        asked: &NbdOption<'_>,
        exports: &[Export],
        gate: Option<Gate<'_>>,
        out: &mut Vec<u8>,
    ) {
        let sets = asked.option == option::SET_META_CONTEXT;
        if sets {
            self.allocation = None;
        }
        let Some((name, queries)) = name_and_queries(asked.data) else {
            return refuse(out, asked.option, kind::INVALID, "a malformed option");
        };
        if !self.structured {
            let words = "structured replies must be negotiated first";
            return refuse(out, asked.option, kind::INVALID, words);
        }
        let Some((export, _)) = find(exports, gate, name) else {
            return refuse(out, asked.option, kind::UNKNOWN, "no such export");
        };
        // Lists all contexts without a query, or for a query of the namespace `base:`.
        let meets =
            |query: &&[u8]| *query == ALLOCATION.as_bytes() || (!sets && *query == b"base:");
        if queries.iter().any(meets) || (!sets && queries.is_empty()) {
            let id = if sets { Session::ALLOCATION_ID } else { 0 };
            let mut data = id.to_be_bytes().to_vec();
            data.extend_from_slice(ALLOCATION.as_bytes());
            reply(out, asked.option, kind::META_CONTEXT, &data);
            if sets {
                self.allocation = Some(export.name.clone());
            }
        }
        reply(out, asked.option, kind::ACK, &[]);
    }

    /// Creates the session for an export, with the negotiated features. Contexts that were
    /// requested for another export do not count.
    fn session(&self, export: &Export, user: Option<&str>) -> Session {
        let allocation = self.allocation.as_deref() == Some(export.name.as_str());
        let mut session = Session::new(export.clone(), self.structured, allocation);
        session.user = user.map(str::to_owned);
        session
    }
}

fn next<'b>(input: &mut &'b [u8]) -> Result<Option<NbdOption<'b>>, NbdConnectionError> {
    let mut bytes = *input;
    let Some(magic) = take(&mut bytes, 8) else {
        return Ok(None);
    };
    if magic != OPTION_MAGIC {
        return Err(NbdConnectionError::Option);
    }
    let (Some(option), Some(length)) = (take_u32(&mut bytes), take_u32(&mut bytes)) else {
        return Ok(None);
    };
    if length > OPTION_BYTES_MAX {
        return Err(NbdConnectionError::OptionTooLong(length));
    }
    let Some(data) = take(&mut bytes, length as usize) else {
        return Ok(None);
    };
    *input = bytes;
    Ok(Some(NbdOption { option, data }))
}

fn list(asked: &NbdOption<'_>, exports: &[Export], out: &mut Vec<u8>) {
    if !asked.data.is_empty() {
        return refuse(out, asked.option, kind::INVALID, "the option has no data");
    }
    for export in exports {
        let length = u32::try_from(export.name.len()).unwrap_or(0);
        let mut data = length.to_be_bytes().to_vec();
        data.extend_from_slice(export.name.as_bytes());
        data.extend_from_slice(export.description.as_bytes());
        reply(out, asked.option, kind::SERVER, &data);
    }
    reply(out, asked.option, kind::ACK, &[]);
}

/// Finds the export with this name and, if the gate permits user names, the user after it
/// (`EXPORT/USER`). An empty name means the default export, which exists only if there is a single
/// export.
fn find<'e, 'n>(
    exports: &'e [Export],
    gate: Option<Gate<'_>>,
    name: &'n [u8],
) -> Option<(&'e Export, Option<&'n str>)> {
    if let (b"", [only]) = (name, exports) {
        return Some((only, None));
    }
    if let Some(whole) = exports.iter().find(|one| one.name.as_bytes() == name) {
        return Some((whole, None));
    }
    gate.filter(|gate| gate.names_users)?;
    let (name, user) = std::str::from_utf8(name).ok()?.split_once('/')?;
    let is_sane = !user.is_empty()
        && user.len() <= USER_BYTES_MAX
        && !user.contains(|letter: char| letter.is_control());
    let export = exports.iter().find(|one| one.name == name);
    Some((export.filter(|_| is_sane)?, Some(user)))
}

/// Parses the data of `NBD_OPT_INFO` and `NBD_OPT_GO`: a name and types of information.
fn name_and_wanted(mut data: &[u8]) -> Option<(&[u8], Vec<u16>)> {
    let name = take_name(&mut data)?;
    let count = take_u16(&mut data)?;
    if data.len() != usize::from(count) * 2 {
        return None;
    }
    let wanted = (0..count).filter_map(|_| take_u16(&mut data)).collect();
    Some((name, wanted))
}

/// Parses the data of the metadata context options: a name and queries.
fn name_and_queries(mut data: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let name = take_name(&mut data)?;
    let count = take_u32(&mut data)?;
    let mut queries = Vec::new();
    for _ in 0..count {
        queries.push(take_name(&mut data)?);
    }
    data.is_empty().then_some((name, queries))
}

fn take_name<'b>(data: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = take_u32(data)? as usize;
    (length <= NAME_BYTES_MAX).then(|| take(data, length))?
}

fn reply(out: &mut Vec<u8>, option: u32, kind: u32, data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&REPLY_MAGIC.to_be_bytes());
    out.extend_from_slice(&option.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(data);
}

/// Refuses an option with an error message, which clients show to their users.
fn refuse(out: &mut Vec<u8>, option: u32, kind: u32, words: &str) {
    reply(out, option, kind, words.as_bytes());
}
