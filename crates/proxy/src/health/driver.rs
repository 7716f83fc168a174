//! Runs the health and agent checks that are due, on the side thread: one task for the schedule
//! and one for each running check. Results go to the state of the server, messages to the logs.
//! Only the newest configuration, and those of running checks, are kept in memory.

use super::agent;
use super::outbox::alert;
use super::plan::{CheckRun, CheckSchedule, ScheduledChecks};
use super::probe::{check_of, probe};
use super::report::{Level, LogLine, agent_lines, lines, send_state, tracked_lines};
use model::config::target::target;
use model::config::{Config, Observe, OnError, Proxy, Server};
use model::state::{
    AgentResult, AgentVerdict, CheckResult, CheckStatus, ServerChange, Shutdown, TakesErrors,
    now_ms,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

/// Receives the messages about checks, with their backend and its configuration.
pub type Notice = Arc<dyn Fn(&Config, &Proxy, Level, &str) + Send + Sync>;

/// Interval at which the weights of servers in `slowstart` are raised.
const WARM_UP_TICK: Duration = Duration::from_millis(500);
/// Longest wait of the schedule if no check is due. Any change wakes the schedule earlier.
const IDLE: Duration = Duration::from_secs(3600);

/// The running checks; dropping it stops them.
#[derive(Debug)]
pub struct RunningChecks {
    /// The task of the health checks, and the task of the agent checks.
    parts: [(Arc<ChecksState>, AbortHandle); 2],
}

impl RunningChecks {
    /// Applies a new configuration, which must be installed already. Remaining servers keep their
    /// schedule, new ones are checked soon, and the checks of removed ones stop. May be called on
    /// any thread.
    pub fn change(&self, config: &Arc<Config>) {
        for (shared, _) in &self.parts {
            shared.plan().change(config, shared.now_ms());
            if shared.kind == ScheduledChecks::Servers {
                observe(shared, config);
            }
            shared.changed.notify_one();
        }
    }

    /// Stops the checks. A running check is abandoned without a result.
    pub fn stop(self) {}
}

impl Drop for RunningChecks {
    fn drop(&mut self) {
        for (shared, task) in &self.parts {
            shared.plan().end();
            task.abort();
        }
    }
}

/// Starts the checks of a configuration on the Tokio runtime of this thread. The
/// configuration must be installed already.
pub fn start(config: &Arc<Config>, notice: Notice) -> RunningChecks {
    let seed = std::process::id().wrapping_mul(0x9e37_79b9);
    let parts = [ScheduledChecks::Servers, ScheduledChecks::Agents].map(|asked| {
        let shared = Arc::new(ChecksState {
            kind: asked,
            plan: Mutex::new(CheckSchedule::new(config, asked, seed)),
            changed: Notify::new(),
            began: Instant::now(),
            notice: Arc::clone(&notice),
            errors: Mutex::default(),
        });
        if asked == ScheduledChecks::Servers {
            observe(&shared, config);
        }
        let task = tokio::spawn(run(Arc::clone(&shared))).abort_handle();
        (shared, task)
    });
    RunningChecks { parts }
}

struct ChecksState {
    kind: ScheduledChecks,
    /// Held only briefly, never across an await.
    plan: Mutex<CheckSchedule>,
    changed: Notify,
    began: Instant,
    notice: Notice,
    /// Servers that reached their `error-limit`, with the last error of each.
    errors: Mutex<Vec<(u32, &'static str)>>,
}

/// Maximum number of waiting reports of servers that reached their `error-limit`; further ones are
/// dropped.
const ERRORS_MAX: usize = 4096;

impl TakesErrors for ChecksState {
    fn errors(&self, uid: u32, what: &'static str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() < ERRORS_MAX {
            errors.push((uid, what));
        }
        drop(errors);
        self.changed.notify_one();
    }
}

impl std::fmt::Debug for ChecksState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChecksState").finish_non_exhaustive()
    }
}

impl ChecksState {
    fn plan(&self) -> MutexGuard<'_, CheckSchedule> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// Registers, for servers with `observe`, where errors of their traffic are reported.
fn observe(shared: &Arc<ChecksState>, config: &Config) {
    let observer: Arc<dyn TakesErrors> = Arc::<ChecksState>::clone(shared);
    for server in config.proxies.iter().flat_map(|proxy| &proxy.servers) {
        if server.options.observing.observe != Observe::Nothing {
            server.state.observe_by(Arc::downgrade(&observer));
        }
    }
}

/// Applies `on-error` to servers that reached their `error-limit`.
fn take_errors(shared: &ChecksState) {
    let errors = std::mem::take(&mut *shared.errors.lock().unwrap_or_else(PoisonError::into_inner));
    for (uid, what) in errors {
        let place = shared.plan().place_of(uid);
        let Some(place) = place else { continue };
        let Some((proxy, server)) = place.get() else {
            continue;
        };
        if server.state.is_check_suppressed() {
            continue;
        }
        let options = &server.options;
        let observing = options.observing;
        if observing.on_error != OnError::FastInter {
            let info = format!(
                "Detected {} consecutive errors, last one was: {what}",
                observing.error_limit
            );
            let result = CheckResult::new(CheckStatus::Analyzed, 0).info(info);
            let now = now_ms();
            let (change, told) =
                server
                    .state
                    .fail_by_traffic(observing.on_error, result.clone(), now);
            process_result(shared, &place.config, proxy, server, &result, &change, told);
        }
        let soon = options.fastinter_ms.unwrap_or(options.inter_ms);
        let at_ms = shared.now_ms() + u64::from(soon);
        shared.plan().schedule_earlier(uid, at_ms);
    }
}

async fn run(shared: Arc<ChecksState>) {
    // The running checks are aborted when this task is dropped.
    let mut running = JoinSet::new();
    let mut warm_at = Instant::now() + WARM_UP_TICK;
    loop {
        while running.try_join_next().is_some() {}
        take_errors(&shared);
        while let Some((run, place)) = {
            let mut plan = shared.plan();
            plan.begin(shared.now_ms())
        } {
            let unfinished = Unfinished(Arc::clone(&shared), run);
            running.spawn(async move {
                check(&unfinished.0, run, place).await;
                drop(unfinished);
            });
        }
        let (next, warms) = {
            let plan = shared.plan();
            (plan.next_ms(), !plan.warming().is_empty())
        };
        if warms && warm_at <= Instant::now() {
            warm_up(&shared);
            warm_at = Instant::now() + WARM_UP_TICK;
        }
        let due = next.map(|ms| shared.began + Duration::from_millis(ms));
        let mut until = due.unwrap_or_else(|| Instant::now() + IDLE);
        if warms {
            until = until.min(warm_at);
        }
        // Re-evaluates everything after any wake-up.
        let _ = timeout_at(until, shared.changed.notified()).await;
    }
}

fn warm_up(shared: &ChecksState) {
    let warming = shared.plan().warming().to_vec();
    let now = now_ms();
    warming.iter().for_each(|server| server.warm_up(now));
}

/// A running check. When it ends, even by a panic, the next one is scheduled.
struct Unfinished(Arc<ChecksState>, CheckRun);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let now_ms = self.0.now_ms();
        self.0.plan().schedule_next(self.1, now_ms);
        self.0.changed.notify_one();
    }
}

/// Runs one check under the configuration that was the newest when the check began.
async fn check(shared: &ChecksState, run: CheckRun, place: super::plan::CheckedServer) {
    if shared.kind == ScheduledChecks::Agents {
        return ask_agent(shared, run, place).await;
    }
    let Some((proxy, server)) = place.get() else {
        return;
    };
    if server.state.is_check_suppressed() {
        return;
    }
    let state = check_of(proxy, server).send_state.then(|| {
        let report = server.state.report(now_ms());
        send_state(proxy, server, &place.config.global.node_name(), &report)
    });
    let asked = target(server);
    let result = probe(&place, state.as_deref()).await;
    // The server may have got another address during the check; the result is then meaningless.
    let moved = asked != target(server);
    drop(place);
    if moved {
        return;
    }
    // The newest configuration decides what the result means, if it still has this check.
    let newest = shared.plan().find_server(run);
    let Some(newest) = newest else { return };
    let Some((proxy, server)) = newest.get() else {
        return;
    };
    // The server may have gone into maintenance during the check. The result is then ignored.
    if !server.state.is_check_suppressed() {
        take(shared, &newest.config, proxy, server, result);
    }
}

async fn ask_agent(shared: &ChecksState, run: CheckRun, place: super::plan::CheckedServer) {
    let Some((proxy, server)) = place.get() else {
        return;
    };
    if !server.state.has_agent() {
        return;
    }
    let (line, duration_ms) = agent::query_agent(proxy, server).await;
    drop(place);
    let newest = shared.plan().find_server(run);
    let Some(newest) = newest else { return };
    let Some((proxy, server)) = newest.get() else {
        return;
    };
    if !server.state.has_agent() {
        return;
    }
    let config = &newest.config;
    let line = match line {
        Ok(line) => line,
        Err(result) => {
            // The query itself failed, so nothing is known about the server.
            server
                .state
                .take_agent(AgentVerdict::Nothing, result, now_ms());
            return;
        }
    };
    if let Some(admin) = line.admin {
        crate::health::orders::set_admin(config, proxy, server, admin);
    }
    let (now, of_file) = server.state.user_weight();
    if let Some(weight) = line.weight(of_file).filter(|weight| *weight != now) {
        crate::health::orders::set_weight(config, proxy, server, weight);
    }
    let maxconn = line.maxconn.filter(|most| *most != server.state.maxconn());
    if let Some(most) = maxconn {
        server.state.set_maxconn(most);
    }
    let (said, result) = line.result(duration_ms);
    let (change, told) = server.state.take_agent(said, result.clone(), now_ms());
    shut_down_sessions(proxy, server, &change);
    let report = server.state.report(now_ms());
    for line in agent_lines(proxy, server, &result, &change, told, &report) {
        log_message(shared, config, proxy, &line);
    }
    tell_trackers(shared, config, server);
}

pub(crate) fn tell_of_agent(
    config: &Config,
    proxy: &Proxy,
    server: &Server,
    result: &AgentResult,
    change: &ServerChange,
) {
    shut_down_sessions(proxy, server, change);
    let report = server.state.report(now_ms());
    for line in agent_lines(proxy, server, result, change, false, &report) {
        model::log::notice(config, proxy, log_level(line.level), &line.text);
    }
    tell_of_trackers(config, server, &mut |proxy, level, line| {
        model::log::notice(config, proxy, log_level(level), line);
    });
}

pub(crate) fn log_level(level: Level) -> model::log::Level {
    match level {
        Level::Emergency => model::log::Level::Emergency,
        Level::Alert => model::log::Level::Alert,
        Level::Notice => model::log::Level::Notice,
    }
}

fn tell_trackers(shared: &ChecksState, config: &Config, tracked: &Server) {
    tell_of_trackers(config, tracked, &mut |proxy, level, line| {
        (shared.notice)(config, proxy, level, line);
    });
}

pub(crate) fn tell_of_trackers(
    config: &Config,
    tracked: &Server,
    say: &mut dyn FnMut(&Proxy, Level, &str),
) {
    for proxy in &config.proxies {
        // HAProxy reports the last server first.
        for server in proxy.servers.iter().rev().filter(|s| s.tracks.is_some()) {
            let of = server.state.tracked();
            if !of.is_some_and(|of| Arc::ptr_eq(&of, &tracked.state)) {
                continue;
            }
            let Some(told) = server.state.take_told_by_tracked() else {
                continue;
            };
            shut_down_sessions(proxy, server, &told.change);
            let report = server.state.report(now_ms());
            for line in tracked_lines(proxy, server, &told, &report) {
                say(proxy, line.level, &line.text);
            }
        }
    }
}

fn take(
    shared: &ChecksState,
    config: &Arc<Config>,
    proxy: &Proxy,
    server: &Server,
    result: CheckResult,
) {
    let mut kept = result.clone();
    if kept.fleeting {
        kept.info = "".into();
    }
    let (change, told) = server.state.take_check(kept, now_ms());
    process_result(shared, config, proxy, server, &result, &change, told);
}

/// Logs a message, and mails it if `email-alert` applies.
fn log_message(shared: &ChecksState, config: &Arc<Config>, proxy: &Proxy, line: &LogLine) {
    (shared.notice)(config, proxy, line.level, &line.text);
    if let Some(level) = line.mail {
        alert(config, proxy, level, &line.text);
    }
}

fn process_result(
    shared: &ChecksState,
    config: &Arc<Config>,
    proxy: &Proxy,
    server: &Server,
    result: &CheckResult,
    change: &ServerChange,
    told: bool,
) {
    let report = server.state.report(now_ms());
    shut_down_sessions(proxy, server, change);
    for line in lines(proxy, server, result, change, told, &report) {
        log_message(shared, config, proxy, &line);
    }
    if change.happened() {
        tracing::info!(
            proxy = %proxy.name,
            server = %server.name,
            was_up = change.was_up,
            is_up = change.is_up,
            active = change.lineup.active,
            backup = change.lineup.backup,
            "server state changed"
        );
        tell_trackers(shared, config, server);
    }
}

fn shut_down_sessions(proxy: &Proxy, server: &Server, change: &ServerChange) {
    if change.was_up && !change.is_up && server.options.shutdown_sessions_on_down {
        server.state.shut_sessions_down(Shutdown::Down);
    }
    let came_up = !change.was_up && change.is_up;
    if came_up && !server.options.backup && server.options.shutdown_backup_sessions_on_up {
        let backups = proxy.servers.iter().filter(|other| other.options.backup);
        backups.for_each(|backup| backup.state.shut_sessions_down(Shutdown::Up));
    }
}
