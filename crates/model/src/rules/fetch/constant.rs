//! Implements the fetches of constants and variables, which do not read the stream's data.

use super::{FetchBuild, FetchRow, boolean};
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::rules::variables::{Scope, VariableName, process_variable};
use crate::transaction::ProxyStream;
use std::borrow::Cow;

const fn constant(output: Type, one: super::One, kinds: &'static [ArgumentKind]) -> FetchBuild {
    FetchBuild::new(output, Needs::Nothing, one).takes(kinds, kinds.len())
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "always_true", constant(Type::Bool, |_, _| boolean(true), &[]), "acl all always_true",
        "Always true. Use it to enable a rule temporarily.";
    "always_false",
        constant(Type::Bool, |_, _| boolean(false), &[]), "acl nobody always_false",
        "Always false. Use it to disable a rule temporarily.";
    "bool(<boolean>)",
        constant(Type::Bool, |a, _| a.bool(0).map(SampleValue::Bool), &[ArgumentKind::Bool]), "acl on bool(true)",
        "A boolean constant: `true`, `false`, or a number that is true unless it is 0.";
    "int(<integer>)",
        constant(Type::Int, |a, _| a.int(0).map(SampleValue::Int), &[ArgumentKind::Int]), "acl answer int(42) 42",
        "A numeric constant, for calculations and variables.";
    "ipv4(<address>)",
        constant(Type::Ipv4, |a, _| a.ipv4(0).map(SampleValue::Ipv4), &[ArgumentKind::Ipv4]),
        "acl net ipv4(192.0.2.1) 192.0.2.0/24",
        "An IPv4 address constant.";
    "ipv6(<address>)",
        constant(Type::Ipv6, |a, _| a.ipv6(0).map(SampleValue::Ipv6), &[ArgumentKind::Ipv6]),
        "acl net ipv6(2001:db8::1) 2001:db8::/32",
        "An IPv6 address constant.";
    "str(<text>)",
        FetchBuild::new(Type::Str, Needs::Nothing, |a, _| Some(SampleValue::text(a.text(0).unwrap_or(b"")))).takes(&[ArgumentKind::Text], 0),
        "acl same str(a) a", "A text constant. Quote commas and parentheses in it separately.";
    "bin(<hexadecimal>)",
        constant(Type::Bin, |a, _| a.text(0).map(SampleValue::bytes), &[ArgumentKind::Hex]),
        "acl same bin(0a0d) -m bin 0a0d",
        "A binary constant, two hexadecimal digits per byte.";
    "meth(<method>)",
        constant(Type::Method, |a, _| Some(SampleValue::Method(Cow::Borrowed(a.text(0)?))), &[ArgumentKind::Text]),
        "acl get meth(GET) GET",
        "An HTTP method constant.";
    "var(<variable>[,<default>])", FetchBuild::new(Type::Any, Needs::Nothing, variable).takes(&[ArgumentKind::Variable, ArgumentKind::Text], 1),
        "acl known var(txn.user) -m found",
        "The value of a variable, with the type with which it was set; if it is not set, the default. Without both \
         there is no value.";
};

fn variable<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    variable_value(arguments.variable(0)?, stream)
        .or_else(|| arguments.text(1).map(SampleValue::text))
}

/// Returns the value of a variable; those that outlive the stream are copied.
pub fn variable_value(name: VariableName, stream: &ProxyStream) -> Sample<'_> {
    match name.scope() {
        Scope::Process => process_variable(name),
        Scope::Session => stream.session.variables.borrow().get(name).cloned(),
        _ => match stream.rules.assigned.get(name) {
            Some(newer) => newer,
            None => stream.rules.variables.get(name).map(borrowed),
        },
    }
}

pub fn borrowed<'a>(value: &'a SampleValue<'static>) -> SampleValue<'a> {
    match value {
        SampleValue::Str(s) => SampleValue::Str(Cow::Borrowed(s)),
        SampleValue::Bin(s) => SampleValue::Bin(Cow::Borrowed(s)),
        SampleValue::Method(s) => SampleValue::Method(Cow::Borrowed(s)),
        SampleValue::Bool(b) => SampleValue::Bool(*b),
        SampleValue::Int(n) => SampleValue::Int(*n),
        SampleValue::Ipv4(ip) => SampleValue::Ipv4(*ip),
        SampleValue::Ipv6(ip) => SampleValue::Ipv6(*ip),
    }
}
