//! Parses `boot` sections into [`BootConfig`] and reports their errors. The submodules have the
//! keyword rows; this module completes the sections when all files are read, and declares the part
//! `boot` of the platform: sections, documentation, codes and the input of its role.

mod check;
pub mod codes;
mod disks;
mod leased;
mod machines;
mod renamed;
mod section;
mod six;
#[cfg(test)]
mod tests;

use crate::config::{
    AddressSource, BootConfig, ClientParameters, Ipv4Network, LanConfig, MachineConfig,
    UnknownMachinePolicy,
};
use crate::difference::difference;
use configuration::{
    ConfigurationPart, Context, Exchange, ObjectCount, RoleInput, RoleInterface, SectionTable,
    Sections, Tabled, TabledDraft, VolumeFiles, is_name_of,
};
use language::Code;
use language::arguments::ArgumentCodes;
use language::keyword::{Documented, Family};
use part::codec;
use section::BootSectionDraft;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub const NAME: &str = "boot";

const STOP_MS: u64 = 2_000;

pub static PART: ConfigurationPart = ConfigurationPart {
    name: NAME,
    sections: Sections {
        names: &[(
            "boot",
            "A network from which machines without disks boot: DHCP, TFTP and HTTP.",
        )],
        // In a `guest` section, a line that begins with `boot` is a keyword of the guest.
        shared: &[("boot", "guest")],
        by_node: &["boot"],
        ..Sections::NONE
    },
    documented: || {
        let lines = TABLES[0].documented();
        std::iter::once(SECTION).chain(lines).collect()
    },
    codes: || codes::CODES.to_vec(),
    exports: &[],
    begin: |_| Box::new(TabledDraft::new(BootSectionDraft::default())),
    run: Some(RoleInterface {
        role_input: |built, _| {
            let boots = built.downcast_ref::<BootConfig>()?;
            let count = boots.lans.len();
            (count > 0).then(|| RoleInput {
                payload: codec::encode(boots),
                size: ObjectCount::new(count, "boot network", "boot networks"),
                stop_ms: STOP_MS,
                resources: boots.resources(),
                ..RoleInput::default()
            })
        },
        leftover_input: configuration::no_leftovers,
        difference,
        refusals: |_| Vec::new(),
    }),
};

type BootLineBuilder = configuration::DraftLineBuilder<BootSectionDraft>;

static LINES: &[Family<BootLineBuilder>] = &[
    ("Network boot", section::LINES),
    ("Network boot", six::LINES),
    ("Network boot", machines::LINES),
    ("Network boot", disks::LINES),
];

static TABLES: [SectionTable<BootSectionDraft>; 1] =
    [SectionTable::new("boot", LINES, section::begin)];

const SECTION: Documented = Documented {
    kind: "section",
    name: "boot",
    places: &["file"],
    syntax: "boot <name>",
    doc: "A network whose machines boot from this one: it gives them addresses (DHCP, or beside another DHCP server), a boot \
        loader by TFTP or HTTP, and the image that a line names for their MAC address. On a cluster every node answers, so \
        machines boot whichever of them is there.",
    example: "boot lan\n    interface br0\n    range 10.20.0.100 10.20.0.199\n    image rescue kernel /srv/boot/vmlinuz initrd \
        /srv/boot/initrd\n    machine node7 mac 52:54:00:00:00:07 address 10.20.0.107 image rescue\n    unknown menu",
    family: "Network boot",
    built: true,
};

impl Tabled for BootSectionDraft {
    const OF_ARGUMENTS: &'static ArgumentCodes = &codes::OF_ARGUMENTS;
    const UNKNOWN: &'static Code = &codes::UNKNOWN;

    fn sections() -> &'static [SectionTable<Self>] {
        &TABLES
    }

    fn reads_addresses(&self) -> bool {
        !self.lans.is_empty()
    }

    fn finish(mut self, context: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
        for told in check::wrong(&self, context) {
            context.report(told);
        }
        let written = self
            .lans
            .iter()
            .flat_map(|lan| disks::written(exchange, lan));
        written.for_each(|told| context.report(told));
        let stored = VolumeFiles::of(exchange, context);
        let of_volumes = self
            .lans
            .iter()
            .flat_map(|lan| disks::of_volumes(context, &stored, lan));
        let of_volumes: Vec<_> = of_volumes.collect();
        of_volumes.into_iter().for_each(|told| context.report(told));
        disks::of_one_storage(context, exchange, &self.lans)
            .into_iter()
            .for_each(|told| context.report(told));
        disks::only_first(context, exchange, &mut self.lans);
        let several = self
            .lans
            .iter()
            .flat_map(|lan| disks::of_several(exchange, lan));
        several.for_each(|told| context.report(told));
        self.lans.iter().for_each(|lan| disks::refer(exchange, lan));
        let servers = self.lans.iter();
        let servers = servers.filter_map(|lan| check::server(context, exchange, lan));
        let servers: Vec<_> = servers.collect();
        servers.into_iter().for_each(|told| context.report(told));
        for told in check::of_nodes(exchange, &self.lans) {
            context.report(told);
        }
        for told in leased::superseded(context, exchange, &self.lans) {
            context.report(told);
        }
        for told in renamed::unused_overlays(context, &self.lans) {
            context.report(told);
        }
        check::without_those_of_nodes(exchange, &mut self.lans);
        let (me, nodes) = places(context);
        if nodes.len() > 1 {
            let kept = self.lans.iter().flat_map(disks::kept_of_many);
            kept.for_each(|told| context.report(told));
        }
        Box::new(BootConfig {
            me,
            nodes,
            lans: self
                .lans
                .iter()
                .filter_map(|lan| build(lan, exchange))
                .collect(),
        })
    }
}

/// Returns the name of this node and the names of all nodes of a cluster. Both are empty if this
/// process has no node name, or the configuration no version number.
fn places(context: &Context) -> (String, Vec<String>) {
    let options = &context.options;
    let (Some(node), false) = (&options.node, options.version.is_empty()) else {
        return (String::new(), Vec::new());
    };
    let known = context.nodes.known_nodes();
    // Spells the name of this node as in the configuration, which is the same for all nodes.
    let canonical = known.iter().find(|known| is_name_of(node, known));
    let me = canonical.unwrap_or(node).clone();
    let mut nodes = known.to_vec();
    if !nodes.contains(&me) {
        nodes.push(me.clone());
    }
    (me, nodes)
}

/// Builds the network of a section. Returns None for a section without a valid `interface` line:
/// another check reports that error.
fn build(lan: &section::Lan, exchange: &Exchange) -> Option<(String, LanConfig)> {
    let interface = lan.network.interface.as_ref()?.value.clone();
    let gives = match (lan.proxy, &lan.range) {
        (Some(_), _) => AddressSource::Other,
        (None, None) => AddressSource::Fixed,
        (None, Some(range)) => AddressSource::Range {
            first: range.value.first,
            last: range.value.last,
        },
    };
    let machine = |one: &section::MachineLine| {
        let machine = MachineConfig {
            name: one.name.value.clone(),
            address: one.address.as_ref().map(|address| address.value),
            image: one.image.value.clone(),
            once: one.once,
            power: one.power.as_ref().map(|power| power.value.clone()),
        };
        (one.mac.value, machine)
    };
    let unknown = match lan.unknown.as_ref().map(|unknown| &unknown.value) {
        None | Some(section::Unknown::Ignore) => UnknownMachinePolicy::Ignore,
        Some(section::Unknown::Menu) => UnknownMachinePolicy::Menu,
        Some(section::Unknown::Enlist) => UnknownMachinePolicy::Enlist,
        Some(section::Unknown::Image(image)) => UnknownMachinePolicy::Image(image.clone()),
    };
    let images = lan
        .images
        .iter()
        .map(|(name, _, image)| (name.value.clone(), image.clone()));
    let built = LanConfig {
        interface,
        network: lan.network.network.as_ref().map(|one| one.value),
        gives,
        lease_s: lan
            .range
            .as_ref()
            .map_or(crate::config::LEASE_S, |range| range.value.lease_s),
        tells: ClientParameters {
            gateway: lan.told.gateway.as_ref().map(|one| one.value),
            dns: lan.told.dns.clone(),
            domain: lan.told.domain.clone(),
            ntp: lan.told.ntp.clone(),
            server: lan.told.server.as_ref().map(|one| one.value),
        },
        images: images.collect::<BTreeMap<_, _>>(),
        disks: disks::build(lan),
        machines: lan.machines.iter().map(machine).collect(),
        unknown,
        ports: lan.ports,
        leases: lan.leases.clone(),
        secure_boot: lan.secure_boot.is_some(),
        six: six::build(lan),
        of_nodes: named(lan, exchange, true),
        of_others: named(lan, exchange, false),
        virtual_addresses: check::virtual_addresses(exchange)
            .map(|one| one.address)
            .filter(IpAddr::is_ipv6)
            .filter(|_| lan.six.network.is_some())
            .collect(),
    };
    Some((lan.name.value.clone(), built))
}

fn named(lan: &section::Lan, exchange: &Exchange, is_of_a_node: bool) -> BTreeSet<IpAddr> {
    let fixed = lan.machines.iter().flat_map(|one| {
        let four = one.address.iter().map(|one| IpAddr::V4(one.value));
        four.chain(one.address6.iter().map(|one| IpAddr::V6(one.value)))
    });
    let fixed: BTreeSet<IpAddr> = fixed.collect();
    let is_given =
        |address: &IpAddr| {
            let in_range =
                match address {
                    IpAddr::V4(address) => lan.range.as_ref().is_some_and(|range| {
                        (range.value.first..=range.value.last).contains(address)
                    }),
                    IpAddr::V6(address) => lan.six.range.as_ref().is_some_and(|range| {
                        (range.value.first..=range.value.last).contains(address)
                    }),
                };
            in_range || fixed.contains(address)
        };
    let all = check::named(exchange).filter(|one| one.is_of_a_node == is_of_a_node);
    let told = lan
        .told
        .dns
        .iter()
        .chain(&lan.told.ntp)
        .map(|one| IpAddr::V4(*one));
    let told = told.chain(lan.six.dns.iter().map(|one| IpAddr::V6(*one)));
    all.map(|one| one.address)
        .chain(told.filter(|_| !is_of_a_node))
        .filter(is_given)
        .collect()
}

/// Returns the IPv4 network of a section: from its line `network`, or else from the first IPv4
/// address of its interface on this machine. Returns None if neither is known.
fn network(context: &Context, lan: &section::Lan) -> Option<Ipv4Network> {
    if let Some(network) = &lan.network.network {
        return Some(network.value);
    }
    let name = &lan.network.interface.as_ref()?.value;
    let all = check::interfaces_here(context)?;
    let found = all.iter().find(|one| one.name == *name)?;
    check::first_network(&found.addresses)
}
