//! Defines the messages between the boot roles of two nodes: leases and activities of the holder of
//! parts, and confirmations of the receiver. Reads their frames within bounds.

use crate::dhcp::mirror::LeaseCopyMessage;
use crate::site::MachineActivity;
use nodes::{NodeConnectionError, NodeProtocol, frame};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

/// Protocol version. Nodes with different versions do not exchange leases.
pub(super) const PROTOCOL: NodeProtocol = NodeProtocol {
    subject: "leases",
    port: super::PORT,
    signs: *b"EKBT",
    version: 3,
};
/// Longest frame, bytes: larger than a message with the most changes.
const FRAME_BYTES_MAX: usize = 512 << 10;
const DEPTH_MAX: usize = 16;

/// Message of the holder of parts.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) enum HolderMessage {
    /// Leases of a part of a network.
    Told {
        /// Name of the network's section.
        network: String,
        /// The part and its changes.
        told: LeaseCopyMessage,
    },
    /// Activities of the holder for machines. Sent only to a node that has sent
    /// [`ReceiverMessage::Known`] with `reads_activities`: others would end the connection.
    Did {
        /// Name of the network's section.
        network: String,
        activities: Vec<MachineActivity>,
    },
    /// Keep-alive message of the holder.
    Ping,
}

/// Message to the holder of parts.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) enum ReceiverMessage {
    /// Everything of the part up to this number is on the disk of the sender of this message.
    Known {
        /// Name of the network's section.
        network: String,
        part: usize,
        epoch: u64,
        /// Number of the last message.
        number: u64,
        /// True if the sender accepts [`HolderMessage::Did`].
        #[serde(default)]
        reads_activities: bool,
    },
    /// Keep-alive message of the receiver of leases.
    Ping,
}

pub(super) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<T, NodeConnectionError> {
    frame::read(stream, FRAME_BYTES_MAX, DEPTH_MAX).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::mirror::LeaseCopyContent;
    use crate::dhcp::pool::{Holder, HolderChange};
    use crate::mac::Mac;
    use crate::site::{ACTIVITIES_MAX, AnsweredRequest, WORDS_MAX};
    use record::CHANGES_MAX;
    use std::net::{IpAddr, Ipv6Addr};

    fn runtime() -> tokio::runtime::Runtime {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().unwrap()
    }

    fn encoded(said: &HolderMessage) -> Vec<u8> {
        let mut bytes = Vec::new();
        runtime().block_on(frame::write(&mut bytes, said)).unwrap();
        bytes
    }

    fn decoded(mut bytes: &[u8]) -> Result<HolderMessage, NodeConnectionError> {
        runtime().block_on(read(&mut bytes))
    }

    fn told(count: usize) -> HolderMessage {
        let change = |number: usize| HolderChange {
            address: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX - number as u128)),
            holder: Holder::Client(Mac([0xfe; 6])),
        };
        HolderMessage::Told {
            network: "n".repeat(64),
            told: LeaseCopyMessage {
                part: 63,
                epoch: u64::MAX,
                number: u64::MAX,
                content: LeaseCopyContent::Changes((0..count).map(change).collect()),
            },
        }
    }

    fn did() -> HolderMessage {
        let words = || "\u{1f5a5}".repeat(WORDS_MAX);
        let activity = MachineActivity {
            mac: Mac([0xfe; 6]),
            last: Some(AnsweredRequest {
                age_ms: u64::MAX,
                asked: words(),
                answered: words(),
            }),
            booted: Some((words(), u64::MAX)),
        };
        HolderMessage::Did {
            network: "n".repeat(64),
            activities: vec![activity; ACTIVITIES_MAX],
        }
    }

    #[test]
    fn a_node_of_before_is_not_told_what_was_done_for_machines() {
        #[derive(Serialize)]
        enum Before {
            Known {
                network: String,
                part: usize,
                epoch: u64,
                number: u64,
            },
        }
        let known = Before::Known {
            network: "lan".to_owned(),
            part: 1,
            epoch: 2,
            number: 3,
        };
        let mut bytes = Vec::new();
        runtime()
            .block_on(frame::write(&mut bytes, &known))
            .unwrap();
        let heard: ReceiverMessage = runtime().block_on(read(&mut &*bytes)).unwrap();
        let reads =
            matches!(heard, ReceiverMessage::Known { reads_activities, .. } if reads_activities);
        assert!(!reads && matches!(heard, ReceiverMessage::Known { part: 1, .. }));
    }

    #[test]
    fn message_about_leases_has_the_bytes_of_earlier_versions() {
        #[derive(Serialize)]
        enum EarlierHolderMessage {
            Told {
                network: &'static str,
                told: EarlierMessage,
            },
        }
        #[derive(Serialize)]
        struct EarlierMessage {
            part: usize,
            epoch: u64,
            number: u64,
            said: EarlierContent,
        }
        #[derive(Serialize)]
        enum EarlierContent {
            Begin(u64),
            Changes([EarlierChange; 1]),
            Whole,
        }
        #[derive(Serialize)]
        struct EarlierChange {
            address: IpAddr,
            holder: Holder,
        }
        let (address, holder) = (IpAddr::from([10, 0, 0, 7]), Holder::Client(Mac([2; 6])));
        let change = HolderChange { address, holder };
        let earlier_change = EarlierChange { address, holder };
        for (content, said) in [
            (LeaseCopyContent::Begin(5), EarlierContent::Begin(5)),
            (
                LeaseCopyContent::Changes(vec![change]),
                EarlierContent::Changes([earlier_change]),
            ),
            (LeaseCopyContent::Whole, EarlierContent::Whole),
        ] {
            let (part, epoch, number) = (1, 2, 3);
            let earlier = EarlierHolderMessage::Told {
                network: "lan",
                told: EarlierMessage {
                    part,
                    epoch,
                    number,
                    said,
                },
            };
            let message = HolderMessage::Told {
                network: "lan".to_owned(),
                told: LeaseCopyMessage {
                    part,
                    epoch,
                    number,
                    content,
                },
            };
            let mut bytes = Vec::new();
            let wrote = frame::write(&mut bytes, &earlier);
            runtime().block_on(wrote).unwrap();
            assert_eq!(encoded(&message), bytes);
        }
    }

    #[test]
    fn a_frame_is_the_same_at_the_other_end_and_has_room_for_the_longest_message() {
        for said in [
            HolderMessage::Ping,
            told(0),
            told(3),
            told(CHANGES_MAX),
            did(),
        ] {
            assert_eq!(decoded(&encoded(&said)).unwrap(), said);
        }
    }
}
