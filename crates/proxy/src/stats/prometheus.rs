//! Writes the statistics for Prometheus with the names, types and labels of HAProxy's exporter, so
//! that dashboards made for it still work. The descriptions are those of the statistics' columns.
//! Names that HAProxy's exporter does not have begin with `evenkeel_`.

use super::column::{Column as C, ColumnSet};
use super::information::{self, MetricType};
use super::piece::Piece;
use super::process::ProcessSnapshot;
use super::row::{self, ColumnValue, Moment, Object, Row, RowCursor, Selection};
use model::config::Config;
use model::config::product::VERSION;
use model::names::{SectionReport, Tallies};
use model::tables::Table;
use part::report::escaped;
use std::fmt::Write;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query {
    global: bool,
    frontend: bool,
    listener: bool,
    backend: bool,
    server: bool,
    addresses: bool,
    tables: bool,
    resolvers: bool,
    no_maintenance: bool,
}

impl Query {
    /// Parses the query string of a request: `scope=…` (may be repeated, `*` selects all) and
    /// `no-maint`. None: a scope is unknown or has no value.
    pub fn parse(query: &[u8]) -> Option<Query> {
        let mut asked = Query::of(true);
        let mut scoped = false;
        for parameter in query.split(|byte| *byte == b'&') {
            let mut parts = parameter.splitn(2, |byte| *byte == b'=');
            let name = parts.next().unwrap_or_default();
            let value = parts.next();
            match name {
                b"scope" => {
                    if !std::mem::replace(&mut scoped, true) {
                        asked = Query {
                            no_maintenance: asked.no_maintenance,
                            ..Query::of(false)
                        };
                    }
                    match value? {
                        b"" => {}
                        b"*" => {
                            asked = Query {
                                no_maintenance: asked.no_maintenance,
                                ..Query::of(true)
                            };
                        }
                        b"global" => asked.global = true,
                        b"frontend" => asked.frontend = true,
                        b"listener" => asked.listener = true,
                        b"backend" => asked.backend = true,
                        b"server" => asked.server = true,
                        b"virtual-ip" => asked.addresses = true,
                        b"sticktable" => asked.tables = true,
                        b"resolver" => asked.resolvers = true,
                        _ => return None,
                    }
                }
                b"no-maint" => asked.no_maintenance = true,
                _ => {}
            }
        }
        Some(asked)
    }

    fn has_family(&self, kind: u32) -> bool {
        match kind {
            F => self.frontend,
            L => self.listener,
            B => self.backend,
            _ => self.server,
        }
    }

    fn of(all: bool) -> Query {
        Query {
            global: all,
            frontend: all,
            listener: all,
            backend: all,
            server: all,
            addresses: all,
            tables: all,
            resolvers: all,
            no_maintenance: false,
        }
    }
}

/// Conversion of a column's value to a metric.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Counter,
    Gauge,
    /// Milliseconds, which are exported as seconds.
    Milliseconds,
    /// A line for each possible state.
    States(&'static [&'static str]),
    /// Responses by the first digit of their status.
    Statuses,
}

use How::{Counter, Gauge, Milliseconds, States, Statuses};

const SIDES: &[&str] = &["DOWN", "UP"];
const OF_LISTENER: &[&str] = &["WAITING", "OPEN", "FULL"];
const OF_SERVER: &[&str] = &["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];
const OF_CHECK: &[&str] = &[
    "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP",
    "L7OK", "L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
];

// The bits of `Selection::kinds` by the first letter of the object.
const F: u32 = 1;
const B: u32 = 2;
const S: u32 = 4;
const L: u32 = 8;

/// The kinds of objects with metrics, in HAProxy's order.
const FAMILIES: [(u32, &str); 4] = [
    (F, "frontend"),
    (L, "listener"),
    (B, "backend"),
    (S, "server"),
];

/// All metrics of proxies in HAProxy's order: the kinds of objects that have the metric, its name,
/// column, and conversion.
static METRICS: &[(u32, &str, C, How)] = &[
    (B | S, "current_queue", C::Qcur, Gauge),
    (B | S, "max_queue", C::Qmax, Gauge),
    (F | L | B | S, "current_sessions", C::Scur, Gauge),
    (F | L | B | S, "max_sessions", C::Smax, Gauge),
    (F | L | B | S, "limit_sessions", C::Slim, Gauge),
    (F | L | B | S, "sessions_total", C::Stot, Counter),
    (F | L | B | S, "bytes_in_total", C::Bin, Counter),
    (F | L | B | S, "bytes_out_total", C::Bout, Counter),
    (F | L | B, "requests_denied_total", C::Dreq, Counter),
    (F | L | B | S, "responses_denied_total", C::Dresp, Counter),
    (F | L, "request_errors_total", C::Ereq, Counter),
    (B | S, "connection_errors_total", C::Econ, Counter),
    (B | S, "response_errors_total", C::Eresp, Counter),
    (B | S, "retry_warnings_total", C::Wretr, Counter),
    (B | S, "redispatch_warnings_total", C::Wredis, Counter),
    (F | B, "status", C::Status, States(SIDES)),
    (L, "status", C::Status, States(OF_LISTENER)),
    (S, "status", C::Status, States(OF_SERVER)),
    (B | S, "weight", C::Weight, Gauge),
    (B, "active_servers", C::Act, Gauge),
    (B, "backup_servers", C::Bck, Gauge),
    (S, "check_failures_total", C::Chkfail, Counter),
    (B | S, "check_up_down_total", C::Chkdown, Counter),
    (B | S, "check_last_change_seconds", C::Lastchg, Gauge),
    (B | S, "downtime_seconds_total", C::Downtime, Counter),
    (S, "queue_limit", C::Qlimit, Gauge),
    (S, "current_throttle", C::Throttle, Gauge),
    (B | S, "loadbalanced_total", C::Lbtot, Counter),
    (F, "limit_session_rate", C::RateLim, Gauge),
    (F | B | S, "max_session_rate", C::RateMax, Gauge),
    (S, "check_status", C::CheckStatus, States(OF_CHECK)),
    (S, "check_code", C::CheckCode, Gauge),
    (S, "check_duration_seconds", C::CheckDuration, Milliseconds),
    (F | B | S, "http_responses_total", C::Hrsp1xx, Statuses),
    (F, "http_requests_rate_max", C::ReqRateMax, Gauge),
    (F | B, "http_requests_total", C::ReqTot, Counter),
    (B | S, "client_aborts_total", C::CliAbrt, Counter),
    (B | S, "server_aborts_total", C::SrvAbrt, Counter),
    (F | B, "http_comp_bytes_in_total", C::CompIn, Counter),
    (F | B, "http_comp_bytes_out_total", C::CompOut, Counter),
    (F | B, "http_comp_bytes_bypassed_total", C::CompByp, Counter),
    (F | B, "http_comp_responses_total", C::CompRsp, Counter),
    (B | S, "last_session_seconds", C::Lastsess, Gauge),
    (B | S, "queue_time_average_seconds", C::Qtime, Milliseconds),
    (
        B | S,
        "connect_time_average_seconds",
        C::Ctime,
        Milliseconds,
    ),
    (
        B | S,
        "response_time_average_seconds",
        C::Rtime,
        Milliseconds,
    ),
    (B | S, "total_time_average_seconds", C::Ttime, Milliseconds),
    (F, "connections_rate_max", C::ConnRateMax, Gauge),
    (F, "connections_total", C::ConnTot, Counter),
    (F, "intercepted_requests_total", C::Intercepted, Counter),
    (F | L, "denied_connections_total", C::Dcon, Counter),
    (F | L, "denied_sessions_total", C::Dses, Counter),
    (
        F | L | B | S,
        "failed_header_rewriting_total",
        C::Wrew,
        Counter,
    ),
    (B | S, "connection_attempts_total", C::Connect, Counter),
    (B | S, "connection_reuses_total", C::Reuse, Counter),
    (F | B, "http_cache_lookups_total", C::CacheLookups, Counter),
    (F | B, "http_cache_hits_total", C::CacheHits, Counter),
    (S, "idle_connections_current", C::SrvIcur, Gauge),
    (S, "idle_connections_limit", C::SrcIlim, Gauge),
    (B | S, "max_queue_time_seconds", C::QtimeMax, Milliseconds),
    (B | S, "max_connect_time_seconds", C::CtimeMax, Milliseconds),
    (
        B | S,
        "max_response_time_seconds",
        C::RtimeMax,
        Milliseconds,
    ),
    (B | S, "max_total_time_seconds", C::TtimeMax, Milliseconds),
    (F | L | B | S, "internal_errors_total", C::Eint, Counter),
    (S, "unsafe_idle_connections_current", C::IdleConnCur, Gauge),
    (S, "safe_idle_connections_current", C::SafeConnCur, Gauge),
    (S, "used_connections_current", C::UsedConnCur, Gauge),
    (S, "need_connections_current", C::NeedConnEst, Gauge),
    (B | S, "uweight", C::Uweight, Gauge),
    (
        B,
        "agg_server_status",
        C::AggServerStatus,
        States(OF_SERVER),
    ),
    (
        B,
        "agg_server_check_status",
        C::AggServerCheckStatus,
        States(OF_SERVER),
    ),
    (B, "agg_check_status", C::AggCheckStatus, States(OF_CHECK)),
];

/// Position in the output of all selected metrics. The output is ordered by metric, and each
/// metric has a line for every object, so all objects are walked over once for each metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetricsOutput {
    query: Query,
    section: Section,
    rows: RowCursor,
    has_head: bool,
}

/// A part of the output that takes one or more steps to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Section {
    Process,
    /// A metric of [`METRICS`] for one kind of object; if it counts statuses, for one class of
    /// statuses.
    Metric {
        family: usize,
        metric: usize,
        class: usize,
    },
    Durations {
        family: usize,
    },
    /// A metric of [`TABLES`] for the stick table with this index.
    Tables {
        metric: usize,
        table: usize,
    },
    Resolvers,
    Addresses,
    End,
}

impl Section {
    /// Returns the first section of a kind of object; after all kinds, that of the stick tables.
    fn family(family: usize) -> Section {
        match FAMILIES.get(family) {
            Some(_) => Section::Metric {
                family,
                metric: 0,
                class: 0,
            },
            None => Section::Tables {
                metric: 0,
                table: 0,
            },
        }
    }
}

/// Data that the metrics describe.
#[derive(Clone, Copy)]
pub struct MetricsOf<'m> {
    pub config: &'m Config,
    pub process: &'m ProcessSnapshot,
    pub moment: &'m Moment,
}

impl MetricsOutput {
    pub fn new(query: Query) -> MetricsOutput {
        MetricsOutput {
            query,
            section: Section::Process,
            rows: RowCursor::default(),
            has_head: false,
        }
    }

    /// Appends the next piece; returns whether another one follows.
    pub fn write(&mut self, piece: &mut Piece<'_>, of: MetricsOf<'_>) -> bool {
        while piece.has_room() {
            if self.section == Section::End {
                return false;
            }
            self.step(piece.out, of);
        }
        true
    }

    fn enter(&mut self, section: Section) {
        // Keeps the head for the next class of statuses, or the next stick table, of the same
        // metric.
        let continues = matches!(section, Section::Metric { class, .. } if class > 0)
            || matches!(section, Section::Tables { table, .. } if table > 0);
        self.has_head &= continues;
        self.section = section;
        self.rows = RowCursor::default();
    }

    fn step(&mut self, out: &mut String, of: MetricsOf<'_>) {
        let query = self.query;
        match self.section {
            Section::Process => {
                if query.global {
                    of_process(out, of.process);
                }
                self.enter(Section::family(0));
            }
            Section::Metric {
                family,
                metric,
                class,
            } => self.metric(out, of, family, metric, class),
            Section::Durations { family } => {
                let row = |out: &mut String, row: &Row<'_>| durations(out, FAMILIES[family].1, row);
                let head = |out: &mut String| durations_head(out, FAMILIES[family].1);
                if !self.row(out, of, family, &[], head, row) {
                    self.enter(Section::family(family + 1));
                }
            }
            Section::Tables { metric, table } => {
                let Some((name, meaning)) = TABLES.get(metric).filter(|_| query.tables) else {
                    return self.enter(Section::Resolvers);
                };
                let mut tables = of.config.tables.serving();
                let Some(found) = tables.nth(table) else {
                    return self.enter(Section::Tables {
                        metric: metric + 1,
                        table: 0,
                    });
                };
                if table == 0 {
                    head(out, name, meaning, Gauge);
                }
                of_table(out, name, metric, found);
                self.enter(Section::Tables {
                    metric,
                    table: table + 1,
                });
            }
            Section::Resolvers => {
                if query.resolvers {
                    of_resolvers(out, &of.process.services.resolvers);
                }
                self.enter(Section::Addresses);
            }
            Section::Addresses => {
                if query.addresses {
                    of.process.addresses.metrics(out);
                }
                self.enter(Section::End);
            }
            Section::End => {}
        }
    }

    fn metric(
        &mut self,
        out: &mut String,
        of: MetricsOf<'_>,
        family: usize,
        metric: usize,
        class: usize,
    ) {
        let (kind, family_name) = FAMILIES[family];
        if !self.query.has_family(kind) {
            return self.enter(Section::family(family + 1));
        }
        let Some((objects, name, column, how)) = METRICS.get(metric) else {
            return self.enter(Section::Durations { family });
        };
        let next = Section::Metric {
            family,
            metric: metric + 1,
            class: 0,
        };
        if objects & kind == 0 {
            return self.enter(next);
        }
        let name = format!("{family_name}_{name}");
        let column = match how {
            Statuses => CLASSES[class].1,
            _ => *column,
        };
        let head = |out: &mut String| head(out, &name, &meaning(column, *how), *how);
        let line = |out: &mut String, row: &Row<'_>| match how {
            Statuses => status(out, &name, class, row),
            _ => metric_of(out, &name, column, *how, row, of.moment),
        };
        if self.row(out, of, family, &[column], head, line) {
            return;
        }
        let class = class + 1;
        self.enter(if *how == Statuses && class < CLASSES.len() {
            Section::Metric {
                family,
                metric,
                class,
            }
        } else {
            next
        });
    }

    /// Appends the lines of the next object, and the description of the metric before its first
    /// line. Returns false after the last object.
    fn row(
        &mut self,
        out: &mut String,
        MetricsOf { config, moment, .. }: MetricsOf<'_>,
        family: usize,
        columns: &[C],
        head: impl FnOnce(&mut String),
        lines: impl FnOnce(&mut String, &Row<'_>),
    ) -> bool {
        let selection = Selection {
            kinds: FAMILIES[family].0,
            ..Selection::default()
        };
        let no_maintenance = self.query.no_maintenance;
        let mut columns = ColumnSet::of(columns);
        if columns.has(C::CheckCode) {
            // Adds the status column, which shows whether the server has a check.
            columns = columns.with(&[C::CheckStatus]);
        }
        if no_maintenance {
            columns = columns.with(&[C::Status]);
        }
        let has_head = &mut self.has_head;
        self.rows.step(config, &selection, moment, columns, |row| {
            if no_maintenance && state_of(row) == "MAINT" {
                return;
            }
            let before = out.len();
            if !*has_head {
                head(out);
            }
            let start = out.len();
            lines(out, row);
            if out.len() > start {
                *has_head = true;
            } else {
                out.truncate(before);
            }
        })
    }
}

fn head(out: &mut String, name: &str, meaning: &str, how: How) {
    let kind = match how {
        Counter | Statuses => "counter",
        Gauge | Milliseconds | States(_) => "gauge",
    };
    // Ignores the result, because writing to a string cannot fail.
    let _ = write!(
        out,
        "# HELP haproxy_{name} {meaning}\n# TYPE haproxy_{name} {kind}\n"
    );
}

fn labels(row: &Row<'_>) -> String {
    let proxy = escaped(&row.proxy.name);
    let text = |column| match row.get(column) {
        ColumnValue::Text(text) => escaped(text),
        _ => String::new(),
    };
    match row.object {
        Object::Frontend | Object::Backend => format!("proxy=\"{proxy}\""),
        Object::Listener(_) => format!("proxy=\"{proxy}\",listener=\"{}\"", text(C::Svname)),
        Object::Server(..) => format!("proxy=\"{proxy}\",server=\"{}\"", text(C::Svname)),
    }
}

/// Appends the durations of recent requests as percentiles, which HAProxy's exporter does not
/// have. They cover a moving window, so they are a summary and not a histogram, whose buckets
/// never decrease.
fn durations(out: &mut String, family_name: &str, row: &Row<'_>) {
    let state = &row.proxy.state;
    let counters = match &row.object {
        Object::Frontend => &state.frontend.counters,
        Object::Backend => &state.backend.counters,
        Object::Server(server, _) => &server.state.traffic.counters,
        Object::Listener(_) => return,
    };
    let of = counters.percentiles();
    if of.samples == 0 {
        return;
    }
    let labels = labels(row);
    for (quantile, ms) in [("0.5", of.p50_ms), ("0.95", of.p95_ms), ("0.99", of.p99_ms)] {
        // Ignores the result, because writing to a string cannot fail.
        let _ = writeln!(
            out,
            "evenkeel_{family_name}_request_duration_seconds{{{labels},quantile=\"{quantile}\"}} {}.{:03}",
            ms / 1000,
            ms % 1000
        );
    }
}

fn durations_head(out: &mut String, family_name: &str) {
    let name = format!("evenkeel_{family_name}_request_duration_seconds");
    let _ = write!(
        out,
        "# HELP {name} how long the last 1,024 to 2,048 requests or TCP sessions of each thread took, at most a \
         quarter too high\n# TYPE {name} summary\n"
    );
}

/// Returns the description of a metric. Milliseconds become seconds as in HAProxy's exporter,
/// and all statuses are one family.
fn meaning(column: C, how: How) -> String {
    match how {
        Milliseconds => column.row().meaning.replace("milliseconds", "seconds"),
        Statuses => "responses by status class".to_owned(),
        _ => column.row().meaning.to_owned(),
    }
}

const CLASSES: [(&str, C); 6] = [
    ("1xx", C::Hrsp1xx),
    ("2xx", C::Hrsp2xx),
    ("3xx", C::Hrsp3xx),
    ("4xx", C::Hrsp4xx),
    ("5xx", C::Hrsp5xx),
    ("other", C::HrspOther),
];

fn status(out: &mut String, name: &str, class: usize, row: &Row<'_>) {
    let (code, column) = CLASSES[class];
    if row.get(column) != &ColumnValue::Empty {
        let labels = labels(row);
        let _ = write!(out, "haproxy_{name}{{{labels},code=\"{code}\"}} ");
        number(out, row.get(column));
    }
}

/// Columns that only proxies in `mode http` count.
const OF_HTTP: [C; 9] = [
    C::ReqRateMax,
    C::ReqTot,
    C::CompIn,
    C::CompOut,
    C::CompByp,
    C::CompRsp,
    C::Intercepted,
    C::CacheLookups,
    C::CacheHits,
];

fn number(out: &mut String, value: &ColumnValue<'_>) {
    let _ = match value {
        ColumnValue::U32(n) => writeln!(out, "{n}"),
        ColumnValue::U64(n) => writeln!(out, "{n}"),
        ColumnValue::S32(n) => writeln!(out, "{n}"),
        ColumnValue::Empty | ColumnValue::Text(_) => writeln!(out, "NaN"),
    };
}

fn metric_of(out: &mut String, name: &str, column: C, how: How, row: &Row<'_>, moment: &Moment) {
    let value = row.get(column);
    let labels = labels(row);
    match how {
        States(states) => {
            let mut counts = vec![0; states.len()];
            match column {
                C::Status => add(&mut counts, states, Some(state_of(row))),
                C::CheckStatus => match check_of(row) {
                    Some(state) => add(&mut counts, states, Some(state)),
                    None => return,
                },
                _ => {
                    for server in servers(row, moment) {
                        let state = match column {
                            C::AggCheckStatus => check_of(&server),
                            _ => Some(state_of(&server)),
                        };
                        add(&mut counts, states, state);
                    }
                }
            }
            for (state, n) in states.iter().zip(counts) {
                let _ = writeln!(out, "haproxy_{name}{{{labels},state=\"{state}\"}} {n}");
            }
        }
        Milliseconds => {
            let ms = match value {
                ColumnValue::U32(n) => u64::from(*n),
                ColumnValue::U64(n) => *n,
                _ if column == C::CheckDuration => return,
                _ => 0,
            };
            let _ = writeln!(
                out,
                "haproxy_{name}{{{labels}}} {}.{:03}000",
                ms / 1000,
                ms % 1000
            );
        }
        // Writes code 0 for a check without a status code, which only connects.
        _ if column == C::CheckCode && value == &ColumnValue::Empty => {
            if check_of(row).is_some() {
                let _ = writeln!(out, "haproxy_{name}{{{labels}}} 0");
            }
        }
        _ if OF_HTTP.contains(&column) && !row.http() => {}
        _ => {
            let _ = write!(out, "haproxy_{name}{{{labels}}} ");
            number(out, value);
        }
    }
}

/// Counts a state, if it is one of those of a metric.
fn add(counts: &mut [usize], states: &[&'static str], found: Option<&str>) {
    let at = found.and_then(|found| states.iter().position(|known| *known == found));
    if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
        *count += 1;
    }
}

/// Returns the rows of a backend's servers; they contain only the states.
fn servers<'r, 'c>(
    backend: &'r Row<'c>,
    moment: &'r Moment,
) -> impl Iterator<Item = Row<'c>> + use<'r, 'c> {
    let columns = ColumnSet::of(&[C::Status, C::CheckStatus]);
    let proxy = backend.proxy;
    let servers = proxy.servers.iter();
    servers.map(move |server| row::server(proxy, server, moment, columns))
}

/// Returns the state of an object for the metrics: the first word of the text in the statistics,
/// but `UP` for `no check` and for an open frontend, and `DOWN` for `STOP`.
fn state_of<'r>(row: &'r Row<'_>) -> &'r str {
    let ColumnValue::Text(text) = row.get(C::Status) else {
        return "";
    };
    let word = text.split(' ').next().unwrap_or_default();
    match (word, &row.object) {
        ("no", _) => "UP",
        ("STOP", _) => "DOWN",
        ("OPEN", Object::Frontend) => "UP",
        (word, _) => word,
    }
}

/// Returns the result of the last check. In the statistics, a star precedes it while a check is
/// running.
fn check_of<'r>(row: &'r Row<'_>) -> Option<&'r str> {
    match row.get(C::CheckStatus) {
        ColumnValue::Text(text) => Some(text.trim_start_matches("* ")),
        _ => None,
    }
}

fn of_process(out: &mut String, process: &ProcessSnapshot) {
    for field in information::fields(process, false) {
        let Some((name, kind)) = field.metric else {
            continue;
        };
        let how = match kind {
            MetricType::Counter => Counter,
            MetricType::Gauge => Gauge,
        };
        let name = format!("process_{name}");
        head(out, &name, field.meaning, how);
        let _ = write!(out, "haproxy_{name} ");
        number(out, &field.value);
    }
    head(out, "process_build_info", "build information", Gauge);
    let _ = writeln!(out, "haproxy_process_build_info{{version=\"{VERSION}\"}} 1");
}

const TABLES: [(&str, &str); 2] = [
    (
        "sticktable_size",
        "maximum number of entries of the stick table",
    ),
    (
        "sticktable_used",
        "current number of entries of the stick table",
    ),
];

fn of_table(out: &mut String, name: &str, metric: usize, table: &Table) {
    let n = match metric {
        0 => u64::from(table.make.size),
        _ => u64::from(table.used()),
    };
    let (label, kind) = (escaped(&table.name), table.make.key.name());
    let _ = writeln!(
        out,
        "haproxy_{name}{{name=\"{label}\",type=\"{kind}\"}} {n}"
    );
}

/// Appends the counters of nameservers. Without a nameserver the metrics are declared all the
/// same, so that a query for them finds their names.
fn of_resolvers(out: &mut String, sections: &[SectionReport]) {
    let names = Tallies::default().named().map(|(name, _)| name);
    for (at, word) in names.into_iter().enumerate() {
        let metric = match word {
            "snd_error" => "send_error",
            word => word,
        };
        let name = format!("resolver_{metric}");
        head(out, &name, &format!("'{word}' of `show resolvers`"), Gauge);
        for (section, servers) in sections {
            for (server, tallies) in servers {
                let (_, count) = tallies.named()[at];
                let (section, server) = (escaped(section), escaped(server));
                let _ = writeln!(
                    out,
                    "haproxy_{name}{{resolver=\"{section}\",nameserver=\"{server}\"}} {count}"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_added_to_each_other() {
        let of = |query: &str| {
            Query::parse(query.as_bytes())
                .map(|q| [q.global, q.frontend, q.listener, q.backend, q.server])
        };
        let (yes, no) = (true, false);
        assert_eq!(of(""), Some([yes; 5]));
        assert_eq!(
            of("scope=global&scope=server"),
            Some([yes, no, no, no, yes])
        );
        assert_eq!(of("scope="), Some([no; 5]));
        assert_eq!(of("scope=&scope=*"), Some([yes; 5]));
        assert_eq!(of("scope=other"), None);
        assert_eq!(of("scope"), None);
        assert!(Query::parse(b"no-maint").unwrap().no_maintenance);
    }

    #[test]
    fn durations_are_summaries_of_targets_with_requests() {
        let text =
            "listen shop\n bind 127.0.0.1:1\n server one 127.0.0.1:2\n server two 127.0.0.1:3\n";
        let loaded = keyword::testing::load_text(text);
        let mut config = loaded.config.expect("it loads");
        model::control::install(&mut config, None, 0);
        let proxy = &config.proxies[0];
        proxy.state.backend.counters.current_shard().took(5);
        for ms in [7, 7, 1_500] {
            proxy.servers[0]
                .state
                .traffic
                .counters
                .current_shard()
                .took(ms);
        }
        let of = MetricsOf {
            config: &config,
            process: &ProcessSnapshot::default(),
            moment: &Moment {
                state_ms: 0,
                rate_ms: 0,
                connections_max: 10,
                legends: false,
            },
        };
        let mut out = String::new();
        for family in 0..FAMILIES.len() {
            let mut metrics = MetricsOutput::new(Query::of(true));
            metrics.section = Section::Durations { family };
            while metrics.section == (Section::Durations { family }) {
                metrics.step(&mut out, of);
            }
        }
        let lines = out.lines().filter(|line| !line.starts_with("# HELP"));
        let expected = [
            "# TYPE evenkeel_backend_request_duration_seconds summary",
            "evenkeel_backend_request_duration_seconds{proxy=\"shop\",quantile=\"0.5\"} 0.005",
            "evenkeel_backend_request_duration_seconds{proxy=\"shop\",quantile=\"0.95\"} 0.005",
            "evenkeel_backend_request_duration_seconds{proxy=\"shop\",quantile=\"0.99\"} 0.005",
            "# TYPE evenkeel_server_request_duration_seconds summary",
            "evenkeel_server_request_duration_seconds{proxy=\"shop\",server=\"one\",quantile=\"0.5\"} 0.007",
            "evenkeel_server_request_duration_seconds{proxy=\"shop\",server=\"one\",quantile=\"0.95\"} 1.535",
            "evenkeel_server_request_duration_seconds{proxy=\"shop\",server=\"one\",quantile=\"0.99\"} 1.535",
        ];
        assert_eq!(lines.collect::<Vec<_>>(), expected);
        assert_eq!(out.matches("# HELP ").count(), 2);
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c"), "a\\\"b\\\\c");
    }
}
