//! Writes one row of a table on the statistics page: a frontend, a listener, a server or a
//! backend.

use super::View;
use super::layout::{ALL, Cells, OF_CLIENTS, Widths};
use super::state;
use super::text::{bytes, escape, number, seconds, tip};
use crate::persistence;
use crate::stats::column::Column as C;
use crate::stats::row::{ColumnValue, Object, Row, algorithm, bind_text, server_text};
use model::config::Mode;
use model::state::{AdminReport, HealthState, ServerReport};
use std::fmt::Write;

pub struct PageRow<'l, 'c> {
    pub view: &'l View<'l>,
    pub row: &'l Row<'c>,
    pub form: bool,
}

impl PageRow<'_, '_> {
    pub fn write(&self, out: &mut String, widths: &mut Widths) {
        let (class, name) = match &self.row.object {
            Object::Frontend => ("frontend", "Frontend"),
            Object::Backend => ("backend", "Backend"),
            Object::Listener(_) => ("socket", self.row.text(C::Svname)),
            Object::Server(server, report) => {
                (state::class(server, report), self.row.text(C::Svname))
            }
        };
        let _ = write!(out, "<tr class=\"{class}\">");
        if self.form {
            checkbox(out, name, matches!(self.row.object, Object::Server(..)));
        }
        let mut cells = Cells::new(out, widths);
        self.name(&mut cells, name);
        self.status(&mut cells);
        self.rates(&mut cells);
        self.sessions(&mut cells);
        self.traffic(&mut cells);
        if self.is_of_servers() {
            self.queue(&mut cells);
            self.checks(&mut cells);
            self.balancing(&mut cells);
        }
        cells.end(if self.row.proxy.kind.is_backend() {
            ALL
        } else {
            OF_CLIENTS
        });
        out.push_str("</tr>\n");
    }

    fn is_of_servers(&self) -> bool {
        matches!(self.row.object, Object::Server(..) | Object::Backend)
    }

    fn name(&self, cells: &mut Cells<'_>, name: &str) {
        let out = &mut *cells.out;
        let proxy = &self.row.proxy.name;
        let plus = match self.row.object {
            Object::Listener(_) => "+",
            _ => "",
        };
        let mut anchor = String::new();
        escape(&mut anchor, name);
        let room = if self.view.admin && !self.form {
            " colspan=\"2\""
        } else {
            ""
        };
        let _ = write!(
            out,
            "<th scope=\"row\"{room}><a id=\"{proxy}/{plus}{anchor}\" href=\"#{proxy}/{plus}{anchor}\">"
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
        cells.bold(name.chars().count());
    }

    /// Appends the row as a single line of text, for narrow screens.
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
        if row.get(C::CheckStatus) != &ColumnValue::Empty {
            out.push_str(" · ");
            escape(out, row.text(C::CheckStatus));
        }
        out.push_str("</span>");
    }

    /// Formats the details that `stats show-legends` adds.
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

    /// Appends a cell with a number, or an empty one.
    fn cell(&self, cells: &mut Cells<'_>, column: C) {
        if self.row.get(column) == &ColumnValue::Empty {
            return cells.skip(1);
        }
        let n = self.row.number(column);
        cells.out.push_str("<td>");
        number(cells.out, n);
        cells.out.push_str("</td>");
        cells.digits(n);
    }

    /// Appends a cell with a limit; a dash stands for no limit.
    fn limit(&self, cells: &mut Cells<'_>, column: C) {
        if self.row.number(column) == 0 {
            text(cells, "-");
        } else {
            self.cell(cells, column);
        }
    }

    /// Appends a number with a table of details as its tooltip.
    fn detailed(&self, cells: &mut Cells<'_>, column: C, more: impl FnOnce(&mut String)) {
        let n = self.row.number(column);
        cells.out.push_str("<td><span class=\"t\">");
        number(cells.out, n);
        cells.out.push_str("<span>");
        more(cells.out);
        cells.out.push_str("</span></span></td>");
        cells.digits(n);
    }

    /// Appends bytes with a unit, and the exact number as tooltip.
    fn volume(&self, cells: &mut Cells<'_>, column: C) {
        let n = self.row.number(column);
        let short = bytes(n);
        cells.out.push_str("<td>");
        match short {
            Some(ref short) => tip(cells.out, short, |out| number(out, n)),
            None => number(cells.out, n),
        }
        cells.out.push_str("</td>");
        match short {
            Some(short) => cells.letters(short.len()),
            None => cells.digits(n),
        }
    }

    fn status(&self, cells: &mut Cells<'_>) {
        let status = self.row.text(C::Status);
        cells.out.push_str("<td class=\"c st\">");
        let mut length = status.chars().count();
        match &self.row.object {
            Object::Server(_, report) if is_plain(report) => cells.out.push_str("<i>no check</i>"),
            Object::Frontend | Object::Listener(_) => escape(cells.out, status),
            Object::Server(..) | Object::Backend => {
                let mut since = String::new();
                seconds(&mut since, self.row.number(C::Lastchg));
                length += since.len() + 1;
                let _ = write!(cells.out, "{since} ");
                escape(cells.out, status);
            }
        }
        cells.out.push_str("</td>");
        cells.bold(length);
    }

    fn rates(&self, cells: &mut Cells<'_>) {
        match self.row.object {
            Object::Listener(_) => cells.skip(3),
            Object::Frontend => {
                for (column, connections, requests, what) in [
                    (C::Rate, C::ConnRate, C::ReqRate, "Current"),
                    (C::RateMax, C::ConnRateMax, C::ReqRateMax, "Max"),
                ] {
                    self.detailed(cells, column, |out| {
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
                self.limit(cells, C::RateLim);
            }
            Object::Backend | Object::Server(..) => {
                self.cell(cells, C::Rate);
                self.cell(cells, C::RateMax);
                cells.skip(1);
            }
        }
    }

    fn sessions(&self, cells: &mut Cells<'_>) {
        if let Object::Server(..) = self.row.object {
            self.detailed(cells, C::Scur, |out| {
                let row = self.row;
                let _ = write!(
                    out,
                    "Current used connections: {}\nCurrent idle connections: {}",
                    row.number(C::UsedConnCur),
                    row.number(C::SrvIcur)
                );
                if row.get(C::SrcIlim) != &ColumnValue::Empty {
                    let _ = write!(out, "\nIdle connections limit: {}", row.number(C::SrcIlim));
                }
            });
        } else {
            self.cell(cells, C::Scur);
        }
        self.cell(cells, C::Smax);
        self.limit(cells, C::Slim);
        if let Object::Listener(_) = self.row.object {
            self.cell(cells, C::Stot);
        } else {
            self.detailed(cells, C::Stot, |out| self.total(out));
        }
    }

    /// Appends the details of the total number of sessions: connections, HTTP responses by class,
    /// errors and times.
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

    fn traffic(&self, cells: &mut Cells<'_>) {
        self.volume(cells, C::Bin);
        self.volume(cells, C::Bout);
        for column in [C::Dreq, C::Dresp, C::Ereq] {
            self.cell(cells, column);
        }
        if !self.is_of_servers() {
            return;
        }
        self.cell(cells, C::Econ);
        self.detailed(cells, C::Eresp, |out| {
            let _ = write!(
                out,
                "Connection resets during transfers: {} client, {} server",
                self.row.number(C::CliAbrt),
                self.row.number(C::SrvAbrt)
            );
        });
        self.cell(cells, C::Wretr);
        self.cell(cells, C::Wredis);
    }

    fn queue(&self, cells: &mut Cells<'_>) {
        self.cell(cells, C::Qcur);
        self.cell(cells, C::Qmax);
        match self.row.object {
            Object::Server(..) => self.limit(cells, C::Qlimit),
            _ => cells.skip(1),
        }
    }

    fn balancing(&self, cells: &mut Cells<'_>) {
        self.cell(cells, C::Lbtot);
        match self.row.get(C::Lastsess) {
            ColumnValue::S32(s) if *s < 0 => text(cells, "?"),
            ColumnValue::S32(s) => duration(cells, *s as u64),
            _ => cells.skip(1),
        }
        let (now, set) = (self.row.number(C::Weight), self.row.number(C::Uweight));
        text(cells, &format!("{now}/{set}"));
        let (active, backup) = (self.row.number(C::Act), self.row.number(C::Bck));
        if let Object::Backend = self.row.object {
            text(cells, &active.to_string());
            text(cells, &backup.to_string());
            return cells.skip(1);
        }
        let (active, spare) = if backup > 0 { ("-", "Y") } else { ("Y", "-") };
        text(cells, active);
        text(cells, spare);
        match self.row.get(C::Throttle) {
            ColumnValue::U32(percent) => text(cells, &format!("{percent} %")),
            _ => text(cells, "-"),
        }
    }

    fn checks(&self, cells: &mut Cells<'_>) {
        match &self.row.object {
            Object::Server(_, report) => {
                self.last_check(cells);
                if !report.checked {
                    return cells.skip(3);
                }
                self.cell(cells, C::Chkfail);
            }
            _ => cells.skip(2),
        }
        self.cell(cells, C::Chkdown);
        match self.row.get(C::Downtime) {
            ColumnValue::Empty => cells.skip(1),
            _ => duration(cells, self.row.number(C::Downtime)),
        }
    }

    fn last_check(&self, cells: &mut Cells<'_>) {
        let row = self.row;
        if row.get(C::CheckStatus) == &ColumnValue::Empty {
            return cells.skip(1);
        }
        let mut status = row.text(C::CheckStatus).to_owned();
        if row.get(C::CheckCode) != &ColumnValue::Empty {
            let _ = write!(status, "/{}", row.number(C::CheckCode));
        }
        if row.get(C::CheckDuration) != &ColumnValue::Empty {
            let _ = write!(status, " in {}ms", row.number(C::CheckDuration));
        }
        cells.out.push_str("<td class=\"c\">");
        tip(cells.out, &status, |out| {
            escape(out, row.text(C::CheckDesc));
            if !row.text(C::LastChk).is_empty() {
                out.push_str(": ");
                escape(out, row.text(C::LastChk));
            }
        });
        cells.out.push_str("</td>");
        cells.letters(status.chars().count());
    }
}

/// Returns whether a server has no check and no special state, so that nothing is known about its
/// health.
fn is_plain(report: &ServerReport) -> bool {
    let is_ready = report.admin == AdminReport::Ready && report.health == HealthState::Up;
    is_ready && !report.checked
}

fn checkbox(out: &mut String, name: &str, is_server: bool) {
    out.push_str("<td class=\"k\">");
    if is_server {
        out.push_str("<input type=\"checkbox\" name=\"s\" value=\"");
        escape(out, name);
        out.push_str("\" aria-label=\"");
        escape(out, name);
        out.push_str("\">");
    }
    out.push_str("</td>");
}

fn text(cells: &mut Cells<'_>, text: &str) {
    let _ = write!(cells.out, "<td>{text}</td>");
    cells.letters(text.len());
}

fn duration(cells: &mut Cells<'_>, s: u64) {
    let mut text = String::new();
    seconds(&mut text, s);
    let _ = write!(cells.out, "<td>{text}</td>");
    cells.letters(text.len());
}
