//! Tests whole files: their diagnostics, and the resulting model.

mod beside;
mod diagnostics;
mod examples;
mod model;
mod random;

use super::outside::{Interface, NoAccount, Outside, Program};
use super::{Loaded, Options, load};
use crate::config::Account;
use language::SourceMap;
use language::render::{RenderOptions, full};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A simulated machine: files by name, interfaces eth0 to eth3.
#[derive(Default)]
pub(super) struct Nowhere {
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    /// Value that is added to each number of `${_RANDOM}`.
    seed: u32,
}

impl Outside for Nowhere {
    fn host_name(&mut self) -> String {
        "lb1.example.com".to_owned()
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.files
            .get(path)
            .cloned()
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn list(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        let names = self.files.keys().filter_map(|path| {
            let rest = path.strip_prefix(directory).ok()?;
            Some(
                rest.components()
                    .next()?
                    .as_os_str()
                    .to_string_lossy()
                    .into_owned(),
            )
        });
        let mut names: Vec<String> = names.collect();
        names.dedup();
        if names.is_empty() {
            Err(io::ErrorKind::NotADirectory.into())
        } else {
            Ok(names)
        }
    }

    fn account(&mut self, user: &str, group: Option<&str>) -> Result<Account, NoAccount> {
        let uid = match user {
            "root" => 0,
            "nobody" => 65534,
            _ => return Err(NoAccount::User),
        };
        match group {
            None | Some("root" | "nogroup") => Ok(Account {
                name: user.to_owned(),
                uid,
                gid: uid,
            }),
            Some(_) => Err(NoAccount::Group),
        }
    }

    fn interface(&mut self, name: &str) -> Interface {
        match name {
            "lo" => Interface::Loopback,
            "eth0" | "eth1" | "eth2" | "eth3" => Interface::Present,
            _ => Interface::Missing,
        }
    }

    fn program(&mut self, path: &str, _: Option<&Account>) -> Program {
        match path {
            "/tmp/changed" => Program::Unsafe(PathBuf::from("/tmp")),
            path if path.starts_with("/usr/bin/") || !path.contains('/') => Program::Usable,
            _ => Program::Missing,
        }
    }

    fn resolve(&mut self, host: &str) -> Vec<IpAddr> {
        host.parse().into_iter().collect()
    }

    fn seed(&mut self, seed: u32) {
        self.seed = seed;
    }

    fn random(&mut self, least: u32, most: u32) -> u32 {
        least.saturating_add(self.seed).min(most)
    }
}

/// Loads a text with options.
pub(super) fn loaded_with(
    text: &str,
    outside: &mut Nowhere,
    options: &Options,
) -> (SourceMap, Loaded) {
    let mut sources = SourceMap::default();
    let file = sources.add("/etc/keepalived/keepalived.conf", text.as_bytes().to_vec());
    let loaded = load(&mut sources, &[file], options, outside);
    (sources, loaded)
}

pub(super) fn loaded(text: &str) -> (SourceMap, Loaded) {
    loaded_with(text, &mut Nowhere::default(), &Options::default())
}

/// Returns the diagnostics of a text as users see them.
pub(super) fn told(text: &str) -> String {
    let (sources, loaded) = loaded(text);
    full(&sources, &loaded.diagnostics, &RenderOptions::default())
}

/// Returns the codes of the diagnostics in order, including those for `-dD`.
pub(super) fn codes(text: &str) -> String {
    let (_, loaded) = loaded(text);
    let codes: Vec<&str> = loaded.diagnostics.iter().map(|d| d.code.id).collect();
    codes.join(" ")
}
