//! Processes that own and open no files.

use super::{Confinement, ServiceUser, apply, become_user, prepare};

/// Changes this process to an unprivileged one that opens no files: that of the console, which
/// anybody can connect to, and related processes. It may keep one group: the one whose members
/// `saslauthd` answers.
///
/// # Errors
/// Returns why the privileges cannot be dropped.
pub fn as_console(member_of: Option<u32>) -> Result<(), String> {
    become_unprivileged(&Confinement::console(), ServiceUser::Console, member_of)
}

/// Does the same for the farm role, whose addresses change at run time: it may open ports below
/// 1024.
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
