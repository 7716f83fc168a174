//! Changes of states from above: new configurations, and changes of servers (up, down, another
//! limit) for which streams wait.

mod install;
mod kept;
mod renamed;
mod server;
#[cfg(test)]
mod tests;

pub use install::install;
pub use install::{adopt, succeed};
