//! Converts bytes to lines: [`Reader`] returns the logical lines of a configuration one by one,
//! with quotes, escapes, variables, comments and `.if` blocks resolved as HAProxy resolves them.
//! The reader knows no keyword and no section (its caller supplies the name of the section for
//! `.SECTION`), opens no file, and never stops at an error.
//!
//! The caller gets the lines one by one, because a `setenv` in one line changes how the next one
//! is read.

mod condition;
mod directive;
mod facts;
mod fault;
mod lex;
mod scope;

pub use condition::{CONDITION_DEPTH_MAX, ConditionError, ConditionErrorKind, evaluate_condition};
pub use directive::NESTED_MAX;
pub use facts::Facts;
pub use fault::{FaultKind, LexicalError};
pub use lex::{LINE_BYTES_MAX, WORDS_MAX};

use crate::codes;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::environment::Environment;
use crate::source::{FileId, SourceMap, Span};
use crate::token::ConfigLine;
use directive::{Blocks, DirectiveDiagnostics};
use lex::{Lexer, Scope};

/// Returns the end of the last word of a physical line; `None` if an error (an unclosed quote)
/// leaves it undefined, 0 for a line without words.
pub(crate) fn words_end(text: &[u8]) -> Option<usize> {
    let env = Environment::empty();
    let scope = Scope {
        env: &env,
        file_name: "",
        line_number: 0,
        section: "",
    };
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    let mut lexer = Lexer::new(text, FileId(0), 0, &scope);
    lexer.scan();
    let open = lexer.faults.iter().any(|f| f.kind.is_error());
    let end = lexer.words.last().map_or(0, |w| w.span.end as usize);
    (!open).then_some(end)
}

/// Returns the words of a physical line with its variables unexpanded: a NUL precedes the `$` of
/// each variable, and nothing else.
pub(crate) fn written_words(text: &[u8]) -> Vec<Vec<u8>> {
    let words = words_with_ranges(text).into_iter();
    words.map(|(_, word)| word).collect()
}

/// Does the same as [`written_words`], and adds the byte range of each word, quotes included.
pub(crate) fn words_with_ranges(text: &[u8]) -> Vec<(std::ops::Range<usize>, Vec<u8>)> {
    words_of(text, None)
}

pub(crate) fn expanded_words(text: &[u8], environment: &Environment) -> Vec<Vec<u8>> {
    let words = words_of(text, Some(environment)).into_iter();
    words.map(|(_, word)| word).collect()
}

fn words_of(
    text: &[u8],
    environment: Option<&Environment>,
) -> Vec<(std::ops::Range<usize>, Vec<u8>)> {
    let none = Environment::empty();
    let scope = Scope {
        env: environment.unwrap_or(&none),
        file_name: "",
        line_number: 0,
        section: "",
    };
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    let text = &text[..text.len().min(LINE_BYTES_MAX)];
    let mut lexer = Lexer::new(text, FileId(0), 0, &scope);
    lexer.variables = environment.is_some();
    lexer.run();
    let placed = |word: crate::token::ConfigWord| {
        let range = word.span.start as usize..word.span.end as usize;
        (range, word.bytes)
    };
    lexer.words.into_iter().map(placed).collect()
}

/// Reads the files of a configuration, in their order, as a single text. The caller takes one line
/// at a time, so that a `setenv` affects the lines below it, and names the section that each line
/// begins ([`Reader::section`]).
#[derive(Debug)]
pub struct Reader {
    files: Vec<FileId>,
    facts: Facts,
    index: usize,
    /// The start of the current file was processed.
    begun: bool,
    /// The number of the line read last, from 1.
    line_number: u32,
    section: String,
    scope: Option<String>,
    blocks: Blocks,
    recovered: bool,
    nul_told: bool,
    old: bool,
}

/// The byte order mark that some editors write before UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Reader {
    /// Creates a reader at the beginning of the first file. The ids must belong to the
    /// [`SourceMap`] passed to [`Reader::next`].
    pub fn new(files: Vec<FileId>, facts: Facts) -> Self {
        Reader {
            files,
            facts,
            index: 0,
            begun: false,
            line_number: 0,
            section: String::new(),
            scope: None,
            blocks: Blocks::default(),
            recovered: false,
            nul_told: false,
            old: false,
        }
    }

    /// Sets the name of the section that the last line began (its kind, if it has no name);
    /// `"$.SECTION"` expands to it from now on. A new file begins outside any section.
    pub fn section(&mut self, name: impl Into<String>) {
        self.section = name.into();
    }

    /// Marks the file as written for HAProxy before 1.6, where quotes had no meaning: an unmatched
    /// quote is an ordinary byte.
    pub fn is_old(&mut self) {
        self.old = true;
    }

    /// Returns the name of the last `[name]` line of this file, if there was one.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Returns the current file; `None` after the last one.
    pub fn file(&self) -> Option<FileId> {
        self.files.get(self.index).copied()
    }

    /// Returns the number of the line read last, from 1; 0 at the start of a file.
    pub fn line_number(&self) -> u32 {
        self.line_number
    }

    /// Returns whether the last line had a lexical error (which was reported). HAProxy ignores such
    /// a line; this reader returns it as far as it could be read, so that a damaged section line
    /// still begins its section. The caller must not report errors about its other words.
    pub fn recovered(&self) -> bool {
        self.recovered
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns the next line that has words and is not disabled by a condition; `None` at the end
    /// of the last file.
    pub fn next(
        &mut self,
        sources: &SourceMap,
        env: &Environment,
        diagnostics: &mut Diagnostics,
    ) -> Option<ConfigLine> {
        loop {
            let file = self.file()?;
            let source = sources.file(file);
            if !std::mem::replace(&mut self.begun, true) {
                self.begin_file(sources, file, diagnostics);
            }
            let Some((start, end)) = self.physical(sources, file, diagnostics) else {
                self.end_file(sources, diagnostics);
                continue;
            };
            let start = start + blanks(&source.text[start..end]);
            let text = &source.text[start..end];
            let Some(&head) = text.first().filter(|head| **head != b'#') else {
                continue;
            };
            if head == b'[' {
                match scope::scope(text, file, start) {
                    Ok(name) if self.blocks.active() => self.scope = Some(name),
                    Ok(_) => {}
                    Err(told) => diagnostics.push(sources, told),
                }
                continue;
            }
            let scope = Scope {
                env,
                file_name: &source.name,
                line_number: self.line_number,
                section: &self.section,
            };
            let mut lexer = Lexer::new(text, file, start as u32, &scope);
            lexer.run();
            if self.old {
                lexer.without_quotes();
            }
            let Lexer {
                words,
                faults,
                unset,
                ..
            } = lexer;
            self.recovered = faults.iter().any(|f| f.kind.is_error());
            // Reports errors, but no warnings, of a line that is disabled by a condition, as
            // HAProxy does.
            let active = self.blocks.active();
            for fault in faults.iter().filter(|f| active || f.kind.is_error()) {
                diagnostics.push(sources, fault.diagnostic(sources));
            }
            let Some(line) = ConfigLine::of(words, unset) else {
                continue;
            };
            if head == b'.' {
                let mut report = DirectiveDiagnostics {
                    sources,
                    diagnostics,
                    recovered: self.recovered,
                };
                self.blocks.directive(&line, &self.facts, env, &mut report);
            } else if self.blocks.active() {
                return Some(line);
            }
        }
    }

    fn begin_file(&mut self, sources: &SourceMap, file: FileId, diagnostics: &mut Diagnostics) {
        self.section.clear();
        self.scope = None;
        self.nul_told = false;
        if sources.file(file).text.starts_with(BYTE_ORDER_MARK) {
            let span = Span {
                file,
                start: 0,
                end: BYTE_ORDER_MARK.len() as u32,
            };
            let diagnostic = Diagnostic::error(
                &codes::BYTE_ORDER_MARK,
                span,
                "the file begins with a byte order mark",
            )
            .label("three invisible bytes")
            .help("save the file as UTF-8 without a byte order mark")
            .fix(span, "");
            diagnostics.push(sources, diagnostic);
        }
    }

    fn end_file(&mut self, sources: &SourceMap, diagnostics: &mut Diagnostics) {
        self.blocks.end_file(sources, diagnostics);
        self.index += 1;
        self.begun = false;
        self.line_number = 0;
        self.section.clear();
    }

    /// Returns the relevant bytes of the next line: without its line feed, without the bytes after
    /// a NUL, without a byte order mark. Reports errors that concern the whole line.
    fn physical(
        &mut self,
        sources: &SourceMap,
        file: FileId,
        diagnostics: &mut Diagnostics,
    ) -> Option<(usize, usize)> {
        let source = sources.file(file);
        let (mut start, mut end, has_feed) = source.line(self.line_number as usize)?;
        self.line_number += 1;
        if self.line_number == 1 && source.text.starts_with(BYTE_ORDER_MARK) {
            start += BYTE_ORDER_MARK.len();
        }
        let at = |start: usize, end: usize| Span {
            file,
            start: start as u32,
            end: end as u32,
        };
        if !has_feed {
            diagnostics.push(sources, fault::missing_line_feed(at(end, end)));
        }
        if end - start > LINE_BYTES_MAX {
            end = start + LINE_BYTES_MAX;
            let fault = LexicalError {
                kind: FaultKind::TooLong,
                span: at(start, start + 1),
            };
            diagnostics.push(sources, fault.diagnostic(sources));
        }
        if source.text[start..end].contains(&0) {
            let nul = source.text[start..end].iter().position(|b| *b == 0);
            let cut = nul.map_or(end, |n| start + n);
            if !std::mem::replace(&mut self.nul_told, true) {
                diagnostics.push(sources, fault::nul_byte(at(cut, cut + 1)));
            }
            end = cut;
        }
        Some((start, end))
    }
}

/// Returns the length of the white space at the start of a line. Before the first word a carriage
/// return is ordinary white space.
fn blanks(text: &[u8]) -> usize {
    let is_blank = |b: &&u8| lex::is_space(**b) || **b == b'\r';
    text.iter().take_while(is_blank).count()
}

#[cfg(test)]
mod tests;
