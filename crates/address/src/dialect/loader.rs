//! Builds the configuration from the parsed statements of `keepalived.conf`: finds the row of each
//! keyword, checks the number of its values and its block, and calls its builder. Reports unknown
//! keywords; finally runs the checks of the whole configuration.

use super::family::draft::{Drafts, GroupDraft, InstanceDraft};
use super::keyword::{self, Effect, Row, TOP};
use super::outside::Outside;
use super::reader::Reader;
use super::tree::{self, ConfigStatement};
use super::words::SourceWord;
use super::{Loaded, Options, checks};
use crate::codes;
use crate::config::Config;
use language::{Code, Diagnostic, Diagnostics, FileId, Severity, SourceMap, Span, suggest};
use std::collections::HashSet;

/// Maximum number of diagnostics that are kept until they are sorted.
const PENDING_MAX: usize = 10_000;

/// Collects diagnostics. A repetition at the same position is dropped, so that a faulty variable
/// that is used a thousand times is reported once.
#[derive(Default)]
pub(super) struct Sink {
    pending: Vec<Diagnostic>,
    seen: HashSet<(&'static str, Option<Span>, String)>,
    errors: usize,
}

impl Sink {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        if diagnostic.severity == Severity::Error {
            self.errors += 1;
        }
        let key = (
            diagnostic.code.id,
            diagnostic.primary,
            diagnostic.message.clone(),
        );
        if self.pending.len() < PENDING_MAX && self.seen.insert(key) {
            self.pending.push(diagnostic);
        }
    }

    /// Returns the number of pending diagnostics.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.pending.len()
    }

    /// Returns the diagnostics in the order of files and lines.
    fn finish(mut self, sources: &SourceMap) -> Diagnostics {
        self.pending
            .sort_by_key(|d| d.primary.map(|p| (p.file, p.start)));
        let mut diagnostics = Diagnostics::default();
        for diagnostic in self.pending {
            diagnostics.push(sources, diagnostic);
        }
        diagnostics
    }
}

/// State of the build while blocks are parsed.
pub(super) struct Loader<'a> {
    pub(super) sink: Sink,
    pub(super) outside: &'a mut dyn Outside,
    pub(super) options: &'a Options,
    /// Keyword of the current block.
    pub(super) place: &'static str,
    /// Keyword of the current line.
    pub(super) keyword: &'static str,
    /// Configuration built so far; defaults are applied at the end.
    pub(super) config: Config,
    pub(super) drafts: Drafts,
    pub(super) instance: InstanceDraft,
    pub(super) group: GroupDraft,
}

pub(super) fn load(
    sources: &mut SourceMap,
    files: &[FileId],
    options: &Options,
    outside: &mut dyn Outside,
) -> Loaded {
    let host = outside.host_name();
    let config_id = options.config_id.clone();
    let config_id = config_id.unwrap_or_else(|| host.split('.').next().unwrap_or("").to_owned());
    let mut sink = Sink::default();
    let mut reader = Reader::new(sources, &mut *outside, &mut sink, config_id, files);
    let nodes = tree::read(&mut reader);
    let watched = std::mem::take(&mut reader.files);
    let mut loader = Loader {
        sink,
        outside,
        options,
        place: TOP,
        keyword: "",
        config: Config::default(),
        drafts: Drafts::new(host),
        instance: InstanceDraft::default(),
        group: GroupDraft::default(),
    };
    for node in &nodes {
        loader.statement(node);
    }
    checks::finish(&mut loader);
    let Loader { sink, config, .. } = loader;
    let config = (sink.errors == 0).then_some(config);
    Loaded {
        config,
        diagnostics: sink.finish(sources),
        files: watched,
    }
}

impl Loader<'_> {
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.sink.push(diagnostic);
    }

    /// Reports an error with only a message and a position.
    pub(super) fn error(&mut self, code: &'static Code, span: Span, message: impl Into<String>) {
        self.report(Diagnostic::error(code, span, message));
    }

    /// Parses the statements in the block of a node, with the keywords that the block `place`
    /// allows.
    pub(super) fn children(&mut self, place: &'static str, node: &ConfigStatement) {
        let outer = std::mem::replace(&mut self.place, place);
        for child in node.nodes() {
            self.statement(child);
        }
        self.place = outer;
    }

    fn statement(&mut self, node: &ConfigStatement) {
        if node.words.is_empty() {
            return;
        }
        match keyword::find(self.place, node.name()) {
            Some(row) => self.build(row, node),
            None => self.unknown(node),
        }
    }

    fn build(&mut self, row: &'static Row, node: &ConfigStatement) {
        let outer = std::mem::replace(&mut self.keyword, row.name());
        self.build_line(row, node);
        self.keyword = outer;
    }

    fn build_line(&mut self, row: &'static Row, node: &ConfigStatement) {
        let build = &row.build;
        let given = node.arguments().len();
        if given < build.least {
            let missing = match build.least - given {
                1 => "a value is".to_owned(),
                n => format!("{n} values are"),
            };
            self.report(
                Diagnostic::error(
                    &codes::MISSING_VALUE,
                    node.whole(),
                    format!("{missing} missing after '{}'", row.name()),
                )
                .help(format!("syntax: {}", row.syntax)),
            );
            if !build.block {
                return;
            }
        }
        if let Some(extra) = node.arguments().get(build.most) {
            self.report(
                Diagnostic::warning(
                    &codes::EXTRA_WORDS,
                    extra.span.to(node.whole()),
                    format!("extra words after '{}'", row.name()),
                )
                .help(format!("syntax: {}", row.syntax)),
            );
        }
        match (build.block, &node.block) {
            (true, None) => self.report(
                Diagnostic::error(
                    &codes::MISSING_BLOCK,
                    node.whole(),
                    format!("'{}' needs a block in braces", row.name()),
                )
                .help(format!("syntax: {}", row.syntax)),
            ),
            (false, Some(block)) => self.error(
                &codes::BAD_BRACE,
                block.open,
                format!("'{}' takes no block", row.name()),
            ),
            _ => {}
        }
        match build.effect {
            Effect::Run(run) => run(self, node),
            Effect::None(why) => self.no_effect(node, why),
            Effect::Anyway(why) => {
                let message = format!("'{}' is so in this program without it", node.name());
                self.so_anyway(node.place(), message, why);
            }
        }
    }

    /// Warns about a valid keyword that has no effect in Evenkeel.
    pub(super) fn no_effect(&mut self, node: &ConfigStatement, why: &str) {
        let message = format!("'{}' has no effect in this program", node.name());
        let told = Diagnostic::warning(&codes::NO_EFFECT, node.place(), message);
        self.report(told.help(why));
    }

    /// Reports words that request the default behaviour.
    pub(super) fn so_anyway(&mut self, span: Span, message: impl Into<String>, why: &str) {
        let told = Diagnostic::new(&codes::SO_ANYWAY, Severity::Diag, span, message);
        self.report(told.help(why));
    }

    /// Reports a word that is no keyword of the current block: an error, or under the name
    /// `keepalived` only a warning. If the intended keyword of an error is evident, the statement
    /// is parsed as that keyword, so that its contents are checked, too.
    fn unknown(&mut self, node: &ConfigStatement) {
        let Some(word) = node.words.first() else {
            return;
        };
        let message = match self.place {
            TOP => format!("unknown keyword '{}'", word.text),
            place => format!("unknown keyword '{}' in '{place}'", word.text),
        };
        if self.options.as_keepalived {
            let message = format!("{message}: the line is ignored");
            let told = Diagnostic::warning(&codes::LEFT_OUT, word.span, message);
            let near = suggest::nearest(&word.text, keyword::names_in(self.place));
            return self.report(told.did_you_mean(word.span, near));
        }
        let told = Diagnostic::error(&codes::UNKNOWN_KEYWORD, word.span, message);
        if let Some((row, joined)) = self.joined(node) {
            let meant = format!("{} {}", row.name(), joined.words[1].text);
            let told = told
                .label("the name is part of the keyword")
                .help(format!("did you mean '{meant}'?"))
                .fix(word.span, meant);
            self.report(told);
            return self.build(row, &joined);
        }
        let elsewhere = keyword::places_of(&word.text);
        // Suggests a similar keyword only if there is no such keyword in another block, or if it
        // differs by a prefix: in `global_defs`, `garp_master_delay` means
        // `vrrp_garp_master_delay`, whereas `priority` has no counterpart there.
        let near = suggest::nearest(&word.text, keyword::names_in(self.place))
            .filter(|near| elsewhere.is_empty() || near.ends_with(&word.text));
        if let Some(row) = near.and_then(|name| keyword::find(self.place, name)) {
            self.report(told.did_you_mean(word.span, Some(row.name())));
            if row.build.block == node.block.is_some() && elsewhere.is_empty() {
                self.build(row, node);
            }
            return;
        }
        self.report(if elsewhere.is_empty() {
            told.label("not a keyword here")
        } else {
            told.help(match elsewhere[..] {
                [TOP] => format!("'{}' is outside of all blocks", word.text),
                _ => format!("'{}' belongs in {}", word.text, quoted(&elsewhere)),
            })
        });
    }

    /// Splits `vrrp_instance_VI_1 {` into `vrrp_instance VI_1 {`.
    fn joined(&self, node: &ConfigStatement) -> Option<(&'static Row, ConfigStatement)> {
        let word = node.words.first()?;
        if node.words.len() != 1 || node.block.is_none() {
            return None;
        }
        let named = keyword::names_in(self.place)
            .filter_map(|name| keyword::find(self.place, name))
            .filter(|row| row.build.block && row.build.least == 1)
            .filter(|row| word.text.starts_with(row.name()))
            .max_by_key(|row| row.name().len())?;
        let rest = word.text[named.name().len()..].trim_start_matches(['_', '-', ':']);
        if rest.is_empty() {
            return None;
        }
        let mut span = word.span;
        if (span.end - span.start) as usize == word.text.len() {
            span.start = span.end - rest.len() as u32;
        }
        let name = SourceWord {
            text: rest.to_owned(),
            span,
        };
        let words = vec![word.clone(), name];
        let block = node.block.clone();
        Some((named, ConfigStatement { words, block }))
    }
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|n| format!("'{n}'")).collect();
    names.join(", ")
}
