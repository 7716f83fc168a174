//! The statistics page for people: HAProxy's table per proxy with its columns
//! and colours. It is one pass over the rows; nothing here knows of requests.

mod head;
mod table;
pub(super) mod text;

use super::asked::Asked;
use super::process::Process;
use super::row::{Moment, Selection};
use base64::Engine;
use model::config::{Config, StatsPage};
use std::fmt::Write;
use std::sync::LazyLock;

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

/// Checks or unchecks all servers of a table. Without it the page works, too.
const SCRIPT: &str = "document.addEventListener('change',e=>{if(e.target.className=='every')\
for(const i of e.target.form.elements)if(i.name=='s')i.checked=e.target.checked})";

/// What the page may do in a browser: its own style and script, forms to where it
/// came from, and nothing else.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        base64::engine::general_purpose::STANDARD.encode(digest)
    };
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; \
         form-action 'self'; base-uri 'none'",
        hash(head::STYLE),
        hash(SCRIPT)
    )
});

/// Bytes that a row of the page takes about.
const ROW_BYTES: usize = 2100;
/// Bytes of the rest of a page without proxies, and of a proxy without rows.
const FRAME_BYTES: usize = 14_000;
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
        out.push_str("</main>");
        if self.admin {
            let _ = write!(out, "<script>{SCRIPT}</script>");
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
