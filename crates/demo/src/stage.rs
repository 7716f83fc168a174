//! Runs the components of the demo: the servers, the proxy, the load, and the list of events, and
//! changes the configuration of the running proxy. The module prints nothing.

use super::load::{DemoClients, LoadStatistics, PACE};
use super::server::{NAMES, SERVERS, SampleServer, listen};
use configuration::LoadOptions;
use language::reason;
use language::{Environment, Facts, render};
use model::config::Config;
use model::state;
use proxy::health;
use proxy::listener::{self, Inherited, Listening, OpenStep};
use proxy::running::ServeOptions;
use proxy_role::process::{self, ServingProcess, SideThreadHandle, StartError};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub const CONFIGURATION: &str = include_str!("../../../examples/demo.cfg");

/// Ports of the proxy, below the system's range for outgoing connections, so that a restarted
/// server finds its port free.
const PROXY_PORTS: std::ops::Range<u16> = 8080..8180;
const SERVER_PORTS: std::ops::Range<u16> = 8180..8380;
/// Line that [`RunningDemo::change`] appends to the configuration, in `backend samples`.
pub const ADDED: &str = "    server three \"${DEMO_SERVER_3}\"\n";
pub const BLOCKED: &str = "/private";
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
const ANSWER_MAX: u64 = 4096;
const EVENTS_MAX: usize = 200;
const CONNECTIONS_MAX: u32 = 500;
const OPTIONS: ServeOptions = ServeOptions {
    threads: 1,
    connections_max: CONNECTIONS_MAX,
};

#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("{}", reason(.0))]
    System(#[from] io::Error),
    #[error("examples/demo.cfg is refused\n{0}")]
    Configuration(String),
    #[error("{step} {address}: {}", nix::errno::Errno::from_raw(.errno.raw_os_error()).desc())]
    Listen {
        step: OpenStep,
        address: SocketAddr,
        errno: rustix::io::Errno,
    },
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Text of an event, with its time since the start of the demo.
#[derive(Clone, Debug)]
pub struct StageEvent {
    pub at: Duration,
    pub text: String,
}

#[derive(Clone)]
pub struct Events {
    began: Instant,
    list: Arc<Mutex<VecDeque<StageEvent>>>,
}

impl Events {
    fn new() -> Self {
        Events {
            began: Instant::now(),
            list: Arc::default(),
        }
    }

    /// Adds an event. Above [`EVENTS_MAX`] the oldest event is dropped.
    pub fn add(&self, text: impl Into<String>) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() == EVENTS_MAX {
            list.pop_front();
        }
        list.push_back(StageEvent {
            at: self.began.elapsed(),
            text: text.into(),
        });
    }

    /// Returns the newest events, the oldest of them first.
    pub fn last(&self, count: usize) -> Vec<StageEvent> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter()
            .skip(list.len().saturating_sub(count))
            .cloned()
            .collect()
    }

    pub fn take(&self) -> Vec<StageEvent> {
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
            .collect()
    }
}

/// Running demo, which ends when this value is dropped.
pub struct RunningDemo {
    // The load is dropped first, because its clients need all other fields.
    _load: DemoClients,
    side: SideThreadHandle,
    pub seen: Arc<LoadStatistics>,
    pub events: Events,
    pub servers: [SampleServer; SERVERS],
    pub address: SocketAddr,
    serving: ServingProcess,
    listener: OwnedFd,
}

impl RunningDemo {
    pub fn set() -> Result<RunningDemo, StageError> {
        let events = Events::new();
        let [one, two, three] = NAMES.map(|name| SampleServer::start(name, SERVER_PORTS));
        let servers = [one?, two?, three?];
        let address = listen(PROXY_PORTS)?.local_addr()?;
        let config = configuration(CONFIGURATION.to_owned(), environment(address, &servers))?;
        let listening = open(&config, Inherited::default(), address)?;
        let Some(first) = listening.first() else {
            return Err(StageError::System(io::ErrorKind::AddrNotAvailable.into()));
        };
        let listener = first.fd.try_clone()?;
        let told = events.clone();
        let notice =
            |_: &Arc<Config>| -> health::Notice { Arc::new(move |_, _, _, text| told.add(text)) };
        let (serving, side) =
            process::serve(config, listening, Vec::new(), &OPTIONS, None, notice)?;
        let seen = Arc::new(LoadStatistics::default());
        let told = events.clone();
        let load = DemoClients::start(address, PACE, &seen, move |text| told.add(text))?;
        Ok(RunningDemo {
            _load: load,
            side,
            seen,
            events,
            servers,
            address,
            serving,
            listener,
        })
    }

    /// Adds the third server to the configuration of the running proxy, or removes it.
    pub fn change(&self) -> Result<(), StageError> {
        let added = self.is_changed();
        let text = if added {
            CONFIGURATION.to_owned()
        } else {
            CONFIGURATION.to_owned() + ADDED
        };
        let config = configuration(text, environment(self.address, &self.servers))?;
        let mut inherited = Inherited::default();
        // Ignores a listener that is not recognised: opening it again fails with an error.
        let _ = inherited.add(self.listener.try_clone()?);
        let listening = open(&config, inherited, self.address)?;
        let running = &self.serving.running;
        running.change(config, listening, &OPTIONS)?;
        self.side.change();
        let what = if added { "without" } else { "with" };
        self.events.add(format!(
            "you changed the configuration: {what} server three; no connection was closed"
        ));
        Ok(())
    }

    pub fn is_changed(&self) -> bool {
        let config = self.serving.config();
        let mut servers = config.proxies.iter().flat_map(|proxy| &proxy.servers);
        servers.any(|server| *server.name == *NAMES[2])
    }

    pub fn toggle(&self, index: usize) -> io::Result<()> {
        let Some(server) = self.servers.get(index) else {
            return Ok(());
        };
        if server.runs() {
            self.events
                .add(format!("you stopped server {}", server.name));
            server.stop();
        } else {
            server.restart()?;
            self.events
                .add(format!("you started server {}", server.name));
        }
        Ok(())
    }

    pub fn try_blocked(&self) {
        let what = match ask(self.address, BLOCKED) {
            Ok(answer) => {
                let status = answer.lines().next().unwrap_or("nothing").to_owned();
                let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                format!("{status} ({})", body.trim())
            }
            Err(error) => reason(&error),
        };
        self.events.add(format!("you requested {BLOCKED}: {what}"));
    }

    pub fn states(&self) -> Vec<(String, String)> {
        let now = state::now_ms();
        let config = self.serving.config();
        let servers = config.proxies.iter().flat_map(|proxy| &proxy.servers);
        servers
            .map(|server| {
                (
                    server.name.to_string(),
                    server.state.report(now).status_text(),
                )
            })
            .collect()
    }
}

impl Drop for RunningDemo {
    fn drop(&mut self) {
        self.serving.running.stop();
    }
}

/// Returns the response to a request, up to [`ANSWER_MAX`] bytes.
fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWERED_WITHIN)?;
    stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

fn environment(proxy: SocketAddr, servers: &[SampleServer; SERVERS]) -> Environment {
    let mut environment = Environment::from_process();
    environment.set("DEMO_PORT", proxy.port().to_string());
    for (at, server) in servers.iter().enumerate() {
        environment.set(
            format!("DEMO_SERVER_{}", at + 1),
            server.address.to_string(),
        );
    }
    environment
}

fn open(
    config: &Config,
    mut inherited: Inherited,
    address: SocketAddr,
) -> Result<Vec<Listening>, StageError> {
    let (listening, errors) = listener::open(config, &mut inherited);
    match errors.first() {
        None => Ok(listening),
        Some(error) => Err(StageError::Listen {
            step: error.step,
            address,
            errno: error.errno,
        }),
    }
}

fn configuration(text: String, environment: Environment) -> Result<Config, StageError> {
    let files = vec![("examples/demo.cfg".to_owned(), text.into_bytes())];
    let options = LoadOptions {
        resolve_names: true,
        ..Default::default()
    };
    // The facts are not used, because the file has no condition.
    let facts = Facts::new(part::identity::HAPROXY_LEVEL);
    let loaded = keyword::load::load(files, environment, facts, options);
    loaded.config.ok_or_else(|| {
        StageError::Configuration(render::concise(&loaded.sources, &loaded.diagnostics, false))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_loads_with_and_without_its_environment() {
        assert!(configuration(CONFIGURATION.to_owned(), Environment::empty()).is_ok());
        let mut environment = Environment::empty();
        environment.set("DEMO_PORT", "18099");
        environment.set("DEMO_SERVER_3", "127.0.0.1:18098");
        let config = configuration(CONFIGURATION.to_owned() + ADDED, environment).unwrap();
        assert!(config.listens());
    }

    #[test]
    fn the_list_of_events_is_bounded_and_keeps_the_newest() {
        let events = Events::new();
        for n in 0..EVENTS_MAX + 5 {
            events.add(n.to_string());
        }
        let last: Vec<String> = events.last(2).into_iter().map(|event| event.text).collect();
        assert_eq!(last, ["203", "204"]);
        assert_eq!(events.take().len(), EVENTS_MAX);
    }
}
