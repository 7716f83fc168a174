//! On which node each guest runs: a function of what the files say, of the nodes that are there, and
//! of where guests run now. Each node computes it for itself; where nodes see different things, the
//! lease of a guest decides.
//!
//! - A guest that runs stays where it is. A node that returns moves nothing, unless a guest has
//!   `fail-back yes`. A node that is drained gives all of its guests away.
//! - Memory and processors of a node are never promised twice.
//! - Where there is not room for all, those of the lowest priority stay down, and are stopped for
//!   those of a higher one, but only if no other node has room. Of the same priority, the
//!   one that runs stays.

mod defect;
#[cfg(test)]
mod simulation;

pub use defect::Defect;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a guest takes of a node, or what a node has for guests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Room {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processors.
    pub cpus: u32,
}

/// A guest, as the files describe it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub takes: Room,
    /// The nodes on which it may run, the best first.
    pub prefers: Vec<String>,
    /// Which guests run where there is not room for all: those with the higher number.
    pub priority: i32,
    /// It returns to a better node by itself.
    pub fails_back: bool,
    /// Guests on whose node it has to be, if they run.
    pub beside: BTreeSet<String>,
    /// Guests on whose node it must not be.
    pub apart: BTreeSet<String>,
}

/// A node that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it has for guests.
    pub room: Room,
    /// It gives its guests away, and takes none.
    pub is_drained: bool,
}

/// All that is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// The guests that are to run, in any order, with different names.
    pub guests: Vec<Guest>,
    /// The nodes that are there, with different names.
    pub nodes: Vec<Node>,
    /// Where guests run now.
    pub runs: BTreeMap<String, String>,
}

/// Where a guest is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// On this node.
    On(String),
    /// Nowhere.
    Down(Why),
}

/// Why a guest cannot run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// None of its nodes is there, or those that are give their guests away.
    NoNode,
    /// Its nodes have no room beside guests of the same or a higher priority.
    NoRoom,
    /// Guests from which it has to be apart have all of its nodes.
    Apart(String),
    /// The guest beside which it has to be is on a node that it may not or cannot use.
    Beside(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoNode => {
                f.write_str("none of the nodes behind `prefer` is there and takes guests")
            }
            Why::NoRoom => f.write_str(
                "its nodes have no room for it beside guests of the same or a higher priority",
            ),
            Why::Apart(other) => write!(
                f,
                "it has to be apart from {other}, which has the only node"
            ),
            Why::Beside(other) => {
                write!(
                    f,
                    "it has to be beside {other}, whose node has no room for it or is not one of its own"
                )
            }
        }
    }
}

impl Room {
    /// Whether this is enough for both.
    fn holds(self, one: Room, other: Room) -> bool {
        let memory = one.memory_bytes.checked_add(other.memory_bytes);
        let cpus = one.cpus.checked_add(other.cpus);
        memory.is_some_and(|bytes| bytes <= self.memory_bytes)
            && cpus.is_some_and(|cpus| cpus <= self.cpus)
    }

    fn and(self, other: Room) -> Room {
        Room {
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            cpus: self.cpus.saturating_add(other.cpus),
        }
    }
}

/// Returns where each guest is to be, by its name.
pub fn place(view: &View) -> BTreeMap<String, Place> {
    place_with(view, None)
}

/// The same with a deliberate defect.
pub(crate) fn place_with(view: &View, defect: Option<Defect>) -> BTreeMap<String, Place> {
    let mut order: Vec<&Guest> = view.guests.iter().collect();
    let priority = |guest: &Guest| match defect {
        Some(Defect::IgnoresPriority) => 0,
        _ => guest.priority,
    };
    order.sort_by_key(|guest| (std::cmp::Reverse(priority(guest)), &guest.name));
    let mut table = Table {
        view,
        defect,
        placed: BTreeMap::new(),
        waiting: order.iter().map(|guest| &*guest.name).collect(),
    };
    let mut places = BTreeMap::new();
    for level in order.chunk_by(|one, other| priority(one) == priority(other)) {
        // Nobody of the same priority takes the place of one that can stay.
        for guest in level {
            if let Some(node) = table.stay(guest).filter(|_| !table.is(Defect::StartsFirst)) {
                places.insert(guest.name.clone(), table.put(guest, Place::On(node)));
            }
        }
        for guest in level {
            if !places.contains_key(&guest.name) {
                let place = table.choose(guest);
                places.insert(guest.name.clone(), table.put(guest, place));
            }
        }
    }
    places
}

/// What is decided so far.
struct Table<'v> {
    view: &'v View,
    defect: Option<Defect>,
    placed: BTreeMap<&'v str, String>,
    /// Guests that are not decided yet.
    waiting: BTreeSet<&'v str>,
}

/// Why a node is not for a guest.
enum Unfit {
    Apart(String),
    Beside(String),
    Full,
}

impl<'v> Table<'v> {
    /// Decides.
    fn put(&mut self, guest: &'v Guest, place: Place) -> Place {
        self.waiting.remove(&*guest.name);
        if let Place::On(node) = &place {
            self.placed.insert(&guest.name, node.clone());
        }
        place
    }

    /// The nodes that a guest may have, the best first.
    fn nodes(&self, guest: &Guest) -> Vec<&'v Node> {
        let takes = |node: &&Node| !node.is_drained || self.is(Defect::FillsDrained);
        let nodes = { guest.prefers.iter() }
            .filter_map(|name| self.view.nodes.iter().find(|node| node.name == *name));
        nodes.filter(takes).collect()
    }

    /// The node on which a guest stays that runs, or to which it returns. Those that are not decided
    /// yet give way to it.
    fn stay(&self, guest: &Guest) -> Option<String> {
        let here = self.view.runs.get(&guest.name)?;
        let nodes = self.nodes(guest);
        let at = nodes.iter().position(|node| node.name == *here)?;
        let returns = guest.fails_back || self.is(Defect::FailsBack);
        let mut better = nodes[..at].iter().filter(|_| returns);
        let better = better.find(|node| self.fits(guest, node, true).is_ok());
        let stays = || Some(&nodes[at]).filter(|node| self.fits(guest, node, false).is_ok());
        better.or_else(stays).map(|node| node.name.clone())
    }

    fn choose(&self, guest: &Guest) -> Place {
        let nodes = self.nodes(guest);
        // Where nobody has to give way, if there is such a node.
        for spares in [true, false] {
            let mut fit = { nodes.iter() }.filter(|node| self.fits(guest, node, spares).is_ok());
            if let Some(node) = fit.next() {
                return Place::On(node.name.clone());
            }
        }
        let unfit = nodes
            .iter()
            .filter_map(|node| self.fits(guest, node, false).err());
        Place::Down(why(unfit.collect()))
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Whether a node is for a guest. `spares`: those that run there and are not decided yet stay.
    fn fits(&self, guest: &Guest, node: &Node, spares: bool) -> Result<(), Unfit> {
        for other in &self.view.guests {
            let place = self.placed.get(&*other.name);
            let place = place.or_else(|| self.spared(other, guest).filter(|_| spares));
            let Some(place) = place else {
                continue;
            };
            let together = *place == node.name;
            let apart = guest.apart.contains(&other.name) || other.apart.contains(&guest.name);
            if apart && together && !self.is(Defect::IgnoresApart) {
                return Err(Unfit::Apart(other.name.clone()));
            }
            let is_decided = self.placed.contains_key(&*other.name);
            let beside = guest.beside.contains(&other.name) || other.beside.contains(&guest.name);
            if beside && is_decided && !together {
                return Err(Unfit::Beside(other.name.clone()));
            }
        }
        let there = self.view.guests.iter().filter(|other| {
            let placed = self.placed.get(&*other.name);
            let place = placed.or_else(|| self.spared(other, guest).filter(|_| spares));
            place.is_some_and(|place| *place == node.name)
        });
        let taken = there.fold(Room::default(), |sum, other| sum.and(other.takes));
        let is_enough = match self.defect {
            Some(Defect::PromisesTwice) => node.room.holds(guest.takes, Room::default()),
            _ => node.room.holds(taken, guest.takes),
        };
        is_enough.then_some(()).ok_or(Unfit::Full)
    }

    /// Where a guest runs that is not decided yet and would have to give way.
    fn spared(&self, other: &Guest, guest: &Guest) -> Option<&'v String> {
        let is_waiting = self.waiting.contains(&*other.name) && other.name != guest.name;
        self.view.runs.get(&other.name).filter(|_| is_waiting)
    }
}

/// The reason that helps most.
fn why(unfit: Vec<Unfit>) -> Why {
    let is_full = unfit.iter().any(|one| matches!(one, Unfit::Full));
    match unfit.into_iter().next() {
        None => Why::NoNode,
        Some(_) if is_full => Why::NoRoom,
        Some(Unfit::Apart(other)) => Why::Apart(other),
        Some(Unfit::Beside(other)) => Why::Beside(other),
        Some(Unfit::Full) => Why::NoRoom,
    }
}
