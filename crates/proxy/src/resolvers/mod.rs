//! Names of hosts and services while traffic flows: the `resolvers` sections at
//! work. What is asked when, and what answers come to, are values ([`resolution`],
//! [`plan`], [`assign`]); the driver on the side thread is the only part with
//! sockets and a clock, and changes servers by their state's own methods. No
//! thread of the data plane waits for any of it but a rule that asks.

mod assign;
mod driver;
mod exchange;
mod follow;
mod plan;
mod resolution;

pub use driver::{Following, start};
pub use resolution::failures;

use crate::config::AddressFamily;
use plan::{Asked, Key, Plan};
pub(crate) use plan::{SectionReport, Tallies};
use protocol::dns::Name;
use resolution::Wanted;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// The names of the process, which the side thread asks for.
#[derive(Debug)]
pub struct Names {
    /// Held for moments only, never across a wait.
    plan: Mutex<Plan>,
    changed: Notify,
    began: Instant,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            plan: Mutex::default(),
            changed: Notify::new(),
            began: Instant::now(),
        }
    }
}

impl Names {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// The address of a host, for a rule that waits for it; None where there is
    /// none. It takes as long as the section's time limits allow.
    pub async fn address(
        &self,
        section: &str,
        host: &str,
        prefer: AddressFamily,
    ) -> Option<IpAddr> {
        let key = Key {
            section: section.into(),
            name: Name::new(host)?,
            wanted: Wanted::Addresses(prefer),
        };
        let asked = self.plan().ask(&key, self.now_ms())?;
        match asked {
            Asked::Known(ip) => ip,
            Asked::Wait(receiver) => {
                self.changed.notify_one();
                receiver.await.ok().flatten()
            }
        }
    }

    /// A server's name is another (`set server … fqdn`).
    pub(crate) fn follow_again(&self) {
        self.plan().follow_again(self.now_ms());
        self.changed.notify_one();
    }

    /// The sections, with what their servers did.
    pub(crate) fn report(&self) -> Vec<SectionReport> {
        self.plan().report()
    }
}
