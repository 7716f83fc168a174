//! Receives the proxies' logs: a socket on 127.0.0.1 that is emptied between the measured windows,
//! never during one, so that it uses no CPU time then. Messages beyond its buffer are lost, as with
//! a real syslog server that is too slow.

use std::net::{Ipv4Addr, UdpSocket};

use super::error::BenchError;

/// Longest line that is evaluated.
const LINE_BYTES_MAX: usize = 2048;
/// Maximum number of lines that are read at once; the socket's buffer holds fewer.
const LINES_MAX: usize = 1 << 16;
/// Part of a line of `option httplog` about a request that was served.
const SERVED: &[u8] = b"\"GET /bench/";

#[derive(Debug)]
pub struct Collector {
    socket: UdpSocket,
    pub port: u16,
}

impl Collector {
    /// Opens a socket on a free port.
    pub fn open() -> Result<Self, BenchError> {
        let failed = BenchError::system::<std::io::Error>("opening the socket of the log");
        let open = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            let port = socket.local_addr()?.port();
            Ok(Self { socket, port })
        };
        open().map_err(failed)
    }

    /// Empties the socket. Returns the number of lines about requests that were served.
    pub fn drain(&self) -> usize {
        let mut line = [0; LINE_BYTES_MAX];
        let mut served = 0;
        for _ in 0..LINES_MAX {
            let Ok(bytes) = self.socket.recv(&mut line) else {
                break;
            };
            let line = &line[..bytes];
            served += usize::from(line.windows(SERVED.len()).any(|at| at == SERVED));
        }
        served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_about_served_requests_count() {
        let collector = Collector::open().expect("a socket");
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a sender");
        for line in [
            "<134>Nov 1 00:00:00 haproxy[1]: Proxy web started.",
            "<134>Nov 1 00:00:00 haproxy[1]: 127.0.0.1:1 [] web application/one 0/0/0/0/0 200 1 \
             - - ---- 1/1/0/0/0 0/0 \"GET /bench/100 HTTP/1.1\"",
        ] {
            let to = (Ipv4Addr::LOCALHOST, collector.port);
            sender.send_to(line.as_bytes(), to).expect("to send");
        }
        assert_eq!(collector.drain(), 1);
        assert_eq!(collector.drain(), 0);
    }
}
