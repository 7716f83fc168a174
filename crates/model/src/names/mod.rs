//! Host and service names that are resolved at run time, without I/O: [`plan`]
//! schedules the queries, [`resolution`] evaluates the responses. A driver sends the
//! queries.

pub mod plan;
pub mod resolution;

use crate::config::AddressFamily;
use plan::{Asked, Plan};
pub use plan::{Events, Found, Key, SectionReport, Tallies};
use protocol::dns::Name;
pub use resolution::failures;
pub use resolution::{Status, Wanted};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// Names that the process resolves; the side thread drives the resolution.
#[derive(Debug)]
pub struct Names {
    /// Locked only briefly, never across a wait.
    plan: Mutex<Plan>,
    /// Notifies the driver of changes to the plan.
    pub changed: Notify,
    /// Origin of [`Names::now_ms`].
    pub began: Instant,
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
    /// Locks the plan; hold the lock only briefly.
    pub fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the milliseconds since `began`.
    pub fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Resolves the address of a host, for a rule that waits for it; `None` if there is
    /// none. It takes as long as the section's timeouts allow.
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

    /// Updates the names to resolve after a server got another name (`set server … fqdn`).
    pub fn follow_again(&self) {
        self.plan().follow_again(self.now_ms());
        self.changed.notify_one();
    }

    /// Returns the sections with the counters of their nameservers.
    pub fn report(&self) -> Vec<SectionReport> {
        self.plan().report()
    }
}
