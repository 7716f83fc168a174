//! Parses `global_defs`: settings of the whole address role, and defaults for all instances.

use super::draft::{ReceivePolicy, set};
use super::instance::switch;
use super::{GLOBAL, INSTANCE};
use crate::codes;
use crate::dialect::keyword::{Row, TOP, block, line, no_effect, so_anyway};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use crate::dialect::words::SourceWord;
use std::net::IpAddr;

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "global_defs { … }" &[TOP], block(0, 0, |l, n| l.children(GLOBAL, n)),
        "global_defs {\n    router_id lb1\n    enable_script_security\n}",
        "Global settings. The block may appear anywhere, and several times.";
    "linkbeat_use_polling" &[TOP, INSTANCE], line(0, 0, linkbeat), "linkbeat_use_polling",
        "Polls the carrier of interfaces. `linkbeat_interfaces` does so for selected ones.";
    "router_id <name>" &[GLOBAL], line(1, 1, |l, n| l.drafts.defaults.router_id = n.text()),
        "router_id lb1", "Name of this machine in mails and logs; the default is the host name.";
    "default_interface <name>" &[GLOBAL],
        line(1, 1, |l, n| l.config.global.default_interface = n.text()),
        "default_interface eth1", "Interface of static addresses without `dev`; default eth0.";
    "vrrp_version 2|3" &[GLOBAL],
        line(1, 1, |l, n| set(l.count(n, 2..=3), &mut l.drafts.defaults.options.values.version)),
        "vrrp_version 3", "Version of instances without `version`; default 2. IPv6 is always 3.";
    "vrrp_mcast_group4 <group>" &[GLOBAL],
        line(1, 1, |l, n| l.drafts.defaults.group4 = group(l, n, false)),
        "vrrp_mcast_group4 224.0.0.19", "Multicast group of IPv4 adverts, by default 224.0.0.18.";
    "vrrp_mcast_group6 <group>" &[GLOBAL],
        line(1, 1, |l, n| l.drafts.defaults.group6 = group(l, n, true)),
        "vrrp_mcast_group6 ff02::13", "Multicast group of IPv6 adverts, by default ff02::12.";
    "vrrp_down_timer_adverts <1-100>" &[GLOBAL],
        line(1, 1, |l, n| set(l.count(n, 1..=100), &mut l.drafts.defaults.options.values.down_timer_adverts)),
        "vrrp_down_timer_adverts 4", "The default of `down_timer_adverts`.";
    "vrrp_lower_prio_no_advert [on|off]" &[GLOBAL],
        line(0, 1, |l, n| switch(l, n, |o| &mut o.lower_prio_no_advert)),
        "vrrp_lower_prio_no_advert", "The default of `lower_prio_no_advert`.";
    "vrrp_higher_prio_send_advert [on|off]" &[GLOBAL],
        line(0, 1, |l, n| switch(l, n, |o| &mut o.higher_prio_send_advert)),
        "vrrp_higher_prio_send_advert", "The default of `higher_prio_send_advert`.";
    "vrrp_check_unicast_src" &[GLOBAL], line(0, 0, |l, _| l.drafts.defaults.check_source = true),
        "vrrp_check_unicast_src", "Only accepts unicast adverts from peers, in all instances.";
    "vrrp_skip_check_adv_addr [on|off]" &[GLOBAL],
        line(0, 1, |l, n| l.drafts.defaults.options.values.skip_check_addresses = l.switch(n).unwrap_or(false)),
        "vrrp_skip_check_adv_addr", "The default of `skip_check_adv_addr`.";
    "vrrp_strict" &[GLOBAL], line(0, 0, |l, _| l.drafts.defaults.options.values.strict = true),
        "vrrp_strict",
        "Keeps to the letter of the protocol in all instances: at least one address, no unicast peers, no \
         authentication, MASTER with priority 255 alone, no `preempt_delay`, and packets to the addresses are dropped \
         unless the priority is 255.";
    "vrrp_startup_delay <seconds>" &[GLOBAL],
        line(1, 1, |l, n| l.config.global.startup_delay = l.time(n, 1000..=1_200_000_000).unwrap_or_default()),
        "vrrp_startup_delay 5.5",
        "For this long after the start, missing adverts cause no takeover, for networks that take time to forward \
         packets.";
    "dynamic_interfaces [allow_if_changes]" &[GLOBAL], line(0, 1, dynamic_interfaces),
        "dynamic_interfaces",
        "Interfaces may be missing at the start; their instances wait for them. `allow_if_changes` also accepts a \
         returning interface of another type.";
    "disable_local_igmp" &[GLOBAL], line(0, 0, |l, _| l.config.global.disable_local_igmp = true),
        "disable_local_igmp",
        "The kernel sends no reports of IGMP for 224.0.0.0/24; a planned stop sets that back.";
    "log_unknown_vrids" &[GLOBAL], line(0, 0, |l, _| l.config.global.log_unknown_vrids = true),
        "log_unknown_vrids", "Adverts of virtual routers that are not configured are logged.";
    "vmac_prefix <text>" &[GLOBAL], line(1, 1, |l, n| l.drafts.defaults.vmac_prefix = n.text()),
        "vmac_prefix vr", "Prefix of the names of virtual interfaces, `vrrp` by default.";
    "vmac_addr_prefix <text>" &[GLOBAL],
        line(1, 1, |l, n| l.config.global.vmac_address_prefix = n.text()),
        "vmac_addr_prefix va", "As `vmac_prefix`, for interfaces of addresses with `use_vmac`.";
    "nftables [<table>]" &[GLOBAL],
        line(0, 1, |l, n| l.config.global.nftables.table = n.text().or_else(|| Some("keepalived".to_owned()))),
        "nftables vrrp",
        "The table of nftables for `no_accept` and virtual interfaces, `keepalived` by default.";
    "nftables_priority <number>" &[GLOBAL],
        line(1, 1, |l, n| l.config.global.nftables.priority = l.count(n, i64::from(i32::MIN)..=i64::from(i32::MAX))),
        "nftables_priority -1", "The priority of the chains of nftables, -1 by default.";
    "nftables_counters" &[GLOBAL], line(0, 0, |l, _| l.config.global.nftables.counters = true),
        "nftables_counters", "The rules of nftables count.";
    "nftables_ifindex" &[GLOBAL], so_anyway(0, 0, "rules name interfaces by their numbers"),
        "nftables_ifindex",
        "Sets of nftables name interfaces by their index; that is so here anyway.";
    "vrrp_iptables [<in> [<out>]]" &[GLOBAL],
        no_effect(0, 2, "rules are made with nftables, in a table of their own"),
        "vrrp_iptables",
        "Rules of iptables in the place of nftables. This program always uses nftables.";
    "vrrp_ipsets [<set> …]" &[GLOBAL],
        no_effect(0, 5, "rules are made with nftables, which needs no ipsets"),
        "vrrp_ipsets",
        "Sets for the rules of iptables. This program always uses nftables, which has its own.";
    "include_check [readable] [match] [wildcard_match] [brace_match]" &[GLOBAL],
        line(0, 4, include_check),
        "include_check readable",
        "Which missing files are errors of `include` lines that follow; with + and - single ones are changed.";
    // Checks only the range: the reader, which generates the random numbers, has already used the
    // seed.
    "random_seed <number>" &[GLOBAL], line(1, 1, |l, n| l.check(n, 0..=i64::from(u32::MAX))),
        "random_seed 5",
        "The seed of `${_RANDOM}` in the lines below it, so that they are the same at every start. The numbers are not \
         those of keepalived.";
    "vrrp_rx_bufs_policy MTU|ADVERT|<bytes>" &[GLOBAL], line(1, 1, receive_policy),
        "vrrp_rx_bufs_policy 65536",
        "The receive buffer of sockets: a number of bytes, or of packets of the interface or of adverts.";
    "vrrp_rx_bufs_multiplier <number>" &[GLOBAL],
        line(1, 1, |l, n| l.drafts.defaults.receive_multiplier = l.count(n, 1..=65535)),
        "vrrp_rx_bufs_multiplier 4",
        "How many packets `vrrp_rx_bufs_policy` makes room for, 3 by default.";
};

fn group(l: &mut Loader<'_>, node: &ConfigStatement, ipv6: bool) -> Option<IpAddr> {
    let word = node.argument()?;
    let address = l.address(word)?;
    if address.is_multicast() && address.is_ipv6() == ipv6 {
        return Some(address);
    }
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    let message = format!("{address} is not a multicast address of {family}");
    l.error(&codes::BAD_ADDRESS, word.span, message);
    None
}

fn linkbeat(l: &mut Loader<'_>, _: &ConfigStatement) {
    if l.place == TOP {
        l.drafts.defaults.linkbeat_all = true;
    } else {
        // Records only the setting, because the line `interface` of the instance may be further
        // down.
        l.instance.polls_carrier = true;
    }
}

fn dynamic_interfaces(l: &mut Loader<'_>, node: &ConfigStatement) {
    l.config.global.dynamic_interfaces = true;
    if let Some(word) = node.argument()
        && l.choice(word, &[("allow_if_changes", ())]).is_some()
    {
        let message = "'allow_if_changes' is so in this program without it";
        let why = "an interface that comes back is used again, whatever it is then";
        l.so_anyway(word.span, message, why);
    }
}

fn include_check(l: &mut Loader<'_>, node: &ConfigStatement) {
    for word in node.arguments() {
        let plain = SourceWord {
            text: word.text.trim_start_matches(['+', '-']).to_owned(),
            ..word.clone()
        };
        let all = ["readable", "match", "wildcard_match", "brace_match"];
        l.choice(&plain, &all.map(|name| (name, ())));
    }
}

fn receive_policy(l: &mut Loader<'_>, node: &ConfigStatement) {
    let Some(word) = node.argument() else { return };
    l.drafts.defaults.receive_policy = match word.text.as_str() {
        "MTU" => Some(ReceivePolicy::Mtu),
        "ADVERT" => Some(ReceivePolicy::Advert),
        _ => l
            .small(word, 1..=i64::from(i32::MAX))
            .map(ReceivePolicy::Bytes),
    };
}
