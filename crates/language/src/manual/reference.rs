//! Builds the reference manual as a value: chapters, families and entries from the rows of
//! keywords, with the differences from HAProxy and the codes. [`super::html`] and [`super::book`]
//! format it.

use super::applies::Applies;
use crate::diagnostic::Code;
use crate::keyword::Documented;

/// A difference from HAProxy, intended or temporary.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// A short, stable name: tests use it to report which difference they met.
    pub key: &'static str,
    /// The keyword or topic, as `evenkeel keyword` finds it.
    pub about: &'static str,
    /// The kinds of rows of that name that the difference affects ([`Documented::kind`]).
    pub kinds: &'static [&'static str],
    pub haproxy: &'static str,
    pub evenkeel: &'static str,
    pub reason: &'static str,
    pub applies: Applies,
}

/// The content of the manual.
#[derive(Clone, Copy, Debug)]
pub struct Material<'m> {
    pub rows: &'m [Documented],
    pub differences: &'m [Difference],
    pub codes: &'m [&'static Code],
    pub phrases: &'m [super::Phrase],
}

/// A keyword on its page: rows with the same text for one name in several places.
#[derive(Clone, Debug)]
pub struct Entry<'m> {
    pub name: &'static str,
    pub anchor: String,
    /// The rows: usually one, or one for each set of rules of an action.
    pub rows: Vec<&'m Documented>,
}

#[derive(Clone, Debug)]
pub struct Chapter<'m> {
    pub title: &'static str,
    /// The name in addresses: "time-limits".
    pub slug: String,
    /// The part of the manual: "Keywords of sections".
    pub part: &'static str,
    pub entries: Vec<Entry<'m>>,
}

/// A test whether a kind of rows belongs to a part.
type Holds = fn(&str) -> bool;

/// Kinds of rows that readers look up in a table.
const TABLES: &[&str] = &[
    "termination state",
    "ACL flag",
    "matching method",
    "ACL operator",
    "predefined ACL",
    "data type",
    "log format",
    "log format flag",
    "log alias",
    "runtime command",
    "check result",
    "server state",
];

/// The parts, in their order, with the kinds of their rows.
const PARTS: [(&str, Holds); 8] = [
    ("Reference tables", |kind| TABLES.contains(&kind)),
    ("Keywords of sections", |kind| {
        matches!(kind, "section" | "keyword")
    }),
    ("Options of keywords", |kind| {
        kind.ends_with("option") && !kind.starts_with("keepalived")
    }),
    ("Rule actions", |kind| kind.ends_with("action")),
    ("Fetches", |kind| kind == "fetch"),
    ("Converters", |kind| kind == "converter"),
    ("Formats and other tables", |kind| {
        !kind.starts_with("keepalived")
    }),
    ("keepalived's files", |_| true),
];

pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || character == '.' || character == '_' {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

impl<'m> Material<'m> {
    /// Returns the chapters, ordered by part and then by title.
    pub fn chapters(&self) -> Vec<Chapter<'m>> {
        let mut chapters: Vec<(usize, Chapter<'m>)> = Vec::new();
        for row in self.rows.iter().filter(|row| row.built) {
            let part = PARTS
                .iter()
                .position(|(_, holds)| holds(row.kind))
                .unwrap_or(PARTS.len() - 1);
            let found = chapters
                .iter()
                .position(|(_, chapter)| chapter.title == row.family);
            let at = found.unwrap_or_else(|| {
                let chapter = Chapter {
                    title: row.family,
                    // Omits the text in parentheses from the address, because it only helps the
                    // search.
                    slug: slug(row.family.split(" (").next().unwrap_or(row.family)),
                    part: PARTS[part].0,
                    entries: Vec::new(),
                };
                chapters.push((part, chapter));
                chapters.len() - 1
            });
            chapters[at].1.add(row);
        }
        chapters.sort_by(|a, b| (a.0, a.1.title).cmp(&(b.0, b.1.title)));
        let mut chapters: Vec<Chapter<'m>> =
            chapters.into_iter().map(|(_, chapter)| chapter).collect();
        for chapter in &mut chapters {
            // Tables keep the order in which their rows were written.
            if !chapter.is_table() {
                chapter.entries.sort_by_key(|entry| entry.name);
            }
        }
        chapters
    }

    /// Returns the differences about a keyword: those of its name that affect its kind.
    pub fn differences_of(&self, entry: &Entry<'m>) -> impl Iterator<Item = &'m Difference> {
        let differences = self.differences;
        let name = entry.name;
        let kinds: Vec<&str> = entry.rows.iter().map(|row| row.kind).collect();
        let concerns = move |d: &&Difference| kinds.iter().any(|kind| d.kinds.contains(kind));
        differences
            .iter()
            .filter(move |d| d.about == name)
            .filter(concerns)
    }

    /// Returns the kinds of rows that follow a keyword on its line (`bind` has `bind option`), with
    /// the names of those rows.
    pub fn following_kinds(&self, name: &str) -> Vec<(&'static str, Vec<&'static str>)> {
        let name = if name == "default-server" {
            "server"
        } else {
            name
        };
        let follows = |row: &&Documented| {
            let rest = row.kind.strip_prefix(name).unwrap_or_default();
            row.built && matches!(rest, " option" | " action")
        };
        let mut kinds = by_kind(self.rows.iter().filter(follows));
        for (_, names) in &mut kinds {
            names.dedup();
        }
        kinds
    }

    pub fn unsupported_names(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let mut kinds = by_kind(self.rows.iter().filter(|row| !row.built));
        kinds.sort_unstable();
        kinds
    }
}

/// Returns the names of rows by kind, sorted.
fn by_kind<'r>(
    rows: impl Iterator<Item = &'r Documented>,
) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut kinds: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
    for row in rows {
        match kinds.iter_mut().find(|(kind, _)| *kind == row.kind) {
            Some((_, names)) => names.push(row.name),
            None => kinds.push((row.kind, vec![row.name])),
        }
    }
    for (_, names) in &mut kinds {
        names.sort_unstable();
    }
    kinds
}

impl Difference {
    /// Returns the behaviour of HAProxy, that of Evenkeel and the reason for the difference, as a
    /// list in Markdown.
    pub(super) fn points(&self) -> String {
        format!(
            "- HAProxy: {}\n- Evenkeel: {}\n- Why: {}",
            self.haproxy, self.evenkeel, self.reason
        )
    }
}

impl<'m> Chapter<'m> {
    pub fn is_table(&self) -> bool {
        let short = |row: &&Documented| TABLES.contains(&row.kind) && row.kind != "log format";
        self.entries.iter().flat_map(|entry| &entry.rows).all(short)
    }

    fn add(&mut self, row: &'m Documented) {
        let same = |entry: &&mut Entry<'m>| {
            entry.name == row.name && entry.rows.iter().all(|other| other.doc == row.doc)
        };
        if let Some(entry) = self.entries.iter_mut().find(same) {
            entry.rows.push(row);
            return;
        }
        // Appends the kind to the anchor of a name without letters and digits, or of a duplicate.
        let mut anchor = slug(row.name);
        let is_taken =
            |anchor: &str| anchor.is_empty() || self.entries.iter().any(|e| e.anchor == anchor);
        let mut number = 1;
        while is_taken(&anchor) {
            anchor = slug(&format!("{} {} {number}", row.kind, row.name));
            number += 1;
        }
        self.entries.push(Entry {
            name: row.name,
            anchor,
            rows: vec![row],
        });
    }
}

impl Entry<'_> {
    pub fn kinds_and_sections(&self) -> String {
        let first = self.rows[0];
        if self.rows.len() == 1 {
            let places = super::listed_places(first);
            return match &places[..] {
                [] => first.kind.to_owned(),
                ["file"] => format!("top-level {}", first.kind),
                places => format!("{}, in {}", first.kind, places.join(", ")),
            };
        }
        let kinds: Vec<&str> = self.rows.iter().map(|row| row.kind).collect();
        kinds.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_safe_in_addresses_and_file_names() {
        for (text, want) in [
            ("Time limits", "time-limits"),
            ("A client's TLS/offer ", "a-client-s-tls-offer"),
            ("../x", "..-x"),
            ("sc0_get_gpc0", "sc0_get_gpc0"),
            ("!\"", ""),
        ] {
            assert_eq!(slug(text), want);
        }
    }

    #[test]
    fn a_difference_stands_only_at_the_kind_of_keyword_that_it_concerns() {
        let row = |kind, doc| Documented {
            kind,
            name: "user",
            family: "Users",
            places: &["x"],
            syntax: "user",
            doc,
            example: "user",
            built: true,
        };
        let rows = [
            row("keyword", "A user of a list."),
            row("bind option", "The owner of a socket."),
        ];
        let differences = [Difference {
            key: "user-without-password",
            about: "user",
            kinds: &["keyword"],
            haproxy: "Crashes.",
            evenkeel: "Refuses it.",
            reason: "So.",
            applies: Applies::ToHttp,
        }];
        let material = Material {
            rows: &rows,
            differences: &differences,
            codes: &[],
            phrases: &[],
        };
        let chapters = material.chapters();
        let count = |doc: &str| {
            let entries = chapters.iter().flat_map(|chapter| &chapter.entries);
            let mut of = entries.filter(|entry| entry.rows[0].doc == doc);
            material.differences_of(of.next().unwrap()).count()
        };
        assert_eq!(count("A user of a list."), 1);
        assert_eq!(count("The owner of a socket."), 0);
    }

    #[test]
    fn an_action_of_several_rule_sets_is_one_entry_and_chapters_stand_in_their_parts() {
        let row = |kind, name, family, doc| Documented {
            kind,
            name,
            family,
            places: &["x"],
            syntax: name,
            doc,
            example: name,
            built: !family.is_empty(),
        };
        let rows = [
            row("http-request action", "deny", "Answers", "Refuses."),
            row("fetch", "path", "Requests", "The path."),
            row("http-response action", "deny", "Answers", "Refuses."),
            row("tcp-request content action", "deny", "Answers", "Closes."),
            row("keyword", "timeout client", "Time limits", "Silence."),
            row("keyword", "acme", "", ""),
        ];
        let material = Material {
            rows: &rows,
            differences: &[],
            codes: &[],
            phrases: &[],
        };
        let chapters = material.chapters();
        let titles: Vec<&str> = chapters.iter().map(|chapter| chapter.title).collect();
        assert_eq!(titles, ["Time limits", "Answers", "Requests"]);
        let answers = &chapters[1].entries;
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0].rows.len(), 2);
        assert_eq!(
            answers[0].kinds_and_sections(),
            "http-request action, http-response action"
        );
        assert_ne!(answers[0].anchor, answers[1].anchor);
        assert_eq!(material.unsupported_names(), [("keyword", vec!["acme"])]);
    }
}
