//! The role with clients and hosts over loopback, without TLS between client and host: what the farm
//! never looks into.

mod agents;
mod client;
mod collections;
mod gateway;
mod hostile;
mod hosts;
mod nodes;
mod routes;
mod scene;
mod windows_agent;
