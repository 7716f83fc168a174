//! Defines the requests of operators to the control role at its socket (`control.sock` in the
//! runtime directory, for root and the role's own user), the replies, and their framing. A
//! connection carries a [`Request`], then [`ControlReply`]s until a final one, then the next
//! request if there is one. Each is its length (u32, big endian) and the value encoded by
//! [`part::codec`]. The role closes idle connections.
//!
//! [`Client`] is the client side; it blocks, and needs no runtime.

use crate::command::{Judging, VersionId, VersionOrigin};
use crate::file_set::FileSet;
use crate::member::{MemberId, MemberKind};
use part::codec::{self, InvalidEncoding};
use part::role::bounded::long_words;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const SOCKET: &str = "control.sock";
/// Largest request, and largest reply: a set of files and a little.
pub const REQUEST_BYTES_MAX: usize = (crate::file_set::SET_BYTES_MAX as usize) + (8 << 20);
pub const LENGTH_BYTES: usize = 4;
/// Timeout of sending a request to the role.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// Request of an operator to the role.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Status of the cluster: [`ControlReply::Json`], as [`crate::role::status`] renders it.
    Status,
    Invite {
        kind: MemberKind,
        valid_ms: u64,
    },
    Remove {
        name: String,
    },
    /// Transfers leadership to a member, by default to the best candidate.
    HandOver {
        /// Name of the next leader; None: the best candidate.
        name: Option<String>,
    },
    /// Replaces this member's key and certificate, and the content key.
    Rotate,
    /// Replaces the CA, and certifies all members by the new one: [`ControlReply::Progress`] until
    /// [`ControlReply::Done`] or [`ControlReply::Refused`].
    RotateAuthority,
    /// A change: [`ControlReply::Progress`] until [`ControlReply::Done`] or
    /// [`ControlReply::Refused`].
    Apply(Box<Apply>),
    Confirm {
        /// Version to confirm; None: the one that waits.
        version: Option<VersionId>,
    },
    TakeBack {
        words: String,
    },
    Rollback {
        version: VersionId,
        author: String,
        message: String,
        judging: Judging,
    },
    /// Versions, the newest first: [`ControlReply::Json`], an array of
    /// [`crate::state::VersionRecord`].
    Log {
        max: u64,
    },
    /// Requests the decrypted files of a version (None: the accepted one):
    /// [`ControlReply::Set`].
    Show {
        /// Version to show; None: the accepted one.
        version: Option<VersionId>,
    },
    Follow,
    /// Adds a line to the replicated events: [`ControlReply::Done`] when a majority has it on
    /// disk.
    Note {
        /// The line, at most [`crate::state::WORDS_BYTES_MAX`].
        words: String,
    },
    /// Records of the leases, by the leases' names: [`ControlReply::Json`].
    Records,
    /// Permits this member to replace its program, until [`Request::EndUpgrade`]. Only one node has
    /// the permission: refused while another one has it.
    BeginUpgrade,
    /// Returns the permission of [`Request::BeginUpgrade`], which an earlier process of the role may
    /// have received.
    EndUpgrade,
}

/// A change that an operator applies.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Apply {
    pub parent: Option<VersionId>,
    pub author: String,
    pub message: String,
    pub time_s: i64,
    pub origin: VersionOrigin,
    pub set: FileSet,
    pub judging: Judging,
}

/// Reply of the role to a request.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ControlReply {
    /// A progress line; more replies follow.
    Progress {
        #[serde(with = "long_words")]
        words: String,
    },
    Done {
        #[serde(with = "long_words")]
        words: String,
        version: Option<VersionId>,
    },
    /// The change failed: nothing was changed, or it was rolled back.
    Refused {
        #[serde(with = "long_words")]
        words: String,
    },
    /// The request was sent, and its outcome is unknown: the change may have been made,
    /// or may still be made.
    Unknown {
        #[serde(with = "long_words")]
        words: String,
    },
    Token {
        token: String,
        member: MemberId,
    },
    Json(String),
    Set(Box<FileSet>),
}

impl ControlReply {
    pub fn ends(&self) -> bool {
        !matches!(self, ControlReply::Progress { .. })
    }
}

/// Error of a request to the role.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(
        "no cluster member is running here (no listener at {}). On a member, start `evenkeel run` without files; if \
         it is running, its log shows why the control role failed. A machine becomes a member by `evenkeel cluster \
         init NAME` or `evenkeel cluster join TOKEN`",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// The supervisor of a member runs, but no process listens at the socket.
    #[error(
        "the control role of this member does not run (no listener at {}), while its supervisor does (process {}). It \
         is started again within seconds; the log and `evenkeel status` name the reason why it ended",
        .0.display(),
        .1
    )]
    Ending(PathBuf, u32),
    /// The machine is a member, but no process listens at the socket.
    #[error(
        "this machine is a member of a cluster (its state is in {}), but no process listens at {}: start `evenkeel \
         run` without files",
        .1.display(),
        .0.display()
    )]
    Stopped(PathBuf, PathBuf),
    #[error("{}: only root and the user who runs evenkeel may use it", .0.display())]
    Forbidden(PathBuf),
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
    #[error("a request of {0} bytes exceeds the limit of {REQUEST_BYTES_MAX}")]
    TooLarge(usize),
    #[error("the control role has not responded for {} s", .0.as_secs())]
    Silent(Duration),
    #[error(
        "the control role ended before it responded; the request may have been executed: see `evenkeel \
             cluster status` and `evenkeel config log`"
    )]
    Ended,
    #[error(
        "cannot parse the reply of the control role ({0}); do command and role have different versions?"
    )]
    Malformed(InvalidEncoding),
}

/// Encodes a value with its length before it; `None` if it exceeds the maximum size.
pub fn framed<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    let value = codec::encode(value);
    if value.len() > REQUEST_BYTES_MAX {
        return None;
    }
    let length = u32::try_from(value.len()).ok()?;
    let mut bytes = Vec::with_capacity(LENGTH_BYTES + value.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&value);
    Some(bytes)
}

/// Sends requests to the role of this machine, one after the other. After an error of
/// [`Client::done`], every later request fails at once.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    path: PathBuf,
}

impl Client {
    /// Connects to the role's socket.
    ///
    /// # Errors
    /// - [`AskError::NotRunning`]: no process listens at the socket.
    /// - [`AskError::Forbidden`]: this user may not use the socket.
    /// - [`AskError::Io`]: connect(2) fails otherwise.
    pub fn connect(path: &Path) -> Result<Client, AskError> {
        let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AskError::NotRunning(path.into())
            }
            io::ErrorKind::PermissionDenied => AskError::Forbidden(path.into()),
            _ => AskError::Io(path.into(), error),
        })?;
        Ok(Client {
            stream,
            path: path.into(),
        })
    }

    /// Sends a request; replies are read separately.
    ///
    /// # Errors
    /// Fails with [`AskError::TooLarge`] if the request exceeds the largest size, and with
    /// [`AskError::Io`] if it cannot be sent in time. A closed connection is no error, because the
    /// reply may say why.
    pub fn ask(&mut self, request: &Request) -> Result<(), AskError> {
        let Some(bytes) = framed(request) else {
            return Err(AskError::TooLarge(codec::encode(request).len()));
        };
        let limit = self.stream.set_write_timeout(Some(WRITE_LIMIT));
        limit.map_err(|error| AskError::Io(self.path.clone(), error))?;
        match self.stream.write_all(&bytes) {
            Ok(()) => Ok(()),
            // The server refuses without reading everything. Its response can still be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(AskError::Io(self.path.clone(), error)),
        }
    }

    /// Returns the next reply; waits at most `limit`.
    ///
    /// # Errors
    /// - [`AskError::Silent`]: the role did not respond within `limit`.
    /// - [`AskError::Ended`]: the role closed the connection.
    /// - [`AskError::TooLarge`], [`AskError::Malformed`]: the reply is too large, or cannot be
    ///   decoded.
    /// - [`AskError::Io`]: the socket cannot be read.
    pub fn reply(&mut self, limit: Duration) -> Result<ControlReply, AskError> {
        let set = self.stream.set_read_timeout(Some(limit));
        set.map_err(|error| AskError::Io(self.path.clone(), error))?;
        let mut length = [0; LENGTH_BYTES];
        self.fill(&mut length, limit)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > REQUEST_BYTES_MAX {
            return Err(AskError::TooLarge(length));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes, limit)?;
        codec::decode(&bytes).map_err(AskError::Malformed)
    }

    /// Sends a request, passes progress lines to `progress`, and returns the final reply.
    /// Waits at most `limit` between two replies.
    ///
    /// # Errors
    /// As [`Client::ask`] and [`Client::reply`]. The connection is then closed.
    pub fn done(
        &mut self,
        request: &Request,
        limit: Duration,
        progress: impl FnMut(&str),
    ) -> Result<ControlReply, AskError> {
        let done = self.until_it_ends(request, limit, progress);
        if done.is_err() {
            // A reply that comes late must not be taken for that of the next request.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        done
    }

    fn until_it_ends(
        &mut self,
        request: &Request,
        limit: Duration,
        mut progress: impl FnMut(&str),
    ) -> Result<ControlReply, AskError> {
        self.ask(request)?;
        loop {
            match self.reply(limit)? {
                ControlReply::Progress { words } => progress(&words),
                reply => return Ok(reply),
            }
        }
    }

    fn fill(&mut self, bytes: &mut [u8], limit: Duration) -> Result<(), AskError> {
        self.stream
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => AskError::Ended,
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Silent(limit),
                _ => AskError::Io(self.path.clone(), error),
            })
    }
}
