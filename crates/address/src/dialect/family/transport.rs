//! Parses the keywords for the transport of adverts: multicast groups, peers, sources, TTLs, and
//! which adverts are accepted.

use super::INSTANCE;
use super::draft::At;
use super::instance::switch;
use crate::codes;
use crate::config::Peer;
use crate::dialect::keyword::{Row, block, line};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use language::{Diagnostic, suggest};

/// Maximum number of peers of an instance.
const PEERS_MAX: usize = 4096;

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "unicast_peer { <address> [min_ttl <0-255>] [max_ttl <0-255>] … }" &[INSTANCE],
        block(0, 0, peers),
        "unicast_peer {\n    192.0.2.2\n    192.0.2.3 min_ttl 250\n}",
        "Sends adverts to these machines instead of a multicast group, for networks without multicast. List all other \
         machines; this machine's own address does no harm.";
    "unicast_src_ip <address>" &[INSTANCE], line(1, 1, source),
        "unicast_peer {\n    192.0.2.2\n}\nunicast_src_ip 192.0.2.1",
        "Source address of unicast adverts; the default is the first address of the interface.";
    "mcast_src_ip <address>" &[INSTANCE], line(1, 1, source), "mcast_src_ip 192.0.2.1",
        "Source address of multicast adverts; the default is the first address of the interface.";
    "mcast_dst_ip <group>" &[INSTANCE], line(1, 1, destination), "mcast_dst_ip 224.0.0.19",
        "Another multicast group for the adverts, the same on all machines. IPv6 groups must be link-local (`ff02:…`).";
    "track_src_ip" &[INSTANCE], line(0, 0, |l, _| l.instance.options.values.track_source = true),
        "mcast_src_ip 192.0.2.1\ntrack_src_ip",
        "A missing source address is a fault of the instance.";
    "check_unicast_src" &[INSTANCE], line(0, 0, |l, n| l.instance.check_source = Some(n.place())),
        "unicast_peer {\n    192.0.2.2\n}\ncheck_unicast_src",
        "Only accepts adverts from the peers of `unicast_peer`.";
    "unicast_fault_no_peer" &[INSTANCE],
        line(0, 0, |l, _| l.instance.options.values.fault_without_peer = true),
        "unicast_peer {\n    192.0.2.2\n}\nunicast_fault_no_peer",
        "Without a peer the instance enters FAULT, instead of using multicast.";
    "unicast_ttl <0-255>" &[INSTANCE], line(1, 1, ttl),
        "unicast_peer {\n    192.0.2.2\n}\nunicast_ttl 64",
        "TTL or hop limit of unicast adverts, by default 255.";
    "old_unicast_checksum [never]" &[INSTANCE], line(0, 1, old_checksum),
        "old_unicast_checksum never",
        "Uses the version 3 unicast checksum of keepalived 1.3.6 and earlier. By default an old peer is detected; \
         `never` disables that.";
    "skip_check_adv_addr [on|off]" &[INSTANCE],
        line(0, 1, |l, n| switch(l, n, |o| &mut o.skip_check_addresses)),
        "skip_check_adv_addr on",
        "Compares the addresses in adverts with the configured ones only when another machine begins to send. Default \
         `vrrp_skip_check_adv_addr`.";
    "lower_prio_no_advert [on|off]" &[INSTANCE],
        line(0, 1, |l, n| switch(l, n, |o| &mut o.lower_prio_no_advert)),
        "lower_prio_no_advert",
        "A master does not reply to an advert with a lower priority, as in the protocol. keepalived replies by \
         default.";
    "higher_prio_send_advert [on|off]" &[INSTANCE],
        line(0, 1, |l, n| switch(l, n, |o| &mut o.higher_prio_send_advert)),
        "higher_prio_send_advert",
        "A master that receives a higher priority sends one more advert before it releases the addresses, so that the \
         other machine announces them again.";
};

fn peers(l: &mut Loader<'_>, node: &ConfigStatement) {
    let mut peers = Vec::new();
    for line in node.nodes() {
        let Some(first) = line.words.first() else {
            continue;
        };
        let Some(address) = l.address(first) else {
            continue;
        };
        let mut peer = Peer {
            address,
            min_ttl: None,
            max_ttl: None,
        };
        let mut words = line.arguments().iter();
        while let Some(word) = words.next() {
            let bound = match word.text.as_str() {
                "min_ttl" => &mut peer.min_ttl,
                "max_ttl" => &mut peer.max_ttl,
                other => {
                    let near = suggest::nearest(other, ["min_ttl", "max_ttl"]);
                    let message =
                        format!("unknown word '{other}' after a peer; write one peer per line");
                    l.report(
                        Diagnostic::error(&codes::UNKNOWN_KEYWORD, word.span, message)
                            .did_you_mean(word.span, near),
                    );
                    break;
                }
            };
            match words.next() {
                Some(value) => *bound = l.small(value, 0..=255),
                None => l.error(
                    &codes::MISSING_VALUE,
                    word.span,
                    format!("the value after '{}' is missing", word.text),
                ),
            }
        }
        if peers.len() < PEERS_MAX {
            peers.push(At {
                value: peer,
                span: first.span,
            });
        }
    }
    let span = node.place();
    match &mut l.instance.peers {
        Some(before) => before.value.extend(peers),
        none => *none = Some(At { value: peers, span }),
    }
}

fn source(l: &mut Loader<'_>, node: &ConfigStatement) {
    l.instance.unicast_source = node.name() == "unicast_src_ip";
    l.instance.source = l.at(node, |l, w| l.address(w));
}

fn destination(l: &mut Loader<'_>, node: &ConfigStatement) {
    let Some(word) = node.argument() else { return };
    let Some(value) = l.address(word) else { return };
    if !value.is_multicast() {
        let message = format!("{value} is not a multicast address");
        l.error(&codes::BAD_ADDRESS, word.span, message);
        return;
    }
    if let std::net::IpAddr::V6(group) = value
        && group.segments()[0] & 0xf != 2
    {
        let message = format!("{value} is not link-local: these groups begin with ff02 (ffx2)");
        l.error(&codes::BAD_ADDRESS, word.span, message);
        return;
    }
    l.instance.group = Some(At {
        value,
        span: word.span,
    });
}

fn ttl(l: &mut Loader<'_>, node: &ConfigStatement) {
    let span = node.whole();
    l.instance.ttl = l.count(node, 0..=255).map(|value| At { value, span });
}

fn old_checksum(l: &mut Loader<'_>, node: &ConfigStatement) {
    l.instance.options.values.old_unicast_checksum = match node.argument() {
        None => Some(true),
        Some(word) => l.choice(word, &[("never", false)]),
    };
}
