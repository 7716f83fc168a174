//! Implements the server behind an attacked proxy: a thread per connection, endless bodies, and
//! counters of the chunks of one byte that were received and sent.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::super::error::BenchError;
use super::super::process::pin;

/// Encoded chunk of one byte.
const CHUNK: &[u8] = b"1\r\nx\r\n";
const PIECE_BYTES: usize = 60_000;
const HEAD_BYTES_MAX: usize = 64 * 1024;
const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A server that serves until it is dropped.
#[derive(Debug)]
pub struct Origin {
    pub port: u16,
    /// Bytes of bodies, received and sent.
    pub bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Origin {
    /// Starts the server on a core.
    pub fn start(core: usize) -> Result<Self, BenchError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(BenchError::system("binding the origin server"))?;
        let address = listener.local_addr();
        let port = address.map_err(BenchError::system(
            "asking for the port of the origin server",
        ))?;
        let origin = Origin {
            port: port.port(),
            bytes: Arc::default(),
            stop: Arc::default(),
        };
        let (bytes, stop) = (Arc::clone(&origin.bytes), Arc::clone(&origin.stop));
        std::thread::spawn(move || {
            // Ignores a failure, after which the server would disturb the proxy visibly.
            let _ = pin(core);
            for connection in listener.incoming() {
                if stop.load(Relaxed) {
                    return;
                }
                let (bytes, stop) = (Arc::clone(&bytes), Arc::clone(&stop));
                std::thread::spawn(move || {
                    // Ignores a failed connection, which the proxy has to handle.
                    let _ = connection.and_then(|connection| serve(connection, &bytes, &stop));
                });
            }
        });
        Ok(origin)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(mut connection: TcpStream, bytes: &AtomicU64, stop: &AtomicBool) -> io::Result<()> {
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut input = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    while !stop.load(Relaxed) {
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
            let n = connection.read(&mut piece)?;
            if n == 0 || input.len() > HEAD_BYTES_MAX {
                return Ok(());
            }
            input.extend_from_slice(&piece[..n]);
            continue;
        };
        let head: Vec<u8> = input.drain(..end + 4).collect();
        if head.starts_with(b"POST ") {
            // Reads the endless body until the connection ends.
            loop {
                let n = connection.read(&mut piece)?;
                if n == 0 {
                    return Ok(());
                }
                bytes.fetch_add(n as u64, Relaxed);
            }
        }
        if head.starts_with(b"GET /bench/chunks ") || head.starts_with(b"GET /bench/endless ") {
            let small = head.starts_with(b"GET /bench/chunks ");
            let body = if small {
                CHUNK.repeat(PIECE_BYTES / CHUNK.len())
            } else {
                [b"8000\r\n", &vec![b'x'; 0x8000][..], b"\r\n"].concat()
            };
            connection.write_all(CHUNKED)?;
            while !stop.load(Relaxed) {
                connection.write_all(&body)?;
                bytes.fetch_add((body.len() / CHUNK.len()) as u64, Relaxed);
            }
            return Ok(());
        }
        connection.write_all(SMALL)?;
    }
    Ok(())
}
