//! The built binary from outside: command lines, exit codes, messages, the
//! life of its processes; beside the real haproxy where that is installed.

mod address_health;
mod addresses;
mod adoption;
mod cluster_versions;
mod commands;
mod config_commands;
mod control;
mod cron_script;
mod distrust;
mod environment;
mod examples;
mod frozen;
mod haproxy_check;
mod haproxy_life;
mod harness;
mod keepalived_check;
mod keys;
mod master;
mod packaging;
mod patience;
mod privileges;
mod supervised;
mod supervisor;
mod supervisor_haproxy;
mod takeover;
mod tls_life;
mod upgrade;
mod volume_checksums;
mod volume_copies;
mod volume_lvm;
mod volume_network;
mod volume_reopened;
mod volume_snapshots;
mod volumes;
mod watch;
