//! Lists the desktop and programs that a user may start from the portal.

use crate::config::{App, Desktop, Portal};
use crate::icon::{Drawn, draw, side_of};
use configuration::Account;
use std::borrow::Cow;
use std::collections::BTreeSet;

const SIDE: u32 = 64;

/// Desktop or program that a user may start.
#[derive(Clone, Copy, Debug)]
pub enum PublishedResource<'o> {
    Desktop(&'o Desktop),
    App(&'o App),
}

impl<'o> PublishedResource<'o> {
    pub fn all(portal: &'o Portal, user: &Account) -> Vec<PublishedResource<'o>> {
        let desktop = portal.desktop.iter().map(PublishedResource::Desktop);
        let all = desktop.chain(portal.apps.iter().map(PublishedResource::App));
        all.filter(|offer| offer.is_for(user)).collect()
    }

    fn is_for(self, user: &Account) -> bool {
        let groups = match self {
            PublishedResource::Desktop(desktop) => &desktop.groups,
            PublishedResource::App(app) => &app.groups,
        };
        groups.is_empty() || groups.iter().any(|group| user.groups.contains(group))
    }

    /// Returns the hosts that have the desktop or app; empty: all hosts of the farm.
    pub fn hosts(self) -> &'o BTreeSet<String> {
        match self {
            PublishedResource::Desktop(desktop) => &desktop.hosts,
            PublishedResource::App(app) => &app.hosts,
        }
    }

    pub fn name(self) -> &'o str {
        match self {
            PublishedResource::Desktop(_) => "desktop",
            PublishedResource::App(app) => &app.name,
        }
    }

    pub fn title(self) -> &'o str {
        match self {
            PublishedResource::Desktop(desktop) => &desktop.title,
            PublishedResource::App(app) => &app.title,
        }
    }

    pub fn app(self) -> Option<&'o App> {
        match self {
            PublishedResource::Desktop(_) => None,
            PublishedResource::App(app) => Some(app),
        }
    }

    /// Returns the icon as PNG, drawn if none is configured.
    pub fn icon(self) -> Cow<'o, [u8]> {
        match self {
            PublishedResource::App(app) if !app.icon.is_empty() => Cow::Borrowed(&app.icon),
            PublishedResource::App(_) => Cow::Owned(draw(Drawn::App, SIDE)),
            PublishedResource::Desktop(_) => Cow::Owned(draw(Drawn::Desktop, SIDE)),
        }
    }

    pub fn side(self) -> u32 {
        let own = self.app().and_then(|app| side_of(&app.icon));
        own.unwrap_or(SIDE)
    }
}
