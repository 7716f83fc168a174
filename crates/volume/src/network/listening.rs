//! Accepts TCP connections to one volume at one address, on a thread that runs until it is stopped.
//! Each connection has its own thread.

use super::Bind;
use super::certificates::CertificateError;
use super::front::{self, FrontError};
use super::places::{Handshakes, RelaySlot};
use super::voice::LogThrottle;
use part::lock;
use part::voice::write_error;
use part::wake::WakeEvent;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::listen;
use rustix::time::Timespec;
use rustls::ServerConfig;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire::{NodeConnection, Relay, RelayPeer};

/// Retry interval for an address that another process uses or that this machine does not have yet.
const RETRY: Duration = Duration::from_millis(500);
/// Pause of accepting when the system has no descriptor or memory.
const PAUSE: Duration = Duration::from_millis(50);
const BACKLOG: i32 = 1024;

#[derive(Debug)]
struct Front {
    name: String,
    volume: PathBuf,
    address: SocketAddr,
    has_tls: bool,
    /// TLS configuration, if TLS is used. A change affects new connections only.
    tls: Mutex<Option<Arc<ServerConfig>>>,
    trouble: Mutex<Option<String>>,
    handshakes: Arc<Handshakes>,
    carried: Arc<AtomicUsize>,
    voice: LogThrottle,
}

/// Running TCP listener, which stops when dropped. Its connections persist.
#[derive(Debug)]
pub struct TcpListening {
    front: Arc<Front>,
    stop: Option<Arc<WakeEvent>>,
    thread: Option<JoinHandle<()>>,
}

/// Status of a TCP listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerStatus {
    pub address: SocketAddr,
    pub has_tls: bool,
    pub connections: usize,
    /// Reason why no client can connect, as text; None if listening works.
    pub trouble: Option<String>,
}

impl fmt::Display for ListenerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.has_tls {
            "with TLS"
        } else {
            "without TLS"
        };
        write!(f, "{} {tls}", self.address)?;
        match &self.trouble {
            Some(_) => f.write_str(", closed"),
            None => Ok(()),
        }
    }
}

fn tls_of(bind: &Bind) -> Result<Option<Arc<ServerConfig>>, String> {
    let words = |(_, error): (_, CertificateError)| format!("cannot use the certificates: {error}");
    let tls = bind.tls.as_ref().map(|tls| tls.server().map_err(words));
    tls.transpose()
}

impl TcpListening {
    pub fn start(name: &str, volume: PathBuf, bind: &Bind) -> TcpListening {
        let tls = tls_of(bind);
        let front = Arc::new(Front {
            name: name.to_owned(),
            volume,
            address: bind.address,
            has_tls: bind.tls.is_some(),
            trouble: Mutex::new(tls.as_ref().err().cloned()),
            tls: Mutex::new(tls.as_ref().ok().cloned().flatten()),
            handshakes: Arc::default(),
            carried: Arc::default(),
            voice: LogThrottle::default(),
        });
        let mut listening = TcpListening {
            front,
            stop: None,
            thread: None,
        };
        let began = match tls {
            Ok(_) => listening.begin(),
            Err(words) => Err(words),
        };
        if let Err(words) = began {
            listening.front.record_failure(words);
        }
        listening
    }

    fn begin(&mut self) -> Result<(), String> {
        let no_thread = |error: io::Error| format!("cannot start a thread: {error}");
        let stop = WakeEvent::new().map_err(|errno| no_thread(errno.into()))?;
        let stop = Arc::new(stop);
        let (own, front) = (Arc::clone(&stop), Arc::clone(&self.front));
        let builder = std::thread::Builder::new().name("volume/tcp".to_owned());
        let thread = builder.spawn(move || front.run_accept_loop(own.as_fd()));
        self.thread = Some(thread.map_err(no_thread)?);
        self.stop = Some(stop);
        Ok(())
    }

    /// Applies a new configuration. Returns false if it needs a new listener: for another address,
    /// or for a switch between TLS and plain text.
    pub fn change(&mut self, bind: &Bind) -> bool {
        let front = &self.front;
        let is_same = (front.address, front.has_tls) == (bind.address, bind.tls.is_some());
        if !is_same || self.thread.is_none() {
            return false;
        }
        let Ok(tls) = tls_of(bind) else {
            return false;
        };
        *lock(&self.front.tls) = tls;
        true
    }

    pub fn seen(&self) -> ListenerStatus {
        let front = &self.front;
        ListenerStatus {
            address: front.address,
            has_tls: front.has_tls,
            connections: front.carried.load(Ordering::Relaxed),
            trouble: lock(&front.trouble).clone(),
        }
    }
}

impl Drop for TcpListening {
    fn drop(&mut self) {
        if let Some(stop) = &self.stop {
            stop.wake();
        }
        if let Some(thread) = self.thread.take() {
            // Joins the thread, which returns from its poll at once. Afterwards the address is
            // free.
            let _ = thread.join();
        }
    }
}

impl Front {
    fn log_line(&self, words: &str) {
        write_error(&format!("evenkeel: volume {}: {words}\n", self.name));
    }

    fn record_failure(&self, words: String) {
        let mut trouble = lock(&self.trouble);
        let is_new = trouble.as_ref() != Some(&words);
        *trouble = Some(words.clone());
        drop(trouble);
        if is_new {
            self.log_line(&words);
        }
    }

    fn run_accept_loop(self: &Arc<Self>, stop: BorrowedFd<'_>) {
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) => {
                    let at = self.address;
                    self.record_failure(format!("cannot listen at {at}, retrying: {error}"));
                }
            }
            if waits(stop, None, Some(RETRY)) == Woken::Stop {
                return;
            }
        };
        if lock(&self.trouble).take().is_some() {
            self.log_line(&format!("listens at {}", self.address));
        }
        // Never blocks in accept, although a connection may have been reset.
        let _ = listener.set_nonblocking(true);
        // Ignores a failure: without the longer queue some clients only have to retry.
        let _ = listen(&listener, BACKLOG);
        for number in 0.. {
            match waits(stop, Some(listener.as_fd()), None) {
                Woken::Stop => return,
                Woken::Time => continue,
                Woken::Ready => {}
            }
            match listener.accept() {
                Ok((socket, from)) => self.accept(number, socket, from),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Retries later: no file descriptor or no memory is available.
                Err(_) => _ = waits(stop, None, Some(PAUSE)),
            }
        }
    }

    fn accept(self: &Arc<Self>, number: u64, socket: TcpStream, from: SocketAddr) {
        let Ok(kept) = socket.try_clone() else {
            return;
        };
        let place = match self
            .handshakes
            .take(number, from.ip(), kept, Instant::now())
        {
            Ok(place) => place,
            Err(error) => return self.refuses(from, &error),
        };
        let own = Arc::clone(self);
        let builder = std::thread::Builder::new().name("volume/client".to_owned());
        // Ignores a failure: without a thread, the connection closes and its slot is freed here.
        let _ = builder.spawn(move || {
            let tls = lock(&own.tls).clone();
            let known = match own.identify_client(&socket, tls.as_ref()) {
                Ok(Some(known)) => known,
                Ok(None) => return,
                Err(error) => return own.refuses(from, &error),
            };
            drop(place);
            let Some(_carried) = RelaySlot::take(&own.carried) else {
                return own.refuses(from, &FrontError::TooMany);
            };
            match own.enter(known, socket) {
                // Ignores the result: the client sees how the connection ends.
                Ok((wire, volume)) => drop(Relay::new(wire, volume, RelayPeer::Client).run()),
                Err(error) => own.refuses(from, &error),
            }
        });
    }

    fn identify_client(
        &self,
        socket: &TcpStream,
        tls: Option<&Arc<ServerConfig>>,
    ) -> Result<Option<AuthorizedConnection>, FrontError> {
        socket.set_nonblocking(false)?;
        let Some(tls) = tls else {
            return Ok(Some(AuthorizedConnection::Plain));
        };
        let secured = front::secure(socket.try_clone()?, tls)?;
        Ok(secured.map(|secured| AuthorizedConnection::Secured(Box::new(secured))))
    }

    fn enter(
        &self,
        known: AuthorizedConnection,
        socket: TcpStream,
    ) -> Result<(NodeConnection, std::os::unix::net::UnixStream), FrontError> {
        match known {
            AuthorizedConnection::Secured(secured) => secured.enter(&self.volume),
            AuthorizedConnection::Plain => {
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                let volume = front::reach(&self.volume)?;
                Ok((NodeConnection::from(OwnedFd::from(socket)), volume))
            }
        }
    }

    fn refuses(&self, from: SocketAddr, error: &FrontError) {
        if !error.is_worth_a_line() {
            return;
        }
        let line = format!("the client {from} is refused at {}: {error}", self.address);
        if let Some(line) = self.voice.line(&line, Instant::now()) {
            self.log_line(&line);
        }
    }
}

/// Connection whose client may use the volume.
enum AuthorizedConnection {
    Plain,
    Secured(Box<front::TlsClient>),
}

#[derive(PartialEq, Eq)]
enum Woken {
    Stop,
    Ready,
    Time,
}

fn waits(stop: BorrowedFd<'_>, other: Option<BorrowedFd<'_>>, limit: Option<Duration>) -> Woken {
    let mut watched = vec![PollFd::from_borrowed_fd(stop, PollFlags::IN)];
    watched.extend(other.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    // Ignores errors: the caller checks everything again after any wake-up.
    let _ = poll(&mut watched, limit.as_ref());
    match &watched[..] {
        [stop, ..] if !stop.revents().is_empty() => Woken::Stop,
        [_, other] if !other.revents().is_empty() => Woken::Ready,
        _ => Woken::Time,
    }
}
