//! Defines the commands of the statistics sockets: a table with the syntax, access level and
//! function of each, and the list of HAProxy's commands that are not supported.

mod addresses;
mod agent;
mod cache;
mod change;
mod developer;
mod dynamic;
mod errors;
mod events;
mod info;
mod latency;
mod lists;
mod metrics;
mod process;
mod reply;
mod requests;
mod resolvers;
mod server;
mod sessions;
mod settings;
mod show;
mod state;
mod table_rows;
mod tables;
mod ticket_keys;
mod tls;

pub use events::{Follow, follow};
pub use reply::{CommandReply, Severity};

use super::serving::SocketsState;
use crate::runtime::Runtime;
use crate::stats::piece::PieceSource;
use language::difference::{COVER, masked_value};
use language::keyword::Documented;
use language::suggest;
use model::config::{Config, Proxy, Server, SeverityOutput, StatsLevel};
use std::borrow::Cow;
use std::fmt::{self, Write};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Data that commands work on.
#[derive(Clone, Debug)]
pub struct Context {
    pub runtime: &'static Runtime,
    pub(super) shared: Arc<SocketsState>,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub level: StatsLevel,
    /// The connection stays open and shows a prompt.
    pub prompt: bool,
    pub ended: bool,
    pub timeout: Duration,
    pub expert: bool,
    pub experimental: bool,
    pub severity: SeverityOutput,
    pub payload: Option<Arc<Payload>>,
}

impl Session {
    /// Returns the value of a variable as this connection may see it. Only administrators see
    /// secret ones: those with suspect names, and those that rules use as credentials.
    fn visible<'v>(
        &self,
        name: &str,
        value: &'v str,
        is_secret: impl FnOnce() -> bool,
    ) -> Cow<'v, str> {
        if self.level >= StatsLevel::Admin {
            Cow::Borrowed(value)
        } else if is_secret() {
            Cow::Borrowed(COVER)
        } else {
            Cow::Owned(masked_value(name, value))
        }
    }
}

/// Payload of a command (after `<<`). It may contain keys, so it is wiped when dropped and never
/// shown.
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

type CommandFunction = fn(&Context, &mut Session, &[&str]) -> String;
type Replies = fn(&Context, &mut Session, &[&str]) -> CommandReply;
type ReportRun = fn(&Context, &Session, &[&str]) -> String;
type ReportReplies = fn(&Context, &Session, &[&str]) -> CommandReply;
/// A long report, which is produced while the client reads it. Err: a short reply in place of the
/// report.
pub type LongReply = Result<Box<dyn PieceSource>, CommandReply>;
type LongReports = fn(&Context, &Session, &[&str]) -> LongReply;

/// Outcome of parsing a command line.
pub enum CommandAction {
    /// Run this function at once, and give the reply this severity.
    Now(CommandFunction, Option<Severity>),
    /// Run this function at once; its reply contains the severity.
    NowReply(Replies),
    /// Run this function at once; its reply contains the severity, and no empty line follows.
    Bare(Replies),
    /// Run this function on another thread, since it reads much data, and give the reply this
    /// severity.
    Report(ReportRun, Option<Severity>),
    /// Run this function on another thread; its reply contains the severity.
    ReportReply(ReportReplies),
    /// Run this function on another thread; its report may be long.
    LongReport(LongReports),
    Refuse(CommandReply),
}

#[derive(Clone, Copy)]
enum Does {
    /// A report that is produced at once.
    Now(CommandFunction),
    /// An informational message that is produced at once.
    Inform(CommandFunction),
    /// A change that replies only with the reason of a failure.
    Change(CommandFunction),
    /// A command whose reply contains its severity.
    Says(Replies),
    /// A command whose reply contains its severity and is not followed by an empty line.
    Bare(Replies),
    /// A report that reads much data.
    Report(ReportRun),
    /// A slow change that replies only with the reason of a failure.
    SlowChange(ReportRun),
    /// A slow command whose reply contains its severity.
    SlowSays(ReportReplies),
    /// A report with a line for each server, session or entry.
    Long(LongReports),
}

/// A command in the table.
struct Row {
    words: &'static [&'static str],
    syntax: &'static str,
    doc: &'static str,
    level: StatsLevel,
    does: Does,
}

use Does::{Bare, Change, Inform, Long, Now, Report, Says, SlowChange, SlowSays};
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
    row(&["abort", "ssl", "ca-file"], "abort ssl ca-file <cafile>", "abort the transaction of a CA file", Admin, SlowSays(tls::abort)),
    row(&["abort", "ssl", "cert"], "abort ssl cert <certfile>", "abort the transaction of a certificate", Admin, SlowSays(tls::abort)),
    row(&["abort", "ssl", "crl-file"], "abort ssl crl-file <crlfile>", "abort the transaction of a CRL file", Admin, SlowSays(tls::abort)),
    row(&["add", "acl"], "add acl [@<ver>] <acl> <pattern>", "add a pattern to an ACL", Operator, SlowChange(lists::add_acl)),
    row(&["add", "map"], "add map [@<ver>] <map> <key> <value>", "add an entry to a map, or the entries of a payload", Operator, SlowChange(lists::add_map)),
    row(&["add", "server"], "add server <bk>/<srv> <addr> [<option>]*", "create a server, in maintenance and unchecked", Admin, SlowSays(dynamic::add)),
    row(&["add", "ssl", "crt-list"], "add ssl crt-list <list> <cert> [opts]*", "add a line to a crt-list, or the line of a payload", Admin, SlowSays(tls::add_to_list)),
    row(&["clear", "acl"], "clear acl [@<ver>] <acl>", "remove all patterns of an ACL", Operator, SlowChange(lists::clear)),
    row(&["clear", "map"], "clear map [@<ver>] <map>", "remove all entries of a map", Operator, SlowChange(lists::clear)),
    row(&["commit", "acl"], "commit acl @<ver> <acl>", "use a prepared version of an ACL", Operator, SlowChange(lists::commit)),
    row(&["commit", "map"], "commit map @<ver> <map>", "use a prepared version of a map", Operator, SlowChange(lists::commit)),
    row(&["clear", "counters"], "clear counters [all]", "clear the highest values of counters, or all counters", Operator, Change(change::clear_counters)),
    row(&["clear", "table"], "clear table <table> [<filter>]*", "remove all entries of a stick table, or those that match a filter", Operator, SlowChange(tables::clear)),
    row(&["commit", "ssl", "ca-file"], "commit ssl ca-file <cafile>", "commit the transaction of a CA file", Admin, SlowSays(tls::commit)),
    row(&["commit", "ssl", "cert"], "commit ssl cert <certfile>", "commit the transaction of a certificate", Admin, SlowSays(tls::commit)),
    row(&["commit", "ssl", "crl-file"], "commit ssl crl-file <crlfile>", "commit the transaction of a CRL file", Admin, SlowSays(tls::commit)),
    row(&["debug", "dev", "log"], "debug dev log [<word>]*", "send a message to the logs of the process (expert mode)", Admin, Change(developer::log)),
    row(&["del", "acl"], "del acl <acl> [<key>|#<ref>]", "remove a pattern from an ACL", Operator, SlowChange(lists::delete)),
    row(&["del", "map"], "del map <map> [<key>|#<ref>]", "remove an entry from a map", Operator, SlowChange(lists::delete)),
    row(&["del", "server"], "del server <bk>/<srv>", "remove a server that is in maintenance", Admin, SlowSays(dynamic::delete)),
    row(&["del", "ssl", "ca-file"], "del ssl ca-file <cafile>", "delete an unused CA file", Admin, SlowSays(tls::delete)),
    row(&["del", "ssl", "cert"], "del ssl cert <certfile>", "delete an unused certificate", Admin, SlowSays(tls::delete)),
    row(&["del", "ssl", "crl-file"], "del ssl crl-file <crlfile>", "delete an unused CRL file", Admin, SlowSays(tls::delete)),
    row(&["del", "ssl", "crt-list"], "del ssl crt-list <list> <cert[:line]>", "delete a line of a crt-list", Admin, SlowSays(tls::delete_from_list)),
    row(&["disable", "agent"], "disable agent <bk>/<srv>", "disable the agent checks of a server", Admin, Change(agent::disable)),
    row(&["disable", "dynamic-cookie"], "disable dynamic-cookie backend <bk>", "disable dynamic cookies of a backend", Admin, SlowChange(settings::disable_dynamic_cookie)),
    row(&["disable", "frontend"], "disable frontend <frontend>", "pause a frontend", Admin, Says(change::disable_frontend)),
    row(&["disable", "health"], "disable health <bk>/<srv>", "disable the health checks of a server", Admin, Change(server::disable_health)),
    row(&["disable", "server"], "disable server <bk>/<srv>", "put a server into maintenance (or use 'set server')", Admin, Change(server::disable)),
    row(&["enable", "agent"], "enable agent <bk>/<srv>", "enable the agent checks of a server", Admin, Change(agent::enable)),
    row(&["enable", "dynamic-cookie"], "enable dynamic-cookie backend <bk>", "enable dynamic cookies of a backend", Admin, SlowChange(settings::enable_dynamic_cookie)),
    row(&["enable", "frontend"], "enable frontend <frontend>", "resume a frontend", Admin, Says(change::enable_frontend)),
    row(&["enable", "health"], "enable health <bk>/<srv>", "enable the health checks of a server", Admin, Change(server::enable_health)),
    row(&["enable", "server"], "enable server <bk>/<srv>", "end the maintenance of a server (or use 'set server')", Admin, Change(server::enable)),
    row(&["experimental-mode"], "experimental-mode [on|off]", "allow experimental commands on this connection, or show the mode", Admin, Inform(developer::experimental)),
    row(&["expert-mode"], "expert-mode [on|off]", "allow expert commands on this connection, or show the mode", Admin, Inform(developer::expert)),
    row(&["get", "acl"], "get acl <acl> <value>", "show the pattern of an ACL that a value matches", User, SlowSays(lists::get)),
    row(&["get", "map"], "get map <map> <key>", "show the entry of a map that a key matches", User, SlowSays(lists::get)),
    row(&["get", "var"], "get var <name>", "show a process-wide variable", Operator, Bare(developer::get_variable)),
    row(&["get", "weight"], "get weight <bk>/<srv>", "show the weight of a server", User, Says(server::get_weight)),
    row(&["new", "ssl", "ca-file"], "new ssl ca-file <cafile>", "create an empty CA file for crt-lists and servers", Admin, SlowSays(tls::create)),
    row(&["new", "ssl", "cert"], "new ssl cert <certfile>", "create an empty certificate for crt-lists and servers", Admin, SlowSays(tls::create)),
    row(&["new", "ssl", "crl-file"], "new ssl crl-file <crlfile>", "create an empty CRL file for crt-lists and servers", Admin, SlowSays(tls::create)),
    row(&["operator"], "operator", "lower the level of this connection to operator", User, Now(operator)),
    row(&["prepare", "acl"], "prepare acl <acl>", "prepare a new version of an ACL", Operator, SlowSays(lists::prepare)),
    row(&["prepare", "map"], "prepare map <map>", "prepare a new version of a map", Operator, SlowSays(lists::prepare)),
    row(&["set", "dynamic-cookie-key"], "set dynamic-cookie-key backend <bk> <k>", "change the secret key of a backend's dynamic cookies", Admin, SlowChange(settings::dynamic_cookie_key)),
    row(&["set", "map"], "set map <map> [<key>|#<ref>] <value>", "change the value of a map entry", Operator, SlowChange(lists::set_map)),
    row(&["set", "maxconn", "frontend"], "set maxconn frontend <frontend> <n>", "change the connection limit of a frontend", Admin, Change(change::maxconn_frontend)),
    row(&["set", "maxconn", "global"], "set maxconn global <n>", "change the connection limit of the process", Admin, Change(change::maxconn_global)),
    row(&["set", "maxconn", "server"], "set maxconn server <bk>/<srv> <n>", "change the connection limit of a server", Admin, Change(server::maxconn)),
    row(&["set", "profiling"], "set profiling <what> {auto|on|off}", "switch profiling of tasks or memory", Admin, Change(developer::set_profiling)),
    row(&["set", "rate-limit"], "set rate-limit <setting> global <value>", "change a rate limit of the process", Admin, SlowChange(settings::rate_limit)),
    row(&["set", "server"], "set server <bk>/<srv> [opts]", "change the state, health, weight, address or TLS of a server", Admin, Says(server::set)),
    row(&["set", "severity-output"], "set severity-output {none|number|string}", "prefix the responses on this connection with their severity", User, Change(severity_output)),
    row(&["set", "ssl", "ca-file"], "set ssl ca-file <cafile> <payload>", "replace the content of a CA file, in a transaction", Admin, SlowSays(tls::set)),
    row(&["set", "ssl", "cert"], "set ssl cert <certfile> <payload>", "replace a certificate or a part of it, in a transaction", Admin, SlowSays(tls::set)),
    row(&["set", "ssl", "crl-file"], "set ssl crl-file <crlfile> <payload>", "replace the content of a CRL file, in a transaction", Admin, SlowSays(tls::set)),
    row(&["set", "ssl", "ocsp-response"], "set ssl ocsp-response <resp|payload>", "replace the OCSP response of a certificate (Base64 of DER)", Admin, SlowSays(tls::set_ocsp)),
    row(&["set", "ssl", "tls-key"], "set ssl tls-key [id|file] <key>", "set the next key of a TLS ticket key file", Admin, SlowSays(tls::set_ticket_key)),
    row(&["set", "table"], "set table <table> key <k> [data.* <v>]*", "create or update an entry of a stick table", Operator, SlowChange(tables::set)),
    row(&["set", "timeout"], "set timeout cli <delay>", "change the timeout of this connection", User, Change(change::timeout)),
    row(&["set", "var"], "set var <name> [expr] <expression>|fmt <format>", "set a process-wide variable (experimental mode)", Admin, SlowChange(developer::set_variable)),
    row(&["set", "weight"], "set weight <bk>/<srv> <weight>", "change the weight of a server (or use 'set server')", Admin, Change(server::set_weight)),
    row(&["show", "acl"], "show acl [[@<ver>] <acl>]", "list the ACLs, or the patterns of one", User, Long(lists::show)),
    row(&["show", "activity"], "show activity", "show the activity of each thread", Operator, Now(process::activity)),
    row(&["show", "backend"], "show backend", "list the backends", User, Now(show::backends)),
    row(&["show", "cache"], "show cache", "show the caches and their entries", Operator, Report(cache::show)),
    row(&["show", "cli", "level"], "show cli level", "show the level of this connection", User, Inform(show::level)),
    row(&["show", "cli", "sockets"], "show cli sockets", "list the statistics sockets", User, Now(show::sockets)),
    row(&["show", "configuration"], "show configuration", "list the configuration versions that still have connections", Operator, Now(process::configuration)),
    row(&["show", "env"], "show env [<var>]", "show the environment variables of the process", Operator, Says(show::environment)),
    row(&["show", "events"], "show events [<ring>] [-w] [-n]", "list the rings, or show the events of one (-w waits for new ones)", Operator, SlowSays(events::show)),
    row(&["show", "errors"], "show errors [<px>] [request|response]", "show the last invalid request and response of each proxy", Operator, SlowSays(errors::show)),
    row(&["show", "fd"], "show fd [num]", "list the open file descriptors", Operator, Report(process::descriptors)),
    row(&["show", "info"], "show info [desc|json|typed|float]*", "show information about the process", User, Now(info::show)),
    row(&["show", "libs"], "show libs", "list the loaded object files", Operator, Inform(developer::libraries)),
    row(&["show", "map"], "show map [[@<ver>] <map>]", "list the maps, or the entries of one", User, Long(lists::show)),
    row(&["show", "metrics"], "show metrics [<query>]", "show the statistics for Prometheus (query: scope=<family>&... and no-maint, as for the exporter)", User, Long(metrics::show)),
    row(&["show", "peers"], "show peers [<section>]", "show the peers and their tables", User, SlowSays(tables::peers)),
    row(&["show", "pools"], "show pools", "show the memory pools", Operator, Now(process::pools)),
    row(&["show", "profiling"], "show profiling [<what>]", "show the state of profiling", Operator, Now(developer::profiling)),
    row(&["show", "latency"], "show latency", "show how long the last requests took: percentiles of frontends, backends and servers", User, SlowSays(latency::show)),
    row(&["show", "request"], "show request [json] <id>", "show what was decided for a finished request: by its id, or by a payload with a line of a log", Operator, SlowSays(requests::show_one)),
    row(&["show", "requests"], "show requests [<filter> <value>]* [json]", "list the newest finished requests (filters: since host path status client server frontend outcome max)", Operator, SlowSays(requests::show)),
    row(&["show", "resolvers"], "show resolvers [id]", "show the counters of nameservers", Operator, SlowSays(resolvers::show)),
    row(&["show", "schema", "json"], "show schema json", "show the JSON schema of 'show info' and 'show stat'", User, Now(show::schema)),
    row(&["show", "servers", "conn"], "show servers conn [<backend>]", "show the connections to servers", User, Long(state::connections)),
    row(&["show", "servers", "state"], "show servers state [<backend>]", "show the states of servers, for a state file", User, Long(state::states)),
    row(&["show", "sess"], "show sess [<id>|all]", "list the sessions, or show the details of one or all", Operator, Long(sessions::show)),
    row(&["show", "ssl", "ca-file"], "show ssl ca-file [<cafile>[:<index>]]", "list the CA files, or show the certificates of one", Operator, SlowSays(tls::show)),
    row(&["show", "ssl", "cert"], "show ssl cert [<certfile>]", "list the certificates, or show one", Operator, SlowSays(tls::show)),
    row(&["show", "ssl", "crl-file"], "show ssl crl-file [<crlfile[:<index>>]]", "list the CRL files, or show one", Operator, SlowSays(tls::show)),
    row(&["show", "ssl", "crt-list"], "show ssl crt-list [-n] [<list>]", "list the crt-lists, or the lines of one", Admin, SlowSays(tls::show_lists)),
    row(&["show", "ssl", "ocsp-response"], "show ssl ocsp-response [id]", "list the OCSP responses, or show one", User, SlowSays(tls::show_ocsp)),
    row(&["show", "ssl", "providers"], "show ssl providers", "show the TLS library", User, Now(tls::providers)),
    row(&["show", "startup-logs"], "show startup-logs", "show the messages of the configuration load", Operator, Now(show::startup_logs)),
    row(&["show", "stat"], "show stat [<iid>|<px> <type> <sid>] [desc|json|no-maint|typed|up]*", "show the counters of proxies and servers", User, Long(show::statistics)),
    row(&["show", "table"], "show table <table> [json] [<filter>]*", "list the stick tables, or the entries of one (json: sort has max)", User, Long(tables::show)),
    row(&["show", "tasks"], "show tasks", "show the number of running tasks", Operator, Now(developer::tasks)),
    row(&["show", "threads"], "show threads", "list the threads that serve traffic", Operator, Now(developer::threads)),
    row(&["show", "tls-keys"], "show tls-keys [id|*]", "list the TLS ticket key files, or show their keys", User, Says(ticket_keys::show)),
    row(&["show", "trace"], "show trace [<source>]", "list the trace sources", Operator, Inform(developer::trace)),
    row(&["show", "version"], "show version", "show the version", User, Inform(show::version)),
    row(&["show", "virtual-ip"], "show virtual-ip [<name>]", "list the virtual addresses, or show one", User, Now(addresses::show)),
    row(&["shutdown", "frontend"], "shutdown frontend <frontend>", "stop a frontend for good", Admin, Change(sessions::shut_frontend_down)),
    row(&["shutdown", "session"], "shutdown session <id>", "kill a session", Admin, SlowChange(sessions::shut_down)),
    row(&["shutdown", "sessions", "server"], "shutdown sessions server <bk>/<srv>", "kill the sessions of a server", Admin, Change(server::shut_down)),
    row(&["trace"], "trace [<source>|0] [<args>]", "manage live tracing (empty to list, 0 to stop all)", Admin, Inform(developer::trace)),
    row(&["user"], "user", "lower the level of this connection to user", User, Now(user)),
    row(&["help"], "help [<command>]", "list all commands, or those that match", User, Inform(help)),
    row(&["prompt"], "prompt", "switch the interactive mode with a prompt on or off", User, Now(prompt)),
    row(&["quit"], "quit", "disconnect", User, Now(quit)),
];

/// Leaks a text, so that it has a static lifetime. The caller creates each text only once.
pub(crate) fn kept(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

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

/// Number of rows at the end of the table that are part of every list of suggestions.
const ALWAYS: usize = 3;

/// HAProxy's commands that Evenkeel does not support yet.
const NOT_BUILT: &[&str] = &["httpclient"];

fn begins_with(words: &[&str], name: &[&str]) -> bool {
    words.len() >= name.len() && words.iter().zip(name).all(|(word, name)| word == name)
}

/// Returns the number of words that are the name of a command. None: there is no such command.
pub fn name_length(words: &[&str]) -> Option<usize> {
    row_of(words).map(|row| row.words.len())
}

fn row_of(words: &[&str]) -> Option<&'static Row> {
    COMMANDS.iter().find(|row| begins_with(words, row.words))
}

pub fn find(session: &Session, words: &[&str]) -> CommandAction {
    if let Some(row) = row_of(words) {
        if session.level < row.level {
            return CommandAction::Refuse(CommandReply::error("Permission denied\n"));
        }
        return match row.does {
            Now(run) => CommandAction::Now(run, None),
            Inform(run) => CommandAction::Now(run, Some(Severity::Info)),
            Change(run) => CommandAction::Now(run, Some(Severity::Error)),
            Says(run) => CommandAction::NowReply(run),
            Bare(run) => CommandAction::Bare(run),
            Report(run) => CommandAction::Report(run, None),
            SlowChange(run) => CommandAction::Report(run, Some(Severity::Error)),
            SlowSays(run) => CommandAction::ReportReply(run),
            Long(run) => CommandAction::LongReport(run),
        };
    }
    let missing = NOT_BUILT.iter().find(|name| {
        let name: Vec<&str> = name.split(' ').collect();
        begins_with(words, &name)
    });
    CommandAction::Refuse(match missing {
        Some(name) => CommandReply::error(format!("'{name}' is not supported.\n")),
        None => CommandReply::message(Severity::Info, unknown(words)),
    })
}

fn unknown(words: &[&str]) -> String {
    let (own, always) = COMMANDS.split_at(COMMANDS.len() - ALWAYS);
    let mut near = nearest(own, words);
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

/// Finds the commands that an unknown line may mean. Each word of the line narrows the selection:
/// to the commands that contain it, or that begin with it, or that are most similar. Empty if no
/// first word is similar.
fn nearest<'r>(own: &'r [Row], words: &[&str]) -> Vec<&'r Row> {
    if words.is_empty() {
        return Vec::new();
    }
    let mut near: Vec<&Row> = own.iter().collect();
    for (at, word) in words.iter().enumerate() {
        let names: Vec<&str> = near
            .iter()
            .filter_map(|row| row.words.get(at).copied())
            .collect();
        let has = |fits: &dyn Fn(&str) -> bool| names.iter().any(|name| fits(name));
        let kept: Vec<&Row> = if has(&|name| name == *word) {
            keep(&near, at, &|name| name == *word)
        } else if !word.is_empty() && has(&|name| name.starts_with(word)) {
            keep(&near, at, &|name| name.starts_with(word))
        } else {
            match suggest::nearest(word, names.iter().copied()) {
                Some(found) => keep(&near, at, &|name| name == found),
                None if at == 0 => Vec::new(),
                None => break,
            }
        };
        near = kept;
    }
    near
}

fn keep<'r>(rows: &[&'r Row], at: usize, fits: &dyn Fn(&str) -> bool) -> Vec<&'r Row> {
    let word = |row: &&Row| row.words.get(at).is_some_and(|name| fits(name));
    rows.iter().copied().filter(word).collect()
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

fn severity_output(_: &Context, session: &mut Session, words: &[&str]) -> String {
    match words.get(2).and_then(|name| SeverityOutput::of_name(name)) {
        Some(output) => {
            session.severity = output;
            String::new()
        }
        None => "one of 'none', 'number', 'string' is a required argument\n".into(),
    }
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

/// Finds the server of a `backend/server` argument. Err: the reply.
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

/// Finds a backend by its name, or by `#` and its id.
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
    fn commands_match_prefixes_and_near_misses() {
        let (own, _) = COMMANDS.split_at(COMMANDS.len() - ALWAYS);
        for (asked, found) in [
            ("shw stat", "show stat"),
            ("show servres state", "show servers state"),
            ("show serv", "show servers conn|show servers state"),
            ("set serve be/s1", "set server"),
            ("get wei be/s1", "get weight"),
            ("xyzzy", ""),
        ] {
            let words: Vec<&str> = asked.split(' ').collect();
            let near = nearest(own, &words);
            let names: Vec<String> = near.iter().map(|row| row.words.join(" ")).collect();
            assert_eq!(names.join("|"), found, "{asked}");
        }
        assert!(nearest(own, &["show", "xyzzy"]).len() > 10);
    }

    #[test]
    fn no_command_is_both_supported_and_unsupported() {
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
