//! Tests the whole address role: processes in network namespaces that own addresses, lose them,
//! and take them over.

#[path = "role/ability.rs"]
mod ability;
#[path = "role/child.rs"]
mod child;
#[path = "role/hand_over.rs"]
mod hand_over;
#[path = "role/healing.rs"]
mod healing;
#[path = "role/health.rs"]
mod health;
#[path = "role/leases.rs"]
mod leases;
#[path = "role/peers.rs"]
mod peers;
#[path = "role/quick.rs"]
mod quick;
#[path = "role/reload.rs"]
mod reload;
#[path = "role/scene.rs"]
mod scene;
#[path = "role/switches.rs"]
mod switches;
#[path = "role/takeover.rs"]
mod takeover;
#[path = "role/tracking.rs"]
mod tracking;
#[path = "role/ways.rs"]
mod ways;
