//! Implements the fetches of work done on behalf of a server: compression and caching.

use super::{FetchBuild, FetchRow, boolean, string};
use crate::rules::argument::Arguments;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, Type};
use crate::transaction::ProxyStream;

const fn of(output: Type, one: super::One) -> FetchBuild {
    FetchBuild::new(output, Needs::ResponseKept, one).http()
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "res.cache_hit",
        of(Type::Bool, |_, s| boolean(s.transfer.cache.as_ref().is_some_and(|cache| cache.hit))),
        "http-response set-header x-cached yes if { res.cache_hit }",
        "True if the response came from a cache.";
    "res.cache_name", of(Type::Str, cache_name), "http-response set-header x-cache %[res.cache_name]",
        "The name of the `cache` section from which the response came; otherwise no value.";
    "res.comp",
        of(Type::Bool, |_, s| boolean(s.transfer.compression.used.is_some())),
        "log-format \"%ci %[res.comp]\"",
        "True if the proxy compresses the response.";
    "res.comp_algo", of(Type::Str, algorithm), "log-format \"%ci %[res.comp_algo]\"",
        "The algorithm with which the proxy compresses the response, as in `compression algo`; otherwise no value.";
};

fn cache_name<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let cache = stream.transfer.cache.as_ref().filter(|cache| cache.hit)?;
    string(cache.name())
}

fn algorithm<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let algorithm = stream.transfer.compression.used?;
    string(algorithm.name())
}
