//! Decides which user has a volume: one at a time. A client names its user ([`Gate`]), such as
//! `guest/mail`. NBD clients without a name together count as one user, as soon as one of them has
//! written. The user keeps the volume until its last connection closes; the next user waits until
//! then.
//!
//! The role grants the volume to a user in advance ([`Tenure::grant`]). The volume's thread
//! decides at open and at write. A connected user keeps the volume regardless of the grant.
//!
//! [`Gate`]: protocol::nbd::Gate

use crate::device::Stamp;
use crate::overwrite::{OverwriteKind, OverwriteMark};
use part::lock;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Duration of a reservation for the user of a role that was killed. Longer than QEMU's reconnect
/// delay (16 s).
pub const RESERVED_FOR: Duration = Duration::from_secs(30);

/// Name of a user whose clients may be connected to both nodes at the same time: all machines of
/// network boot.
pub const SHARED_USER: &str = "boot/machines";

/// User that was connected to the previous process of the role, and the time until which other
/// users have to wait for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservation {
    user: String,
    until: Instant,
}

/// User to which the role grants a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    pub user: String,
    /// True if the user has the volume open or is about to open it. If another user opens the
    /// volume first, that user gets it.
    pub is_open: bool,
    /// True if the user's local clients do not send its name, because an earlier release started
    /// them.
    pub is_unnamed: bool,
}

/// Relation of a named user to a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    Connected,
    /// The user was connected to the previous process, and the volume is reserved for it.
    Reserved,
    Expected,
}

/// Current user of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VolumeUser {
    User { name: String, presence: Presence },
    Clients,
}

/// Suffix of the user name that a client sends when it reconnects, if it must not continue when
/// another user may have had the volume meanwhile.
pub const RECONNECTS: &str = "/again";

/// Prefix of the user names of commands. They and [`SHARED_USER`] may have the suffix
/// [`RECONNECTS`]. Other users, such as guests, may have any name.
const COMMANDS: &str = "command/";

/// Returns whether a user is a command, which may open an incomplete volume.
pub fn is_command(user: &str) -> bool {
    user.starts_with(COMMANDS)
}

/// Returns the name of the user of a client, without [`RECONNECTS`].
pub(super) fn user_of(name: &str) -> &str {
    let user = name.strip_suffix(RECONNECTS);
    user.filter(|user| !waits_in_role(user)).unwrap_or(name)
}

fn reconnects(name: &str) -> bool {
    user_of(name) != name
}

/// Returns whether a role makes this user, such as a guest, wait until the user of the other node
/// has closed the volume. A command and [`SHARED_USER`] have no such role.
pub fn waits_in_role(user: &str) -> bool {
    user != SHARED_USER && !is_command(user)
}

/// Use of a volume on the other node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OtherNodeUse {
    #[default]
    Free,
    /// The other node has not reported its user yet, or its last user may reconnect.
    Unknown,
    Clients,
    Shared,
    User,
}

/// Refusal to open a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum OpenRefusal {
    /// Another user has, or may have had, the volume. Contains the message for the client.
    Used(String),
    /// The user of the other node is not known yet, so the client has to connect again.
    Unknown,
    Incomplete(OverwriteStatus),
}

/// Overwrite of a volume that has not been completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverwriteStatus {
    pub mark: OverwriteMark,
    pub is_running: bool,
}

impl OverwriteStatus {
    pub fn new(mark: Option<OverwriteMark>, holder: Option<&VolumeUser>) -> Option<Self> {
        Some(OverwriteStatus {
            mark: mark?,
            is_running: matches!(
                holder,
                Some(VolumeUser::User { name, .. }) if is_command(name)
            ),
        })
    }

    pub fn command_words(self) -> String {
        let command = self.mark.kind().map_or_else(
            || "a command of a newer version".to_owned(),
            |kind| format!("`{}`", kind.command()),
        );
        format!("{command} of {}", Stamp(self.mark.begun_seconds()))
    }

    pub fn status_words(self) -> String {
        let command = self.command_words();
        if self.is_running {
            format!("{command} overwrites it")
        } else {
            format!("{command} was interrupted")
        }
    }

    /// Returns the reason for refusing the volume with this name, and the remedy.
    pub fn refusal(self, volume: &str) -> String {
        let status = self.status_words();
        if self.is_running {
            return format!("{status}: wait until it has ended");
        }
        let guest = match self.mark.kind() {
            Some(OverwriteKind::GuestRestore) => ", or start the guest with `--yes`",
            _ => "",
        };
        format!(
            "{status}, so it has parts of the old and of the new content: run that command again; or `evenkeel volume \
             accept {volume} --yes`{guest}, to use it as it is"
        )
    }
}

pub fn overwrite_event(status: Option<OverwriteStatus>) -> String {
    status.map_or_else(
        || "it is complete".to_owned(),
        |status| format!("it is incomplete: {}", status.status_words()),
    )
}

/// Result of checking the first write of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WritePermission {
    Granted,
    Refused,
    Unknown,
}

impl fmt::Display for VolumeUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VolumeUser::User { name, .. } => f.write_str(&user_words(name)),
            VolumeUser::Clients => f.write_str("an NBD client"),
        }
    }
}

/// Returns the display form of a user name: `guest/mail` becomes `guest mail`.
pub fn user_words(user: &str) -> String {
    user.replacen('/', " ", 1)
}

/// User of a volume, shared by the role and the volume's thread. The role writes the grant: the
/// user that may open the volume next. The thread writes the holder: the user that has the volume
/// open. A connected user keeps the volume, whatever is granted.
#[derive(Debug, Default)]
pub struct Tenure {
    state: Mutex<(Option<Grant>, Option<VolumeUser>)>,
    reservation: Mutex<Option<Reservation>>,
    grants: AtomicU64,
}

impl Tenure {
    /// Sets the user that may open the volume next. A connected user keeps the volume.
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

    pub(super) fn reserved(&self, now: Instant) -> Option<(String, Instant)> {
        let reservation = lock(&self.reservation);
        let valid = reservation.as_ref().filter(|one| now < one.until);
        valid.map(|one| (one.user.clone(), one.until))
    }

    /// Ends the reservation: its user has lost the volume.
    pub fn forget_reservation(&self) {
        *lock(&self.reservation) = None;
        self.grants.fetch_add(1, Ordering::Release);
    }

    pub(super) fn redeem(&self, user: &str) {
        lock(&self.reservation).take_if(|one| one.user == user);
    }

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

    pub fn granted(&self) -> Option<Grant> {
        lock(&self.state).0.clone()
    }

    pub fn holder(&self) -> Option<VolumeUser> {
        lock(&self.state).1.clone()
    }

    pub(super) fn set_holder(&self, holder: Option<VolumeUser>) -> bool {
        let mut state = lock(&self.state);
        let has_changed = state.1 != holder;
        state.1 = holder;
        has_changed
    }

    pub fn forget_holder(&self) {
        lock(&self.state).1 = None;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ConnectionUser<'c> {
    Named(&'c str),
    /// Local client without a user name; true if it has written.
    Local(bool),
    /// Network client without a user name; true if it has written.
    Remote(bool),
}

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

/// Checks that a client without a user name may open the volume. If the volume has a named user,
/// the client is refused at its first write.
pub(super) fn may_open_unnamed(
    holder: Option<&VolumeUser>,
    overwrite: Option<OverwriteMark>,
) -> Result<(), OpenRefusal> {
    let overwrite = OverwriteStatus::new(overwrite, holder);
    overwrite.map_or(Ok(()), |status| Err(OpenRefusal::Incomplete(status)))
}

/// Checks that a user may open the volume. The error names the current user.
///
/// If a role manages the user, the role has already waited for the user of the other node. Only a
/// command may open an incomplete volume.
pub(super) fn may_open(
    user: &str,
    holder: Option<&VolumeUser>,
    elsewhere: OtherNodeUse,
    overwrite: Option<OverwriteMark>,
) -> Result<(), OpenRefusal> {
    let own = user_of(user);
    if !is_command(own) {
        may_open_unnamed(holder, overwrite)?;
    }
    let elsewhere = match elsewhere {
        OtherNodeUse::Shared if own == SHARED_USER => OtherNodeUse::Free,
        _ if waits_in_role(own) => OtherNodeUse::Free,
        elsewhere => elsewhere,
    };
    let used = |words: &str| Err(OpenRefusal::Used(words.to_owned()));
    match (holder, elsewhere) {
        (_, OtherNodeUse::Unknown) if reconnects(user) => Err(OpenRefusal::Unknown),
        (_, OtherNodeUse::Unknown) => used(
            "the other node may have a user of the volume: only one user at a time is possible",
        ),
        (_, OtherNodeUse::Clients | OtherNodeUse::Shared | OtherNodeUse::User) => {
            used("the other node has a user of the volume: only one user at a time is possible")
        }
        (Some(VolumeUser::User { name, .. }), OtherNodeUse::Free) if name == own => Ok(()),
        (None, OtherNodeUse::Free) if reconnects(user) => used(
            "the volume was free after the connection was lost, so another user may have written to it",
        ),
        (None, OtherNodeUse::Free) => Ok(()),
        (Some(other), OtherNodeUse::Free) => used(&format!(
            "{other} uses the volume: only one user at a time is possible"
        )),
    }
}

pub(super) fn may_write(
    tenant: ConnectionUser<'_>,
    holder: Option<&VolumeUser>,
    grant: Option<&Grant>,
    elsewhere: OtherNodeUse,
) -> WritePermission {
    match (tenant, holder) {
        // Grants a named client the write: it is connected only if its user has the volume.
        (ConnectionUser::Named(_), _) => WritePermission::Granted,
        // Grants writes beside clients of the other node: those without a name are one user at both
        // nodes.
        (_, None | Some(VolumeUser::Clients)) => match elsewhere {
            OtherNodeUse::Free | OtherNodeUse::Clients => WritePermission::Granted,
            OtherNodeUse::Unknown => WritePermission::Unknown,
            OtherNodeUse::Shared | OtherNodeUse::User => WritePermission::Refused,
        },
        (ConnectionUser::Local(_), Some(VolumeUser::User { name, .. }))
            if grant.is_some_and(|grant| grant.is_unnamed && grant.user == *name) =>
        {
            WritePermission::Granted
        }
        (_, Some(VolumeUser::User { .. })) => WritePermission::Refused,
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
        let words = "guest old uses the volume: only one user at a time is possible".to_owned();
        assert_eq!(
            may_open("guest/new", has.as_ref(), OtherNodeUse::Free, None),
            Err(OpenRefusal::Used(words))
        );
        // A second connection of the same user, as during a migration or a reconnect.
        assert_eq!(
            may_open("guest/old", has.as_ref(), OtherNodeUse::Free, None),
            Ok(())
        );
        let has = holder([].into_iter(), None, Some(&new));
        assert_eq!(
            may_open("guest/new", has.as_ref(), OtherNodeUse::Free, None),
            Ok(())
        );
        assert!(may_open("guest/old", has.as_ref(), OtherNodeUse::Free, None).is_err());
        assert_eq!(
            may_open("guest/old", None, OtherNodeUse::Free, None),
            Ok(())
        );
        // A command that reconnects continues only if nobody else can have had the volume.
        let command = [ConnectionUser::Named("command/7")];
        let has = holder([].into_iter(), Some("command/7"), None);
        assert_eq!(
            may_open("command/7/again", has.as_ref(), OtherNodeUse::Free, None),
            Ok(())
        );
        let has = holder(command.into_iter(), None, None);
        assert_eq!(
            may_open("command/7/again", has.as_ref(), OtherNodeUse::Free, None),
            Ok(())
        );
        assert!(may_open("command/8/again", has.as_ref(), OtherNodeUse::Free, None).is_err());
        assert!(may_open("command/7/again", None, OtherNodeUse::Free, None).is_err());
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
        assert!(may_open("boot/machines", has.as_ref(), OtherNodeUse::Free, None).is_err());
        assert_eq!(
            may_open("guest/mail", has.as_ref(), OtherNodeUse::Free, None),
            Ok(())
        );
        // Meanwhile clients without a name cannot write.
        let write = |user| may_write(user, has.as_ref(), None, OtherNodeUse::Free);
        assert_eq!(
            write(ConnectionUser::Remote(false)),
            WritePermission::Refused
        );
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
        assert_eq!(
            may_open("guest/new", has.as_ref(), OtherNodeUse::Free, None),
            Ok(())
        );
        for client in reader {
            let write = |has, elsewhere| may_write(client, has, Some(&new), elsewhere);
            let (free, refused) = (OtherNodeUse::Free, WritePermission::Refused);
            assert_eq!(write(has.as_ref(), free), refused, "{client:?}");
            assert_eq!(write(None, free), WritePermission::Granted, "{client:?}");
        }
        for writer in [ConnectionUser::Local(true), ConnectionUser::Remote(true)] {
            let has = holder([writer].into_iter(), None, Some(&new));
            assert_eq!(has, Some(VolumeUser::Clients));
            assert!(may_open("guest/new", has.as_ref(), OtherNodeUse::Free, None).is_err());
            // NBD clients may share a volume among themselves.
            let second = ConnectionUser::Remote(false);
            let written = may_write(second, has.as_ref(), Some(&new), OtherNodeUse::Free);
            assert_eq!(written, WritePermission::Granted);
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
        let write = |user| may_write(user, has.as_ref(), Some(&old), OtherNodeUse::User);
        assert_eq!(
            write(ConnectionUser::Local(false)),
            WritePermission::Granted
        );
        assert_eq!(
            write(ConnectionUser::Remote(false)),
            WritePermission::Refused
        );
        assert!(may_open("guest/new", has.as_ref(), OtherNodeUse::Free, None).is_err());
    }

    #[test]
    fn names_of_guests_may_end_like_those_of_reconnecting_commands() {
        assert_eq!(user_of("guest/again"), "guest/again");
        assert_eq!(
            may_open("guest/again", None, OtherNodeUse::Free, None),
            Ok(())
        );
        assert_eq!(user_of("command/7/again"), "command/7");
        assert_eq!(user_of("boot/machines/again"), SHARED_USER);
    }

    #[test]
    fn user_without_a_role_waits_for_the_user_of_the_other_node() {
        let boot = VolumeUser::User {
            name: SHARED_USER.to_owned(),
            presence: Presence::Reserved,
        };
        let used = |user, elsewhere| {
            matches!(
                may_open(user, None, elsewhere, None),
                Err(OpenRefusal::Used(_))
            )
        };
        for elsewhere in [
            OtherNodeUse::Clients,
            OtherNodeUse::User,
            OtherNodeUse::Unknown,
        ] {
            assert!(used("command/7", elsewhere), "{elsewhere:?}");
            assert!(used(SHARED_USER, elsewhere), "{elsewhere:?}");
            // The role of a guest waits for that user.
            assert_eq!(may_open("guest/a", None, elsewhere, None), Ok(()));
        }
        assert!(used("command/7", OtherNodeUse::Shared));
        assert_eq!(
            may_open(SHARED_USER, None, OtherNodeUse::Shared, None),
            Ok(())
        );
        // A machine that reconnects keeps what it has cached: nobody else may have written.
        let again = "boot/machines/again";
        assert_eq!(
            may_open(again, Some(&boot), OtherNodeUse::Shared, None),
            Ok(())
        );
        assert!(used(again, OtherNodeUse::Free));
        let unknown = may_open(again, Some(&boot), OtherNodeUse::Unknown, None);
        assert_eq!(unknown, Err(OpenRefusal::Unknown));
    }

    #[test]
    fn first_write_waits_until_the_user_of_the_other_node_is_known() {
        let write = |elsewhere| may_write(ConnectionUser::Remote(false), None, None, elsewhere);
        assert_eq!(write(OtherNodeUse::Unknown), WritePermission::Unknown);
        assert_eq!(write(OtherNodeUse::Clients), WritePermission::Granted);
        assert_eq!(write(OtherNodeUse::Shared), WritePermission::Refused);
        assert_eq!(write(OtherNodeUse::User), WritePermission::Refused);
    }

    #[test]
    fn machines_of_network_boot_wait_for_the_user_of_the_other_node() {
        let boot = VolumeUser::User {
            name: SHARED_USER.to_owned(),
            presence: Presence::Connected,
        };
        for holder in [None, Some(&boot)] {
            assert!(may_open(SHARED_USER, holder, OtherNodeUse::User, None).is_err());
            assert_eq!(
                may_open(SHARED_USER, holder, OtherNodeUse::Free, None),
                Ok(())
            );
        }
        assert_eq!(
            may_open("guest/mail", None, OtherNodeUse::User, None),
            Ok(())
        );
    }

    #[test]
    fn incomplete_volume_is_opened_only_by_commands() {
        let mark = OverwriteMark::new(OverwriteKind::GuestRestore, 1_796_043_600, 7);
        let command = VolumeUser::User {
            name: "command/alpha/7".to_owned(),
            presence: Presence::Connected,
        };
        let free = OtherNodeUse::Free;
        let refused = |user: &str, holder, is_running| {
            let status = OverwriteStatus { mark, is_running };
            assert_eq!(
                may_open(user, holder, free, Some(mark)),
                Err(OpenRefusal::Incomplete(status)),
                "{user}"
            );
            assert_eq!(
                may_open_unnamed(holder, Some(mark)),
                Err(OpenRefusal::Incomplete(status))
            );
        };
        for user in [
            "guest/mail",
            "guest/command/7",
            SHARED_USER,
            "boot/machines/again",
        ] {
            refused(user, None, false);
            refused(user, Some(&command), true);
        }
        assert_eq!(may_open("command/alpha/8", None, free, Some(mark)), Ok(()));
        // The command that overwrites it reconnects, and no second one opens the volume.
        let again = "command/alpha/7/again";
        assert_eq!(may_open(again, Some(&command), free, Some(mark)), Ok(()));
        let second = may_open("command/alpha/8", Some(&command), free, Some(mark));
        assert!(matches!(second, Err(OpenRefusal::Used(_))));
        assert_eq!(may_open_unnamed(None, None), Ok(()));
        let words = |is_running| OverwriteStatus { mark, is_running }.refusal("mail");
        assert_eq!(
            words(true),
            "`evenkeel guest restore` of 20261130T130000Z overwrites it: wait until it has ended"
        );
        assert_eq!(
            words(false),
            "`evenkeel guest restore` of 20261130T130000Z was interrupted, so it has parts of the old and of the new \
             content: run that command again; or `evenkeel volume accept mail --yes`, or start the guest with `--yes`, \
             to use it as it is"
        );
    }
}
