//! History of the configuration: changes between versions, the author of each line, the
//! outcome of each version. Values only: requests to the control role and output are
//! elsewhere.
//!
//! Neither the content of a secret file nor a password in a text is ever shown:
//! [`Mask`].

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
