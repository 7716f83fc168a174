//! Draws the pages of the console: the state of a platform as HTML. The functions take values and
//! return markup, and do no I/O.
//!
//! The library maud escapes all texts, which come from files, from unprivileged processes or from
//! the network. No text is marked as already escaped, except the blanks before the marks of a
//! finding.

mod actions;
pub mod config;
mod confirm;
mod effects;
mod events;
mod frame;
mod graph;
mod machine;
mod overview;
mod part;
mod picture;
mod problems;
mod proxy;
mod requests;
mod route;
mod rows;
pub mod screen;
mod state;
mod table;
mod traffic;
mod words;

pub use confirm::{ActionConfirmation, confirm};
pub use frame::{BRAND, failure, once};
pub use requests::one as request;
pub use route::route;
pub use table::table;
pub use words::{decode, encode, time};

use crate::inquiry::{ProxyQuery, ProxyResponse};
use crate::platform::{Platform, PlatformMember};
use crate::user::Viewer;
use maud::Markup;

pub const STYLE: &str = concat!(
    include_str!("../../../access/src/page/base.css"),
    include_str!("style.css"),
    include_str!("../../../screen/src/screen.css"),
    include_str!("config/style.css")
);
/// The script at `/live.js`. Every page works without it.
pub const SCRIPT: &str = include_str!("live.js");

pub const EDITOR: &str = include_str!("config/edit.js");

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ConsolePage {
    /// Problems that need attention, the picture of the machines, the traffic in numbers.
    Overview,
    Traffic,
    Proxy(String),
    Part(String),
    Requests,
    Events,
    Configuration,
}

/// The data that a page shows.
#[derive(Clone, Copy, Debug)]
pub struct PageContext<'s> {
    pub platform: &'s Platform,
    pub viewer: &'s Viewer,
    /// Filter (`?q=`): only entries that contain these words are shown. Empty: all entries.
    pub filter: &'s str,
    /// Name of the machine (`?on=`), if only one is shown. None: all machines are shown.
    pub member: Option<&'s str>,
    pub outcome: Option<&'s str>,
    pub page_query: Option<PageQuery<'s>>,
}

/// A query of a page to the proxy of the chosen machine.
#[derive(Clone, Copy, Debug)]
pub struct PageQuery<'s> {
    pub ask: &'s ProxyQuery,
    /// Response of the proxy. None: the query was not sent.
    pub answer: Option<&'s ProxyResponse>,
}

impl<'s> PageContext<'s> {
    /// Creates a context that shows everything, without an outcome or a query.
    pub fn all(platform: &'s Platform, viewer: &'s Viewer) -> PageContext<'s> {
        PageContext {
            platform,
            viewer,
            filter: "",
            member: None,
            outcome: None,
            page_query: None,
        }
    }
}

impl ConsolePage {
    pub fn path(&self) -> String {
        match self {
            ConsolePage::Overview => "/".to_owned(),
            ConsolePage::Traffic => "/traffic".to_owned(),
            ConsolePage::Proxy(name) => format!("/traffic/{}", encode(name)),
            ConsolePage::Part(name) => format!("/part/{}", encode(name)),
            ConsolePage::Requests => "/requests".to_owned(),
            ConsolePage::Events => "/events".to_owned(),
            ConsolePage::Configuration => "/config".to_owned(),
        }
    }

    /// Returns the page that belongs to a path; the query string is ignored.
    pub fn of_path(path: &str) -> Option<ConsolePage> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let name = |prefix: &str| {
            let name = path.strip_prefix(prefix)?;
            decode(name).filter(|decoded| !decoded.is_empty() && !name.contains('/'))
        };
        match path {
            "/" => Some(ConsolePage::Overview),
            "/traffic" => Some(ConsolePage::Traffic),
            "/requests" => Some(ConsolePage::Requests),
            "/events" => Some(ConsolePage::Events),
            "/config" => Some(ConsolePage::Configuration),
            _ => name("/traffic/")
                .map(ConsolePage::Proxy)
                .or_else(|| name("/part/").map(ConsolePage::Part)),
        }
    }

    /// Returns whether a path with a query string leads to this console. Browsers drop control
    /// characters, and treat `//` and `\\` as the beginning of another host.
    pub fn is_here(path: &str) -> bool {
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
        path.starts_with('/') && !path.starts_with("//") && !path.contains(is_odd)
    }

    pub fn title(&self) -> String {
        match self {
            ConsolePage::Overview => "Overview".to_owned(),
            ConsolePage::Traffic => "Traffic".to_owned(),
            ConsolePage::Proxy(name) => words::clean(name).into_owned(),
            ConsolePage::Part(name) => words::of_part(name),
            ConsolePage::Requests => "Requests".to_owned(),
            ConsolePage::Events => "Events".to_owned(),
            ConsolePage::Configuration => "Configuration".to_owned(),
        }
    }
}

impl<'s> PageContext<'s> {
    fn members(&self) -> impl Iterator<Item = (usize, &'s PlatformMember)> + use<'s> {
        let only = self.member;
        let all = self.platform.members.iter().enumerate();
        all.filter(move |(_, member)| only.is_none_or(|only| only == member.name))
    }

    fn matches(&self, texts: &[&str]) -> bool {
        let all = texts.join(" ").to_lowercase();
        let filter = self.filter.to_lowercase();
        filter.split_whitespace().all(|word| all.contains(word))
    }

    /// Returns the query string for a filter and a machine, with its question mark. Empty for
    /// neither.
    fn query(&self, filter: &str, member: Option<&str>) -> String {
        let filter = (!filter.is_empty()).then(|| format!("q={}", encode(filter)));
        let member = member.map(|name| format!("on={}", encode(name)));
        let all: Vec<String> = filter.into_iter().chain(member).collect();
        if all.is_empty() {
            String::new()
        } else {
            format!("?{}", all.join("&"))
        }
    }
}

pub fn document(page: &ConsolePage, shown: &PageContext<'_>) -> Markup {
    frame::document(page, shown, &parts(page, shown))
}

/// Draws the parts of a document that change, as element ids and their inner HTML.
pub fn pieces(page: &ConsolePage, shown: &PageContext<'_>) -> Vec<(&'static str, String)> {
    let entries = [("nav", frame::entries(page, shown))].into_iter();
    let all = entries.chain(parts(page, shown));
    all.map(|(id, html)| (id, html.into_string())).collect()
}

fn parts(page: &ConsolePage, shown: &PageContext<'_>) -> Vec<(&'static str, Markup)> {
    match page {
        ConsolePage::Overview => overview::parts(shown),
        ConsolePage::Traffic => vec![
            ("traffic", traffic::of(shown)),
            ("route", route::link(shown)),
        ],
        ConsolePage::Proxy(name) => vec![
            ("proxy", proxy::of(shown, name)),
            ("errors", requests::errors(shown)),
        ],
        ConsolePage::Part(name) => vec![("part", part::of(shown, name))],
        ConsolePage::Requests => vec![
            ("wanted", requests::wanted(shown)),
            ("requests", requests::of(shown)),
        ],
        ConsolePage::Events => vec![
            ("notices", machine::notices(shown)),
            ("events", events::of(shown)),
        ],
        ConsolePage::Configuration => vec![("versions", config::of(shown))],
    }
}

#[cfg(test)]
mod tests;
