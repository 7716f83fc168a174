//! Runs a proxy for tests: created from a configuration text on free loopback ports, with
//! scripted clients and scripted origin servers. With `DRIVER_PEER=haproxy` in the environment
//! the same tests run against HAProxy, to verify claims about its behaviour.

pub use crate::clock::settle;
pub use crate::peer::{Gate, Peer, ScriptedOrigin, request_body};
use configuration::LoadOptions;
use keyword::load::load;
use model::config::{BindAddress, Config};
use model::state::{self, Tally};
use model::transaction::ProxyStream;
use proxy::listener::Listening;
use proxy::running::{Changed, DataPlane, ServeOptions};
use proxy::runtime::VersionReport;
use proxy::stream;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Held while a proxy runs: a process can run only one, because its threads have fixed numbers.
static ONE: Mutex<()> = Mutex::new(());
/// Streams that ended, as logs show them.
static ENDED: Mutex<Vec<StreamLog>> = Mutex::new(Vec::new());
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Timeout after which a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Log fields of a stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StreamLog {
    /// `%ts`: the two letters of the termination state.
    pub state: String,
    /// `%ST`; 0 is -1 in a log.
    pub status: u16,
    /// The retries as the log format `%rc` writes them: a number, behind `+` after a redispatch.
    pub retries: String,
    pub server: String,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub total_ms: u64,
    /// `%Tw`; None if the stream was in no queue and got no server.
    pub queue_ms: Option<u64>,
    /// The queue positions at the server and at the backend, as `%sq/%bq` of the log format.
    pub queues: String,
}

impl StreamLog {
    /// Returns status and state: "200 --".
    pub fn brief(&self) -> String {
        format!("{} {}", self.status, self.state)
    }
}

pub fn against_haproxy() -> bool {
    std::env::var_os("DRIVER_PEER").is_some_and(|peer| peer == "haproxy")
}

enum System {
    Ours(Option<DataPlane>, Arc<Config>),
    Haproxy {
        process: Child,
        log: UdpSocket,
        dir: std::path::PathBuf,
    },
}

pub struct ProxyFixture {
    system: System,
    /// Ports of `{0}`, `{1}`… in the text.
    pub ports: Vec<u16>,
    _one: MutexGuard<'static, ()>,
}

const HEAD: &str = "
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 5s
";

fn free_ports(n: usize) -> Vec<u16> {
    (0..n).map(|_| lab::free_port().unwrap()).collect()
}

/// Prevents other beds from being created while the guard is held.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ProxyFixture {
    /// Creates a proxy on one thread. `{0}` to `{3}` in `text` become free ports.
    pub fn new(text: &str) -> ProxyFixture {
        ProxyFixture::with(
            text,
            &ServeOptions {
                threads: 1,
                connections_max: 20_000,
            },
        )
    }

    pub fn with(text: &str, options: &ServeOptions) -> ProxyFixture {
        let one = alone();
        ProxyFixture::forget_ended();
        let ports = free_ports(4);
        let whole = put_ports(text, &ports);
        if against_haproxy() {
            return ProxyFixture {
                system: haproxy(&whole, options),
                ports,
                _one: one,
            };
        }
        stream::observe_ended(note_ended);
        let mut config = loaded(&whole);
        model::control::install(&mut config, None, state::now_ms());
        let (listening, errors) = proxy::listener::open(&config, &mut Default::default());
        assert!(errors.is_empty(), "{errors:?}");
        let config = Arc::new(config);
        let running = proxy::running::serve(config.clone(), listening, options).unwrap();
        let system = System::Ours(Some(running), config);
        ProxyFixture {
            system,
            ports,
            _one: one,
        }
    }

    /// Clears the list of ended streams, and frees its memory.
    pub fn forget_ended() {
        *ENDED.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }

    /// Delays the end of every stream as long as the guard is held, although its client has the
    /// whole response.
    pub fn hold_ends() -> impl Drop {
        ENDED.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Installs another configuration in the running proxy, as a reload does.
    pub fn change(&mut self, text: &str) -> Changed {
        self.change_to(
            text,
            &ServeOptions {
                threads: 1,
                connections_max: 20_000,
            },
        )
    }

    pub fn change_to(&mut self, text: &str, options: &ServeOptions) -> Changed {
        let config = loaded(&self.with_ports(text));
        let System::Ours(running, newest) = &mut self.system else {
            panic!("only with our own");
        };
        let running = running.as_ref().unwrap();
        let served = running.runtime.listeners();
        let address = |one: &Listening| {
            newest.proxy(one.proxy).binds[one.bind as usize]
                .address
                .clone()
        };
        let mut listening = Vec::new();
        for (proxy, described) in config.iter().filter(|(_, p)| p.kind.is_frontend()) {
            for (bind, at) in described.binds.iter().zip(0..) {
                // A remaining listener is never opened twice.
                let open = served.iter().find(|one| address(one) == bind.address);
                let fd =
                    open.map_or_else(|| listen(&bind.address), |one| one.fd.try_clone().unwrap());
                listening.push(Listening {
                    inode: rustix::fs::fstat(&fd).unwrap().st_ino,
                    fd: Arc::new(fd),
                    proxy,
                    bind: at,
                    state: Arc::default(),
                });
            }
        }
        let changed = running.change(config, listening, options).unwrap();
        *newest = running.runtime.config();
        changed
    }

    fn with_ports(&self, text: &str) -> String {
        put_ports(text, &self.ports)
    }

    /// Waits until these configuration versions are alive with this number of connections, after
    /// unreferenced ones were freed.
    pub fn versions_become(&self, wanted: &[(u64, u64)]) {
        let at = Instant::now();
        while self.versions(wanted.len()) != wanted && at.elapsed() < PATIENCE {
            pause(5);
        }
        assert_eq!(self.versions(wanted.len()), wanted);
    }

    /// Returns the live configuration versions with their connections, after unreferenced ones
    /// were freed; waits until there are `wanted`.
    pub fn versions(&self, wanted: usize) -> Vec<(u64, u64)> {
        let System::Ours(Some(running), ..) = &self.system else {
            panic!("only with our own");
        };
        let at = Instant::now();
        loop {
            running.forget_unused();
            let versions = running.versions();
            if versions.len() == wanted || at.elapsed() > PATIENCE {
                let brief = |one: &VersionReport| (one.number, one.connections);
                return versions.iter().map(brief).collect();
            }
            pause(5);
        }
    }

    /// Connects a client to the first port.
    pub fn client(&self) -> Peer {
        self.client_of(0)
    }

    pub fn client_of(&self, n: usize) -> Peer {
        let at = Instant::now();
        loop {
            match TcpStream::connect(("127.0.0.1", self.ports[n])) {
                Ok(socket) => return Peer::new(socket),
                // haproxy needs a moment until it listens.
                Err(_) if against_haproxy() && at.elapsed() < PATIENCE => pause(5),
                Err(error) => panic!("no connection: {error}"),
            }
        }
    }

    /// Returns the address of the first port.
    pub fn client_address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.ports[0]).into()
    }

    /// Sends one request on a new connection and reads the response, as far as it arrives.
    pub fn ask(&self, request: &str) -> String {
        let mut client = self.client();
        client.send(request);
        let Some(head) = client.head() else {
            return client.rest();
        };
        let length = head
            .to_ascii_lowercase()
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split("\r\n").next()?.parse::<usize>().ok());
        while length.is_none_or(|n| client.ahead.len() < n) {
            if !matches!(client.more(), Ok(true)) {
                break;
            }
        }
        head + &String::from_utf8_lossy(&client.ahead)
    }

    /// Returns the next `n` streams that ended, in order.
    pub fn ended(&self, n: usize) -> Vec<StreamLog> {
        let at = Instant::now();
        if let System::Haproxy { log, .. } = &self.system {
            return (0..n).map(|_| read_log(log)).collect();
        }
        loop {
            let mut ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
            if ended.len() >= n {
                return ended.drain(..n).collect();
            }
            assert!(
                at.elapsed() < PATIENCE,
                "of {n} streams only these ended: {ended:?}"
            );
            drop(ended);
            pause(1);
        }
    }

    /// Returns the next stream that ended: "200 --".
    pub fn end(&self) -> String {
        self.ended(1)[0].brief()
    }

    /// Checks that no other stream ended.
    pub fn no_more_ended(&self) {
        settle();
        match &self.system {
            System::Haproxy { log, .. } => {
                log.set_nonblocking(true).unwrap();
                assert!(log.recv(&mut [0; 2000]).is_err(), "another stream ended");
                log.set_nonblocking(false).unwrap();
            }
            System::Ours(..) => {
                let ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
                assert!(ended.is_empty(), "{ended:?}");
            }
        }
    }

    /// Checks that at most this many streams have ended so far.
    pub fn no_more_ended_but(&self, n: usize) {
        let ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(ended.len() <= n, "{ended:?}");
    }

    /// Returns the counters that are not 0 of "front", "back/BACKEND" or "back/server", in the
    /// order and with the names of the statistics.
    pub fn counted(&self, place: &str, names: &str) -> String {
        let values = match &self.system {
            System::Haproxy { dir, .. } => show_stat(dir, place),
            System::Ours(_, config) => our_stat(config, place),
        };
        let mut out = Vec::new();
        for name in names.split_whitespace() {
            match values.get(name).map(String::as_str) {
                None | Some("" | "0") => {}
                Some(value) => out.push(format!("{name}={value}")),
            }
        }
        out.join(" ")
    }

    /// Waits until counters have these values.
    pub fn counts(&self, place: &str, names: &str, wanted: &str) {
        let at = Instant::now();
        let mut seen = String::new();
        while at.elapsed() < PATIENCE {
            seen = self.counted(place, names);
            if seen == wanted {
                return;
            }
            pause(10);
        }
        assert_eq!(seen, wanted, "counters of {place}");
    }

    /// Returns the configuration in service.
    pub fn config(&self) -> Arc<Config> {
        match &self.system {
            System::Ours(_, config) => Arc::clone(config),
            System::Haproxy { .. } => panic!("only with our own"),
        }
    }

    pub fn config_holders(&self) -> usize {
        match &self.system {
            System::Ours(_, config) => Arc::strong_count(config),
            System::Haproxy { .. } => 0,
        }
    }

    /// Returns Evenkeel's proxy; panics if the tests run against HAProxy.
    pub fn ours(&mut self) -> &mut Option<DataPlane> {
        match &mut self.system {
            System::Ours(running, ..) => running,
            System::Haproxy { .. } => panic!("only with our own"),
        }
    }
}

fn put_ports(text: &str, ports: &[u16]) -> String {
    let mut whole = text.to_owned();
    for (n, port) in ports.iter().enumerate() {
        whole = whole.replace(&format!("{{{n}}}"), &port.to_string());
    }
    whole
}

fn loaded(text: &str) -> Config {
    let loaded = load(
        vec![("test.cfg".to_owned(), format!("{HEAD}{text}").into_bytes())],
        language::Environment::empty(),
        language::Facts::new("2.6.12"),
        LoadOptions::default(),
    );
    let told = language::render::concise(&loaded.sources, &loaded.diagnostics, true);
    loaded.config.unwrap_or_else(|| panic!("{told}"))
}

fn listen(address: &BindAddress) -> OwnedFd {
    let BindAddress::Inet(address) = address else {
        panic!("only addresses");
    };
    // The port of the previous listener may still be open for a moment.
    let at = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener.into(),
            Err(error) => assert!(at.elapsed() < PATIENCE, "{error}"),
        }
        pause(5);
    }
}

impl Drop for ProxyFixture {
    fn drop(&mut self) {
        match &mut self.system {
            System::Ours(running, ..) => {
                let Some(running) = running.take() else {
                    return;
                };
                running.stop();
                let ended = running.wait();
                if !std::thread::panicking() {
                    ended.unwrap();
                    assert_eq!(reactor::panics(), 0, "a task panicked");
                }
            }
            System::Haproxy { process, dir, .. } => {
                let _ = process.kill();
                let _ = process.wait();
                let _ = std::fs::remove_dir_all(dir);
            }
        }
    }
}

fn note_ended(stream: &ProxyStream) {
    let ms =
        |at: reactor::Instant| at.saturating_duration_since(stream.times.began).as_millis() as u64;
    let ended = StreamLog {
        state: [
            stream.outcome.termination.letter(),
            stream.outcome.phase.letter(),
        ]
        .map(char::from)
        .iter()
        .collect(),
        status: stream.status(),
        retries: format!(
            "{}{}",
            if stream.route.redispatched { "+" } else { "" },
            stream.route.retries
        ),
        server: stream
            .server()
            .map_or("<NOSRV>".into(), |server| server.name.to_string()),
        bytes_in: stream.transfer.bytes_in,
        bytes_out: stream.transfer.bytes_out,
        total_ms: stream.times.ended.map_or(0, ms),
        queue_ms: stream.times.queued.map(|at| {
            let start = stream.times.request.unwrap_or(stream.times.began);
            at.saturating_duration_since(start).as_millis() as u64
        }),
        queues: format!(
            "{}/{}",
            stream.route.server_queue, stream.route.backend_queue
        ),
    };
    ENDED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(ended);
}

fn haproxy(text: &str, options: &ServeOptions) -> System {
    let log = UdpSocket::bind("127.0.0.1:0").unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    let dir = std::env::temp_dir().join(format!(
        "driver-{}-{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    ));
    std::fs::create_dir_all(&dir).unwrap();
    let global = format!(
        "global\n nbthread {}\n maxconn {}\n stats socket {}/stats level admin\n log 127.0.0.1:{} local0\n",
        options.threads,
        options.connections_max.min(2000),
        dir.display(),
        log.local_addr().unwrap().port()
    );
    let format = " log global\n log-format \"@ %ts %ST %rc %s %U %B %Tt %Tw %sq/%bq\"\n";
    let whole = format!("{global}{HEAD}{format}{text}");
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, whole).unwrap();
    let process = Command::new("/usr/sbin/haproxy")
        .arg("-db")
        .arg("-f")
        .arg(&file)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    System::Haproxy { process, log, dir }
}

fn read_log(log: &UdpSocket) -> StreamLog {
    loop {
        let mut bytes = [0; 4000];
        let n = log.recv(&mut bytes).expect("a log line");
        let line = String::from_utf8_lossy(&bytes[..n]).into_owned();
        // Notices ("Proxy x started") do not have the mark of a stream's line.
        let Some((_, fields)) = line.split_once("@ ") else {
            continue;
        };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        return StreamLog {
            state: fields[0].to_owned(),
            status: fields[1].parse().unwrap_or(0),
            retries: fields[2].to_owned(),
            server: fields[3].to_owned(),
            bytes_in: fields[4].trim_start_matches('+').parse().unwrap_or(0),
            bytes_out: fields[5].trim_start_matches('+').parse().unwrap_or(0),
            total_ms: fields[6].trim_start_matches('+').parse().unwrap_or(0),
            queue_ms: fields[7].parse().ok(),
            queues: fields[8].to_owned(),
        };
    }
}

fn show_stat(dir: &std::path::Path, place: &str) -> HashMap<String, String> {
    let mut socket = UnixStream::connect(dir.join("stats")).unwrap();
    socket.write_all(b"show stat\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines
        .next()
        .unwrap()
        .trim_start_matches("# ")
        .split(',')
        .collect();
    let (proxy, service) = place.split_once('/').unwrap_or((place, "FRONTEND"));
    let line = lines
        .find(|line| line.starts_with(&format!("{proxy},{service},")))
        .unwrap_or_else(|| panic!("no {place} in {text}"));
    names
        .iter()
        .map(|n| (*n).to_owned())
        .zip(line.split(',').map(str::to_owned))
        .collect()
}

const OUR_TALLIES: &[(&str, Tally)] = &[
    ("stot", Tally::Sessions),
    ("conn_tot", Tally::Connections),
    ("bin", Tally::BytesIn),
    ("bout", Tally::BytesOut),
    ("req_tot", Tally::Requests),
    ("dreq", Tally::DeniedRequests),
    ("dresp", Tally::DeniedResponses),
    ("ereq", Tally::RequestErrors),
    ("econ", Tally::ConnectErrors),
    ("eresp", Tally::ResponseErrors),
    ("wretr", Tally::Retries),
    ("wredis", Tally::Redispatches),
    ("hrsp_1xx", Tally::Status1xx),
    ("hrsp_2xx", Tally::Status2xx),
    ("hrsp_3xx", Tally::Status3xx),
    ("hrsp_4xx", Tally::Status4xx),
    ("hrsp_5xx", Tally::Status5xx),
    ("cli_abrt", Tally::ClientAborts),
    ("srv_abrt", Tally::ServerAborts),
    ("lbtot", Tally::Chosen),
    ("intercepted", Tally::Intercepted),
    ("connect", Tally::Connects),
    ("reuse", Tally::Reuses),
    ("comp_rsp", Tally::CompressedAnswers),
    ("comp_in", Tally::CompressedIn),
];

fn our_stat(config: &Config, place: &str) -> HashMap<String, String> {
    let (name, service) = place.split_once('/').unwrap_or((place, "FRONTEND"));
    let proxy = config.proxies.iter().find(|p| &*p.name == name).unwrap();
    let mut out = HashMap::new();
    let counters = match service {
        "FRONTEND" => {
            out.insert(
                "scur".to_owned(),
                proxy.state.frontend.sessions.current().to_string(),
            );
            &proxy.state.frontend.counters
        }
        "BACKEND" => {
            out.insert(
                "scur".to_owned(),
                proxy.state.backend.sessions.current().to_string(),
            );
            out.insert(
                "qcur".to_owned(),
                proxy.state.backend.queue.waiting.current().to_string(),
            );
            &proxy.state.backend.counters
        }
        server => {
            let state = &proxy
                .servers
                .iter()
                .find(|s| &*s.name == server)
                .unwrap()
                .state;
            out.insert(
                "scur".to_owned(),
                state.traffic.sessions.current().to_string(),
            );
            out.insert("qcur".to_owned(), state.queue.waiting.current().to_string());
            &state.traffic.counters
        }
    };
    for (name, tally) in OUR_TALLIES {
        out.insert((*name).to_owned(), counters.read(*tally).to_string());
    }
    out
}

/// Waits until a condition is true.
pub fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let at = Instant::now();
    while !is() {
        assert!(at.elapsed() < PATIENCE, "not soon: {what}");
        pause(5);
    }
}

pub fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}
