//! Enforces the limits on the connections, sessions and TLS handshakes that the process accepts
//! per second (`maxconnrate`, `maxsessrate`, `maxsslrate`).

use model::config::{Bind, Global};
use model::thread::{current_thread_data, lock};
use std::sync::Mutex;

/// Number of admitted connections that the measured rates may not include yet.
struct Pending {
    all: u64,
    handshakes: u64,
}

static PENDING: Mutex<Pending> = Mutex::new(Pending {
    all: 0,
    handshakes: 0,
});

/// Permission to accept one connection under the limits per second. A thread holds it from before
/// the accept until the connection is counted in the rates, or a connection rule has rejected it.
/// Otherwise several threads could use the same remainder of a limit, and one thread could empty
/// the backlog before the first connection is counted.
pub(crate) struct AdmissionPermit {
    handshake: bool,
}

pub(crate) struct RateReached;

impl AdmissionPermit {
    /// Takes a permit for a connection to a listener. None if no limit applies to it.
    pub(crate) fn take(
        global: &Global,
        bind: &Bind,
    ) -> Result<Option<AdmissionPermit>, RateReached> {
        let handshake = bind.tls.is_some();
        let handshakes_max = global.tls.rate_max.filter(|_| handshake);
        let limits = [
            global.connection_rate_max,
            global.session_rate_max,
            handshakes_max,
        ];
        if limits.iter().all(Option::is_none) {
            return Ok(None);
        }
        let process = current_thread_data().process;
        let mut pending = lock(&PENDING);
        // The time that this event loop has cached may be in an earlier second than an event that
        // another thread has just counted, which would then be missed.
        let now_ms = process.now_ms();
        let rates = [
            (&process.connection_rate, pending.all),
            (&process.session_rate, pending.all),
            (&tls::counters().rate, pending.handshakes),
        ];
        let reached = limits.iter().zip(rates).any(|(limit, (rate, pending))| {
            limit.is_some_and(|limit| rate.read(now_ms) + pending >= u64::from(limit))
        });
        if reached {
            return Err(RateReached);
        }
        pending.all += 1;
        pending.handshakes += u64::from(handshake);
        Ok(Some(AdmissionPermit { handshake }))
    }
}

impl Drop for AdmissionPermit {
    fn drop(&mut self) {
        let mut pending = lock(&PENDING);
        pending.all -= 1;
        pending.handshakes -= u64::from(self.handshake);
    }
}
