//! Defines the columns of the tables on the statistics page. They are equally wide for every
//! proxy, so that the numbers of different proxies are aligned.

use std::fmt::Write;

struct ColumnHeading {
    /// Heading that this column shares with its neighbours.
    group: &'static str,
    label: &'static str,
    meaning: &'static str,
    class: &'static str,
}

const fn head(group: &'static str, label: &'static str, meaning: &'static str) -> ColumnHeading {
    ColumnHeading {
        group,
        label,
        meaning,
        class: "",
    }
}

const fn placed(head: ColumnHeading, class: &'static str) -> ColumnHeading {
    ColumnHeading { class, ..head }
}

/// Number of columns in the tables of frontends and listeners.
pub const OF_CLIENTS: usize = 14;
pub const ALL: usize = 31;
/// Number of columns whose head spans both header rows: the name and the status.
const SINGLE: usize = 2;

#[rustfmt::skip]
const HEADS: [ColumnHeading; ALL] = [
    placed(head("", "Name", ""), " class=\"n\""),
    head("", "Status", ""),
    head("Session rate", "Cur", "Sessions per second now"),
    head("Session rate", "Max", "Most sessions per second"),
    head("Session rate", "Limit", "Limit of sessions per second"),
    head("Sessions", "Cur", "Sessions now"),
    head("Sessions", "Max", "Most sessions at one time"),
    head("Sessions", "Limit", "Limit of sessions at one time"),
    head("Sessions", "Total", "All sessions"),
    head("Bytes", "In", "Bytes from clients"),
    head("Bytes", "Out", "Bytes to clients"),
    head("Denied", "Req", "Requests that a rule denied"),
    head("Denied", "Resp", "Responses that a rule denied"),
    head("Errors", "Req", "Invalid or incomplete requests"),
    head("Errors", "Conn", "Failed connections to servers"),
    head("Errors", "Resp", "Invalid or incomplete responses"),
    head("Warnings", "Retr", "Retried connections"),
    head("Warnings", "Redis", "Requests sent to another server"),
    head("Queue", "Cur", "Requests in the queue"),
    head("Queue", "Max", "Most requests in the queue"),
    head("Queue", "Limit", "Limit of the queue"),
    placed(head("Checks", "LastChk", "The last health check"), " class=\"c\""),
    head("Checks", "Chk", "Failed health checks"),
    head("Checks", "Dwn", "How often it went down"),
    head("Checks", "Dwntme", "Time that it was down"),
    head("Balancing", "LbTot", "How often load balancing chose it"),
    head("Balancing", "Last", "Time since the last session"),
    head("Balancing", "Wght", "Weight now and as configured"),
    head("Balancing", "Act", "Active servers"),
    head("Balancing", "Bck", "Backup servers"),
    head("Balancing", "Thrtle", "Share of its weight while a server warms up"),
];

/// Width of a digit. All widths are in tenths of a digit, including a margin.
const DIGIT: usize = 11;
/// Width of a letter in regular type.
const LETTER: usize = 10;
/// Width of a letter in a label, which is in small type.
const SMALL: usize = 10;
/// Width of a letter in bold type, with capitals.
const BOLD: usize = 12;
/// Width of the gap between groups of digits.
const GAP: usize = 4;
const PADDING: usize = 8;
const CHECKBOX: usize = 36;
/// Maximum width of the name, the status and the last check; longer texts are wrapped.
const WIDTH_MAX: usize = 264;

/// Required width of each column, in tenths of a digit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Widths([usize; ALL]);

impl Default for Widths {
    fn default() -> Widths {
        let mut widths = HEADS.each_ref().map(|head| head.label.len() * SMALL);
        // Makes room for the name of the group in the last column of a frontend's table, which is
        // the only column of its group there.
        widths[OF_CLIENTS - 1] = HEADS[OF_CLIENTS - 1].group.len() * SMALL;
        Widths(widths)
    }
}

impl Widths {
    fn note(&mut self, column: usize, width: usize) {
        if let Some(known) = self.0.get_mut(column) {
            *known = width.min(WIDTH_MAX).max(*known);
        }
    }

    /// Returns the CSS rules for these widths: of each column, and of a frontend's table in
    /// relation to a full table, with or without checkboxes.
    pub fn style(&self, checkboxes: bool) -> String {
        let first = if checkboxes { CHECKBOX } else { 0 };
        let with_padding = self.0.map(|width| width + PADDING);
        let sum = |some: &[usize]| first + some.iter().sum::<usize>();
        let (clients, all) = (
            sum(with_padding.get(..OF_CLIENTS).unwrap_or_default()),
            sum(&with_padding),
        );
        let share = clients * 10_000 / all;
        let mut style = format!(".f table{{width:{}.{:02}%}}", share / 100, share % 100);
        let named = (0..).map(|n: usize| n.to_string()).zip(with_padding);
        for (name, width) in [("k".to_owned(), first)].into_iter().chain(named) {
            // Ignores the result, because writing to a String cannot fail.
            let _ = write!(style, ".w{name}{{width:{}.{}ch}}", width / 10, width % 10);
        }
        style
    }
}

/// Appends the columns and headings of a table. `checkbox`: the content of an additional first
/// column; without it, the name takes the space that checkboxes have in other tables.
pub fn heads(out: &mut String, columns: usize, checkbox: Option<&str>, other_has: bool) {
    out.push_str("<colgroup>");
    if other_has {
        out.push_str("<col class=\"wk\">");
    }
    for column in 0..columns {
        let _ = write!(out, "<col class=\"w{column}\">");
    }
    out.push_str("</colgroup><thead><tr>");
    out.push_str(checkbox.unwrap_or_default());
    let heads = HEADS.get(..columns).unwrap_or_default();
    let (single, rest) = heads.split_at_checked(SINGLE).unwrap_or((heads, &[]));
    for (at, head) in single.iter().enumerate() {
        let room = at == 0 && other_has && checkbox.is_none();
        let span = if room { " colspan=\"2\"" } else { "" };
        let ColumnHeading { label, class, .. } = head;
        let _ = write!(
            out,
            "<th scope=\"col\" rowspan=\"2\"{span}{class}>{label}</th>"
        );
    }
    for group in rest.chunk_by(|one, next| one.group == next.group) {
        let (name, count) = (group.first().map_or("", |head| head.group), group.len());
        let _ = write!(
            out,
            "<th scope=\"colgroup\" colspan=\"{count}\">{name}</th>"
        );
    }
    out.push_str("</tr>\n<tr>");
    for ColumnHeading {
        label,
        meaning,
        class,
        ..
    } in rest
    {
        let _ = write!(
            out,
            "<th scope=\"col\" title=\"{meaning}\"{class}>{label}</th>"
        );
    }
    out.push_str("</tr></thead>\n<tbody>");
}

/// Cells of a row, from left to right.
pub struct Cells<'o> {
    pub out: &'o mut String,
    widths: &'o mut Widths,
    column: usize,
}

impl<'o> Cells<'o> {
    pub fn new(out: &'o mut String, widths: &'o mut Widths) -> Cells<'o> {
        Cells {
            out,
            widths,
            column: 0,
        }
    }

    /// Moves to the next column. The text of the current one has this many characters in bold
    /// type.
    pub fn bold(&mut self, characters: usize) {
        self.widths.note(self.column, characters * BOLD);
        self.column += 1;
    }

    /// Moves to the next column. The text of the current one has this many characters in regular
    /// type.
    pub fn letters(&mut self, characters: usize) {
        self.widths.note(self.column, characters * LETTER);
        self.column += 1;
    }

    /// Moves to the next column. The current one contains this number.
    pub fn digits(&mut self, n: u64) {
        let digits = n.checked_ilog10().unwrap_or(0) as usize + 1;
        let width = digits * DIGIT + (digits - 1) / 3 * GAP;
        self.widths.note(self.column, width);
        self.column += 1;
    }

    pub fn skip(&mut self, columns: usize) {
        self.column += columns;
        match columns {
            0 => {}
            1 => self.out.push_str("<td></td>"),
            _ => {
                let _ = write!(self.out, "<td colspan=\"{columns}\"></td>");
            }
        }
    }

    /// Leaves the remaining columns of a table with this many columns empty.
    pub fn end(&mut self, columns: usize) {
        self.skip(columns.saturating_sub(self.column));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_wide_as_its_widest_cell_in_any_table() {
        let (mut out, mut widths) = (String::new(), Widths::default());
        for n in [7, 1_234_567, 12] {
            let mut cells = Cells::new(&mut out, &mut widths);
            cells.bold(4);
            cells.letters(200);
            cells.digits(n);
        }
        assert_eq!(widths.0[0], 4 * BOLD);
        assert_eq!(widths.0[1], WIDTH_MAX, "a longer one is broken");
        assert_eq!(widths.0[2], 7 * DIGIT + 2 * GAP);
        assert_eq!(widths.0[3], 3 * SMALL, "no cell: its label");
        let style = widths.style(true);
        let width = 7 * DIGIT + 2 * GAP + PADDING;
        let rule = format!(".w2{{width:{}.{}ch}}", width / 10, width % 10);
        assert!(style.contains(&rule), "{style}");
    }

    #[test]
    fn heads_of_frontends_are_those_of_all_without_the_last_ones() {
        let of = |columns| {
            let mut out = String::new();
            heads(&mut out, columns, None, false);
            let labels = out.split("<th scope=\"col\"").skip(1);
            let labels = labels.filter_map(|head| head.split(['>', '<']).nth(1));
            labels.map(str::to_owned).collect::<Vec<_>>()
        };
        let (clients, all) = (of(OF_CLIENTS), of(ALL));
        assert_eq!((clients.len(), all.len()), (OF_CLIENTS, ALL));
        assert_eq!(clients, all[..OF_CLIENTS]);
        assert_eq!(clients.last().map(String::as_str), Some("Req"));
    }
}
