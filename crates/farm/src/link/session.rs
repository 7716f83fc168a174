//! Serves one connection to the farm role of another node, from the greetings to its end. Reading
//! and writing are independent: neither waits for the other.

use super::LinkState;
use super::frame::{self, FarmLinkError, LinkFrame};
use crate::directory::DirectoryId;
use crate::site::FarmState;
use nodes::frame::write;
use part::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Silence after which a node counts as gone. Also the timeout of a write.
pub(super) const SILENT: Duration = Duration::from_millis(1_000);
const PING: Duration = Duration::from_millis(200);
/// Bytes of one farm's messages after which the next farm gets its turn.
const TURN_BYTES: usize = 64 << 10;

struct Session<'a> {
    shared: &'a LinkState,
    node: &'a str,
    inner: Mutex<LinkSessionState>,
}

#[derive(Default)]
struct LinkSessionState {
    knows: bool,
    theirs: BTreeMap<String, DirectoryId>,
    /// Farms that both nodes have: the local farm, and the directory of the other node.
    linked: BTreeMap<String, (Arc<FarmState>, DirectoryId)>,
}

pub(super) async fn run<S>(shared: &LinkState, node: &str, stream: S) -> FarmLinkError
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let session = Session {
        shared,
        node,
        inner: Mutex::default(),
    };
    let (mut from, mut to) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = session.reads(&mut from) => ended,
        ended = session.writes(&mut to) => ended,
    };
    let broken = ended.err().unwrap_or(FarmLinkError::Left);
    let why = broken.to_string();
    for (site, _) in lock(&session.inner).linked.values() {
        match broken {
            FarmLinkError::Left => site.left(node, &why),
            _ => site.broke(node, &why),
        }
    }
    broken
}

impl Session<'_> {
    /// Links the farms that both nodes have now, and unlinks the others.
    fn reconcile(&self) {
        let sites = lock(&self.shared.sites).clone();
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        if !inner.knows {
            return;
        }
        inner.linked.retain(|name, (site, theirs)| {
            let is_here = sites.get(name).is_some_and(|one| Arc::ptr_eq(one, site));
            let stays = is_here && inner.theirs.get(name) == Some(theirs);
            if !stays {
                site.left(self.node, "it has no such farm");
            }
            stays
        });
        for (name, site) in sites {
            match inner.theirs.get(&name) {
                Some(theirs) if !inner.linked.contains_key(&name) => {
                    site.linked(self.node, *theirs);
                    inner.linked.insert(name, (site, *theirs));
                }
                Some(_) => {}
                None => site.left(self.node, "it has no such farm"),
            }
        }
    }

    async fn reads(&self, from: &mut (impl AsyncRead + Unpin)) -> Result<(), FarmLinkError> {
        loop {
            let frame = timeout(SILENT, frame::read(from)).await;
            match frame.map_err(|_| FarmLinkError::silent())?? {
                LinkFrame::Farms(farms) => {
                    {
                        let mut inner = lock(&self.inner);
                        inner.theirs = farms.into_iter().collect();
                        inner.knows = true;
                    }
                    self.reconcile();
                }
                LinkFrame::Farm { from, to, message } => {
                    // Drops a message to a previous directory of this farm, which is not for its
                    // successor.
                    if let Some(site) = self.site_of(from).filter(|site| site.origin() == to) {
                        let handled = site.handle(self.node, from, message);
                        handled.map_err(|error| FarmLinkError::refused(error.to_string()))?;
                    }
                }
                LinkFrame::Ping => {}
                LinkFrame::Leave => return Err(FarmLinkError::Left),
            }
        }
    }

    fn site_of(&self, origin: DirectoryId) -> Option<Arc<FarmState>> {
        let inner = lock(&self.inner);
        let mut linked = inner.linked.values();
        let found = linked.find(|(_, theirs)| *theirs == origin);
        found.map(|(site, _)| Arc::clone(site))
    }

    async fn writes(&self, to: &mut (impl AsyncWrite + Unpin)) -> Result<(), FarmLinkError> {
        let mut bell = self.shared.bell.subscribe();
        let mut said = None;
        loop {
            bell.borrow_and_update();
            if let Some(why) = self.shared.take_cut_reason(self.node) {
                return Err(FarmLinkError::Cut(why));
            }
            let is_last = self.shared.is_leaving();
            let wrote = timeout(SILENT, self.write_all(to, &mut said, is_last)).await;
            wrote.map_err(|_| FarmLinkError::silent())??;
            if is_last {
                // Waits until the other side closes the connection.
                std::future::pending::<()>().await;
            }
            if let Ok(Err(_)) = timeout(PING, bell.changed()).await {
                return Ok(());
            }
        }
    }

    /// Writes the pending messages, or else a heartbeat. All messages of a turn are written in one
    /// call, because each write is a packet of its own.
    async fn write_all(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        said: &mut Option<Vec<(String, DirectoryId)>>,
        is_last: bool,
    ) -> Result<(), FarmLinkError> {
        let mut bytes = Vec::new();
        let sites = lock(&self.shared.sites).clone().into_iter();
        let farms: Vec<_> = sites.map(|(name, site)| (name, site.origin())).collect();
        if said.as_ref() != Some(&farms) {
            // Links new farms before their first messages arrive.
            self.reconcile();
            write(&mut bytes, &LinkFrame::Farms(farms.clone())).await?;
            *said = Some(farms);
        }
        let linked: Vec<_> = lock(&self.inner).linked.values().cloned().collect();
        for (site, theirs) in linked {
            if is_last {
                site.spread();
            }
            let from = site.origin();
            let end = bytes.len() + TURN_BYTES;
            while bytes.len() < end
                && let Some(message) = site.next_message(self.node)
            {
                let to_it = LinkFrame::Farm {
                    from,
                    to: theirs,
                    message,
                };
                write(&mut bytes, &to_it).await?;
            }
            // Leaves the remaining messages to the next turn, which starts immediately.
            if site.has_message(self.node) {
                self.shared.ring();
            }
        }
        if is_last {
            write(&mut bytes, &LinkFrame::Leave).await?;
        } else if bytes.is_empty() {
            write(&mut bytes, &LinkFrame::Ping).await?;
        }
        to.write_all(&bytes)
            .await
            .map_err(nodes::NodeConnectionError::from)?;
        to.flush().await.map_err(nodes::NodeConnectionError::from)?;
        Ok(())
    }
}
