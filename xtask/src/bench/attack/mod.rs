//! Measures the 99th percentile of the response times of a well-behaved client during attacks.
//!
//! The attackers share the core of the load with the lowest priority, so that the client waits for
//! the proxy and not for their threads. They reconnect as soon as their connection is closed.

mod origin;
mod script;

pub use origin::Origin;
pub use script::Attack;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::error::BenchError;
use super::process::pin;
use super::table::quantile;
use script::Script;

const ATTACKERS: usize = 4;
/// Time of the attack before the well-behaved client is measured.
const HEAD_START: Duration = Duration::from_millis(500);
/// Pause between two requests of the well-behaved client.
const PAUSE: Duration = Duration::from_millis(5);
/// Timeout of a response, which then counts as that long.
const PATIENCE: Duration = Duration::from_secs(3);
/// Timeout of all requests; the result then covers fewer of them.
const PATIENCE_OF_ALL: Duration = Duration::from_secs(12);
/// Wait of an attacker for the end of a connection after an announced end.
const GOODBYE: Duration = Duration::from_millis(50);
const REQUEST: &[u8] = b"GET /bench/100 HTTP/1.1\r\nHost: www.example.com\r\n\r\n";

/// Attackers; they stop when dropped.
pub struct Attackers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Attackers {
    /// Starts attackers against a proxy.
    pub fn start(attack: Attack, port: u16, core: usize) -> Attackers {
        let (stop, script) = (Arc::new(AtomicBool::new(false)), Arc::new(attack.script()));
        let threads = (0..ATTACKERS).map(|_| {
            let (stop, script) = (Arc::clone(&stop), Arc::clone(&script));
            std::thread::spawn(move || {
                let _ = pin(core);
                let own = rustix::thread::gettid();
                // Ignores a failure, after which the well-behaved client is slower with both
                // proxies.
                let _ = rustix::process::setpriority_process(Some(own), 19);
                while !stop.load(Relaxed) {
                    // Ignores the result, because the attacker connects again in any case.
                    let _ = connection(port, &script, &stop);
                }
            })
        });
        let threads = threads.collect();
        Attackers { stop, threads }
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Runs one connection of an attacker, until the proxy or the script ends it.
fn connection(port: u16, script: &Script, stop: &AtomicBool) -> io::Result<()> {
    let socket = TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    socket.set_nonblocking(true)?;
    let mut rest = &script.first[..];
    let mut trash = vec![0; 256 * 1024];
    let mut said: Option<Instant> = None;
    while !stop.load(Relaxed) {
        if rest.is_empty() {
            rest = &script.endless;
        }
        // Ends the connection once an HTTP/2 script has sent everything.
        let over = rest.is_empty() && script.first.starts_with(b"PRI");
        if over && said.is_none() {
            socket.shutdown(std::net::Shutdown::Write)?;
            said = Some(Instant::now());
        }
        if said.is_some_and(|since| since.elapsed() > GOODBYE) {
            return Ok(());
        }
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::OUT, !rest.is_empty());
        flags.set(PollFlags::IN, script.reads);
        let mut polled = [PollFd::new(&socket, flags)];
        let patience = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        rustix::event::poll(&mut polled, Some(&patience))?;
        if !script.reads && rest.is_empty() {
            std::thread::sleep(Duration::from_millis(20));
            // Reads a few bytes now and then, so that the proxy can continue to send.
            let _ = (&socket).read(&mut trash[..2000]);
        }
        if script.reads {
            match (&socket).read(&mut trash) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        if !rest.is_empty() {
            match (&socket).write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Runs a well-behaved client with this number of requests, every other one on a new connection.
/// Returns the 99th percentile of the response times in milliseconds.
pub fn good_client(port: u16, requests: usize) -> Result<f64, BenchError> {
    std::thread::sleep(HEAD_START);
    let (mut kept, start) = (None, Instant::now());
    let mut times = Vec::with_capacity(requests);
    for n in 0..requests {
        if start.elapsed() > PATIENCE_OF_ALL {
            break;
        }
        let begin = Instant::now();
        let asked = match n % 2 {
            0 => ask(port, &mut None),
            _ => ask(port, &mut kept),
        };
        let took = match asked {
            Ok(()) => begin.elapsed(),
            Err(_) => {
                kept = None;
                begin.elapsed().max(PATIENCE)
            }
        };
        times.push(took.as_secs_f64() * 1e3);
        std::thread::sleep(PAUSE);
    }
    Ok(quantile(&times, 0.99))
}

/// Sends one request, on the kept connection or on a new one.
fn ask(port: u16, kept: &mut Option<TcpStream>) -> io::Result<()> {
    let mut socket = match kept.take() {
        Some(socket) => socket,
        None => TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), PATIENCE)?,
    };
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(REQUEST)?;
    let (mut answer, mut length) = ([0; 4096], 0);
    while !answer[..length].ends_with(b"\r\n\r\nok") {
        match socket.read(&mut answer[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => length += n,
        }
    }
    if answer.starts_with(b"HTTP/1.1 200") {
        *kept = Some(socket)
    } else {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(())
}
