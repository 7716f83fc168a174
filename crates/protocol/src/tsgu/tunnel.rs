//! The gateway's side of a tunnel ([MS-TSGU] 3.2.5): the requests in its packets, and their order.

use super::packet::{Kind, Malformed, Packet};
use super::{Code, reply};

/// Capability bit of a client that can re-authenticate.
const CAPABLE_OF_REAUTH: u32 = 0x10;

/// Limits that a client gets with its authorisation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Redirected devices ([MS-TSGU] 2.2.10.5): 0x80000000 allows all.
    pub redirection: u32,
    /// Idle timeout of the tunnel in minutes; 0: none.
    pub idle_minutes: u32,
}

/// Request in a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Nothing: a keep-alive.
    Nothing,
    /// Send these bytes to the client.
    Reply(Vec<u8>),
    /// Send these bytes to the client, then end the tunnel.
    Refuse(Vec<u8>, Code),
    /// May the client have a tunnel? [`Tunnel::admit`] responds.
    Admit {
        /// Cookie of the client, if it sent one.
        cookie: Option<String>,
        /// Id of the tunnel that is re-authenticated, if any.
        reauthenticates: Option<u64>,
    },
    /// May the tunnel be used? [`Tunnel::authorise`] responds.
    Authorise {
        /// Name of the client's machine.
        machine: String,
    },
    /// Connect to a host: [`Tunnel::connect`] responds.
    Connect {
        /// Names of the host.
        names: Vec<String>,
        /// Port of the host.
        port: u16,
    },
    /// Send these bytes to the host.
    Data(Vec<u8>),
    /// The client ends the channel.
    Close,
}

/// Expected next step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Handshake,
    Create,
    /// The response to a request of this kind.
    Answer(Kind),
    Authorise,
    Channel,
    Open,
    Closed,
}

/// State of the gateway's side of a tunnel.
#[derive(Debug)]
pub struct Tunnel {
    phase: Phase,
    /// The client has authenticated in HTTP.
    is_known: bool,
    capabilities: u32,
}

impl Tunnel {
    /// Creates a tunnel. `is_known`: its client has authenticated in HTTP; otherwise it must do so
    /// with a cookie.
    pub fn new(is_known: bool) -> Tunnel {
        Tunnel {
            phase: Phase::Handshake,
            is_known,
            capabilities: 0,
        }
    }

    /// Returns whether the channel is open.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Returns whether the client can re-authenticate.
    pub fn can_reauthenticate(&self) -> bool {
        self.capabilities & CAPABLE_OF_REAUTH != 0
    }

    /// Handles a packet of the client.
    ///
    /// # Errors
    /// The packet is out of order.
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

    /// Returns the response to [`Asked::Admit`], with the id of the tunnel.
    pub fn admit(&mut self, answer: Result<u32, Code>) -> Vec<u8> {
        self.answer(answer.is_ok(), Phase::Authorise);
        reply::tunnel(answer)
    }

    /// Returns the response to [`Asked::Authorise`].
    pub fn authorise(&mut self, answer: Result<Limits, Code>) -> Vec<u8> {
        self.answer(answer.is_ok(), Phase::Channel);
        reply::authorised(answer)
    }

    /// Returns the response to [`Asked::Connect`], with the id of the channel.
    pub fn connect(&mut self, answer: Result<u32, Code>) -> Vec<u8> {
        self.answer(answer.is_ok(), Phase::Open);
        reply::channel(answer)
    }

    fn answer(&mut self, is_good: bool, next: Phase) {
        self.phase = if is_good { next } else { Phase::Closed };
    }
}
