//! Reads the statistics of one frontend, listener, server or backend: a value for each column.
//! The values come from atomics and, for a server, from under its lock, which is held briefly;
//! nothing is changed. A [`RowCursor`] produces the rows one by one, so that a report needs no
//! list of them.

use super::column::{Column, ColumnSet};
use crate::persistence;
use crate::runtime;
use model::config::{Balance, Bind, BindAddress, Config, Mode, Proxy, Server, ServerAddress};
use model::state::{AdminReport, Average, Counters, ServerReport, Tally};
use reactor::{Gauge, Rate};
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ColumnValue<'c> {
    #[default]
    Empty,
    U32(u32),
    U64(u64),
    S32(i32),
    Text(Cow<'c, str>),
}

impl<'c> From<u32> for ColumnValue<'c> {
    fn from(n: u32) -> Self {
        ColumnValue::U32(n)
    }
}

impl<'c> From<u64> for ColumnValue<'c> {
    fn from(n: u64) -> Self {
        ColumnValue::U64(n)
    }
}

impl<'c> From<&'c str> for ColumnValue<'c> {
    fn from(text: &'c str) -> Self {
        ColumnValue::Text(Cow::Borrowed(text))
    }
}

impl<'c> From<String> for ColumnValue<'c> {
    fn from(text: String) -> Self {
        ColumnValue::Text(Cow::Owned(text))
    }
}

/// Point in time and settings of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Time for states, as [`model::state::now_ms`] returns it.
    pub state_ms: u64,
    /// Time for rates, as `model::thread::ProcessState::now_ms` returns it.
    pub rate_ms: u64,
    /// Connection limit of the process, which applies to a frontend without `maxconn`.
    pub connections_max: u32,
    /// The report includes addresses, cookies and algorithms.
    pub legends: bool,
}

#[derive(Clone, Debug)]
pub enum Object<'c> {
    Frontend,
    Listener(&'c Bind),
    Server(&'c Server, Rc<ServerReport>),
    Backend,
}

/// A row of the statistics.
#[derive(Clone, Debug)]
pub struct Row<'c> {
    pub proxy: &'c Proxy,
    pub object: Object<'c>,
    /// Columns that are computed for this row; the others are empty.
    columns: ColumnSet,
    /// Values of `columns`, in the order of the columns.
    values: Vec<ColumnValue<'c>>,
}

impl<'c> Row<'c> {
    fn new(proxy: &'c Proxy, object: Object<'c>, columns: ColumnSet) -> Self {
        // Adds the name, which is always present.
        let columns = columns.with(&[Column::Svname]);
        let mut row = Row {
            proxy,
            object,
            columns,
            values: vec![ColumnValue::Empty; columns.count()],
        };
        let (name, kind, id) = match &row.object {
            Object::Frontend => (Cow::Borrowed("FRONTEND"), 0u32, 0),
            Object::Backend => (Cow::Borrowed("BACKEND"), 1, 0),
            Object::Server(server, _) => (Cow::Borrowed(&*server.name), 2, server.id),
            Object::Listener(bind) => (listener_name(bind), 3, bind.id),
        };
        row.put(Column::Svname, ColumnValue::Text(name));
        row.put(Column::Pxname, &*proxy.name);
        row.put(Column::Pid, 1u32);
        row.put(Column::Iid, proxy.id);
        row.put(Column::Sid, id);
        row.put(Column::Type, kind);
        row.put(Column::Mode, proxy.mode.name());
        row
    }

    fn put(&mut self, column: Column, value: impl Into<ColumnValue<'c>>) {
        let index = self.columns.index_of(column);
        if let Some(place) = index.and_then(|index| self.values.get_mut(index)) {
            *place = value.into();
        }
    }

    /// Returns whether a column is computed. Callers of [`Row::put`] ask this first if the value
    /// is expensive.
    fn has(&self, column: Column) -> bool {
        self.columns.has(column)
    }

    pub fn get(&self, column: Column) -> &ColumnValue<'c> {
        let index = self.columns.index_of(column);
        let value = index.and_then(|index| self.values.get(index));
        value.unwrap_or(&ColumnValue::Empty)
    }

    /// Returns the number in a column; 0 without one.
    pub fn number(&self, column: Column) -> u64 {
        match *self.get(column) {
            ColumnValue::U32(n) => n.into(),
            ColumnValue::U64(n) => n,
            _ => 0,
        }
    }

    /// Returns the text in a column; empty without one.
    pub fn text(&self, column: Column) -> &str {
        match self.get(column) {
            ColumnValue::Text(text) => text,
            _ => "",
        }
    }

    /// Returns the id of the server or listener; 0 for a frontend or backend.
    pub fn id(&self) -> u32 {
        match &self.object {
            Object::Frontend | Object::Backend => 0,
            Object::Server(server, _) => server.id,
            Object::Listener(bind) => bind.id,
        }
    }

    pub(super) fn http(&self) -> bool {
        self.proxy.mode == Mode::Http
    }

    fn tallies(&mut self, counters: &Counters, of: &[(Column, Tally)]) {
        for (column, tally) in of {
            if self.has(*column) {
                self.put(*column, counters.read(*tally));
            }
        }
    }

    fn gauge(&mut self, gauge: &Gauge, now: Column, most: Column) {
        self.put(now, gauge.current());
        self.put(most, gauge.highest());
    }

    fn rate(&mut self, rate: &Rate, now_ms: u64, now: Column, most: Column) {
        if !self.has(now) && !self.has(most) {
            return;
        }
        let clip = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        self.put(now, clip(rate.read(now_ms)));
        self.put(most, clip(rate.highest(now_ms)));
    }

    fn times(&mut self, counters: &Counters) {
        let of = [
            (Average::Queue, Column::Qtime, Column::QtimeMax),
            (Average::Connect, Column::Ctime, Column::CtimeMax),
            (Average::Response, Column::Rtime, Column::RtimeMax),
            (Average::Total, Column::Ttime, Column::TtimeMax),
        ];
        let clip = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        for (which, average, most) in of {
            if self.has(average) {
                self.put(average, clip(counters.average_ms(which)));
            }
            if self.has(most) {
                self.put(most, clip(counters.highest_ms(which)));
            }
        }
    }

    fn last_session(&mut self, ago_s: Option<u64>) {
        let ago = ago_s.map_or(-1, |s| i32::try_from(s).unwrap_or(i32::MAX));
        self.put(Column::Lastsess, ColumnValue::S32(ago));
    }

    /// Sets the columns of HTTP/2 to zero in a row of all columns, and sets the counters of
    /// compression and of the cache.
    fn absent(&mut self, counters: &Counters) {
        use Column as C;
        if self.columns.is_all() {
            let zeros = (C::H2HeadersRcvd as usize)..=(C::H2BackendTotalStreams as usize);
            self.values[zeros].fill(ColumnValue::U64(0));
        }
        let of_compression = [
            (C::CompIn, Tally::CompressedIn),
            (C::CompOut, Tally::CompressedOut),
            (C::CompByp, Tally::CompressionBypassed),
            (C::CompRsp, Tally::CompressedAnswers),
        ];
        self.tallies(counters, &of_compression);
        if self.http() {
            let of_cache = [
                (C::CacheLookups, Tally::CacheLookups),
                (C::CacheHits, Tally::CacheHits),
            ];
            self.tallies(counters, &of_cache);
        }
    }

    /// Sets the counters of HTTP/1 and HTTP/2. Only reports of all columns contain them, because
    /// some are differences of others.
    fn http1(&mut self, open: u32, streams: u32, counters: &Counters, connections: Tally) {
        use Column as C;
        if !self.columns.is_all() {
            return;
        }
        let (open, streams) = if self.http() { (open, streams) } else { (0, 0) };
        let of = [
            C::H1TotalConnections,
            C::H1TotalStreams,
            C::H1BytesIn,
            C::H1BytesOut,
        ];
        // Counts the bytes that servers send as the input of a backend.
        let bytes = match self.object {
            Object::Backend => [Tally::BytesOut, Tally::BytesIn],
            _ => [Tally::BytesIn, Tally::BytesOut],
        };
        let [bytes_in, bytes_out] = bytes;
        let tallies = [connections, Tally::Requests, bytes_in, bytes_out];
        self.put(C::H1OpenConnections, u64::from(open));
        self.put(C::H1OpenStreams, u64::from(streams));
        for (column, tally) in of.into_iter().zip(tallies) {
            self.put(column, if self.http() { counters.read(tally) } else { 0 });
        }
        // Separates HTTP/2 from the totals, which contain both versions.
        let of_http2 = [
            (
                C::H1TotalConnections,
                C::H2TotalConnections,
                Tally::Http2Connections,
            ),
            (
                C::H1TotalStreams,
                C::H2BackendTotalStreams,
                Tally::Http2Streams,
            ),
        ];
        let http = self.http();
        for (one, two, tally) in of_http2.into_iter().filter(|_| http) {
            let (n, all) = (counters.read(tally), self.number(one));
            self.put(two, n);
            self.put(one, all.saturating_sub(n));
        }
        self.put(C::H1SplicedBytesIn, 0u64);
        self.put(C::H1SplicedBytesOut, 0u64);
    }

    fn served(&mut self, counters: &Counters) {
        self.statuses(counters);
        if self.http() {
            self.tallies(counters, &[(Column::ReqTot, Tally::Requests)]);
        }
        self.times(counters);
    }

    fn statuses(&mut self, counters: &Counters) {
        if self.http() {
            self.tallies(counters, STATUSES);
        }
    }
}

const STATUSES: &[(Column, Tally)] = &[
    (Column::Hrsp1xx, Tally::Status1xx),
    (Column::Hrsp2xx, Tally::Status2xx),
    (Column::Hrsp3xx, Tally::Status3xx),
    (Column::Hrsp4xx, Tally::Status4xx),
    (Column::Hrsp5xx, Tally::Status5xx),
    (Column::HrspOther, Tally::StatusOther),
];

const CLIENT_SIDE: &[(Column, Tally)] = &[
    (Column::Stot, Tally::Sessions),
    (Column::Bin, Tally::BytesIn),
    (Column::Bout, Tally::BytesOut),
    (Column::Dreq, Tally::DeniedRequests),
    (Column::Dresp, Tally::DeniedResponses),
    (Column::Ereq, Tally::RequestErrors),
    (Column::Dcon, Tally::DeniedConnections),
    (Column::Dses, Tally::DeniedSessions),
    (Column::Wrew, Tally::RewriteFailures),
    (Column::Eint, Tally::InternalErrors),
    (Column::SslSess, Tally::TlsSessions),
    (Column::SslReusedSess, Tally::TlsResumed),
    (Column::SslFailedHandshake, Tally::TlsFailed),
];

const SERVER_SIDE: &[(Column, Tally)] = &[
    (Column::Stot, Tally::Sessions),
    (Column::Bin, Tally::BytesIn),
    (Column::Bout, Tally::BytesOut),
    (Column::Dresp, Tally::DeniedResponses),
    (Column::Econ, Tally::ConnectErrors),
    (Column::Eresp, Tally::ResponseErrors),
    (Column::Wretr, Tally::Retries),
    (Column::Wredis, Tally::Redispatches),
    (Column::Lbtot, Tally::Chosen),
    (Column::CliAbrt, Tally::ClientAborts),
    (Column::SrvAbrt, Tally::ServerAborts),
    (Column::Wrew, Tally::RewriteFailures),
    (Column::Connect, Tally::Connects),
    (Column::Reuse, Tally::Reuses),
    (Column::Eint, Tally::InternalErrors),
    (Column::SslSess, Tally::TlsSessions),
    (Column::SslReusedSess, Tally::TlsResumed),
    (Column::SslFailedHandshake, Tally::TlsFailed),
];

fn listener_name(bind: &Bind) -> Cow<'_, str> {
    if bind.name.is_empty() {
        Cow::Owned(format!("sock-{}", bind.id))
    } else {
        Cow::Borrowed(&bind.name)
    }
}

fn frontend<'c>(proxy: &'c Proxy, moment: &Moment, columns: ColumnSet) -> Row<'c> {
    use Column as C;
    let mut row = Row::new(proxy, Object::Frontend, columns);
    let state = &proxy.state;
    row.gauge(&state.frontend.sessions, C::Scur, C::Smax);
    row.put(C::Slim, runtime::maxconn(proxy).min(moment.connections_max));
    row.tallies(&state.frontend.counters, CLIENT_SIDE);
    row.put(
        C::Status,
        if state.is_shut_down() {
            "STOP"
        } else if state.frontend.paused.load(Relaxed) {
            "PAUSED"
        } else {
            "OPEN"
        },
    );
    row.rate(
        &state.frontend.session_rate,
        moment.rate_ms,
        C::Rate,
        C::RateMax,
    );
    row.put(C::RateLim, proxy.session_rate_max.unwrap_or(0));
    row.statuses(&state.frontend.counters);
    row.rate(
        &state.frontend.request_rate,
        moment.rate_ms,
        C::ReqRate,
        C::ReqRateMax,
    );
    row.tallies(
        &state.frontend.counters,
        &[
            (C::ReqTot, Tally::Requests),
            (C::ConnTot, Tally::Connections),
        ],
    );
    row.rate(
        &state.frontend.connection_rate,
        moment.rate_ms,
        C::ConnRate,
        C::ConnRateMax,
    );
    if row.http() {
        row.tallies(
            &state.frontend.counters,
            &[(C::Intercepted, Tally::Intercepted)],
        );
    }
    row.absent(&state.frontend.counters);
    row.http1(
        state.frontend.sessions.current(),
        0,
        &state.frontend.counters,
        Tally::Connections,
    );
    row.put(C::H1OpenStreams, ColumnValue::Empty);
    row
}

/// Creates the row of a listener (`option socket-stats`).
fn listener<'c>(proxy: &'c Proxy, bind: &'c Bind, moment: &Moment, columns: ColumnSet) -> Row<'c> {
    use Column as C;
    let mut row = Row::new(proxy, Object::Listener(bind), columns);
    let state = proxy.state.listener(bind.id);
    row.gauge(&state.sessions, C::Scur, C::Smax);
    row.put(C::Slim, bind.maxconn.unwrap_or(0));
    row.tallies(&state.counters, CLIENT_SIDE);
    row.put(C::Status, "OPEN");
    if moment.legends {
        row.put(C::Addr, bind_text(&bind.address));
    }
    row
}

pub fn bind_text(address: &BindAddress) -> String {
    match address {
        BindAddress::Inet(address) => address.to_string(),
        BindAddress::Unix(_) | BindAddress::Abstract(_) => "unix".into(),
        BindAddress::Fd(number) => format!("fd@{number}"),
        BindAddress::Name(name, port) => format!("{name}:{port}"),
    }
}

/// Returns a server's address for display; empty while its name is unresolved.
pub fn server_text(server: &Server) -> String {
    if server.is_followed() && server.state.report(0).unresolved {
        return String::new();
    }
    let set = server.state.address_override();
    match set.as_ref().unwrap_or(&server.address) {
        ServerAddress::Inet(address) => address.to_string(),
        ServerAddress::SamePort(ip, offset) if ip.is_ipv6() => format!("[{ip}]:{offset}"),
        ServerAddress::SamePort(ip, offset) => format!("{ip}:{offset}"),
        ServerAddress::Unix(_) | ServerAddress::Abstract(_) => "unix".into(),
        ServerAddress::Unresolved => String::new(),
    }
}

/// Returns a server's weight during `slowstart`, rounded as in HAProxy.
fn weight_now(report: &ServerReport) -> u32 {
    (report.weight * report.throttle).div_ceil(100)
}

pub fn server<'c>(
    proxy: &'c Proxy,
    server: &'c Server,
    moment: &Moment,
    columns: ColumnSet,
) -> Row<'c> {
    use Column as C;
    let report = Rc::new(server.state.report(moment.state_ms));
    let object = Object::Server(server, Rc::clone(&report));
    let mut row = Row::new(proxy, object, columns);
    let state = &server.state;
    row.gauge(&state.queue.waiting, C::Qcur, C::Qmax);
    row.gauge(&state.traffic.sessions, C::Scur, C::Smax);
    if state.maxconn() > 0 {
        row.put(C::Slim, state.maxconn());
    }
    row.tallies(&state.traffic.counters, SERVER_SIDE);
    if row.has(C::Status) {
        row.put(C::Status, report.status_text());
    }
    row.put(C::Weight, weight_now(&report));
    row.put(C::Uweight, report.weight);
    row.put(C::Act, u32::from(!state.backup()));
    row.put(C::Bck, u32::from(state.backup()));
    row.put(C::Lastchg, seconds(moment.state_ms, report.last_change_ms));
    if state.maxqueue() > 0 {
        row.put(C::Qlimit, state.maxqueue());
    }
    if report.throttle < 100 {
        row.put(C::Throttle, report.throttle);
    }
    row.rate(
        &state.traffic.session_rate,
        moment.rate_ms,
        C::Rate,
        C::RateMax,
    );
    row.served(&state.traffic.counters);
    row.last_session(state.traffic.last_session.seconds_ago(moment.rate_ms));
    checks(&mut row, &report);
    agent(&mut row, &report);
    if moment.legends {
        row.put(C::Addr, server_text(server));
        if let Some(cookie) = persistence::cookie_of(proxy, server) {
            row.put(C::Cookie, cookie);
        }
    }
    let idle = state.idle.count.load(Relaxed);
    row.put(C::SrvIcur, idle);
    row.put(C::IdleConnCur, idle);
    row.put(C::SafeConnCur, 0u32);
    row.put(C::UsedConnCur, state.traffic.sessions.current());
    row.put(C::NeedConnEst, state.traffic.sessions.current());
    if let Some(most) = server.options.pool_max {
        row.put(C::SrcIlim, most);
    }
    row
}

fn agent(row: &mut Row<'_>, report: &ServerReport) {
    use Column as C;
    if let Some(tracked) = &report.tracked {
        row.put(C::Tracked, tracked.to_string());
        return;
    }
    let Some(agent) = report.agent.as_ref().filter(|agent| !agent.stopped) else {
        return;
    };
    let Some(last) = &agent.last else { return };
    row.put(C::AgentStatus, last.code());
    if last.status.is_some_and(|status| status.has_code()) {
        row.put(C::AgentCode, 0u32);
    }
    row.put(C::AgentDuration, u64::from(last.duration_ms));
    row.put(C::AgentDesc, last.text());
    row.put(C::LastAgt, last.info.to_string());
    row.put(C::AgentRise, 1u32);
    row.put(C::AgentFall, 1u32);
    row.put(C::AgentHealth, u32::from(!agent.down));
}

fn checks(row: &mut Row<'_>, report: &ServerReport) {
    use Column as C;
    if !report.checked || report.tracked.is_some() {
        return;
    }
    let Object::Server(server, _) = &row.object else {
        return;
    };
    let of_checks = [
        (C::Chkfail, Tally::CheckFailures),
        (C::Chkdown, Tally::WentDown),
    ];
    row.tallies(&server.state.traffic.counters, &of_checks);
    row.put(C::Downtime, clip_seconds(report.downtime_ms));
    if matches!(
        report.admin,
        AdminReport::Maintenance | AdminReport::Unresolved
    ) {
        return;
    }
    let last = &report.last_check;
    row.put(C::CheckStatus, last.status.code());
    if last.status.has_code() {
        row.put(C::CheckCode, u32::from(last.code));
    }
    if report.last_check_ms.is_some() {
        row.put(C::CheckDuration, u64::from(last.duration_ms));
    }
    if row.has(C::LastChk) {
        row.put(C::LastChk, last.info.to_string());
    }
    row.put(C::CheckDesc, last.status.text());
    row.put(C::CheckRise, report.rise);
    row.put(C::CheckFall, report.fall);
    row.put(C::CheckHealth, report.streak);
}

fn clip_seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}

fn seconds(now_ms: u64, then_ms: u64) -> u32 {
    clip_seconds(now_ms.saturating_sub(then_ms))
}

pub fn algorithm(balance: &Balance) -> &'static str {
    balance.name()
}

/// Returns the total weight of the servers that currently share the load, and the total of their
/// configured weights.
fn weights(proxy: &Proxy, moment: &Moment) -> (u32, u32) {
    let backups = proxy.state.active_usable() == 0;
    let share = |server: &&Server| server.state.usable() && server.state.backup() == backups;
    proxy
        .servers
        .iter()
        .filter(share)
        .fold((0, 0), |(now, set), server| {
            let report = server.state.report(moment.state_ms);
            (now + weight_now(&report), set + report.weight)
        })
}

fn backend<'c>(proxy: &'c Proxy, moment: &Moment, columns: ColumnSet) -> Row<'c> {
    use Column as C;
    let mut row = Row::new(proxy, Object::Backend, columns);
    let state = &proxy.state;
    let report = state.backend_report(moment.state_ms);
    row.gauge(&state.backend.queue.waiting, C::Qcur, C::Qmax);
    row.gauge(&state.backend.sessions, C::Scur, C::Smax);
    row.put(C::Slim, state.backend.fullconn.load(Relaxed));
    row.tallies(&state.backend.counters, SERVER_SIDE);
    row.tallies(&state.backend.counters, &[(C::Dreq, Tally::DeniedRequests)]);
    let up = proxy.servers.is_empty() || report.up;
    row.put(C::Status, if up { "UP" } else { "DOWN" });
    if row.has(C::Weight) || row.has(C::Uweight) {
        let (weight, user_weight) = weights(proxy, moment);
        row.put(C::Weight, weight);
        row.put(C::Uweight, user_weight);
    }
    row.put(C::Act, report.active);
    row.put(C::Bck, report.backup);
    row.put(C::Chkdown, u64::from(report.downs));
    row.put(C::Lastchg, seconds(moment.state_ms, report.last_change_ms));
    if !proxy.servers.is_empty() {
        row.put(C::Downtime, clip_seconds(report.downtime_ms));
    }
    row.rate(
        &state.backend.session_rate,
        moment.rate_ms,
        C::Rate,
        C::RateMax,
    );
    row.served(&state.backend.counters);
    row.last_session(state.backend.last_session.seconds_ago(moment.rate_ms));
    if moment.legends {
        row.put(C::Algo, algorithm(&proxy.balance));
        if let Some(cookie) = &proxy.cookie {
            row.put(
                C::Cookie,
                String::from_utf8_lossy(&cookie.name).into_owned(),
            );
        }
    }
    for column in [
        C::AggServerStatus,
        C::AggServerCheckStatus,
        C::AggCheckStatus,
    ] {
        row.put(column, 0u32);
    }
    row.absent(&state.backend.counters);
    let sessions = state.backend.sessions.current();
    row.http1(sessions, sessions, &state.backend.counters, Tally::Connects);
    row
}

#[derive(Clone, Debug, Default)]
pub struct Selection<'s> {
    /// Selects the proxies whose names contain this text.
    pub scope: Option<&'s str>,
    /// Selects these proxies (`stats scope`); an empty list selects all.
    pub allowed: &'s [Box<str>],
    /// Name of the proxy for which `.` stands in `allowed`.
    pub own: &'s str,
    pub hide_down: bool,
    pub hide_maintenance: bool,
    pub proxy_id: Option<u32>,
    /// Selects types of objects: 1 frontends, 2 backends, 4 servers, 8 listeners; 0 selects all.
    pub kinds: u32,
    pub object_id: Option<u32>,
}

impl Selection<'_> {
    pub fn has_proxy(&self, proxy: &Proxy) -> bool {
        let named = |name: &str| {
            let name = if name == "." { self.own } else { name };
            *name == *proxy.name
        };
        !proxy.disabled
            && (self.allowed.is_empty() || self.allowed.iter().any(|name| named(name)))
            && self.scope.is_none_or(|scope| proxy.name.contains(scope))
            && self.proxy_id.is_none_or(|id| id == proxy.id)
    }

    fn has_kind(&self, kind: u32) -> bool {
        self.kinds == 0 || self.kinds & kind != 0
    }

    fn has_id(&self, id: u32) -> bool {
        self.object_id.is_none_or(|wanted| wanted == id)
    }

    /// Returns whether the selection includes servers in this state; true for rows of other
    /// objects.
    pub fn has_state(&self, row: &Row<'_>) -> bool {
        let Object::Server(server, report) = &row.object else {
            return true;
        };
        let maintenance = matches!(
            report.admin,
            AdminReport::Maintenance | AdminReport::Unresolved
        );
        let hidden =
            (self.hide_maintenance && maintenance) || (self.hide_down && !server.state.is_up());
        !hidden
    }
}

/// Position in the rows of a configuration, which are in HAProxy's order. The position is an
/// index, so it is valid as long as its owner keeps the same configuration; the values of a row
/// are read at the time of its step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RowCursor {
    proxy: usize,
    /// Index within the proxy: its frontend, then the selected listeners and servers, then its
    /// backend.
    item: usize,
}

impl RowCursor {
    /// Returns the proxy at this position; None at the end.
    pub fn proxy<'c>(&self, config: &'c Config) -> Option<&'c Proxy> {
        config.proxies.get(self.proxy)
    }

    /// Returns whether the position is at the first row of the current proxy.
    pub fn is_at_start(&self) -> bool {
        self.item == 0
    }

    pub fn skip_proxy(&mut self) {
        self.proxy += 1;
        self.item = 0;
    }

    /// Passes the row at this position to a function, if the row exists and is selected, and moves
    /// to the next position. Returns false at the end. Each step must get the same selection.
    pub fn step<'c>(
        &mut self,
        config: &'c Config,
        selection: &Selection<'_>,
        moment: &Moment,
        columns: ColumnSet,
        give: impl FnOnce(&Row<'c>),
    ) -> bool {
        use model::config::ProxyOption::SocketStats;
        let Some(proxy) = self.proxy(config) else {
            return false;
        };
        if self.item == 0 && !selection.has_proxy(proxy) {
            self.skip_proxy();
            return true;
        }
        let (clients, servers) = (proxy.kind.is_frontend(), proxy.kind.is_backend());
        let has_listeners = clients && proxy.has(SocketStats) && selection.has_kind(8);
        let binds = if has_listeners { &*proxy.binds } else { &[] };
        let members = if servers && selection.has_kind(4) {
            &*proxy.servers
        } else {
            &[]
        };
        let item = self.item;
        self.item += 1;
        if item == 0 {
            if clients && selection.has_kind(1) && selection.has_id(0) {
                give(&frontend(proxy, moment, columns));
            }
        } else if let Some(bind) = binds.get(item - 1) {
            if selection.has_id(bind.id) {
                give(&listener(proxy, bind, moment, columns));
            }
        } else if let Some(member) = members.get(item - 1 - binds.len()) {
            if selection.has_id(member.id) {
                let row = server(proxy, member, moment, columns);
                if selection.has_state(&row) {
                    give(&row);
                }
            }
        } else {
            self.skip_proxy();
            if servers && selection.has_kind(2) && selection.has_id(0) {
                give(&backend(proxy, moment, columns));
            }
        }
        true
    }
}
