//! Ends the connections at a local address soon after this machine has lost the address, for
//! example a virtual address after a drain. A client at that address would receive nothing more
//! from here, and has to connect to the address's new owner.

use part::lock;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Consecutive polls without an address after which it is gone: an address may be removed and set
/// again.
const MISSING_MAX: u32 = 2;

/// Local addresses that have connections.
#[derive(Debug, Default)]
pub(super) struct Homes(Mutex<BTreeMap<IpAddr, LocalAddressEntry>>);

#[derive(Debug)]
struct LocalAddressEntry {
    /// Dropped when the machine has lost the address, which ends the connections.
    sender: watch::Sender<()>,
    missing: u32,
}

/// Local address of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Home(watch::Receiver<()>);

impl Home {
    pub(crate) async fn wait_until_removed(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

impl Homes {
    pub(super) fn of(&self, address: IpAddr) -> Home {
        let mut homes = lock(&self.0);
        let kept = homes.entry(address).or_insert_with(|| LocalAddressEntry {
            sender: watch::Sender::new(()),
            missing: 0,
        });
        Home(kept.sender.subscribe())
    }

    /// Polls the addresses periodically. Never returns.
    pub(super) async fn poll_addresses(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.poll_addresses_once(is_here);
        }
    }

    fn poll_addresses_once(&self, is_here: impl Fn(IpAddr) -> bool) {
        lock(&self.0).retain(|address, kept| {
            kept.missing = if is_here(*address) {
                0
            } else {
                kept.missing + 1
            };
            kept.sender.receiver_count() > 0 && kept.missing < MISSING_MAX
        });
    }
}

/// Returns whether the machine has an address. With the sysctl `ip_nonlocal_bind` every address
/// seems to be present.
fn is_here(address: IpAddr) -> bool {
    let bound = UdpSocket::bind((address, 0));
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    fn is_gone(home: &Home) -> bool {
        let gone = std::pin::pin!(home.clone().wait_until_removed());
        gone.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_connection_ends_after_its_address_stays_away() {
        let (homes, moved, stays) = (
            Homes::default(),
            IpAddr::from([10, 0, 0, 50]),
            IpAddr::from([10, 0, 0, 1]),
        );
        let [first, other] = [moved, stays].map(|address| homes.of(address));
        homes.poll_addresses_once(|address| address == stays);
        homes.poll_addresses_once(|_| true);
        homes.poll_addresses_once(|address| address == stays);
        assert!(!is_gone(&first));
        homes.poll_addresses_once(|address| address == stays);
        assert!(is_gone(&first) && !is_gone(&other));
        // The address is back, with new clients.
        assert!(!is_gone(&homes.of(moved)));
    }

    #[test]
    fn only_addresses_of_the_machine_are_local() {
        assert!(is_here(IpAddr::from([127, 0, 0, 1])));
        let nonlocal = std::fs::read("/proc/sys/net/ipv4/ip_nonlocal_bind");
        if nonlocal.is_ok_and(|flag| flag.starts_with(b"0")) {
            assert!(!is_here(IpAddr::from([192, 0, 2, 1])));
        }
    }
}
