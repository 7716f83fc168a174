//! Tests the farm role with clients and hosts over loopback, without TLS between client and host,
//! whose data the farm never inspects.

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
