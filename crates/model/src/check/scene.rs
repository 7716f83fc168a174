//! Evaluates the formats and expressions of a health check on a stream without a client, whose
//! response is the data received from the server so far. That stream only exists during one
//! evaluation; the check keeps its variables.

use super::http::HttpCheckResponse;
use crate::compiled::{Expression, Format, VariableChange};
use crate::config::{Config, ListenerIndex, ProxyIndex, ServerIndex};
use crate::sample::{SampleValue, Type, Variables};
use crate::transaction::{Endpoint, ProxyStream, Session, of_check};
use http::http1::{Limits, RequestFacts, parse_response};
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

/// The checked server in its configuration.
pub struct Subject {
    pub config: Arc<Config>,
    pub backend: ProxyIndex,
    pub server: ServerIndex,
}

#[derive(Default)]
pub struct CheckVariables {
    /// Variables of the check: those of the scope `check`, and those that are dropped when the
    /// check ends.
    check: Variables,
    session: Variables,
}

pub struct Scene<'p> {
    pub subject: &'p Subject,
    pub memory: &'p mut CheckVariables,
    pub bytes: &'p [u8],
    /// The server has closed its side of the connection.
    pub ended: bool,
    pub http: bool,
}

impl Scene<'_> {
    pub fn text<'f>(&mut self, format: &'f Format) -> Cow<'f, [u8]> {
        match format.as_constant() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(self.with(|stream| format.fill(stream))),
        }
    }

    pub fn number(&mut self, expression: &Expression) -> Option<i64> {
        self.with(
            |stream| match expression.evaluate(stream)?.cast(Type::Int)? {
                SampleValue::Int(number) => Some(number),
                _ => None,
            },
        )
    }

    pub fn change(&mut self, change: &VariableChange) {
        self.with(|stream| change.apply(stream));
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut ProxyStream) -> R) -> R {
        let subject = self.subject;
        let config = Arc::clone(&subject.config);
        // Names a listener that does not exist. The check never looks a listener up.
        let place = ListenerIndex {
            frontend: subject.backend,
            bind: u32::MAX,
        };
        let session = Session::new(config, place, Endpoint::Unix, Endpoint::Unix);
        session
            .variables
            .replace(std::mem::take(&mut self.memory.session));
        let mut stream = of_check(Rc::new(session), self.http);
        stream.route.backend = Some(subject.backend);
        stream.route.server = Some(subject.server);
        stream.rules.variables = std::mem::take(&mut self.memory.check);
        self.answer(&mut stream);
        let result = act(&mut stream);
        self.memory.check = std::mem::take(&mut stream.rules.variables);
        self.memory.session = stream.session.variables.take();
        result
    }

    fn answer(&self, stream: &mut ProxyStream) {
        stream.payloads.response_complete = self.ended;
        if !self.http {
            stream.payloads.response = self.bytes.to_vec();
            return;
        }
        let facts = RequestFacts::default();
        let parsed = parse_response(self.bytes, &facts, &Limits::default(), &mut stream.response);
        match (parsed, HttpCheckResponse::parse(self.bytes, self.ended)) {
            (Ok(http::http1::ParseStatus::Done(_)), Ok(head)) => {
                stream.payloads.response = head.body
            }
            _ => stream.response.clear(),
        }
    }
}
