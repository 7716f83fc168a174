//! The upper part of the page: the program, the process, the legend, links.

use super::View;
use super::text::escape;
use crate::stats::asked::{Asked, Outcome};
use crate::stats::process::{NAME, VERSION};
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");

/// Writes all that stands before the proxies.
pub fn write(out: &mut String, view: &View<'_>) {
    out.push_str("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
    out.push_str("<link rel=\"icon\" href=\"data:,\">\n");
    let refresh_s = view.page.refresh_s;
    if refresh_s > 0 && !view.asked.no_refresh {
        // Not back to the action that was just done.
        let target = view.link(&view.asked.words());
        let _ = writeln!(
            out,
            "<meta http-equiv=\"refresh\" content=\"{refresh_s};url={target}\">"
        );
    }
    out.push_str("<title>Statistics of ");
    out.push_str(NAME);
    on_node(out, view);
    let _ = write!(
        out,
        "</title>\n<style>\n{STYLE}</style></head>\n<body><header><h1>{NAME}"
    );
    if !view.page.hide_version {
        let _ = write!(out, " version {VERSION}");
    }
    let _ = write!(
        out,
        "</h1>\n<h2>Statistics Report for pid {}",
        view.process.pid
    );
    on_node(out, view);
    if let Some(description) = &view.page.description {
        out.push_str(": ");
        escape(out, description);
    }
    out.push_str("</h2>\n<h3>&gt; General process information</h3>\n<div class=\"info\">\n");
    process(out, view);
    legend(out);
    options(out, view);
    out.push_str("</div></header>\n");
    if let Some(outcome) = view.asked.outcome {
        said(out, view, outcome);
    }
}

fn on_node(out: &mut String, view: &View<'_>) {
    if let Some(node) = &view.page.node {
        out.push_str(" on ");
        escape(
            out,
            if node.is_empty() {
                &view.process.node
            } else {
                node
            },
        );
    }
}

fn process(out: &mut String, view: &View<'_>) {
    let p = view.process;
    let _ = write!(
        out,
        "<p><b>pid = </b>{} (process #1, nbproc = 1, nbthread = {})<br>\n\
         <b>uptime = </b>{}<br>\n\
         <b>system limits:</b> ulimit-n = {}<br>\n\
         <b>maxconn = </b>{}; current conns = {}<br>\n\
         conn rate = {}/sec (max {}); session rate = {}/sec (max {})<br>\n\
         total conns = {}; total requests = {}{}</p>\n",
        p.pid,
        p.threads,
        p.uptime(),
        p.files_max,
        p.connections_max,
        p.connections,
        p.connection_rate.0,
        p.connection_rate.1,
        p.session_rate.0,
        p.session_rate.1,
        p.connections_total,
        p.requests_total,
        if p.stopping {
            "<br>\n<b>stopping</b>"
        } else {
            ""
        },
    );
}

fn legend(out: &mut String) {
    out.push_str("<div><div class=\"legend\">");
    for (class, text) in [
        ("active_up", "active UP"),
        ("backup_up", "backup UP"),
        ("active_going_down", "active UP, going down"),
        ("backup_going_down", "backup UP, going down"),
        ("active_going_up", "active DOWN, going up"),
        ("backup_going_up", "backup DOWN, going up"),
        ("active_down", "active or backup DOWN"),
        ("active_no_check", "not checked"),
    ] {
        let _ = write!(out, "<i class=\"{class}\"></i><span>{text}</span>");
    }
    for (class, text) in [
        ("maintain", "active or backup DOWN for maintenance (MAINT)"),
        (
            "active_draining",
            "active or backup SOFT STOPPED for maintenance",
        ),
    ] {
        let _ = write!(
            out,
            "<i class=\"{class}\"></i><span class=\"wide\">{text}</span>"
        );
    }
    out.push_str("</div>NOLB and DRAIN are up, but balancing leaves them out.</div>\n");
}

fn options(out: &mut String, view: &View<'_>) {
    let asked = view.asked;
    out.push_str("<div><b>Display option:</b><ul>\n<li>");
    scope_form(out, view);
    let mut item = |asked: &Asked, text: &str| {
        let _ = writeln!(
            out,
            "<li><a href=\"{}\">{text}</a>",
            view.link(&asked.words())
        );
    };
    let up = if asked.up {
        "Show all servers"
    } else {
        "Hide 'DOWN' servers"
    };
    item(
        &Asked {
            up: !asked.up,
            ..asked.clone()
        },
        up,
    );
    let text = if asked.no_maintenance {
        "Show servers in maintenance"
    } else {
        "Hide servers in maintenance"
    };
    item(
        &Asked {
            no_maintenance: !asked.no_maintenance,
            ..asked.clone()
        },
        text,
    );
    if view.page.refresh_s > 0 {
        let text = if asked.no_refresh {
            "Enable refresh"
        } else {
            "Disable refresh"
        };
        item(
            &Asked {
                no_refresh: !asked.no_refresh,
                ..asked.clone()
            },
            text,
        );
    }
    item(asked, "Refresh now");
    let plain = Asked {
        no_refresh: true,
        scope: asked.scope.clone(),
        ..Asked::default()
    };
    let words = plain.words();
    let _ = writeln!(
        out,
        "<li><a href=\"{}\">CSV export</a>",
        view.link(&format!(";csv{words}"))
    );
    let _ = writeln!(
        out,
        "<li><a href=\"{}\">JSON export</a> (<a href=\"{}\">schema</a>)\n</ul></div>",
        view.link(&format!(";json{words}")),
        view.link(";json-schema")
    );
}

/// A form drops the query of its address, so what the page's URI has of one
/// goes along as hidden fields.
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
    out.push_str("Scope: <input name=\"scope\" size=\"8\" maxlength=\"20\" value=\"");
    escape(out, &view.asked.scope);
    out.push_str("\"></form>\n");
}

fn said(out: &mut String, view: &View<'_>, outcome: Outcome) {
    let (class, text) = match outcome {
        Outcome::Done => ("active_up", "The action was done."),
        Outcome::None => (
            "backup_up",
            "Nothing was changed: no action or no server was chosen.",
        ),
        Outcome::Part => (
            "active_going_down",
            "The action was done for some of the servers; the others are not known.",
        ),
        Outcome::Wrong => (
            "active_down",
            "Nothing was done: a parameter of the action is not valid.",
        ),
        Outcome::TooMany => (
            "active_down",
            "Nothing was done: the request was too long. Choose fewer servers at a time.",
        ),
        Outcome::Denied => (
            "active_down",
            "Nothing was done: who sees this page may not change anything.",
        ),
        Outcome::Unknown => ("active_no_check", "Unexpected result."),
    };
    let back = view.link(&view.asked.words());
    let _ = writeln!(
        out,
        "<div class=\"said {class}\"><a href=\"{back}\" title=\"Remove this message\">[X]</a> {text}</div>"
    );
}
