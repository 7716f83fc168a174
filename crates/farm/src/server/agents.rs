//! Polls the agents of hosts: sends each one a line, and waits for the reply. The farm reads at
//! most [`REPLY_BYTES_MAX`](crate::agent::report::REPLY_BYTES_MAX) bytes of a reply.

use crate::agent::report::{AgentReply, Incoming};
use crate::site::{FarmState, ToAsk};
use part::report::Moment;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

const LIMIT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(500);
const PIECE_BYTES: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct NextPoll {
    at: Instant,
    is_open: bool,
}

/// Polls all agents of a farm periodically. Never returns.
pub(super) async fn run(site: Arc<FarmState>) {
    let mut turns: BTreeMap<String, NextPoll> = BTreeMap::new();
    let mut open = JoinSet::new();
    loop {
        let (now, agents) = (Instant::now(), site.agents());
        turns.retain(|host, turn| turn.is_open || agents.iter().any(|one| one.host == *host));
        for agent in agents {
            let first = NextPoll {
                at: now,
                is_open: false,
            };
            let turn = turns.entry(agent.host.clone()).or_insert(first);
            // Limits the wait to the current interval, because a reload may have shortened it.
            turn.at = turn.at.min(now + agent.interval);
            if turn.at <= now && !turn.is_open {
                *turn = NextPoll {
                    at: now + agent.interval,
                    is_open: true,
                };
                open.spawn(poll_agent(Arc::clone(&site), agent));
            }
        }
        let waiting = turns.values().filter(|turn| !turn.is_open);
        let next = waiting.map(|turn| turn.at).min();
        let next = next.unwrap_or(now + LOOK).min(now + LOOK);
        tokio::select! {
            Some(asked) = open.join_next() => {
                if let Ok(host) = asked && let Some(turn) = turns.get_mut(&host) {
                    turn.is_open = false;
                }
            }
            () = sleep_until(next) => {}
        }
    }
}

async fn poll_agent(site: Arc<FarmState>, agent: ToAsk) -> String {
    let asked_ms = Moment::now().boottime_ms;
    let result = exchange(agent.address, &agent.line).await;
    site.record_poll(&agent.host, asked_ms, result);
    agent.host
}

async fn exchange(address: SocketAddr, line: &str) -> Result<AgentReply, String> {
    let until = Instant::now() + LIMIT;
    let connected = timeout_at(until, TcpStream::connect(address)).await;
    let connected = connected.map_err(|_| "cannot connect: timeout".to_owned())?;
    let mut stream =
        connected.map_err(|error| format!("cannot connect: {}", language::reason(&error)))?;
    let mut incoming = Incoming::default();
    match timeout_at(until, talk(&mut stream, line, &mut incoming)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Err("the reply is longer than 65536 bytes".to_owned()),
        // Uses the reply: an agent that does not read the request resets the connection after its
        // reply.
        Ok(Err(_)) if incoming.has_line() => {}
        Ok(Err(error)) => return Err(format!("no reply: {}", language::reason(&error))),
        // Uses the reply: an agent of HAProxy may keep the connection open until the time limit.
        Err(_) if incoming.has_line() => {}
        Err(_) => return Err(format!("no reply within {} s", LIMIT.as_secs())),
    }
    AgentReply::read(incoming.bytes())
}

/// Sends a line and reads the reply. Returns false if the reply is too long.
async fn talk(stream: &mut TcpStream, line: &str, incoming: &mut Incoming) -> io::Result<bool> {
    // Ignores an error: an agent that does not read may have closed already, and its reply is still
    // readable.
    let _ = stream.write_all(format!("{line}\n").as_bytes()).await;
    let mut piece = vec![0; PIECE_BYTES];
    while !incoming.is_complete() {
        match stream.read(&mut piece).await? {
            0 => break,
            read if incoming.take(&piece[..read]) => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}
