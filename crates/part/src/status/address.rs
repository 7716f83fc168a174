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
<<<<<<< HEAD
        subject.status().unwrap_or_default()
=======
        subject.status().unwrap_or_else(|| AddressReport {
            is_local: subject.state.word == "here",
        })
    }
}

/// Reads the report of a version that published only texts.
fn of_texts(subject: &Subject) -> RouterReport {
    // Uses the owner only with a priority: only a router that sends adverts has a known one.
    let owner = subject.words("with priority").and(subject.words("owner"));
    RouterReport {
        state: match subject.state.word.as_str() {
            "INIT" => RouterState::Init,
            "BACKUP" => RouterState::Backup,
            "MASTER" => RouterState::Master,
            "FAULT" => RouterState::Fault,
            _ => RouterState::Unknown,
        },
        other_owner: owner.unwrap_or_default(),
        other_node: subject.words("node").unwrap_or_default(),
        is_handing_over: subject.words("hand-over").is_some(),
        lease: match subject.words("lease").as_deref() {
            None => LeaseUse::None,
            Some("moves to a healthier node") => LeaseUse::Moves,
            Some(_) => LeaseUse::Decides,
        },
        has_unavailable_frontends: subject.value("band").is_some_and(|band| band > 0),
>>>>>>> origin/truec
    }
}
