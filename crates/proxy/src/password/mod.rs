//! Passwords with a hash, and what a stream knows of its own. `crate::users` verifies.

mod checked;
mod des;
mod hash;
mod md5;

pub use checked::{ANSWERS_MAX, Busy, Checked, Job, Key};
pub use hash::{Hash, same};
