//! Writes the strip at the top of the statistics page: items that need the operator's attention,
//! with links to their rows.

use super::View;
use super::state::Concern;
use super::text::{escape, seconds};
use crate::stats::asked::StatisticsQuery;
use crate::stats::row::{Object, Row};
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

/// Maximum number of links for one reason. A further link leads to the first item that has none.
const LINKS_MAX: usize = 12;

#[derive(Debug)]
struct Item {
    proxy: Box<str>,
    /// Anchor of the row in the page.
    row: Box<str>,
    words: String,
    /// The item is a proxy as a whole, not one of its servers.
    is_whole: bool,
}

/// Items that need attention for one reason. All are counted; those that may get a link are
/// stored.
#[derive(Debug, Default)]
struct Items {
    count: usize,
    proxies: Vec<Item>,
    servers: Vec<Item>,
}

/// Items that need attention, collected from the rows of all servers, including those that the
/// page hides.
#[derive(Debug, Default)]
pub struct Attention([Items; Concern::ALL.len()]);

impl Attention {
    pub fn note(&mut self, row: &Row<'_>, now_ms: u64) {
        let proxy = row.proxy;
        let short_since = |since_ms: u64| short(now_ms.saturating_sub(since_ms) / 1000);
        match &row.object {
            Object::Frontend if proxy.state.is_shut_down() => {
                self.add(Concern::Down, row, "Frontend", || "stopped".to_owned());
            }
            Object::Frontend if proxy.state.frontend.paused.load(Relaxed) => {
                self.add(Concern::Maintenance, row, "Frontend", || {
                    "paused".to_owned()
                });
            }
            Object::Backend if !proxy.servers.is_empty() => {
                let whole = proxy.state.backend_report(now_ms);
                if !whole.up {
                    self.add(Concern::Down, row, "Backend", || {
                        format!("no server, {}", short_since(whole.last_change_ms))
                    });
                }
            }
            Object::Server(server, report) => {
                if let Some(concern) = Concern::of_server(report) {
                    self.add(concern, row, &server.name, || {
                        short_since(report.last_change_ms)
                    });
                }
            }
            Object::Frontend | Object::Backend | Object::Listener(_) => {}
        }
    }

    fn add(
        &mut self,
        concern: Concern,
        row: &Row<'_>,
        anchor: &str,
        words: impl FnOnce() -> String,
    ) {
        let items = &mut self.0[concern as usize];
        items.count += 1;
        let is_whole = !matches!(row.object, Object::Server(..));
        let list = if is_whole {
            &mut items.proxies
        } else {
            &mut items.servers
        };
        if list.len() <= LINKS_MAX {
            list.push(Item {
                proxy: (*row.proxy.name).into(),
                row: anchor.into(),
                words: words(),
                is_whole,
            });
        }
    }

    pub fn write(&self, out: &mut String, view: &View<'_>) {
        if self.0.iter().all(|items| items.count == 0) {
            out.push_str("<p class=\"alert active_up\">Nothing needs attention.</p>\n");
            return;
        }
        out.push_str("<nav class=\"alerts\" aria-label=\"Needs attention\">\n");
        for (concern, items) in Concern::ALL.into_iter().zip(&self.0) {
            if items.count > 0 {
                list(out, view, concern, items);
            }
        }
        out.push_str("</nav>\n");
    }
}

fn short(s: u64) -> String {
    let mut text = String::new();
    seconds(&mut text, s);
    text
}

fn list(out: &mut String, view: &View<'_>, concern: Concern, items: &Items) {
    let (class, word) = match concern {
        Concern::Down => ("active_down", "down"),
        Concern::Draining => ("active_draining", "draining"),
        Concern::Maintenance => ("maintain", "in maintenance"),
    };
    let _ = write!(
        out,
        "<p class=\"alert {class}\"><b>{} {word}</b><span>",
        items.count
    );
    // Lists proxies first, because a proxy is more urgent than one of its servers.
    let ordered = items.proxies.iter().chain(&items.servers);
    let hidden = items.count.saturating_sub(LINKS_MAX);
    for (at, item) in ordered.take(LINKS_MAX + 1).enumerate() {
        let Item { proxy, row, .. } = item;
        out.push_str("<span><a href=\"");
        out.push_str(&base(view));
        let _ = write!(out, "#{proxy}/");
        escape(out, row);
        out.push_str("\">");
        if at == LINKS_MAX {
            let _ = write!(out, "and {hidden} more</a></span>");
            break;
        }
        out.push_str(proxy);
        if !item.is_whole {
            out.push('/');
            escape(out, row);
        }
        let _ = write!(out, "</a> <small>{}</small></span> ", item.words);
    }
    out.push_str("</span></p>\n");
}

/// Returns the link to the page with all rows; empty if the current page hides none.
fn base(view: &View<'_>) -> String {
    if !view.query.up && !view.query.no_maintenance {
        return String::new();
    }
    let all = StatisticsQuery {
        up: false,
        no_maintenance: false,
        outcome: None,
        ..view.query.clone()
    };
    view.link(&all.words())
}
