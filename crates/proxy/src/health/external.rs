//! Runs the programs of `option external-check` through another process, the check runner, because
//! the proxy process may start no programs. The supervisor supplies the connection to the check
//! runner (`set_runner_connection`).
//!
//! If the connection breaks, or if the check runner only knows the programs of an older
//! configuration, the supervisor is requested to start another check runner (`needs_runner`).
//! Checks wait at most `PROCESS_LIMIT` for a check runner.

use super::probe::{Limits, check_of};
use model::config::{BindAddress, HttpProtocol, Mode, Proxy, Server, ServerAddress};
use model::state::{CheckResult, CheckStatus};
use model::thread::lock;
use part::role::{
    CheckProgram, EXTERNAL_RUNNING_MAX, ExternalCheck, ExternalEnd, ExternalResult, external_frame,
};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

const NOT_USED: &str = "NOT_USED";
/// Time allowed for the result of a program to arrive, in addition to the timeout of the program.
const GRACE: Duration = Duration::from_secs(2);
/// Longest wait of a check for the process that runs its program.
const PROCESS_LIMIT: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 4_096;

static WANTED: AtomicBool = AtomicBool::new(false);
static NEXT: AtomicU64 = AtomicU64::new(1);
static LINK: Mutex<RunnerLink> = Mutex::new(RunnerLink::None);
static BROUGHT: Notify = Notify::const_new();
/// Limits the running programs. Further checks wait for a permit before their timeout starts.
static PLACES: Semaphore = Semaphore::const_new(EXTERNAL_RUNNING_MAX);

enum RunnerLink {
    None,
    /// Supplied by the supervisor and not used yet.
    Fresh(OwnedFd),
    Open(Arc<RunnerConnection>),
}

type PendingResults = Arc<Mutex<HashMap<u64, oneshot::Sender<ExternalEnd>>>>;

/// The connection to the process that runs programs. It is closed when the last reference is
/// dropped.
struct RunnerConnection {
    requests: mpsc::Sender<Vec<u8>>,
    waiting: PendingResults,
}

/// Returns whether a check has found no open connection to a check runner, so that the supervisor
/// must supply one.
pub fn needs_runner() -> bool {
    WANTED.load(Relaxed)
}

pub fn set_runner_connection(connection: OwnedFd) {
    let mut link = lock(&LINK);
    *link = RunnerLink::Fresh(connection);
    WANTED.store(false, Relaxed);
    drop(link);
    BROUGHT.notify_waiters();
}

/// Returns the current connection, opened on the Tokio runtime of this thread. If there is none,
/// requests one from the supervisor.
fn open() -> Option<Arc<RunnerConnection>> {
    let mut link = lock(&LINK);
    match std::mem::replace(&mut *link, RunnerLink::None) {
        RunnerLink::Open(open) if !open.requests.is_closed() => {
            *link = RunnerLink::Open(Arc::clone(&open));
            Some(open)
        }
        RunnerLink::Fresh(fd) => {
            let stream = StdStream::from(fd);
            stream.set_nonblocking(true).ok()?;
            let stream = UnixStream::from_std(stream).ok()?;
            let (requests, taken) = mpsc::channel(EXTERNAL_RUNNING_MAX);
            let waiting = PendingResults::default();
            tokio::spawn(carry(stream, taken, Arc::clone(&waiting)));
            let open = Arc::new(RunnerConnection { requests, waiting });
            *link = RunnerLink::Open(Arc::clone(&open));
            Some(open)
        }
        RunnerLink::Open(_) | RunnerLink::None => {
            WANTED.store(true, Relaxed);
            None
        }
    }
}

fn let_go(open: &Arc<RunnerConnection>) {
    let mut link = lock(&LINK);
    if matches!(&*link, RunnerLink::Open(used) if Arc::ptr_eq(used, open)) {
        *link = RunnerLink::None;
    }
}

/// Carries requests and results until the connection breaks or is no longer used.
async fn carry(stream: UnixStream, mut requests: mpsc::Receiver<Vec<u8>>, waiting: PendingResults) {
    let (mut reads, mut writes) = stream.into_split();
    let write = async move {
        while let Some(frame) = requests.recv().await {
            writes.write_all(&frame).await?;
        }
        Ok::<(), io::Error>(())
    };
    let read = async {
        let mut input = Vec::new();
        let mut bytes = [0; READ_BYTES];
        loop {
            let count = reads.read(&mut bytes).await?;
            if count == 0 {
                return Ok::<(), io::Error>(());
            }
            input.extend_from_slice(&bytes[..count]);
            while let Some((body, taken)) = external_frame(&input).map_err(io::Error::other)? {
                let result = ExternalResult::decode(body).map_err(io::Error::other)?;
                if let Some(waits) = lock(&waiting).remove(&result.id) {
                    // Sending fails if the check was abandoned meanwhile.
                    let _ = waits.send(result.end);
                }
                input.drain(..taken);
            }
        }
    };
    // Ends when no check uses the connection any longer; the other process then closes its side.
    let writing = tokio::spawn(write).abort_handle();
    // When reading ends, the checks that wait for a result send their request to another process.
    let _ = read.await;
    writing.abort();
    lock(&waiting).clear();
}

/// A pending request. Dropping it abandons the result.
struct PendingExternalCheck(Arc<RunnerConnection>, u64);

impl Drop for PendingExternalCheck {
    fn drop(&mut self) {
        lock(&self.0.waiting).remove(&self.1);
    }
}

/// Runs a program; None if no process ran it in time.
async fn run(mut check: ExternalCheck) -> Option<ExternalEnd> {
    let by = Instant::now() + PROCESS_LIMIT;
    let limit = Duration::from_millis(check.timeout_ms.into()) + GRACE;
    loop {
        // Created before `open` looks for a connection: notifications from here on are received,
        // even before the first poll.
        let brought = BROUGHT.notified();
        let Some(open) = open() else {
            match timeout_at(by, brought).await {
                Ok(()) => continue,
                Err(_) => return None,
            }
        };
        check.id = NEXT.fetch_add(1, Relaxed);
        let frame = check.frame()?;
        let (give, take) = oneshot::channel();
        let asked = PendingExternalCheck(Arc::clone(&open), check.id);
        lock(&open.waiting).insert(check.id, give);
        let until = Instant::now() + limit;
        if open.requests.send(frame).await.is_ok() {
            match timeout_at(until, take).await {
                Ok(Ok(ExternalEnd::NotAllowed)) => {}
                Ok(Ok(end)) => return Some(end),
                Ok(Err(_)) => {}
                Err(_) => return None,
            }
        }
        drop(asked);
        let_go(&open);
        if Instant::now() >= by {
            return None;
        }
    }
}

pub(super) async fn probe(proxy: &Proxy, server: &Server) -> CheckResult {
    // The semaphore is never closed, so this always gets a permit.
    let _place = PLACES.acquire().await;
    let began = Instant::now();
    let limit = Limits::of(proxy, server).program();
    let end = run(request(proxy, server, limit)).await;
    let duration_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
    result(end, duration_ms)
}

fn result(end: Option<ExternalEnd>, duration_ms: u32) -> CheckResult {
    let of = |status| CheckResult::new(status, duration_ms);
    match end {
        Some(ExternalEnd::Exited(0)) => of(CheckStatus::ProcessOk),
        Some(ExternalEnd::Exited(code)) => {
            let code = u16::try_from(code).unwrap_or(u16::MAX);
            of(CheckStatus::ProcessError).code(code)
        }
        Some(ExternalEnd::Killed(signal)) => {
            of(CheckStatus::ProcessError).info(format!("terminated by signal {signal}"))
        }
        Some(ExternalEnd::TimedOut) => of(CheckStatus::ProcessTimeout),
        Some(ExternalEnd::NotStarted(errno)) => {
            let error = io::Error::from_raw_os_error(errno);
            let words = language::reason(&error);
            of(CheckStatus::SocketError).info(format!("cannot start the program: {words}"))
        }
        Some(ExternalEnd::Busy) => {
            of(CheckStatus::SocketError).info("too many programs are running")
        }
        Some(ExternalEnd::NotAllowed) | None => {
            of(CheckStatus::SocketError).info("the process for external checks is not running")
        }
    }
}

fn listener(proxy: &Proxy) -> (String, String) {
    let not_used = || NOT_USED.to_owned();
    proxy
        .binds
        .iter()
        .find_map(|bind| match &bind.address {
            BindAddress::Inet(address) => Some(words_of(address)),
            BindAddress::Unix(path) => Some((path.display().to_string(), not_used())),
            BindAddress::Abstract(_) | BindAddress::Fd(_) | BindAddress::Name(..) => None,
        })
        .unwrap_or_else(|| (not_used(), not_used()))
}

fn words_of(address: &SocketAddr) -> (String, String) {
    (address.ip().to_string(), address.port().to_string())
}

/// Returns the address and port of the server. External checks always get those of the server
/// itself.
fn address(server: &Server) -> (String, String) {
    let set = server.state.address_override();
    match set.as_ref().unwrap_or(&server.address) {
        ServerAddress::Inet(address) => words_of(address),
        // HAProxy passes the port's offset in place of the port.
        ServerAddress::SamePort(ip, offset) => (ip.to_string(), offset.to_string()),
        ServerAddress::Unix(path) => (path.display().to_string(), NOT_USED.to_owned()),
        ServerAddress::Abstract(_) => (String::new(), NOT_USED.to_owned()),
        ServerAddress::Unresolved => (String::new(), String::new()),
    }
}

fn request(proxy: &Proxy, server: &Server, limit: Duration) -> ExternalCheck {
    let (proxy_address, proxy_port) = listener(proxy);
    let (server_address, server_port) = address(server);
    let used = |text: &String| match text.as_str() {
        NOT_USED => String::new(),
        _ => text.clone(),
    };
    let state = &server.state;
    let variables = [
        ("HAPROXY_PROXY_NAME", proxy.name.to_string()),
        ("HAPROXY_PROXY_ID", proxy.id.to_string()),
        ("HAPROXY_PROXY_ADDR", used(&proxy_address)),
        ("HAPROXY_PROXY_PORT", used(&proxy_port)),
        ("HAPROXY_SERVER_NAME", server.name.to_string()),
        ("HAPROXY_SERVER_ID", server.id.to_string()),
        ("HAPROXY_SERVER_ADDR", server_address.clone()),
        ("HAPROXY_SERVER_PORT", used(&server_port)),
        ("HAPROXY_SERVER_MAXCONN", state.maxconn().to_string()),
        (
            "HAPROXY_SERVER_CURCONN",
            state.traffic.sessions.current().to_string(),
        ),
        (
            "HAPROXY_SERVER_SSL",
            u8::from(server.options.tls.ssl).to_string(),
        ),
        (
            "HAPROXY_SERVER_PROTO",
            protocol_of(proxy, server).to_owned(),
        ),
    ];
    let external = &check_of(proxy, server).external;
    let bytes = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().into();
    ExternalCheck {
        id: 0,
        timeout_ms: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
        program: CheckProgram {
            command: bytes(&external.command),
            path: bytes(&external.path),
        },
        arguments: [proxy_address, proxy_port, server_address, server_port]
            .map(String::into_bytes)
            .into(),
        variables: variables
            .map(|(name, value)| (name.into(), value.into_bytes()))
            .into(),
    }
}

fn protocol_of(proxy: &Proxy, server: &Server) -> &'static str {
    match (proxy.mode, server.options.protocol) {
        (Mode::Http, Some(HttpProtocol::Http2)) => "h2",
        (Mode::Http, Some(HttpProtocol::FastCgi)) => "fcgi",
        (Mode::Http, _) => "h1",
        _ => "tcp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::testing::load_text;

    #[test]
    fn a_program_gets_the_arguments_and_variables_that_haproxy_gives_it() {
        let text = "global\n external-check\nlisten db\n mode tcp\n bind 127.0.0.1:3306\n timeout check 9s\n timeout connect 2s\n\
                    option external-check\n external-check command /bin/true\n\
                    server one 127.0.0.2:3307 check inter 5s maxconn 7\n server two /run/x.sock check inter 1s\n";
        let mut config = load_text(text).config.expect("it is right");
        model::control::install(&mut config, None, 0);
        let proxy = &config.proxies[0];
        let words = |server: &Server| {
            let limit = Limits::of(proxy, server).program();
            let check = request(proxy, server, limit);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let arguments: Vec<_> = check.arguments.iter().map(|word| text(word)).collect();
            let pairs = check.variables.iter();
            let pairs = pairs.map(|(name, value)| format!("{}={}", text(name), text(value)));
            (
                check.timeout_ms,
                arguments.join(" "),
                pairs.collect::<Vec<_>>(),
            )
        };
        let (limit, arguments, variables) = words(&proxy.servers[0]);
        assert_eq!(
            (limit, &*arguments),
            (2_000, "127.0.0.1 3306 127.0.0.2 3307")
        );
        for wanted in [
            "HAPROXY_PROXY_NAME=db",
            "HAPROXY_PROXY_PORT=3306",
            "HAPROXY_SERVER_NAME=one",
            "HAPROXY_SERVER_ID=1",
            "HAPROXY_SERVER_MAXCONN=7",
            "HAPROXY_SERVER_CURCONN=0",
            "HAPROXY_SERVER_SSL=0",
            "HAPROXY_SERVER_PROTO=tcp",
        ] {
            assert!(variables.iter().any(|one| one == wanted), "{variables:?}");
        }
        let (limit, arguments, variables) = words(&proxy.servers[1]);
        assert_eq!(
            (limit, &*arguments),
            (1_000, "127.0.0.1 3306 /run/x.sock NOT_USED")
        );
        assert!(variables.iter().any(|one| one == "HAPROXY_SERVER_PORT="));
    }

    #[test]
    fn waiting_checks_continue_with_a_new_check_runner() {
        let check = || ExternalCheck {
            id: 0,
            timeout_ms: 60_000,
            program: CheckProgram {
                command: b"true".to_vec(),
                path: Vec::new(),
            },
            arguments: Vec::new(),
            variables: Vec::new(),
        };
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(async {
            let checks = [tokio::spawn(run(check())), tokio::spawn(run(check()))];
            while !needs_runner() {
                tokio::task::yield_now().await;
            }
            let (ours, theirs) = StdStream::pair().unwrap();
            set_runner_connection(ours.into());
            assert!(!needs_runner());
            theirs.set_nonblocking(true).unwrap();
            let mut theirs = UnixStream::from_std(theirs).unwrap();
            let (mut input, mut answered) = (Vec::new(), 0);
            while answered < checks.len() {
                assert!(theirs.read_buf(&mut input).await.unwrap() > 0);
                while let Some((body, taken)) = external_frame(&input).unwrap() {
                    let id = ExternalCheck::decode(body).unwrap().id;
                    input.drain(..taken);
                    let end = ExternalEnd::Exited(3);
                    let frame = ExternalResult { id, end }.frame();
                    theirs.write_all(&frame).await.unwrap();
                    answered += 1;
                }
            }
            for check in checks {
                assert_eq!(check.await.unwrap(), Some(ExternalEnd::Exited(3)));
            }
            assert!(!needs_runner());
        });
    }

    #[test]
    fn program_end_is_reported_as_in_haproxy() {
        for (end, status, code) in [
            (Some(ExternalEnd::Exited(0)), CheckStatus::ProcessOk, 0),
            (Some(ExternalEnd::Exited(3)), CheckStatus::ProcessError, 3),
            (Some(ExternalEnd::Killed(9)), CheckStatus::ProcessError, 0),
            (Some(ExternalEnd::TimedOut), CheckStatus::ProcessTimeout, 0),
            (
                Some(ExternalEnd::NotStarted(2)),
                CheckStatus::SocketError,
                0,
            ),
            (None, CheckStatus::SocketError, 0),
        ] {
            let result = result(end, 5);
            assert_eq!((result.status, result.code), (status, code), "{end:?}");
        }
    }
}
