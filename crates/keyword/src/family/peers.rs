//! Builds `peers` sections, which name processes that share tables with this one, and contain
//! tables that belong to no proxy.

use super::stick_table::table;
use super::{Args, Built, LineRow, places, stream_tls};
use crate::family::Loader;
use language::{ConfigLine, ConfigWord, Diagnostic};
use model::codes as load_codes;
use model::config::{Peer, Peers, ServerAddress, ServerOptions, ServerTls};
use model::rules::draft::Section;
use model::tables::codes;
use std::net::SocketAddr;
use std::os::fd::RawFd;

const PLACE: &[&str] = &["peers"];
/// Default number of updates sent in one batch.
const BATCH_DEFAULT: u32 = 200;

pub(super) static LINES: &[LineRow] = language::rows! {
    "peer <name> <address>:<port> [<TLS option>...]" PLACE, |loader, args| peer(loader, args, true),
        "peers mesh\npeer one 192.0.2.1:10000\npeer two 192.0.2.2:10000",
        "A process that shares the tables of this section. The peer with the name of this process (the host name, or \
         the name from `-L` or `localpeer`) is the local one: its address is where this process listens (also `fd@` \
         with an inherited descriptor). The process connects to all others. All peers need the same lines. TLS options \
         are those of `server`: `ssl verify none`.";
    "table <name> type { ip | ipv6 | integer | string [len <length>] | binary [len <length>] } size <size> [expire \
          <time>] [nopurge] [srvkey { addr | name }] [write-to <table>] [store <data>[,<data>...]]" PLACE,
        |loader, args| {
            let span = args.keyword_span();
            let name = args.required("<name>")?;
            let section = section(loader).name.clone();
            let whole = format!("{section}/{}", name.text());
            table(loader, args, &whole, None, span)?;
            if let Some(table) = loader.config.tables.all.last_mut() {
                table.peers = Some(section);
                table.settings.has_peers = true;
            }
            Ok(())
        },
        "peers mesh\npeer one 192.0.2.1:10000\ntable clients type ip size 1m expire 10m store http_req_rate(10s)",
        "A stick table that belongs to no proxy and is shared with the peers of the section. Rules refer to it with \
         the section's name and a slash: `track-sc0 src table mesh/clients`. Otherwise it is like `stick-table`.";
    "default-bind [<option>...]" PLACE, bind_options,
        "peers mesh\n# default-bind ssl crt /etc/haproxy/node.pem\ndefault-bind\npeer one 192.0.2.1:10000",
        "TLS options for the address on which this process listens for its peers, whether `bind` or `peer` sets it: \
         `ssl crt /etc/haproxy/node.pem ca-file /etc/haproxy/ca.pem verify required`.";
};

pub(super) static GLOBAL: &[LineRow] = language::rows! {
    "localpeer <name>" places::GLOBAL,
        |loader, args| {
            let name = args.required("<name>")?;
            loader.config.global.local_peer = Some(name.text().into());
            args.end()
        },
        "localpeer one",
        "Name of this process among its peers, instead of the host name. `-L` on the command line takes precedence. It \
         must appear before the `peers` sections.";
    "tune.peers.max-updates-at-once <number>" places::GLOBAL,
        |loader, args| {
            loader.config.global.peers_batch = Some(args.count("a number", 1..=1_000_000)?);
            args.end()
        },
        "tune.peers.max-updates-at-once 50",
        "Number of table updates sent to a peer at a time before other peers get their turn, at least 1. The default \
         is 200.";
};

/// Parses the options of `bind` and `default-bind` and stores them for the listener of the section.
fn bind_options(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let known = section(loader).tls_words.take();
    let words = stream_tls::listener_options(loader, known, args)?;
    section(loader).tls_words = words;
    Ok(())
}

fn peer_options(loader: &mut Loader, args: &mut Args<'_>) -> Result<ServerTls, Diagnostic> {
    let mut tls = section(loader).default_tls.clone();
    stream_tls::server_options(loader, &mut tls, args)?;
    Ok(tls)
}

pub(super) fn default_server(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let tls = peer_options(loader, args)?;
    section(loader).default_tls = tls;
    Ok(())
}

fn section(loader: &mut Loader) -> &mut Peers {
    if loader.config.peers.is_empty() {
        loader.config.peers.push(Peers::default());
    }
    let last = loader.config.peers.len() - 1;
    &mut loader.config.peers[last]
}

pub(crate) fn begin(loader: &mut Loader, line: &ConfigLine) -> Section {
    let Some(name) = line.word(1) else {
        let told = Diagnostic::error(
            &load_codes::SECTION_NAME,
            line.end(),
            "'peers' expects a name",
        );
        loader.report(told.label("the name is missing"));
        return Section::Refused;
    };
    let text = name.text();
    if let Some(before) = loader
        .config
        .peers
        .iter()
        .find(|peers| *peers.name == *text)
    {
        let told = format!("peers section '{text}' declared twice");
        let told = Diagnostic::error(&load_codes::DUPLICATE_NAME, name.span, told)
            .name_taken_at(before.span);
        loader.report(told);
        return Section::Refused;
    }
    let from_environment = loader.context.environment.get("HAPROXY_LOCALPEER");
    let from_environment = from_environment.map(|name| String::from_utf8_lossy(name).into_owned());
    // Prefers a local name that differs from the host's: it comes from the command line, which
    // takes precedence over `localpeer`.
    let host = String::from_utf8_lossy(model::log::hostname()).into_owned();
    let of_line = from_environment.clone().filter(|name| *name != host);
    let of_file = loader.config.global.local_peer.clone();
    let local = of_line.map(String::into_boxed_str).or(of_file);
    let local = local.or(from_environment.map(String::into_boxed_str));
    let batch = loader.config.global.peers_batch;
    loader.config.peers.push(Peers {
        name: text.into(),
        span: name.span,
        local: local.unwrap_or_default(),
        batch: batch.unwrap_or(BATCH_DEFAULT),
        ..Peers::default()
    });
    Section::Peers
}

/// Builds `peer` and `server` lines. A `server` line (`addressed` is false) may omit the address of
/// this process, which is then on the `bind` line.
pub(super) fn peer(loader: &mut Loader, args: &mut Args<'_>, addressed: bool) -> Built {
    let name = args.required("<name>")?;
    let text = name.text();
    if let Some(before) = section(loader).all.iter().find(|p| *p.name == *text) {
        let told = format!("peer '{text}' declared twice");
        return Err(
            Diagnostic::error(&codes::PEERS_LINE, name.span, told).name_taken_at(before.span)
        );
    }
    let is_local = *section(loader).local == *name.text();
    let inherited = args.peek().filter(|_| is_local).and_then(descriptor);
    let address = if inherited.is_some() {
        section(loader).inherited = inherited;
        _ = args.next();
        None
    } else if addressed || !is_local || args.peek().is_some() {
        Some(address(loader, args)?)
    } else {
        None
    };
    let tls = peer_options(loader, args)?;
    section(loader).all.push(Peer {
        name: name.text().into(),
        address,
        span: name.span,
        tls,
    });
    Ok(())
}

fn descriptor(word: &ConfigWord) -> Option<RawFd> {
    let number: u16 = word.str().strip_prefix("fd@")?.parse().ok()?;
    Some(number.into())
}

fn address(loader: &mut Loader, args: &mut Args<'_>) -> Result<SocketAddr, Diagnostic> {
    let word = args.required("<address>:<port>")?;
    match super::server::server_address(loader, word, &ServerOptions::default())?.0 {
        ServerAddress::Inet(address) => Ok(address),
        ServerAddress::SamePort(ip, _) => {
            let told = format!("peer address '{}' has no port", word.text());
            let told = Diagnostic::warning(&load_codes::PEER_WITHOUT_PORT, word.span, told)
                .label("this process cannot connect to it")
                .help("add the port of the `bind` line, or of the local peer, on that machine");
            loader.report(told);
            Ok(SocketAddr::new(ip, 0))
        }
        // Uses a placeholder address: no connection is made when files are only checked, or until
        // the name resolves.
        ServerAddress::Unresolved => Ok(SocketAddr::from(([127, 0, 0, 1], 0))),
        _ => Err(Diagnostic::error(
            &codes::PEERS_LINE,
            word.span,
            format!("'{}' is not a peer address", word.text()),
        )
        .label("expected an address and a port")),
    }
}

pub(super) fn bind(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if let Some(number) = args.peek().and_then(descriptor) {
        _ = args.next();
        section(loader).inherited = Some(number);
        return bind_options(loader, args);
    }
    let word = args.peek().map(|word| word.text().into_owned());
    let address = match word
        .as_deref()
        .and_then(|word| word.strip_prefix([':', '*']))
    {
        Some(rest) => {
            let word = args.required("<address>:<port>")?;
            let port = rest.trim_start_matches(':').parse().map_err(|_| {
                let told = format!("'{}' is not a listening address", word.text());
                Diagnostic::error(&codes::PEERS_LINE, word.span, told).label("the port is missing")
            })?;
            SocketAddr::from(([0, 0, 0, 0], port))
        }
        None => address(loader, args)?,
    };
    section(loader).bind = Some(address);
    bind_options(loader, args)
}

pub(super) fn switch(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    section(loader).disabled = args.keyword == "disabled";
    args.end()
}

/// Accepts `log` of the section, where HAProxy logs connections of peers, and warns that it has no
/// effect.
pub(super) fn log(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    args.rest();
    let told = "'log' of peers has no effect: their connections are not logged";
    loader.report(
        Diagnostic::warning(&load_codes::NO_EFFECT, args.keyword_span(), told)
            .help("remove it; `show peers` shows the state of the peers"),
    );
    Ok(())
}

impl Loader {
    /// Reports unknown `peers` sections, and sections without this process, when the whole file is
    /// known.
    pub(crate) fn finish_peers(&mut self) {
        for (name, span) in std::mem::take(&mut self.table_peers) {
            if !self.config.peers.iter().any(|peers| peers.name == name) {
                let told = format!("unable to find peers section '{name}'");
                self.report(
                    Diagnostic::error(&codes::UNKNOWN_PEERS, span, told)
                        .label("no section has this name"),
                );
            }
        }
        let mut told = Vec::new();
        for peers in &self.config.peers {
            if peers.local_peer().is_none() && !peers.disabled {
                told.push(
                    Diagnostic::warning(
                        &codes::NO_LOCAL_PEER,
                        peers.span,
                        format!(
                            "peers section '{}' has no peer named '{}'",
                            peers.name, peers.local
                        ),
                    )
                    .label("this process is not one of them")
                    .help("name one of them with `localpeer` in the global section, or with `-L`"),
                );
            }
        }
        self.report_all(told);
    }
}
