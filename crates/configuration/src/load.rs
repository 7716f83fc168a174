//! Loads configuration files line by line: passes each line to the part of the platform to which
//! its section belongs, and lets the parts build their configurations. Also reads the files again
//! for other nodes, to report errors about them, and repeats a load from its recording.

use crate::codes;
use crate::context::Context;
use crate::node::Nodes;
use crate::nodes::{self, OnNode};
use crate::options::LoadOptions;
use crate::outside::Outside;
use crate::part::{ConfigurationPart, Exchange, NamedAddress, PartDraft};
use crate::recording::Recording;
use language::diagnostic::DIAGNOSTICS_MAX;
use language::reader::Reader;
use language::{
    ConfigLine, Diagnostic, Diagnostics, Environment, Outline, Severity, SourceMap, suggest,
};
use std::any::Any;
use std::net::{IpAddr, SocketAddr};

#[derive(Debug)]
pub struct Loaded {
    built: Vec<(&'static str, Box<dyn Any>)>,
    pub sources: SourceMap,
    /// The diagnostics. If one of them is an error, the built configurations are invalid.
    pub diagnostics: Diagnostics,
    /// The variables after the last line; variables that no line names are left out.
    pub environment: Environment,
    /// The inputs of the load, so that it can be repeated elsewhere.
    pub recording: Recording,
}

impl Loaded {
    /// Takes the built configurations of the parts that run in a process of their own.
    pub fn take_role_configurations(
        &mut self,
        parts: &[&'static ConfigurationPart],
    ) -> Vec<(&'static ConfigurationPart, Box<dyn Any>)> {
        let runs = parts.iter().filter(|part| part.run.is_some());
        let all = runs.filter_map(|part| {
            let at = self.built.iter().position(|(name, _)| *name == part.name)?;
            Some((*part, self.built.swap_remove(at).1))
        });
        all.collect()
    }

    /// Takes the configuration that a part built from its sections; the default if the part was not
    /// loaded.
    pub fn take_part<T: Default + 'static>(&mut self, part: &ConfigurationPart) -> T {
        let at = self.built.iter().position(|(name, _)| *name == part.name);
        let built = at.map(|at| self.built.swap_remove(at).1);
        let built = built.and_then(|built| built.downcast().ok());
        built.map_or_else(T::default, |built| *built)
    }
}

/// Loads files; `outside` answers the queries of the load, which are recorded. The parts finish in
/// their order: a part that refers to names comes after those that export them. Sections of parts
/// that are not in `parts` are ignored.
pub fn load(
    parts: &[&'static ConfigurationPart],
    mut recording: Recording,
    mut outside: Outside,
) -> Loaded {
    let is_replay = outside.is_recorded();
    let nodes = nodes::find(parts, &recording, &mut outside);
    let options = recording.options.clone();
    let mut read = read(parts, &recording, options, outside, nodes.clone());
    // Does not check the other nodes in a replay, to avoid repeating their diagnostics, which the
    // recorded load has already reported.
    if !is_replay {
        check_other_nodes(parts, &recording, &nodes, &mut read.context);
    }
    report_unanswered(&mut read.context);
    let mut context = read.context;
    recording.store_answers(context.outside.into_answers());
    recording.imports = read.exchange.needed_for_replay();
    recording.nodes = Some(nodes);
    if !is_replay {
        let named = recording.named_variables(&context.environment);
        let is_named = |name: &str| named.contains(name.as_bytes());
        recording.environment.retain(is_named);
        context.environment.retain(is_named);
    }
    Loaded {
        built: read.built,
        sources: context.sources,
        diagnostics: context.diagnostics,
        environment: context.environment,
        recording,
    }
}

/// Repeats a load from its recording, with the same configurations and the same diagnostics, except
/// those of other nodes. The system is not queried; a query that the recording does not answer is
/// an error.
pub fn replay(parts: &[&'static ConfigurationPart], mut recording: Recording) -> Loaded {
    let answers = recording.take_answers();
    load(parts, recording, Outside::recorded(answers))
}

fn report_unanswered(context: &mut Context) {
    let questions = context.outside.unanswered().iter();
    let questions: Vec<String> = questions.map(|question| question.to_string()).collect();
    for question in questions {
        let told = format!("the recording of the load lacks {question}");
        context.report(Diagnostic::global(
            &codes::UNANSWERED,
            Severity::Error,
            told,
        ));
    }
}

/// Result of reading the files for one node.
struct Read {
    context: Context,
    built: Vec<(&'static str, Box<dyn Any>)>,
    exchange: Exchange,
}

fn read(
    parts: &[&'static ConfigurationPart],
    recording: &Recording,
    options: LoadOptions,
    outside: Outside,
    nodes: Nodes,
) -> Read {
    let (sources, ids) = nodes::sources(recording);
    let mut context = Context {
        sources,
        environment: recording.environment.clone(),
        words: recording.words.clone(),
        sections: parts.iter().map(|part| &part.sections).collect(),
        options,
        outside,
        nodes,
        ..Context::default()
    };
    let drafts = parts.iter().map(|part| (part.begin)(&mut context));
    let drafts = drafts.collect();
    let mut reading = Reading {
        parts,
        drafts,
        context,
        within: Within::None,
        out_of_section_told: false,
        other_node_addresses: Vec::new(),
    };
    let mut reader = Reader::new(ids, recording.facts.clone());
    let mut outline = recording.words.outline();
    while let Some(line) = reader.next(
        &reading.context.sources,
        &reading.context.environment,
        &mut reading.context.diagnostics,
    ) {
        reading.line(&mut reader, &mut outline, &line);
        let (drafts, context) = (&reading.drafts, &reading.context);
        if drafts.iter().any(|draft| draft.is_old_file(context)) {
            reader.is_old();
        }
        // Stops after too many errors: the file is probably no configuration.
        if context.diagnostics.errors() >= DIAGNOSTICS_MAX {
            break;
        }
    }
    reading.end_section();
    let mut context = reading.context;
    let mut addresses = reading.other_node_addresses;
    if reading.drafts.iter().any(|draft| draft.reads_addresses()) {
        addresses.extend(reading.drafts.iter().flat_map(|draft| draft.addresses()));
    }
    let mut exchange = Exchange::new(&recording.imports, addresses);
    let drafts = parts.iter().zip(reading.drafts);
    let built = drafts
        .map(|(part, draft)| (part.name, draft.finish(&mut context, &mut exchange)))
        .collect();
    exchange.check(parts, &mut context);
    Read {
        context,
        built,
        exchange,
    }
}

/// Reads the files again for each other node that their lines name. Reports the diagnostics that
/// are new for that node, but not those about files and addresses that are missing on this machine.
fn check_other_nodes(
    parts: &[&'static ConfigurationPart],
    recording: &Recording,
    nodes: &Nodes,
    context: &mut Context,
) {
    for name in nodes.other_nodes() {
        let options = LoadOptions {
            resolve_names: false,
            here: false,
            ..recording.options.clone()
        };
        let outside = std::mem::take(&mut context.outside);
        let mut other = read(parts, recording, options, outside, nodes.as_seen_by(name)).context;
        context.outside = std::mem::take(&mut other.outside);
        let missing = context.outside.unreadable();
        let is_new = |told: &&Diagnostic| {
            let same = |had: &Diagnostic| {
                had.code.id == told.code.id
                    && had.primary == told.primary
                    && had.message == told.message
            };
            let missed = missing.iter().any(|path| names(&told.message, path));
            !missed && !context.diagnostics.iter().any(same)
        };
        let new: Vec<Diagnostic> = other.diagnostics.iter().filter(is_new).cloned().collect();
        for told in new {
            let told = told.note(format!("as node '{name}'"));
            context.diagnostics.push(&context.sources, told);
        }
    }
}

/// Returns whether a message names a path: as a whole, not as the start of a longer one.
fn names(message: &str, path: &str) -> bool {
    let ends = |at: usize| {
        let next = message[at + path.len()..].chars().next();
        next.is_none_or(|next| !next.is_alphanumeric() && !"/._-".contains(next))
    };
    message.match_indices(path).any(|(at, _)| ends(at))
}

#[derive(Clone, Copy, Debug)]
enum Within {
    None,
    Part(usize),
    /// The section belongs to none of the loaded parts, or its name is misspelt.
    Foreign,
}

/// The state while files are read.
#[derive(Debug)]
struct Reading<'p> {
    parts: &'p [&'static ConfigurationPart],
    drafts: Vec<Box<dyn PartDraft>>,
    context: Context,
    within: Within,
    /// A line before the first section was already reported.
    out_of_section_told: bool,
    other_node_addresses: Vec<NamedAddress>,
}

/// Returns the IP addresses in a line, also those with a port or a prefix, whatever the keyword.
fn addresses_on(line: &ConfigLine) -> impl Iterator<Item = NamedAddress> + '_ {
    let literal = |text: &str| -> Option<IpAddr> {
        let socket = text.parse::<SocketAddr>().map(|address| address.ip());
        let bare = text.split('/').next().unwrap_or_default();
        socket.or_else(|_| bare.parse()).ok()
    };
    let all = line
        .words
        .iter()
        .filter_map(move |word| literal(word.str()));
    all.filter_map(|address| NamedAddress::from_address(address, "a line for another node"))
}

impl Reading<'_> {
    fn line(&mut self, reader: &mut Reader, outline: &mut Outline<'_>, line: &ConfigLine) {
        let first = &line.words[0];
        let indented = self.context.sources.position(first.span).column > 1;
        if outline.begins_section(first.str(), indented) {
            self.end_section();
            reader.section(line.word(1).map_or(first.text(), |name| name.text()));
            return self.begin_section(line);
        }
        // Ignores a line with a lexical error: the error was already reported, and the rest of the
        // line is uncertain.
        if reader.recovered() {
            return;
        }
        let at = match self.within {
            Within::None => return self.out_of_section(line),
            Within::Part(at) => at,
            Within::Foreign => return,
        };
        let part = self.parts[at];
        let place = self.drafts[at].current_section();
        let on = place.filter(|place| first.is(nodes::ON) && !part.sections.has_on_keyword(place));
        let Some(on) = on else {
            return self.pass_line(at, place, line);
        };
        match nodes::take_on_prefix(&mut self.context, part, on, line) {
            OnNode::Here(line) => self.pass_line(at, place, &line),
            OnNode::NotHere(line) => {
                self.other_node_addresses.extend(addresses_on(&line));
                self.drafts[at].note_line_for_other_nodes(&line);
            }
            OnNode::Refused => self.drafts[at].refused(line),
        }
    }

    /// Passes a line to a part: the one of the section, or another one that adds lines with this
    /// first word to the section.
    fn pass_line(&mut self, owner: usize, place: Option<&str>, line: &ConfigLine) {
        let word = line.words.first().map_or("", |word| word.str());
        let is_of = |part: &&'static ConfigurationPart| {
            place.is_some_and(|place| part.sections.line_words_in(place).any(|one| one == word))
        };
        let at = self.parts.iter().position(is_of).unwrap_or(owner);
        self.drafts[at].line(&mut self.context, line);
    }

    fn begin_section(&mut self, head: &ConfigLine) {
        let word = head.words[0].str();
        let at = self.parts.iter().position(|part| part.sections.has(word));
        self.within = at.map_or(Within::Foreign, Within::Part);
        let Some(at) = at else {
            return;
        };
        self.drafts[at].section(&mut self.context, head);
        // Does not begin the section if the platform's part has refused the line that begins it.
        let Some(place) = self.drafts[at].current_section() else {
            return;
        };
        for other in self.parts_with_lines_in(place) {
            self.drafts[other].section(&mut self.context, head);
        }
    }

    fn end_section(&mut self) {
        let Within::Part(at) = self.within else {
            return;
        };
        let place = self.drafts[at].current_section();
        self.drafts[at].end_section(&mut self.context);
        for other in place.map_or(Vec::new(), |place| self.parts_with_lines_in(place)) {
            self.drafts[other].end_section(&mut self.context);
        }
    }

    fn parts_with_lines_in(&self, place: &str) -> Vec<usize> {
        let all = self.parts.iter().enumerate();
        let others = all.filter(|(_, part)| part.sections.line_words_in(place).next().is_some());
        others.map(|(at, _)| at).collect()
    }

    /// Reports a line before any section. If the line looks like a misspelt section, the following
    /// lines are not reported.
    fn out_of_section(&mut self, line: &ConfigLine) {
        let word = &line.words[0];
        let near = suggest::nearest(&word.text(), self.context.words.names());
        let near = near.map(str::to_owned);
        // Reports only the first line, because the following ones are wrong for the same reason.
        if near.is_none() && std::mem::replace(&mut self.out_of_section_told, true) {
            return;
        }
        let message = format!("unknown keyword '{}' out of section", word.text());
        let diagnostic =
            Diagnostic::error(&codes::NO_SECTION, word.span, message).label("no section has begun");
        let diagnostic = match near {
            Some(near) => {
                self.within = Within::Foreign;
                diagnostic.did_you_mean(word.span, Some(&near))
            }
            None if KEEPALIVED.contains(&word.str()) => diagnostic
                .help("this looks like a keepalived.conf; HAProxy's language is expected here"),
            None => diagnostic.help(
                "begin with a line like `global`, `defaults`, `frontend NAME` or `listen NAME`",
            ),
        };
        self.context.report(diagnostic);
    }
}

/// First words by which a keepalived configuration is recognized.
const KEEPALIVED: &[&str] = &[
    "!",
    "global_defs",
    "static_ipaddress",
    "virtual_server",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
];

#[cfg(test)]
mod tests;
