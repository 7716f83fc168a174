//! Builds the rules for HTTP messages: `http-request`, `http-response`, `http-after-response`. The
//! effect of a rule is with its action.

use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use language::Diagnostic;
use model::rules::{HttpRule, RuleSet, action_codes, http_rule, warn_unreachable};

pub(super) static LINES: &[LineRow] = language::rows! {
    "http-request <action> [options...] [ { if | unless } <condition> ]" places::ALL,
        |loader, args| http(loader, args, RuleSet::HttpRequest),
        "http-request set-header x-client %[src]",
        "A rule for requests that match the condition. Rules are evaluated in order, those of the frontend before \
         those of the backend. A rule that responds or ends the stream is the last one.";
    "http-response <action> [options...] [ { if | unless } <condition> ]" places::ALL,
        |loader, args| http(loader, args, RuleSet::HttpResponse), "http-response del-header server",
        "A rule for responses of servers. The rules of the backend run before those of the frontend. Responses of the \
         proxy itself skip these rules.";
    "http-after-response <action> [options...] [ { if | unless } <condition> ]" places::ALL,
        |loader, args| http(loader, args, RuleSet::HttpAfterResponse),
        "http-after-response set-header strict-transport-security max-age=31536000",
        "A rule for all responses, including those of the proxy itself (error pages, redirects, statistics). It runs \
         last and cannot deny.";
};

fn http(loader: &mut Loader, args: &mut Args<'_>, set: RuleSet) -> Built {
    not_in_unnamed_defaults(loader, args)?;
    let rule = http_rule(loader, args, set)?;
    let list: fn(&mut model::config::Proxy) -> &mut Vec<HttpRule> = match set {
        RuleSet::HttpResponse => |proxy| &mut proxy.http_response,
        RuleSet::HttpAfterResponse => |proxy| &mut proxy.http_after_response,
        _ => |proxy| &mut proxy.http_request,
    };
    let before = list(loader.proxy()).last().cloned();
    warn_unreachable(loader, before.as_ref().map(HttpRule::rule), rule.rule());
    list(loader.proxy()).push(rule);
    Ok(())
}

/// Refuses a rule in a `defaults` section without a name, because rules are inherited by name.
pub(super) fn not_in_unnamed_defaults(loader: &mut Loader, args: &Args<'_>) -> Built {
    if !loader.in_defaults() || !loader.proxy().name.is_empty() {
        return Ok(());
    }
    Err(Diagnostic::error(
        &action_codes::RULE_IN_DEFAULTS,
        args.keyword_span(),
        format!(
            "'{}' not allowed in anonymous 'defaults' section",
            args.keyword
        ),
    )
    .label("only allowed in a named section")
    .help("give the section a name: `defaults web`"))
}
