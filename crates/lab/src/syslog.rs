//! Runs a syslog server inside the test, over UDP or at a Unix socket, which stores the received
//! messages and lets a test wait for one.

use namespace::{LabError, Location};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Maximum number of messages that are kept. Later ones are dropped.
const MAX_MESSAGES: usize = 100_000;

/// Maximum size of a datagram in bytes.
const MAX_MESSAGE_BYTES: usize = 65_536;

/// Maximum time until the thread notices that the server is dropped.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Syslog server, which stops when it is dropped.
#[derive(Debug)]
pub struct Syslog {
    address: Option<SocketAddr>,
    path: Option<PathBuf>,
    kept: Arc<ReceivedMessages>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct ReceivedMessages {
    messages: Mutex<Vec<String>>,
    came: Condvar,
}

impl ReceivedMessages {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Syslog {
    /// Receives over UDP; port 0 selects a free port.
    pub fn udp(place: impl Into<Location>, address: SocketAddr) -> Result<Self, LabError> {
        let failed = || LabError::io("listen at", address);
        let socket = place.into().enter(|| UdpSocket::bind(address));
        let socket = socket.map_err(failed())?;
        socket.set_read_timeout(Some(STOP_POLL)).map_err(failed())?;
        let bound = socket.local_addr().map_err(failed())?;
        Ok(Syslog::receive(Some(bound), None, move |buffer| {
            socket.recv(buffer)
        }))
    }

    /// Receives at a path, such as `/dev/log`, which must not exist and is removed at the end.
    pub fn unix(path: &Path) -> Result<Self, LabError> {
        let failed = || LabError::io("listen at", path.display());
        let socket = UnixDatagram::bind(path).map_err(failed())?;
        socket.set_read_timeout(Some(STOP_POLL)).map_err(failed())?;
        let path = Some(path.to_owned());
        Ok(Syslog::receive(None, path, move |buffer| {
            socket.recv(buffer)
        }))
    }

    fn receive(
        address: Option<SocketAddr>,
        path: Option<PathBuf>,
        receive: impl Fn(&mut [u8]) -> io::Result<usize> + Send + 'static,
    ) -> Self {
        let (kept, stop) = (
            Arc::new(ReceivedMessages::default()),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = thread::spawn({
            let (kept, stop) = (kept.clone(), stop.clone());
            move || {
                let mut buffer = vec![0; MAX_MESSAGE_BYTES];
                while !stop.load(Ordering::Relaxed) {
                    // Continues after an error, which is usually the timeout.
                    let Ok(bytes) = receive(&mut buffer) else {
                        continue;
                    };
                    let message = String::from_utf8_lossy(&buffer[..bytes]).into_owned();
                    let mut messages = kept.lock();
                    if messages.len() < MAX_MESSAGES {
                        messages.push(message);
                        kept.came.notify_all();
                    }
                }
            }
        });
        Syslog {
            address,
            path,
            kept,
            stop,
            thread: Some(thread),
        }
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns all messages so far.
    pub fn messages(&self) -> Vec<String> {
        self.kept.lock().clone()
    }

    /// Returns the first message that fits, if one has arrived or arrives in time.
    pub fn wait_for(
        &self,
        timeout: Duration,
        mut fits: impl FnMut(&str) -> bool,
    ) -> Option<String> {
        let end = Instant::now() + timeout;
        let mut looked = 0;
        let mut messages = self.kept.lock();
        loop {
            if let Some(found) = messages[looked..].iter().find(|message| fits(message)) {
                return Some(found.clone());
            }
            looked = messages.len();
            let left = end.checked_duration_since(Instant::now())?;
            let waited = self.kept.came.wait_timeout(messages, left);
            messages = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScratchDirectory;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn messages_are_kept_in_their_order() {
        let log = Syslog::udp(Location::Here, "127.0.0.1:0".parse().unwrap()).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for message in ["<134>one", "<134>two"] {
            sender
                .send_to(message.as_bytes(), log.address().unwrap())
                .unwrap();
        }
        let found = log.wait_for(SOON, |message| message.ends_with("two"));
        assert_eq!(found.as_deref(), Some("<134>two"));
        assert_eq!(log.messages(), ["<134>one", "<134>two"]);
        let nothing = log.wait_for(Duration::from_millis(10), |_| false);
        assert_eq!(nothing, None);
    }

    #[test]
    fn a_path_is_listened_at_and_removed() {
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.path().join("log");
        let log = Syslog::unix(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"<13>hello", &path).unwrap();
        assert!(
            log.wait_for(SOON, |message| message == "<13>hello")
                .is_some()
        );
        drop(log);
        assert!(!path.exists());
    }
}
