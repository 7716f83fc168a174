//! Checks the volumes, files and addresses of guests: that no two guests share a volume, a MAC
//! address or an IP address, that the nodes of a guest have copies of its volumes, and that the
//! files and bridges exist. Exports the volumes for checks by other parts.

use super::codes;
use super::section::GuestSection;
use crate::config::{Boot, Disk, Mac, mac_of};
use configuration::outside::Runs;
use configuration::{
    Context, Exchange, Export, External, Located, VolumeFiles, VolumeUser, is_name_of,
};
use language::{Diagnostic, Span, Spanned};
use protocol::vitals::Service;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// Export kind of volumes, which are the disks of guests; the value is the location of the volume.
const VOLUME: &str = "volume";

/// Returns the duplicates of a resource: each further occurrence, with the guest and position of
/// the first.
fn repeated<'d, T: Eq + Hash + Copy>(
    all: impl Iterator<Item = (&'d GuestSection, T, Span)>,
) -> Vec<(T, Span, &'d str, Span)> {
    let mut seen: HashMap<T, (&str, Span)> = HashMap::new();
    let mut found = Vec::new();
    for (guest, one, span) in all {
        match seen.get(&one) {
            Some((first, at)) => found.push((one, span, *first, *at)),
            None => {
                seen.insert(one, (&guest.name.value, span));
            }
        }
    }
    found
}

/// Reports MAC addresses and IP addresses that two cards have.
pub(super) fn addresses<'d>(guests: &'d [GuestSection]) -> Vec<Diagnostic> {
    let cards = || {
        let of = |guest: &'d GuestSection| {
            let nics = guest.nics.iter().enumerate();
            nics.map(move |(at, nic)| (guest, at, nic))
        };
        guests.iter().flat_map(of)
    };
    let macs = repeated(cards().map(|(guest, at, nic)| match &nic.mac {
        Some(mac) => (guest, mac.value, mac.span),
        None => (guest, mac_of(&guest.name.value, at), nic.bridge.span),
    }));
    let addresses = repeated(cards().flat_map(|(guest, _, nic)| {
        let addresses = nic.addresses.iter();
        addresses.map(move |address| (guest, address.value, address.span))
    }));
    let macs = macs.into_iter().map(|(mac, span, first, at)| {
        let told = format!("{} is the MAC address of guest '{first}' already", Mac(mac));
        let told = Diagnostic::error(&codes::MAC_TWICE, span, told);
        told.label("a second card with it")
            .with_label(at, "the first is here")
    });
    let addresses = addresses.into_iter().map(|(address, span, first, at)| {
        let told = format!("{address} is an address of guest '{first}' already");
        let told = Diagnostic::error(&codes::ADDRESS_TWICE, span, told);
        told.label("a second card with it")
            .with_label(at, "the first is here")
    });
    macs.chain(addresses).collect()
}

/// Reports cards with an address that other sections give to nodes.
pub(super) fn of_nodes(exchange: &Exchange, guests: &[GuestSection]) -> Vec<Diagnostic> {
    let nodes = exchange.addresses().iter().filter(|one| one.is_of_a_node);
    let nodes = nodes.map(|one| (one.address, one.owner.clone()));
    let services = exchange.exports_of_kind(Service::KIND);
    let services = services.filter_map(|one| one.value::<Service>());
    let virtual_addresses = services.flat_map(|one| {
        let owner = format!("virtual-ip '{}'", one.name);
        let all = one.addresses.into_iter();
        all.map(move |address| (address, owner.clone()))
    });
    let owners: HashMap<IpAddr, String> = nodes.chain(virtual_addresses).collect();
    let cards = guests.iter().flat_map(|guest| &guest.nics);
    let addresses = cards.flat_map(|nic| &nic.addresses);
    let wrong = addresses.filter_map(|address| {
        let owner = owners.get(&address.value)?;
        let told = format!("{} is the address of {owner}", address.value);
        let told = Diagnostic::error(&codes::OF_A_NODE, address.span, told);
        let told = told.label("a node has this address, so no guest can have it");
        let told = told.help("give the guest another address");
        Some(told.with_earlier_behaviour("the node announces it for the guest, too"))
    });
    wrong.collect()
}

pub(super) fn volumes(guests: &[GuestSection]) -> Vec<Diagnostic> {
    let mut seen: HashMap<&str, Vec<(&str, &Disk, Span)>> = HashMap::new();
    let mut found = Vec::new();
    for guest in guests {
        let name = &*guest.name.value;
        for disk in &guest.disks {
            let before = seen.entry(&disk.value.volume).or_default();
            let meets = |(other, first, _): &&(&str, &Disk, Span)| {
                *other == name || !first.read_only || !disk.value.read_only
            };
            let volume = &disk.value.volume;
            if let Some((other, _, at)) = before.iter().find(meets) {
                let told = format!("volume '{volume}' is a disk of guest '{other}' already");
                let told = Diagnostic::error(&codes::VOLUME_TWICE, disk.span, told);
                let told = told
                    .label(if *other == name {
                        "the same guest again"
                    } else {
                        "the writer of a volume is one guest"
                    })
                    .with_label(*at, "the first is here");
                let help = if *other == name {
                    "remove one of the two"
                } else {
                    "give each guest a volume of its own; a volume that no guest writes has `ro` in all lines"
                };
                found.push(told.help(help));
            }
            before.push((name, &disk.value, disk.span));
        }
    }
    found
}

/// Reports nodes on which a guest may run, but that have no copy of one of its volumes.
pub(super) fn copies(exchange: &Exchange, guest: &GuestSection) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for disk in &guest.disks {
        let located = located(exchange, &disk.value.volume);
        let Some(located) = located.filter(|located| !located.nodes.is_empty()) else {
            continue;
        };
        let has = |name: &str| located.nodes.iter().any(|node| is_name_of(name, node));
        for node in guest.prefer.iter().filter(|node| !has(&node.value)) {
            let told = format!(
                "volume '{}' has no copy on node '{}', which guest '{}' prefers",
                disk.value.volume, node.value, guest.name.value
            );
            let told = Diagnostic::error(&codes::NO_COPY, disk.span, told);
            let label = format!("its copies are on: {}", located.nodes.join(", "));
            let help = format!(
                "remove '{}' from `prefer`, or name nodes with a copy of each volume",
                node.value
            );
            found.push(
                told.label(label)
                    .with_label(node.span, "no copy here")
                    .help(help),
            );
        }
    }
    found
}

/// Reports volumes of a template that can be written, and read-only volumes that another guest
/// would write.
pub(super) fn frozen(exchange: &Exchange, guest: &GuestSection) -> Vec<Diagnostic> {
    let name = &guest.name.value;
    let wrong = |disk: &&Spanned<Disk>| {
        let located = located(exchange, &disk.value.volume);
        let is_frozen = located.map(|located| located.read_only);
        !disk.value.read_only && is_frozen.is_some_and(|is| is != guest.is_template())
    };
    let told = |disk: &Spanned<Disk>| {
        let volume = &disk.value.volume;
        let (told, help) = if guest.is_template() {
            (
                format!("volume '{volume}' of template '{name}' can be written"),
                format!("add `read-only yes` to `volume {volume}`"),
            )
        } else {
            (
                format!("volume '{volume}' is read-only, and guest '{name}' would write it"),
                format!(
                    "remove `read-only yes` from `volume {volume}`, write `disk {volume} ro`, or add `template yes`"
                ),
            )
        };
        let told = Diagnostic::error(&codes::FROZEN, disk.span, told).help(help);
        match guest.plain.template {
            Some(span) => told.with_label(span, "a template"),
            None => told,
        }
    };
    guest.disks.iter().filter(wrong).map(told).collect()
}

fn located(exchange: &Exchange, volume: &str) -> Option<Located> {
    let mut volumes = exchange.exports_of_kind(VOLUME);
    volumes.find(|one| one.name == volume)?.value()
}

pub(super) fn external(exchange: &Exchange, volume: &str) -> Option<External> {
    located(exchange, volume)?.external
}

/// Reports boot files in which a volume is stored: only the volume role may use these files.
pub(super) fn boot_files(
    context: &Context,
    stored: &VolumeFiles,
    guest: &GuestSection,
) -> Option<Diagnostic> {
    let boot = guest.boot.as_ref()?;
    let files = match &boot.value {
        Boot::Iso(image) => vec![image],
        Boot::Kernel { kernel, initrd, .. } => [Some(kernel), initrd.as_ref()]
            .into_iter()
            .flatten()
            .collect(),
        Boot::Disk | Boot::Network => Vec::new(),
    };
    let (path, volume) = files.into_iter().find_map(|path| {
        let volume = stored.volume_of(context, path)?;
        Some((path, volume))
    })?;
    let told = format!("{} stores the volume '{volume}'", path.display());
    let told = Diagnostic::error(&codes::OF_A_VOLUME, boot.span, told)
        .label("only the volume role uses this file")
        .help(format!("to boot from it, write `disk {volume}`"));
    Some(told.with_earlier_behaviour("QEMU reads the file while the volume role writes it"))
}

/// Export kind of volumes that a guest writes; the value is the guest's name.
const WRITTEN: &str = "written volume";

/// Exports references to the volumes of a guest. The volumes must exist once all parts of the
/// platform have read their sections, and no other section may use those that the guest writes.
pub(super) fn refer(exchange: &mut Exchange, guest: &GuestSection) {
    for disk in &guest.disks {
        let user = VolumeUser {
            volume: disk.value.volume.clone(),
            part: "guest".to_owned(),
            user: format!("guest {}", guest.name.value),
            is_writer: !disk.value.read_only,
        };
        exchange.export(user.export());
        if !disk.value.read_only {
            let name = &guest.name.value;
            exchange.export(Export::new(WRITTEN, &disk.value.volume, name));
        }
        exchange.require_object(VOLUME, &disk.value.volume, disk.span);
    }
}

pub(super) fn not_here(context: &Context, guest: &GuestSection) -> Vec<Diagnostic> {
    let options = &context.options;
    let mut prefers = guest.prefer.iter();
    let is_here =
        guest.prefer.is_empty() || prefers.any(|node| context.nodes.is_local_node(&node.value));
    // Warns only about files of this machine. For a configuration version that the cluster
    // distributes, the role reports what is missing on the node that starts the guest.
    let is_this_machine = options.here && options.node.is_none() && !context.outside.is_recorded();
    if !is_here || !is_this_machine || guest.is_template() {
        return Vec::new();
    }
    let name = &guest.name.value;
    let told = |span, what: String, help: &str| {
        let told = format!("guest '{name}': {what} is not on this machine");
        let told = Diagnostic::warning(&codes::NOT_HERE, span, told);
        told.label("the guest cannot start here without it")
            .help(help)
    };
    let interfaces = context.outside.interfaces();
    let missing = guest.nics.iter().map(|nic| &nic.bridge);
    let missing = missing.filter(|bridge| {
        let mut all = interfaces.iter();
        !all.any(|one| one.name == bridge.value)
    });
    let help = "create the bridge, or write `on NODE nic BRIDGE` where nodes have bridges of different names";
    let mut found: Vec<Diagnostic> = missing
        .map(|bridge| told(bridge.span, format!("bridge '{}'", bridge.value), help))
        .collect();
    if let Some(boot) = &guest.boot {
        let files = boot.value.files().into_iter();
        let missing = files.filter(|path| context.outside.can_execute(path, None) == Runs::Missing);
        let help = "each node on which the guest may start needs the file";
        found.extend(
            missing.map(|path| told(boot.span, format!("file '{}'", path.display()), help)),
        );
    }
    found
}
