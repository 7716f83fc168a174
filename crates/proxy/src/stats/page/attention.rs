//! The strip at the top of the page: items that need attention, with links to their rows.

use super::View;
use super::state::Concern;
use super::text::{escape, seconds};
use crate::stats::asked::StatisticsQuery;
use model::config::Proxy;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

/// Maximum number of links per concern; the last one leads to the first item without a link.
const LINKS_MAX: usize = 12;

/// An item that needs attention.
struct Item<'c> {
    concern: Concern,
    proxy: &'c str,
    /// Anchor of the row in the table.
    row: &'c str,
    /// Text next to the name.
    words: String,
    /// The item is the whole proxy.
    is_whole: bool,
}

/// Appends the strip.
pub fn write(out: &mut String, view: &View<'_>) {
    let proxies = view.config.proxies.iter();
    let mut items = Vec::new();
    for proxy in proxies.filter(|proxy| view.selection.has_proxy(proxy)) {
        of_proxy(&mut items, proxy, view.moment.state_ms);
    }
    if items.is_empty() {
        out.push_str("<p class=\"alert active_up\">Nothing needs attention.</p>\n");
        return;
    }
    out.push_str("<nav class=\"alerts\" aria-label=\"Needs attention\">\n");
    for concern in Concern::ALL {
        let some: Vec<&Item<'_>> = items
            .iter()
            .filter(|item| item.concern == concern)
            .collect();
        if !some.is_empty() {
            list(out, view, concern, &some);
        }
    }
    out.push_str("</nav>\n");
}

fn of_proxy<'c>(items: &mut Vec<Item<'c>>, proxy: &'c Proxy, now_ms: u64) {
    let mut add = |concern, row, words: String, is_whole| {
        items.push(Item {
            concern,
            proxy: &proxy.name,
            row,
            words,
            is_whole,
        });
    };
    if proxy.kind.is_frontend() {
        if proxy.state.is_shut_down() {
            add(Concern::Down, "Frontend", "stopped".to_owned(), true);
        } else if proxy.state.frontend.paused.load(Relaxed) {
            add(Concern::Maintenance, "Frontend", "paused".to_owned(), true);
        }
    }
    if !proxy.kind.is_backend() || proxy.servers.is_empty() {
        return;
    }
    let whole = proxy.state.backend_report(now_ms);
    if !whole.up {
        let for_s = now_ms.saturating_sub(whole.last_change_ms) / 1000;
        let words = format!("no server, {}", short(for_s));
        add(Concern::Down, "Backend", words, true);
    }
    for server in &proxy.servers {
        let report = server.state.report(now_ms);
        if let Some(concern) = Concern::of_server(&report) {
            let for_s = now_ms.saturating_sub(report.last_change_ms) / 1000;
            add(concern, &server.name, short(for_s), false);
        }
    }
}

fn short(s: u64) -> String {
    let mut text = String::new();
    seconds(&mut text, s);
    text
}

fn list(out: &mut String, view: &View<'_>, concern: Concern, items: &[&Item<'_>]) {
    let (class, word) = match concern {
        Concern::Down => ("active_down", "down"),
        Concern::Draining => ("active_draining", "draining"),
        Concern::Maintenance => ("maintain", "in maintenance"),
    };
    let _ = write!(
        out,
        "<p class=\"alert {class}\"><b>{} {word}</b><span>",
        items.len()
    );
    // A proxy is more urgent than one of its servers.
    let ordered = items.iter().filter(|item| item.is_whole);
    let ordered = ordered.chain(items.iter().filter(|item| !item.is_whole));
    let hidden = items.len().saturating_sub(LINKS_MAX);
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

/// Returns the link to the page with every row; empty if this page hides none.
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
