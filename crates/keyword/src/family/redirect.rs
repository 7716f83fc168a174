//! Builds `redirect` lines, whose rules run after all `http-request` rules.

use super::http_rules::not_in_unnamed_defaults;
use super::{Args, Built, LineRow, places};
use crate::family::Loader;
use model::rules::{HttpRule, REDIRECT_SYNTAX, redirect_rule, warn_unreachable};

pub(super) static LINES: &[LineRow] = &[LineRow {
    places: places::PROXIES,
    syntax: REDIRECT_SYNTAX,
    doc: "Redirects clients. Like `http-request redirect`, but evaluated after all `http-request` rules, wherever the \
        line is, and the target is sent as it is: `%` is an ordinary character.",
    example: "redirect scheme https unless { dst_port 443 }",
    build: redirect,
}];

fn redirect(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    not_in_unnamed_defaults(loader, args)?;
    let rule = redirect_rule(loader, args)?;
    let before = loader.proxy().redirects.last().cloned();
    warn_unreachable(loader, before.as_ref().map(HttpRule::rule), rule.rule());
    loader.proxy().redirects.push(rule);
    Ok(())
}
