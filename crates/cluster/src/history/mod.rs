//! The history of the configuration, told: what changed between versions, who wrote
//! which line, what became of each. Values; who asks the control role for versions
//! and who prints is elsewhere.
//!
//! What a secret file holds is never told, nor a password in a text: [`Mask`].

mod blame;
mod difference;
mod mask;
mod redact;
#[cfg(test)]
mod tests;
mod uncover;

pub use blame::{Blame, BlamedLine};
pub use difference::{FileChange, FileDifference, between, unified};
pub use mask::{Mask, MaskedFile, has_words, is_secret, sha256};
pub use redact::{Redaction, without_source};
pub use uncover::uncovered;
