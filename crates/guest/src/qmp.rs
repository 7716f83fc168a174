//! Decodes and encodes the QEMU Machine Protocol (QEMU manual, "QEMU Machine Protocol
//! Specification") without I/O. A message is one line of JSON.
//!
//! The module knows no commands: the sender of a command knows its result.

use serde_json::{Map, Value};
use thiserror::Error;

/// Maximum length of a line, bytes. The longest replies to the commands that Evenkeel sends have
/// some kilobytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Reason why the other end of the connection is not QEMU, or not a supported version of QEMU.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum QmpError {
    #[error("QEMU sent a line of more than {LINE_BYTES_MAX} bytes")]
    LongLine,
    #[error("QEMU sent what is not JSON: {0}")]
    NotJson(String),
    #[error("QEMU sent an unknown message: {0}")]
    Unknown(String),
}

#[derive(Clone, PartialEq, Debug)]
pub enum QmpMessage {
    /// Greeting, the first message. `qmp_capabilities` has to be the first command.
    Greeting {
        /// QEMU version: major, minor, micro.
        version: [u64; 3],
    },
    Done {
        id: u64,
        value: Value,
    },
    Refused {
        /// Number of the command that failed; None: QEMU could not parse the command.
        id: Option<u64>,
        /// Error class, such as `GenericError` or `CommandNotFound`.
        class: String,
        words: String,
    },
    Event {
        name: String,
        data: Map<String, Value>,
    },
}

/// Client side of a QMP connection.
#[derive(Debug, Default)]
pub struct Qmp {
    begun: Vec<u8>,
    last: u64,
}

impl Qmp {
    /// Encodes a command. Returns the number that its reply will have, and the bytes.
    pub fn command(&mut self, name: &str, arguments: Map<String, Value>) -> (u64, Vec<u8>) {
        self.last += 1;
        let mut command = Map::new();
        command.insert("execute".to_owned(), name.into());
        if !arguments.is_empty() {
            command.insert("arguments".to_owned(), arguments.into());
        }
        command.insert("id".to_owned(), self.last.into());
        let mut bytes = Value::from(command).to_string().into_bytes();
        bytes.push(b'\n');
        (self.last, bytes)
    }

    /// Decodes received bytes and returns the messages that are complete now.
    ///
    /// # Errors
    /// A line is invalid or too long. The connection is no longer usable.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<QmpMessage>, QmpError> {
        let mut said = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = rest.split_at(end);
            rest = &behind[1..];
            let whole = if self.begun.is_empty() {
                read(line)?
            } else {
                self.keep(line)?;
                read(&std::mem::take(&mut self.begun))?
            };
            said.extend(whole);
        }
        self.keep(rest)?;
        Ok(said)
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), QmpError> {
        if self.begun.len() + part.len() > LINE_BYTES_MAX {
            return Err(QmpError::LongLine);
        }
        self.begun.extend_from_slice(part);
        Ok(())
    }
}

fn read(line: &[u8]) -> Result<Option<QmpMessage>, QmpError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(QmpError::LongLine);
    }
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    let value: Value =
        serde_json::from_slice(line).map_err(|error| QmpError::NotJson(error.to_string()))?;
    let Value::Object(message) = value else {
        return Err(QmpError::Unknown(shortened(&value)));
    };
    message_of(message).map(Some)
}

fn message_of(mut message: Map<String, Value>) -> Result<QmpMessage, QmpError> {
    let id = message.get("id").and_then(Value::as_u64);
    let words = |value: Option<&Value>| Some(value?.as_str()?.to_owned());
    if let (Some(id), Some(value)) = (id, message.remove("return")) {
        return Ok(QmpMessage::Done { id, value });
    }
    let refused = |error: &Value| {
        let class = words(error.get("class"))?;
        let words = words(error.get("desc"))?;
        Some(QmpMessage::Refused { id, class, words })
    };
    let greeting = |greeting: &Value| {
        let version = greeting.get("version")?.get("qemu")?;
        let number = |name| version.get(name).and_then(Value::as_u64);
        let version = [number("major")?, number("minor")?, number("micro")?];
        Some(QmpMessage::Greeting { version })
    };
    let event = |name: &Value| {
        let data = message.get("data").and_then(Value::as_object);
        Some(QmpMessage::Event {
            name: name.as_str()?.to_owned(),
            data: data.cloned().unwrap_or_default(),
        })
    };
    let said = message
        .get("error")
        .and_then(refused)
        .or_else(|| message.get("event").and_then(event))
        .or_else(|| message.get("QMP").and_then(greeting));
    said.ok_or_else(|| QmpError::Unknown(shortened(&Value::Object(message))))
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const SESSION: &str = concat!(
        r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}"#,
        "\r\n",
        r#"{"return": {}, "id": 1}"#,
        "\r\n",
        r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#,
        "\r\n\r\n",
        r#"{"id": 2, "error": {"class": "CommandNotFound", "desc": "The command x has not been found"}}"#,
        "\r\n",
        r#"{"error": {"class": "GenericError", "desc": "JSON parse error"}}"#,
        "\r\n",
        r#"{"timestamp": {}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#,
        "\r\n",
    );

    fn session() -> Vec<QmpMessage> {
        let refused = |id, class: &str, words: &str| QmpMessage::Refused {
            id,
            class: class.to_owned(),
            words: words.to_owned(),
        };
        let event = |name: &str, data: Value| QmpMessage::Event {
            name: name.to_owned(),
            data: data.as_object().cloned().unwrap(),
        };
        vec![
            QmpMessage::Greeting {
                version: [7, 2, 22],
            },
            QmpMessage::Done {
                id: 1,
                value: json!({}),
            },
            event("STOP", json!({})),
            refused(
                Some(2),
                "CommandNotFound",
                "The command x has not been found",
            ),
            refused(None, "GenericError", "JSON parse error"),
            event(
                "SHUTDOWN",
                json!({"guest": true, "reason": "guest-shutdown"}),
            ),
        ]
    }

    #[test]
    fn a_session_is_the_same_in_pieces_of_any_size() {
        for size in [1, 2, 7, 64, SESSION.len()] {
            let mut qmp = Qmp::default();
            let pieces = SESSION.as_bytes().chunks(size);
            let said: Vec<QmpMessage> = pieces.flat_map(|piece| qmp.take(piece).unwrap()).collect();
            assert_eq!(said, session(), "pieces of {size}");
        }
    }

    #[test]
    fn commands_are_lines_with_numbers() {
        let mut qmp = Qmp::default();
        let (id, bytes) = qmp.command("qmp_capabilities", Map::new());
        assert_eq!(
            (id, &*bytes),
            (1, &b"{\"execute\":\"qmp_capabilities\",\"id\":1}\n"[..])
        );
        let arguments = json!({"device": "a\nb"}).as_object().cloned().unwrap();
        let (id, bytes) = qmp.command("eject", arguments);
        let line = "{\"execute\":\"eject\",\"arguments\":{\"device\":\"a\\nb\"},\"id\":2}\n";
        assert_eq!((id, &*bytes), (2, line.as_bytes()));
    }

    #[test]
    fn protocol_violations_are_refused() {
        for (bytes, words) in [
            ("nonsense\n", "not JSON"),
            ("[]\n", "unknown message: []"),
            ("{\"return\": {}}\n", "unknown message"),
            ("{\"event\": 5}\n", "unknown message"),
            ("{\"QMP\": {\"version\": {}}}\n", "unknown message"),
        ] {
            let error = Qmp::default().take(bytes.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(words), "{bytes}: {error}");
        }
        let mut qmp = Qmp::default();
        let piece = [b' '; 4096];
        let ended = (0..=LINE_BYTES_MAX / piece.len()).find_map(|_| qmp.take(&piece).err());
        assert_eq!(ended, Some(QmpError::LongLine));
        let mut whole = vec![b' '; LINE_BYTES_MAX + 1];
        whole.push(b'\n');
        assert_eq!(Qmp::default().take(&whole), Err(QmpError::LongLine));
        // Nested as deeply as a line allows.
        let deep = "[".repeat(LINE_BYTES_MAX - 1) + "\n";
        assert!(Qmp::default().take(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_are_messages_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Qmp::default().take(&bytes);
        }
    }
}
