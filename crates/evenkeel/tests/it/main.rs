//! Runs the built binary in tests: command lines, exit codes, messages and the life of its
//! processes, compared with the real HAProxy and keepalived if those are installed.

mod address_health;
mod addresses;
mod adoption;
#[cfg(feature = "cluster")]
mod cluster_versions;
mod commands;
#[cfg(feature = "cluster")]
mod config_commands;
#[cfg(feature = "cluster")]
mod control;
mod cron_script;
#[cfg(feature = "demonstration")]
mod demo_platform;
mod distrust;
mod entry_point;
mod environment;
#[cfg(feature = "complete")]
mod examples;
mod frozen;
#[cfg(feature = "guest")]
mod guest_disks;
mod haproxy_check;
mod haproxy_life;
mod harness;
mod keepalived_check;
mod keys;
#[cfg(feature = "guest")]
mod left_behind;
mod master;
mod packaging;
mod patience;
mod privileges;
mod route;
mod route_live;
#[cfg(feature = "volume")]
mod second_instance;
mod supervised;
mod supervisor;
mod supervisor_haproxy;
mod takeover;
mod tls_life;
mod top;
#[cfg(feature = "console")]
mod trace;
mod upgrade;
#[cfg(feature = "volume")]
mod volume_checksums;
#[cfg(feature = "volume")]
mod volume_copies;
#[cfg(feature = "volume")]
mod volume_lvm;
#[cfg(feature = "volume")]
mod volume_network;
#[cfg(feature = "volume")]
mod volume_reopened;
#[cfg(feature = "volume")]
mod volume_snapshots;
#[cfg(feature = "volume")]
mod volumes;
mod watch;
mod why;
