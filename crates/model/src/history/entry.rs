//! Stores one entry of the request history: a finished request or TCP session, in bounded memory.

use crate::config::ServerIndex;
use crate::transaction::{Decided, Endpoint, ProxyStream, RULES_MAX, TRIES_MAX};
use language::Span;
use reactor::Instant;
use std::ops::Deref;
use std::time::{SystemTime, UNIX_EPOCH};

/// Maximum length of all texts of an entry together, in bytes.
pub(super) const TEXT_MAX: usize = 448;
/// Number of texts of an entry.
pub(super) const FIELDS: usize = EntryText::Try as usize + TRIES_MAX;

/// Identifies one of the texts of an entry. A missing text is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryText {
    Frontend,
    Backend,
    Server,
    /// The method as it was received.
    Method,
    Host,
    /// The path as it was received, without its query.
    Path,
    UniqueId,
    /// Name of the server that persistence selected.
    Owner,
    /// Servers of the failed attempts.
    Try,
}

impl EntryText {
    pub(super) fn bytes_max(self) -> usize {
        match self {
            EntryText::Method => 12,
            EntryText::Host => 64,
            EntryText::Path => 128,
            EntryText::UniqueId => 96,
            _ => 64,
        }
    }
}

/// A position in a configuration file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleLocation {
    /// Index of the file among the names that the thread's history knows.
    pub(super) file: u8,
    /// Line from 1; 0 if unknown.
    pub(super) line: u32,
}

impl RuleLocation {
    /// Value of `file` if the file's name is unknown.
    pub(super) const NO_FILE: u8 = u8::MAX;
    const UNKNOWN: RuleLocation = RuleLocation {
        file: RuleLocation::NO_FILE,
        line: 0,
    };
}

/// Durations as logs print them, milliseconds; None for a step that was not reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spans {
    /// `%TR`: time to receive the request.
    pub request: Option<u32>,
    /// `%Tw`: time in queues.
    pub queue: Option<u32>,
    /// `%Tc`: time to connect to the server.
    pub connect: Option<u32>,
    /// `%Tr`: time from the connection to the response headers.
    pub response: Option<u32>,
    /// `%Ta`: total active time of the stream.
    pub active: u32,
}

/// Source of the choice of the backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BackendBy {
    #[default]
    None,
    /// The proxy is a `listen` section, so that it is the backend, too.
    Own,
    Default(RuleLocation),
    Rule(RuleLocation),
    /// A `reqsetbe` rule, or a rule that was not recorded.
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RequestOutcome {
    /// Status of the response; 0: none.
    pub status: u16,
    /// Status of the server's response; 0: none.
    pub server_status: u16,
    /// The four letters of `%tsc`.
    pub letters: [u8; 4],
    /// The proxy itself generated the response.
    pub local: bool,
    pub cached: bool,
}

/// Retries and queueing before the stream got a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effort {
    /// Number of attempts after the first one.
    pub retries: u32,
    /// The stream was sent to another server than the first one.
    pub redispatched: bool,
    /// Position of the request in the queue of the server, from 1; 0 if it did not wait.
    pub server_queue: u32,
    /// Position of the request in the queue of the backend, from 1; 0 if it did not wait.
    pub backend_queue: u32,
}

/// Data of a finished request or TCP session, without texts and lists.
#[derive(Clone, Copy, Debug)]
pub struct RequestRecord {
    /// Number of the entry on its thread, from 1.
    pub number: u64,
    /// Number of the configuration that served the request.
    pub(super) version: u64,
    /// Id of the stream in the process, as in `show sess`.
    pub id: u64,
    /// True for an HTTP request, false for a TCP session.
    pub http: bool,
    /// Start of the session or end of the previous request, and arrival of the first byte, in
    /// milliseconds since 1970.
    pub began_ms: [u64; 2],
    pub spans: Spans,
    pub client: Endpoint,
    pub ended: RequestOutcome,
    /// Bytes from the client, and bytes to the client.
    pub bytes: [u64; 2],
    pub effort: Effort,
    /// Name of the `balance` algorithm; empty without a backend.
    pub balance: &'static str,
    pub backend_by: BackendBy,
    owner: RuleLocation,
}

/// A finished request or TCP session.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) facts: RequestRecord,
    pub(super) text: Text,
    /// Rules, choices and failed attempts; None if there are none.
    pub decided: Option<Box<Decided>>,
    /// Indices of the file names of the rules, among the names that the thread's history knows.
    pub(super) files: [u8; RULES_MAX],
}

impl Default for Entry {
    fn default() -> Self {
        let facts = RequestRecord {
            number: 0,
            version: 0,
            id: 0,
            http: false,
            began_ms: [0; 2],
            spans: Spans::default(),
            client: Endpoint::Unix,
            ended: RequestOutcome::default(),
            bytes: [0; 2],
            effort: Effort::default(),
            balance: "",
            backend_by: BackendBy::None,
            owner: RuleLocation::UNKNOWN,
        };
        Entry {
            facts,
            text: Text::default(),
            decided: None,
            files: [RuleLocation::NO_FILE; RULES_MAX],
        }
    }
}

impl Deref for Entry {
    type Target = RequestRecord;

    fn deref(&self) -> &RequestRecord {
        &self.facts
    }
}

/// Texts of an entry, concatenated, and the offset at which each ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: [u16; FIELDS],
}

impl Text {
    fn get(&self, at: usize) -> &[u8] {
        let begin = at.checked_sub(1).and_then(|before| self.ends.get(before));
        let begin = begin.copied().unwrap_or_default();
        let end = self.ends.get(at).copied().unwrap_or_default();
        let range = usize::from(begin)..usize::from(end);
        self.bytes.get(range).unwrap_or_default()
    }
}

struct Texts<'t> {
    bytes: &'t mut Vec<u8>,
    begin: usize,
    ends: [u16; FIELDS],
}

impl Texts<'_> {
    fn put(&mut self, at: usize, field: EntryText, text: &[u8]) {
        let room = (self.begin + TEXT_MAX).saturating_sub(self.bytes.len());
        let kept = text.len().min(field.bytes_max()).min(room);
        let (text, mark) = match field {
            // Marks a cut text if it is only for display. Texts that filters compare get no mark.
            EntryText::Path | EntryText::Host if text.len() > kept => cut(text, kept),
            _ => (text.get(..kept).unwrap_or_default(), ""),
        };
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(mark.as_bytes());
        if let Some(end) = self.ends.get_mut(at) {
            *end = (self.bytes.len() - self.begin) as u16;
        }
    }
}

/// Cuts a text so that it has at most `kept` bytes, including the mark for a cut text. Returns the
/// beginning and the mark; the mark is empty if there is no room for it.
fn cut(text: &[u8], kept: usize) -> (&[u8], &'static str) {
    const MARK: &str = "…";
    let Some(mut end) = kept.checked_sub(MARK.len()) else {
        return (text.get(..kept).unwrap_or_default(), "");
    };
    // Moves the cut back to the start of a UTF-8 character.
    while end > 0 && text.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    (text.get(..end).unwrap_or_default(), MARK)
}

fn span(from: Option<Instant>, to: Option<Instant>) -> Option<u32> {
    let passed = to?.saturating_duration_since(from?).as_millis();
    Some(u32::try_from(passed).unwrap_or(u32::MAX))
}

fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the path of a request target without its query. The query, the fragment, and the user
/// and password of an absolute URI may be secret, and are never recorded.
pub(super) fn path(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let target = target.get(..end.unwrap_or(target.len())).unwrap_or(target);
    if target.starts_with(b"/") {
        return target;
    }
    match memchr::memmem::find(target, b"://") {
        Some(at) => {
            let rest = target.get(at + 3..).unwrap_or_default();
            let begin = rest.iter().position(|byte| *byte == b'/');
            begin.and_then(|at| rest.get(at..)).unwrap_or(b"/")
        }
        // Returns the target without user and password: `*`, or the host and port of CONNECT.
        None => match target.iter().rposition(|byte| *byte == b'@') {
            Some(at) => target.get(at + 1..).unwrap_or_default(),
            None => target,
        },
    }
}

impl RequestRecord {
    /// Collects the data of a finished stream. `file` returns the index of a file name.
    pub(super) fn of(
        stream: &ProxyStream,
        number: u64,
        file: &mut impl FnMut(u32) -> u8,
    ) -> RequestRecord {
        let times = &stream.times;
        let outcome = &stream.outcome;
        let [third, fourth] = stream.cookie_letters();
        let (first, second) = (outcome.termination.letter(), outcome.phase.letter());
        let hit = stream
            .transfer
            .cache
            .as_deref()
            .is_some_and(|used| used.hit);
        let route = &stream.route;
        let mut place = |span: Span| RuleLocation {
            file: file(span.file.0),
            line: stream.config.line_of(span).unwrap_or_default(),
        };
        let owner = stream
            .decided
            .as_deref()
            .and_then(|decided| decided.owner?.rule);
        RequestRecord {
            number,
            version: stream.config.version,
            id: stream.identity.id,
            http: stream.http,
            began_ms: [unix_ms(times.accept_date()), unix_ms(times.began_at)],
            spans: Spans {
                request: span(Some(times.began), times.request),
                queue: span(times.request.or(Some(times.began)), times.queued),
                connect: span(times.queued, times.connected),
                response: span(times.connected, times.response),
                active: span(Some(times.began), Some(times.end())).unwrap_or_default(),
            },
            client: stream.source(),
            ended: RequestOutcome {
                status: if stream.http { stream.status() } else { 0 },
                server_status: outcome.server_status,
                letters: [first, second, third, fourth],
                local: outcome.local,
                cached: hit,
            },
            bytes: [stream.transfer.bytes_in, stream.transfer.bytes_out],
            effort: Effort {
                retries: route.retries,
                redispatched: route.redispatched,
                server_queue: route.server_queue,
                backend_queue: route.backend_queue,
            },
            balance: stream
                .backend()
                .map_or("", |backend| backend.balance.name()),
            backend_by: backend_by(stream, &mut place),
            owner: owner.map_or(RuleLocation::UNKNOWN, place),
        }
    }

    /// Returns the end in milliseconds since 1970.
    pub fn ended_ms(&self) -> u64 {
        let [_, began] = self.began_ms;
        began.saturating_add(u64::from(self.spans.active))
    }
}

fn backend_by(stream: &ProxyStream, place: &mut impl FnMut(Span) -> RuleLocation) -> BackendBy {
    if stream.backend().is_none() {
        return BackendBy::None;
    }
    let by_rule = stream
        .decided
        .as_deref()
        .and_then(|decided| decided.backend);
    let by_default = stream
        .frontend()
        .default_backend
        .as_ref()
        .filter(|default| default.index == stream.route.backend);
    match (by_rule, by_default) {
        (Some(span), _) => BackendBy::Rule(place(span)),
        _ if stream.route.backend == Some(stream.route.frontend) => BackendBy::Own,
        (None, Some(default)) => BackendBy::Default(place(default.span)),
        (None, None) => BackendBy::Other,
    }
}

/// Appends the texts of a stream to `bytes`. Returns their end offsets relative to the first one.
pub(super) fn put_texts(stream: &ProxyStream, bytes: &mut Vec<u8>) -> [u16; FIELDS] {
    let begin = bytes.len();
    let mut texts = Texts {
        bytes,
        begin,
        ends: [0; FIELDS],
    };
    let mut put = |field: EntryText, value: &[u8]| texts.put(field as usize, field, value);
    let backend = stream.backend();
    put(EntryText::Frontend, stream.frontend().name.as_bytes());
    put(
        EntryText::Backend,
        backend.map_or("", |backend| &backend.name).as_bytes(),
    );
    let name = |at: Option<ServerIndex>| {
        let server = at.and_then(|at| backend?.servers.get(at.0 as usize));
        server.map_or("", |server| &server.name).as_bytes()
    };
    put(EntryText::Server, name(stream.route.server));
    put(EntryText::Method, stream.received_method());
    put(
        EntryText::Host,
        stream.request.get(b"host").unwrap_or_default(),
    );
    put(EntryText::Path, path(stream.received_target()));
    put(
        EntryText::UniqueId,
        stream.identity.unique_id.get().map_or(&[], |id| id),
    );
    let decided = stream.decided.as_deref();
    let owner = decided.and_then(|decided| decided.owner);
    put(EntryText::Owner, name(owner.map(|owner| owner.server)));
    let mut at = EntryText::Try as usize;
    for one in decided.iter().flat_map(|decided| decided.tries()) {
        texts.put(at, EntryText::Try, name(Some(one.server)));
        at += 1;
    }
    let end = (texts.bytes.len() - begin) as u16;
    texts.ends.iter_mut().skip(at).for_each(|one| *one = end);
    texts.ends
}

impl Entry {
    pub fn text(&self, field: EntryText) -> &[u8] {
        self.text.get(field as usize)
    }

    /// Returns whether an entry has this text; of a long text, the entry has only the beginning.
    pub fn is_text(&self, field: EntryText, wanted: &[u8]) -> bool {
        let kept = self.text(field);
        let is_cut = kept.len() == field.bytes_max() || self.text.bytes.len() == TEXT_MAX;
        kept == wanted || (is_cut && wanted.starts_with(kept))
    }

    /// Formats the durations like `httplog` or `tcplog`.
    pub fn timers(&self) -> String {
        let shown = |span: Option<u32>| span.map_or_else(|| "-1".to_owned(), |ms| ms.to_string());
        let spans = &self.spans;
        let waits = format!("{}/{}", shown(spans.queue), shown(spans.connect));
        if self.http {
            format!(
                "{}/{waits}/{}/{}",
                shown(spans.request),
                shown(spans.response),
                spans.active
            )
        } else {
            format!("{waits}/{}", spans.active)
        }
    }

    /// Returns the server of a failed attempt, numbered from 0.
    pub fn try_server(&self, number: usize) -> &[u8] {
        self.text
            .get((EntryText::Try as usize).saturating_add(number))
    }

    /// Returns the position of a rule, by its index in [`Decided::rules`].
    pub fn rule_place(&self, number: usize) -> RuleLocation {
        let decided = self.decided.as_deref();
        let rule = decided.and_then(|decided| decided.rules().nth(number));
        RuleLocation {
            file: self
                .files
                .get(number)
                .copied()
                .unwrap_or(RuleLocation::NO_FILE),
            line: rule.map_or(0, |rule| rule.line),
        }
    }

    /// Returns the position of the `use-server` rule that selected the server.
    pub fn owner_place(&self) -> RuleLocation {
        self.facts.owner
    }
}
