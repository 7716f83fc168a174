//! Tests networks of namespaces with the servers and clients of `lab` in their hosts: links,
//! partitions, impaired cables, blocked packets and power.

mod firewall;
mod host;
mod link;
mod partition;
mod wire;
