//! Waiting with an end, and ports that nobody uses.

use crate::error::LabError;
use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// How many ports are tried for one that was not handed out before.
const PORT_TRIES: usize = 100;

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
/// this process. Another process can still take it: inside a [`Host`](crate::Host)
/// any fixed port is better.
pub fn free_port() -> Result<u16, LabError> {
    static HANDED_OUT: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut guard = HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    let handed_out = guard.get_or_insert_default();
    let mut port = 0;
    for _ in 0..PORT_TRIES {
        port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(LabError::io("bind", "a free port"))?
            .port();
        if handed_out.insert(port) {
            return Ok(port);
        }
    }
    // All were used before by this process: one of them is free again.
    Ok(port)
}

#[cfg(test)]
mod tests {
    use super::*;

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
