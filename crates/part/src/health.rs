//! Defines the health of a machine's traffic, which the proxy reports to the control role. A change
//! of the configuration is judged by it.

use serde::{Deserialize, Serialize};

/// Health of the traffic: counters that only grow, and current values.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Health {
    /// Requests (HTTP) and sessions (TCP) finished.
    pub requests: u64,
    pub errors: u64,
    /// Number of servers that are up, of all that are checked.
    pub servers_up: u64,
    pub servers: u64,
    /// Frontends that serve something, by name, with their listening addresses.
    pub frontends: Vec<FrontendHealth>,
    pub addresses_owned: u64,
    pub addresses: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FrontendHealth {
    pub name: String,
    pub listens: Vec<String>,
    /// The listener speaks plain HTTP at these addresses.
    pub http: bool,
    /// The listener has a usable server, or responds by itself.
    pub usable: bool,
}
