//! Connects to an LDAP server as a client, with one request at a time, and a limit for the size of
//! each message of the server and of each response.

use super::{Security, Server};
use protocol::ldap::request::{self, Search};
use protocol::ldap::{LdapEntry, LdapFilter, LdapResponse, LdapResult, Replies, code};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const READ_BYTES: usize = 16 << 10;
const SEARCH_BYTES_MAX: usize = 4 << 20;
const SEARCH_S: u32 = 5;

trait LdapStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> LdapStream for S {}

pub(super) struct Connection {
    stream: Box<dyn LdapStream>,
    replies: Replies,
    last: u32,
    came: usize,
}

impl Connection {
    /// Connects to a server, with TLS unless the server is configured as plain.
    ///
    /// # Errors
    /// The reason for the failure.
    pub(super) async fn open(
        server: &Server,
        address: SocketAddr,
        authorities: &[u8],
    ) -> Result<Connection, String> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| language::reason(&error))?;
        // Ignores an error of setting TCP_NODELAY, which costs only latency.
        let _ = stream.set_nodelay(true);
        let stream = match server.security {
            Security::Plain => return Ok(Connection::over(Box::new(stream))),
            Security::Tls => stream,
            Security::StartTls => start_tls(stream).await?,
        };
        let connector = TlsConnector::from(Arc::new(client(authorities)?));
        let name = ServerName::try_from(server.name.clone());
        let name = name.map_err(|_| "the name cannot be that of a certificate".to_owned())?;
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| format!("TLS: {error}"))?;
        Ok(Connection::over(Box::new(stream)))
    }

    fn over(stream: Box<dyn LdapStream>) -> Connection {
        Connection {
            stream,
            replies: Replies::default(),
            last: 0,
            came: 0,
        }
    }

    async fn send(&mut self, request: impl FnOnce(u32) -> Vec<u8>) -> Result<(), String> {
        self.last += 1;
        self.came = 0;
        let bytes = request(self.last);
        let sent = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| language::reason(&error))
    }

    async fn reply(&mut self) -> Result<LdapResponse, String> {
        let mut bytes = [0; READ_BYTES];
        loop {
            if let Some((id, reply)) = self.replies.take().map_err(|error| error.to_string())? {
                // Refuses any other message ID, such as 0, by which a server announces that it ends
                // the connection.
                return if id == self.last {
                    Ok(reply)
                } else {
                    Err("its response is not valid LDAP".to_owned())
                };
            }
            let count = self.stream.read(&mut bytes).await;
            let count = count.map_err(|error| language::reason(&error))?;
            self.came = self.came.saturating_add(count);
            match count {
                0 => return Err("it closed the connection".to_owned()),
                _ if self.came > SEARCH_BYTES_MAX => return Err("it sends too much".to_owned()),
                count => self.replies.add(&bytes[..count]),
            }
        }
    }

    pub(super) async fn bind(&mut self, name: &str, password: &[u8]) -> Result<LdapResult, String> {
        self.send(|id| request::bind(id, name, password)).await?;
        match self.reply().await? {
            LdapResponse::Bound(outcome) => Ok(outcome),
            _ => Err("its response is not valid LDAP".to_owned()),
        }
    }

    /// Searches for entries. Returns at most `entries_max`, and whether there are more.
    pub(super) async fn search(
        &mut self,
        base: &str,
        filter: &LdapFilter,
        attributes: &[&str],
        entries_max: u32,
    ) -> Result<(Vec<LdapEntry>, bool), String> {
        let search = Search {
            base,
            filter,
            attributes,
            entries_max,
            time_s: SEARCH_S,
        };
        self.send(|id| request::search(id, &search)).await?;
        let most = usize::try_from(entries_max).unwrap_or(usize::MAX);
        let mut entries = Vec::new();
        loop {
            match self.reply().await? {
                LdapResponse::Entry(entry) if entries.len() < most => entries.push(entry),
                LdapResponse::Entry(_) => {
                    return Err("it sends more entries than requested".to_owned());
                }
                LdapResponse::Other => {}
                LdapResponse::Done(outcome) => match outcome.code {
                    code::SUCCESS => return Ok((entries, false)),
                    code::SIZE_LIMIT_EXCEEDED => return Ok((entries, true)),
                    code => {
                        let what = format!("the search below {base}");
                        return Err(super::refused(&what, code, &outcome.words));
                    }
                },
                _ => return Err("its response is not valid LDAP".to_owned()),
            }
        }
    }

    pub(super) async fn close(mut self) {
        // Ignores an error: the server notices the closed connection anyway.
        let _ = self.send(request::unbind).await;
    }
}

/// Requests StartTLS. Data that the server sent before TLS could be forged, so any such data is an
/// error.
async fn start_tls(stream: TcpStream) -> Result<TcpStream, String> {
    let mut plain = Plain {
        stream,
        replies: Replies::default(),
    };
    let sent = plain.stream.write_all(&request::start_tls(1)).await;
    sent.map_err(|error| language::reason(&error))?;
    let outcome = match plain.reply().await? {
        (1, LdapResponse::Extended(outcome)) => outcome,
        _ => return Err("its response is not valid LDAP".to_owned()),
    };
    if outcome.code != code::SUCCESS {
        return Err(super::refused("StartTLS", outcome.code, &outcome.words));
    }
    if plain.replies.is_empty() {
        Ok(plain.stream)
    } else {
        Err("it sends data between the response to StartTLS and the TLS handshake".to_owned())
    }
}

struct Plain {
    stream: TcpStream,
    replies: Replies,
}

impl Plain {
    async fn reply(&mut self) -> Result<(u32, LdapResponse), String> {
        let mut bytes = [0; 1_024];
        loop {
            if let Some(reply) = self.replies.take().map_err(|error| error.to_string())? {
                return Ok(reply);
            }
            let count = self.stream.read(&mut bytes).await;
            match count.map_err(|error| language::reason(&error))? {
                0 => return Err("it closed the connection".to_owned()),
                count => self.replies.add(&bytes[..count]),
            }
        }
    }
}

fn client(authorities: &[u8]) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let config = builder.with_root_certificates(roots(authorities)?);
    Ok(config.with_no_client_auth())
}

/// Reads the certificates of a CA file.
///
/// # Errors
/// The file has no usable certificate.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(pem);
    // Ignores unusable certificates, which the bundle of a system may contain.
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if roots.is_empty() {
        Err("there is no certificate in it".to_owned())
    } else {
        Ok(roots)
    }
}
