//! Changes of states by what stands above them: a tree that is put into service, and
//! servers that come up, go down or get another limit, for which streams wait.

mod install;
mod kept;
mod renamed;
mod server;
#[cfg(test)]
mod tests;

pub use install::install;
pub use install::{adopt, succeed};
