//! Connects the control role to its supervisor and, by direct channels, to parts: sends messages,
//! assigns responses to requests, and queues notifications for the role. A part that has a direct
//! channel keeps its leases when the supervisor has died or does not respond.

use super::channel::AsyncChannel;
use super::news::NewsQueue;
use cluster::machine::News;
use cluster::message::ControlMessage as OfCluster;
use part::SharedFd;
use part::channel::{Channel, ChannelError, Received};
use part::lock;
use part::role::{PartMessage, SupervisorMessage};
use part::versions;
use part::voice::write_error;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

const WAITING_MAX: usize = 64;
const PARTS_MAX: usize = 16;
/// Time without a message from the supervisor after which the role assumes that it does not forward
/// messages either.
const SILENT_MAX: Duration = Duration::from_secs(4);

/// The tasks that wait for a response, by the numbers of their requests.
struct PendingResponses {
    next: u64,
    open: HashMap<u64, oneshot::Sender<Received>>,
}

/// Direct channel to a part. Dropping the value closes the channel, for example when the part's
/// next process offers another one.
struct DirectChannel {
    channel: Arc<AsyncChannel>,
    _closes: oneshot::Sender<()>,
}

/// The channels, and the tasks that wait for their messages.
pub struct SupervisorLink {
    channel: AsyncChannel,
    parts: Mutex<BTreeMap<String, DirectChannel>>,
    waiting: Mutex<PendingResponses>,
    news: NewsQueue,
    orphaned_at: Mutex<Option<Instant>>,
    /// A candidate version is served: the role ends at once when the supervisor dies.
    pub has_candidate: AtomicBool,
    lost: watch::Sender<bool>,
    /// Time of the supervisor's last message, and whether its silence has been reported.
    heard_at: Mutex<(Instant, bool)>,
}

impl SupervisorLink {
    /// Registers the channel with the Tokio runtime that calls this.
    pub fn new(channel: Channel) -> io::Result<SupervisorLink> {
        Ok(SupervisorLink {
            channel: AsyncChannel::new(channel)?,
            parts: Mutex::default(),
            // Starts the request numbers with the process ID: the supervisor may still respond to
            // requests of a previous control role.
            waiting: Mutex::new(PendingResponses {
                next: u64::from(std::process::id()) << 32,
                open: HashMap::new(),
            }),
            news: NewsQueue::default(),
            orphaned_at: Mutex::default(),
            has_candidate: AtomicBool::new(false),
            lost: watch::Sender::new(false),
            heard_at: Mutex::new((Instant::now(), false)),
        })
    }

    /// Returns whether messages reach a part: directly, or through the supervisor. The supervisor
    /// requests a heartbeat each second ([`part::heart`]), so a longer silence means that it is
    /// stopped or hangs.
    pub fn reaches(&self, part: &str) -> bool {
        if lock(&self.parts).contains_key(part) {
            return true;
        }
        let (at, is_reported) = &mut *lock(&self.heard_at);
        let is_silent = self.is_orphaned() || at.elapsed() > SILENT_MAX;
        if is_silent && !std::mem::replace(is_reported, true) {
            write_error(
                "evenkeel: cluster: the supervisor of this member does not respond: leases are renewed only for roles that \
                 have a direct channel, so that another node can take over the others\n",
            );
        }
        !is_silent
    }

    pub fn is_orphaned(&self) -> bool {
        lock(&self.orphaned_at).is_some()
    }

    /// Returns the time since the supervisor died, or zero while it is alive.
    pub fn orphaned_for(&self) -> Duration {
        lock(&self.orphaned_at).map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// Waits until [`SupervisorLink::end`] is called: the supervisor has died, and no part needs
    /// this role.
    pub async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // Ignores the error of a dropped sender: the sender lives as long as this object.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    pub async fn news(&self) -> News {
        self.news.next().await
    }

    /// Sends a message to the supervisor.
    pub fn send_message(
        &self,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) -> Result<(), ChannelError> {
        self.channel.send(0, message, descriptors)
    }

    /// Sends a message to a part: through the supervisor, which stores it for a part that starts
    /// later, and over the direct channel, if there is one.
    pub fn send_to_part(&self, message: PartMessage) {
        let part = message.part.clone();
        let message = SupervisorMessage::Part(Box::new(message));
        {
            let parts = &mut *lock(&self.parts);
            let is_lost = |direct: &DirectChannel| direct.channel.send(0, &message, &[]).is_err();
            // Closes the direct channel of a part that has stopped reading. The part gets the
            // current state over its next channel.
            if parts.get(&part).is_some_and(is_lost) {
                parts.remove(&part);
            }
        }
        let _ = self.send_message(&message, &[]);
    }

    pub fn send_reply(&self, ask: u64, message: &SupervisorMessage) {
        self.answer_with(ask, message, &[]);
    }

    pub fn answer_with(&self, ask: u64, message: &SupervisorMessage, descriptors: &[SharedFd]) {
        let _ = self.channel.send(ask, message, descriptors);
    }

    /// Sends a request to the supervisor and waits for the response. Returns None if the supervisor
    /// has ended or too many requests are pending.
    pub async fn ask(
        &self,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) -> Option<Received> {
        let (give, take) = oneshot::channel();
        let ask = self.waits(give)?;
        let sent = self.channel.send(ask, message, descriptors);
        if sent.is_err() {
            lock(&self.waiting).open.remove(&ask);
        }
        take.await.ok()
    }

    /// Registers the receiver of a response and returns the number for the request; None if
    /// [`WAITING_MAX`] requests are pending.
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

    /// Exchanges messages with the supervisor until it has died. Then ends the role if a candidate
    /// is served or no part has a direct channel. Otherwise the role continues until the last
    /// direct channel closes: each part closes its channel when another supervisor adopts it.
    pub async fn read(link: Arc<SupervisorLink>) {
        let receive = |received| link.dispatch_received(received);
        while link.channel.exchange(receive).await.is_ok() {}
        *lock(&link.orphaned_at) = Some(Instant::now());
        lock(&link.waiting).open.clear();
        if link.has_candidate.load(Ordering::Relaxed) {
            lock(&link.parts).clear();
        }
        let left: Vec<String> = lock(&link.parts).keys().cloned().collect();
        if left.is_empty() {
            link.end();
        } else {
            write_error(&format!(
                "evenkeel: cluster: the supervisor of this member has ended: the leases of {} are renewed until another \
                 one starts\n",
                left.join(", ")
            ));
        }
    }

    pub fn end(&self) {
        self.lost.send_replace(true);
        self.publish_news(News::Stop);
    }

    fn connect_part(self: &Arc<Self>, part: String, descriptors: Vec<OwnedFd>) {
        let descriptor = descriptors.into_iter().next();
        let channel = descriptor.and_then(|descriptor| Channel::new(descriptor).ok());
        let Some(Ok(channel)) = channel.map(AsyncChannel::new) else {
            return;
        };
        let channel = Arc::new(channel);
        let (_closes, mut closed) = oneshot::channel();
        let direct = DirectChannel {
            channel: Arc::clone(&channel),
            _closes,
        };
        {
            let parts = &mut *lock(&self.parts);
            if parts.len() >= PARTS_MAX && !parts.contains_key(&part) {
                return;
            }
            parts.insert(part.clone(), direct);
        }
        // Confirms the channel: the part uses it from this response on.
        let bytes = Vec::new();
        let _ = channel.send(0, &SupervisorMessage::Answer { bytes }, &[]);
        self.publish_news(News::Connected);
        let link = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let receive = |received: Received| {
                    if let SupervisorMessage::Part(message) = received.message {
                        link.receive_demand(&part, &message);
                    }
                };
                tokio::select! {
                    biased;
                    // Ends this task if the part opened another channel: messages of the replaced
                    // process are not read any more.
                    _ = &mut closed => break,
                    exchanged = channel.exchange(receive) => if exchanged.is_err() {
                        break;
                    },
                }
            }
            let is_last = {
                let parts = &mut *lock(&link.parts);
                // Removes the part's entry only if it still is this channel: the part may have
                // opened another.
                if parts
                    .get(&part)
                    .is_some_and(|one| Arc::ptr_eq(&one.channel, &channel))
                {
                    parts.remove(&part);
                }
                parts.is_empty()
            };
            if is_last && link.is_orphaned() {
                link.end();
            }
        });
    }

    /// Handles a message from a direct channel. A part can send heartbeats and request leases only
    /// in its own name.
    fn receive_demand(&self, from: &str, message: &PartMessage) {
        match message.read() {
            Some(OfCluster::Wants { part, leases }) if part == from => {
                let leases = leases.0;
                self.publish_news(News::WantsLeases { part, leases });
            }
            Some(OfCluster::Heartbeat { part }) if part == from => {
                self.publish_news(News::Heartbeat { part });
            }
            _ => {}
        }
    }

    fn dispatch_received(self: &Arc<Self>, received: Received) {
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
            SupervisorMessage::WentBack { words } => {
                self.has_candidate.store(false, Ordering::Relaxed);
                self.publish_news(News::WentBack { words });
            }
            SupervisorMessage::Part(message) if versions::is_envelope(&message) => {
                self.hear_connection(received.ask, received.descriptors);
            }
            SupervisorMessage::Part(message) => {
                self.hear_part(received.ask, &message, received.descriptors);
            }
            SupervisorMessage::Gone { part } => {
                let leases = Vec::new();
                self.publish_news(News::WantsLeases { part, leases });
            }
            SupervisorMessage::Stop(_) => self.publish_news(News::Stop),
            SupervisorMessage::TellReport { .. } => {
                self.publish_news(News::Reports { ask: received.ask })
            }
            SupervisorMessage::TellPulse => {
                // Ignores a failure: the supervisor that requested the heartbeat has ended.
                let _ = self.send_message(&SupervisorMessage::Pulse, &[]);
            }
            _ => {}
        }
    }

    fn hear_part(self: &Arc<Self>, ask: u64, message: &PartMessage, descriptors: Vec<OwnedFd>) {
        match message.read() {
            // Ignores messages through the supervisor from a part with a direct channel: they may
            // be delayed copies of what the part sent directly.
            Some(OfCluster::Wants { part, .. } | OfCluster::Heartbeat { part })
                if lock(&self.parts).contains_key(&part) => {}
            Some(OfCluster::Wants { part, leases }) => {
                let leases = leases.0;
                self.publish_news(News::WantsLeases { part, leases });
            }
            Some(OfCluster::Heartbeat { part }) => self.publish_news(News::Heartbeat { part }),
            Some(OfCluster::Connect { part }) => self.connect_part(part, descriptors),
            Some(OfCluster::Record(record)) => self.publish_news(News::Records { ask, record }),
            None => {
                let words = "the control role does not know this message".to_owned();
                let missing = true;
                self.send_reply(ask, &SupervisorMessage::Nobody { words, missing });
            }
        }
    }

    fn hear_connection(&self, ask: u64, descriptors: Vec<OwnedFd>) {
        if let Some(connection) = descriptors.into_iter().next() {
            self.publish_news(News::Versions { connection });
        }
        let bytes = Vec::new();
        self.send_reply(ask, &SupervisorMessage::Answer { bytes });
    }

    fn publish_news(&self, news: News) {
        let Err(refused) = self.news.push(news) else {
            return;
        };
        // Refuses requests with a response. A full queue means that the role hangs and is about to
        // be killed.
        if let News::Records { ask, .. } | News::Reports { ask } = refused {
            let words = "the control role has too many requests: try again in a moment".to_owned();
            let missing = true;
            self.send_reply(ask, &SupervisorMessage::Nobody { words, missing });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::role::{WantedLease, WantedLeases};

    const ADDRESS: &str = "address";

    fn link() -> (Arc<SupervisorLink>, Channel) {
        let (supervisor, ours) = Channel::pair().unwrap();
        let link = SupervisorLink::new(Channel::new(ours).unwrap()).unwrap();
        (Arc::new(link), supervisor)
    }

    fn connect(link: &Arc<SupervisorLink>) -> Channel {
        let (part, ours) = Channel::pair().unwrap();
        link.connect_part(ADDRESS.to_owned(), vec![ours]);
        part
    }

    fn wants(rank: u32) -> SupervisorMessage {
        let lease = WantedLease {
            name: "address/www".to_owned(),
            rank,
            ..WantedLease::default()
        };
        let wants = OfCluster::Wants {
            part: ADDRESS.to_owned(),
            leases: WantedLeases(vec![lease]),
        };
        SupervisorMessage::Part(Box::new(wants.envelope()))
    }

    async fn receive(part: &mut Channel) -> Option<SupervisorMessage> {
        loop {
            match part.receive() {
                Ok(Some(received)) => return Some(received.message),
                Ok(None) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(_) => return None,
            }
        }
    }

    async fn next_rank(link: &SupervisorLink) -> u32 {
        loop {
            if let News::WantsLeases { leases, .. } = link.news().await {
                return leases.first().map_or(0, |lease| lease.rank);
            }
        }
    }

    #[tokio::test]
    async fn superseded_direct_channel_is_closed_and_ignored() {
        let (link, _supervisor) = link();
        let mut old = connect(&link);
        assert!(matches!(
            receive(&mut old).await,
            Some(SupervisorMessage::Answer { .. })
        ));
        old.send(&wants(1), &[]).unwrap();
        let mut new = connect(&link);
        assert!(receive(&mut old).await.is_none(), "still open");
        new.send(&wants(2), &[]).unwrap();
        assert_eq!(next_rank(&link).await, 2);
        // The end of the old channel has not ended the new one.
        assert!(matches!(
            receive(&mut new).await,
            Some(SupervisorMessage::Answer { .. })
        ));
        link.send_to_part(PartMessage::new(ADDRESS, 1, &7));
        assert!(matches!(
            receive(&mut new).await,
            Some(SupervisorMessage::Part(_))
        ));
        assert!(link.reaches(ADDRESS));
    }

    #[tokio::test]
    async fn part_that_does_not_read_loses_its_channel_instead_of_the_newest_state() {
        let (link, _supervisor) = link();
        let mut part = connect(&link);
        let mut sent = 0;
        while lock(&link.parts).contains_key(ADDRESS) {
            link.send_to_part(PartMessage::new(ADDRESS, 1, &sent));
            sent += 1;
            assert!(sent < 1_000_000, "no bound");
        }
        // The part learns that it needs another channel.
        while receive(&mut part).await.is_some() {}
        let mut again = connect(&link);
        assert!(matches!(
            receive(&mut again).await,
            Some(SupervisorMessage::Answer { .. })
        ));
    }
}
