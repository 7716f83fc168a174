//! Forwards connections: accepts them on loopback of this machine and relays their bytes to an
//! address inside a lab host. So a browser reaches services in a namespace, and nothing else of
//! this machine's network changes.

use crate::server::listen_at;
use namespace::LabHost;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

const CONNECTIONS_MAX: usize = 128;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed `accept`, for example without free descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Forwarder on one port. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct Forwarder {
    pub address: SocketAddr,
    shared: Arc<ForwarderState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct ForwarderState {
    host: LabHost,
    to: SocketAddr,
    stopping: AtomicBool,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Vec<TcpStream>>>,
}

impl Forwarder {
    /// Listens on the first free port of `ports` at `on`, for `to` inside `host`.
    ///
    /// # Errors
    /// Fails without a free port, or if no thread can be started.
    pub fn start(
        on: IpAddr,
        ports: Range<u16>,
        host: &LabHost,
        to: SocketAddr,
    ) -> io::Result<Forwarder> {
        let listener = listen_at(on, ports)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(ForwarderState {
            host: host.clone(),
            to,
            stopping: AtomicBool::new(false),
            next: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = Builder::new().name(format!("forward {}", address.port()));
        let thread = thread.spawn(move || accept(&listener, &of_thread))?;
        Ok(Forwarder {
            address,
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes `accept` by a connection, so that the thread ends.
        let _ = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT);
        if let Some(thread) = self.thread.take() {
            // The panic hook has printed its panic already.
            let _ = thread.join();
        }
        for stream in self.shared.open().values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl ForwarderState {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Vec<TcpStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, number: u64, stream: &TcpStream) -> io::Result<()> {
        let stream = stream.try_clone()?;
        self.open().entry(number).or_default().push(stream);
        Ok(())
    }

    fn pass(self: &Arc<ForwarderState>, number: u64, near: &TcpStream) -> io::Result<()> {
        let far = self.host.tcp_connect(self.to, CONNECT_TIMEOUT)?;
        self.keep(number, &far)?;
        if self.stopping.load(Ordering::SeqCst) {
            return Ok(());
        }
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let (from, into) = (near.try_clone()?, far.try_clone()?);
        let up = Builder::new().name("forward up".to_owned());
        let up = up.spawn(move || copy(&from, &into))?;
        copy(&far, near);
        // The panic hook has printed its panic already.
        let _ = up.join();
        Ok(())
    }
}

/// Copies bytes until the end of the input, then shuts down the write side of the other connection.
/// After an error, shuts down both connections.
fn copy(mut from: &TcpStream, mut into: &TcpStream) {
    let ended = match io::copy(&mut from, &mut into) {
        Ok(_) => Shutdown::Write,
        Err(_) => Shutdown::Both,
    };
    let _ = into.shutdown(ended);
    if ended == Shutdown::Both {
        let _ = from.shutdown(ended);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<ForwarderState>) {
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok((near, _)) = accepted else {
            std::thread::sleep(PAUSE);
            continue;
        };
        if shared.open().len() >= CONNECTIONS_MAX {
            continue;
        }
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if shared.keep(number, &near).is_err() {
            continue;
        }
        let of_thread = Arc::clone(shared);
        let thread = Builder::new().name("forward".to_owned());
        let started = thread.spawn(move || {
            // Ignores an error: if the node is down, the browser sees a closed connection.
            let _ = of_thread.pass(number, &near);
            let _ = near.shutdown(Shutdown::Both);
            of_thread.open().remove(&number);
        });
        if started.is_err() {
            shared.open().remove(&number);
        }
    }
}
