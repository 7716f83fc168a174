//! The delivery of log lines: a thread of its own behind a bounded queue. It
//! never waits for a target: what a target does not take at once is dropped
//! and counted.

use crate::config::LogTargetAddress;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that wait for delivery at most.
pub const QUEUE_MAX: usize = 16_384;

static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Lines that were queued and are neither delivered nor dropped yet.
static WAITING: AtomicU64 = AtomicU64::new(0);
static QUEUE: OnceLock<SyncSender<Line>> = OnceLock::new();

struct Line {
    target: LogTargetAddress,
    bytes: Vec<u8>,
}

/// Lines that were dropped, because the queue or a target was full, since the start.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Waits until what is queued is delivered or dropped, but not longer than
/// this: for the last lines of a process.
pub fn drain(timeout: Duration) {
    /// How often it looks.
    const TICK: Duration = Duration::from_millis(2);
    let began = Instant::now();
    while WAITING.load(Ordering::Acquire) > 0 && began.elapsed() < timeout {
        thread::sleep(TICK);
    }
}

/// Puts a line into the queue; drops and counts it when the queue is full.
pub(super) fn send(target: &LogTargetAddress, bytes: Vec<u8>) {
    let Some(queue) = QUEUE.get() else { return };
    WAITING.fetch_add(1, Ordering::Relaxed);
    match queue.try_send(Line {
        target: target.clone(),
        bytes,
    }) {
        Ok(()) => {}
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
            WAITING.fetch_sub(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The targets' sockets, opened with the rights and in the root of the start.
#[derive(Debug, Default)]
pub struct Sink {
    open: HashMap<LogTargetAddress, Target>,
}

#[derive(Debug)]
enum Target {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    Fd(i32),
}

impl Target {
    fn open(address: &LogTargetAddress) -> io::Result<Target> {
        match address {
            LogTargetAddress::Udp(to) => {
                let any: std::net::SocketAddr = match to {
                    std::net::SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                    std::net::SocketAddr::V6(_) => ([0u16; 8], 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(to)?;
                socket.set_nonblocking(true)?;
                Ok(Target::Udp(socket))
            }
            LogTargetAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_nonblocking(true)?;
                Ok(Target::Unix(socket))
            }
            LogTargetAddress::Fd(number) => Ok(Target::Fd(*number)),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::Udp(socket) => socket.send(bytes),
            Target::Unix(socket) => socket.send(bytes),
            Target::Fd(number) => write_fd(*number, bytes),
        }
    }
}

/// Writes to a descriptor that others share, so it cannot be made nonblocking:
/// it is asked first whether it has room.
fn write_fd(number: i32, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: borrowed for this call only; a closed number gives EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let mut ready = [PollFd::new(&fd, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    if poll(&mut ready, Some(&now))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::write(fd, bytes)?)
}

impl Sink {
    /// Opens what can be opened now; the rest is tried again with each line.
    pub fn open(targets: impl IntoIterator<Item = LogTargetAddress>) -> Sink {
        let mut sink = Sink::default();
        for address in targets {
            if let Ok(target) = Target::open(&address) {
                sink.open.insert(address, target);
            }
        }
        sink
    }

    fn deliver(&mut self, line: &Line) {
        if let Some(target) = self.open.get(&line.target) {
            match target.write(&line.bytes) {
                Ok(_) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return count_dropped(),
                // The syslog daemon was restarted, perhaps.
                Err(_) => {}
            }
        }
        match Target::open(&line.target) {
            Ok(target) => {
                if target.write(&line.bytes).is_err() {
                    count_dropped();
                }
                self.open.insert(line.target.clone(), target);
            }
            Err(_) => count_dropped(),
        }
    }

    fn run(mut self, queue: Receiver<Line>) {
        while let Ok(line) = queue.recv() {
            self.deliver(&line);
            WAITING.fetch_sub(1, Ordering::Release);
        }
    }
}

fn count_dropped() {
    DROPPED.fetch_add(1, Ordering::Relaxed);
}

/// Starts the delivery, once a process. It ends with the process.
pub fn start(sink: Sink) -> io::Result<()> {
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    if QUEUE.set(sender).is_ok() {
        thread::Builder::new()
            .name("log".into())
            .spawn(move || sink.run(receiver))?;
    }
    Ok(())
}
