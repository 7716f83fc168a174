//! Where a request would go, as `evenkeel route --json` shows it; and the files that are served.

use super::Fault;
use part::versions::File;
use serde::{Deserialize, Serialize};

/// Bytes of a question, as a line.
pub const QUESTION_BYTES_MAX: usize = 48 << 10;
/// Bytes of the fields of a question together.
const FIELDS_BYTES_MAX: usize = 16 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// A request as somebody writes it; what is empty is not said.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Question {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The address of the client, with a port or without.
    pub source: String,
    /// The address that it connects to, with a port or without.
    pub to: String,
    /// The name that it asks for with TLS, if it is not the host of the URL.
    pub sni: String,
    /// The frontend.
    pub frontend: String,
    /// The headers, as `Name: value`.
    pub headers: Vec<String>,
    /// The body.
    pub data: String,
}

impl Question {
    /// Reads it from the fields of a query. A field `header` is one header or several lines of them.
    ///
    /// # Errors
    /// It is too long, or has too many headers, in words.
    pub fn of_query(fields: &[(String, String)]) -> Result<Question, String> {
        let value = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name);
            let text = found.map_or("", |(_, value)| value.trim());
            // A browser shows no such character in a field, so nobody would see what is asked.
            text.chars().filter(|c| !c.is_control()).collect::<String>()
        };
        let headers = fields.iter().filter(|(name, _)| name == "header");
        let headers = headers.flat_map(|(_, text)| text.lines().map(str::trim));
        let question = Question {
            method: Some(value("method"))
                .filter(|method| !method.is_empty())
                .unwrap_or_else(|| "GET".to_owned()),
            url: value("url"),
            source: value("source"),
            to: value("to"),
            sni: value("sni"),
            frontend: value("frontend"),
            headers: headers
                .filter(|line| !line.is_empty())
                .map(|line| {
                    line.chars()
                        .filter(|c| !c.is_control() || *c == '\t')
                        .collect()
                })
                .collect(),
            data: value("data"),
        };
        if question.headers.len() > HEADERS_MAX {
            return Err(format!("a request has at most {HEADERS_MAX} headers"));
        }
        let bytes: usize = { question.pairs() }.map(|(_, value)| value.len()).sum();
        if bytes > FIELDS_BYTES_MAX {
            return Err(format!("a request has at most {FIELDS_BYTES_MAX} bytes"));
        }
        Ok(question)
    }

    /// Its fields that are there, as those of a query.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("method", &self.method),
            ("url", &self.url),
            ("source", &self.source),
            ("to", &self.to),
            ("sni", &self.sni),
            ("frontend", &self.frontend),
            ("data", &self.data),
        ];
        let headers = self.headers.iter().map(|line| ("header", line));
        let all = all.into_iter().chain(headers);
        all.map(|(name, value)| (name, value.as_str()))
            .filter(|(_, value)| !value.is_empty())
    }
}

/// A line for the process that reads the configuration that is served.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// Where would this request go?
    Route(Box<Question>),
    /// What is served? The answer is [`Served`].
    Files,
}

/// What it says of the files.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Served {
    /// Why it does not show them.
    Fault(Fault),
    /// Those of the command line first, each as an operator may see it.
    Files(Vec<File>),
}

/// What the process that evaluates a request says.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Said {
    /// Why there is no report.
    Fault(Fault),
    /// The report.
    Report(Box<Report>),
}

/// Where a request would go, and why.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Report {
    /// The request line.
    pub request: String,
    /// The client.
    #[serde(default)]
    pub source: Option<String>,
    /// The address that it connects to.
    #[serde(default)]
    pub destination: Option<String>,
    /// The frontend.
    pub frontend: String,
    /// With TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The lines of the files that were evaluated.
    pub lines: Vec<Evaluated>,
    /// And how many more.
    #[serde(default)]
    pub left_out: u64,
    /// Where it goes.
    pub outcome: Outcome,
    /// The state that it was evaluated with.
    #[serde(default)]
    pub live: Option<Live>,
}

/// Of a connection with TLS.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// The name that was asked for.
    pub name: String,
    /// The names of the certificate.
    pub certificate: Vec<String>,
}

/// A line of a file that was evaluated.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Evaluated {
    /// The proxy that it belongs to.
    pub section: String,
    /// Its file.
    pub file: String,
    /// And its number there.
    pub line: u64,
    /// What stands there.
    pub text: String,
    /// Whether its condition was met; None: it has none.
    pub met: Option<bool>,
    /// The terms of the condition.
    pub terms: Vec<Term>,
    /// It took effect.
    pub applies: bool,
    /// It ended its rules.
    pub ends: bool,
    /// The backend that it chose.
    pub backend: Option<String>,
    /// Why it has no effect although its condition was met.
    pub fails: Option<String>,
}

/// A term of a condition.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Term {
    /// Its name, or its text.
    pub term: String,
    /// What it came to.
    pub met: bool,
    /// The values that were compared.
    pub values: Vec<String>,
}

/// Where a request goes.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Outcome {
    /// To a server.
    Server {
        /// Its backend.
        backend: String,
        /// Its name.
        server: String,
        /// Its address; empty: its name has none.
        address: String,
        /// Why this one.
        why: String,
    },
    /// The proxy replies.
    Reply {
        /// The status and its text.
        status: String,
        /// Of a redirect.
        location: Option<String>,
        /// Why.
        why: String,
    },
    /// It waits.
    Queue {
        /// The backend.
        backend: String,
        /// The server, if it waits for this one.
        server: Option<String>,
        /// Why.
        why: String,
    },
    /// Nowhere.
    Nothing {
        /// Why.
        why: String,
    },
}

/// The state of the proxy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Live {
    /// When, in UTC.
    pub at: String,
    /// The servers of the backend.
    pub servers: Vec<Server>,
    /// What else decides, and what is not known.
    pub notes: Vec<String>,
}

/// A server at that moment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: String,
    /// How long it has had it, milliseconds.
    pub since_ms: u64,
    /// What its last check found.
    pub check: String,
    /// Its sessions.
    pub sessions: u32,
    /// How many it may have; 0 is no limit.
    pub limit: u32,
    /// Requests that wait for it.
    pub waiting: u32,
    /// Its weight.
    pub weight: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_no_control_characters() {
        let fields = [
            ("url", "https://a\u{1}/\u{1b}[31mb"),
            ("source", "192.0.2.7\0"),
            ("header", "a: b\u{7}\r\nc:\td"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let question = Question::of_query(&fields).unwrap();
        assert_eq!(question.url, "https://a/[31mb");
        assert_eq!(question.source, "192.0.2.7");
        assert_eq!(question.headers, ["a: b", "c:\td"]);
    }
}
