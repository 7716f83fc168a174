//! The statistics page for people: HAProxy's table per proxy with its columns
//! and colours. It is one pass over the rows; nothing here knows of requests.

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

use super::asked::Asked;
use super::process::Process;
use super::row::{Moment, Selection};
use base64::Engine;
use layout::Widths;
use model::config::{Config, StatsPage};
use std::fmt::Write;

pub use confirm::render as confirm;

/// What the page is made from.
pub struct View<'v> {
    /// The configuration.
    pub config: &'v Config,
    /// The page's settings.
    pub page: &'v StatsPage,
    /// What was asked for.
    pub asked: &'v Asked,
    /// Which rows are wanted.
    pub selection: Selection<'v>,
    /// The moment.
    pub moment: Moment,
    /// The process.
    pub process: &'v Process,
    /// Whether who asks may change servers.
    pub admin: bool,
    /// Where the browser finds the web console.
    pub console: Option<&'v str>,
}

/// A page, and what it may do in a browser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Html {
    /// The page.
    pub text: String,
    /// Its `Content-Security-Policy`: its own styles and script, forms to where it came
    /// from, and nothing else.
    pub policy: String,
}

/// Checks all servers of a table at once, and keeps checked boxes over a refresh. Without
/// it the page works, too.
const SCRIPT: &str = include_str!("script.js");

/// What a page with these styles may do.
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

/// A link to a page with other words.
fn link(page: &StatsPage, words: &str) -> String {
    let uri = String::from_utf8_lossy(&page.uri);
    let mut link = String::new();
    text::escape(&mut link, &uri);
    text::escape(&mut link, words);
    link
}

/// Bytes that a row of the page takes about.
const ROW_BYTES: usize = 2100;
/// Bytes of the rest of a page without proxies, and of a proxy without rows.
const FRAME_BYTES: usize = 14_000;
const PROXY_BYTES: usize = 1500;

impl View<'_> {
    /// The whole page.
    pub fn render(&self) -> Html {
        let proxies = || {
            self.config
                .proxies
                .iter()
                .filter(|proxy| self.selection.has_proxy(proxy))
        };
        let rows: usize = proxies().map(|p| p.servers.len() + p.binds.len() + 2).sum();
        let bytes = proxies().count() * PROXY_BYTES + rows * ROW_BYTES;
        let (mut tables, mut widths) = (String::with_capacity(bytes), Widths::default());
        for proxy in proxies() {
            table::write(&mut tables, &mut widths, self, proxy);
        }
        let mut out = String::with_capacity(FRAME_BYTES + tables.len());
        // How wide the columns are is known only now.
        let style = widths.style(self.admin);
        head::write(&mut out, self, &style);
        if tables.is_empty() {
            out.push_str("<p>No proxy of this name.</p>\n");
        }
        out.push_str(&tables);
        out.push_str("</main>");
        if self.admin {
            let _ = write!(out, "<script>{SCRIPT}</script>");
        }
        out.push_str("</body></html>\n");
        Html {
            policy: policy(&[head::STYLE, &style]),
            text: out,
        }
    }

    /// A link to this page with other words.
    fn link(&self, words: &str) -> String {
        link(self.page, words)
    }
}
