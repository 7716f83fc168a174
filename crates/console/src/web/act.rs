//! Handles the forms by which users send actions.

use super::pages::{SEAL, TOLD};
use super::sign_in::{is_own, to};
use super::{Common, body, failure, field, fields, html, signed_in};
use crate::page::{self, ConsolePage};
use crate::shared::{
    ConsoleState, OperatorAction, RemoteRequest, RemoteRequestKind, ServerState, UserOrder, now_ms,
};
use crate::user::{UserRole, Viewer};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use part::lock;
use part::report::SubjectAction;
use part::role::Level;
use std::time::Duration;
use tokio::sync::oneshot;

const LIMIT: Duration = Duration::from_secs(10);
const NAME_MAX: usize = 256;
const KEY_MAX: usize = 1_024;

pub(super) struct ActionRefusal {
    pub(super) status: StatusCode,
    pub(super) words: String,
}

fn refused(status: StatusCode, words: &str) -> ActionRefusal {
    ActionRefusal {
        status,
        words: words.to_owned(),
    }
}

fn action(form: &[(String, String)]) -> Result<OperatorAction, ActionRefusal> {
    let wrong = |words: &str| Err(refused(StatusCode::BAD_REQUEST, words));
    match field(form, "what").as_str() {
        "server" => {
            let wanted = field(form, "do");
            let mut all = ServerState::ALL.into_iter();
            let known = all.find(|state| state.word() == wanted);
            let Some(state) = known else {
                return wrong("`do` is `ready`, `drain` or `maint`");
            };
            let (proxy, server) = (field(form, "proxy"), field(form, "server"));
            let are_names = is_name(&proxy) && is_name(&server);
            if are_names {
                Ok(OperatorAction::Server {
                    proxy,
                    server,
                    state,
                })
            } else {
                wrong("this is not the name of a server")
            }
        }
        "entry" => {
            let (table, key) = (field(form, "table"), field(form, "key"));
            if is_word(&table, NAME_MAX) && is_word(&key, KEY_MAX) {
                Ok(OperatorAction::Entry { table, key })
            } else {
                wrong("this is not the name of a table, or not a key")
            }
        }
        "offer" => {
            let of = ["part", "kind", "name", "word"].map(|one| field(form, one));
            if of.iter().any(|one| one.len() > NAME_MAX) {
                return wrong("this is too long");
            }
            let [part, kind, name, word] = of;
            Ok(OperatorAction::Offer {
                part,
                subject: [kind, name],
                word,
            })
        }
        _ => wrong("`what` is `server`, `entry` or `offer`"),
    }
}

/// Returns whether a word can be the name of an object. The word becomes part of a command, so it
/// must not contain other characters.
fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(fits)
}

/// Returns whether a text can be the name or a key of a table: a word of a command, escaped.
fn is_word(text: &str, max: usize) -> bool {
    !text.is_empty()
        && text.len() <= max
        && text.chars().all(|c| c.is_ascii_graphic())
        && !text.contains("<<")
}

pub(super) fn is_table(name: &str) -> bool {
    is_word(name, NAME_MAX)
}

/// Executes the action of a form for a user.
///
/// # Errors
/// The role of the user is too low, the form is invalid, the other console is not connected, the
/// action fails, or there is no timely response.
pub(super) async fn carry_out(
    shared: &ConsoleState,
    viewer: &Viewer,
    form: &[(String, String)],
) -> Result<String, ActionRefusal> {
    if viewer.role == UserRole::Viewer {
        tracing::info!(user = viewer.name, role = ?viewer.role, "action refused");
        let words = "A viewer may only read: this requires the role `operator`.";
        return Err(refused(StatusCode::FORBIDDEN, words));
    }
    let action = action(form)?;
    // Hides the key of an entry, which may be the cookie of a client.
    let object = match &action {
        OperatorAction::Entry { table, .. } => format!("an entry of table {table}"),
        other => other.object(),
    };
    if viewer.role < action.required_role() {
        tracing::info!(
            user = viewer.name,
            role = ?viewer.role,
            required = ?action.required_role(),
            object,
            "action refused"
        );
        let words = format!(
            "This requires the role `{}`.",
            action.required_role().word()
        );
        return Err(refused(StatusCode::FORBIDDEN, &words));
    }
    let me = shared.platform.borrow().me().map(|me| me.name.clone());
    let on = field(form, "on");
    tracing::info!(user = viewer.name, role = ?viewer.role, object, on, "action authorised");
    let (reply, answer) = oneshot::channel();
    if on.is_empty() || me.is_none_or(|me| me == on) {
        shared.order(UserOrder {
            connection: None,
            is_noted: true,
            by: viewer.clone(),
            action,
            reply,
        });
    } else {
        let errand = RemoteRequest {
            by: viewer.clone(),
            wanted: RemoteRequestKind::Action(action),
            reply,
        };
        if !lock(&shared.others).send(&on, errand) {
            let words = format!("No connection to the console of {on}.");
            return Err(refused(StatusCode::CONFLICT, &words));
        }
    }
    match tokio::time::timeout(LIMIT, answer).await {
        Ok(Ok(Ok(words))) => Ok(words),
        Ok(Ok(Err(words))) => Err(refused(StatusCode::CONFLICT, &words)),
        Ok(Err(_)) | Err(_) => Err(refused(
            StatusCode::GATEWAY_TIMEOUT,
            "No response in time: whether this was done is unknown.",
        )),
    }
}

pub(super) async fn act(State(shared): State<Common>, request: Request<Body>) -> Response {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let Some(bytes) = body(request).await else {
        return failure(
            StatusCode::BAD_REQUEST,
            "The form was incomplete. Send it again.",
        );
    };
    let Some((viewer, _)) = signed_in(&shared, &headers) else {
        return to("/sign-in");
    };
    let form = fields(&bytes);
    if !is_own(&headers, &uri) || field(&form, "csrf") != viewer.csrf {
        return failure(StatusCode::FORBIDDEN, "This form came from another site.");
    }
    if let Some(page) = confirmation(&shared, &viewer, &form) {
        return page;
    }
    match carry_out(&shared, &viewer, &form).await {
        Ok(words) => redirect_with_outcome(&shared, &field(&form, "back"), &words),
        Err(refused) => failure(refused.status, &refused.words),
    }
}

fn confirmation(
    shared: &ConsoleState,
    viewer: &Viewer,
    form: &[(String, String)],
) -> Option<Response> {
    let action = action(form).ok()?;
    if field(form, "sure") == "yes" || viewer.role < action.required_role() {
        return None;
    }
    let platform = shared.platform.borrow().clone();
    let on = field(form, "on");
    let mut members = platform.members.iter();
    let member = members.find(|member| on.is_empty() || member.name == on)?;
    let removal = removal();
    let offer = match &action {
        OperatorAction::Entry { .. } => &removal,
        action => action.offer(member.look.as_deref()?)?,
    };
    let question = page::ActionConfirmation {
        object: &action.object(),
        machine: &member.name,
        offer,
    };
    let asked = !offer.follows.is_empty();
    asked.then(|| html(StatusCode::OK, page::confirm(&question, viewer, form)))
}

fn removal() -> SubjectAction {
    SubjectAction {
        word: "remove".to_owned(),
        label: "Remove the entry".to_owned(),
        follows: "Its counters are lost: if the client returns, they start at zero.".to_owned(),
        level: Level::Operator,
        kind: 0,
        bytes: Vec::new(),
        opens: None,
    }
}

/// Redirects to the page of the form. The URL contains the outcome and its time, because the state
/// may have changed when the page is shown.
pub(super) fn redirect_with_outcome(shared: &ConsoleState, path: &str, words: &str) -> Response {
    let words = format!("{}: {words}", page::time(now_ms()));
    let path = if ConsolePage::is_here(path) {
        path
    } else {
        "/"
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut query = fields(query.as_bytes());
    query.retain(|(name, _)| name != TOLD && name != SEAL);
    let seal = lock(&shared.authentication.sessions).seal(&words);
    query.push((TOLD.to_owned(), words));
    query.push((SEAL.to_owned(), seal));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    to(&format!("{path}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(form: &str) -> Result<OperatorAction, StatusCode> {
        action(&fields(form.as_bytes())).map_err(|refused| refused.status)
    }

    #[test]
    fn a_form_selects_an_action_and_names_inject_no_command() {
        let action = of("what=server&proxy=app&server=one&do=drain");
        let expected = OperatorAction::Server {
            proxy: "app".to_owned(),
            server: "one".to_owned(),
            state: ServerState::Drain,
        };
        assert_eq!(action, Ok(expected));
        let entry = of("what=entry&table=mesh/app&key=2001:db8::7");
        let command = entry.unwrap().command();
        let expected = "show table mesh/app key 2001:db8::7;clear table mesh/app key 2001:db8::7\n";
        assert_eq!(command.as_deref(), Some(expected));
        let odd = of("what=entry&table=app&key=a%3Bshow%5C");
        let command = odd.unwrap().command();
        assert_eq!(
            command.as_deref(),
            Some("show table app key a\\;show\\\\;clear table app key a\\;show\\\\\n")
        );
        let entry = of("what=entry&table=app&key=a").unwrap();
        let head = "# table: app, type: string, size:100, used:1\n";
        let line = "0x7f: key=a use=0 exp=9 shard=0 gpc0=1\n";
        let none = "no such entry: it may have expired";
        for (answer, expected) in [
            (format!("{head}{line}\n\n"), Ok(())),
            (format!("{head}\n\n"), Err(none)),
            ("No such table\n".to_owned(), Err("No such table")),
            (
                format!("{head}{line}\nEntry currently in use\n"),
                Err("Entry currently in use"),
            ),
        ] {
            let outcome = entry.outcome(&answer);
            assert_eq!(
                outcome.as_ref().map_err(|words| &**words),
                expected.as_ref().map_err(|words| &**words)
            );
        }
        for form in [
            "",
            "what=entry&table=app",
            "what=entry&table=&key=a",
            "what=entry&table=app&key=a%0Ashow+env",
            "what=entry&table=app&key=%3C%3C",
            "what=entry&table=app&key=a+b",
            "what=server",
            "what=server&proxy=app&server=one&do=shutdown",
            "what=server&proxy=app&server=one%3Bshutdown&do=drain",
            "what=server&proxy=app&server=one%0Ashow+info&do=drain",
            "what=server&proxy=&server=one&do=drain",
            "what=server&proxy=a/b&server=one&do=drain",
        ] {
            assert_eq!(of(form), Err(StatusCode::BAD_REQUEST), "{form}");
        }
    }
}
