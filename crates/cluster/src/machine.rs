//! Defines the interface of the control role to its machine. The binary implements it with its
//! supervisor; tests implement a machine of their own.

use crate::authority::PartCredentials;
use crate::command::LeaseRecord;
use crate::file_set::FileSet;
use crate::message::Recorded;
pub use part::health::{FrontendHealth, Health};
use part::report::{StatusReport, Summary};
use part::role::{KnownLease, MemberNews, WantedLease};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The machine's result for a version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MachineVerdict {
    /// True if the machine can serve the version, or serves it.
    pub good: bool,
    pub words: String,
    /// For a check: true if the version changes settings on which the nodes must agree.
    pub together: bool,
}

/// Status of the roles of a machine, as they report it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Parts {
    /// Summaries of the roles other than the proxy and the address role.
    #[serde(rename = "parts")]
    pub summaries: Vec<Summary>,
    pub routing: Routing,
}

/// The virtual routers of a machine, as its address role reports them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Routing {
    /// Reason why the state of the virtual routers is unknown, for example because the
    /// role does not respond; empty: it is known.
    pub unknown: String,
    /// At most [`ROUTERS_MAX`]; those with a fault first.
    pub routers: Vec<RouterStatus>,
}

pub const ROUTERS_MAX: usize = 64;
pub const REASON_MAX: usize = 200;

/// A virtual router of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RouterStatus {
    pub name: String,
    pub addresses: u64,
    pub is_owner: bool,
    /// Another owner whose adverts the machine receives: its node name, or its address if that is
    /// unknown. Empty: it receives none.
    pub heard_owner: String,
    pub has_lease: bool,
    /// Reason why the machine cannot own the addresses; empty: it can. A lease that
    /// another machine holds is not a fault.
    pub fault: String,
    /// The traffic that the machine cannot serve at the addresses, with the reason;
    /// empty: it serves all.
    pub unavailable: String,
}

/// Observation of whether the machine serves the version that it received.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    pub serves: bool,
    pub why: String,
    /// Things that the version needs and the machine lacks: the version is served without
    /// them.
    pub missing: Vec<String>,
}

/// Unrequested messages of the machine.
#[derive(Debug)]
pub enum News {
    /// The node had to take over an address, and rolled back to the accepted version.
    WentBack {
        words: String,
    },
    /// All leases that a role of the machine could use, or wants to know. Sent at the start and
    /// after each change.
    WantsLeases {
        part: String,
        leases: Vec<WantedLease>,
    },
    Heartbeat {
        part: String,
    },
    /// A role has opened a direct channel, and needs the known leases.
    Connected,
    /// A role requests that the record of a lease is written. The response goes to
    /// [`ServingMachine::recorded`].
    Records {
        /// Number that the machine gave to the request; the response repeats it.
        ask: u64,
        record: LeaseRecord,
    },
    /// A client requests the report of the cluster. The response goes to
    /// [`ServingMachine::reported`].
    Reports {
        ask: u64,
    },
    /// A role asks about configuration versions over this connection ([`part::versions`]).
    Versions {
        connection: OwnedFd,
    },
    Stop,
}

/// Interface to the machine that serves the traffic. The control role calls it, and traffic
/// continues whatever becomes of the role. Messages that the machine sends by itself come from
/// [`ServingMachine::news`].
pub trait ServingMachine: Send + Sync + 'static {
    /// Checks the version against the machine without serving it.
    fn check(&self, set: Arc<FileSet>) -> impl Future<Output = MachineVerdict> + Send;
    /// Checks the version, and returns the findings as [`part::versions::Findings`] in
    /// JSON.
    fn find(&self, set: Arc<FileSet>) -> impl Future<Output = MachineVerdict> + Send {
        self.check(set)
    }
    /// Serves the version. With `trial`, the previous version stays compiled beside it,
    /// until [`ServingMachine::accept`] or [`ServingMachine::revert`].
    fn serve(&self, set: Arc<FileSet>, trial: bool) -> impl Future<Output = MachineVerdict> + Send;
    /// Makes the candidate the accepted version; the previous one is dropped.
    fn accept(&self) -> impl Future<Output = MachineVerdict> + Send;
    /// Serves the version before the candidate again.
    fn revert(&self) -> impl Future<Output = MachineVerdict> + Send;
    /// Returns the health of the traffic; None where nothing serves.
    fn health(&self) -> impl Future<Output = Option<Health>> + Send;
    /// Returns the status of the roles that run beside the proxy, and have a report of their own.
    fn parts(&self) -> impl Future<Output = Parts> + Send {
        std::future::ready(Parts::default())
    }
    /// Returns whether the machine serves a version now; None if that is not known.
    fn observe(&self) -> impl Future<Output = Option<Observed>> + Send {
        std::future::ready(None)
    }
    /// Reports to each of these roles its leases, both held and not held. The roles are those that
    /// have sent [`News::WantsLeases`], even with an empty list.
    fn hold(
        &self,
        parts: BTreeSet<String>,
        leases: Vec<KnownLease>,
    ) -> impl Future<Output = ()> + Send;
    fn report_standing(&self, news: MemberNews) -> impl Future<Output = ()> + Send {
        drop(news);
        std::future::ready(())
    }
    fn recorded(&self, ask: u64, outcome: Recorded) -> impl Future<Output = ()> + Send;
    fn reported(&self, ask: u64, report: StatusReport) -> impl Future<Output = ()> + Send {
        let _ = (ask, report);
        async {}
    }
    /// Asks the users of a lease to release it in good order, and not to request it for a
    /// moment, because another node could use it better.
    fn hand_over(&self, lease: String) -> impl Future<Output = ()> + Send;
    /// Returns whether a role receives reports. While it does not, no lease is renewed for that
    /// role, and the role stops when its leases expire. Another machine can then continue.
    fn can_report_to(&self, part: &str) -> bool {
        let _ = part;
        true
    }
    /// Returns how long no supervisor has been there, milliseconds; 0: there is one. Without it,
    /// the machine can neither check nor serve another version.
    fn supervisor_gone_ms(&self) -> u64 {
        0
    }
    /// Returns the names of the roles of this machine that get a certificate of their own.
    fn certified(&self) -> Vec<&'static str> {
        Vec::new()
    }
    fn certify(&self, credentials: PartCredentials) -> impl Future<Output = ()> + Send {
        drop(credentials);
        std::future::ready(())
    }
    fn news(&self) -> impl Future<Output = News> + Send;
}
