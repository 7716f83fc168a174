//! Actions that deliver responses from a cache and store them there.

use super::{ActionResult, ActionRow, Build, RuleAction, places};
use crate::caching;
use crate::compiled::action::cache::CacheAction;
use crate::rules::draft::ConfigDraft;
use crate::transaction::{MessageVerdict, ProxyStream};
use language::Diagnostic;

pub(super) static ROWS: &[ActionRow] = &[
    ActionRow {
        places: &[places::REQUEST],
        syntax: "cache-use <name>",
        doc: "Responds to the request from a `cache` section if it has the response. Otherwise prepares \
            `cache-store`. Requests with `Authorization`, and those that require a fresh response, bypass the cache.",
        example: "cache-use pictures if { path_end .png }",
        build: |loader, build| cache(loader, build, false),
    },
    ActionRow {
        places: &[places::RESPONSE],
        syntax: "cache-store <name>",
        doc: "Stores the response in a `cache` section in its state at this rule, if its headers allow it: status \
            200, a lifetime or a validator, not private.",
        example: "cache-store pictures",
        build: |loader, build| cache(loader, build, true),
    },
];

fn cache(
    loader: &mut ConfigDraft,
    build: &mut Build<'_, '_>,
    stores: bool,
) -> Result<RuleAction, Diagnostic> {
    let word = build.args.required("<name>")?;
    let name: Box<str> = word.text().into();
    loader.cache_names.push((name.clone(), word.span));
    Ok(RuleAction::Cache(Box::new(CacheAction { name, stores })))
}

impl CacheAction {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        if self.stores {
            caching::begin(stream, &self.name);
            return ActionResult::Next;
        }
        match caching::look_up(stream, &self.name) {
            Some(reply) => ActionResult::End(MessageVerdict::Answer(Box::new(reply))),
            None => ActionResult::Next,
        }
    }
}
