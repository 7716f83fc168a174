//! Checks whole `boot` sections for errors that no single line shows, such as duplicate addresses
//! or missing images, and returns diagnostics. For versions that were accepted earlier, this module
//! also removes the addresses of nodes from machines.

use super::section::{BootSectionDraft, Lan, MachineLine, Unknown};
use super::{codes, disks, network, six};
use crate::config::Ipv4Network;
use crate::loader;
use configuration::outside::{Interface, Runs};
use configuration::{Context, Exchange, NamedAddress};
use language::section::duplicates;
use language::{Diagnostic, Span, Spanned, suggest};
use part::power::control::PowerControl;
use protocol::vitals::Service;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

pub(super) fn wrong(draft: &BootSectionDraft, context: &Context) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    for lan in &draft.lans {
        wrong.extend(missing(lan));
        wrong.extend(machines(lan));
        wrong.extend(images(lan));
        wrong.extend(disks::wrong(lan));
        wrong.extend(addresses(lan, network(context, lan)));
        wrong.extend(six::wrong(lan));
        wrong.extend(beside_another(lan));
        wrong.extend(not_here(context, lan));
        wrong.extend(taken(context, lan));
    }
    wrong.extend(same_network(draft));
    wrong
}

fn missing(lan: &Lan) -> Option<Diagnostic> {
    // Reports nothing if an `interface` line was refused: that line has its own error.
    if lan.given.has("interface") {
        return None;
    }
    let told = format!("boot section '{}' has no 'interface' line", lan.name.value);
    let told = Diagnostic::error(&codes::MISSING, lan.name.span, told);
    Some(told.help("add `interface NAME`, such as `interface br0`"))
}

fn machines(lan: &Lan) -> Vec<Diagnostic> {
    let names = lan.machines.iter().map(|one| {
        let told = format!("duplicate machine '{}' in this section", one.name.value);
        (one.name.value.as_str(), one.name.span, told)
    });
    let mut wrong = duplicates(&codes::NAME, names);
    let macs = lan.machines.iter().map(|one| {
        let told = format!("a second machine has the MAC address {}", one.mac.value);
        (one.mac.value, one.mac.span, told)
    });
    wrong.extend(duplicates(&codes::MAC_TWICE, macs));
    let addresses = lan.machines.iter().filter_map(|one| {
        let address = one.address.as_ref()?;
        let told = format!("a second machine has the address {}", address.value);
        Some((address.value, address.span, told))
    });
    wrong.extend(duplicates(&codes::ADDRESS_TWICE, addresses));
    let addresses6 = lan.machines.iter().filter_map(|one| {
        let address = one.address6.as_ref()?;
        let told = format!("a second machine has the address {}", address.value);
        Some((address.value, address.span, told))
    });
    wrong.extend(duplicates(&codes::ADDRESS_TWICE, addresses6));
    if ["range", "range6", "proxy"]
        .iter()
        .any(|line| lan.given.has(line))
    {
        return wrong;
    }
    let without = |one: &&MachineLine| one.address.is_none() && one.address6.is_none();
    wrong.extend(lan.machines.iter().filter(without).map(|one| {
        let told = format!(
            "machine '{}' has no address, and there is no range",
            one.name.value
        );
        let told = Diagnostic::error(&codes::NO_RANGE, one.name.span, told);
        told.help("add `address ADDRESS` to the line, or a line `range FIRST LAST` to the section")
    }));
    wrong
}

fn images(lan: &Lan) -> Vec<Diagnostic> {
    let of_machines = lan
        .machines
        .iter()
        .map(|one| (&*one.image.value, one.image.span));
    let of_others = lan
        .unknown
        .as_ref()
        .and_then(|unknown| match &unknown.value {
            Unknown::Image(image) => Some((&**image, unknown.span)),
            _ => None,
        });
    let defined = |name: &str| lan.images.iter().any(|(other, ..)| other.value == name);
    // Reports no missing image if an `image` line was refused: that line has its own error, and its
    // name is missing in the list.
    let is_told = lan
        .given
        .iter()
        .filter(|(keyword, _)| *keyword == "image")
        .count()
        > lan.images.len();
    let all = of_machines
        .chain(of_others)
        .filter(|(name, _)| !is_told && !defined(name));
    let wrong = all.map(|(name, span)| {
        let told = format!("there is no image '{name}' in this section");
        let names = lan.images.iter().map(|(other, ..)| other.value.as_str());
        let told =
            Diagnostic::error(&codes::NO_IMAGE, span, told).label("no `image` line has this name");
        told.did_you_mean(span, suggest::nearest(name, names))
    });
    wrong.collect()
}

fn addresses(lan: &Lan, network: Option<Ipv4Network>) -> Vec<Diagnostic> {
    let mut wrong: Vec<Diagnostic> = crowded(lan).into_iter().collect();
    let Some(network) = network else { return wrong };
    let of_machines = lan.machines.iter().filter_map(|one| one.address.as_ref());
    let mut all: Vec<(Ipv4Addr, Span)> = of_machines.map(|one| (one.value, one.span)).collect();
    all.extend(lan.range.iter().flat_map(|range| {
        [
            (range.value.first, range.span),
            (range.value.last, range.span),
        ]
    }));
    all.extend(lan.told.gateway.as_ref().map(|one| (one.value, one.span)));
    let all = all
        .into_iter()
        .filter(|(address, _)| !network.may_have(*address));
    wrong.extend(all.map(|(address, span)| {
        let told = format!(
            "no machine of the network {}/{} can have {address}",
            network.first, network.prefix
        );
        Diagnostic::error(&codes::OUTSIDE, span, told)
            .label("outside of the network, or one of its two ends")
    }));
    wrong
}

/// Reports IPv4 addresses of machines that the router, the file server or this node already has.
fn taken(context: &Context, lan: &Lan) -> Vec<Diagnostic> {
    let interfaces = interfaces_here(context).unwrap_or_default();
    let own = interfaces.iter().flat_map(|one| &one.addresses);
    let own: Vec<IpAddr> = own.map(|(address, _)| *address).collect();
    let [gateway, server] =
        [&lan.told.gateway, &lan.told.server].map(|one| one.as_ref().map(|one| one.value));
    let of_machines = lan.machines.iter().filter_map(|one| one.address.as_ref());
    let wrong = of_machines.filter_map(|address| {
        let told = match Some(address.value) {
            known if known == gateway => "is the address of the router (`gateway`)",
            known if known == server => "is the address from which files are fetched (`server`)",
            _ if own.contains(&address.value.into()) => "is an address of this node",
            _ => return None,
        };
        let told = format!("{} {told}", address.value);
        let told = Diagnostic::error(&codes::ADDRESS_TWICE, address.span, told);
        Some(told.label("no machine can have it, too"))
    });
    wrong.collect()
}

/// Returns the addresses that other sections name, including virtual addresses in keepalived's
/// files.
pub(super) fn named(exchange: &Exchange) -> impl Iterator<Item = NamedAddress> + '_ {
    exchange
        .addresses()
        .iter()
        .cloned()
        .chain(virtual_addresses(exchange))
}

pub(super) fn virtual_addresses(exchange: &Exchange) -> impl Iterator<Item = NamedAddress> + '_ {
    let services = exchange.exports_of_kind(Service::KIND);
    let services = services.filter_map(|one| one.value::<Service>());
    services.flat_map(|one| {
        let owner = format!("virtual-ip '{}'", one.name);
        let all = one.addresses.into_iter();
        all.filter_map(move |address| NamedAddress::of_node(address, owner.clone()))
    })
}

pub(super) fn of_nodes(exchange: &Exchange, lans: &[Lan]) -> Vec<Diagnostic> {
    let named = named(exchange).filter(|one| one.is_of_a_node);
    let owners: HashMap<IpAddr, String> = named.map(|one| (one.address, one.owner)).collect();
    let machines = lans.iter().flat_map(|lan| &lan.machines);
    let addresses = machines.flat_map(|one| {
        let four = one.address.iter();
        let four = four.map(|one| (IpAddr::V4(one.value), one.span));
        let six = one.address6.iter();
        four.chain(six.map(|one| (IpAddr::V6(one.value), one.span)))
    });
    let wrong = addresses.filter_map(|(address, span)| {
        let owner = owners.get(&address)?;
        let told = format!("{address} is the address of {owner}");
        let told = Diagnostic::error(&codes::OF_A_NODE, span, told);
        let told = told.label("a node has this address, so no machine can have it");
        let told = told.help("give the machine another address");
        Some(told.with_earlier_behaviour("the machine gets no address of its own"))
    });
    wrong.collect()
}

/// Removes from all machines the addresses that nodes have. Only a version that was accepted
/// earlier can have such a machine: a new configuration is refused.
pub(super) fn without_those_of_nodes(exchange: &Exchange, lans: &mut [Lan]) {
    let named = named(exchange).filter(|one| one.is_of_a_node);
    let of_nodes: HashSet<IpAddr> = named.map(|one| one.address).collect();
    for machine in lans.iter_mut().flat_map(|lan| &mut lan.machines) {
        let is_taken = |address: IpAddr| of_nodes.contains(&address);
        machine.address.take_if(|one| is_taken(one.value.into()));
        machine.address6.take_if(|one| is_taken(one.value.into()));
    }
}

fn crowded(lan: &Lan) -> Option<Diagnostic> {
    let Spanned { value: range, span } = lan.range.as_ref()?;
    let within = |address: Ipv4Addr| (range.first..=range.last).contains(&address);
    let taken = lan.machines.iter().filter_map(|one| one.address.as_ref());
    let taken = taken.filter(|address| within(address.value)).count();
    let count = u64::from(range.last.to_bits() - range.first.to_bits()) + 1;
    (u64::try_from(taken).unwrap_or(u64::MAX) >= count).then(|| {
        let told = format!("machines with an address take all {count} addresses of the range");
        Diagnostic::error(&codes::CROWDED, *span, told)
    })
}

/// Reports lines and addresses of machines that have no effect, because the section has `proxy` and
/// another DHCP server assigns the addresses.
fn beside_another(lan: &Lan) -> Vec<Diagnostic> {
    let Some(proxy) = lan.proxy else {
        return Vec::new();
    };
    let useless = ["range", "gateway", "dns", "domain", "ntp"];
    let lines = lan
        .given
        .iter()
        .filter(|(keyword, _)| useless.contains(keyword));
    let lines = lines.map(|(keyword, span)| (format!("'{keyword}'"), span));
    let addressed = lan.machines.iter().filter_map(|one| one.address.as_ref());
    let addressed = addressed.map(|address| ("an address of a machine".to_owned(), address.span));
    let wrong = lines.chain(addressed).map(|(what, span)| {
        let told = format!("{what} beside another DHCP server");
        let told =
            Diagnostic::error(&codes::WITH_PROXY, span, told).label("the other server says this");
        told.with_label(proxy, "this line says that there is one")
    });
    wrong.collect()
}

fn same_network(draft: &BootSectionDraft) -> Vec<Diagnostic> {
    let keyed = draft.lans.iter().filter_map(|lan| {
        let interface = lan.network.interface.as_ref()?;
        let told = format!(
            "two boot sections answer at interface '{}'",
            interface.value
        );
        Some((interface.value.as_str(), interface.span, told))
    });
    duplicates(&codes::INTERFACE_TWICE, keyed)
}

/// Returns the interfaces of this machine. Returns None if the configuration is loaded for another
/// machine or from a recording.
pub(super) fn interfaces_here(context: &Context) -> Option<Vec<Interface>> {
    let is_here = context.options.here && !context.outside.is_recorded();
    is_here.then(|| context.outside.interfaces())
}

pub(super) fn first_network(addresses: &[(IpAddr, u8)]) -> Option<Ipv4Network> {
    addresses
        .iter()
        .find_map(|(address, prefix)| match address {
            IpAddr::V4(address) => Some(Ipv4Network::of(*address, *prefix)),
            IpAddr::V6(_) => None,
        })
}

fn power(context: &Context, machine: &MachineLine) -> Option<Diagnostic> {
    let power = machine.power.as_ref()?;
    let outside = &context.outside;
    let told = match &power.value {
        PowerControl::Program(words) => {
            let program = words.first()?;
            let trouble = match outside.can_execute(Path::new(program), None) {
                Runs::Missing => "is not there",
                Runs::Directory => "is a directory",
                Runs::NotExecutable => "is not executable",
                Runs::Yes => return None,
            };
            format!("program '{program}' {trouble}")
        }
        PowerControl::Ipmi { password_file, .. } if outside.is_missing(password_file) => {
            format!("password file '{}' is not there", password_file.display())
        }
        PowerControl::Ipmi { .. } | PowerControl::Exec(_) | PowerControl::Agent { .. } => {
            return None;
        }
    };
    let told = Diagnostic::warning(&codes::NO_PROGRAM, power.span, told);
    Some(told.label("`evenkeel boot power` fails on this node"))
}

/// Warns about a `server` address in the section's network that neither this node nor a virtual
/// address has.
pub(super) fn server(context: &Context, exchange: &Exchange, lan: &Lan) -> Option<Diagnostic> {
    let server = lan.told.server.as_ref()?;
    let interfaces = interfaces_here(context)?;
    let network = network(context, lan)?;
    let mut own = interfaces.iter().flat_map(|one| &one.addresses);
    let is_own = own.any(|(address, _)| *address == server.value);
    let services = exchange.exports_of_kind(Service::KIND);
    let mut virtual_ips = services.filter_map(|one| one.value::<Service>());
    let is_virtual = virtual_ips.any(|one| one.addresses.contains(&server.value.into()));
    if is_own || is_virtual || !network.has(server.value) {
        return None;
    }
    let told = format!(
        "neither this node nor a `virtual-ip` section has {}",
        server.value
    );
    let told = Diagnostic::warning(&codes::NO_SERVER, server.span, told);
    Some(told.label("machines fetch their files from here first"))
}

fn leases(context: &Context, lan: &Lan) -> Option<Diagnostic> {
    let span = lan.given.first("leases")?;
    let path = lan.leases.as_path();
    let parent = path.parent().unwrap_or(path);
    let warned = |told: String| {
        let told = Diagnostic::warning(&codes::NO_DIRECTORY, span, told);
        told.label("leases cannot be kept there on this node")
    };
    let outside = &context.outside;
    let wrong = match [path, parent].map(|one| outside.can_execute(one, None)) {
        [Runs::Directory, _] | [Runs::Missing, Runs::Directory] => return None,
        [Runs::Missing, Runs::Missing] if outside.is_missing(parent) => {
            let told = format!("there is no directory '{}'", parent.display());
            return Some(warned(told));
        }
        // Reports nothing: the directory may exist where the current user has no access.
        [Runs::Missing, Runs::Missing] => return None,
        [Runs::Missing, _] => parent,
        _ => path,
    };
    Some(warned(format!("'{}' is not a directory", wrong.display())))
}

fn not_here(context: &Context, lan: &Lan) -> Vec<Diagnostic> {
    let Some(interfaces) = interfaces_here(context) else {
        return Vec::new();
    };
    let mut wrong = six::not_here(lan, &interfaces);
    wrong.extend(leases(context, lan));
    if let Some(interface) = &lan.network.interface {
        let found = interfaces.iter().find(|one| one.name == interface.value);
        let trouble = match found.map(|one| first_network(&one.addresses)) {
            None => Some("is not on this machine"),
            Some(None) => Some("has no IPv4 address"),
            Some(Some(_)) => None,
        };
        wrong.extend(trouble.map(|trouble| {
            let told = format!("interface '{}' {trouble}", interface.value);
            let told = Diagnostic::warning(&codes::NO_INTERFACE, interface.span, told);
            told.label(match (found, &lan.six.network) {
                (Some(_), Some(_)) => "over IPv4 nobody is answered there until it has one",
                _ => "nobody is answered there until it has one",
            })
        }));
    }
    let is_missing = |path: &Path| context.outside.can_execute(path, None) == Runs::Missing;
    let files = lan.images.iter().flat_map(|(_, files, _)| files);
    wrong.extend(disks::not_here(lan, is_missing));
    wrong.extend(files.filter_map(|file| {
        let path = file.value.display();
        let told = match context.outside.can_execute(&file.value, None) {
            Runs::Missing => format!("there is no file '{path}'"),
            Runs::Directory => format!("'{path}' is a directory"),
            _ if context.outside.is_empty(&file.value) => format!("file '{path}' is empty"),
            Runs::NotExecutable | Runs::Yes => return None,
        };
        let told = Diagnostic::warning(&codes::NO_FILE, file.span, told);
        Some(told.label("a machine that boots this image stops here"))
    }));
    wrong.extend(lan.machines.iter().filter_map(|one| power(context, one)));
    let needed = loader::needed(lan.secure_boot.is_some());
    let needed = needed.filter(|loader| is_missing(Path::new(loader.path)));
    let mut packages: Vec<&str> = needed.map(|loader| loader.package).collect();
    packages.dedup();
    let at = lan.secure_boot.unwrap_or(lan.name.span);
    wrong.extend(packages.into_iter().map(|package| {
        let told = format!("the boot loaders of package '{package}' are not installed");
        let told = Diagnostic::warning(&codes::NO_LOADER, at, told);
        told.help(format!("install it: apt install {package}"))
    }));
    wrong
}
