//! Implements the gateway's side of a remote desktop tunnel ([MS-TSGU] 3.2.5): the requests in
//! its packets, and their order.

use super::packet::{Packet, TsguPacketError, TsguPacketType};
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

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TsguRequest {
    Nothing,
    Reply(Vec<u8>),
    /// Send these bytes to the client, then end the tunnel.
    Refuse(Vec<u8>, Code),
    /// The caller decides whether the client may have a tunnel, and calls [`Tunnel::admit`].
    Admit {
        cookie: Option<String>,
        /// Id of the tunnel that is re-authenticated, if any.
        reauthenticates: Option<u64>,
    },
    /// The caller decides whether the client may use the tunnel, and calls [`Tunnel::authorise`].
    Authorise {
        machine: String,
    },
    /// The caller connects to a host, and calls [`Tunnel::connect`].
    Connect {
        names: Vec<String>,
        port: u16,
    },
    Data(Vec<u8>),
    Close,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TunnelPhase {
    Handshake,
    Create,
    /// The caller has not yet responded to a request of this kind.
    Answer(TsguPacketType),
    Authorise,
    Channel,
    Open,
    Closed,
}

/// State of the gateway's side of a tunnel.
#[derive(Debug)]
pub struct Tunnel {
    phase: TunnelPhase,
    is_known: bool,
    capabilities: u32,
}

impl Tunnel {
    /// Creates a tunnel. `is_known`: the client has already authenticated in HTTP; otherwise it
    /// must do so with a cookie.
    pub fn new(is_known: bool) -> Tunnel {
        Tunnel {
            phase: TunnelPhase::Handshake,
            is_known,
            capabilities: 0,
        }
    }

    pub fn is_open(&self) -> bool {
        self.phase == TunnelPhase::Open
    }

    pub fn can_reauthenticate(&self) -> bool {
        self.capabilities & CAPABLE_OF_REAUTH != 0
    }

    /// Handles a packet of the client.
    ///
    /// # Errors
    /// The packet is out of order.
    pub fn handle(&mut self, packet: Packet) -> Result<TsguRequest, TsguPacketError> {
        let kind = packet.kind();
        let (asked, next) = match (self.phase, packet) {
            (TunnelPhase::Closed, _) => return Err(TsguPacketError::OutOfOrder { kind }),
            (_, Packet::KeepAlive) => return Ok(TsguRequest::Nothing),
            (
                TunnelPhase::Handshake,
                Packet::Handshake {
                    major,
                    authentication,
                },
            ) => self.handshake(major, authentication),
            (
                TunnelPhase::Create,
                Packet::TunnelCreate {
                    capabilities,
                    cookie,
                    reauthenticates,
                },
            ) => {
                self.capabilities = capabilities;
                let asked = TsguRequest::Admit {
                    cookie,
                    reauthenticates,
                };
                (asked, TunnelPhase::Answer(kind))
            }
            (TunnelPhase::Authorise, Packet::TunnelAuthorise { machine }) => (
                TsguRequest::Authorise { machine },
                TunnelPhase::Answer(kind),
            ),
            (TunnelPhase::Channel, Packet::ChannelCreate { names, port }) => (
                TsguRequest::Connect { names, port },
                TunnelPhase::Answer(kind),
            ),
            (TunnelPhase::Open, Packet::Data(bytes)) => return Ok(TsguRequest::Data(bytes)),
            (TunnelPhase::Channel | TunnelPhase::Open, Packet::Close | Packet::Closed) => {
                (TsguRequest::Close, TunnelPhase::Closed)
            }
            _ => return Err(TsguPacketError::OutOfOrder { kind }),
        };
        self.phase = next;
        Ok(asked)
    }

    fn handshake(&self, major: u8, authentication: u16) -> (TsguRequest, TunnelPhase) {
        let offers = authentication & reply::AUTHENTICATION_COOKIE != 0;
        let code = match (major, self.is_known || offers) {
            (1, true) => Code::OK,
            (1, false) => Code::UNSUPPORTED_AUTHENTICATION,
            _ => Code::NOT_SUPPORTED,
        };
        let bytes = reply::handshake(code);
        match code {
            Code::OK => (TsguRequest::Reply(bytes), TunnelPhase::Create),
            _ => (TsguRequest::Refuse(bytes, code), TunnelPhase::Closed),
        }
    }

    /// Returns the response to [`TsguRequest::Admit`], with the id of the tunnel.
    pub fn admit(&mut self, answer: Result<u32, Code>) -> Vec<u8> {
        self.answer(answer.is_ok(), TunnelPhase::Authorise);
        reply::tunnel(answer)
    }

    /// Returns the response to [`TsguRequest::Authorise`].
    pub fn authorise(&mut self, answer: Result<Limits, Code>) -> Vec<u8> {
        self.answer(answer.is_ok(), TunnelPhase::Channel);
        reply::authorised(answer)
    }

    /// Returns the response to [`TsguRequest::Connect`], with the id of the channel.
    pub fn connect(&mut self, answer: Result<u32, Code>) -> Vec<u8> {
        self.answer(answer.is_ok(), TunnelPhase::Open);
        reply::channel(answer)
    }

    fn answer(&mut self, is_good: bool, next: TunnelPhase) {
        self.phase = if is_good { next } else { TunnelPhase::Closed };
    }
}
