//! What operators do while traffic flows: the statistics sockets and their
//! commands. All of it runs on the side thread; a state is changed through the
//! methods of the state alone.

pub(crate) mod server;
