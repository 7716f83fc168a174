//! Implements the action `auth`, which requests a user name and a password from the client.

use super::{
    ActionResult, ActionRow, Build, BuiltAction, MessageVerdict, RuleAction, codes, places,
};
use crate::compiled::action::auth::Challenge;
use crate::rules::draft::ConfigDraft;
use crate::transaction::{ProxyResponse, ProxyStream, StreamPhase, Termination, error_page};
use crate::users;

pub(super) static ROWS: &[ActionRow] = language::rows! {
    "auth [ realm <realm> ]" &[places::REQUEST], build,
        "auth realm Staff\\ only unless { http_auth(staff) }",
        "Asks for a user name and password with status 401, or 407 for clients of a forward proxy (`option \
         http-use-proxy-header`). Browsers show the realm; the default is the name of the proxy. Add `unless { \
         http_auth(LIST) }`.";
};

fn build(_: &mut ConfigDraft, build: &mut Build<'_, '_>) -> BuiltAction {
    let mut realm = None;
    if let Some(word) = build.option() {
        if !word.is("realm") {
            let message = format!("unknown argument '{}' of 'auth'", word.text());
            return Err(build.wrong(
                &crate::codes::BAD_VALUE,
                word,
                message,
                "only 'realm' is allowed",
            ));
        }
        let word = build.args.required("<realm>")?;
        if word.bytes.iter().any(u8::is_ascii_control) {
            let message = "a realm cannot contain control characters";
            return Err(build.wrong(&codes::BAD_REALM, word, message, "cannot be sent"));
        }
        realm = Some(word.bytes.clone().into());
    }
    Ok(RuleAction::Challenge(Box::new(Challenge { realm })))
}

impl Challenge {
    pub(super) fn run(&self, stream: &mut ProxyStream) -> ActionResult {
        let index = stream.route.backend.unwrap_or(stream.route.frontend);
        let realm = match &self.realm {
            Some(realm) => realm.clone(),
            None if stream.outcome.statistics => users::STATISTICS_REALM.into(),
            None => stream.config.proxy(index).name.as_bytes().into(),
        };
        stream.outcome.end(Termination::Local, StreamPhase::Request);
        ActionResult::End(MessageVerdict::Answer(Box::new(challenge(stream, &realm))))
    }
}

/// Builds the response that requests a user name and a password.
pub fn challenge(stream: &mut ProxyStream, realm: &[u8]) -> ProxyResponse {
    let (status, header): (u16, &[u8]) = if users::is_proxied(stream) {
        (407, b"proxy-authenticate")
    } else {
        (401, b"www-authenticate")
    };
    let mut value = b"Basic realm=\"".to_vec();
    for byte in realm {
        if b"\"\\".contains(byte) {
            value.push(b'\\');
        }
        value.push(*byte);
    }
    value.push(b'"');
    let mut reply = error_page(stream, status);
    match reply.head.set(header, &value) {
        Ok(()) => reply,
        // Responds with 500, because the configured error page leaves no room for the header.
        Err(_) => error_page(stream, 500),
    }
}
