//! Runs the checks: one task a server on the side thread. Results go to the
//! server's state, lines to whoever writes logs.

use super::probe::probe;
use super::report::{Level, lines, send_state};
use super::schedule::Schedule;
use crate::config::{Config, Proxy, ProxyIndex, Server, ServerIndex};
use crate::state::{Change, CheckResult, Shutdown, now_ms};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// Takes the lines that tell what happened, with the backend that it is about.
pub type Notice = Arc<dyn Fn(&Proxy, Level, &str) + Send + Sync>;

/// How often servers that warm up (`slowstart`) get more.
const WARM_UP_TICK: Duration = Duration::from_millis(500);

/// The running checks of a tree; dropping it ends them.
#[derive(Debug, Default)]
pub struct Checks {
    tasks: Vec<AbortHandle>,
}

impl Checks {
    /// Ends them. A check that runs is abandoned without a result.
    pub fn stop(self) {}
}

impl Drop for Checks {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts the checks of a tree on the Tokio runtime of this thread. The tree
/// must be installed. A new tree's checks are started when the old ones are
/// stopped; what they found stays in the states.
pub fn start(config: &Arc<Config>, notice: Notice) -> Checks {
    let mut checked = Vec::new();
    let mut warming = Vec::new();
    for (proxy_index, proxy) in config.iter().filter(|(_, proxy)| !proxy.disabled) {
        for (at, server) in proxy.servers.iter().enumerate() {
            if server.options.check {
                checked.push((proxy_index, ServerIndex(at as u32)));
            }
            if server.options.slowstart_ms > 0 {
                warming.push(Arc::clone(&server.state));
            }
        }
    }
    let server = |(proxy, server): &(ProxyIndex, ServerIndex)| {
        config.proxy(*proxy).servers.get(server.0 as usize)
    };
    let shortest = checked
        .iter()
        .filter_map(server)
        .map(|server| server.options.inter_ms)
        .min();
    let total = checked.len();
    let spread_max = config.global.max_spread_checks_ms;
    let mut tasks = Vec::with_capacity(total + 1);
    for (n, (proxy, server)) in checked.into_iter().enumerate() {
        let first_ms = Schedule::first_ms(shortest.unwrap_or(0), spread_max, n, total);
        let checker = Checker {
            config: Arc::clone(config),
            proxy,
            server,
            notice: Arc::clone(&notice),
            seed: n as u32 ^ std::process::id().wrapping_mul(0x9e37_79b9),
        };
        tasks.push(tokio::spawn(checker.run(first_ms)).abort_handle());
    }
    if !warming.is_empty() {
        let warm_up = async move {
            loop {
                tokio::time::sleep(WARM_UP_TICK).await;
                let now = now_ms();
                warming.iter().for_each(|server| server.warm_up(now));
            }
        };
        tasks.push(tokio::spawn(warm_up).abort_handle());
    }
    Checks { tasks }
}

/// The checks of one server.
struct Checker {
    config: Arc<Config>,
    proxy: ProxyIndex,
    server: ServerIndex,
    notice: Notice,
    seed: u32,
}

impl Checker {
    async fn run(mut self, first_ms: u64) {
        tokio::time::sleep(Duration::from_millis(first_ms)).await;
        let config = Arc::clone(&self.config);
        let proxy = config.proxy(self.proxy);
        let Some(server) = proxy.servers.get(self.server.0 as usize) else {
            return;
        };
        let schedule = Schedule {
            inter_ms: server.options.inter_ms,
            fastinter_ms: server.options.fastinter_ms,
            downinter_ms: server.options.downinter_ms,
            spread: config.global.spread_checks,
        };
        loop {
            if !server.state.in_maintenance() {
                let state = proxy.check.send_state.then(|| {
                    send_state(
                        proxy,
                        server,
                        &node(&config),
                        &server.state.report(now_ms()),
                    )
                });
                let result = probe(proxy, server, state.as_deref(), server.state.up()).await;
                // It can have gone into maintenance meanwhile: then nobody asks any more.
                if !server.state.in_maintenance() {
                    self.take(proxy, server, result);
                }
            }
            let wait = schedule.next_ms(server.state.check_phase(), self.random());
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }

    fn take(&self, proxy: &Proxy, server: &Server, result: CheckResult) {
        let now = now_ms();
        let (change, told) = server.state.take_check(result.clone(), now);
        let report = server.state.report(now);
        shut_down_sessions(proxy, server, &change);
        for (level, line) in lines(proxy, server, &result, &change, told, &report) {
            (self.notice)(proxy, level, &line);
        }
    }

    /// The next of a row of numbers that servers do not share.
    fn random(&mut self) -> u32 {
        self.seed = self
            .seed
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        self.seed >> 8
    }
}

/// `on-marked-down`, `on-marked-up`.
fn shut_down_sessions(proxy: &Proxy, server: &Server, change: &Change) {
    if change.was_up && !change.is_up && server.options.shutdown_sessions_on_down {
        server.state.shut_sessions_down(Shutdown::Down);
    }
    let came_up = !change.was_up && change.is_up;
    if came_up && !server.options.backup && server.options.shutdown_backup_sessions_on_up {
        let backups = proxy.servers.iter().filter(|other| other.options.backup);
        backups.for_each(|backup| backup.state.shut_sessions_down(Shutdown::Up));
    }
}

/// The host's name, or `node`.
fn node(config: &Config) -> String {
    match &config.global.node {
        Some(node) => node.to_string(),
        None => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    }
}
