//! A client behind TLS, from its first packet until it has said whose session it wants.

use super::gcc::{CHANNELS_MAX, Conference, IO_CHANNEL};
use super::mcs::{self, Attached};
use super::{Frame, Malformed, PACKET_BYTES_MAX, Pdu, frame, info};

/// The identifier that each client gets.
const USER: u16 = 1007;
/// Packets before the Client Info: three, and one for each channel, its own and that of input.
const PACKETS_MAX: usize = 3 + CHANNELS_MAX + 2;

/// What a client waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Connect,
    Erect,
    Attach,
    Attached,
}

/// The server's side.
#[derive(Clone, Debug)]
pub struct Acceptor {
    requested: u32,
    phase: Phase,
    conference: Conference,
    packets: usize,
}

/// Who a client is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logon {
    /// The domain, as the client has it; often empty.
    pub domain: String,
    /// The user's name, whole.
    pub user: String,
    /// The name of the client's machine.
    pub client_name: String,
    /// It follows a redirection.
    pub follows: bool,
}

/// What is due now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// More bytes of the client.
    Read,
    /// The client has said who it is, and waits for what follows.
    Known(Logon),
}

impl Acceptor {
    /// A client that requested these protocols in the clear.
    pub fn new(requested: u32) -> Acceptor {
        Acceptor {
            requested,
            phase: Phase::Connect,
            conference: Conference::default(),
            packets: 0,
        }
    }

    /// Takes the packets that are whole from `input`, and appends what the client gets to `out`.
    ///
    /// # Errors
    /// The client does not keep to the protocol: the connection ends.
    pub fn handle(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Step, Malformed> {
        while let Frame::Complete { packet_bytes } = frame(input, PACKET_BYTES_MAX)? {
            let (packet, rest) = input.split_at(packet_bytes.min(input.len()));
            *input = rest;
            self.packets += 1;
            if self.packets > PACKETS_MAX {
                return Err(Malformed::TooMany { max: PACKETS_MAX });
            }
            if let Some(logon) = self.packet(packet, out)? {
                return Ok(Step::Known(logon));
            }
        }
        Ok(Step::Read)
    }

    fn packet(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<Option<Logon>, Malformed> {
        match self.phase {
            Phase::Connect => {
                self.conference = mcs::connect_initial(packet)?;
                mcs::push_connect_response(out, &self.conference, self.requested);
                self.phase = Phase::Erect;
            }
            Phase::Erect => {
                mcs::erect_domain(packet)?;
                self.phase = Phase::Attach;
            }
            Phase::Attach => {
                mcs::attach_user(packet)?;
                mcs::push_attach_user_confirm(out, USER);
                self.phase = Phase::Attached;
            }
            Phase::Attached => match mcs::attached(packet)? {
                Attached::Join(channel) => {
                    if !self.has(channel) {
                        let (pdu, field) = (Pdu::ChannelJoin, "channelId");
                        return Err(Malformed::Field { pdu, field });
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
                    return Err(Malformed::Field { pdu, field });
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
