//! Encodes and decodes the frames that the farm roles of two nodes send each other.

use crate::agreement::AgreementMessage;
use crate::directory::DirectoryId;
use nodes::NodeProtocol;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

/// Protocol of the connection. Nodes with another version of the protocol do not share their
/// directories.
pub(super) const PROTOCOL: NodeProtocol = NodeProtocol {
    subject: "farms",
    port: super::PORT,
    signs: *b"EKFM",
    version: 4,
};
const FRAME_BYTES_MAX: usize = 512 << 10;
const DEPTH_MAX: usize = 16;
const FARMS_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 64;

/// A frame from one node to another.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum LinkFrame {
    /// Farms of the sender, with their directories. Sent again after each change.
    Farms(Vec<(String, DirectoryId)>),
    Farm {
        from: DirectoryId,
        to: DirectoryId,
        message: AgreementMessage,
    },
    Ping,
    /// The sender stops: no node has to wait for it.
    Leave,
}

#[derive(Debug, thiserror::Error)]
pub enum FarmLinkError {
    /// Error of the network, or a violation of the protocol.
    #[error("{link}{}", consequence(link))]
    Link {
        #[from]
        link: nodes::NodeConnectionError,
    },
    #[error("it has stopped")]
    Left,
    #[error("{0}")]
    Cut(String),
}

fn consequence(broken: &nodes::NodeConnectionError) -> &'static str {
    match broken {
        nodes::NodeConnectionError::Version { .. } => {
            ": each node decides alone until both run the same version"
        }
        _ => "",
    }
}

impl FarmLinkError {
    pub(super) fn refused(why: impl Into<String>) -> FarmLinkError {
        nodes::NodeConnectionError::Refused(why.into()).into()
    }

    pub(super) fn of_link(&self) -> Option<&nodes::NodeConnectionError> {
        match self {
            FarmLinkError::Link { link } => Some(link),
            FarmLinkError::Left | FarmLinkError::Cut(_) => None,
        }
    }

    pub(super) fn silent() -> FarmLinkError {
        nodes::NodeConnectionError::Silent.into()
    }
}

pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<LinkFrame, FarmLinkError> {
    checked(nodes::frame::read(stream, FRAME_BYTES_MAX, DEPTH_MAX).await?)
}

/// Decodes a frame without its length.
///
/// # Errors
/// Returns an error if the frame is invalid or exceeds the bounds.
pub fn decode(bytes: &[u8]) -> Result<LinkFrame, FarmLinkError> {
    checked(nodes::frame::decode(bytes, FRAME_BYTES_MAX, DEPTH_MAX)?)
}

fn checked(frame: LinkFrame) -> Result<LinkFrame, FarmLinkError> {
    match &frame {
        LinkFrame::Farms(farms) if farms.len() > FARMS_MAX => {
            Err(FarmLinkError::refused("too many farms"))
        }
        LinkFrame::Farms(farms) if farms.iter().any(|(name, _)| name.len() > NAME_BYTES_MAX) => {
            Err(FarmLinkError::refused("a farm with a long name"))
        }
        _ => Ok(frame),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<LinkFrame, FarmLinkError> {
        let mut from = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(read(&mut from))
    }

    fn encoded(frame: &LinkFrame) -> Vec<u8> {
        let mut bytes = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let written = runtime.block_on(nodes::frame::write(&mut bytes, frame));
        written.unwrap();
        bytes
    }

    #[test]
    fn a_frame_survives_its_encoding() {
        for frame in [
            LinkFrame::Farms(vec![("office".to_owned(), DirectoryId(7))]),
            LinkFrame::Ping,
            LinkFrame::Farm {
                from: DirectoryId(1),
                to: DirectoryId(2),
                message: AgreementMessage::Whole,
            },
        ] {
            assert_eq!(decoded(&encoded(&frame)).unwrap(), frame);
        }
    }

    #[test]
    fn too_many_farms_and_long_names_are_refused() {
        let is_refused = |frame: &LinkFrame| {
            let refused = decoded(&encoded(frame));
            matches!(
                refused,
                Err(FarmLinkError::Link {
                    link: nodes::NodeConnectionError::Refused(_)
                })
            )
        };
        assert!(is_refused(&LinkFrame::Farms(vec![
            (
                "a".to_owned(),
                DirectoryId(1)
            );
            17
        ])));
        assert!(is_refused(&LinkFrame::Farms(vec![(
            "a".repeat(65),
            DirectoryId(1)
        )])));
    }

    #[test]
    fn another_version_is_refused_with_reason_and_consequence() {
        let mut newer = PROTOCOL.greeting();
        newer[5] = 9;
        let words = FarmLinkError::from(PROTOCOL.check_greeting(newer).unwrap_err()).to_string();
        assert_eq!(
            words,
            "it speaks version 9 of the protocol, and this node version 4: each node decides alone until \
             both run the same version"
        );
    }
}
