//! Sends notifications to the service manager (sd_notify): ready, reloading and its result,
//! stopping, a status text, and the watchdog ping.
//!
//! Sending never blocks. A message for which the socket has no room is sent again later, in order,
//! because a service manager treats a reload without a reported end as failed. Of more than
//! [`UNSENT_MAX`] such messages the oldest are dropped, and a watchdog ping is not sent again.
//! Roles do not get the address of the socket.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with,
};
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

const SOCKET: &str = "NOTIFY_SOCKET";
/// Environment variable with the watchdog timeout, microseconds.
const WATCHDOG: &str = "WATCHDOG_USEC";
/// Environment variable with the process id that must send the watchdog pings.
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";
/// Number of watchdog pings per timeout.
const SIGNS: u32 = 2;
const STATUS_BYTES_MAX: usize = 512;
/// Maximum number of unsent messages; older ones are dropped.
const UNSENT_MAX: usize = 16;
/// Delay before unsent messages are sent again.
const RETRY: Duration = Duration::from_millis(50);
const END: char = '\0';

/// The connection to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(OwnedFd, SocketAddrUnix)>,
    every: Option<Duration>,
    next: Option<Instant>,
    /// Messages that could not be sent yet.
    unsent: VecDeque<String>,
    retry_at: Option<Instant>,
    ready: bool,
}

#[derive(Clone, Debug, Default)]
struct NotifyEnvironment {
    socket: Option<OsString>,
    watchdog: Option<OsString>,
    watchdog_process: Option<OsString>,
}

impl Notify {
    pub fn of_environment() -> Notify {
        Notify::to(&NotifyEnvironment {
            socket: std::env::var_os(SOCKET),
            watchdog: std::env::var_os(WATCHDOG),
            watchdog_process: std::env::var_os(WATCHDOG_PROCESS),
        })
    }

    fn to(wanted: &NotifyEnvironment) -> Notify {
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
            ..Notify::default()
        }
    }

    pub fn ready(&mut self, status: &str) {
        let pid = std::process::id();
        self.tell(format!(
            "READY=1\nMAINPID={pid}\nSTATUS={}\nERRNO=0",
            line(status)
        ));
        self.ready = true;
        let now = Instant::now();
        self.next = self.every.map(|every| now + every);
    }

    /// Continues after the previous program image, which has reported readiness. The next watchdog
    /// ping is due at once, because the time of the last one is unknown.
    pub fn resume(&mut self) {
        self.ready = true;
        self.next = self.every.map(|_| Instant::now());
    }

    /// Encodes the unsent messages for the next program image.
    pub fn hand_over(&self) -> Vec<u8> {
        let unsent = self.unsent.iter();
        unsent
            .flat_map(|text| [text, "\0"])
            .collect::<String>()
            .into()
    }

    /// Adds the messages that the previous image could not send.
    pub fn take_over(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for text in text.split_terminator(END) {
            self.tell(text.to_owned());
        }
    }

    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Reports the start of a reload. The timestamp is required by `Type=notify-reload`.
    pub fn reloading(&mut self, status: &str) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(format!(
            "RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS={}",
            line(status)
        ));
    }

    /// Reports a refused reload: the previous version continues to serve.
    pub fn refused(&mut self, status: &str) {
        let pid = std::process::id();
        let errno = Errno::INVAL.raw_os_error();
        self.tell(format!(
            "READY=1\nMAINPID={pid}\nSTATUS={}\nERRNO={errno}",
            line(status)
        ));
    }

    pub fn status(&mut self, status: &str) {
        self.tell(format!("STATUS={}", line(status)));
    }

    pub fn stopping(&mut self, status: &str) {
        self.tell(format!("STOPPING=1\nSTATUS={}", line(status)));
    }

    /// Returns when the next message is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.next.into_iter().chain(self.retry_at).min()
    }

    /// Sends due messages: those that could not be sent before, and the watchdog ping.
    pub fn look_at_clock(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.send_waiting(now);
        }
        if self.next.is_some_and(|next| next <= now) {
            self.send("WATCHDOG=1");
            self.next = self.every.map(|every| now + every);
        }
    }

    fn tell(&mut self, text: String) {
        self.unsent.push_back(text);
        if self.unsent.len() > UNSENT_MAX {
            self.unsent.pop_front();
        }
        self.send_waiting(Instant::now());
    }

    fn send_waiting(&mut self, now: Instant) {
        while let Some(text) = self.unsent.front() {
            if !self.send(text) {
                break;
            }
            self.unsent.pop_front();
        }
        self.retry_at = (!self.unsent.is_empty()).then_some(now + RETRY);
    }

    /// Sends a message. Returns false if it must be sent again, because the socket had no room or
    /// the call was interrupted.
    fn send(&self, text: &str) -> bool {
        let Some((fd, address)) = &self.socket else {
            return true;
        };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        // Other errors count as sent: a service manager that has ended gets no further messages.
        let sent = sendto(fd, text.as_bytes(), flags, address);
        !matches!(sent, Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR))
    }
}

/// Parses the address: a path, or `@` and the name of an abstract socket.
fn address(name: &[u8]) -> Option<SocketAddrUnix> {
    match name {
        [b'@', rest @ ..] if !rest.is_empty() => SocketAddrUnix::new_abstract_name(rest).ok(),
        [b'/', ..] => SocketAddrUnix::new(name).ok(),
        _ => None,
    }
}

/// Returns the interval of watchdog pings; None if this process must not send any.
fn every(wanted: &NotifyEnvironment) -> Option<Duration> {
    let number = |text: &Option<OsString>| text.as_ref()?.to_str()?.parse::<u64>().ok();
    let other = |pid: u64| pid != u64::from(std::process::id());
    if number(&wanted.watchdog_process).is_some_and(other) {
        return None;
    }
    let usec = number(&wanted.watchdog).filter(|usec| *usec > 0)?;
    Some(Duration::from_micros(usec) / SIGNS)
}

fn line(text: &str) -> String {
    let mut text = text.replace(['\n', '\r'], " ");
    text.truncate(language::truncated(&text, STATUS_BYTES_MAX).len());
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
    fn events_and_two_watchdog_pings_per_interval_are_sent() {
        let name = format!("evenkeel-notify-{}", std::process::id());
        let fd = manager(name.as_bytes());
        let mut notify = Notify::to(&NotifyEnvironment {
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

    /// Returns the kinds of all messages until the sender is silent.
    fn all_heard(fd: &OwnedFd, notify: &mut Notify) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let before = told.len();
            while let Some(text) = heard(fd) {
                told.push(text.split('=').next().unwrap().to_owned());
            }
            if told.len() == before {
                return told;
            }
            notify.look_at_clock(Instant::now() + RETRY);
        }
    }

    #[test]
    fn blocked_notifications_are_sent_later_in_order() {
        let name = format!("evenkeel-notify-full-{}", std::process::id());
        let fd = manager(name.as_bytes());
        let wanted = NotifyEnvironment {
            socket: Some(format!("@{name}").into()),
            ..NotifyEnvironment::default()
        };
        let mut notify = Notify::to(&wanted);
        while notify.deadline().is_none() {
            notify.status("waits");
        }
        notify.reloading("changing");
        notify.refused("as before");
        let mut next = Notify::to(&wanted);
        next.take_over(&notify.hand_over());
        let told = all_heard(&fd, &mut notify);
        let unsent = ["STATUS", "RELOADING", "READY"];
        assert_eq!(told[told.len() - 3..], unsent);
        assert_eq!(notify.deadline(), None);
        next.look_at_clock(Instant::now() + RETRY);
        assert_eq!(all_heard(&fd, &mut next), unsent);
        assert_eq!(next.deadline(), None);
        for _ in 0..1000 {
            notify.status("waits");
        }
        assert_eq!(notify.unsent.len(), UNSENT_MAX);
    }

    #[test]
    fn no_notification_without_a_valid_address() {
        for name in ["", "@", "relative", "vsock:2:1234"] {
            let notify = Notify::to(&NotifyEnvironment {
                socket: Some(name.into()),
                ..NotifyEnvironment::default()
            });
            assert!(notify.socket.is_none(), "{name}");
        }
        assert!(Notify::to(&NotifyEnvironment::default()).socket.is_none());
    }

    #[test]
    fn watchdog_of_another_process_gets_no_ping() {
        let wanted = |usec: &str, pid: Option<u32>| NotifyEnvironment {
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
