//! Handles the login phase of an iSCSI connection on the target's side: checks stages and names,
//! negotiates parameters, and writes a response for each login PDU (RFC 7143, sections 6.3 and
//! 11.12). The caller decides about the access to a target.

use super::pdu::{Header, IscsiError, IscsiResponseHeader, Pdu, opcode};
use super::text::{self, Parameters};
use std::io::Write;

const EXCHANGES_MAX: u32 = 16;
/// Longest iSCSI name, bytes (RFC 7143, 4.2.7).
const NAME_BYTES_MAX: usize = 223;
pub const GROUP: u16 = 1;
/// Command window of a session: the number of commands that may be outstanding.
pub const WINDOW: u32 = 32;
const TRANSIT: u8 = 0x80;
const CONTINUES: u8 = 0x40;

/// Status of a refused login: status class and detail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum LoginRejectStatus {
    Initiator = 0x0200,
    Authentication = 0x0201,
    Authorization = 0x0202,
    NotFound = 0x0203,
    /// Target removed: the disk that the initiator used before is gone, and the machine has to boot
    /// again.
    Removed = 0x0204,
    Version = 0x0205,
    /// Too many connections: a session has only one.
    TooMany = 0x0206,
    /// Missing parameter: the initiator or target name is absent.
    Missing = 0x0207,
    NoSession = 0x020a,
    /// Service unavailable: the disk is unreachable, and the initiator may retry.
    Unavailable = 0x0301,
}

/// Result of a successful login, from which the caller creates the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedInSession {
    /// Name of the target; None: a discovery session.
    pub target: Option<String>,
    /// Name and ISID of the initiator. Another session with the same pair replaces this one.
    pub initiator: (String, [u8; 6]),
    pub parameters: Parameters,
    pub stat_sn: u32,
    pub command_sn: u32,
    pub connection: u16,
}

#[derive(Debug)]
pub struct Login {
    session: u16,
    exchanges: u32,
    stage: Option<u8>,
    text: Vec<u8>,
    names: LoginParameters,
    parameters: Parameters,
    is_declared: bool,
    stat_sn: u32,
}

#[derive(Debug, Default)]
struct LoginParameters {
    initiator: Option<String>,
    target: Option<String>,
    is_discovery: bool,
}

impl Login {
    /// Creates the state of a login that has not begun. `session`: identifier (TSIH) of the new
    /// session; 0 becomes 1.
    pub fn new(session: u16) -> Login {
        Login {
            session: session.max(1),
            exchanges: 0,
            stage: None,
            text: Vec::new(),
            names: LoginParameters::default(),
            parameters: Parameters::default(),
            is_declared: false,
            stat_sn: 0,
        }
    }

    /// Handles a login PDU and writes the response. Returns the session when the login is complete.
    /// `may_use` decides whether the initiator may use the target; the login calls it once, after
    /// the first keys, and not at all for a discovery session.
    ///
    /// # Errors
    ///
    /// The PDU is invalid, the login is refused (with a response), or the connection fails. The
    /// caller closes the connection.
    pub fn handle(
        &mut self,
        pdu: &Pdu,
        may_use: &mut dyn FnMut(&str) -> Result<(), LoginRejectStatus>,
        out: &mut dyn Write,
    ) -> Result<Option<LoggedInSession>, IscsiError> {
        let header = &pdu.header;
        if header.opcode() != opcode::LOGIN {
            return Err(IscsiError::Protocol("no login"));
        }
        if self.exchanges == 0 {
            self.stat_sn = header.word(28);
        }
        self.exchanges += 1;
        match self.answer(pdu, may_use) {
            Ok((flags, keys)) => self.reply(header, flags, &keys, out),
            Err(LoginError::Refused(refusal)) => {
                let reply = self.response(header, 0);
                let [class, detail] = (refusal as u16).to_be_bytes();
                reply.byte(36, class).byte(37, detail).write(&[], out)?;
                Err(IscsiError::Ended)
            }
            Err(LoginError::Broken(broken)) => {
                let reply = self.response(header, 0);
                reply.byte(36, 2).byte(37, 0).write(&[], out)?;
                Err(broken)
            }
        }
    }

    /// Handles a PDU, and returns the flags and the keys of the response.
    fn answer(
        &mut self,
        pdu: &Pdu,
        may_use: &mut dyn FnMut(&str) -> Result<(), LoginRejectStatus>,
    ) -> Result<(u8, Vec<u8>), LoginError> {
        let header = &pdu.header;
        let (now, next) = self.stages(header)?;
        text::collect(&mut self.text, &pdu.data)?;
        if header.flags() & CONTINUES != 0 {
            return Ok((now << 2, Vec::new()));
        }
        let text = std::mem::take(&mut self.text);
        let mut out = Vec::new();
        let is_first = self.names.initiator.is_none();
        for (key, value) in text::parse(&text)? {
            self.key(key, value, &mut out)?;
        }
        if is_first {
            self.admit(may_use, &mut out)?;
        }
        if now == 1 && !self.is_declared {
            self.is_declared = true;
            let longest = super::pdu::DATA_BYTES_MAX.to_string();
            text::add(&mut out, "MaxRecvDataSegmentLength", &longest);
        }
        let flags = match next {
            Some(next) => TRANSIT | now << 2 | next,
            None => now << 2,
        };
        self.stage = Some(next.unwrap_or(now));
        Ok((flags, out))
    }

    /// Checks the stages of a login PDU. Returns the current stage, and the next stage if the PDU
    /// requests a transition.
    fn stages(&self, header: &Header) -> Result<(u8, Option<u8>), LoginError> {
        let wrong = || LoginError::Refused(LoginRejectStatus::Initiator);
        // Refuses an initiator whose lowest version is above 0, the only version of this target.
        if header.0[3] > 0 {
            return Err(LoginError::Refused(LoginRejectStatus::Version));
        }
        // Refuses a first PDU whose TSIH is not 0: the initiator would join an existing session.
        if self.exchanges == 1 && header.0[14..16] != [0, 0] {
            return Err(LoginError::Refused(LoginRejectStatus::NoSession));
        }
        if self.exchanges > EXCHANGES_MAX {
            return Err(wrong());
        }
        let flags = header.flags();
        let now = flags >> 2 & 3;
        let is_due = self.stage.map_or(now <= 1, |stage| stage == now);
        if !is_due || (flags & TRANSIT != 0 && flags & CONTINUES != 0) {
            return Err(wrong());
        }
        match (flags & TRANSIT != 0, now, flags & 3) {
            (false, ..) => Ok((now, None)),
            (true, 0, next @ (1 | 3)) | (true, 1, next @ 3) => Ok((now, Some(next))),
            _ => Err(wrong()),
        }
    }

    fn key(&mut self, key: &str, value: &str, out: &mut Vec<u8>) -> Result<(), LoginError> {
        let name = || match value.len() {
            1..=NAME_BYTES_MAX => Ok(Some(value.to_owned())),
            _ => Err(LoginError::Refused(LoginRejectStatus::Initiator)),
        };
        match key {
            "InitiatorName" => self.names.initiator = name()?,
            "TargetName" => self.names.target = name()?,
            "SessionType" => self.names.is_discovery = value == "Discovery",
            "AuthMethod" if value.split(',').any(|method| method == "None") => {
                text::add(out, "AuthMethod", "None");
            }
            "AuthMethod" => return Err(LoginError::Refused(LoginRejectStatus::Authentication)),
            _ => {
                let replied = self.parameters.take(key, value)?;
                if let Some(replied) = replied {
                    text::add(out, key, &replied);
                }
            }
        }
        Ok(())
    }

    fn admit(
        &mut self,
        may_use: &mut dyn FnMut(&str) -> Result<(), LoginRejectStatus>,
        out: &mut Vec<u8>,
    ) -> Result<(), LoginError> {
        let missing = || LoginError::Refused(LoginRejectStatus::Missing);
        if self.names.initiator.is_none() {
            return Err(missing());
        }
        if self.names.is_discovery {
            return Ok(());
        }
        let target = self.names.target.as_deref().ok_or_else(missing)?;
        may_use(target).map_err(LoginError::Refused)?;
        text::add(out, "TargetPortalGroupTag", &GROUP.to_string());
        Ok(())
    }

    fn reply(
        &mut self,
        header: &Header,
        flags: u8,
        keys: &[u8],
        out: &mut dyn Write,
    ) -> Result<Option<LoggedInSession>, IscsiError> {
        let is_begun = flags & TRANSIT != 0 && flags & 3 == 3;
        let mut reply = self.response(header, flags);
        if is_begun {
            let [high, low] = self.session.to_be_bytes();
            reply = reply.byte(14, high).byte(15, low);
        }
        reply.write(keys, out)?;
        self.stat_sn = self.stat_sn.wrapping_add(1);
        if !is_begun {
            return Ok(None);
        }
        let mut isid = [0; 6];
        isid.copy_from_slice(&header.0[8..14]);
        let initiator = self.names.initiator.take().unwrap_or_default();
        Ok(Some(LoggedInSession {
            target: self
                .names
                .target
                .take()
                .filter(|_| !self.names.is_discovery),
            initiator: (initiator, isid),
            parameters: self.parameters,
            stat_sn: self.stat_sn,
            command_sn: header.word(24),
            connection: u16::from_be_bytes([header.0[20], header.0[21]]),
        }))
    }

    fn response(&self, header: &Header, flags: u8) -> IscsiResponseHeader {
        let command_sn = header.word(24);
        IscsiResponseHeader::new(opcode::LOGIN_RESPONSE, flags)
            .same(header, 8..20)
            .word(24, self.stat_sn)
            .word(28, command_sn)
            .word(32, command_sn.wrapping_add(WINDOW - 1))
    }
}

enum LoginError {
    Refused(LoginRejectStatus),
    Broken(IscsiError),
}

impl From<IscsiError> for LoginError {
    fn from(broken: IscsiError) -> LoginError {
        LoginError::Broken(broken)
    }
}
