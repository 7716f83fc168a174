//! Decides from a client's unencrypted Connection Request whether it is routed to a host or has to
//! send its user name first, and decides the host of a client by its user name.

use super::{FarmState, FarmStateInner};
use crate::collection::{Assignee, CollectionId};
use crate::directory::{Decision, HostState, NoHost, Why};
use crate::history::HistoryStep;
use crate::token::{Claims, NameId, RoutingTokenError};
use crate::user::{FarmUser, HINT_LETTERS};
use part::lock;
use part::report::Moment;
use protocol::rdp::{ConnectionRequest, FAILED_SSL_REQUIRED, HYBRID, Logon, Redirection, Routing};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Routed {
    pub id: Assignee,
    pub host: String,
    pub address: SocketAddr,
}

/// Decision about a client after its Connection Request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meeting {
    Route(Routed),
    /// The client stays connected to the farm over TLS until it has sent its user name.
    Ask {
        requested: u32,
        collection: CollectionId,
    },
    /// The connection is refused with this failure code.
    Refuse(u32),
}

/// Result of reading a Connection Request.
enum RequestReading {
    Settled(Meeting),
    /// A host in a collection has to be decided for a user. The user comes from a token, which may
    /// name a host, or from a hint (`mstshash`).
    Who(FarmUser, CollectionId, Option<NameId>),
}

impl FarmState {
    pub async fn decide_connection(&self, request: &ConnectionRequest, from: IpAddr) -> Meeting {
        let said = lock(&self.inner).evaluate_request(request, from, self.id);
        let (user, collection, host) = match said {
            RequestReading::Settled(meeting) => return meeting,
            RequestReading::Who(user, collection, host) => (user, collection, host),
        };
        // Distinguishes a token, which does not contain the name, from a hint.
        let asked = if user.name.is_empty() {
            "token"
        } else {
            "hint"
        };
        let decision = self.decide(&user, collection, host).await;
        let decision = decision.map(|decision| {
            let is_sent = host == Some(NameId::of(&decision.host));
            match decision.why {
                // Changes the reason only if the token names the host, as that of a redirection
                // does, unlike that of the portal.
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

    /// Decides about a client that has sent its user name. Returns None if no redirection can be
    /// sent.
    pub async fn logon(
        &self,
        logon: &Logon,
        collection: CollectionId,
        from: IpAddr,
    ) -> Option<Redirection> {
        let user = FarmUser::of_logon(logon, from);
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

impl FarmState {
    /// Creates a token, without its end, for a user who starts something at the portal. The token
    /// names no host: the directory chooses one of `hosts` when the client connects. An empty set
    /// means all hosts.
    pub fn ticket(
        &self,
        user: &FarmUser,
        from: IpAddr,
        title: &str,
        hosts: &BTreeSet<String>,
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

    /// Records that a user has to wait before the next sign-in attempt. Unknown users are not
    /// recorded: anybody could invent names.
    pub fn has_to_wait(&self, user: &str, from: IpAddr, asked: &str) {
        let Some(user) = FarmUser::named(user) else {
            return;
        };
        let mut inner = lock(&self.inner);
        if inner.history.knows(user.id) {
            inner.note(&user, from, asked, "refused", "too many attempts");
        }
    }

    pub fn at_portal(&self, user: &str, from: IpAddr, got: &str, why: &str) {
        if let Some(user) = FarmUser::named(user) {
            lock(&self.inner).note(&user, from, "portal", got, why);
        }
    }
}

impl FarmStateInner {
    fn evaluate_request(
        &mut self,
        request: &ConnectionRequest,
        from: IpAddr,
        farm: NameId,
    ) -> RequestReading {
        // Starts with the desktop, for a client without a token. An expired token still identifies
        // the hosts with its program.
        let mut collection = self.farm.desktop();
        if let Routing::Token(token) = &request.routing {
            match self.key.read(token, farm, Moment::now().unix_ms / 1_000) {
                Ok(claims) => {
                    let user = FarmUser {
                        id: claims.user,
                        name: String::new(),
                    };
                    return RequestReading::Who(user, claims.collection, claims.host);
                }
                Err(refused) => {
                    self.counters.tokens += 1;
                    self.last_refused = Some(format!("from {from}: {refused}"));
                    if let RoutingTokenError::Expired(of_it) = refused {
                        collection = of_it;
                    }
                }
            }
        }
        if request.takes_tls() {
            let requested = request.negotiation.map(|one| one.protocols);
            return RequestReading::Settled(Meeting::Ask {
                requested: requested.unwrap_or_default(),
                collection,
            });
        }
        let takes_hybrid = request
            .negotiation
            .is_some_and(|one| one.protocols & HYBRID != 0);
        match &request.routing {
            // Uses the hint, which is the beginning of a name, because with NLA only the host can
            // request the user name.
            Routing::Hint(hint) if takes_hybrid && !hint.is_empty() => {
                let user = self.hinted(hint);
                let user = user.unwrap_or_else(|| FarmUser::of_address(from));
                RequestReading::Who(user, collection, None)
            }
            _ => {
                self.counters.refused += 1;
                RequestReading::Settled(Meeting::Refuse(FAILED_SSL_REQUIRED))
            }
        }
    }

    fn named(&self, user: FarmUser) -> FarmUser {
        if user.name.is_empty() {
            FarmUser {
                name: self.agreement.directory.name_of(user.id).to_owned(),
                ..user
            }
        } else {
            user
        }
    }

    /// Returns the user of a hint. A hint that may be truncated is valid only if exactly one known
    /// user's name begins with it.
    fn hinted(&self, hint: &str) -> Option<FarmUser> {
        let user = FarmUser::named(hint)?;
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
        if begins.all(|(other, _)| other == id) {
            Some(FarmUser {
                id,
                name: name.clone(),
            })
        } else {
            Some(user)
        }
    }

    fn decided(
        &mut self,
        user: &FarmUser,
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
                let mut why = describe_reason(&decision.why);
                let is_it =
                    |(name, state): (&str, &HostState)| name == decision.host && state.is_removed;
                let is_removed = self.agreement.directory.hosts().any(is_it);
                if is_removed {
                    why.push_str(", although the host was removed from all configurations");
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

    pub(super) fn note(
        &mut self,
        user: &FarmUser,
        from: IpAddr,
        asked: &str,
        got: &str,
        why: &str,
    ) {
        let step = HistoryStep {
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

pub(super) fn describe_reason(why: &Why) -> String {
    match why {
        Why::Connected => "the user is connected there".to_owned(),
        Why::Session => "the user has a session there".to_owned(),
        Why::Tried => {
            "a connection of the user there ended recently; no session there is known yet"
                .to_owned()
        }
        Why::Pending => "another logon of the user there is pending".to_owned(),
        Why::Redirected => "the client was redirected there".to_owned(),
        Why::Token => "the token was made for this host, and no session is known".to_owned(),
        Why::Room {
            count,
            weight,
            of,
            has_lost,
        } => {
            let hosts = if *of == 1 {
                "host that accepts"
            } else {
                "hosts that accept"
            };
            let lost = if *has_lost {
                "the session was lost with its host; "
            } else {
                ""
            };
            format!(
                "{lost}the lowest load of {of} {hosts} users: {count} users before, weight {weight}"
            )
        }
    }
}
