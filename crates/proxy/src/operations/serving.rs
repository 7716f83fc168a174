//! Accepts connections on the statistics sockets. A change of the configuration never closes a
//! socket that remains (the same inode). A removed socket no longer accepts, while its
//! connections finish.

use super::command::Context;
use super::connection;
use super::places::ConnectionSlots;
use super::socket::{OperationsSocket, Rights, Takes};
use crate::log_forward;
use crate::runtime::Runtime;
use crate::takeover::state::Heirs;
use model::config::Config;
use model::thread::lock;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

/// Maximum number of connections on all sockets together if `stats maxconn` is not set.
const CONNECTIONS_DEFAULT: u32 = 10;
/// Upper limit for `stats maxconn`, because each connection may hold a report.
const CONNECTIONS_MAX: u32 = 1000;
/// Maximum number of simultaneous connections that other processes accepted and passed on
/// ([`StatisticsSockets::adopt`]).
const ADOPTED_MAX: usize = 100;
/// Pause in accepting after descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A statistics socket as commands list it.
#[derive(Clone, Debug)]
pub(super) struct SocketListing {
    pub(super) text: String,
    pub(super) rights: Rights,
}

/// State that all connections share, and that commands read.
#[derive(Debug)]
pub(super) struct SocketsState {
    /// The active sockets, in configuration order.
    shown: Mutex<Arc<[SocketListing]>>,
    places: Arc<ConnectionSlots>,
    /// Descriptors of the active sockets; dropped with their accept loops.
    descriptors: Mutex<Vec<Weak<OwnedFd>>>,
    pub(super) heirs: Heirs,
}

impl SocketsState {
    pub(super) fn new(shown: Vec<SocketListing>) -> Arc<SocketsState> {
        Arc::new(SocketsState {
            shown: Mutex::new(shown.into()),
            places: ConnectionSlots::new(CONNECTIONS_DEFAULT as usize),
            descriptors: Mutex::default(),
            heirs: Heirs::default(),
        })
    }

    pub(super) fn descriptors(&self) -> Vec<Arc<OwnedFd>> {
        let descriptors = lock(&self.descriptors);
        descriptors.iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn sockets(&self) -> Arc<[SocketListing]> {
        Arc::clone(&lock(&self.shown))
    }

    /// Applies `stats maxconn` of this configuration.
    fn limit(&self, config: &Config) {
        let most = config.global.stats_maxconn.unwrap_or(CONNECTIONS_DEFAULT);
        self.places
            .set_most(most.clamp(1, CONNECTIONS_MAX) as usize);
    }
}

#[derive(Debug)]
struct Loop {
    inode: u64,
    /// Descriptor of the socket, for a process that requests the listening sockets.
    fd: Weak<OwnedFd>,
    task: AbortHandle,
    shown: Arc<Mutex<SocketListing>>,
}

/// The statistics sockets of the process. Accept loops run on the Tokio runtime that started them
/// as long as it exists, even after this value is dropped. All methods may be called on any
/// thread.
#[derive(Debug)]
pub struct StatisticsSockets {
    context: Context,
    handle: Handle,
    loops: Mutex<Vec<Loop>>,
    adopted: Arc<Semaphore>,
    messages: log_forward::LogReceivers,
}

/// Serves the sockets on a Tokio runtime until the runtime ends.
///
/// # Errors
/// As [`StatisticsSockets::change`].
pub fn start(
    runtime: &'static Runtime,
    sockets: Vec<OperationsSocket>,
    handle: &Handle,
) -> io::Result<StatisticsSockets> {
    let serving = StatisticsSockets {
        context: Context {
            runtime,
            shared: SocketsState::new(Vec::new()),
        },
        handle: handle.clone(),
        loops: Mutex::default(),
        adopted: Arc::new(Semaphore::new(ADOPTED_MAX)),
        messages: log_forward::LogReceivers::new(runtime, handle),
    };
    serving.change(sockets)?;
    Ok(serving)
}

impl StatisticsSockets {
    /// Replaces the sockets by those of the newest configuration. A socket that remains (the same
    /// inode) keeps its descriptor and gets the new permissions. If this fails, everything stays
    /// as it was.
    ///
    /// # Errors
    /// Fails if the kernel does not describe a socket, or if a new one cannot be duplicated, made
    /// nonblocking, or registered with the Tokio runtime.
    pub fn change(&self, sockets: Vec<OperationsSocket>) -> io::Result<()> {
        let mut loops = lock(&self.loops);
        // Takes all steps that may fail first, so that a failure changes nothing.
        let mut wanted = Vec::with_capacity(sockets.len());
        let mut messages = Vec::new();
        for socket in sockets {
            let rights = match socket.takes.clone() {
                Takes::Commands(rights) => rights,
                Takes::Messages {
                    section,
                    datagrams,
                    tls,
                } => {
                    messages.push(log_forward::LogSocket {
                        fd: socket.fd,
                        section,
                        datagrams,
                        tls,
                    });
                    continue;
                }
                Takes::Peers => continue,
            };
            let inode = rustix::fs::fstat(&socket.fd)?.st_ino;
            let shown = SocketListing {
                text: socket.text.clone(),
                rights,
            };
            let served = loops.iter().any(|one| one.inode == inode);
            let listener = if served {
                None
            } else {
                Some((Arc::new(socket.fd.try_clone()?), self.listener(socket)?))
            };
            wanted.push((inode, shown, listener));
        }
        self.messages.change(messages)?;
        self.context.shared.limit(&self.context.runtime.config());
        *lock(&self.context.shared.shown) =
            wanted.iter().map(|(_, shown, _)| shown.clone()).collect();
        let mut before = std::mem::take(&mut *loops);
        for (inode, shown, listener) in wanted {
            if let Some(at) = before.iter().position(|one| one.inode == inode) {
                let one = before.swap_remove(at);
                *lock(&one.shown) = shown;
                loops.push(one);
            } else if let Some((fd, listener)) = listener {
                let kept = Arc::downgrade(&fd);
                let (task, shown) = self.accept(shown, listener, fd);
                loops.push(Loop {
                    inode,
                    fd: kept,
                    task,
                    shown,
                });
            }
        }
        before.iter().for_each(|gone| gone.task.abort());
        *lock(&self.context.shared.descriptors) = loops.iter().map(|one| one.fd.clone()).collect();
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn connections_max(&self) -> usize {
        self.context.shared.places.most()
    }

    /// Serves a connection that another process accepted (`@1` of the master socket). It does not
    /// count against the limit of the sockets.
    ///
    /// # Errors
    /// Fails with `WouldBlock` if too many such connections exist, otherwise if the stream cannot
    /// be made nonblocking or registered with the Tokio runtime. The stream is then closed.
    pub fn adopt(&self, stream: StdUnixStream, rights: impl Into<Rights>) -> io::Result<()> {
        let rights = rights.into();
        let Ok(place) = Arc::clone(&self.adopted).try_acquire_owned() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        stream.set_nonblocking(true)?;
        let _entered = self.handle.enter();
        let stream = UnixStream::from_std(stream)?;
        let context = self.context.clone();
        self.handle.spawn(async move {
            // Ignores the result, because a client that disconnects is not worth a message.
            let _ = connection::serve(stream, rights, &context).await;
            drop(place);
        });
        Ok(())
    }

    /// Sends what was counted since the takeover to the processes that took over. Called once,
    /// after the last client was served; may take a moment.
    pub fn send_counts_to_successors(&self) {
        self.context.shared.heirs.tell_rest(self.context.runtime);
    }

    fn listener(&self, socket: OperationsSocket) -> io::Result<OperationsListener> {
        let unix = socket.is_unix();
        rustix::io::ioctl_fionbio(&socket.fd, true)?;
        let _entered = self.handle.enter();
        Ok(if unix {
            OperationsListener::Unix(UnixListener::from_std(socket.fd.into())?)
        } else {
            OperationsListener::Inet(TcpListener::from_std(socket.fd.into())?)
        })
    }

    fn accept(
        &self,
        shown: SocketListing,
        listener: OperationsListener,
        fd: Arc<OwnedFd>,
    ) -> (AbortHandle, Arc<Mutex<SocketListing>>) {
        let shown = Arc::new(Mutex::new(shown));
        let (context, now) = (self.context.clone(), Arc::clone(&shown));
        let task = self.handle.spawn(async move {
            // Keeps the descriptor, which can be passed to other processes as long as this loop
            // runs.
            let _exposed = fd;
            loop {
                // A separate task, so that an accepted connection is served even if this loop ends
                // while it waits for a slot.
                let admitted = match &listener {
                    OperationsListener::Unix(listener) => {
                        let accepted = listener.accept().await.map(|(stream, _)| stream);
                        tokio::spawn(admit(accepted, Arc::clone(&now), context.clone()))
                    }
                    OperationsListener::Inet(listener) => {
                        let accepted = listener.accept().await.map(|(stream, _)| stream);
                        tokio::spawn(admit(accepted, Arc::clone(&now), context.clone()))
                    }
                };
                // Ignores the result: the task fails only by a panic, which the panic hook has
                // reported.
                let _ = admitted.await;
            }
        });
        (task.abort_handle(), shown)
    }
}

enum OperationsListener {
    Unix(UnixListener),
    Inet(TcpListener),
}

/// Serves a connection as soon as a slot is free.
async fn admit<S>(accepted: io::Result<S>, shown: Arc<Mutex<SocketListing>>, context: Context)
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
{
    let Ok(stream) = accepted else {
        return tokio::time::sleep(ACCEPT_PAUSE).await;
    };
    let place = context.shared.places.take().await;
    let rights = lock(&shown).rights;
    tokio::spawn(async move {
        // Ignores the result, because a client that disconnects is not worth a message.
        let _ = connection::serve_at(stream, rights, &context, &place).await;
    });
}
