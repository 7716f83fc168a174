//! Defines the errors of setting up a laboratory and of its faults.

use crate::exit::Exit;
use crate::name::MAX_NAME_BYTES;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Reason for which an action in the laboratory failed.
#[derive(Debug)]
pub enum LabError {
    Io {
        doing: &'static str,
        on: String,
        source: io::Error,
    },
    Command {
        command: String,
        exit: Exit,
        /// Output of the command, then its error output.
        said: String,
    },
    Hangs {
        command: String,
        waited: Duration,
    },
    Died {
        program: String,
        exit: Exit,
        said: String,
    },
    NotReady {
        program: String,
        address: SocketAddr,
        waited: Duration,
        said: String,
    },
    /// A name contains characters other than lower case letters, digits and dashes, or is too long
    /// for a namespace.
    Name(String),
    NameTaken(String),
    /// No cable and no switch connects the groups of the partition.
    NothingToCut(String),
    StillBroken(Vec<String>),
    NotHealed {
        waited: Duration,
        conditions: Vec<(String, String)>,
    },
    Certificate {
        doing: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    SubjectField(String),
    Tls {
        doing: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    NoAuthority,
    ServerName(String),
}

impl LabError {
    /// Returns a function that converts a system error. `doing` and `on` name the failed action.
    pub fn io(doing: &'static str, on: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let on = on.to_string();
        move |source| LabError::Io { doing, on, source }
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LabError::Io { doing, on, source } => write!(f, "cannot {doing} {on}: {source}"),
            LabError::Command {
                command,
                exit,
                said,
            } => write!(f, "`{command}` {exit}: {}", said.trim_end()),
            LabError::Hangs { command, waited } => {
                write!(f, "`{command}` did not end in {waited:?}")
            }
            LabError::Died {
                program,
                exit,
                said,
            } => write!(
                f,
                "{program} {exit} before it responded: {}",
                said.trim_end()
            ),
            LabError::NotReady {
                program,
                address,
                waited,
                said,
            } => write!(
                f,
                "{program} did not respond at {address} within {waited:?}: {}",
                said.trim_end()
            ),
            LabError::Name(name) => write!(
                f,
                "{name:?} is not a valid host name: use letters a-z, digits and dashes, at most {}",
                MAX_NAME_BYTES
            ),
            LabError::NameTaken(name) => write!(f, "host {name} already exists"),
            LabError::NothingToCut(between) => {
                write!(f, "no link to cut between {between}")
            }
            LabError::StillBroken(faults) => {
                write!(f, "not healed yet: {}", faults.join(", "))
            }
            LabError::NotHealed { waited, conditions } => {
                let each = conditions
                    .iter()
                    .map(|(name, why)| format!("{name} ({why})"));
                let all = each.collect::<Vec<_>>().join(", ");
                write!(f, "not healed after {waited:?}: {all}")
            }
            LabError::Certificate { doing, source } => {
                write!(f, "cannot {doing} a certificate: {source}")
            }
            LabError::Tls { doing, source } => write!(f, "cannot {doing}: {source}"),
            LabError::NoAuthority => write!(f, "no CA to verify the peer with"),
            LabError::ServerName(name) => write!(f, "{name:?} is not a valid server name"),
            LabError::SubjectField(field) => write!(
                f,
                "{field:?} is not a supported subject field, or occurs more than twice"
            ),
        }
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LabError::Io { source, .. } => Some(source),
            LabError::Certificate { source, .. } | LabError::Tls { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
