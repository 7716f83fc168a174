//! Contains the scenarios of clusters, and their setup.

pub mod address;
pub mod follow;
pub mod full;
pub mod leader;
pub mod loss;
pub mod member_return;
pub mod member_start;
pub mod members;
pub mod noise;
pub mod partition;
pub mod site;
pub mod small_arbiter;
pub mod trust;
pub mod upgrade;
pub mod version;
