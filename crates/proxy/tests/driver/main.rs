//! The driver from outside: raw clients, half-broken servers, a data plane
//! between them.

mod addresses;
mod answers;
mod bed;
mod change;
mod clock;
mod exchange;
mod faults;
mod frames;
mod hostile;
mod hostile_http2;
mod hostile_idle;
mod hostile_seam;
mod hostile_servers;
mod hostile_tls;
mod http2;
mod http2_ends;
mod limits;
mod lists;
mod living;
mod modes;
mod options;
mod overload;
mod peer;
mod peer2;
mod persistence;
mod random;
mod raw2;
mod reuse;
mod sessions;
mod settings;
mod shutdown;
mod takeover;
mod tcp;
mod timeouts;
