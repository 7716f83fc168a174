//! Implements the actions `cache-use` and `cache-store`, which deliver responses from a cache and
//! store them there.

use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, places};
use crate::caching;
use crate::compiled::action::cache::CacheAction;
use crate::rules::draft::ConfigDraft;
use crate::transaction::{MessageVerdict, ProxyStream};

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "cache-use <name>" &[places::REQUEST], |loader, build| cache(loader, build, false),
        "cache-use pictures if { path_end .png }",
        "Responds to the request from a `cache` section if it has the response. Otherwise prepares `cache-store`. \
         Requests with `Authorization`, and those that require a fresh response, bypass the cache.";
    "cache-store <name>" &[places::RESPONSE], |loader, build| cache(loader, build, true),
        "cache-store pictures",
        "Stores the response in a `cache` section in its state at this rule, if its headers allow it: status 200, a \
         lifetime or a validator, not private.";
};

fn cache(loader: &mut ConfigDraft, build: &mut Build<'_, '_>, stores: bool) -> BuiltAction {
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
