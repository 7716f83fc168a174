//! Runs the connection of two nodes' boot roles, from the end of the handshake to its close: sends
//! leases and activities, or stores and confirms those of the other node. Reading and writing are
//! independent tasks, and neither waits for the other.

use super::BootNodeLinkState;
use super::frame::{self, HolderMessage, ReceiverMessage};
use super::keeper::LeaseCopyWrite;
use nodes::NodeConnectionError;
use nodes::frame::write;
use part::report::Moment;
use record::{Confirmation, OwnedCopyError};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

/// Time after which a silent node counts as down.
const SILENT: Duration = Duration::from_millis(2_000);
/// Interval of keep-alive messages.
const PING: Duration = Duration::from_millis(300);
/// Messages of one network that are sent before those of another network.
const TURN_MAX: usize = 32;
/// Limit of confirmations that wait. A connection with more is closed.
const WAITING_MAX: usize = 2_048;

/// Interval of activity reports to a node, milliseconds.
const REPORT_MS: u64 = 200;

/// Networks that are sent to a node, with the numbers of the connection.
type LinkedNetworks = Mutex<BTreeMap<String, (crate::site::SharedNetworkState, u64)>>;

fn now_ms() -> u64 {
    Moment::now().boottime_ms
}

/// Sends the leases of this node to another one until the connection ends.
pub(super) async fn send_leases<S>(
    shared: &BootNodeLinkState,
    node: &str,
    stream: S,
) -> NodeConnectionError
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (linked, reads) = (LinkedNetworks::default(), AtomicBool::new(false));
    let (mut from, mut to) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = receive_confirmations(&linked, &reads, node, &mut from) => ended,
        ended = send_messages(shared, &linked, &reads, node, &mut to) => ended,
    };
    for (site, link) in super::lock(&linked).values() {
        site.lock().unlinked(node, *link);
    }
    ended.err().unwrap_or(NodeConnectionError::Silent)
}

async fn receive_confirmations(
    linked: &LinkedNetworks,
    reads: &AtomicBool,
    node: &str,
    from: &mut (impl AsyncRead + Unpin),
) -> Result<(), NodeConnectionError> {
    loop {
        let heard = timeout(SILENT, frame::read(from)).await;
        let heard: ReceiverMessage = heard.map_err(|_| NodeConnectionError::Silent)??;
        let ReceiverMessage::Known {
            network,
            part,
            epoch,
            number,
            reads_activities,
        } = heard
        else {
            continue;
        };
        reads.store(reads_activities, Ordering::Relaxed);
        let of = super::lock(linked).get(&network).cloned();
        if let Some((site, link)) = of {
            let mut site = site.lock();
            let confirmation = Confirmation {
                part,
                epoch,
                number,
            };
            site.confirmed(node, link, confirmation, now_ms());
        }
    }
}

async fn send_messages(
    shared: &BootNodeLinkState,
    linked: &LinkedNetworks,
    reads: &AtomicBool,
    node: &str,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<(), NodeConnectionError> {
    let mut bell = shared.bell.subscribe();
    let mut reported = ReportedActivity::default();
    loop {
        bell.borrow_and_update();
        let networks = shared.networks();
        {
            let mut linked = super::lock(linked);
            linked.retain(|name, _| networks.contains_key(name));
            for (name, network) in &networks {
                let is_same =
                    |(site, _): &(crate::site::SharedNetworkState, u64)| site.is(&network.site);
                if !linked.get(name).is_some_and(is_same) {
                    let link = network.site.lock().linked(node, now_ms());
                    linked.insert(name.clone(), (network.site.clone(), link));
                }
            }
        }
        for (name, network) in &networks {
            for count in 0.. {
                let told = network.site.lock().next_copy_message(node);
                let Some(told) = told else { break };
                let said = HolderMessage::Told {
                    network: name.clone(),
                    told,
                };
                let wrote = timeout(SILENT, write(to, &said)).await;
                wrote.map_err(|_| NodeConnectionError::Silent)??;
                if count >= TURN_MAX {
                    // The loop sends the rest, because the notifier is triggered again.
                    shared.notify_connections();
                    break;
                }
            }
        }
        if reads.load(Ordering::Relaxed) {
            for said in reported.next(linked) {
                let wrote = timeout(SILENT, write(to, &said)).await;
                wrote.map_err(|_| NodeConnectionError::Silent)??;
            }
        }
        let last = timeout(SILENT, async {
            write(to, &HolderMessage::Ping).await?;
            to.flush().await.map_err(NodeConnectionError::from)
        });
        last.await.map_err(|_| NodeConnectionError::Silent)??;
        if let Ok(Err(_)) = timeout(PING, bell.changed()).await {
            return Ok(());
        }
    }
}

/// Progress of the activity reports to a node: operators see them there, and nothing waits for
/// them.
#[derive(Default)]
struct ReportedActivity {
    /// By network: the number of the connection, and the number of the last reported step.
    until: BTreeMap<String, (u64, u64)>,
    /// Time of the last report: lease changes wake the link far more often than operators look.
    at_ms: u64,
}

impl ReportedActivity {
    fn next(&mut self, linked: &LinkedNetworks) -> Vec<HolderMessage> {
        let now_ms = now_ms();
        if now_ms.saturating_sub(self.at_ms) < REPORT_MS {
            return Vec::new();
        }
        self.at_ms = now_ms;
        let linked = super::lock(linked).clone();
        self.until.retain(|name, _| linked.contains_key(name));
        let said = linked.into_iter().filter_map(|(network, (site, link))| {
            let before = self.until.get(&network);
            let after = before
                .filter(|(of, _)| *of == link)
                .map_or(0, |(_, after)| *after);
            let (number, activities) = site.lock().activities(after, now_ms);
            self.until.insert(network.clone(), (link, number));
            (!activities.is_empty()).then_some(HolderMessage::Did {
                network,
                activities,
            })
        });
        said.collect()
    }
}

/// Result of a message: a confirmation, or the reason for which the connection ends.
type LeaseCopyResult = Result<ReceiverMessage, OwnedCopyError>;

/// Stores the leases that another node sends until the connection ends.
pub(super) async fn receive_leases<S>(
    shared: &BootNodeLinkState,
    node: &str,
    stream: S,
) -> Result<(), NodeConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (outcomes, known) = mpsc::channel(WAITING_MAX);
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::select! {
        ended = receive_messages(shared, node, &mut from, &outcomes) => ended,
        ended = send_confirmations(known, &mut to) => ended,
    }
}

async fn receive_messages(
    shared: &BootNodeLinkState,
    node: &str,
    from: &mut (impl AsyncRead + Unpin),
    outcomes: &Sender<LeaseCopyResult>,
) -> Result<(), NodeConnectionError> {
    loop {
        let said = timeout(SILENT, frame::read(from)).await;
        let said: HolderMessage = said.map_err(|_| NodeConnectionError::Silent)??;
        let networks = shared.networks();
        let (network, told) = match said {
            HolderMessage::Told { network, told } => (network, told),
            HolderMessage::Did {
                network,
                activities,
            } => {
                if let Some(one) = networks.get(&network) {
                    one.site
                        .lock()
                        .store_activities(node, activities, Moment::now());
                }
                continue;
            }
            HolderMessage::Ping => continue,
        };
        let keeper = networks.get(&network).map(|one| one.keeper.clone());
        // Drops a message for a network that this node does not have yet: the holder sends it again
        // later.
        let Some(keeper) = keeper else {
            continue;
        };
        let known = ReceiverMessage::Known {
            network,
            part: told.part,
            epoch: told.epoch,
            number: told.number,
            reads_activities: true,
        };
        let outcomes = outcomes.clone();
        let mut job = LeaseCopyWrite {
            node: node.to_owned(),
            told,
            done: Box::new(move |done| {
                // If the confirmation cannot be queued, the connection ends.
                let _ = outcomes.try_send(done.map(|()| known));
            }),
        };
        // Waits for room in the queue of a disk that is slower than the network. The holder waits
        // meanwhile, or continues without this node.
        while let Err(again) = keeper.take(job) {
            job = again;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn send_confirmations(
    mut known: Receiver<LeaseCopyResult>,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<(), NodeConnectionError> {
    loop {
        let mut next = match timeout(PING, known.recv()).await {
            Ok(Some(outcome)) => Some(outcome),
            Ok(None) => return Ok(()),
            Err(_) => {
                write(to, &ReceiverMessage::Ping).await?;
                None
            }
        };
        while let Some(outcome) = next {
            match outcome {
                Ok(known) => write(to, &known).await?,
                // Sends no confirmation: the part has another holder, which expects none.
                Err(OwnedCopyError::Old) => {}
                Err(refused) => return Err(NodeConnectionError::Refused(refused.to_string())),
            }
            next = known.try_recv().ok();
        }
        let flushed = timeout(SILENT, to.flush()).await;
        flushed.map_err(|_| NodeConnectionError::Silent)??;
    }
}
