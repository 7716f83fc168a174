//! Writes the statistics page as HTML: HAProxy's table for each proxy, with its columns and
//! colours.

mod attention;
mod confirm;
mod head;
mod layout;
mod line;
mod state;
#[cfg(test)]
mod style;
mod table;
pub(super) mod text;

use super::asked::StatisticsQuery;
use super::column::ColumnSet;
use super::piece::Piece;
use super::process::ProcessSnapshot;
use super::row::{Moment, Row, RowCursor, Selection};
use attention::Attention;
use base64::Engine;
use layout::Widths;
use line::PageRow;
use model::config::{Config, StatsPage};
use std::fmt::Write;

pub use confirm::render as confirm;

pub struct View<'v> {
    pub config: &'v Config,
    pub page: &'v StatsPage,
    pub query: &'v StatisticsQuery,
    pub selection: Selection<'v>,
    pub moment: Moment,
    pub process: &'v ProcessSnapshot,
    pub admin: bool,
    pub console: Option<&'v str>,
}

/// A short page and its security policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Html {
    pub text: String,
    /// `Content-Security-Policy`: permits the page's own styles and script, and forms to its
    /// origin.
    pub policy: String,
}

/// Script that selects all servers of a table at once, and keeps the selection over a
/// refresh. The page also works without it.
const SCRIPT: &str = include_str!("script.js");

fn policy(styles: &[&str]) -> String {
    let hash = |text: &str| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let digest = base64::engine::general_purpose::STANDARD.encode(digest);
        format!(" 'sha256-{digest}'")
    };
    let styles: String = styles.iter().map(|style| hash(style)).collect();
    format!(
        "default-src 'none'; style-src{styles}; script-src{}; img-src data:; \
         form-action 'self'; base-uri 'none'",
        hash(SCRIPT)
    )
}

fn link(page: &StatsPage, words: &str) -> String {
    let uri = String::from_utf8_lossy(&page.uri);
    let mut link = String::new();
    text::escape(&mut link, &uri);
    text::escape(&mut link, words);
    link
}

/// Position in the output of a page. The page begins with data that depends on all rows: the
/// widths of the columns, and the items that need attention. So all rows are walked over twice:
/// [`survey`](PageOutput::survey) collects that data, [`write`](PageOutput::write) produces the
/// rows.
#[derive(Debug, Default)]
pub struct PageOutput {
    rows: RowCursor,
    widths: Widths,
    attention: Attention,
    has_tables: bool,
    has_begun: bool,
}

impl PageOutput {
    /// Examines some rows. Returns false once it has examined all, and the page can be written.
    pub fn survey(&mut self, piece: &mut Piece<'_>, view: &View<'_>) -> bool {
        let all = Selection {
            hide_down: false,
            hide_maintenance: false,
            ..view.selection.clone()
        };
        while piece.has_room() {
            let (widths, attention, out) = (&mut self.widths, &mut self.attention, &mut *piece.out);
            let give = |row: &Row<'_>| {
                attention.note(row, view.moment.state_ms);
                if view.selection.has_state(row) {
                    let form = table::has_form(view, row.proxy);
                    PageRow { view, row, form }.write(out, widths);
                    out.clear();
                }
            };
            let columns = ColumnSet::ALL;
            if !self
                .rows
                .step(view.config, &all, &view.moment, columns, give)
            {
                self.rows = RowCursor::default();
                self.has_tables = view.config.proxies.iter().any(|proxy| all.has_proxy(proxy));
                return false;
            }
        }
        true
    }

    /// Returns the `Content-Security-Policy`, after the survey. It permits the page's own styles
    /// and script, and forms to its origin.
    pub fn policy(&self, view: &View<'_>) -> String {
        policy(&[head::STYLE, &self.widths.style(view.admin)])
    }

    /// Appends the next piece, after the survey; returns whether another one follows.
    pub fn write(&mut self, piece: &mut Piece<'_>, view: &View<'_>) -> bool {
        if !std::mem::replace(&mut self.has_begun, true) {
            let style = self.widths.style(view.admin);
            head::write(piece.out, view, &style, &self.attention);
            if !self.has_tables {
                piece.out.push_str("<p>No proxy of this name.</p>\n");
            }
        }
        while piece.has_room() {
            let out = &mut *piece.out;
            let Some(proxy) = self.rows.proxy(view.config) else {
                end(out, view);
                return false;
            };
            if !view.selection.has_proxy(proxy) {
                self.rows.skip_proxy();
                continue;
            }
            if self.rows.is_at_start() {
                table::begin(out, view, proxy);
            }
            let form = table::has_form(view, proxy);
            // Collects no widths, because the style was already sent.
            let widths = &mut Widths::default();
            let give = |row: &Row<'_>| PageRow { view, row, form }.write(out, widths);
            let columns = ColumnSet::ALL;
            self.rows
                .step(view.config, &view.selection, &view.moment, columns, give);
            if self.rows.is_at_start() {
                table::end(out, view, proxy);
            }
        }
        true
    }
}

fn end(out: &mut String, view: &View<'_>) {
    out.push_str("</main>");
    if view.admin {
        let _ = write!(out, "<script>{SCRIPT}</script>");
    }
    out.push_str("</body></html>\n");
}

impl View<'_> {
    fn link(&self, words: &str) -> String {
        link(self.page, words)
    }
}
