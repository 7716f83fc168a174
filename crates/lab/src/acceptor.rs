//! Implements the common part of the servers inside a test: a listener that can be stopped with all
//! its connections, and started again at the same address.

use crate::port::free_port;
use namespace::{LabError, Location};
use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Retry interval while the process has no free descriptor.
const DESCRIPTOR_TICK: Duration = Duration::from_millis(5);

/// Maximum number of connections of a test server; further ones are closed.
const MAX_CONNECTIONS: usize = 1024;

type Handler = dyn Fn(TcpStream) + Send + Sync;

/// Listener with an accepting thread, and a thread for each connection.
pub(crate) struct Acceptor {
    place: Location,
    address: SocketAddr,
    handler: Arc<Handler>,
    running: Option<RunningAcceptor>,
}

struct RunningAcceptor {
    listener: Arc<TcpListener>,
    thread: JoinHandle<()>,
    connections: Arc<Connections>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.running.is_some() {
            ""
        } else {
            ", stopped"
        };
        write!(f, "Acceptor({}{state})", self.address)
    }
}

impl Acceptor {
    /// Starts a listener. Port 0 selects a port that stays the same after a stop. On this machine
    /// (not in a host of the lab) the port is reserved, so that no other process takes it
    /// meanwhile.
    pub(crate) fn start(
        place: Location,
        address: SocketAddr,
        handler: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Result<Self, LabError> {
        let mut address = address;
        if address.port() == 0 && matches!(place, Location::Here) {
            address.set_port(free_port()?);
        }
        let mut acceptor = Acceptor {
            place,
            address,
            handler: Arc::new(handler),
            running: None,
        };
        acceptor.resume()?;
        Ok(acceptor)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens again after a stop.
    pub(crate) fn resume(&mut self) -> Result<(), LabError> {
        if self.running.is_some() {
            return Ok(());
        }
        let failed = || LabError::io("listen at", self.address);
        let bind = || TcpListener::bind(self.address);
        let listener = Arc::new(self.place.enter(bind).map_err(failed())?);
        self.address = listener.local_addr().map_err(failed())?;
        let connections = Arc::new(Connections::default());
        let thread = thread::spawn({
            let (listener, handler) = (listener.clone(), self.handler.clone());
            let connections = connections.clone();
            move || accept(&listener, &handler, &connections)
        });
        self.running = Some(RunningAcceptor {
            listener,
            thread,
            connections,
        });
        Ok(())
    }

    /// Refuses connections from now on, and closes all existing ones.
    pub(crate) fn stop(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.connections.close();
        // Shuts the listener down, which on Linux ends a waiting accept.
        let _ = rustix::net::shutdown(&*running.listener, rustix::net::Shutdown::Both);
        let _ = running.thread.join();
    }

    /// Returns the number of open connections.
    pub(crate) fn connections(&self) -> usize {
        let running = self.running.as_ref();
        running.map_or(0, |running| running.connections.lock().open.len())
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Default)]
struct Connections(Mutex<OpenConnections>);

#[derive(Default)]
struct OpenConnections {
    next: u64,
    open: HashMap<u64, TcpStream>,
    closed: bool,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a connection by a second handle of its stream, with which the connection can be
    /// closed.
    fn enter(&self, stream: &TcpStream) -> Option<u64> {
        let mut state = self.lock();
        if state.closed || state.open.len() >= MAX_CONNECTIONS {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.open.insert(number, stream.try_clone().ok()?);
        Some(number)
    }

    fn remove_connection(&self, number: u64) {
        self.lock().open.remove(&number);
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for (_, stream) in state.open.drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, handler: &Arc<Handler>, connections: &Arc<Connections>) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // Waits until the process has a free descriptor; the connection waits, too.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                thread::sleep(DESCRIPTOR_TICK);
                continue;
            }
            // Ends the thread, because the listener was shut down.
            Err(_) => return,
        };
        let Some(number) = connections.enter(&stream) else {
            continue;
        };
        let (handler, connections) = (handler.clone(), connections.clone());
        thread::spawn(move || {
            let _leave = Leave(&connections, number);
            handler(stream);
        });
    }
}

/// Removes the connection with this number on drop, even if its handler panics.
struct Leave<'a>(&'a Connections, u64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.remove_connection(self.1);
    }
}
