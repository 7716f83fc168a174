//! Tenure: a volume has one user at a time. A client names its user ([`Gate`]), such as
//! `guest/mail`. NBD clients without a name together count as one user, as soon as one of them has
//! written. The user keeps the volume until its last connection closes; the next user waits until
//! then.
//!
//! The role grants the volume to a user in advance ([`Tenure::grant`]). The volume's thread
//! decides at open and at write. A connected user keeps the volume regardless of the grant.
//!
//! [`Gate`]: protocol::nbd::Gate

use part::lock;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Duration of a reservation for the user of a role that was killed. Longer than QEMU's reconnect
/// delay (16 s).
pub const RESERVED_FOR: Duration = Duration::from_secs(30);

/// User whose clients at both nodes are one user of a volume: all machines of network boot.
pub const SHARED_USER: &str = "boot/machines";

/// User of the previous process, and the time until which other users wait for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservation {
    user: String,
    until: Instant,
}

/// User to which the role grants a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    pub user: String,
    /// The user has the volume open or is about to open it. Another user that opens the volume
    /// first is not refused and gets it.
    pub is_open: bool,
    /// The user's local clients do not name it, because an earlier version started them.
    pub is_unnamed: bool,
}

/// Relation of a named user to a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// A client of the user is connected.
    Connected,
    /// The user was connected to the previous process, and the volume is reserved for it.
    Reserved,
    /// The role has granted the volume to the user.
    Expected,
}

/// Current user of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VolumeUser {
    User {
        name: String,
        /// Connection state of the user.
        presence: Presence,
    },
    /// Clients without a user name.
    Clients,
}

/// End of the user name of a client that reconnects, and that must not continue if another user may
/// have had the volume meanwhile.
pub const RECONNECTS: &str = "/again";

/// Beginning of the names of users that may end with [`RECONNECTS`]. Others, such as guests, may
/// have any name.
const COMMANDS: &str = "command/";

/// Name of the user of a client, without [`RECONNECTS`].
pub(super) fn user_of(name: &str) -> &str {
    let command = name.strip_prefix(COMMANDS).map(|_| name);
    let user = command.and_then(|name| name.strip_suffix(RECONNECTS));
    user.unwrap_or(name)
}

fn reconnects(name: &str) -> bool {
    user_of(name) != name
}

impl fmt::Display for VolumeUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VolumeUser::User { name, .. } => f.write_str(&user_words(name)),
            VolumeUser::Clients => f.write_str("an NBD client"),
        }
    }
}

/// Display form of a user name: `guest/mail` becomes `guest mail`.
pub fn user_words(user: &str) -> String {
    user.replacen('/', " ", 1)
}

/// State shared by the role and the volume's thread. The thread writes the holder, the role writes
/// the grant.
#[derive(Debug, Default)]
pub struct Tenure {
    state: Mutex<(Option<Grant>, Option<VolumeUser>)>,
    reservation: Mutex<Option<Reservation>>,
    grants: AtomicU64,
}

impl Tenure {
    /// Sets the user that may open the volume next. A connected user keeps it.
    ///
    /// Returns whether the grant has changed.
    pub fn grant(&self, grant: Option<Grant>) -> bool {
        let mut state = lock(&self.state);
        let has_changed = state.0 != grant;
        if has_changed {
            state.0 = grant;
            self.grants.fetch_add(1, Ordering::Release);
        }
        has_changed
    }

    /// Reserves the volume for a user of a previous process, which reconnects by itself. Until
    /// then no other user can open the volume.
    pub fn reserve(&self, user: String, now: Instant) {
        let until = now.checked_add(RESERVED_FOR).unwrap_or(now);
        *lock(&self.reservation) = Some(Reservation { user, until });
        self.grants.fetch_add(1, Ordering::Release);
    }

    /// User with a current reservation, and its end.
    pub(super) fn reserved(&self, now: Instant) -> Option<(String, Instant)> {
        let reservation = lock(&self.reservation);
        let valid = reservation.as_ref().filter(|one| now < one.until);
        valid.map(|one| (one.user.clone(), one.until))
    }

    /// Ends the reservation if its user has opened the volume.
    pub(super) fn redeem(&self, user: &str) {
        lock(&self.reservation).take_if(|one| one.user == user);
    }

    /// Named user that is connected or has a reservation.
    pub fn named_user(&self) -> Option<String> {
        let connected = match self.holder() {
            Some(VolumeUser::User {
                name,
                presence: Presence::Connected,
            }) => Some(name),
            _ => None,
        };
        connected.or_else(|| Some(self.reserved(Instant::now())?.0))
    }

    pub(super) fn grants(&self) -> u64 {
        self.grants.load(Ordering::Acquire)
    }

    /// Current grant.
    pub fn granted(&self) -> Option<Grant> {
        lock(&self.state).0.clone()
    }

    /// Current user of the volume.
    pub fn holder(&self) -> Option<VolumeUser> {
        lock(&self.state).1.clone()
    }

    /// Sets the current user. Returns whether it has changed.
    pub(super) fn set_holder(&self, holder: Option<VolumeUser>) -> bool {
        let mut state = lock(&self.state);
        let has_changed = state.1 != holder;
        state.1 = holder;
        has_changed
    }

    /// Clears the current user of a volume that is no longer served.
    pub fn forget_holder(&self) {
        lock(&self.state).1 = None;
    }
}

/// User of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ConnectionUser<'c> {
    /// User named by its client.
    Named(&'c str),
    /// Local client without a user name; true if it has written.
    Local(bool),
    /// Network client without a user name; true if it has written.
    Remote(bool),
}

/// Determines the current user from the connections, a reservation and a grant.
pub(super) fn holder<'c>(
    tenants: impl Iterator<Item = ConnectionUser<'c>>,
    reserved: Option<&str>,
    grant: Option<&Grant>,
) -> Option<VolumeUser> {
    let connected = |name: &str| VolumeUser::User {
        name: name.to_owned(),
        presence: Presence::Connected,
    };
    let expected = |grant: &Grant| VolumeUser::User {
        name: grant.user.clone(),
        presence: Presence::Expected,
    };
    let mut has_writer = false;
    let mut unnamed = None;
    for tenant in tenants {
        match (tenant, grant) {
            (ConnectionUser::Named(name), _) => return Some(connected(name)),
            (ConnectionUser::Local(_), Some(grant)) if grant.is_unnamed => {
                unnamed = Some(connected(&grant.user));
            }
            (ConnectionUser::Local(writes) | ConnectionUser::Remote(writes), _) => {
                has_writer |= writes
            }
        }
    }
    if has_writer {
        return Some(VolumeUser::Clients);
    }
    let reserved = reserved.map(|user| VolumeUser::User {
        name: user.to_owned(),
        presence: Presence::Reserved,
    });
    unnamed
        .or(reserved)
        .or_else(|| grant.filter(|grant| grant.is_open).map(expected))
}

/// Checks that a user may open the volume. The error names the current user.
///
/// `is_used_elsewhere`: the other node has, or may have, a user other than [`SHARED_USER`]. Other
/// users get the volume from their role, which waits for the user of the other node.
pub(super) fn may_open(
    user: &str,
    holder: Option<&VolumeUser>,
    is_used_elsewhere: bool,
) -> Result<(), String> {
    match holder {
        _ if is_used_elsewhere && user == SHARED_USER => Err(
            "the other node has a user of the volume: it has one user at a time".to_owned(),
        ),
        Some(VolumeUser::User { name, .. }) if name == user_of(user) => Ok(()),
        None if reconnects(user) => Err(
            "the volume was free after the connection was lost, so another user may have written to it"
                .to_owned(),
        ),
        None => Ok(()),
        Some(other) => Err(format!(
            "{other} uses the volume: it has one user at a time"
        )),
    }
}

/// Returns whether a client may write for the first time.
pub(super) fn may_write(
    tenant: ConnectionUser<'_>,
    holder: Option<&VolumeUser>,
    grant: Option<&Grant>,
) -> bool {
    match (tenant, holder) {
        // A named client is connected only if its user has the volume.
        (ConnectionUser::Named(_), _) | (_, None | Some(VolumeUser::Clients)) => true,
        (ConnectionUser::Local(_), Some(VolumeUser::User { name, .. })) => {
            grant.is_some_and(|grant| grant.is_unnamed && grant.user == *name)
        }
        (ConnectionUser::Remote(_), Some(VolumeUser::User { .. })) => false,
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
        let old = [ConnectionUser::Named("guest/old")];
        let has = holder(old.into_iter(), None, Some(&new));
        let words = "guest old uses the volume: it has one user at a time".to_owned();
        assert_eq!(may_open("guest/new", has.as_ref(), false), Err(words));
        // A second connection of the same user, as during a migration or a reconnect.
        assert_eq!(may_open("guest/old", has.as_ref(), false), Ok(()));
        let has = holder([].into_iter(), None, Some(&new));
        assert_eq!(may_open("guest/new", has.as_ref(), false), Ok(()));
        assert!(may_open("guest/old", has.as_ref(), false).is_err());
        assert_eq!(may_open("guest/old", None, false), Ok(()));
        // A command that reconnects continues only if nobody else can have had the volume.
        let command = [ConnectionUser::Named("command/7")];
        let has = holder([].into_iter(), Some("command/7"), None);
        assert_eq!(may_open("command/7/again", has.as_ref(), false), Ok(()));
        let has = holder(command.into_iter(), None, None);
        assert_eq!(may_open("command/7/again", has.as_ref(), false), Ok(()));
        assert!(may_open("command/8/again", has.as_ref(), false).is_err());
        assert!(may_open("command/7/again", None, false).is_err());
        // A user that has not started yet blocks nobody.
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
        assert!(may_open("boot/machines", has.as_ref(), false).is_err());
        assert_eq!(may_open("guest/mail", has.as_ref(), false), Ok(()));
        // Meanwhile clients without a name cannot write.
        assert!(!may_write(
            ConnectionUser::Remote(false),
            has.as_ref(),
            None
        ));
        tenure.redeem("boot/machines");
        assert!(user(start).is_some());
        assert_eq!(user(start + RESERVED_FOR), None);
        tenure.redeem("guest/mail");
        assert_eq!(user(start), None);
    }

    #[test]
    fn clients_without_a_name_have_the_volume_from_their_first_write() {
        let new = grant("guest/new", false);
        let reader = [ConnectionUser::Local(false), ConnectionUser::Remote(false)];
        let has = holder(reader.into_iter(), None, Some(&new));
        assert_eq!(may_open("guest/new", has.as_ref(), false), Ok(()));
        for client in reader {
            assert!(!may_write(client, has.as_ref(), Some(&new)), "{client:?}");
            assert!(may_write(client, None, None), "{client:?}");
        }
        for writer in [ConnectionUser::Local(true), ConnectionUser::Remote(true)] {
            let has = holder([writer].into_iter(), None, Some(&new));
            assert_eq!(has, Some(VolumeUser::Clients));
            assert!(may_open("guest/new", has.as_ref(), false).is_err());
            // NBD clients may share a volume among themselves.
            assert!(may_write(
                ConnectionUser::Remote(false),
                has.as_ref(),
                Some(&new)
            ));
        }
    }

    #[test]
    fn guest_of_an_earlier_version_counts_by_its_grant() {
        let old = grant("guest/old", true);
        let has = holder([ConnectionUser::Local(false)].into_iter(), None, Some(&old));
        let connected = VolumeUser::User {
            name: "guest/old".to_owned(),
            presence: Presence::Connected,
        };
        assert_eq!(has, Some(connected));
        assert!(may_write(
            ConnectionUser::Local(false),
            has.as_ref(),
            Some(&old)
        ));
        assert!(!may_write(
            ConnectionUser::Remote(false),
            has.as_ref(),
            Some(&old)
        ));
        assert!(may_open("guest/new", has.as_ref(), false).is_err());
    }

    #[test]
    fn names_of_guests_may_end_like_those_of_reconnecting_commands() {
        assert_eq!(user_of("guest/again"), "guest/again");
        assert_eq!(may_open("guest/again", None, false), Ok(()));
        assert_eq!(user_of("command/7/again"), "command/7");
    }

    #[test]
    fn machines_of_network_boot_wait_for_the_user_of_the_other_node() {
        let boot = VolumeUser::User {
            name: SHARED_USER.to_owned(),
            presence: Presence::Connected,
        };
        for holder in [None, Some(&boot)] {
            assert!(may_open(SHARED_USER, holder, true).is_err());
            assert_eq!(may_open(SHARED_USER, holder, false), Ok(()));
        }
        assert_eq!(may_open("guest/mail", None, true), Ok(()));
    }
}
