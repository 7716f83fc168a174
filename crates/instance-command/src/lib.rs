//! Implements the commands about a running instance: `evenkeel reload`, `status`, `top`, `why`,
//! `watch` and `trace`. They send requests to its supervisor, and through it to the proxy, and need
//! no `stats socket`.

mod operate;
mod reload;
mod status;
mod top;
pub mod trace;
mod watch;
mod why;

use command::Subcommand;

pub const RELOAD: Subcommand = Subcommand::new("reload", reload::definition, reload::main);
pub const STATUS: Subcommand = Subcommand::new("status", status::definition, command::status::main);
pub const TRACE: Subcommand = Subcommand::new("trace", trace::definition, trace::main);

pub static COMMANDS: [Subcommand; 6] = [
    RELOAD,
    STATUS,
    Subcommand::new("top", top::definition, top::main),
    Subcommand::new("why", why::definition, why::main),
    Subcommand::new("watch", watch::definition, watch::main),
    TRACE,
];
