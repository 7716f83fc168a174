//! Renders a report as text for the operator.

use super::{Event, FactValue, Grade, NumberKind, StatusReport, Subject};

const EVENTS_SHOWN: usize = 8;

/// Minimum width of the name column before the value of a fact.
const NAME_WIDTH: usize = 12;

impl StatusReport {
    /// Shows every subject with its state, facts and last events.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for subject in &self.subjects {
            self.subject_to(&mut text, subject, 0);
        }
        text
    }

    /// Shows all details of one subject, a name and its value per line, with its numbers and its
    /// last events.
    pub fn lines_of(&self, subject: &Subject) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| line(&mut text, &format!("{name}: {value}"));
        line("name", &subject.name);
        line("state", &subject.state.word);
        line("for", &self.since(subject).unwrap_or_default());
        if !subject.why.is_empty() {
            line("why", &subject.why);
        }
        for fact in &subject.facts {
            line(&fact.name, &fact.value.words());
        }
        for child in &subject.children {
            line(&child.kind, &child.name);
        }
        for (name, value) in &subject.numbers {
            if let Some(row) = self.row(name) {
                let words = match row.kind {
                    NumberKind::Counter => row.words.trim_end_matches('.'),
                    NumberKind::Gauge => &row.name,
                };
                line(words, &value.to_string());
            }
        }
        for event in self.events_of(subject) {
            line("event", &event);
        }
        text
    }

    /// Shows a table with a line for each subject of a kind: name, state, and the facts or numbers
    /// of these names. The reasons for the states follow below the table.
    pub fn table(&self, kind: &str, columns: &[&str]) -> String {
        let heads = ["name", "state"].into_iter().chain(columns.iter().copied());
        let mut rows = vec![heads.map(str::to_uppercase).collect::<Vec<_>>()];
        for one in self.of_kind(kind) {
            let cell = |name: &&str| {
                let number = || one.value(name).map(|value| value.to_string());
                one.words(name).or_else(number).unwrap_or_default()
            };
            let head = [one.name.clone(), one.state.word.clone()];
            rows.push(head.into_iter().chain(columns.iter().map(cell)).collect());
        }
        let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
        let widths: Vec<usize> = (0..rows[0].len()).filter_map(width).collect();
        let mut text = String::new();
        for row in &rows {
            let cells = row.iter().zip(&widths);
            let cells = cells.map(|(cell, width)| format!("{cell:width$}  "));
            line(&mut text, cells.collect::<String>().trim_end());
        }
        for one in self.of_kind(kind).filter(|one| !one.why.is_empty()) {
            line(&mut text, &format!("{}: {}", one.name, one.why));
        }
        text
    }

    /// Returns the time for which a subject has been in its state; None if unknown.
    pub fn since(&self, subject: &Subject) -> Option<String> {
        let since = subject.since?;
        Some(span(self.at.boottime_ms.saturating_sub(since.boottime_ms)))
    }

    fn subject_to(&self, text: &mut String, subject: &Subject, depth: usize) {
        let indent = "  ".repeat(depth);
        let mut head = format!("{indent}{}", subject.kind);
        if !subject.name.is_empty() {
            head += &format!(" {}", subject.name);
        }
        if !subject.state.word.is_empty() {
            head += &format!(": {}", subject.state.word);
        }
        if let Some(since) = self.since(subject) {
            head += &format!(" for {since}");
        }
        if !subject.why.is_empty() {
            head += &format!(" ({})", subject.why);
        }
        line(text, &head);
        let lines = lines(subject);
        let width = lines.iter().map(|(name, _)| name.chars().count() + 2);
        let width = width.max().unwrap_or(0).max(NAME_WIDTH);
        for (name, words) in lines {
            line(text, &format!("{indent}  {name:width$}{words}"));
        }
        for child in subject.children.iter().filter(|child| !is_leaf(child)) {
            self.subject_to(text, child, depth + 1);
        }
        for event in self.events_of(subject) {
            line(text, &format!("{indent}  {event}"));
        }
    }

    fn events_of(&self, subject: &Subject) -> impl Iterator<Item = String> {
        let shown = subject.events.iter().rev().take(EVENTS_SHOWN);
        shown.map(move |Event { at, from, to, why }| {
            let ago = span(self.at.boottime_ms.saturating_sub(at.boottime_ms));
            match (from.as_str(), why.as_str()) {
                ("", "") => format!("{ago} ago: {to}"),
                ("", why) => format!("{ago} ago: {to} ({why})"),
                (from, "") => format!("{ago} ago: {from} -> {to}"),
                (from, why) => format!("{ago} ago: {from} -> {to} ({why})"),
            }
        })
    }
}

/// Returns whether a subject has so few details that all of its kind share one line.
fn is_leaf(subject: &Subject) -> bool {
    subject.since.is_none()
        && subject.why.is_empty()
        && subject.children.is_empty()
        && subject.events.is_empty()
}

/// Formats a leaf: its name, and in parentheses its state, unless healthy, and its facts.
fn leaf(subject: &Subject) -> String {
    let state = &subject.state;
    let state = (state.grade != Grade::Good).then(|| state.word.clone());
    let facts = subject.facts.iter();
    let facts = facts.map(|fact| format!("{} {}", fact.name, fact.value.words()));
    let known: Vec<String> = state.into_iter().chain(facts).collect();
    if known.is_empty() {
        subject.name.clone()
    } else {
        format!("{} ({})", subject.name, known.join(", "))
    }
}

fn lines(subject: &Subject) -> Vec<(&str, String)> {
    let mut lines: Vec<(&str, String)> = Vec::new();
    for child in subject.children.iter().filter(|child| is_leaf(child)) {
        let words = leaf(child);
        match lines.last_mut().filter(|(kind, _)| *kind == child.kind) {
            Some((_, line)) => *line += &format!(", {words}"),
            None => lines.push((&child.kind, words)),
        }
    }
    for fact in &subject.facts {
        let name = fact.name.as_str();
        match (&fact.value, lines.last_mut()) {
            (FactValue::Lines(all), _) => lines.extend(all.iter().map(|line| (name, line.clone()))),
            (value, Some((_, line))) if fact.joined => {
                *line += &format!(", {name} {}", value.words());
            }
            (value, _) => lines.push((name, value.words())),
        }
    }
    lines
}

/// Formats a duration in the largest unit that is precise enough.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Adds a line. Control characters are replaced: texts come from files and from unprivileged
/// processes, and must neither control the terminal nor fake a line.
fn line(text: &mut String, words: &str) {
    text.extend(words.chars().map(|c| if c.is_control() { '?' } else { c }));
    text.push('\n');
}
