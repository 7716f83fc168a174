//! What a service manager is told (sd_notify): that we serve, that a change
//! begins and how it ended, that we stop, what we do in words; and the sign of
//! life that it may ask for.
//!
//! It is never waited for: a message that it does not take is lost. Roles do
//! not get its address.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with,
};
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// Names the socket of the service manager.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How often it wants a sign of life, microseconds.
const WATCHDOG: &str = "WATCHDOG_USEC";
/// From which process.
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";
/// Signs of life in the time that the service manager allows.
const SIGNS: u32 = 2;
/// The longest text about what we do, bytes.
const STATUS_BYTES_MAX: usize = 512;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(OwnedFd, SocketAddrUnix)>,
    every: Option<Duration>,
    next: Option<Instant>,
    /// It was told that we serve.
    ready: bool,
}

/// The variables of the environment that matter here.
#[derive(Clone, Debug, Default)]
struct Wanted {
    socket: Option<OsString>,
    watchdog: Option<OsString>,
    watchdog_process: Option<OsString>,
}

impl Notify {
    /// Speaks to the one that the environment names.
    pub fn of_environment() -> Notify {
        Notify::to(&Wanted {
            socket: std::env::var_os(SOCKET),
            watchdog: std::env::var_os(WATCHDOG),
            watchdog_process: std::env::var_os(WATCHDOG_PROCESS),
        })
    }

    fn to(wanted: &Wanted) -> Notify {
        let Some(address) = wanted
            .socket
            .as_ref()
            .and_then(|name| address(name.as_bytes()))
        else {
            return Notify::default();
        };
        let kind = SocketType::DGRAM;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(fd) = socket_with(AddressFamily::UNIX, kind, flags, None) else {
            return Notify::default();
        };
        Notify {
            socket: Some((fd, address)),
            every: every(wanted),
            next: None,
            ready: false,
        }
    }

    /// It serves, at first or again.
    pub fn ready(&mut self, status: &str) {
        let pid = std::process::id();
        self.send(&format!(
            "READY=1\nMAINPID={pid}\nSTATUS={}\nERRNO=0",
            line(status)
        ));
        self.ready = true;
        let now = Instant::now();
        self.next = self.every.map(|every| now + every);
    }

    /// It was told by the image of this process before, and need not be again. The
    /// next sign of life is due at once: nobody knows when the last one was.
    pub fn resume(&mut self) {
        self.ready = true;
        self.next = self.every.map(|_| Instant::now());
    }

    /// Whether it was told that we serve.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// A change begins. The time is what `Type=notify-reload` asks for.
    pub fn reloading(&self, status: &str) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS={}",
            line(status)
        ));
    }

    /// A change was refused: the previous version continues to serve.
    pub fn refused(&self, status: &str) {
        let pid = std::process::id();
        let errno = Errno::INVAL.raw_os_error();
        self.send(&format!(
            "READY=1\nMAINPID={pid}\nSTATUS={}\nERRNO={errno}",
            line(status)
        ));
    }

    /// What it does now.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", line(status)));
    }

    /// It ends.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}", line(status)));
    }

    /// When the next sign of life is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Gives the sign of life when it is due.
    pub fn look_at_clock(&mut self, now: Instant) {
        if self.next.is_some_and(|next| next <= now) {
            self.send("WATCHDOG=1");
            self.next = self.every.map(|every| now + every);
        }
    }

    fn send(&self, text: &str) {
        if let Some((fd, address)) = &self.socket {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            // A service manager that is gone or busy is not waited for.
            let _ = sendto(fd, text.as_bytes(), flags, address);
        }
    }
}

/// A path, or `@` and the name of an abstract socket; nothing else is known.
fn address(name: &[u8]) -> Option<SocketAddrUnix> {
    match name {
        [b'@', rest @ ..] if !rest.is_empty() => SocketAddrUnix::new_abstract_name(rest).ok(),
        [b'/', ..] => SocketAddrUnix::new(name).ok(),
        _ => None,
    }
}

/// How often a sign of life is given; None when none is wanted from us.
fn every(wanted: &Wanted) -> Option<Duration> {
    let number = |text: &Option<OsString>| text.as_ref()?.to_str()?.parse::<u64>().ok();
    let other = |pid: u64| pid != u64::from(std::process::id());
    if number(&wanted.watchdog_process).is_some_and(other) {
        return None;
    }
    let usec = number(&wanted.watchdog).filter(|usec| *usec > 0)?;
    Some(Duration::from_micros(usec) / SIGNS)
}

/// One line of bounded length.
fn line(text: &str) -> String {
    let mut text = text.replace(['\n', '\r'], " ");
    if text.len() > STATUS_BYTES_MAX {
        let end = (0..=STATUS_BYTES_MAX)
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvFlags, bind, recv};

    fn manager(name: &[u8]) -> OwnedFd {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
        bind(&fd, &SocketAddrUnix::new_abstract_name(name).unwrap()).unwrap();
        fd
    }

    fn heard(fd: &OwnedFd) -> Option<String> {
        let mut bytes = [0; 1024];
        let (length, _) = recv(fd, &mut bytes[..], RecvFlags::empty()).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    #[test]
    fn what_happens_is_told_and_a_sign_of_life_is_given_twice_in_its_time() {
        let name = format!("evenkeel-notify-{}", std::process::id());
        let fd = manager(name.as_bytes());
        let mut notify = Notify::to(&Wanted {
            socket: Some(format!("@{name}").into()),
            watchdog: Some("4000000".into()),
            watchdog_process: Some(std::process::id().to_string().into()),
        });
        notify.ready("serving\nversion 1");
        let pid = std::process::id();
        let ready = format!("READY=1\nMAINPID={pid}\nSTATUS=serving version 1\nERRNO=0");
        assert_eq!(heard(&fd), Some(ready));
        let began = Instant::now();
        notify.look_at_clock(began);
        assert_eq!(heard(&fd), None);
        notify.look_at_clock(began + Duration::from_secs(3));
        assert_eq!(heard(&fd).as_deref(), Some("WATCHDOG=1"));
        assert_eq!(notify.deadline(), Some(began + Duration::from_secs(5)));
        notify.reloading("changing");
        let told = heard(&fd).unwrap();
        assert!(told.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told}");
        notify.refused("serving version 1");
        assert!(heard(&fd).unwrap().ends_with("ERRNO=22"));
        notify.stopping("stops");
        assert_eq!(heard(&fd).as_deref(), Some("STOPPING=1\nSTATUS=stops"));
    }

    #[test]
    fn without_an_address_that_is_known_nobody_is_told() {
        for name in ["", "@", "relative", "vsock:2:1234"] {
            let notify = Notify::to(&Wanted {
                socket: Some(name.into()),
                ..Wanted::default()
            });
            assert!(notify.socket.is_none(), "{name}");
        }
        assert!(Notify::to(&Wanted::default()).socket.is_none());
    }

    #[test]
    fn a_sign_of_life_that_is_wanted_of_another_process_is_not_given() {
        let wanted = |usec: &str, pid: Option<u32>| Wanted {
            socket: None,
            watchdog: Some(usec.into()),
            watchdog_process: pid.map(|pid| pid.to_string().into()),
        };
        let own = std::process::id();
        let second = Duration::from_secs(1);
        assert_eq!(every(&wanted("2000000", None)), Some(second));
        assert_eq!(every(&wanted("2000000", Some(own))), Some(second));
        assert_eq!(every(&wanted("2000000", Some(own + 1))), None);
        for nonsense in ["0", "x", ""] {
            assert_eq!(every(&wanted(nonsense, None)), None);
        }
    }

    #[test]
    fn a_status_is_one_line_of_bounded_length() {
        let long = "ä".repeat(STATUS_BYTES_MAX);
        assert_eq!(line(&long).len(), STATUS_BYTES_MAX);
        assert_eq!(line("a\nb"), "a b");
    }
}
