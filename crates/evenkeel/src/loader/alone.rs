//! A version of virtual addresses: alone, without a proxy, and as a part of one
//! that has one.

use super::addresses::{self, Read};
use super::file_set;
use super::outcome::Made;
use super::wishes::Wishes;
use super::{Outcome, Refusal};
use crate::process;
use crate::roles::memory;
use crate::voice::Voice;
use address::config::Config;
use address::dialect::Machine;
use part::role::{AddressPlan, Load, Plan};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Reads keepalived's files and tells what there is to tell; None where there is
/// none of them.
pub fn read(wishes: &mut Wishes, voice: &mut Voice) -> Result<Option<Config>, Refusal> {
    if wishes.address_files.is_empty() {
        return Ok(None);
    }
    let Read {
        config,
        sources,
        diagnostics,
        included,
    } = match &wishes.set {
        Some(set) => {
            let outside = &mut file_set::outside(set);
            addresses::read(&wishes.address_files, &wishes.addresses, outside)
        }
        None => {
            let outside = &mut Machine::new();
            addresses::read(&wishes.address_files, &wishes.addresses, outside)
        }
    };
    wishes.included = included;
    voice.diagnostics(&sources, &diagnostics, wishes.options.diag, false);
    if wishes.dump
        && let Some(config) = &config
        && let Ok(text) = serde_json::to_string_pretty(config)
    {
        voice.notice(text);
    }
    config.map(Some).ok_or_else(Refusal::default)
}

/// What the version before had, and what this one has.
pub struct Both {
    /// Before.
    pub had: Option<Config>,
    /// Now.
    pub now: Option<Config>,
}

impl Both {
    /// What the supervisor is told, where a proxy serves besides.
    pub fn plan(&self) -> Option<AddressPlan> {
        let now = self.now.as_ref()?;
        Some(addresses::plan(now, self.had.as_ref(), false))
    }

    /// What the role is to run.
    pub fn descriptor(&self) -> std::io::Result<Option<OwnedFd>> {
        self.now.as_ref().map(addresses::encode).transpose()
    }

    /// What is different, behind what is different of the proxy.
    pub fn words(&self, proxy: String) -> String {
        let lines = addresses::difference(self.had.as_ref(), self.now.as_ref());
        if lines.is_empty() || proxy.is_empty() {
            return proxy;
        }
        let mut lines = lines;
        if proxy != "no difference" {
            lines.insert(0, proxy);
        }
        lines.join("\n")
    }
}

/// Whether a version has no proxy.
pub fn is_alone(plan: &Plan) -> bool {
    let addresses = plan.addresses.as_ref();
    addresses.is_some_and(|addresses| addresses.alone)
}

/// Makes a version without a proxy.
pub fn make(
    load: &Load,
    wishes: &Wishes,
    config: Option<Config>,
    had: Option<&Config>,
    voice: &mut Voice,
) -> Outcome {
    // A file without a line is one that does nothing, also there.
    let config = config.unwrap_or_default();
    let previous = load.previous.as_ref();
    if previous.is_some_and(|plan| plan.listeners > 0) {
        voice.alert(
            "these files have virtual addresses and no proxy, but a proxy serves; restart to change that",
        );
        return Err(Refusal::default());
    }
    let difference = match previous {
        None => Vec::new(),
        Some(_) => addresses::difference(had, Some(&config)),
    };
    let difference = match (previous.is_some(), difference.is_empty()) {
        (true, true) => "no difference".to_owned(),
        _ => difference.join("\n"),
    };
    let files = wishes.files.iter().chain(&wishes.address_files);
    let names = files.map(|(name, _)| name.clone());
    let pid_file = wishes.plan.pid_file.as_deref();
    let plan = Plan {
        files_max: load.files_soft,
        daemon: wishes.plan.daemon && !wishes.plan.foreground,
        pid_file: pid_file.map(absolute),
        names: names.collect(),
        difference,
        addresses: Some(addresses::plan(&config, had, true)),
        ..Plan::default()
    };
    // What a proxy would be made of: of nothing.
    let empty = process::load_files(Vec::new(), None, wishes.options.clone(), None).proxy;
    let bundle = memory::create("evenkeel bundle", &empty.recording.encode());
    match (bundle, addresses::encode(&config)) {
        (Ok(bundle), Ok(config)) => Ok(Made {
            plan,
            bundle,
            descriptors: vec![config],
            state: None,
        }),
        (Err(error), _) | (_, Err(error)) => {
            voice.alert(error);
            Err(Refusal::default())
        }
    }
}

fn absolute(path: &Path) -> Vec<u8> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.as_os_str().as_bytes().to_vec()
}
