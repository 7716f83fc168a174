//! Decides how a load treats missing resources, such as unresolved host names, files and
//! directories. An accepted version of the cluster is loaded without them, or with the results of
//! an earlier load. A start from files continues without unresolved names. Other changes are
//! refused because of them.

use super::{LoadFailure, Wishes};
use configuration::Recording;
use configuration::outside::{EarlierAnswers, Fallback, Lack, SystemQuery};
use part::durable;
use part::role::{Load, Missing, MissingKind, VersionPlan};
use part::voice::{Form, MessagePrinter};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const FOUND_BYTES_MAX: u64 = 4 << 20;
/// Time limit for nameservers when an accepted version is loaded and nothing is served yet.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time limit for nameservers at a start from files, which has no results of earlier loads.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// Time limit for nameservers when the version is served already, and missing resources are looked
/// up again.
const RETRY_PATIENCE: Duration = Duration::from_secs(20);
/// Time limit for nameservers in a load that unresolved names refuse: in practice the resolver's
/// own limits apply first.
const FULL_PATIENCE: Duration = Duration::from_secs(3_600);

impl Wishes {
    /// Prepares the load for missing resources, by its kind. A check (`dry`) changes nothing: each
    /// missing resource is an error.
    pub(super) fn find_without(&mut self, load: &Load, form: Form) {
        match (load.dry, load.accepted) {
            (true, _) => {}
            (false, true) => self.go_on_without(load),
            (false, false) => self.note_names(load, form),
        }
    }

    /// Records host names that do not resolve, so that the supervisor looks them up again. A start
    /// from files continues without them, because a nameserver may start later than this machine.
    /// So does a change of a version that already lacks some. Under the names of other programs,
    /// and for versions of a cluster, an unresolved name is an error except in lines that permit
    /// it.
    fn note_names(&mut self, load: &Load, form: Form) {
        let lacks = |plan: &VersionPlan| plan.lacks.missing.iter().any(is_name);
        let is_start = load.previous.as_ref().is_none_or(lacks);
        let tolerant = form == Form::Own && !load.set && is_start;
        let patience = match (load.retries, tolerant) {
            (true, _) => RETRY_PATIENCE,
            (false, true) => START_PATIENCE,
            (false, false) => FULL_PATIENCE,
        };
        self.options.ignore_unresolved |= tolerant;
        self.fallback = Some(Arc::new(Fallback::of_names(patience)));
    }

    /// Makes the load continue in spite of missing resources, for an accepted version.
    fn go_on_without(&mut self, load: &Load) {
        let patience = if load.retries {
            RETRY_PATIENCE
        } else {
            PATIENCE
        };
        self.options.ignore_unresolved = true;
        self.accepted = true;
        self.fallback = Some(Arc::new(Fallback::new(found(load), patience)));
    }

    pub(super) fn lacking(&self) -> Vec<Missing> {
        let lacks = self
            .fallback
            .iter()
            .flat_map(|fallback| fallback.missing_items());
        let mut missing: Vec<Missing> = lacks.map(|lack| describe(&lack)).collect();
        missing.sort();
        missing
    }
}

/// Returns false, and records the directory as missing, if the version is an accepted one and the
/// directory does not exist. Otherwise returns true: for other versions, the caller detects a
/// missing directory later.
pub(super) fn has_directory(
    wishes: &Wishes,
    path: Option<&Path>,
    meanwhile: &str,
    missing: &mut Vec<Missing>,
) -> bool {
    let Some(path) = path.filter(|path| wishes.accepted && !path.is_dir()) else {
        return true;
    };
    missing.push(Missing {
        kind: MissingKind::File,
        what: path.display().to_string(),
        why: format!("the directory is missing; {meanwhile}"),
    });
    false
}

fn is_name(missing: &Missing) -> bool {
    missing.kind == MissingKind::Name
}

/// Returns the unresolved names that the served version resolved, or none without a served version
/// or for a cluster version. Such a name is probably a mistake, and the served version can be kept.
fn new_names<'m>(load: &Load, missing: &'m [Missing]) -> Vec<&'m Missing> {
    let Some(before) = load.previous.as_ref().filter(|_| !load.set) else {
        return Vec::new();
    };
    let is_new = |one: &&Missing| is_name(one) && !before.lacks.missing.contains(one);
    missing.iter().filter(is_new).collect()
}

pub(super) fn refuse_new_names(
    load: &Load,
    missing: &[Missing],
    voice: &mut MessagePrinter,
) -> Result<(), LoadFailure> {
    let new = new_names(load, missing);
    if new.is_empty() || voice.form() != Form::Own {
        return Ok(());
    }
    for one in new {
        let name = &one.what;
        voice.alert(format_args!("host name {name}: the name does not resolve"));
    }
    Err(LoadFailure::default())
}

fn describe(lack: &Lack) -> Missing {
    let instead = lack.instead.as_deref();
    let (kind, what, why) = match &lack.question {
        SystemQuery::Host(name) => {
            let meanwhile = match instead {
                Some(addresses) => format!("its last known address {addresses} applies"),
                None => "servers with this name are in maintenance, other lines have no effect"
                    .to_owned(),
            };
            let why = format!("the name does not resolve; {meanwhile}");
            (MissingKind::Name, name.clone(), why)
        }
        SystemQuery::Account(_, name) => {
            let meanwhile = match instead {
                Some(number) => format!("its last known number {number} applies"),
                None => "nothing replaces it".to_owned(),
            };
            let why = format!("this machine has no such account; {meanwhile}");
            (MissingKind::Account, name.clone(), why)
        }
        SystemQuery::File(path)
        | SystemQuery::Secret(path)
        | SystemQuery::Entries(path)
        | SystemQuery::Mode(path)
        | SystemQuery::Directory(path) => {
            let (kind, why) = fault_of(path);
            (kind, path.display().to_string(), why)
        }
        SystemQuery::Unchangeable(path) => {
            let why = "users other than root can change it";
            let what = path.display().to_string();
            (MissingKind::Program, what, why.to_owned())
        }
        SystemQuery::OwnAddresses => {
            let what = "addresses of this machine".to_owned();
            (MissingKind::Listener, what, "they are not known".to_owned())
        }
        SystemQuery::InterfaceOf(address, name) => {
            let why = format!(
                "no interface of this machine is in its network; the machine does not own the addresses of \
                 virtual-ip '{name}'"
            );
            (MissingKind::Listener, format!("address {address}"), why)
        }
    };
    Missing { kind, what, why }
}

/// Returns the reason why a file cannot be used: missing, unreadable, no regular file, or not
/// executable. For a readable file that is executable, the reason is the user's permission.
fn fault_of(path: &Path) -> (MissingKind, String) {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            (MissingKind::File, "there is no such file".to_owned())
        }
        Err(error) => {
            let why = format!("it cannot be read: {}", language::reason(&error));
            (MissingKind::File, why)
        }
        Ok(file) if !file.is_file() => (MissingKind::Program, "it is not a file".to_owned()),
        Ok(file) if file.permissions().mode() & 0o111 == 0 => {
            (MissingKind::Program, "it is not executable".to_owned())
        }
        Ok(_) => {
            let why = "the user that it runs as may not execute it";
            (MissingKind::Program, why.to_owned())
        }
    }
}

fn found(load: &Load) -> EarlierAnswers {
    let read = |path: &Path| {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(FOUND_BYTES_MAX)
            .read_to_end(&mut bytes)?;
        std::io::Result::Ok(EarlierAnswers::decode(&bytes))
    };
    let path = load
        .found
        .as_deref()
        .map(|path| Path::new(OsStr::from_bytes(path)));
    // Starts without earlier results if the file cannot be read.
    path.map(|path| read(path).unwrap_or_default())
        .unwrap_or_default()
}

/// Adds the results of a load of a cluster version to the stored ones, so that a start without
/// nameservers can use them. A failure to write is ignored.
pub(super) fn remember(load: &Load, recording: &Recording) {
    let Some(path) = load.found.as_deref().filter(|_| load.set && !load.dry) else {
        return;
    };
    let before = found(load);
    let mut now = before.clone();
    recording.add_to(&mut now);
    if now != before {
        let _ = durable::write(Path::new(OsStr::from_bytes(path)), &now.encode());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use configuration::LoadOptions;
    use keyword::load::Loaded;
    use part::role::Lacks;

    /// Returns a name with a label that is too long, so that no nameserver is queried.
    fn name(line: &str) -> String {
        format!("{}.{line}", "x".repeat(64))
    }

    /// Returns a line of each type with a name that is resolved when the file is loaded.
    fn text() -> String {
        let lines = "global\n log @log:514 local0\n log tcp@@stream:514 local0\n\
             ring r\n server one @ring:514\n\
             mailers m\n mailer one @mail:25\n\
             peers p\n peer away @peer:1024\n\
             frontend f\n mode http\n bind @bind:80\n bind 127.0.0.1:1\n default_backend b\n\
             backend b\n mode http\n server one @server:80\n server two 127.0.0.1:80 check addr @check\n \
             server three 127.0.0.1:80 agent-check agent-port 1 agent-addr @agent\n\
             backend d\n mode http\n dispatch @dispatch:80\n";
        let mut text = lines.replace("@@", "@\u{0}");
        for line in LINES {
            text = text.replace(&format!("@{line}:"), &format!("{}:", name(line)));
            text = text.replace(&format!("\u{0}{line}:"), &format!("{}:", name(line)));
            text = text.replace(&format!("@{line}\n"), &format!("{}\n", name(line)));
        }
        text
    }

    const LINES: [&str; 10] = [
        "log", "stream", "ring", "mail", "peer", "bind", "server", "check", "agent", "dispatch",
    ];

    fn loaded(ignore_unresolved: bool) -> (Loaded, Vec<Missing>) {
        let options = LoadOptions {
            resolve_names: true,
            ignore_unresolved,
            ..LoadOptions::default()
        };
        let mut wishes = Wishes {
            files: vec![("late.cfg".to_owned(), text().into_bytes())],
            ..Wishes::default()
        };
        wishes.note_names(&Load::default(), Form::Own);
        wishes.options = options;
        let site = wishes.load(None);
        let missing = wishes.lacking();
        (site.proxy, missing)
    }

    #[test]
    fn each_kind_of_line_waits_for_its_name_or_is_refused() {
        let (tolerant, missing) = loaded(true);
        let config = tolerant.config.expect("a start goes on without names");
        let mut names: Vec<&str> = missing.iter().map(|one| one.what.as_str()).collect();
        names.sort_unstable();
        let mut wanted = LINES.map(name);
        wanted.sort_unstable();
        assert_eq!(names, wanted);
        assert!(missing.iter().all(is_name));
        // Lines without an address are dropped; others are not replaced by localhost.
        assert!(config.global.logs.is_empty() && config.listens());
        let b = config.proxies.iter().find(|proxy| &*proxy.name == "b");
        let of = |at: usize| b.expect("backend b").servers[at].clone();
        let broadcast = std::net::IpAddr::from(std::net::Ipv4Addr::BROADCAST);
        assert_eq!(of(2).options.agent.address, Some(broadcast));
        assert!(format!("{:?}", of(1).options.check_host).contains("255.255.255.255"));
        assert!(format!("{:?}", of(0).address).contains("Unresolved"));

        let (strict, _) = loaded(false);
        assert!(strict.config.is_none());
        let refused = strict.diagnostics.iter();
        let refused = refused.filter(|one| one.code.id == "E0210").count();
        assert_eq!(refused, LINES.len());
    }

    #[test]
    fn only_names_may_be_missing_at_a_start_of_files() {
        let mut start = Wishes::default();
        start.find_without(&Load::default(), Form::Own);
        assert!(start.options.ignore_unresolved && !start.accepted);
        let fallback = start.fallback.expect("names are noted");
        assert!(!fallback.is_of_accepted());
        // Neither a cluster version that is not accepted nor the name `haproxy` permits missing
        // names.
        let set = Load {
            set: true,
            ..Load::default()
        };
        for (load, form) in [(set, Form::Own), (Load::default(), Form::Haproxy)] {
            let mut strict = Wishes::default();
            strict.find_without(&load, form);
            assert!(!strict.options.ignore_unresolved && !strict.accepted);
        }
    }

    #[test]
    fn change_may_lack_only_names_that_the_served_version_lacks() {
        let missing = |what: &str| Missing {
            kind: MissingKind::Name,
            what: what.to_owned(),
            why: String::new(),
        };
        let load = Load {
            previous: Some(VersionPlan {
                lacks: Lacks {
                    missing: vec![missing("old.example")],
                    ..Lacks::default()
                },
                ..VersionPlan::default()
            }),
            ..Load::default()
        };
        let lacks = [missing("old.example"), missing("typo.example")];
        assert_eq!(new_names(&load, &lacks), [&lacks[1]]);
        assert!(new_names(&Load::default(), &lacks).is_empty());
    }
}
