//! The machine that [`cluster::role`] has: its supervisor, asked over the channel. What
//! a version holds goes there in sealed memory files and in no message.

use super::link::Link;
use crate::roles::{Shared, memory};
use cluster::file_set::FileSet;
use cluster::machine::{Health, Held, Machine, News, Verdict};
use part::role::{HeldLease, Message};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long the proxy may take to say how it is.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// The machine, by its supervisor.
pub struct Supervised {
    link: Arc<Link>,
}

impl Supervised {
    /// At the other end of a link.
    pub fn new(link: Arc<Link>) -> Supervised {
        Supervised { link }
    }

    async fn ask_with(&self, set: &FileSet, message: impl FnOnce(u64) -> Message) -> Verdict {
        match sealed(set) {
            Ok(file) => self.link.ask(message, &[file]).await,
            Err(error) => Verdict {
                good: false,
                words: format!("the version cannot be handed over: {error}"),
                together: false,
            },
        }
    }
}

fn sealed(set: &FileSet) -> io::Result<Shared> {
    let bytes = Zeroizing::new(set.encode());
    memory::create("evenkeel version", &bytes).map(Arc::new)
}

impl Machine for Supervised {
    async fn check(&self, set: Arc<FileSet>) -> Verdict {
        self.ask_with(&set, |ask| Message::CheckSet { ask }).await
    }

    async fn serve(&self, set: Arc<FileSet>, trial: bool) -> Verdict {
        let message = |ask| Message::ServeSet { ask, trial };
        self.ask_with(&set, message).await
    }

    async fn accept(&self) -> Verdict {
        self.link.ask(|ask| Message::AcceptSet { ask }, &[]).await
    }

    async fn revert(&self) -> Verdict {
        self.link.ask(|ask| Message::RevertSet { ask }, &[]).await
    }

    async fn health(&self) -> Option<Health> {
        let told = tokio::time::timeout(HEALTH_LIMIT, self.link.health()).await;
        serde_json::from_slice(&told.ok().flatten()?).ok()
    }

    async fn hold(&self, leases: Vec<Held>) {
        let leases = leases.into_iter().map(|lease| HeldLease {
            name: lease.name,
            epoch: lease.epoch.0,
            until_ns: lease.until_ns,
        });
        // Whoever cannot be told has gone, and the role ends with that.
        let _ = (self.link).say(&Message::HoldLeases(leases.collect()), &[]);
    }

    async fn hand_over(&self, name: String) {
        let _ = self.link.say(&Message::HandOverLease { name }, &[]);
    }

    async fn news(&self) -> News {
        self.link.news().await
    }
}
