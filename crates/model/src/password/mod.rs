//! Implements password hashes, and stores the verification results of a stream. `crate::users`
//! decides when to verify.

mod checked;
mod des;
mod hash;
mod md5;

pub(crate) use checked::{ANSWERS_MAX, PasswordCheck};
pub use checked::{Busy, Checked, Key};
pub use hash::{Hash, same};
