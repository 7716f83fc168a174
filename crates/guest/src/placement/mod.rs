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
    /// Guests that have left a node, each with the one that takes it: nothing turns it back.
    pub arrives: BTreeMap<String, String>,
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
    /// Why each of its nodes that is there cannot have it, the best first.
    Unfit(Vec<(String, Unfit)>),
}

/// Why a node is not for a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// A guest is there from which it has to be apart.
    Apart(String),
    /// The guest beside which it has to be is on another node.
    Beside(String, String),
    /// This is missing beside guests of the same or a higher priority.
    Full(Room),
}

impl Why {
    /// Whether it stays so until an operator changes something, or other guests leave: nodes that
    /// are not there may only be late.
    pub fn lasts(&self) -> bool {
        matches!(self, Why::Unfit(_))
    }

    /// Whether no node has room, and nothing else keeps the guest away.
    #[cfg(test)]
    fn is_room(&self) -> bool {
        match self {
            Why::Unfit(all) => all.iter().all(|(_, one)| matches!(one, Unfit::Full(_))),
            Why::NoNode => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoNode => {
                f.write_str("none of the nodes behind `prefer` is there and takes guests")
            }
            Why::Unfit(all) => {
                f.write_str("no node can have it: ")?;
                for (at, (node, unfit)) in all.iter().enumerate() {
                    let before = if at == 0 { "" } else { "; " };
                    write!(f, "{before}{}", unfit.at(node))?;
                }
                Ok(())
            }
        }
    }
}

impl Unfit {
    /// In words, about a node.
    fn at(&self, node: &str) -> String {
        match self {
            Unfit::Apart(other) => {
                format!("{other} is on {node}, and it has to be apart from it (`apart`)")
            }
            Unfit::Beside(other, there) => format!(
                "{other} is on {there} and not on {node}, and it has to be beside it (`beside`)"
            ),
            Unfit::Full(lacks) => format!(
                "{node} lacks {}, beside guests of the same or a higher priority",
                lacks_words(*lacks)
            ),
        }
    }
}

/// What is missing, in words.
pub fn lacks_words(lacks: Room) -> String {
    let memory = (lacks.memory_bytes > 0)
        .then(|| format!("{} of memory", crate::size::words(lacks.memory_bytes)));
    let word = if lacks.cpus == 1 {
        "processor"
    } else {
        "processors"
    };
    let cpus = (lacks.cpus > 0).then(|| format!("{} {word}", lacks.cpus));
    let lacks: Vec<String> = memory.into_iter().chain(cpus).collect();
    lacks.join(" and ")
}

impl Room {
    /// Whether this is enough for both.
    pub(crate) fn holds(self, one: Room, other: Room) -> bool {
        let memory = one.memory_bytes.checked_add(other.memory_bytes);
        let cpus = one.cpus.checked_add(other.cpus);
        memory.is_some_and(|bytes| bytes <= self.memory_bytes)
            && cpus.is_some_and(|cpus| cpus <= self.cpus)
    }

    /// What is missing for both.
    pub(crate) fn lacks(self, one: Room, other: Room) -> Room {
        let wanted = one.and(other);
        Room {
            memory_bytes: wanted.memory_bytes.saturating_sub(self.memory_bytes),
            cpus: wanted.cpus.saturating_sub(self.cpus),
        }
    }

    pub(crate) fn and(self, other: Room) -> Room {
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
    for guest in &order {
        let node = { view.arrives.get(&guest.name) }
            .filter(|node| view.nodes.iter().any(|one| one.name == **node));
        if let Some(node) = node {
            places.insert(
                guest.name.clone(),
                table.put(guest, Place::On(node.clone())),
            );
        }
    }
    for level in order.chunk_by(|one, other| priority(one) == priority(other)) {
        let level: Vec<_> = level
            .iter()
            .filter(|guest| !places.contains_key(&guest.name))
            .collect();
        // Nobody of the same priority takes the place of one that can stay.
        for guest in &level {
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

/// Whether a guest can go to a node beside all that run there.
///
/// # Errors
/// What keeps it away.
pub fn suits(view: &View, guest: &Guest, node: &str) -> Result<(), Unfit> {
    let others = view.guests.iter().filter(|other| other.name != guest.name);
    let place = |other: &Guest| {
        let place = view.arrives.get(&other.name);
        place.or_else(|| view.runs.get(&other.name)).cloned()
    };
    let table = Table {
        view,
        defect: None,
        // Those beside which it has to be follow it.
        placed: { others.filter(|other| !guest.is_tied_to(other)) }
            .filter_map(|other| Some((&*other.name, place(other)?)))
            .collect(),
        waiting: BTreeSet::new(),
    };
    let node = view.nodes.iter().find(|one| one.name == node);
    node.map_or(Ok(()), |node| table.fits(guest, node, false))
}

impl Guest {
    /// Whether both have to be on one node.
    fn is_tied_to(&self, other: &Guest) -> bool {
        self.beside.contains(&other.name) || other.beside.contains(&self.name)
    }
}

/// What is decided so far.
struct Table<'v> {
    view: &'v View,
    defect: Option<Defect>,
    placed: BTreeMap<&'v str, String>,
    /// Guests that are not decided yet.
    waiting: BTreeSet<&'v str>,
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
        let unfit = nodes.iter().filter_map(|node| {
            let unfit = self.fits(guest, node, false).err()?;
            Some((node.name.clone(), unfit))
        });
        Place::Down(match unfit.collect::<Vec<_>>() {
            none if none.is_empty() => Why::NoNode,
            unfit => Why::Unfit(unfit),
        })
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
                return Err(Unfit::Beside(other.name.clone(), place.clone()));
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
        match is_enough {
            true => Ok(()),
            false => Err(Unfit::Full(node.room.lacks(taken, guest.takes))),
        }
    }

    /// Where a guest runs that is not decided yet and would have to give way.
    fn spared(&self, other: &Guest, guest: &Guest) -> Option<&'v String> {
        let is_waiting = self.waiting.contains(&*other.name) && other.name != guest.name;
        self.view.runs.get(&other.name).filter(|_| is_waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(name: &str, memory_mib: u64) -> Guest {
        Guest {
            name: name.to_owned(),
            takes: Room {
                memory_bytes: memory_mib << 20,
                cpus: 1,
            },
            prefers: ["alpha", "beta"].map(str::to_owned).into(),
            priority: 0,
            fails_back: false,
            beside: BTreeSet::new(),
            apart: BTreeSet::new(),
        }
    }

    fn view(guests: Vec<Guest>) -> View {
        let node = |(name, memory_mib): (&str, u64)| Node {
            name: name.to_owned(),
            room: Room {
                memory_bytes: memory_mib << 20,
                cpus: 2,
            },
            is_drained: false,
        };
        let runs = { guests.iter() }.filter(|guest| guest.name != "new");
        let on = |guest: &Guest| (guest.name.clone(), "alpha".to_owned());
        View {
            runs: runs.map(on).collect(),
            guests,
            nodes: [("alpha", 1024), ("beta", 512)].map(node).into(),
            arrives: BTreeMap::new(),
        }
    }

    fn why(view: &View) -> Why {
        match place(view).remove("new") {
            Some(Place::Down(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_guest_without_room_names_what_each_node_lacks() {
        let mut new = guest("new", 768);
        new.takes.cpus = 3;
        let why = why(&view(vec![guest("mail", 512), new]));
        assert!(why.lasts());
        assert_eq!(
            why.to_string(),
            "no node can have it: alpha lacks 256m of memory and 2 processors, beside guests of the same or a higher \
             priority; beta lacks 256m of memory and 1 processor, beside guests of the same or a higher priority"
        );
    }

    #[test]
    fn a_guest_that_others_keep_away_names_them() {
        let mut new = guest("new", 768);
        new.apart.insert("mail".to_owned());
        let words = why(&view(vec![guest("mail", 128), new])).to_string();
        assert_eq!(
            words,
            "no node can have it: mail is on alpha, and it has to be apart from it (`apart`); beta lacks 256m of memory, \
             beside guests of the same or a higher priority"
        );
        let mut new = guest("new", 768);
        new.beside.insert("mail".to_owned());
        new.prefers = vec!["beta".to_owned()];
        let words = why(&view(vec![guest("mail", 128), new])).to_string();
        assert_eq!(
            words,
            "no node can have it: mail is on alpha and not on beta, and it has to be beside it (`beside`)"
        );
    }

    #[test]
    fn a_guest_that_has_left_arrives_whoever_has_to_give_way() {
        for (priority, is_apart, is_drained) in [
            (10, false, false),
            (-10, false, false),
            (0, true, false),
            (-10, true, true),
        ] {
            let mut mail = guest("mail", 384);
            mail.priority = priority;
            let mut view = view(vec![mail, guest("web", 384)]);
            if is_apart {
                view.guests[0].apart.insert("web".to_owned());
            }
            view.nodes[1].is_drained = is_drained;
            view.runs = [("web".to_owned(), "beta".to_owned())].into();
            view.arrives = [("mail".to_owned(), "beta".to_owned())].into();
            let places = place(&view);
            assert_eq!(places["mail"], Place::On("beta".to_owned()));
            assert_eq!(places["web"], Place::On("alpha".to_owned()));
            // If that node is gone, another one has it.
            view.nodes.pop();
            view.guests.pop();
            assert_eq!(place(&view)["mail"], Place::On("alpha".to_owned()));
        }
    }

    #[test]
    fn a_node_suits_a_guest_for_which_nobody_has_to_give_way() {
        let mut view = view(vec![guest("mail", 384), guest("web", 128)]);
        view.runs = [("web".to_owned(), "beta".to_owned())].into();
        let mut mail = view.guests[0].clone();
        assert_eq!(suits(&view, &mail, "beta"), Ok(()));
        view.guests[1].takes.memory_bytes = 256 << 20;
        let lacks = Room {
            memory_bytes: 128 << 20,
            cpus: 0,
        };
        assert_eq!(suits(&view, &mail, "beta"), Err(Unfit::Full(lacks)));
        assert_eq!(suits(&view, &mail, "alpha"), Ok(()));
        mail.apart.insert("web".to_owned());
        let apart = Unfit::Apart("web".to_owned());
        assert_eq!(suits(&view, &mail, "beta"), Err(apart));
        // One that has to be beside it follows.
        mail.apart.clear();
        mail.beside.insert("web".to_owned());
        view.runs = [("web", "alpha"), ("mail", "alpha")]
            .map(|(name, node)| (name.to_owned(), node.to_owned()))
            .into();
        assert_eq!(suits(&view, &mail, "beta"), Ok(()));
    }

    #[test]
    fn nodes_that_are_not_there_may_be_late() {
        let mut view = view(vec![guest("new", 128)]);
        view.nodes.clear();
        assert!(!why(&view).lasts());
    }
}
