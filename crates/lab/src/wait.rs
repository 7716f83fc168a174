//! Waiting with an end, and ports that nobody uses.

use crate::error::LabError;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// How many ports are tried for one that is free.
const PORT_TRIES: u64 = 1_000;
/// The lowest one.
const PORT_MIN: u16 = 10_000;
/// Between those where two processes begin, which mostly follow each other.
const PORT_STRIDE: u64 = 997;

/// Looks again and again until the condition holds. False when it still did
/// not at the end; it is looked at once more then, so that a machine that
/// stalls does not fail a test.
#[must_use]
pub fn eventually(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + timeout;
    while Instant::now() < end {
        if condition() {
            return true;
        }
        thread::sleep(POLL);
    }
    condition()
}

/// A TCP port of 127.0.0.1 that is free now and was not handed out before in
/// this process. It is none of those that the system gives to connections and to
/// whoever binds port 0: between this call and its use such a one would be taken
/// now and then. Another process can still take it: inside a
/// [`Host`](crate::Host) any fixed port is better.
pub fn free_port() -> Result<u16, LabError> {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let ports = PORT_MIN..first_given();
    let count = ports.len().max(1) as u64;
    // Two processes begin at different places.
    let begin = || (u64::from(std::process::id()) * PORT_STRIDE + clock()) % count;
    let mut offset = next.map_or_else(begin, u64::from);
    for _ in 0..count.min(PORT_TRIES) {
        let port = PORT_MIN + u16::try_from(offset).unwrap_or(0);
        offset = (offset + 1) % count;
        *next = u16::try_from(offset).ok();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    // None of them: one that the system gives.
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(LabError::io("bind", "a free port"))
}

/// The first port that the system gives by itself.
fn first_given() -> u16 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = text.ok().and_then(|text| {
        let first = text.split_whitespace().next()?;
        first.parse().ok()
    });
    first.unwrap_or(PORT_MIN).max(PORT_MIN)
}

fn clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::from(since.subsec_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_condition_that_comes_true_ends_the_waiting() {
        let mut looks = 0;
        assert!(eventually(Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        }));
        assert_eq!(looks, 3);
    }

    #[test]
    fn a_condition_that_stays_false_is_waited_for_no_longer_than_said() {
        let start = Instant::now();
        assert!(!eventually(Duration::from_millis(20), || false));
        assert!(start.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn a_port_is_handed_out_once() {
        let ports: Vec<u16> = (0..20).map(|_| free_port().unwrap()).collect();
        let different: HashSet<&u16> = ports.iter().collect();
        assert_eq!(different.len(), ports.len());
    }
}
