//! Finds the `node` section of this machine by host name or address, and reports a machine that
//! matches none or several.

use super::codes;
use super::draft::{AddressConfigDraft, NodeDraft};
use configuration::NodeMatch;
pub(super) use configuration::is_name_of;
use language::{Diagnostic, Span, suggest};
use std::net::IpAddr;

/// Identity of this machine among the nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NodeIdentity {
    Node(String),
    /// The file names no nodes: it is for every machine that has it.
    Any,
    /// The file is only inspected: the first entry of each list applies.
    First,
}

/// Returns the name of a node; the host's name if its section has none.
pub(super) fn name_of<'n>(node: &'n NodeDraft, host: Option<&'n str>) -> &'n str {
    node.name.as_deref().or(host).unwrap_or("")
}

/// Describes why a section is this machine's.
fn describe_match(found: &NodeMatch, name: &str) -> String {
    match found {
        NodeMatch::ExactName => format!("'{name}' is this machine's name"),
        NodeMatch::Name(name) => format!("'{name}' refers to this machine's name"),
        NodeMatch::Unnamed => "it has no name, so it matches every machine".to_owned(),
        NodeMatch::Address(address) => format!("this machine has the address {address}"),
    }
}

/// Reports a second section that matches this machine. A name decides against an address: the
/// machine may have taken the address of another node that failed.
fn second_match(
    (node, first): &(&NodeDraft, NodeMatch),
    (other, second): &(&NodeDraft, NodeMatch),
    host: &str,
) -> Diagnostic {
    let (name, other_name) = (name_of(node, Some(host)), name_of(other, Some(host)));
    let (why, other_why) = (
        describe_match(first, name),
        describe_match(second, other_name),
    );
    if second.is_by_address() && !first.is_by_address() {
        let told = format!(
            "this machine is node '{name}', but also has an address of node '{other_name}'"
        );
        return Diagnostic::warning(&codes::NODES_HERE, other.span, told)
            .label(other_why)
            .with_label(node.span, why)
            .note(format!("the machine serves as node '{name}'"))
            .help("correct the address here, or remove it from this machine");
    }
    let told = format!("this machine matches both node '{name}' and node '{other_name}'");
    Diagnostic::error(&codes::NODES_HERE, other.span, told)
        .label(other_why)
        .with_label(node.span, why)
        .help("a machine must match exactly one node: use different names, `hostname` lines and addresses")
        .with_earlier_behaviour("the machine is the first one of them, and an exact name comes first")
}

pub(super) fn find(draft: &mut AddressConfigDraft) -> NodeIdentity {
    check_preferred(draft);
    let Some(host) = draft.host.name.clone() else {
        return NodeIdentity::First;
    };
    let nodes = draft.nodes.iter();
    let mut here: Vec<(&NodeDraft, NodeMatch)> = nodes
        .filter_map(|node| {
            let has_address = |address: &&IpAddr| draft.host.has(**address);
            Some((node, node.configured().match_machine(&host, has_address)?))
        })
        .collect();
    here.sort_by_key(|(_, found)| found.rank());
    let second = match &here[..] {
        [first, second, ..] => Some(second_match(first, second, &host)),
        _ => None,
    };
    let first = here
        .first()
        .map(|(node, _)| name_of(node, Some(&host)).to_owned());
    draft.diagnostics.extend(second);
    if let Some(name) = first {
        return NodeIdentity::Node(name);
    }
    let mut preferred = draft.virtual_ips.iter().flat_map(|v| &v.prefer);
    if let Some(name) = preferred.find(|name| is_name_of(&name.value, &host)) {
        return NodeIdentity::Node(name.value.clone());
    }
    if draft.nodes.is_empty() && draft.virtual_ips.iter().all(|v| v.prefer.is_empty()) {
        return NodeIdentity::Any;
    }
    tell_nobody(draft, &host);
    NodeIdentity::Node(host)
}

fn tell_nobody(draft: &mut AddressConfigDraft, host: &str) {
    let mut names: Vec<(String, Span)> = Vec::new();
    let nodes = draft
        .nodes
        .iter()
        .map(|n| (name_of(n, None).to_owned(), n.span));
    let preferred = draft.virtual_ips.iter().flat_map(|v| &v.prefer);
    for (name, span) in nodes.chain(preferred.map(|n| (n.value.clone(), n.span))) {
        if names.iter().all(|(other, _)| *other != name) {
            names.push((name, span));
        }
    }
    let Some((first, span)) = names.first().cloned() else {
        return;
    };
    let near = suggest::nearest(host, names.iter().map(|(name, _)| name.as_str()));
    let near = near.unwrap_or(&first).to_owned();
    let all: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    let told = format!(
        "this machine is called '{host}', but the file names only: {}",
        all.join(", ")
    );
    let help = if draft.nodes.is_empty() {
        format!("name '{host}' in `prefer`, or add a section `node {host}`")
    } else {
        format!(
            "add `hostname {host}` to `node {near}` if that is this machine, or name '{host}' in `prefer`"
        )
    };
    draft.add_diagnostic(
        Diagnostic::error(&codes::NOT_A_NODE, span, told)
            .label("none of these is this machine")
            .help(help)
            .with_earlier_behaviour("this machine owns no virtual address"),
    );
}

/// Checks that `prefer` and `on` name existing `node` sections, if there are any.
fn check_preferred(draft: &mut AddressConfigDraft) {
    if draft.nodes.is_empty() {
        return;
    }
    let host = draft.host.name.as_deref();
    let names: Vec<&str> = draft.nodes.iter().map(|node| name_of(node, host)).collect();
    let mut wrong = Vec::new();
    for virtual_ip in &draft.virtual_ips {
        let on = virtual_ip.interfaces.iter().flat_map(|i| &i.nodes);
        for named in virtual_ip.prefer.iter().chain(on) {
            let known = |name: &&str| is_name_of(&named.value, name);
            // Accepts a node without a name, which may be any machine while the file is only
            // inspected.
            if names.iter().any(|name| known(name) || name.is_empty()) {
                continue;
            }
            let told = format!("'node' section '{}' not found", named.value);
            let told = Diagnostic::error(&codes::UNKNOWN_NODE, named.span, told);
            // Suggests no name that the line already contains.
            let free = |name: &&str| !virtual_ip.prefer.iter().any(|p| is_name_of(&p.value, name));
            let near = suggest::nearest(&named.value, names.iter().copied().filter(free));
            wrong.push(match near {
                Some(near) => told.did_you_mean(named.span, Some(near)),
                None => told.help(format!("add a section `node {}`", named.value)),
            });
        }
    }
    for told in wrong {
        draft.add_diagnostic(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_compared_with_its_domain_only_where_both_have_one() {
        assert!(is_name_of("alpha", "alpha.example.com"));
        assert!(is_name_of("Alpha.example.com", "alpha"));
        assert!(is_name_of("alpha.example.com", "ALPHA.example.com"));
        assert!(!is_name_of("alpha.example.com", "alpha.example.org"));
        assert!(!is_name_of("alpha", "alphabet"));
    }
}
