//! Desktop and programs that a user may start.

use crate::config::{App, Desktop, Portal};
use crate::icon::{Drawn, draw, side_of};
use configuration::Account;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Side of the icons that are drawn here, pixels.
const SIDE: u32 = 64;

/// Desktop or program that a user may start.
#[derive(Clone, Copy, Debug)]
pub enum Offer<'o> {
    /// The full desktop.
    Desktop(&'o Desktop),
    /// A program.
    App(&'o App),
}

impl<'o> Offer<'o> {
    /// Returns everything that a user may start.
    pub fn all(portal: &'o Portal, user: &Account) -> Vec<Offer<'o>> {
        let desktop = portal.desktop.iter().map(Offer::Desktop);
        let all = desktop.chain(portal.apps.iter().map(Offer::App));
        all.filter(|offer| offer.is_for(user)).collect()
    }

    fn is_for(self, user: &Account) -> bool {
        let groups = match self {
            Offer::Desktop(desktop) => &desktop.groups,
            Offer::App(app) => &app.groups,
        };
        groups.is_empty() || groups.iter().any(|group| user.groups.contains(group))
    }

    /// Hosts that have it; empty: all hosts of the farm.
    pub fn hosts(self) -> &'o BTreeSet<String> {
        match self {
            Offer::Desktop(desktop) => &desktop.hosts,
            Offer::App(app) => &app.hosts,
        }
    }

    /// Name in URLs.
    pub fn name(self) -> &'o str {
        match self {
            Offer::Desktop(_) => "desktop",
            Offer::App(app) => &app.name,
        }
    }

    /// Title for users.
    pub fn title(self) -> &'o str {
        match self {
            Offer::Desktop(desktop) => &desktop.title,
            Offer::App(app) => &app.title,
        }
    }

    /// Returns the program; None for the desktop.
    pub fn app(self) -> Option<&'o App> {
        match self {
            Offer::Desktop(_) => None,
            Offer::App(app) => Some(app),
        }
    }

    /// Returns the icon, PNG.
    pub fn icon(self) -> Cow<'o, [u8]> {
        match self {
            Offer::App(app) if !app.icon.is_empty() => Cow::Borrowed(&app.icon),
            Offer::App(_) => Cow::Owned(draw(Drawn::App, SIDE)),
            Offer::Desktop(_) => Cow::Owned(draw(Drawn::Desktop, SIDE)),
        }
    }

    /// Side of the icon, pixels.
    pub fn side(self) -> u32 {
        let own = self.app().and_then(|app| side_of(&app.icon));
        own.unwrap_or(SIDE)
    }
}
