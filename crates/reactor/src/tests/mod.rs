//! Tests the guarantees of the event loop with real sockets.

mod deadlines;
mod echo;
mod fuzz;
mod listeners;
mod pipes;
mod sockets;
mod tasks;
mod threads;

use crate::testing::{ThreadIndex, descriptors, on_loop, turn};
