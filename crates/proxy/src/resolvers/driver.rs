//! Sends the DNS queries that are due, on the side thread: one task for the schedule, and one for
//! each query to a nameserver. Results are applied to the servers of the newest configuration.

use super::exchange::Exchange;
use super::follow;
use crate::health::Notice;
use crate::runtime::Runtime;
use aws_lc_rs::rand;
use model::config::Config;
use model::names::plan::Due;
use model::names::{Key, NameResolver};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

/// Maximum number of concurrent queries; each has a socket.
const EXCHANGES_MAX: usize = 512;
/// While this many queries are pending, names that only rules request must wait. A client may
/// choose names whose nameservers never respond, and these must not delay the names of servers.
const EXCHANGES_OF_RULES_MAX: usize = EXCHANGES_MAX / 2;
/// Maximum wait for a query to end before the schedule is checked again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Maximum wait while nothing is due. Any change wakes the task.
const IDLE: Duration = Duration::from_secs(3600);

/// The running name resolution; dropping this stops it.
#[derive(Debug)]
pub struct Following {
    names: &'static NameResolver,
    task: AbortHandle,
}

impl Following {
    /// Applies a new configuration, which must be installed already. May be called on any thread.
    pub fn change(&self, config: &Arc<Config>) {
        self.names.plan().change(config, self.names.now_ms());
        self.names.changed.notify_one();
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
        self.names
            .plan()
            .change(&Arc::default(), self.names.now_ms());
    }
}

/// Starts to resolve the names of the newest configuration, which must be installed already,
/// on the Tokio runtime of this thread.
pub fn start(runtime: &'static Runtime, notice: Notice) -> Following {
    let names = &runtime.names;
    let following = Following {
        names,
        task: tokio::spawn(run(names, notice)).abort_handle(),
    };
    following.change(&runtime.config());
    following
}

async fn run(names: &'static NameResolver, notice: Notice) {
    // Holds the pending queries, which are aborted when this task ends.
    let mut exchanges = JoinSet::new();
    loop {
        while exchanges.try_join_next().is_some() {}
        while exchanges.len() < EXCHANGES_MAX {
            let rules_too = exchanges.len() < EXCHANGES_OF_RULES_MAX;
            let begun = names.plan().begin(names.now_ms(), rules_too);
            let Some((key, due)) = begun else { break };
            match due {
                Some(due) => send_query(names, &notice, due, &mut exchanges),
                // Finishes a query that ended without a response.
                None => finish_resolution(names, &notice, &key),
            }
        }
        let next = names.plan().next_ms();
        let due = next.map(|ms| Instant::from_std(names.began) + Duration::from_millis(ms));
        let until = match due {
            // Waits for the end of a pending query, which wakes this task, because all slots are in
            // use.
            _ if exchanges.len() >= EXCHANGES_MAX => Instant::now() + IDLE,
            // Waits a little, because a due name that only rules request may have to wait for other
            // queries to end.
            Some(due) if exchanges.len() >= EXCHANGES_OF_RULES_MAX => {
                due.max(Instant::now() + LOOK_AGAIN)
            }
            Some(due) => due,
            None => Instant::now() + IDLE,
        };
        // Re-evaluates everything after any wake-up.
        let _ = timeout_at(until, names.changed.notified()).await;
    }
}

/// Returns a query ID that cannot be guessed.
fn id() -> u16 {
    let mut bytes = [0; 2];
    // Ignores a failure, which means that the system has no randomness at all; the source port is
    // still unpredictable.
    let _ = rand::fill(&mut bytes);
    u16::from_be_bytes(bytes)
}

fn send_query(
    names: &'static NameResolver,
    notice: &Notice,
    due: Due,
    exchanges: &mut JoinSet<()>,
) {
    let config = names.plan().config();
    let section = config.resolvers.iter().find(|s| s.name == due.key.section);
    let Some(section) = section else { return };
    let until = Instant::now() + Duration::from_millis(u64::from(section.retry_ms));
    for (at, server) in section.servers.iter().enumerate() {
        names.plan().count_sent(section, at);
        let exchange = Exchange {
            server: server.clone(),
            question: due.ask.question.clone(),
            id: id(),
            payload_max: section.payload_max,
            until,
        };
        let (key, round, notice) = (due.key.clone(), due.ask.round, Arc::clone(notice));
        exchanges.spawn(async move {
            let (outcome, events) = exchange.run().await;
            let now_ms = names.now_ms();
            let (next, ended) = names
                .plan()
                .answered(&key, round, at, &outcome, events, now_ms);
            if let Some(next) = next {
                // The follow-up query is queued for the task of the schedule, which has the
                // sockets.
                names.plan().queue_follow_up(next);
            }
            if ended {
                finish_resolution(names, &notice, &key);
            }
            names.changed.notify_one();
        });
    }
}

fn finish_resolution(names: &'static NameResolver, notice: &Notice, key: &Key) {
    let (found, config) = {
        let mut plan = names.plan();
        (plan.found(key), plan.config())
    };
    let Some(found) = found else { return };
    let outcome = follow::apply(&config, key, &found, notice);
    if outcome.changed {
        names.plan().count_update(key);
    }
    if outcome.hosts_changed {
        names.plan().update_followers(names.now_ms());
    }
}
