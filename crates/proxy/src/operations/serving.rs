//! The statistics sockets at work: who may connect, over changes of the
//! configuration. A socket that stays (the same inode) is never closed; one that
//! goes ends with its accept loop, and the connections that it has finish.

use super::command::Context;
use super::connection;
use super::places::Places;
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

/// Connections of all sockets together where `stats maxconn` says nothing.
const CONNECTIONS_DEFAULT: u32 = 10;
/// Most that `stats maxconn` may say with an effect: each may hold a report.
const CONNECTIONS_MAX: u32 = 1000;
/// Connections of other processes' sockets ([`Serving::adopt`]) at one time.
const ADOPTED_MAX: usize = 100;
/// How long accepting rests when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket as commands show it.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// Its address.
    pub(super) text: String,
    /// What its users may do.
    pub(super) rights: Rights,
}

/// What all connections share, and commands see of it.
#[derive(Debug)]
pub(super) struct SocketsState {
    /// The sockets that are served, in the order of the file.
    shown: Mutex<Arc<[Shown]>>,
    places: Arc<Places>,
    /// Their descriptors, which end with their accept loops.
    descriptors: Mutex<Vec<Weak<OwnedFd>>>,
    /// Processes that took the state over.
    pub(super) heirs: Heirs,
}

impl SocketsState {
    pub(super) fn new(shown: Vec<Shown>) -> Arc<SocketsState> {
        Arc::new(SocketsState {
            shown: Mutex::new(shown.into()),
            places: Places::new(CONNECTIONS_DEFAULT as usize),
            descriptors: Mutex::default(),
            heirs: Heirs::default(),
        })
    }

    /// The descriptors of the sockets that are served.
    pub(super) fn descriptors(&self) -> Vec<Arc<OwnedFd>> {
        let descriptors = lock(&self.descriptors);
        descriptors.iter().filter_map(Weak::upgrade).collect()
    }

    /// The sockets that are served.
    pub(super) fn sockets(&self) -> Arc<[Shown]> {
        Arc::clone(&lock(&self.shown))
    }

    /// `stats maxconn`
    fn limit(&self, config: &Config) {
        let most = config.global.stats_maxconn.unwrap_or(CONNECTIONS_DEFAULT);
        self.places
            .set_most(most.clamp(1, CONNECTIONS_MAX) as usize);
    }
}

/// One socket that is accepted on.
#[derive(Debug)]
struct Loop {
    inode: u64,
    /// For a process that takes it over.
    fd: Weak<OwnedFd>,
    task: AbortHandle,
    shown: Arc<Mutex<Shown>>,
}

/// The statistics sockets of the process. The accept loops run on the Tokio
/// runtime that they were started on, for as long as that does, also when this
/// is dropped. All of it may be called on any thread.
#[derive(Debug)]
pub struct Serving {
    context: Context,
    handle: Handle,
    loops: Mutex<Vec<Loop>>,
    adopted: Arc<Semaphore>,
    /// Those that take log messages.
    messages: log_forward::Serving,
}

/// Serves the sockets on a Tokio runtime, until that ends.
pub fn start(
    runtime: &'static Runtime,
    sockets: Vec<OperationsSocket>,
    handle: &Handle,
) -> io::Result<Serving> {
    let serving = Serving {
        context: Context {
            runtime,
            shared: SocketsState::new(Vec::new()),
        },
        handle: handle.clone(),
        loops: Mutex::default(),
        adopted: Arc::new(Semaphore::new(ADOPTED_MAX)),
        messages: log_forward::Serving::new(runtime, handle),
    };
    serving.change(sockets)?;
    Ok(serving)
}

impl Serving {
    /// Goes on with these sockets, those of the newest configuration. What is
    /// served already (the same inode) goes on by the descriptor that it has,
    /// under the level of now. An error leaves all as it was.
    pub fn change(&self, sockets: Vec<OperationsSocket>) -> io::Result<()> {
        self.context.shared.limit(&self.context.runtime.config());
        let mut loops = lock(&self.loops);
        // Whatever may fail comes first.
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
            let shown = Shown {
                text: socket.text.clone(),
                rights,
            };
            let served = loops.iter().any(|one| one.inode == inode);
            let listener = match served {
                true => None,
                false => Some((Arc::new(socket.fd.try_clone()?), self.listener(socket)?)),
            };
            wanted.push((inode, shown, listener));
        }
        self.messages.change(messages)?;
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

    /// Serves a connection that another process accepted (the master's `@1`),
    /// beside those of the sockets and not counted among them. `WouldBlock` when
    /// there are too many.
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
            // A peer that goes away is nothing to tell anyone.
            let _ = connection::serve(stream, rights, &context).await;
            drop(place);
        });
        Ok(())
    }

    /// Tells those who took over from this process what was counted since. To
    /// be called once, when nobody is served any more; it may take a moment.
    pub fn tell_heirs(&self) {
        self.context.shared.heirs.tell_rest(self.context.runtime);
    }

    fn listener(&self, socket: OperationsSocket) -> io::Result<Listener> {
        let unix = socket.is_unix();
        rustix::io::ioctl_fionbio(&socket.fd, true)?;
        let _entered = self.handle.enter();
        Ok(match unix {
            true => Listener::Unix(UnixListener::from_std(socket.fd.into())?),
            false => Listener::Inet(TcpListener::from_std(socket.fd.into())?),
        })
    }

    fn accept(
        &self,
        shown: Shown,
        listener: Listener,
        fd: Arc<OwnedFd>,
    ) -> (AbortHandle, Arc<Mutex<Shown>>) {
        let shown = Arc::new(Mutex::new(shown));
        let (context, now) = (self.context.clone(), Arc::clone(&shown));
        let task = self.handle.spawn(async move {
            // Exposed for as long as it is served.
            let _exposed = fd;
            loop {
                // On a task of its own: an accepted connection is served, also if this
                // loop ends while it waits for a slot.
                let admitted = match &listener {
                    Listener::Unix(listener) => {
                        let accepted = listener.accept().await.map(|(stream, _)| stream);
                        tokio::spawn(admit(accepted, Arc::clone(&now), context.clone()))
                    }
                    Listener::Inet(listener) => {
                        let accepted = listener.accept().await.map(|(stream, _)| stream);
                        tokio::spawn(admit(accepted, Arc::clone(&now), context.clone()))
                    }
                };
                // It fails only by a panic, which the hook has told.
                let _ = admitted.await;
            }
        });
        (task.abort_handle(), shown)
    }
}

/// A socket that listens.
enum Listener {
    Unix(UnixListener),
    Inet(TcpListener),
}

/// Serves a connection as soon as there is a place for it.
async fn admit<S>(accepted: io::Result<S>, shown: Arc<Mutex<Shown>>, context: Context)
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
{
    let Ok(stream) = accepted else {
        return tokio::time::sleep(ACCEPT_PAUSE).await;
    };
    let place = context.shared.places.take().await;
    let rights = lock(&shown).rights;
    tokio::spawn(async move {
        // A peer that goes away is nothing to tell anyone.
        let _ = connection::serve_at(stream, rights, &context, &place).await;
    });
}
