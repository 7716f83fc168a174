//! Checks the references of a guest to other guests: to guests that do not exist, that wait for
//! each other, or that can never be placed together.

use super::codes;
use super::section::{GuestSection, Others};
use configuration::is_name_of;
use language::{Diagnostic, Spanned, suggest};
use std::collections::HashMap;

pub(super) struct GuestIndex<'d> {
    guests: &'d [GuestSection],
    numbers: HashMap<&'d str, usize>,
}

type KeywordGuests<'d> = (&'static str, &'d [Spanned<String>]);

fn named(others: &Others) -> [KeywordGuests<'_>; 3] {
    [
        ("start-order", &others.after),
        ("beside", &others.beside),
        ("apart", &others.apart),
    ]
}

impl<'d> GuestIndex<'d> {
    pub(super) fn new(guests: &'d [GuestSection]) -> GuestIndex<'d> {
        let numbers = guests.iter().enumerate();
        let numbers = numbers.map(|(at, guest)| (&*guest.name.value, at));
        GuestIndex {
            guests,
            numbers: numbers.collect(),
        }
    }

    pub(super) fn check(&self) -> Vec<Diagnostic> {
        let unknown = self.guests.iter().flat_map(|guest| self.unknown(guest));
        let unknown = unknown.collect();
        [unknown, self.circles(), self.contradictions()].concat()
    }

    fn unknown(&self, guest: &GuestSection) -> Vec<Diagnostic> {
        let own = &*guest.name.value;
        let mut found = Vec::new();
        for (keyword, names) in named(&guest.others) {
            for name in names {
                if name.value == own {
                    let told = format!("'{keyword}' of guest '{own}' names the guest itself");
                    let told = Diagnostic::error(&codes::UNKNOWN_GUEST, name.span, told);
                    found.push(told.label("another guest is expected"));
                } else if !self.numbers.contains_key(&*name.value) {
                    let told = format!("there is no guest '{}'", name.value);
                    let told = Diagnostic::error(&codes::UNKNOWN_GUEST, name.span, told);
                    let told = told.label("no section of this name");
                    let others = self.guests.iter().map(|one| &*one.name.value);
                    let mut others: Vec<&str> = others.filter(|other| *other != own).collect();
                    others.sort_unstable();
                    found.push(told.did_you_mean(name.span, suggest::nearest(&name.value, others)));
                }
            }
        }
        found
    }

    fn known<'s>(
        &'s self,
        of: usize,
        names: &'s [Spanned<String>],
    ) -> impl Iterator<Item = (usize, &'s Spanned<String>)> {
        let known = names.iter().filter_map(|name| {
            let number = self.numbers.get(&*name.value)?;
            Some((*number, name))
        });
        known.filter(move |(number, _)| *number != of)
    }

    fn circles(&self) -> Vec<Diagnostic> {
        let mut walk = DependencyWalk {
            together: self,
            path: Vec::new(),
            is_done: vec![false; self.guests.len()],
            found: Vec::new(),
        };
        for guest in 0..self.guests.len() {
            walk.visit(guest);
        }
        walk.found
    }

    fn contradictions(&self) -> Vec<Diagnostic> {
        // Gives all guests of a group that must share a node the number of the same guest.
        let mut group: Vec<usize> = (0..self.guests.len()).collect();
        for (at, guest) in self.guests.iter().enumerate() {
            for (other, _) in self.known(at, &guest.others.beside) {
                let (from, to) = (group[at], group[other]);
                group
                    .iter_mut()
                    .filter(|one| **one == from)
                    .for_each(|one| *one = to);
            }
        }
        let mut found = Vec::new();
        for (at, guest) in self.guests.iter().enumerate() {
            let name = &guest.name.value;
            for (other, word) in self.known(at, &guest.others.apart) {
                if group[at] == group[other] {
                    found.push(self.contradiction(at, other, word));
                }
            }
            for (other, word) in self.known(at, &guest.others.beside) {
                if let Some(told) = apart_by_nodes(guest, &self.guests[other]) {
                    let told = format!("guest '{name}' {told} '{}'", word.value);
                    let told = Diagnostic::error(&codes::CONTRADICTION, word.span, told);
                    let help = "name a common node in `prefer` of both, or remove this line";
                    found.push(told.label("both run on one node").help(help));
                }
            }
        }
        found
    }

    fn contradiction(&self, at: usize, other: usize, word: &Spanned<String>) -> Diagnostic {
        let name = &self.guests[at].name.value;
        let direct = |one: usize, two: usize| {
            let mut named = self.known(one, &self.guests[one].others.beside);
            named
                .find(|(number, _)| *number == two)
                .map(|(_, word)| word.span)
        };
        let beside = direct(at, other).or_else(|| direct(other, at));
        let told = match beside {
            Some(_) => format!(
                "guest '{name}' is both beside '{}' and apart from it",
                word.value
            ),
            None => format!(
                "guest '{name}' is apart from '{}', but lines `beside` put both on one node",
                word.value
            ),
        };
        let told = Diagnostic::error(&codes::CONTRADICTION, word.span, told);
        let told = told.label("never on the same node");
        match beside {
            Some(beside) => told.with_label(beside, "on the same node"),
            None => told,
        }
        .help("remove one of the lines")
    }
}

fn apart_by_nodes(one: &GuestSection, two: &GuestSection) -> Option<&'static str> {
    let says = |guest: &GuestSection| !guest.prefer.is_empty();
    let is_common = |node: &Spanned<String>| {
        let mut others = two.prefer.iter();
        others.any(|other| is_name_of(&other.value, &node.value))
    };
    (says(one) && says(two) && !one.prefer.iter().any(is_common))
        .then_some("has no node in common with")
}

/// State of a depth-first search along `start-order`.
struct DependencyWalk<'t, 'd> {
    together: &'t GuestIndex<'d>,
    path: Vec<usize>,
    is_done: Vec<bool>,
    found: Vec<Diagnostic>,
}

impl DependencyWalk<'_, '_> {
    fn visit(&mut self, guest: usize) {
        if self.is_done[guest] {
            return;
        }
        self.path.push(guest);
        let together = self.together;
        let after = &together.guests[guest].others.after;
        for (next, word) in together.known(guest, after) {
            match self.path.iter().position(|one| *one == next) {
                Some(from) => {
                    let circle = self.path[from..].iter().chain([&next]);
                    let names = circle.map(|one| &*together.guests[*one].name.value);
                    let names: Vec<&str> = names.collect();
                    let told = format!("guests wait for each other: {}", names.join(" after "));
                    let told = Diagnostic::error(&codes::CIRCLE, word.span, told);
                    let told = told.label("closes the circle, so none of them would start");
                    self.found
                        .push(told.help("remove one of the lines `start-order`"));
                }
                None => self.visit(next),
            }
        }
        self.path.pop();
        self.is_done[guest] = true;
    }
}
