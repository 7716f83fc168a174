//! Runs a serving process from a loaded configuration to its end. First come the steps that need
//! the initial privileges (listeners, log sockets, limits, the PID file), then the fork into the
//! background. Then the privileges are dropped, and only then threads start.

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
pub use side::{SideThreadHandle, report_losses, to_logs};
pub use signals::{OrderSource, ServingOrder, end_by, handle_signals, watch as watch_signals};
pub use spare::lower_thread_priority;
pub use start::{
    ProcessOverrides, ServingProcess, apply_plan, drop_process_privileges, find_limits, run, serve,
    wanted_limits,
};
