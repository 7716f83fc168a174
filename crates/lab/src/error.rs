//! What can go wrong while a laboratory is set up.

use crate::exit::Exit;
use crate::name::MAX_NAME_BYTES;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why something in the laboratory could not be done.
#[derive(Debug)]
pub enum LabError {
    /// The system refused.
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        on: String,
        /// Why not.
        source: io::Error,
    },
    /// A command ended otherwise than well.
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        exit: Exit,
        /// What it said.
        said: String,
    },
    /// A command did not end in time, and was killed.
    Hangs {
        /// The command line.
        command: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A peer ended before it answered.
    Died {
        /// The program.
        program: String,
        /// How it ended.
        exit: Exit,
        /// What it said.
        said: String,
    },
    /// A peer runs but does not answer.
    NotReady {
        /// The program.
        program: String,
        /// Where it should.
        address: SocketAddr,
        /// How long it was waited for.
        waited: Duration,
        /// What it said.
        said: String,
    },
    /// A name which is not made of lower case letters, digits and dashes, or too
    /// long for the name of a namespace.
    Name(String),
    /// A second host of a name.
    NameTaken(String),
    /// No cable and no switch joins what should be parted.
    NothingToCut(String),
    /// Faults that are in force when all should be healed.
    StillBroken(Vec<String>),
    /// Not all agrees again.
    NotHealed {
        /// How long it was waited for.
        waited: Duration,
        /// What does not hold, and what is there instead.
        conditions: Vec<(String, String)>,
    },
    /// A certificate could not be made.
    Certificate {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: rcgen::Error,
    },
    /// A field of a subject that is not known, or stands more than twice.
    SubjectField(String),
    /// The settings of a TLS client or server do not go together.
    Tls {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: rustls::Error,
    },
    /// Not one authority to verify with.
    NoAuthority,
    /// What is no name of a server.
    ServerName(String),
}

impl LabError {
    pub(crate) fn io(doing: &'static str, on: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
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
                "{program} {exit} before it answered: {}",
                said.trim_end()
            ),
            LabError::NotReady {
                program,
                address,
                waited,
                said,
            } => write!(
                f,
                "{program} did not answer at {address} in {waited:?}: {}",
                said.trim_end()
            ),
            LabError::Name(name) => write!(
                f,
                "{name:?} is no name for a host: letters a-z, digits and dashes, at most {}",
                MAX_NAME_BYTES
            ),
            LabError::NameTaken(name) => write!(f, "there is a host {name} already"),
            LabError::NothingToCut(between) => {
                write!(f, "there is nothing to cut between {between}")
            }
            LabError::StillBroken(faults) => {
                write!(f, "not healed yet: {}", faults.join(", "))
            }
            LabError::NotHealed { waited, conditions } => {
                let each = conditions
                    .iter()
                    .map(|(name, why)| format!("{name} ({why})"));
                let all = each.collect::<Vec<_>>().join(", ");
                write!(f, "after {waited:?} this is not well again: {all}")
            }
            LabError::Certificate { doing, source } => {
                write!(f, "cannot {doing} a certificate: {source}")
            }
            LabError::Tls { doing, source } => write!(f, "cannot {doing}: {source}"),
            LabError::NoAuthority => write!(f, "there is no authority to verify with"),
            LabError::ServerName(name) => write!(f, "{name:?} is no name of a server"),
            LabError::SubjectField(field) => write!(
                f,
                "{field:?} is no field of a subject that is known here, or stands more than twice"
            ),
        }
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LabError::Io { source, .. } => Some(source),
            LabError::Certificate { source, .. } => Some(source),
            LabError::Tls { source, .. } => Some(source),
            _ => None,
        }
    }
}
