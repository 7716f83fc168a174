//! What somebody does.

use super::shared::{Action, Order, Shared};
use super::sign_in::{is_own, to};
use super::{Common, body, failure, field, fields, signed_in};
use crate::user::{Role, Viewer};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long what is done may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest name.
const NAME_MAX: usize = 256;

/// Why something is not done.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) words: String,
}

fn refused(status: StatusCode, words: &str) -> Refused {
    Refused {
        status,
        words: words.to_owned(),
    }
}

/// What may be done to a server, in the words of the runtime API.
const SERVER: [&str; 3] = ["ready", "drain", "maint"];

/// Reads what is wanted.
fn action(form: &[(String, String)]) -> Result<Action, Refused> {
    let wrong = |words: &str| Err(refused(StatusCode::BAD_REQUEST, words));
    match field(form, "what").as_str() {
        "server" => {
            let wanted = field(form, "do");
            let known = SERVER.iter().find(|word| **word == wanted);
            let Some(state) = known else {
                return wrong("`do` is `ready`, `drain` or `maint`");
            };
            let (proxy, server) = (field(form, "proxy"), field(form, "server"));
            let are_names = is_name(&proxy) && is_name(&server);
            match are_names {
                true => Ok(Action::Server {
                    proxy,
                    server,
                    state,
                }),
                false => wrong("this is not the name of a server"),
            }
        }
        _ => wrong("`what` is `server`"),
    }
}

/// Whether a word can be the name of something: it becomes part of a command.
fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(fits)
}

/// Does what a form wants, for somebody.
///
/// # Errors
/// Why it is not done.
pub(super) async fn carry_out(
    shared: &Shared,
    viewer: &Viewer,
    form: &[(String, String)],
) -> Result<String, Refused> {
    if viewer.role < Role::Operator {
        let words = "A viewer may only look: an operator may do this.";
        return Err(refused(StatusCode::FORBIDDEN, words));
    }
    let action = action(form)?;
    let me = shared.platform.borrow().me().map(|me| me.name.clone());
    let on = field(form, "on");
    if !on.is_empty() && me.as_ref().is_some_and(|me| *me != on) {
        let words = format!(
            "This is the console of {}: use that of {on}.",
            me.unwrap_or_default()
        );
        return Err(refused(StatusCode::CONFLICT, &words));
    }
    let (reply, answer) = oneshot::channel();
    shared.order(Order {
        by: viewer.clone(),
        action,
        reply,
    });
    match tokio::time::timeout(LIMIT, answer).await {
        Ok(Ok(Ok(words))) => Ok(words),
        Ok(Ok(Err(words))) => Err(refused(StatusCode::CONFLICT, &words)),
        Ok(Err(_)) | Err(_) => Err(refused(
            StatusCode::GATEWAY_TIMEOUT,
            "It is not known whether this was done: there was no answer in time.",
        )),
    }
}

/// A form of a page.
pub(super) async fn act(State(shared): State<Common>, request: Request<Body>) -> Response {
    let headers = request.headers().clone();
    let Some((viewer, _)) = signed_in(&shared, &headers) else {
        return to("/sign-in");
    };
    let Some(bytes) = body(request).await else {
        return failure(StatusCode::BAD_REQUEST, "The form did not come whole.");
    };
    let form = fields(&bytes);
    if !is_own(&headers) || field(&form, "csrf") != viewer.csrf {
        return failure(StatusCode::FORBIDDEN, "This form came from another site.");
    }
    match carry_out(&shared, &viewer, &form).await {
        Ok(words) => back(&field(&form, "back"), &words),
        Err(refused) => failure(refused.status, &refused.words),
    }
}

/// Back to where the form was, with what came of it.
fn back(path: &str, words: &str) -> Response {
    let is_page = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
    let path = if is_page { path } else { "/" };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut query = fields(query.as_bytes());
    query.retain(|(name, _)| name != "told");
    query.push(("told".to_owned(), words.to_owned()));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    to(&format!("{path}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(form: &str) -> Result<Action, StatusCode> {
        action(&fields(form.as_bytes())).map_err(|refused| refused.status)
    }

    #[test]
    fn a_form_says_what_is_to_be_done_and_a_name_is_no_command() {
        let action = of("what=server&proxy=app&server=one&do=drain");
        let expected = Action::Server {
            proxy: "app".to_owned(),
            server: "one".to_owned(),
            state: "drain",
        };
        assert_eq!(action, Ok(expected));
        for form in [
            "",
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
