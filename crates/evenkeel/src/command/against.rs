//! Implements `evenkeel check --against-haproxy`: finds the documented differences from HAProxy
//! that apply to the given files, and prints them as text or JSON with the lines concerned.

use crate::parts;
use keyword::load::Loaded;
use language::difference::mask_secrets;
use language::keyword::Documented;
use language::manual::{self, Difference, LoadedFiles, Statement};
use language::reader::Reader;
use language::{Diagnostics, SourceMap, Span};
use model::config::{Config, Mode};
use part::voice::{counted, terminal_width};
use serde_json::{Value, json};

const LINES_MAX: usize = 3;
const WITHOUT_EFFECT: &str = "Accepted without effect";

/// Difference that applies to the files, with the lines that it affects. Without lines it affects
/// the files as a whole.
struct ApplicableDifference<'f> {
    about: &'f str,
    key: &'f str,
    what: What<'f>,
    places: Vec<Span>,
}

enum What<'f> {
    Difference(&'f Difference),
    WithoutEffect(&'f Documented),
}

pub fn render_differences(loaded: &Loaded, config: &Config, json: bool) -> String {
    let statements = statements(loaded, config);
    let told: Vec<(String, Option<Span>)> = loaded
        .diagnostics
        .iter()
        .map(|told| (told.message.clone(), told.primary))
        .collect();
    let files = LoadedFiles {
        statements: &statements,
        http: config.proxies.iter().any(|proxy| proxy.mode == Mode::Http),
        messages: &told,
    };
    let rows = parts::documented();
    let differences = proxy::differences::DIFFERENCES.iter().filter_map(|one| {
        Some(ApplicableDifference {
            about: one.about,
            key: one.key,
            what: What::Difference(one),
            places: one.applies.applicable_lines(&files)?,
        })
    });
    let effectless = rows.iter().filter(|row| row.family == WITHOUT_EFFECT);
    let effectless = effectless.filter_map(|row| {
        let lines = statements.iter().filter(|line| is_of(row, line));
        let places: Vec<Span> = lines.map(|line| line.span).collect();
        (!places.is_empty()).then_some(ApplicableDifference {
            about: row.name,
            key: "without-effect",
            what: What::WithoutEffect(row),
            places,
        })
    });
    let all: Vec<ApplicableDifference<'_>> = differences.chain(effectless).collect();
    if json {
        as_json(&all, &loaded.sources)
    } else {
        as_text(&all, &loaded.sources, &config.files)
    }
}

fn is_of(row: &Documented, line: &Statement) -> bool {
    let words: Vec<&str> = row.name.split(' ').collect();
    match row.kind {
        "keyword" => row.places.contains(&&*line.section) && line.starts_with_words(&words),
        "bind option" => line.starts_with_words(&["bind"]) && line.has(&words),
        "server option" => {
            line.starts_with_any(&[&["server"], &["default-server"], &["server-template"]])
                && line.has(&words)
        }
        _ => false,
    }
}

fn statements(loaded: &Loaded, config: &Config) -> Vec<Statement> {
    let ids = loaded.sources.files().map(|(id, _)| id);
    let ids = ids.take(config.files.len()).collect();
    let mut reader = Reader::new(ids, crate::identity::facts());
    let mut outline = parts::words().outline();
    // The load has reported the errors already.
    let mut told = Diagnostics::default();
    let mut section = String::new();
    let mut all = Vec::new();
    while let Some(line) = reader.next(&loaded.sources, &config.environment, &mut told) {
        let first = &line.words[0];
        let indented = loaded.sources.position(first.span).column > 1;
        if outline.begins_section(first.str(), indented) {
            section = first.text().into_owned();
            reader.section(line.word(1).map_or(first.text(), |name| name.text()));
        }
        all.push(Statement {
            section: section.clone(),
            words: line
                .words
                .iter()
                .map(|word| word.text().into_owned())
                .collect(),
            span: line.span,
        });
    }
    all
}

fn as_text(all: &[ApplicableDifference<'_>], sources: &SourceMap, files: &[String]) -> String {
    let files = files.join(", ");
    if all.is_empty() {
        return format!("no difference from HAProxy applies to {files}\n");
    }
    let verb = if all.len() == 1 { "applies" } else { "apply" };
    let number = counted(all.len(), "difference", "differences");
    let mut text = format!("{number} from HAProxy {verb} to {files}\n");
    for one in all {
        text += &format!("\n{} [{}]\n", one.about, one.key);
        for place in one.places.iter().take(LINES_MAX) {
            text += &format!("  {}\n", shown(*place, sources));
        }
        let more = one.places.len().saturating_sub(LINES_MAX);
        if more > 0 {
            text += &format!("  and {}\n", counted(more, "further line", "further lines"));
        }
        text += &match one.what {
            What::Difference(difference) => manual::difference(difference, terminal_width()),
            What::WithoutEffect(row) => manual::paragraphs(row.doc, terminal_width()),
        };
    }
    text
}

fn shown(place: Span, sources: &SourceMap) -> String {
    let text = mask_secrets(sources.line_text(place), sources.vocabulary());
    let text = String::from_utf8_lossy(&text);
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = sources.position(place).line;
    format!(
        "{}:{line}  {}",
        sources.file(place.file).name,
        words.join(" ")
    )
}

fn as_json(all: &[ApplicableDifference<'_>], sources: &SourceMap) -> String {
    let place = |place: &Span| json!({"file": sources.file(place.file).name, "line": sources.position(*place).line});
    let one = |one: &ApplicableDifference<'_>| -> Value {
        let places: Vec<Value> = one.places.iter().map(place).collect();
        match one.what {
            What::Difference(difference) => json!({
                "key": one.key,
                "about": one.about,
                "haproxy": difference.haproxy,
                "evenkeel": difference.evenkeel,
                "why": difference.reason,
                "lines": places,
            }),
            What::WithoutEffect(row) => json!({
                "key": one.key,
                "about": one.about,
                "evenkeel": row.doc,
                "lines": places,
            }),
        }
    };
    let all: Vec<Value> = all.iter().map(one).collect();
    serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
}
