//! Our own language: the sections `node` and `virtual-ip`, one file for all
//! machines. The proxy's loader collects their lines ([`SectionLines`]) without
//! knowing any of their keywords; here each keyword is a row, as there.
//!
//! Lines become drafts ([`node`], [`virtual_ip`] and the families beside them), and
//! drafts, once all sections are read, the [`Config`] of this machine
//! ([`instance`]): which node it is, which interface an address belongs to, and
//! what follows from `prefer` and `failover`.
//!
//! Nothing here asks the system but for the programs that lines name: what this
//! machine is comes in a [`Host`].

pub mod codes;

mod draft;
mod host;
mod identity;
mod instance;
mod link;
mod node;
mod notify;
#[cfg(test)]
mod tests;
mod timing;
mod track;
mod virtual_ip;
mod vrid;

pub use host::{Host, HostInterface};
pub use timing::Timers;
pub use track::PING;

use crate::config::Config;
use draft::Draft;
use language::arguments::{Args, Built, unset_named};
use language::keyword::{Documented, Family, Found, Keyword, Table};
use language::{Diagnostic, Diagnostics, Line, SectionLines, SourceMap, Span, unknown};
use std::sync::OnceLock;

/// The sections, and what each is for.
pub static SECTIONS: &[(&str, &str)] = &[
    (
        "node",
        "One of the machines that share the file: its name and its addresses.",
    ),
    (
        "virtual-ip",
        "Addresses that one machine owns at a time, and the order of the machines.",
    ),
];

/// Sections that are read; a file with more has another trouble.
pub const SECTIONS_MAX: usize = 512;

/// Builds a line of a section into the draft.
type LineBuilder = fn(&mut Draft<'_>, &mut Args<'_>) -> Built;
type Row = Keyword<LineBuilder>;

static NODE: &[Family<LineBuilder>] = &[("Nodes", node::LINES)];

static VIRTUAL_IP: &[Family<LineBuilder>] = &[
    ("Virtual addresses", virtual_ip::LINES),
    ("Virtual address timers", timing::LINES),
    ("Virtual address tracking", track::LINES),
    ("Virtual address notifications", notify::LINES),
];

/// The tables, made at their first use: one a section.
fn tables() -> &'static [(&'static str, Table<LineBuilder>); 2] {
    static TABLES: OnceLock<[(&'static str, Table<LineBuilder>); 2]> = OnceLock::new();
    TABLES.get_or_init(|| {
        [
            ("node", Table::new("keyword", NODE, &[])),
            ("virtual-ip", Table::new("keyword", VIRTUAL_IP, &[])),
        ]
    })
}

/// The sections themselves, as the manual has them.
static DOCUMENTED_SECTIONS: &[Documented] = &[
    Documented {
        kind: "section",
        name: "node",
        places: &["file"],
        syntax: "node [<name>]",
        doc: "One of the machines that share the file: its addresses, and its host name if that differs from the \
            section name. A machine is the node with its host name (`uname -n`, with or without its domain), with a \
            matching `hostname` line, or with one of its `address`es. In `global`, the line `node` is HAProxy's; \
            start the section at the left margin.",
        example: "node alpha\n    address 10.0.0.1",
        family: "Nodes",
        built: true,
    },
    Documented {
        kind: "section",
        name: "virtual-ip",
        places: &["file"],
        syntax: "virtual-ip <name>",
        doc: "Addresses that one of several machines owns at a time, all of them together: the first node of `prefer` \
            that is alive and whose proxy can serve the frontends bound to them. The machines use VRRP version 3 (RFC \
            9568). The file of every machine contains the same section.",
        example: "virtual-ip www\n    address 172.16.61.150/24\n    prefer alpha beta\n    failover 100ms",
        family: "Virtual addresses",
        built: true,
    },
];

/// Every keyword of these sections, for the manual and its kin.
pub fn documented() -> Vec<Documented> {
    let mut all: Vec<Documented> = tables()
        .iter()
        .flat_map(|(_, table)| table.documented())
        .chain(DOCUMENTED_SECTIONS.iter().copied())
        .collect();
    all.sort_by_key(|row| row.name);
    all
}

/// What sections come to.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// What the role runs on this machine.
    pub config: Config,
    /// Which node this machine is; None where no section says.
    pub node: Option<String>,
    /// Backends of the proxy that `track backend` names, and where: whoever has the
    /// proxy's configuration says which of them do not exist.
    pub backends: Vec<(String, Span)>,
    /// Names of instances and where they stand.
    pub spans: Vec<(String, Span)>,
}

/// Builds sections for a machine. None where there is an error, or no section.
pub fn build(
    sections: &[SectionLines],
    sources: &SourceMap,
    diagnostics: &mut Diagnostics,
    host: &Host,
) -> Option<Outcome> {
    let errors = diagnostics.errors();
    let mut draft = Draft::new(sources, diagnostics, host);
    if let Some(first_surplus) = sections.get(SECTIONS_MAX) {
        let told = format!("more than {SECTIONS_MAX} node and virtual-ip sections");
        draft.tell(Diagnostic::error(
            &codes::TOO_MANY,
            first_surplus.head.span,
            told,
        ));
    }
    for section in sections.iter().take(SECTIONS_MAX) {
        read(&mut draft, section);
    }
    let outcome = instance::finish(&mut draft);
    let failed = draft.errors() > errors;
    match failed || sections.is_empty() {
        true => None,
        false => Some(outcome),
    }
}

/// Takes a section in.
fn read(draft: &mut Draft<'_>, section: &SectionLines) {
    let place = section.head.words.first().map_or("", |word| word.str());
    let Some((place, table)) = tables().iter().find(|(name, _)| *name == place) else {
        return;
    };
    let begun = match *place {
        "node" => node::begin(draft, &section.head),
        _ => virtual_ip::begin(draft, &section.head),
    };
    if let Err(refused) = begun {
        // What its lines would say is not known without it.
        return draft.tell(*refused);
    }
    for line in &section.lines {
        if let Err(refused) = line_of(draft, place, table, line) {
            draft.tell(unset_named(line, *refused));
        }
    }
}

/// Takes a line of a section in.
fn line_of(
    draft: &mut Draft<'_>,
    place: &'static str,
    table: &'static Table<LineBuilder>,
    line: &Line,
) -> Built {
    if line.words.is_empty() {
        return Ok(());
    }
    match table.find(line.words.iter().map(|word| word.str())) {
        Found::Built(row, words) => {
            let mut args = Args::new(line, words, row.name, row.syntax, &codes::OF_ARGUMENTS);
            (row.build)(draft, &mut args)
        }
        Found::NotBuilt(..) | Found::Unknown => {
            let legal = |keyword: &str| {
                let mut others = tables().iter().filter(|(other, _)| *other != place);
                let other =
                    others.find(|(other, table)| table.names_in(other).any(|n| n == keyword));
                other.map(|(other, _)| *other)
            };
            let told = unknown(line, place, table, &codes::UNKNOWN_KEYWORD, legal);
            Err(Box::new(told))
        }
    }
}
