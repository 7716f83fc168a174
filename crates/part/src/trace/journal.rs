//! Sends events to the journal of systemd, by its native protocol: one datagram for an event, with
//! one field for each of the event's (systemd, JOURNAL_NATIVE_PROTOCOL).

use super::record::TraceRecord;
use rustix::fs::fstat;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::net::{connect, send, socket_with};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

const SOCKET: &str = "/run/systemd/journal/socket";
/// Variable with device and inode of the stream to the journal.
pub const STREAM_VARIABLE: &str = "JOURNAL_STREAM";
const NAME_BYTES_MAX: usize = 64;
/// Fields that this module sets; an event's field of such a name gets a longer name.
const OWN_FIELDS: [&str; 3] = ["EVENKEEL_ROLE", "EVENKEEL_TARGET", "EVENKEEL_SPAN"];

pub struct Journal {
    socket: OwnedFd,
    role: &'static str,
}

impl Journal {
    /// Connects to the journal if standard error is a stream to it.
    pub fn of_standard_error(role: &'static str) -> Option<Journal> {
        let stream = std::env::var_os(STREAM_VARIABLE)?;
        is_stream(&stream).then(|| Journal::connect(Path::new(SOCKET), role).ok())?
    }

    /// Connects to the journal's socket.
    ///
    /// # Errors
    /// There is no such socket, or the process may not use it.
    pub fn connect(path: &Path, role: &'static str) -> io::Result<Journal> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Journal { socket, role })
    }

    /// Sends an event. Returns false if the journal does not accept it at once.
    pub fn send(&self, record: &TraceRecord) -> bool {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        send(&self.socket, &datagram(record, self.role), flags).is_ok()
    }
}

/// Returns whether standard error is the stream with this device and inode.
fn is_stream(text: &OsStr) -> bool {
    let identity = text.to_str().and_then(|text| text.split_once(':'));
    let Ok(data) = fstat(rustix::stdio::stderr()) else {
        return false;
    };
    identity.is_some_and(|(device, inode)| {
        device.parse() == Ok(data.st_dev) && inode.parse() == Ok(data.st_ino)
    })
}

fn datagram(record: &TraceRecord, role: &str) -> Vec<u8> {
    // Uses syslog's severities: 3 is an error, 7 a detail for developers.
    let priority = match record.level {
        0 | 1 => "3",
        2 => "4",
        3 => "6",
        _ => "7",
    };
    let mut bytes = Vec::new();
    push(&mut bytes, "MESSAGE", &record.message);
    push(&mut bytes, "PRIORITY", priority);
    push(&mut bytes, "SYSLOG_IDENTIFIER", "evenkeel");
    push(&mut bytes, "EVENKEEL_ROLE", role);
    push(&mut bytes, "EVENKEEL_TARGET", &record.target);
    if let Some(span) = record.spans.first() {
        push(&mut bytes, "EVENKEEL_SPAN", &span.name);
    }
    for (name, value) in record.all_fields() {
        push(&mut bytes, &field_name(name), value);
    }
    bytes
}

fn field_name(name: &str) -> String {
    let upper = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(upper).collect();
    let mut field = format!("EVENKEEL_{name}");
    if OWN_FIELDS.contains(&field.as_str()) {
        field = format!("EVENKEEL_FIELD_{name}");
    }
    field.truncate(NAME_BYTES_MAX);
    field
}

/// Appends a field; a value with line feeds is preceded by its length.
fn push(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    fn record() -> TraceRecord {
        TraceRecord {
            level: 2,
            target: "cluster::wire".to_owned(),
            message: "link lost".to_owned(),
            fields: vec![
                ("peer".to_owned(), "b".to_owned()),
                ("reason".to_owned(), "two\nlines".to_owned()),
                ("role".to_owned(), "x".to_owned()),
            ],
            ..TraceRecord::default()
        }
    }

    #[test]
    fn event_has_one_field_for_each_of_its_own() {
        let directory = lab::ScratchDirectory::new().expect("a directory");
        let path = directory.path().join("socket");
        let journald = UnixDatagram::bind(&path).expect("a socket");
        let limit = Some(Duration::from_secs(20));
        journald.set_read_timeout(limit).expect("a timeout");
        let journal = Journal::connect(&path, "cluster").expect("a connection");
        assert!(journal.send(&record()));
        let mut bytes = [0; 4_096];
        let length = journald.recv(&mut bytes).expect("a datagram");
        let mut wanted =
            b"MESSAGE=link lost\nPRIORITY=4\nSYSLOG_IDENTIFIER=evenkeel\nEVENKEEL_ROLE=cluster\n\
            EVENKEEL_TARGET=cluster::wire\nEVENKEEL_PEER=b\nEVENKEEL_REASON\n"
                .to_vec();
        wanted.extend(9_u64.to_le_bytes());
        wanted.extend(b"two\nlines\nEVENKEEL_FIELD_ROLE=x\n");
        assert_eq!(
            String::from_utf8_lossy(&bytes[..length]),
            String::from_utf8_lossy(&wanted)
        );
    }

    #[test]
    fn full_socket_drops_events_without_waiting() {
        let directory = lab::ScratchDirectory::new().expect("a directory");
        let path = directory.path().join("socket");
        let journald = UnixDatagram::bind(&path).expect("a socket");
        let journal = Journal::connect(&path, "cluster").expect("a connection");
        let refused = (0..100_000).any(|_| !journal.send(&record()));
        assert!(refused, "the queue of a datagram socket is bounded");
        drop(journald);
        assert!(!journal.send(&record()));
        assert!(Journal::connect(&directory.path().join("none"), "cluster").is_err());
    }

    #[test]
    fn names_of_fields_are_valid_in_the_journal() {
        for (name, wanted) in [
            ("volume", "EVENKEEL_VOLUME"),
            ("bytes.left", "EVENKEEL_BYTES_LEFT"),
            ("\u{e4}=\n", "EVENKEEL____"),
            ("target", "EVENKEEL_FIELD_TARGET"),
        ] {
            assert_eq!(field_name(name), wanted);
        }
        assert_eq!(field_name(&"x".repeat(100)).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn stream_of_another_process_is_not_the_journal() {
        for text in ["", "1", "0:0", "a:b"] {
            assert!(!is_stream(OsStr::new(text)), "{text}");
        }
        let data = fstat(rustix::stdio::stderr()).expect("standard error");
        assert!(is_stream(OsStr::new(&format!(
            "{}:{}",
            data.st_dev, data.st_ino
        ))));
    }
}
