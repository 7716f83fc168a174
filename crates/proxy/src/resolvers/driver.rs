//! Asks what the plan says is due: one task for the plan, one for each question to
//! a server, on the side thread. What answers come to goes to the servers of the
//! newest tree.

use super::exchange::Exchange;
use super::follow;
use crate::health::Notice;
use crate::runtime::Runtime;
use aws_lc_rs::rand;
use model::config::Config;
use model::names::plan::Due;
use model::names::{Key, Names};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

/// Most questions that are under way at one time; each has a socket.
const EXCHANGES_MAX: usize = 512;
/// Of these, how many there may be before names that only rules ask for wait: who
/// names hosts whose servers are silent does not keep ours from being followed.
const EXCHANGES_OF_RULES_MAX: usize = EXCHANGES_MAX / 2;
/// How long it waits for one of them to end before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Most that the plan waits where nothing is due; whatever changes wakes it.
const IDLE: Duration = Duration::from_secs(3600);

/// The names that are followed; dropping it ends that.
#[derive(Debug)]
pub struct Following {
    names: &'static Names,
    task: AbortHandle,
}

impl Following {
    /// Goes on with another tree, which must be installed. May be called on any
    /// thread.
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

/// Follows the names of the newest tree, which must be installed, on the Tokio
/// runtime of this thread.
pub fn start(runtime: &'static Runtime, notice: Notice) -> Following {
    let names = &runtime.names;
    let following = Following {
        names,
        task: tokio::spawn(run(names, notice)).abort_handle(),
    };
    following.change(&runtime.config());
    following
}

async fn run(names: &'static Names, notice: Notice) {
    // Its end ends those that run.
    let mut exchanges = JoinSet::new();
    loop {
        while exchanges.try_join_next().is_some() {}
        while exchanges.len() < EXCHANGES_MAX {
            let rules_too = exchanges.len() < EXCHANGES_OF_RULES_MAX;
            let begun = names.plan().begin(names.now_ms(), rules_too);
            let Some((key, due)) = begun else { break };
            match due {
                Some(due) => ask(names, &notice, due, &mut exchanges),
                // It ended in silence.
                None => conclude(names, &notice, &key),
            }
        }
        let next = names.plan().next_ms();
        let due = next.map(|ms| Instant::from_std(names.began) + Duration::from_millis(ms));
        let until = match due {
            // One of those that run ends, and wakes this.
            _ if exchanges.len() >= EXCHANGES_MAX => Instant::now() + IDLE,
            // Names that are due may wait for others.
            Some(due) if exchanges.len() >= EXCHANGES_OF_RULES_MAX => {
                due.max(Instant::now() + LOOK_AGAIN)
            }
            Some(due) => due,
            None => Instant::now() + IDLE,
        };
        // Whichever came, all is looked at again.
        let _ = timeout_at(until, names.changed.notified()).await;
    }
}

/// An id that nobody can guess.
fn id() -> u16 {
    let mut bytes = [0; 2];
    // It fails only where the system gives no randomness at all; the port is
    // still one that nobody knows.
    let _ = rand::fill(&mut bytes);
    u16::from_be_bytes(bytes)
}

/// Puts a question to all servers of its section.
fn ask(names: &'static Names, notice: &Notice, due: Due, exchanges: &mut JoinSet<()>) {
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
            let came = (&outcome, events);
            let (next, ended) = names
                .plan()
                .answered(&key, (round, at), came, names.now_ms());
            if let Some(next) = next {
                // The plan's task has the sockets.
                names.plan().again(next);
            }
            if ended {
                conclude(names, &notice, &key);
            }
            names.changed.notify_one();
        });
    }
}

/// A name's resolution came to an end for now: those who want it are told.
fn conclude(names: &'static Names, notice: &Notice, key: &Key) {
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
        names.plan().follow_again(names.now_ms());
    }
}
