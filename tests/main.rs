//! Scenarios across crates: the real binary, real peers, network namespaces.

mod address_complaints;
mod address_hand_over;
mod address_interop;
mod address_packets;
mod address_pair;
mod address_site;
mod certificates;
mod changes;
mod checks;
mod cluster_follow;
mod cluster_leader;
mod cluster_loss;
mod cluster_members;
mod cluster_partition;
mod cluster_site;
mod cluster_trust;
mod cluster_version;
mod console;
mod console_access;
mod console_browser;
mod console_config;
mod console_hostile;
mod console_pictures;
mod console_requests;
