//! What is open at one time, and who has it.

use crate::kind::Kind;
use part::lock;
use part::report::Opens;
use std::sync::{Arc, Mutex};

/// Displays and terminals that are open at one time.
pub const OPEN_MAX: usize = 32;
/// Those of one user.
pub const OF_USER_MAX: usize = 16;

/// Why no further one is opened.
const FULL: &str = "Too many displays and terminals are open.";
const FULL_OF_USER: &str = "You have too many displays and terminals open: close one of them.";

/// What is open.
#[derive(Debug, Default)]
pub struct Screens {
    open: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    last: u64,
    all: Vec<One>,
}

#[derive(Debug)]
struct One {
    number: u64,
    opens: Opens,
    object: String,
    by: String,
}

/// A place of something that is open, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    screens: Arc<Screens>,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = lock(&self.screens.open);
        open.all.retain(|one| one.number != self.number);
    }
}

impl Screens {
    /// Takes a place for somebody who opens something of an object. A terminal is for one at a time.
    ///
    /// # Errors
    /// Why there is no place, as [`Screens::why_not`] has it.
    pub fn take(self: &Arc<Self>, kind: &Kind, object: &str, by: &str) -> Result<Seat, String> {
        let mut open = lock(&self.open);
        if let Some(words) = open.why_not(kind, object, by) {
            return Err(words);
        }
        open.last += 1;
        let number = open.last;
        open.all.push(One {
            number,
            opens: kind.opens,
            object: object.to_owned(),
            by: by.to_owned(),
        });
        Ok(Seat {
            screens: Arc::clone(self),
            number,
        })
    }

    /// Why there is no place for it now, in words; None: there is one.
    pub fn why_not(&self, kind: &Kind, object: &str, by: &str) -> Option<String> {
        lock(&self.open).why_not(kind, object, by)
    }
}

impl Opened {
    fn why_not(&self, kind: &Kind, object: &str, by: &str) -> Option<String> {
        let is_its = |one: &&One| one.opens == Opens::Terminal && one.object == object;
        if kind.opens == Opens::Terminal
            && let Some(holder) = self.all.iter().find(is_its)
        {
            return Some(format!(
                "Another page has its terminal ({}): that one has to end first.",
                holder.by
            ));
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
    fn one_has_a_terminal_and_the_next_one_hears_who() {
        let [display, terminal] = &KINDS;
        let screens = Arc::new(Screens::default());
        let held = screens.take(terminal, "guest mail", "anna").unwrap();
        let refused = screens.take(terminal, "guest mail", "bert").unwrap_err();
        assert!(refused.contains("(anna)"), "{refused}");
        assert!(screens.take(display, "guest mail", "bert").is_ok());
        assert!(screens.take(terminal, "guest erp", "bert").is_ok());
        drop(held);
        assert_eq!(screens.why_not(terminal, "guest mail", "bert"), None);
        assert!(screens.take(terminal, "guest mail", "bert").is_ok());
    }

    #[test]
    fn one_user_cannot_take_all_places_and_all_users_take_no_more_than_there_are() {
        let [display, _] = &KINDS;
        let screens = Arc::new(Screens::default());
        let take = |by: &str| screens.take(display, "guest mail", by);
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
