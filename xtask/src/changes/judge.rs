//! Provides the common context of all cases: the servers behind the proxies, ports, directories,
//! and the load.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use lab::{Echo, Location, ScratchDirectory};

use crate::bench::origin::{self, BODY_SIZES_BYTES, Origin};
use crate::bench::process::{Side, raise_descriptor_limit};

use super::client::Errand;
use super::crowd::{Crowd, Member};
use super::error::ChangesError;
use super::options::Options;
use super::origins::SpecialServer;
use super::site::{ProxyFolder, Where};
use super::subject::Running;
use super::tally::Held;

/// Number of connections that send requests without a pause.
pub const BUSY_CONNECTIONS: u32 = 32;
/// Number of clients that open a connection for each request.
const NEW_CLIENTS: u32 = 4;
const NEW_SHARE: u32 = 10;
/// Number of mostly idle connections.
const IDLE_CONNECTIONS: u32 = 8;
const IDLE_INTERVAL: Duration = Duration::from_secs(3);
/// Interval between two responses of a mebibyte.
const LARGE_INTERVAL: Duration = Duration::from_millis(500);
/// Interval between two messages over a WebSocket or a tunnel.
const SAY_INTERVAL: Duration = Duration::from_millis(10);
/// Number of file descriptors that a run needs in one process.
const DESCRIPTORS_NEEDED: u64 = 4096;
/// Time in which checks must detect that a server is down.
const DOWN_PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub struct Judge<'o> {
    pub options: &'o Options,
    pub scratch: ScratchDirectory,
    pub down: SpecialServer,
    /// Bodies of responses, by size.
    pub body: Arc<[u8]>,
    origin: Origin,
    websocket: SpecialServer,
    echo: Echo,
    /// Bound and never read, so that the proxies have a destination for their logs.
    logs: [UdpSocket; 2],
    /// Listener at a port that an invalid configuration binds, too.
    taken: TcpListener,
}

impl<'o> Judge<'o> {
    pub fn new(options: &'o Options) -> Result<Self, ChangesError> {
        raise_descriptor_limit(DESCRIPTORS_NEEDED)?;
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let body = origin::body();
        let failed = "binding a port of the judge";
        let log = || UdpSocket::bind(here).map_err(ChangesError::system(failed));
        Ok(Self {
            options,
            scratch: ScratchDirectory::new()?,
            down: SpecialServer::start()?,
            websocket: SpecialServer::start()?,
            origin: Origin::start(&body, None)?,
            echo: Echo::start(Location::Here, here)?,
            body,
            logs: [log()?, log()?],
            taken: TcpListener::bind(here).map_err(ChangesError::system(failed))?,
        })
    }

    /// Creates a folder and ports for one proxy.
    pub fn site(&mut self, name: &str) -> Result<ProxyFolder, ChangesError> {
        let failed = "asking for a port of the judge";
        let port = |address: std::io::Result<SocketAddr>| {
            address
                .map(|address| address.port())
                .map_err(ChangesError::system(failed))
        };
        let mut at = Where {
            web: 0,
            other: 0,
            moving: 0,
            passing: 0,
            tunnel: 0,
            statistics: 0,
            origin: self.origin.port,
            websocket: self.websocket.port,
            down: self.down.port,
            echo: self.echo.address().port(),
            logs: [
                port(self.logs[0].local_addr())?,
                port(self.logs[1].local_addr())?,
            ],
            taken: port(self.taken.local_addr())?,
        };
        at.own(rustix::process::geteuid().is_root())?;
        let site = ProxyFolder {
            folder: self.scratch.path().join(name),
            at,
            confined: self.options.confined,
            down: true,
            hard_stop: false,
            keeps_idle: false,
        };
        site.create()?;
        Ok(site)
    }

    /// Starts the load of a proxy that serves files of the first family.
    pub fn load(&self, at: &Where) -> Result<Crowd, ChangesError> {
        let rate = self.options.rate.max(NEW_SHARE);
        let new = rate / NEW_SHARE;
        let every = |clients: u32, rate: u32| Duration::from_secs(1) * clients / rate.max(1);
        let errand = Errand {
            port: at.web,
            host: "one.test",
            body: self.body_of(0),
            keep_alive: true,
            interval: every(BUSY_CONNECTIONS, rate - new),
            catch_up: false,
            name: "kept-alive client",
        };
        let mut members = Vec::new();
        for number in 0..BUSY_CONNECTIONS {
            let host = if number % 4 == 3 {
                "two.test"
            } else {
                "one.test"
            };
            members.push(Member::http(Errand {
                host,
                ..errand.clone()
            }));
        }
        for _ in 0..NEW_CLIENTS {
            members.push(Member::http(Errand {
                keep_alive: false,
                interval: every(NEW_CLIENTS, new),
                name: "client of new connections",
                ..errand.clone()
            }));
        }
        for _ in 0..IDLE_CONNECTIONS {
            members.push(Member::http(Errand {
                interval: IDLE_INTERVAL,
                name: "mostly idle client",
                ..errand.clone()
            }));
        }
        members.push(Member::http(Errand {
            body: self.body_of(BODY_SIZES_BYTES.len() - 1),
            interval: LARGE_INTERVAL,
            name: "client of large answers",
            ..errand
        }));
        members.push(Member::echo(Held::WebSocket, at.web, SAY_INTERVAL));
        members.push(Member::echo(Held::Tunnel, at.tunnel, SAY_INTERVAL));
        Crowd::start(members)
    }

    /// Returns a body with one of the benchmark's sizes, by its index.
    pub fn body_of(&self, size: usize) -> Arc<[u8]> {
        let bytes = BODY_SIZES_BYTES.get(size).copied().unwrap_or(0);
        self.body[..bytes.min(self.body.len())].into()
    }

    /// Waits until the health checks have detected the server that is down.
    pub fn wait_for_down(&self, running: &Running<'_>) -> Result<(), ChangesError> {
        let rows = ["app/down", "second/down"];
        let down = || {
            running.counters().is_ok_and(|counters| {
                rows.iter().all(|row| {
                    let state = counters.state(row);
                    state.is_some_and(|state| state.starts_with("DOWN"))
                })
            })
        };
        if lab::eventually(DOWN_PATIENCE, down) {
            Ok(())
        } else {
            Err(ChangesError::StaysUp {
                label: running.subject.label().to_owned(),
            })
        }
    }
}

/// Returns the version that a program reports.
pub fn version(side: &Side) -> &str {
    side.version.as_deref().unwrap_or("no version")
}
