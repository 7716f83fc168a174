//! Chooses the backend of a stream, and updates the counters of the backend and of its server.

use super::ProxyStream;
use language::Span;
use model::config::{ProxyIndex, ServerIndex, SwitchRule, SwitchTarget};
use model::state::Tally;
use model::thread::current_thread_data;
use model::transaction::trace::{Fate, TraceStep};

/// Chooses the backend that a rule has set, otherwise the one of `use_backend` or
/// `default_backend`. A `listen` section without any of these is its own backend.
pub fn choose(stream: &mut ProxyStream) {
    let by_line = stream.rules.lines.as_ref().and_then(|lines| lines.switched);
    let before = stream.rules.overrides.as_ref().and_then(|set| set.backend);
    let by_rule = before.or(by_line).map(|index| (index, None));
    let by_rule = by_rule.or_else(|| switched(stream));
    let chosen = by_rule.or_else(|| {
        let frontend = stream.frontend();
        let default = frontend
            .default_backend
            .as_ref()
            .and_then(|reference| Some((reference.index?, Some(reference.span))));
        let own = || {
            frontend
                .kind
                .is_backend()
                .then_some((stream.route.frontend, None))
        };
        default.or_else(own)
    });
    if let Some((index, by)) = chosen {
        let backend = stream.config.proxy(index);
        stream.session.note(|| TraceStep::Backend {
            name: backend.name.clone(),
            by,
            fate: if backend.disabled {
                Fate::Disabled
            } else {
                Fate::Taken
            },
        });
    }
    let is_default = |by: Span| {
        let default = stream.frontend().default_backend.as_ref();
        default.is_some_and(|default| default.span == by)
    };
    // Records no line for a backend that `default_backend` chose.
    let by = chosen.and_then(|(_, by)| by).filter(|by| !is_default(*by));
    let chosen = chosen.map(|(index, _)| index);
    if let Some(by) = by {
        stream.decide_backend(by);
    }
    stream.route.backend = chosen.filter(|index| !stream.config.proxy(*index).disabled);
    if let Some(backend) = stream.backend() {
        stream.route.rare = stream.frontend().rare.and(backend.rare);
    }
}

/// Returns the backend of the first matching `use_backend`, with the line of that rule. As in
/// HAProxy, a rule with a name that no backend has ends the search, and the default backend is
/// used.
fn switched(stream: &ProxyStream) -> Option<(ProxyIndex, Option<Span>)> {
    let matches = |rule: &&SwitchRule| {
        let condition = rule.condition.as_ref();
        condition.is_none_or(|condition| condition.test(stream))
    };
    let rule = stream.frontend().use_backend.iter().find(matches)?;
    let index = match &rule.target {
        SwitchTarget::Static(reference) => reference.index?,
        SwitchTarget::Dynamic(format) => {
            let mut name = Vec::new();
            format.append(stream, &mut name);
            let found = std::str::from_utf8(&name).ok();
            let found = found.and_then(|name| stream.config.backend(name));
            if found.is_none() {
                stream.session.note(|| TraceStep::Backend {
                    name: String::from_utf8_lossy(&name).into(),
                    by: Some(rule.span),
                    fate: Fate::Unknown,
                });
            }
            found?
        }
    };
    Some((index, Some(rule.span)))
}

/// Counts a stream that enters its backend; [`leave`] counts its end.
pub fn enter(stream: &ProxyStream) {
    stream.identity.listed.note(&stream.route);
    if let Some(backend) = stream.backend() {
        backend.state.backend.sessions.increment();
        backend.state.count_backend(Tally::Sessions);
        backend
            .state
            .backend
            .session_rate
            .count(current_thread_data().now_ms());
    }
}

pub fn leave(stream: &ProxyStream) {
    if let Some(backend) = stream.backend() {
        backend.state.backend.sessions.decrement();
    }
}

pub fn count_at_server(stream: &ProxyStream, tally: Tally) {
    count_at(stream, stream.route.server, tally);
}

/// Adds to a counter of a server, if there is one, and of the backend.
pub fn count_at(stream: &ProxyStream, server: Option<ServerIndex>, tally: Tally) {
    let Some(backend) = stream.backend() else {
        return;
    };
    backend.state.count_backend(tally);
    if let Some(server) = server.and_then(|index| backend.servers.get(index.0 as usize)) {
        server.state.count(tally);
    }
}
