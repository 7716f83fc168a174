//! Processes that own nothing, and open nothing.

use super::{Confinement, ServiceUser, apply, become_user, prepare};

/// Makes this process one that owns nothing, and opens nothing: that of the console, which speaks with
/// everybody, and of what it is connected with. It may stay a member of one group: the one whose members
/// `saslauthd` answers.
///
/// # Errors
/// Why it cannot give up what it has, in words.
pub fn as_console(member_of: Option<u32>) -> Result<(), String> {
    become_one(&Confinement::console(), ServiceUser::Console, member_of)
}

/// The same for the farm role, whose addresses change while it runs: it may open ports below 1024.
///
/// # Errors
/// Fails as [`as_console`].
pub fn as_farm(member_of: Option<u32>) -> Result<(), String> {
    become_one(&Confinement::farm(), ServiceUser::Farm, member_of)
}

fn become_one(
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
