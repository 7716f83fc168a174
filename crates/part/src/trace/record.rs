//! Encodes and formats a trace event, whose size is bounded.

use crate::codec::{self, InvalidEncoding};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use language::log_levels::LEVELS;
use language::truncated;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt::{self, Write};

pub const RECORD_BYTES_MAX: usize = 2_032;
pub const MESSAGE_BYTES_MAX: usize = 1_024;
pub const VALUE_BYTES_MAX: usize = 256;
pub const FIELDS_MAX: usize = 16;
/// Maximum number of spans of an event: the innermost ones.
pub const SPANS_MAX: usize = 4;
const DEPTH_MAX: usize = 8;

/// Trace event of a process, as a ring contains it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct TraceRecord {
    /// Time of the event, microseconds since 1970.
    #[serde(rename = "t")]
    pub time_us: i64,
    /// Level of the event: from 1 (error) to 5 (trace).
    #[serde(rename = "l")]
    pub level: u8,
    #[serde(rename = "p")]
    pub process: u32,
    /// Module path of the place in the code.
    #[serde(rename = "g")]
    pub target: String,
    #[serde(rename = "m")]
    pub message: String,
    #[serde(rename = "f")]
    pub fields: Vec<(String, String)>,
    /// Spans in which the event occurred, the innermost first.
    #[serde(rename = "s")]
    pub spans: Vec<TraceSpan>,
    /// True if a part of the event did not fit.
    #[serde(rename = "c")]
    pub is_cut: bool,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct TraceSpan {
    #[serde(rename = "i")]
    pub id: u64,
    #[serde(rename = "n")]
    pub name: String,
    #[serde(rename = "f")]
    pub fields: Vec<(String, String)>,
}

pub fn level_name(level: u8) -> &'static str {
    LEVELS[usize::from(level.clamp(1, 5))].name()
}

/// Text with a maximum size; the rest is dropped.
pub struct BoundedText {
    pub text: String,
    bytes_max: usize,
    pub is_cut: bool,
}

impl BoundedText {
    pub fn new(bytes_max: usize) -> BoundedText {
        BoundedText {
            text: String::new(),
            bytes_max,
            is_cut: false,
        }
    }
}

impl Write for BoundedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let kept = truncated(text, self.bytes_max.saturating_sub(self.text.len()));
        self.text.push_str(kept);
        if kept.len() == text.len() {
            return Ok(());
        }
        self.is_cut = true;
        // Stops the formatting by an error, so that the rest of a long value is not rendered.
        Err(fmt::Error)
    }
}

impl TraceRecord {
    /// Encodes the record. Of a record that is too long, the outer spans are dropped first, then
    /// the last fields, the innermost span, and the end of the message.
    pub fn encode(mut self) -> Vec<u8> {
        loop {
            let bytes = codec::encode(&self);
            if bytes.len() <= RECORD_BYTES_MAX {
                return bytes;
            }
            self.is_cut = true;
            if self.spans.len() > 1 {
                self.spans.pop();
            } else if self.fields.pop().is_none() && self.spans.pop().is_none() {
                let end = truncated(&self.message, self.message.len() / 2).len();
                self.message.truncate(end);
                // Ends the loop for an oversized target, which as a path in the source code does
                // not occur.
                if end == 0 {
                    self.target.clear();
                }
            }
        }
    }

    /// Decodes a record that any process could have written.
    ///
    /// # Errors
    /// The bytes are not a record.
    pub fn decode(bytes: &[u8]) -> Result<TraceRecord, InvalidEncoding> {
        codec::decode_within(bytes, RECORD_BYTES_MAX, DEPTH_MAX)
    }

    /// Returns the id of the operation to which the event belongs: the field `op` of the event or of
    /// its innermost span that has one.
    pub fn operation(&self) -> Option<&str> {
        let spans = self.spans.iter().flat_map(|span| &span.fields);
        let mut fields = self.fields.iter().chain(spans);
        fields
            .find(|(name, _)| name == "op")
            .map(|(_, value)| value.as_str())
    }

    pub fn all_fields(&self) -> Vec<(&str, &str)> {
        let spans = self.spans.iter().flat_map(|span| &span.fields);
        let mut all: Vec<(&str, &str)> = Vec::new();
        for (name, value) in self.fields.iter().chain(spans) {
            if !all.iter().any(|(known, _)| known == name) {
                all.push((name, value));
            }
        }
        all
    }

    /// Formats the time in this time zone, with the date.
    pub fn time(&self, zone: &TimeZone) -> String {
        let time = Timestamp::from_microsecond(self.time_us).unwrap_or_default();
        let time = time.to_zoned(zone.clone());
        time.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
    }

    /// Formats the record as one line of the role: columns for time, role, process, level and
    /// target, then the message and the fields. Control characters are escaped.
    pub fn line(&self, role: &str, zone: &TimeZone) -> String {
        let mut line = format!(
            "{}  {role:<10} {:>7}  {:<5}  {:<24}  {}",
            self.time(zone),
            self.process,
            level_name(self.level),
            escaped(&self.target),
            escaped(&self.message),
        );
        for (name, value) in self.all_fields() {
            // Ignores the result: writing to a string cannot fail.
            let _ = write!(line, " {}={}", escaped(name), quoted(value));
        }
        if self.is_cut {
            line.push_str(" (cut)");
        }
        line
    }

    pub fn json(&self, role: &str) -> Value {
        let fields = self.all_fields().into_iter();
        let fields: Map<String, Value> = fields
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let spans: Vec<Value> = self
            .spans
            .iter()
            .map(|span| serde_json::json!({ "id": span.id, "name": span.name }))
            .collect();
        let time = Timestamp::from_microsecond(self.time_us).unwrap_or_default();
        serde_json::json!({
            "time": time.to_string(),
            "role": role,
            "process": self.process,
            "level": level_name(self.level),
            "target": self.target,
            "message": self.message,
            "fields": fields,
            "spans": spans,
            "cut": self.is_cut,
        })
    }
}

/// Escapes control characters, so that a value can neither begin a line nor command a terminal.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Returns whether a character changes the direction or the place of others.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// As [`escaped`]; a value that is not a single word gets quotes.
fn quoted(value: &str) -> String {
    let is_word = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=');
    if !value.is_empty() && value.chars().all(is_word) {
        return escaped(value);
    }
    format!(
        "\"{}\"",
        escaped(&value.replace('\\', "\\\\").replace('"', "\\\""))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> TraceRecord {
        TraceRecord {
            time_us: 1_700_000_000_123_456,
            level: 3,
            process: 42,
            target: "volume::mirror".to_owned(),
            message: "resync started".to_owned(),
            fields: vec![
                ("volume".to_owned(), "disk1".to_owned()),
                ("reason".to_owned(), "was behind".to_owned()),
            ],
            spans: vec![TraceSpan {
                id: 7,
                name: "resync".to_owned(),
                fields: vec![("op".to_owned(), "7f3a9c".to_owned())],
            }],
            is_cut: false,
        }
    }

    #[test]
    fn record_is_decoded_as_it_was_encoded() {
        let bytes = record().encode();
        assert_eq!(TraceRecord::decode(&bytes).expect("a record"), record());
        assert_eq!(record().operation(), Some("7f3a9c"));
    }

    #[test]
    fn line_has_columns_and_every_field_once() {
        let line = record().line("volume", &TimeZone::UTC);
        assert_eq!(
            line,
            "2023-11-14 22:13:20.123456  volume          42  info   volume::mirror            \
             resync started volume=disk1 reason=\"was behind\" op=7f3a9c"
        );
        let json = record().json("volume");
        assert_eq!(json["fields"]["op"], "7f3a9c");
        assert_eq!(json["spans"][0]["name"], "resync");
        assert_eq!(json["time"], "2023-11-14T22:13:20.123456Z");
    }

    #[test]
    fn hostile_text_stays_on_its_line() {
        let hostile = TraceRecord {
            message: "a\nforged \u{1b}[2J".to_owned(),
            fields: vec![("x\n".to_owned(), "\u{202e}\"b".to_owned())],
            time_us: i64::MAX,
            ..record()
        };
        let line = hostile.line("volume", &TimeZone::UTC);
        assert!(!line.contains(['\n', '\u{1b}', '\u{202e}']), "{line}");
        assert!(line.contains("\\\"b"), "{line}");
    }

    #[test]
    fn long_events_are_cut_to_the_size_of_a_record() {
        let long = "x".repeat(VALUE_BYTES_MAX);
        let fields: Vec<_> = (0..FIELDS_MAX)
            .map(|n| (format!("field{n}"), long.clone()))
            .collect();
        let record = TraceRecord {
            message: "\u{e4}".repeat(MESSAGE_BYTES_MAX / 2),
            fields: fields.clone(),
            spans: vec![
                TraceSpan {
                    fields,
                    ..TraceSpan::default()
                };
                SPANS_MAX
            ],
            ..record()
        };
        let bytes = record.encode();
        assert!(bytes.len() <= RECORD_BYTES_MAX);
        let read = TraceRecord::decode(&bytes).expect("a record");
        assert!(read.is_cut && read.message.starts_with('\u{e4}'));
    }

    #[test]
    fn text_ends_at_its_bound() {
        let mut text = BoundedText::new(5);
        let ended = write!(text, "a{}", "\u{e4}".repeat(1_000));
        assert!(ended.is_err() && text.is_cut);
        assert_eq!(text.text, "a\u{e4}\u{e4}");
    }
}
