//! Tests of the guarantees of the reactor with real sockets.

mod deadlines;
mod echo;
mod fuzz;
mod listeners;
mod pipes;
mod sockets;
mod tasks;
mod threads;

use crate::testing::{ThreadIndex, descriptors, on_loop, turn};
