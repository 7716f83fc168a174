//! Follows the login of an RDP client over TLS on the server side, from the first packet until
//! the client has sent the name of its user.

use super::gcc::{CHANNELS_MAX, Conference, IO_CHANNEL};
use super::mcs::{self, Attached};
use super::{PACKET_BYTES_MAX, Pdu, RdpPacketError, TpktFrame, frame, info};

/// User id that each client gets.
const USER: u16 = 1007;
/// Maximum number of packets before the Client Info: three, and a join request for each channel,
/// including the client's own and that of input.
const PACKETS_MAX: usize = 3 + CHANNELS_MAX + 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RdpAcceptorPhase {
    Connect,
    Erect,
    Attach,
    Attached,
}

/// Server side of a client's login, until the client has sent the name of its user.
#[derive(Clone, Debug)]
pub struct Acceptor {
    requested: u32,
    phase: RdpAcceptorPhase,
    conference: Conference,
    packets: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logon {
    /// Domain as sent by the client; often empty.
    pub domain: String,
    pub user: String,
    pub client_name: String,
    pub follows: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RdpAcceptorStep {
    Read,
    Known(Logon),
}

impl Acceptor {
    /// Creates an acceptor for a client that requested these protocols in its Connection Request.
    pub fn new(requested: u32) -> Acceptor {
        Acceptor {
            requested,
            phase: RdpAcceptorPhase::Connect,
            conference: Conference::default(),
            packets: 0,
        }
    }

    /// Handles the complete packets in `input`, and appends the responses to `out`.
    ///
    /// # Errors
    /// The client violates the protocol: the connection ends.
    pub fn handle(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<RdpAcceptorStep, RdpPacketError> {
        while let TpktFrame::Complete { packet_bytes } = frame(input, PACKET_BYTES_MAX)? {
            let (packet, rest) = input.split_at(packet_bytes.min(input.len()));
            *input = rest;
            self.packets += 1;
            if self.packets > PACKETS_MAX {
                return Err(RdpPacketError::TooMany { max: PACKETS_MAX });
            }
            if let Some(logon) = self.packet(packet, out)? {
                return Ok(RdpAcceptorStep::Known(logon));
            }
        }
        Ok(RdpAcceptorStep::Read)
    }

    fn packet(
        &mut self,
        packet: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Logon>, RdpPacketError> {
        match self.phase {
            RdpAcceptorPhase::Connect => {
                self.conference = mcs::connect_initial(packet)?;
                mcs::push_connect_response(out, &self.conference, self.requested);
                self.phase = RdpAcceptorPhase::Erect;
            }
            RdpAcceptorPhase::Erect => {
                mcs::erect_domain(packet)?;
                self.phase = RdpAcceptorPhase::Attach;
            }
            RdpAcceptorPhase::Attach => {
                mcs::attach_user(packet)?;
                mcs::push_attach_user_confirm(out, USER);
                self.phase = RdpAcceptorPhase::Attached;
            }
            RdpAcceptorPhase::Attached => match mcs::attached(packet)? {
                Attached::Join(channel) => {
                    if !self.has(channel) {
                        let (pdu, field) = (Pdu::ChannelJoin, "channelId");
                        return Err(RdpPacketError::Field { pdu, field });
                    }
                    mcs::push_channel_join_confirm(out, USER, channel);
                }
                Attached::Data(IO_CHANNEL, data) => {
                    let (domain, user) = info::names(data)?;
                    return Ok(Some(Logon {
                        domain,
                        user,
                        client_name: self.conference.client_name.clone(),
                        follows: self.conference.follows,
                    }));
                }
                Attached::Data(..) => {
                    let (pdu, field) = (Pdu::SendData, "channelId");
                    return Err(RdpPacketError::Field { pdu, field });
                }
            },
        }
        Ok(None)
    }

    fn has(&self, channel: u16) -> bool {
        channel == USER
            || channel == IO_CHANNEL
            || self.conference.channel_ids().any(|id| id == channel)
    }
}
