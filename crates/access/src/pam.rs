//! Verifies passwords of the operating system's users (PAM). No role has the privilege to use PAM
//! itself, so the request goes to Cyrus SASL's `saslauthd`, which every distribution has: one
//! request over its Unix socket, one response.

use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

pub const SOCKET: &str = "/run/saslauthd/mux";
/// Default PAM service: `/etc/pam.d/evenkeel`, or else `/etc/pam.d/other`.
pub const SERVICE: &str = "evenkeel";
/// Timeout of a response. PAM waits some seconds after a wrong password, and directories may be
/// slow.
const LIMIT: Duration = Duration::from_secs(15);
const ANSWER_MAX: usize = 1_024;
/// Name that no user has. If a name is not in the list of users, this one is sent instead.
pub const NOBODY: &str = "evenkeel-no-such-user";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct System {
    pub service: String,
    pub socket: PathBuf,
}

impl Default for System {
    fn default() -> System {
        System {
            service: SERVICE.to_owned(),
            socket: PathBuf::from(SOCKET),
        }
    }
}

impl System {
    /// Returns whether a password is that of a user.
    ///
    /// # Errors
    /// There is no response: the socket and the reason.
    pub async fn verify(&self, name: &str, password: &str) -> Result<bool, String> {
        let Some(question) = question([name, password, &self.service, ""]) else {
            return Ok(false);
        };
        let asked = tokio::time::timeout(LIMIT, self.ask(&question)).await;
        let reason = match asked {
            Ok(Ok(is_right)) => return Ok(is_right),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                "it closed the connection".to_owned()
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Other => error.to_string(),
            Ok(Err(error)) => language::reason(&error),
            Err(_) => format!("no response within {} s", LIMIT.as_secs()),
        };
        let socket = self.socket.display();
        Err(format!("cannot query saslauthd at {socket}: {reason}"))
    }

    async fn ask(&self, question: &[u8]) -> io::Result<bool> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(question).await?;
        let length = usize::from(stream.read_u16().await?);
        let mut answer = vec![0; length.min(ANSWER_MAX)];
        stream.read_exact(&mut answer).await?;
        // Reads the first two letters of the response, `OK` or `NO`: a reason may follow.
        match answer.get(..2) {
            Some(b"OK") if matches!(answer.get(2), None | Some(b' ')) => Ok(true),
            Some(b"NO") => Ok(false),
            _ => Err(io::Error::other("its response is not valid for saslauthd")),
        }
    }

    /// Returns the group that may access the socket, according to its directory. None if the
    /// directory does not exist, or everybody may access it.
    pub fn group(&self) -> Option<u32> {
        let directory = self.socket.parent().unwrap_or(Path::new("/"));
        let found = std::fs::metadata(directory).ok()?;
        (found.mode() & 0o001 == 0).then(|| found.gid())
    }

    pub fn fits(path: &Path) -> bool {
        path.is_absolute() && rustix::net::SocketAddrUnix::new(path.as_os_str().as_bytes()).is_ok()
    }
}

/// Encodes a request: user, password, service and realm, each after its length
/// (`saslauthd/saslauthd-main.c`, 2.1.28). None if one is too long or has a zero byte, because then
/// it can belong to no user.
fn question(words: [&str; 4]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in words {
        let length = u16::try_from(word.len()).ok()?;
        if word.contains('\0') {
            return None;
        }
        bytes.extend(length.to_be_bytes());
        bytes.extend(word.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    /// Returns the result of a request, and the bytes that were sent.
    fn asked(answer: &[u8]) -> (Result<bool, String>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let directory = lab::ScratchDirectory::new().unwrap();
            let system = System {
                socket: directory.path().join("mux"),
                ..System::default()
            };
            let listener = UnixListener::bind(&system.socket).unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = vec![0; 26];
                stream.read_exact(&mut question).await.unwrap();
                stream.write_all(answer).await.unwrap();
                question
            };
            tokio::join!(system.verify("anna", "secret"), serve)
        })
    }

    #[test]
    fn a_question_has_four_strings_and_the_answer_begins_with_ok_or_no() {
        let (verified, question) = asked(b"\0\x02OK");
        assert_eq!(verified, Ok(true));
        assert_eq!(question, b"\0\x04anna\0\x06secret\0\x08evenkeel\0\0");
        assert_eq!(asked(b"\0\x09NO denied").0, Ok(false));
        assert_eq!(asked(b"\0\x04OK x").0, Ok(true));
        for strange in [
            &b"\0\0"[..],
            b"\0\x01O",
            b"\0\x04OKAY",
            b"\0\x03OK\0",
            b"\0\x04ROOT",
        ] {
            let said = asked(strange).0.unwrap_err();
            assert!(said.ends_with("not valid for saslauthd"), "{said}");
        }
        for broken in [&b"\xff\xffOK"[..], b"\0\x05OK", b"\0", b""] {
            let said = asked(broken).0.unwrap_err();
            assert!(said.ends_with("/mux: it closed the connection"), "{said}");
        }
    }

    #[test]
    fn impossible_passwords_are_refused_without_a_query() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let system = System {
                socket: PathBuf::from("/nowhere/mux"),
                ..System::default()
            };
            assert_eq!(system.verify("an\0na", "secret").await, Ok(false));
            assert_eq!(system.verify("anna", &"x".repeat(70_000)).await, Ok(false));
            assert_eq!(
                system.verify("anna", "secret").await.unwrap_err(),
                "cannot query saslauthd at /nowhere/mux: No such file or directory"
            );
        });
    }
}
