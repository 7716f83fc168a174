//! Changes the run-time state of proxies and servers: a new configuration is installed, or a
//! server changes (up, down, another limit) and waiting streams get its slots.

mod install;
mod kept;
mod renamed;
mod server;
#[cfg(test)]
mod tests;

pub use install::install;
pub use install::{adopt, succeed};
