//! Implements `evenkeel check`: loads files without starting anything, prints all errors and
//! warnings as text or JSON, and returns the exit code. Options select other outputs, such as the
//! privileges.

use super::{against, print, privileges, refuse};
use crate::loader::addresses::{self, AddressWishes, Read};
use crate::parts::{self, Payloads, RolePayload};
use address::dialect::LocalMachine;
use clap::ArgMatches;
use configuration::LoadOptions;
use configuration::files;
use language::{Diagnostics, SourceMap, render};
use part::voice::{self, counted};
use std::process::ExitCode;

/// Exit code for a valid configuration with nothing to run, as in HAProxy without a listener.
const NOTHING_RUNS: u8 = 2;

pub fn main(matches: &ArgMatches) -> ExitCode {
    let mut files = match files::read_some(&super::files(matches)) {
        Ok(files) => files,
        Err(error) => return refuse(error),
    };
    let others = addresses::split(&mut files);
    let read = (!others.is_empty())
        .then(|| addresses::read(&others, &AddressWishes::default(), &mut LocalMachine::new()));
    if let Some(read) = &read
        && files.is_empty()
    {
        return alone(read, matches);
    }
    let foreign = read.as_ref().and_then(|read| read.config.as_ref());
    let mut site = parts::load_files(files, None, options(matches), foreign);
    let expectations = site.check_expectations();
    site.warn_of_certificates();
    let all = site.addresses();
    let running = site.running(&Payloads::new());
    let loaded = site.proxy;
    let addresses = all.as_ref().map_or(0, |all| all.instances.len());
    let format = format(matches);
    if matches.get_flag("privileges")
        && let Some(config) = &loaded.config
    {
        let addresses = all
            .as_ref()
            .map(|all| privileges::of_addresses(all, format));
        let text = privileges::render_privileges(&loaded, config, &running, format);
        return print(&(text + &addresses.unwrap_or_default()));
    }
    if matches.get_flag("against-haproxy")
        && let Some(config) = &loaded.config
    {
        return print(&against::render_differences(
            &loaded,
            config,
            format == Some("json"),
        ));
    }
    let mut text = rendered(&loaded.sources, &loaded.diagnostics, matches);
    if text.is_empty()
        && !matches!(format, Some("json" | "concise"))
        && read.as_ref().is_none_or(|read| read.config.is_some())
    {
        text = summary(&loaded, addresses, &running, expectations);
    }
    if let Some(read) = &read {
        let of_addresses = rendered(&read.sources, &read.diagnostics, matches);
        text = joined(&of_addresses, &text, format);
    }
    print(&text);
    match &loaded.config {
        None => ExitCode::FAILURE,
        Some(_) if read.as_ref().is_some_and(|read| read.config.is_none()) => ExitCode::FAILURE,
        Some(config) if !config.listens() && running.is_empty() && addresses == 0 => {
            if format.is_none_or(|format| format != "json") {
                part::voice::write_error(&nothing_runs(matches));
            }
            ExitCode::from(NOTHING_RUNS)
        }
        Some(_) => ExitCode::SUCCESS,
    }
}

fn nothing_runs(matches: &ArgMatches) -> String {
    let (machine, other) = match matches.get_one::<String>("node") {
        Some(node) => (format!("on node {node}"), ""),
        None => (
            format!("on this machine ({})", crate::identity::host_name()),
            "; `--node NAME` checks for another one",
        ),
    };
    format!(
        "evenkeel: nothing to run {machine}: the files have no listener, virtual address, volume, guest, farm, boot network or console for it{other}\n"
    )
}

fn options(matches: &ArgMatches) -> LoadOptions {
    let node = matches.get_one::<String>("node");
    let here = !matches.get_flag("no-resolve");
    let host = (here && node.is_none()).then(crate::identity::host_name);
    LoadOptions {
        resolve_names: here,
        diag: matches.get_flag("hints"),
        here,
        host: host.unwrap_or_default(),
        node: node.cloned(),
        ..LoadOptions::default()
    }
}

fn rendered(sources: &SourceMap, found: &Diagnostics, matches: &ArgMatches) -> String {
    let diag = matches.get_flag("hints");
    match format(matches) {
        Some("json") => render::json(sources, found, diag),
        Some("concise") => render::concise(sources, found, diag),
        _ => render::full(sources, found, &voice::look(&std::io::stdout(), diag)),
    }
}

fn format(matches: &ArgMatches) -> Option<&str> {
    matches.get_one::<String>("format").map(String::as_str)
}

/// Joins the diagnostics of HAProxy's and keepalived's files: as one list for JSON, otherwise as
/// one text after the other.
fn joined(one: &str, other: &str, format: Option<&str>) -> String {
    if format != Some("json") {
        return format!("{one}{other}");
    }
    let list = |text: &str| serde_json::from_str::<Vec<serde_json::Value>>(text);
    match (list(one), list(other)) {
        (Ok(mut all), Ok(more)) => {
            all.extend(more);
            let text = serde_json::to_string_pretty(&all).unwrap_or_default();
            text + "\n"
        }
        _ => format!("{one}{other}"),
    }
}

/// Checks files that are all in keepalived's language.
fn alone(read: &Read, matches: &ArgMatches) -> ExitCode {
    if matches.get_flag("privileges")
        && let Some(config) = &read.config
    {
        return print(&privileges::of_addresses(config, format(matches)));
    }
    let mut text = rendered(&read.sources, &read.diagnostics, matches);
    if let Some(config) = read.config.as_ref().filter(|_| text.is_empty()) {
        let instances = counted(config.instances.len(), "instance", "instances");
        text = format!("configuration valid: {instances} of virtual addresses\n");
    }
    print(&text);
    match read.config {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

fn summary(
    loaded: &keyword::load::Loaded,
    addresses: usize,
    running: &[RolePayload],
    expectations: usize,
) -> String {
    let Some(config) = &loaded.config else {
        return String::new();
    };
    let proxies = || config.proxies.iter().map(|proxy| proxy.kind);
    let frontends = proxies().filter(|kind| kind.is_frontend()).count();
    let backends = proxies().filter(|kind| kind.is_backend()).count();
    let servers: usize = config.proxies.iter().map(|p| p.servers.len()).sum();
    let addresses = match addresses {
        0 => String::new(),
        count => format!(
            ", {}",
            counted(count, "virtual address", "virtual addresses")
        ),
    };
    let others = running
        .iter()
        .filter(|one| one.part.name != address::message::PART);
    let others: String = others.map(|one| format!(", {}", one.given.size)).collect();
    let expectations = match expectations {
        0 => String::new(),
        count => format!(", {} met", counted(count, "expectation", "expectations")),
    };
    format!(
        "configuration valid: {}, {}, {}{addresses}{others}{expectations}\n",
        counted(frontends, "frontend", "frontends"),
        counted(backends, "backend", "backends"),
        counted(servers, "server", "servers"),
    )
}
