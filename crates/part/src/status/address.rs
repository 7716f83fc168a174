//! Defines the status of a virtual router and of its addresses, in the report of the address role.

use crate::report::Subject;
use serde::{Deserialize, Serialize};

/// State of a virtual router (RFC 9568, 6.3), and keepalived's state of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterState {
    Init,
    Backup,
    Master,
    Fault,
    #[default]
    #[serde(other)]
    Unknown,
}

/// Use of a lease of the cluster for the ownership of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseUse {
    /// No lease decides: the adverts do.
    #[default]
    None,
    Decides,
    /// The lease was released to a healthier node.
    Moves,
    #[serde(other)]
    Unknown,
}

/// Status of a virtual router, of a subject of the kind `virtual-ip`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RouterReport {
    pub state: RouterState,
    /// Address of the other router whose adverts are received; empty: none.
    pub other_owner: String,
    /// Node whose adverts a member of a cluster receives, or its address; empty: none.
    pub other_node: String,
    pub is_handing_over: bool,
    pub lease: LeaseUse,
    /// True if the frontends behind the addresses are not all available.
    pub has_unavailable_frontends: bool,
}

/// Status of an address, of a child of the kind `address`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AddressReport {
    pub is_local: bool,
}

impl LeaseUse {
    pub fn is_leased(self) -> bool {
        self != LeaseUse::None
    }
}

impl RouterReport {
    pub fn of(subject: &Subject) -> RouterReport {
        subject.status().unwrap_or_default()
    }
}

impl AddressReport {
    pub fn of(subject: &Subject) -> AddressReport {
        subject.status().unwrap_or_default()
    }
}
