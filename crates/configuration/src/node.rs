//! The machines that files apply to, and which of them is this one.

use crate::codes;
use crate::external::External;
use language::{Diagnostic, suggest};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A machine that the files apply to, from its section.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfiguredNode {
    /// The name of the node; `None` for the name of the machine.
    pub name: Option<String>,
    pub host_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

/// The nodes of a configuration, and the node for which it is loaded.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Nodes {
    /// The names of this machine.
    pub(crate) here: Vec<String>,
    /// All nodes known to exist; empty if unknown.
    pub(crate) known: Vec<String>,
    /// All nodes that lines apply to.
    pub(crate) named: Vec<String>,
}

/// The location of a named object, exported to other parts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Located {
    /// The nodes that have the object; empty for the machine that reads the files.
    pub nodes: Vec<String>,
    /// The object must not be written.
    #[serde(default)]
    pub read_only: bool,
    /// The external location, if no node has the object.
    #[serde(default)]
    pub external: Option<External>,
}

/// Returns whether a name refers to a machine: with or without its domain, in any case.
pub fn is_name_of(name: &str, host: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let qualified = name.contains('.') && host.contains('.');
    name.eq_ignore_ascii_case(host)
        || (!qualified && short(name).eq_ignore_ascii_case(&short(host)))
}

impl Nodes {
    /// Returns the other nodes that lines apply to.
    pub(crate) fn other_nodes(&self) -> impl Iterator<Item = &str> {
        let named = self.named.iter().map(String::as_str);
        named.filter(|name| !self.is_local_node(name))
    }

    /// Returns the nodes as another node sees them.
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

    /// Returns all nodes that lines apply to.
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

    /// Returns the warning for a node that does not exist.
    pub(crate) fn unknown(&self, place: &language::ConfigWord, name: &str) -> Diagnostic {
        let told = format!("no node is called '{name}', so this line never applies");
        let told = Diagnostic::warning(&codes::UNKNOWN_NODE, place.span, told);
        match suggest::nearest(name, self.known.iter().map(String::as_str)) {
            Some(near) => told.did_you_mean(place.span, Some(near)),
            None => told.note(format!("nodes: {}", self.known.join(", "))),
        }
    }
}
