//! The statistics sockets: opened with the rights of the start. `serving` accepts
//! on them.

use crate::config::{BindAddress, Config, StatsLevel};
use crate::listener::{OpenStep, open_alone};
use language::Span;
use rustix::io::Errno;
use std::fmt;
use std::os::fd::OwnedFd;

/// A statistics socket that listens.
#[derive(Debug)]
pub struct OperationsSocket {
    pub(super) fd: OwnedFd,
    pub(super) unix: bool,
    pub(super) level: StatsLevel,
    pub(super) text: String,
}

/// Why a statistics socket could not be opened.
#[derive(Debug)]
pub struct OpenFailure {
    /// Where its line stands.
    pub span: Span,
    /// Its address.
    pub address: String,
    /// The step that failed.
    pub step: OpenStep,
    /// The system's reason.
    pub errno: Errno,
}

impl fmt::Display for OpenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stats socket: {} ({}) [{}]",
            self.step, self.errno, self.address
        )
    }
}

/// Opens every `stats socket`. What could be opened is returned beside what
/// could not.
pub fn open(config: &Config) -> (Vec<OperationsSocket>, Vec<OpenFailure>) {
    let (mut opened, mut failures) = (Vec::new(), Vec::new());
    for socket in &config.global.stats_sockets {
        let (unix, text) = describe(&socket.bind.address);
        match open_alone(config, &socket.bind) {
            Ok(fd) => opened.push(OperationsSocket {
                fd,
                unix,
                level: socket.level,
                text,
            }),
            Err((step, errno)) => {
                failures.push(OpenFailure {
                    span: socket.bind.span,
                    address: text,
                    step,
                    errno,
                });
            }
        }
    }
    (opened, failures)
}

/// Whether an address is a Unix socket's, and its text.
fn describe(address: &BindAddress) -> (bool, String) {
    match address {
        BindAddress::Inet(address) if address.is_ipv4() => (false, format!("ipv4@{address}")),
        BindAddress::Inet(address) => (false, format!("ipv6@{address}")),
        BindAddress::Unix(path) => (true, format!("unix@{}", path.display())),
        BindAddress::Abstract(name) => (true, format!("abns@{}", String::from_utf8_lossy(name))),
        BindAddress::Fd(number) => (true, format!("fd@{number}")),
        BindAddress::Name(name, port) => (false, format!("{name}:{port}")),
    }
}

impl OperationsSocket {
    /// An inherited descriptor is what it is.
    pub(super) fn is_unix(&self) -> bool {
        match rustix::net::sockopt::socket_domain(&self.fd) {
            Ok(domain) => domain == rustix::net::AddressFamily::UNIX,
            Err(_) => self.unix,
        }
    }
}
