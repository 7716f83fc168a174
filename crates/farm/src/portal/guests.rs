//! Serves displays and terminals of guests (virtual machines) in the portal: checks who may open
//! them, builds their pages, and connects the browser to the role that runs the guests.

use super::{Portal, PortalConfiguration, PortalResponse, page, reply, sign_in};
use crate::body::ResponseBody;
use crate::config::Consoles;
use crate::guests::Guest;
use access::page::clean;
use access::session::Visitor;
use configuration::Account;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ORIGIN, SEC_WEBSOCKET_VERSION};
use hyper::http::request::Parts;
use part::lock;
use part::report::{Event, Moment};
use part::voice::write_error;
use screen::kind::{KINDS, ScreenKind};
use screen::open::ScreenSlot;
use screen::page::{SCRIPT, SCRIPT_PATH};
use screen::socket::{
    self, BROKEN, SIGN_IN, SIGNED_OUT, ScreenGuard, UpgradeRequestKind, close, forward_bytes,
};
use screen::standing::{ENDED, ScreenStatus};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

const EVENTS_MAX: usize = 20;
const NONE: &str = "You have no permission to open anything here.";
const LOOK_EVERY: Duration = Duration::from_millis(600);
/// Content security policy of a page with a script: only this portal's script and its WebSocket.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(Clone, Copy)]
pub(super) struct ScreenPath<'p> {
    kind: &'static ScreenKind,
    guest: &'p str,
    is_socket: bool,
}

impl<'p> ScreenPath<'p> {
    pub(super) fn of(path: &'p str) -> Option<ScreenPath<'p>> {
        let (first, rest) = path.strip_prefix('/')?.split_once('/')?;
        let kind = KINDS.iter().find(|kind| kind.path == first)?;
        let (guest, is_socket) = match rest.strip_suffix("/socket") {
            Some(guest) => (guest, true),
            None => (rest, false),
        };
        let is_name = !guest.is_empty() && !guest.contains('/');
        is_name.then_some(ScreenPath {
            kind,
            guest,
            is_socket,
        })
    }

    /// Returns the kind of display that the guest offers now in place of the requested one, because
    /// the guest's display may have changed its protocol.
    fn instead(self, all: &[Guest]) -> Option<&'static ScreenKind> {
        let guest = all.iter().find(|guest| guest.name == self.guest)?;
        let offered = guest.offers.iter().map(|(opens, _)| *opens);
        self.kind.replacement_kind(offered)
    }

    fn what(self) -> String {
        format!("{} of {}", self.kind.noun, self.guest)
    }
}

fn may(lines: &[Consoles], account: &Account, guest: &str) -> bool {
    let is_for = |line: &Consoles| {
        let is_of = line.guests.is_empty() || line.guests.iter().any(|name| name == guest);
        is_of && line.groups.iter().any(|one| account.groups.contains(one))
    };
    lines.iter().any(is_for)
}

impl Portal {
    /// Returns the guests that a user may open; None if the user may open none.
    pub(super) async fn guests_of(
        &self,
        facts: &PortalConfiguration,
        account: Option<&Account>,
    ) -> Option<Result<Vec<Guest>, String>> {
        let lines = &facts.portal.consoles;
        let account = account?;
        let is_for = |line: &Consoles| line.groups.iter().any(|one| account.groups.contains(one));
        if !lines.iter().any(is_for) {
            return None;
        }
        let mine = |guest: &&Guest| may(lines, account, &guest.name);
        let known = self.guests.all().await;
        Some(known.map(|all| all.iter().filter(mine).cloned().collect()))
    }

    /// Handles the request for a display or a terminal. If the user may not open it, the response
    /// is the same as if it did not exist.
    pub(super) async fn opens(
        self: &Arc<Portal>,
        facts: &PortalConfiguration,
        from: IpAddr,
        head: &Parts,
        wanted: ScreenPath<'_>,
    ) -> PortalResponse {
        let said = |status, words: &str| {
            if wanted.is_socket {
                reply::text(status, words)
            } else {
                facts.failure(status, words)
            }
        };
        let Some((visitor, token)) = self.visitor(facts, &head.headers) else {
            return if wanted.is_socket {
                reply::text(StatusCode::UNAUTHORIZED, SIGN_IN)
            } else {
                reply::to("/sign-in")
            };
        };
        let account = visitor.account.as_ref();
        if !account.is_some_and(|account| may(&facts.portal.consoles, account, wanted.guest)) {
            let words = if wanted.is_socket { NONE } else { "" };
            return said(StatusCode::NOT_FOUND, words);
        }
        if wanted.is_socket {
            self.socket(&visitor, token, from, head, wanted).await
        } else {
            self.screen(facts, &visitor, wanted).await
        }
    }

    async fn screen(
        &self,
        facts: &PortalConfiguration,
        visitor: &Visitor,
        wanted: ScreenPath<'_>,
    ) -> PortalResponse {
        if let Ok(all) = self.guests.all().await
            && let Some(other) = wanted.instead(&all)
        {
            return reply::to(&format!("/{}/{}", other.path, wanted.guest));
        }
        let has_library = self.guests.libraries.has(&wanted.kind.library);
        let page = page::Screen {
            brand: &facts.brand,
            visitor,
            kind: wanted.kind,
            guest: wanted.guest,
            script: has_library.then_some(SCRIPT_PATH),
        };
        let mut reply = reply::html(StatusCode::OK, page::screen(&page));
        reply::set(&mut reply, CONTENT_SECURITY_POLICY, POLICY);
        reply
    }

    /// Handles the WebSocket with the bytes of a display or terminal. A request without WebSocket
    /// gets the reason why a connection is not possible.
    async fn socket(
        self: &Arc<Portal>,
        visitor: &Visitor,
        token: &str,
        from: IpAddr,
        head: &Parts,
        wanted: ScreenPath<'_>,
    ) -> PortalResponse {
        let asked = UpgradeRequestKind::of(head);
        // Requires the portal's own origin: a page of another site could otherwise open the screen
        // with the cookie of the portal.
        let is_own = head.headers.contains_key(ORIGIN) && sign_in::is_own(head);
        if matches!(asked, UpgradeRequestKind::Socket(_)) && !is_own {
            let words = "Only its own page can open this connection.";
            return reply::text(StatusCode::FORBIDDEN, words);
        }
        if matches!(asked, UpgradeRequestKind::OtherVersion) {
            let words = "This requires WebSocket version 13 (RFC 6455).";
            let mut reply = reply::text(StatusCode::UPGRADE_REQUIRED, words);
            reply::set(&mut reply, SEC_WEBSOCKET_VERSION, socket::VERSION);
            return reply;
        }
        let guest = match self.guest(wanted).await {
            Ok(guest) => guest,
            Err(words) => return reply::text(StatusCode::CONFLICT, &words),
        };
        let UpgradeRequestKind::Socket(handshake) = asked else {
            let screens = &self.guests.screens;
            return match screens.why_not(wanted.kind, wanted.guest, &visitor.name) {
                Some(words) => reply::text(StatusCode::CONFLICT, &words),
                None => reply::text(StatusCode::OK, BROKEN),
            };
        };
        let taken = self
            .guests
            .screens
            .take_slot(wanted.kind, wanted.guest, &visitor.name);
        let opened = match taken {
            Ok(seat) => {
                self.open(&visitor.name, token, from, wanted, &guest, seat)
                    .await
            }
            Err(words) => Err(words),
        };
        handshake.accept(ResponseBody::empty(), async move |browser| match opened {
            Ok((part, open)) => forward_bytes(browser, part, open).await,
            Err(words) => close(browser, &words).await,
        })
    }

    async fn guest(&self, wanted: ScreenPath<'_>) -> Result<Guest, String> {
        let all = self.guests.all().await?;
        let found = all.iter().find(|guest| guest.name == wanted.guest);
        let found = found.filter(|guest| guest.opens(wanted.kind.opens));
        let why = || wanted.kind.why_none(wanted.guest, wanted.instead(&all));
        found.cloned().ok_or_else(why)
    }

    async fn open(
        self: &Arc<Portal>,
        name: &str,
        token: &str,
        from: IpAddr,
        wanted: ScreenPath<'_>,
        guest: &Guest,
        seat: ScreenSlot,
    ) -> Result<(UnixStream, OpenScreen), String> {
        let by = format!("{name}, at the portal of farm {}", self.site.name());
        let part = self.guests.open(guest, wanted.kind.opens, &by).await;
        let part = part.inspect_err(|words| {
            self.note(name, from, wanted, "refused", words);
        })?;
        if seat.is_first {
            self.note(name, from, wanted, "opened", "");
        }
        let open = OpenScreen {
            portal: Arc::clone(self),
            token: token.to_owned(),
            by: (name.to_owned(), from),
            kind: wanted.kind,
            standing: standing(guest, wanted.kind),
            guest: wanted.guest.to_owned(),
            seat,
        };
        Ok((part, open))
    }

    /// Records a user's action at a display or a terminal: in the report, in `farm why`, and in the
    /// log.
    fn note(&self, name: &str, from: IpAddr, wanted: ScreenPath<'_>, done: &str, why: &str) {
        let what = format!("{} {done}", wanted.what());
        self.site.at_portal(name, from, &what, why);
        let colon = if why.is_empty() { "" } else { ": " };
        let by = format!("by {} from {from}{colon}{why}", clean(name));
        let farm = self.site.name();
        write_error(&format!("evenkeel: farm {farm}: {what}, {by}\n"));
        let mut events = lock(&self.events);
        if events.len() >= EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(Event {
            at: Moment::now(),
            from: String::new(),
            to: what,
            why: by,
        });
    }

    pub fn events(&self) -> Vec<Event> {
        lock(&self.events).iter().cloned().collect()
    }

    /// Returns a file of a library, or the script of the pages.
    pub(super) fn library(
        &self,
        facts: &PortalConfiguration,
        head: &Parts,
    ) -> Option<PortalResponse> {
        let path = head.uri.path();
        if path == SCRIPT_PATH {
            let kind = "text/javascript; charset=utf-8";
            return Some(reply::file(&head.headers, kind, SCRIPT));
        }
        let (folder, _) = path.strip_prefix('/')?.split_once('/')?;
        KINDS.iter().find(|kind| kind.library.folder() == folder)?;
        let signed_in = self.visitor(facts, &head.headers).is_some();
        let file = self.guests.libraries.file(path.strip_prefix('/')?);
        let (kind, bytes) = match (signed_in, file) {
            (true, Some(file)) => file,
            (true, None) => return Some(facts.failure(StatusCode::NOT_FOUND, "")),
            (false, _) => return Some(facts.failure(StatusCode::UNAUTHORIZED, "")),
        };
        let mut reply = reply::bytes(kind, bytes.to_vec());
        reply::set(&mut reply, CACHE_CONTROL, "private, max-age=300");
        Some(reply)
    }
}

fn standing(guest: &Guest, kind: &ScreenKind) -> ScreenStatus {
    ScreenStatus {
        on: guest.on.clone(),
        is_offered: guest.opens(kind.opens),
        ..ScreenStatus::default()
    }
}

/// An open screen: its slot, and the session that opened it.
struct OpenScreen {
    portal: Arc<Portal>,
    token: String,
    by: (String, IpAddr),
    kind: &'static ScreenKind,
    guest: String,
    standing: ScreenStatus,
    seat: ScreenSlot,
}

impl OpenScreen {
    fn wanted(&self) -> ScreenPath<'_> {
        ScreenPath {
            kind: self.kind,
            guest: &self.guest,
            is_socket: true,
        }
    }
}

impl Drop for OpenScreen {
    fn drop(&mut self) {
        let (name, from) = &self.by;
        if self.seat.release_slot() {
            self.portal.note(name, *from, self.wanted(), "closed", "");
        }
    }
}

impl ScreenGuard for OpenScreen {
    fn why_not(&self) -> Option<&'static str> {
        let facts = self.portal.facts();
        let visitor = facts.as_ref().and_then(|facts| {
            let visitor = self.portal.of_token(facts, &self.token)?;
            Some((facts, visitor.account?))
        });
        match visitor {
            None => Some(SIGNED_OUT),
            Some((facts, account)) => {
                let may = may(&facts.portal.consoles, &account, &self.guest);
                (!may).then_some("You are no longer permitted to use this.")
            }
        }
    }

    async fn why_ended(self) -> String {
        let (portal, kind) = (Arc::clone(&self.portal), self.kind);
        let (guest, standing) = (self.guest.clone(), self.standing.clone());
        // Releases the slot first, so that another user need not wait until the reason is known.
        drop(self);
        let since = Instant::now();
        loop {
            let Ok(all) = portal.guests.all().await else {
                return ENDED.to_owned();
            };
            let now = all.iter().find(|one| one.name == guest);
            let now = now.map(|one| self::standing(one, kind));
            if let Some(why) = standing.why_ended(&now.unwrap_or_default(), since.elapsed()) {
                return why;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
