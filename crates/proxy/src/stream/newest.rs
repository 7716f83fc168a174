//! Decides whether a client's kept-alive connection may continue under a newer configuration: if
//! its listener still exists and would admit the client again. Otherwise the client has to
//! connect again.

use super::Session;
use model::config::Config;
use model::thread::current_thread_data;
use std::rc::Rc;
use std::sync::Arc;

/// Returns the newest configuration if the session still has an older one.
fn newer(session: &Session) -> Option<Arc<Config>> {
    let thread = current_thread_data();
    (!thread.is_newest(&session.config)).then(|| thread.config())
}

/// Returns whether there is a newer configuration that contains the client's listener and would
/// admit the client.
pub(super) fn can_continue(session: &Session) -> bool {
    newer(session).is_some_and(|newest| session.place_in(&newest).is_some())
}

/// Returns whether there is a newer configuration that does not contain the client's listener, or
/// would not admit the client.
pub(super) fn is_left_behind(session: &Session) -> bool {
    newer(session).is_some_and(|newest| session.place_in(&newest).is_none())
}

/// Returns whether the client must connect again, because its listener might not admit it now.
pub(super) fn must_connect_again(session: &Session) -> bool {
    newer(session).is_some_and(|newest| session.must_be_admitted_again(&newest))
}

/// Moves a session to a newer configuration, if the listener still exists in it. Streams in
/// progress keep theirs. Returns whether there is a newer configuration.
pub(super) fn go_over(session: &mut Rc<Session>) -> bool {
    let Some(newest) = newer(session) else {
        return false;
    };
    if let Some(place) = session.place_in(&newest) {
        session.move_to_config(newest, place);
    }
    true
}
