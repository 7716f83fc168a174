//! Implements the converters that store their input and return it unchanged: in variables, and in
//! capture slots.

use super::{ConverterBuild, ConverterRow, rows};
use crate::compiled::action::variable::SetWhen;
use crate::rules::action::{set_variable_of_session, unset_variable_of_session};
use crate::rules::argument::{ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::{Captured, ProxyStream};
use language::arguments::Built;
use language::{Span, suggest};

const NAMES: [&str; 8] = [
    "ifexists",
    "ifnotexists",
    "ifempty",
    "ifnotempty",
    "ifset",
    "ifnotset",
    "ifgt",
    "iflt",
];
const CONDITIONED: &[ArgumentKind] = &[
    ArgumentKind::Variable,
    ArgumentKind::Text,
    ArgumentKind::Text,
    ArgumentKind::Text,
    ArgumentKind::Text,
];

const fn same(input: Type, apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(input, input, apply)
}

pub(super) static ROWS: &[ConverterRow] = rows! {
    "set-var(<variable>[,<condition>…])", same(Type::Any, set).takes(CONDITIONED, 1).prepare(check_conditions),
        "acl example hdr(host),lower,set-var(txn.host) -m found",
        "Stores the value in a variable and passes it on. All conditions (`ifexists`, `ifempty`, `ifset`, `ifgt`, \
         their opposites) must be true; otherwise there is no value.";
    "unset-var(<variable>)", same(Type::Any, unset).takes(&[ArgumentKind::Variable], 1),
        "acl example hdr(host),unset-var(txn.host) -m found",
        "Deletes a variable and passes the value on.";
    "capture-req(<slot>)",
        same(Type::Str, |a, v, s| keep(a, v, s, Captured::Request)).takes(&[ArgumentKind::Int], 1).prepare(check_slot),
        "acl example hdr(host),capture-req(0) -m found",
        "Stores the value in a request capture slot, created by `declare capture`, and passes it on.";
    "capture-res(<slot>)",
        same(Type::Str, |a, v, s| keep(a, v, s, Captured::Response)).takes(&[ArgumentKind::Int], 1).prepare(check_slot),
        "acl example res.hdr(content-type),capture-res(0) -m found",
        "Stores the value in a response capture slot, created by `declare capture`, and passes it on.";
};

fn check_conditions(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    for n in 1..arguments.list.len() {
        let name = String::from_utf8_lossy(arguments.text(n).unwrap_or(b"")).into_owned();
        if SetWhen::named(&name).is_none() {
            let diagnostic = bad_argument(span, format!("unknown condition '{name}'"));
            return Err(diagnostic.suggest(suggest::nearest(&name, NAMES)));
        }
    }
    Ok(())
}

fn set<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let name = arguments.variable(0)?;
    let holds = |n: usize| {
        let condition = std::str::from_utf8(arguments.text(n).unwrap_or(b""));
        let condition = condition.ok().and_then(SetWhen::named);
        condition.is_none_or(|condition| condition.holds(name, &value, stream))
    };
    if !(1..arguments.list.len()).all(holds) {
        return None;
    }
    let owned = value.clone().into_owned();
    if let Some(owned) = set_variable_of_session(stream, name, owned) {
        stream.rules.assigned.set(name, Some(owned));
    }
    Some(value)
}

fn unset<'a>(arguments: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let name = arguments.variable(0)?;
    if !unset_variable_of_session(stream, name) {
        stream.rules.assigned.set(name, None);
    }
    Some(value)
}

fn check_slot(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    match arguments.int(0) {
        Some(0..) => Ok(()),
        _ => Err(bad_argument(span, "slots are numbered from 0".into())),
    }
}

fn keep<'a>(
    arguments: &Arguments,
    value: SampleValue<'a>,
    stream: &ProxyStream,
    whose: Captured,
) -> Sample<'a> {
    let captures = &stream.frontend().captures;
    let slots = match whose {
        Captured::Request => &captures.request,
        Captured::Response => &captures.response,
    };
    let slot = usize::try_from(arguments.int(0)?).ok()?;
    // As in HAProxy, an undeclared slot leaves the expression without a value.
    let length_max = slots.get(slot)?.length_max;
    value.with_text(|text| {
        stream
            .rules
            .assigned
            .capture(whose, slot, &text[..text.len().min(length_max)])
    });
    Some(value)
}
