//! The statistics page for people: HAProxy's table per proxy with its columns
//! and colours. It is one pass over the rows; nothing here knows of requests.

mod head;
mod table;
mod text;

use super::asked::Asked;
use super::process::Process;
use super::row::{Moment, Selection};
use crate::config::{Config, StatsPage};

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
}

/// Bytes that a row of the page takes about.
const ROW_BYTES: usize = 1700;
/// Bytes of the rest of a page without proxies, and of a proxy without rows.
const FRAME_BYTES: usize = 12_000;
const PROXY_BYTES: usize = 1500;

impl View<'_> {
    /// The whole page.
    pub fn render(&self) -> String {
        let proxies = || {
            self.config
                .proxies
                .iter()
                .filter(|proxy| self.selection.has_proxy(proxy))
        };
        let rows: usize = proxies().map(|p| p.servers.len() + p.binds.len() + 2).sum();
        let bytes = FRAME_BYTES + proxies().count() * PROXY_BYTES + rows * ROW_BYTES;
        let mut out = String::with_capacity(bytes);
        head::write(&mut out, self);
        for proxy in proxies() {
            table::write(&mut out, self, proxy);
        }
        out.push_str("</body></html>\n");
        out
    }

    /// A link to this page with other words.
    fn link(&self, words: &str) -> String {
        let uri = String::from_utf8_lossy(&self.page.uri);
        let mut link = String::new();
        text::escape(&mut link, &uri);
        text::escape(&mut link, words);
        link
    }
}
