//! Implements the actions that override settings of the proxies for one stream: timeouts, number of
//! retries, and priority in the queue.

use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, places};
use crate::codes as load_codes;
use crate::compiled::Expression;
use crate::compiled::action::limits::{LimitChange, Number, What};
use crate::rules::draft::ConfigDraft;
use crate::transaction::ProxyStream;
use language::suggest;
use language::value::{TimeUnit, milliseconds};

/// Bound of `set-priority-class`, in either direction.
const CLASS_MAX: i64 = 2047;
/// Bound of `set-priority-offset`, in milliseconds.
const OFFSET_MAX: i64 = 524_287;
/// Maximum number of retries that a rule can set.
const RETRIES_MAX: i64 = 100;

const LIMITS: [(&str, What); 6] = [
    ("server", What::Server),
    ("tunnel", What::Tunnel),
    ("client", What::Client),
    ("connect", What::Connect),
    ("queue", What::Queue),
    ("tarpit", What::Tarpit),
];

const CONTENT: &[&str] = &[places::CONTENT, places::REQUEST];

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "set-timeout { server | tunnel | client | connect | queue | tarpit } { <time> | <expr> }" &[places::REQUEST, places::RESPONSE],
        timeout, "set-timeout client 5m if { src 192.0.2.0/24 }",
        "Changes a timeout for this stream. An expression returns milliseconds; without a value, or with 0 or less, \
         the timeout does not change.";
    "set-retries { <number> | <expr> }" CONTENT,
        |loader, build| numbered(loader, build, What::Retries), "set-retries 0 if METH_POST",
        "Sets the number of connection retries for this stream, instead of `retries`; at most 100.";
    "disable-l7-retry" &[places::REQUEST],
        |_, _| Ok(action(What::NoAnswerRetries, Number::Fixed(1))), "disable-l7-retry if METH_POST",
        "Does not retry this request because of a server's response or its absence, regardless of `retry-on`: for \
         requests that must not be processed twice.";
    "set-priority-class <expr>" CONTENT, |loader, build| found(loader, build, What::Class),
        "set-priority-class int(-1) if { path_beg /checkout }",
        "Sets the class of a stream in queues, from -2047 to 2047: lower classes go first, regardless of arrival. The \
         default is 0.";
    "set-priority-offset <expr>" CONTENT, |loader, build| found(loader, build, What::Offset),
        "set-priority-offset int(5000) if { path_beg /report }",
        "Shifts the position of a stream in its queue class as if it had arrived this many milliseconds later, or \
         earlier if negative: from -524287 to 524287.";
};

fn action(what: What, number: Number) -> RuleAction {
    RuleAction::Limits(Box::new(LimitChange { what, number }))
}

fn found(loader: &mut ConfigDraft, build: &mut Build<'_, '_>, what: What) -> BuiltAction {
    Ok(action(what, Number::Found(build.expression(loader)?)))
}

fn numbered(loader: &mut ConfigDraft, build: &mut Build<'_, '_>, what: What) -> BuiltAction {
    let fixed = build.args.peek().and_then(|word| word.str().parse().ok());
    let Some(number) = fixed else {
        return found(loader, build, what);
    };
    build.args.next();
    Ok(action(what, Number::Fixed(number)))
}

fn timeout(loader: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let word = build.args.required("'server', 'tunnel' or 'client'")?;
    let Some((_, what)) = LIMITS.iter().find(|(name, _)| word.is(name)) else {
        let message = format!("unknown timeout '{}' of 'set-timeout'", word.text());
        let diagnostic = build.wrong(
            &load_codes::BAD_VALUE,
            word,
            message,
            "expected `server`, `tunnel`, `client`, `connect`, `queue` or `tarpit`",
        );
        return Err(diagnostic.suggest(suggest::nearest(
            &word.text(),
            LIMITS.iter().map(|(name, _)| *name),
        )));
    };
    let kind = loader.proxy().kind;
    let of_server = !matches!(what, What::Client | What::Tarpit);
    let wrong_side = if of_server {
        !kind.is_backend() && !loader.in_defaults()
    } else {
        *what == What::Client && !kind.is_frontend() && !loader.in_defaults()
    };
    if wrong_side {
        let message = format!(
            "'set-timeout {}' is not allowed in a {}",
            word.text(),
            kind.name()
        );
        return Err(build.wrong(
            &load_codes::BAD_VALUE,
            word,
            message,
            "this timeout belongs to the other side",
        ));
    }
    let value = build.args.required("a time or an expression")?;
    let number = match milliseconds(&value.text(), TimeUnit::Milliseconds) {
        Ok(0) => {
            return Err(build.wrong(
                &load_codes::BAD_VALUE,
                value,
                "the timeout must be greater than 0",
                "expected more than 0",
            ));
        }
        Ok(ms) => Number::Fixed(ms.into()),
        Err(_) => Number::Found(Expression::parse(loader, value, build.usage)?),
    };
    Ok(action(*what, number))
}

impl LimitChange {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        let number = match &self.number {
            Number::Fixed(number) => Some(*number),
            Number::Found(expression) => expression
                .evaluate(stream)
                .and_then(|value| value.integer()),
        };
        let Some(number) = number else {
            return ActionResult::Next;
        };
        let ms = u32::try_from(number).ok().filter(|ms| *ms > 0);
        if self.what == What::NoAnswerRetries {
            stream.route.persistence_mut().once = true;
            return ActionResult::Next;
        }
        let set = stream.rules.overrides_mut();
        let limits = &mut set.limits;
        match self.what {
            What::Client => limits.client_ms = ms.or(limits.client_ms),
            What::Server => limits.server_ms = ms.or(limits.server_ms),
            What::Tunnel => limits.tunnel_ms = ms.or(limits.tunnel_ms),
            What::Connect => limits.connect_ms = ms.or(limits.connect_ms),
            What::Queue => limits.queue_ms = ms.or(limits.queue_ms),
            What::Tarpit => limits.tarpit_ms = ms.or(limits.tarpit_ms),
            What::Retries => set.retries = Some(number.clamp(0, RETRIES_MAX) as u32),
            What::NoAnswerRetries => {}
            What::Class => set.priority.class = number.clamp(-CLASS_MAX, CLASS_MAX) as i16,
            What::Offset => {
                set.priority.offset_ms = number.clamp(-OFFSET_MAX, OFFSET_MAX) as i32;
            }
        }
        ActionResult::Next
    }
}
