//! Computes the placement: the node on which each guest should run, as a pure function of the
//! configuration, of the available nodes, and of where guests run now. Each node computes the
//! placement itself; if nodes see different inputs, the lease of a guest decides.
//!
//! - A running guest stays where it is. A returning node moves nothing, unless a guest has
//!   `fail-back yes`. A drained node gives up all of its guests.
//! - Memory and CPUs of a node are never overcommitted.
//! - If capacity is short, the guests with the lowest priority stay down. They are stopped for
//!   guests with a higher priority, but only if no other node has room. Among equal priorities,
//!   the running guest stays.

mod defect;
#[cfg(test)]
mod simulation;

use crate::defect::InjectedDefect;
use defect::PlacementDefect;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Memory and CPUs: used by a guest, or offered by a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Room {
    pub memory_bytes: u64,
    pub cpus: u32,
}

/// Requirements of a guest, from the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestSpec {
    pub name: String,
    pub takes: Room,
    pub prefers: Vec<String>,
    pub priority: i32,
    pub fails_back: bool,
    pub beside: BTreeSet<String>,
    pub apart: BTreeSet<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AvailableNode {
    pub name: String,
    pub room: Room,
    /// True if the node is drained: its guests leave and no other guests come.
    pub is_drained: bool,
}

/// Input of the placement. Nodes with equal inputs compute equal placements.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// Guests that should run, in any order, with unique names.
    pub guests: Vec<GuestSpec>,
    pub nodes: Vec<AvailableNode>,
    pub runs: BTreeMap<String, String>,
    /// Target node of each migrating guest. The placement never turns such a guest back.
    pub arrives: BTreeMap<String, String>,
}

/// Result of the placement of a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlacementResult {
    On(String),
    Down(UnplacedReason),
}

/// Reason why a guest cannot run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UnplacedReason {
    /// None of the guest's nodes is available, or the available ones are drained.
    NoNode,
    /// Reason for each available node, in the order of the guest's preference.
    Unfit(Vec<(String, UnsuitableReason)>),
}

/// Reason why a node is unsuitable for a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UnsuitableReason {
    /// Anti-affinity: the named guest runs there and must not share a node with the guest.
    Apart(String),
    /// Colocation: the guest must share a node with the first guest named, which runs on the
    /// second-named node.
    Beside(String, String),
    /// Missing capacity on the node, besides what guests of the same or a higher priority use.
    Full(Room),
}

impl UnplacedReason {
    /// Returns whether the reason persists until an operator changes something or other guests
    /// leave. If a node is not available, it may only be late.
    pub fn lasts(&self) -> bool {
        matches!(self, UnplacedReason::Unfit(_))
    }

    #[cfg(test)]
    fn is_room(&self) -> bool {
        match self {
            UnplacedReason::Unfit(all) => all
                .iter()
                .all(|(_, one)| matches!(one, UnsuitableReason::Full(_))),
            UnplacedReason::NoNode => false,
        }
    }
}

impl fmt::Display for UnplacedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnplacedReason::NoNode => {
                f.write_str("none of the nodes in `prefer` is available and accepts guests")
            }
            UnplacedReason::Unfit(all) => {
                f.write_str("no node can run it: ")?;
                for (at, (node, unfit)) in all.iter().enumerate() {
                    let before = if at == 0 { "" } else { "; " };
                    write!(f, "{before}{}", unfit.at(node))?;
                }
                Ok(())
            }
        }
    }
}

impl UnsuitableReason {
    fn at(&self, node: &str) -> String {
        match self {
            UnsuitableReason::Apart(other) => {
                format!("{other} is on {node}, and the guest must be on another node (`apart`)")
            }
            UnsuitableReason::Beside(other, there) => format!(
                "{other} is on {there} and not on {node}, and the guest must be on the same node (`beside`)"
            ),
            UnsuitableReason::Full(lacks) => format!(
                "{node} lacks {} in addition to guests of the same or a higher priority",
                lacks_words(*lacks)
            ),
        }
    }
}

pub fn lacks_words(lacks: Room) -> String {
    let memory = (lacks.memory_bytes > 0)
        .then(|| format!("{} of memory", image::size::words(lacks.memory_bytes)));
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
    pub(crate) fn holds(self, one: Room, other: Room) -> bool {
        let memory = one.memory_bytes.checked_add(other.memory_bytes);
        let cpus = one.cpus.checked_add(other.cpus);
        memory.is_some_and(|bytes| bytes <= self.memory_bytes)
            && cpus.is_some_and(|cpus| cpus <= self.cpus)
    }

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

pub fn place(view: &View) -> BTreeMap<String, PlacementResult> {
    place_with(view, InjectedDefect::default())
}

pub(crate) fn place_with(
    view: &View,
    defect: InjectedDefect<PlacementDefect>,
) -> BTreeMap<String, PlacementResult> {
    let mut order: Vec<&GuestSpec> = view.guests.iter().collect();
    let priority = |guest: &GuestSpec| {
        if defect.is(&PlacementDefect::IgnoresPriority) {
            0
        } else {
            guest.priority
        }
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
        let node = view
            .arrives
            .get(&guest.name)
            .filter(|node| view.nodes.iter().any(|one| one.name == **node));
        if let Some(node) = node {
            places.insert(
                guest.name.clone(),
                table.put(guest, PlacementResult::On(node.clone())),
            );
        }
    }
    for level in order.chunk_by(|one, other| priority(one) == priority(other)) {
        let level: Vec<_> = level
            .iter()
            .filter(|guest| !places.contains_key(&guest.name))
            .collect();
        // Keeps the place of a guest that can stay: no other guest of the same priority takes it.
        for guest in &level {
            if let Some(node) = table
                .stay(guest)
                .filter(|_| !table.is(PlacementDefect::StartsFirst))
            {
                places.insert(
                    guest.name.clone(),
                    table.put(guest, PlacementResult::On(node)),
                );
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

/// Checks whether a guest can move to a node in addition to all guests that run there.
///
/// # Errors
/// `apart` or `beside` forbids the node, or memory or CPUs are short there.
pub fn suits(view: &View, guest: &GuestSpec, node: &str) -> Result<(), UnsuitableReason> {
    let others = view.guests.iter().filter(|other| other.name != guest.name);
    let place = |other: &GuestSpec| {
        let place = view.arrives.get(&other.name);
        place.or_else(|| view.runs.get(&other.name)).cloned()
    };
    let table = Table {
        view,
        defect: InjectedDefect::default(),
        // Guests that must share a node with this guest move with it, so they do not count.
        placed: others
            .filter(|other| !guest.is_tied_to(other))
            .filter_map(|other| Some((&*other.name, place(other)?)))
            .collect(),
        waiting: BTreeSet::new(),
    };
    let node = view.nodes.iter().find(|one| one.name == node);
    node.map_or(Ok(()), |node| table.fits(guest, node, false))
}

impl GuestSpec {
    fn is_tied_to(&self, other: &GuestSpec) -> bool {
        self.beside.contains(&other.name) || other.beside.contains(&self.name)
    }
}

struct Table<'v> {
    view: &'v View,
    defect: InjectedDefect<PlacementDefect>,
    placed: BTreeMap<&'v str, String>,
    waiting: BTreeSet<&'v str>,
}

impl<'v> Table<'v> {
    fn put(&mut self, guest: &'v GuestSpec, place: PlacementResult) -> PlacementResult {
        self.waiting.remove(&*guest.name);
        if let PlacementResult::On(node) = &place {
            self.placed.insert(&guest.name, node.clone());
        }
        place
    }

    fn nodes(&self, guest: &GuestSpec) -> Vec<&'v AvailableNode> {
        let takes =
            |node: &&AvailableNode| !node.is_drained || self.is(PlacementDefect::FillsDrained);
        let nodes = guest
            .prefers
            .iter()
            .filter_map(|name| self.view.nodes.iter().find(|node| node.name == *name));
        nodes.filter(takes).collect()
    }

    /// Returns the node on which a running guest stays, or the better node to which it returns.
    /// Running guests that are not placed yet give way to a guest that stays.
    fn stay(&self, guest: &GuestSpec) -> Option<String> {
        let here = self.view.runs.get(&guest.name)?;
        let nodes = self.nodes(guest);
        let at = nodes.iter().position(|node| node.name == *here)?;
        let returns = guest.fails_back || self.is(PlacementDefect::FailsBack);
        let mut better = nodes[..at].iter().filter(|_| returns);
        let better = better.find(|node| self.fits(guest, node, true).is_ok());
        let stays = || Some(&nodes[at]).filter(|node| self.fits(guest, node, false).is_ok());
        better.or_else(stays).map(|node| node.name.clone())
    }

    fn choose(&self, guest: &GuestSpec) -> PlacementResult {
        let nodes = self.nodes(guest);
        // Prefers a node on which no running guest has to give way.
        for spares in [true, false] {
            let mut fit = nodes
                .iter()
                .filter(|node| self.fits(guest, node, spares).is_ok());
            if let Some(node) = fit.next() {
                return PlacementResult::On(node.name.clone());
            }
        }
        let unfit = nodes.iter().filter_map(|node| {
            let unfit = self.fits(guest, node, false).err()?;
            Some((node.name.clone(), unfit))
        });
        PlacementResult::Down(match unfit.collect::<Vec<_>>() {
            none if none.is_empty() => UnplacedReason::NoNode,
            unfit => UnplacedReason::Unfit(unfit),
        })
    }

    fn is(&self, defect: PlacementDefect) -> bool {
        self.defect.is(&defect)
    }

    /// Checks whether a node suits a guest. `spares`: running guests that are not placed yet keep
    /// their capacity.
    fn fits(
        &self,
        guest: &GuestSpec,
        node: &AvailableNode,
        spares: bool,
    ) -> Result<(), UnsuitableReason> {
        for other in &self.view.guests {
            let place = self.placed.get(&*other.name);
            let place = place.or_else(|| self.spared(other, guest).filter(|_| spares));
            let Some(place) = place else {
                continue;
            };
            let together = *place == node.name;
            let apart = guest.apart.contains(&other.name) || other.apart.contains(&guest.name);
            if apart && together && !self.is(PlacementDefect::IgnoresApart) {
                return Err(UnsuitableReason::Apart(other.name.clone()));
            }
            let is_decided = self.placed.contains_key(&*other.name);
            let beside = guest.beside.contains(&other.name) || other.beside.contains(&guest.name);
            if beside && is_decided && !together {
                return Err(UnsuitableReason::Beside(other.name.clone(), place.clone()));
            }
        }
        let there = self.view.guests.iter().filter(|other| {
            let placed = self.placed.get(&*other.name);
            let place = placed.or_else(|| self.spared(other, guest).filter(|_| spares));
            place.is_some_and(|place| *place == node.name)
        });
        let taken = there.fold(Room::default(), |sum, other| sum.and(other.takes));
        let is_enough = if self.is(PlacementDefect::PromisesTwice) {
            node.room.holds(guest.takes, Room::default())
        } else {
            node.room.holds(taken, guest.takes)
        };
        if is_enough {
            Ok(())
        } else {
            Err(UnsuitableReason::Full(node.room.lacks(taken, guest.takes)))
        }
    }

    fn spared(&self, other: &GuestSpec, guest: &GuestSpec) -> Option<&'v String> {
        let is_waiting = self.waiting.contains(&*other.name) && other.name != guest.name;
        self.view.runs.get(&other.name).filter(|_| is_waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(name: &str, memory_mib: u64) -> GuestSpec {
        GuestSpec {
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

    fn view(guests: Vec<GuestSpec>) -> View {
        let node = |(name, memory_mib): (&str, u64)| AvailableNode {
            name: name.to_owned(),
            room: Room {
                memory_bytes: memory_mib << 20,
                cpus: 2,
            },
            is_drained: false,
        };
        let runs = guests.iter().filter(|guest| guest.name != "new");
        let on = |guest: &GuestSpec| (guest.name.clone(), "alpha".to_owned());
        View {
            runs: runs.map(on).collect(),
            guests,
            nodes: [("alpha", 1024), ("beta", 512)].map(node).into(),
            arrives: BTreeMap::new(),
        }
    }

    fn why(view: &View) -> UnplacedReason {
        match place(view).remove("new") {
            Some(PlacementResult::Down(why)) => why,
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
            "no node can run it: alpha lacks 256m of memory and 2 processors in addition to guests of the \
             same or a higher priority; beta lacks 256m of memory and 1 processor in addition to guests of \
             the same or a higher priority"
        );
    }

    #[test]
    fn a_guest_that_others_keep_away_names_them() {
        let mut new = guest("new", 768);
        new.apart.insert("mail".to_owned());
        let words = why(&view(vec![guest("mail", 128), new])).to_string();
        assert_eq!(
            words,
            "no node can run it: mail is on alpha, and the guest must be on another node (`apart`); beta lacks \
             256m of memory in addition to guests of the same or a higher priority"
        );
        let mut new = guest("new", 768);
        new.beside.insert("mail".to_owned());
        new.prefers = vec!["beta".to_owned()];
        let words = why(&view(vec![guest("mail", 128), new])).to_string();
        assert_eq!(
            words,
            "no node can run it: mail is on alpha and not on beta, and the guest must be on the same node \
             (`beside`)"
        );
    }

    #[test]
    fn a_guest_in_transit_arrives_and_displaces_others() {
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
            assert_eq!(places["mail"], PlacementResult::On("beta".to_owned()));
            assert_eq!(places["web"], PlacementResult::On("alpha".to_owned()));
            // Without that node, the guest is placed on another one.
            view.nodes.pop();
            view.guests.pop();
            assert_eq!(
                place(&view)["mail"],
                PlacementResult::On("alpha".to_owned())
            );
        }
    }

    #[test]
    fn a_node_suits_a_guest_that_displaces_no_other() {
        let mut view = view(vec![guest("mail", 384), guest("web", 128)]);
        view.runs = [("web".to_owned(), "beta".to_owned())].into();
        let mut mail = view.guests[0].clone();
        assert_eq!(suits(&view, &mail, "beta"), Ok(()));
        view.guests[1].takes.memory_bytes = 256 << 20;
        let lacks = Room {
            memory_bytes: 128 << 20,
            cpus: 0,
        };
        assert_eq!(
            suits(&view, &mail, "beta"),
            Err(UnsuitableReason::Full(lacks))
        );
        assert_eq!(suits(&view, &mail, "alpha"), Ok(()));
        mail.apart.insert("web".to_owned());
        let apart = UnsuitableReason::Apart("web".to_owned());
        assert_eq!(suits(&view, &mail, "beta"), Err(apart));
        // The guest that must share the node moves with it.
        mail.apart.clear();
        mail.beside.insert("web".to_owned());
        view.runs = [("web", "alpha"), ("mail", "alpha")]
            .map(|(name, node)| (name.to_owned(), node.to_owned()))
            .into();
        assert_eq!(suits(&view, &mail, "beta"), Ok(()));
    }

    #[test]
    fn missing_nodes_are_awaited() {
        let mut view = view(vec![guest("new", 128)]);
        view.nodes.clear();
        assert!(!why(&view).lasts());
    }
}
