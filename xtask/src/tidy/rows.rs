//! Reads the rows of a Markdown table whose first cell is a name in code style.

/// A row of a table: ``| `name` | cell | … |``.
#[derive(Debug)]
pub(super) struct NamedRow<'a> {
    /// Line of the row, from 1.
    pub line: usize,
    pub name: &'a str,
    /// Cells after the name, and an empty text after the last bar.
    pub cells: Vec<&'a str>,
}

/// Returns the rows of all tables of a page.
pub(super) fn rows(text: &str) -> impl Iterator<Item = NamedRow<'_>> {
    text.lines().enumerate().filter_map(|(at, line)| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        Some(NamedRow {
            line: at + 1,
            name: cells.next()?.trim_end_matches('`'),
            cells: cells.collect(),
        })
    })
}
