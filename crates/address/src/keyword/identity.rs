//! Determines which node this machine is.

use super::codes;
use super::draft::{AddressConfigDraft, NodeDraft};
pub(super) use configuration::is_name_of;
use language::{Diagnostic, Span, suggest};

/// Identity of this machine among the nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NodeIdentity {
    /// The machine is this node.
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

/// Returns why a section describes this machine; None if it does not.
fn explain_local_match(draft: &AddressConfigDraft, node: &NodeDraft, host: &str) -> Option<String> {
    if node.name.is_none() {
        return Some("it has no name, so it matches every machine".to_owned());
    }
    let names = node
        .name
        .iter()
        .chain(node.host_name.as_ref().map(|n| &n.value));
    if let Some(name) = names.into_iter().find(|name| is_name_of(name, host)) {
        return Some(format!("'{name}' is this machine's host name"));
    }
    let own = node.addresses.iter().find(|a| draft.host.has(a.value))?;
    Some(format!("this machine has the address {}", own.value))
}

/// Finds the node of this machine, and reports errors.
pub(super) fn find(draft: &mut AddressConfigDraft) -> NodeIdentity {
    check_preferred(draft);
    let Some(host) = draft.host.name.clone() else {
        return NodeIdentity::First;
    };
    let here: Vec<(String, Span, String)> = draft
        .nodes
        .iter()
        .filter_map(|node| {
            let why = explain_local_match(draft, node, &host)?;
            Some((name_of(node, Some(&host)).to_owned(), node.span, why))
        })
        .collect();
    if let [(first, first_span, first_why), (other, span, why), ..] = &here[..] {
        let told = format!("this machine matches both node '{first}' and node '{other}'");
        draft.add_diagnostic(
            Diagnostic::error(&codes::NODES_HERE, *span, told)
                .label(why.as_str())
                .with_label(*first_span, first_why.as_str())
                .help("a machine must match exactly one node: use different names, `hostname` lines and addresses"),
        );
    }
    if let Some((name, ..)) = here.into_iter().next() {
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

/// Reports that the file does not name this machine.
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
            .help(help),
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
            // A node without a name may be any machine while the file is only inspected.
            if names.iter().any(|name| known(name) || name.is_empty()) {
                continue;
            }
            let told = format!("'node' section '{}' not found", named.value);
            let told = Diagnostic::error(&codes::UNKNOWN_NODE, named.span, told);
            // Do not suggest a name that the line already contains.
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
