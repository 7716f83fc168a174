//! Encodes and decodes the state that a supervisor hands to the program image that replaces it in
//! the same process (execve(2)). Descriptors are numbers, since they stay open. The state travels
//! as a sealed memory file.
//!
//! Older and newer programs read each other's state: fields are only added; otherwise the
//! format number changes, and the reader reports that.

use super::DecodeError;
use super::message::DiagnosticFormat;
use super::take::Take;
use crate::codec;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const HEAD: &[u8] = b"evenkeel hand-over\n";
pub const HAND_OVER_VERSION: u16 = 3;

/// The state that the next program image needs to continue.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct HandOver {
    pub take: Take,
    /// Numbers of the descriptors of the configuration version: its bundle and its sockets.
    pub descriptors: Vec<u32>,
    pub versions: u64,
    /// Soft limit of open files at the start, before it was raised.
    pub files_soft: u64,
    pub quiet: bool,
    pub paused: bool,
    /// True if a signal requested a reload that has not started yet.
    pub asked: bool,
    /// The role that serves, followed by those that finish their connections.
    pub roles: Vec<HandedRole>,
    pub parts: Vec<HandedPart>,
    pub control: Option<HandedSocket>,
    pub clients: Vec<HandedClient>,
    /// Socket on which a new supervisor would connect to the role.
    pub guard: Option<HandedSocket>,
    /// State of other modules of the supervisor, by name.
    pub extras: Vec<HandedExtra>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct HandedRole {
    pub pid: u32,
    pub process: u32,
    pub channel: u32,
    pub age_ms: u64,
    /// Time until the role is killed; None if no limit applies.
    pub left_ms: Option<u64>,
}

/// A sidecar role and its files.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct HandedPart {
    pub part: String,
    pub role: Option<HandedRole>,
    pub guard: Option<HandedSocket>,
    pub keep: Option<HandedSocket>,
}

/// A listening socket with a path, or a file.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct HandedSocket {
    pub descriptor: u32,
    /// Bytes of the path, which may be no valid UTF-8.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
}

impl HandedSocket {
    pub fn path(&self) -> PathBuf {
        OsStr::from_bytes(&self.path).into()
    }
}

/// A connection to a command that waits for a result.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct HandedClient {
    pub descriptor: u32,
    /// Output format of the reload result that the command waits for; None if it waits for none.
    pub asked: Option<DiagnosticFormat>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct HandedExtra {
    pub name: String,
    pub descriptor: Option<u32>,
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl HandOver {
    pub fn all_descriptors(&self) -> impl Iterator<Item = u32> {
        let parts = || self.parts.iter();
        let roles = self.roles.iter().chain(parts().flat_map(|part| &part.role));
        let of_parts = parts().flat_map(|part| part.guard.iter().chain(&part.keep));
        let sockets = self.control.iter().chain(&self.guard).chain(of_parts);
        self.descriptors
            .iter()
            .copied()
            .chain(roles.flat_map(|role| [role.process, role.channel]))
            .chain(sockets.map(|socket| socket.descriptor))
            .chain(self.clients.iter().map(|client| client.descriptor))
            .chain(self.extras.iter().filter_map(|extra| extra.descriptor))
    }

    pub fn encode(&self) -> Vec<u8> {
        [HEAD, &HAND_OVER_VERSION.to_le_bytes(), &codec::encode(self)].concat()
    }

    /// Decodes the state.
    ///
    /// # Errors
    /// The bytes are invalid, or of another format.
    pub fn decode(bytes: &[u8]) -> Result<HandOver, DecodeError> {
        let rest = bytes.strip_prefix(HEAD).ok_or(DecodeError::Magic)?;
        Ok(codec::decode(after_version(rest, HAND_OVER_VERSION)?)?)
    }
}

/// Returns the bytes after the format number if that is `wanted`; otherwise an error.
pub(super) fn after_version(bytes: &[u8], wanted: u16) -> Result<&[u8], DecodeError> {
    let (version, rest) = bytes.split_first_chunk().ok_or(DecodeError::Malformed)?;
    match u16::from_le_bytes(*version) {
        version if version == wanted => Ok(rest),
        other => Err(DecodeError::Version(u8::try_from(other).unwrap_or(u8::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> HandOver {
        let look = DiagnosticFormat {
            color: true,
            unicode: true,
            width: 90,
            as_json: false,
        };
        let socket = |descriptor| HandedSocket {
            descriptor,
            path: b"/run/evenkeel/1.sock".to_vec(),
        };
        HandOver {
            take: Take {
                version: 4,
                ..Take::default()
            },
            descriptors: vec![9, 10, 11],
            versions: 5,
            files_soft: 1024,
            quiet: true,
            paused: true,
            asked: true,
            roles: vec![HandedRole {
                pid: 7,
                process: 12,
                channel: 13,
                age_ms: 9_000,
                left_ms: Some(3),
            }],
            control: Some(socket(14)),
            clients: vec![HandedClient {
                descriptor: 15,
                asked: Some(look),
            }],
            guard: Some(socket(16)),
            parts: vec![HandedPart {
                part: "address".into(),
                role: Some(HandedRole {
                    pid: 8,
                    process: 18,
                    channel: 19,
                    ..HandedRole::default()
                }),
                guard: Some(socket(20)),
                keep: Some(socket(21)),
            }],
            extras: vec![HandedExtra {
                name: "master".into(),
                descriptor: Some(17),
                bytes: vec![1, 2],
            }],
        }
    }

    #[test]
    fn hand_over_is_decoded_as_encoded_with_its_descriptors() {
        for value in [HandOver::default(), some()] {
            assert_eq!(HandOver::decode(&value.encode()), Ok(value));
        }
        let all: Vec<u32> = some().all_descriptors().collect();
        assert_eq!(all, [9, 10, 11, 12, 13, 18, 19, 14, 16, 20, 21, 15, 17]);
    }

    #[test]
    fn unknown_fields_are_ignored_and_another_format_refused() {
        let mut bytes = some().encode();
        bytes.extend(b"what is to come");
        assert_eq!(HandOver::decode(&bytes), Ok(some()));
        bytes[HEAD.len()] = 9;
        assert_eq!(HandOver::decode(&bytes), Err(DecodeError::Version(9)));
        assert_eq!(HandOver::decode(b"GET / HTTP/1.1"), Err(DecodeError::Magic));
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = some().encode();
        for end in 0..bytes.len() {
            assert!(HandOver::decode(&bytes[..end]).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            changes in proptest::collection::vec((0usize..400, any::<u8>()), 1..8),
        ) {
            let mut bytes = some().encode();
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            if let Ok(value) = HandOver::decode(&bytes) {
                prop_assert_eq!(HandOver::decode(&value.encode()), Ok(value));
            }
        }
    }
}
