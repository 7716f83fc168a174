//! What concerns virtual addresses in messages: what a version has of them, and
//! what the address role is given.

use super::codec::{DecodeError, Reader, Writer};
use super::message::{Message, Personality};
use super::{PATH_BYTES_MAX, WORDS_BYTES_MAX};

/// The longest name of an instance in a message, bytes.
pub const ADDRESS_NAME_BYTES_MAX: usize = 1_024;

/// What a version has of virtual addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AddressLog {
    /// To standard error.
    pub console: bool,
    /// To the system's log, with this facility.
    pub facility: Option<u8>,
    /// To a file.
    pub file: Option<Vec<u8>>,
    /// Each line is written through (`--flush-log-file`).
    pub flush: bool,
    /// With all details.
    pub detail: bool,
}

/// What the address role is to run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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
    pub dump_directory: Vec<u8>,
}

/// A dump that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

impl AddressPlan {
    pub(super) fn write(&self, to: &mut Writer) {
        to.bool(self.alone);
        to.u32(self.instances);
        to.u32(self.addresses);
        to.u64(self.capabilities);
        to.bool(self.programs);
        to.u64(self.stop_ms);
        to.option(self.namespace.as_ref(), |to, name| {
            to.text(name, PATH_BYTES_MAX);
        });
        to.bool(self.together);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<AddressPlan, DecodeError> {
        Ok(AddressPlan {
            alone: from.bool("alone")?,
            instances: from.u32()?,
            addresses: from.u32()?,
            capabilities: from.u64()?,
            programs: from.bool("programs")?,
            stop_ms: from.u64()?,
            namespace: from.option("namespace", |from| from.text("namespace", PATH_BYTES_MAX))?,
            together: from.bool("together")?,
        })
    }
}

impl AddressLog {
    fn write(&self, to: &mut Writer) {
        to.bool(self.console);
        to.option(self.facility.as_ref(), |to, facility| to.u8(*facility));
        to.option(self.file.as_ref(), |to, path| {
            to.slice(path, PATH_BYTES_MAX);
        });
        to.bool(self.flush);
        to.bool(self.detail);
    }

    fn read(from: &mut Reader<'_>) -> Result<AddressLog, DecodeError> {
        Ok(AddressLog {
            console: from.bool("console")?,
            facility: from.option("facility", Reader::u8)?,
            file: from.option("log file", |from| from.bytes("log file", PATH_BYTES_MAX))?,
            flush: from.bool("flush")?,
            detail: from.bool("detail")?,
        })
    }
}

impl TakeAddresses {
    pub(super) fn write(&self, to: &mut Writer) {
        to.u64(self.version);
        self.personality.write(to);
        to.bool(self.keep);
        to.bool(self.vitals);
        to.slice(&self.dump_directory, PATH_BYTES_MAX);
        self.log.write(to);
        self.plan.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<TakeAddresses, DecodeError> {
        Ok(TakeAddresses {
            version: from.u64()?,
            personality: Personality::read(from)?,
            keep: from.bool("keep")?,
            vitals: from.bool("vitals")?,
            dump_directory: from.bytes("dump directory", PATH_BYTES_MAX)?,
            log: AddressLog::read(from)?,
            plan: AddressPlan::read(from)?,
        })
    }

    /// Descriptors that go with it.
    pub fn descriptors(&self) -> usize {
        1 + usize::from(self.keep) + usize::from(self.vitals)
    }
}

impl AddressDump {
    pub(super) fn write(self, to: &mut Writer) {
        to.u8(match self {
            AddressDump::Data => 0,
            AddressDump::Statistics => 1,
            AddressDump::ClearStatistics => 2,
            AddressDump::Json => 3,
        });
    }

    fn read(from: &mut Reader<'_>) -> Result<AddressDump, DecodeError> {
        match from.u8()? {
            0 => Ok(AddressDump::Data),
            1 => Ok(AddressDump::Statistics),
            2 => Ok(AddressDump::ClearStatistics),
            3 => Ok(AddressDump::Json),
            _ => Err(DecodeError::Value("dump")),
        }
    }
}

/// Reads the messages of these kinds.
pub(super) fn read(kind: u16, from: &mut Reader<'_>) -> Result<Message, DecodeError> {
    Ok(match kind {
        40 => Message::TakeAddresses(Box::new(TakeAddresses::read(from)?)),
        41 => Message::TellAddresses,
        42 => Message::Addresses,
        43 => Message::HandOverAddresses {
            name: from.option("name", |from| from.words("name", ADDRESS_NAME_BYTES_MAX))?,
            drain_ms: from.option("drain", Reader::u64)?,
        },
        44 => Message::AddressesHandedOver {
            moves: from.bool("moves")?,
            words: from.words("words", WORDS_BYTES_MAX)?,
        },
        45 => Message::DumpAddresses {
            dump: AddressDump::read(from)?,
        },
        46 => Message::StopAddresses {
            release: from.bool("release")?,
        },
        47 => Message::Vitals,
        48 => Message::TellPulse,
        49 => Message::Pulse,
        _ => Message::TakeFiles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{Decoded, Load, Plan, Take};

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

    #[test]
    fn a_plan_of_a_program_before_has_none() {
        let message = Message::Loaded(Box::default());
        let bytes = message.encode(0);
        // Nor external checks, whose list has four bytes.
        for less in [4, 5] {
            let before = Message::decode(&bytes[..bytes.len() - less]);
            assert_eq!(before, Ok(Decoded::Message(message.clone())));
        }
    }
}
