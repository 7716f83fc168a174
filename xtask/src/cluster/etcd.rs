//! Starts three members of etcd, and implements a client of its gRPC interface.

use super::ensemble::{Client, Member, Seat, Standing};
use super::error::Error;
use super::rpc::{self, Rpc, Value};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const CLIENTS: u16 = 2379;
const PEERS: u16 = 2380;

/// Timeout of a connection to a member.
const CONNECT: Duration = Duration::from_secs(2);

/// Starts the members, with a heartbeat interval and an election timeout in milliseconds.
pub fn start(
    program: &Path,
    heartbeat_ms: u32,
    election_ms: u32,
    tls: bool,
    seats: Vec<Seat>,
) -> Result<Vec<Member>, Error> {
    let scheme = if tls { "https" } else { "http" };
    let peer = |seat: &Seat| format!("{scheme}://{}:{PEERS}", seat.address);
    let cluster: Vec<String> = seats
        .iter()
        .map(|seat| format!("{}={}", seat.name, peer(seat)))
        .collect();
    let cluster = cluster.join(",");
    let start = |seat: Seat| {
        let address = SocketAddr::from((seat.address, CLIENTS));
        let clients = format!("http://{address}");
        let mut command = Command::new(program);
        command
            .args(["--name", seat.name, "--initial-cluster-state", "new"])
            .args(["--initial-cluster", &cluster])
            .arg("--data-dir")
            .arg(seat.scratch.path().join("data"))
            .args(["--listen-peer-urls", &peer(&seat)])
            .args(["--initial-advertise-peer-urls", &peer(&seat)])
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--heartbeat-interval", &heartbeat_ms.to_string()])
            .args(["--election-timeout", &election_ms.to_string()]);
        if tls {
            // Each member makes its own certificates, which does not affect the measurement.
            command.arg("--peer-auto-tls");
        }
        Ok(Member {
            process: seat.spawn(command)?,
            host: seat.host,
            address,
            scratch: seat.scratch,
            node: true,
        })
    };
    seats.into_iter().map(start).collect()
}

/// A client of one member.
#[derive(Debug)]
pub struct Asker {
    rpc: Rpc,
    key: u64,
}

/// Number of keys that are written in turn.
const KEYS: u64 = 16;

impl Asker {
    pub fn connect(member: &Member) -> Result<Asker, Error> {
        let rpc = Rpc::connect(&member.host, member.address, CONNECT).map_err(Error::Rpc)?;
        Ok(Asker { rpc, key: 0 })
    }
}

impl Client for Asker {
    fn standing(&mut self, limit: Duration) -> Option<Standing> {
        let answer = self
            .rpc
            .call("etcdserverpb.Maintenance/Status", &[], limit)
            .ok()?;
        let fields = rpc::fields(&answer);
        let header = fields.iter().find_map(|(field, value)| match value {
            Value::Bytes(bytes) if *field == 1 => Some(rpc::fields(bytes)),
            _ => None,
        })?;
        // StatusResponse: header (member_id, raft_term), leader.
        Some(Standing {
            own: rpc::number(&header, 2),
            leader: Some(rpc::number(&fields, 4)).filter(|id| *id != 0),
            term: rpc::number(&header, 4),
        })
    }

    fn write(&mut self, text: &str, limit: Duration) -> bool {
        self.key = (self.key + 1) % KEYS;
        let mut message = Vec::new();
        rpc::put_bytes(&mut message, 1, format!("bench/{}", self.key).as_bytes());
        rpc::put_bytes(&mut message, 2, text.as_bytes());
        let begun = Instant::now();
        let done = self.rpc.call("etcdserverpb.KV/Put", &message, limit);
        if done.is_err() {
            // The pause limits the load on a member that refuses writes at once.
            let rest = REFUSED_PAUSE.saturating_sub(begun.elapsed());
            std::thread::sleep(rest);
        }
        done.is_ok()
    }
}

/// Minimum time between a refused write and the next one.
const REFUSED_PAUSE: Duration = Duration::from_millis(2);
