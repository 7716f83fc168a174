//! Renders diagnostics for a terminal: the line, an underline, the expected input, the
//! correction.

use super::{count, severity_name, visible, visible_diagnostics, without_secrets};
use crate::diagnostic::{Diagnostic, Diagnostics, Fix, Severity};
use crate::difference::{Vocabulary, starred};
use crate::source::{FileId, SourceMap, Span};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet,
};
use std::borrow::Cow;
use std::ops::Range;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RenderOptions {
    pub color: bool,
    pub unicode: bool,
    pub width: usize,
    /// Shows diagnostics that are only for `-dD`.
    pub diag: bool,
}

impl Default for RenderOptions {
    /// Returns the style for a file or a pipe.
    fn default() -> Self {
        RenderOptions {
            color: false,
            unicode: false,
            width: 140,
            diag: false,
        }
    }
}

/// Maximum length of a line that is shown, in bytes; for longer ones only the position is shown.
const LINE_SHOWN_MAX: usize = 16 << 10;

/// Maximum distance, in bytes, of two positions that are shown together.
const TOGETHER_MAX: usize = 64 << 10;

/// Returns all diagnostics, followed by their number.
pub fn full(sources: &SourceMap, diagnostics: &Diagnostics, look: &RenderOptions) -> String {
    let mut text = String::new();
    let mut example: Option<Cow<'_, Diagnostic>> = None;
    for d in visible_diagnostics(sources, diagnostics, look.diag) {
        text += &render_diagnostic(sources, &d, look);
        text += "\n\n";
        // Keeps the first diagnostic of the highest severity as the example: an error that refuses
        // the file comes before a warning.
        if d.severity >= Severity::Warning
            && example.as_ref().is_none_or(|e| d.severity > e.severity)
        {
            example = Some(d);
        }
    }
    let count = count(diagnostics);
    if let (Some(code), false) = (example.map(|d| d.code.id), count.is_empty()) {
        text += &count;
        if diagnostics.dropped() > 0 {
            text += &format!(" ({} not shown)", diagnostics.dropped());
        }
        text += &format!("; see `evenkeel explain {code}`\n");
    }
    text
}

/// Returns one diagnostic, without a trailing line feed.
pub fn render_diagnostic(sources: &SourceMap, d: &Diagnostic, look: &RenderOptions) -> String {
    let d = &*without_secrets(sources, d);
    let level = match d.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Notice | Severity::Diag => Level::INFO.with_name(severity_name(d.severity)),
    };
    let windows = windows(sources, d);
    let title = level.primary_title(visible(&d.message)).id(d.code.id);
    let mut group = Group::with_title(title);
    for window in &windows {
        group = match &window.text {
            None => {
                let at = sources.position(window.places[0].0);
                group.element(
                    Origin::path(visible(window.name))
                        .line(at.line as usize)
                        .char_column(at.column as usize),
                )
            }
            Some(text) => {
                let snippet = Snippet::source(text.as_str())
                    .path(visible(window.name))
                    .line_start(window.line)
                    .annotations(window.annotations(text));
                group.element(snippet)
            }
        };
    }
    for note in &d.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    let fixes = d.fix.iter().chain(&d.further_fixes);
    let patch = patched(sources, &fixes.collect::<Vec<_>>());
    let mut groups = Vec::new();
    match (&d.help, &patch) {
        (Some(help), None) => {
            groups.push(group.element(Level::HELP.message(visible(help))));
        }
        (None, None) => groups.push(group),
        (help, Some(patch)) => {
            groups.push(group);
            let title = help.as_deref().unwrap_or("write this instead");
            let snippet = Snippet::source(patch.text.as_str())
                .line_start(patch.line)
                .patches(
                    patch
                        .changes
                        .iter()
                        .map(|(span, with)| Patch::new(span.clone(), with.as_str())),
                );
            groups.push(Level::HELP.secondary_title(visible(title)).element(snippet));
        }
    }
    let renderer = if look.color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let decor = if look.unicode {
        DecorStyle::Unicode
    } else {
        DecorStyle::Ascii
    };
    renderer
        .decor_style(decor)
        .term_width(look.width.max(40))
        .render(&groups)
}

struct Window<'a> {
    file: FileId,
    name: &'a str,
    line: usize,
    bytes: Range<usize>,
    /// `None` if the text is too long to show.
    text: Option<String>,
    /// The position, its label, and whether it is the primary one.
    places: Vec<(Span, &'a str, bool)>,
}

impl Window<'_> {
    fn annotations<'t>(&self, text: &str) -> Vec<Annotation<'t>>
    where
        Self: 't,
    {
        self.places
            .iter()
            .map(|(span, label, primary)| {
                let kind = if *primary {
                    AnnotationKind::Primary
                } else {
                    AnnotationKind::Context
                };
                let annotation = kind.span(inside(text, self.bytes.start, *span));
                if label.is_empty() {
                    annotation
                } else {
                    annotation.label(visible(label).into_owned())
                }
            })
            .collect()
    }
}

/// Returns the lines that contain the positions, those of the primary one first.
fn windows<'a>(sources: &'a SourceMap, d: &'a Diagnostic) -> Vec<Window<'a>> {
    let primary = d.primary.map(|span| (span, d.label.as_str(), true));
    let secondary = d
        .secondary
        .iter()
        .map(|(span, label)| (*span, label.as_str(), false));
    let mut windows: Vec<Window<'a>> = Vec::new();
    for place in primary.into_iter().chain(secondary) {
        let lines = lines_of(sources, place.0);
        let near = windows.iter_mut().find(|w| {
            let start = w.bytes.start.min(lines.start);
            let end = w.bytes.end.max(lines.end);
            w.file == place.0.file && end - start <= TOGETHER_MAX
        });
        match near {
            Some(window) => {
                window.bytes.start = window.bytes.start.min(lines.start);
                window.bytes.end = window.bytes.end.max(lines.end);
                window.places.push(place);
            }
            None => windows.push(Window {
                file: place.0.file,
                name: &sources.file(place.0.file).name,
                line: 0,
                bytes: lines,
                text: None,
                places: vec![place],
            }),
        }
    }
    for window in &mut windows {
        let start = Span {
            file: window.file,
            start: window.bytes.start as u32,
            end: window.bytes.start as u32,
        };
        window.line = sources.position(start).line as usize;
        let bytes = &sources.file(window.file).text[window.bytes.clone()];
        if bytes
            .split(|b| *b == b'\n')
            .all(|line| line.len() <= LINE_SHOWN_MAX)
        {
            window.text = Some(text_of(&if sources.file(window.file).is_secret {
                stars(bytes)
            } else {
                quoted(bytes, sources.vocabulary())
            }));
        }
    }
    windows
}

/// Returns the bytes of the whole lines that a span touches, without the last line feed.
fn lines_of(sources: &SourceMap, span: Span) -> Range<usize> {
    let text = &sources.file(span.file).text;
    let start = (span.start as usize).min(text.len());
    let end = (span.end as usize).clamp(start, text.len());
    let first = text[..start]
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |n| n + 1);
    // Excludes the next line for a span that ends after a line feed.
    let last = if end > start { end - 1 } else { end };
    let last = text[last..]
        .iter()
        .position(|b| *b == b'\n')
        .map_or(text.len(), |n| last + n);
    first..last.max(first)
}

/// Returns the lines of a file in which everything is secret, with the same length.
fn stars(bytes: &[u8]) -> Vec<u8> {
    let star = |byte: &u8| {
        if byte.is_ascii_whitespace() {
            *byte
        } else {
            b'*'
        }
    };
    bytes.iter().map(star).collect()
}

/// Returns lines without their secrets, with the same length.
fn quoted(bytes: &[u8], vocabulary: &Vocabulary<'_>) -> Vec<u8> {
    let lines = bytes
        .split(|b| *b == b'\n')
        .map(|line| starred(line, vocabulary));
    lines.collect::<Vec<_>>().join(&b'\n')
}

/// Converts bytes to text of the same length, so that spans stay valid. Carriage returns from
/// Windows are hidden.
fn text_of(bytes: &[u8]) -> String {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() {
        if bytes[at] == b'\r' && matches!(bytes.get(at + 1), None | Some(b'\n')) {
            bytes[at] = b' ';
        }
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            // Escapes C1 control characters, too, which have two bytes each and which some
            // terminals interpret.
            match c {
                '\u{80}'..='\u{9f}' => text.push_str("??"),
                c => text.push(c),
            }
        }
        text.extend(std::iter::repeat_n('?', chunk.invalid().len()));
    }
    text
}

/// Returns a span in the text that begins at byte `base` of the file, extended to character
/// boundaries.
fn inside(text: &str, base: usize, span: Span) -> Range<usize> {
    let clamp = |at: u32| (at as usize).saturating_sub(base).min(text.len());
    let mut start = clamp(span.start);
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = clamp(span.end).max(start);
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// The lines that a fix changes.
struct Patched {
    text: String,
    line: usize,
    changes: Vec<(Range<usize>, String)>,
}

/// Returns the lines that the fixes of one error change together, if they can be shown. An added
/// line feed and invisible bytes cannot.
fn patched(sources: &SourceMap, fixes: &[&Fix]) -> Option<Patched> {
    let first = fixes.first()?.span;
    if fixes.iter().any(|fix| fix.span.file != first.file) {
        return None;
    }
    let whole = fixes.iter().fold(first, |whole, fix| Span {
        start: whole.start.min(fix.span.start),
        end: whole.end.max(fix.span.end),
        ..whole
    });
    let lines = lines_of(sources, whole);
    if lines.len() > LINE_SHOWN_MAX {
        return None;
    }
    let bytes = &sources.file(first.file).text[lines.clone()];
    let text = text_of(&quoted(bytes, sources.vocabulary()));
    let unseen = |c: char| c.is_control() || c == '\u{feff}';
    let mut changes = Vec::new();
    for fix in fixes {
        if fix.replacement.chars().any(|c| c.is_control() && c != '\n') {
            return None;
        }
        let span = inside(&text, lines.start, fix.span);
        let removed_unseen = text[span.clone()].chars().all(unseen);
        if fix.replacement.trim().is_empty() && removed_unseen {
            return None;
        }
        // Indents an inserted line, which belongs to the section of the line before it.
        let with = match fix.replacement.strip_prefix('\n') {
            Some(line) => format!("\n    {line}"),
            None => fix.replacement.clone(),
        };
        changes.push((span, with));
    }
    let line = sources.position(Span {
        start: lines.start as u32,
        ..first
    });
    Some(Patched {
        text,
        line: line.line as usize,
        changes,
    })
}
