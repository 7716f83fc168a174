//! Detects nodes that do not respond at all. A node whose lease has ended may only be busy: its
//! kernel still answers connection attempts. A node is fenced at once only if none of its addresses
//! answers, and otherwise when the leases of its guests have ended as well.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

/// Time for which an unavailable node whose machine responds is not fenced, milliseconds: until the
/// leases of its guests have ended.
const SPARED_MS: u64 = 6_000;
/// Timeout for the kernel of a node to answer a connection attempt.
const PATIENCE: Duration = Duration::from_millis(300);
/// Interval at which a node that answered is probed again, milliseconds.
const AGAIN_MS: u64 = 500;
const LOOK_MS: u64 = 20;

/// Results of the probes of nodes that are unavailable.
#[derive(Debug, Default)]
pub struct SilentNodes {
    by_node: BTreeMap<String, ProbeState>,
}

#[derive(Debug)]
enum ProbeState {
    /// Probes of all addresses are in progress; each reports whether its address is silent. The
    /// number counts addresses that answered.
    Waits(Receiver<bool>, usize),
    /// The machine answered and is probed again at this time, milliseconds.
    Responded(u64),
    Silent,
}

impl SilentNodes {
    pub fn retain(&mut self, is_gone: impl Fn(&str) -> bool) {
        self.by_node.retain(|node, _| is_gone(node));
    }

    /// Returns whether a node may be fenced that has been unavailable since `since`. `at`:
    /// addresses of its guest role.
    pub fn allows(&mut self, node: &str, since: u64, at: &[IpAddr], port: u16, now: u64) -> bool {
        if now >= since.saturating_add(SPARED_MS) {
            return true;
        }
        let asked = match self.by_node.remove(node) {
            None => start_probes(at, port),
            Some(ProbeState::Responded(again)) if now >= again => start_probes(at, port),
            Some(asked) => asked,
        };
        let asked = receive_probe_results(asked, now);
        let is_silent = matches!(asked, ProbeState::Silent);
        self.by_node.insert(node.to_owned(), asked);
        is_silent
    }

    pub fn has_responded(&self, node: &str) -> bool {
        matches!(self.by_node.get(node), Some(ProbeState::Responded(_)))
    }

    pub fn deadline(&self, now: u64) -> Option<u64> {
        let all = self.by_node.values().filter_map(|asked| match asked {
            ProbeState::Waits(..) => Some(now + LOOK_MS),
            ProbeState::Responded(again) => Some(*again),
            ProbeState::Silent => None,
        });
        all.min()
    }
}

fn receive_probe_results(asked: ProbeState, now: u64) -> ProbeState {
    let ProbeState::Waits(replies, mut responded) = asked else {
        return asked;
    };
    loop {
        match replies.try_recv() {
            Ok(is_silent) => responded += usize::from(!is_silent),
            Err(TryRecvError::Empty) => return ProbeState::Waits(replies, responded),
            Err(TryRecvError::Disconnected) if responded == 0 => return ProbeState::Silent,
            Err(TryRecvError::Disconnected) => return ProbeState::Responded(now + AGAIN_MS),
        }
    }
}

fn start_probes(at: &[IpAddr], port: u16) -> ProbeState {
    let (sender, replies) = channel();
    // Counts a node without an address as responding, because it cannot be probed.
    let mut responded = usize::from(at.is_empty());
    for address in at {
        let (sender, at) = (sender.clone(), SocketAddr::new(*address, port));
        let spawned = thread::Builder::new()
            .name("guest/silence".to_owned())
            .spawn(move || {
                // Ignores a failed send, after which the result is no longer needed.
                let _ = sender.send(is_silent(at));
            });
        responded += usize::from(spawned.is_err());
    }
    ProbeState::Waits(replies, responded)
}

/// Returns whether nothing answers at this address. A refused connection is an answer. A local
/// error is no evidence of silence.
fn is_silent(at: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&at, PATIENCE) {
        Ok(_) => false,
        Err(error) => matches!(
            error.kind(),
            ErrorKind::TimedOut | ErrorKind::HostUnreachable
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::eventually;
    use std::net::TcpListener;

    const SOON: Duration = Duration::from_secs(30);

    fn known(silence: &mut SilentNodes, at: &[IpAddr], port: u16) -> bool {
        let mut allows = false;
        let known = || {
            allows = silence.allows("beta", 1000, at, port, 1100);
            allows || matches!(silence.by_node.get("beta"), Some(ProbeState::Responded(_)))
        };
        assert!(eventually(SOON, known));
        allows
    }

    #[test]
    fn a_responding_machine_is_not_fenced_and_is_checked_again() {
        let here = [IpAddr::from([127, 0, 0, 1])];
        let listener = TcpListener::bind((here[0], 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut silence = SilentNodes::default();
        assert!(!known(&mut silence, &here, port));
        assert_eq!(silence.deadline(1100), Some(1100 + AGAIN_MS));
        drop(listener);
        silence.retain(|_| false);
        assert!(!known(&mut silence, &here, port));
        // Spares the node until the leases of its guests have ended.
        assert!(!silence.allows("beta", 1000, &here, port, 999 + SPARED_MS));
        assert!(silence.allows("beta", 1000, &here, port, 1000 + SPARED_MS));
    }

    #[test]
    fn a_machine_with_only_silent_addresses_is_fenced() {
        // A listener whose queue is full drops connection attempts.
        let here = IpAddr::from([127, 0, 0, 1]);
        let full = full_listener();
        let port = full.0.local_addr().unwrap().port();
        let mut silence = SilentNodes::default();
        assert!(known(&mut silence, &[here], port));
        assert_eq!(silence.deadline(1100), None);
        // A node that responds at any address is up.
        silence.retain(|_| false);
        let other = IpAddr::from([127, 0, 0, 2]);
        assert!(!known(&mut silence, &[here, other], port));
    }

    #[test]
    fn a_node_without_an_address_has_an_unknown_state() {
        let mut silence = SilentNodes::default();
        assert!(!silence.allows("beta", 1000, &[], 1, 1100));
        assert!(!silence.allows("beta", 1000, &[], 1, 1200));
    }

    fn full_listener() -> (TcpListener, Vec<std::net::TcpStream>) {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
        let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&fd, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&fd, 0).unwrap();
        let listener = TcpListener::from(fd);
        let at = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(one) = TcpStream::connect_timeout(&at, Duration::from_millis(500)) {
            held.push(one);
        }
        (listener, held)
    }
}
