//! Processes that own nothing, and open nothing.

use super::{Confinement, apply, become_nobody, prepare};

/// Makes this process one that owns nothing, and opens nothing: that of the console, which speaks with
/// everybody, and of what it is connected with. It may stay a member of one group: the one whose members
/// `saslauthd` answers.
///
/// # Errors
/// Why it cannot give up what it has, in words.
pub fn as_nobody(member_of: Option<u32>) -> Result<(), String> {
    become_one(&Confinement::console(), member_of)
}

/// The same for a process whose addresses change while it runs: it may open ports below 1024.
///
/// # Errors
/// As of [`as_nobody`].
pub fn as_nobody_who_listens(member_of: Option<u32>) -> Result<(), String> {
    become_one(&Confinement::farm(), member_of)
}

fn become_one(confinement: &Confinement, member_of: Option<u32>) -> Result<(), String> {
    prepare(confinement).map_err(|error| error.to_string())?;
    become_nobody(member_of).map_err(|errno| format!("cannot become nobody: {}", errno.desc()))?;
    let held = apply(confinement);
    held.map(|_| ()).map_err(|error| error.to_string())
}
