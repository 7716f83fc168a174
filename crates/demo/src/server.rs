//! Runs a sample web server, which responds with a page that has its name. A stop is graceful: the
//! server accepts no new connections, sends `Connection: close` in the responses on existing ones,
//! and closes idle ones after a moment.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Names of the sample servers; the last one serves only after a change.
pub const NAMES: [&str; SERVERS] = ["one", "two", "three"];
pub const SERVERS: usize = 3;
/// Limit of simultaneous connections; further ones wait in the kernel.
const CONNECTIONS_MAX: usize = 256;
const HEAD_MAX: u64 = 16 * 1024;
const GRACE: Duration = Duration::from_millis(1500);
const TICK: Duration = Duration::from_millis(25);
const IDLE: Duration = Duration::from_secs(60);

/// Sample server, which runs or is stopped.
pub struct SampleServer {
    pub name: &'static str,
    pub address: SocketAddr,
    running: Mutex<Option<SampleServerThread>>,
}

struct SampleServerThread {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl SampleServer {
    fn lock(&self) -> MutexGuard<'_, Option<SampleServerThread>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn start(name: &'static str, ports: std::ops::Range<u16>) -> io::Result<SampleServer> {
        SampleServer::with(name, listen(ports)?)
    }

    /// Starts a server at an address, in the network namespace of the calling thread.
    pub fn at(name: &'static str, address: SocketAddr) -> io::Result<SampleServer> {
        SampleServer::with(name, TcpListener::bind(address)?)
    }

    fn with(name: &'static str, listener: TcpListener) -> io::Result<SampleServer> {
        Ok(SampleServer {
            name,
            address: listener.local_addr()?,
            running: Mutex::new(Some(SampleServerThread::begin(name, listener)?)),
        })
    }

    pub fn runs(&self) -> bool {
        self.lock().is_some()
    }

    /// Stops accepting, and returns when the listener is closed. Connections may continue for a
    /// moment.
    pub fn stop(&self) {
        let running = self.lock().take();
        if let Some(running) = running {
            running.stopping.store(true, Ordering::Relaxed);
            // The panic hook has already printed a panic of the thread.
            let _ = running.thread.join();
        }
    }

    pub fn restart(&self) -> io::Result<()> {
        let mut running = self.lock();
        if running.is_none() {
            *running = Some(SampleServerThread::begin(
                self.name,
                TcpListener::bind(self.address)?,
            )?);
        }
        Ok(())
    }
}

pub fn listen(ports: std::ops::Range<u16>) -> io::Result<TcpListener> {
    listen_at(Ipv4Addr::LOCALHOST.into(), ports)
}

pub fn listen_at(on: IpAddr, ports: std::ops::Range<u16>) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for port in ports {
        match TcpListener::bind((on, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl SampleServerThread {
    fn begin(name: &'static str, listener: TcpListener) -> io::Result<SampleServerThread> {
        listener.set_nonblocking(true)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = std::thread::Builder::new()
            .name(format!("sample {name}"))
            .spawn(move || accept(name, &listener, &stop))?;
        Ok(SampleServerThread { stopping, thread })
    }
}

fn accept(name: &'static str, listener: &TcpListener, stopping: &Arc<AtomicBool>) {
    let connections = Arc::new(AtomicUsize::new(0));
    while !stopping.load(Ordering::Relaxed) {
        let full = connections.load(Ordering::Relaxed) >= CONNECTIONS_MAX;
        let Some(stream) = (!full).then(|| listener.accept().ok()).flatten() else {
            // Waits: there is no pending connection, no free descriptor, or the limit is reached.
            std::thread::sleep(TICK / 10);
            continue;
        };
        let (stop, count) = (Arc::clone(stopping), Arc::clone(&connections));
        connections.fetch_add(1, Ordering::Relaxed);
        let served = std::thread::Builder::new()
            .name(format!("sample {name}"))
            .spawn(move || {
                // Ignores an error, such as that of a client that disconnects.
                let _ = serve(name, &stream.0, &stop);
                count.fetch_sub(1, Ordering::Relaxed);
            });
        if served.is_err() {
            connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn serve(name: &str, stream: &TcpStream, stopping: &AtomicBool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TICK))?;
    let mut reader = BufReader::new(stream);
    loop {
        if !wait_for_request(&mut reader, stopping)? {
            return Ok(());
        }
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let Some(request) = read_head(&mut reader)? else {
            return Ok(());
        };
        stream.set_read_timeout(Some(TICK))?;
        let close = stopping.load(Ordering::Relaxed) || !matches!(&*request.method, "GET" | "HEAD");
        let answer = answer(name, &request, close);
        (&mut &*stream).write_all(answer.as_bytes())?;
        if close {
            return Ok(());
        }
    }
}

/// Waits for the first byte of a request. Returns false if the connection ends or is idle for too
/// long, or a moment after the server was stopped.
fn wait_for_request(reader: &mut BufReader<&TcpStream>, stopping: &AtomicBool) -> io::Result<bool> {
    let mut waited = Duration::ZERO;
    let mut grace = Duration::ZERO;
    loop {
        match reader.fill_buf() {
            Ok(bytes) => return Ok(!bytes.is_empty()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        waited += TICK;
        if stopping.load(Ordering::Relaxed) {
            grace += TICK;
        }
        if waited >= IDLE || grace >= GRACE {
            return Ok(false);
        }
    }
}

struct Request {
    method: String,
    path: String,
}

fn read_head(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut head = reader.take(HEAD_MAX);
    let mut first = String::new();
    head.read_line(&mut first)?;
    let mut line = String::new();
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let mut words = first.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next(), words.next());
    Ok(method
        .zip(path)
        .map(|(method, path)| Request { method, path }))
}

fn answer(name: &str, request: &Request, close: bool) -> String {
    let body = match request.path.as_str() {
        "/health" => "well\n".to_owned(),
        path => page(name, path),
    };
    let connection = if close { "Connection: close\r\n" } else { "" };
    let kind = if request.path == "/health" {
        "text/plain"
    } else {
        "text/html; charset=utf-8"
    };
    let length = body.len();
    let body = if request.method == "HEAD" { "" } else { &body };
    format!(
        "HTTP/1.1 200 OK\r\nServer: sample\r\nX-Served-By: {name}\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n{connection}\r\n{body}"
    )
}

fn page(name: &str, path: &str) -> String {
    let colour = if name == "one" { "#2a6f97" } else { "#bc6c25" };
    let path: String = path
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "/._-?=".contains(*c))
        .take(80)
        .collect();
    format!(
        "<!doctype html><meta charset=utf-8><title>Server {name}</title>\
         <body style=\"font:1.5em sans-serif;background:{colour};color:#fff;text-align:center;padding-top:20vh\">\
         <h1>Server {name}</h1><p>responded to your request for {path}.<p>Reload the page: the other server responds next.\
         <p><a style=color:#fff href=/stats>statistics</a>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..n]).into_owned())
    }

    #[test]
    fn sample_server_sends_its_name_stops_and_restarts() {
        let sample = SampleServer::start("one", 18_300..18_400).unwrap();
        assert!(ask(sample.address).unwrap().contains("X-Served-By: one"));
        sample.stop();
        assert!(!sample.runs() && ask(sample.address).is_err());
        sample.restart().unwrap();
        assert!(ask(sample.address).unwrap().contains("Server one"));
    }

    #[test]
    fn a_page_never_repeats_markup_of_the_request() {
        assert!(!page("one", "/<script>").contains("<script>"));
    }
}
