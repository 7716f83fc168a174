//! Writes the statistics in the formats for programs: CSV, typed lines, JSON and its schema.

use super::column::{ALL, COLUMNS, Column, ColumnSet, FIRST_MODULE, Tags};
use super::piece::Piece;
use super::row::{ColumnValue, Moment, Object, Row, RowCursor, Selection};
use model::config::Config;
use std::fmt::Write;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    #[default]
    Csv,
    Typed,
    /// Typed lines, each value with its meaning.
    TypedMeaning,
    Json,
}

/// Position in the output of all selected rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RowsOutput {
    format: Format,
    rows: RowCursor,
    has_begun: bool,
    has_rows: bool,
}

impl RowsOutput {
    pub fn new(format: Format) -> RowsOutput {
        RowsOutput {
            format,
            ..RowsOutput::default()
        }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// Appends the next piece; returns whether another one follows.
    pub fn write(
        &mut self,
        piece: &mut Piece<'_>,
        config: &Config,
        selection: &Selection<'_>,
        moment: &Moment,
    ) -> bool {
        let format = self.format;
        if !std::mem::replace(&mut self.has_begun, true) {
            match format {
                Format::Csv => csv_header(piece.out),
                Format::Json => piece.out.push('['),
                Format::Typed | Format::TypedMeaning => {}
            }
        }
        while piece.has_room() {
            let (out, has_rows) = (&mut *piece.out, &mut self.has_rows);
            let give = |row: &Row<'_>| match format {
                Format::Csv => csv_row(out, row),
                Format::Typed | Format::TypedMeaning => {
                    typed_row(out, row, format == Format::TypedMeaning);
                }
                Format::Json => {
                    if std::mem::replace(has_rows, true) {
                        out.push(',');
                    }
                    json_row(out, row);
                }
            };
            let columns = ColumnSet::ALL;
            if !self.rows.step(config, selection, moment, columns, give) {
                if format == Format::Json {
                    piece.out.push_str("]\n");
                }
                return false;
            }
        }
        true
    }
}

pub fn csv_header(out: &mut String) {
    out.push_str("# ");
    for (at, column) in COLUMNS.iter().enumerate() {
        if at == FIRST_MODULE as usize {
            out.push_str("-,");
        }
        out.push_str(column.name);
        out.push(',');
    }
    out.push('\n');
}

fn csv_row(out: &mut String, row: &Row<'_>) {
    for column in ALL {
        if *column == FIRST_MODULE {
            out.push_str("-,");
        }
        csv_value(out, row.get(*column));
        out.push(',');
    }
    out.push('\n');
}

fn csv_value(out: &mut String, value: &ColumnValue<'_>) {
    let ColumnValue::Text(text) = value else {
        return plain(out, value);
    };
    if !text.contains([',', '"', '\n', '\r']) {
        return out.push_str(text);
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\"\""),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends a value without any quoting. Writing to a string cannot fail.
pub fn plain(out: &mut String, value: &ColumnValue<'_>) {
    let _ = match value {
        ColumnValue::Empty => Ok(()),
        ColumnValue::U32(n) => write!(out, "{n}"),
        ColumnValue::U64(n) => write!(out, "{n}"),
        ColumnValue::S32(n) => write!(out, "{n}"),
        ColumnValue::Text(text) => write!(out, "{text}"),
    };
}

pub fn type_name(value: &ColumnValue<'_>) -> &'static str {
    match value {
        ColumnValue::Empty => "",
        ColumnValue::U32(_) => "u32",
        ColumnValue::U64(_) => "u64",
        ColumnValue::S32(_) => "s32",
        ColumnValue::Text(_) => "str",
    }
}

/// Returns the tags of a value. In the row of a backend, session rates and numbers of servers are
/// gauges of the process.
fn tags(row: &Row<'_>, column: Column) -> Tags {
    match (&row.object, column) {
        (Object::Backend, Column::Act | Column::Bck | Column::Rate | Column::RateMax) => {
            Tags("MGP")
        }
        _ => column.row().tags,
    }
}

fn object(row: &Row<'_>) -> (char, &'static str) {
    match row.object {
        Object::Frontend => ('F', "Frontend"),
        Object::Backend => ('B', "Backend"),
        Object::Server(..) => ('S', "Server"),
        Object::Listener(_) => ('L', "Listener"),
    }
}

fn present<'r, 'c>(row: &'r Row<'c>) -> impl Iterator<Item = (Column, &'r ColumnValue<'c>)> {
    ALL.iter()
        .map(|column| (*column, row.get(*column)))
        .filter(|(_, v)| **v != ColumnValue::Empty)
}

fn typed_row(out: &mut String, row: &Row<'_>, meaning: bool) {
    let letter = object(row).0;
    for (column, value) in present(row) {
        let (proxy, id, place) = (row.proxy.id, row.id(), column as usize);
        let described = column.row();
        let _ = write!(
            out,
            "{letter}.{proxy}.{id}.{place}.{}.1:{}:{}:",
            described.name,
            tags(row, column).0,
            type_name(value)
        );
        plain(out, value);
        if meaning {
            let _ = write!(out, ":\"{}\"", described.meaning);
        }
        out.push('\n');
    }
}

fn json_row(out: &mut String, row: &Row<'_>) {
    let kind = object(row).1;
    out.push('[');
    for (n, (column, value)) in present(row).enumerate() {
        if n > 0 {
            out.push(',');
        }
        let _ = write!(
            out,
            "{{\"objType\":\"{kind}\",\"proxyId\":{},\"id\":{},",
            row.proxy.id,
            row.id()
        );
        json_field(
            out,
            column as usize,
            column.row().name,
            tags(row, column),
            value,
        );
    }
    out.push(']');
}

/// Appends a field of a row or of `show info`, and ends its JSON object.
pub fn json_field(out: &mut String, place: usize, name: &str, tags: Tags, value: &ColumnValue<'_>) {
    let _ = write!(
        out,
        "\"field\":{{\"pos\":{place},\"name\":\"{name}\"}},\"processNum\":1,\"tags\":{{\
         \"origin\":\"{}\",\"nature\":\"{}\",\"scope\":\"{}\"}},\
         \"value\":{{\"type\":\"{}\",\"value\":",
        tags.origin(),
        tags.nature(),
        tags.scope(),
        type_name(value)
    );
    match value {
        ColumnValue::Text(text) => json_text(out, text),
        number => plain(out, number),
    }
    out.push_str("}}");
}

fn json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Schema of the JSON of rows and of `show info` (JSON Schema, draft 4).
pub const SCHEMA: &str = include_str!("schema.json");
