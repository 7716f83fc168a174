//! Lists all keywords of `keepalived.conf` by family. Each family has a file with its rows and the
//! functions that parse its lines.

pub(super) mod address;
pub(super) mod bfd;
pub(super) mod draft;
pub(super) mod garp;
pub(super) mod global;
pub(super) mod instance;
pub(super) mod ipvs;
pub(super) mod mail;
pub(super) mod notify;
pub(super) mod process;
pub(super) mod route;
pub(super) mod rule;
pub(super) mod scheduling;
pub(super) mod script;
pub(super) mod statics;
pub(super) mod sync_group;
pub(super) mod tables;
pub(super) mod tracking;
pub(super) mod transport;
pub(super) mod virtual_server;

use super::keyword::Build;
use language::keyword::Family;

pub(super) static FAMILIES: &[Family<Build>] = &[
    ("Virtual routers", instance::ROWS),
    ("Adverts (multicast and unicast)", transport::ROWS),
    ("Gratuitous ARP and neighbour advertisements", garp::ROWS),
    ("Tracking", tracking::ROWS),
    ("Scripts, files and processes", script::ROWS),
    ("Sync groups", sync_group::ROWS),
    ("Notifications", notify::ROWS),
    ("Mail", mail::ROWS),
    ("Global definitions", global::ROWS),
    ("Scheduling and memory", scheduling::ROWS),
    ("Processes and files", process::ROWS),
    ("Static addresses, routes and rules", statics::ROWS),
    ("BFD", bfd::ROWS),
    ("IPVS", ipvs::ROWS),
    ("Virtual servers", virtual_server::ROWS),
];

/// Options of an address line.
pub(super) static ADDRESS_OPTIONS: &[Family<address::Build>] =
    &[("Address options", address::OPTIONS)];
/// Options of a route line.
pub(super) static ROUTE_OPTIONS: &[Family<route::Build>] = &[("Route options", route::OPTIONS)];
/// Options of a rule line.
pub(super) static RULE_OPTIONS: &[Family<rule::Build>] = &[("Rule options", rule::OPTIONS)];

pub(super) const GLOBAL: &str = "global_defs";
pub(super) const INSTANCE: &str = "vrrp_instance";
pub(super) const GROUP: &str = "vrrp_sync_group";
pub(super) const AUTHENTICATION: &str = "authentication";
pub(super) const SCRIPT: &str = "vrrp_script";
pub(super) const FILE: &str = "track_file";
pub(super) const PROCESS: &str = "vrrp_track_process";
pub(super) const GARP_GROUP: &str = "garp_group";
pub(super) const BFD: &str = "bfd_instance";
pub(super) const TRACK_GROUP: &str = "track_group";
