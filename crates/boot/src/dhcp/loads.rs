//! Selects what a client loads, for IPv4 and IPv6 alike, and which node decides that.

use super::request::BootStage;
use crate::assignment::{BootTarget, SingleBootProgress, assigned, is_answered};
use crate::config::{Image, LanConfig};
use crate::loader;
use crate::mac::{Mac, mark};
use std::collections::HashSet;

/// Another node that decides single boots.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leader {
    /// Name of the node; empty: no node has a majority.
    pub name: String,
    /// Machines with a boot order, by [`mark`].
    pub orders: HashSet<u32>,
}

/// File that a client loads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootFileChoice {
    /// The script of the machine, by HTTP.
    Script,
    /// A boot loader, by its file name.
    Loader(&'static str),
}

/// Selects what a client loads.
///
/// # Errors
///
/// The reason for which the client loads nothing.
pub fn loads(
    lan: &LanConfig,
    turns: &SingleBootProgress,
    mac: Mac,
    (stage, architecture): (BootStage, Option<u16>),
) -> Result<BootFileChoice, String> {
    match assigned(lan, turns, mac) {
        BootTarget::Nothing(why) => return Err(why.to_owned()),
        BootTarget::Image(name, Image::Disk) => {
            return Err(format!("its image '{name}' is its disk"));
        }
        BootTarget::Image(..) | BootTarget::Menu | BootTarget::Enlist => {}
    }
    match stage {
        BootStage::System => Err("an operating system asks, which loads nothing".to_owned()),
        BootStage::Ipxe => Ok(BootFileChoice::Script),
        BootStage::Firmware | BootStage::HttpFirmware => {
            let loader = loader::of(architecture, lan.secure_boot)?;
            Ok(BootFileChoice::Loader(loader.name))
        }
    }
}

/// Explains why this node ignores a machine, whatever it requests; None: the machine gets a
/// response.
pub fn is_not_answered(
    lan: &LanConfig,
    (turns, leader): (&SingleBootProgress, Option<&Leader>),
    mac: Mac,
    stage: BootStage,
) -> Option<String> {
    if !is_answered(lan, turns, mac) {
        let why = "the file does not name this machine, and `unknown` is `ignore`";
        return Some(why.to_owned());
    }
    is_of_the_leader(lan, leader, mac, stage)
}

/// Explains why only another node may decide what a machine boots (the machine has a single
/// boot); None: this node may decide.
fn is_of_the_leader(
    lan: &LanConfig,
    leader: Option<&Leader>,
    mac: Mac,
    stage: BootStage,
) -> Option<String> {
    let leader = leader?;
    let is_once = lan.machines.get(&mac).is_some_and(|machine| machine.once);
    let is_ordered = leader.orders.contains(&mark(mac));
    if stage == BootStage::System || !(is_once || is_ordered) {
        return None;
    }
    Some(if leader.name.is_empty() {
        "it boots something once, and without a majority no node decides that".to_owned()
    } else {
        format!(
            "it boots something once, which node {} decides",
            leader.name
        )
    })
}
