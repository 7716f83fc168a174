//! Serves the statistics: the page, CSV, typed lines, JSON, and the actions of the page's form.
//!
//! A report is as long as the configuration, so it is never complete in memory: it is produced in
//! pieces while its client reads (see [`StatisticsReport`]).

pub mod asked;
pub mod column;
pub mod export;
pub mod information;
pub mod piece;
pub mod process;
pub mod prometheus;
pub mod row;

mod admin;
mod auth;
mod console;
mod page;
#[cfg(test)]
mod tests;

use crate::runtime;
use admin::AdminOutcome;
use asked::{ActionStatus, StatisticsFormat, StatisticsQuery};
use export::{Format, RowsOutput};
use http::message::{HttpMessage, HttpVersion, MessageEditError, reason_of};
use model::config::{Config, Proxy, ProxyIndex, StatsPage};
use model::rules::{self, MessageVerdict};
use model::transaction::Wait;
use model::transaction::{ProxyResponse, ProxyStream, StreamPhase, Termination, error_page};
use model::users;
use page::{Html, PageOutput};
use piece::{Piece, PieceSource};
use process::ProcessSnapshot;
use prometheus::{MetricsOf, MetricsOutput};
use row::{Moment, Selection};
use std::sync::Arc;

#[derive(Debug)]
pub enum StatisticsVerdict {
    No,
    /// A password must be verified first. Then the function is called again.
    Wait(Wait),
    /// The function needs this many bytes of the request body first. Then it is called again.
    NeedBody(usize),
    Ready(ProxyResponse),
    Report(Box<StatisticsReport>),
}

/// Checks whether a request is for the statistics of its frontend or, with `in_backend`, of
/// its backend, and returns how to answer it.
pub fn answer(stream: &mut ProxyStream, in_backend: bool) -> StatisticsVerdict {
    let index = if in_backend {
        stream.route.backend.unwrap_or(stream.route.frontend)
    } else {
        stream.route.frontend
    };
    if stream.config.proxy(index).stats.is_none() {
        return StatisticsVerdict::No;
    }
    let config = stream.config.clone();
    let Some(page) = &config.proxy(index).stats else {
        return StatisticsVerdict::No;
    };
    let post = match stream.request.method() {
        b"GET" | b"HEAD" => false,
        b"POST" => true,
        _ => return StatisticsVerdict::No,
    };
    let Some(tail) = stream.request.path_and_query().strip_prefix(&*page.uri) else {
        return StatisticsVerdict::No;
    };
    let asked = StatisticsQuery::parse(tail);
    stream.outcome.statistics = true;
    stream.outcome.end(Termination::Local, StreamPhase::Request);
    if !auth::allowed(page, stream) {
        let realm = page.realm.as_deref().unwrap_or(users::STATISTICS_REALM);
        return StatisticsVerdict::Ready(rules::challenge(stream, realm));
    }
    if let Some(answer) = refused(stream, page) {
        return answer;
    }
    let admin = page.admin.iter().any(|condition| condition.test(stream));
    match users::unanswered(stream) {
        Some(MessageVerdict::Wait(wait)) => return StatisticsVerdict::Wait(wait),
        Some(MessageVerdict::Answer(reply)) => return StatisticsVerdict::Ready(*reply),
        _ => {}
    }
    if post {
        return action(stream, index, page, &asked, admin);
    }
    let runtime = runtime::of_thread();
    StatisticsVerdict::Report(Box::new(StatisticsReport {
        process: ProcessSnapshot::now(runtime, &config),
        moment: process::moment(runtime, page.legends),
        proxy: index,
        admin,
        console: page.console.and_then(|console| {
            let host = stream.request.get(b"host");
            console::link(console, host.unwrap_or_default())
        }),
        config,
        output: ReportOutput::of_format(asked.kind),
        query: asked,
    }))
}

/// Returns the Prometheus report for a query; None if a part of the query is unknown.
pub fn metrics(stream: &ProxyStream, query: &[u8]) -> Option<StatisticsReport> {
    let runtime = runtime::of_thread();
    Some(StatisticsReport {
        output: ReportOutput::Metrics(MetricsOutput::new(prometheus::Query::parse(query)?)),
        process: ProcessSnapshot::now(runtime, &stream.config),
        moment: process::moment(runtime, false),
        proxy: stream.route.frontend,
        query: StatisticsQuery::default(),
        admin: false,
        console: None,
        config: stream.config.clone(),
    })
}

/// Applies the `stats http-request` rules. Returns a verdict unless the rules let the request
/// continue.
fn refused(stream: &mut ProxyStream, page: &StatsPage) -> Option<StatisticsVerdict> {
    if page.http_request.is_empty() {
        return None;
    }
    Some(match rules::statistics(stream, &page.http_request) {
        MessageVerdict::Continue => {
            // Records that the page was served, because no rule refused the request.
            stream.outcome.termination = Termination::Local;
            return None;
        }
        MessageVerdict::Wait(wait) => StatisticsVerdict::Wait(wait),
        MessageVerdict::Answer(reply) => StatisticsVerdict::Ready(*reply),
        _ => StatisticsVerdict::Ready(error_page(stream, 403)),
    })
}

fn action(
    stream: &mut ProxyStream,
    index: ProxyIndex,
    page: &StatsPage,
    asked: &StatisticsQuery,
    admin: bool,
) -> StatisticsVerdict {
    let config = stream.config.clone();
    let outcome = if !admin || auth::from_another_site(stream) {
        ActionStatus::Denied
    } else if !stream.payloads.request_complete {
        return StatisticsVerdict::NeedBody(config.global.tune.bufsize);
    } else if is_cut(stream) {
        ActionStatus::TooMany
    } else {
        let all = StatisticsQuery::default();
        let selection = selection(config.proxy(index), page, &all);
        let shown = |proxy: &Proxy| selection.has_proxy(proxy);
        match admin::run(&config, &stream.payloads.request, shown) {
            AdminOutcome::Ended(status) => status,
            AdminOutcome::Ask(kill) => {
                let view = without_outcome(asked);
                return ready(stream, question(page::confirm(page, &view, &kill)));
            }
        }
    };
    let view = without_outcome(asked);
    let reply = redirect(page, outcome, &view).map(|head| ProxyResponse {
        head,
        body: Arc::default(),
        close: false,
    });
    ready(stream, reply)
}

fn ready(
    stream: &mut ProxyStream,
    reply: Result<ProxyResponse, MessageEditError>,
) -> StatisticsVerdict {
    StatisticsVerdict::Ready(reply.unwrap_or_else(|_| error_page(stream, 500)))
}

fn without_outcome(asked: &StatisticsQuery) -> StatisticsQuery {
    StatisticsQuery {
        outcome: None,
        ..asked.clone()
    }
}

fn question(html: Html) -> Result<ProxyResponse, MessageEditError> {
    let mut head = page_head(b"text/html; charset=utf-8")?;
    let policy = [&html.policy, IN_NO_FRAME].concat();
    head.add(b"content-security-policy", policy.as_bytes())?;
    Ok(ProxyResponse {
        head,
        body: html.text.into_bytes().into(),
        close: false,
    })
}

fn page_head(kind: &[u8]) -> Result<HttpMessage, MessageEditError> {
    let mut head = HttpMessage::new();
    head.begin_response(HttpVersion::Http11, 200, reason_of(200).as_bytes())?;
    head.add(b"cache-control", b"no-cache")?;
    head.add(b"content-type", kind)?;
    Ok(head)
}

/// Forbids other sites to show the page in a frame, where they could make users click on actions
/// (clickjacking).
const IN_NO_FRAME: &str = "; frame-ancestors 'self'";

fn is_cut(stream: &ProxyStream) -> bool {
    let length = stream
        .request
        .get(b"content-length")
        .and_then(|v| std::str::from_utf8(v).ok());
    let length = length.and_then(|text| text.trim().parse::<usize>().ok());
    match length {
        Some(length) => stream.payloads.request.len() < length,
        None => stream.payloads.request.len() >= stream.config.global.tune.bufsize / 2,
    }
}

fn redirect(
    page: &StatsPage,
    outcome: ActionStatus,
    view: &StatisticsQuery,
) -> Result<HttpMessage, MessageEditError> {
    let mut head = HttpMessage::new();
    head.begin_response(HttpVersion::Http11, 303, reason_of(303).as_bytes())?;
    head.add(b"cache-control", b"no-cache")?;
    head.add(b"content-type", b"text/plain")?;
    let mut location = page.uri.to_vec();
    location.extend_from_slice(format!(";st={}{}", outcome.code(), view.words()).as_bytes());
    head.add(b"content-length", b"0")?;
    head.add(b"location", &location)?;
    Ok(head)
}

fn selection<'s>(
    proxy: &'s Proxy,
    page: &'s StatsPage,
    asked: &'s StatisticsQuery,
) -> Selection<'s> {
    Selection {
        scope: Some(&*asked.scope).filter(|scope| !scope.is_empty()),
        allowed: &page.scope,
        own: &proxy.name,
        hide_down: asked.up,
        hide_maintenance: asked.no_maintenance,
        ..Selection::default()
    }
}

/// A report for an HTTP client, with the position reached so far. It keeps its configuration, so a
/// reload changes no row of it. [`StatisticsReport::survey`] is called until it is complete, then
/// [`StatisticsReport::head`], then [`PieceSource::write`].
#[derive(Debug)]
pub struct StatisticsReport {
    config: Arc<Config>,
    proxy: ProxyIndex,
    query: StatisticsQuery,
    admin: bool,
    console: Option<String>,
    process: ProcessSnapshot,
    moment: Moment,
    output: ReportOutput,
}

#[derive(Debug)]
enum ReportOutput {
    Rows(RowsOutput),
    Schema,
    Metrics(MetricsOutput),
    Page(Box<PageOutput>),
}

impl ReportOutput {
    fn of_format(format: StatisticsFormat) -> ReportOutput {
        let rows = |format| ReportOutput::Rows(RowsOutput::new(format));
        match format {
            StatisticsFormat::Csv => rows(Format::Csv),
            StatisticsFormat::Typed => rows(Format::Typed),
            StatisticsFormat::Json => rows(Format::Json),
            StatisticsFormat::Schema => ReportOutput::Schema,
            StatisticsFormat::Page => ReportOutput::Page(Box::default()),
        }
    }
}

impl StatisticsReport {
    /// Collects from the rows what the beginning of the report needs, some rows at a time. Returns
    /// false once all rows were seen. `scratch` is an empty buffer.
    pub fn survey(&mut self, scratch: &mut String) -> bool {
        self.with_view(|output, view| match output {
            ReportOutput::Page(page) => page.survey(&mut Piece::new(scratch), view),
            ReportOutput::Rows(_) | ReportOutput::Schema | ReportOutput::Metrics(_) => false,
        })
    }

    /// Creates the head of the response, without a length.
    ///
    /// # Errors
    /// Fails if the head does not fit into an [`HttpMessage`].
    pub fn head(&mut self) -> Result<HttpMessage, MessageEditError> {
        let admin = self.admin;
        let no_refresh = self.query.no_refresh;
        self.with_view(|output, view| {
            let (kind, policy): (&[u8], _) = match output {
                ReportOutput::Metrics(_) => (b"text/plain; version=0.0.4", None),
                ReportOutput::Schema => (b"application/json", None),
                ReportOutput::Rows(rows) if rows.format() == Format::Json => {
                    (b"application/json", None)
                }
                ReportOutput::Rows(_) => (b"text/plain", None),
                ReportOutput::Page(page) => (b"text/html; charset=utf-8", Some(page.policy(view))),
            };
            let mut head = page_head(kind)?;
            if let Some(policy) = &policy {
                let frames = if admin { IN_NO_FRAME } else { "" };
                let policy = [policy, frames].concat();
                head.add(b"content-security-policy", policy.as_bytes())?;
            }
            // Adds the header field for data only, because the page refreshes itself.
            let refreshes = view.page.refresh_s > 0 && !no_refresh;
            if refreshes && matches!(output, ReportOutput::Rows(_) | ReportOutput::Schema) {
                head.add(b"refresh", view.page.refresh_s.to_string().as_bytes())?;
            }
            Ok(head)
        })
    }

    fn with_view<T>(&mut self, run: impl FnOnce(&mut ReportOutput, &page::View<'_>) -> T) -> T {
        let proxy = self.config.proxy(self.proxy);
        let fallback;
        let page = match proxy.stats.as_deref() {
            Some(page) => page,
            None => {
                fallback = StatsPage::default();
                &fallback
            }
        };
        let view = page::View {
            config: &self.config,
            page,
            query: &self.query,
            selection: selection(proxy, page, &self.query),
            moment: self.moment,
            process: &self.process,
            admin: self.admin,
            console: self.console.as_deref(),
        };
        run(&mut self.output, &view)
    }
}

impl PieceSource for StatisticsReport {
    fn write(&mut self, piece: &mut Piece<'_>) -> bool {
        self.with_view(|output, view| match output {
            ReportOutput::Rows(rows) => {
                rows.write(piece, view.config, &view.selection, &view.moment)
            }
            ReportOutput::Schema => {
                piece.out.push_str(export::SCHEMA);
                false
            }
            ReportOutput::Metrics(metrics) => {
                let of = MetricsOf {
                    config: view.config,
                    process: view.process,
                    moment: &view.moment,
                };
                metrics.write(piece, of)
            }
            ReportOutput::Page(page) => page.write(piece, view),
        })
    }
}
