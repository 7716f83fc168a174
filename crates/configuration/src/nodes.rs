//! Handles lines that apply only to some nodes: `on NODE LINE`. One file serves all machines; the
//! few differences are written after the name of their node.
//!
//! The caller determines which node this machine is ([`LoadOptions::node`], its name in its
//! cluster); otherwise the `node` sections and the host name do. A line for another node is not
//! built here, but the file is read once more for each of those nodes, so that an error for one
//! machine is reported on all.

use crate::codes;
use crate::context::Context;
use crate::node::{ConfiguredNode, Nodes, is_name_of};
use crate::options::LoadOptions;
use crate::outside::Outside;
use crate::part::ConfigurationPart;
use crate::recording::Recording;
use crate::sections::Sections;
use language::keyword::Documented;
use language::reader::Reader;
use language::source::Text;
use language::{ConfigLine, Diagnostic, FileId, SourceMap};
use std::iter;
use std::net::IpAddr;

const NODE: &str = "node";
/// First word of a line that applies to some nodes only.
pub(crate) const ON: &str = "on";
const NODES_MAX: usize = 16;

/// Splits a list of nodes: `alpha,beta`.
fn names(word: &language::ConfigWord) -> impl Iterator<Item = &str> {
    word.str().split(',')
}

fn is_node_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
    !name.is_empty() && name.bytes().all(allowed)
}

/// Returns whether a text may contain a line with `on`, or a section that depends on the node. Most
/// texts contain none and are not read twice.
fn may_contain_node_lines(parts: &[&'static ConfigurationPart], text: &[u8]) -> bool {
    let of = |part: &&ConfigurationPart| part.sections.on_lists.iter().chain(part.sections.by_node);
    let words: Vec<&str> = parts.iter().flat_map(of).copied().chain([ON]).collect();
    text.split(|b| *b == b'\n').any(|line| {
        let line = line.trim_ascii_start();
        // Counts a line whose first word may be quoted, or expanded from variables.
        words.iter().any(|word| line.starts_with(word.as_bytes()))
            || matches!(line.first(), Some(b'"' | b'\'' | b'\\' | b'$'))
    })
}

/// Reads the files for information about nodes, once for all loads of a recording.
pub(crate) fn find(
    parts: &[&'static ConfigurationPart],
    recording: &Recording,
    outside: &mut Outside,
) -> Nodes {
    if let Some(nodes) = &recording.nodes {
        return nodes.clone();
    }
    let mut nodes = Nodes::default();
    let mut texts = recording.files.iter();
    if !texts.any(|(_, text)| may_contain_node_lines(parts, text)) {
        return nodes;
    }
    let scanned = scan(parts, recording);
    if !scanned.depends {
        return nodes;
    }
    let sections = scanned.sections;
    nodes.named = scanned.named;
    nodes.here = local_names(&recording.options, &sections, &nodes.named, outside);
    nodes.known.clone_from(&recording.options.nodes);
    let names = sections.iter().filter_map(|section| section.name.clone());
    for name in names {
        if !nodes.known.iter().any(|known| is_name_of(known, &name)) {
            nodes.known.push(name);
        }
    }
    nodes
}

fn local_names(
    options: &LoadOptions,
    sections: &[ConfiguredNode],
    named: &[String],
    outside: &mut Outside,
) -> Vec<String> {
    if let Some(node) = &options.node {
        return vec![node.clone()];
    }
    if options.host.is_empty() {
        // Reads the file as its first node if the name of this host is not known: the file is only
        // inspected.
        let first = sections.iter().find_map(|section| section.name.clone());
        return first
            .or_else(|| named.first().cloned())
            .into_iter()
            .collect();
    }
    let host = &options.host;
    let of_sections = |has_address: &mut dyn FnMut(&&IpAddr) -> bool| {
        let mut found = Vec::new();
        for section in sections {
            found.extend(
                section
                    .name
                    .clone()
                    .zip(section.match_machine(host, &mut *has_address)),
            );
        }
        found
    };
    let mut found = of_sections(&mut |_| false);
    if found.is_empty() && options.resolve_names {
        // Compares addresses only if no name matches: a machine with the name of a node is only
        // that node, even if the machine has the addresses of another one.
        found = of_sections(&mut |address| {
            let own = outside.own_addresses().unwrap_or_default();
            own.contains(address)
        });
    }
    let names = found.into_iter().map(|(name, _)| name);
    iter::once(host.clone()).chain(names).collect()
}

/// Information about nodes that the files contain.
struct Scanned {
    sections: Vec<ConfiguredNode>,
    named: Vec<String>,
    depends: bool,
}

/// Reads the `node` sections with their part, and collects the nodes that lines apply to. Errors
/// are reported later, when all lines are read.
fn scan(parts: &[&'static ConfigurationPart], recording: &Recording) -> Scanned {
    let (sources, ids) = sources(recording);
    let mut context = Context {
        sources,
        words: recording.words.clone(),
        ..Context::default()
    };
    let owner = parts.iter().find(|part| part.sections.has(NODE));
    let mut draft = owner.map(|part| (part.begin)(&mut context));
    let mut reader = Reader::new(ids, recording.facts.clone());
    let (mut outline, mut named) = (recording.words.outline(), Vec::new());
    let (mut within, mut is_own, mut lists, mut depends) = (false, false, false, false);
    let environment = &recording.environment;
    while let Some(line) = reader.next(&context.sources, environment, &mut context.diagnostics) {
        let first = &line.words[0];
        let indented = context.sources.position(first.span).column > 1;
        let begins = outline.begins_section(first.str(), indented);
        if begins {
            within = first.is(NODE);
            let is_in = |of: fn(&Sections) -> &[&str]| {
                let mut sections = parts.iter().map(|part| &part.sections);
                sections.any(|one| of(one).contains(&first.str()))
            };
            is_own = is_in(|one| one.own_on);
            lists = is_in(|one| one.on_lists);
            depends |= lists || is_in(|one| one.by_node);
        } else if first.is(ON) && !is_own {
            depends = true;
            if lists {
                line.words[1..]
                    .iter()
                    .for_each(|word| add(word.str(), &mut named))
            } else {
                line.word(1)
                    .into_iter()
                    .flat_map(names)
                    .for_each(|name| add(name, &mut named))
            }
            continue;
        }
        match &mut draft {
            Some(draft) if within && begins => draft.section(&mut context, &line),
            Some(draft) if within => draft.line(&mut context, &line),
            _ => {}
        }
    }
    Scanned {
        sections: draft.map(|draft| draft.nodes()).unwrap_or_default(),
        named,
        depends,
    }
}

fn add(name: &str, named: &mut Vec<String>) {
    let new = is_node_name(name) && !named.iter().any(|n| is_name_of(name, n));
    if new && named.len() < NODES_MAX {
        named.push(name.to_owned());
    }
}

pub(crate) fn sources(recording: &Recording) -> (SourceMap, Vec<FileId>) {
    let mut sources = SourceMap::default();
    let add = |(name, text): &(String, Text)| sources.add(name.clone(), Text::clone(text));
    let ids = recording.files.iter().map(add).collect();
    (sources, ids)
}

/// Result of evaluating a line with `on`.
pub(crate) enum OnNode {
    /// A line that applies to this node, without `on NODE`.
    Here(ConfigLine),
    /// A line that applies to other nodes only, without `on NODE`.
    NotHere(ConfigLine),
    Refused,
}

/// Removes `on NODE` from a line of a part's section.
pub(crate) fn take_on_prefix(
    context: &mut Context,
    part: &ConfigurationPart,
    section: &str,
    line: &ConfigLine,
) -> OnNode {
    let (place, rest) = match split_on_prefix(context, part, section, line) {
        Ok(words) => words,
        Err(refused) => {
            context.report(refused);
            return OnNode::Refused;
        }
    };
    let mut here = false;
    for name in names(place) {
        here |= context.nodes.is_local_node(name);
        if !context.nodes.is_known(name) {
            let told = context.nodes.unknown(place, name);
            context.report(told);
        }
    }
    if here {
        OnNode::Here(rest)
    } else {
        OnNode::NotHere(rest)
    }
}

fn split_on_prefix<'l>(
    context: &Context,
    part: &ConfigurationPart,
    section: &str,
    line: &'l ConfigLine,
) -> Result<(&'l language::ConfigWord, ConfigLine), Diagnostic> {
    let refuse = |span, told: &str, label: &str| {
        let told = Diagnostic::error(&codes::ON_NODE, span, told);
        let told = told.help("write `on <node>[,<node>…] <line>`");
        match label {
            "" => told,
            label => told.label(label),
        }
    };
    let Some(place) = line.word(1) else {
        let told = "'on' expects the name of a node";
        return Err(refuse(line.end(), told, "the name is missing"));
    };
    if !names(place).all(is_node_name) {
        let told = format!("'on': '{}' is not a node name", place.text());
        return Err(refuse(place.span, &told, "names, separated by commas"));
    }
    let words = line.words.get(2..).unwrap_or_default().to_vec();
    let Some((first, last)) = words.first().zip(words.last()) else {
        let told = format!("'on {}' expects a line for that node", place.text());
        return Err(refuse(line.end(), &told, "the line is missing"));
    };
    let in_place = |(word, within): (&str, &str)| first.is(word) && section == within;
    if context.words.has(first.str()) && !context.words.shared().any(in_place) {
        let told = format!("a '{}' section cannot apply to a single node", first.text());
        let told = refuse(first.span, &told, "begins a section");
        let help = "begin the section for all nodes, and put `on <node>` before its lines";
        return Err(told.help(help));
    }
    if part.sections.for_all.contains(&section) {
        let told = format!("a '{section}' section applies to the whole cluster");
        let help = "remove `on` and the name";
        return Err(refuse(line.span, &told, "").help(help));
    }
    let span = first.span.to(last.span);
    let unset = line.unset.clone();
    Ok((place, ConfigLine { words, span, unset }))
}

/// The documentation of `on`. It is not a keyword of a table, because it precedes other keywords.
pub static DOCUMENTED: Documented = Documented {
    kind: "keyword",
    name: ON,
    places: &[
        "global",
        "defaults",
        "frontend",
        "guest",
        "listen",
        "backend",
        "cache",
        "crt-store",
        "healthcheck",
        "http-errors",
        "log-forward",
        "mailers",
        "node",
        "peers",
        "resolvers",
        "ring",
        "userlist",
        "virtual-ip",
    ],
    syntax: "on <node>[,<node>…] <line>",
    doc: "Applies the line on these nodes only. All machines share one file; this is for the few lines that must \
        differ, such as the address of a `bind`. On a member of a cluster, the node is its name there, otherwise that \
        of its `node` section, otherwise its host name (with or without its domain). `evenkeel check --node NAME` \
        checks the files as that node. Lines of other nodes are checked as well, except for files and addresses that \
        only those machines have. Sections and lines of `config` cannot apply to single nodes. In a `log-profile`, \
        `on` is HAProxy's keyword.",
    example: "on alpha,beta bind 127.0.0.1:8080",
    family: "Nodes",
    built: true,
};
