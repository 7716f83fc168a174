//! The table of one proxy.

use super::View;
use super::text::{escape, number, seconds};
use crate::persistence;
use crate::stats::admin;
use crate::stats::column::Column as C;
use crate::stats::row::{Object, Row, Value, algorithm, bind_text, of_proxy, server_text};
use model::config::{Mode, Proxy, ProxyKind, Server};
use model::state::{AdminReport, HealthState, ServerReport};
use std::fmt::Write;

const HEAD: &str = "<th colspan=\"3\">Queue</th><th colspan=\"3\">Session rate</th>\
<th colspan=\"6\">Sessions</th><th colspan=\"2\">Bytes</th><th colspan=\"2\">Denied</th>\
<th colspan=\"3\">Errors</th><th colspan=\"2\">Warnings</th><th colspan=\"9\">Server</th></tr>\n\
<tr><th>Cur</th><th>Max</th><th>Limit</th><th>Cur</th><th>Max</th><th>Limit</th><th>Cur</th>\
<th>Max</th><th>Limit</th><th>Total</th><th>LbTot</th><th>Last</th><th>In</th><th>Out</th>\
<th>Req</th><th>Resp</th><th>Req</th><th>Conn</th><th>Resp</th><th>Retr</th><th>Redis</th>\
<th>Status</th><th>LastChk</th><th>Wght</th><th>Act</th><th>Bck</th><th>Chk</th><th>Dwn</th>\
<th>Dwntme</th><th>Thrtle</th></tr></thead>\n<tbody>";

/// Checks or unchecks all servers of a table.
const CHECK_ALL: &str = "<th rowspan=\"2\" class=\"k\"><input type=\"checkbox\" class=\"every\" \
title=\"All servers\" aria-label=\"All servers\"></th>";

/// Servers of a table, and how many of them take new sessions.
#[derive(Default)]
struct Count {
    servers: usize,
    serving: usize,
}

/// Writes the table of a proxy.
pub fn write(out: &mut String, view: &View<'_>, proxy: &Proxy) {
    let form = view.admin && proxy.kind.is_backend() && !proxy.servers.is_empty();
    let (mut lines, mut count) = (String::new(), Count::default());
    of_proxy(proxy, &view.selection, &view.moment, |row| {
        if let Object::Server(_, report) = &row.object {
            count.servers += 1;
            let ready = report.admin == AdminReport::Ready && report.weight > 0;
            count.serving += usize::from(ready && report.health == HealthState::Up);
        }
        let line = Line { view, row, form };
        line.write(&mut lines);
    });
    out.push_str("<section>");
    if form {
        out.push_str("<form method=\"post\" action=\"");
        out.push_str(&view.link(&view.asked.words()));
        out.push_str("\">");
    }
    title(out, view, proxy, &count);
    out.push_str("<div class=\"scroll\"><table><thead><tr>");
    if form {
        out.push_str(CHECK_ALL);
    }
    out.push_str("<th rowspan=\"2\"></th>");
    out.push_str(HEAD);
    out.push_str(&lines);
    out.push_str("</tbody></table></div>");
    if form {
        actions(out, proxy);
    }
    out.push_str("</section>\n");
}

fn title(out: &mut String, view: &View<'_>, proxy: &Proxy, count: &Count) {
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
    if count.servers > 0 {
        let class = match count.serving {
            0 => "active_down",
            n if n < count.servers => "active_going_up",
            _ => "active_up",
        };
        let (serving, servers) = (count.serving, count.servers);
        let _ = write!(
            out,
            "<em class=\"{class}\">{serving} of {servers} serve</em>"
        );
    }
    if let Some(description) = &proxy.description {
        out.push_str("<span>");
        escape(out, description);
        out.push_str("</span>");
    }
    out.push_str("</div>");
}

/// What is done most has a button; the rest stands in a list, under the same name.
const BUTTONS: [(&str, &str); 3] = [
    ("ready", "Ready"),
    ("drain", "Drain"),
    ("maint", "Maintenance"),
];

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
        "</select><input type=\"hidden\" name=\"b\" value=\"#{}\"><button>Apply</button></div></form>",
        proxy.id
    );
}

/// A text with more behind it. Both are escaped here or by who writes.
fn tip(out: &mut String, text: &str, more: impl FnOnce(&mut String)) {
    out.push_str("<span class=\"t\" tabindex=\"0\">");
    escape(out, text);
    out.push_str("<span>");
    more(out);
    out.push_str("</span></span>");
}

/// The colour of a server.
fn class(server: &Server, report: &ServerReport) -> &'static str {
    let backup = server.options.backup;
    let pick = |active, spare| if backup { spare } else { active };
    match report.admin {
        AdminReport::Maintenance | AdminReport::Unresolved => return "maintain",
        AdminReport::Drain => return pick("active_draining", "backup_draining"),
        AdminReport::Ready => {}
    }
    match report.health {
        HealthState::Down if report.streak == 0 => "active_down",
        HealthState::Down => pick("active_going_up", "backup_going_up"),
        HealthState::Stopping => pick("active_nolb", "backup_nolb"),
        HealthState::Up if report.weight == 0 => pick("active_draining", "backup_draining"),
        HealthState::Up if !report.checked => "active_no_check",
        HealthState::Up if report.streak + 1 < report.rise + report.fall => {
            pick("active_going_down", "backup_going_down")
        }
        HealthState::Up => pick("active_up", "backup_up"),
    }
}

/// One line of a table.
struct Line<'l, 'c> {
    view: &'l View<'l>,
    row: &'l Row<'c>,
    form: bool,
}

impl Line<'_, '_> {
    fn write(&self, out: &mut String) {
        let (class, name) = match &self.row.object {
            Object::Frontend => ("frontend", "Frontend"),
            Object::Backend => ("backend", "Backend"),
            Object::Listener(_) => ("socket", self.row.text(C::Svname)),
            Object::Server(server, report) => (class(server, report), self.row.text(C::Svname)),
        };
        let _ = write!(out, "<tr class=\"{class}\">");
        if self.form {
            out.push_str("<td class=\"k\">");
            if let Object::Server(..) = self.row.object {
                out.push_str("<input type=\"checkbox\" name=\"s\" value=\"");
                escape(out, name);
                out.push_str("\" aria-label=\"");
                escape(out, name);
                out.push_str("\">");
            }
            out.push_str("</td>");
        }
        self.name(out, name);
        self.queue(out);
        self.rates(out);
        self.sessions(out);
        self.traffic(out);
        self.state(out);
        out.push_str("</tr>\n");
    }

    fn name(&self, out: &mut String, name: &str) {
        let proxy = &self.row.proxy.name;
        let plus = if matches!(self.row.object, Object::Listener(_)) {
            "+"
        } else {
            ""
        };
        let mut anchor = String::new();
        escape(&mut anchor, name);
        let _ = write!(
            out,
            "<th scope=\"row\"><a id=\"{proxy}/{plus}{anchor}\" href=\"#{proxy}/{plus}{anchor}\">"
        );
        let more = if self.view.page.legends {
            self.legend()
        } else {
            String::new()
        };
        if more.is_empty() {
            out.push_str(&anchor);
        } else {
            tip(out, name, |out| escape(out, &more));
        }
        out.push_str("</a>");
        self.brief(out);
        out.push_str("</th>");
    }

    /// The row in a line, which narrow screens show.
    fn brief(&self, out: &mut String) {
        let row = self.row;
        out.push_str("<span class=\"m\"><b>");
        escape(out, row.text(C::Status));
        let _ = write!(
            out,
            "</b> · {} now, {} in all",
            row.number(C::Scur),
            row.number(C::Stot)
        );
        let queued = row.number(C::Qcur);
        if queued > 0 {
            let _ = write!(out, " · {queued} queued");
        }
        if let Object::Server(..) | Object::Backend = row.object {
            let _ = write!(out, " · weight {}", row.number(C::Weight));
        }
        if row.get(C::CheckStatus) != &Value::Empty {
            out.push_str(" · ");
            escape(out, row.text(C::CheckStatus));
        }
        out.push_str("</span>");
    }

    /// Text shown by `stats show-legends`.
    fn legend(&self) -> String {
        match &self.row.object {
            Object::Frontend => String::new(),
            Object::Backend => {
                let mut text = format!("balancing: {}", algorithm(&self.row.proxy.balance));
                if let Some(cookie) = &self.row.proxy.cookie {
                    let name = String::from_utf8_lossy(&cookie.name);
                    let _ = write!(text, ", cookie: '{name}'");
                }
                text
            }
            Object::Listener(bind) => format!("{}, id: {}", bind_text(&bind.address), bind.id),
            Object::Server(server, _) => {
                let mut text = format!("{}, id: {}", server_text(server), server.id);
                if let Some(cookie) = persistence::cookie_of(self.row.proxy, server) {
                    let _ = write!(text, ", cookie: '{cookie}'");
                }
                text
            }
        }
    }

    /// A cell with a number, or with nothing.
    fn cell(&self, out: &mut String, column: C) {
        out.push_str("<td>");
        match self.row.get(column) {
            Value::U32(n) => number(out, u64::from(*n)),
            Value::U64(n) => number(out, *n),
            Value::S32(n) => {
                let _ = write!(out, "{n}");
            }
            Value::Text(text) => escape(out, text),
            Value::Empty => {}
        }
        out.push_str("</td>");
    }

    /// A limit: none is a dash.
    fn limit(&self, out: &mut String, column: C) {
        if self.row.number(column) == 0 {
            out.push_str("<td>-</td>");
        } else {
            self.cell(out, column);
        }
    }

    /// A number with a table behind it.
    fn detailed(&self, out: &mut String, column: C, more: impl FnOnce(&mut String)) {
        out.push_str("<td><span class=\"t\">");
        number(out, self.row.number(column));
        out.push_str("<span>");
        more(out);
        out.push_str("</span></span></td>");
    }

    fn queue(&self, out: &mut String) {
        match self.row.object {
            Object::Frontend | Object::Listener(_) => out.push_str("<td colspan=\"3\"></td>"),
            Object::Backend => {
                self.cell(out, C::Qcur);
                self.cell(out, C::Qmax);
                out.push_str("<td></td>");
            }
            Object::Server(..) => {
                self.cell(out, C::Qcur);
                self.cell(out, C::Qmax);
                self.limit(out, C::Qlimit);
            }
        }
    }

    fn rates(&self, out: &mut String) {
        match self.row.object {
            Object::Listener(_) => out.push_str("<td colspan=\"3\"></td>"),
            Object::Frontend => {
                for (column, connections, requests, what) in [
                    (C::Rate, C::ConnRate, C::ReqRate, "Current"),
                    (C::RateMax, C::ConnRateMax, C::ReqRateMax, "Max"),
                ] {
                    self.detailed(out, column, |out| {
                        let row = self.row;
                        let _ = write!(
                            out,
                            "{what} connection rate: {}/s\n{what} session rate: {}/s",
                            row.number(connections),
                            row.number(column)
                        );
                        if row.proxy.mode == Mode::Http {
                            let _ =
                                write!(out, "\n{what} request rate: {}/s", row.number(requests));
                        }
                    });
                }
                self.limit(out, C::RateLim);
            }
            Object::Backend | Object::Server(..) => {
                self.cell(out, C::Rate);
                self.cell(out, C::RateMax);
                out.push_str("<td></td>");
            }
        }
    }

    fn sessions(&self, out: &mut String) {
        if let Object::Server(..) = self.row.object {
            self.detailed(out, C::Scur, |out| {
                let row = self.row;
                let _ = write!(
                    out,
                    "Current used connections: {}\nCurrent idle connections: {}",
                    row.number(C::UsedConnCur),
                    row.number(C::SrvIcur)
                );
                if row.get(C::SrcIlim) != &Value::Empty {
                    let _ = write!(out, "\nIdle connections limit: {}", row.number(C::SrcIlim));
                }
            });
        } else {
            self.cell(out, C::Scur);
        }
        self.cell(out, C::Smax);
        self.limit(out, C::Slim);
        if let Object::Listener(_) = self.row.object {
            self.cell(out, C::Stot);
        } else {
            self.detailed(out, C::Stot, |out| self.total(out));
        }
        self.cell(out, C::Lbtot);
        out.push_str("<td>");
        match self.row.get(C::Lastsess) {
            Value::S32(s) if *s < 0 => out.push('?'),
            Value::S32(s) => seconds(out, *s as u64),
            _ => {}
        }
        out.push_str("</td>");
    }

    /// Behind the sum of sessions: what became of them.
    fn total(&self, out: &mut String) {
        let row = self.row;
        let mut line = |text: &str, column: C| {
            let _ = writeln!(out, "{text}: {}", row.number(column));
        };
        let frontend = matches!(row.object, Object::Frontend);
        if frontend {
            line("Cum. connections", C::ConnTot);
        }
        line("Cum. sessions", C::Stot);
        if !frontend {
            line("New connections", C::Connect);
            line("Reused connections", C::Reuse);
        }
        if row.proxy.mode == Mode::Http {
            line("Cum. HTTP requests", C::ReqTot);
            line("- HTTP 1xx responses", C::Hrsp1xx);
            line("- HTTP 2xx responses", C::Hrsp2xx);
            line("- HTTP 3xx responses", C::Hrsp3xx);
            line("- HTTP 4xx responses", C::Hrsp4xx);
            line("- HTTP 5xx responses", C::Hrsp5xx);
            line("- other responses", C::HrspOther);
            line("Failed hdr rewrites", C::Wrew);
        }
        if frontend {
            if row.proxy.mode == Mode::Http {
                line("Intercepted requests", C::Intercepted);
            }
            line("Denied connections", C::Dcon);
            line("Denied sessions", C::Dses);
            line("Internal errors", C::Eint);
            return;
        }
        line("Internal errors", C::Eint);
        out.push_str("Max / Avg over last 1024 success. conn.");
        for (text, most, average) in [
            ("Queue", C::QtimeMax, C::Qtime),
            ("Connect", C::CtimeMax, C::Ctime),
            ("Responses", C::RtimeMax, C::Rtime),
            ("Total", C::TtimeMax, C::Ttime),
        ] {
            let _ = write!(
                out,
                "\n- {text} time: {} / {} ms",
                row.number(most),
                row.number(average)
            );
        }
    }

    fn traffic(&self, out: &mut String) {
        for column in [C::Bin, C::Bout, C::Dreq, C::Dresp, C::Ereq, C::Econ] {
            self.cell(out, column);
        }
        if let Object::Server(..) | Object::Backend = self.row.object {
            self.detailed(out, C::Eresp, |out| {
                let _ = write!(
                    out,
                    "Connection resets during transfers: {} client, {} server",
                    self.row.number(C::CliAbrt),
                    self.row.number(C::SrvAbrt)
                );
            });
        } else {
            self.cell(out, C::Eresp);
        }
        self.cell(out, C::Wretr);
        self.cell(out, C::Wredis);
    }

    fn state(&self, out: &mut String) {
        match &self.row.object {
            Object::Frontend | Object::Listener(_) => {
                let status = self.row.text(C::Status);
                let _ = write!(
                    out,
                    "<td class=\"c st\">{status}</td><td colspan=\"8\"></td>"
                );
            }
            Object::Backend => self.backend_state(out),
            Object::Server(_, report) => self.server_state(out, report),
        }
    }

    fn since(&self, out: &mut String) {
        out.push_str("<td class=\"c st\">");
        seconds(out, self.row.number(C::Lastchg));
        out.push(' ');
        escape(out, self.row.text(C::Status));
        out.push_str("</td>");
    }

    fn weight(&self, out: &mut String) {
        let (now, set) = (self.row.number(C::Weight), self.row.number(C::Uweight));
        let _ = write!(out, "<td class=\"c\">{now}/{set}</td>");
    }

    fn time(&self, out: &mut String, column: C) {
        out.push_str("<td>");
        if self.row.get(column) != &Value::Empty {
            seconds(out, self.row.number(column));
        }
        out.push_str("</td>");
    }

    fn backend_state(&self, out: &mut String) {
        self.since(out);
        out.push_str("<td></td>");
        self.weight(out);
        let (active, backup) = (self.row.number(C::Act), self.row.number(C::Bck));
        let _ = write!(
            out,
            "<td class=\"c\">{active}</td><td class=\"c\">{backup}</td><td></td>"
        );
        self.cell(out, C::Chkdown);
        self.time(out, C::Downtime);
        out.push_str("<td></td>");
    }

    fn server_state(&self, out: &mut String, report: &ServerReport) {
        let plain = report.admin == AdminReport::Ready && !report.checked;
        if plain && report.health == HealthState::Up {
            out.push_str("<td class=\"c\"><i>no check</i></td>");
        } else {
            self.since(out);
        }
        self.last_check(out);
        self.weight(out);
        let backup = self.row.number(C::Bck) > 0;
        let (active, spare) = if backup { ("-", "Y") } else { ("Y", "-") };
        let _ = write!(
            out,
            "<td class=\"c\">{active}</td><td class=\"c\">{spare}</td>"
        );
        if report.checked {
            self.cell(out, C::Chkfail);
            self.cell(out, C::Chkdown);
            self.time(out, C::Downtime);
        } else {
            out.push_str("<td colspan=\"3\"></td>");
        }
        out.push_str("<td class=\"c\">");
        match self.row.get(C::Throttle) {
            Value::U32(percent) => {
                let _ = write!(out, "{percent} %");
            }
            _ => out.push('-'),
        }
        out.push_str("</td>");
    }

    fn last_check(&self, out: &mut String) {
        let row = self.row;
        if row.get(C::CheckStatus) == &Value::Empty {
            return out.push_str("<td></td>");
        }
        let mut text = row.text(C::CheckStatus).to_owned();
        if row.get(C::CheckCode) != &Value::Empty {
            let _ = write!(text, "/{}", row.number(C::CheckCode));
        }
        if row.get(C::CheckDuration) != &Value::Empty {
            let _ = write!(text, " in {}ms", row.number(C::CheckDuration));
        }
        out.push_str("<td class=\"c\">");
        tip(out, &text, |out| {
            escape(out, row.text(C::CheckDesc));
            if !row.text(C::LastChk).is_empty() {
                out.push_str(": ");
                escape(out, row.text(C::LastChk));
            }
        });
        out.push_str("</td>");
    }
}
