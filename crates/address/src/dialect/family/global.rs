//! `global_defs`: settings that apply to every instance.

use super::draft::ReceivePolicy;
use super::instance::switch;
use super::{GLOBAL, INSTANCE};
use crate::codes;
use crate::dialect::keyword::{Build, Row, TOP, block, line, no_effect, so_anyway};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use language::{Diagnostic, Severity};
use std::net::IpAddr;

/// Defines a keyword of `global_defs`.
pub(super) const fn row(
    syntax: &'static str,
    doc: &'static str,
    example: &'static str,
    build: Build,
) -> Row {
    Row {
        places: &[GLOBAL],
        syntax,
        doc,
        example,
        build,
    }
}

pub(in crate::dialect) static ROWS: &[Row] = &[
    Row {
        places: &[TOP],
        syntax: "global_defs { … }",
        doc: "Global settings. The block may appear anywhere, and several times.",
        example: "global_defs {\n    router_id lb1\n    enable_script_security\n}",
        build: block(0, 0, |l, n| l.children(GLOBAL, n)),
    },
    Row {
        places: &[TOP, INSTANCE],
        syntax: "linkbeat_use_polling",
        doc: "Polls the carrier of interfaces. `linkbeat_interfaces` does so for selected ones.",
        example: "linkbeat_use_polling",
        build: line(0, 0, linkbeat),
    },
    row(
        "router_id <name>",
        "Name of this machine in mails and logs; the default is the host name.",
        "router_id lb1",
        line(1, 1, |l, n| {
            l.drafts.defaults.router_id = n.text();
        }),
    ),
    row(
        "default_interface <name>",
        "Interface of static addresses without `dev`; default eth0.",
        "default_interface eth1",
        line(1, 1, |l, n| {
            l.config.global.default_interface = n.text();
        }),
    ),
    row(
        "vrrp_version 2|3",
        "Version of instances without `version`; default 2. IPv6 is always 3.",
        "vrrp_version 3",
        line(1, 1, |l, n| {
            if let Some(value) = l.count(n, 2..=3) {
                l.drafts.defaults.options.values.version = value;
            }
        }),
    ),
    row(
        "vrrp_mcast_group4 <group>",
        "Multicast group of IPv4 adverts, by default 224.0.0.18.",
        "vrrp_mcast_group4 224.0.0.19",
        line(1, 1, |l, n| {
            l.drafts.defaults.group4 = group(l, n, false);
        }),
    ),
    row(
        "vrrp_mcast_group6 <group>",
        "Multicast group of IPv6 adverts, by default ff02::12.",
        "vrrp_mcast_group6 ff02::13",
        line(1, 1, |l, n| {
            l.drafts.defaults.group6 = group(l, n, true);
        }),
    ),
    row(
        "vrrp_down_timer_adverts <1-100>",
        "The default of `down_timer_adverts`.",
        "vrrp_down_timer_adverts 4",
        line(1, 1, |l, n| {
            if let Some(value) = l.count(n, 1..=100) {
                l.drafts.defaults.options.values.down_timer_adverts = value;
            }
        }),
    ),
    row(
        "vrrp_lower_prio_no_advert [on|off]",
        "The default of `lower_prio_no_advert`.",
        "vrrp_lower_prio_no_advert",
        line(0, 1, |l, n| switch(l, n, |o| &mut o.lower_prio_no_advert)),
    ),
    row(
        "vrrp_higher_prio_send_advert [on|off]",
        "The default of `higher_prio_send_advert`.",
        "vrrp_higher_prio_send_advert",
        line(0, 1, |l, n| {
            switch(l, n, |o| &mut o.higher_prio_send_advert)
        }),
    ),
    row(
        "vrrp_check_unicast_src",
        "Only accepts unicast adverts from peers, in all instances.",
        "vrrp_check_unicast_src",
        line(0, 0, |l, _| l.drafts.defaults.check_source = true),
    ),
    row(
        "vrrp_skip_check_adv_addr [on|off]",
        "The default of `skip_check_adv_addr`.",
        "vrrp_skip_check_adv_addr",
        line(0, 1, |l, n| {
            l.drafts.defaults.options.values.skip_check_addresses = l.switch(n).unwrap_or(false);
        }),
    ),
    row(
        "vrrp_strict",
        "Keeps to the letter of the protocol in all instances: at least one address, no unicast peers, no authentication, MASTER with priority 255 alone, no `preempt_delay`, and packets to the addresses are dropped unless the priority is 255.",
        "vrrp_strict",
        line(0, 0, |l, _| l.drafts.defaults.options.values.strict = true),
    ),
    row(
        "vrrp_startup_delay <seconds>",
        "For this long after the start, missing adverts cause no takeover, for networks that take time to forward packets.",
        "vrrp_startup_delay 5.5",
        line(1, 1, |l, n| {
            let value = n.argument().and_then(|w| l.timer(w, 1000..=1_200_000_000));
            l.config.global.startup_delay = value.unwrap_or_default();
        }),
    ),
    row(
        "dynamic_interfaces [allow_if_changes]",
        "Interfaces may be missing at the start; their instances wait for them. `allow_if_changes` also accepts a returning interface of another type.",
        "dynamic_interfaces",
        line(0, 1, |l, n| {
            l.config.global.dynamic_interfaces = true;
            if let Some(word) = n.argument()
                && l.choice(word, &[("allow_if_changes", ())]).is_some()
            {
                l.report(
                    Diagnostic::new(
                        &codes::SO_ANYWAY,
                        Severity::Diag,
                        word.span,
                        "'allow_if_changes' is so in this program without it",
                    )
                    .help("an interface that comes back is used again, whatever it is then"),
                );
            }
        }),
    ),
    row(
        "disable_local_igmp",
        "The kernel sends no reports of IGMP for 224.0.0.0/24; a planned stop sets that back.",
        "disable_local_igmp",
        line(0, 0, |l, _| l.config.global.disable_local_igmp = true),
    ),
    row(
        "log_unknown_vrids",
        "Adverts of virtual routers that are not configured are logged.",
        "log_unknown_vrids",
        line(0, 0, |l, _| l.config.global.log_unknown_vrids = true),
    ),
    row(
        "vmac_prefix <text>",
        "Prefix of the names of virtual interfaces, `vrrp` by default.",
        "vmac_prefix vr",
        line(1, 1, |l, n| {
            l.drafts.defaults.vmac_prefix = n.text();
        }),
    ),
    row(
        "vmac_addr_prefix <text>",
        "As `vmac_prefix`, for interfaces of addresses with `use_vmac`.",
        "vmac_addr_prefix va",
        line(1, 1, |l, n| {
            l.config.global.vmac_address_prefix = n.text();
        }),
    ),
    row(
        "nftables [<table>]",
        "The table of nftables for `no_accept` and virtual interfaces, `keepalived` by default.",
        "nftables vrrp",
        line(0, 1, |l, n| {
            l.config.global.nftables.table = n.text().or_else(|| Some("keepalived".to_owned()));
        }),
    ),
    row(
        "nftables_priority <number>",
        "The priority of the chains of nftables, -1 by default.",
        "nftables_priority -1",
        line(1, 1, |l, n| {
            let all = i64::from(i32::MIN)..=i64::from(i32::MAX);
            l.config.global.nftables.priority = l.count(n, all);
        }),
    ),
    row(
        "nftables_counters",
        "The rules of nftables count.",
        "nftables_counters",
        line(0, 0, |l, _| l.config.global.nftables.counters = true),
    ),
    row(
        "nftables_ifindex",
        "Sets of nftables name interfaces by their index; that is so here anyway.",
        "nftables_ifindex",
        so_anyway(0, 0, "rules name interfaces by their numbers"),
    ),
    row(
        "vrrp_iptables [<in> [<out>]]",
        "Rules of iptables in the place of nftables. This program always uses nftables.",
        "vrrp_iptables",
        no_effect(
            0,
            2,
            "rules are made with nftables, in a table of their own",
        ),
    ),
    row(
        "vrrp_ipsets [<set> …]",
        "Sets for the rules of iptables. This program always uses nftables, which has its own.",
        "vrrp_ipsets",
        no_effect(0, 5, "rules are made with nftables, which needs no ipsets"),
    ),
    row(
        "include_check [readable] [match] [wildcard_match] [brace_match]",
        "Which missing files are errors of `include` lines that follow; with + and - single ones are changed.",
        "include_check readable",
        line(0, 4, include_check),
    ),
    row(
        "random_seed <number>",
        "The seed of `${_RANDOM}` in the lines below it, so that they are the same at every start. The numbers are not those of keepalived.",
        "random_seed 5",
        line(1, 1, |l, n| {
            // The reader, which generates the numbers, has already used the seed.
            if let Some(word) = n.argument() {
                l.number(word, 0..=i64::from(u32::MAX));
            }
        }),
    ),
    row(
        "vrrp_rx_bufs_policy MTU|ADVERT|<bytes>",
        "The receive buffer of sockets: a number of bytes, or of packets of the interface or of adverts.",
        "vrrp_rx_bufs_policy 65536",
        line(1, 1, receive_policy),
    ),
    row(
        "vrrp_rx_bufs_multiplier <number>",
        "How many packets `vrrp_rx_bufs_policy` makes room for, 3 by default.",
        "vrrp_rx_bufs_multiplier 4",
        line(1, 1, |l, n| {
            l.drafts.defaults.receive_multiplier = l.count(n, 1..=65535);
        }),
    ),
];

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
        // The interface may be named further down.
        l.instance.polls_carrier = true;
    }
}

fn include_check(l: &mut Loader<'_>, node: &ConfigStatement) {
    for word in node.arguments() {
        let plain = crate::dialect::words::SourceWord {
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
