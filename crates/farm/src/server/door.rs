//! Opens the listening address of a farm: the socket, and TLS with its certificate.

use crate::certificate;
use crate::config::Bind;
use access::listener;
use rustls::ServerConfig;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

const BACKLOG: i32 = 1_024;

#[derive(Debug)]
pub struct FarmListener {
    bind: Bind,
    listener: TcpListener,
    secure: Secure,
}

/// TLS with the certificate of an address.
#[derive(Clone, Debug)]
pub struct Secure {
    pub tls: Arc<ServerConfig>,
    /// Channel binding hashes by which clients may identify a connection with this certificate.
    pub channels: Arc<[[u8; 16]]>,
}

impl Secure {
    fn read(pem: &[u8]) -> Result<Secure, String> {
        Ok(Secure {
            tls: Arc::new(access::certificate::read(pem)?),
            channels: certificate::channels(pem),
        })
    }
}

impl FarmListener {
    /// Opens an address. The machine need not have the address yet.
    ///
    /// # Errors
    /// Returns why the address cannot be opened.
    pub fn open(bind: &Bind) -> Result<FarmListener, String> {
        let secure = Secure::read(&bind.pem)?;
        let address = bind.address;
        let listener = listener::open(address, BACKLOG).map_err(|errno| {
            let why = language::reason(&errno.into());
            format!("cannot listen at {address}: {why}")
        })?;
        Ok(FarmListener {
            bind: bind.clone(),
            listener,
            secure,
        })
    }

    /// Returns the same socket with a changed certificate, or changed proxies.
    ///
    /// # Errors
    /// Returns why the change is not possible.
    pub fn changed(&self, bind: &Bind) -> Result<FarmListener, String> {
        let listener = self.listener().map_err(|error| language::reason(&error))?;
        Ok(FarmListener {
            bind: bind.clone(),
            listener,
            secure: Secure::read(&bind.pem)?,
        })
    }

    pub fn is_of(&self, bind: &Bind) -> bool {
        self.bind == *bind
    }

    pub fn accepts_proxy(&self) -> bool {
        self.bind.accepts_proxy
    }

    /// Returns the address in the configuration, where the port may be 0.
    pub fn address(&self) -> SocketAddr {
        self.bind.address
    }

    /// Returns the actual address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// Fails with the system's error.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    pub(super) fn secure(&self) -> Secure {
        self.secure.clone()
    }
}
