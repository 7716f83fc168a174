//! Writes the page on which an operator confirms that sessions are to be killed. The page needs
//! no script.

use super::text::escape;
use super::{Html, head, link, policy};
use crate::stats::admin::Kill;
use crate::stats::asked::StatisticsQuery;
use model::config::StatsPage;
use model::config::product::PRODUCT as NAME;
use std::fmt::Write;

pub fn render(page: &StatsPage, asked: &StatisticsQuery, kill: &Kill<'_>) -> Html {
    let mut out = String::new();
    head::begin(&mut out);
    let _ = write!(
        out,
        "<title>Kill sessions? {NAME}</title>\n<style>{}</style></head>\n<body><main>",
        head::STYLE
    );
    let back = link(page, &asked.words());
    let (name, id) = (&kill.backend.name, kill.backend.id);
    let sessions =
        |server: &&model::config::Server| u64::from(server.state.traffic.sessions.current());
    let all: u64 = kill.servers.iter().map(sessions).sum();
    let _ = write!(
        out,
        "<form class=\"said active_down\" method=\"post\" action=\"{back}\">\n\
         <h1>Kill {}?</h1>\n\
         <p>Requests under way on these servers of backend {name} fail, and their clients see errors.</p>\n<ul>",
        counted(all)
    );
    for server in &kill.servers {
        out.push_str("<li><input type=\"hidden\" name=\"s\" value=\"");
        escape(&mut out, &server.name);
        out.push_str("\"><b>");
        escape(&mut out, &server.name);
        let _ = writeln!(out, "</b>, {}</li>", counted(sessions(server)));
    }
    let _ = write!(
        out,
        "</ul>\n<input type=\"hidden\" name=\"b\" value=\"#{id}\">\
         <p class=\"act\"><button name=\"action\" value=\"shutdown\" class=\"kill\">Kill sessions</button> \
         <a class=\"button\" href=\"{back}\">Cancel</a></p></form></main></body></html>\n"
    );
    Html {
        policy: policy(&[head::STYLE]),
        text: out,
    }
}

fn counted(sessions: u64) -> String {
    match sessions {
        1 => "1 session".to_owned(),
        n => format!("{n} sessions"),
    }
}
