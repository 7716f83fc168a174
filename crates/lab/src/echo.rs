//! Runs a TCP server that returns what it receives.

use crate::acceptor::Acceptor;
use namespace::{LabError, Location};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};

/// TCP server that sends back all received bytes, and closes its side when the client closes the
/// other.
#[derive(Debug)]
pub struct Echo(Acceptor);

impl Echo {
    /// Starts a server; port 0 selects a free port.
    pub fn start(place: impl Into<Location>, address: SocketAddr) -> Result<Self, LabError> {
        let handler = |stream: TcpStream| {
            // Ignores an error: the client may close at any time, which ends only its own echo.
            let _ = io::copy(&mut &stream, &mut &stream);
            let _ = stream.shutdown(Shutdown::Write);
        };
        Acceptor::start(place.into(), address, handler).map(Echo)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Refuses connections from now on, and closes all existing ones.
    pub fn stop(&mut self) {
        self.0.stop();
    }

    /// Listens again after a stop.
    pub fn resume(&mut self) -> Result<(), LabError> {
        self.0.resume()
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.0.connections()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{eventually, exchange};
    use std::time::Duration;

    const TIMEOUT: Duration = Duration::from_secs(5);

    #[test]
    fn stopped_echo_restarts_at_the_same_address() {
        let mut echo = Echo::start(Location::Here, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = echo.address();
        let say = || exchange(Location::Here, address, b"hello", TIMEOUT);
        assert_eq!(say().unwrap(), b"hello");
        assert!(eventually(TIMEOUT, || echo.connections() == 0));
        let held = std::net::TcpStream::connect(address).unwrap();
        assert!(eventually(TIMEOUT, || echo.connections() == 1));
        echo.stop();
        assert!(say().is_err());
        assert_eq!(io::Read::read(&mut &held, &mut [0]).unwrap(), 0);
        echo.resume().unwrap();
        assert_eq!(say().unwrap(), b"hello");
    }
}
