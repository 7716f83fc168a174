//! Lines that count on some nodes only: `on NODE LINE`. One file is for all machines;
//! the few things that must differ stand behind the name of the node that they are for.
//!
//! Which node this machine is comes from whoever loads ([`super::LoadOptions::node`], the
//! name that it has in its cluster), else from the `node` sections and the name of the
//! host. A line of another node is not built, but the file is read once more as each of
//! those nodes would, so that a mistake for one machine is told on all.

use super::section::is_section;
use super::{Loader, SHARED_WORDS, Section, codes, outline};
use configuration::outside::Outside;
use configuration::{LoadOptions, Recording};
use language::keyword::Documented;
use language::reader::Reader;
use language::source::Text;
use language::{Diagnostic, Diagnostics, FileId, Line, SectionLines, SourceMap, Span, suggest};
use std::net::IpAddr;

/// The word that such a line begins with.
pub(super) const ON: &str = "on";
/// Nodes that one file has lines for.
const NODES_MAX: usize = 16;

/// What the file and its loader say of nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Nodes {
    /// The names of this machine.
    here: Vec<String>,
    /// Every node that is known to exist; empty where nothing says.
    known: Vec<String>,
    /// Every node that a line is for.
    named: Vec<String>,
}

/// The file as another node reads it.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// The node.
    pub node: String,
    /// Its sections that other roles build.
    pub others: Vec<SectionLines>,
    /// Where its own lines stand.
    pub lines: Vec<Span>,
}

/// Sections in which HAProxy has a keyword of that name: there it is that one.
const HAPROXY: &[&str] = &["log-profile"];

/// Whether the word means a node in this section.
pub(super) fn may_be_in(section: Section) -> bool {
    match section {
        Section::None | Section::Refused => false,
        other => other.place().is_none_or(|name| !HAPROXY.contains(&name)),
    }
}

/// Whether a name is a machine's: with or without its domain, in any case.
fn is_name_of(name: &str, host: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let qualified = name.contains('.') && host.contains('.');
    name.eq_ignore_ascii_case(host)
        || (!qualified && short(name).eq_ignore_ascii_case(&short(host)))
}

/// The names of a list: `alpha,beta`.
fn names(word: &language::Word) -> impl Iterator<Item = &str> {
    word.str().split(',')
}

fn is_node_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
    !name.is_empty() && name.bytes().all(allowed)
}

/// Whether a text may have such a line: most have none, and are not read twice.
fn may_have(text: &[u8]) -> bool {
    text.split(|b| *b == b'\n').any(|line| {
        let line = line.trim_ascii_start();
        // A word may be quoted, or made of variables.
        line.starts_with(ON.as_bytes()) || matches!(line.first(), Some(b'"' | b'\'' | b'\\' | b'$'))
    })
}

/// A `node` section, as much as is asked of it here.
#[derive(Default)]
struct NodeSection {
    name: Option<String>,
    host_names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Nodes {
    /// Looks through the files.
    pub(super) fn find(recording: &Recording, outside: &mut Outside) -> Nodes {
        let mut nodes = Nodes::default();
        if !recording.files.iter().any(|(_, text)| may_have(text)) {
            return nodes;
        }
        let (sections, named) = scan(recording);
        if named.is_empty() {
            return nodes;
        }
        nodes.named = named;
        nodes.here = here(&recording.options, &sections, &nodes.named, outside);
        nodes.known.clone_from(&recording.options.nodes);
        let names = sections.iter().filter_map(|section| section.name.clone());
        nodes.known.extend(names);
        nodes
    }

    /// The same as another node has it.
    fn elsewhere(&self, name: &str) -> Nodes {
        Nodes {
            here: vec![name.to_owned()],
            ..self.clone()
        }
    }

    fn is_here(&self, name: &str) -> bool {
        self.here.iter().any(|here| is_name_of(name, here))
    }

    fn is_known(&self, name: &str) -> bool {
        let mut known = self.known.iter().chain(&self.here);
        self.known.is_empty() || known.any(|known| is_name_of(name, known))
    }
}

/// The names of this machine.
fn here(
    options: &LoadOptions,
    sections: &[NodeSection],
    named: &[String],
    outside: &mut Outside,
) -> Vec<String> {
    if let Some(node) = &options.node {
        return vec![node.clone()];
    }
    if options.host.is_empty() {
        // The file is only looked at: as the first node has it.
        let first = sections.iter().find_map(|section| section.name.clone());
        return first
            .or_else(|| named.first().cloned())
            .into_iter()
            .collect();
    }
    let mut here = vec![options.host.clone()];
    for section in sections {
        let Some(name) = &section.name else {
            continue;
        };
        let by_name = section.host_names.iter();
        let by_name = by_name.clone().any(|name| is_name_of(name, &options.host));
        let mut by_address = || {
            let own = outside.own_addresses().unwrap_or_default();
            section
                .addresses
                .iter()
                .any(|address| own.contains(address))
        };
        if by_name || (!section.addresses.is_empty() && options.resolve_names && by_address()) {
            here.push(name.clone());
        }
    }
    here
}

/// Reads the `node` sections, and which nodes lines are for.
fn scan(recording: &Recording) -> (Vec<NodeSection>, Vec<String>) {
    let (sources, ids) = sources(recording);
    let mut reader = Reader::new(ids, recording.facts.clone());
    let (mut outline, mut diagnostics) = (outline(), Diagnostics::default());
    let (mut sections, mut named): (Vec<NodeSection>, Vec<String>) = Default::default();
    let (mut within, mut haproxys) = (false, false);
    while let Some(line) = reader.next(&sources, &recording.environment, &mut diagnostics) {
        let Some(first) = line.words.first() else {
            continue;
        };
        let indented = sources.position(first.span).column > 1;
        if outline.begins(first.str(), indented) {
            within = first.is("node");
            haproxys = HAPROXY.contains(&first.str());
            if within {
                sections.push(NodeSection {
                    name: line.word(1).map(|word| word.text().into_owned()),
                    ..NodeSection::default()
                });
            }
            continue;
        }
        let values = || line.words.iter().skip(1);
        match (first.str(), sections.last_mut().filter(|_| within)) {
            ("hostname", Some(section)) => {
                let names = values().map(|word| word.text().into_owned());
                section.host_names.extend(names);
            }
            ("address", Some(section)) => {
                let address = |word: &language::Word| word.str().parse::<IpAddr>().ok();
                section.addresses.extend(values().filter_map(address));
            }
            (ON, _) if !haproxys => {
                for name in line.word(1).into_iter().flat_map(names) {
                    let new = is_node_name(name) && !named.iter().any(|n| is_name_of(name, n));
                    if new && named.len() < NODES_MAX {
                        named.push(name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    (sections, named)
}

/// The files of a recording, to be read.
pub(super) fn sources(recording: &Recording) -> (SourceMap, Vec<FileId>) {
    let mut sources = SourceMap::default();
    let add = |(name, text): &(String, Text)| sources.add(name.clone(), Text::clone(text));
    let ids = recording.files.iter().map(add).collect();
    (sources, ids)
}

/// What becomes of a line that is for some nodes.
pub(super) enum OnNode {
    /// It counts, without the words that say where.
    Here(Line),
    /// It is another node's, or was refused.
    NotHere,
}

impl Loader {
    /// Takes `on NODE` off a line.
    pub(super) fn on_node(&mut self, line: &Line) -> OnNode {
        let Some((place, rest)) = self.on_words(line) else {
            return OnNode::NotHere;
        };
        let mut here = false;
        for name in names(place) {
            here |= self.nodes.is_here(name);
            if !self.nodes.is_known(name) {
                self.tell_unknown_node(place, name);
            }
        }
        if !here {
            return OnNode::NotHere;
        }
        self.on_lines.push(line.span);
        OnNode::Here(rest)
    }

    /// The names of such a line and what stands behind them; what is wrong is told.
    fn on_words<'l>(&mut self, line: &'l Line) -> Option<(&'l language::Word, Line)> {
        let refuse = |span, told: &str| {
            let told = Diagnostic::error(&codes::ON_NODE, span, told);
            told.help("write `on <node>[,<node>…] <line>`")
        };
        let Some(place) = line.word(1) else {
            let told = refuse(line.end(), "'on' expects the name of a node");
            self.tell(told.label("the name is missing"));
            return None;
        };
        if !names(place).all(is_node_name) {
            let told = format!("'on': '{}' is not a node name", place.text());
            self.tell(refuse(place.span, &told).label("names, separated by commas"));
            return None;
        }
        let words = line.words.get(2..).unwrap_or_default().to_vec();
        let Some((first, last)) = words.first().zip(words.last()) else {
            let told = format!("'on {}' expects a line for that node", place.text());
            self.tell(refuse(line.end(), &told).label("the line is missing"));
            return None;
        };
        let in_place = |(word, section): &(&str, &str)| {
            first.is(word) && self.section.place() == Some(*section)
        };
        if is_section(first.str()) && !SHARED_WORDS.iter().any(in_place) {
            let told = format!("a '{}' section cannot apply to a single node", first.text());
            let told = refuse(first.span, &told).label("begins a section");
            self.tell(
                told.help("begin the section for all nodes, and put `on <node>` before its lines"),
            );
            return None;
        }
        if self.section == Section::Other && self.others_head_is("config") {
            let told = refuse(line.span, "a 'config' section applies to the whole cluster");
            self.tell(told.help("remove `on` and the name"));
            return None;
        }
        let span = first.span.to(last.span);
        let unset = line.unset.clone();
        Some((place, Line { words, span, unset }))
    }

    fn others_head_is(&self, name: &str) -> bool {
        let head = self.others.last().and_then(|section| section.head.word(0));
        head.is_some_and(|word| word.is(name))
    }

    fn tell_unknown_node(&mut self, place: &language::Word, name: &str) {
        let told = format!("no node is called '{name}', so this line never applies");
        let known = self.nodes.known.iter().map(String::as_str);
        let near = suggest::nearest(name, known).map(str::to_owned);
        let told = Diagnostic::warning(&codes::UNKNOWN_NODE, place.span, told);
        self.tell(match near {
            Some(near) => told.did_you_mean(place.span, Some(&near)),
            None => told.note(format!("nodes: {}", self.nodes.known.join(", "))),
        });
    }
}

/// Reads the files as each other node would that they have lines for. What is wrong with
/// those lines is told; that files and addresses of other machines are not here is not.
pub(super) fn elsewhere(recording: &Recording, loader: &mut Loader) -> Vec<Elsewhere> {
    let (nodes, imports) = (loader.nodes.clone(), &recording.imports);
    let others = nodes.named.iter().filter(|name| !nodes.is_here(name));
    let mut all = Vec::new();
    for name in others {
        let options = LoadOptions {
            resolve_names: false,
            ..recording.options.clone()
        };
        let mut recording = Recording::new(
            recording.files.clone(),
            recording.environment.clone(),
            recording.facts.clone(),
            options,
        );
        recording.imports.clone_from(imports);
        let outside = std::mem::take(&mut loader.context.outside);
        let (sources, ids) = sources(&recording);
        let mut other = super::pass(&recording, sources, ids, outside, nodes.elsewhere(name));
        loader.context.outside = std::mem::take(&mut other.context.outside);
        let missing = loader.context.outside.unreadable();
        let is_new = |told: &&Diagnostic| {
            let same = |had: &Diagnostic| {
                had.code.id == told.code.id
                    && had.primary == told.primary
                    && had.message == told.message
            };
            let missed = missing.iter().any(|path| told.message.contains(path));
            !missed && !loader.context.diagnostics.iter().any(same)
        };
        let told: Vec<Diagnostic> = other
            .context
            .diagnostics
            .iter()
            .filter(is_new)
            .cloned()
            .collect();
        for told in told {
            let told = told.note(format!("as the node '{name}' reads it"));
            loader
                .context
                .diagnostics
                .push(&loader.context.sources, told);
        }
        all.push(Elsewhere {
            node: name.clone(),
            others: other.others,
            lines: other.on_lines,
        });
    }
    all
}

/// The word, as the manual has it. It is no keyword of a table: it stands before each.
pub static DOCUMENTED: Documented = Documented {
    kind: "keyword",
    name: ON,
    places: &[
        "global",
        "defaults",
        "frontend",
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
