//! Messages to the role, beyond those for every role. The supervisor forwards them as bytes.

use crate::history::{Booted, Step};
use crate::keyword::NAME;
use crate::mac::Mac;
use part::power::control::Control;
use part::role::PartMessage;
use part::role::bounded::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An order or a question of an operator.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A machine boots an image next. The answer is [`Answer`].
    Once {
        /// The machine: its name or its card.
        #[serde(with = "Name")]
        machine: String,
        /// The image; empty: its line begins again.
        #[serde(with = "Name")]
        image: String,
    },
    /// A machine is switched on by its card. The answer is [`Answer`].
    Wake {
        /// The machine: its name or its card.
        #[serde(with = "Name")]
        machine: String,
    },
    /// What a machine has changed of its disk is dropped. The answer is [`Answer`].
    Drop {
        /// The machine: its name or its card.
        #[serde(with = "Name")]
        machine: String,
    },
    /// By what the power of a machine is controlled. The answer is [`Powered`].
    Power {
        /// The machine: its name or its card.
        #[serde(with = "Name")]
        machine: String,
    },
    /// What a machine asked. The answer is [`Asked`].
    Why {
        /// The machine: its name or its card.
        #[serde(with = "Name")]
        machine: String,
    },
    /// All machines. The answer is [`Machines`].
    Machines {},
    /// What all machines asked meanwhile. The answer is [`Watched`].
    Watch {
        /// The numbers that the answer before had; none: what comes from now on.
        after: BTreeMap<String, u64>,
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

impl Answer {
    /// The answer of a result.
    pub fn of(done: Result<String, String>) -> Answer {
        let good = done.is_ok();
        let words = done.unwrap_or_else(|words| words);
        Answer { good, words }
    }
}

/// By what the power of a machine is controlled.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Powered {
    /// Why nothing is known of the machine; empty: it is known.
    pub trouble: String,
    /// Its control; None: its line has none.
    pub control: Option<Control>,
}

/// What a machine asked.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Asked {
    /// Why there is nothing to show; empty: there is.
    pub trouble: String,
    /// The machine, as far as it is known: `node7 (52:54:00:00:00:07) in lan`.
    pub who: String,
    /// What it boots next, in words.
    pub next: String,
    /// Its addresses, and the node by which it has them, in words; empty: none.
    pub address: String,
    /// The image that it booted last; None: not known.
    pub booted: Option<Booted>,
    /// What another node answered it since, and which node that is; None: this node answered last.
    pub elsewhere: Option<(Step, String)>,
    /// This node; empty: outside of a cluster.
    pub me: String,
    /// Its steps, the newest last.
    pub steps: Vec<Step>,
}

/// All machines.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Machines {
    /// The machines.
    pub machines: Vec<Shown>,
    /// How many more there are than these.
    pub more: u64,
    /// This node; empty: outside of a cluster.
    pub me: String,
    /// Why this node does not answer as usual, in words; empty: it does.
    pub notice: String,
}

/// What machines asked.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Watched {
    /// The number of the last step of each network.
    pub after: BTreeMap<String, u64>,
    /// How many steps are forgotten already.
    pub missed: u64,
    /// The steps, with their network and machine, those of a network the newest last.
    pub steps: Vec<(String, String, Step)>,
}

/// A machine.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Its section.
    pub network: String,
    /// Its name; empty: the file does not name it.
    pub name: String,
    /// Its card.
    pub mac: Mac,
    /// The address that it has or always gets.
    pub address: Option<Ipv4Addr>,
    /// The same over IPv6.
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
    /// The node that serves it: by which it has its lease, or which answered last where the file says its
    /// address; empty: outside of a cluster, or none.
    #[serde(default)]
    pub node: String,
    /// What it boots next, in words.
    pub next: String,
    /// The image that it booted last, at any node; None: not known.
    #[serde(default)]
    pub booted: Option<Booted>,
    /// The last thing that it asked, at any node.
    pub last: Option<Step>,
    /// The node that answered that, if it is another one than this; empty: this one, or none.
    #[serde(default)]
    pub last_node: String,
    /// What it said of itself, while it waits for a line in the file.
    pub facts: Vec<(String, String)>,
    /// By what its power is controlled, without secrets; empty: its line does not say.
    #[serde(default)]
    pub power: String,
}

impl Shown {
    /// Its addresses, in words; empty: none.
    pub fn addresses(&self) -> String {
        let four = self.address.map(IpAddr::V4);
        let six = self.address6.map(IpAddr::V6);
        let all = four.into_iter().chain(six).map(|one| one.to_string());
        all.collect::<Vec<_>>().join(", ")
    }

    /// The same with the node that serves it.
    pub fn address_words(&self) -> String {
        match (self.addresses(), self.node.as_str()) {
            (words, "") => words,
            (words, _) if words.is_empty() => words,
            (words, node) => format!("{words}, by node {node}"),
        }
    }
}
