//! Creates a stream, or resets a used one for the next request.

use super::state::StreamIdentity;
use super::{Links, ProxyStream, Route, Session, StreamOutcome, Times, Transfer};
use http::message::HttpMessage;
use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;

/// Resets a used stream and keeps its memory. Every field is named, so that none can be forgotten:
/// data of one client's stream must not reach another's.
pub fn renew(used: &mut ProxyStream, number: u64, new: Rc<Session>, is_http: bool, begins: Times) {
    let ProxyStream {
        identity:
            StreamIdentity {
                id,
                unique_id,
                generates_id: _,
                listed: _,
            },
        session,
        config,
        http,
        request,
        response,
        payloads,
        route,
        times,
        transfer,
        outcome,
        log,
        rules,
        links,
        decided,
    } = used;
    (*id, *unique_id) = (number, OnceCell::new());
    *config = Arc::clone(&new.config);
    route.renew(new.frontend, config.proxy(new.frontend).rare);
    *session = new;
    *http = is_http;
    request.clear();
    response.clear();
    payloads.renew();
    *times = begins;
    *transfer = Transfer::default();
    *outcome = StreamOutcome::default();
    log.renew();
    rules.renew();
    *links = Links::default();
    if let Some(decided) = decided {
        decided.renew();
    }
}

/// Creates a stream without a client, for expressions outside of client streams, such as those of
/// health checks. Works on any thread.
pub fn of_check(session: Rc<Session>, http: bool) -> ProxyStream {
    let times = Times::begin(reactor::now(), std::time::SystemTime::now());
    blank(0, session, http, times)
}

pub fn blank(id: u64, session: Rc<Session>, http: bool, times: Times) -> ProxyStream {
    ProxyStream {
        identity: StreamIdentity {
            id,
            unique_id: OnceCell::new(),
            generates_id: Cell::new(false),
            listed: Default::default(),
        },
        config: Arc::clone(&session.config),
        http,
        request: HttpMessage::default(),
        response: HttpMessage::default(),
        payloads: Default::default(),
        route: Route::new(session.frontend, session.frontend().rare),
        session,
        times,
        transfer: Transfer::default(),
        outcome: StreamOutcome::default(),
        log: Default::default(),
        rules: Default::default(),
        links: Links::default(),
        decided: None,
    }
}
