//! Contains the scenarios of guests, and their setup.

pub mod database_guest;
pub mod disks;
pub mod fence;
pub mod image;
pub mod life;
pub mod many;
pub mod migration;
pub mod partition;
pub mod ping;
pub mod ping_hand;
pub mod records;
pub mod site;
pub mod storage;
pub mod ticks;
pub mod upgrade;
