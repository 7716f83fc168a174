//! Starts, pauses and stops the servers of one network: a thread for DHCP, and the file servers
//! beside it.

use super::BootEnvironment;
use super::running::DhcpThread;
use crate::http;
use crate::mac::Mac;
use crate::site::{NetworkContentSource, ServerStatus, SharedNetworkState};
use crate::tftp;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Commands to the thread, and its status.
#[derive(Debug, Default)]
pub(super) struct DhcpThreadControl {
    pub(super) stop: bool,
    pub(super) wakes: Vec<Mac>,
    pub(super) troubles: Vec<String>,
}

#[derive(Debug)]
pub(super) struct FileServers {
    pub(super) tftp: tftp::Server,
    pub(super) http: http::Server,
}

/// Servers of one network. Dropping the value stops them.
pub struct Server {
    orders: Arc<Mutex<DhcpThreadControl>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    files: Arc<FileServers>,
}

pub(super) fn lock(orders: &Mutex<DhcpThreadControl>) -> MutexGuard<'_, DhcpThreadControl> {
    orders.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Starts the servers of a network.
    ///
    /// # Errors
    ///
    /// The system has no thread or descriptor left.
    pub fn start(site: SharedNetworkState, place: BootEnvironment) -> io::Result<Server> {
        let shelf = Arc::new(NetworkContentSource(site.clone()));
        // Threads inherit the confinement of the thread that starts them.
        let confined = std::thread::spawn(move || -> io::Result<FileServers> {
            (place.only_reads)()?;
            Ok(FileServers {
                tftp: tftp::Server::start(Vec::new(), shelf.clone(), tftp::TRANSFERS_MAX)?,
                http: http::Server::start(Vec::new(), shelf, http::Limits::default())?,
            })
        });
        let files = confined.join();
        let files = files.map_err(|_| io::Error::other("the servers for files panicked"))??;
        let files = Arc::new(files);
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let orders = Arc::new(Mutex::new(DhcpThreadControl::default()));
        let mut server = Server {
            orders,
            wake,
            thread: None,
            files,
        };
        server.answer(site, place)?;
        Ok(server)
    }

    /// Starts the DHCP thread, confined to the directory of the current leases.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(super) fn answer(
        &mut self,
        site: SharedNetworkState,
        place: BootEnvironment,
    ) -> io::Result<()> {
        lock(&self.orders).stop = false;
        let running = DhcpThread::new(site, place, Arc::clone(&self.files));
        let running = running.ordered(Arc::clone(&self.orders), Arc::clone(&self.wake));
        let thread = std::thread::Builder::new().name("dhcp".to_owned());
        self.thread = Some(thread.spawn(move || running.run())?);
        Ok(())
    }

    /// Stops the DHCP thread. File transfers continue.
    pub(super) fn pause(&mut self) {
        lock(&self.orders).stop = true;
        self.wake();
        if let Some(thread) = self.thread.take() {
            // Ignores a panic of the thread, whose message has been printed.
            let _ = thread.join();
        }
    }

    /// Wakes the thread after a change.
    pub fn wake(&self) {
        // Ignores an error: the counter is full only if the thread has been woken already.
        let _: Result<usize, _> = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }

    /// Switches a machine on (Wake-on-LAN).
    pub fn wake_machine(&self, mac: Mac) {
        lock(&self.orders).wakes.push(mac);
        self.wake();
    }

    /// Returns the status of the servers.
    pub fn server_status(&self) -> ServerStatus {
        ServerStatus {
            troubles: lock(&self.orders).troubles.clone(),
            tftp: self.files.tftp.counters(),
            http: self.files.http.counters(),
            ..ServerStatus::default()
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.pause();
    }
}
