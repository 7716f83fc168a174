//! Changes root directory, groups and user of the process, in this order, because each step needs a
//! privilege that a later one drops.

use super::StartError;
use nix::unistd::{Gid, Uid, chdir, chroot, setgid, setgroups, setuid};
use std::path::Path;

/// Changes root directory, group and user to the given ones. None or ID 0 keeps the current one.
/// Root also drops its supplementary groups when it changes group or user.
///
/// # Errors
/// Fails if the system refuses a step.
pub fn drop_rights(
    root: Option<&Path>,
    gid: Option<u32>,
    uid: Option<u32>,
) -> Result<(), StartError> {
    if let Some(root) = root {
        let refused = |errno| StartError::Chroot {
            path: root.into(),
            errno,
        };
        chroot(root).map_err(refused)?;
        chdir("/").map_err(refused)?;
    }
    // Keeps the group for ID 0, which root has already.
    let gid = gid.filter(|gid| *gid != 0);
    if let Some(gid) = gid {
        let refused = |errno| StartError::Group { gid, errno };
        // Drops root's supplementary groups. Another user may not change them, and has only its
        // own.
        if Uid::effective().is_root() {
            setgroups(&[Gid::from_raw(gid)]).map_err(refused)?;
        }
        setgid(Gid::from_raw(gid)).map_err(refused)?;
    }
    if let Some(uid) = uid.filter(|uid| *uid != 0) {
        if gid.is_none() && Uid::effective().is_root() {
            setgroups(&[]).map_err(|errno| StartError::User { uid, errno })?;
        }
        setuid(Uid::from_raw(uid)).map_err(|errno| StartError::User { uid, errno })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_root_directory_is_reported() {
        let error = drop_rights(Some(Path::new("/nonexistent")), None, None).unwrap_err();
        assert!(
            error.to_string().starts_with("Cannot chroot(/nonexistent)"),
            "{error}"
        );
    }

    #[test]
    fn no_privileges_are_dropped_unless_requested() {
        assert!(drop_rights(None, None, None).is_ok());
    }
}
