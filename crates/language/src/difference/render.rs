//! Renders a difference between two configurations as text: a line for each section, followed by
//! the changes of its lines. Output beyond the limit is only counted.

use super::{Difference, LineChange, SectionChange, SectionChangeKind, TextChange, TextDifference};
use crate::visible::visible;
use std::fmt::{self, Write};

pub const LINES_SHOWN: usize = 40;

const LINE_CHARS_MAX: usize = 160;

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(LINES_SHOWN))
    }
}

impl Difference {
    /// Returns the difference in at most `lines_max` lines, and a further line with the number of
    /// omitted ones. Each line ends with a line feed.
    pub fn render(&self, lines_max: usize) -> String {
        if self.is_empty() {
            return "nothing changed\n".into();
        }
        let mut page = DiffOutput {
            text: String::new(),
            left: lines_max,
            beyond: 0,
        };
        for section in &self.sections {
            page.section(section);
        }
        for text in &self.texts {
            page.line("", &text_line(text));
        }
        if page.beyond > 0 {
            // Writing to a string cannot fail.
            let _ = writeln!(page.text, "… and {} more", page.beyond);
        }
        page.text
    }
}

struct DiffOutput {
    text: String,
    left: usize,
    beyond: usize,
}

impl DiffOutput {
    fn line(&mut self, mark: &str, line: &str) {
        if self.left == 0 {
            self.beyond += 1;
            return;
        }
        self.left -= 1;
        self.text.push_str(mark);
        let line = visible(line);
        match line.char_indices().nth(LINE_CHARS_MAX) {
            Some((end, _)) => {
                self.text.push_str(&line[..end]);
                self.text.push('…');
            }
            None => self.text.push_str(&line),
        }
        self.text.push('\n');
    }

    fn section(&mut self, section: &SectionChange) {
        let title = match (&*section.kind, &*section.name) {
            ("", _) => "before the first section".to_owned(),
            (kind, "") => kind.to_owned(),
            (kind, name) => format!("{kind} {name}"),
        };
        match &section.change {
            SectionChangeKind::New(0) => self.line("", &format!("{title}: new, empty")),
            SectionChangeKind::New(n) => {
                self.line("", &format!("{title}: new, {}", plural(*n, "line")))
            }
            SectionChangeKind::Gone => self.line("", &format!("{title}: removed")),
            SectionChangeKind::Changed { lines, moved } => {
                self.line("", &format!("{title}: {}", summary(lines, *moved)));
                for line in lines {
                    match line {
                        LineChange::Added(text) => self.line("  + ", text),
                        LineChange::Removed(text) => self.line("  - ", text),
                        LineChange::Changed(text) => self.line("  ~ ", text),
                        LineChange::Moved(text) => self.line("  > ", text),
                    }
                }
            }
        }
    }
}

fn plural(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

fn summary(lines: &[LineChange], moved: bool) -> String {
    let kind = |change: &LineChange| match change {
        LineChange::Added(_) => 0,
        LineChange::Removed(_) => 1,
        LineChange::Changed(_) => 2,
        LineChange::Moved(_) => 3,
    };
    let mut parts: Vec<String> = Vec::new();
    for (n, verb) in ["added", "removed", "changed", "moved"].iter().enumerate() {
        let count = lines.iter().filter(|line| kind(line) == n).count();
        match (count, parts.is_empty()) {
            (0, _) => {}
            (_, true) => parts.push(format!("{} {verb}", plural(count, "line"))),
            (_, false) => parts.push(format!("{count} {verb}")),
        }
    }
    if moved {
        parts.push("moved".into());
    }
    parts.join(", ")
}

fn text_line(text: &TextChange) -> String {
    let what = match text.change {
        // Binary content has no lines.
        TextDifference::New(0) => "new".into(),
        TextDifference::New(n) => format!("new, {}", plural(n, "line")),
        TextDifference::Gone => "no longer used".into(),
        TextDifference::Lines { added, removed: 0 } => format!("{} added", plural(added, "line")),
        TextDifference::Lines { added: 0, removed } => {
            format!("{} removed", plural(removed, "line"))
        }
        TextDifference::Lines { added, removed } => {
            format!("{} added, {removed} removed", plural(added, "line"))
        }
        TextDifference::Reordered => "lines reordered".into(),
        TextDifference::Bytes => "changed".into(),
    };
    format!("{}: {what}", text.name)
}
