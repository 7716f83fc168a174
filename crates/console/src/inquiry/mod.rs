//! What pages and programs ask of a proxy's runtime API beyond a look: finished requests, and the
//! entries of stick tables. Values without I/O: what is asked, as a command, and what came of it.

pub mod live;
pub mod request;
pub mod route;
pub mod table;

use part::versions::File;
use request::{Request, Requests};
use route::Line;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::time::Duration;
use table::Table;

/// Bytes of a reply at most.
pub const BYTES_MAX: u64 = 4 << 20;
/// Bytes of the metrics of a proxy at most: some 6 kB for each server.
pub const METRICS_BYTES_MAX: u64 = 32 << 20;
/// What of the proxy's metrics is asked for: all but the addresses, which report for themselves.
const METRICS: &str = "scope=global&scope=frontend&scope=listener&scope=backend&scope=server&scope=sticktable&scope=resolver";
/// Requests of a page.
pub const PAGE: u16 = 60;
/// Requests of a card.
pub const CARD: u16 = 5;
/// Entries of a table.
const ENTRIES: usize = 200;
/// Requests that a program may ask for at a time.
pub const MOST: u16 = 500;
/// Characters of a value of a filter.
const VALUE_MAX: usize = 200;
/// How a proxy begins to say that it keeps no requests.
const OFF: &str = "No requests are kept";
/// How it begins to say that it has none of this number.
const MISSING: &str = "No such ";

/// What is asked. It takes the role `operator`: clients and what they asked for are in it, and the
/// runtime API shows that from its level `operator` on, too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// The newest requests that a filter leaves.
    Requests {
        /// Which.
        filter: Filter,
        /// How many at most.
        max: u16,
    },
    /// One request, by its number.
    Request {
        /// The number, as in `show sess`.
        id: u64,
    },
    /// The entries of a stick table with the largest values.
    Table {
        /// Its name.
        name: String,
        /// The column; empty: the first rate, or the first one.
        by: String,
        /// What their keys contain.
        has: String,
    },
    /// Where a request would go.
    Route(Box<route::Question>),
    /// The files of the configuration that is served.
    Files,
    /// The numbers of the proxy for Prometheus. They go to programs as they are.
    Metrics,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Fault {
    error: String,
}

/// Which requests are wanted; an empty text: all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// The host, with or without its port.
    pub host: String,
    /// How the path begins.
    pub path: String,
    /// A status, or a class of them: `5xx`.
    pub status: String,
    /// An address, with or without its port.
    pub client: String,
    /// A backend, or one of its servers: `app/one`.
    pub server: String,
    /// A frontend.
    pub frontend: String,
    /// `failed` or `ok`.
    pub outcome: String,
}

/// A value of a query, as far as it can be part of a command.
fn value(fields: &[(String, String)], name: &str) -> String {
    let found = fields.iter().find(|(known, _)| known == name);
    let text = found.map_or("", |(_, value)| value.trim());
    let text = text.chars().filter(|c| !c.is_control());
    let mut kept = String::new();
    for c in text.take(VALUE_MAX) {
        // Two of these would begin a payload.
        if c != '<' || !kept.ends_with('<') {
            kept.push(c);
        }
    }
    kept
}

impl Filter {
    /// Reads it from the fields of a query; what cannot be part of a command is left out.
    pub fn of_query(fields: &[(String, String)]) -> Filter {
        let value = |name: &str| value(fields, name);
        Filter {
            host: value("host"),
            path: value("path"),
            status: value("status"),
            client: value("client"),
            server: value("server"),
            frontend: value("frontend"),
            outcome: value("outcome"),
        }
    }

    /// The names and values that are set: those of a query, and the words of the command.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("host", &self.host),
            ("path", &self.path),
            ("status", &self.status),
            ("client", &self.client),
            ("server", &self.server),
            ("frontend", &self.frontend),
            ("outcome", &self.outcome),
        ];
        let all = all.into_iter().map(|(name, value)| (name, value.as_str()));
        all.filter(|(_, value)| !value.is_empty())
    }
}

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// Requests, the newest first.
    Requests(Requests),
    /// One of them.
    Request(Box<Request>),
    /// A stick table.
    Table(Table),
    /// Where a request would go.
    Route(Box<route::Report>),
    /// The files that are served, secrets covered.
    Files(Vec<File>),
    /// The proxy keeps no requests.
    Off(String),
    /// It has nothing of this name or number, and why.
    Missing(String),
    /// It refuses, or does not respond, and why.
    Failed(String),
}

impl Ask {
    /// The table of a name, with the fields of a query.
    pub fn table(name: &str, fields: &[(String, String)]) -> Ask {
        Ask::Table {
            name: name.to_owned(),
            by: value(fields, "by"),
            has: value(fields, "has"),
        }
    }

    /// How long an answer may be, in bytes.
    pub fn bytes_max(&self) -> u64 {
        match self {
            Ask::Metrics => METRICS_BYTES_MAX,
            _ => BYTES_MAX,
        }
    }

    /// How long an answer may take.
    pub fn limit(&self) -> Duration {
        match self {
            // The files are loaded for it.
            Ask::Route(_) | Ask::Files => Duration::from_secs(7),
            Ask::Requests { .. } | Ask::Request { .. } | Ask::Table { .. } | Ask::Metrics => {
                Duration::from_secs(3)
            }
        }
    }

    /// The command of the runtime API, or the line for the process that evaluates a request.
    pub fn command(&self) -> Vec<u8> {
        let mut command = String::new();
        // Writing to a string cannot fail.
        let _ = match self {
            Ask::Requests { filter, max } => {
                command.push_str("show requests json");
                for (name, value) in filter.pairs() {
                    let _ = write!(command, " {name} {}", word(value));
                }
                write!(command, " max {}", (*max).clamp(1, MOST))
            }
            Ask::Request { id } => write!(command, "show request json {id:#x}"),
            Ask::Table { name, by, has } => {
                let _ = write!(command, "show table {} json max {ENTRIES}", word(name));
                for (name, value) in [("sort", by), ("has", has)] {
                    if !value.is_empty() {
                        let _ = write!(command, " {name} {}", word(value));
                    }
                }
                Ok(())
            }
            Ask::Route(question) => process(&mut command, &Line::Route(question.clone())),
            Ask::Files => process(&mut command, &Line::Files),
            Ask::Metrics => write!(command, "show metrics {METRICS}"),
        };
        command.push('\n');
        command.into_bytes()
    }
}

impl Answer {
    /// Reads a reply to what was asked.
    pub fn read(ask: &Ask, reply: Result<&str, &str>) -> Answer {
        let text = match reply {
            Ok(text) => text.trim(),
            Err(words) => return Answer::Failed(words.to_owned()),
        };
        let read = match ask {
            Ask::Requests { .. } => serde_json::from_str(text).map(Answer::Requests),
            Ask::Request { .. } => serde_json::from_str(text).map(Answer::Request),
            Ask::Table { .. } => serde_json::from_str(text).map(Answer::Table),
            // No page shows them.
            Ask::Metrics => return Answer::Failed("these are for programs".to_owned()),
            Ask::Route(_) | Ask::Files if text.is_empty() => {
                return Answer::Failed(
                    "the process that was to find out ended without a report: it took too long, or needs \
                     more memory than it may have"
                        .to_owned(),
                );
            }
            Ask::Files => serde_json::from_str(text).map(|said| match said {
                route::Served::Fault(Fault { error }) => Answer::Failed(error),
                route::Served::Files(files) => Answer::Files(files),
            }),
            Ask::Route(_) => serde_json::from_str(text).map(|said| match said {
                route::Said::Fault(Fault { error }) => Answer::Failed(error),
                route::Said::Report(report) => Answer::Route(report),
            }),
        };
        match read {
            Ok(answer) => answer,
            Err(_) if text.starts_with(OFF) => Answer::Off(text.to_owned()),
            Err(_) if text.starts_with(MISSING) => Answer::Missing(text.to_owned()),
            Err(_) => Answer::Failed(match text {
                "" => "the proxy said nothing".to_owned(),
                text if text.starts_with(['{', '[']) => {
                    "the proxy says what this console does not understand".to_owned()
                }
                text => text.chars().take(VALUE_MAX * 2).collect(),
            }),
        }
    }
}

/// Writes the line for the process that reads the configuration that is served.
fn process(command: &mut String, line: &Line) -> std::fmt::Result {
    let line = serde_json::to_string(line);
    write!(command, "{}", line.unwrap_or_default())
}

/// A text as one word of a command.
pub fn word(text: &str) -> String {
    let mut word = String::new();
    for c in text.chars() {
        if matches!(c, ' ' | ';' | '\\' | '"' | '\'' | '#') {
            word.push('\\');
        }
        // A command is one line.
        word.push(if c.is_control() { ' ' } else { c });
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &[(&str, &str)]) -> Filter {
        let fields = query.iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Filter::of_query(&fields)
    }

    #[test]
    fn a_filter_is_part_of_one_command_whatever_it_contains() {
        let hostile = "/a b;disable server app/one\nshow env <<\r\0\u{1b}";
        let filter = filter(&[
            ("path", hostile),
            ("host", " "),
            ("status", "5xx"),
            ("x", "y"),
        ]);
        assert_eq!(filter.pairs().count(), 2);
        let ask = Ask::Requests { filter, max: 7 };
        let command = String::from_utf8(ask.command()).unwrap();
        assert_eq!(
            command,
            "show requests json path /a\\ b\\;disable\\ server\\ app/oneshow\\ env\\ < status 5xx max 7\n"
        );
        let ask = Ask::table("a b;c", &[("has".to_owned(), " <<<x\n".to_owned())]);
        let command = ask.command();
        assert_eq!(command, b"show table a\\ b\\;c json max 200 has <x\n");
        let id = Ask::Request { id: u64::MAX }.command();
        assert_eq!(id, b"show request json 0xffffffffffffffff\n");
        let long = "\u{e4}".repeat(9_000);
        let ask = Ask::Requests {
            filter: Filter::of_query(&[("host".to_owned(), long)]),
            max: u16::MAX,
        };
        assert!(ask.command().len() < 600);
        assert!(ask.command().ends_with(b" max 500\n"));
    }

    #[test]
    fn what_is_no_answer_is_said_and_not_shown_as_one() {
        let ask = Ask::Request { id: 1 };
        let read = |reply| Answer::read(&ask, reply);
        assert!(matches!(
            read(Ok("No requests are kept: x\n")),
            Answer::Off(_)
        ));
        assert!(matches!(
            read(Ok("No such request among")),
            Answer::Missing(_)
        ));
        for wrong in [
            Ok(""),
            Ok("[1"),
            Ok("{\"id\": []}"),
            Ok("unknown"),
            Err("late"),
        ] {
            assert!(matches!(read(wrong), Answer::Failed(_)), "{wrong:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(read(Ok(&deep)), Answer::Failed(_)));
    }
}
