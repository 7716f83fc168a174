//! Renders each diagnostic as one line.

use super::{severity_name, visible, visible_diagnostics};
use crate::diagnostic::Diagnostics;
use crate::source::SourceMap;

/// Returns `file:line:column: error[E0101]: message (help)` for each diagnostic, on separate lines.
pub fn concise(sources: &SourceMap, diagnostics: &Diagnostics, diag: bool) -> String {
    let mut text = String::new();
    for d in visible_diagnostics(sources, diagnostics, diag) {
        if let Some(span) = d.primary {
            let at = sources.position(span);
            let name = &sources.file(span.file).name;
            text += &format!("{}:{}:{}: ", visible(name), at.line, at.column);
        }
        text += &format!(
            "{}[{}]: {}",
            severity_name(d.severity),
            d.code.id,
            visible(&d.message)
        );
        if let Some(help) = &d.help {
            text += &format!(" ({})", visible(help));
        }
        text.push('\n');
    }
    text
}
