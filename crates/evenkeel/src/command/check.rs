//! `evenkeel check`: everything that is wrong with files, for people and for
//! programs.

use super::{print, privileges, refuse};
use crate::files;
use crate::process;
use crate::voice::{self, counted};
use clap::ArgMatches;
use language::render;
use proxy::load::LoadOptions;
use std::path::PathBuf;
use std::process::ExitCode;

/// Loads the files and tells.
pub fn main(paths: &[PathBuf], matches: &ArgMatches) -> ExitCode {
    let files = match files::read_all(paths) {
        Ok(files) => files,
        Err(error) => return refuse(error),
    };
    let diag = matches.get_flag("hints");
    let options = LoadOptions {
        resolve_names: !matches.get_flag("no-resolve"),
        diag,
        ..Default::default()
    };
    let loaded = process::load_files(files, None, options);
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
                text = summary(&loaded);
            }
            text
        }
    };
    print(&text);
    if found.errors() > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// What is said of files about which there is nothing to say.
fn summary(loaded: &proxy::load::Loaded) -> String {
    let Some(config) = &loaded.config else {
        return String::new();
    };
    let frontends = config
        .proxies
        .iter()
        .filter(|p| p.kind.is_frontend())
        .count();
    let servers: usize = config.proxies.iter().map(|p| p.servers.len()).sum();
    let also = if config.listens() {
        ""
    } else {
        "; nothing listens, so it would not start"
    };
    format!(
        "no mistakes: {} ({frontends} with clients), {}{also}\n",
        counted(config.proxies.len(), "proxy", "proxies"),
        counted(servers, "server", "servers"),
    )
}
