//! Shows configuration versions to operators: differences between two versions, the version that
//! introduced each line, and files with masked secrets. Restores masked secrets in an edited copy,
//! and removes secrets from reports. No I/O: requests to the control role and output are elsewhere.
//!
//! Neither the content of a secret file nor a password in a text is ever shown: [`Mask`].

mod blame;
mod difference;
mod mask;
mod redact;
#[cfg(test)]
mod tests;
mod uncover;

pub use blame::{Blame, BlamedLine};
pub use difference::{FileChange, FileDifference, between, unified};
pub use mask::{FileMask, Mask, MaskedFile, has_words, sha256};
pub use redact::{Redaction, without_source};
pub use uncover::uncovered;
