//! Removes comments from physical lines, with regard to quotes.

use super::text::Text;

/// Removes a comment: `#` or `!` outside quotes, anywhere in a line.
pub(super) fn without_comment(line: &Text) -> Text {
    let mut quote = 0;
    let mut index = 0;
    while index < line.len() {
        match line.at(index) {
            b'\\' => index += 1,
            b if quote != 0 && b == quote => quote = 0,
            b'"' | b'\'' if quote == 0 => quote = line.at(index),
            b'#' | b'!' if quote == 0 => return line.part(0, index),
            _ => {}
        }
        index += 1;
    }
    line.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::Span;

    #[test]
    fn a_comment_begins_anywhere_but_in_quotes() {
        for (line, kept) in [
            ("a # b", "a "),
            ("a!b", "a"),
            ("router_id a#b", "router_id a"),
            ("x \"a # b\" 'c ! d' # e", "x \"a # b\" 'c ! d' "),
            ("x \\# y", "x \\# y"),
            ("\"it's\" # x", "\"it's\" "),
            ("# all", ""),
        ] {
            let text = Text::of_place(line.as_bytes(), Span::default());
            assert_eq!(without_comment(&text).string(), kept, "{line}");
        }
    }
}
