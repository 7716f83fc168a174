//! Builds the files of a version from the files of this machine, or from edited texts.

use super::ConfigError;
use crate::command;
use crate::loader::addresses::{self, AddressWishes};
use crate::loader::file_set::{self, grammar};
use crate::parts::{LoadedParts, Payloads};
use configuration::files::NamedFile;
use part::voice::MessagePrinter;

use cluster::file_set::{FILES_MAX, FileSet, SET_BYTES_MAX, SetFile};
use cluster::keyword::ConfigSection;
use cluster::member::MemberKind;
use cluster::role::status::ClusterStatus;
use configuration::LoadOptions;
use keyword::load::Loaded;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const PERMISSIONS: u32 = 0o7777;
const READABLE_BY_ALL: u32 = 0o004;

/// Collects the files of the command line, and all files that they name, as the local member reads
/// them.
pub fn collect(
    paths: &[PathBuf],
    status: &ClusterStatus,
    voice: &mut MessagePrinter,
) -> Result<FileSet, ConfigError> {
    let nodes = status.members.iter().filter(|m| m.kind == MemberKind::Node);
    let me = nodes.clone().find(|member| member.id == status.me);
    let options = LoadOptions {
        node: me.map(|member| member.name.clone()),
        nodes: nodes.map(|member| member.name.clone()).collect(),
        // Each machine checks for itself.
        here: false,
        ..command::load_options()
    };
    let mut set = file_set::collect(paths, options, voice)?;
    let section = ConfigSection::read(&set, &grammar(&set));
    for path in section.files() {
        add(&mut set, Path::new(path));
    }
    Ok(set)
}

/// Adds a file of this machine, if it can be read and there is room.
fn add(set: &mut FileSet, path: &Path) -> bool {
    let Some(name) = path.to_str() else {
        return false;
    };
    let known = set.files.iter().any(|file| file.path == name);
    let bytes: u64 = set.files.iter().map(|file| file.bytes.len() as u64).sum();
    let room = SET_BYTES_MAX.saturating_sub(bytes);
    let Ok(data) = std::fs::metadata(path) else {
        return false;
    };
    if known || !data.is_file() || data.len() > room || set.files.len() >= FILES_MAX {
        return false;
    }
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(room).read_to_end(&mut bytes));
    if read.is_err() {
        return false;
    }
    let mode = data.permissions().mode() & PERMISSIONS;
    set.files.push(SetFile {
        path: name.to_owned(),
        main: false,
        secret: mode & READABLE_BY_ALL == 0,
        mode,
        bytes,
    });
    true
}

/// Result of loading a version on this machine.
pub struct Checked {
    loaded: Loaded,
    pub good: bool,
}

fn load(set: &FileSet, options: LoadOptions) -> (LoadedParts, Option<addresses::Read>) {
    let mut files: Vec<NamedFile> = file_set::main_files(set);
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

/// Returns a role's payload of a version at the node of the set. The inner `None` means that the
/// version has nothing for the part, the outer `None` that the version has errors.
pub fn payload(set: &FileSet, members: &[String], part: &str) -> Option<Option<Vec<u8>>> {
    let options = LoadOptions {
        resolve_names: false,
        nodes: members.to_vec(),
        version: "a version of the cluster".to_owned(),
        here: false,
        ..command::load_options()
    };
    let (site, _) = load(set, options);
    site.proxy.config.as_ref()?;
    let mut all = site.running(&Payloads::new()).into_iter();
    let one = all.find(|one| one.part.name == part);
    Some(one.map(|one| one.given.payload))
}

/// Returns the effects of another version on guests, one per line, as members of this cluster see
/// them. Empty if a version has errors.
pub fn of_guests(old: &FileSet, new: &FileSet, members: &[String]) -> Vec<String> {
    let of = |set: &FileSet| payload(set, members, guest::keyword::NAME);
    let (Some(old), Some(new), Some(run)) = (of(old), of(new), &guest::keyword::PART.run) else {
        return Vec::new();
    };
    (run.difference)(old.as_deref(), new.as_deref())
}

/// Loads a version as this machine would, and reports errors.
pub fn check(set: &FileSet, voice: Option<&mut MessagePrinter>) -> Checked {
    let options = LoadOptions {
        resolve_names: false,
        ..command::load_options()
    };
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
    Checked { loaded, good }
}

/// Adds files of this machine that a version names and lacks. Returns true if files were added, so
/// that the version has to be checked again.
pub fn complete(set: &mut FileSet, checked: &Checked) -> bool {
    let wanted: Vec<PathBuf> = checked.loaded.recording.files().map(Into::into).collect();
    let mut added = false;
    for path in wanted {
        added |= add(set, &path);
    }
    added
}
