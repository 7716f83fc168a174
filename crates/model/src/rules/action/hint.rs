//! Implements the action `early-hint`, which adds headers that the client receives before the
//! response (RFC 8297).

use super::answer::header_name;
use super::{ActionResult, ActionRow, RuleAction, places};
use crate::compiled::action::hint::Hint;
use crate::transaction::ProxyStream;
use http::message::{HttpMessage, HttpVersion};

/// Maximum number of 103 responses for one request, since a client must read them all.
pub const HINTS_MAX: usize = 16;

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "early-hint <name> <fmt>" &[places::REQUEST],
        |loader, build| {
            let name = header_name(build)?;
            let format = build.format(loader, "<fmt>")?;
            let rules = &loader.proxy().http_request;
            let before = rules.last().and_then(|rule| match &rule.rule().action {
                RuleAction::Hint(hint) => Some(hint.begins),
                _ => None,
            });
            // Begins a new 103 response for a rule with its own condition; otherwise adds to that
            // of the preceding rule.
            let conditional = build.args.peek().is_some();
            let begins = before.filter(|_| !conditional).unwrap_or(rules.len());
            Ok(RuleAction::Hint(Box::new(Hint {
                name,
                format,
                begins,
            })))
        },
        "early-hint link \"</style.css>; rel=preload; as=style\"",
        "Sends a header to the client before the response, with status 103: for example a `link` to resources that it \
         will need. Consecutive rules without conditions form one such response. HTTP/1.0 clients get none.";
};

impl Hint {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        if stream.request.version() == HttpVersion::Http10 {
            return ActionResult::Next;
        }
        let mut value = self.format.fill(stream);
        super::harmless(&mut value);
        let hints = &mut stream.rules.overrides_mut().hints;
        if hints
            .last()
            .is_none_or(|(begins, _)| *begins != self.begins)
        {
            if hints.len() >= HINTS_MAX {
                return ActionResult::Next;
            }
            let mut head = HttpMessage::default();
            // Cannot fail, because the status line fits into an empty head.
            let _ = head.begin_response(HttpVersion::Http11, 103, b"Early Hints");
            hints.push((self.begins, head));
        }
        // Drops a header that does not fit, because a hint is optional.
        if let Some((_, head)) = hints.last_mut() {
            let _ = head.add(&self.name, &value);
        }
        ActionResult::Next
    }
}
