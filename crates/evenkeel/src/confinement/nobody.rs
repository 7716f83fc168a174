//! Processes that own nothing, and open nothing.

use super::{Confinement, NOBODY, StartedAs, apply, prepare};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

/// Makes this process one that owns nothing, and opens nothing: that of the console, which speaks with
/// everybody, and of what it is connected with.
///
/// # Errors
/// Why it cannot give up what it has, in words.
pub fn as_nobody() -> Result<(), String> {
    prepare(&Confinement::console()).map_err(|error| error.to_string())?;
    if StartedAs::now() == StartedAs::Root {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setgroups(&[])
            .and_then(|()| setresgid(group, group, group))
            .and_then(|()| setresuid(user, user, user))
            .map_err(|errno| format!("cannot become nobody: {}", errno.desc()))?;
    }
    let held = apply(&Confinement::console());
    held.map(|_| ()).map_err(|error| error.to_string())
}
