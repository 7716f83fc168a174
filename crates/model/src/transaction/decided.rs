//! Records the decisions on a stream for the request history: rules that took effect, choices of
//! backend and server, failed attempts. The record is bounded, and reused with the stream.
//!
//! [`super::trace`] records more (values, conditions that were not met), but only for a session
//! that an operator traces.

use super::ProxyStream;
use super::trace::Tie;
use crate::config::ServerIndex;
use language::Span;

/// Maximum number of recorded rules of a stream.
pub const RULES_MAX: usize = 8;
/// Maximum number of recorded failed attempts of a stream.
pub const TRIES_MAX: usize = 4;

/// A rule that took effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleMet {
    pub file: u32,
    /// Line number in the file; 0 if unknown.
    pub line: u32,
    /// First words of the rule: the kind of rule, and the action.
    pub words: [&'static str; 2],
    /// The rule ended its list.
    pub ends: bool,
}

/// Reason for which an attempt to use a server failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryFailure {
    /// No connection within `timeout connect`.
    ConnectTimeout,
    /// The connection was refused, or there is no route.
    ConnectFailed,
    /// The system had no free port, memory or descriptor.
    Resources,
    Unresolved,
    Tls,
    /// The server name for TLS is invalid.
    BadName,
    /// The connection was closed before a response.
    Closed,
    /// The server refused the request without processing it.
    Refused,
    /// No response within `timeout server`.
    ResponseTimeout,
    Malformed,
    /// The response has a status that `retry-on` contains.
    Status,
}

impl TryFailure {
    /// Returns the description of the failure, for operators.
    pub fn words(self) -> &'static str {
        match self {
            TryFailure::ConnectTimeout => "no connection within `timeout connect`",
            TryFailure::ConnectFailed => "connection refused or host not reachable",
            TryFailure::Resources => "no local port, memory or file descriptor",
            TryFailure::Unresolved => "the host name of the server has no address",
            TryFailure::Tls => "TLS handshake failed",
            TryFailure::BadName => "the server name for TLS is not valid",
            TryFailure::Closed => "connection closed before a response",
            TryFailure::Refused => "request refused unread",
            TryFailure::ResponseTimeout => "no response within `timeout server`",
            TryFailure::Malformed => "invalid response",
            TryFailure::Status => "response with a status that `retry-on` names",
        }
    }
}

/// A failed attempt to use a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Try {
    pub server: ServerIndex,
    /// Time of the failure, milliseconds after the start of the stream.
    pub after_ms: u32,
    pub failure: TryFailure,
}

/// Server that persistence selected, not `balance` alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PersistentServer {
    pub server: ServerIndex,
    pub by: Tie,
    /// Position of a `use-server` rule.
    pub rule: Option<Span>,
}

/// Recorded decisions on a stream.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Decided {
    rules: BoundedList<RuleMet, RULES_MAX>,
    tries: BoundedList<Try, TRIES_MAX>,
    pub owner: Option<PersistentServer>,
    /// Position of the line that chose the backend.
    pub backend: Option<Span>,
    /// Source of a response that the proxy generated without a rule.
    pub page: Option<&'static str>,
}

/// Recorded decisions other than rules and attempts, and the numbers of rules and attempts that
/// were not recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Others {
    owner: Option<PersistentServer>,
    page: Option<&'static str>,
    left_out: [u32; 2],
}

/// At most `N` values, and the number of further ones.
#[derive(Clone, PartialEq, Eq, Debug)]
struct BoundedList<T, const N: usize> {
    values: [Option<T>; N],
    count: usize,
    left_out: u32,
}

impl<T: Copy, const N: usize> Default for BoundedList<T, N> {
    fn default() -> Self {
        BoundedList {
            values: [None; N],
            count: 0,
            left_out: 0,
        }
    }
}

impl<T: Copy, const N: usize> BoundedList<T, N> {
    /// Adds a value. If the list is full, drops the last value for which `may_go` is true, or the
    /// new value if there is none.
    fn push(&mut self, value: T, may_go: impl Fn(&T) -> bool) {
        if let Some(place) = self.values.get_mut(self.count) {
            *place = Some(value);
            self.count += 1;
            return;
        }
        self.left_out = self.left_out.saturating_add(1);
        let goes = |one: &Option<T>| one.as_ref().is_some_and(&may_go);
        if let Some(at) = self.values.iter().rposition(goes)
            && let Some(tail) = self.values.get_mut(at..)
        {
            tail.rotate_left(1);
            if let Some(last) = tail.last_mut() {
                *last = Some(value);
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter().take(self.count).flatten()
    }
}

impl Decided {
    /// Returns the rules that took effect, in order: the first ones, and those that ended a list.
    pub fn rules(&self) -> impl Iterator<Item = &RuleMet> {
        self.rules.iter()
    }

    /// Returns the number of rules that are not in [`Decided::rules`].
    pub fn rules_left_out(&self) -> u32 {
        self.rules.left_out
    }

    /// Returns the failed attempts, in order: the first ones, and the last one.
    pub fn tries(&self) -> impl Iterator<Item = &Try> {
        self.tries.iter()
    }

    /// Returns the number of attempts that are not in [`Decided::tries`].
    pub fn tries_left_out(&self) -> u32 {
        self.tries.left_out
    }

    pub(crate) fn others(&self) -> Others {
        Others {
            owner: self.owner,
            page: self.page,
            left_out: [self.rules.left_out, self.tries.left_out],
        }
    }

    /// Restores the data of another record, except for the line that chose the backend.
    pub(crate) fn become_kept(
        &mut self,
        rules: impl Iterator<Item = RuleMet>,
        tries: impl Iterator<Item = Try>,
        others: Others,
    ) {
        self.renew();
        rules.for_each(|rule| self.rules.push(rule, |_| false));
        tries.for_each(|one| self.tries.push(one, |_| false));
        (self.owner, self.page) = (others.owner, others.page);
        [self.rules.left_out, self.tries.left_out] = others.left_out;
    }

    /// Clears the record for the next stream and keeps the allocated memory.
    pub(crate) fn renew(&mut self) {
        // Values beyond the count are never read, so they need no clearing.
        (self.rules.count, self.rules.left_out) = (0, 0);
        (self.tries.count, self.tries.left_out) = (0, 0);
        (self.owner, self.backend, self.page) = (None, None, None);
    }
}

impl ProxyStream {
    /// Returns the record to add to; None if the history is disabled.
    fn deciding(&mut self) -> Option<&mut Decided> {
        match self.config.global.requests_kept() {
            0 => None,
            _ => Some(self.decided.get_or_insert_default()),
        }
    }

    pub(crate) fn decide_by_rule(&mut self, rule: RuleMet) {
        if let Some(decided) = self.deciding() {
            let may_go = |kept: &RuleMet| !kept.ends;
            if rule.ends || decided.rules.count < RULES_MAX {
                decided.rules.push(rule, may_go)
            } else {
                decided.rules.left_out = decided.rules.left_out.saturating_add(1)
            }
        }
    }

    pub fn decide_backend(&mut self, by: Span) {
        if let Some(decided) = self.deciding() {
            decided.backend = Some(by);
        }
    }

    /// Records the server that persistence selected. A known rule for the same server is kept.
    pub fn decide_owner(&mut self, owner: PersistentServer) {
        if let Some(decided) = self.deciding() {
            let known = decided.owner.filter(|known| known.server == owner.server);
            let rule = owner.rule.or(known.and_then(|known| known.rule));
            decided.owner = Some(PersistentServer { rule, ..owner });
        }
    }

    pub fn decide_page(&mut self, by: &'static str) {
        if let Some(decided) = self.deciding() {
            decided.page = Some(by);
        }
    }

    #[cold]
    pub fn try_failed(&mut self, failure: TryFailure) {
        let Some(server) = self.route.server else {
            return;
        };
        let after = reactor::now().saturating_duration_since(self.times.began);
        let after_ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        if let Some(decided) = self.deciding() {
            let one = Try {
                server,
                after_ms,
                failure,
            };
            decided.tries.push(one, |_| true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(decided: &Decided) -> Vec<u32> {
        decided.rules().map(|rule| rule.line).collect()
    }

    #[test]
    fn rules_that_end_a_list_are_kept_however_many_there_were() {
        let mut stream = crate::transaction::sample::request(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let met = |line: u32, ends: bool| RuleMet {
            file: 0,
            line,
            words: ["http-request", "set-header"],
            ends,
        };
        for line in 1..=20 {
            stream.decide_by_rule(met(line, false));
        }
        for line in 21..=22 {
            stream.decide_by_rule(met(line, true));
        }
        let decided = stream.decided.as_deref().expect("rules");
        assert_eq!(lines(decided), [1, 2, 3, 4, 5, 6, 21, 22]);
        assert_eq!(decided.rules_left_out(), 14);
        // A reused record contains nothing of the previous request.
        let mut again = decided.clone();
        again.renew();
        assert_eq!((lines(&again), again.rules_left_out()), (vec![], 0));
    }

    #[test]
    fn the_first_tries_and_the_last_one_are_kept() {
        let mut kept = BoundedList::<u32, 4>::default();
        (1..=9).for_each(|n| kept.push(n, |_| true));
        assert_eq!(kept.iter().copied().collect::<Vec<_>>(), [1, 2, 3, 9]);
        assert_eq!(kept.left_out, 5);
    }
}
