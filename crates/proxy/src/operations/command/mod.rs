//! The commands: a table of what is built, who may use it and what does it;
//! and which commands of HAProxy are known and not built.

mod addresses;
mod agent;
mod cache;
mod change;
mod errors;
mod events;
mod info;
mod lists;
mod process;
mod resolvers;
mod server;
mod sessions;
mod show;
mod state;
mod tables;
mod ticket_keys;
mod tls;

pub use events::{Follow, follow};

use super::serving::Shared;
use crate::config::{Config, Proxy, Server, StatsLevel};
use crate::reference::kept;
use crate::runtime::Runtime;
use language::keyword::Documented;
use language::suggest;
use std::fmt::{self, Write};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// What commands work on.
#[derive(Clone, Debug)]
pub struct Context {
    /// What the process shares.
    pub runtime: &'static Runtime,
    /// What all connections share.
    pub(super) shared: Arc<Shared>,
}

/// A connection's own settings.
#[derive(Clone, Debug)]
pub struct Session {
    /// What it may do.
    pub level: StatsLevel,
    /// Whether it stays open and prompts.
    pub prompt: bool,
    /// It said `quit`.
    pub ended: bool,
    /// How long it may be silent.
    pub timeout: Duration,
    /// What stood behind `<<`.
    pub payload: Option<Arc<Payload>>,
}

/// What stood behind `<<`. It may hold keys: it is wiped when it is dropped, and
/// shown to nobody.
pub struct Payload(pub Zeroizing<String>);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl Deref for Payload {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

type Run = fn(&Context, &mut Session, &[&str]) -> String;
type ReportRun = fn(&Context, &Session, &[&str]) -> String;

/// What a command line comes to.
pub enum Action {
    /// This does it, at once.
    Now(Run),
    /// This reads a lot: not on the side thread.
    Report(ReportRun),
    /// It is not done.
    Refuse(String),
}

/// What does a command.
#[derive(Clone, Copy)]
enum Does {
    Now(Run),
    Report(ReportRun),
}

/// One command.
struct Row {
    /// Its first words.
    words: &'static [&'static str],
    /// How it is written.
    syntax: &'static str,
    /// What it is for.
    doc: &'static str,
    /// Who may use it.
    level: StatsLevel,
    does: Does,
}

use Does::{Now, Report};
use StatsLevel::{Admin, Operator, User};

const fn row(
    words: &'static [&'static str],
    syntax: &'static str,
    doc: &'static str,
    level: StatsLevel,
    does: Does,
) -> Row {
    Row {
        words,
        syntax,
        doc,
        level,
        does,
    }
}

#[rustfmt::skip]
static COMMANDS: &[Row] = &[
    row(&["abort", "ssl", "ca-file"], "abort ssl ca-file <cafile>", "forget what was set for a file of authorities", Admin, Report(tls::abort)),
    row(&["abort", "ssl", "cert"], "abort ssl cert <certfile>", "forget what was set for a certificate", Admin, Report(tls::abort)),
    row(&["abort", "ssl", "crl-file"], "abort ssl crl-file <crlfile>", "forget what was set for a file of revoked certificates", Admin, Report(tls::abort)),
    row(&["add", "acl"], "add acl [@<ver>] <acl> <pattern>", "one more pattern of a list", Operator, Report(lists::add_acl)),
    row(&["add", "map"], "add map [@<ver>] <map> <key> <value>", "one more entry of a map, or a payload of them", Operator, Report(lists::add_map)),
    row(&["add", "ssl", "crt-list"], "add ssl crt-list <list> <cert> [opts]*", "one more line of a list of certificates, or a payload with it", Admin, Report(tls::add_to_list)),
    row(&["clear", "acl"], "clear acl [@<ver>] <acl>", "remove all patterns of a list", Operator, Report(lists::clear)),
    row(&["clear", "map"], "clear map [@<ver>] <map>", "remove all entries of a map", Operator, Report(lists::clear)),
    row(&["commit", "acl"], "commit acl @<ver> <acl>", "use a version of a list that was prepared", Operator, Report(lists::commit)),
    row(&["commit", "map"], "commit map @<ver> <map>", "use a version of a map that was prepared", Operator, Report(lists::commit)),
    row(&["clear", "counters"], "clear counters [all]", "forget highest values, or all counters", Operator, Now(change::clear_counters)),
    row(&["clear", "table"], "clear table <table> [<filter>]*", "remove entries of a table, all or some", Admin, Report(tables::clear)),
    row(&["commit", "ssl", "ca-file"], "commit ssl ca-file <cafile>", "use what was set for a file of authorities", Admin, Report(tls::commit)),
    row(&["commit", "ssl", "cert"], "commit ssl cert <certfile>", "use what was set for a certificate", Admin, Report(tls::commit)),
    row(&["commit", "ssl", "crl-file"], "commit ssl crl-file <crlfile>", "use what was set for a file of revoked certificates", Admin, Report(tls::commit)),
    row(&["del", "acl"], "del acl <acl> [<key>|#<ref>]", "remove one pattern of a list", Operator, Report(lists::delete)),
    row(&["del", "map"], "del map <map> [<key>|#<ref>]", "remove one entry of a map", Operator, Report(lists::delete)),
    row(&["del", "ssl", "ca-file"], "del ssl ca-file <cafile>", "remove a file of authorities that nobody uses", Admin, Report(tls::delete)),
    row(&["del", "ssl", "cert"], "del ssl cert <certfile>", "remove a certificate that nobody uses", Admin, Report(tls::delete)),
    row(&["del", "ssl", "crl-file"], "del ssl crl-file <crlfile>", "remove a file of revoked certificates that nobody uses", Admin, Report(tls::delete)),
    row(&["del", "ssl", "crt-list"], "del ssl crt-list <list> <cert[:line]>", "remove a line of a list of certificates", Admin, Report(tls::delete_from_list)),
    row(&["disable", "agent"], "disable agent <bk>/<srv>", "a server's agent is not asked", Admin, Now(agent::disable)),
    row(&["disable", "frontend"], "disable frontend <frontend>", "a frontend takes no connections for now", Admin, Now(change::disable_frontend)),
    row(&["disable", "health"], "disable health <bk>/<srv>", "a server's checks rest", Admin, Now(server::disable_health)),
    row(&["disable", "server"], "disable server <bk>/<srv>", "a server goes into maintenance", Admin, Now(server::disable)),
    row(&["enable", "agent"], "enable agent <bk>/<srv>", "a server's agent is asked again", Admin, Now(agent::enable)),
    row(&["enable", "frontend"], "enable frontend <frontend>", "a frontend takes connections again", Admin, Now(change::enable_frontend)),
    row(&["enable", "health"], "enable health <bk>/<srv>", "a server is checked again", Admin, Now(server::enable_health)),
    row(&["enable", "server"], "enable server <bk>/<srv>", "a server leaves maintenance", Admin, Now(server::enable)),
    row(&["get", "acl"], "get acl <acl> <value>", "tell which pattern a value meets", User, Report(lists::get)),
    row(&["get", "map"], "get map <map> <key>", "tell which entry a key meets", User, Report(lists::get)),
    row(&["get", "weight"], "get weight <bk>/<srv>", "tell a server's weight", User, Now(server::get_weight)),
    row(&["new", "ssl", "ca-file"], "new ssl ca-file <cafile>", "one more file of authorities, empty as yet", Admin, Report(tls::create)),
    row(&["new", "ssl", "cert"], "new ssl cert <certfile>", "one more certificate, empty as yet", Admin, Report(tls::create)),
    row(&["new", "ssl", "crl-file"], "new ssl crl-file <crlfile>", "one more file of revoked certificates, empty as yet", Admin, Report(tls::create)),
    row(&["operator"], "operator", "this connection has the level operator at most", User, Now(operator)),
    row(&["prepare", "acl"], "prepare acl <acl>", "begin another version of a list", Operator, Report(lists::prepare)),
    row(&["prepare", "map"], "prepare map <map>", "begin another version of a map", Operator, Report(lists::prepare)),
    row(&["set", "map"], "set map <map> [<key>|#<ref>] <value>", "another value of an entry", Operator, Report(lists::set_map)),
    row(&["set", "maxconn", "frontend"], "set maxconn frontend <frontend> <n>", "another limit of a frontend", Admin, Now(change::maxconn_frontend)),
    row(&["set", "maxconn", "global"], "set maxconn global <n>", "another limit of the process", Admin, Now(change::maxconn_global)),
    row(&["set", "maxconn", "server"], "set maxconn server <bk>/<srv> <n>", "another limit of a server", Admin, Now(server::maxconn)),
    row(&["set", "server"], "set server <bk>/<srv> [opts]", "another state, health, weight or address", Admin, Now(server::set)),
    row(&["set", "ssl", "ca-file"], "set ssl ca-file <cafile> <payload>", "prepare other authorities of a file", Admin, Report(tls::set)),
    row(&["set", "ssl", "cert"], "set ssl cert <certfile> <payload>", "prepare another certificate, or a part of it", Admin, Report(tls::set)),
    row(&["set", "ssl", "crl-file"], "set ssl crl-file <crlfile> <payload>", "prepare other revoked certificates of a file", Admin, Report(tls::set)),
    row(&["set", "ssl", "ocsp-response"], "set ssl ocsp-response <resp|payload>", "another answer of OCSP, in Base64", Admin, Report(tls::set_ocsp)),
    row(&["set", "ssl", "tls-key"], "set ssl tls-key [id|file] <key>", "the next key of session tickets", Admin, Now(ticket_keys::set)),
    row(&["set", "table"], "set table <table> key <k> [data.* <v>]*", "make an entry of a table, or change its data", Admin, Report(tables::set)),
    row(&["set", "timeout"], "set timeout cli <delay>", "how long this connection may be silent", User, Now(change::timeout)),
    row(&["set", "weight"], "set weight <bk>/<srv> <weight>", "another weight of a server", Admin, Now(server::set_weight)),
    row(&["show", "acl"], "show acl [[@<ver>] <acl>]", "list the lists of patterns, or one's patterns", User, Report(lists::show)),
    row(&["show", "activity"], "show activity", "tell what the threads do", Operator, Now(process::activity)),
    row(&["show", "backend"], "show backend", "list the backends", User, Now(show::backends)),
    row(&["show", "cache"], "show cache", "list the caches and what they hold", Operator, Report(cache::show)),
    row(&["show", "cli", "level"], "show cli level", "tell what this connection may do", User, Now(show::level)),
    row(&["show", "cli", "sockets"], "show cli sockets", "list the statistics sockets", User, Now(show::sockets)),
    row(&["show", "configuration"], "show configuration", "tell which versions of the configuration are alive", Operator, Now(process::configuration)),
    row(&["show", "env"], "show env [<var>]", "tell the environment of the process", Operator, Now(show::environment)),
    row(&["show", "events"], "show events [<ring>] [-w] [-n]", "tell the lines that rings of log lines hold, or as they come", Operator, Report(events::show)),
    row(&["show", "errors"], "show errors [<px>] [request|response]", "tell the last messages that could not be read", Operator, Report(errors::show)),
    row(&["show", "fd"], "show fd [num]", "list the open descriptors", Operator, Report(process::descriptors)),
    row(&["show", "info"], "show info [desc|json|typed|float]*", "tell about the process", User, Now(info::show)),
    row(&["show", "map"], "show map [[@<ver>] <map>]", "list the maps, or one's entries", User, Report(lists::show)),
    row(&["show", "peers"], "show peers [<section>]", "tell of the peers and of what they share", User, Report(tables::peers)),
    row(&["show", "pools"], "show pools", "tell about memory that is kept for reuse", Operator, Now(process::pools)),
    row(&["show", "resolvers"], "show resolvers [id]", "tell what the servers of names did", Operator, Report(resolvers::show)),
    row(&["show", "schema", "json"], "show schema json", "tell the schema of the JSON", User, Now(show::schema)),
    row(&["show", "servers", "conn"], "show servers conn [<backend>]", "tell the connections to servers", User, Report(state::connections)),
    row(&["show", "servers", "state"], "show servers state [<backend>]", "tell the states of servers", User, Report(state::states)),
    row(&["show", "sess"], "show sess [<id>|all]", "list the sessions, or tell more of them", Operator, Report(sessions::show)),
    row(&["show", "ssl", "ca-file"], "show ssl ca-file [<cafile>[:<index>]]", "list the files of authorities, or tell one's certificates", Operator, Report(tls::show)),
    row(&["show", "ssl", "cert"], "show ssl cert [<certfile>]", "list the certificates, or tell of one", Operator, Report(tls::show)),
    row(&["show", "ssl", "crl-file"], "show ssl crl-file [<crlfile[:<index>>]]", "list the files of revoked certificates, or tell of one", Operator, Report(tls::show)),
    row(&["show", "ssl", "crt-list"], "show ssl crt-list [-n] [<list>]", "list the lists of certificates, or one's lines", Admin, Report(tls::show_lists)),
    row(&["show", "ssl", "ocsp-response"], "show ssl ocsp-response [id]", "list the answers of OCSP, or tell one", User, Report(tls::show_ocsp)),
    row(&["show", "ssl", "providers"], "show ssl providers", "tell whose cryptography is used", User, Now(tls::providers)),
    row(&["show", "stat"], "show stat [<iid>|<px> <type> <sid>] [desc|json|no-maint|typed|up]*", "tell the counters", User, Report(show::statistics)),
    row(&["show", "table"], "show table <table> [<filter>]*", "list the tables, or the entries of one", User, Report(tables::show)),
    row(&["show", "tls-keys"], "show tls-keys [id|*]", "list the files of keys of session tickets, or tell their keys", User, Now(ticket_keys::show)),
    row(&["show", "version"], "show version", "tell the version", User, Now(show::version)),
    row(&["show", "virtual-ip"], "show virtual-ip [<name>]", "list virtual addresses, or tell all of one", User, Now(addresses::show)),
    row(&["shutdown", "frontend"], "shutdown frontend <frontend>", "a frontend takes no connections any more", Admin, Now(sessions::shut_frontend_down)),
    row(&["shutdown", "session"], "shutdown session <id>", "end a session", Admin, Report(sessions::shut_down)),
    row(&["shutdown", "sessions", "server"], "shutdown sessions server <bk>/<srv>", "end what a server serves", Admin, Now(server::shut_down)),
    row(&["user"], "user", "this connection has the level user from now on", User, Now(user)),
    row(&["help"], "help [<command>]", "list commands", User, Now(help)),
    row(&["prompt"], "prompt", "stay connected and prompt, or no more", User, Now(prompt)),
    row(&["quit"], "quit", "disconnect", User, Now(quit)),
];

/// The commands as rows of the manual.
pub fn documented() -> Vec<Documented> {
    COMMANDS.iter().map(Row::documented).collect()
}

impl Row {
    fn documented(&self) -> Documented {
        let level = match self.level {
            User => "user",
            Operator => "operator",
            Admin => "admin",
        };
        let mut doc: Vec<char> = self.doc.chars().collect();
        if let Some(first) = doc.first_mut() {
            *first = first.to_ascii_uppercase();
        }
        let doc: String = doc.into_iter().collect();
        Documented {
            kind: "runtime command",
            name: kept(self.words.join(" ")),
            places: &[],
            syntax: self.syntax,
            doc: kept(format!(
                "{doc}. Needs the level `{level}` of `stats socket`."
            )),
            example: "",
            family: "Runtime commands",
            built: true,
        }
    }
}

/// The last rows, which every list of suggestions ends with.
const ALWAYS: usize = 3;

/// What HAProxy has and Evenkeel does not do yet.
const NOT_BUILT: &[&str] = &[
    "add server",
    "del server",
    "disable dynamic-cookie",
    "enable dynamic-cookie",
    "get var",
    "set dynamic-cookie-key",
    "set profiling",
    "set rate-limit",
    "set severity-output",
    "set var",
    "show libs",
    "show profiling",
    "show startup-logs",
    "show tasks",
    "show threads",
    "show trace",
    "trace",
];

fn begins_with(words: &[&str], name: &[&str]) -> bool {
    words.len() >= name.len() && words.iter().zip(name).all(|(word, name)| word == name)
}

/// Finds what a command line asks for.
pub fn find(session: &Session, words: &[&str]) -> Action {
    if let Some(row) = COMMANDS.iter().find(|row| begins_with(words, row.words)) {
        if session.level < row.level {
            return Action::Refuse("Permission denied\n".into());
        }
        return match row.does {
            Now(run) => Action::Now(run),
            Report(run) => Action::Report(run),
        };
    }
    let missing = NOT_BUILT.iter().find(|name| {
        let name: Vec<&str> = name.split(' ').collect();
        begins_with(words, &name)
    });
    Action::Refuse(match missing {
        Some(name) => format!("'{name}' is known, but not built yet.\n"),
        None => unknown(words),
    })
}

/// What is said of a command that is none.
fn unknown(words: &[&str]) -> String {
    let (own, always) = COMMANDS.split_at(COMMANDS.len() - ALWAYS);
    let first = words.first().copied().unwrap_or_default();
    // Those that begin with as many of the words as any does.
    let same = |row: &&Row| {
        let both = row.words.iter().zip(words);
        both.take_while(|(one, other)| one == other).count()
    };
    let most = own.iter().map(|row| same(&row)).max().unwrap_or(0);
    let mut near: Vec<&Row> = own
        .iter()
        .filter(|row| most > 0 && same(row) == most)
        .collect();
    if near.is_empty() && !first.is_empty() {
        let name = suggest::nearest(first, own.iter().map(|row| row.words[0]));
        near = own
            .iter()
            .filter(|row| Some(row.words[0]) == name)
            .collect();
    }
    let mut text = String::new();
    if near.is_empty() {
        text.push_str("Unknown command. Please enter one of the following commands only:\n");
        near = own.iter().collect();
    } else {
        text.push_str("Unknown command, but maybe one of the following ones is a better match:\n");
    }
    for row in near.into_iter().chain(always) {
        list(&mut text, row);
    }
    text
}

fn list(text: &mut String, row: &Row) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  {:<40}: {}", row.syntax, row.doc);
}

fn help(_: &Context, session: &mut Session, words: &[&str]) -> String {
    let wanted = &words[1..];
    let mut text = String::from("The following commands are valid at this level:\n");
    let (own, always) = COMMANDS.split_at(COMMANDS.len() - ALWAYS);
    let fits = |row: &&Row| begins_with(row.words, &wanted[..wanted.len().min(row.words.len())]);
    let allowed = own.iter().filter(|row| session.level >= row.level);
    for row in allowed.filter(fits).chain(always) {
        list(&mut text, row);
    }
    text
}

fn prompt(_: &Context, session: &mut Session, _: &[&str]) -> String {
    session.prompt = !session.prompt;
    String::new()
}

fn quit(_: &Context, session: &mut Session, _: &[&str]) -> String {
    session.ended = true;
    String::new()
}

fn operator(_: &Context, session: &mut Session, _: &[&str]) -> String {
    session.level = session.level.min(StatsLevel::Operator);
    String::new()
}

fn user(_: &Context, session: &mut Session, _: &[&str]) -> String {
    session.level = StatsLevel::User;
    String::new()
}

/// The server that a `backend/server` names, or what to say.
fn find_server<'c>(
    config: &'c Config,
    name: Option<&&str>,
) -> Result<(&'c Proxy, &'c Server), String> {
    let Some((backend, server)) = name.and_then(|name| name.split_once('/')) else {
        return Err("Require 'backend/server'.\n".into());
    };
    let Some(proxy) = find_backend(config, backend) else {
        return Err("No such backend.\n".into());
    };
    let id = server
        .strip_prefix('#')
        .and_then(|id| id.parse::<u32>().ok());
    let found = proxy.servers.iter().find(|described| match id {
        Some(id) => described.id == id,
        None => *described.name == *server,
    });
    found
        .map(|server| (proxy, server))
        .ok_or_else(|| "No such server.\n".into())
}

/// A backend by its name, or by `#` and its id.
fn find_backend<'c>(config: &'c Config, name: &str) -> Option<&'c Proxy> {
    find_proxy(config, name, |proxy| proxy.kind.is_backend())
}

fn find_proxy<'c>(config: &'c Config, name: &str, fits: fn(&Proxy) -> bool) -> Option<&'c Proxy> {
    let id = name.strip_prefix('#').and_then(|id| id.parse::<u32>().ok());
    config
        .proxies
        .iter()
        .filter(|proxy| fits(proxy))
        .find(|proxy| match id {
            Some(id) => proxy.id == id,
            None => *proxy.name == *name,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_is_both_built_and_not() {
        for name in NOT_BUILT {
            let words: Vec<&str> = name.split(' ').collect();
            assert!(
                !COMMANDS.iter().any(|row| begins_with(&words, row.words)),
                "{name}"
            );
        }
        assert_eq!(
            COMMANDS
                .iter()
                .rev()
                .take(ALWAYS)
                .map(|r| r.words[0])
                .collect::<Vec<_>>(),
            ["quit", "prompt", "help"]
        );
    }
}
