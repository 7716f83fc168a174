//! The machines that files are for, and which of them this one is.

use crate::codes;
use crate::external::External;
use language::{Diagnostic, suggest};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A machine that the files are for, as its section says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Node {
    /// Its name; None is that of the machine.
    pub name: Option<String>,
    /// Its host names.
    pub host_names: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The nodes of a configuration, and the node that it is loaded as.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Nodes {
    /// The names of this machine.
    pub(crate) here: Vec<String>,
    /// Every node that is known to exist; empty where nothing says.
    pub(crate) known: Vec<String>,
    /// Every node that a line is for.
    pub(crate) named: Vec<String>,
}

/// What other parts may know of a thing with this name: where it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Located {
    /// The nodes that have it; empty: the machine that reads the files.
    pub nodes: Vec<String>,
    /// Nobody may write it.
    #[serde(default)]
    pub read_only: bool,
    /// Where it is, if no node has it.
    #[serde(default)]
    pub external: Option<External>,
}

/// Whether a name is a machine's: with or without its domain, in any case.
pub fn is_name_of(name: &str, host: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let qualified = name.contains('.') && host.contains('.');
    name.eq_ignore_ascii_case(host)
        || (!qualified && short(name).eq_ignore_ascii_case(&short(host)))
}

impl Nodes {
    /// The other nodes that lines are for.
    pub(crate) fn others(&self) -> impl Iterator<Item = &str> {
        let named = self.named.iter().map(String::as_str);
        named.filter(|name| !self.is_here(name))
    }

    /// Returns the nodes as another node sees them.
    pub(crate) fn elsewhere(&self, name: &str) -> Nodes {
        Nodes {
            here: vec![name.to_owned()],
            ..self.clone()
        }
    }

    /// Every node that is known to exist; empty where nothing says.
    pub fn known(&self) -> &[String] {
        &self.known
    }

    /// Every node that a line is for.
    pub fn named(&self) -> &[String] {
        &self.named
    }

    /// Whether a node is this machine.
    pub fn is_here(&self, name: &str) -> bool {
        self.here.iter().any(|here| is_name_of(name, here))
    }

    /// Whether the node exists; any does where nothing says.
    pub fn is_known(&self, name: &str) -> bool {
        let mut known = self.known.iter().chain(&self.here);
        self.known.is_empty() || known.any(|known| is_name_of(name, known))
    }

    /// The error for a node that does not exist.
    pub(crate) fn unknown(&self, place: &language::Word, name: &str) -> Diagnostic {
        let told = format!("no node is called '{name}', so this line never applies");
        let told = Diagnostic::warning(&codes::UNKNOWN_NODE, place.span, told);
        match suggest::nearest(name, self.known.iter().map(String::as_str)) {
            Some(near) => told.did_you_mean(place.span, Some(near)),
            None => told.note(format!("nodes: {}", self.known.join(", "))),
        }
    }
}
