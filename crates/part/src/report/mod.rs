//! Describes the state of everything in a role as one value: [`StatusReport`]. A role creates it,
//! processes forward it as bytes, and renderers show it on the terminal, to programs, to Prometheus
//! and on the statistics page.
//!
//! A report contains the names and units of its numbers, so a renderer needs no knowledge of the
//! part. A compromised role may have written the report: what [`StatusReport::decode`] allocates is
//! bounded by the bytes that it reads, and every renderer escapes what its medium would interpret.

mod html;
mod json;
mod prometheus;
mod text;

pub use html::escape;
pub use prometheus::escaped;
pub use text::span;

use crate::clock::{boottime_ms, unix_ms};
use crate::codec::{self, InvalidEncoding};
use crate::role::{Level, PartMessage, SupervisorMessage};
use crate::{SharedFd, memory, words};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::{mem, slice};

pub const BYTES_MAX: usize = 16 << 20;

/// Maximum nesting of values; each level of children takes four.
const DEPTH_MAX: usize = 32;

/// Maximum size of the typed status of a subject that is read, in bytes.
const STATUS_BYTES_MAX: usize = 64 << 10;
const STATUS_DEPTH_MAX: usize = 12;

const SUMMARY_MAX: usize = 200;

/// Kind of the only subject in the report of a part that does not report.
pub const PART: &str = "part";

/// The status of a part in a few words.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    pub part: String,
    pub grade: Grade,
    /// Subjects grouped by state: `2 ready, mail degraded`.
    pub words: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StatusReport {
    pub part: String,
    pub at: Moment,
    pub subjects: Vec<Subject>,
    /// Descriptions of the numbers, by name; also the order of the metrics.
    pub rows: Vec<NumberRow>,
}

/// A point in time on two clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Moment {
    /// CLOCK_BOOTTIME in milliseconds; durations are calculated from this clock.
    pub boottime_ms: u64,
    /// Milliseconds since 1970, for display only.
    pub unix_ms: u64,
}

impl Moment {
    /// Reads the boot-time clock and the wall clock.
    pub fn now() -> Moment {
        Moment {
            boottime_ms: boottime_ms(),
            unix_ms: unix_ms(),
        }
    }
}

// No other field here may be optional for a writer: a subject of one byte would become a value of
// some hundred bytes, and the size of a report would no longer bound the memory.

/// An object that a report describes, such as a virtual address.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    /// Kind of the subject: `virtual-ip`.
    pub kind: String,
    /// Name, unique among the subjects of its kind.
    pub name: String,
    /// Label of the metrics that holds the name; empty for none.
    pub label: String,
    pub state: SubjectState,
    pub since: Option<Moment>,
    pub why: String,
    pub facts: Vec<Fact>,
    /// Numbers, by the names of [`StatusReport::rows`].
    pub numbers: Vec<(String, u64)>,
    pub children: Vec<Subject>,
    /// Last state changes, the newest last.
    pub events: Vec<Event>,
    pub offers: Vec<SubjectAction>,
    /// Encoded status for programs, of a type in [`crate::status`]; empty if the part, or an older
    /// version of it, publishes none. Decisions depend on this, never on a text.
    #[serde(default, with = "serde_bytes")]
    pub status: Vec<u8>,
}

/// An action that an operator may request for a subject: a message to the part of the report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SubjectAction {
    /// Name, unique among the actions of the subject: `move beta`.
    pub word: String,
    /// Label of the button: `Move to beta`.
    pub label: String,
    /// The consequence, for an action that the operator must confirm first; empty for an immediate
    /// action.
    pub follows: String,
    pub level: Level,
    pub kind: u16,
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// Protocol of the connection that is sent with the message; None sends no connection.
    #[serde(default)]
    pub opens: Option<Opens>,
}

/// The protocol that a part speaks over a connection that it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Opens {
    /// A display with keyboard and mouse: an RFB server (RFC 6143).
    #[default]
    Display,
    /// A serial terminal: raw bytes.
    Terminal,
    /// A display with keyboard and mouse: a SPICE server. Each of its channels has a connection of
    /// its own. A response that is not SPICE at the start of a connection is an error message as
    /// text.
    Spice,
}

impl Opens {
    /// Returns the noun for messages: `display` or `terminal`.
    pub fn noun(self) -> &'static str {
        match self {
            Opens::Display | Opens::Spice => "display",
            Opens::Terminal => "terminal",
        }
    }

    /// Returns the error message for a second user of a connection that only one user may have.
    /// `who` is the current user; empty if unknown.
    pub fn in_use(self, who: &str) -> String {
        let by = if who.is_empty() { "" } else { " by " };
        format!("its {} is in use{by}{who}: end that one first", self.noun())
    }
}

impl SubjectAction {
    pub fn new(word: &str, label: &str, message: PartMessage) -> SubjectAction {
        SubjectAction {
            word: word.to_owned(),
            label: label.to_owned(),
            follows: String::new(),
            level: Level::Operator,
            kind: message.kind,
            bytes: message.bytes,
            opens: None,
        }
    }

    pub fn opens(mut self, what: Opens) -> SubjectAction {
        self.opens = Some(what);
        self
    }

    /// Makes the action require a confirmation by the operator, which shows these words as the
    /// consequence.
    pub fn follows(mut self, words: &str) -> SubjectAction {
        self.follows = words.to_owned();
        self
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SubjectState {
    /// The field's word for the state: `MASTER`, `up`.
    pub word: String,
    pub grade: Grade,
}

/// The severity of a state, for colours and alarms; the worst is the greatest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Unknown, or neither healthy nor failed.
    #[default]
    Unknown,
    Good,
    Standby,
    Busy,
    Bad,
}

/// A named value of a subject.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fact {
    pub name: String,
    pub value: FactValue,
    /// Label of the metrics that holds the value; empty for none.
    pub label: String,
    /// True if a text report shows the fact on the line of the previous fact.
    pub joined: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FactValue {
    Text(String),
    List(Vec<String>),
    /// Texts that are shown on a line each.
    Lines(Vec<String>),
}

/// A change of a subject's state, for the history.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Event {
    pub at: Moment,
    pub from: String,
    pub to: String,
    pub why: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NumberRow {
    /// Name, unique in a report.
    pub name: String,
    pub words: String,
    pub unit: Unit,
    pub kind: NumberKind,
    /// Name of the metric; empty if the number is not exported.
    pub metric: String,
    /// True if the value is 1 for yes and 0 for no.
    #[serde(default)]
    pub is_flag: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A count or a rank, without a unit.
    Count,
    Seconds,
    /// Milliseconds; exported to metrics as seconds.
    Milliseconds,
    /// Microseconds; exported to metrics as seconds.
    Microseconds,
}

/// The way in which a number changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberKind {
    Counter,
    Gauge,
}

impl StatusReport {
    pub fn encode(&self) -> Vec<u8> {
        if words::is_noisy() {
            return codec::encode(&self.clone().with_noise());
        }
        codec::encode(self)
    }

    /// Replaces every text for people by noise. Identifiers, numbers and typed statuses stay.
    pub fn with_noise(mut self) -> StatusReport {
        self.subjects.iter_mut().for_each(Subject::add_noise);
        for row in &mut self.rows {
            row.words = words::noise(&row.words);
        }
        self
    }

    /// Returns the response to a request for the report. The report is a memory file among the
    /// descriptors; the file is missing if the system has no memory for it.
    pub fn answer(mut self) -> (SupervisorMessage, Vec<SharedFd>) {
        self.subjects.iter_mut().for_each(Subject::strip_numbers);
        let file = memory::create("evenkeel report", &self.encode());
        let bytes = Vec::new();
        (
            SupervisorMessage::Answer { bytes },
            file.map(Arc::new).into_iter().collect(),
        )
    }

    /// Decodes a report that another process wrote.
    ///
    /// # Errors
    /// The bytes are longer or nested deeper than a valid report, or no report.
    pub fn decode(bytes: &[u8]) -> Result<StatusReport, InvalidEncoding> {
        codec::decode_within(bytes, BYTES_MAX, DEPTH_MAX)
    }

    pub fn find(&self, kind: &str, name: &str) -> Option<&Subject> {
        let mut all = self.subjects.iter();
        all.find(|one| one.kind == kind && one.name == name)
    }

    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Subject> {
        of_kind(&self.subjects, kind)
    }

    pub fn silent(part: &str, why: &str) -> StatusReport {
        let mut subject = Subject::new(PART, part).state("unknown", Grade::Bad);
        why.clone_into(&mut subject.why);
        StatusReport {
            part: part.to_owned(),
            subjects: vec![subject],
            ..StatusReport::default()
        }
    }

    /// Returns the status of the part in a few words: its subjects by state, the worst first.
    pub fn summary(&self) -> Summary {
        let mut states: BTreeMap<(Reverse<Grade>, &str), Vec<&str>> = BTreeMap::new();
        for Subject { state, name, .. } in &self.subjects {
            let of_state = states.entry((Reverse(state.grade), &state.word));
            of_state.or_default().push(name);
        }
        let grade = states.keys().next().map(|(Reverse(grade), _)| *grade);
        let words = states.iter().map(|((_, word), names)| match names[..] {
            [name] => format!("{name} {word}"),
            _ => format!("{} {word}", names.len()),
        });
        let words = words.collect::<Vec<_>>().join(", ");
        Summary {
            part: self.part.clone(),
            grade: grade.unwrap_or_default(),
            words: words.chars().take(SUMMARY_MAX).collect(),
        }
    }

    fn row(&self, name: &str) -> Option<&NumberRow> {
        self.rows.iter().find(|row| row.name == name)
    }
}

fn of_kind<'a>(subjects: &'a [Subject], kind: &'a str) -> impl Iterator<Item = &'a Subject> {
    subjects.iter().filter(move |one| one.kind == kind)
}

impl Subject {
    /// Removes the error numbers that Rust appends to the text of system errors.
    fn strip_numbers(&mut self) {
        let events = self.events.iter_mut().map(|event| &mut event.why);
        let facts = self
            .facts
            .iter_mut()
            .flat_map(|fact| match &mut fact.value {
                FactValue::Text(text) => slice::from_mut(text),
                FactValue::List(words) | FactValue::Lines(words) => words,
            });
        for text in facts.chain(events).chain([&mut self.why]) {
            *text = language::without_numbers(mem::take(text));
        }
        self.children.iter_mut().for_each(Subject::strip_numbers);
    }

    fn add_noise(&mut self) {
        let events = self.events.iter_mut();
        let events = events.flat_map(|event| [&mut event.from, &mut event.to, &mut event.why]);
        let offers = self.offers.iter_mut();
        let offers = offers.flat_map(|offer| [&mut offer.label, &mut offer.follows]);
        let facts = self
            .facts
            .iter_mut()
            .flat_map(|fact| match &mut fact.value {
                FactValue::Text(text) => slice::from_mut(text),
                FactValue::List(words) | FactValue::Lines(words) => words,
            });
        let own = [&mut self.why, &mut self.state.word];
        for text in facts.chain(events).chain(offers).chain(own) {
            *text = words::noise(text);
        }
        self.children.iter_mut().for_each(Subject::add_noise);
    }

    pub fn publish<T: Serialize>(mut self, status: &T) -> Subject {
        self.status = codec::encode(status);
        self
    }

    /// Returns the status that the part published; None if there is none of this type.
    pub fn status<T: DeserializeOwned>(&self) -> Option<T> {
        codec::decode_within(&self.status, STATUS_BYTES_MAX, STATUS_DEPTH_MAX).ok()
    }

    pub fn new(kind: &str, name: &str) -> Subject {
        Subject {
            kind: kind.to_owned(),
            name: name.to_owned(),
            ..Subject::default()
        }
    }

    pub fn label(mut self, label: &str) -> Subject {
        self.label = label.to_owned();
        self
    }

    pub fn state(mut self, word: &str, grade: Grade) -> Subject {
        self.state = SubjectState {
            word: word.to_owned(),
            grade,
        };
        self
    }

    /// Adds a fact on a line of its own.
    pub fn fact(mut self, name: &str, text: impl Into<String>) -> Subject {
        self.add(name, FactValue::Text(text.into()), false);
        self
    }

    /// Adds a fact on the line of the previous one.
    pub fn joined(mut self, name: &str, text: impl Into<String>) -> Subject {
        self.add(name, FactValue::Text(text.into()), true);
        self
    }

    /// Exports the last fact to metrics under this label.
    pub fn as_label(mut self, label: &str) -> Subject {
        if let Some(fact) = self.facts.last_mut() {
            fact.label = label.to_owned();
        }
        self
    }

    /// Adds a fact of several words on one line; adds nothing if the list is empty.
    pub fn list(mut self, name: &str, words: Vec<String>) -> Subject {
        if !words.is_empty() {
            self.add(name, FactValue::List(words), false);
        }
        self
    }

    /// Adds a fact of several lines; adds nothing if there are none.
    pub fn lines(mut self, name: &str, lines: Vec<String>) -> Subject {
        if !lines.is_empty() {
            self.add(name, FactValue::Lines(lines), false);
        }
        self
    }

    fn add(&mut self, name: &str, value: FactValue, joined: bool) {
        self.facts.push(Fact {
            name: name.to_owned(),
            value,
            label: String::new(),
            joined,
        });
    }

    /// Adds a number; `name` refers to a row of the report.
    pub fn number(mut self, name: &str, value: u64) -> Subject {
        self.numbers.push((name.to_owned(), value));
        self
    }

    pub fn children(mut self, children: impl IntoIterator<Item = Subject>) -> Subject {
        self.children.extend(children);
        self
    }

    pub fn value(&self, name: &str) -> Option<u64> {
        let found = self.numbers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    }

    pub fn words(&self, name: &str) -> Option<String> {
        let found = self.facts.iter().find(|fact| fact.name == name);
        found.map(|fact| fact.value.words())
    }

    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Subject> {
        of_kind(&self.children, kind)
    }
}

impl FactValue {
    fn words(&self) -> String {
        match self {
            FactValue::Text(text) => text.clone(),
            FactValue::List(words) | FactValue::Lines(words) => words.join(", "),
        }
    }
}

impl NumberRow {
    /// Creates the row of a number: a counter if the name of its metric ends with
    /// `_total`, otherwise a gauge.
    pub fn new(name: &str, metric: &str, words: &str) -> NumberRow {
        NumberRow {
            name: name.to_owned(),
            words: words.to_owned(),
            unit: Unit::Count,
            kind: if metric.ends_with("_total") {
                NumberKind::Counter
            } else {
                NumberKind::Gauge
            },
            metric: metric.to_owned(),
            is_flag: false,
        }
    }

    pub fn flag(mut self) -> NumberRow {
        self.is_flag = true;
        self
    }

    pub fn unit(mut self, unit: Unit) -> NumberRow {
        self.unit = unit;
        self
    }
}

#[cfg(test)]
mod tests;
