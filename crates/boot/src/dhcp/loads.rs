//! Selects what a client loads, for IPv4 and IPv6 alike, and which node decides that.

use super::request::Stage;
use crate::assignment::{Assigned, Turns, assigned, is_answered};
use crate::config::{Image, Lan};
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
pub enum Loads {
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
    lan: &Lan,
    turns: &Turns,
    mac: Mac,
    (stage, architecture): (Stage, Option<u16>),
) -> Result<Loads, String> {
    match assigned(lan, turns, mac) {
        Assigned::Nothing(why) => return Err(why.to_owned()),
        Assigned::Image(name, Image::Disk) => {
            return Err(format!("its image '{name}' is its disk"));
        }
        Assigned::Image(..) | Assigned::Menu | Assigned::Enlist => {}
    }
    match stage {
        Stage::System => Err("an operating system asks, which loads nothing".to_owned()),
        Stage::Ipxe => Ok(Loads::Script),
        Stage::Firmware | Stage::HttpFirmware => {
            let loader = loader::of(architecture, lan.secure_boot)?;
            Ok(Loads::Loader(loader.name))
        }
    }
}

/// Explains why this node ignores a machine, whatever it requests; None: the machine gets a
/// response.
pub fn is_not_answered(
    lan: &Lan,
    (turns, leader): (&Turns, Option<&Leader>),
    mac: Mac,
    stage: Stage,
) -> Option<String> {
    if !is_answered(lan, turns, mac) {
        let why = "the file does not name this machine, and `unknown` is `ignore`";
        return Some(why.to_owned());
    }
    is_of_the_leader(lan, leader, mac, stage)
}

/// Explains why only another node may decide what a machine boots (the machine has a single
/// boot); None: this node may decide.
fn is_of_the_leader(lan: &Lan, leader: Option<&Leader>, mac: Mac, stage: Stage) -> Option<String> {
    let leader = leader?;
    let is_once = lan.machines.get(&mac).is_some_and(|machine| machine.once);
    let is_ordered = leader.orders.contains(&mark(mac));
    if stage == Stage::System || !(is_once || is_ordered) {
        return None;
    }
    Some(match leader.name.is_empty() {
        true => "it boots something once, and without a majority no node decides that".to_owned(),
        false => format!(
            "it boots something once, which node {} decides",
            leader.name
        ),
    })
}
