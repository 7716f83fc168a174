//! Defines the interface between a load and a part of the platform: the sections that the part
//! builds, the names that it exports to other parts, and the names that it refers to.

use crate::context::Context;
use crate::node::ConfiguredNode;
use crate::recording::Export;
use crate::sections::Sections;
use language::{Code, ConfigLine, Diagnostic, Documented, Span, suggest};
use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

/// A part, as described by its sections.
#[derive(Debug)]
pub struct ConfigurationPart {
    pub name: &'static str,
    pub sections: Sections,
    /// Every keyword of the part, for the manual and `evenkeel keyword`.
    pub documented: fn() -> Vec<Documented>,
    pub codes: fn() -> Vec<&'static Code>,
    /// The kinds of names that sections of other parts may refer to.
    pub exports: &'static [ObjectKind],
    /// Creates a draft before any line is read.
    pub begin: fn(&mut Context) -> Box<dyn PartDraft>,
    /// The interface for running the built configuration in a role; `None` if the part has no role.
    pub run: Option<RoleInterface>,
}

/// The interface between a part's configuration and its role.
#[derive(Debug)]
pub struct RoleInterface {
    /// Returns the input of the role, from the built configuration and the previous payload; `None`
    /// if there is nothing to run.
    pub role_input: fn(built: &dyn Any, before: Option<&[u8]>) -> Option<RoleInput>,
    /// Returns the input with which the role ends what an earlier process of it left on this
    /// machine, for a configuration that has nothing for the role. None: nothing is left.
    pub leftover_input: fn(built: &dyn Any, rest: &Rest<'_>) -> Option<RoleInput>,
    /// Returns the differences between two payloads, one line each.
    pub difference: Difference,
    /// Returns why this machine cannot run a payload, one line each, as far as that can be
    /// seen before the role gets it.
    pub refusals: fn(&[u8]) -> Vec<String>,
}

/// Facts about earlier processes of a role, all of which may have been killed.
#[derive(Clone, Copy, Debug)]
pub struct Rest<'r> {
    pub runtime: &'r Path,
    /// The state that the last process with the same files stored for its successor.
    pub state: Option<&'r [u8]>,
    /// Resources of other instances of the program on this machine, as lines
    /// ([`RoleInput::resources`]).
    pub claimed: &'r BTreeSet<String>,
}

/// A role that leaves nothing behind.
pub fn no_leftovers(_: &dyn Any, _: &Rest<'_>) -> Option<RoleInput> {
    None
}

/// Compares the payload before with the one now.
pub type Difference = fn(before: Option<&[u8]>, now: Option<&[u8]>) -> Vec<String>;

/// The input of a role for a version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoleInput {
    /// The configuration to run, which only the role decodes.
    pub payload: Vec<u8>,
    /// The size of the configuration, for messages: `3 virtual addresses`.
    pub size: String,
    /// Maximum duration of a planned stop, in milliseconds.
    pub stop_ms: u64,
    /// Machines that share the configuration have to change at the same time.
    pub is_simultaneous: bool,
    /// The resources that no other instance of the program on this machine may use at the same
    /// time, as lines of the runtime directory (`part::role::Resource::line`): `guest mail`.
    pub resources: Vec<String>,
}

/// A kind of object that sections define and others may name.
#[derive(Debug)]
pub struct ObjectKind {
    /// The noun for an object: `backend`.
    pub name: &'static str,
    pub unknown: &'static Code,
    /// The label of the error, for a name that does not exist.
    pub label: &'static str,
}

/// The configuration of a part while lines are added. Errors are reported to the context; a
/// configuration with an error is invalid, but reading continues so that every error is reported.
pub trait PartDraft: fmt::Debug {
    fn section(&mut self, context: &mut Context, head: &ConfigLine);

    /// Returns the section into which lines are built; `None` when lines are ignored, because their
    /// meaning is unknown.
    fn current_section(&self) -> Option<&'static str>;

    fn line(&mut self, context: &mut Context, line: &ConfigLine);

    /// Notes that a line of that section was refused before it reached the draft.
    fn refused(&mut self, _line: &ConfigLine) {}

    /// Notes a line of that section that applies only to other nodes and is not built for this one.
    fn note_line_for_other_nodes(&mut self, _line: &ConfigLine) {}

    fn end_section(&mut self, _context: &mut Context) {}

    fn nodes(&self) -> Vec<ConfiguredNode> {
        Vec::new()
    }

    fn addresses(&self) -> Vec<NamedAddress> {
        Vec::new()
    }

    /// Returns whether [`finish`](PartDraft::finish) reads the addresses of all parts, which are
    /// collected only then.
    fn reads_addresses(&self) -> bool {
        false
    }

    /// Returns whether a line was written for HAProxy before 1.6, where quotes were ordinary bytes.
    fn is_old_file(&self, _context: &Context) -> bool {
        false
    }

    /// Finishes the load of all lines. Parts earlier in the table have exported the names
    /// of their sections.
    fn finish(self: Box<Self>, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any>;
}

/// An address of a machine that a line names: no part may assign it to another machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedAddress {
    /// The address; never an unspecified one.
    pub address: IpAddr,
    /// The owner of the address, for messages: `virtual-ip 'www'`.
    pub owner: String,
    /// The address can only be a node's own address.
    pub is_of_a_node: bool,
}

impl NamedAddress {
    /// Creates an address of a node; returns `None` for an unspecified or a loopback address.
    pub fn of_node(address: IpAddr, owner: impl Into<String>) -> Option<NamedAddress> {
        let named = NamedAddress::from_address(address, owner)?;
        Some(NamedAddress {
            is_of_a_node: true,
            ..named
        })
    }

    /// Creates an address of some machine; returns `None` for an unspecified or a loopback address.
    pub fn from_address(address: IpAddr, owner: impl Into<String>) -> Option<NamedAddress> {
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

/// The name of an object that another part defines.
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

    /// Returns the addresses that the sections of all parts name, including lines for other nodes;
    /// empty if no part reads them.
    pub fn addresses(&self) -> &[NamedAddress] {
        &self.addresses
    }

    /// Adds an export. A replay already has it from the load.
    pub fn export(&mut self, export: Export) {
        if export.is_name() || !self.exports.contains(&export) {
            self.exports.push(export);
        }
    }

    /// Refers to an object that must exist after all parts have finished.
    pub fn require_object(&mut self, kind: &'static str, name: &str, at: Span) {
        self.references.push(Reference {
            kind,
            name: name.to_owned(),
            at,
        });
    }

    pub fn exports_of_kind<'e>(&'e self, kind: &'e str) -> impl Iterator<Item = &'e Export> {
        self.exports
            .iter()
            .filter(move |export| export.kind == kind)
    }

    /// Returns the exports that a replay needs. Bare names were only needed by this load.
    pub(crate) fn needed_for_replay(self) -> Vec<Export> {
        let mut exports = self.exports;
        exports.retain(|export| !export.is_name());
        exports
    }

    /// Reports names that no part defines. Kinds of parts outside `parts` are not checked.
    pub(crate) fn check(&self, parts: &[&'static ConfigurationPart], context: &mut Context) {
        let kinds = || parts.iter().flat_map(|part| part.exports);
        for reference in &self.references {
            let names = || {
                self.exports_of_kind(reference.kind)
                    .map(|export| &*export.name)
            };
            if let Some(kind) = kinds().find(|kind| kind.name == reference.kind)
                && !names().any(|name| name == reference.name)
            {
                let told = format!("there is no {} '{}'", kind.name, reference.name);
                let told = Diagnostic::error(kind.unknown, reference.at, told).label(kind.label);
                let mut names: Vec<&str> = names().collect();
                names.sort_unstable();
                let near = suggest::nearest(&reference.name, names);
                context.report(told.did_you_mean(reference.at, near));
            }
        }
    }
}
