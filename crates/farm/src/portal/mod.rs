//! Serves the portal of a farm, where users sign in with a browser, and start desktops and
//! programs. Maps requests to responses; the listener passes the requests. The portal opens no
//! network socket of its own.

mod feed;
mod guests;
pub mod offer;
pub mod page;
mod rdp;
mod reply;
mod sign_in;
#[cfg(test)]
mod tests;

pub use reply::PortalResponse;

use crate::config::{self, Farm, PORT};
use crate::guests::Guests;
use crate::icon;
use crate::signature::Signer;
use crate::site::{FarmState, TRY_AGAIN_S};
use crate::user::{FarmUser, asked_name};
use access::proof::{Authenticator, SignInError, SignInOrigin, Verify, now_s};
use access::session::{SavedSessions, Sessions, Visitor, value_in};
use access::user::{List, SecondFactor};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use configuration::Account;
use feed::FeedVersion;
use guests::ScreenPath;
use hyper::body::Body;
use hyper::header::{ACCEPT, AUTHORIZATION, COOKIE, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};
use offer::PublishedResource;
use part::lock;
use part::report::Event;
use std::collections::VecDeque;
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Name of the session cookie. The prefix `__Host-` binds it to this host, to the root path and to
/// TLS.
const SESSION: &str = "__Host-evenkeel-desktop";
const DEVICE: &str = "__Host-evenkeel-desktop-device";
/// Name of the cookie of programs that read the feed ([MS-TSWP] 2.2.3).
const OF_FEED: &str = ".ASPXAUTH";
/// Path of the feed, in lower case.
const FEED: &str = "/rdweb/feed/webfeed.aspx";
const FEED_LOGIN: &str = "/rdweb/feedlogin/webfeedlogin.aspx";
const HTTPS: u16 = 443;
const PATH_MAX: usize = 512;

/// Portal of a farm while it runs.
pub struct Portal {
    site: Arc<FarmState>,
    desk: Arc<Authenticator>,
    facts: RwLock<Option<Arc<PortalConfiguration>>>,
    guests: Arc<Guests>,
    events: Mutex<VecDeque<Event>>,
}

struct PortalConfiguration {
    portal: config::Portal,
    users: List,
    brand: String,
    address: String,
    gateway: Option<String>,
    signer: Signer,
}

impl PortalConfiguration {
    fn of(farm: &Farm) -> Result<Option<PortalConfiguration>, String> {
        let Some(portal) = farm.portal.clone() else {
            return Ok(None);
        };
        let host = portal.authority.split(':').next().unwrap_or_default();
        let name = if farm.name.is_empty() {
            host
        } else {
            &farm.name
        };
        let port = farm.binds.first().map_or(PORT, |bind| bind.address.port());
        Ok(Some(PortalConfiguration {
            brand: name.to_owned(),
            address: match port {
                PORT => name.to_owned(),
                port => format!("{name}:{port}"),
            },
            gateway: farm.gateway.as_ref().map(|gateway| match gateway.port {
                HTTPS => gateway.name.clone(),
                port => format!("{}:{port}", gateway.name),
            }),
            signer: Signer::read(&portal.signs)?,
            users: farm.users.clone(),
            portal,
        }))
    }

    fn offers(&self, account: &Account) -> Vec<PublishedResource<'_>> {
        PublishedResource::all(&self.portal, account)
    }
}

impl Portal {
    /// Creates the portal of a farm with the state of the previous process. Without a `portal` line
    /// it has no pages.
    ///
    /// # Errors
    /// Returns why the portal cannot serve.
    pub fn new(
        site: Arc<FarmState>,
        kept: Option<SavedSessions>,
        verify: Verify,
        guests: Arc<Guests>,
    ) -> Result<Portal, String> {
        let sessions = Sessions::new(kept)?;
        site.shares_sign_outs(sessions.ended());
        let desk = Authenticator::new(&format!("farm {}", site.name()), sessions, verify);
        site.asks_directory(desk.standing());
        let desk = Arc::new(desk);
        site.shares_tries(&desk);
        let portal = Portal {
            site,
            desk,
            facts: RwLock::default(),
            guests,
            events: Mutex::default(),
        };
        portal.change()?;
        Ok(portal)
    }

    /// Applies the current configuration of the site.
    ///
    /// # Errors
    /// Returns why the portal keeps its current configuration.
    pub fn change(&self) -> Result<(), String> {
        let mut sessions = lock(&self.desk.sessions);
        let facts = self.site.with_farm(|farm| {
            share(&mut sessions, farm);
            PortalConfiguration::of(farm)
        })?;
        if let Some(facts) = &facts {
            let users = facts.users.users.iter();
            let names = users.map(|user| &*user.account.name);
            sessions.end_changed_users(&facts.users, names, now_s());
        }
        let mut now = { self.facts.write() }.unwrap_or_else(PoisonError::into_inner);
        *now = facts.map(Arc::new);
        Ok(())
    }

    /// Returns the authenticator that verifies passwords. The gateway uses it, too, so that
    /// attempts at both count together.
    pub fn desk(&self) -> Arc<Authenticator> {
        Arc::clone(&self.desk)
    }

    pub fn state_to_save(&self) -> SavedSessions {
        lock(&self.desk.sessions).saved_state()
    }

    fn facts(&self) -> Option<Arc<PortalConfiguration>> {
        let facts = self.facts.read();
        facts.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub async fn respond<B>(self: &Arc<Self>, from: IpAddr, request: Request<B>) -> PortalResponse
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let reply = match self.facts() {
            Some(facts) => self.answer(&facts, from, &head, body).await,
            None => reply::nothing(),
        };
        reply::secured(reply)
    }

    async fn answer<B>(
        self: &Arc<Self>,
        facts: &PortalConfiguration,
        from: IpAddr,
        head: &Parts,
        body: B,
    ) -> PortalResponse
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let path = head.uri.path();
        if path.len() > PATH_MAX {
            return facts.failure(StatusCode::NOT_FOUND, "");
        }
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        if let Some(why) = self.site.why_closed().filter(|_| path != "/style.css") {
            return closed(facts, head, why);
        }
        let is_form = head.method == Method::POST;
        match path {
            "/sign-in" if is_form => self.sign_in(facts, from, head, body).await,
            "/sign-out" if is_form => self.sign_out(facts, head, body).await,
            "/sign-out" => facts.failure(StatusCode::METHOD_NOT_ALLOWED, ""),
            _ if !is_read => facts.failure(StatusCode::METHOD_NOT_ALLOWED, ""),
            "/style.css" => reply::file(&head.headers, "text/css; charset=utf-8", page::STYLE),
            "/" => match self.visitor(facts, &head.headers) {
                Some((visitor, _)) => self.list(facts, &visitor).await,
                None => reply::to("/sign-in"),
            },
            "/sign-in" => self.form(facts, head),
            _ => match (ScreenPath::of(path), self.library(facts, head)) {
                (Some(wanted), _) => self.opens(facts, from, head, wanted).await,
                (None, Some(file)) => file,
                (None, None) => self.named(facts, from, head, path).await,
            },
        }
    }

    fn visitor<'h>(
        &self,
        facts: &PortalConfiguration,
        headers: &'h HeaderMap,
    ) -> Option<(Visitor, &'h str)> {
        self.of_cookie(facts, headers, SESSION)
    }

    fn of_cookie<'h>(
        &self,
        facts: &PortalConfiguration,
        headers: &'h HeaderMap,
        name: &str,
    ) -> Option<(Visitor, &'h str)> {
        let mut tokens = cookies(headers).filter_map(|value| value_in(value, name));
        tokens.find_map(|token| Some((self.of_token(facts, token)?, token)))
    }

    fn of_token(&self, facts: &PortalConfiguration, token: &str) -> Option<Visitor> {
        if self.site.why_closed().is_some() {
            return None;
        }
        lock(&self.desk.sessions).visitor(&facts.users, token, now_s())
    }

    async fn list(&self, facts: &PortalConfiguration, visitor: &Visitor) -> PortalResponse {
        let user = FarmUser::named(&visitor.name);
        let id = user.map(|user| user.id);
        let notice = id.and_then(|id| self.site.notice_for(id));
        let account = visitor.account.as_ref();
        let offers = account.map(|account| facts.offers(account));
        let guests = self.guests_of(facts, account).await;
        let offers = offers.unwrap_or_default();
        let starts = || offers.iter().map(|offer| offer.hosts());
        let sessions = id.map(|id| self.site.sessions_of(id, starts()));
        let sessions = sessions.unwrap_or_default();
        let is_closed = |offer: &&PublishedResource<'_>| {
            id.is_some_and(|id| !self.site.is_open(id, offer.hosts()))
        };
        let closed: Vec<&str> = offers
            .iter()
            .filter(is_closed)
            .map(|offer| offer.name())
            .collect();
        let list = page::List {
            brand: &facts.brand,
            visitor,
            offers: &offers,
            closed: &closed,
            guests: guests.as_ref(),
            sessions: &sessions,
            notice: notice.as_deref(),
            authority: &facts.portal.authority,
            gateway: facts.gateway.as_deref(),
        };
        reply::html(StatusCode::OK, page::list(&list))
    }

    /// Handles paths with the name of an offer (`/start/NAME.rdp`, `/icon/NAME.png`), and those of
    /// the feed of Remote Desktop programs, which are case-insensitive.
    async fn named(
        &self,
        facts: &PortalConfiguration,
        from: IpAddr,
        head: &Parts,
        path: &str,
    ) -> PortalResponse {
        let lower = path.to_ascii_lowercase();
        match &*lower {
            FEED => return self.feed(facts, from, head).await,
            FEED_LOGIN => return self.feed_login(facts, from, &head.headers).await,
            "/rdweb" | "/rdweb/" | "/rdweb/pages" | "/rdweb/pages/" => return reply::to("/"),
            _ => {}
        }
        let start = path
            .strip_prefix("/start/")
            .and_then(|name| name.strip_suffix(".rdp"));
        let icon = path
            .strip_prefix("/icon/")
            .and_then(|name| name.rsplit_once('.'));
        let name = start.or(icon.map(|(name, _)| name));
        let Some(name) = name else {
            return facts.failure(StatusCode::NOT_FOUND, "");
        };
        let visitor = self.visitor(facts, &head.headers);
        let account = match visitor.and_then(|(visitor, _)| visitor.account) {
            Some(account) => account,
            None => match self.program(facts, from, &head.headers).await {
                Ok(account) => account,
                Err(Asks::Nothing) => return reply::to("/sign-in"),
                Err(Asks::Refused(reply)) => return *reply,
            },
        };
        let offers = facts.offers(&account);
        // Responds as if the program did not exist, also if only other users may start it.
        let Some(offer) = offers.into_iter().find(|offer| offer.name() == name) else {
            return facts.failure(StatusCode::NOT_FOUND, "");
        };
        match icon {
            None => self.start(facts, from, &account.name, offer),
            Some((_, "png")) => reply::bytes("image/png", offer.icon().into_owned()),
            Some((_, "ico")) => reply::bytes("image/x-icon", icon::ico(&offer.icon())),
            Some(_) => facts.failure(StatusCode::NOT_FOUND, ""),
        }
    }

    fn start(
        &self,
        facts: &PortalConfiguration,
        from: IpAddr,
        name: &str,
        offer: PublishedResource<'_>,
    ) -> PortalResponse {
        let Some(user) = FarmUser::named(name) else {
            return facts.failure(StatusCode::NOT_FOUND, "");
        };
        let gateway = facts.gateway.clone();
        let gateway = gateway.map(|gateway| (gateway, self.site.gateway_cookie(name)));
        let file = rdp::File {
            address: &facts.address,
            token: &self.site.ticket(&user, from, offer.title(), offer.hosts()),
            user: name,
            app: offer.app(),
            gateway: gateway.as_ref().map(|(name, cookie)| (&**name, &**cookie)),
        };
        match rdp::write(&file, &facts.signer) {
            Ok(bytes) => reply::download(&format!("{}.rdp", offer.name()), bytes),
            Err(words) => facts.failure(StatusCode::INTERNAL_SERVER_ERROR, &words),
        }
    }

    async fn feed(
        &self,
        facts: &PortalConfiguration,
        from: IpAddr,
        head: &Parts,
    ) -> PortalResponse {
        let account = match self.program(facts, from, &head.headers).await {
            Ok(account) => account,
            // Sends the program to that path, where it signs in. It requests the feed again with
            // the cookie.
            Err(Asks::Nothing) => {
                return reply::redirect_to_sign_in("/RDWeb/FeedLogin/WebFeedLogin.aspx");
            }
            Err(Asks::Refused(reply)) => return *reply,
        };
        let accept = head
            .headers
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok());
        let version = FeedVersion::of(accept.unwrap_or_default());
        let authority = &facts.portal.authority;
        let offers = facts.offers(&account);
        let xml = feed::write(version, authority, &facts.address, &offers, now_s());
        reply::bytes(version.kind(), xml.into_bytes())
    }

    async fn feed_login(
        &self,
        facts: &PortalConfiguration,
        from: IpAddr,
        headers: &HeaderMap,
    ) -> PortalResponse {
        let account = match self.program(facts, from, headers).await {
            Ok(account) => account,
            Err(Asks::Nothing) => return reply::request_credentials(),
            Err(Asks::Refused(reply)) => return *reply,
        };
        match lock(&self.desk.sessions).begin_of(&facts.users, &account, now_s()) {
            Ok(token) => reply::bytes("application/x-msts-webfeed-login", token.into_bytes()),
            Err(words) => reply::text(StatusCode::SERVICE_UNAVAILABLE, &words),
        }
    }

    /// Returns the user of a program: by its cookie, or by name and password (RFC 7617).
    async fn program(
        &self,
        facts: &PortalConfiguration,
        from: IpAddr,
        headers: &HeaderMap,
    ) -> Result<Account, Asks> {
        let visitor = self.of_cookie(facts, headers, OF_FEED);
        if let Some(account) = visitor.and_then(|(visitor, _)| visitor.account) {
            return Ok(account);
        }
        let given = headers.get(AUTHORIZATION).ok_or(Asks::Nothing)?;
        let refused = |reply| Asks::Refused(Box::new(reply));
        let Some((name, password)) = basic(given.as_bytes()) else {
            return Err(refused(reply::request_credentials()));
        };
        let client = SignInOrigin::program(from);
        let name = asked_name(&facts.users, &name);
        let proved = self.desk.password(&facts.users, &client, &name, &password);
        let user = proved.await.map_err(|why| {
            self.refuses(&name, from, why);
            refused(match why {
                SignInError::Wrong | SignInError::NoTry => reply::request_credentials(),
                SignInError::TooOften(seconds) => reply::too_often(seconds),
                SignInError::Unavailable => {
                    reply::text(StatusCode::SERVICE_UNAVAILABLE, sign_in::UNAVAILABLE)
                }
            })
        })?;
        match user.second_factor {
            SecondFactor::None => Ok(user.account),
            SecondFactor::Missing | SecondFactor::Codes(_) => {
                let words =
                    "The feed supports passwords only: sign in at the portal with a browser.";
                Err(refused(reply::text(StatusCode::FORBIDDEN, words)))
            }
        }
    }
}

/// Returns the response while sign-ins are not possible: a page with the reason, or its text for
/// programs.
fn closed(facts: &PortalConfiguration, head: &Parts, why: &str) -> PortalResponse {
    let path = head.uri.path().to_ascii_lowercase();
    let is_program =
        matches!(&*path, FEED | FEED_LOGIN) || head.headers.contains_key(AUTHORIZATION);
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut reply = if is_program {
        reply::text(status, why)
    } else {
        reply::html(status, access::page::sign_in(&facts.brand, Some(why), "/"))
    };
    reply::set(&mut reply, RETRY_AFTER, &TRY_AGAIN_S.to_string());
    reply
}

/// Reason why a program's request has no user.
enum Asks {
    Nothing,
    Refused(Box<PortalResponse>),
}

/// Derives the session key from the token key, which all nodes of a cluster have. So a sign-in at
/// one node is valid at all of them.
fn share(sessions: &mut Sessions, farm: &Farm) {
    if farm.tokens.key.is_empty() {
        return;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &farm.tokens.key);
    let tag = hmac::sign(&key, b"sessions of the portal");
    if let Ok(secret) = tag.as_ref().try_into() {
        sessions.set_shared_secret(secret);
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(COOKIE).iter();
    cookies.filter_map(|value| value.to_str().ok())
}

fn basic(value: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, pair) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64.decode(pair.trim()).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}
