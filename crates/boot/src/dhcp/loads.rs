//! What a client loads, whichever kind of address it asks for, and which node says that.

use super::request::Stage;
use crate::assignment::{Assigned, Turns, assigned, is_answered};
use crate::config::{Image, Lan};
use crate::loader;
use crate::mac::{Mac, mark};
use std::collections::HashSet;

/// Another node that decides what is booted once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leader {
    /// Its name; empty: no node has a majority.
    pub name: String,
    /// Machines with an order, by [`mark`].
    pub orders: HashSet<u32>,
}

/// What a client loads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loads {
    /// The script of the machine, by HTTP.
    Script,
    /// A boot loader, by its name.
    Loader(&'static str),
}

/// What a client loads.
///
/// # Errors
/// Nothing: why, in words.
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

/// Why this node says nothing to a machine, whatever it asks; None: it is answered.
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

/// Whether only another node may say what a machine boots, and why: it boots something once.
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
