//! Parses the lines of `virtual-ip` for addresses, interface, router id, transport, and the nodes
//! that should own the addresses.

use super::draft::{Address, AddressConfigDraft, Interface, TransportDraft, VirtualIp};
use super::host::full;
use super::node::checked_name;
use super::{Row, codes};
use language::arguments::{Args, Built};
use language::{ConfigLine, Diagnostic, Spanned};
use std::net::IpAddr;

/// Maximum number of addresses of a section. An advert names the first
/// [`super::instance::ADVERTISED_MAX`]; all move together.
const ADDRESSES_MAX: usize = 128;

/// Maximum number of sections: the number of router ids on one link.
const VIRTUAL_IPS_MAX: usize = 255;

const NODES_MAX: usize = 16;

/// Maximum length of an interface name in the kernel, in bytes.
const INTERFACE_BYTES_MAX: usize = 15;

pub(super) fn begin(draft: &mut AddressConfigDraft, head: &ConfigLine) -> Built {
    super::begin(draft, head)?;
    let mut args = Args::new(
        head,
        1,
        "virtual-ip",
        "virtual-ip <name>",
        &codes::OF_ARGUMENTS,
    );
    let word = args.required("a name")?;
    let name = checked_name("virtual-ip", word)?;
    args.end()?;
    if let Some(first) = draft.virtual_ips.iter().find(|other| other.name == name) {
        let told = format!("duplicate 'virtual-ip' section '{name}'");
        return Err(Diagnostic::error(&codes::NAME, word.span, told).name_taken_at(first.span)
                .help("put addresses that move together into one section, others into a section with another name"));
    }
    if draft.virtual_ips.len() >= VIRTUAL_IPS_MAX {
        let told = format!("at most {VIRTUAL_IPS_MAX} 'virtual-ip' sections are possible");
        return Err(Diagnostic::error(&codes::TOO_MANY, word.span, told)
            .help("put addresses that move together into one section"));
    }
    draft.virtual_ips.push(VirtualIp::new(name, word.span));
    Ok(())
}

fn address(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    draft.virtual_ip().address_line = true;
    loop {
        let word = args.required("an address")?;
        let (text, prefix) = match word.str().split_once('/') {
            Some((text, prefix)) => (text, Some(prefix)),
            None => (word.str(), None),
        };
        let Ok(address) = text.parse::<IpAddr>() else {
            return Err(args.unexpected_value(word, "not an IP address"));
        };
        let prefix = match prefix.map(str::parse::<u8>) {
            None => None,
            Some(Ok(prefix)) if prefix <= full(address) => Some(prefix),
            Some(_) => {
                let full = full(address);
                return Err(args.unexpected_value(
                    word,
                    &format!("out of range: expected a prefix length of 0 to {full}"),
                ));
            }
        };
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            return Err(args.unexpected_value(word, "not an address that a machine can share"));
        }
        taken(draft, address, word.span)?;
        let draft = draft.virtual_ip();
        if draft.addresses.len() >= ADDRESSES_MAX {
            let told = format!("a 'virtual-ip' has at most {ADDRESSES_MAX} addresses");
            return Err(Diagnostic::error(&codes::TOO_MANY, word.span, told));
        }
        draft.addresses.push(Address {
            address,
            prefix,
            span: word.span,
        });
        if args.peek().is_none() {
            return Ok(());
        }
    }
}

fn taken(draft: &AddressConfigDraft, address: IpAddr, span: language::Span) -> Built {
    let mut virtual_ones = draft.virtual_ips.iter().flat_map(|v| &v.addresses);
    let other = virtual_ones.find(|other| other.address == address);
    let Some(other) = other else {
        return Ok(());
    };
    let told = format!("the virtual address {address} appears twice");
    Err(Diagnostic::error(&codes::ADDRESS_TWICE, span, told)
        .with_label(other.span, "first given here")
        .help("remove one of the two"))
}

pub(super) fn interface_name(args: &mut Args<'_>) -> Result<Spanned<String>, Diagnostic> {
    let word = args.required("an interface")?;
    let name = word.str();
    let bad = name.is_empty()
        || name.len() > INTERFACE_BYTES_MAX
        || name.contains(['/', ' ', '\t', '\n'])
        || matches!(name, "." | "..");
    if bad {
        return Err(args.unexpected_value(word, "not an interface name"));
    }
    Ok(Spanned::new(name.to_owned(), word.span))
}

fn node_names(args: &mut Args<'_>) -> Result<Vec<Spanned<String>>, Diagnostic> {
    let mut names: Vec<Spanned<String>> = Vec::new();
    loop {
        let word = args.required("the name of a node")?;
        let name = checked_name("node", word)?;
        if let Some(first) = names.iter().find(|other| other.value == name) {
            let told = format!("duplicate node '{name}'");
            return Err(Diagnostic::error(&codes::TWICE, word.span, told)
                .with_label(first.span, "first named here"));
        }
        if names.len() >= NODES_MAX {
            let told = format!("at most {NODES_MAX} nodes can be named");
            return Err(Diagnostic::error(&codes::TOO_MANY, word.span, told));
        }
        names.push(Spanned::new(name.to_owned(), word.span));
        if args.peek().is_none() {
            return Ok(names);
        }
    }
}

fn interface(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    let name = interface_name(args)?;
    let nodes = if args.take_if("on") {
        node_names(args)?
    } else {
        Vec::new()
    };
    args.end()?;
    let draft = draft.virtual_ip();
    let on = |interface: &Interface, node: Option<&str>| match node {
        None => interface.nodes.is_empty(),
        Some(node) => interface.nodes.iter().any(|n| n.value == node),
    };
    let mut wanted: Vec<Option<&str>> = nodes.iter().map(|n| Some(n.value.as_str())).collect();
    if wanted.is_empty() {
        wanted.push(None);
    }
    let first = draft
        .interfaces
        .iter()
        .find(|other| wanted.iter().any(|node| on(other, *node)));
    if let Some(first) = first {
        let told = "the interface of a node may appear only once in a section";
        return Err(Diagnostic::error(&codes::TWICE, name.span, told)
            .with_label(first.name.span, "first given here")
            .help(
                "if the names differ between machines, write `interface <interface> on <node>`",
            ));
    }
    draft.interfaces.push(Interface { name, nodes });
    Ok(())
}

fn prefer(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    draft.virtual_ip().once("'prefer'", args.keyword_span())?;
    draft.virtual_ip().prefer = node_names(args)?;
    Ok(())
}

fn nopreempt(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    args.end()?;
    draft.virtual_ip().options.preempt = false;
    Ok(())
}

fn lease(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    args.end()?;
    draft.virtual_ip().options.lease = true;
    Ok(())
}

fn vrid(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    draft.virtual_ip().once("'vrid'", args.keyword_span())?;
    let value = args.count("the id of a virtual router", 1..=255)?;
    let span = args.option_word().span;
    args.end()?;
    let value = u8::try_from(value).unwrap_or(u8::MAX);
    draft.virtual_ip().vrid = Some(Spanned { value, span });
    Ok(())
}

fn multicast(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    let span = args.keyword_span();
    draft.virtual_ip().once("'multicast' or 'unicast'", span)?;
    let group = match args.peek() {
        None => None,
        Some(word) => {
            let (group, _) = args.address()?;
            if !group.is_multicast() {
                return Err(args.unexpected_value(word, "not a multicast group"));
            }
            Some(group)
        }
    };
    args.end()?;
    let value = TransportDraft::Multicast(group);
    draft.virtual_ip().transport = Some(Spanned { value, span });
    Ok(())
}

fn unicast(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    let span = args.keyword_span();
    draft.virtual_ip().once("'multicast' or 'unicast'", span)?;
    args.end()?;
    let value = TransportDraft::Unicast;
    draft.virtual_ip().transport = Some(Spanned { value, span });
    Ok(())
}

fn virtual_mac(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    args.end()?;
    draft.virtual_ip().virtual_mac = true;
    Ok(())
}

pub(super) static LINES: &[Row] = language::rows! {
    "address <address>[/<prefix>] [<address>[/<prefix>]…]" &["virtual-ip"], address,
        "address 172.16.61.150/24\naddress 172.16.61.151 2001:db8::80/64",
        "Addresses that one machine owns at a time; all addresses of a section move together. Lines can be repeated, \
         and families mixed. The default prefix length is that of the interface's network. A `bind` of the proxy can \
         name the addresses on every machine: it listens there before the address arrives.";
    "interface <interface> [on <node>…]" &["virtual-ip"], interface,
        "interface eth0\ninterface ens3 on beta",
        "The interface for the addresses and their adverts. The default is the interface whose network contains the \
         first address. `on` sets it for machines with another interface name. While the interface is down or missing, \
         this machine cannot own the addresses.";
    "prefer <node> [<node>…]" &["virtual-ip"], prefer, "prefer alpha beta",
        "The machines that may own the addresses, the most preferred first. Other machines never own them. A node is \
         named by its `node` section or, without one, by its host name. The default is all nodes of the file, in their \
         order. Without any nodes, all machines are equal, and the owner keeps the addresses. The VRRP priority \
         depends on the position: 220, 210, 200… if all frontends of the addresses can be served, 140, 130… if some \
         cannot, and 60, 50… if none can.";
    "nopreempt" &["virtual-ip"], nopreempt, "nopreempt",
        "A machine that returns does not take the addresses from a less preferred one that is equally healthy; it \
         waits until that one fails. This saves a move, but the addresses stay wherever they were last.";
    "lease" &["virtual-ip"], lease, "lease",
        "Only the holder of the cluster's lease `address/NAME` owns the addresses, so that no partition gives them to \
         two machines. The holder releases them when its lease ends by its own clock, even if other processes hang or \
         links are cut. Without a majority nobody owns them. The best machine by `prefer` and the health of its \
         frontends gets the lease, even if another one holds it. A machine outside of a cluster never owns them.";
    "vrid <1-255>" &["virtual-ip"], vrid, "vrid 51",
        "The virtual router id, which must be unique on the network of its interface, also among other programs and \
         routers. The default is derived from the section name, and stable as long as the name does not change.";
    "multicast [<group>]" &["virtual-ip"], multicast, "multicast 224.0.0.18",
        "Sends adverts to a multicast group, by default 224.0.0.18 and ff02::12. This is the default.";
    "unicast" &["virtual-ip"], unicast, "unicast",
        "Sends adverts to the address of each other node, from the `address` line of its `node` section. Use it on \
         networks without multicast: most clouds, some switches.";
    "virtual-mac" &["virtual-ip"], virtual_mac, "virtual-mac",
        "Uses a virtual MAC address (00:00:5e:00:01 and the id) on an interface `vrrp.<id>`, so that neighbours need \
         no update when the addresses move. Virtual machines and some switches allow only one MAC address per port. \
         Without this line the MAC of the interface is used, and neighbours are notified.";
};
