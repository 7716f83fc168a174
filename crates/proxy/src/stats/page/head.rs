//! Writes the upper part of the statistics page: the program, the process, the legend and links.

use super::View;
use super::attention::Attention;
use super::text::{bytes, escape};
use crate::stats::asked::{ActionStatus, StatisticsQuery};
use crate::vitals;
use model::config::Service;
use model::config::product::{PRODUCT as NAME, PRODUCT_VERSION as VERSION};
use std::fmt::Write;

pub const STYLE: &str = include_str!("style.css");

/// Switch by which a user shows all columns on a narrow screen, where a row otherwise has only its
/// most important numbers.
const ALL_COLUMNS: &str =
    "<input type=\"checkbox\" id=\"all\" class=\"x\"><label for=\"all\">All columns</label>\n";

pub fn begin(out: &mut String) {
    out.push_str("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    out.push_str("<link rel=\"icon\" href=\"data:,\">\n");
}

/// Appends everything that precedes the tables of the proxies; `widths` is the style of their
/// columns.
pub fn write(out: &mut String, view: &View<'_>, widths: &str, attention: &Attention) {
    begin(out);
    let body = refresh(out, view);
    out.push_str("<title>Statistics of ");
    out.push_str(NAME);
    on_node(out, view);
    let _ = write!(
        out,
        "</title>\n<style>{STYLE}</style><style>{widths}</style></head>\n{body}<header><h1>{NAME}"
    );
    if !view.page.hide_version {
        let _ = write!(out, " version {VERSION}");
    }
    let _ = write!(
        out,
        "</h1>\n<h2>Statistics Report for pid {}",
        view.process.about.pid
    );
    on_node(out, view);
    if let Some(description) = &view.page.description {
        out.push_str(": ");
        escape(out, description);
    }
    out.push_str("</h2>\n");
    if let Some(console) = view.console {
        out.push_str("<a class=\"button console\" href=\"");
        escape(out, console);
        out.push_str("\" rel=\"noreferrer\">Web console</a>\n");
    }
    if let Some(outcome) = view.query.outcome {
        said(out, view, outcome);
    }
    attention.write(out, view);
    process(out, view);
    options(out, view);
    legend(out);
    out.push_str("</header>\n<main>\n");
    // Precedes the switch for columns, which affects the tables of proxies only.
    let addresses = &view.process.addresses;
    addresses.html(out, "Virtual addresses", Service::KIND, vitals::COLUMNS);
    out.push_str(ALL_COLUMNS);
}

/// Appends the tag for the periodic refresh, and returns the opening tag of the body. If the page
/// has a script, the script refreshes the page instead and keeps the selected servers.
fn refresh(out: &mut String, view: &View<'_>) -> String {
    let refresh_s = view.page.refresh_s;
    if refresh_s == 0 || view.query.no_refresh {
        return "<body>".to_owned();
    }
    // Leaves out the status of an action, which the refreshed page must not show again.
    let target = view.link(&view.query.words());
    let tag = format!("<meta http-equiv=\"refresh\" content=\"{refresh_s};url={target}\">");
    if view.admin {
        let _ = writeln!(out, "<noscript>{tag}</noscript>");
        return format!("<body data-refresh=\"{refresh_s}\" data-link=\"{target}\">");
    }
    let _ = writeln!(out, "{tag}");
    "<body>".to_owned()
}

fn on_node(out: &mut String, view: &View<'_>) {
    if let Some(node) = &view.page.node {
        out.push_str(" on ");
        escape(
            out,
            if node.is_empty() {
                &view.process.about.node
            } else {
                node
            },
        );
    }
}

fn process(out: &mut String, view: &View<'_>) {
    let p = view.process;
    out.push_str("<dl class=\"info\">");
    if let Some(configuration) = p
        .about
        .configuration
        .as_ref()
        .filter(|_| !view.page.hide_version)
    {
        out.push_str("<div><dt>configuration</dt><dd>");
        escape(out, configuration);
        out.push_str("</dd></div>");
    }
    let mut item = |name: &str, value: std::fmt::Arguments<'_>| {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    };
    if p.about.stopping {
        item("state", format_args!("stopping"));
    }
    item("uptime", format_args!("{}", p.uptime()));
    item("current conns", format_args!("{}", p.connections.current));
    item("maxconn", format_args!("{}", p.connections.max));
    let (now, max) = p.connections.rate;
    item("conn rate", format_args!("{now}/sec (max {max})"));
    let (now, max) = p.connections.session_rate;
    item("session rate", format_args!("{now}/sec (max {max})"));
    item("total conns", format_args!("{}", p.connections.total));
    item(
        "total requests",
        format_args!("{}", p.connections.requests_total),
    );
    let (used, max) = (p.resources.memory.1, p.resources.memory_max);
    item("bit rate", format_args!("{}", bits(p.measured.bytes_out)));
    item("idle", format_args!("{} %", p.measured.idle_percent));
    // Shows the memory only if the memory allocator reports this value.
    if used > 0 {
        let short = |n| bytes(n).unwrap_or_else(|| format!("{n} B"));
        match max {
            0 | u64::MAX => item("memory", format_args!("{}", short(used))),
            max => item("memory", format_args!("{} of {}", short(used), short(max))),
        }
    }
    item("threads", format_args!("{}", p.about.threads));
    item("ulimit-n", format_args!("{}", p.resources.files_max));
    out.push_str("</dl>\n");
}

fn bits(bytes_per_s: u64) -> String {
    let bits = bytes_per_s.saturating_mul(8);
    match bits {
        0..1_000 => format!("{bits} bit/s"),
        1_000..1_000_000 => format!("{}.{} kbit/s", bits / 1_000, bits / 100 % 10),
        1_000_000..1_000_000_000 => format!("{}.{} Mbit/s", bits / 1_000_000, bits / 100_000 % 10),
        _ => format!(
            "{}.{} Gbit/s",
            bits / 1_000_000_000,
            bits / 100_000_000 % 10
        ),
    }
}

fn legend(out: &mut String) {
    out.push_str("<ul class=\"legend\" aria-label=\"Colours\">");
    for (class, text) in [
        ("active_up", "UP"),
        ("active_going_down", "UP, going down"),
        ("active_going_up", "DOWN, going up"),
        ("active_down", "DOWN"),
        ("active_no_check", "not checked"),
        ("active_draining", "DRAIN: UP, but gets no new sessions"),
        ("active_nolb", "NOLB: UP, but not load-balanced"),
        ("maintain", "MAINT: in maintenance"),
        ("backup_up", "backup UP"),
        ("backup_going_down", "backup UP, going down"),
        ("backup_going_up", "backup DOWN, going up"),
    ] {
        let _ = write!(out, "<li><i class=\"{class}\"></i>{text}</li>");
    }
    out.push_str("</ul>\n");
}

fn options(out: &mut String, view: &View<'_>) {
    let asked = view.query;
    out.push_str("<ul class=\"bar\" aria-label=\"Display\">\n<li>");
    scope_form(out, view);
    let mut item = |asked: &StatisticsQuery, on: bool, text: &str| {
        let class = if on { " class=\"on\"" } else { "" };
        let link = view.link(&asked.words());
        let _ = writeln!(out, "<li><a{class} href=\"{link}\">{text}</a>");
    };
    let up = if asked.up {
        "Show all servers"
    } else {
        "Hide 'DOWN' servers"
    };
    let other = StatisticsQuery {
        up: !asked.up,
        ..asked.clone()
    };
    item(&other, asked.up, up);
    let maintenance = if asked.no_maintenance {
        "Show servers in maintenance"
    } else {
        "Hide servers in maintenance"
    };
    let other = StatisticsQuery {
        no_maintenance: !asked.no_maintenance,
        ..asked.clone()
    };
    item(&other, asked.no_maintenance, maintenance);
    if view.page.refresh_s > 0 {
        let refresh = if asked.no_refresh {
            "Enable refresh"
        } else {
            "Disable refresh"
        };
        let other = StatisticsQuery {
            no_refresh: !asked.no_refresh,
            ..asked.clone()
        };
        item(&other, asked.no_refresh, refresh);
    }
    item(asked, false, "Refresh now");
    let plain = StatisticsQuery {
        no_refresh: true,
        scope: asked.scope.clone(),
        ..StatisticsQuery::default()
    };
    let words = plain.words();
    let _ = writeln!(
        out,
        "<li><a href=\"{}\">CSV export</a>",
        view.link(&format!(";csv{words}"))
    );
    let _ = writeln!(
        out,
        "<li><a href=\"{}\">JSON export</a>\n<li><a href=\"{}\">JSON schema</a>\n</ul>",
        view.link(&format!(";json{words}")),
        view.link(";json-schema")
    );
}

/// Appends the scope form. A form drops the query of its URL, so the query of the page's URI
/// is repeated in hidden fields.
fn scope_form(out: &mut String, view: &View<'_>) {
    let uri = String::from_utf8_lossy(&view.page.uri);
    let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
    out.push_str("<form method=\"get\" action=\"");
    escape(out, path);
    out.push_str("\">");
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        out.push_str("<input type=\"hidden\" name=\"");
        escape(out, name);
        out.push_str("\" value=\"");
        escape(out, value);
        out.push_str("\">");
    }
    out.push_str("<input type=\"search\" name=\"scope\" maxlength=\"20\" placeholder=\"Scope: names with…\" aria-label=\"Scope\" value=\"");
    escape(out, &view.query.scope);
    out.push_str("\"></form>\n");
}

fn said(out: &mut String, view: &View<'_>, outcome: ActionStatus) {
    let (class, text) = match outcome {
        ActionStatus::Done => ("active_up", "Action applied."),
        ActionStatus::None => (
            "backup_up",
            "Nothing changed: select an action and at least one server.",
        ),
        ActionStatus::Part => (
            "active_going_down",
            "Action applied to some servers only; the others do not exist.",
        ),
        ActionStatus::Wrong => ("active_down", "Nothing changed: invalid parameter."),
        ActionStatus::TooMany => (
            "active_down",
            "Nothing changed: the request was too long. Select fewer servers.",
        ),
        ActionStatus::Denied => ("active_down", "Nothing changed: permission denied."),
        ActionStatus::Unknown => ("active_no_check", "Unexpected result."),
    };
    let back = view.link(&view.query.words());
    let _ = writeln!(
        out,
        "<div class=\"said {class}\" role=\"status\">{text} <a href=\"{back}\">OK</a></div>"
    );
}
