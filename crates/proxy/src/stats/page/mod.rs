//! The statistics page: HAProxy's table per proxy with its columns and colours. The page is
//! created in one pass over the rows, independently of requests.

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
use super::process::ProcessSnapshot;
use super::row::{Moment, Selection};
use base64::Engine;
use layout::Widths;
use model::config::{Config, StatsPage};
use std::fmt::Write;

pub use confirm::render as confirm;

/// Data for the page.
pub struct View<'v> {
    pub config: &'v Config,
    pub page: &'v StatsPage,
    pub query: &'v StatisticsQuery,
    pub selection: Selection<'v>,
    /// Time and settings of the report.
    pub moment: Moment,
    pub process: &'v ProcessSnapshot,
    /// The user may change servers.
    pub admin: bool,
    /// URL of the web console for the browser.
    pub console: Option<&'v str>,
}

/// A page and its security policy.
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

/// Returns the security policy of a page with these styles.
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

/// Returns a link to a page with other parameters.
fn link(page: &StatsPage, words: &str) -> String {
    let uri = String::from_utf8_lossy(&page.uri);
    let mut link = String::new();
    text::escape(&mut link, &uri);
    text::escape(&mut link, words);
    link
}

/// Estimated size of a row in bytes.
const ROW_BYTES: usize = 2100;
/// Estimated size in bytes of a page without proxies, and of a proxy without rows.
const FRAME_BYTES: usize = 14_000;
const PROXY_BYTES: usize = 1500;

impl View<'_> {
    /// Creates the whole page.
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
        // The column widths are known only after all rows.
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

    /// Returns a link to this page with other parameters.
    fn link(&self, words: &str) -> String {
        link(self.page, words)
    }
}
