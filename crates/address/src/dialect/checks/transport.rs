//! Determines whether the adverts of an instance use multicast or unicast, and reports peers and
//! sources of the wrong family and unicast settings without a peer.

use crate::codes;
use crate::config::{GROUP4, GROUP6, InstanceTransport};
use crate::dialect::family::draft::InstanceDraft;
use crate::dialect::loader::Loader;
use language::Diagnostic;

/// Returns the transport, and reports a source or peer that has another family than the instance.
pub(super) fn resolve(l: &mut Loader<'_>, draft: &InstanceDraft, ipv6: bool) -> InstanceTransport {
    let mut other = |what: &str, address: std::net::IpAddr, span| {
        if address.is_ipv6() != ipv6 {
            let family = if ipv6 { "IPv6" } else { "IPv4" };
            let message = format!(
                "the {what} {address} is not {family}, like the addresses of '{}'",
                draft.name
            );
            l.error(&codes::BAD_ADDRESS, span, message);
        }
    };
    if let Some(source) = &draft.source {
        other("source", source.value, source.span);
    }
    let peers = draft
        .peers
        .as_ref()
        .map(|at| at.value.as_slice())
        .unwrap_or_default();
    for peer in peers {
        other("peer", peer.value.address, peer.span);
    }
    if !peers.is_empty() || draft.options.values.fault_without_peer {
        let bounded = peers
            .iter()
            .any(|p| p.value.min_ttl.is_some() || p.value.max_ttl.is_some());
        return InstanceTransport::Unicast {
            peers: peers.iter().map(|p| p.value.clone()).collect(),
            ttl: draft.ttl.as_ref().map(|t| t.value),
            check_source: bounded || draft.check_source.is_some() || l.drafts.defaults.check_source,
        };
    }
    if let Some(group) = &draft.group {
        other("group", group.value, group.span);
    }
    without_peers(l, draft);
    let defaults = &l.drafts.defaults;
    let default = if ipv6 {
        defaults.group6.unwrap_or(GROUP6)
    } else {
        defaults.group4.unwrap_or(GROUP4)
    };
    let group = draft.group.as_ref();
    InstanceTransport::Multicast {
        group: group.map_or(default, |g| g.value),
    }
}

/// Reports unicast keywords without a peer.
fn without_peers(l: &mut Loader<'_>, draft: &InstanceDraft) {
    if let Some(at) = &draft.peers {
        let message = format!(
            "'{}' has no peers, so its adverts use multicast",
            draft.name
        );
        l.report(
            Diagnostic::warning(&codes::NO_PEER, at.span, message)
                .help("add the other machines, or 'unicast_fault_no_peer'"),
        );
    } else if let Some(source) = draft.source.as_ref().filter(|_| draft.unicast_source) {
        let message = format!(
            "'{}' has no unicast_peer, so its adverts use multicast",
            draft.name
        );
        l.report(
            Diagnostic::warning(&codes::NO_PEER, source.span, message)
                .help("add the other machines in 'unicast_peer { … }', or use 'mcast_src_ip'"),
        );
    }
    for (what, span) in [
        ("unicast_ttl", draft.ttl.as_ref().map(|t| t.span)),
        ("check_unicast_src", draft.check_source),
    ] {
        if let Some(span) = span {
            let message = format!("'{what}' has no effect without 'unicast_peer'");
            l.report(Diagnostic::warning(&codes::NO_EFFECT, span, message));
        }
    }
}
