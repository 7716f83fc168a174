//! Who uses a volume: one user at a time. A user is named by its client ([`Gate`]), such as
//! `guest/mail`; clients of NBD that name nobody are one user together, as soon as one of them has
//! written. The volume has the user until the last of its connections is closed. The next one waits
//! until then.
//!
//! The role grants the volume to a user in advance ([`Tenure::grant`]); the thread of the volume
//! decides at the open and at the write. A user that is connected keeps the volume, whatever was granted.
//!
//! [`Gate`]: protocol::nbd::Gate

use part::lock;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a volume is reserved for the user that a role which was killed had connected: longer than QEMU takes until
/// it connects again (16 s).
pub const RESERVED_FOR: Duration = Duration::from_secs(30);

/// A user that was connected to the volume before this process began, and until when others wait for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservation {
    user: String,
    until: Instant,
}

/// A user to which the role grants a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The name.
    pub user: String,
    /// It has the volume open, or is about to. Another one that opens the volume before is not
    /// refused: the first one has it.
    pub is_open: bool,
    /// Its clients of this machine do not name it: it was started by an earlier version.
    pub is_unnamed: bool,
}

/// How a named user has a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// A client of it is connected.
    Connected,
    /// It was connected to the process before this one, and the volume is reserved for it.
    Reserved,
    /// The role has granted the volume to it.
    Expected,
}

/// The present user of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A named user.
    User {
        /// The name.
        name: String,
        /// Whether it is connected.
        presence: Presence,
    },
    /// Clients that name nobody.
    Clients,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::User { name, .. } => f.write_str(&user_words(name)),
            Holder::Clients => f.write_str("an NBD client"),
        }
    }
}

/// A user as operators read it: `guest/mail` is `guest mail`.
pub fn user_words(user: &str) -> String {
    user.replacen('/', " ", 1)
}

/// What the role and the thread of a volume share. The thread writes the holder, the role the grant.
#[derive(Debug, Default)]
pub struct Tenure {
    state: Mutex<(Option<Grant>, Option<Holder>)>,
    reservation: Mutex<Option<Reservation>>,
    /// Counts the changes of the grant.
    grants: AtomicU64,
}

impl Tenure {
    /// The user that may open the volume next. One that is connected keeps it.
    ///
    /// Returns whether it was another one.
    pub fn grant(&self, grant: Option<Grant>) -> bool {
        let mut state = lock(&self.state);
        let has_changed = state.0 != grant;
        if has_changed {
            state.0 = grant;
            self.grants.fetch_add(1, Ordering::Release);
        }
        has_changed
    }

    /// Reserves the volume for a user that a former process had connected: it connects again by itself, and until
    /// then nobody else may be faster.
    pub fn reserve(&self, user: String, now: Instant) {
        let until = now.checked_add(RESERVED_FOR).unwrap_or(now);
        *lock(&self.reservation) = Some(Reservation { user, until });
        self.grants.fetch_add(1, Ordering::Release);
    }

    /// The user for which the volume is reserved now, and until when.
    pub(super) fn reserved(&self, now: Instant) -> Option<(String, Instant)> {
        let reservation = lock(&self.reservation);
        let valid = reservation.as_ref().filter(|one| now < one.until);
        valid.map(|one| (one.user.clone(), one.until))
    }

    /// A user has opened the volume: if it is the one of the reservation, that has served its purpose.
    pub(super) fn redeem(&self, user: &str) {
        lock(&self.reservation).take_if(|one| one.user == user);
    }

    /// The named user that is connected, or for which the volume is reserved.
    pub fn named_user(&self) -> Option<String> {
        let connected = match self.holder() {
            Some(Holder::User {
                name,
                presence: Presence::Connected,
            }) => Some(name),
            _ => None,
        };
        connected.or_else(|| Some(self.reserved(Instant::now())?.0))
    }

    /// Counts the changes of the grant.
    pub(super) fn grants(&self) -> u64 {
        self.grants.load(Ordering::Acquire)
    }

    /// The grant.
    pub fn granted(&self) -> Option<Grant> {
        lock(&self.state).0.clone()
    }

    /// The user that the volume has now.
    pub fn holder(&self) -> Option<Holder> {
        lock(&self.state).1.clone()
    }

    /// Returns whether it was another one.
    pub(super) fn set_holder(&self, holder: Option<Holder>) -> bool {
        let mut state = lock(&self.state);
        let has_changed = state.1 != holder;
        state.1 = holder;
        has_changed
    }

    /// Nothing serves the volume: nobody is connected.
    pub fn forget_holder(&self) {
        lock(&self.state).1 = None;
    }
}

/// The user of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tenant<'c> {
    /// A user that its client has named.
    Named(&'c str),
    /// A client of this machine that names nobody; whether it has written.
    Local(bool),
    /// The same of a network.
    Remote(bool),
}

/// The present user, of connections, a reservation and a grant.
pub(super) fn holder<'c>(
    tenants: impl Iterator<Item = Tenant<'c>>,
    reserved: Option<&str>,
    grant: Option<&Grant>,
) -> Option<Holder> {
    let connected = |name: &str| Holder::User {
        name: name.to_owned(),
        presence: Presence::Connected,
    };
    let expected = |grant: &Grant| Holder::User {
        name: grant.user.clone(),
        presence: Presence::Expected,
    };
    let mut has_writer = false;
    let mut unnamed = None;
    for tenant in tenants {
        match (tenant, grant) {
            (Tenant::Named(name), _) => return Some(connected(name)),
            (Tenant::Local(_), Some(grant)) if grant.is_unnamed => {
                unnamed = Some(connected(&grant.user));
            }
            (Tenant::Local(writes) | Tenant::Remote(writes), _) => has_writer |= writes,
        }
    }
    if has_writer {
        return Some(Holder::Clients);
    }
    let reserved = reserved.map(|user| Holder::User {
        name: user.to_owned(),
        presence: Presence::Reserved,
    });
    { unnamed.or(reserved) }.or_else(|| grant.filter(|grant| grant.is_open).map(expected))
}

/// Whether a user may open the volume, or who has it.
pub(super) fn may_open(user: &str, holder: Option<&Holder>) -> Result<(), String> {
    match holder {
        Some(Holder::User { name, .. }) if name == user => Ok(()),
        None => Ok(()),
        Some(other) => Err(format!(
            "{other} uses the volume: it has one user at a time"
        )),
    }
}

/// Whether a client may write that has not written yet.
pub(super) fn may_write(
    tenant: Tenant<'_>,
    holder: Option<&Holder>,
    grant: Option<&Grant>,
) -> bool {
    match (tenant, holder) {
        // It would not be connected otherwise.
        (Tenant::Named(_), _) | (_, None | Some(Holder::Clients)) => true,
        (Tenant::Local(_), Some(Holder::User { name, .. })) => {
            grant.is_some_and(|grant| grant.is_unnamed && grant.user == *name)
        }
        (Tenant::Remote(_), Some(Holder::User { .. })) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(user: &str, is_unnamed: bool) -> Grant {
        Grant {
            user: user.to_owned(),
            is_open: true,
            is_unnamed,
        }
    }

    #[test]
    fn connected_user_keeps_the_volume_against_a_grant() {
        let new = grant("guest/new", false);
        let old = [Tenant::Named("guest/old")];
        let has = holder(old.into_iter(), None, Some(&new));
        let words = "guest old uses the volume: it has one user at a time".to_owned();
        assert_eq!(may_open("guest/new", has.as_ref()), Err(words));
        // A second connection of the same user, as when a guest moves or connects again.
        assert_eq!(may_open("guest/old", has.as_ref()), Ok(()));
        let has = holder([].into_iter(), None, Some(&new));
        assert_eq!(may_open("guest/new", has.as_ref()), Ok(()));
        assert!(may_open("guest/old", has.as_ref()).is_err());
        assert_eq!(may_open("guest/old", None), Ok(()));
        // One that is not started yet keeps nobody away.
        let later = Grant {
            is_open: false,
            ..new
        };
        assert_eq!(holder([].into_iter(), None, Some(&later)), None);
    }

    #[test]
    fn volume_is_reserved_until_its_user_returns_or_is_late() {
        let (tenure, start) = (Tenure::default(), Instant::now());
        tenure.reserve("guest/mail".to_owned(), start);
        assert_eq!(tenure.named_user(), Some("guest/mail".to_owned()));
        let other = grant("boot/machines", false);
        let user = |now: Instant| tenure.reserved(now).map(|(user, _)| user);
        let has = holder([].into_iter(), user(start).as_deref(), Some(&other));
        assert!(may_open("boot/machines", has.as_ref()).is_err());
        assert_eq!(may_open("guest/mail", has.as_ref()), Ok(()));
        // Nobody without a name writes meanwhile.
        assert!(!may_write(Tenant::Remote(false), has.as_ref(), None));
        tenure.redeem("boot/machines");
        assert!(user(start).is_some());
        assert_eq!(user(start + RESERVED_FOR), None);
        tenure.redeem("guest/mail");
        assert_eq!(user(start), None);
    }

    #[test]
    fn clients_without_a_name_have_the_volume_from_their_first_write() {
        let new = grant("guest/new", false);
        let reader = [Tenant::Local(false), Tenant::Remote(false)];
        let has = holder(reader.into_iter(), None, Some(&new));
        assert_eq!(may_open("guest/new", has.as_ref()), Ok(()));
        for client in reader {
            assert!(!may_write(client, has.as_ref(), Some(&new)), "{client:?}");
            assert!(may_write(client, None, None), "{client:?}");
        }
        for writer in [Tenant::Local(true), Tenant::Remote(true)] {
            let has = holder([writer].into_iter(), None, Some(&new));
            assert_eq!(has, Some(Holder::Clients));
            assert!(may_open("guest/new", has.as_ref()).is_err());
            // Clients of NBD may share a volume among themselves.
            assert!(may_write(Tenant::Remote(false), has.as_ref(), Some(&new)));
        }
    }

    #[test]
    fn guest_of_an_earlier_version_counts_by_its_grant() {
        let old = grant("guest/old", true);
        let has = holder([Tenant::Local(false)].into_iter(), None, Some(&old));
        let connected = Holder::User {
            name: "guest/old".to_owned(),
            presence: Presence::Connected,
        };
        assert_eq!(has, Some(connected));
        assert!(may_write(Tenant::Local(false), has.as_ref(), Some(&old)));
        assert!(!may_write(Tenant::Remote(false), has.as_ref(), Some(&old)));
        assert!(may_open("guest/new", has.as_ref()).is_err());
    }
}
