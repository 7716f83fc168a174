//! Holds the options of a load, independent of the personality's command line, and reads and loads
//! the files by them.

use super::LoadFailure;
use super::addresses::{self, AddressWishes};
use super::file_set;
use crate::parts::{self, LoadedParts};
use address::config::Config;
use configuration::LoadOptions;
use configuration::files::{self, NamedFile};
use configuration::outside::Fallback;
use part::file_set::FileSet;
use part::voice::keepalived::missing;
use part::voice::{Form, MessagePrinter};
use proxy_role::process;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Default)]
pub struct Wishes {
    pub paths: Vec<PathBuf>,
    pub files: Vec<NamedFile>,
    pub address_files: Vec<NamedFile>,
    pub set: Option<FileSet>,
    pub included: Vec<PathBuf>,
    pub addresses: AddressWishes,
    /// `-L`
    pub local_peer: Option<String>,
    pub options: LoadOptions,
    pub plan: process::ProcessOverrides,
    /// `-dW`
    pub zero_warning: bool,
    /// `-d` of keepalived: print the parsed configuration.
    pub dump: bool,
    /// `-V`: ignore `quiet` of a file.
    pub verbose: bool,
    /// The cluster accepted the version: missing resources of this machine are no errors.
    pub accepted: bool,
    /// Results of earlier loads for missing resources, and a record of these; None for a check.
    pub fallback: Option<Arc<Fallback>>,
    pub address_content: u64,
}

impl Wishes {
    /// Loads keepalived's files and reports their diagnostics. Returns None if there are no such
    /// files.
    pub fn read_addresses(
        &mut self,
        voice: &mut MessagePrinter,
    ) -> Result<Option<Config>, LoadFailure> {
        if self.address_files.is_empty() {
            // Uses an empty configuration under keepalived's name, which accepts files without
            // lines.
            return Ok((voice.form() == Form::Keepalived).then(Config::default));
        }
        let read = match &self.set {
            Some(set) => {
                let outside = &mut file_set::outside(set, self.fallback.clone());
                addresses::read(&self.address_files, &self.addresses, outside)
            }
            None => {
                let outside = &mut file_set::machine(self.fallback.clone());
                addresses::read(&self.address_files, &self.addresses, outside)
            }
        };
        let mut hasher = DefaultHasher::new();
        for (_, file) in read.sources.files() {
            file.text[..].hash(&mut hasher);
        }
        self.address_content = hasher.finish();
        self.included = read.included;
        voice.diagnostics(&read.sources, &read.diagnostics, self.options.diag, false);
        if self.dump
            && let Some(config) = &read.config
            && let Ok(text) = serde_json::to_string_pretty(config)
        {
            voice.notice(text);
        }
        read.config.map(Some).ok_or_else(LoadFailure::default)
    }

    pub fn load(&self, foreign: Option<&Config>) -> LoadedParts {
        let (files, options) = (self.files.clone(), self.options.clone());
        match &self.set {
            Some(set) => file_set::load(set, files, options, foreign, self.fallback.clone()),
            None => {
                let (peer, fallback) = (self.local_peer.as_deref(), self.fallback.clone());
                parts::load_files_with(files, peer, options, foreign, fallback)
            }
        }
    }

    /// Reads the configuration files, from the cluster version if there is one, and splits them by
    /// language.
    pub fn read(&mut self, voice: &mut MessagePrinter) -> Result<(), LoadFailure> {
        if let Some(set) = &self.set {
            self.files = file_set::main_files(set);
            self.address_files = addresses::split(&mut self.files);
            return Ok(());
        }
        match files::read_some(&self.paths) {
            Ok(files) => {
                self.files = files;
                self.address_files = match voice.form() {
                    Form::Own => addresses::split(&mut self.files),
                    Form::Keepalived => std::mem::take(&mut self.files),
                    Form::Haproxy => Vec::new(),
                };
                Ok(())
            }
            Err(error) => {
                match voice.form() {
                    Form::Own => voice.alert(error),
                    Form::Keepalived => voice.alert(missing(&self.paths)),
                    Form::Haproxy => voice.alert(format_args!("config : {error}")),
                }
                Err(LoadFailure::default())
            }
        }
    }
}
