//! Writes the log under the name `keepalived`: to the console, the system log or a file, as
//! configured on the command line. Writing never blocks: a line that a target does not accept is
//! lost and counted, because the address role logs between two adverts.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use language::{Diagnostics, Severity, SourceMap};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const SYSTEM_LOG: &str = "/dev/log";
/// Syslog facility `daemon`, keepalived's default.
pub const FACILITY_DAEMON: u8 = 3;
/// Maximum length of a line in bytes: a pipe that polls as writable has room for it.
const LINE_BYTES_MAX: usize = 4_000;

/// Severity of a log line; keepalived's levels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// An error that persists until an operator acts.
    Error,
    Warning,
    Notice,
    Info,
    /// Details that are only logged with `--log-detail` (`-D`).
    Detail,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct LogWish {
    pub console: bool,
    /// Syslog facility, if lines go to the system log.
    pub facility: Option<u8>,
    pub file: Option<Vec<u8>>,
    /// True if each line is flushed to the file (`--flush-log-file`).
    pub flush: bool,
    pub detail: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaker {
    Parent,
    Vrrp,
}

impl Speaker {
    fn ident(self) -> &'static str {
        match self {
            Speaker::Parent => "Keepalived",
            Speaker::Vrrp => "Keepalived_vrrp",
        }
    }
}

#[derive(Debug)]
pub struct Log {
    wish: LogWish,
    speaker: Speaker,
    system: Option<OwnedFd>,
    file: Option<File>,
    /// Read when the log is opened, because the process may change its root directory later.
    zone: TimeZone,
    lost: u64,
}

impl Log {
    /// Opens all available targets; a missing target is no error.
    pub fn open(wish: LogWish, speaker: Speaker) -> Log {
        let path = wish.file.as_deref().map(|path| file_of(path, speaker));
        let file = path.and_then(|path| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o644)
                .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
                .open(path)
                .ok()
        });
        let mut log = Log {
            wish,
            speaker,
            system: None,
            file,
            zone: TimeZone::system(),
            lost: 0,
        };
        log.connect();
        log
    }

    fn connect(&mut self) {
        self.system = None;
        if self.wish.facility.is_none() {
            return;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
        if let (Ok(socket), Ok(address)) = (socket, SocketAddrUnix::new(SYSTEM_LOG))
            && connect(&socket, &address).is_ok()
        {
            self.system = Some(socket);
        }
    }

    pub fn line(&mut self, level: Level, text: &str) {
        if level == Level::Detail && !self.wish.detail {
            return;
        }
        let text = text.chars().filter(|c| !c.is_control()).collect();
        let mut text = language::without_numbers(text);
        text.truncate(language::truncated(&text, LINE_BYTES_MAX).len());
        if self.wish.facility.is_some() {
            self.tell_system(level, &text);
        }
        if !self.wish.console && self.file.is_none() {
            return;
        }
        let now = Timestamp::now().to_zoned(self.zone.clone());
        let line = format!("{}: {text}\n", now.strftime("%a %b %e %H:%M:%S %Y"));
        if self.wish.console && !write_at_once(&rustix::stdio::stderr(), &line) {
            self.lost += 1;
        }
        if let Some(file) = &self.file {
            if !write_at_once(file, &line) {
                self.lost += 1;
            }
            if self.wish.flush {
                let _ = rustix::fs::fdatasync(file);
            }
        }
    }

    fn tell_system(&mut self, level: Level, text: &str) {
        let severity = match level {
            Level::Error => 3,
            Level::Warning => 4,
            Level::Notice => 5,
            Level::Info | Level::Detail => 6,
        };
        let facility = u32::from(self.wish.facility.unwrap_or(FACILITY_DAEMON));
        let now = Timestamp::now().to_zoned(self.zone.clone());
        let packet = format!(
            "<{}>{} {}[{}]: {text}",
            facility * 8 + severity,
            now.strftime("%b %e %H:%M:%S"),
            self.speaker.ident(),
            std::process::id(),
        );
        for _ in 0..2 {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let sent = self.system.as_ref();
            let sent = sent.map(|system| send(system, packet.as_bytes(), flags));
            match sent {
                Some(Ok(_)) => return,
                // Drops the line, because the socket buffer is full.
                Some(Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS)) => break,
                // Connects again: the syslog daemon was restarted, or was not running yet.
                Some(Err(_)) | None => self.connect(),
            }
        }
        self.lost += 1;
    }
}

/// Returns the path of the log file. The address role gets `_vrrp` before the last dot, as in
/// keepalived.
fn file_of(path: &[u8], speaker: Speaker) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(path));
    let Speaker::Vrrp = speaker else {
        return path.to_owned();
    };
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("_vrrp");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Writes a line if that is possible without blocking. Returns whether it was written.
pub fn write_at_once(to: &impl AsFd, line: &str) -> bool {
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut watched = [PollFd::new(to, PollFlags::OUT)];
    if !poll(&mut watched, Some(&at_once)).is_ok_and(|ready| ready > 0) {
        return false;
    }
    rustix::io::write(to, line.as_bytes()).is_ok_and(|written| written == line.len())
}

pub fn missing(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| format!("'{}'", path.display()))
        .collect();
    format!("Config files missing {}.", names.join(" "))
}

/// Renders diagnostics as keepalived does: one per line, followed by the advice.
pub fn rendered(sources: &SourceMap, diagnostics: &Diagnostics, diag: bool) -> String {
    let mut text = String::new();
    for one in diagnostics.iter() {
        if one.severity == Severity::Diag && !diag {
            continue;
        }
        if let Some(span) = one.primary {
            let line = sources.position(span).line;
            let name = &sources.file(span.file).name;
            text += &format!("({name}: Line {line}) ");
        }
        text += &one.message;
        if let Some(help) = &one.help {
            text += &format!(" ({help})");
        }
        text += &format!(" [{}]\n", one.code.id);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_has_its_own_log_file() {
        let of = |path: &str| file_of(path.as_bytes(), Speaker::Vrrp);
        assert_eq!(of("/var/log/k.log"), PathBuf::from("/var/log/k_vrrp.log"));
        assert_eq!(of("/var/log/k"), PathBuf::from("/var/log/k_vrrp"));
        let parents = file_of(b"/var/log/k.log", Speaker::Parent);
        assert_eq!(parents, PathBuf::from("/var/log/k.log"));
    }

    #[test]
    fn log_lines_have_a_date_and_details_are_optional() {
        let path = std::env::temp_dir().join(format!("evenkeel-klog-{}.log", std::process::id()));
        let wish = LogWish {
            file: Some(path.as_os_str().as_bytes().to_vec()),
            ..LogWish::default()
        };
        let mut log = Log::open(wish, Speaker::Parent);
        log.line(Level::Notice, "(VI_1) Entering MASTER STATE\n");
        log.line(Level::Detail, "not this");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(text.ends_with(": (VI_1) Entering MASTER STATE\n"), "{text}");
        assert_eq!((text.lines().count(), log.lost), (1, 0));
        // Expected format: `Fri Nov 20 21:28:53 2026: `.
        assert_eq!(text.find(": ("), Some(24), "{text}");
    }

    #[test]
    fn unread_pipe_does_not_block() {
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        let line = "x".repeat(LINE_BYTES_MAX);
        let written = (0..1_000).take_while(|_| write_at_once(&writer, &line));
        assert!(written.count() < 1_000);
    }
}
