//! Defines the errors in the bytes of an RDP client or session host.

use std::fmt;

/// Type of a PDU, for messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pdu {
    /// TPKT, around each packet (RFC 1006).
    Packet,
    ConnectionRequest,
    ConnectionConfirm,
    ConnectInitial,
    /// GCC Conference Create Request, within Connect Initial.
    ConferenceCreateRequest,
    ErectDomain,
    AttachUser,
    ChannelJoin,
    SendData,
    ClientInfo,
    Redirection,
}

impl fmt::Display for Pdu {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Pdu::Packet => "packet",
            Pdu::ConnectionRequest => "X.224 Connection Request",
            Pdu::ConnectionConfirm => "X.224 Connection Confirm",
            Pdu::ConnectInitial => "MCS Connect Initial",
            Pdu::ConferenceCreateRequest => "GCC Conference Create Request",
            Pdu::ErectDomain => "MCS Erect Domain Request",
            Pdu::AttachUser => "MCS Attach User Request",
            Pdu::ChannelJoin => "MCS Channel Join Request",
            Pdu::SendData => "MCS Send Data",
            Pdu::ClientInfo => "Client Info",
            Pdu::Redirection => "Server Redirection",
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RdpPacketError {
    #[error("not RDP: the first byte is {found:#04x}, not 0x03")]
    NotRdp {
        /// First byte of the data.
        found: u8,
    },
    #[error("a packet of {found_bytes} bytes; the maximum is {max_bytes}")]
    TooLong {
        found_bytes: usize,
        max_bytes: usize,
    },
    #[error("the {pdu} is truncated")]
    Truncated { pdu: Pdu },
    #[error("the {pdu} has an invalid {field}")]
    Field {
        pdu: Pdu,
        /// Name of the field in the specification.
        field: &'static str,
    },
    #[error("{found:#04x} instead of the {due}")]
    OutOfOrder {
        due: Pdu,
        /// First byte of the received PDU.
        found: u8,
    },
    /// The client sends packet after packet without its identity.
    #[error("more than {max} packets before the Client Info")]
    TooMany { max: usize },
}
