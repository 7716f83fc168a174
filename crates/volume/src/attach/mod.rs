//! Attaches a volume to this host as a block device `/dev/nbdN`, and detaches it. The kernel's nbd
//! driver becomes an NBD client of the volume's Unix socket. The driver supports only simple
//! replies, so the handshake negotiates no structured replies.
//!
//! Not tested against a kernel with the driver. Tests cover the messages (`netlink`) and the
//! handshake.

mod netlink;

pub use netlink::{NbdDeviceParameters, NetlinkReply, NetlinkRequest, decode, encode};

use crate::client::{Address, ClientError, plain};
use rustix::io::Errno;
use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Time for which the kernel holds requests after a broken connection until the next role
/// connects, seconds.
pub const WAIT_SECONDS: u64 = 60;
const MESSAGE_BYTES: usize = 16 << 10;
const MESSAGES_MAX: usize = 16;

/// Reason why a volume cannot be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error(
        "this kernel has no nbd driver{}: load it with `modprobe nbd`, or let programs use the socket directly, \
         as QEMU does",
        if *.ublk { " (it has ublk, which is not used)" } else { "" }
    )]
    NoDriver { ublk: bool },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the kernel refuses to {action}: {errno}{}", if *.errno == Errno::PERM { " (only root may)" } else { "" })]
    Refused { action: &'static str, errno: Errno },
    #[error("volume '{0}' is not attached")]
    NotAttached(String),
}

#[derive(Debug)]
struct Driver {
    socket: OwnedFd,
    family: u16,
    sequence: u32,
}

/// Returns the backend string that identifies the volume's device in the kernel.
fn backend(name: &str) -> String {
    format!("evenkeel:{name}")
}

/// Returns the number `N` of the volume's device `/dev/nbdN`; None if the volume is not attached.
/// `devices` is `/sys/block`.
fn attached(devices: &Path, name: &str) -> Option<u32> {
    let wanted = backend(name);
    let entries = std::fs::read_dir(devices).ok()?;
    entries.flatten().find_map(|entry| {
        let file = entry.file_name();
        let number = file.to_str()?.strip_prefix("nbd")?.parse().ok()?;
        let backend = std::fs::read_to_string(entry.path().join("backend")).ok()?;
        (backend.trim_end() == wanted).then_some(number)
    })
}

/// Attaches a volume as a block device, or replaces the connection of its device. Returns the
/// number of the device: 3 is `/dev/nbd3`.
///
/// # Errors
/// The kernel has no driver or refuses the request, or the volume cannot be reached.
pub fn attach(address: Address, name: &str) -> Result<u32, AttachError> {
    let mut driver = Driver::open()?;
    let (socket, offer) = plain(&address)?;
    let backend = backend(name);
    let wanted = NbdDeviceParameters {
        socket: u32::try_from(socket.as_raw_fd()).unwrap_or(0),
        size_bytes: offer.size,
        block_bytes: u64::from(offer.block_min.max(512)),
        flags: offer.flags(),
        wait_seconds: WAIT_SECONDS,
        backend: &backend,
    };
    // Passes the connection to the kernel, which keeps it after this process has exited.
    match attached(Path::new("/sys/block"), name) {
        Some(number) => {
            driver.ask(
                "use another connection",
                &NetlinkRequest::Reconnect(number, wanted),
            )?;
            Ok(number)
        }
        None => {
            let number = driver.ask("make a device", &NetlinkRequest::Connect(wanted))?;
            number.ok_or(AttachError::Refused {
                action: "name the device",
                errno: Errno::PROTO,
            })
        }
    }
}

/// Detaches the block device of a volume. Returns the device's number.
///
/// # Errors
/// The volume is not attached, or the kernel refuses the request.
pub fn detach(name: &str) -> Result<u32, AttachError> {
    let mut driver = Driver::open()?;
    let missing = || AttachError::NotAttached(name.to_owned());
    let number = attached(Path::new("/sys/block"), name).ok_or_else(missing)?;
    driver.ask("remove the device", &NetlinkRequest::Disconnect(number))?;
    Ok(number)
}

impl Driver {
    fn open() -> Result<Driver, AttachError> {
        let failed = |errno| AttachError::Refused {
            action: "open a netlink socket",
            errno,
        };
        let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
        let socket = socket_with(AddressFamily::NETLINK, kind, flags, Some(GENERIC));
        let socket = socket.map_err(failed)?;
        connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(failed)?;
        let mut driver = Driver {
            socket,
            family: 0,
            sequence: 0,
        };
        let ublk = Path::new("/dev/ublk-control").exists();
        match driver.ask("find its nbd driver", &NetlinkRequest::Family) {
            Ok(Some(family)) => {
                driver.family = u16::try_from(family).unwrap_or(0);
                Ok(driver)
            }
            Ok(None) => Err(AttachError::NoDriver { ublk }),
            Err(AttachError::Refused { errno, .. }) if errno == Errno::NOENT => {
                Err(AttachError::NoDriver { ublk })
            }
            Err(other) => Err(other),
        }
    }

    /// Sends a request and waits for its end. Returns the number in the kernel's reply.
    fn ask(
        &mut self,
        action: &'static str,
        ask: &NetlinkRequest<'_>,
    ) -> Result<Option<u32>, AttachError> {
        let refused = |errno| AttachError::Refused { action, errno };
        self.sequence += 1;
        let message = encode(ask, self.family, self.sequence);
        send(&self.socket, &message, SendFlags::empty()).map_err(refused)?;
        let mut number = None;
        for _ in 0..MESSAGES_MAX {
            let mut bytes = [0; MESSAGE_BYTES];
            let (count, _) =
                recv(&self.socket, &mut bytes[..], RecvFlags::empty()).map_err(refused)?;
            let mut input = &bytes[..count];
            while let Some(told) = decode(&mut input) {
                match told {
                    NetlinkReply::Number(told) => number = Some(told),
                    NetlinkReply::Done => return Ok(number),
                    NetlinkReply::Refused(errno) => return Err(refused(errno)),
                    NetlinkReply::Nothing => {}
                }
            }
        }
        Err(refused(Errno::PROTO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_of_a_volume_is_found_by_what_the_kernel_remembers() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        for (device, backend) in [
            ("sda", None),
            ("nbd0", None),
            ("nbd1", Some("evenkeel:web\n")),
            ("nbd12", Some("evenkeel:mail\n")),
        ] {
            let path = scratch.path().join(device);
            std::fs::create_dir(&path).unwrap();
            if let Some(backend) = backend {
                std::fs::write(path.join("backend"), backend).unwrap();
            }
        }
        assert_eq!(attached(scratch.path(), "mail"), Some(12));
        assert_eq!(attached(scratch.path(), "mai"), None);
        assert_eq!(attached(Path::new("/nonexistent"), "mail"), None);
    }

    #[test]
    fn a_kernel_without_the_driver_is_named() {
        if Path::new("/sys/module/nbd").exists() {
            eprintln!("skipped: this kernel has the driver");
            return;
        }
        let error = detach("mail").unwrap_err();
        assert!(matches!(error, AttachError::NoDriver { .. }), "{error}");
        assert!(error.to_string().contains("`modprobe nbd`"), "{error}");
    }
}
