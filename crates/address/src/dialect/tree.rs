//! Groups lines into statements and blocks. A block opens with a brace on the line of its words or
//! on the next one, and may be all on one line; `}` ends the block anywhere.

use super::family::draft::At;
use super::keyword;
use super::loader::Sink;
use super::reader::Reader;
use super::words::{SourceWord, Token, tokens};
use crate::codes;
use language::{Diagnostic, Span};

/// Maximum nesting depth of blocks.
const DEPTH_MAX: usize = 16;

/// A statement: its words, and an optional block.
#[derive(Clone, Debug, Default)]
pub(super) struct ConfigStatement {
    /// At least one word, unless a block has none.
    pub(super) words: Vec<SourceWord>,
    pub(super) block: Option<StatementBlock>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct StatementBlock {
    pub(super) nodes: Vec<ConfigStatement>,
    /// Position of the opening brace.
    pub(super) open: Span,
}

impl ConfigStatement {
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", |w| w.text.as_str())
    }

    /// Returns the position of the first word.
    pub(super) fn place(&self) -> Span {
        match (self.words.first(), &self.block) {
            (Some(word), _) => word.span,
            (None, Some(block)) => block.open,
            (None, None) => Span::default(),
        }
    }

    /// Returns the position of all words.
    pub(super) fn whole(&self) -> Span {
        match self.words.last() {
            Some(last) => self.place().to(last.span),
            None => self.place(),
        }
    }

    /// Returns the words after the first.
    pub(super) fn arguments(&self) -> &[SourceWord] {
        self.words.get(1..).unwrap_or_default()
    }

    /// Returns the first word after the keyword.
    pub(super) fn argument(&self) -> Option<&SourceWord> {
        self.words.get(1)
    }

    /// Returns the name of a block and its position; that of the keyword if the name is missing.
    pub(super) fn named(&self) -> At<String> {
        match self.argument() {
            Some(word) => word.at(),
            None => At {
                value: String::new(),
                span: self.place(),
            },
        }
    }

    /// Returns the text of the second word.
    pub(super) fn text(&self) -> Option<String> {
        self.argument().map(|word| word.text.clone())
    }

    /// Returns the statements of the block; empty without one.
    pub(super) fn nodes(&self) -> &[ConfigStatement] {
        self.block.as_ref().map_or(&[], |b| &b.nodes)
    }

    /// Returns all words of the block.
    pub(super) fn block_words(&self) -> impl Iterator<Item = &SourceWord> {
        self.nodes().iter().flat_map(|line| &line.words)
    }
}

/// Reads the statements of all files.
pub(super) fn read(reader: &mut Reader<'_>) -> Vec<ConfigStatement> {
    let mut building = Building::default();
    while let Some(line) = reader.next() {
        let tokens = tokens(&line, reader.sink);
        building.line(tokens, reader.sink);
    }
    building.finish(reader.sink)
}

#[derive(Default)]
struct Building {
    /// Statements outside of blocks, then the statements of each open block, from the outermost.
    levels: Vec<Vec<ConfigStatement>>,
    /// Statements whose blocks are open.
    open: Vec<ConfigStatement>,
    words: Vec<SourceWord>,
    /// Number of open braces beyond the maximum depth.
    lost: usize,
    told: bool,
}

impl Building {
    fn level(&mut self) -> &mut Vec<ConfigStatement> {
        let needed = self.open.len() + 1;
        while self.levels.len() < needed {
            self.levels.push(Vec::new());
        }
        &mut self.levels[needed - 1]
    }

    fn line(&mut self, tokens: Vec<Token>, sink: &mut Sink) {
        for token in tokens {
            match token {
                Token::Word(word) => self.words.push(word),
                Token::Open(place) => self.enter(place, sink),
                Token::Close(place) => {
                    self.statement(sink);
                    self.leave(place, sink);
                }
            }
        }
        self.statement(sink);
    }

    /// Ends a statement without a block at the end of its line.
    fn statement(&mut self, sink: &mut Sink) {
        let words = std::mem::take(&mut self.words);
        let Some(first) = words.first() else { return };
        if !self.open.is_empty() && keyword::is_block_of_the_top(&first.text) {
            self.close_all(first, sink);
        }
        self.level().push(ConfigStatement { words, block: None });
    }

    fn enter(&mut self, place: Span, sink: &mut Sink) {
        self.statement(sink);
        if self.open.len() >= DEPTH_MAX {
            self.lost += 1;
            if !std::mem::replace(&mut self.told, true) {
                sink.push(Diagnostic::error(
                    &codes::TOO_LARGE,
                    place,
                    format!("blocks are nested more than {DEPTH_MAX} deep"),
                ));
            }
            return;
        }
        let level = self.level();
        let node = match level.last() {
            Some(last) if last.block.is_none() => level.pop().unwrap_or_default(),
            _ => {
                sink.push(
                    Diagnostic::error(&codes::BAD_BRACE, place, "'{' without a keyword before it")
                        .label("a block needs a keyword"),
                );
                ConfigStatement::default()
            }
        };
        self.open.push(ConfigStatement {
            block: Some(StatementBlock {
                nodes: Vec::new(),
                open: place,
            }),
            ..node
        });
        self.level().clear();
    }

    fn leave(&mut self, place: Span, sink: &mut Sink) {
        if self.lost > 0 {
            self.lost -= 1;
            return;
        }
        if self.open.is_empty() {
            sink.push(
                Diagnostic::error(&codes::BAD_BRACE, place, "'}' without a '{' before it")
                    .label("no block is open here"),
            );
            return;
        }
        self.close();
    }

    fn close(&mut self) {
        let nodes = std::mem::take(self.level());
        let Some(mut node) = self.open.pop() else {
            return;
        };
        if let Some(block) = &mut node.block {
            block.nodes = nodes;
        }
        self.level().push(node);
    }

    /// Closes all blocks at a keyword that is only legal outside blocks: a brace was forgotten
    /// above.
    fn close_all(&mut self, next: &SourceWord, sink: &mut Sink) {
        for node in &self.open {
            let Some(block) = &node.block else { continue };
            sink.push(
                Diagnostic::error(
                    &codes::UNCLOSED_BLOCK,
                    block.open,
                    format!("the block of '{}' is not closed", node.name()),
                )
                .label("opened here")
                .with_label(next.span, "this is only allowed outside of the block")
                .help("write the missing '}' before that line"),
            );
        }
        while !self.open.is_empty() {
            self.close();
        }
        self.lost = 0;
    }

    fn finish(mut self, sink: &mut Sink) -> Vec<ConfigStatement> {
        for node in self.open.iter().filter(|node| !node.words.is_empty()) {
            let Some(block) = &node.block else { continue };
            sink.push(
                Diagnostic::error(
                    &codes::UNCLOSED_BLOCK,
                    block.open,
                    format!("the block of '{}' is not closed", node.name()),
                )
                .label("opened here, and the configuration ends before its '}'"),
            );
        }
        while !self.open.is_empty() {
            self.close();
        }
        std::mem::take(self.level())
    }
}
