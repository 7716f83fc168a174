//! Parses our own language: the sections `node` and `virtual-ip`, in one file for all machines.
//! Each keyword is a row.
//!
//! Lines become drafts ([`node`], [`virtual_ip`] and the other families). When all sections have
//! been read, the drafts become the [`Config`] of this machine ([`instance`]): which node it is,
//! which interface an address belongs to, and what follows from `prefer` and `failover`.
//!
//! Nothing here queries the system except for the programs that lines name: the facts about this
//! machine come in a [`TargetHost`].

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

pub use host::TargetHost;
pub use timing::Timers;
pub use track::PING;

use crate::config::Config;
use crate::given::{difference, given};
use crate::role::KeptState;
use configuration::{
    ConfigurationPart, ConfiguredNode, Context, Exchange, Export, NamedAddress, RoleInterface,
    SectionTable, Sections, Tabled, TabledDraft,
};
use draft::AddressConfigDraft;
use language::arguments::{ArgumentCodes, Built};
use language::keyword::{Documented, Family, Keyword};
use language::{Code, ConfigLine, Diagnostic, Span};
use protocol::vitals::Service;
use std::any::Any;

pub static PART: ConfigurationPart = ConfigurationPart {
    name: "address",
    sections: SECTIONS,
    documented: || [documented(), crate::dialect::documented()].concat(),
    codes: || [codes::CODES, crate::codes::CODES].concat(),
    exports: &[],
    begin: |context| Box::new(TabledDraft::new(AddressConfigDraft::new(host(context)))),
    run: Some(RoleInterface {
        role_input: |built, before| {
            let config = built.downcast_ref::<Read>()?.config()?;
            Some(given(&config, before))
        },
        leftover_input: |built, rest| {
            let is_member = built.downcast_ref::<Read>()?.is_member;
            let state = KeptState::decode(rest.state?)?;
            state
                .has_kernel_state()
                .then(|| given(&Config::empty(is_member), None))
        },
        difference,
        refusals: |_| Vec::new(),
    }),
};

const SECTIONS: Sections = Sections {
    names: &[
        (
            "node",
            "One of the machines that share the file: its name and its addresses.",
        ),
        (
            "virtual-ip",
            "Addresses that one machine owns at a time, and the order of the machines.",
        ),
    ],
    // Keyword of `keepalived.conf` whose value is a password.
    secrets: &["auth_pass"],
    ..Sections::NONE
};

/// Maximum number of sections that are read; a file with more has a different problem.
pub const SECTIONS_MAX: usize = 512;

type AddressLineBuilder = configuration::DraftLineBuilder<AddressConfigDraft>;
type Row = Keyword<AddressLineBuilder>;

static NODE: &[Family<AddressLineBuilder>] = &[("Nodes", node::LINES)];

static VIRTUAL_IP: &[Family<AddressLineBuilder>] = &[
    ("Virtual addresses", virtual_ip::LINES),
    ("Virtual address timers", timing::LINES),
    ("Virtual address tracking", track::LINES),
    ("Virtual address notifications", notify::LINES),
];

static TABLES: [SectionTable<AddressConfigDraft>; 2] = [
    SectionTable::new("node", NODE, node::begin),
    SectionTable::new("virtual-ip", VIRTUAL_IP, virtual_ip::begin),
];

static DOCUMENTED_SECTIONS: &[Documented] = &[
    Documented {
        kind: "section",
        name: "node",
        places: &["file"],
        syntax: "node [<name>]",
        doc: "One of the machines that share the file: its addresses, and its host name if that differs from the \
            section name. A machine is the node with its host name (`uname -n`, with or without its domain), with a \
            matching `hostname` line, or otherwise with one of its `address`es. A member of a cluster has its member \
            name in place of its host name. In `global`, the line `node` is HAProxy's; \
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
        doc: "A group of addresses that one machine owns at a time: the first node of `prefer` \
            that is alive and whose proxy can serve the frontends bound to them. The machines use VRRP version 3 (RFC \
            9568). The file of every machine contains the same section.",
        example: "virtual-ip www\n    address 172.16.61.150/24\n    prefer alpha beta\n    failover 100ms",
        family: "Virtual addresses",
        built: true,
    },
];

/// Returns every keyword of these sections, for the manual and `evenkeel keyword`.
pub fn documented() -> Vec<Documented> {
    let mut all: Vec<Documented> = TABLES
        .iter()
        .flat_map(SectionTable::documented)
        .chain(DOCUMENTED_SECTIONS.iter().copied())
        .collect();
    all.sort_by_key(|row| row.name);
    all
}

#[derive(Clone, PartialEq, Debug)]
pub struct SectionConfig {
    pub config: Config,
    /// Name of the node that this machine is. None without `node` sections, and for a file that is
    /// only inspected.
    pub node: Option<String>,
    backends: Vec<(String, Span)>,
}

/// Result of reading the sections.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Read {
    /// `None` after an error, or without sections.
    pub outcome: Option<SectionConfig>,
    /// Configuration from keepalived's files, if there are any.
    pub foreign: Option<Config>,
    pub is_member: bool,
    begun: Option<(String, Span)>,
}

impl Read {
    /// Returns the configuration of the role on this machine, for both languages
    /// together.
    pub fn config(&self) -> Option<Config> {
        let own = self.outcome.as_ref().map(|own| own.config.clone());
        let mut config = Config::join(own, self.foreign.clone())?;
        config.global.is_member = self.is_member;
        Some(config)
    }

    /// Returns an error that no process would run the sections, if there are any.
    pub fn no_local_process(&self) -> Option<Diagnostic> {
        let (word, at) = self.begun.as_ref()?;
        let told =
            format!("a '{word}' section needs the address role, which this process does not start");
        let told = Diagnostic::error(&codes::NOT_HERE, *at, told)
            .label("virtual addresses need a supervisor");
        Some(told.help("start it with `evenkeel run -f FILE`, or as `haproxy -W`"))
    }
}

fn host(context: &Context) -> TargetHost {
    if !context.options.here {
        return TargetHost::default();
    }
    let own = || {
        let system = rustix::system::uname();
        system.nodename().to_string_lossy().into_owned()
    };
    TargetHost {
        name: Some(context.options.node.clone().unwrap_or_else(own)),
        is_accepted: context.is_accepted(),
        interfaces: context.outside.interfaces(),
    }
}

/// Returns what other roles may know of the addresses of a configuration, in either language.
pub fn exports(config: &Config) -> impl Iterator<Item = Export> {
    config.instances.iter().map(|instance| {
        let addresses = instance.addresses.iter().chain(&instance.excluded);
        let backends = instance.tracked.backends.iter();
        let service = Service {
            name: instance.name.as_str().into(),
            interface: instance.interface.as_str().into(),
            router_id: instance.vrid,
            addresses: addresses.map(|address| address.address).collect(),
            backends: backends.map(|name| name.as_str().into()).collect(),
        };
        Export::new(Service::KIND, &instance.name, &service)
    })
}

fn begin(draft: &mut AddressConfigDraft, head: &ConfigLine) -> Built {
    let word = &head.words[0];
    draft
        .begun
        .get_or_insert_with(|| (word.text().into_owned(), head.span));
    if draft.nodes.len() + draft.virtual_ips.len() < SECTIONS_MAX {
        return Ok(());
    }
    let told = format!("more than {SECTIONS_MAX} node and virtual-ip sections");
    Err(Diagnostic::error(&codes::TOO_MANY, head.span, told))
}

impl Tabled for AddressConfigDraft {
    const OF_ARGUMENTS: &'static ArgumentCodes = &codes::OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &codes::UNKNOWN_KEYWORD;

    fn sections() -> &'static [SectionTable<Self>] {
        &TABLES
    }

    fn nodes(&self) -> Vec<ConfiguredNode> {
        self.nodes
            .iter()
            .map(draft::NodeDraft::configured)
            .collect()
    }

    fn addresses(&self) -> Vec<NamedAddress> {
        let nodes = self.nodes.iter().flat_map(|node| {
            let name = node.name.as_deref().unwrap_or_default();
            let owner = format!("node '{name}'");
            let all = node.addresses.iter();
            all.filter_map(move |one| NamedAddress::of_node(one.value, owner.clone()))
        });
        let virtual_ips = self.virtual_ips.iter().flat_map(|one| {
            let owner = format!("virtual-ip '{}'", one.name);
            let all = one.addresses.iter();
            all.filter_map(move |one| NamedAddress::of_node(one.address, owner.clone()))
        });
        nodes.chain(virtual_ips).collect()
    }

    fn finish(mut self, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        let outcome = instance::finish(&mut self);
        for lack in std::mem::take(&mut self.lacks) {
            context.outside.continue_without(lack);
        }
        for told in self.diagnostics {
            context.report(told);
        }
        // Exports even after an error, so that one run reports all undefined names.
        exports(&outcome.config).for_each(|export| exchange.export(export));
        for (name, at) in &outcome.backends {
            exchange.require_object("backend", name, *at);
        }
        let good = context.diagnostics.errors() == 0;
        let outcome = Some(outcome).filter(|_| good && self.begun.is_some());
        Box::new(Read {
            outcome,
            foreign: None,
            is_member: false,
            begun: self.begun,
        })
    }
}
