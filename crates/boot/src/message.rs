//! Defines the orders and queries that `evenkeel boot` sends to the boot role, and the responses.
//! The supervisor forwards them as bytes.

use crate::history::{BootHistoryEntry, LastBoot};
use crate::keyword::NAME;
use crate::mac::Mac;
use part::power::control::PowerControl;
use part::role::PartMessage;
use part::role::bounded::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Order or query of an operator.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum OperatorRequest {
    /// Orders the image of a machine's next boot. The response is [`part::role::OrderResponse`].
    Once {
        /// Name or MAC address of the machine.
        #[serde(with = "Name")]
        machine: String,
        /// Name of the image; empty: the single boot of the machine's line is repeated.
        #[serde(with = "Name")]
        image: String,
    },
    /// Switches a machine on by Wake-on-LAN. The response is [`part::role::OrderResponse`].
    Wake {
        #[serde(with = "Name")]
        machine: String,
    },
    /// Drops the changes of a machine to its disk. The response is [`part::role::OrderResponse`].
    Drop {
        #[serde(with = "Name")]
        machine: String,
    },
    /// Queries the power control of a machine. The response is [`PowerControlResponse`].
    Power {
        #[serde(with = "Name")]
        machine: String,
    },
    /// Queries the requests of a machine. The response is [`MachineHistoryResponse`].
    Why {
        #[serde(with = "Name")]
        machine: String,
    },
    /// Queries all machines. The response is [`MachineListResponse`].
    Machines {},
    /// Queries the requests of all machines since the last query. The response is
    /// [`RecentRequestsResponse`].
    Watch {
        /// Numbers in the previous response, by network; empty: the response has only requests that
        /// come after this query.
        after: BTreeMap<String, u64>,
    },
}

impl OperatorRequest {
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, 1, self)
    }
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct PowerControlResponse {
    /// Reason why the machine is unknown; empty: it is known.
    pub trouble: String,
    /// Power control of the machine; None: the machine's line has none.
    pub control: Option<PowerControl>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct MachineHistoryResponse {
    /// Reason why there is nothing to show; empty: there is something.
    pub trouble: String,
    /// Machine, as far as it is known: `node7 (52:54:00:00:00:07) in lan`.
    pub who: String,
    pub next: String,
    pub address: String,
    pub booted: Option<LastBoot>,
    /// Response of another node to the machine that is later than the last one of this node, and
    /// that node; None: this node responded last.
    pub elsewhere: Option<(BootHistoryEntry, String)>,
    /// Name of this node; empty: outside of a cluster.
    pub me: String,
    /// Requests of the machine, the newest last.
    pub steps: Vec<BootHistoryEntry>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct MachineListResponse {
    /// Machines, those with the latest requests first.
    pub machines: Vec<BootMachineStatus>,
    /// Number of machines that did not fit into the response.
    pub more: u64,
    pub me: String,
    /// Reason why this node does not respond to machines as usual; empty: it does.
    pub notice: String,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct RecentRequestsResponse {
    pub after: BTreeMap<String, u64>,
    pub missed: u64,
    /// Requests with their network and the machine as text; those of a network in order, the newest
    /// last.
    pub steps: Vec<(String, String, BootHistoryEntry)>,
    /// Machines of the requests, in the same order.
    pub machines: Vec<SteppedMachine>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct SteppedMachine {
    /// Name of the machine; empty: it is not configured.
    pub name: String,
    pub mac: Mac,
}

/// Machine as operators see it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct BootMachineStatus {
    pub network: String,
    /// Name of the machine; empty: it is not configured.
    pub name: String,
    pub mac: Mac,
    pub address: Option<Ipv4Addr>,
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
    /// Node that serves the machine: the one that gave the lease or, for a fixed address, the one
    /// that answered last; empty: outside of a cluster, or none.
    #[serde(default)]
    pub node: String,
    pub next: String,
    #[serde(default)]
    pub booted: Option<LastBoot>,
    pub last: Option<BootHistoryEntry>,
    /// Node that sent the response to the request in `last`, if it is another node; otherwise
    /// empty.
    #[serde(default)]
    pub last_node: String,
    /// Facts that the machine has reported about itself while the configuration has no line for it.
    pub facts: Vec<(String, String)>,
    /// Power control of the machine, without secrets; empty: not configured.
    #[serde(default)]
    pub power: String,
}

impl BootMachineStatus {
    /// Returns the addresses, as text; empty: none.
    pub fn addresses(&self) -> String {
        let four = self.address.map(IpAddr::V4);
        let six = self.address6.map(IpAddr::V6);
        let all = four.into_iter().chain(six).map(|one| one.to_string());
        all.collect::<Vec<_>>().join(", ")
    }

    pub fn address_words(&self) -> String {
        match (self.addresses(), self.node.as_str()) {
            (words, "") => words,
            (words, _) if words.is_empty() => words,
            (words, node) => format!("{words}, by node {node}"),
        }
    }
}
