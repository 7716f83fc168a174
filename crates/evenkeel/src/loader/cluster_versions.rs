//! Loads and checks configuration versions of a cluster for the cluster commands, with the sections
//! of all parts.

use super::addresses::{self, AddressWishes};
use super::file_set;
use crate::parts::{LoadedParts, Payloads};
use cluster_command::{CheckedVersion, VersionLoader};
use configuration::LoadOptions;
use part::file_set::FileSet;
use part::voice::MessagePrinter;

pub const LOADER: VersionLoader = VersionLoader {
    options: super::load_options,
    grammar: file_set::grammar,
    collect: |paths, options, voice| {
        file_set::collect(paths, options, voice).map_err(|error| error.to_string())
    },
    payloads: |set, options| {
        let (site, _) = load(set, options);
        site.proxy.config.as_ref()?;
        let running = site.running(&Payloads::new()).into_iter();
        let payloads = running.map(|one| (one.part.name.to_owned(), one.given.payload));
        Some(payloads.collect())
    },
    check,
};

fn load(set: &FileSet, options: LoadOptions) -> (LoadedParts, Option<addresses::Read>) {
    let mut files = file_set::main_files(set);
    let foreign = addresses::split(&mut files);
    let read = (!foreign.is_empty()).then(|| {
        addresses::read(
            &foreign,
            &AddressWishes::default(),
            &mut file_set::outside(set, None),
        )
    });
    let foreign_config = read.as_ref().and_then(|read| read.config.as_ref());
    (
        file_set::load(set, files, options, foreign_config, None),
        read,
    )
}

fn check(
    set: &FileSet,
    options: LoadOptions,
    voice: Option<&mut MessagePrinter>,
) -> CheckedVersion {
    let (mut site, read) = load(set, options);
    if voice.is_some() {
        site.check_expectations();
    }
    let loaded = site.proxy;
    let mut good = loaded.config.is_some();
    if let Some(voice) = voice {
        if let Some(read) = &read {
            voice.diagnostics(&read.sources, &read.diagnostics, false, false);
        }
        voice.diagnostics(&loaded.sources, &loaded.diagnostics, false, false);
    }
    good &= read.as_ref().is_none_or(|read| read.config.is_some());
    CheckedVersion {
        files: loaded.recording.files().map(Into::into).collect(),
        good,
    }
}
