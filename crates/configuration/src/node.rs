//! Describes the machines (nodes) to which the configuration files apply, and decides whether this
//! machine is one of them.

use crate::codes;
use crate::external::External;
use language::{Diagnostic, suggest};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A machine to which the files apply, as its `node` section describes it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfiguredNode {
    /// The name of the node; `None` for the name of the machine.
    pub name: Option<String>,
    pub host_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

/// Reason why a machine is considered a configured node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeMatch {
    /// The name of the node is exactly the host name of the machine.
    ExactName,
    /// The name or the `hostname` of the node refers to the machine.
    Name(String),
    /// The node has no name, so it matches every machine.
    Unnamed,
    Address(IpAddr),
}

impl NodeMatch {
    /// Returns the precedence; the lowest wins. If a node has the machine's name, the machine is
    /// that node, even if it has the addresses of another node.
    pub fn rank(&self) -> u8 {
        match self {
            NodeMatch::ExactName => 0,
            NodeMatch::Name(_) | NodeMatch::Unnamed => 1,
            NodeMatch::Address(_) => 2,
        }
    }

    pub fn is_by_address(&self) -> bool {
        matches!(self, NodeMatch::Address(_))
    }
}

impl ConfiguredNode {
    /// Returns why a machine is this node; `None` if it is not. `has_address` is called only if no
    /// name matches.
    pub fn match_machine(
        &self,
        host: &str,
        has_address: impl FnMut(&&IpAddr) -> bool,
    ) -> Option<NodeMatch> {
        let Some(name) = &self.name else {
            return Some(NodeMatch::Unnamed);
        };
        if name == host {
            return Some(NodeMatch::ExactName);
        }
        let mut names = self.host_names.iter();
        let by_name = names.find(|name| is_name_of(name, host));
        match Some(name).filter(|name| is_name_of(name, host)).or(by_name) {
            Some(name) => Some(NodeMatch::Name(name.clone())),
            None => self
                .addresses
                .iter()
                .find(has_address)
                .copied()
                .map(NodeMatch::Address),
        }
    }
}

/// The nodes of a configuration, and the node for which the configuration is loaded.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Nodes {
    pub(crate) here: Vec<String>,
    pub(crate) known: Vec<String>,
    pub(crate) named: Vec<String>,
}

/// Location of a named object, which its part exports to other parts of the platform.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Located {
    /// The nodes that have the object; empty for the machine that reads the files.
    pub nodes: Vec<String>,
    #[serde(default)]
    pub read_only: bool,
    /// External storage of the object, if no node has it.
    #[serde(default)]
    pub external: Option<External>,
}

/// Returns whether a name refers to a host: with or without the domain, in any case.
pub fn is_name_of(name: &str, host: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let qualified = name.contains('.') && host.contains('.');
    name.eq_ignore_ascii_case(host)
        || (!qualified && short(name).eq_ignore_ascii_case(&short(host)))
}

impl Nodes {
    pub(crate) fn other_nodes(&self) -> impl Iterator<Item = &str> {
        let named = self.named.iter().map(String::as_str);
        named.filter(|name| !self.is_local_node(name))
    }

    /// Returns the nodes as they are when the configuration is loaded for another node.
    pub(crate) fn as_seen_by(&self, name: &str) -> Nodes {
        Nodes {
            here: vec![name.to_owned()],
            ..self.clone()
        }
    }

    /// Returns all nodes known to exist; empty if unknown.
    pub fn known_nodes(&self) -> &[String] {
        &self.known
    }

    /// Returns all nodes to which lines apply.
    pub fn named(&self) -> &[String] {
        &self.named
    }

    /// Returns whether a node is this machine.
    pub fn is_local_node(&self, name: &str) -> bool {
        self.here.iter().any(|here| is_name_of(name, here))
    }

    /// Returns whether the node exists; true for any node if the nodes are unknown.
    pub fn is_known(&self, name: &str) -> bool {
        let mut known = self.known.iter().chain(&self.here);
        self.known.is_empty() || known.any(|known| is_name_of(name, known))
    }

    pub(crate) fn unknown(&self, place: &language::ConfigWord, name: &str) -> Diagnostic {
        let told = format!("no node is called '{name}', so this line never applies");
        let told = Diagnostic::warning(&codes::UNKNOWN_NODE, place.span, told);
        match suggest::nearest(name, self.known.iter().map(String::as_str)) {
            Some(near) => told.did_you_mean(place.span, Some(near)),
            None => told.note(format!("nodes: {}", self.known.join(", "))),
        }
    }
}
