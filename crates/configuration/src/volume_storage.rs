//! Lists the files and block devices that store volumes, so that no section of another part of
//! the platform uses them, and the users of volumes: a volume that is written may have only one
//! at a time.

use crate::context::Context;
use crate::outside::FileIdentity;
use crate::part::Exchange;
use crate::recording::Export;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const KIND: &str = "volume storage";
const USER: &str = "user of a volume";

/// The file or block device that stores a volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeStorage {
    pub path: PathBuf,
    pub is_local: bool,
}

impl VolumeStorage {
    pub fn export(&self, volume: &str) -> Export {
        Export::new(KIND, volume, self)
    }
}

/// The files and block devices that store the volumes of a load, each with its volume.
#[derive(Debug)]
pub struct VolumeFiles(Vec<(FileIdentity, String)>);

impl VolumeFiles {
    pub fn of(exchange: &Exchange, context: &Context) -> VolumeFiles {
        let all = exchange.exports_of_kind(KIND).filter_map(|one| {
            let VolumeStorage { path, is_local } = one.value()?;
            let identity = if is_local {
                file_identity(context, &path)
            } else {
                FileIdentity::of_name(&path)
            };
            Some((identity, one.name.clone()))
        });
        VolumeFiles(all.collect())
    }

    /// Returns the volume that a file stores, whatever path names the file.
    pub fn volume_of(&self, context: &Context, file: &Path) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let file = file_identity(context, file);
        let stored = self.0.iter().find(|(identity, _)| identity.is_same(&file));
        stored.map(|(_, volume)| volume.as_str())
    }
}

/// A user of a volume, such as a virtual machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeUser {
    pub volume: String,
    pub part: String,
    /// Words for messages: `guest mail`.
    pub user: String,
    pub is_writer: bool,
}

impl VolumeUser {
    pub fn export(&self) -> Export {
        Export::new(USER, &format!("{} {}", self.volume, self.user), self)
    }
}

/// Returns which changes of a configuration must wait for users of volumes under the previous one,
/// one line each. A new user waits for a previous one if either of them writes, unless both belong
/// to one part of the platform, which compares them itself. Other storage, and the removal of a
/// volume, wait for every previous user.
pub fn waiting_for_volumes(before: &[Export], now: &[Export]) -> Vec<String> {
    let (users, new_users) = (values::<VolumeUser>(before), values::<VolumeUser>(now));
    let of_volume = |volume: &str| -> Vec<&VolumeUser> {
        let users = users.iter().map(|(_, user)| user);
        users.filter(|user| user.volume == volume).collect()
    };
    let mut lines = Vec::new();
    for (_, one) in &new_users {
        let former = of_volume(&one.volume).into_iter().filter(|former| {
            let stays = new_users.iter().any(|(_, user)| user == *former);
            former.part != one.part && !stays && (former.is_writer || one.is_writer)
        });
        lines.extend(former.map(|former| {
            format!(
                "~ volume {}: {} waits until {} has released it, if that one uses it",
                one.volume, one.user, former.user
            )
        }));
    }
    let storage = values::<VolumeStorage>(now);
    for (name, before) in values::<VolumeStorage>(before) {
        let now = storage.iter().find(|(other, _)| *other == name);
        let what = match now.map(|(_, now)| now) {
            None => "its removal",
            Some(now) if before.is_local && !now.is_local => "its removal from this node",
            Some(now) if now.path != before.path => "its other backing",
            Some(_) => continue,
        };
        lines.extend(of_volume(&name).iter().map(|user| {
            let user = &user.user;
            format!(
                "~ volume {name}: {what} waits until {user} has released it, if that one uses it"
            )
        }));
    }
    lines
}

/// Returns the values of the exports of a type, with their names.
fn values<T: VolumeExport>(exports: &[Export]) -> Vec<(String, T)> {
    let all = exports.iter().filter(|one| one.kind == T::KIND);
    all.filter_map(|one| Some((one.name.clone(), one.value()?)))
        .collect()
}

/// A value that is exported under a kind of its own.
trait VolumeExport: serde::de::DeserializeOwned {
    const KIND: &str;
}

impl VolumeExport for VolumeStorage {
    const KIND: &str = KIND;
}

impl VolumeExport for VolumeUser {
    const KIND: &str = USER;
}

/// Returns the identity of a file that a line names. Files of this machine are inspected only if
/// the configuration will run here.
pub fn file_identity(context: &Context, path: &Path) -> FileIdentity {
    if context.options.here {
        context.outside.file_identity(path)
    } else {
        FileIdentity::of_name(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_of_a_used_volume_waits_for_its_user() {
        let user = |volume: &str, part: &str, user: &str, is_writer| {
            let user = VolumeUser {
                volume: volume.to_owned(),
                part: part.to_owned(),
                user: user.to_owned(),
                is_writer,
            };
            user.export()
        };
        let storage = |volume: &str, path: &str, is_local| {
            let path = path.into();
            VolumeStorage { path, is_local }.export(volume)
        };
        let before = [
            user("mail", "guest", "guest mail", true),
            user("web", "guest", "guest web", true),
            user("tools", "guest", "guest web", false),
            storage("mail", "/a/mail.volume", true),
            storage("web", "/a/web.volume", true),
            storage("free", "/a/free.volume", true),
        ];
        assert_eq!(waiting_for_volumes(&before, &before), [""; 0]);
        assert_eq!(waiting_for_volumes(&[], &before), [""; 0]);
        let now = [
            user("mail", "boot", "network boot", true),
            user("web", "guest", "guest other", true),
            user("tools", "boot", "network boot", false),
            storage("mail", "/b/mail.volume", true),
            storage("web", "/a/web.volume", false),
        ];
        let lines = waiting_for_volumes(&before, &now);
        let expected = [
            "mail: network boot waits until guest mail has",
            "mail: its other backing waits until guest mail has",
            "web: its removal from this node waits until guest web has",
        ];
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, words) in lines.iter().zip(expected) {
            assert!(line.starts_with(&format!("~ volume {words}")), "{line}");
        }
        let lines = waiting_for_volumes(&before, &[]);
        assert!(lines[0].starts_with("~ volume mail: its removal waits until guest mail"));
    }
}
