//! What becomes of a client: by what it says in the clear, and by who it says it is.

use super::{Inner, Site};
use crate::collection::{Assignee, CollectionId};
use crate::directory::{Decision, HostState, NoHost, Why};
use crate::history::Step;
use crate::token::{Claims, NameId, Refused};
use crate::user::{HINT_LETTERS, User};
use part::lock;
use part::report::Moment;
use protocol::rdp::{ConnectionRequest, FAILED_SSL_REQUIRED, HYBRID, Logon, Redirection, Routing};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// The host of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Routed {
    /// Whose it is, and in which collection.
    pub id: Assignee,
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
    /// It goes on here, over TLS, until it has said who it is.
    Ask {
        /// The protocols that it requested.
        requested: u32,
        /// Where it gets a host.
        collection: CollectionId,
    },
    /// It ends, with this code for the client.
    Refuse(u32),
}

/// What a client said, and who it is.
enum Said {
    /// This comes of it.
    Settled(Meeting),
    /// The host of a user in a collection is to be decided: by a token, which may have a host, or a hint.
    Who(User, CollectionId, Option<NameId>),
}

impl Site {
    /// Decides about a client that has said this in the clear.
    pub async fn meet(&self, request: &ConnectionRequest, from: IpAddr) -> Meeting {
        let said = lock(&self.inner).said(request, from, self.id);
        let (user, collection, host) = match said {
            Said::Settled(meeting) => return meeting,
            Said::Who(user, collection, host) => (user, collection, host),
        };
        // A token has no name.
        let asked = if user.name.is_empty() {
            "token"
        } else {
            "hint"
        };
        let decision = self.decide(&user, collection, host).await;
        let decision = decision.map(|decision| {
            let is_sent = host == Some(NameId::of(&decision.host));
            match decision.why {
                // Tokens of the portal name no host.
                Why::Pending if is_sent => Decision {
                    why: Why::Redirected,
                    ..decision
                },
                _ => decision,
            }
        });
        let mut inner = lock(&self.inner);
        let user = inner.named(user);
        match inner.decided(&user, from, asked, decision) {
            Some(decision) => Meeting::Route(Routed {
                id: Assignee::new(user.id, collection),
                host: decision.host,
                address: decision.address,
            }),
            None => Meeting::Refuse(FAILED_SSL_REQUIRED),
        }
    }

    /// Decides about a client that has said who it is. None: there is nothing to send it.
    pub async fn logon(
        &self,
        logon: &Logon,
        collection: CollectionId,
        from: IpAddr,
    ) -> Option<Redirection> {
        let user = User::of_logon(logon, from);
        if !logon.follows {
            let mut inner = lock(&self.inner);
            inner.counters.refused += 1;
            let why = "the client does not follow redirections; give it a .rdp file with a token";
            inner.note(&user, from, "logon", "refused", why);
            return None;
        }
        let decision = self.decide(&user, collection, None).await;
        let mut inner = lock(&self.inner);
        let decision = inner.decided(&user, from, "logon", decision)?;
        inner.counters.redirected += 1;
        let now_ms = Moment::now().unix_ms;
        let expires_ms = now_ms.saturating_add(inner.farm.tokens.lifetime_ms);
        let token = inner.key.issue(&Claims {
            farm: self.id,
            user: user.id,
            collection,
            host: Some(NameId::of(&decision.host)),
            expires_s: u32::try_from(expires_ms / 1_000).unwrap_or(u32::MAX),
        });
        Some(Redirection {
            target_net_address: String::new(),
            load_balance_info: token,
            target_fqdn: inner.farm.name.clone(),
        })
    }
}

impl Site {
    /// Makes a token for a user who starts something at the portal, without its end. It names no host: the
    /// directory decides when the client comes, among these hosts; none: among all.
    pub fn ticket(
        &self,
        user: &User,
        from: IpAddr,
        (title, hosts): (&str, &BTreeSet<String>),
    ) -> String {
        let mut inner = lock(&self.inner);
        let now = Moment::now();
        let expires_ms = now.unix_ms.saturating_add(inner.farm.tokens.lifetime_ms);
        let token = inner.key.issue(&Claims {
            farm: self.id,
            user: user.id,
            collection: inner.farm.collection(hosts),
            host: None,
            expires_s: u32::try_from(expires_ms / 1_000).unwrap_or(u32::MAX),
        });
        inner.note(user, from, "portal", "a .rdp file", title);
        String::from_utf8_lossy(&token).trim_end().to_owned()
    }

    /// Notes that somebody has to wait for the next try. Who was never seen is not noted: anybody could make up names.
    pub fn has_to_wait(&self, user: &str, from: IpAddr, asked: &str) {
        let Some(user) = User::named(user) else {
            return;
        };
        let mut inner = lock(&self.inner);
        if inner.history.knows(user.id) {
            inner.note(&user, from, asked, "refused", "too many tries");
        }
    }

    /// Notes what a user did at the portal.
    pub fn at_portal(&self, user: &str, from: IpAddr, got: &str, why: &str) {
        if let Some(user) = User::named(user) {
            lock(&self.inner).note(&user, from, "portal", got, why);
        }
    }
}

impl Inner {
    /// What a Connection Request says of the client.
    fn said(&mut self, request: &ConnectionRequest, from: IpAddr, farm: NameId) -> Said {
        // Who brings no token wants a desktop; an old one says at least on which hosts its program is.
        let mut collection = self.farm.desktop();
        if let Routing::Token(token) = &request.routing {
            match self.key.read(token, farm, Moment::now().unix_ms / 1_000) {
                Ok(claims) => {
                    let user = User {
                        id: claims.user,
                        name: String::new(),
                    };
                    return Said::Who(user, claims.collection, claims.host);
                }
                Err(refused) => {
                    self.counters.tokens += 1;
                    self.last_refused = Some(format!("from {from}: {refused}"));
                    if let Refused::Expired(of_it) = refused {
                        collection = of_it;
                    }
                }
            }
        }
        if request.takes_tls() {
            let requested = request.negotiation.map(|one| one.protocols);
            return Said::Settled(Meeting::Ask {
                requested: requested.unwrap_or_default(),
                collection,
            });
        }
        let takes_hybrid = request
            .negotiation
            .is_some_and(|one| one.protocols & HYBRID != 0);
        match &request.routing {
            // Nobody in between can ask it: what is left is the beginning of a name.
            Routing::Hint(hint) if takes_hybrid && !hint.is_empty() => {
                let user = self.hinted(hint);
                let user = user.unwrap_or_else(|| User::of_address(from));
                Said::Who(user, collection, None)
            }
            _ => {
                self.counters.refused += 1;
                Said::Settled(Meeting::Refuse(FAILED_SSL_REQUIRED))
            }
        }
    }

    /// The user with the name that the directory knows, if a token has none.
    fn named(&self, user: User) -> User {
        match user.name.is_empty() {
            true => User {
                name: self.agreement.directory.name_of(user.id).to_owned(),
                ..user
            },
            false => user,
        }
    }

    /// The user of a hint: the only one who is known and whose name begins so, if it may be cut.
    fn hinted(&self, hint: &str) -> Option<User> {
        let user = User::named(hint)?;
        let directory = &self.agreement.directory;
        let is_known = directory.of_user(user.id).next().is_some();
        if is_known || hint.chars().count() < HINT_LETTERS {
            return Some(user);
        }
        let mut begins = directory
            .users()
            .filter(|(_, entry)| entry.name.starts_with(&user.name))
            .map(|(id, entry)| (id.user, &entry.name));
        let Some((id, name)) = begins.next() else {
            return Some(user);
        };
        match begins.all(|(other, _)| other == id) {
            true => Some(User {
                id,
                name: name.clone(),
            }),
            false => Some(user),
        }
    }

    fn decided(
        &mut self,
        user: &User,
        from: IpAddr,
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
                let mut why = words(&decision.why);
                let is_it =
                    |(name, state): (&str, &HostState)| name == decision.host && state.is_removed;
                let is_removed = self.agreement.directory.hosts().any(is_it);
                if is_removed {
                    why.push_str(", though no configuration has the host any more");
                }
                self.note(user, from, asked, &got, &why);
                Some(decision)
            }
            Err(error) => {
                self.counters.refused += 1;
                self.note(user, from, asked, "refused", &error.to_string());
                None
            }
        }
    }

    pub(super) fn note(&mut self, user: &User, from: IpAddr, asked: &str, got: &str, why: &str) {
        let step = Step {
            at: Moment::now(),
            node: String::new(),
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
        Why::Tried => {
            "a connection of the user there ended a short time ago; no session there is known yet"
                .to_owned()
        }
        Why::Pending => "another logon of the user is on the way there".to_owned(),
        Why::Redirected => "the client was redirected there".to_owned(),
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
