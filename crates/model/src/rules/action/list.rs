//! Implements the actions that change maps and lists of patterns while traffic flows. The files of
//! the lists are never written.

use super::{ActionResult, ActionRow, Build, BuiltAction, RuleAction, places};
use crate::codes as load_codes;
use crate::compiled::action::list::{ListChange, ListOperation};
use crate::rules::codes;
use crate::rules::draft::ConfigDraft;
use crate::rules::format::Format;
use crate::transaction::ProxyStream;
use language::{Diagnostic, Span};
use std::sync::{Arc, OnceLock};

/// File whose entries a rule changes, and the position of that rule.
#[derive(Clone, Debug)]
pub struct Changes {
    file: Arc<str>,
    is_map: bool,
    span: Span,
}

const REQUEST_AND_RESPONSE: &[&str] = &[places::REQUEST, places::RESPONSE];

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "set-map(<file>) <key fmt> <value fmt>" places::HTTP,
        |loader, build| {
            let key = build.format(loader, "<key fmt>")?;
            let value = build.format(loader, "<value fmt>")?;
            change(loader, build, true, key, ListOperation::Put(Some(value)))
        },
        "http-request set-header x-user %[src,map_str(/dev/null,none)]\nset-map(/dev/null) %[src] %[dst]",
        "Sets the value of a key in a map, or adds the key. The file name identifies the map, as in `map_…` \
         converters. The change applies to all streams at once and lasts until the process ends; the file does not \
         change.";
    "del-map(<file>) <key fmt>" places::HTTP,
        |loader, build| {
            let key = build.format(loader, "<key fmt>")?;
            change(loader, build, true, key, ListOperation::Take)
        },
        "http-request set-header x-user %[src,map_str(/dev/null,none)]\ndel-map(/dev/null) %[src]",
        "Removes a key from a map. See `set-map` for the file name.";
    "add-acl(<file>) <key fmt>" REQUEST_AND_RESPONSE,
        |loader, build| {
            let key = build.format(loader, "<key fmt>")?;
            change(loader, build, false, key, ListOperation::Put(None))
        },
        "acl listed src -f /dev/null\nadd-acl(/dev/null) %[src]",
        "Adds a pattern to the list of a file that an ACL uses with `-f`, unless it is there. The change applies to \
         all streams at once and lasts until the process ends; the file does not change.";
    "del-acl(<file>) <key fmt>" REQUEST_AND_RESPONSE,
        |loader, build| {
            let key = build.format(loader, "<key fmt>")?;
            change(loader, build, false, key, ListOperation::Take)
        },
        "acl listed src -f /dev/null\ndel-acl(/dev/null) %[src]",
        "Removes a pattern from the list of a file. See `add-acl`.";
};

fn change(
    loader: &mut ConfigDraft,
    build: &Build<'_, '_>,
    is_map: bool,
    key: Format,
    change: ListOperation,
) -> BuiltAction {
    let Some(file) = build.list.map(str::trim).filter(|file| !file.is_empty()) else {
        let message = format!("'{}' expects a file name in parentheses", build.word.text());
        return Err(build.wrong(
            &load_codes::MISSING_ARGUMENT,
            build.word,
            message,
            "the file in parentheses is missing",
        ));
    };
    let file: Arc<str> = file.into();
    loader.list_changes.push(Changes {
        file: Arc::clone(&file),
        is_map,
        span: build.word.span,
    });
    Ok(RuleAction::List(Box::new(ListChange {
        file,
        is_map,
        key,
        change,
        place: OnceLock::new(),
    })))
}

impl ConfigDraft {
    /// Prepares the lists that rules change, and reports rules that change none.
    pub fn ready_lists(&mut self) {
        for Changes { file, is_map, span } in std::mem::take(&mut self.list_changes) {
            if let Some(at) = self.config.lists.named(&file, is_map) {
                // Ignores a list that cannot be indexed, which was reported when it was read.
                let _ = self.config.lists.make_ready(at);
                continue;
            }
            let what = if is_map { "map" } else { "ACL" };
            self.report(
                Diagnostic::warning(
                    &codes::UNUSED_LIST,
                    span,
                    format!("no {what} uses the file '{file}', so this rule has no effect"),
                )
                .label("nothing uses this list")
                .help("write the file name as it is written where it is used"),
            );
        }
    }
}

impl ListChange {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        let lists = &stream.config.lists;
        let place = *self
            .place
            .get_or_init(|| lists.named(&self.file, self.is_map));
        let Some(place) = place else {
            return ActionResult::Next;
        };
        let key = self.key.fill(stream);
        if key.is_empty() {
            return ActionResult::Next;
        }
        // Ignores an entry that is invalid or has no room: the rule is no reason to fail a request.
        let _ = match &self.change {
            ListOperation::Put(None) => lists.put(place, &key, None),
            ListOperation::Put(Some(value)) => {
                let value = value.fill(stream);
                lists.put(place, &key, Some(&value))
            }
            ListOperation::Take => lists.take(place, &key),
        };
        ActionResult::Next
    }
}
