//! What a machine lacks for a version of the cluster that it accepted earlier. The version is
//! served without it, or with the answer of an earlier load; any other version is refused for it.

use super::Wishes;
use cluster::durable;
use configuration::Recording;
use configuration::outside::{Fallback, Found, Lack, Question};
use part::role::{Load, Missing, MissingKind};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Largest file of earlier answers, bytes.
const FOUND_BYTES_MAX: u64 = 4 << 20;
/// The time for nameservers that do not respond, before anything is served.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same when the version is served already, and what it lacks is looked for again.
const RETRY_PATIENCE: Duration = Duration::from_secs(20);

impl Wishes {
    /// Loads the accepted version also where this machine lacks something.
    pub(super) fn go_on_without(&mut self, load: &Load) {
        let patience = match load.retries {
            true => RETRY_PATIENCE,
            false => PATIENCE,
        };
        self.options.ignore_unresolved = true;
        self.fallback = Some(Arc::new(Fallback::new(found(load), patience)));
    }

    /// What the load did not find.
    pub(super) fn lacking(&self) -> Vec<Missing> {
        let lacks = self.fallback.iter().flat_map(|fallback| fallback.lacks());
        let mut missing: Vec<Missing> = lacks.map(|lack| describe(&lack)).collect();
        missing.sort();
        missing
    }
}

/// Whether the directory that a line names is there, or none is named. One that is not is
/// added to the missing things of an accepted version; for any other version the caller finds
/// out later.
pub(super) fn has_directory(
    wishes: &Wishes,
    path: Option<&Path>,
    meanwhile: &str,
    missing: &mut Vec<Missing>,
) -> bool {
    let Some(path) = path.filter(|path| wishes.fallback.is_some() && !path.is_dir()) else {
        return true;
    };
    missing.push(Missing {
        kind: MissingKind::File,
        what: path.display().to_string(),
        why: format!("the directory is missing; {meanwhile}"),
    });
    false
}

fn describe(lack: &Lack) -> Missing {
    let instead = lack.instead.as_deref();
    let (kind, what, why) = match &lack.question {
        Question::Host(name) => {
            let meanwhile = match instead {
                Some(addresses) => format!("its last known address {addresses} applies"),
                None => "servers with this name are in maintenance".to_owned(),
            };
            let why = format!("the name does not resolve; {meanwhile}");
            (MissingKind::Name, name.clone(), why)
        }
        Question::Account(_, name) => {
            let meanwhile = match instead {
                Some(number) => format!("its last known number {number} applies"),
                None => "nothing replaces it".to_owned(),
            };
            let why = format!("this machine has no such account; {meanwhile}");
            (MissingKind::Account, name.clone(), why)
        }
        Question::File(path)
        | Question::Secret(path)
        | Question::Entries(path)
        | Question::Mode(path)
        | Question::Directory(path) => {
            let why = "the file is missing or not executable".to_owned();
            (MissingKind::File, path.display().to_string(), why)
        }
        Question::Unchangeable(path) => {
            let why = "users other than root can change the program, so it is not run";
            let what = path.display().to_string();
            (MissingKind::File, what, why.to_owned())
        }
        Question::OwnAddresses => {
            let what = "addresses of this machine".to_owned();
            (MissingKind::Listener, what, "they are not known".to_owned())
        }
    };
    Missing { kind, what, why }
}

fn found(load: &Load) -> Found {
    let read = |path: &Path| {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(FOUND_BYTES_MAX)
            .read_to_end(&mut bytes)?;
        std::io::Result::Ok(Found::decode(&bytes))
    };
    let path = load
        .found
        .as_deref()
        .map(|path| Path::new(OsStr::from_bytes(path)));
    // Without the file nothing was found earlier.
    path.map(|path| read(path).unwrap_or_default())
        .unwrap_or_default()
}

/// Keeps what a load of a version of the cluster found, for a start without nameservers. A disk
/// that refuses it costs nothing but that.
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
