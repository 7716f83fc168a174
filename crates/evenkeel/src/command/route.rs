//! Implements `evenkeel route`: evaluates to which server a given request would be routed, and
//! prints the rules that decide. The configuration comes from files or from a running instance
//! ([`live`]).

mod live;

use super::definition::{flag, option};
use super::{files, print, refuse};
use crate::loader::addresses;
use crate::parts;
use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use configuration::LoadOptions;
use keyword::load::Loaded;
use language::{Diagnostics, SourceMap, render};
use model::config::Config;
use part::voice;
use proxy::route::NotThere;
use route::{NotFollowed, Request, RouteEndpoint, RouteRequest, text};
use std::path::PathBuf;
use std::process::ExitCode;

const NOWHERE: u8 = 3;

pub fn definition(command: Command) -> Command {
    command
        .about("Show where a request would go, rule by rule, and why")
        .long_about(
            "Loads the files, evaluates one request with them, and shows the effect of each line: conditions \
             with the values that they compared, rules that took effect, the backend, the server. The code \
             is that of the proxy, but no server is contacted, nothing is logged, and running instances are \
             not involved: all servers count as up, and tables are empty. The request uses HTTP/1.1, and the \
             evaluation ends where a server would be contacted: rules of responses are not evaluated.\n\nThe \
             listener is the one on the port of the URL (80, or 443 with \
             https); `--frontend` or `--to` choose another one. Exits with 0 if the request gets a server or \
             a response of the proxy, with 3 if it gets neither (no backend, no available server, a closed \
             connection, a queue), and with 1 if the request or the files have an error.\n\n\
             With `--live` it uses the state of a running `evenkeel run` or `haproxy -W` of the same user: \
             which servers are up, in maintenance or full, weights and addresses set at run time, maps, ACLs \
             and stick tables. Without FILE it also uses the configuration that this instance runs now, on a \
             member of a cluster that of the cluster; with FILE, the state applies where names match. The \
             running instance only reports its state and does not change. From tables with more than 10,000 \
             entries, only the entries that the request needs are read. Maps with more entries are read from \
             their files. The next server of round robin is unknown: the report names all servers that can \
             be chosen.",
        )
        .after_help(
            "Examples:\n  evenkeel route haproxy.cfg 'GET https://shop.example.org/cart'\n  \
             evenkeel route haproxy.cfg https://shop.example.org/ --src 198.51.100.7\n  \
             evenkeel route haproxy.cfg 'POST http://shop.example.org/login' --header 'Cookie: SRV=app1' --data 'a=b'\n  \
             evenkeel route haproxy.cfg https://192.0.2.1:8443/ --sni shop.example.org --json | jq .\n  \
             evenkeel route --live https://shop.example.org/cart\n  \
             evenkeel route new.cfg --live https://shop.example.org/cart",
        )
        .arg(
            Arg::new("FILE")
                .required(true)
                .num_args(1)
                .value_parser(PathBufValueParser::new())
                .help("The file or directory; more with `-f`. Not needed with `--live`"),
        )
        .arg(
            Arg::new("REQUEST")
                .required_unless_present("live")
                .help("The request: 'METHOD URL', or a URL for GET"),
        )
        .arg(
            super::definition::path("FILES")
                .short('f')
                .long("file")
                .value_name("FILE")
                .action(ArgAction::Append)
                .help("A further file, read behind FILE"),
        )
        .args(connection())
        .arg(option("node", "NAME", "Load as this node: selects the lines with `on NODE …`"))
        .arg(flag(
            "no-resolve",
            "Do not resolve host names (for a file of another machine): they match nothing, and their servers are up",
        ))
        .arg(flag(
            "live",
            "Use the state of the running instance, and without FILE its configuration",
        ))
        .arg(super::definition::process_id().requires("live"))
        .arg(flag("json", "Print JSON"))
        .override_usage(
            "evenkeel route [OPTIONS] <FILE> <REQUEST>\n       evenkeel route [OPTIONS] --live [FILE] <REQUEST>",
        )
}

fn connection() -> [Arg; 7] {
    [
        option(
            "header",
            "HEADER",
            "A header of the request, such as 'Cookie: a=b' (repeatable)",
        )
        .short('H')
        .action(ArgAction::Append),
        option("data", "TEXT", "The body of the request"),
        option(
            "src",
            "ADDRESS",
            "The address of the client, with a port or without [default: 192.0.2.10:49152]",
        ),
        option(
            "through",
            "ADDRESS",
            "The load balancer that connects to a listener with `accept-proxy` [default: 192.0.2.20]",
        ),
        option(
            "to",
            "ADDRESS",
            "The address that the client connects to, with a port or without",
        ),
        option(
            "sni",
            "NAME",
            "The server name that the client sends with TLS [default: the host of the URL]",
        ),
        option(
            "frontend",
            "NAME",
            "The frontend, or listen section, that gets the request",
        ),
    ]
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    match answered(matches) {
        Ok((text, gets_something)) => {
            let printed = print(&text);
            if gets_something || printed != ExitCode::SUCCESS {
                printed
            } else {
                ExitCode::from(NOWHERE)
            }
        }
        Err(RouteFailure::Words(words)) => refuse(text::lines(&words)),
        Err(RouteFailure::Files(diagnostics)) => {
            voice::write_error(&diagnostics);
            ExitCode::FAILURE
        }
    }
}

enum RouteFailure {
    Words(String),
    Files(String),
}

impl From<String> for RouteFailure {
    fn from(words: String) -> RouteFailure {
        RouteFailure::Words(words)
    }
}

fn answered(matches: &ArgMatches) -> Result<(String, bool), RouteFailure> {
    let request = Request {
        frontend: matches.get_one::<String>("frontend").cloned(),
        source: end(matches, "src")?,
        through: end(matches, "through")?,
        to: end(matches, "to")?,
        sni: matches.get_one::<String>("sni").cloned(),
        ..Request::new(parse_route_request(matches)?)
    };
    let report = if matches.get_flag("live") {
        live::report(matches, &request)?
    } else {
        let loaded = load(matches, &files(matches))?;
        let config = config(loaded.config, &loaded.sources, &loaded.diagnostics)?;
        request.follow(config, &loaded.sources).map_err(in_words)?
    };
    let text = if matches.get_flag("json") {
        report.json()
    } else {
        text::of(&report)
    };
    Ok((text, report.has_response()))
}

fn load(matches: &ArgMatches, files: &[PathBuf]) -> Result<Loaded, RouteFailure> {
    let mut read = configuration::files::read_some(files).map_err(|error| error.to_string())?;
    addresses::split(&mut read);
    let options = LoadOptions {
        here: true,
        resolve_names: !matches.get_flag("no-resolve"),
        node: matches.get_one::<String>("node").cloned(),
        host: crate::identity::host_name(),
        ..LoadOptions::default()
    };
    Ok(parts::load_files(read, None, options, None).proxy)
}

fn config(
    config: Option<Config>,
    sources: &SourceMap,
    diagnostics: &Diagnostics,
) -> Result<Config, RouteFailure> {
    config.ok_or_else(|| files_refused(sources, diagnostics))
}

fn files_refused(sources: &SourceMap, diagnostics: &Diagnostics) -> RouteFailure {
    let look = voice::look(&std::io::stderr(), false);
    RouteFailure::Files(render::full(sources, diagnostics, &look))
}

fn is_without_file(matches: &ArgMatches) -> bool {
    !matches.contains_id("REQUEST")
}

/// Describes the error, with options that would resolve an ambiguity.
fn in_words(error: NotFollowed) -> String {
    let further = match &error {
        NotFollowed::NotThere(NotThere::Nobody { .. } | NotThere::Several { .. }) => {
            "; name one with --frontend, or its address with --to"
        }
        _ => "",
    };
    format!("{error}{further}")
}

fn parse_route_request(matches: &ArgMatches) -> Result<RouteRequest, String> {
    let first = || matches.get_one::<PathBuf>("FILE");
    let text = if is_without_file(matches) {
        first().map(|word| word.to_string_lossy().into_owned())
    } else {
        Some(super::word(matches, "REQUEST"))
    };
    let mut asked = RouteRequest::parse(&text.unwrap_or_default())?;
    for header in matches.get_many::<String>("header").into_iter().flatten() {
        asked.add_header(header)?;
    }
    if let Some(data) = matches.get_one::<String>("data") {
        asked.body = data.clone().into_bytes();
    }
    asked.check_length()?;
    Ok(asked)
}

fn end(matches: &ArgMatches, name: &str) -> Result<Option<RouteEndpoint>, String> {
    let Some(text) = matches.get_one::<String>(name) else {
        return Ok(None);
    };
    route::end(text).map(Some).ok_or_else(|| {
        format!("--{name}: '{text}' is not an IP address, such as 192.0.2.1, 192.0.2.1:443 or [2001:db8::1]:443")
    })
}
