//! Decides as which user and group a process runs: the proxy by its configuration and the user who
//! started it, other roles as users of their own. Changes from root to such a user.

use model::config::Global;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use part::voice::Form;
use rustix::thread::CapabilitySet;

/// User and group without any files: `nobody` and `nogroup` (or `nobody`) on every current Linux.
pub const NOBODY: u32 = 65_534;

/// Users for the unprivileged processes, looked up in `/etc/passwd`. If one does not exist, the
/// process runs as `nobody`, which it then shares with other processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceUser {
    Proxy,
    Checks,
    Console,
    Farm,
    Route,
}

impl ServiceUser {
    pub fn name(self) -> &'static str {
        match self {
            ServiceUser::Proxy => "evenkeel-proxy",
            ServiceUser::Checks => "evenkeel-checks",
            ServiceUser::Console => "evenkeel-console",
            ServiceUser::Farm => "evenkeel-farm",
            ServiceUser::Route => "evenkeel-route",
        }
    }

    /// Returns the IDs of the user and of its group, or those of `nobody` if the user does not
    /// exist.
    pub fn ids(self) -> (u32, u32) {
        // Reads `/etc/passwd` itself: such a user is local, and an LDAP server that does not
        // respond must not delay a start.
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        self.ids_in(&users).unwrap_or((NOBODY, NOBODY))
    }

    fn ids_in(self, users: &str) -> Option<(u32, u32)> {
        let mut lines = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>());
        let own = lines.find(|fields| fields.first() == Some(&self.name()))?;
        let id = |at: usize| own.get(at)?.parse::<u32>().ok();
        // Refuses the IDs of root, as which only dropped capabilities would confine the process.
        id(2).zip(id(3)).filter(|(uid, gid)| *uid != 0 && *gid != 0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdentityOrigin {
    File,
    Default,
    Start,
}

pub fn group_name(id: u32) -> Option<String> {
    let group = nix::unistd::Group::from_gid(id.into()).ok()??;
    Some(group.name)
}

/// Changes permanently from root to this user, with `member_of` as the only supplementary group.
/// Does nothing if the process does not run as root, or root cannot change its user.
///
/// # Errors
/// Returns the system's error.
pub fn become_user(user: ServiceUser, member_of: Option<u32>) -> nix::Result<()> {
    if StartedAs::now() != StartedAs::Root {
        return Ok(());
    }
    let (user, group) = user.ids();
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    // Never keeps root's group, whose members may have access to more.
    let kept = member_of.filter(|group| *group != 0).map(Gid::from_raw);
    setgroups(kept.as_slice())
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user))
}

/// Kind of user as which the process was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartedAs {
    Root,
    /// Root that cannot change its user, in a container without the necessary capabilities, or in a
    /// user namespace without other users.
    BoundRoot,
    User,
}

impl StartedAs {
    pub fn now() -> StartedAs {
        if !nix::unistd::Uid::effective().is_root() {
            return StartedAs::User;
        }
        let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
        let allowed =
            rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needed));
        let exists = |map| std::fs::read_to_string(map).is_ok_and(|map| has(&map, NOBODY));
        if allowed && exists("/proc/self/uid_map") && exists("/proc/self/gid_map") {
            StartedAs::Root
        } else {
            StartedAs::BoundRoot
        }
    }
}

/// Returns whether an ID map of a user namespace contains this ID. A line has the first ID inside,
/// the first ID outside, and a count.
fn has(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        id >= first && id - first < count
    })
}

/// User and group of a serving process, and where each comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessIdentity {
    /// User to change to; None keeps the current one.
    pub uid: Option<u32>,
    pub uid_origin: IdentityOrigin,
    /// Group to change to; None keeps the current one.
    pub gid: Option<u32>,
    pub gid_origin: IdentityOrigin,
    started_as: StartedAs,
}

impl ProcessIdentity {
    pub fn given(uid: Option<u32>, gid: Option<u32>) -> ProcessIdentity {
        ProcessIdentity {
            uid,
            uid_origin: IdentityOrigin::File,
            gid,
            gid_origin: IdentityOrigin::File,
            started_as: StartedAs::now(),
        }
    }

    pub fn stays_root(&self) -> bool {
        self.started_as != StartedAs::User && self.uid.is_none_or(|uid| uid == 0)
    }
}

/// Decides user and group of a proxy. Under our own name, root does not serve the network merely
/// because the configuration names no user: the process changes to a user of its own. A
/// configuration with `user root` is obeyed. Under HAProxy's name the configuration always decides.
pub fn identity_for(global: &Global, started_as: StartedAs, personality: Form) -> ProcessIdentity {
    let (user, group) = ServiceUser::Proxy.ids();
    decide(global, started_as, personality, user, group)
}

fn decide(
    global: &Global,
    started_as: StartedAs,
    personality: Form,
    user: u32,
    group: u32,
) -> ProcessIdentity {
    let by_default = started_as == StartedAs::Root && personality == Form::Own;
    let choose = |of_file: Option<u32>, default: u32| match of_file {
        Some(id) => (Some(id), IdentityOrigin::File),
        None if by_default => (Some(default), IdentityOrigin::Default),
        None => (None, IdentityOrigin::Start),
    };
    let (uid, uid_origin) = choose(global.uid, user);
    // A configuration with root as user implies root's group. Another configured user does not get
    // the default user's group.
    let (gid, gid_origin) = match (global.gid, uid_origin, uid) {
        (None, _, Some(0)) => (None, IdentityOrigin::Start),
        (gid, IdentityOrigin::File, _) => choose(gid, NOBODY),
        (gid, ..) => choose(gid, group),
    };
    ProcessIdentity {
        uid,
        uid_origin,
        gid,
        gid_origin,
        started_as,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(uid: Option<u32>, gid: Option<u32>) -> Global {
        Global {
            uid,
            gid,
            ..Default::default()
        }
    }

    #[test]
    fn root_serves_as_nobody_where_the_file_names_no_user() {
        let identity = decide(
            &global(None, None),
            StartedAs::Root,
            Form::Own,
            NOBODY,
            NOBODY,
        );
        assert_eq!((identity.uid, identity.gid), (Some(NOBODY), Some(NOBODY)));
        assert_eq!(identity.uid_origin, IdentityOrigin::Default);
        assert!(!identity.stays_root());
        let grouped = decide(
            &global(None, Some(7)),
            StartedAs::Root,
            Form::Own,
            NOBODY,
            NOBODY,
        );
        assert_eq!((grouped.uid, grouped.gid), (Some(NOBODY), Some(7)));
        let user = decide(
            &global(Some(7), None),
            StartedAs::Root,
            Form::Own,
            NOBODY,
            NOBODY,
        );
        assert_eq!((user.uid, user.gid), (Some(7), Some(NOBODY)));
    }

    #[test]
    fn root_serves_as_the_user_of_the_proxy_where_that_exists() {
        let identity = decide(&global(None, None), StartedAs::Root, Form::Own, 990, 991);
        assert_eq!((identity.uid, identity.gid), (Some(990), Some(991)));
        assert_eq!(identity.uid_origin, IdentityOrigin::Default);
        // A configured user does not get the group of another one.
        let user = decide(&global(Some(7), None), StartedAs::Root, Form::Own, 990, 991);
        assert_eq!((user.uid, user.gid), (Some(7), Some(NOBODY)));
        let haproxy = decide(
            &global(None, None),
            StartedAs::Root,
            Form::Haproxy,
            990,
            991,
        );
        assert_eq!((haproxy.uid, haproxy.gid), (None, None));
    }

    #[test]
    fn each_process_has_a_user_of_its_own_where_the_machine_has_it() {
        let users = "root:x:0:0::/root:/bin/sh\nevenkeel-proxy:x:990:991::/:/usr/sbin/nologin\n\
                     evenkeel-farm:x:0:0::/:/bin/sh\nevenkeel-route:x:17\nevenkeel-console:x:992:993\n";
        assert_eq!(ServiceUser::Proxy.ids_in(users), Some((990, 991)));
        assert_eq!(ServiceUser::Console.ids_in(users), Some((992, 993)));
        for refused in [ServiceUser::Farm, ServiceUser::Route, ServiceUser::Checks] {
            assert_eq!(refused.ids_in(users), None, "{refused:?}");
        }
    }

    #[test]
    fn under_the_name_haproxy_the_file_decides_the_user() {
        for (uid, gid) in [
            (None, None),
            (Some(7), None),
            (None, Some(7)),
            (Some(0), None),
        ] {
            let identity = identity_for(&global(uid, gid), StartedAs::Root, Form::Haproxy);
            assert_eq!((identity.uid, identity.gid), (uid, gid));
            assert_eq!(identity.stays_root(), uid.unwrap_or(0) == 0);
        }
    }

    #[test]
    fn a_file_that_asks_for_root_gets_it() {
        let identity = identity_for(&global(Some(0), None), StartedAs::Root, Form::Own);
        assert!(identity.stays_root());
        assert_eq!(identity.gid, None);
    }

    #[test]
    fn unprivileged_user_stays_unchanged() {
        let identity = identity_for(&global(None, None), StartedAs::User, Form::Own);
        assert_eq!((identity.uid, identity.gid), (None, None));
        assert!(!identity.stays_root());
    }

    #[test]
    fn root_without_other_users_stays_root() {
        let identity = identity_for(&global(None, None), StartedAs::BoundRoot, Form::Own);
        assert_eq!((identity.uid, identity.gid), (None, None));
        assert!(identity.stays_root());
    }

    #[test]
    fn uid_map_shows_the_users_of_a_namespace() {
        for (map, expected) in [
            ("         0          0 4294967295\n", true),
            ("         0       1000          1\n", false),
            ("0 1000 1\n1 100000 65536\n", true),
            ("0 100000 65534\n", false),
            ("0 x 65536\n", false),
            ("", false),
        ] {
            assert_eq!(has(map, NOBODY), expected, "{map}");
        }
    }
}
