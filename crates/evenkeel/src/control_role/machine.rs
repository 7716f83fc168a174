//! The machine that [`cluster::role`] has: its supervisor, asked over the channel. What
//! a version holds goes there in sealed memory files and in no message.

use super::link::Link;
use address::message::Message as OfAddress;
use cluster::file_set::FileSet;
use cluster::machine::{Health, Held, Machine, News, Verdict};
use part::role::{HeldLease, HeldLeases, Message, PartMessage};
use part::{Shared, memory};
use proxy::message::Message as OfProxy;
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

    async fn ask_with(&self, message: Message, set: &FileSet) -> Verdict {
        match sealed(set) {
            Ok(file) => self.ask(message, &[file]).await,
            Err(error) => refused(&format!("cannot pass the version on: {error}")),
        }
    }

    async fn ask(&self, message: Message, descriptors: &[Shared]) -> Verdict {
        let Some(told) = self.link.ask(&message, descriptors).await else {
            return refused("the supervisor did not respond");
        };
        let words = told
            .descriptors
            .first()
            .and_then(|fd| memory::text(fd).ok());
        match told.message {
            Message::Verdict { good, together } => Verdict {
                good,
                words: words.unwrap_or_default(),
                together,
            },
            _ => refused("the supervisor does not know this question"),
        }
    }

    /// Sends a message to another part of this machine. If it cannot be sent, the
    /// supervisor has ended, and the role ends with it.
    fn say(&self, message: PartMessage) {
        let _ = self.link.say(&Message::Part(Box::new(message)), &[]);
    }
}

fn refused(words: &str) -> Verdict {
    Verdict {
        good: false,
        words: words.to_owned(),
        together: false,
    }
}

fn sealed(set: &FileSet) -> io::Result<Shared> {
    let bytes = Zeroizing::new(set.encode());
    memory::create("evenkeel version", &bytes).map(Arc::new)
}

impl Machine for Supervised {
    async fn check(&self, set: Arc<FileSet>) -> Verdict {
        self.ask_with(Message::Check, &set).await
    }

    async fn serve(&self, set: Arc<FileSet>, trial: bool) -> Verdict {
        self.ask_with(Message::Serve { trial }, &set).await
    }

    async fn accept(&self) -> Verdict {
        self.ask(Message::Accept, &[]).await
    }

    async fn revert(&self) -> Verdict {
        self.ask(Message::Revert, &[]).await
    }

    async fn health(&self) -> Option<Health> {
        let question = Message::Part(Box::new(OfProxy::TellHealth.envelope()));
        let told = tokio::time::timeout(HEALTH_LIMIT, self.link.ask(&question, &[])).await;
        let file = told.ok().flatten()?.descriptors.into_iter().next()?;
        serde_json::from_slice(&memory::read(&file).ok()?).ok()
    }

    async fn hold(&self, leases: Vec<Held>) {
        let leases = leases.into_iter().map(|lease| HeldLease {
            name: lease.name,
            epoch: lease.epoch.0,
            until_ns: lease.until_ns,
        });
        self.say(OfAddress::Hold(HeldLeases(leases.collect())).envelope());
    }

    async fn hand_over(&self, name: String) {
        self.say(OfAddress::HandOverLease { name }.envelope());
    }

    async fn news(&self) -> News {
        self.link.news().await
    }
}
