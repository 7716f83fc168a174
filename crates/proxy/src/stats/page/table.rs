//! Writes the table of one proxy on the statistics page, with the actions on its servers.

use super::View;
use super::layout;
use super::state::Census;
use super::text::{escape, tip};
use crate::stats::admin;
use model::config::{Mode, Proxy, ProxyKind};
use std::fmt::Write;

const CHECK_ALL: &str = "<th rowspan=\"2\" class=\"k\"><input type=\"checkbox\" class=\"every\" \
title=\"All servers\" aria-label=\"All servers\"></th>";

pub fn has_form(view: &View<'_>, proxy: &Proxy) -> bool {
    view.admin && proxy.kind.is_backend() && !proxy.servers.is_empty()
}

pub fn begin(out: &mut String, view: &View<'_>, proxy: &Proxy) {
    let form = has_form(view, proxy);
    let of_servers = proxy.kind.is_backend();
    out.push_str(if of_servers {
        "<section>"
    } else {
        "<section class=\"f\">"
    });
    if form {
        let link = view.link(&view.query.words());
        let _ = write!(out, "<form method=\"post\" action=\"{link}\">");
    }
    title(out, view, proxy);
    let (name, kind) = (&proxy.name, proxy.kind.name());
    let _ = write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Numbers of {kind} {name}\">\
         <table><caption>State, sessions and errors of {kind} {name}</caption>"
    );
    let columns = if of_servers {
        layout::ALL
    } else {
        layout::OF_CLIENTS
    };
    layout::heads(out, columns, form.then_some(CHECK_ALL), view.admin);
}

pub fn end(out: &mut String, view: &View<'_>, proxy: &Proxy) {
    out.push_str("</tbody></table></div>");
    if has_form(view, proxy) {
        actions(out, proxy);
    }
    out.push_str("</section>\n");
}

fn title(out: &mut String, view: &View<'_>, proxy: &Proxy) {
    let name = &proxy.name;
    let _ = write!(
        out,
        "<div class=\"name\"><b><a id=\"{name}\" href=\"#{name}\">"
    );
    if view.page.legends {
        let what = if proxy.kind == ProxyKind::Listen {
            "proxy"
        } else {
            proxy.kind.name()
        };
        let mode = if proxy.mode == Mode::Http {
            "http"
        } else {
            "tcp"
        };
        tip(out, name, |out| {
            let _ = write!(out, "cap: {what}, mode: {mode}, id: {}", proxy.id);
        });
    } else {
        escape(out, name);
    }
    out.push_str("</a></b>");
    let _ = write!(out, "<small>{}</small>", proxy.kind.name());
    if let Some((class, words)) = Census::of(proxy, view.moment.state_ms).badge() {
        let _ = write!(out, "<em class=\"{class}\">{words}</em>");
    }
    if let Some(description) = &proxy.description {
        out.push_str("<span>");
        escape(out, description);
        out.push_str("</span>");
    }
    out.push_str("</div>");
}

/// Actions that also have a button, because they are the most frequent ones. The list of actions
/// has the same form name.
const BUTTONS: [(&str, &str); 3] = [
    ("ready", "Ready"),
    ("drain", "Drain"),
    ("maint", "Maintenance"),
];

/// Appends the actions, which browsers that support it show only while a server is selected. The
/// form's field `ask` requests a confirmation of actions that end sessions.
fn actions(out: &mut String, proxy: &Proxy) {
    out.push_str("<div class=\"act\"><span>Checked servers:</span>");
    for (word, text) in BUTTONS {
        let _ = write!(
            out,
            "<button name=\"action\" value=\"{word}\">{text}</button>"
        );
    }
    out.push_str("<select name=\"action\" aria-label=\"Another action\"><option value=\"\">Another action…</option>");
    for (word, text) in admin::actions() {
        let _ = write!(out, "<option value=\"{word}\">{text}</option>");
    }
    let _ = write!(
        out,
        "</select><input type=\"hidden\" name=\"b\" value=\"#{}\"><input type=\"hidden\" name=\"ask\" value=\"1\">\
         <button>Apply</button></div></form>",
        proxy.id
    );
}
