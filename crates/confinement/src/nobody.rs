//! Changes the console and the farm role to unprivileged processes that own no files.

use super::{Confinement, ServiceUser, apply, become_user, prepare};

/// Changes this process to the console role's unprivileged user, and confines it to no files. The
/// process may keep one supplementary group: the one whose members `saslauthd` serves.
///
/// # Errors
/// Returns why the privileges cannot be dropped.
pub fn as_console(member_of: Option<u32>) -> Result<(), String> {
    become_unprivileged(&Confinement::console(), ServiceUser::Console, member_of)
}

/// Changes this process to the farm role's unprivileged user, and confines it as the farm role: it
/// may read the files for name resolution, and open ports below 1024.
///
/// # Errors
/// Fails as [`as_console`].
pub fn as_farm(member_of: Option<u32>) -> Result<(), String> {
    become_unprivileged(&Confinement::farm(), ServiceUser::Farm, member_of)
}

fn become_unprivileged(
    confinement: &Confinement,
    user: ServiceUser,
    member_of: Option<u32>,
) -> Result<(), String> {
    prepare(confinement).map_err(|error| error.to_string())?;
    become_user(user, member_of)
        .map_err(|errno| format!("cannot become {}: {}", user.name(), errno.desc()))?;
    let held = apply(confinement);
    held.map(|_| ()).map_err(|error| error.to_string())
}
