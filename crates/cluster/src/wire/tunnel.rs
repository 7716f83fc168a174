//! Opens and carries tunnels through a third member, which copies bytes between two others, one
//! hop. The third member sees only what TLS between those two reveals.

use super::counters::count;
use super::dial::Unreached;
use super::greeting::{Goodbye, Pipe, say_goodbye, say_hello};
use super::network::ConnectionFactory;
use super::shared::WireState;
use crate::member::MemberId;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

pub(crate) const TUNNELS_MAX: usize = 64;
pub(crate) const TUNNELS_PER_MEMBER_MAX: usize = 16;
/// Bytes copied at once: a TLS record.
const COPIED_BYTES: usize = 16 << 10;

impl<N: ConnectionFactory> WireState<N> {
    /// Has a third member carry bytes to another one. Returns the stream to that other member.
    pub(crate) async fn tunnel(
        &self,
        third: MemberId,
        to: MemberId,
    ) -> Result<TlsStream<N::Stream>, Unreached> {
        if !self.reaches_directly(third) {
            return Err(Unreached::NoThird(third));
        }
        let stream = self.connect(third).await?;
        let tls = self.tls().tunnel();
        let mut stream = self.shake_hands(tls, third, stream).await?;
        let hello = self.hello(None, Some(to));
        self.greet(&mut stream, third, &hello).await?;
        Ok(stream)
    }

    /// Carries bytes for a member that requested it, until either end closes. Refuses above the
    /// limits, or if the destination cannot be reached.
    pub(crate) async fn carry_bytes<S: Pipe>(&self, mut asker: S, from: MemberId, to: MemberId) {
        let limit = self.timing().handshake;
        let carrying = self.carried.acquire_slot(from, |own, all| {
            own < TUNNELS_PER_MEMBER_MAX && all.values().sum::<usize>() < TUNNELS_MAX
        });
        let carried = carrying.is_some() && to != from && to != self.me();
        let other = if carried {
            self.connect(to).await.ok()
        } else {
            None
        };
        let Some(other) = other else {
            let _ = timeout(limit, say_goodbye(&mut asker, Goodbye::NotCarried)).await;
            return;
        };
        let hello = self.hello(None, Some(to));
        let greeted = timeout(limit, say_hello(&mut asker, &hello)).await;
        if !matches!(greeted, Ok(Ok(()))) {
            return;
        }
        count(&self.counters.tunnels);
        let (asker_reads, asker_writes) = tokio::io::split(asker);
        let (other_reads, other_writes) = tokio::io::split(other);
        // Ends both directions when one end closes, so that the other end sees it at once.
        tokio::select! {
            () = copy(asker_reads, other_writes) => {}
            () = copy(other_reads, asker_writes) => {}
        }
        drop(carrying);
    }
}

async fn copy<A: Pipe, B: Pipe>(mut from: ReadHalf<A>, mut to: WriteHalf<B>) {
    let mut buffer = vec![0; COPIED_BYTES];
    loop {
        let Ok(read) = from.read(&mut buffer).await else {
            return;
        };
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return;
        };
        if to.write_all(bytes).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}
