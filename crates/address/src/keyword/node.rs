//! Parses `node` sections: the machines that share the file, with their addresses and host names.

use super::draft::{AddressConfigDraft, NodeDraft};
use super::{Row, codes};
use language::arguments::{Args, Built, section_name};
use language::{ConfigLine, ConfigWord, Diagnostic, Spanned};

const ADDRESSES_MAX: usize = 16;

/// Checks the name of a node or an address. The name becomes part of log lines, metric names and
/// script arguments.
pub(super) fn checked_name<'w>(kind: &str, word: &'w ConfigWord) -> Result<&'w str, Diagnostic> {
    /// Maximum length of a name in bytes.
    const NAME_MAX: usize = 64;
    let name = section_name(kind, word, &codes::NAME)?;
    if name.len() > NAME_MAX {
        let told = format!("the name of a '{kind}' has at most {NAME_MAX} bytes");
        return Err(Diagnostic::error(&codes::NAME, word.span, told));
    }
    Ok(name)
}

pub(super) fn begin(draft: &mut AddressConfigDraft, head: &ConfigLine) -> Built {
    super::begin(draft, head)?;
    let mut args = Args::new(head, 1, "node", "node [<name>]", &codes::OF_ARGUMENTS);
    let (name, span) = match args.next() {
        None => (None, head.span),
        Some(word) => (Some(checked_name("node", word)?.to_owned()), word.span),
    };
    args.end()?;
    if let Some(first) = draft.nodes.iter().find(|node| node.name == name) {
        let told = match &name {
            Some(name) => format!("duplicate 'node' section '{name}'"),
            None => "duplicate 'node' section without a name".to_owned(),
        };
        return Err(Diagnostic::error(&codes::NAME, span, told).name_taken_at(first.span));
    }
    draft.nodes.push(NodeDraft {
        name,
        span,
        addresses: Vec::new(),
        host_name: None,
    });
    Ok(())
}

fn address(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    loop {
        let (value, span) = args.address()?;
        let full = draft
            .nodes
            .last()
            .is_some_and(|node| node.addresses.len() >= ADDRESSES_MAX);
        if full {
            let told = format!("a node has at most {ADDRESSES_MAX} addresses");
            return Err(Diagnostic::error(&codes::TOO_MANY, span, told));
        }
        if let Some(node) = draft.node() {
            node.addresses.push(Spanned { value, span });
        }
        if args.peek().is_none() {
            return Ok(());
        }
    }
}

fn hostname(draft: &mut AddressConfigDraft, args: &mut Args<'_>) -> Built {
    let word = args.required("the name of a machine")?;
    let value = checked_name("hostname", word)?.to_owned();
    args.end()?;
    if let Some(node) = draft.node() {
        if let Some(first) = &node.host_name {
            let told = "'hostname' may appear only once in a section";
            return Err(Diagnostic::error(&codes::TWICE, word.span, told)
                .with_label(first.span, "first given here"));
        }
        node.host_name = Some(Spanned::new(value, word.span));
    }
    Ok(())
}

pub(super) static LINES: &[Row] = language::rows! {
    "address <address> [<address>…]" &["node"], address, "address 10.0.0.1 2001:db8::1",
        "Fixed addresses of this machine, of either family. With `unicast`, other machines send their adverts there. A \
         machine that has one of these addresses on an interface is this node, regardless of its name.";
    "hostname <name>" &["node"], hostname, "hostname lb-1.example.com",
        "The host name of the machine (`uname -n`), if it differs from the name of the section; with or without its \
         domain.";
};
