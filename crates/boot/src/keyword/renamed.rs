//! Warns about kept overlays on this machine that no section uses any more, because the section or
//! the line of their disk was renamed. The leases and single boots of a renamed section continue,
//! but a kept overlay belongs to the names of its section and its disk.

use super::codes;
use super::section::Lan;
use crate::disk::overlays::KEPT_SUFFIX;
use crate::mac::Mac;
use configuration::Context;
use language::Diagnostic;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Returns a warning for each disk with `keep` that has no kept overlays, while its directory has
/// overlays of a disk that no section has. Returns none if the configuration is loaded for another
/// machine or from a recording.
pub(super) fn unused_overlays(context: &Context, lans: &[Lan]) -> Vec<Diagnostic> {
    if !context.options.here || context.outside.is_recorded() {
        return Vec::new();
    }
    let disks = lans.iter().flat_map(|lan| {
        let all = lan.disks.all.iter();
        all.map(move |disk| (format!("{}.{}", lan.name.value, disk.name.value), disk))
    });
    let disks: Vec<_> = disks.collect();
    let names: BTreeSet<&str> = disks.iter().map(|(name, _)| name.as_str()).collect();
    let warnings = disks.iter().filter_map(|(name, disk)| {
        let overlay = disk.overlay.as_ref().filter(|overlay| overlay.is_kept)?;
        let kept = kept_overlays(&overlay.directory);
        if kept.contains_key(name) {
            return None;
        }
        let unused = kept.iter().find(|(one, _)| !names.contains(one.as_str()));
        let (before, machines) = unused?;
        let directory = overlay.directory.display();
        let told = format!(
            "disk '{}' begins without the changes of {machines} machines to '{before}' in {directory}",
            disk.name.value
        );
        let label = format!("its overlays are `{name}.MAC{KEPT_SUFFIX}`");
        let help = format!(
            "keep the names of the section and the disk; or rename the files `{before}.*` to `{name}.*` before the \
             change; or remove them"
        );
        let told = Diagnostic::warning(&codes::UNUSED_OVERLAYS, disk.name.span, told);
        Some(told.label(label).help(help))
    });
    warnings.collect()
}

/// Returns the disks (`SECTION.DISK`) with kept overlays in a directory, each with its number of
/// machines. A directory that cannot be read counts as empty.
fn kept_overlays(directory: &Path) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name
            .to_str()
            .and_then(|name| name.strip_suffix(KEPT_SUFFIX));
        let disk = name.and_then(|name| name.rsplit_once('.'));
        let disk = disk.filter(|(_, mac)| mac.parse::<Mac>().is_ok());
        if let Some((disk, _)) = disk {
            *all.entry(disk.to_owned()).or_default() += 1;
        }
    }
    all
}
