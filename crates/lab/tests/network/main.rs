//! Tests networks of namespaces, as servers and clients in their hosts see them.

mod firewall;
mod host;
mod link;
mod partition;
mod wire;
