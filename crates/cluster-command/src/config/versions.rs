//! Builds the files of a version from files of this machine or from edited texts, and loads
//! versions for checks, differences and role inputs, by the loader that the binary provides.

use super::ConfigError;
use cluster::file_set::{FILES_MAX, FileSet, SET_BYTES_MAX, SetFile};
use cluster::keyword::{ConfigSection, Grammar};
use cluster::member::MemberKind;
use cluster::role::status::ClusterStatus;
use configuration::LoadOptions;
use part::voice::MessagePrinter;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const PERMISSIONS: u32 = 0o7777;
const READABLE_BY_ALL: u32 = 0o004;

/// Inputs of the roles beside the proxy, by part.
pub type Payloads = BTreeMap<String, Vec<u8>>;

/// Functions that load files with the sections of all parts. The binary provides them.
pub struct VersionLoader {
    /// Options of a load on this machine.
    pub options: fn() -> LoadOptions,
    /// Returns the keywords and conditions of the main files of a version.
    pub grammar: fn(&FileSet) -> Grammar,
    /// Loads files of this machine, prints their diagnostics, and returns them with all files that
    /// they name.
    pub collect: fn(&[PathBuf], LoadOptions, &mut MessagePrinter) -> Result<FileSet, String>,
    /// Returns the inputs of roles, by part; None if the version has errors.
    pub payloads: fn(&FileSet, LoadOptions) -> Option<Payloads>,
    /// Loads a version on this machine. With a printer, also evaluates `test` sections and prints
    /// diagnostics.
    pub check: fn(&FileSet, LoadOptions, Option<&mut MessagePrinter>) -> CheckedVersion,
}

/// Result of loading a version on this machine.
pub struct CheckedVersion {
    /// Files that the version names, whether it contains them or not.
    pub files: Vec<PathBuf>,
    pub good: bool,
}

static LOADER: OnceLock<VersionLoader> = OnceLock::new();

/// Sets the functions that load versions. Must be called once, at the start of a process.
pub fn set_version_loader(loader: VersionLoader) {
    // A second call has no effect.
    let _ = LOADER.set(loader);
}

fn loader() -> &'static VersionLoader {
    #[cfg(test)]
    set_version_loader(super::tests::loader());
    LOADER
        .get()
        .expect("the program sets it before a command runs")
}

pub fn grammar(set: &FileSet) -> Grammar {
    (loader().grammar)(set)
}

/// Reads the files of the command line, and all files that they name, as the local member does,
/// also those of the section `config`.
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
        // Leaves checks of the machine, such as its interfaces, to each node.
        here: false,
        ..(loader().options)()
    };
    let mut set = (loader().collect)(paths, options, voice).map_err(ConfigError::Collect)?;
    let section = ConfigSection::read(&set, &grammar(&set));
    for path in section.files() {
        add(&mut set, Path::new(path));
    }
    Ok(set)
}

/// Adds a file of this machine to a version. Returns false if the version has it already, it is no
/// readable regular file, or a limit of the version is reached.
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

/// Returns the input of a part's role in a version, for the node of the set. The outer None means
/// that the version has errors, the inner None that the version has nothing for the part.
pub fn payload(set: &FileSet, members: &[String], part: &str) -> Option<Option<Vec<u8>>> {
    let options = LoadOptions {
        resolve_names: false,
        nodes: members.to_vec(),
        version: "a version of the cluster".to_owned(),
        here: false,
        ..(loader().options)()
    };
    let mut payloads = (loader().payloads)(set, options)?;
    Some(payloads.remove(part))
}

/// Returns the effects of the new version on guests, one per line, for the node of the set. Empty
/// if either version has errors.
pub fn of_guests(old: &FileSet, new: &FileSet, members: &[String]) -> Vec<String> {
    let of = |set: &FileSet| payload(set, members, guest::keyword::NAME);
    let (Some(old), Some(new), Some(run)) = (of(old), of(new), &guest::keyword::PART.run) else {
        return Vec::new();
    };
    (run.difference)(old.as_deref(), new.as_deref())
}

/// Loads a version for this machine. With a printer, prints its diagnostics.
pub fn check(set: &FileSet, voice: Option<&mut MessagePrinter>) -> CheckedVersion {
    let options = LoadOptions {
        resolve_names: false,
        ..(loader().options)()
    };
    (loader().check)(set, options, voice)
}

/// Adds files of this machine that a version names and does not contain. Returns true if files were
/// added, so that the version has to be checked again.
pub fn complete(set: &mut FileSet, checked: &CheckedVersion) -> bool {
    let mut added = false;
    for path in &checked.files {
        added |= add(set, path);
    }
    added
}
