//! The state of everything in a part, as one value: [`Report`]. A role makes it,
//! processes pass it on as bytes, and it is rendered once each for the terminal, for
//! programs, for Prometheus and for the statistics page.
//!
//! A report contains the names and units of its numbers, so a renderer needs to know
//! nothing of its part. A compromised role may have written it: what [`Report::decode`]
//! allocates is bounded by the bytes that it reads, and every renderer escapes what its
//! medium would interpret.

mod html;
mod json;
mod prometheus;
mod text;

pub use html::escape;
pub use prometheus::escaped;
pub use text::span;

use crate::codec::{self, Malformed};
use crate::role::{Level, Message, PartMessage};
use crate::{Shared, memory};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;
use std::{mem, slice};

/// The longest report that is read.
pub const BYTES_MAX: usize = 16 << 20;

/// How deep values may stand in each other; a child of a subject takes four.
const DEPTH_MAX: usize = 32;

/// Characters of a summary.
const SUMMARY_MAX: usize = 200;

/// The kind of the only subject of a part that does not report.
pub const PART: &str = "part";

/// How a part is, in a few words.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// The part's name.
    pub part: String,
    /// The worst state of its subjects.
    pub grade: Grade,
    /// Its subjects by their states: `2 ready, mail degraded`.
    pub words: String,
}

/// How the things of a part are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The part's name.
    pub part: String,
    /// When it was made.
    pub at: Moment,
    /// The things.
    pub subjects: Vec<Subject>,
    /// Descriptions of the numbers, by name; also the order of the metrics.
    pub rows: Vec<NumberRow>,
}

/// A moment of two clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Moment {
    /// CLOCK_BOOTTIME, which decides.
    pub boottime_ms: u64,
    /// Since 1970, for people.
    pub unix_ms: u64,
}

impl Moment {
    /// The present.
    pub fn now() -> Moment {
        let boottime = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(boottime.tv_sec).unwrap_or_default();
        let rest = u64::try_from(boottime.tv_nsec).unwrap_or_default();
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix = unix.unwrap_or_default().as_millis();
        Moment {
            boottime_ms: seconds
                .saturating_mul(1_000)
                .saturating_add(rest / 1_000_000),
            unix_ms: u64::try_from(unix).unwrap_or(u64::MAX),
        }
    }
}

// No field here may be left out by a writer: a thing of one byte would become a value of
// some hundred, and the bytes of a report would bound nothing.

/// A thing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    /// Kind of thing: `virtual-ip`.
    pub kind: String,
    /// Its name, distinct among those of its kind.
    pub name: String,
    /// The label of metrics that has its name; empty: none has.
    pub label: String,
    /// Its current state.
    pub state: State,
    /// Since when.
    pub since: Option<Moment>,
    /// Why, in words.
    pub why: String,
    /// Further facts, in the order of the display.
    pub facts: Vec<Fact>,
    /// Its numbers, by the names of [`Report::rows`].
    pub numbers: Vec<(String, u64)>,
    /// The subjects that it contains.
    pub children: Vec<Subject>,
    /// Its last changes, the newest last.
    pub events: Vec<Event>,
    /// What an operator may do with it now.
    pub offers: Vec<Offer>,
}

/// Something that an operator may do with a subject: a message to the part of the report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// Its name, distinct among those of the subject: `move beta`.
    pub word: String,
    /// On a button: `Move to beta`.
    pub label: String,
    /// What follows, for something that is to be confirmed first; empty: it is done at once.
    pub follows: String,
    /// Who may do it.
    pub level: Level,
    /// The kind of the message.
    pub kind: u16,
    /// The message.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// What the part speaks over a connection that comes with the message; None: it gets none.
    #[serde(default)]
    pub opens: Option<Opens>,
}

/// What a part speaks over a connection that it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Opens {
    /// A display with keyboard and mouse: a server of RFB (RFC 6143).
    #[default]
    Display,
    /// A serial terminal: the bytes as they are.
    Terminal,
    /// A display with keyboard and mouse: a server of SPICE. Each of its channels takes a connection of its own, and
    /// what is no response of SPICE at the beginning of one says why there is none.
    Spice,
}

impl Opens {
    /// What it is called.
    pub fn noun(self) -> &'static str {
        match self {
            Opens::Display | Opens::Spice => "display",
            Opens::Terminal => "terminal",
        }
    }

    /// Why somebody else does not get it, which has one user at a time. `who`: that user; empty: it is not known.
    pub fn in_use(self, who: &str) -> String {
        let by = if who.is_empty() { "" } else { " by " };
        format!("its {} is in use{by}{who}: end that one first", self.noun())
    }
}

impl Offer {
    /// What sends this message.
    pub fn new(word: &str, label: &str, message: PartMessage) -> Offer {
        Offer {
            word: word.to_owned(),
            label: label.to_owned(),
            follows: String::new(),
            level: Level::Operator,
            kind: message.kind,
            bytes: message.bytes,
            opens: None,
        }
    }

    /// A connection comes with the message, over which the part speaks this.
    pub fn opens(mut self, what: Opens) -> Offer {
        self.opens = Some(what);
        self
    }

    /// It is to be confirmed first, since this follows.
    pub fn follows(mut self, words: &str) -> Offer {
        self.follows = words.to_owned();
        self
    }
}

/// How something is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// The trade's word: `MASTER`, `up`.
    pub word: String,
    /// The grade of the state, for colours and alarms.
    pub grade: Grade,
}

/// The severity of a state, for colours and alarms; the worst is the greatest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Not known, or neither good nor bad.
    #[default]
    Unknown,
    /// It works.
    Good,
    /// Ready to take over.
    Standby,
    /// In transition.
    Busy,
    /// It does not work.
    Bad,
}

/// Something to be known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// Name of the fact.
    pub name: String,
    /// Value of the fact.
    pub value: Value,
    /// The label of metrics that has it; empty: none has.
    pub label: String,
    /// In a text it stands on the line of the fact before it.
    pub joined: bool,
}

/// The value of a fact.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Value {
    /// Words.
    Text(String),
    /// Words that stand on one line.
    List(Vec<String>),
    /// Words that stand on a line each.
    Lines(Vec<String>),
}

/// A state was entered.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Moment,
    /// The state before.
    pub from: String,
    /// The state after.
    pub to: String,
    /// Why, in words.
    pub why: String,
}

/// The description of a number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NumberRow {
    /// Its name, distinct in a report.
    pub name: String,
    /// Help text.
    pub words: String,
    /// Its unit.
    pub unit: Unit,
    /// Counter or gauge.
    pub kind: NumberKind,
    /// Its metric; empty: it is none.
    pub metric: String,
}

/// The unit of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A count or a rank, without a unit.
    Count,
    /// Seconds.
    Seconds,
    /// Milliseconds; a metric has seconds.
    Milliseconds,
    /// Microseconds; a metric has seconds.
    Microseconds,
}

/// How a number changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Report {
    /// Encodes the report.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Returns the answer to a request for the report: the report is a memory file beside
    /// the message, which is missing where the system has no memory for it.
    pub fn answer(mut self) -> (Message, Vec<Shared>) {
        self.subjects.iter_mut().for_each(Subject::strip_numbers);
        let file = memory::create("evenkeel report", &self.encode());
        let bytes = Vec::new();
        (
            Message::Answer { bytes },
            file.map(Arc::new).into_iter().collect(),
        )
    }

    /// Reads a report that another process wrote.
    ///
    /// # Errors
    /// Where it is longer or deeper than any of ours, or no report.
    pub fn decode(bytes: &[u8]) -> Result<Report, Malformed> {
        codec::decode_within(bytes, BYTES_MAX, DEPTH_MAX)
    }

    /// Returns the subject of this kind and name.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Subject> {
        let mut all = self.subjects.iter();
        all.find(|one| one.kind == kind && one.name == name)
    }

    /// Returns the subjects of a kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Subject> {
        of_kind(&self.subjects, kind)
    }

    /// The report of a part whose role does not say how it is.
    pub fn silent(part: &str, why: &str) -> Report {
        let mut subject = Subject::new(PART, part).state("unknown", Grade::Bad);
        why.clone_into(&mut subject.why);
        Report {
            part: part.to_owned(),
            subjects: vec![subject],
            ..Report::default()
        }
    }

    /// How the part is, in a few words: its subjects by their states, the worst first.
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
    /// Removes the numbers that Rust adds to the sentences of system errors.
    fn strip_numbers(&mut self) {
        let events = self.events.iter_mut().map(|event| &mut event.why);
        let facts = self
            .facts
            .iter_mut()
            .flat_map(|fact| match &mut fact.value {
                Value::Text(text) => slice::from_mut(text),
                Value::List(words) | Value::Lines(words) => words,
            });
        for text in facts.chain(events).chain([&mut self.why]) {
            *text = language::without_numbers(mem::take(text));
        }
        self.children.iter_mut().for_each(Subject::strip_numbers);
    }

    /// A subject of which nothing more is known.
    pub fn new(kind: &str, name: &str) -> Subject {
        Subject {
            kind: kind.to_owned(),
            name: name.to_owned(),
            ..Subject::default()
        }
    }

    /// Sets the label of metrics that has its name.
    pub fn label(mut self, label: &str) -> Subject {
        self.label = label.to_owned();
        self
    }

    /// Sets how it is.
    pub fn state(mut self, word: &str, grade: Grade) -> Subject {
        self.state = State {
            word: word.to_owned(),
            grade,
        };
        self
    }

    /// Adds a fact, on a line of its own.
    pub fn fact(mut self, name: &str, text: impl Into<String>) -> Subject {
        self.add(name, Value::Text(text.into()), false);
        self
    }

    /// Adds a fact, on the line of the one before it.
    pub fn joined(mut self, name: &str, text: impl Into<String>) -> Subject {
        self.add(name, Value::Text(text.into()), true);
        self
    }

    /// Gives the last fact to metrics under this label.
    pub fn as_label(mut self, label: &str) -> Subject {
        if let Some(fact) = self.facts.last_mut() {
            fact.label = label.to_owned();
        }
        self
    }

    /// Adds a fact of several words on a line; none where there are none.
    pub fn list(mut self, name: &str, words: Vec<String>) -> Subject {
        if !words.is_empty() {
            self.add(name, Value::List(words), false);
        }
        self
    }

    /// Adds a fact of several lines; none where there are none.
    pub fn lines(mut self, name: &str, lines: Vec<String>) -> Subject {
        if !lines.is_empty() {
            self.add(name, Value::Lines(lines), false);
        }
        self
    }

    fn add(&mut self, name: &str, value: Value, joined: bool) {
        self.facts.push(Fact {
            name: name.to_owned(),
            value,
            label: String::new(),
            joined,
        });
    }

    /// Adds a number.
    pub fn number(mut self, name: &str, value: u64) -> Subject {
        self.numbers.push((name.to_owned(), value));
        self
    }

    /// Adds what it consists of.
    pub fn children(mut self, children: impl IntoIterator<Item = Subject>) -> Subject {
        self.children.extend(children);
        self
    }

    /// Returns the value of a number.
    pub fn value(&self, name: &str) -> Option<u64> {
        let found = self.numbers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    }

    /// Returns the words of a fact, one after the other.
    pub fn words(&self, name: &str) -> Option<String> {
        let found = self.facts.iter().find(|fact| fact.name == name);
        found.map(|fact| fact.value.words())
    }

    /// Returns its children of a kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Subject> {
        of_kind(&self.children, kind)
    }
}

impl Value {
    fn words(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::List(words) | Value::Lines(words) => words.join(", "),
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
            kind: match metric.ends_with("_total") {
                true => NumberKind::Counter,
                false => NumberKind::Gauge,
            },
            metric: metric.to_owned(),
        }
    }

    /// Sets its unit.
    pub fn unit(mut self, unit: Unit) -> NumberRow {
        self.unit = unit;
        self
    }
}

#[cfg(test)]
mod tests;
