//! Implements the fetch that evaluates named ACLs and returns the result as a value.

use super::{FetchBuild, FetchRow, boolean};
use crate::compiled::Condition;
use crate::rules::argument::{ARGUMENTS_MAX, Argument, ArgumentKind, Arguments};
use crate::rules::codes;
use crate::rules::condition::TestResult;
use crate::rules::draft::ConfigDraft;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, Type};
use crate::transaction::ProxyStream;
use language::arguments::Built;
use language::{Diagnostic, Span, suggest};
use std::sync::Arc;

const ACL: FetchBuild = FetchBuild::new(Type::Bool, Needs::Nothing, acl)
    .takes(&[ArgumentKind::Text; ARGUMENTS_MAX], 1)
    .prepare(prepare);

pub(super) static ROWS: &[FetchRow] = rows! {
    "acl([!]<name>[,[!]<name>…])", ACL, "acl example acl(METH_GET,!LOCALHOST) -m found",
        "Tests whether all of these ACLs are true; `!` before a name negates it. They must be declared earlier, as \
         for a condition.";
};

fn prepare(loader: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let names: Vec<String> = (0..arguments.list.len())
        .filter_map(|n| arguments.text(n))
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    match Condition::of_names(loader, names.iter().map(String::as_str), span) {
        Ok(condition) => {
            arguments.list = vec![Some(Argument::Acls(Arc::new(condition)))];
            Ok(())
        }
        Err(name) => {
            let diagnostic =
                Diagnostic::error(&codes::UNKNOWN_ACL, span, format!("ACL '{name}' not found"))
                    .label("not declared above in this section");
            Err(diagnostic.suggest(suggest::nearest(name, loader.acls.names())))
        }
    }
}

fn acl<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    match arguments.acls(0)?.run(stream) {
        TestResult::Pass => boolean(true),
        TestResult::Fail => boolean(false),
        TestResult::Miss => None,
    }
}
