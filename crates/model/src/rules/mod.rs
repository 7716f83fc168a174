//! Compiles and evaluates rules: samples, fetches, converters, conditions, formats, actions.
//!
//! An [`Expression`] finds a [`SampleValue`] in a stream, and a [`Condition`] compares values with
//! patterns. Both are compiled when a file is loaded. Evaluation looks up no keywords and only
//! reads the stream, except for the fetches and converters that count in stick tables or set
//! variables and captures.

pub mod argument;
pub mod draft;
pub mod usage;

mod acl;
mod action;
mod condition;
mod converter;
mod expression;
mod fetch;
mod format;
pub mod lines;
mod list_file;
mod lookup;
mod map;
mod numbered;
mod pattern;
mod run;
mod shared;
#[cfg(test)]
mod tests;

pub use crate::codes::expression as codes;
pub use crate::compiled::Map;
pub use crate::compiled::{
    Acl, Condition, Converters, Expression, HttpRule, ResponseTemplate, TcpRule, Test,
    VariableChange,
};
pub use crate::sample::Gives;
pub use crate::sample::{live, matching, network, regular, value, variables};
pub use crate::transaction::{ContentVerdict, Gate, MessageVerdict};
pub use acl::{AclTable, PREDEFINED};
pub use action::{CAPTURE_BYTES_MAX, CAPTURE_SLOTS_MAX, ListChanges, codes as action_codes};
pub use action::{REDIRECT_SYNTAX, RuleSet, http_rule, redirect_rule, tcp_rule, warn_unreachable};
pub use action::{challenge, error_answer, wrong_length};
pub use argument::{ArgumentKind, Lookup};
pub use condition::TestResult;
pub use converter::url_decoded;
pub use converter::{ConverterBuild, ConverterRow};
pub use fetch::proxy_field_number;
pub use fetch::{FetchBuild, FetchRow};
pub use format::{Alias, BuiltIn, Dialect, Format, alias_doc, built_in, built_in_texts};
pub use matching::Method;
pub use run::{
    connection_stream, content_is_judged, count_rewrite_failure, http_after_response, http_request,
    http_response, monitor, statistics, tcp_connection, tcp_content, tcp_response, tcp_session,
    unique_id,
};
pub use usage::{Needs, Usage};
pub use value::{Sample, SampleValue, Type};
pub use variables::process_variable;
pub use variables::{Scope, VariableName, Variables};

pub use acl::check_name as check_acl_name;
pub use action::set_up_process;
pub use action::{count_denied, count_denied_response};
pub use shared::CompiledLists;

use language::keyword::Documented;

/// Returns the documentation of all fetches, converters and actions.
pub fn documented() -> Vec<Documented> {
    let mut all = fetch::documented();
    all.extend(converter::table().documented());
    all.extend(action::documented());
    all.extend(format::documented());
    all
}
