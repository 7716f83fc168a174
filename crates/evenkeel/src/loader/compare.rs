//! Compares a new configuration version with the served one: renders the difference as text, and
//! keeps the privileges of the running role, with a message for each change that needs a restart.

use crate::parts;
use command::user_name;
use configuration::Recording;
use configuration::files::NamedFile;
use confinement::group_name;
use language::difference::{Texts, compute};
use part::memory;
use part::role::{Rights, VersionPlan};
use rustix::thread::CapabilitySet;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use zeroize::Zeroizing;

/// Returns the privileges for the new version, and messages about those that differ from the
/// configured ones. After a start, user, group, root directory and capabilities stay those of the
/// previous version, because a role cannot regain privileges.
pub fn rights(wanted: Rights, previous: Option<&VersionPlan>) -> (Rights, Vec<String>) {
    let Some(previous) = previous else {
        return (wanted, Vec::new());
    };
    let has = &previous.rights;
    let mut fixed = Vec::new();
    let mut compare = |what: &str, has: Option<String>, wanted: Option<String>| {
        if has != wanted {
            let has = has.unwrap_or_else(|| "unchanged".to_owned());
            let wanted = wanted.map_or("sets none".to_owned(), |name| format!("sets {name}"));
            fixed.push(format!(
                "{what} stays {has} until a restart; the file {wanted}"
            ));
        }
    };
    let account = |id: Option<u32>, name: fn(u32) -> Option<String>| {
        id.map(|id| match name(id) {
            Some(name) => format!("{name} ({id})"),
            None => id.to_string(),
        })
    };
    let path = |path: &Option<Vec<u8>>| {
        path.as_ref()
            .map(|path| String::from_utf8_lossy(path).into_owned())
    };
    compare(
        "the user",
        account(has.uid, user_name),
        account(wanted.uid, user_name),
    );
    compare(
        "the group",
        account(has.gid, group_name),
        account(wanted.gid, group_name),
    );
    compare("'chroot'", path(&has.chroot), path(&wanted.chroot));
    let missing = wanted.capabilities & !has.capabilities;
    if missing != 0 {
        let names = confinement::names(CapabilitySet::from_bits_retain(missing));
        fixed.push(format!(
            "the file needs {}, which the proxy has given up until a restart",
            names.join(", ")
        ));
    }
    (has.clone(), fixed)
}

const CHANGED_INPUTS_MAX: usize = 8;

const LINES_MAX: usize = 40;

/// Returns the recording of the served version. Returns None at the start, or if the recording
/// cannot be decoded, for example because another release of the program wrote it.
pub fn recording(before: Option<&OwnedFd>) -> Option<Recording> {
    let bytes = Zeroizing::new(memory::read(before?).ok()?);
    Recording::decode(&bytes).ok()
}

pub const NO_DIFFERENCE: &str = "no difference";

pub fn joined(proxy: String, mut lines: Vec<String>) -> String {
    if lines.is_empty() || proxy.is_empty() {
        return proxy;
    }
    if proxy != NO_DIFFERENCE {
        lines.insert(0, proxy.trim_end().to_owned());
    }
    lines.join("\n")
}

/// Returns the difference between the served version and a new one; empty without a served version.
pub fn words(before: Option<&Recording>, now: &Recording) -> String {
    before.map_or_else(String::new, |before| difference(before, now))
}

fn difference(before: &Recording, now: &Recording) -> String {
    let files = |recording: &Recording| -> Vec<NamedFile> {
        let files = recording.files.iter();
        files
            .map(|(name, text)| (name.clone(), text.to_vec()))
            .collect()
    };
    let (old_files, new_files) = (files(before), files(now));
    let (old_named, new_named) = (named(before, now), named(now, before));
    let old = Texts {
        files: &old_files,
        other: &old_named,
    };
    let new = Texts {
        files: &new_files,
        other: &new_named,
    };
    let mut vocabulary = parts::vocabulary();
    // Masks the words after `key`, too: a message must not even contain the name of a key file.
    vocabulary.secrets.push("key");
    let difference = compute(old, new, &vocabulary);
    if !difference.is_empty() {
        return difference.render(LINES_MAX);
    }
    let changed = before.changed_inputs(now);
    if changed.is_empty() {
        return NO_DIFFERENCE.to_owned();
    }
    let named = changed.iter().take(CHANGED_INPUTS_MAX);
    let named: Vec<&str> = named.map(String::as_str).collect();
    let more = match changed.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("no line changed; changed: {}{more}", named.join(", "))
}

/// Returns the files that the configuration refers to, without those that are equal in the other
/// version, which may be large. Secret files are represented by a hash.
fn named(of: &Recording, other: &Recording) -> Vec<NamedFile> {
    let others: HashMap<&Path, Option<&[u8]>> = other.named().collect();
    let differ = of
        .named()
        .filter(|(path, text)| others.get(path) != Some(text));
    let texts =
        differ.filter_map(|(path, text)| Some((path.display().to_string(), text?.to_vec())));
    // Adds a hash instead of the text of certificates and keys, so that only the fact of a change
    // shows.
    let others: HashMap<&Path, u64> = other.secrets().collect();
    let secrets = of
        .secrets()
        .filter(|(path, number)| others.get(path) != Some(number));
    let secrets = secrets.map(|(path, number)| {
        let mut bytes = vec![0];
        bytes.extend(number.to_ne_bytes());
        (path.display().to_string(), bytes)
    });
    texts.chain(secrets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_stay_and_the_requested_ones_are_named() {
        let has = Rights {
            // The user ID belongs to no account.
            uid: Some(4_000_000_000),
            chroot: Some(b"/var/empty".to_vec()),
            ..Rights::default()
        };
        let previous = VersionPlan {
            rights: has.clone(),
            ..VersionPlan::default()
        };
        let wanted = Rights {
            uid: None,
            gid: Some(4_000_000_001),
            ..has.clone()
        };
        let (kept, fixed) = rights(wanted, Some(&previous));
        assert_eq!(kept, has);
        assert_eq!(
            fixed,
            [
                "the user stays 4000000000 until a restart; the file sets none",
                "the group stays unchanged until a restart; the file sets 4000000001",
            ]
        );
        assert_eq!(rights(has.clone(), Some(&previous)), (has, Vec::new()));
    }

    #[cfg(feature = "complete")]
    #[test]
    fn version_that_gives_a_volume_to_network_boot_waits_for_the_guest() {
        let load = |sections: &str| {
            let text = format!(
                "defaults\n timeout client 1s\nfrontend f\n bind 127.0.0.1:8080\n\
                 volume mail\n size 1m\n backing file /srv\n{sections}"
            );
            let files = vec![("a.cfg".to_owned(), text.into_bytes())];
            let site = crate::parts::load_files(files, None, Default::default(), None);
            site.proxy.recording.imports
        };
        let guest = load("guest mail\n memory 1g\n disk mail\n");
        let boot = load(
            "boot lan\n interface lo\n network 10.9.0.0/24\n range 10.9.0.1 10.9.0.9\n disk d volume mail nbd\n",
        );
        let waiting = |before, now| configuration::waiting_for_volumes(before, now);
        assert_eq!(waiting(&guest, &guest), [""; 0]);
        let lines = waiting(&guest, &boot);
        let words = "~ volume mail: network boot waits until guest mail has released it";
        assert!(lines.len() == 1 && lines[0].starts_with(words), "{lines:?}");
        let lines = waiting(&boot, &guest);
        let words = "~ volume mail: guest mail waits until network boot has released it";
        assert!(lines.len() == 1 && lines[0].starts_with(words), "{lines:?}");
    }

    #[test]
    fn changed_map_is_reported() {
        let map = std::env::temp_dir().join(format!("evenkeel-compare-{}", std::process::id()));
        let text = format!(
            "defaults\n timeout client 1s\nfrontend f\n bind 127.0.0.1:8080\n \
             http-request set-header x %[src,map({})]\n",
            map.display()
        );
        let load = |rows: &str| {
            std::fs::write(&map, rows).unwrap();
            let files = vec![("a.cfg".to_owned(), text.clone().into_bytes())];
            let site = crate::parts::load_files(files, None, Default::default(), None);
            site.proxy.recording
        };
        let (first, same, other) = (load("::1 a\n"), load("::1 a\n"), load("::1 b\n"));
        std::fs::remove_file(&map).unwrap();
        assert_eq!(difference(&first, &same), "no difference");
        let told = difference(&first, &other);
        let name = map.display().to_string();
        assert!(told.contains(&name) && told.contains("1 line"), "{told}");
    }

    #[test]
    fn renewed_certificate_is_named_without_its_content() {
        let file =
            std::env::temp_dir().join(format!("evenkeel-renewed-{}.pem", std::process::id()));
        let text = format!(
            "defaults\n timeout client 1s\nfrontend f\n bind 127.0.0.1:8080 ssl crt {}\n",
            file.display()
        );
        let load = |name: &str| {
            let names: &[&str] = &[name];
            let own = lab::pki::self_signed(&lab::pki::Leaf {
                names,
                ..Default::default()
            });
            std::fs::write(&file, own.unwrap().bundle()).unwrap();
            let files = vec![("a.cfg".to_owned(), text.clone().into_bytes())];
            let site = crate::parts::load_files(files, None, Default::default(), None);
            site.proxy.recording
        };
        let (first, other) = (load("one.example"), load("one.example"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(difference(&first, &first), "no difference");
        let told = difference(&first, &other);
        let line = format!("{}: changed", file.display());
        assert!(told.contains(&line), "{told}");
    }
}
