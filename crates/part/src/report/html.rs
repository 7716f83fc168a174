//! Renders a report as a section of the statistics page.

use super::{Grade, StatusReport, Subject};
use std::fmt::Write;

impl StatusReport {
    /// Writes a section with a row for each subject of a kind: name, state, time in that state, and
    /// one column for each of `columns`: a fact, a number, or a kind of children. Writes nothing if
    /// there is no such subject.
    pub fn html(&self, out: &mut String, title: &str, kind: &str, columns: &[&str]) {
        if self.of_kind(kind).next().is_none() {
            return;
        }
        out.push_str("<section><div class=\"name\"><b>");
        escape(out, title);
        out.push_str("</b></div><div class=\"scroll\"><table>\n<thead><tr>");
        for column in ["name", "state", "for"].iter().chain(columns) {
            out.push_str("<th scope=\"col\">");
            let mut letters = column.chars();
            out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
            escape(out, letters.as_str());
            out.push_str("</th>");
        }
        out.push_str("</tr></thead><tbody>\n");
        for subject in self.of_kind(kind) {
            self.row_to(out, subject, columns);
        }
        out.push_str("</tbody></table></div></section>\n");
    }

    fn row_to(&self, out: &mut String, subject: &Subject, columns: &[&str]) {
        let class = class(subject.state.grade);
        // Ignores the result: writing to a String cannot fail.
        let _ = write!(out, "<tr class=\"{class}\"><th scope=\"row\">");
        escape(out, &subject.name);
        out.push_str("</th><td class=\"c st\">");
        escape(out, &subject.state.word);
        if !subject.why.is_empty() {
            out.push_str(", ");
            escape(out, &subject.why);
        }
        out.push_str("</td><td class=\"c\">");
        escape(out, &self.since(subject).unwrap_or_default());
        out.push_str("</td>");
        for column in columns {
            if let Some(value) = subject.value(column) {
                let _ = write!(out, "<td>{value}</td>");
                continue;
            }
            let words = subject.words(column).unwrap_or_else(|| {
                let names = subject.of_kind(column).map(|child| child.name.as_str());
                names.collect::<Vec<_>>().join(" ")
            });
            out.push_str("<td class=\"c\">");
            escape(out, &words);
            out.push_str("</td>");
        }
        out.push_str("</tr>\n");
    }
}

/// Returns the CSS class of a row: the colours are those of a server that is up, a backup,
/// draining, down, or not checked.
fn class(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "active_up",
        Grade::Standby => "backup_up",
        Grade::Busy => "active_draining",
        Grade::Bad => "active_down",
        Grade::Unknown => "active_no_check",
    }
}

pub fn escape(out: &mut String, text: &str) {
    let special = |b: &u8| b"<>&\"'".contains(b);
    let mut rest = text;
    while let Some(at) = rest.as_bytes().iter().position(special) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'&' => "&amp;",
            b'"' => "&quot;",
            _ => "&#39;",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}
