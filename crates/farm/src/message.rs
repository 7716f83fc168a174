//! Defines the messages to the farm role in addition to those for every role. The supervisor
//! forwards them as bytes.

use crate::history::HistoryStep;
use crate::keyword::NAME;
pub use part::role::OrderResponse;
use part::role::PartMessage;
use part::role::bounded::Text;
use serde::{Deserialize, Serialize};

const NAME_BYTES_MAX: usize = 512;

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum OperatorMessage {
    /// Lists the users of all farms. The response is [`Sessions`].
    Sessions {},
    /// Drains a host, or lets it accept users again. The response is [`OrderResponse`].
    Drain {
        #[serde(with = "Text::<NAME_BYTES_MAX>")]
        host: String,
        is_drained: bool,
    },
    /// Closes the connections of a user at all nodes; the session stays. The response is
    /// [`OrderResponse`].
    Disconnect {
        /// User and host; an empty host means all hosts.
        #[serde(with = "Text::<NAME_BYTES_MAX>")]
        user: String,
        #[serde(with = "Text::<NAME_BYTES_MAX>")]
        host: String,
    },
    /// Explains what a user got, and would get now. The response is [`UserHistoryResponse`].
    Why {
        /// User, in any form of the name.
        #[serde(with = "Text::<NAME_BYTES_MAX>")]
        user: String,
    },
}

impl OperatorMessage {
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, 1, self)
    }
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Sessions {
    /// Users, those with connections first.
    pub sessions: Vec<Session>,
    pub more: u64,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    Connected,
    Disconnected,
    Pending,
    /// The connection has ended, and the agent of the host reports no session.
    #[serde(rename = "no session seen")]
    Unseen,
    #[default]
    #[serde(other)]
    Unknown,
}

impl SessionState {
    pub fn words(self) -> &'static str {
        match self {
            SessionState::Connected => "connected",
            SessionState::Disconnected => "disconnected",
            SessionState::Pending => "pending",
            SessionState::Unseen => "no session seen",
            SessionState::Unknown => "unknown",
        }
    }
}

/// User who has a session on a host, or was sent to it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Session {
    pub farm: String,
    /// Name of the user; empty if only a token of the user was seen.
    pub user: String,
    pub host: String,
    pub state: SessionState,
    /// Client addresses of the connections that this node carries.
    pub from: Vec<String>,
    /// Nodes that carry connections of the user; empty on a node alone.
    pub nodes: Vec<String>,
    /// Time since the user was assigned to this host, milliseconds.
    pub since_ms: u64,
    /// Time for which the user keeps the host without a connection, milliseconds; None while there
    /// is one.
    pub left_ms: Option<u64>,
    /// Collections in which the user got the host, by their hosts; empty if the farm has only one.
    pub collections: Vec<String>,
    /// State of the session according to the host's agent, `active` or `disconnected`; empty if the
    /// agent does not report it.
    pub agent: String,
}

/// Response to [`OperatorMessage::Why`]: one entry for each farm that knows the user.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct UserHistoryResponse {
    pub farms: Vec<AskedFarm>,
}

/// Report of a farm about a user: assigned hosts and recent steps.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct AskedFarm {
    pub farm: String,
    pub user: String,
    /// Hosts that a logon without a token would get now, or why there is none.
    pub next: String,
    /// Hosts that programs would get now; only if some programs are not on all hosts.
    pub collections: Vec<AskedCollection>,
    /// Report of the host's agent about the user's session; empty if there is none.
    pub agent: String,
    pub steps: Vec<HistoryStep>,
}

/// Host that a user would get in a collection.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct AskedCollection {
    pub hosts: Vec<String>,
    pub starts: Vec<String>,
    pub next: String,
}
