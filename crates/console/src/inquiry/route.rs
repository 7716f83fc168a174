//! Decodes the prediction of the server to which a request would go, from the output of `evenkeel
//! route --json`, and the texts of the running configuration files. Reads the described request
//! from a query string.

use super::QueryError;
use part::versions::File;
use serde::{Deserialize, Serialize};

pub const QUESTION_BYTES_MAX: usize = 48 << 10;
const FIELDS_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// Request to be evaluated, as a user describes it. Empty fields are not set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DescribedRequest {
    pub method: String,
    pub url: String,
    pub source: String,
    pub to: String,
    /// Server name that the client sends in TLS (SNI), if it is not the host of the URL.
    pub sni: String,
    pub frontend: String,
    /// Headers, each as `Name: value`.
    pub headers: Vec<String>,
    pub data: String,
}

impl DescribedRequest {
    /// Reads a request from the fields of a query string. A field `header` is one header, or
    /// several on lines of their own.
    ///
    /// # Errors
    /// The request is too long or has too many headers.
    pub fn of_query(fields: &[(String, String)]) -> Result<DescribedRequest, String> {
        let value = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name);
            let text = found.map_or("", |(_, value)| value.trim());
            // Drops control characters, which browsers do not show in a field: the user would not
            // see what is evaluated.
            text.chars().filter(|c| !c.is_control()).collect::<String>()
        };
        let headers = fields.iter().filter(|(name, _)| name == "header");
        let headers = headers.flat_map(|(_, text)| text.lines().map(str::trim));
        let question = DescribedRequest {
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
        let bytes: usize = question.pairs().map(|(_, value)| value.len()).sum();
        if bytes > FIELDS_BYTES_MAX {
            return Err(format!("a request has at most {FIELDS_BYTES_MAX} bytes"));
        }
        Ok(question)
    }

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

/// Order to the process that evaluates requests with the running configuration: one line of JSON.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteProcessCommand {
    Route(Box<DescribedRequest>),
    Files,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum ConfigFilesResponse {
    Fault(QueryError),
    /// Text of the configuration files, in the order of the command line, with the secrets masked
    /// that the operator may not see.
    Files(Vec<File>),
}

/// Response of the process that evaluates a request.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RouteResponse {
    Fault(QueryError),
    Report(Box<RouteReport>),
}

/// The server to which a request would go, with the evaluation that leads there.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct RouteReport {
    pub request: String,
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    pub destination: Option<String>,
    pub frontend: String,
    #[serde(default)]
    pub tls: Option<Tls>,
    pub lines: Vec<EvaluatedLine>,
    #[serde(default)]
    pub left_out: u64,
    pub outcome: RouteDestination,
    /// Live state of the proxy that was used. None without a running proxy.
    #[serde(default)]
    pub live: Option<Live>,
}

/// TLS properties of the connection.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// Server name that the client sends (SNI).
    pub name: String,
    pub certificate: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EvaluatedLine {
    pub section: String,
    pub file: String,
    pub line: u64,
    pub text: String,
    /// True if the condition was met. None without a condition.
    pub met: Option<bool>,
    pub terms: Vec<ConditionTerm>,
    pub applies: bool,
    pub ends: bool,
    pub backend: Option<String>,
    /// Reason why the line has no effect although its condition is met.
    pub fails: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConditionTerm {
    /// Name of the ACL, or the text of an anonymous ACL.
    pub term: String,
    pub met: bool,
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RouteDestination {
    Server {
        backend: String,
        server: String,
        /// Address of the server; empty if its name is not resolved.
        address: String,
        why: String,
    },
    Reply {
        status: String,
        location: Option<String>,
        why: String,
    },
    Queue {
        backend: String,
        /// Server for which the request waits, if it does.
        server: Option<String>,
        why: String,
    },
    Nothing {
        why: String,
    },
}

/// Live state of the proxy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Live {
    pub at: String,
    pub servers: Vec<Server>,
    /// Notes about further influences on the choice, and about unknown values.
    pub notes: Vec<String>,
}

/// Live state of a server.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Server {
    pub name: String,
    pub status: String,
    /// Time since the last change of the status, milliseconds.
    pub since_ms: u64,
    pub check: String,
    pub sessions: u32,
    /// Maximum sessions. 0: no limit.
    pub limit: u32,
    pub waiting: u32,
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
        let question = DescribedRequest::of_query(&fields).unwrap();
        assert_eq!(question.url, "https://a/[31mb");
        assert_eq!(question.source, "192.0.2.7");
        assert_eq!(question.headers, ["a: b", "c:\td"]);
    }
}
