//! What becomes of a client: by what it says in the clear, and by who it says it is.

use super::{Inner, Site};
use crate::directory::{Decision, NoHost, Why};
use crate::history::Step;
use crate::token::{Claims, NameId};
use crate::user::{HINT_LETTERS, User, UserId};
use part::lock;
use part::report::Moment;
use protocol::rdp::{ConnectionRequest, FAILED_SSL_REQUIRED, HYBRID, Logon, Redirection, Routing};
use std::net::{IpAddr, SocketAddr};

/// The host of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Routed {
    /// Whose it is.
    pub user: UserId,
    /// The host.
    pub host: String,
    /// Where it accepts RDP.
    pub address: SocketAddr,
}

/// What becomes of a client, by its Connection Request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meeting {
    /// Its bytes go to a host.
    Route(Routed),
    /// It goes on here, over TLS, until it has said who it is; with the protocols that it requested.
    Ask(u32),
    /// It ends, with this code for the client.
    Refuse(u32),
}

impl Site {
    /// Decides about a client that has said this in the clear.
    pub fn meet(&self, request: &ConnectionRequest, from: IpAddr) -> Meeting {
        let mut inner = lock(&self.inner);
        let now = Moment::now();
        if let Routing::Token(token) = &request.routing {
            match inner.key.read(token, self.id, now.unix_ms / 1_000) {
                Ok(claims) => return inner.of_token(&claims, from, now),
                Err(refused) => {
                    inner.counters.tokens += 1;
                    inner.last_refused = Some(format!("from {from}: {refused}"));
                }
            }
        }
        if request.takes_tls() {
            let requested = request.negotiation.map(|one| one.protocols);
            return Meeting::Ask(requested.unwrap_or_default());
        }
        let takes_hybrid = request
            .negotiation
            .is_some_and(|one| one.protocols & HYBRID != 0);
        match &request.routing {
            // Nobody in between can ask it: what is left is the beginning of a name.
            Routing::Hint(hint) if takes_hybrid && !hint.is_empty() => {
                inner.of_hint(hint, from, now)
            }
            _ => {
                inner.counters.refused += 1;
                Meeting::Refuse(FAILED_SSL_REQUIRED)
            }
        }
    }

    /// Decides about a client that has said who it is. None: there is nothing to send it.
    pub fn logon(&self, logon: &Logon, from: IpAddr) -> Option<Redirection> {
        let mut inner = lock(&self.inner);
        let now = Moment::now();
        let user = User::of_logon(logon, from);
        if !logon.follows {
            inner.counters.refused += 1;
            let why = "the client does not follow redirections; give it a .rdp file with a token";
            inner.note(&user, from, now, "logon", "refused", why);
            return None;
        }
        let decision = inner.directory.decide(&user, now.boottime_ms);
        let decision = inner.decided(&user, from, now, "logon", decision)?;
        inner.counters.redirected += 1;
        let expires_ms = now.unix_ms.saturating_add(inner.farm.tokens.lifetime_ms);
        let token = inner.key.issue(&Claims {
            farm: self.id,
            user: user.id,
            host: NameId::of(&decision.host),
            expires_s: u32::try_from(expires_ms / 1_000).unwrap_or(u32::MAX),
        });
        Some(Redirection {
            target_net_address: String::new(),
            load_balance_info: token,
            target_fqdn: inner.farm.name.clone(),
        })
    }
}

impl Inner {
    fn of_token(&mut self, claims: &Claims, from: IpAddr, now: Moment) -> Meeting {
        let decision = self.directory.decide_token(claims, now.boottime_ms);
        let name = self
            .directory
            .user(claims.user)
            .map(|entry| entry.name.clone());
        let user = User {
            id: claims.user,
            name: name.unwrap_or_default(),
        };
        self.route(&user, from, now, "token", decision)
    }

    fn of_hint(&mut self, hint: &str, from: IpAddr, now: Moment) -> Meeting {
        let user = self.hinted(hint).unwrap_or_else(|| User::of_address(from));
        let decision = self.directory.decide(&user, now.boottime_ms);
        self.route(&user, from, now, "hint", decision)
    }

    /// The user of a hint: the only one who is known and whose name begins so, if it may be cut.
    fn hinted(&self, hint: &str) -> Option<User> {
        let user = User::named(hint)?;
        let is_known = self.directory.user(user.id).is_some();
        if is_known || hint.chars().count() < HINT_LETTERS {
            return Some(user);
        }
        let begins = self
            .directory
            .users()
            .filter(|(_, entry)| entry.name.starts_with(&user.name));
        let mut begins = begins.take(2);
        match (begins.next(), begins.next()) {
            (Some((id, entry)), None) => Some(User {
                id,
                name: entry.name.clone(),
            }),
            _ => Some(user),
        }
    }

    fn route(
        &mut self,
        user: &User,
        from: IpAddr,
        now: Moment,
        asked: &str,
        decision: Result<Decision, NoHost>,
    ) -> Meeting {
        match self.decided(user, from, now, asked, decision) {
            Some(decision) => Meeting::Route(Routed {
                user: user.id,
                host: decision.host,
                address: decision.address,
            }),
            None => Meeting::Refuse(FAILED_SSL_REQUIRED),
        }
    }

    fn decided(
        &mut self,
        user: &User,
        from: IpAddr,
        now: Moment,
        asked: &str,
        decision: Result<Decision, NoHost>,
    ) -> Option<Decision> {
        self.has_changed = true;
        match decision {
            Ok(decision) => {
                let verb = if asked == "logon" {
                    "redirected"
                } else {
                    "routed"
                };
                let got = format!("{verb} to {}", decision.host);
                self.note(user, from, now, asked, &got, &words(&decision.why));
                Some(decision)
            }
            Err(error) => {
                self.counters.refused += 1;
                self.note(user, from, now, asked, "refused", &error.to_string());
                None
            }
        }
    }

    pub(super) fn note(
        &mut self,
        user: &User,
        from: IpAddr,
        at: Moment,
        asked: &str,
        got: &str,
        why: &str,
    ) {
        let step = Step {
            at,
            from: from.to_string(),
            asked: asked.to_owned(),
            got: got.to_owned(),
            why: why.to_owned(),
        };
        self.history.add(user.id, step);
    }
}

/// Why a host was decided, in words.
pub(super) fn words(why: &Why) -> String {
    match why {
        Why::Connected => "the user is connected there".to_owned(),
        Why::Session => "the user has a session there".to_owned(),
        Why::Pending => "another logon of the user is on the way there".to_owned(),
        Why::Token => "the token was made for this host, and no session is known".to_owned(),
        Why::Room {
            count,
            weight,
            of,
            has_lost,
        } => {
            let hosts = if *of == 1 {
                "host that takes"
            } else {
                "hosts that take"
            };
            let lost = match has_lost {
                true => "the session was lost with its host; ",
                false => "",
            };
            format!("{lost}the most room of {of} {hosts} users: {count} before, weight {weight}")
        }
    }
}
