//! Answers a route query (`evenkeel route`): shows to which server a request would go, and why.
//! The request is served on a private socket by the same code as all others, and the decisions
//! are recorded. No server is contacted.

mod listener;

pub use listener::{ListenerCriteria, NotThere, find};

use crate::carry::{self, CarryError, LeftOut};
use crate::running::{self, ServeOptions};
use crate::stream;
use model::config::{Config, ListenerIndex, ServerAddress};
use model::transaction::{Endpoint, Trace};
use protocol::proxy_protocol::Header;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tls::certified;
use tls::connector::{self, ClientSettings};

/// Longest wait for the reply. Only rules can delay it.
const REPLY_MAX: Duration = Duration::from_secs(3);
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Connection limit of the proxy that serves the traced request.
const CONNECTIONS_MAX: u32 = 16;

#[derive(Clone, Debug)]
pub struct RouteQuery {
    pub at: ListenerIndex,
    /// Addresses of the client and of its destination; None: both use a Unix socket.
    pub ends: Option<[SocketAddr; 2]>,
    /// Address of the proxy that connects for the client to a listener with `accept-proxy`.
    pub through: SocketAddr,
    /// Server name for TLS; None: without TLS.
    pub tls: Option<String>,
    pub bytes: Vec<u8>,
    /// The client closes its sending side after the request, so that rules do not wait for
    /// further bytes.
    pub closes: bool,
}

#[derive(Clone, Debug)]
pub struct RouteTrace {
    pub trace: Trace,
    /// The part of the reply that arrived within [`REPLY_MAX`].
    pub reply: Vec<u8>,
    pub certificate: Option<Vec<String>>,
    pub failure: Option<String>,
}

/// Prepares a loaded configuration for tracing. Servers have the state that the file gives them;
/// servers with checks, or with an unresolved name, count as up.
pub fn prepare(mut config: Config) -> Arc<Config> {
    install(&mut config);
    Arc::new(config)
}

/// Variant of [`prepare`] with the state that another process exported, where names match. Returns
/// which data was too large to be included.
///
/// # Errors
/// The bytes are no state that [`carry`] exported, or are damaged.
pub fn prepare_live(
    mut config: Config,
    state: &[u8],
) -> Result<(Arc<Config>, LeftOut), CarryError> {
    // Ignores a failure: a server cannot be added if an operator added it under other files than
    // those loaded here.
    let _ = carry::import_servers(state, &mut config);
    install(&mut config);
    let left_out = carry::import_live(state, &config)?;
    Ok((Arc::new(config), left_out))
}

fn install(config: &mut Config) {
    for proxy in &mut config.proxies {
        for server in &mut proxy.servers {
            if server.address == ServerAddress::Unresolved {
                // Sets any address, so that the server counts as resolved; no connection to this
                // address is made.
                server.address = ServerAddress::Inet((Ipv4Addr::UNSPECIFIED, 0).into());
            }
        }
    }
    model::control::install(config, None, model::state::now_ms());
}

/// Held during a trace, because a process can run the threads of only one proxy at a time.
static ASKING: Mutex<()> = Mutex::new(());

/// Traces a request in a prepared configuration. This starts serving threads, so a process that
/// serves clients must not call it.
///
/// # Errors
///
/// Threads or sockets cannot be created, or the name for TLS is invalid.
pub fn trace_route(config: &Arc<Config>, question: &RouteQuery) -> io::Result<RouteTrace> {
    let _one = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let secured = question.tls.as_deref().map(secure).transpose();
    let secured = secured.map_err(io::Error::other)?;
    let options = ServeOptions {
        threads: 1,
        connections_max: CONNECTIONS_MAX,
    };
    let running = running::serve(Arc::clone(config), Vec::new(), &options)?;
    let (own, its) = UnixStream::pair()?;
    own.set_read_timeout(Some(REPLY_MAX))?;
    own.set_write_timeout(Some(REPLY_MAX))?;
    its.set_nonblocking(true)?;
    let trace = Arc::new(Mutex::new(Trace::default()));
    let (kept, at) = (Arc::clone(&trace), question.at);
    let listener = config.proxy(at.frontend).binds.get(at.bind as usize);
    let mut ends = question.ends;
    if listener.is_some_and(|bind| bind.preface.proxy) {
        let known = |[source, destination]: [SocketAddr; 2]| Header::tcp(source, destination);
        let mut header = Vec::new();
        ends.map_or(Header::Local, known).encode_text(&mut header);
        // Ignores a failure: if the listener refuses the PROXY header, its reply shows that.
        let _ = (&own).write_all(&header);
        ends = ends.map(|[_, destination]| [question.through, destination]);
    }
    let ends = ends.map_or([Endpoint::Unix; 2], |ends| ends.map(Endpoint::Inet));
    let of_thread = Arc::clone(config);
    let begin = move || stream::rehearse(of_thread, at, its.into(), ends, kept);
    reactor::inject(0, begin).map_err(|_| io::ErrorKind::Other)?;
    let mut answer = talk(own, question, secured);
    running.stop();
    running.wait()?;
    answer.trace = trace.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(answer)
}

fn talk(
    mut socket: UnixStream,
    question: &RouteQuery,
    secured: Option<ClientConnection>,
) -> RouteTrace {
    let bytes = &*question.bytes;
    let mut answer = RouteTrace {
        trace: Trace::default(),
        reply: Vec::new(),
        certificate: None,
        failure: None,
    };
    let Some(connection) = secured else {
        if question.closes && socket.write_all(bytes).is_ok() {
            let _ = socket.shutdown(Shutdown::Write);
        }
        let bytes = if question.closes { &[] } else { bytes };
        (answer.reply, _) = exchange(&mut socket, bytes);
        return answer;
    };
    let mut stream = StreamOwned::new(connection, socket);
    if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
        answer.failure = Some(error.to_string());
        return answer;
    }
    answer.certificate = shown(&stream.conn);
    // Sends the request even without a client certificate, because a listener reports a missing one
    // only now.
    (answer.reply, answer.failure) = exchange(&mut stream, bytes);
    answer
}

fn shown(connection: &ClientConnection) -> Option<Vec<String>> {
    let certificate = connection.peer_certificates()?.first()?;
    let names = certified::alternative_names(certificate);
    let hosts = names
        .into_iter()
        .filter(|(tag, _)| *tag == certified::DNS_NAME);
    let hosts = hosts.map(|(_, name)| String::from_utf8_lossy(name).into_owned());
    Some(hosts.collect())
}

fn secure(name: &str) -> Result<ClientConnection, String> {
    // Accepts any certificate, because nothing secret is sent.
    let settings = ClientSettings {
        alpn: vec![b"http/1.1".to_vec()],
        ..ClientSettings::default()
    };
    let config = connector::client_config(&settings).map_err(|error| error.to_string())?;
    let name = if name.is_empty() {
        connector::no_name()
    } else {
        name.to_owned()
            .try_into()
            .map_err(|_| format!("'{name}' is not a server name"))?
    };
    ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())
}

/// Sends the request. Returns the received part of the reply's head, and the reason if it is
/// incomplete.
fn exchange(stream: &mut (impl Read + Write), bytes: &[u8]) -> (Vec<u8>, Option<String>) {
    let mut reply = Vec::new();
    // Ignores a failure: a listener may close before it has read everything, and its reply contains
    // the reason.
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
    let mut piece = [0; 4096];
    while reply.len() < REPLY_BYTES_MAX && !ends(&reply) {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Err(error) => return (reply, Some(error.to_string())),
            Ok(count) => reply.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    (reply, None)
}

/// Returns whether the final head is complete, which follows the interim ones.
fn ends(reply: &[u8]) -> bool {
    let mut rest = reply;
    while let Some(at) = memchr::memmem::find(rest, b"\r\n\r\n") {
        if !rest.starts_with(b"HTTP/1.1 1") {
            return true;
        }
        rest = rest.get(at + 4..).unwrap_or_default();
    }
    false
}
