//! Limits the guest displays and terminals that are open in browsers, in total, per user and per
//! object, and tracks their users.

use crate::kind::ScreenKind;
use part::lock;
use part::report::Opens;
use std::sync::{Arc, Mutex};

pub const OPEN_MAX: usize = 32;
pub const OF_USER_MAX: usize = 16;

const FULL: &str = "Too many displays and terminals are open.";
const FULL_OF_USER: &str = "You have too many displays and terminals open: close one of them.";

#[derive(Debug, Default)]
pub struct Screens {
    open: Mutex<OpenScreens>,
}

#[derive(Debug, Default)]
struct OpenScreens {
    last: u64,
    all: Vec<OpenView>,
}

#[derive(Debug)]
struct OpenView {
    number: u64,
    opens: Opens,
    object: String,
    by: String,
    connections: usize,
}

impl OpenView {
    fn matches_view(&self, kind: &ScreenKind, object: &str) -> bool {
        self.opens == kind.opens && self.object == object
    }
}

/// Slot of one connection to an open view. Dropping the value releases the slot.
#[derive(Debug)]
pub struct ScreenSlot {
    screens: Arc<Screens>,
    number: u64,
    /// True for the first connection of the view.
    pub is_first: bool,
    has_ended: bool,
}

impl ScreenSlot {
    /// Releases the slot of one connection. Returns whether this was the last connection of the
    /// view; false if the slot was released before.
    pub fn release_slot(&mut self) -> bool {
        if std::mem::replace(&mut self.has_ended, true) {
            return false;
        }
        let mut open = lock(&self.screens.open);
        let count = open.all.len();
        let own = |one: &&mut OpenView| one.number == self.number;
        if let Some(one) = open.all.iter_mut().find(own) {
            one.connections -= 1;
        }
        open.all.retain(|one| one.connections > 0);
        open.all.len() < count
    }
}

impl Drop for ScreenSlot {
    fn drop(&mut self) {
        self.release_slot();
    }
}

impl Screens {
    /// Takes a slot for a user who opens a view of an object. Some kinds are for one user at a
    /// time, and some have several connections in one slot.
    ///
    /// # Errors
    /// The reason why no slot is free, from [`Screens::why_not`].
    pub fn take_slot(
        self: &Arc<Self>,
        kind: &ScreenKind,
        object: &str,
        by: &str,
    ) -> Result<ScreenSlot, String> {
        let mut open = lock(&self.open);
        if let Some(words) = open.why_not(kind, object, by) {
            return Err(words);
        }
        let has = |one: &&mut OpenView| {
            kind.connections > 1 && one.matches_view(kind, object) && one.by == by
        };
        if let Some(one) = open.all.iter_mut().find(has) {
            one.connections += 1;
            return Ok(ScreenSlot {
                screens: Arc::clone(self),
                number: one.number,
                is_first: false,
                has_ended: false,
            });
        }
        open.last += 1;
        let number = open.last;
        open.all.push(OpenView {
            number,
            opens: kind.opens,
            object: object.to_owned(),
            by: by.to_owned(),
            connections: 1,
        });
        Ok(ScreenSlot {
            screens: Arc::clone(self),
            number,
            is_first: true,
            has_ended: false,
        })
    }

    /// Returns the reason why no slot is free; `None` when one is.
    pub fn why_not(&self, kind: &ScreenKind, object: &str, by: &str) -> Option<String> {
        lock(&self.open).why_not(kind, object, by)
    }
}

impl OpenScreens {
    fn why_not(&self, kind: &ScreenKind, object: &str, by: &str) -> Option<String> {
        let holder = self
            .all
            .iter()
            .find(|one| kind.is_for_one && one.matches_view(kind, object));
        match holder {
            // Admits a further connection of the same user: the part at the other end knows whether
            // these connections belong to one page.
            Some(one) if one.by == by && one.connections < kind.connections => return None,
            Some(one) => return Some(kind.opens.in_use(&one.by)),
            None => {}
        }
        let own = self.all.iter().filter(|one| one.by == by).count();
        match (self.all.len(), own) {
            (OPEN_MAX.., _) => Some(FULL.to_owned()),
            (_, OF_USER_MAX..) => Some(FULL_OF_USER.to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::KINDS;

    #[test]
    fn a_second_user_learns_who_has_the_terminal() {
        let [display, _, terminal] = &KINDS;
        let screens = Arc::new(Screens::default());
        let held = screens.take_slot(terminal, "guest mail", "anna").unwrap();
        let refused = screens
            .take_slot(terminal, "guest mail", "bert")
            .unwrap_err();
        assert!(refused.contains("in use by anna:"), "{refused}");
        assert!(screens.take_slot(display, "guest mail", "bert").is_ok());
        assert!(screens.take_slot(terminal, "guest erp", "bert").is_ok());
        drop(held);
        assert_eq!(screens.why_not(terminal, "guest mail", "bert"), None);
        assert!(screens.take_slot(terminal, "guest mail", "bert").is_ok());
    }

    #[test]
    fn a_display_with_several_connections_has_one_place_and_a_bound() {
        let [_, spice, _] = &KINDS;
        let screens = Arc::new(Screens::default());
        let take = |by: &str| screens.take_slot(spice, "guest mail", by);
        let first = take("anna").unwrap();
        let others: Vec<_> = (1..spice.connections)
            .map(|_| take("anna").unwrap())
            .collect();
        assert!(first.is_first && !others.iter().any(|seat| seat.is_first));
        assert!(take("anna").is_err());
        let refused = take("bert").unwrap_err();
        assert!(
            refused.contains("its display is in use by anna:"),
            "{refused}"
        );
        // All of the display's connections occupy one slot of the user.
        let guests = (1..OF_USER_MAX).map(|at| screens.take_slot(spice, &at.to_string(), "anna"));
        let guests: Result<Vec<_>, _> = guests.collect();
        assert_eq!(
            screens.take_slot(spice, "x", "anna").unwrap_err(),
            FULL_OF_USER
        );
        // The view is open until its last connection has ended.
        drop((first, guests));
        assert!(take("bert").is_err());
        assert!(take("anna").is_ok());
        let ends: Vec<_> = others
            .into_iter()
            .map(|mut seat| seat.release_slot())
            .collect();
        let last = ends.iter().position(|is_last| *is_last);
        assert_eq!(last, Some(ends.len() - 1), "{ends:?}");
        assert!(take("bert").unwrap().is_first);
    }

    #[test]
    fn viewer_slots_are_limited_per_user_and_in_total() {
        let [display, ..] = &KINDS;
        let screens = Arc::new(Screens::default());
        let take = |by: &str| screens.take_slot(display, "guest mail", by);
        let own: Vec<_> = (0..OF_USER_MAX).map(|_| take("anna").unwrap()).collect();
        assert_eq!(take("anna").unwrap_err(), FULL_OF_USER);
        let others = (own.len()..OPEN_MAX).map(|number| take(&number.to_string()).unwrap());
        let others: Vec<_> = others.collect();
        assert_eq!(take("bert").unwrap_err(), FULL);
        drop(own);
        assert!(take("anna").is_ok());
        drop(others);
    }
}
