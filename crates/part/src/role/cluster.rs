//! Messages of a machine that belongs to a cluster: what its control role asks of
//! the supervisor, and what a proxy role is told of versions on trial.

use super::bounded::name;
use super::message::Take;
use serde::{Deserialize, Serialize};

/// Leases that are told of in one message.
pub const LEASES_MAX: usize = 512;
/// Bytes of a lease's name.
pub const LEASE_NAME_BYTES_MAX: usize = 128;

/// What a control role runs with.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct RunControl {
    /// Its state directory.
    #[serde(with = "serde_bytes")]
    pub directory: Vec<u8>,
    /// Where operators find it.
    #[serde(with = "serde_bytes")]
    pub socket: Vec<u8>,
}

/// A version on trial, and the one that serves until then: it is kept built, so that
/// it can serve again at once.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct TakeTrial {
    /// The version on trial.
    pub take: Take,
    /// The version that is gone back to.
    pub former: Take,
}

/// A lease that this machine holds.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct HeldLease {
    /// Its name.
    #[serde(with = "name")]
    pub name: String,
    /// Its epoch.
    pub epoch: u64,
    /// Until when, nanoseconds of CLOCK_BOOTTIME; zero: it is not held.
    pub until_ns: u64,
}

/// A lease that something of this machine wants.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct WantedLease {
    /// Its name.
    #[serde(with = "name")]
    pub name: String,
    /// How well this machine could use it, or does.
    pub rank: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{Decoded, HEADER_BYTES, Message, Plan};

    fn all() -> Vec<Message> {
        let take = |version| Take {
            version,
            plan: Plan {
                difference: "one line".to_owned(),
                ..Plan::default()
            },
            ..Take::default()
        };
        vec![
            Message::RunControl(Box::new(RunControl {
                directory: b"/var/lib/evenkeel".to_vec(),
                socket: b"/run/evenkeel/control.sock".to_vec(),
            })),
            Message::CheckSet { ask: 1 },
            Message::ServeSet {
                ask: 2,
                trial: true,
            },
            Message::AcceptSet { ask: 3 },
            Message::RevertSet { ask: 4 },
            Message::SetAnswer {
                ask: 5,
                good: true,
                together: false,
            },
            Message::TellHealth,
            Message::Health,
            Message::HoldLeases(vec![HeldLease {
                name: "address/www".to_owned(),
                epoch: 3,
                until_ns: u64::MAX,
            }]),
            Message::WantsLeases(vec![WantedLease {
                name: "address/www".to_owned(),
                rank: 220,
            }]),
            Message::WentBack {
                words: "an address had to be taken over".to_owned(),
            },
            Message::StopControl,
            Message::TakeTrial(Box::new(TakeTrial {
                take: take(8),
                former: take(7),
            })),
            Message::EndTrial,
            Message::Revert,
            Message::TrialEnded,
            Message::HandOverLease {
                name: "address/www".to_owned(),
            },
        ]
    }

    #[test]
    fn each_message_is_read_as_it_was_written_and_a_cut_one_is_refused() {
        for message in all() {
            let bytes = message.encode(0);
            let read = Message::decode(&bytes);
            assert_eq!(read, Ok(Decoded::Message(message.clone())));
            for end in HEADER_BYTES..bytes.len() {
                assert!(Message::decode(&bytes[..end]).is_err(), "{message:?} {end}");
            }
        }
    }
}
