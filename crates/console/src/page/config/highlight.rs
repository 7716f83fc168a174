//! Highlights the syntax of a configuration line: keyword, strings, masked secrets and comment.
//! Words are split as the configuration language does; nothing is checked.

use maud::{Markup, html};
use part::versions::COVER;

/// Part of a line for highlighting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum HighlightKind {
    /// The first word, if it begins a section.
    Section,
    /// The first word of any other line.
    Keyword,
    Quoted,
    Comment,
    Plain,
}

impl HighlightKind {
    fn class(self) -> Option<&'static str> {
        match self {
            HighlightKind::Section => Some("k sec"),
            HighlightKind::Keyword => Some("k"),
            HighlightKind::Quoted => Some("q"),
            HighlightKind::Comment => Some("c"),
            HighlightKind::Plain => None,
        }
    }
}

pub(super) fn line(text: &str) -> Markup {
    html! {
        @for (kind, part) in parts(text) {
            @match kind.class() {
                Some(class) => span class=(class) { (covers(part)) },
                None => (covers(part)),
            }
        }
    }
}

fn covers(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split(COVER).enumerate() {
            @if at > 0 { span.cover title="a secret, not shown" { (COVER) } }
            (super::super::words::clean(part).replace("\\t", "\t"))
        }
    }
}

fn parts(text: &str) -> Vec<(HighlightKind, &str)> {
    let indent = text.len() - text.trim_start().len();
    let (blank, words) = text.split_at(indent);
    let length = words.find(char::is_whitespace).unwrap_or(words.len());
    let (keyword, rest) = if words.starts_with('#') {
        ("", words)
    } else {
        words.split_at(length)
    };
    let kind = if indent == 0 {
        HighlightKind::Section
    } else {
        HighlightKind::Keyword
    };
    let mut all = vec![(HighlightKind::Plain, blank), (kind, keyword)];
    behind(rest, &mut all);
    all.retain(|(_, part)| !part.is_empty());
    all
}

fn behind<'t>(text: &'t str, all: &mut Vec<(HighlightKind, &'t str)>) {
    let (mut begin, mut quote, mut escaped) = (0, None, false);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match (quote, c) {
            (None | Some('"'), '\\') => escaped = true,
            (None, '"' | '\'') => {
                all.push((HighlightKind::Plain, part(begin, at)));
                (quote, begin) = (Some(c), at);
            }
            (Some(open), c) if open == c => {
                all.push((HighlightKind::Quoted, part(begin, at + 1)));
                (quote, begin) = (None, at + 1);
            }
            (None, '#') => {
                all.push((HighlightKind::Plain, part(begin, at)));
                return all.push((HighlightKind::Comment, part(at, text.len())));
            }
            _ => {}
        }
    }
    let kind = if quote.is_some() {
        HighlightKind::Quoted
    } else {
        HighlightKind::Plain
    };
    all.push((kind, part(begin, text.len())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_into_its_parts_and_loses_nothing() {
        use HighlightKind::{Comment, Keyword, Plain, Quoted, Section};
        for (text, expected) in [
            ("", vec![]),
            ("global", vec![(Section, "global")]),
            (
                "  server a 1.2.3.4 # x \"y\"",
                vec![
                    (Plain, "  "),
                    (Keyword, "server"),
                    (Plain, " a 1.2.3.4 "),
                    (Comment, "# x \"y\""),
                ],
            ),
            ("# all", vec![(Comment, "# all")]),
            (
                "  acl a path \"#\\\"b\" '#' \\# c",
                vec![
                    (Plain, "  "),
                    (Keyword, "acl"),
                    (Plain, " a path "),
                    (Quoted, "\"#\\\"b\""),
                    (Plain, " "),
                    (Quoted, "'#'"),
                    (Plain, " \\# c"),
                ],
            ),
            ("x \"é", vec![(Section, "x"), (Plain, " "), (Quoted, "\"é")]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
            let whole: String = parts(text).iter().map(|(_, part)| *part).collect();
            assert_eq!(whole, text);
        }
    }

    #[test]
    fn markup_in_a_line_is_text() {
        let drawn = line("  http-request deny # <script>\"***\"").into_string();
        assert!(!drawn.contains("<script>"), "{drawn}");
        assert!(drawn.contains("class=\"cover\""), "{drawn}");
    }
}
