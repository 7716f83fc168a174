//! `evenkeel check`: everything that is wrong with files, for people and for
//! programs.

use super::{print, privileges, refuse};
use crate::files;
use crate::process;
use crate::virtual_addresses::{self, Where};
use crate::voice::{self, counted};
use clap::ArgMatches;
use language::render;
use proxy::load::LoadOptions;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the command exits with when there is no mistake, but nothing listens;
/// as HAProxy does.
const NOTHING_LISTENS: u8 = 2;

/// Loads the files and tells.
pub fn main(paths: &[PathBuf], matches: &ArgMatches) -> ExitCode {
    let files = match files::read_some(paths) {
        Ok(files) => files,
        Err(error) => return refuse(error),
    };
    let diag = matches.get_flag("hints");
    let options = LoadOptions {
        resolve_names: !matches.get_flag("no-resolve"),
        diag,
        ..Default::default()
    };
    let place = match options.resolve_names {
        true => Where::Here,
        false => Where::Elsewhere,
    };
    let mut loaded = process::load_files(files, None, options);
    let outcome = virtual_addresses::add(&mut loaded, None, place);
    let addresses = outcome.map_or(0, |outcome| outcome.config.instances.len());
    let (sources, found) = (&loaded.sources, &loaded.diagnostics);
    let format = matches.get_one::<String>("format").map(String::as_str);
    if matches.get_flag("privileges")
        && let Some(config) = &loaded.config
    {
        return print(&privileges::tell(&loaded, config, format));
    }
    let text = match format {
        Some("json") => render::json(sources, found, diag),
        Some("concise") => render::concise(sources, found, diag),
        _ => {
            let mut text = render::full(sources, found, &voice::look(&std::io::stdout(), diag));
            if text.is_empty() {
                text = summary(&loaded, addresses);
            }
            text
        }
    };
    print(&text);
    match &loaded.config {
        None => ExitCode::FAILURE,
        Some(config) if !config.listens() && addresses == 0 => {
            if format.is_none_or(|format| format != "json") {
                crate::voice::write_error("evenkeel: nothing listens, so it would not start\n");
            }
            ExitCode::from(NOTHING_LISTENS)
        }
        Some(_) => ExitCode::SUCCESS,
    }
}

/// What is said of files about which there is nothing to say.
fn summary(loaded: &proxy::load::Loaded, addresses: usize) -> String {
    let Some(config) = &loaded.config else {
        return String::new();
    };
    let frontends = config
        .proxies
        .iter()
        .filter(|p| p.kind.is_frontend())
        .count();
    let servers: usize = config.proxies.iter().map(|p| p.servers.len()).sum();
    let addresses = match addresses {
        0 => String::new(),
        count => format!(
            ", {}",
            counted(count, "virtual address", "virtual addresses")
        ),
    };
    format!(
        "no mistakes: {} ({frontends} with clients), {}{addresses}\n",
        counted(config.proxies.len(), "proxy", "proxies"),
        counted(servers, "server", "servers"),
    )
}
