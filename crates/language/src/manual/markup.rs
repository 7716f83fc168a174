//! Parses the subset of Markdown used in the texts of keywords, codes and chapters: paragraphs,
//! lists, fenced blocks, `code` and **strong** words. Parsed once, and formatted for a terminal
//! or as HTML.

/// Minimum width for formatting, in columns; narrower terminals break the lines themselves.
const WIDTH_MIN: usize = 40;

/// Maximum width that is easy to read, in columns.
pub(super) const WIDTH_MAX: usize = 100;

/// A block of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum MarkupBlock {
    Paragraph(String),
    List(Vec<String>),
    Fenced(String),
}

pub(super) fn blocks(markdown: &str) -> Vec<MarkupBlock> {
    let mut blocks = Vec::new();
    let mut fenced: Option<String> = None;
    let mut open = false;
    for line in markdown.trim().lines() {
        let trimmed = line.trim();
        if trimmed.starts_with("```") {
            match fenced.take() {
                Some(text) => blocks.push(MarkupBlock::Fenced(text)),
                None => fenced = Some(String::new()),
            }
            open = false;
        } else if let Some(text) = &mut fenced {
            text.push_str(line.trim_end());
            text.push('\n');
        } else if trimmed.is_empty() {
            open = false;
        } else if let Some(point) = trimmed.strip_prefix("- ") {
            match blocks.last_mut() {
                Some(MarkupBlock::List(points)) if open => points.push(words(point)),
                _ => blocks.push(MarkupBlock::List(vec![words(point)])),
            }
            open = true;
        } else {
            match blocks.last_mut() {
                Some(MarkupBlock::Paragraph(text)) if open => {
                    text.push(' ');
                    text.push_str(&words(trimmed));
                }
                Some(MarkupBlock::List(points)) if open => {
                    if let Some(point) = points.last_mut() {
                        point.push(' ');
                        point.push_str(&words(trimmed));
                    }
                }
                _ => blocks.push(MarkupBlock::Paragraph(words(trimmed))),
            }
            open = true;
        }
    }
    blocks.extend(fenced.map(MarkupBlock::Fenced));
    blocks
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn terminal(markdown: &str, width: usize) -> String {
    let width = width.clamp(WIDTH_MIN, WIDTH_MAX);
    let mut text = String::new();
    for block in blocks(markdown) {
        if !text.is_empty() {
            text.push('\n');
        }
        match block {
            MarkupBlock::Paragraph(words) => flow(&mut text, &words, width, ["", ""]),
            MarkupBlock::List(points) => {
                for point in points {
                    flow(&mut text, &point, width, ["  - ", "    "]);
                }
            }
            MarkupBlock::Fenced(lines) => {
                for line in lines.lines() {
                    if !line.is_empty() {
                        text += "    ";
                    }
                    text += line;
                    text.push('\n');
                }
            }
        }
    }
    text
}

/// Breaks words into lines; the first line begins with `begin[0]`, the others with `begin[1]`.
fn flow(text: &mut String, words: &str, width: usize, begin: [&str; 2]) {
    text.push_str(begin[0]);
    let mut column = begin[0].len();
    let mut first = true;
    for word in words.split(' ') {
        let length = word.chars().count();
        if !first && column + 1 + length > width {
            text.push('\n');
            text.push_str(begin[1]);
            column = begin[1].len();
            first = true;
        }
        if !first {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
        first = false;
    }
    text.push('\n');
}

/// Escapes the characters that are special in HTML, also within attribute values.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// Formats a text as HTML; `link` returns the target of a code word.
pub(super) fn html(markdown: &str, link: &dyn Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    for block in blocks(markdown) {
        match block {
            MarkupBlock::Paragraph(words) => text += &format!("<p>{}</p>\n", inline(&words, link)),
            MarkupBlock::List(points) => {
                text += "<ul>\n";
                for point in points {
                    text += &format!("<li>{}</li>\n", inline(&point, link));
                }
                text += "</ul>\n";
            }
            MarkupBlock::Fenced(lines) => {
                text += &format!("<pre><code>{}</code></pre>\n", escaped(&lines));
            }
        }
    }
    text
}

/// Formats words with their code and strong parts. An unclosed mark stays as written.
fn inline(words: &str, link: &dyn Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    let mut rest = words;
    while let Some(at) = rest.find(['`', '*']) {
        let (before, from) = rest.split_at(at);
        text += &escaped(before);
        let mark = if from.starts_with("**") { "**" } else { "`" };
        let closed = from
            .strip_prefix(mark)
            .and_then(|inner| inner.split_once(mark));
        match closed {
            Some((inner, after)) if mark == "`" => {
                let code = format!("<code>{}</code>", escaped(inner));
                text += &match link(inner) {
                    Some(target) => format!("<a href=\"{}\">{code}</a>", escaped(&target)),
                    None => code,
                };
                rest = after;
            }
            Some((inner, after)) => {
                text += &format!("<strong>{}</strong>", escaped(inner));
                rest = after;
            }
            None => {
                text += &escaped(&from[..1]);
                rest = &from[1..];
            }
        }
    }
    text + &escaped(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn paragraphs_lists_and_blocks_are_told_apart() {
        let text = "One\n  two.\n\n- a\n  b\n- c\n\n```\n  kept <\n\n```\nThree.";
        assert_eq!(
            blocks(text),
            [
                MarkupBlock::Paragraph("One two.".into()),
                MarkupBlock::List(vec!["a b".into(), "c".into()]),
                MarkupBlock::Fenced("  kept <\n\n".into()),
                MarkupBlock::Paragraph("Three.".into()),
            ]
        );
        assert_eq!(
            terminal(text, 80),
            "One two.\n\n  - a b\n  - c\n\n      kept <\n\n\nThree.\n"
        );
        assert_eq!(blocks("```\nopen"), [MarkupBlock::Fenced("open\n".into())]);
    }

    #[test]
    fn lines_break_at_the_width() {
        let text = terminal("- aaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbb cccccccc", 40);
        assert_eq!(
            text,
            "  - aaaaaaaaaaaaaaaaaaaa\n    bbbbbbbbbbbbbbbbbbbb cccccccc\n"
        );
    }

    #[test]
    fn nothing_of_a_text_becomes_html_by_itself() {
        let link = |name: &str| (name == "acl").then(|| "rules.html#acl".to_owned());
        for (markdown, want) in [
            ("a <b> & \"c\"", "<p>a &lt;b&gt; &amp; &quot;c&quot;</p>\n"),
            (
                "`acl` and `<x>`",
                "<p><a href=\"rules.html#acl\"><code>acl</code></a> and <code>&lt;x&gt;</code></p>\n",
            ),
            ("**so** 2*3 `open", "<p><strong>so</strong> 2*3 `open</p>\n"),
            (
                "- `a`\n- **",
                "<ul>\n<li><code>a</code></li>\n<li>**</li>\n</ul>\n",
            ),
            ("```\n<i>\n```", "<pre><code>&lt;i&gt;\n</code></pre>\n"),
        ] {
            assert_eq!(html(markdown, &link), want, "{markdown}");
        }
        assert_eq!(html("", &nowhere), "");
    }
}
