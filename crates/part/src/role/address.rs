//! What concerns virtual addresses in messages: what a version has of them, and
//! what the address role is given.

use super::message::Personality;
use serde::{Deserialize, Serialize};

/// What a version has of virtual addresses.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct AddressPlan {
    /// There is nothing besides: no proxy is started.
    pub alone: bool,
    /// How many instances (`virtual-ip`, `vrrp_instance`).
    pub instances: u32,
    /// How many addresses they have.
    pub addresses: u32,
    /// Capabilities that the role keeps, as the kernel counts them.
    pub capabilities: u64,
    /// It starts programs as the user of the start, which are to have all of that
    /// user's rights.
    pub programs: bool,
    /// How long a planned stop takes at most, milliseconds.
    pub stop_ms: u64,
    /// The network namespace of the files (`net_namespace`), by its name.
    pub namespace: Option<String>,
    /// What machines must agree on among themselves (router ids, priorities, timers) is
    /// not as in the version before: they change at once or quarrel.
    pub together: bool,
}

/// Where the lines of the address role's log go.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct AddressLog {
    /// To standard error.
    pub console: bool,
    /// To the system's log, with this facility.
    pub facility: Option<u8>,
    /// To a file.
    #[serde(with = "serde_bytes")]
    pub file: Option<Vec<u8>>,
    /// Each line is written through (`--flush-log-file`).
    pub flush: bool,
    /// With all details.
    pub detail: bool,
}

/// What the address role is to run.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct TakeAddresses {
    /// The version's number.
    pub version: u64,
    /// As which program it speaks.
    pub personality: Personality,
    /// What the version says of it.
    pub plan: AddressPlan,
    /// Where its log goes.
    pub log: AddressLog,
    /// The next descriptor is the file in which it keeps its state.
    pub keep: bool,
    /// The last descriptor is the memory of the proxy's heartbeats.
    pub vitals: bool,
    /// Where keepalived's dumps go.
    #[serde(with = "serde_bytes")]
    pub dump_directory: Vec<u8>,
}

/// A dump that is asked for.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressDump {
    /// `keepalived.data`
    Data,
    /// `keepalived.stats`
    Statistics,
    /// `keepalived.stats`; the counters begin at zero then.
    ClearStatistics,
    /// `keepalived.json`
    Json,
}

impl TakeAddresses {
    /// Descriptors that go with it.
    pub fn descriptors(&self) -> usize {
        1 + usize::from(self.keep) + usize::from(self.vitals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{Decoded, Load, Message, Plan, Take};

    fn plan() -> AddressPlan {
        AddressPlan {
            alone: true,
            instances: 3,
            addresses: 9,
            capabilities: 1 << 12,
            programs: true,
            stop_ms: 2_000,
            namespace: Some("blue".to_owned()),
            together: true,
        }
    }

    fn all() -> Vec<Message> {
        vec![
            Message::TakeAddresses(Box::new(TakeAddresses {
                version: 7,
                personality: Personality::Keepalived,
                plan: plan(),
                log: AddressLog {
                    console: true,
                    facility: Some(3),
                    file: Some(b"/var/log/k.log".to_vec()),
                    flush: true,
                    detail: true,
                },
                keep: true,
                vitals: false,
                dump_directory: b"/tmp".to_vec(),
            })),
            Message::TellAddresses,
            Message::Addresses,
            Message::HandOverAddresses {
                name: Some("www".to_owned()),
                drain_ms: Some(5_000),
            },
            Message::AddressesHandedOver {
                moves: true,
                words: "www".to_owned(),
            },
            Message::DumpAddresses {
                dump: AddressDump::ClearStatistics,
            },
            Message::StopAddresses { release: true },
            Message::Vitals,
            Message::TellPulse,
            Message::Pulse,
            Message::TakeFiles,
        ]
    }

    #[test]
    fn each_message_is_read_as_it_was_written_and_a_cut_one_is_refused() {
        for message in all() {
            let bytes = message.encode(0);
            assert_eq!(
                Message::decode(&bytes),
                Ok(Decoded::Message(message.clone()))
            );
            for end in crate::role::HEADER_BYTES..bytes.len() {
                assert!(Message::decode(&bytes[..end]).is_err(), "{message:?} {end}");
            }
        }
    }

    #[test]
    fn a_plan_takes_its_addresses_along_in_whatever_it_is() {
        let with = Plan {
            addresses: Some(plan()),
            ..Plan::default()
        };
        let take = Take {
            plan: with.clone(),
            state: true,
            ..Take::default()
        };
        let load = Load {
            previous: Some(with.clone()),
            ..Load::default()
        };
        for message in [
            Message::Loaded(Box::new(with.clone())),
            Message::Take(Box::new(take.clone())),
            Message::Load(Box::new(load)),
        ] {
            let read = Message::decode(&message.encode(0));
            assert_eq!(read, Ok(Decoded::Message(message)));
        }
        let kept = crate::role::Kept {
            take: take.clone(),
            ..crate::role::Kept::default()
        };
        assert_eq!(
            crate::role::Kept::decode(&kept.encode()).map(|one| one.0),
            Ok(kept)
        );
        let handed = crate::role::HandOver {
            take,
            ..crate::role::HandOver::default()
        };
        assert_eq!(crate::role::HandOver::decode(&handed.encode()), Ok(handed));
    }
}
