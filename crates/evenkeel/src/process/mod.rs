//! The life of a process that serves: from a loaded configuration to its end.
//! What needs the rights of the start (listeners, log sockets, limits, the
//! file of the process id) comes first, then the fork, then the rights are
//! given up, and only then threads begin.
//!
//! Nothing here knows a keyword or a command line.

mod before;
mod error;
mod limits;
mod open;
mod privileges;
mod processors;
mod side;
mod signals;
mod spare;
mod start;

pub use before::{Fetched, add, add_rest, fetch};
pub use error::StartError;
pub use limits::{Limits, WantedLimits};
pub use open::{LeftOut, address_text, check_programs, open};
pub use privileges::drop_rights;
pub use processors::choose as choose_processors;
pub use side::{Side, report_losses, to_logs};
pub use signals::{Order, Orders, end_by, obey, watch as watch_signals};
pub use spare::step_back;
pub use start::{
    Plan, Serving, apply_plan, find_limits, give_up, load_files, load_files_with, run, serve,
    wanted_limits,
};
