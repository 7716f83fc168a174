//! Loads configuration versions of a cluster, and makes them. A set of files is loaded without
//! reading this machine's files. In the other direction, the files of a command line are loaded and
//! collected into a set together with all files that they name.

use super::addresses::{self, AddressWishes};
use crate::identity;
use crate::parts::{self, LoadedParts};
use address::config::Account;
use address::dialect::{Interface, LocalMachine, NoAccount, Outside, Program};
#[cfg(feature = "cluster")]
use cluster::keyword::Grammar;
use configuration::LoadOptions;
use configuration::files::{self, FileError, NamedFile};
use configuration::outside::{
    AccountKind, Fallback, Outside as Asked, Prepared, PreparedFile, Secret, SystemQuery,
};
use part::file_set::{FILES_MAX, FileSet, SET_BYTES_MAX, SetFile, VersionId};
use part::voice::MessagePrinter;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MODE: u32 = 0o600;
const PERMISSIONS: u32 = 0o7777;

fn label(set: &FileSet) -> String {
    match set.version {
        VersionId(0) => "this version".to_owned(),
        version => format!("version {version}"),
    }
}

#[cfg(feature = "cluster")]
pub fn grammar(set: &FileSet) -> Grammar {
    let mains = set.files.iter().filter(|file| file.main);
    let names: Vec<String> = mains.map(|file| file.path.clone()).collect();
    Grammar {
        words: parts::words().clone(),
        environment: identity::environment(&names, None),
        facts: identity::facts(),
    }
}

pub fn main_files(set: &FileSet) -> Vec<NamedFile> {
    let main = set.files.iter().filter(|file| file.main);
    main.map(|file| (file.path.clone(), file.bytes.clone()))
        .collect()
}

/// Loads configuration files of a set. Every file that they name comes from the set, too.
pub fn load(
    set: &FileSet,
    files: Vec<NamedFile>,
    options: LoadOptions,
    foreign: Option<&address::config::Config>,
    fallback: Option<Arc<Fallback>>,
) -> LoadedParts {
    let mut prepared = Prepared::new(label(set));
    for file in &set.files {
        let bytes = Secret::copy(&file.bytes);
        let mode = file.mode;
        prepared.add_file(&file.path, PreparedFile { bytes, mode });
    }
    for (path, names) in &set.listings {
        prepared.add_directory(path, names.iter().map(OsString::from).collect());
    }
    let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let environment = identity::environment(&names, None);
    let options = LoadOptions {
        node: Some(set.node.clone()).filter(|node| !node.is_empty()),
        version: set.label.clone(),
        ..options
    };
    let outside = Asked::prepared(prepared).with_fallback(fallback);
    let mut site = parts::load(files, environment, options, foreign, outside);
    site.set_member();
    site
}

/// Provides files, directory listings and the host name; all other queries go to this machine.
trait FileSetSource {
    fn host_name(&mut self, machine: &mut LocalMachine) -> String {
        machine.host_name()
    }

    fn read(&mut self, machine: &mut LocalMachine, path: &Path) -> io::Result<Vec<u8>>;

    fn list(&mut self, machine: &mut LocalMachine, directory: &Path) -> io::Result<Vec<String>>;
}

/// Answers the queries of a load from this machine, except for files, which `files` provides.
#[derive(Default)]
struct WithFiles<F> {
    machine: LocalMachine,
    files: F,
    fallback: Option<Arc<Fallback>>,
    names: Option<Arc<Fallback>>,
}

impl<F: FileSetSource> Outside for WithFiles<F> {
    fn host_name(&mut self) -> String {
        self.files.host_name(&mut self.machine)
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.read(&mut self.machine, path)
    }

    fn list(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        self.files.list(&mut self.machine, directory)
    }

    fn account(&mut self, user: &str, group: Option<&str>) -> Result<Account, NoAccount> {
        let found = self.machine.account(user, group);
        let Some(fallback) = self.fallback.as_ref().filter(|_| found.is_err()) else {
            return found;
        };
        let kind = match found {
            Err(NoAccount::Group) => AccountKind::Group,
            _ => AccountKind::User,
        };
        let name = match kind {
            AccountKind::User => user,
            AccountKind::Group => group.unwrap_or_default(),
        };
        fallback.record_missing(SystemQuery::Account(kind, name.to_owned()), None);
        found
    }

    fn interface(&mut self, name: &str) -> Interface {
        match (self.machine.interface(name), &self.fallback) {
            // Reports a missing interface of an accepted version as unknown: the role waits for it.
            (Interface::Missing, Some(_)) => Interface::Unknown,
            (found, _) => found,
        }
    }

    fn program(&mut self, path: &str, account: Option<&Account>) -> Program {
        match (self.machine.program(path, account), &self.fallback) {
            // Accepts a script that cannot be run in an accepted version: the role reports it.
            (Program::Missing | Program::NotExecutable, Some(fallback)) => {
                fallback.record_missing(SystemQuery::File(PathBuf::from(path)), None);
                Program::Unknown
            }
            (found, _) => found,
        }
    }

    fn resolve(&mut self, host: &str) -> Vec<IpAddr> {
        let Some(fallback) = &self.names else {
            return self.machine.resolve(host);
        };
        let found = fallback.host(host, |host| LocalMachine::new().resolve(host).into());
        if found.is_empty() {
            fallback.record_missing(SystemQuery::Host(host.to_owned()), None);
        }
        found.to_vec()
    }

    fn seed(&mut self, seed: u32) {
        self.machine.seed(seed);
    }

    fn random(&mut self, least: u32, most: u32) -> u32 {
        self.machine.random(least, most)
    }
}

/// Returns the environment of a load: the files of a set, and this machine for all other queries.
pub fn outside(set: &FileSet, fallback: Option<Arc<Fallback>>) -> impl Outside {
    WithFiles {
        machine: LocalMachine::new(),
        files: set,
        names: fallback.clone(),
        fallback: fallback.filter(|one| one.is_of_accepted()),
    }
}

/// Returns the environment of a load with the files of this machine. Host names that do not resolve
/// are recorded in `names`.
pub fn machine(names: Option<Arc<Fallback>>) -> impl Outside {
    WithFiles {
        machine: LocalMachine::new(),
        files: OwnFiles,
        fallback: None,
        names,
    }
}

struct OwnFiles;

impl FileSetSource for OwnFiles {
    fn read(&mut self, machine: &mut LocalMachine, path: &Path) -> io::Result<Vec<u8>> {
        machine.read(path)
    }

    fn list(&mut self, machine: &mut LocalMachine, directory: &Path) -> io::Result<Vec<String>> {
        machine.list(directory)
    }
}

fn is_named(path: &Path, name: &str) -> bool {
    path == Path::new(name)
}

impl FileSetSource for &FileSet {
    fn host_name(&mut self, machine: &mut LocalMachine) -> String {
        if self.node.is_empty() {
            machine.host_name()
        } else {
            self.node.clone()
        }
    }

    fn read(&mut self, _: &mut LocalMachine, path: &Path) -> io::Result<Vec<u8>> {
        let found = self.files.iter().find(|file| is_named(path, &file.path));
        let none = || {
            let told = format!(
                "it is not in {}: apply it again with that file",
                label(self)
            );
            io::Error::new(io::ErrorKind::NotFound, told)
        };
        found.map(|file| file.bytes.clone()).ok_or_else(none)
    }

    fn list(&mut self, _: &mut LocalMachine, directory: &Path) -> io::Result<Vec<String>> {
        let mut listings = self.listings.iter();
        let found = listings.find(|(path, _)| is_named(directory, path));
        let names = found.map(|(_, names)| names.clone());
        names.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Files of this machine, recorded when they are read.
#[derive(Default)]
struct Noted {
    files: BTreeMap<PathBuf, Vec<u8>>,
    listings: BTreeMap<PathBuf, Vec<String>>,
}

impl FileSetSource for Noted {
    fn read(&mut self, machine: &mut LocalMachine, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = machine.read(path)?;
        if self.files.len() < FILES_MAX {
            self.files.insert(path.to_owned(), bytes.clone());
        }
        Ok(bytes)
    }

    fn list(&mut self, machine: &mut LocalMachine, directory: &Path) -> io::Result<Vec<String>> {
        let names = machine.list(directory)?;
        if self.listings.len() < FILES_MAX {
            self.listings.insert(directory.to_owned(), names.clone());
        }
        Ok(names)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("nothing was changed: the files have errors")]
    Refused,
    #[error("'{}' is not a valid file name for a version: it is not UTF-8", .0.display())]
    Name(PathBuf),
    #[error("more than {FILES_MAX} files")]
    TooMany,
    #[error("more than {SET_BYTES_MAX} bytes")]
    TooLarge,
}

/// Loads files of this machine, reports their diagnostics, and returns the set of these files and
/// of all files that they name. The caller sets version, label and node of the set. `options` names
/// the node for which the files are loaded.
pub fn collect(
    paths: &[PathBuf],
    options: LoadOptions,
    voice: &mut MessagePrinter,
) -> Result<FileSet, CollectError> {
    let all = files::read_some(paths)?;
    let mut own = all.clone();
    let foreign = addresses::split(&mut own);
    let mut noting = WithFiles::<Noted>::default();
    let mut good = true;
    if !foreign.is_empty() {
        let read = addresses::read(&foreign, &AddressWishes::default(), &mut noting);
        voice.diagnostics(&read.sources, &read.diagnostics, false, false);
        good &= read.config.is_some();
    }
    let mut site = crate::parts::load_files(own, None, options, None);
    site.warn_of_certificates();
    let loaded = site.proxy;
    voice.diagnostics(&loaded.sources, &loaded.diagnostics, false, false);
    good &= loaded.config.is_some();
    if !good {
        return Err(CollectError::Refused);
    }
    let mut gathering = Gathering::default();
    for (name, text) in &all {
        gathering.add(Path::new(name), text, true, false)?;
    }
    for (path, bytes, secret) in loaded.recording.readable_files() {
        gathering.add(path, bytes, false, secret)?;
    }
    for (path, bytes) in &noting.files.files {
        gathering.add(path, bytes, false, false)?;
    }
    for (path, names) in loaded.recording.directories() {
        gathering.list(path, names.iter().map(OsString::as_os_str))?;
    }
    for (path, names) in &noting.files.listings {
        gathering.list(path, names.iter().map(AsRef::as_ref))?;
    }
    gathering.finish()
}

#[derive(Default)]
struct Gathering {
    set: FileSet,
    bytes: u64,
    listings: BTreeMap<String, Vec<String>>,
}

fn text(path: &Path) -> Result<String, CollectError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| CollectError::Name(path.to_owned()))
}

impl Gathering {
    fn add(
        &mut self,
        path: &Path,
        bytes: &[u8],
        main: bool,
        secret: bool,
    ) -> Result<(), CollectError> {
        let path = text(path)?;
        let mut files = self.set.files.iter_mut();
        if let Some(known) = files.find(|file| file.path == path && (!main || file.main)) {
            known.secret |= secret;
            return Ok(());
        }
        if self.set.files.len() >= FILES_MAX {
            return Err(CollectError::TooMany);
        }
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > SET_BYTES_MAX {
            return Err(CollectError::TooLarge);
        }
        let mode = std::fs::metadata(&path).map_or(MODE, |file| file.permissions().mode());
        self.set.files.push(SetFile {
            path,
            main,
            secret,
            mode: mode & PERMISSIONS,
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    fn list<'n>(
        &mut self,
        path: &Path,
        names: impl Iterator<Item = &'n std::ffi::OsStr>,
    ) -> Result<(), CollectError> {
        if self.listings.len() >= FILES_MAX {
            return Err(CollectError::TooMany);
        }
        let names = names.map(|name| text(Path::new(name)));
        let names = names.filter_map(Result::ok).collect();
        self.listings.insert(text(path)?, names);
        Ok(())
    }

    /// Removes directory entries that lead to no file of the version: other files of the
    /// directories are not part of it.
    fn finish(mut self) -> Result<FileSet, CollectError> {
        let directories: Vec<PathBuf> = self.listings.keys().map(PathBuf::from).collect();
        let files: Vec<&Path> = self
            .set
            .files
            .iter()
            .map(|one| Path::new(&one.path))
            .collect();
        let leads = |path: &Path| {
            files.contains(&path) || directories.iter().any(|one| one.starts_with(path))
        };
        let listings = self.listings.iter().map(|(path, names)| {
            let kept = names
                .iter()
                .filter(|name| leads(&Path::new(path).join(name)));
            (path.clone(), kept.cloned().collect())
        });
        self.set.listings = listings.collect();
        Ok(self.set)
    }
}

#[cfg(all(test, feature = "complete"))]
mod accepted;

#[cfg(test)]
mod tests {
    use super::*;
    use language::render;
    use part::voice::Form;

    pub(super) struct FileSetDirectory(PathBuf);

    impl FileSetDirectory {
        pub(super) fn new(name: &str) -> FileSetDirectory {
            let name = format!("evenkeel-set-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            FileSetDirectory(path)
        }

        pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for FileSetDirectory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn site(scratch: &FileSetDirectory) -> PathBuf {
        let dir = scratch.0.display();
        let key = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let pem = key.cert.pem() + &key.signing_key.serialize_pem();
        scratch.write("tls/a.pem", &pem);
        scratch.write("tls/deep/left-out", "");
        scratch.write("hosts.map", "a b\n");
        scratch.write("unnamed", "");
        let text = format!(
            "defaults\n mode http\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n\
             frontend f\n bind 127.0.0.1:8443 ssl crt {dir}/tls\n \
             http-request set-header x %[src,map({dir}/hosts.map)]\n"
        );
        scratch.write("site.cfg", &text)
    }

    fn collected(path: PathBuf) -> FileSet {
        let mut voice = MessagePrinter::new(Form::Own, true);
        collect(&[path], crate::loader::load_options(), &mut voice).unwrap()
    }

    #[test]
    fn file_set_is_complete_and_loads_alone() {
        let scratch = FileSetDirectory::new("all");
        let path = site(&scratch);
        let before = crate::parts::load_files(
            files::read_all(std::slice::from_ref(&path)).unwrap(),
            None,
            Default::default(),
            None,
        )
        .proxy;
        let set = collected(path);
        let name = |end: &str| scratch.0.join(end).display().to_string();
        let told: Vec<(&str, bool, bool)> = set
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.main, file.secret))
            .collect();
        assert_eq!(
            told,
            [
                (&*name("site.cfg"), true, false),
                (&*name("tls/a.pem"), false, true),
                (&*name("hosts.map"), false, false),
            ]
        );
        let listing = set.listings.iter().find(|(path, _)| *path == name("tls"));
        assert_eq!(listing.unwrap().1, ["a.pem", "deep"]);
        std::fs::remove_dir_all(&scratch.0).unwrap();
        let again = FileSet::decode(&set.encode()).unwrap();
        let loaded = load(
            &again,
            main_files(&again),
            LoadOptions::default(),
            None,
            None,
        )
        .proxy;
        assert_eq!(
            render::concise(&loaded.sources, &loaded.diagnostics, true),
            ""
        );
        assert!(loaded.config.is_some());
        let states = &Default::default();
        assert_eq!(
            loaded.recording.content(states),
            before.recording.content(states)
        );
    }

    #[test]
    fn file_missing_in_the_set_is_reported_with_help() {
        let scratch = FileSetDirectory::new("missing");
        let mut set = collected(site(&scratch));
        set.version = VersionId(12);
        set.files.retain(|file| !file.path.ends_with("hosts.map"));
        let loaded = load(&set, main_files(&set), LoadOptions::default(), None, None).proxy;
        assert!(loaded.config.is_none());
        let told = loaded.diagnostics.iter().find_map(|told| told.help.clone());
        let path = scratch.0.join("hosts.map").display().to_string();
        let wanted = format!("'{path}' is not in version 12: apply it again with that file");
        assert_eq!(told, Some(wanted));
    }

    #[test]
    fn keepalived_files_include_their_includes() {
        let scratch = FileSetDirectory::new("keepalived");
        scratch.write(
            "parts/one.conf",
            "global_defs {\n notification_email_from one@a.example\n}\n",
        );
        scratch.write("parts/other", "");
        let text = "global_defs {\n router_id x\n}\ninclude parts/*.conf\n";
        let set = collected(scratch.write("keepalived.conf", text));
        let names: Vec<&str> = set.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        std::fs::remove_dir_all(&scratch.0).unwrap();
        let mut files = main_files(&set);
        let foreign = addresses::split(&mut files);
        let wishes = AddressWishes::default();
        let read = addresses::read(&foreign, &wishes, &mut outside(&set, None));
        assert_eq!(render::concise(&read.sources, &read.diagnostics, true), "");
        assert!(read.config.is_some());
        assert_eq!(read.included, [scratch.0.join("parts/one.conf")]);
    }

    pub(super) fn version(text: &str) -> FileSet {
        FileSet {
            version: VersionId(3),
            label: "version 3".to_owned(),
            files: vec![SetFile {
                path: "/etc/site.cfg".to_owned(),
                main: true,
                secret: false,
                mode: MODE,
                bytes: text.as_bytes().to_vec(),
            }],
            ..FileSet::default()
        }
    }

    fn loaded(set: &FileSet, fallback: Option<&Arc<Fallback>>) -> keyword::load::Loaded {
        let options = LoadOptions {
            resolve_names: true,
            ignore_unresolved: fallback.is_some(),
            ..LoadOptions::default()
        };
        load(set, main_files(set), options, None, fallback.cloned()).proxy
    }

    #[test]
    fn accepted_version_loads_without_a_name_and_a_new_one_does_not() {
        let set = version("listen l\n bind :80\n server one no-such-host.invalid:80\n");
        assert!(loaded(&set, None).config.is_none());
        let fallback = Arc::new(Fallback::new(
            Default::default(),
            std::time::Duration::from_secs(5),
        ));
        let accepted = loaded(&set, Some(&fallback));
        assert!(accepted.config.is_some());
        let lacks = fallback.missing_items();
        let name = SystemQuery::Host("no-such-host.invalid".to_owned());
        assert_eq!(
            lacks.iter().map(|lack| &lack.question).collect::<Vec<_>>(),
            [&name]
        );
        // The role builds the same from the recording.
        let replayed = keyword::load::replay(accepted.recording);
        assert!(replayed.config.is_some());
    }

    #[test]
    fn watched_files_are_refused_in_a_new_version() {
        let set = version("global\n watch files\nlisten l\n bind :80\n server one 127.0.0.1:80\n");
        let refused = loaded(&set, None);
        assert!(refused.config.is_none());
        let told = render::concise(&refused.sources, &refused.diagnostics, true);
        assert!(told.contains("error[E1061]"), "{told}");
        // Loads the same files as an accepted version, as an older program may have accepted them.
        let fallback = Arc::new(Fallback::new(Default::default(), std::time::Duration::ZERO));
        assert!(loaded(&set, Some(&fallback)).config.is_some());
    }

    #[test]
    fn files_with_errors_are_no_version() {
        let scratch = FileSetDirectory::new("errors");
        let path = scratch.write("site.cfg", "frontend f\n bnid 127.0.0.1:80\n");
        let mut voice = MessagePrinter::new(Form::Own, true);
        let refused = collect(&[path], crate::loader::load_options(), &mut voice);
        assert!(matches!(refused, Err(CollectError::Refused)));
    }
}
