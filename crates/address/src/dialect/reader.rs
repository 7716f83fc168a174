//! Returns the lines of a configuration one by one. Comments, `@word` conditions, definitions,
//! variables, sequences and includes are already resolved in them.

use super::expand::{Fixed, LINE_BYTES_MAX, MADE_BYTES_MAX, Replaced, Variables, definition};
use super::files::{self, IncludeChecks};
use super::loader::Sink;
use super::outside::Outside;
use super::plain::without_comment;
use super::sequence;
use super::text::{Text, is_space};
use crate::codes;
use language::{Diagnostic, FileId, SourceMap, Span, suggest};
use std::path::{Path, PathBuf};

/// Maximum number of lines, including those that variables and sequences produce.
const LINES_MAX: usize = 1 << 20;
/// Maximum nesting depth of files, sequences and variables.
const DEPTH_MAX: usize = 100;
/// Maximum number of files of a configuration.
const FILES_MAX: usize = 4096;

/// Source of the next lines.
enum LineSource {
    File {
        id: FileId,
        line: usize,
        directory: PathBuf,
        checks: IncludeChecks,
    },
    /// Remaining lines of a variable.
    Lines(std::vec::IntoIter<Text>),
    /// A line that is read once for each value.
    Loop {
        names: Vec<String>,
        values: std::vec::IntoIter<Vec<Text>>,
        rest: Text,
    },
}

/// Reader of a configuration's lines.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a mut SourceMap,
    pub(super) outside: &'a mut dyn Outside,
    pub(super) sink: &'a mut Sink,
    config_id: String,
    frames: Vec<LineSource>,
    variables: Variables,
    lines: usize,
    /// Bytes that variables and sequences have produced.
    made: usize,
    opened: usize,
    /// Files that were read or searched for.
    pub(super) files: Vec<PathBuf>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        sources: &'a mut SourceMap,
        outside: &'a mut dyn Outside,
        sink: &'a mut Sink,
        config_id: String,
        given: &[FileId],
    ) -> Reader<'a> {
        let mut reader = Reader {
            sources,
            outside,
            sink,
            config_id,
            frames: Vec::new(),
            variables: Variables::default(),
            lines: 0,
            made: 0,
            opened: 0,
            files: Vec::new(),
        };
        for id in given.iter().rev() {
            let name = PathBuf::from(&reader.sources.file(*id).name);
            let directory = name.parent().map(Path::to_owned).unwrap_or_default();
            reader.enter(*id, directory, IncludeChecks::default());
        }
        reader
    }

    fn enter(&mut self, id: FileId, directory: PathBuf, checks: IncludeChecks) {
        self.opened += 1;
        self.frames.push(LineSource::File {
            id,
            line: 0,
            directory,
            checks,
        });
    }

    /// Returns the next line with a keyword or a brace; None at the end.
    pub(super) fn next(&mut self) -> Option<Text> {
        loop {
            let (line, of_file) = self.raw()?;
            let line = line.trim();
            if line.is_empty() || (of_file && self.include(&line)) {
                continue;
            }
            let (line, wanted) = self.condition(&line);
            if line.is_empty() {
                continue;
            }
            if let Some((name, value)) = definition(&line) {
                let lines = self.value(&line, value);
                if wanted {
                    self.variables.set(&name, lines);
                }
                continue;
            }
            if !wanted {
                continue;
            }
            if let Some(head) = sequence::head(&line) {
                self.sequence(&line, head);
                continue;
            }
            match self.replace(&line) {
                Replaced::Lines(lines) => {
                    self.made += lines.iter().map(Text::len).sum::<usize>();
                    self.push(LineSource::Lines(lines.into_iter()), line.place());
                }
                Replaced::TooLong => self.too_large(
                    line.place(),
                    "this line is too long with its variables expanded: a line has 65536 bytes at most",
                ),
                Replaced::Unchanged => {
                    self.undefined(&line);
                    self.include_check(&line);
                    self.seed(&line);
                    return Some(line);
                }
            }
        }
    }

    /// Returns the next raw line without its comment, and whether it comes from a file.
    fn raw(&mut self) -> Option<(Text, bool)> {
        self.lines += 1;
        if self.lines > LINES_MAX {
            let place = self.place();
            self.too_large(place, "the configuration has more than 1048576 lines");
            self.frames.clear();
        }
        if self.made > MADE_BYTES_MAX {
            let place = self.place();
            let what = "variables and sequences expand to more than 8388608 bytes";
            self.too_large(place, what);
            self.frames.clear();
        }
        loop {
            match self.frames.last_mut()? {
                LineSource::File { id, line, .. } => {
                    let id = *id;
                    let index = *line;
                    *line += 1;
                    let source = self.sources.file(id);
                    if let Some((start, end, _)) = source.line(index) {
                        let text = source.text.clone();
                        return Some((self.physical(id, &text, start, end), true));
                    }
                }
                LineSource::Lines(lines) => {
                    if let Some(line) = lines.next() {
                        return Some((line, false));
                    }
                }
                LineSource::Loop {
                    names,
                    values,
                    rest,
                } => {
                    if let Some(turn) = values.next() {
                        for (name, value) in names.iter().zip(turn) {
                            self.variables.set(name, vec![value]);
                        }
                        self.made += rest.len();
                        return Some((rest.clone(), false));
                    }
                }
            }
            self.frames.pop();
        }
    }

    fn physical(&mut self, file: FileId, text: &[u8], start: usize, end: usize) -> Text {
        let place = |start: usize, end: usize| Span {
            file,
            start: start as u32,
            end: end as u32,
        };
        let mut end = end;
        if end - start > LINE_BYTES_MAX {
            self.too_large(
                place(start, start + 80),
                "a line is longer than 65536 bytes",
            );
            end = start + LINE_BYTES_MAX;
        }
        let bytes = text.get(start..end).unwrap_or_default();
        if let Some(zero) = bytes.iter().position(|b| *b == 0) {
            let at = start + zero;
            let what = "the file contains a zero byte";
            self.sink.push(Diagnostic::error(
                &codes::BAD_VALUE,
                place(at, at + 1),
                what,
            ));
        }
        without_comment(&Text::of_file(bytes, place(start, end)))
    }

    fn place(&self) -> Span {
        for frame in self.frames.iter().rev() {
            if let LineSource::File { id, line, .. } = frame {
                let found = self.sources.file(*id).line(line.saturating_sub(1));
                let (start, end, _) = found.unwrap_or_default();
                return Span {
                    file: *id,
                    start: start as u32,
                    end: end as u32,
                };
            }
        }
        Span::default()
    }

    fn too_large(&mut self, place: Span, what: &str) {
        self.sink
            .push(Diagnostic::error(&codes::TOO_LARGE, place, what));
    }

    fn push(&mut self, frame: LineSource, place: Span) {
        if self.frames.len() < DEPTH_MAX {
            self.frames.push(frame);
            return;
        }
        let message = "variables, sequences or files are nested more than 100 deep";
        self.sink.push(
            Diagnostic::error(&codes::TOO_LARGE, place, message)
                .help("look for a variable that refers to itself, or a file that includes itself"),
        );
    }

    /// Returns the line without its condition `@word`, and whether the line applies to this
    /// machine.
    fn condition(&mut self, line: &Text) -> (Text, bool) {
        if line.at(0) != b'@' {
            return (line.clone(), true);
        }
        let not = line.at(1) == b'^';
        let start = 1 + usize::from(not);
        let rest = line.bytes().get(start..).unwrap_or_default();
        let end = start + rest.iter().take_while(|b| !is_space(**b)).count();
        let word = line.part(start, end).string();
        let wanted = (word == self.config_id) != not;
        (line.from(end).trim(), wanted)
    }

    /// Reads the lines of a value. A backslash at the end of a line continues the value on the next
    /// line.
    fn value(&mut self, line: &Text, start: usize) -> Vec<Text> {
        let mut lines = Vec::new();
        let mut line = line.from(start).trim();
        while !line.is_empty() && line.at(line.len() - 1) == b'\\' {
            let text = line.part(0, line.len() - 1).trim();
            if !text.is_empty() {
                lines.push(text);
            }
            line = loop {
                match self.raw() {
                    None => break Text::default(),
                    Some((next, _)) if next.trim().is_empty() => {}
                    Some((next, _)) => break next.trim(),
                }
            };
        }
        if !line.is_empty() || lines.is_empty() {
            lines.push(line);
        }
        lines
    }

    fn replace(&mut self, line: &Text) -> Replaced {
        let directory = self.frames.iter().rev().find_map(|f| match f {
            LineSource::File { directory, .. } => Some(directory.clone()),
            _ => None,
        });
        let mut fixed = Fixed {
            directory: &directory.unwrap_or_default(),
            config_id: &self.config_id,
            outside: &mut *self.outside,
        };
        self.variables.replace(line, &mut fixed)
    }

    fn undefined(&mut self, line: &Text) {
        for (name, place) in self.variables.undefined(line) {
            let near = suggest::nearest(&name, self.variables.names()).map(|n| format!("${{{n}}}"));
            self.sink.push(
                Diagnostic::warning(
                    &codes::UNDEFINED_VARIABLE,
                    place,
                    format!("the variable '{name}' is not defined, so the text is not changed"),
                )
                .did_you_mean(place, near.as_deref()),
            );
        }
    }

    fn sequence(&mut self, line: &Text, head: &str) {
        let found = sequence::close(line, head.len()).and_then(|close| {
            let arguments = line.part(head.len() + 1, close);
            let arguments = match self.replace(&arguments) {
                Replaced::Lines(mut lines) if lines.len() == 1 => lines.remove(0),
                _ => arguments,
            };
            Ok((sequence::read(head, &arguments)?, close))
        });
        match found {
            Ok((sequence, close)) => {
                let frame = LineSource::Loop {
                    names: sequence.names,
                    values: sequence.values.into_iter(),
                    rest: line.from(close + 1).trim(),
                };
                self.push(frame, line.place());
            }
            Err(fault) => self.sink.push(
                Diagnostic::error(
                    &codes::BAD_SEQUENCE,
                    line.span(
                        0,
                        sequence::close(line, head.len()).map_or(head.len(), |c| c + 1),
                    ),
                    format!("invalid '{head}': {}", fault.words()),
                )
                .help("write it as ~SEQ(NAME, start, step, end) or ~LST(NAME, value, value)"),
            ),
        }
    }

    /// Handles `include_check`, which changes how later includes of its file are checked.
    fn include_check(&mut self, line: &Text) {
        let line = line.string();
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("include_check") {
            return;
        }
        let words: Vec<&str> = words.collect();
        for frame in self.frames.iter_mut().rev() {
            if let LineSource::File { checks, .. } = frame {
                checks.change(&words);
                return;
            }
        }
    }

    /// Handles `random_seed`, which applies to the lines below it.
    fn seed(&mut self, line: &Text) {
        let line = line.string();
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("random_seed") {
            return;
        }
        // Ignores a value that is not a number, which the parser of keywords reports.
        if let Some(seed) = words.next().and_then(|word| word.parse().ok()) {
            self.outside.seed(seed);
        }
    }

    /// Handles an `include` line; returns false if the line is not one.
    fn include(&mut self, line: &Text) -> bool {
        let bytes = line.bytes();
        let end = bytes.iter().take_while(|b| !is_space(**b)).count();
        let Some(more) = files::variant(&line.part(0, end).string()) else {
            return false;
        };
        let Some(LineSource::File {
            directory, checks, ..
        }) = self.frames.last()
        else {
            return false;
        };
        let (directory, inherited) = (directory.clone(), *checks);
        let pattern = line.from(end).trim();
        let place = pattern.place();
        let written = files::unquoted(&pattern.string());
        if written.is_empty() {
            let what = "'include' needs a file name";
            self.sink
                .push(Diagnostic::error(&codes::MISSING_VALUE, line.place(), what));
            return true;
        }
        let found = files::expand(&directory, &written, self.outside);
        self.report(&found, &written, inherited.with(more), place);
        for path in found.paths.into_iter().rev() {
            self.open(path, inherited, inherited.with(more), place);
        }
        true
    }

    fn report(
        &mut self,
        found: &files::MatchedFiles,
        written: &str,
        checks: IncludeChecks,
        place: Span,
    ) {
        let strict = checks.refuses(found);
        if found.missing.is_empty() && !found.paths.is_empty() {
            return;
        }
        if found.wild && !strict {
            return;
        }
        self.files.extend(found.missing.iter().cloned());
        let message = format!("no file found for 'include {written}'");
        let diagnostic = if strict {
            Diagnostic::error(&codes::NO_INCLUDE, place, message)
        } else {
            Diagnostic::warning(&codes::INCLUDE_MISSING, place, message)
                .help("use 'includea' to make this an error, or 'include_check' for all includes")
        };
        self.sink.push(diagnostic);
    }

    fn open(
        &mut self,
        path: PathBuf,
        inherited: IncludeChecks,
        checks: IncludeChecks,
        place: Span,
    ) {
        if self.opened >= FILES_MAX || self.frames.len() >= DEPTH_MAX {
            return self.too_large(
                place,
                "the configuration includes more than 4096 files, or more than 100 deep",
            );
        }
        self.files.push(path.clone());
        match self.outside.read(&path) {
            Ok(bytes) => {
                let id = self.sources.add(path.display().to_string(), bytes);
                let directory = path.parent().map(Path::to_owned).unwrap_or_default();
                self.enter(id, directory, inherited);
            }
            Err(error) => {
                let message = format!(
                    "cannot read the included file '{}': {error}",
                    path.display()
                );
                let diagnostic = if checks.readable {
                    Diagnostic::error(&codes::NO_INCLUDE, place, message)
                } else {
                    Diagnostic::warning(&codes::INCLUDE_MISSING, place, message)
                };
                self.sink.push(diagnostic);
            }
        }
    }
}
