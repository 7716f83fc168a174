//! Defines the moments at which expressions are evaluated, and which data is available then. For
//! example, the response headers are not available to request rules. No fetch is known by name
//! here.

use crate::setting::ProxyKind;

/// Set of moments at which expressions are evaluated. A rule of a `listen` runs both as a
/// frontend's and as a backend's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage(u32);

impl Usage {
    pub const TCP_CONNECTION: Usage = Usage(1);
    pub const TCP_SESSION: Usage = Usage(1 << 1);
    pub const FRONT_TCP_CONTENT: Usage = Usage(1 << 2);
    pub const FRONT_HTTP_REQUEST: Usage = Usage(1 << 3);
    /// Choice of the backend (`use_backend`).
    pub const USE_BACKEND: Usage = Usage(1 << 4);
    pub const BACK_TCP_CONTENT: Usage = Usage(1 << 5);
    pub const BACK_HTTP_REQUEST: Usage = Usage(1 << 6);
    /// Choice of the server: `use-server`, `balance`, persistence.
    pub const USE_SERVER: Usage = Usage(1 << 7);
    /// Choice of the source address for the connection to a server.
    pub const SERVER_SOURCE: Usage = Usage(1 << 8);
    pub const BACK_TCP_RESPONSE: Usage = Usage(1 << 9);
    /// A backend's `http-response` and `http-after-response`.
    pub const BACK_HTTP_RESPONSE: Usage = Usage(1 << 10);
    pub const FRONT_TCP_RESPONSE: Usage = Usage(1 << 11);
    /// A frontend's `http-response` and `http-after-response`.
    pub const FRONT_HTTP_RESPONSE: Usage = Usage(1 << 12);
    /// Log lines, when a stream is logged.
    pub const LOG: Usage = Usage(1 << 13);
    pub const CHECK: Usage = Usage(1 << 14);

    const NAMES: [&'static str; 15] = [
        "frontend tcp-request connection rule",
        "frontend tcp-request session rule",
        "frontend tcp-request content rule",
        "frontend http-request header rule",
        "frontend use-backend rule",
        "backend tcp-request content rule",
        "backend http-request header rule",
        "backend use-server, balance or stick-match rule",
        "server source selection",
        "backend tcp-response content rule",
        "backend http-response header rule",
        "frontend tcp-response content rule",
        "frontend http-response header rule",
        "log line",
        "health check step",
    ];

    const fn from(first: Usage) -> u32 {
        !(first.0 - 1) & (Usage::CHECK.0 - 1)
    }

    const fn range(first: Usage, last: Usage) -> Usage {
        Usage(Usage::from(first) & ((last.0 << 1) - 1))
    }

    #[must_use]
    pub const fn and(self, other: Usage) -> Usage {
        Usage(self.0 | other.0)
    }

    fn of(kind: ProxyKind, front: Usage, back: Usage) -> Usage {
        match kind {
            ProxyKind::Frontend => front,
            ProxyKind::Backend => back,
            ProxyKind::Listen | ProxyKind::Defaults => front.and(back),
        }
    }

    pub fn tcp_content(kind: ProxyKind) -> Usage {
        Self::of(kind, Self::FRONT_TCP_CONTENT, Self::BACK_TCP_CONTENT)
    }

    pub fn http_request(kind: ProxyKind) -> Usage {
        Self::of(kind, Self::FRONT_HTTP_REQUEST, Self::BACK_HTTP_REQUEST)
    }

    pub fn tcp_response(kind: ProxyKind) -> Usage {
        Self::of(kind, Self::FRONT_TCP_RESPONSE, Self::BACK_TCP_RESPONSE)
    }

    /// Returns the usage of `http-response` and `http-after-response` in a proxy of this kind.
    pub fn http_response(kind: ProxyKind) -> Usage {
        Self::of(kind, Self::FRONT_HTTP_RESPONSE, Self::BACK_HTTP_RESPONSE)
    }

    pub const fn meets(self, other: Usage) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns whether the moments belong to the processing of a response, and none is earlier.
    pub fn is_response(self) -> bool {
        !self.meets(Self::range(Self::TCP_CONNECTION, Self::SERVER_SOURCE))
            && self.meets(Self::range(
                Self::BACK_TCP_RESPONSE,
                Self::FRONT_HTTP_RESPONSE,
            ))
    }

    /// Returns the name of the first of the moments, for diagnostics.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .get(self.0.trailing_zeros() as usize)
            .copied()
            .unwrap_or("rule")
    }
}

/// Data that a fetch reads, which determines the moments at which it can have a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Data that is always available: constants, the process, the client's connection, the
    /// frontend.
    Nothing,
    /// Bytes or headers of the request, until the request is sent to the server.
    Request,
    /// Data of the request that is kept until the end: its method, captures.
    RequestKept,
    /// Bytes or headers of the side that the rule processes.
    EitherSide,
    Backend,
    Server,
    /// Bytes or headers of the response.
    Response,
    /// Data of the response that is kept until the end: status, captures.
    ResponseKept,
}

impl Needs {
    /// Returns the moments at which the data is available.
    pub const fn usage(self) -> Usage {
        match self {
            Needs::Nothing => Usage(Usage::from(Usage::TCP_CONNECTION)).and(Usage::CHECK),
            Needs::Request => Usage::range(Usage::FRONT_TCP_CONTENT, Usage::SERVER_SOURCE),
            Needs::RequestKept => Usage(Usage::from(Usage::FRONT_TCP_CONTENT)),
            Needs::EitherSide => {
                Usage::range(Usage::FRONT_TCP_CONTENT, Usage::FRONT_HTTP_RESPONSE).and(Usage::CHECK)
            }
            Needs::Backend => Usage(Usage::from(Usage::BACK_TCP_CONTENT)).and(Usage::CHECK),
            Needs::Server => Usage(Usage::from(Usage::SERVER_SOURCE)).and(Usage::CHECK),
            Needs::Response => {
                Usage::range(Usage::BACK_TCP_RESPONSE, Usage::FRONT_HTTP_RESPONSE).and(Usage::CHECK)
            }
            Needs::ResponseKept => Usage(Usage::from(Usage::BACK_TCP_RESPONSE)).and(Usage::CHECK),
        }
    }

    /// Returns the name of the missing data, for messages.
    pub fn what(self, http: bool) -> &'static str {
        match (self, http) {
            (Needs::Nothing, _) => "nothing",
            (Needs::Request, true) => "HTTP request headers",
            (Needs::Request, false) => "request contents",
            (Needs::RequestKept, _) => "HTTP request meta-data",
            (Needs::EitherSide, _) => "contents of a message",
            (Needs::Backend, _) => "backend information",
            (Needs::Server, _) => "server information",
            (Needs::Response, true) => "HTTP response headers",
            (Needs::Response, false) => "response contents",
            (Needs::ResponseKept, _) => "HTTP response meta-data",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_when_is_as_in_haproxy() {
        let request = Usage::FRONT_HTTP_REQUEST;
        let response = Usage::http_response(ProxyKind::Frontend);
        let rows = [
            (Needs::Nothing, request, true),
            (Needs::Request, Usage::TCP_CONNECTION, false),
            (Needs::Request, request, true),
            (Needs::Request, Usage::USE_SERVER, true),
            (Needs::Request, response, false),
            (Needs::Request, Usage::LOG, false),
            (Needs::RequestKept, response, true),
            (Needs::RequestKept, Usage::LOG, true),
            (Needs::EitherSide, Usage::LOG, false),
            (Needs::EitherSide, response, true),
            (Needs::Backend, request, false),
            (Needs::Backend, Usage::http_request(ProxyKind::Listen), true),
            (Needs::Server, Usage::USE_SERVER, false),
            (Needs::Server, response, true),
            (Needs::Response, request, false),
            (Needs::Response, Usage::LOG, false),
            (Needs::ResponseKept, Usage::LOG, true),
        ];
        for (needs, usage, there) in rows {
            assert_eq!(
                needs.usage().meets(usage),
                there,
                "{needs:?} in {}",
                usage.name()
            );
        }
    }

    #[test]
    fn only_rules_of_answers_look_at_answers() {
        assert!(Usage::http_response(ProxyKind::Listen).is_response());
        assert!(!Usage::http_request(ProxyKind::Listen).is_response());
        assert!(!Usage::LOG.is_response());
    }
}
