//! Channel to the supervisor in a Tokio process: requests with their responses, and the
//! supervisor's notifications.

use cluster::machine::News;
use cluster::message::ControlMessage as OfCluster;
use part::SharedFd;
use part::channel::{Channel, ChannelError, Received};
use part::lock;
use part::role::{PartMessage, SupervisorMessage};
use part::versions;
use part::voice::write_error;
use rustix::event::PollFlags;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// News that wait to be heard; of more, the newest are lost.
const NEWS_MAX: usize = 256;
/// Questions that wait at one time.
const WAITING_MAX: usize = 64;
/// Minimum pause of the channel: the kernel's buffer is full.
const REST: Duration = Duration::from_millis(5);
/// After how long a supervisor that says nothing passes on nothing either.
const SILENT_MAX: Duration = Duration::from_secs(4);

/// The tasks that wait for a response, by the numbers of their requests.
struct PendingResponses {
    next: u64,
    open: HashMap<u64, oneshot::Sender<Received>>,
}

/// The channel, and those who wait for something that comes by it.
pub struct SupervisorLink {
    channel: Mutex<Channel>,
    ready: AsyncFd<OwnedFd>,
    /// Something is to be sent.
    send_ready: Notify,
    waiting: Mutex<PendingResponses>,
    news: mpsc::Sender<News>,
    news_receiver: tokio::sync::Mutex<mpsc::Receiver<News>>,
    lost: watch::Sender<bool>,
    /// Time of the supervisor's last message, and whether its silence has been reported.
    heard_at: Mutex<(Instant, bool)>,
}

impl SupervisorLink {
    /// On a runtime of Tokio.
    pub fn new(channel: Channel) -> io::Result<SupervisorLink> {
        let same = channel.as_fd().try_clone_to_owned()?;
        let (news, heard) = mpsc::channel(NEWS_MAX);
        Ok(SupervisorLink {
            channel: Mutex::new(channel),
            // SAFETY: the descriptor is owned by the value that watches it, is the same
            // for all of its life, and is closed behind that.
            ready: unsafe { AsyncFd::register(same) }.map_err(io::Error::from)?,
            send_ready: Notify::new(),
            // A number of its own for each process: the supervisor may still answer requests of a
            // previous role.
            waiting: Mutex::new(PendingResponses {
                next: u64::from(std::process::id()) << 32,
                open: HashMap::new(),
            }),
            news,
            news_receiver: tokio::sync::Mutex::new(heard),
            lost: watch::Sender::new(false),
            heard_at: Mutex::new((Instant::now(), false)),
        })
    }

    /// Returns whether the supervisor passes messages on. It requests a heartbeat each second
    /// ([`part::heart`]), so a longer silence means that it is stopped or hangs.
    pub fn is_supervisor_responsive(&self) -> bool {
        let (at, is_reported) = &mut *lock(&self.heard_at);
        let is_silent = at.elapsed() > SILENT_MAX;
        if is_silent && !std::mem::replace(is_reported, true) {
            write_error(
                "evenkeel: cluster: the supervisor of this member does not respond: leases are not renewed until it does, so \
                 that another node can take over\n",
            );
        }
        !is_silent
    }

    /// Until the supervisor has gone.
    pub async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // The sender lives as long as this object.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Returns the next unrequested message of the supervisor.
    pub async fn news(&self) -> News {
        let mut heard = self.news_receiver.lock().await;
        heard.recv().await.unwrap_or(News::Stop)
    }

    /// Sends a message. Without a supervisor it is lost.
    pub fn send_message(
        &self,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) -> Result<(), ChannelError> {
        let sent = lock(&self.channel).send(message, descriptors);
        self.send_ready.notify_one();
        sent
    }

    /// Answers a question. Without a supervisor nobody waits for it.
    pub fn send_reply(&self, ask: u64, message: &SupervisorMessage) {
        self.answer_with(ask, message, &[]);
    }

    /// Sends a response with descriptors.
    pub fn answer_with(&self, ask: u64, message: &SupervisorMessage, descriptors: &[SharedFd]) {
        let _ = lock(&self.channel).send_numbered(ask, message, descriptors);
        self.send_ready.notify_one();
    }

    /// Asks for something, and waits for the answer; None where nobody gives one.
    pub async fn ask(
        &self,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) -> Option<Received> {
        let (give, take) = oneshot::channel();
        let ask = self.waits(give)?;
        let sent = lock(&self.channel).send_numbered(ask, message, descriptors);
        self.send_ready.notify_one();
        if sent.is_err() {
            lock(&self.waiting).open.remove(&ask);
        }
        take.await.ok()
    }

    /// The number of a question whose answer is waited for from now on; None where too many
    /// are.
    fn waits(&self, one: oneshot::Sender<Received>) -> Option<u64> {
        let waiting = &mut *lock(&self.waiting);
        waiting.open.retain(|_, one| !one.is_closed());
        if waiting.open.len() >= WAITING_MAX {
            return None;
        }
        waiting.next += 1;
        waiting.open.insert(waiting.next, one);
        Some(waiting.next)
    }

    /// Reads and sends until the supervisor has gone.
    pub async fn read(link: std::sync::Arc<SupervisorLink>) {
        while link.exchange_messages().await.is_ok() {}
        link.lost.send_replace(true);
        lock(&link.waiting).open.clear();
        // A failure means that the role ends already.
        let _ = link.news.try_send(News::Stop);
    }

    async fn exchange_messages(&self) -> Result<(), ChannelError> {
        loop {
            let received = {
                let mut channel = lock(&self.channel);
                channel.flush()?;
                channel.receive()?
            };
            match received {
                Some(received) => self.dispatch_received(received),
                None => break,
            }
        }
        let (interest, rests) = {
            let channel = lock(&self.channel);
            let writes = channel.interest().contains(PollFlags::OUT);
            let interest = if writes {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            (interest, channel.next_send_attempt().is_some())
        };
        tokio::select! {
            ready = self.ready.ready(interest) => {
                ready?.clear_ready_matching(Ready::ALL);
            }
            () = self.send_ready.notified() => {}
            () = tokio::time::sleep(REST), if rests => {}
        }
        Ok(())
    }

    fn dispatch_received(&self, received: Received) {
        *lock(&self.heard_at) = (Instant::now(), false);
        match received.message {
            SupervisorMessage::Verdict { .. }
            | SupervisorMessage::Answer { .. }
            | SupervisorMessage::Nobody { .. }
            | SupervisorMessage::Unknown { .. } => {
                let waits = lock(&self.waiting).open.remove(&received.ask);
                if let Some(waits) = waits {
                    let _ = waits.send(received);
                }
            }
            SupervisorMessage::WentBack { words } => self.publish_news(News::WentBack { words }),
            SupervisorMessage::Part(message) if versions::is_envelope(&message) => {
                self.hear_connection(received.ask, received.descriptors);
            }
            SupervisorMessage::Part(message) => self.hear_part(received.ask, &message),
            SupervisorMessage::Gone { part } => {
                let leases = Vec::new();
                self.publish_news(News::WantsLeases { part, leases });
            }
            SupervisorMessage::Stop(_) => self.publish_news(News::Stop),
            SupervisorMessage::TellReport { .. } => {
                self.publish_news(News::Reports { ask: received.ask })
            }
            SupervisorMessage::TellPulse => {
                // Without a supervisor there is no receiver.
                let _ = self.send_message(&SupervisorMessage::Pulse, &[]);
            }
            _ => {}
        }
    }

    fn hear_part(&self, ask: u64, message: &PartMessage) {
        match message.read() {
            Some(OfCluster::Wants { part, leases }) => {
                let leases = leases.0;
                self.publish_news(News::WantsLeases { part, leases });
            }
            Some(OfCluster::Heartbeat { part }) => self.publish_news(News::Heartbeat { part }),
            Some(OfCluster::Record(record)) => self.publish_news(News::Records { ask, record }),
            None => {
                let words = "the control role does not know this message".to_owned();
                let missing = true;
                self.send_reply(ask, &SupervisorMessage::Nobody { words, missing });
            }
        }
    }

    /// A part asks about versions.
    fn hear_connection(&self, ask: u64, descriptors: Vec<OwnedFd>) {
        if let Some(connection) = descriptors.into_iter().next() {
            self.publish_news(News::Versions { connection });
        }
        let bytes = Vec::new();
        self.send_reply(ask, &SupervisorMessage::Answer { bytes });
    }

    fn publish_news(&self, news: News) {
        // A full queue means that the role hangs and is about to be killed.
        let _ = self.news.try_send(news);
    }
}
