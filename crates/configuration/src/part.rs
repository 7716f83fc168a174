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

/// A part of the platform, as far as configuration files concern it.
#[derive(Debug)]
pub struct ConfigurationPart {
    pub name: &'static str,
    pub sections: Sections,
    /// Every keyword of the part, for the manual and `evenkeel keyword`.
    pub documented: fn() -> Vec<Documented>,
    pub codes: fn() -> Vec<&'static Code>,
    /// The kinds of names that sections of other parts may refer to.
    pub exports: &'static [ObjectKind],
    /// Creates the empty configuration of the part, before any line is read.
    pub begin: fn(&mut Context) -> Box<dyn PartDraft>,
    /// Functions to run the built configuration in a process; `None` if the part has no process.
    pub run: Option<RoleInterface>,
}

/// Interface between the configuration of a part and the process that runs it.
#[derive(Debug)]
pub struct RoleInterface {
    /// Returns the input of the process, from the built configuration and the previous payload;
    /// `None` if there is nothing to run.
    pub role_input: fn(built: &dyn Any, before: Option<&[u8]>) -> Option<RoleInput>,
    /// Called if the configuration has nothing for the process. Returns the input with which the
    /// process ends what an earlier one has left running on this machine; None if nothing is left.
    pub leftover_input: fn(built: &dyn Any, rest: &Rest<'_>) -> Option<RoleInput>,
    /// Returns the differences between two payloads, one line each.
    pub difference: Difference,
    /// Returns the reasons why this machine cannot run a payload, one line each, as far as that is
    /// visible before the process gets it.
    pub refusals: fn(&[u8]) -> Vec<String>,
}

/// Facts about earlier processes of the part, all of which may have been killed.
#[derive(Clone, Copy, Debug)]
pub struct Rest<'r> {
    pub runtime: &'r Path,
    /// State that the last process with the same files stored for its successor.
    pub state: Option<&'r [u8]>,
    /// Resources that other instances of Evenkeel on this machine use, as lines
    /// ([`RoleInput::resources`]).
    pub claimed: &'r BTreeSet<String>,
}

/// Returns no input, for parts whose process leaves nothing running.
pub fn no_leftovers(_: &dyn Any, _: &Rest<'_>) -> Option<RoleInput> {
    None
}

/// Function that returns the differences between the previous payload of a process and the new one,
/// one line each.
pub type Difference = fn(before: Option<&[u8]>, now: Option<&[u8]>) -> Vec<String>;

/// Input of a process for one configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoleInput {
    /// The configuration to run; only the process decodes it.
    pub payload: Vec<u8>,
    pub size: ObjectCount,
    /// Maximum duration of a planned stop, in milliseconds.
    pub stop_ms: u64,
    /// All machines that share the configuration must change at the same time.
    pub is_simultaneous: bool,
    /// The resources that no other instance of Evenkeel on this machine may use at the same time,
    /// as lines of the runtime directory (`part::role::Resource::line`): `guest mail`.
    pub resources: Vec<String>,
}

/// Number of configured objects of a part, printed as `3 virtual addresses`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ObjectCount {
    pub number: usize,
    /// The noun in the form that fits the number.
    pub noun: &'static str,
}

impl ObjectCount {
    pub fn new(number: usize, one: &'static str, many: &'static str) -> ObjectCount {
        let noun = if number == 1 { one } else { many };
        ObjectCount { number, noun }
    }
}

impl fmt::Display for ObjectCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.noun)
    }
}

/// A kind of object (such as a backend) that sections define and other sections may name.
#[derive(Debug)]
pub struct ObjectKind {
    /// The noun for an object: `backend`.
    pub name: &'static str,
    pub unknown: &'static Code,
    /// Label of the error about a name that does not exist.
    pub label: &'static str,
}

/// The configuration of a part while its lines are read. Errors are reported to the context. A
/// configuration with an error is invalid, but reading continues, so that every error is reported.
pub trait PartDraft: fmt::Debug {
    fn section(&mut self, context: &mut Context, head: &ConfigLine);

    /// Returns the section to which the lines are added; `None` while lines are ignored because
    /// their meaning is unknown.
    fn current_section(&self) -> Option<&'static str>;

    fn line(&mut self, context: &mut Context, line: &ConfigLine);

    /// Called when a line of the current section was refused before it reached this draft.
    fn refused(&mut self, _line: &ConfigLine) {}

    /// Called for a line of the current section that applies to other nodes only, and is therefore
    /// not built.
    fn note_line_for_other_nodes(&mut self, _line: &ConfigLine) {}

    fn end_section(&mut self, _context: &mut Context) {}

    fn nodes(&self) -> Vec<ConfiguredNode> {
        Vec::new()
    }

    fn addresses(&self) -> Vec<NamedAddress> {
        Vec::new()
    }

    /// Returns whether [`finish`](PartDraft::finish) uses the addresses that all parts name. They
    /// are collected only in that case.
    fn reads_addresses(&self) -> bool {
        false
    }

    /// Returns whether a line was written for HAProxy before 1.6, where quotes were ordinary bytes.
    fn is_old_file(&self, _context: &Context) -> bool {
        false
    }

    /// Called after the last line. Parts that come earlier in the table have exported the names of
    /// their sections by then.
    fn finish(self: Box<Self>, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any>;
}

/// An IP address of a machine that a line names. No part may assign it to another machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedAddress {
    /// The address; never an unspecified one.
    pub address: IpAddr,
    /// The owner of the address, for messages: `virtual-ip 'www'`.
    pub owner: String,
    /// The address is certainly one of a node's own addresses.
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

    /// Creates an address of some machine; returns `None` for an unspecified or a loopback
    /// address.
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

/// Data that parts exchange during a load: exported names, references to them, and the addresses
/// that all sections name.
#[derive(Debug, Default)]
pub struct Exchange {
    exports: Vec<Export>,
    references: Vec<Reference>,
    addresses: Vec<NamedAddress>,
}

/// Reference to an object that another part defines.
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

    /// Returns the addresses that the sections of all parts name, also in lines for other nodes;
    /// empty if no part uses them.
    pub fn addresses(&self) -> &[NamedAddress] {
        &self.addresses
    }

    /// Adds an export. In a replay, the recording already contains it.
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

    /// Returns the exports that a replay needs. Drops exports that consist of a name only, because
    /// only this load needed them.
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
