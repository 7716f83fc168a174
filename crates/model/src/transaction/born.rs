//! How a stream begins: out of nothing, or out of one that was used before.

use super::{Phase, Session, Stream, Termination, Times};
use crate::sample::Variables;
use http::message::Message;
use std::rc::Rc;
use std::sync::Arc;

/// Makes a used stream as good as a new one and keeps its memory. Every field
/// is named, so that a new one cannot be forgotten: what one client's stream
/// leaves behind must not reach another's.
pub fn renew(used: &mut Stream, number: u64, new: Rc<Session>, is_http: bool, begins: Times) {
    let Stream {
        id,
        session,
        config,
        frontend,
        backend,
        server,
        preferred,
        http,
        request,
        response,
        payload,
        log_step,
        payload_complete,
        response_payload,
        response_payload_complete,
        sniffed,
        source,
        destination,
        variables,
        log_level,
        captured_request,
        captured_response,
        times,
        bytes_in,
        bytes_out,
        retries,
        redispatched,
        server_queue,
        backend_queue,
        local,
        local_status,
        server_status,
        statistics,
        ends,
        server_tls,
        received,
        unique_id,
        resume_at,
        lenient,
        bytes_counted,
        logged,
        termination,
        phase,
        listed: _,
        assigned,
        tracked,
        lines,
        error_status,
        checked_users,
        persistence,
        compression,
        cache,
        overrides,
        rare,
    } = used;
    *assigned = Default::default();
    *tracked = None;
    error_status.set(0);
    if checked_users.get().is_some() {
        *checked_users = std::cell::OnceCell::new();
    }
    *id = number;
    *frontend = new.frontend;
    *config = Arc::clone(&new.config);
    *rare = config.proxy(new.frontend).rare;
    *session = new;
    (*backend, *server, *preferred) = (None, None, None);
    *http = is_http;
    request.clear();
    response.clear();
    payload.clear();
    response_payload.clear();
    log_step.set("");
    (*payload_complete, *response_payload_complete) = (false, false);
    if sniffed.get().is_some() {
        *sniffed = std::cell::OnceCell::new();
    }
    (*source, *destination) = (None, None);
    variables.clear();
    *log_level = None;
    captured_request.clear();
    captured_response.clear();
    *times = begins;
    (*bytes_in, *bytes_out) = (0, 0);
    (*retries, *redispatched) = (0, false);
    (*server_queue, *backend_queue) = (0, 0);
    (*local, *local_status, *statistics) = (false, 0, false);
    *server_status = 0;
    *ends = None;
    *server_tls = None;
    *received = None;
    *unique_id = None;
    (*resume_at, *lenient) = (0, false);
    (*bytes_counted, *logged) = ((0, 0), false);
    (*termination, *phase) = (Termination::Normal, Phase::Done);
    *lines = None;
    if let Some(persistence) = persistence {
        **persistence = Default::default();
    }
    *compression = Default::default();
    *cache = None;
    *overrides = None;
}

/// A stream of nobody, on a thread that serves nobody: a health check evaluates
/// its expressions in it.
pub fn of_check(session: Rc<Session>, http: bool) -> Stream {
    let times = Times::begin(reactor::now(), std::time::SystemTime::now());
    blank(0, session, http, times)
}

/// A stream to which nothing has happened yet.
pub fn blank(id: u64, session: Rc<Session>, http: bool, times: Times) -> Stream {
    Stream {
        id,
        frontend: session.frontend,
        rare: session.frontend().rare,
        config: Arc::clone(&session.config),
        session,
        backend: None,
        server: None,
        preferred: None,
        http,
        request: Message::default(),
        response: Message::default(),
        payload: Vec::new(),
        log_step: std::cell::Cell::new(""),
        payload_complete: false,
        response_payload: Vec::new(),
        response_payload_complete: false,
        sniffed: std::cell::OnceCell::new(),
        source: None,
        destination: None,
        variables: Variables::default(),
        log_level: None,
        captured_request: Vec::new(),
        captured_response: Vec::new(),
        times,
        bytes_in: 0,
        bytes_out: 0,
        bytes_counted: (0, 0),
        logged: false,
        retries: 0,
        redispatched: false,
        server_queue: 0,
        backend_queue: 0,
        local: false,
        local_status: 0,
        server_status: 0,
        statistics: false,
        ends: None,
        server_tls: None,
        received: None,
        unique_id: None,
        resume_at: 0,
        lenient: false,
        termination: Termination::Normal,
        phase: Phase::Done,
        listed: Default::default(),
        assigned: Default::default(),
        tracked: None,
        lines: None,
        error_status: std::cell::Cell::new(0),
        checked_users: std::cell::OnceCell::new(),
        persistence: None,
        compression: Default::default(),
        cache: None,
        overrides: None,
    }
}
