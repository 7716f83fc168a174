//! Messages to the role, beyond those for every role. The supervisor forwards them as bytes.

use crate::history::Step;
use crate::keyword::NAME;
use part::role::PartMessage;
use part::role::bounded::Text;
use serde::{Deserialize, Serialize};

/// Bytes of a name in an order: that of a user, or of a farm and a host.
const NAME_BYTES_MAX: usize = 512;

/// An order or a question of an operator.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// The users of all farms. The answer is [`Sessions`].
    Sessions {},
    /// A host gets nobody new, or takes users again. The answer is [`Answer`].
    Drain {
        /// The host: its name, or `farm/name`.
        #[serde(with = "Text::<NAME_BYTES_MAX>")]
        host: String,
        /// Whether it is drained.
        is_drained: bool,
    },
    /// The connections of a user end, at all nodes; the session stays. The answer is [`Answer`].
    Disconnect {
        /// The user, in any form of the name.
        #[serde(with = "Text::<NAME_BYTES_MAX>")]
        user: String,
        /// Only those to this host; empty: all of them.
        #[serde(with = "Text::<NAME_BYTES_MAX>")]
        host: String,
    },
    /// What a user got, and would get now. The answer is [`Asked`].
    Why {
        /// The user, in any form of the name.
        #[serde(with = "Text::<NAME_BYTES_MAX>")]
        user: String,
    },
}

impl Message {
    /// Encodes it for forwarding.
    pub fn envelope(&self) -> PartMessage {
        PartMessage::new(NAME, 1, self)
    }
}

/// The answer to an order.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Answer {
    /// It was done.
    pub good: bool,
    /// What was done, or why not.
    pub words: String,
}

/// The users of all farms.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Sessions {
    /// The users, those with connections first.
    pub sessions: Vec<Session>,
    /// How many more there are than these.
    pub more: u64,
}

/// A user with a session, or on the way to one.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Session {
    /// The farm.
    pub farm: String,
    /// The user; empty: only a token of the user was seen.
    pub user: String,
    /// The host.
    pub host: String,
    /// `connected`, `disconnected`, `pending` or `no session seen`.
    pub state: String,
    /// Where the clients are whose connections this node carries.
    pub from: Vec<String>,
    /// The nodes that carry connections of the user; empty on a node alone.
    pub nodes: Vec<String>,
    /// For how long the user has this host, milliseconds.
    pub since_ms: u64,
    /// How long the user keeps it without a connection, milliseconds; None: there is one.
    pub left_ms: Option<u64>,
    /// The collections in which the user came to it, by their hosts; empty: the farm has one only.
    pub collections: Vec<String>,
    /// How the agent of the host reports the session, `active` or `disconnected`; empty: it does not.
    pub agent: String,
}

/// What a user got, in each farm that knows something.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Asked {
    /// By farm.
    pub farms: Vec<AskedFarm>,
}

/// What a user got of one farm.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct AskedFarm {
    /// The farm.
    pub farm: String,
    /// The user, as the farm knows the name.
    pub user: String,
    /// What a logon without a token would get now.
    pub next: String,
    /// What each program would get now, where some are not on all hosts.
    pub collections: Vec<AskedCollection>,
    /// What the agent of the user's host says of the session; empty: nothing.
    pub agent: String,
    /// What the user did, the newest last.
    pub steps: Vec<Step>,
}

/// What a user would get of a collection.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct AskedCollection {
    /// Its hosts; empty: all of the farm.
    pub hosts: Vec<String>,
    /// What users start there, by title.
    pub starts: Vec<String>,
    /// What a logon would get now.
    pub next: String,
}
