//! Implements the actions that set the mark and the type of service of packets, and parses the
//! priority of a stream (`set-nice`).

use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, places};
use crate::codes as load_codes;
use crate::compiled::action::packets::{Number, PacketChange, What};
use crate::rules::draft::ConfigDraft;
use crate::transaction::{Packets, ProxyStream};
use language::{ConfigWord, Diagnostic};

pub(super) const CLIENT: &[&str] = &[
    places::CONNECTION,
    places::SESSION,
    places::CONTENT,
    places::SERVER_CONTENT,
    places::REQUEST,
    places::RESPONSE,
];
const SERVER: &[&str] = &[places::CONTENT, places::REQUEST];
const OF_STREAMS: &[&str] = &[
    places::CONTENT,
    places::SERVER_CONTENT,
    places::REQUEST,
    places::RESPONSE,
];

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "set-mark <mark>" CLIENT, |loader, build| fixed(loader, build, What::Mark),
        "set-mark 20 if { src 192.0.2.0/24 }",
        "Sets the mark of further packets to the client, for the kernel's routing and filters. The process keeps the \
         capability NET_ADMIN for it.";
    "set-fc-mark { <mark> | <expr> }" CLIENT,
        |loader, build| either(loader, build, What::Mark, false), "set-fc-mark src_port",
        "The newer name of `set-mark`, which also accepts an expression.";
    "set-bc-mark { <mark> | <expr> }" SERVER,
        |loader, build| either(loader, build, What::Mark, true), "set-bc-mark 0xff",
        "Sets the mark of packets to the server, on a connection opened for this stream, for example to select a \
         route.";
    "set-tos <tos>" CLIENT, |loader, build| fixed(loader, build, What::Tos),
        "set-tos 0x20 if { src 192.0.2.0/24 }",
        "Sets the TOS field of packets to the client (DSCP and ECN, eight bits), for routers on the path.";
    "set-fc-tos { <tos> | <expr> }" CLIENT, |loader, build| either(loader, build, What::Tos, false),
        "set-fc-tos int(32)",
        "The newer name of `set-tos`, which also accepts an expression.";
    "set-bc-tos { <tos> | <expr> }" SERVER, |loader, build| either(loader, build, What::Tos, true),
        "set-bc-tos 0x20",
        "Sets the TOS field of packets to the server, on a connection opened for this stream.";
    "set-nice <nice>" OF_STREAMS, nice, "set-nice 10",
        "In HAProxy, sets the scheduler priority of a stream, from -1024 (highest) to 1024. Evenkeel serves streams in \
         order of their events, with a limited amount of work each, so this has no effect.";
};

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn action(what: What, to_server: bool, number: Number) -> RuleAction {
    RuleAction::Packets(PacketChange {
        to_server,
        what,
        number,
    })
}

fn too_large(build: &Build<'_, '_>, word: &ConfigWord) -> Diagnostic {
    let message = format!("'{}' is not a valid TOS value", word.text());
    build.wrong(
        &load_codes::BAD_VALUE,
        word,
        message,
        "expected a number from 0 to 255",
    )
}

fn fixed(loader: &mut ConfigDraft, build: &mut Build<'_, '_>, what: What) -> BuiltAction {
    let word = build.args.required("a number")?;
    let Some(n) = number(word.str()) else {
        let message = format!("'{}' is not a number", word.text());
        return Err(build.wrong(
            &load_codes::BAD_VALUE,
            word,
            message,
            "expected a number, decimal or with 0x",
        ));
    };
    if what == What::Tos && n > 0xff {
        return Err(too_large(build, word));
    }
    note(loader, build, what);
    Ok(action(what, false, Number::Fixed(n)))
}

fn either(
    loader: &mut ConfigDraft,
    build: &mut Build<'_, '_>,
    what: What,
    to_server: bool,
) -> BuiltAction {
    if let Some(word) = build.args.peek()
        && let Some(n) = number(word.str())
    {
        build.args.next();
        if what == What::Tos && n > 0xff {
            return Err(too_large(build, word));
        }
        note(loader, build, what);
        return Ok(action(what, to_server, Number::Fixed(n)));
    }
    let expression = build.expression(loader)?;
    note(loader, build, what);
    Ok(action(what, to_server, Number::Found(Box::new(expression))))
}

/// Records the use of marks, since a mark requires a privilege that the process must then keep.
fn note(loader: &mut ConfigDraft, build: &Build<'_, '_>, what: What) {
    if what == What::Mark {
        let global = &mut loader.config.global;
        global.marks = global.marks.or(Some(build.word.span));
    }
}

fn nice(_: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let word = build.args.required("a number")?;
    // As in HAProxy, a number out of range is clamped to the nearest bound.
    if word.str().parse::<i64>().is_err() {
        let message = format!("'{}' is not a number", word.text());
        return Err(build.wrong(
            &load_codes::BAD_VALUE,
            word,
            message,
            "expected a number from -1024 to 1024",
        ));
    }
    Ok(RuleAction::Pass)
}

impl PacketChange {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        let number = match &self.number {
            Number::Fixed(number) => Some(*number),
            Number::Found(expression) => expression
                .evaluate(stream)
                .and_then(|value| value.integer())
                .map(|number| number as u32),
        };
        let Some(number) = number else {
            return ActionResult::Next;
        };
        let set = stream.rules.overrides_mut();
        let packets: &mut Packets = if self.to_server {
            &mut set.to_server
        } else {
            set.unsaid = true;
            &mut set.to_client
        };
        match self.what {
            What::Mark => packets.mark = Some(number),
            What::Tos => packets.tos = Some(number as u8),
        }
        ActionResult::Next
    }
}
