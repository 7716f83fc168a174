//! Implements the converters that look a value up in a file of keys and values.

use super::{ConverterBuild, ConverterRow, rows};
use crate::compiled::Map;
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::matching::Method;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::sample::map::{Gives, parse};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;

macro_rules! maps {
    ($($name:literal, $method:ident, $gives:ident, $example:literal, $doc:literal;)*) => {
        rows! { $(
            concat!($name, "(<file>[,<default>])"),
            build(Method::$method, Gives::$gives).prepare(|loader, arguments, span| {
                prepare(loader, arguments, span, Method::$method, Gives::$gives)
            }),
            $example, $doc;
        )* }
    };
}

const fn build(method: Method, gives: Gives) -> ConverterBuild {
    let input = match method {
        Method::Int => Type::Int,
        Method::Ip => Type::Address,
        _ => Type::Str,
    };
    let output = match gives {
        Gives::Text | Gives::Key | Gives::Template => Type::Str,
        Gives::Int => Type::Int,
        Gives::Address => Type::Address,
    };
    let apply = match gives {
        Gives::Template => fill,
        _ => find,
    };
    ConverterBuild::new(input, output, apply).takes(&[ArgumentKind::MapFile, ArgumentKind::Text], 1)
}

pub(super) static ROWS: &[ConverterRow] = maps! {
    "map", Str, Text, "acl known path,map(/etc/haproxy/paths.map) -m found",
        "Looks up the value in a file of keys and returns the text after the matching key; otherwise the default, or \
         no value. Each line of the file is a key, spaces, and a value.";
    "map_str", Str, Text, "acl known path,map_str(/etc/haproxy/paths.map) -m found", "The same as `map`, with \
     explicit types.";
    "map_str_str", Str, Text, "acl known path,map_str_str(/etc/haproxy/paths.map) -m found", "The same as `map`, with \
     explicit types.";
    "map_str_int", Str, Int, "acl many path,map_str_int(/etc/haproxy/weights.map,0) gt 5", "Like `map`, with numbers \
     as values.";
    "map_str_ip", Str, Address, "acl inner path,map_str_ip(/etc/haproxy/hosts.map) 10.0.0.0/8", "Like `map`, with \
     addresses as values.";
    "map_beg", Beg, Text, "acl known path,map_beg(/etc/haproxy/paths.map) -m found",
        "Like `map`, for keys that are a prefix of the value; the longest one applies.";
    "map_beg_str", Beg, Text, "acl known path,map_beg_str(/etc/haproxy/paths.map) -m found", "The same as `map_beg`, \
     with explicit types.";
    "map_beg_int", Beg, Int, "acl many path,map_beg_int(/etc/haproxy/weights.map,0) gt 5", "Like `map_beg`, with \
     numbers as values.";
    "map_beg_ip", Beg, Address, "acl inner path,map_beg_ip(/etc/haproxy/hosts.map) 10.0.0.0/8", "Like `map_beg`, with \
     addresses as values.";
    "map_end", End, Text, "acl known path,map_end(/etc/haproxy/paths.map) -m found",
        "Like `map`, for keys that are a suffix of the value; the first one in the file applies.";
    "map_end_str", End, Text, "acl known path,map_end_str(/etc/haproxy/paths.map) -m found", "The same as `map_end`, \
     with explicit types.";
    "map_end_int", End, Int, "acl many path,map_end_int(/etc/haproxy/weights.map,0) gt 5", "Like `map_end`, with \
     numbers as values.";
    "map_end_ip", End, Address, "acl inner path,map_end_ip(/etc/haproxy/hosts.map) 10.0.0.0/8", "Like `map_end`, with \
     addresses as values.";
    "map_sub", Sub, Text, "acl known path,map_sub(/etc/haproxy/paths.map) -m found",
        "Like `map`, for keys that are a substring of the value; the first one in the file applies.";
    "map_sub_str", Sub, Text, "acl known path,map_sub_str(/etc/haproxy/paths.map) -m found", "The same as `map_sub`, \
     with explicit types.";
    "map_sub_int", Sub, Int, "acl many path,map_sub_int(/etc/haproxy/weights.map,0) gt 5", "Like `map_sub`, with \
     numbers as values.";
    "map_sub_ip", Sub, Address, "acl inner path,map_sub_ip(/etc/haproxy/hosts.map) 10.0.0.0/8", "Like `map_sub`, with \
     addresses as values.";
    "map_dir", Dir, Text, "acl known path,map_dir(/etc/haproxy/paths.map) -m found",
        "Like `map`, for keys that are a part of the value between slashes.";
    "map_dir_str", Dir, Text, "acl known path,map_dir_str(/etc/haproxy/paths.map) -m found", "The same as `map_dir`, \
     with explicit types.";
    "map_dir_int", Dir, Int, "acl many path,map_dir_int(/etc/haproxy/weights.map,0) gt 5", "Like `map_dir`, with \
     numbers as values.";
    "map_dir_ip", Dir, Address, "acl inner path,map_dir_ip(/etc/haproxy/hosts.map) 10.0.0.0/8", "Like `map_dir`, with \
     addresses as values.";
    "map_dom", Dom, Text, "acl known hdr(host),map_dom(/etc/haproxy/hosts.map) -m found",
        "Like `map`, for keys that are a part of the value between dots or slashes.";
    "map_dom_str", Dom, Text, "acl known hdr(host),map_dom_str(/etc/haproxy/hosts.map) -m found", "The same as \
     `map_dom`, with explicit types.";
    "map_dom_int", Dom, Int, "acl many hdr(host),map_dom_int(/etc/haproxy/weights.map,0) gt 5", "Like `map_dom`, with \
     numbers as values.";
    "map_dom_ip", Dom, Address, "acl inner hdr(host),map_dom_ip(/etc/haproxy/hosts.map) 10.0.0.0/8", "Like `map_dom`, \
     with addresses as values.";
    "map_reg", Reg, Text, "acl known path,map_reg(/etc/haproxy/paths.map) -m found",
        "Like `map`, with regular expressions as keys; the first match applies.";
    "map_reg_str", Reg, Text, "acl known path,map_reg_str(/etc/haproxy/paths.map) -m found", "The same as `map_reg`, \
     with explicit types.";
    "map_reg_int", Reg, Int, "acl many path,map_reg_int(/etc/haproxy/weights.map,0) gt 5", "Like `map_reg`, with \
     numbers as values.";
    "map_reg_ip", Reg, Address, "acl inner path,map_reg_ip(/etc/haproxy/hosts.map) 10.0.0.0/8", "Like `map_reg`, with \
     addresses as values.";
    "map_int", Int, Text, "acl named dst_port,map_int(/etc/haproxy/ports.map) web",
        "Like `map`, with numbers and ranges (`80`, `1:1023`) as keys.";
    "map_int_str", Int, Text, "acl named dst_port,map_int_str(/etc/haproxy/ports.map) web", "The same as `map_int`, \
     with explicit types.";
    "map_int_int", Int, Int, "acl many dst_port,map_int_int(/etc/haproxy/ports.map,0) gt 5", "Like `map_int`, with \
     numbers as values.";
    "map_int_ip", Int, Address, "acl inner dst_port,map_int_ip(/etc/haproxy/ports.map) 10.0.0.0/8", "Like `map_int`, \
     with addresses as values.";
    "map_ip", Ip, Text, "acl german src,map_ip(/etc/haproxy/countries.map) DE",
        "Like `map`, with addresses and networks as keys; the most specific network applies.";
    "map_ip_str", Ip, Text, "acl german src,map_ip_str(/etc/haproxy/countries.map) DE", "The same as `map_ip`, with \
     explicit types.";
    "map_ip_int", Ip, Int, "acl rated src,map_ip_int(/etc/haproxy/rates.map,0) gt 5", "Like `map_ip`, with numbers as \
     values.";
    "map_ip_ip", Ip, Address, "acl inner src,map_ip_ip(/etc/haproxy/hosts.map) 10.0.0.0/8", "Like `map_ip`, with \
     addresses as values.";
    "map_str_key", Str, Key, "acl known path,map_str_key(/etc/haproxy/keys.map) -m found", "Like `map`, but returns \
     the matching key instead of its value.";
    "map_beg_key", Beg, Key, "acl known path,map_beg_key(/etc/haproxy/keys.map) -m found", "Like `map_beg`, but \
     returns the matching key instead of its value.";
    "map_end_key", End, Key, "acl known path,map_end_key(/etc/haproxy/keys.map) -m found", "Like `map_end`, but \
     returns the matching key instead of its value.";
    "map_sub_key", Sub, Key, "acl known path,map_sub_key(/etc/haproxy/keys.map) -m found", "Like `map_sub`, but \
     returns the matching key instead of its value.";
    "map_dir_key", Dir, Key, "acl known path,map_dir_key(/etc/haproxy/keys.map) -m found", "Like `map_dir`, but \
     returns the matching key instead of its value.";
    "map_dom_key", Dom, Key, "acl known hdr(host),map_dom_key(/etc/haproxy/keys.map) -m found", "Like `map_dom`, but \
     returns the matching key instead of its value.";
    "map_reg_key", Reg, Key, "acl known path,map_reg_key(/etc/haproxy/keys.map) -m found", "Like `map_reg`, but \
     returns the matching key instead of its value.";
    "map_int_key", Int, Key, "acl known dst_port,map_int_key(/etc/haproxy/keys.map) -m found", "Like `map_int`, but \
     returns the matching key instead of its value.";
    "map_ip_key", Ip, Key, "acl known src,map_ip_key(/etc/haproxy/keys.map) -m found", "Like `map_ip`, but returns \
     the matching key instead of its value.";
    "map_regm", Reg, Template, "acl known path,map_regm(/etc/haproxy/paths.map) -m found",
        "Like `map_reg`, with `\\1` to `\\9` in a value for the groups of the matching expression, and `\\0` for the \
         whole match.";
};

fn prepare(
    loader: &mut ConfigDraft,
    arguments: &mut Arguments,
    span: Span,
    method: Method,
    gives: Gives,
) -> Built {
    let name = String::from_utf8_lossy(arguments.text(0).unwrap_or(b"")).into_owned();
    let map = Map::read(loader, &name, span, method, gives)?;
    if let Some(default) = arguments.text(1) {
        let value = parse(gives, default).ok_or_else(|| {
            bad_argument(
                span,
                format!(
                    "the default '{}' does not have the type of this map's values",
                    String::from_utf8_lossy(default)
                ),
            )
        })?;
        arguments.list[1] = match value {
            SampleValue::Int(n) => Some(Argument::Int(n)),
            SampleValue::Ipv4(ip) => Some(Argument::Ipv4(ip)),
            SampleValue::Ipv6(ip) => Some(Argument::Ipv6(ip)),
            _ => arguments.list[1].take(),
        };
    }
    arguments.list[0] = Some(Argument::Map(map));
    Ok(())
}

fn find<'a>(arguments: &'a Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let found = arguments.map(0)?.find(&value);
    found.or_else(|| default(arguments))
}

fn fill<'a>(arguments: &'a Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let found = arguments.map(0)?.fill(&value);
    found.or_else(|| default(arguments))
}

/// Returns the default value, which is the argument after the file.
fn default(arguments: &Arguments) -> Sample<'_> {
    match arguments.list.get(1)?.as_ref()? {
        Argument::Text(text) => Some(SampleValue::text(text)),
        Argument::Int(n) => Some(SampleValue::Int(*n)),
        Argument::Ipv4(ip) => Some(SampleValue::Ipv4(*ip)),
        Argument::Ipv6(ip) => Some(SampleValue::Ipv6(*ip)),
        _ => None,
    }
}
