//! The channel to the supervisor in a process that has Tokio: questions with their
//! answers, and what the supervisor tells by itself.

use crate::roles::channel::{Channel, ChannelError, Received};
use crate::roles::{Shared, memory};
use cluster::machine::{News, Verdict, Wish};
use part::role::Message;
use rustix::event::PollFlags;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// News that wait to be heard; of more, the newest are lost.
const NEWS_MAX: usize = 256;
/// Questions about health that wait at one time.
const HEALTH_MAX: usize = 16;
/// How long a rest of the channel is at least: the kernel holds too much on its way.
const REST: Duration = Duration::from_millis(5);

type Told = Option<Vec<u8>>;

#[derive(Default)]
struct Waiting {
    next: u64,
    verdicts: HashMap<u64, oneshot::Sender<Verdict>>,
    health: Vec<oneshot::Sender<Told>>,
}

/// The channel, and those who wait for something that comes by it.
pub struct Link {
    channel: Mutex<Channel>,
    ready: AsyncFd<OwnedFd>,
    /// Something is to be sent.
    sends: Notify,
    waiting: Mutex<Waiting>,
    news: mpsc::Sender<News>,
    heard: tokio::sync::Mutex<mpsc::Receiver<News>>,
    lost: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// On a runtime of Tokio.
    pub fn new(channel: Channel) -> io::Result<Link> {
        let same = channel.as_fd().try_clone_to_owned()?;
        let (news, heard) = mpsc::channel(NEWS_MAX);
        Ok(Link {
            channel: Mutex::new(channel),
            // SAFETY: the descriptor is owned by the value that watches it, is the same
            // for all of its life, and is closed behind that.
            ready: unsafe { AsyncFd::register(same) }.map_err(io::Error::from)?,
            sends: Notify::new(),
            // The supervisor may still answer what a role before this one asked.
            waiting: Mutex::new(Waiting {
                next: u64::from(std::process::id()) << 32,
                ..Waiting::default()
            }),
            news,
            heard: tokio::sync::Mutex::new(heard),
            lost: watch::Sender::new(false),
        })
    }

    /// Until the supervisor has gone.
    pub async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // Its sender lives as long as this.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// What the supervisor tells by itself next.
    pub async fn news(&self) -> News {
        let mut heard = self.heard.lock().await;
        heard.recv().await.unwrap_or(News::Stop)
    }

    /// Says something. Without a supervisor nobody hears it.
    pub fn say(&self, message: &Message, descriptors: &[Shared]) -> Result<(), ChannelError> {
        let sent = lock(&self.channel).send(message, descriptors);
        self.sends.notify_one();
        sent
    }

    /// Asks for something that is answered by a verdict.
    pub async fn ask(
        &self,
        message: impl FnOnce(u64) -> Message,
        descriptors: &[Shared],
    ) -> Verdict {
        let (give, take) = oneshot::channel();
        let ask = {
            let mut waiting = lock(&self.waiting);
            waiting.next += 1;
            let ask = waiting.next;
            waiting.verdicts.insert(ask, give);
            ask
        };
        if let Err(error) = self.say(&message(ask), descriptors) {
            lock(&self.waiting).verdicts.remove(&ask);
            return refused(&format!("the supervisor cannot be asked: {error}"));
        }
        take.await
            .unwrap_or_else(|_| refused("the supervisor did not answer"))
    }

    /// How well is served, as the proxy writes it.
    pub async fn health(&self) -> Told {
        let (give, take) = oneshot::channel();
        // One question that is on its way answers all who wait.
        if self.waits_for_health(give)? {
            self.say(&Message::TellHealth, &[]).ok()?;
        }
        take.await.ok().flatten()
    }

    /// Whether the one who waits from now on is the first; None where too many do.
    fn waits_for_health(&self, one: oneshot::Sender<Told>) -> Option<bool> {
        let waiting = &mut lock(&self.waiting).health;
        waiting.retain(|one| !one.is_closed());
        if waiting.len() >= HEALTH_MAX {
            return None;
        }
        waiting.push(one);
        Some(waiting.len() == 1)
    }

    /// Reads and sends until the supervisor has gone.
    pub async fn read(link: std::sync::Arc<Link>) {
        while link.turn().await.is_ok() {}
        link.lost.send_replace(true);
        let mut waiting = lock(&link.waiting);
        waiting.verdicts.clear();
        waiting.health.clear();
        // Nobody hears it where the role ends already.
        let _ = link.news.try_send(News::Stop);
    }

    async fn turn(&self) -> Result<(), ChannelError> {
        loop {
            let received = {
                let mut channel = lock(&self.channel);
                channel.flush()?;
                channel.receive()?
            };
            match received {
                Some(received) => self.hear(received),
                None => break,
            }
        }
        let (interest, rests) = {
            let channel = lock(&self.channel);
            let writes = channel.interest().contains(PollFlags::OUT);
            let interest = match writes {
                true => Interest::READABLE | Interest::WRITABLE,
                false => Interest::READABLE,
            };
            (interest, channel.rests_until().is_some())
        };
        tokio::select! {
            ready = self.ready.ready(interest) => {
                ready.map_err(ChannelError::System)?.clear_ready_matching(Ready::ALL);
            }
            () = self.sends.notified() => {}
            () = tokio::time::sleep(REST), if rests => {}
        }
        Ok(())
    }

    fn hear(&self, received: Received) {
        let first = received.descriptors.first();
        match received.message {
            Message::SetAnswer {
                ask,
                good,
                together,
            } => {
                let words = first.and_then(|fd| memory::text(fd).ok());
                let words = words.unwrap_or_default();
                if let Some(waits) = lock(&self.waiting).verdicts.remove(&ask) {
                    let _ = waits.send(Verdict {
                        good,
                        words,
                        together,
                    });
                }
            }
            Message::Health => {
                let told = first.and_then(|fd| memory::read(fd).ok());
                for waits in std::mem::take(&mut lock(&self.waiting).health) {
                    let _ = waits.send(told.clone());
                }
            }
            Message::WentBack { words } => self.tell(News::WentBack { words }),
            Message::WantsLeases(wanted) => {
                let wishes = wanted.into_iter().map(|lease| Wish {
                    name: lease.name,
                    rank: lease.rank,
                });
                self.tell(News::WantsLeases(wishes.collect()));
            }
            Message::StopControl => self.tell(News::Stop),
            Message::TellPulse => {
                // Without a supervisor nobody hears it.
                let _ = self.say(&Message::Pulse, &[]);
            }
            _ => {}
        }
    }

    fn tell(&self, news: News) {
        // A role that hears nothing for so long is about to be ended.
        let _ = self.news.try_send(news);
    }
}

fn refused(words: &str) -> Verdict {
    Verdict {
        good: false,
        words: words.to_owned(),
        together: false,
    }
}
