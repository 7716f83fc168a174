//! Defines the keywords of the data plane, with one file for each family, and the registry that
//! joins their tables for lookups. A row of a table has the syntax, sections, builder and
//! documentation of a keyword: see [`language::keyword`].

mod account;
mod acl;
pub mod balance;
mod bind;
mod bind_option;
pub mod bind_tls;
pub(crate) mod cache;
mod capture;
pub(crate) mod certificates;
pub mod check;
mod compression;
mod cpu_map;
pub(crate) mod crt_store;
mod dispatch;
mod endpoint_hints;
mod environment;
mod error_page;
pub(crate) mod fcgi;
mod filter;
mod forward;
mod global;
mod hints;
pub(crate) mod http_errors;
mod http_proxy;
mod http_rules;
mod legacy;
mod legacy_health;
mod legacy_lines;
mod loader;
mod log;
pub(crate) mod log_forward;
pub(crate) mod log_profile;
mod mailers;
mod monitor;
mod option;
pub(crate) mod order;
pub(crate) mod peers;
mod persistence;
pub mod places;
mod process_variables;
mod proxy;
mod redirect;
pub(crate) mod refused;
pub(crate) mod resolvers;
mod retry;
pub(crate) mod ring;
pub mod server;
pub mod server_option;
mod server_states;
mod server_template;
mod source;
mod stats;
mod stats_socket;
mod status_codes;
mod stick;
pub(crate) mod stick_table;
mod stream_tls;
mod switching;
mod tcp_rules;
pub(crate) mod timeout;
mod tls_default;
pub(crate) mod tls_files;
pub(crate) mod tls_list;
pub(crate) mod tls_words;
mod tune;
mod tune_http2;
pub(crate) mod userlist;
mod value;
mod workarounds;

pub use language::arguments::{Args, Built};
pub use loader::{Loader, SocketRights};

use language::keyword::{Documented, Family, Keyword, Table};
use model::config::{Bind, ServerOptions};
use model::known;
use std::sync::OnceLock;

/// Function that builds a line. The loader has the current section and the draft of the
/// configuration.
pub type LoaderLineBuilder = fn(&mut Loader, &mut Args<'_>) -> Built;
pub type BindBuilder = fn(&mut Loader, &mut Bind, &mut Args<'_>) -> Built;
pub type ServerBuilder = fn(&mut Loader, &mut ServerOptions, &mut Args<'_>) -> Built;

/// Tables of the keywords of lines, `bind` options and `server` options.
#[derive(Debug)]
pub struct Registry {
    pub lines: Table<LoaderLineBuilder>,
    pub binds: Table<BindBuilder>,
    pub servers: Table<ServerBuilder>,
}

static LINES: &[Family<LoaderLineBuilder>] = &[
    ("ACLs", acl::LINES),
    ("Load balancing", balance::LINES),
    ("Listeners (bind)", bind::LINES),
    ("Caches", cache::LINES),
    ("Captures", capture::LINES),
    ("Health checks", check::LINES),
    ("External checks", check::external::LINES),
    ("Health check steps (tcp-check, http-check)", check::STEPS),
    ("Compression", compression::LINES),
    ("CPU affinity", cpu_map::LINES),
    ("Certificate stores", crt_store::LINES),
    ("Dispatch and transparent mode", dispatch::LINES),
    ("Environment variables", environment::LINES),
    ("Process variables", process_variables::LINES),
    ("Error pages", error_page::LINES),
    ("Error pages", http_errors::LINES),
    ("FastCGI applications", fcgi::LINES),
    ("Filters", filter::LINES),
    (
        "Headers added for servers (X-Forwarded-For)",
        forward::LINES,
    ),
    ("TCP keep-alive", forward::KEEP_ALIVES),
    ("Process settings", global::LINES),
    ("Process settings", status_codes::LINES),
    ("Accepted without effect", hints::LINES),
    ("HTTP rules", http_rules::LINES),
    ("Deprecated keywords", legacy::LINES),
    ("Deprecated keywords", legacy_health::LINES),
    ("Deprecated keywords", http_proxy::LINES),
    (
        "Deprecated header rules (reqrep, rspdel)",
        legacy_lines::LINES,
    ),
    ("Logging", log::LINES),
    ("Log forwarding (syslog relay)", log_forward::LINES),
    ("Log profiles", log_profile::LINES),
    ("E-mail alerts (mailers)", mailers::LINES),
    (
        "Monitoring by a load balancer (monitor-uri)",
        monitor::LINES,
    ),
    ("Proxy options", option::LINES),
    ("Proxy options", option::SPECIAL),
    ("Peers", peers::GLOBAL),
    ("Peers", peers::LINES),
    ("Persistence (sticky cookies)", persistence::LINES),
    ("Proxies", proxy::LINES),
    ("Redirects", redirect::LINES),
    ("DNS resolvers", resolvers::GLOBAL),
    ("DNS resolvers", resolvers::LINES),
    ("Retries", retry::LINES),
    ("Log rings", ring::LINES),
    ("Servers", server::LINES),
    ("Server state files", server_states::LINES),
    ("Servers", server_template::LINES),
    ("Statistics page", stats::LINES),
    ("Statistics page", stats::OWN),
    ("Stick rules (persistence by stick-table)", stick::LINES),
    ("Stick tables", stick_table::LINES),
    ("Stick tables", stick_table::TUNE),
    ("Statistics socket (runtime API)", stats_socket::LINES),
    ("TCP rules", tcp_rules::LINES),
    ("Backend selection", switching::LINES),
    ("Timeouts", timeout::LINES),
    ("TLS defaults", tls_default::LINES),
    ("Tuning (buffers and limits)", tune::LINES),
    ("HTTP/2", tune_http2::LINES),
    ("Users and groups", userlist::LINES),
    ("Workarounds for clients and servers", workarounds::LINES),
];

/// Returns the registry, which is built at its first use.
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry {
        lines: Table::new("keyword", LINES, known::all),
        binds: Table::new(
            "bind option",
            &[
                ("bind options", bind_option::OPTIONS),
                ("bind options for TLS", bind_tls::OPTIONS),
                ("Accepted without effect", endpoint_hints::BINDS),
            ],
            known::all,
        ),
        servers: Table::new("server option", server_option::FAMILIES, known::all),
    })
}

impl Registry {
    pub fn documented(&self) -> Vec<Documented> {
        let mut all = self.lines.documented();
        all.extend(self.binds.documented());
        all.extend(self.servers.documented());
        all.extend(model::rules::documented());
        all
    }
}

pub(crate) use dispatch::finish as finish_dispatch;
pub(crate) use http_proxy::finish as finish_http_proxy;
pub(crate) use persistence::finish as finish_persistence;

pub type LineRow = Keyword<LoaderLineBuilder>;
pub type BindRow = Keyword<BindBuilder>;
pub type ServerRow = Keyword<ServerBuilder>;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_unsupported_keyword_is_a_supported_one_with_further_words() {
        let all = super::registry().documented();
        let built = all.iter().filter(|row| row.built);
        let built: HashSet<_> = built.map(|row| (row.kind, row.name)).collect();
        for row in all.iter().filter(|row| !row.built) {
            for (end, _) in row.name.match_indices(' ') {
                assert!(
                    !built.contains(&(row.kind, &row.name[..end])),
                    "{}",
                    row.name
                );
            }
        }
    }
}
