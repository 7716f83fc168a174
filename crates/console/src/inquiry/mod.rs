//! Defines the queries of console pages to the runtime API of a proxy, beyond the regular poll: the
//! command of each, and its decoded response. Does no I/O.

pub mod live;
pub mod request;
pub mod route;
pub mod table;

use part::versions::File;
use request::{FinishedRequest, FinishedRequests};
use route::RouteProcessCommand;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::time::Duration;
use table::StickTableView;

pub const BYTES_MAX: u64 = 4 << 20;
/// Maximum length of the metrics of a proxy, bytes: about 6 kB per server.
pub const METRICS_BYTES_MAX: u64 = 32 << 20;
/// Scopes of the metrics that are requested from the proxy: all except virtual addresses, which the
/// address role reports itself.
const METRICS: &str = "scope=global&scope=frontend&scope=listener&scope=backend&scope=server&scope=sticktable&scope=resolver";
pub const PAGE: u16 = 60;
pub const CARD: u16 = 5;
const ENTRIES: usize = 200;
pub const MOST: u16 = 500;
const VALUE_MAX: usize = 200;
/// Start of the proxy's message that it keeps no requests.
const OFF: &str = "No requests are kept";
/// Start of the proxy's message that it has no request with this number.
const MISSING: &str = "No such ";

/// A query to a proxy. It needs the role `operator`: the response contains clients and their
/// requests, and the runtime API also requires its level `operator` for that.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum ProxyQuery {
    Requests {
        filter: RequestFilter,
        max: u16,
    },
    Request {
        id: u64,
    },
    Table {
        name: String,
        /// Column to sort by. Empty: the first rate, or the first column if there is no rate.
        by: String,
        has: String,
    },
    Route(Box<route::DescribedRequest>),
    Files,
    /// The metrics of the proxy for Prometheus. Programs get them unchanged.
    Metrics,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct QueryError {
    error: String,
}

/// Filter for requests. An empty text matches all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestFilter {
    pub host: String,
    pub path: String,
    /// Status code, or a class of them such as `5xx`.
    pub status: String,
    pub client: String,
    /// Backend, or one of its servers such as `app/one`.
    pub server: String,
    pub frontend: String,
    /// Outcome of the requests: `failed` or `ok`.
    pub outcome: String,
}

/// Returns a value of a query string without the characters that cannot be part of a command.
fn value(fields: &[(String, String)], name: &str) -> String {
    let found = fields.iter().find(|(known, _)| known == name);
    let text = found.map_or("", |(_, value)| value.trim());
    let text = text.chars().filter(|c| !c.is_control());
    let mut kept = String::new();
    for c in text.take(VALUE_MAX) {
        // Drops the second of two such characters, which would begin a payload of the runtime API.
        if c != '<' || !kept.ends_with('<') {
            kept.push(c);
        }
    }
    kept
}

impl RequestFilter {
    /// Reads a filter from the fields of a query string, and drops what cannot be part of a
    /// command.
    pub fn of_query(fields: &[(String, String)]) -> RequestFilter {
        let value = |name: &str| value(fields, name);
        RequestFilter {
            host: value("host"),
            path: value("path"),
            status: value("status"),
            client: value("client"),
            server: value("server"),
            frontend: value("frontend"),
            outcome: value("outcome"),
        }
    }

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

#[derive(Clone, PartialEq, Debug)]
pub enum ProxyResponse {
    Requests(FinishedRequests),
    Request(Box<FinishedRequest>),
    Table(StickTableView),
    Route(Box<route::RouteReport>),
    /// Files of the running configuration, with secrets masked.
    Files(Vec<File>),
    /// The proxy keeps no requests. Contains the proxy's message.
    Off(String),
    /// The proxy has no request or table with this name or number. Contains the proxy's message.
    Missing(String),
    Failed(String),
}

impl ProxyQuery {
    pub fn table(name: &str, fields: &[(String, String)]) -> ProxyQuery {
        ProxyQuery::Table {
            name: name.to_owned(),
            by: value(fields, "by"),
            has: value(fields, "has"),
        }
    }

    pub fn bytes_max(&self) -> u64 {
        match self {
            ProxyQuery::Metrics => METRICS_BYTES_MAX,
            _ => BYTES_MAX,
        }
    }

    pub fn limit(&self) -> Duration {
        match self {
            // Allows more time, because queries about routes and files load the configuration
            // files.
            ProxyQuery::Route(_) | ProxyQuery::Files => Duration::from_secs(7),
            ProxyQuery::Requests { .. }
            | ProxyQuery::Request { .. }
            | ProxyQuery::Table { .. }
            | ProxyQuery::Metrics => Duration::from_secs(3),
        }
    }

    /// Returns the command of the runtime API, or the line for the process that evaluates a
    /// request.
    pub fn command(&self) -> Vec<u8> {
        let mut command = String::new();
        // Ignores the result: writing to a string cannot fail.
        let _ = match self {
            ProxyQuery::Requests { filter, max } => {
                command.push_str("show requests json");
                for (name, value) in filter.pairs() {
                    let _ = write!(command, " {name} {}", word(value));
                }
                write!(command, " max {}", (*max).clamp(1, MOST))
            }
            ProxyQuery::Request { id } => write!(command, "show request json {id:#x}"),
            ProxyQuery::Table { name, by, has } => {
                let _ = write!(command, "show table {} json max {ENTRIES}", word(name));
                for (name, value) in [("sort", by), ("has", has)] {
                    if !value.is_empty() {
                        let _ = write!(command, " {name} {}", word(value));
                    }
                }
                Ok(())
            }
            ProxyQuery::Route(question) => {
                process(&mut command, &RouteProcessCommand::Route(question.clone()))
            }
            ProxyQuery::Files => process(&mut command, &RouteProcessCommand::Files),
            ProxyQuery::Metrics => write!(command, "show metrics {METRICS}"),
        };
        command.push('\n');
        command.into_bytes()
    }
}

impl ProxyResponse {
    pub fn read(ask: &ProxyQuery, reply: Result<&str, &str>) -> ProxyResponse {
        let text = match reply {
            Ok(text) => text.trim(),
            Err(words) => return ProxyResponse::Failed(words.to_owned()),
        };
        let read = match ask {
            ProxyQuery::Requests { .. } => serde_json::from_str(text).map(ProxyResponse::Requests),
            ProxyQuery::Request { .. } => serde_json::from_str(text).map(ProxyResponse::Request),
            ProxyQuery::Table { .. } => serde_json::from_str(text).map(ProxyResponse::Table),
            // Fails, because no page shows the metrics.
            ProxyQuery::Metrics => {
                return ProxyResponse::Failed("metrics have no page".to_owned());
            }
            ProxyQuery::Route(_) | ProxyQuery::Files if text.is_empty() => {
                return ProxyResponse::Failed(
                    "the evaluation process ended without a report: it exceeded its time or memory limit"
                        .to_owned(),
                );
            }
            ProxyQuery::Files => serde_json::from_str(text).map(|said| match said {
                route::ConfigFilesResponse::Fault(QueryError { error }) => {
                    ProxyResponse::Failed(error)
                }
                route::ConfigFilesResponse::Files(files) => ProxyResponse::Files(files),
            }),
            ProxyQuery::Route(_) => serde_json::from_str(text).map(|said| match said {
                route::RouteResponse::Fault(QueryError { error }) => ProxyResponse::Failed(error),
                route::RouteResponse::Report(report) => ProxyResponse::Route(report),
            }),
        };
        match read {
            Ok(answer) => answer,
            Err(_) if text.starts_with(OFF) => ProxyResponse::Off(text.to_owned()),
            Err(_) if text.starts_with(MISSING) => ProxyResponse::Missing(text.to_owned()),
            Err(_) => ProxyResponse::Failed(match text {
                "" => "the proxy sent an empty response".to_owned(),
                text if text.starts_with(['{', '[']) => {
                    "the proxy's response cannot be parsed by this console".to_owned()
                }
                text => text.chars().take(VALUE_MAX * 2).collect(),
            }),
        }
    }
}

fn process(command: &mut String, line: &RouteProcessCommand) -> std::fmt::Result {
    let line = serde_json::to_string(line);
    write!(command, "{}", line.unwrap_or_default())
}

/// Escapes a text as one word of a command.
pub fn word(text: &str) -> String {
    let mut word = String::new();
    for c in text.chars() {
        if matches!(c, ' ' | ';' | '\\' | '"' | '\'' | '#') {
            word.push('\\');
        }
        // Replaces control characters, because a command is one line.
        word.push(if c.is_control() { ' ' } else { c });
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &[(&str, &str)]) -> RequestFilter {
        let fields = query.iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        RequestFilter::of_query(&fields)
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
        let ask = ProxyQuery::Requests { filter, max: 7 };
        let command = String::from_utf8(ask.command()).unwrap();
        assert_eq!(
            command,
            "show requests json path /a\\ b\\;disable\\ server\\ app/oneshow\\ env\\ < status 5xx max 7\n"
        );
        let ask = ProxyQuery::table("a b;c", &[("has".to_owned(), " <<<x\n".to_owned())]);
        let command = ask.command();
        assert_eq!(command, b"show table a\\ b\\;c json max 200 has <x\n");
        let id = ProxyQuery::Request { id: u64::MAX }.command();
        assert_eq!(id, b"show request json 0xffffffffffffffff\n");
        let long = "\u{e4}".repeat(9_000);
        let ask = ProxyQuery::Requests {
            filter: RequestFilter::of_query(&[("host".to_owned(), long)]),
            max: u16::MAX,
        };
        assert!(ask.command().len() < 600);
        assert!(ask.command().ends_with(b" max 500\n"));
    }

    #[test]
    fn an_invalid_response_is_reported_as_a_failure() {
        let ask = ProxyQuery::Request { id: 1 };
        let read = |reply| ProxyResponse::read(&ask, reply);
        assert!(matches!(
            read(Ok("No requests are kept: x\n")),
            ProxyResponse::Off(_)
        ));
        assert!(matches!(
            read(Ok("No such request among")),
            ProxyResponse::Missing(_)
        ));
        for wrong in [
            Ok(""),
            Ok("[1"),
            Ok("{\"id\": []}"),
            Ok("unknown"),
            Err("late"),
        ] {
            assert!(matches!(read(wrong), ProxyResponse::Failed(_)), "{wrong:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(read(Ok(&deep)), ProxyResponse::Failed(_)));
    }
}
