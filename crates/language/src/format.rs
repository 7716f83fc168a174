//! Implements `evenkeel fmt`, which changes only the layout of a file. Sections begin at the left
//! margin, keywords are indented by four spaces, and a blank line precedes every section; words,
//! quotes, comments and the order of lines never change. (Only the value of `"$.LINE"` can
//! change, when lines move.)

use crate::reader::words_end;

const INDENT: &[u8] = b"    ";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LineKind {
    Blank,
    Comment,
    /// `.if` and similar directives except `.endif`; the following line belongs to it.
    Opening,
    Closing,
    Section,
    Keyword,
}

struct Row<'a> {
    kind: LineKind,
    text: &'a [u8],
    indented: bool,
}

/// Formats a file. `begins` receives the first word of each line, and whether the line is indented,
/// and returns whether the line begins a section (`Outline::begins_section`). Formatting a
/// formatted file changes nothing.
pub fn format(text: &[u8], mut begins: impl FnMut(&str, bool) -> bool) -> Vec<u8> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let rows: Vec<Row<'_>> = text
        .split(|b| *b == b'\n')
        .map(|line| row(line, &mut begins))
        .collect();
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    // Kind of the last written row. The initial value treats the start of the file like the row
    // after a blank line.
    let mut last = LineKind::Blank;
    for (n, row) in rows.iter().enumerate() {
        if row.kind == LineKind::Blank {
            // Writes a blank line only if a row follows, so that none is written at the end of the
            // file.
            let follows = rows
                .get(n + 1)
                .is_some_and(|next| next.kind != LineKind::Blank);
            if last != LineKind::Blank && follows {
                out.push(b'\n');
                last = LineKind::Blank;
            }
            continue;
        }
        let heads = row.kind == LineKind::Comment && last != LineKind::Comment
            || row.kind == LineKind::Section;
        let section = heads && below(&rows[n..]).is_some_and(|r| r.kind == LineKind::Section);
        let attached = matches!(last, LineKind::Blank | LineKind::Opening)
            || row.kind == LineKind::Section && last == LineKind::Comment;
        if section && !attached {
            out.push(b'\n');
        }
        if indented(&rows[n..]) {
            out.extend_from_slice(INDENT);
        }
        out.extend_from_slice(row.text);
        out.push(b'\n');
        last = row.kind;
    }
    out
}

/// Returns the first row that is not a comment, if no blank line precedes it.
fn below<'r, 'a>(rows: &'r [Row<'a>]) -> Option<&'r Row<'a>> {
    rows.iter()
        .find(|row| row.kind != LineKind::Comment)
        .filter(|row| row.kind != LineKind::Blank)
}

/// Returns whether the first of the rows is indented. A comment is indented like the row directly
/// below it. Without such a row it keeps its indentation.
fn indented(rows: &[Row<'_>]) -> bool {
    match rows.first().map(|row| row.kind) {
        Some(LineKind::Keyword) => true,
        Some(LineKind::Comment) => match below(rows) {
            Some(row) => row.kind == LineKind::Keyword,
            None => rows[0].indented,
        },
        _ => false,
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)
}

fn row<'a>(line: &'a [u8], begins: &mut impl FnMut(&str, bool) -> bool) -> Row<'a> {
    let start = line
        .iter()
        .position(|b| !is_space(*b) && *b != b'\r')
        .unwrap_or(line.len());
    let trimmed = &line[start..];
    // Removes trailing white space, except white space of a word: an escaped space, or all of it
    // after an unclosed quote.
    let bare = trimmed
        .iter()
        .rposition(|b| !is_space(*b) && *b != b'\r')
        .map_or(0, |last| last + 1);
    let text = match words_end(trimmed) {
        Some(end) => &trimmed[..bare.max(end)],
        None => trimmed,
    };
    let kind = match text.first() {
        None => LineKind::Blank,
        // Treats a scope (`[…]`) like the first line of a section.
        Some(b'[') => LineKind::Section,
        Some(b'#') => LineKind::Comment,
        Some(b'.') => {
            if text.starts_with(b".endif") {
                LineKind::Closing
            } else {
                LineKind::Opening
            }
        }
        Some(_) => {
            let end = text
                .iter()
                .position(|b| is_space(*b) || matches!(b, b'#' | b'\r' | 0))
                .unwrap_or(text.len());
            let word = std::str::from_utf8(&text[..end]).unwrap_or("");
            if begins(word, start > 0) {
                LineKind::Section
            } else {
                LineKind::Keyword
            }
        }
    };
    Row {
        kind,
        text,
        indented: start > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::environment::Environment;
    use crate::reader::{Facts, Reader};
    use crate::source::SourceMap;
    use proptest::prelude::*;

    fn is_section(word: &str, _indented: bool) -> bool {
        ["global", "defaults", "frontend", "backend", "listen"].contains(&word)
    }

    fn formatted(text: &str) -> String {
        String::from_utf8(format(text.as_bytes(), is_section)).unwrap()
    }

    #[test]
    fn a_file_gets_its_layout_and_keeps_its_words() {
        let before = "\n\n# top\n\n\n  global\r\n\tdaemon   \n maxconn  100 # many  \n# of users\nuser 'a  b'  x\\ y\\ \n\n\n\
             # the web\n#  itself\nfrontend web\nbind :80\n   # old\n\n.if feature(OPENSSL)\n    bind :443 ssl\n  .endif\n\
             backend x\n server a 1.2.3.4:80\n  # server b\n\n\n listen y\n mode tcp";
        let after = "# top\n\nglobal\n    daemon\n    maxconn  100 # many\n    # of users\n    user 'a  b'  x\\ y\\ \n\n\
             # the web\n#  itself\nfrontend web\n    bind :80\n    # old\n\n.if feature(OPENSSL)\n    bind :443 ssl\n.endif\n\n\
             backend x\n    server a 1.2.3.4:80\n    # server b\n\nlisten y\n    mode tcp\n";
        assert_eq!(formatted(before), after);
        assert_eq!(formatted(after), after);
    }

    #[test]
    fn a_section_inside_a_condition_stays_with_it() {
        let text = "global\n.if 1\nfrontend a\n.else\n# note\nfrontend b\n.endif\nbackend c\n";
        let after = "global\n.if 1\nfrontend a\n.else\n# note\nfrontend b\n.endif\n\nbackend c\n";
        assert_eq!(formatted(text), after);
    }

    #[test]
    fn what_is_broken_is_left_as_it_is() {
        assert_eq!(formatted("a 'open  \n"), "    a 'open  \n");
        assert_eq!(formatted(""), "");
        assert_eq!(formatted("\n \n\t\r\n"), "");
        assert_eq!(formatted("\u{feff}global"), "global\n");
        assert_eq!(formatted("a \\"), "    a \\\n");
    }

    fn lines(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let mut sources = SourceMap::default();
        let file = sources.add("x", text.to_vec());
        let mut reader = Reader::new(vec![file], Facts::new("2.6"));
        let mut env = Environment::empty();
        env.set("A", "one two");
        let mut diagnostics = Diagnostics::default();
        let mut lines = Vec::new();
        while let Some(line) = reader.next(&sources, &env, &mut diagnostics) {
            lines.push(line.words.into_iter().map(|w| w.bytes).collect());
        }
        lines
    }

    /// The pieces of the generated lines, the frequent ones several times.
    const PIECES: &[&str] = &[
        "\n",
        "\n",
        "\n",
        "\n",
        " ",
        " ",
        " ",
        "\t",
        "\r",
        "\0",
        "\x0b",
        "#",
        "\"",
        "'",
        "\\",
        "\\ ",
        "\"${A[*]}\"",
        "\"${A-\" b\"}\"",
        "$A",
        "\u{feff}",
        "é",
        "x",
        "global",
        "global",
        "\nfrontend f\n",
        "\nfrontend f\n",
        "\n# c\n",
        "\n# c\n",
        "\n.if 1\n",
        "\n.endif\n",
        "\n.if 0\n",
        "\n.else\n",
        "bind :80",
        "\n\n\n",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn formatting_changes_no_word_and_is_done_once(
            pieces in proptest::collection::vec(
                proptest::sample::select(PIECES),
                0..40,
            )
        ) {
            let text = pieces.concat().into_bytes();
            let once = format(&text, is_section);
            prop_assert_eq!(lines(&text), lines(&once), "{}", once.escape_ascii());
            let twice = format(&once, is_section);
            prop_assert_eq!(once.escape_ascii().to_string(), twice.escape_ascii().to_string());
        }
    }
}
