//! Messages of a machine that belongs to a cluster: what its control role asks of
//! the supervisor, and what a proxy role is told of versions on trial.

use super::codec::{DecodeError, Reader, Writer};
use super::message::{Message, Take};
use super::{PATH_BYTES_MAX, WORDS_BYTES_MAX};

/// Leases that are told of in one message.
pub const LEASES_MAX: usize = 512;
/// Bytes of a lease's name.
pub const LEASE_NAME_BYTES_MAX: usize = 128;

/// What a control role runs with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunControl {
    /// Its state directory.
    pub directory: Vec<u8>,
    /// Where operators find it.
    pub socket: Vec<u8>,
}

/// A version on trial, and the one that serves until then: it is kept built, so that
/// it can serve again at once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TakeTrial {
    /// The version on trial.
    pub take: Take,
    /// The version that is gone back to.
    pub former: Take,
}

/// A lease that this machine holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeldLease {
    /// Its name.
    pub name: String,
    /// Its epoch.
    pub epoch: u64,
    /// Until when, nanoseconds of CLOCK_BOOTTIME; zero: it is not held.
    pub until_ns: u64,
}

/// A lease that something of this machine wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WantedLease {
    /// Its name.
    pub name: String,
    /// How well this machine could use it, or does.
    pub rank: u32,
}

impl RunControl {
    pub(super) fn write(&self, to: &mut Writer) {
        to.slice(&self.directory, PATH_BYTES_MAX);
        to.slice(&self.socket, PATH_BYTES_MAX);
    }

    fn read(from: &mut Reader<'_>) -> Result<RunControl, DecodeError> {
        Ok(RunControl {
            directory: from.bytes("state directory", PATH_BYTES_MAX)?,
            socket: from.bytes("socket", PATH_BYTES_MAX)?,
        })
    }
}

impl TakeTrial {
    pub(super) fn write(&self, to: &mut Writer) {
        // What stands at the end of a plan is of address roles, which are told of
        // no trial.
        self.take.write(to);
        self.former.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<TakeTrial, DecodeError> {
        Ok(TakeTrial {
            take: Take::read(from)?,
            former: Take::read(from)?,
        })
    }
}

pub(super) fn write(message: &Message, to: &mut Writer) {
    match message {
        Message::RunControl(run) => run.write(to),
        Message::CheckSet { ask } | Message::AcceptSet { ask } | Message::RevertSet { ask } => {
            to.u64(*ask)
        }
        Message::ServeSet { ask, trial } => {
            to.u64(*ask);
            to.bool(*trial);
        }
        Message::SetAnswer {
            ask,
            good,
            together,
        } => {
            to.u64(*ask);
            to.bool(*good);
            to.bool(*together);
        }
        Message::HoldLeases(leases) => to.list(leases, LEASES_MAX, |to, lease| {
            to.text(&lease.name, LEASE_NAME_BYTES_MAX);
            to.u64(lease.epoch);
            to.u64(lease.until_ns);
        }),
        Message::WantsLeases(wanted) => to.list(wanted, LEASES_MAX, |to, lease| {
            to.text(&lease.name, LEASE_NAME_BYTES_MAX);
            to.u32(lease.rank);
        }),
        Message::HandOverLease { name } => to.text(name, LEASE_NAME_BYTES_MAX),
        Message::WentBack { words } => to.text(words, WORDS_BYTES_MAX),
        Message::TakeTrial(trial) => trial.write(to),
        _ => {}
    }
}

/// Reads the messages of these kinds.
pub(super) fn read(kind: u16, from: &mut Reader<'_>) -> Result<Message, DecodeError> {
    Ok(match kind {
        60 => Message::RunControl(Box::new(RunControl::read(from)?)),
        61 => Message::CheckSet { ask: from.u64()? },
        62 => Message::ServeSet {
            ask: from.u64()?,
            trial: from.bool("trial")?,
        },
        63 => Message::AcceptSet { ask: from.u64()? },
        64 => Message::RevertSet { ask: from.u64()? },
        65 => Message::SetAnswer {
            ask: from.u64()?,
            good: from.bool("good")?,
            together: from.bool("together")?,
        },
        66 => Message::TellHealth,
        67 => Message::Health,
        68 => Message::HoldLeases(from.list("leases", LEASES_MAX, |from| {
            Ok(HeldLease {
                name: from.words("lease", LEASE_NAME_BYTES_MAX)?,
                epoch: from.u64()?,
                until_ns: from.u64()?,
            })
        })?),
        69 => Message::WantsLeases(from.list("leases", LEASES_MAX, |from| {
            Ok(WantedLease {
                name: from.words("lease", LEASE_NAME_BYTES_MAX)?,
                rank: from.u32()?,
            })
        })?),
        70 => Message::WentBack {
            words: from.words("words", WORDS_BYTES_MAX)?,
        },
        71 => Message::StopControl,
        72 => Message::TakeTrial(Box::new(TakeTrial::read(from)?)),
        73 => Message::EndTrial,
        74 => Message::Revert,
        75 => Message::TrialEnded,
        _ => Message::HandOverLease {
            name: from.words("lease", LEASE_NAME_BYTES_MAX)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{Decoded, HEADER_BYTES, Plan};

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
