//! The interface of a part to a load: the sections that it builds, the names that it
//! exports to other parts, and the names that it refers to.

use crate::context::Context;
use crate::node::Node;
use crate::recording::Export;
use crate::sections::Sections;
use language::{Code, Diagnostic, Documented, Line, Span, suggest};
use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

/// A part, as far as its sections go.
#[derive(Debug)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Its sections.
    pub sections: Sections,
    /// Every keyword of the part, for the manual and `evenkeel keyword`.
    pub documented: fn() -> Vec<Documented>,
    /// The codes of what it tells.
    pub codes: fn() -> Vec<&'static Code>,
    /// The kinds of names that sections of other parts may refer to.
    pub exports: &'static [Kind],
    /// Begins a configuration that has read nothing yet.
    pub begin: fn(&mut Context) -> Box<dyn Draft>,
    /// How a role of its own runs what it built; None where it has none.
    pub run: Option<Run>,
}

/// How a part's role runs what the part built.
#[derive(Debug)]
pub struct Run {
    /// Returns the input of the role, from the built configuration and the previous
    /// payload. None if there is nothing to run.
    pub given: fn(built: &dyn Any, before: Option<&[u8]>) -> Option<Given>,
    /// Returns the input with which the role ends what an earlier process of it left on this
    /// machine, for a configuration that has nothing for the role. None: nothing is left.
    pub given_for_rest: fn(built: &dyn Any, rest: &Rest<'_>) -> Option<Given>,
    /// Returns the differences between two payloads, one line each.
    pub difference: Difference,
    /// Returns why this machine cannot run a payload, one line each, as far as that can be
    /// seen before the role gets it.
    pub refusals: fn(&[u8]) -> Vec<String>,
}

/// What is known of earlier processes of a role, all of which may have been killed.
#[derive(Clone, Copy, Debug)]
pub struct Rest<'r> {
    /// The runtime directory.
    pub runtime: &'r Path,
    /// The state that the last process with the same files stored for its successor.
    pub state: Option<&'r [u8]>,
    /// Resources of other instances of the program on this machine, as lines
    /// ([`Given::resources`]).
    pub claimed: &'r BTreeSet<String>,
}

/// A role that leaves nothing behind.
pub fn no_rest(_: &dyn Any, _: &Rest<'_>) -> Option<Given> {
    None
}

/// Compares the payload before with the one now.
pub type Difference = fn(before: Option<&[u8]>, now: Option<&[u8]>) -> Vec<String>;

/// The input of a role for a version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Given {
    /// The configuration to run, which only the role decodes.
    pub payload: Vec<u8>,
    /// How much there is of it, for messages: `3 virtual addresses`.
    pub size: String,
    /// How long a planned stop takes at most, milliseconds.
    pub stop_ms: u64,
    /// Machines that share it have to change at once.
    pub together: bool,
    /// What no other instance of the program on this machine may use at the same time, as
    /// lines of the runtime directory (`part::role::Resource::line`): `guest mail`.
    pub resources: Vec<String>,
}

/// A kind of things that sections define and others may name.
#[derive(Debug)]
pub struct Kind {
    /// The word for one: `backend`.
    pub name: &'static str,
    /// The error where there is none of a name.
    pub unknown: &'static Code,
    /// The label of the error, for a name that does not exist.
    pub label: &'static str,
}

/// The configuration of a part that grows with each line. What is wrong is told to the
/// context; a configuration with an error is of no use, and its reading goes on so that
/// every mistake is told.
pub trait Draft: fmt::Debug {
    /// Takes the first line of a section in.
    fn section(&mut self, context: &mut Context, head: &Line);

    /// The section that lines are built into; None where lines are ignored, since
    /// their meaning is not known.
    fn place(&self) -> Option<&'static str>;

    /// Takes a line of that section in.
    fn line(&mut self, context: &mut Context, line: &Line);

    /// A line of that section was refused before it got here.
    fn refused(&mut self, _line: &Line) {}

    /// A line of that section is for other nodes only: here it is not built.
    fn elsewhere(&mut self, _line: &Line) {}

    /// The section has no further line.
    fn end_section(&mut self, _context: &mut Context) {}

    /// The machines that its sections have named so far.
    fn nodes(&self) -> Vec<Node> {
        Vec::new()
    }

    /// The addresses that its sections name as those of a machine, of any node or another one.
    fn addresses(&self) -> Vec<NamedAddress> {
        Vec::new()
    }

    /// Whether something was written for HAProxy before 1.6, where quotes were bytes like
    /// others.
    fn is_old_file(&self, _context: &Context) -> bool {
        false
    }

    /// Finishes the load of all lines. Parts earlier in the table have exported the names
    /// of their sections.
    fn finish(self: Box<Self>, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any>;
}

/// An address that a line names as that of a machine: no part may give it to another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedAddress {
    /// The address; never an unspecified one.
    pub address: IpAddr,
    /// What has the address, for messages: `virtual-ip 'www'`.
    pub owner: String,
    /// Whether it can be only a node's own address.
    pub is_of_a_node: bool,
}

impl NamedAddress {
    /// An address of a node. None for an unspecified or a loopback address.
    pub fn of_node(address: IpAddr, owner: impl Into<String>) -> Option<NamedAddress> {
        let named = NamedAddress::of(address, owner)?;
        Some(NamedAddress {
            is_of_a_node: true,
            ..named
        })
    }

    /// An address of some machine. None for an unspecified or a loopback address.
    pub fn of(address: IpAddr, owner: impl Into<String>) -> Option<NamedAddress> {
        let address = address.to_canonical();
        let is_of_none = address.is_unspecified() || address.is_loopback();
        (!is_of_none).then(|| NamedAddress {
            address,
            owner: owner.into(),
            is_of_a_node: false,
        })
    }
}

/// The names that sections of one part export, the references to them, and the addresses that
/// all sections name.
#[derive(Debug, Default)]
pub struct Exchange {
    exports: Vec<Export>,
    references: Vec<Reference>,
    addresses: Vec<NamedAddress>,
}

/// A name of something that another part defines.
#[derive(Debug)]
struct Reference {
    kind: &'static str,
    name: String,
    at: Span,
}

impl Exchange {
    pub(crate) fn new(imports: &[Export], addresses: Vec<NamedAddress>) -> Exchange {
        Exchange {
            exports: imports.to_vec(),
            references: Vec::new(),
            addresses,
        }
    }

    /// The addresses that the sections of all parts name, also on lines for other nodes.
    pub fn addresses(&self) -> &[NamedAddress] {
        &self.addresses
    }

    /// Puts something in. A replay has it from the load already.
    pub fn export(&mut self, export: Export) {
        if export.is_name() || !self.exports.contains(&export) {
            self.exports.push(export);
        }
    }

    /// Names something, which has to be there once all parts have finished.
    pub fn refer(&mut self, kind: &'static str, name: &str, at: Span) {
        self.references.push(Reference {
            kind,
            name: name.to_owned(),
            at,
        });
    }

    /// All of a kind that there is.
    pub fn all<'e>(&'e self, kind: &'e str) -> impl Iterator<Item = &'e Export> {
        self.exports
            .iter()
            .filter(move |export| export.kind == kind)
    }

    /// Returns the exports that a replay needs. Bare names were only needed by this load.
    pub(crate) fn kept(self) -> Vec<Export> {
        let mut exports = self.exports;
        exports.retain(|export| !export.is_name());
        exports
    }

    /// Reports names that no part defines. Kinds of other parts than these are not checked.
    pub(crate) fn check(&self, parts: &[&'static Part], context: &mut Context) {
        let kinds = || parts.iter().flat_map(|part| part.exports);
        for reference in &self.references {
            let names = || self.all(reference.kind).map(|export| &*export.name);
            if let Some(kind) = kinds().find(|kind| kind.name == reference.kind)
                && !names().any(|name| name == reference.name)
            {
                let told = format!("there is no {} '{}'", kind.name, reference.name);
                let told = Diagnostic::error(kind.unknown, reference.at, told).label(kind.label);
                let mut names: Vec<&str> = names().collect();
                names.sort_unstable();
                let near = suggest::nearest(&reference.name, names);
                context.tell(told.did_you_mean(reference.at, near));
            }
        }
    }
}
