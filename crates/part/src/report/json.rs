//! Renders a report as JSON for programs.

use super::{Event, FactValue, Moment, NumberRow, StatusReport, Subject};
use serde_json::{Map, Value as Json, json};

impl StatusReport {
    /// Returns the report as JSON on one line: subjects with their facts and numbers by name, and
    /// the description of each number.
    pub fn json(&self) -> String {
        json!({
            "part": self.part,
            "at": self.at,
            "subjects": subjects(&self.subjects),
            "numbers": self.rows.iter().map(row).collect::<Map<_, _>>(),
        })
        .to_string()
            + "\n"
    }
}

fn subjects(all: &[Subject]) -> Json {
    all.iter().map(subject).collect()
}

fn row(row: &NumberRow) -> (String, Json) {
    let NumberRow {
        name,
        words,
        unit,
        kind,
        metric,
        is_flag: _,
    } = row;
    let known = json!({ "words": words, "unit": unit, "kind": kind, "metric": metric });
    (name.clone(), known)
}

fn subject(one: &Subject) -> Json {
    let facts = one.facts.iter().map(|fact| {
        let value = match &fact.value {
            FactValue::Text(text) => json!(text),
            FactValue::List(words) | FactValue::Lines(words) => json!(words),
        };
        (fact.name.clone(), value)
    });
    let numbers = one.numbers.iter();
    let numbers = numbers.map(|(name, value)| (name.clone(), json!(value)));
    let events = one.events.iter().map(|event| {
        let Event { at, from, to, why } = event;
        json!({ "at": at, "from": from, "to": to, "why": why })
    });
    let mut json = json!({
        "kind": one.kind,
        "name": one.name,
        "state": one.state.word,
        "grade": one.state.grade,
        "since": one.since.as_ref().map(|since: &Moment| json!(since)),
        "why": one.why,
        "facts": facts.collect::<Map<_, _>>(),
        "numbers": numbers.collect::<Map<_, _>>(),
        "children": subjects(&one.children),
        "events": events.collect::<Json>(),
    });
    if let Some(status) = one.status::<Json>() {
        json["status"] = status;
    }
    json
}
