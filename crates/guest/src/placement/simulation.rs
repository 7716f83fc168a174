//! Simulates nodes that fail, return and are drained. `GUEST_SEED=n` replays one seed,
//! `GUEST_SEEDS=n` runs that many.

use super::{AvailableNode, GuestSpec, PlacementDefect, PlacementResult, Room, View, place_with};
use crate::defect::InjectedDefect;
use lab::Random;
use lab::sim::{assert_found, run_seeds};
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 4000;
const STEPS: u64 = 30;
/// Maximum number of rounds until the placement no longer changes.
const ROUNDS_MAX: usize = 4;

struct PlacementSimulation {
    random: Random,
    defect: Option<PlacementDefect>,
    /// All nodes, and whether each is available.
    nodes: Vec<(AvailableNode, bool)>,
    guests: Vec<GuestSpec>,
    runs: BTreeMap<String, String>,
}

fn names(random: &mut Random, all: &[String], least: usize) -> Vec<String> {
    let mut some: Vec<String> = all.to_vec();
    while some.len() > least && random.percent(40) {
        let at = random.index(some.len());
        some.remove(at);
    }
    // The order is random.
    let at = random.index(some.len());
    some.rotate_left(at);
    some
}

impl PlacementSimulation {
    fn new(seed: u64, defect: Option<PlacementDefect>) -> PlacementSimulation {
        let mut random = Random::new(seed);
        let room = |random: &mut Random, most: u64| Room {
            memory_bytes: 1 + random.below(most),
            cpus: 1 + random.below(most) as u32,
        };
        let count = 2 + random.index(2);
        let all: Vec<String> = ["alpha", "beta", "gamma"][..count]
            .iter()
            .map(|n| (*n).to_owned())
            .collect();
        let nodes = all.iter().map(|name| {
            let node = AvailableNode {
                name: name.clone(),
                room: room(&mut random, 20),
                is_drained: false,
            };
            (node, true)
        });
        let nodes = nodes.collect();
        let count = 1 + random.index(7);
        let named: Vec<String> = (0..count).map(|at| format!("g{at}")).collect();
        let guests = (0..count).map(|at| {
            let mut other = |percent| {
                let is = random.percent(percent);
                let other = &named[random.index(count)];
                is.then(|| other.clone())
                    .filter(|other| *other != named[at])
                    .into_iter()
                    .collect::<BTreeSet<_>>()
            };
            let (beside, apart) = (other(10), other(20));
            GuestSpec {
                name: named[at].clone(),
                takes: room(&mut random, 8),
                prefers: names(&mut random, &all, 1),
                priority: random.below(3) as i32,
                fails_back: random.percent(15),
                beside,
                apart,
            }
        });
        let guests = guests.collect();
        PlacementSimulation {
            random,
            defect,
            nodes,
            guests,
            runs: BTreeMap::new(),
        }
    }

    fn view(&self) -> View {
        let there = self.nodes.iter().filter(|(_, is_there)| *is_there);
        View {
            guests: self.guests.clone(),
            nodes: there.map(|(node, _)| node.clone()).collect(),
            runs: self.runs.clone(),
            arrives: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        let at = self.random.index(self.nodes.len());
        match self.random.below(5) {
            0 | 1 => {
                let (node, is_there) = &mut self.nodes[at];
                *is_there = !*is_there;
                if !*is_there {
                    self.runs.retain(|_, place| *place != node.name);
                }
            }
            2 => self.nodes[at].0.is_drained ^= true,
            3 => {
                // A guest ends by itself.
                let guest = &self.guests[self.random.index(self.guests.len())];
                self.runs.remove(&guest.name);
            }
            _ => {}
        }
    }

    /// Applies the placement until it no longer changes. Returns a violation, if there is one. A
    /// guest that returns to a better node may have to wait for another guest to leave that node.
    fn settle(&mut self) -> Result<(), String> {
        let mut told = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let before = self.view();
            let places = place_with(&before, InjectedDefect::new(self.defect));
            sound(&before, &places)?;
            stable(&before, &places)?;
            // The reasons may have changed.
            let settled = runs(&places) == self.runs;
            self.runs = runs(&places);
            if settled {
                return Ok(());
            }
            told.push(places);
        }
        Err(format!("it is not settled: {told:?}"))
    }
}

fn runs(places: &BTreeMap<String, PlacementResult>) -> BTreeMap<String, String> {
    let on = |(name, place): (&String, &PlacementResult)| match place {
        PlacementResult::On(node) => Some((name.clone(), node.clone())),
        PlacementResult::Down(_) => None,
    };
    places.iter().filter_map(on).collect()
}

/// Checks that each running guest may run on its node, and that no node suits a guest that does not
/// run.
fn sound(view: &View, places: &BTreeMap<String, PlacementResult>) -> Result<(), String> {
    let on = runs(places);
    let at = |name: &String| on.get(name);
    for node in &view.nodes {
        let there = || {
            view.guests
                .iter()
                .filter(|guest| at(&guest.name) == Some(&node.name))
        };
        let taken = there().fold(Room::default(), |sum, guest| sum.and(guest.takes));
        if !node.room.holds(taken, Room::default()) {
            return Err(format!(
                "{} is promised {taken:?} of {:?}",
                node.name, node.room
            ));
        }
        if node.is_drained && there().next().is_some() {
            return Err(format!("{} is drained and has guests", node.name));
        }
    }
    for guest in &view.guests {
        let Some(node) = at(&guest.name) else {
            yields(view, places, guest)?;
            continue;
        };
        if !guest.prefers.contains(node) || !view.nodes.iter().any(|one| one.name == *node) {
            return Err(format!("{} is on {node}", guest.name));
        }
        if let Some(other) = guest.apart.iter().find(|other| at(other) == Some(node)) {
            return Err(format!("{} and {other} are together", guest.name));
        }
        let elsewhere = |other: &&String| at(other).is_some_and(|place| place != node);
        if let Some(other) = guest.beside.iter().find(elsewhere) {
            return Err(format!("{} and {other} are not together", guest.name));
        }
    }
    Ok(())
}

/// Checks that a guest that finds no room gives way only to guests that take precedence.
fn yields(
    view: &View,
    places: &BTreeMap<String, PlacementResult>,
    guest: &GuestSpec,
) -> Result<(), String> {
    let Some(PlacementResult::Down(why)) = places.get(&guest.name) else {
        return Ok(());
    };
    if !why.is_room() {
        return Ok(());
    }
    // Guests in `apart` and `beside` can prevent the placement, too.
    let is_free = guest.apart.is_empty() && guest.beside.is_empty();
    let names_it =
        |other: &GuestSpec| other.apart.contains(&guest.name) || other.beside.contains(&guest.name);
    if !is_free || view.guests.iter().any(names_it) {
        return Ok(());
    }
    let on = runs(places);
    for node in view
        .nodes
        .iter()
        .filter(|node| !node.is_drained && guest.prefers.contains(&node.name))
    {
        let first = view.guests.iter().filter(|other| {
            on.get(&other.name) == Some(&node.name) && other.priority >= guest.priority
        });
        let taken = first.fold(Room::default(), |sum, other| sum.and(other.takes));
        if node.room.holds(taken, guest.takes) {
            return Err(format!(
                "{} is down, and {} has room beside its betters",
                guest.name, node.name
            ));
        }
    }
    Ok(())
}

/// Checks that only guests that must move or stop do so.
fn stable(view: &View, places: &BTreeMap<String, PlacementResult>) -> Result<(), String> {
    let on = runs(places);
    for guest in view.guests.iter().filter(|guest| !guest.fails_back) {
        let Some(before) = view.runs.get(&guest.name) else {
            continue;
        };
        let Some(node) = view.nodes.iter().find(|node| node.name == *before) else {
            continue;
        };
        if on.get(&guest.name) == Some(before) || node.is_drained {
            continue;
        }
        // The guest gave way to a guest that was not there before, and that takes precedence, or
        // that excludes this one by `apart` or `beside`.
        let is_new = |other: &&GuestSpec| {
            let is_there = on.get(&other.name) == Some(before);
            let comes_first = other.priority > guest.priority;
            is_there && view.runs.get(&other.name) != Some(before) && comes_first
        };
        let ties = |other: &GuestSpec| {
            [&other.apart, &other.beside]
                .iter()
                .any(|some| some.contains(&guest.name))
                || [&guest.apart, &guest.beside]
                    .iter()
                    .any(|some| some.contains(&other.name))
        };
        if !view
            .guests
            .iter()
            .any(|other| is_new(&other) || ties(other))
        {
            return Err(format!("{} leaves {before} without need", guest.name));
        }
    }
    Ok(())
}

fn history(seed: u64, defect: Option<PlacementDefect>) -> Result<(), String> {
    let mut world = PlacementSimulation::new(seed, defect);
    for step in 0..STEPS {
        world
            .settle()
            .map_err(|error| format!("seed {seed}, step {step}: {error}\n{:#?}", world.view()))?;
        world.step();
    }
    Ok(())
}

#[test]
fn no_history_places_or_moves_a_guest_wrongly() {
    run_seeds("GUEST", SEEDS, |seed| history(seed, None));
}

#[test]
fn deliberate_defects_are_found() {
    let defects = [
        PlacementDefect::PromisesTwice,
        PlacementDefect::IgnoresPriority,
        PlacementDefect::FailsBack,
        PlacementDefect::FillsDrained,
        PlacementDefect::IgnoresApart,
        PlacementDefect::StartsFirst,
    ];
    assert_found(&defects, SEEDS, |seed, defect| history(seed, Some(defect)));
}
