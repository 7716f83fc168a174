//! Resolves host and service names at run time, without IO: [`plan`] schedules the DNS queries,
//! [`resolution`] evaluates the responses. The caller (`proxy::resolvers`) sends the queries.

pub mod plan;
pub mod resolution;

use crate::config::AddressFamily;
pub use plan::{Events, Key, ResolutionResult, SectionReport, Tallies};
use plan::{NameLookup, ResolutionSchedule};
use protocol::dns::DnsName;
pub use resolution::failures;
pub use resolution::{RecordKind, ResolutionStatus};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// Names that the process resolves; the side thread drives the resolution.
#[derive(Debug)]
pub struct NameResolver {
    /// Locked only briefly, never across a wait.
    plan: Mutex<ResolutionSchedule>,
    /// Notifies the driver of changes to the plan.
    pub changed: Notify,
    /// Time at which [`NameResolver::now_ms`] is 0.
    pub began: Instant,
}

impl Default for NameResolver {
    fn default() -> NameResolver {
        NameResolver {
            plan: Mutex::default(),
            changed: Notify::new(),
            began: Instant::now(),
        }
    }
}

impl NameResolver {
    pub fn plan(&self) -> MutexGuard<'_, ResolutionSchedule> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Resolves the address of a host, for a rule that waits for it; `None` if the host has no
    /// address or a limit is reached. The caller waits until the resolution ends, which depends on
    /// the timeouts and retries of the `resolvers` section.
    pub async fn address(
        &self,
        section: &str,
        host: &str,
        prefer: AddressFamily,
    ) -> Option<IpAddr> {
        let key = Key {
            section: section.into(),
            name: DnsName::new(host)?,
            record_kind: RecordKind::Addresses(prefer),
        };
        let asked = self.plan().look_up_name(&key, self.now_ms())?;
        match asked {
            NameLookup::Known(ip) => ip,
            NameLookup::Wait(receiver) => {
                self.changed.notify_one();
                receiver.await.ok().flatten()
            }
        }
    }

    /// Updates the names to resolve after a server got another name (`set server … fqdn`).
    pub fn update_followers(&self) {
        self.plan().update_followers(self.now_ms());
        self.changed.notify_one();
    }

    pub fn report(&self) -> Vec<SectionReport> {
        self.plan().report()
    }
}
