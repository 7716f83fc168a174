//! Performs TLS handshakes with clients and servers over a socket of the event loop. rustls does
//! the protocol; this code transfers the records and sends an alert on failure. A [`Session`]
//! exists only after a complete handshake.

pub use super::failure::{Agreed, ClientHelloAlert, Failure};

use super::bytes::Bytes;
use super::counters::Counted;
use super::hello::{Assembled, Cursor, HELLO_BYTES_MAX, Hello, assemble};
use super::info::{Clear, Info};
use super::keylog::{Secrets, with_secrets};
use super::record::{Protection, kind};
use super::session::{Established, LaterKeys, Records, Session, alert};
use super::verify::{Verified, with_outcome};
use super::{tickets, turn};
use crate::settings::TlsDefaults;
use reactor::{Instant, StreamSocket, with_deadline};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};
use std::io;
use std::sync::Arc;

/// Maximum output of rustls in one step: the longest record, with some reserve, bytes.
const STEP_MAX: usize = 18 * 1024;

fn failure_before_verification(error: rustls::Error) -> Failure {
    Failure::Tls(error, Verified::default(), None)
}

enum HandshakeStep {
    Again,
    Read,
    Done,
    Closed,
}

enum Party {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// Collects all plaintext that rustls has decrypted.
macro_rules! records {
    ($data:expr, $moving:expr, $discard:expr) => {{
        let mut failed = None;
        while let Some(record) = $data.next_record() {
            match record {
                Ok(record) => {
                    $discard += record.discard;
                    $moving.early.extend_from_slice(record.payload);
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(HandshakeStep::Again), Err)
    }};
}

/// Performs one step of a handshake, for client or server. A macro, because rustls has two types
/// with the same methods.
macro_rules! step {
    ($connection:expr, $moving:expr $(, $early:ident)?) => {{
        let UnbufferedStatus { discard, state, .. } =
            $connection.process_tls_records($moving.incoming.filled_mut());
        let mut discard = discard;
        let step = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                match data.encode($moving.outgoing.spare()) {
                    Ok(n) => {
                        $moving.outgoing.commit(n);
                        Ok(HandshakeStep::Again)
                    }
                    Err(_) => Err(rustls::Error::General("a record did not fit".into())),
                }
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                // Marks the data as sent; `outgoing` is written to the socket before the next wait.
                data.done();
                Ok(HandshakeStep::Again)
            }
            Ok(ConnectionState::ReadTraffic(mut data)) => records!(data, $moving, discard),
            $(
                // Early data is held back until the handshake has ended, because it could be a
                // replay of recorded traffic until then.
                Ok(ConnectionState::$early(mut data)) => records!(data, $moving, discard),
            )?
            Ok(ConnectionState::BlockedHandshake) => Ok(HandshakeStep::Read),
            Ok(ConnectionState::WriteTraffic(_)) => Ok(HandshakeStep::Done),
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(HandshakeStep::Closed),
            Ok(_) => Err(rustls::Error::General("an unknown state".into())),
            Err(error) => Err(error),
        };
        $moving.incoming.consume(discard);
        step
    }};
}

impl Party {
    fn common(&self) -> &CommonState {
        match self {
            Party::Server(connection) => connection,
            Party::Client(connection) => connection,
        }
    }

    fn step(&mut self, moving: &mut Moving) -> Result<HandshakeStep, rustls::Error> {
        // Stops before another record of the peer is decrypted, because this crate decrypts the
        // records from here on.
        if !self.common().is_handshaking() && !self.common().wants_write() {
            return Ok(HandshakeStep::Done);
        }
        match self {
            Party::Server(connection) => step!(connection, moving, ReadEarlyData),
            Party::Client(connection) => step!(connection, moving),
        }
    }

    fn agreed(&self) -> Option<Agreed> {
        let common = self.common();
        let suite = common.negotiated_cipher_suite()?;
        Some((common.protocol_version()?, suite.suite()))
    }

    fn info(&self, sni: Option<Box<str>>, verified: Verified) -> Result<Info, rustls::Error> {
        let common = self.common();
        let unfinished = || rustls::Error::HandshakeNotComplete;
        let version = common.protocol_version().ok_or_else(unfinished)?;
        let suite = common.negotiated_cipher_suite().ok_or_else(unfinished)?;
        Ok(Info {
            sni,
            group: common
                .negotiated_key_exchange_group()
                .map(|group| group.name()),
            alpn: common.alpn_protocol().map(Box::from),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            verified,
            peer_certificates: common.peer_certificates().map(Arc::from),
            ..Info::new(version, suite.suite())
        })
    }

    fn establish(self, moving: Moving, terms: Terms) -> Result<Session, rustls::Error> {
        let is_13 = self.common().protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let (secrets, from) = match self {
            Party::Server(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                let from = if is_13 {
                    LaterKeys::Server(Box::new(kernel))
                } else {
                    LaterKeys::Fixed(true)
                };
                (secrets, from)
            }
            Party::Client(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                let from = if is_13 {
                    LaterKeys::Client(Box::new(kernel))
                } else {
                    LaterKeys::Fixed(false)
                };
                (secrets, from)
            }
        };
        let unusable = |_| rustls::Error::General("keys of an unknown cipher".into());
        Ok(Session::new(Established {
            opener: Protection::new(is_13, secrets.rx).map_err(unusable)?,
            sealer: Protection::new(is_13, secrets.tx).map_err(unusable)?,
            secrets: from,
            incoming: Some(moving.incoming),
            early: moving.early,
            records: terms.records,
            counted: terms.counted,
        }))
    }
}

/// Buffers and collected data of a handshake in progress.
struct Moving {
    incoming: Bytes,
    outgoing: Bytes,
    /// Plaintext that arrived with the end of the handshake.
    early: Vec<u8>,
    clear: Clear,
    secrets: Secrets,
}

/// Beginning of the random bytes of a HelloRetryRequest.
const RETRY: [u8; 8] = [0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11];

fn extract_hello(clear: &mut Clear, bytes: &[u8]) {
    let mut cursor = Cursor(bytes);
    let record = (
        cursor.number(1),
        cursor.take(4),
        cursor.number(1),
        cursor.take(5),
    );
    let (Some(22), Some(_), Some(message), Some(_)) = record else {
        return;
    };
    let (Some(random), Some(id)) = (cursor.take(32), cursor.counted(1)) else {
        return;
    };
    let random = random.try_into().ok();
    match message {
        1 if clear.client_random.is_none() => clear.client_random = random,
        2 if clear.server_random.is_none() && !bytes[11..].starts_with(&RETRY) => {
            clear.server_random = random;
            clear.session_id = Some(id.0.into());
        }
        _ => {}
    }
}

impl Moving {
    fn new() -> Moving {
        Moving {
            incoming: Bytes::none(),
            outgoing: Bytes::none(),
            early: Vec::new(),
            clear: Clear::default(),
            secrets: Secrets::default(),
        }
    }

    /// Frees all memory except the received bytes while the handshake waits for the peer or for
    /// its turn, because many handshakes may wait.
    fn shrink(&mut self) {
        self.incoming.shrink();
        self.outgoing.shrink();
    }

    async fn flush(&mut self, socket: &StreamSocket) -> io::Result<()> {
        extract_hello(&mut self.clear, self.outgoing.filled());
        loop {
            match self.outgoing.write_to(socket, false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await,
                other => return other,
            }
        }
    }

    async fn make_room(&mut self, socket: &StreamSocket) -> io::Result<()> {
        if self.outgoing.spare().len() < STEP_MAX {
            self.flush(socket).await?;
            self.outgoing.expand();
        }
        Ok(())
    }

    /// Waits for more bytes, and for permission to continue (see [`super::turn`]). Returns the
    /// number of bytes, 0 at the end. Meanwhile only received bytes use memory, because peers may
    /// be slow and thousands may connect at once.
    async fn fill(&mut self, socket: &StreamSocket) -> io::Result<usize> {
        self.shrink();
        loop {
            socket.readable().await;
            turn::wait().await;
            self.incoming.expand();
            self.incoming.compact();
            match self.incoming.read_from(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    turn::return_slot();
                    self.incoming.shrink();
                }
                other => return other,
            }
        }
    }

    /// Sends an unencrypted alert before the handshake begins, if there is space.
    fn alert(&mut self, socket: &StreamSocket, code: u8) {
        let record = [kind::ALERT, 3, 3, 0, 2, alert::FATAL, code];
        self.outgoing.expand();
        if self.outgoing.extend(&record) {
            let _ = self.outgoing.write_to(socket, false);
        }
    }
}

/// The parameters of a handshake, besides the configuration of rustls.
#[derive(Debug)]
pub struct Terms {
    pub deadline: Option<Instant>,
    records: Records,
    counted: Counted,
}

impl Terms {
    /// Derives the parameters from the global settings.
    ///
    /// # Errors
    /// `TooMany` if there are already as many connections as `maxsslconn` allows.
    pub fn new(deadline: Option<Instant>, tls: &TlsDefaults) -> Result<Terms, Failure> {
        Ok(Terms {
            deadline,
            records: Records::of(tls.record_max, tls.record_hard_max),
            counted: Counted::new(tls.connections_max).ok_or(Failure::TooMany)?,
        })
    }
}

/// Performs the handshake with a client. `input` has the bytes that were already read from it;
/// `choose` selects the settings for its ClientHello.
///
/// # Errors
/// `Timeout` at the deadline. `Nothing` if the connection ends or breaks before any input, `Closed`
/// if it does so later. `Foreign` or `Http` if the input is not a valid ClientHello. `Refused` with
/// the alert that `choose` returns. `Tls` if rustls refuses the client, or the client refuses the
/// server.
pub async fn accept(
    socket: &StreamSocket,
    input: &[u8],
    choose: impl FnOnce(&Hello<'_>) -> Result<Arc<ServerConfig>, ClientHelloAlert>,
    terms: Terms,
) -> Result<(Session, Info), Failure> {
    with_deadline(terms.deadline, async {
        let mut moving = Moving::new();
        if !input.is_empty() {
            turn::wait().await;
            moving.incoming.expand();
            if !moving.incoming.extend(input) {
                return Err(Failure::Foreign);
            }
        }
        let (config, sni) = hello(socket, &mut moving, choose).await?;
        let connection =
            UnbufferedServerConnection::new(config).map_err(failure_before_verification)?;
        run_handshake(socket, moving, Party::Server(connection), sni, terms).await
    })
    .await
    .unwrap_or(Err(Failure::Timeout))
}

/// Performs the handshake with a server over an established connection.
///
/// # Errors
/// `Timeout` at the deadline. `Closed` if the connection ends or breaks. `Tls` if rustls refuses
/// the server, or the server refuses the client.
pub async fn connect(
    socket: &StreamSocket,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    sni: Option<Box<str>>,
    terms: Terms,
) -> Result<(Session, Info), Failure> {
    with_deadline(terms.deadline, async {
        turn::wait().await;
        let connection =
            UnbufferedClientConnection::new(config, name).map_err(failure_before_verification)?;
        run_handshake(socket, Moving::new(), Party::Client(connection), sni, terms).await
    })
    .await
    .unwrap_or(Err(Failure::Timeout))
}

async fn hello(
    socket: &StreamSocket,
    moving: &mut Moving,
    choose: impl FnOnce(&Hello<'_>) -> Result<Arc<ServerConfig>, ClientHelloAlert>,
) -> Result<(Arc<ServerConfig>, Option<Box<str>>), Failure> {
    loop {
        match assemble(moving.incoming.filled()) {
            Assembled::Whole(body) => {
                let hello = Hello::of_body(&body);
                let Some(hello) = hello.filter(Hello::has_unambiguous_host) else {
                    moving.alert(socket, 50);
                    return Err(Failure::Foreign);
                };
                let chosen = choose(&hello);
                let name = hello.server_name();
                let sni = name.and_then(|name| std::str::from_utf8(name).ok());
                let sni = sni.map(|name| name.to_ascii_lowercase().into_boxed_str());
                return match chosen {
                    Ok(config) => Ok((config, sni)),
                    Err(refusal) => {
                        moving.alert(socket, refusal.0);
                        Err(Failure::Refused(refusal))
                    }
                };
            }
            Assembled::Incomplete if moving.incoming.len() <= 2 * HELLO_BYTES_MAX => {}
            Assembled::Incomplete | Assembled::Excessive => {
                moving.alert(socket, 50);
                return Err(Failure::Foreign);
            }
            Assembled::Foreign => {
                return Err(foreign(socket, moving));
            }
        }
        let nothing = moving.incoming.is_empty();
        match moving.fill(socket).await {
            Ok(0) | Err(_) if nothing => return Err(Failure::Nothing),
            Ok(0) | Err(_) => return Err(Failure::Closed),
            Ok(_) => {}
        }
    }
}

/// Handles input that is not a ClientHello: a peer that uses TLS gets an alert, others get
/// nothing.
fn foreign(socket: &StreamSocket, moving: &mut Moving) -> Failure {
    const UNEXPECTED_MESSAGE: u8 = 10;
    let speaks_tls = matches!(
        moving.incoming.filled(),
        [kind::CHANGE_CIPHER..=kind::DATA, 3, ..]
    );
    if speaks_tls {
        moving.alert(socket, UNEXPECTED_MESSAGE);
    }
    let methods = [&b"GET "[..], b"POST ", b"HEAD ", b"PUT "];
    if methods
        .iter()
        .any(|method| moving.incoming.filled().starts_with(method))
    {
        Failure::Http
    } else {
        Failure::Foreign
    }
}

async fn run_handshake(
    socket: &StreamSocket,
    mut moving: Moving,
    mut party: Party,
    sni: Option<Box<str>>,
    terms: Terms,
) -> Result<(Session, Info), Failure> {
    let mut verified = Verified::default();
    let mut began_s = None;
    let broken = |_: io::Error| Failure::Closed;
    loop {
        moving.make_room(socket).await.map_err(broken)?;
        extract_hello(&mut moving.clear, moving.incoming.filled());
        let mut secrets = std::mem::take(&mut moving.secrets);
        let (step, outcome) = with_outcome(|| {
            with_secrets(&mut secrets, || {
                tickets::with_session_start(&mut began_s, || party.step(&mut moving))
            })
        });
        moving.secrets = secrets;
        if outcome.verified {
            verified = outcome;
        }
        match step {
            Ok(HandshakeStep::Again) => {}
            Ok(HandshakeStep::Done) => break,
            Ok(HandshakeStep::Closed) => return Err(Failure::Closed),
            Ok(HandshakeStep::Read) => {
                moving.flush(socket).await.map_err(broken)?;
                match moving.fill(socket).await {
                    Ok(0) | Err(_) => return Err(Failure::Closed),
                    Ok(_) => {}
                }
            }
            Err(error) => {
                let agreed = party.agreed();
                // Lets rustls encode its alert.
                moving.incoming.consume(usize::MAX);
                while party.common().wants_write() && moving.outgoing.spare().len() >= STEP_MAX {
                    if party.step(&mut moving).is_err() {
                        break;
                    }
                }
                send_missing_certificate_alert(&error, agreed, &mut moving);
                let _ = moving.outgoing.write_to(socket, false);
                return Err(Failure::Tls(error, verified, agreed));
            }
        }
    }
    moving.flush(socket).await.map_err(broken)?;
    let mut info = party
        .info(sni, verified)
        .map_err(failure_before_verification)?;
    info.clear = Some(Box::new(std::mem::take(&mut moving.clear)));
    let secrets = std::mem::take(&mut moving.secrets);
    info.secrets = (!secrets.is_empty()).then(|| Box::new(secrets));
    let session = party
        .establish(moving, terms)
        .map_err(failure_before_verification)?;
    Ok((session, info))
}

/// Replaces the alert for a missing required certificate in TLS 1.2. rustls sends that alert in any
/// version, but it exists only in TLS 1.3.
fn send_missing_certificate_alert(
    error: &rustls::Error,
    agreed: Option<Agreed>,
    moving: &mut Moving,
) {
    const CERTIFICATE_REQUIRED: u8 = 116;
    let older = agreed.is_some_and(|(version, _)| version == ProtocolVersion::TLSv1_2);
    if !older || *error != rustls::Error::NoCertificatesPresented {
        return;
    }
    if let [.., kind::ALERT, 3, 3, 0, 2, alert::FATAL, code] = moving.outgoing.filled_mut()
        && *code == CERTIFICATE_REQUIRED
    {
        *code = ClientHelloAlert::HANDSHAKE_FAILURE.0;
    }
}
