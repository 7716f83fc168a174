//! The gateway's side of a tunnel ([MS-TSGU] 3.2.5): what its packets ask for, in their order.

use super::packet::{Kind, Malformed, Packet};
use super::{Code, reply};

/// The bit of a client's capabilities that says it can authenticate again.
const CAPABLE_OF_REAUTH: u32 = 0x10;

/// What a client gets with its authorisation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Which devices are redirected ([MS-TSGU] 2.2.10.5): 0x80000000 allows all.
    pub redirection: u32,
    /// Without traffic for so long the tunnel ends, minutes; 0: never.
    pub idle_minutes: u32,
}

/// What a packet asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Nothing: a sign of life.
    Nothing,
    /// These bytes are for the client.
    Reply(Vec<u8>),
    /// These bytes are for the client, and then it ends.
    Refuse(Vec<u8>, Code),
    /// Whether the client may have a tunnel: [`Tunnel::admit`] answers.
    Admit {
        /// Its cookie, if it has one.
        cookie: Option<String>,
        /// The tunnel that is authenticated again, if it is for one.
        reauthenticates: Option<u64>,
    },
    /// Whether the tunnel may be used: [`Tunnel::authorise`] answers.
    Authorise {
        /// The name of the client's machine.
        machine: String,
    },
    /// A connection to a host: [`Tunnel::connect`] answers.
    Connect {
        /// The names of the host.
        names: Vec<String>,
        /// Its port.
        port: u16,
    },
    /// These bytes are for the host.
    Data(Vec<u8>),
    /// The client ends the channel.
    Close,
}

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Handshake,
    Create,
    /// The answer to a request of this kind.
    Answer(Kind),
    Authorise,
    Channel,
    Open,
    Closed,
}

/// The gateway's side of a tunnel.
#[derive(Debug)]
pub struct Tunnel {
    phase: Phase,
    /// The client has authenticated in HTTP.
    is_known: bool,
    capabilities: u32,
}

impl Tunnel {
    /// A tunnel whose client has authenticated in HTTP, or has to do so with a cookie.
    pub fn new(is_known: bool) -> Tunnel {
        Tunnel {
            phase: Phase::Handshake,
            is_known,
            capabilities: 0,
        }
    }

    /// Whether the channel is open.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the client can authenticate again.
    pub fn can_reauthenticate(&self) -> bool {
        self.capabilities & CAPABLE_OF_REAUTH != 0
    }

    /// Takes a packet of the client.
    ///
    /// # Errors
    /// It is not due.
    pub fn handle(&mut self, packet: Packet) -> Result<Asked, Malformed> {
        let kind = packet.kind();
        let (asked, next) = match (self.phase, packet) {
            (Phase::Closed, _) => return Err(Malformed::OutOfOrder { kind }),
            (_, Packet::KeepAlive) => return Ok(Asked::Nothing),
            (
                Phase::Handshake,
                Packet::Handshake {
                    major,
                    authentication,
                },
            ) => self.handshake(major, authentication),
            (
                Phase::Create,
                Packet::TunnelCreate {
                    capabilities,
                    cookie,
                    reauthenticates,
                },
            ) => {
                self.capabilities = capabilities;
                let asked = Asked::Admit {
                    cookie,
                    reauthenticates,
                };
                (asked, Phase::Answer(kind))
            }
            (Phase::Authorise, Packet::TunnelAuthorise { machine }) => {
                (Asked::Authorise { machine }, Phase::Answer(kind))
            }
            (Phase::Channel, Packet::ChannelCreate { names, port }) => {
                (Asked::Connect { names, port }, Phase::Answer(kind))
            }
            (Phase::Open, Packet::Data(bytes)) => return Ok(Asked::Data(bytes)),
            (Phase::Channel | Phase::Open, Packet::Close | Packet::Closed) => {
                (Asked::Close, Phase::Closed)
            }
            _ => return Err(Malformed::OutOfOrder { kind }),
        };
        self.phase = next;
        Ok(asked)
    }

    fn handshake(&self, major: u8, authentication: u16) -> (Asked, Phase) {
        let offers = authentication & reply::AUTHENTICATION_COOKIE != 0;
        let code = match (major, self.is_known || offers) {
            (1, true) => Code::OK,
            (1, false) => Code::UNSUPPORTED_AUTHENTICATION,
            _ => Code::NOT_SUPPORTED,
        };
        let bytes = reply::handshake(code);
        match code {
            Code::OK => (Asked::Reply(bytes), Phase::Create),
            _ => (Asked::Refuse(bytes, code), Phase::Closed),
        }
    }

    /// The response to [`Asked::Admit`], with the number of the tunnel.
    pub fn admit(&mut self, answer: Result<u32, Code>) -> Vec<u8> {
        self.answer(answer.is_ok(), Phase::Authorise);
        reply::tunnel(answer)
    }

    /// The response to [`Asked::Authorise`].
    pub fn authorise(&mut self, answer: Result<Limits, Code>) -> Vec<u8> {
        self.answer(answer.is_ok(), Phase::Channel);
        reply::authorised(answer)
    }

    /// The response to [`Asked::Connect`], with the number of the channel.
    pub fn connect(&mut self, answer: Result<u32, Code>) -> Vec<u8> {
        self.answer(answer.is_ok(), Phase::Open);
        reply::channel(answer)
    }

    fn answer(&mut self, is_good: bool, next: Phase) {
        self.phase = if is_good { next } else { Phase::Closed };
    }
}
