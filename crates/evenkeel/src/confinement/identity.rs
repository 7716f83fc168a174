//! As whom the process serves that speaks with the network.

use crate::voice::Form;
use proxy::config::Global;

/// The user and the group that own nothing: `nobody` and `nogroup` (or
/// `nobody`) on every Linux of today.
pub const NOBODY: u32 = 65_534;

/// Where a user or group comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// `user`, `uid`, `group` or `gid` of the file.
    File,
    /// The file names none, and the network is not served as root.
    Default,
    /// Of the start; nothing is changed.
    Start,
}

/// As whom a process serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The user to become; None changes nothing.
    pub uid: Option<u32>,
    /// Why this user.
    pub uid_origin: Origin,
    /// The group to become; None changes nothing.
    pub gid: Option<u32>,
    /// Why this group.
    pub gid_origin: Origin,
    started_as_root: bool,
}

impl Identity {
    /// What somebody else decided, for the process that is given it.
    pub fn given(uid: Option<u32>, gid: Option<u32>) -> Identity {
        Identity {
            uid,
            uid_origin: Origin::File,
            gid,
            gid_origin: Origin::File,
            started_as_root: nix::unistd::Uid::effective().is_root(),
        }
    }

    /// The user is root also when it serves.
    pub fn stays_root(&self) -> bool {
        self.started_as_root && self.uid.is_none_or(|uid| uid == 0)
    }
}

/// Decides it. Under our own name root does not serve the network because a
/// file says nothing: that becomes `nobody`; a file that says `user root` is
/// obeyed. Under HAProxy's name the file's word stands, whatever it is.
pub fn identity_for(global: &Global, started_as_root: bool, personality: Form) -> Identity {
    let by_default = started_as_root && personality == Form::Own;
    let choose = |of_file: Option<u32>| match of_file {
        Some(id) => (Some(id), Origin::File),
        None if by_default => (Some(NOBODY), Origin::Default),
        None => (None, Origin::Start),
    };
    let (uid, uid_origin) = choose(global.uid);
    // Who asks for root has its group with it.
    let (gid, gid_origin) = match (global.gid, uid) {
        (None, Some(0)) => (None, Origin::Start),
        (gid, _) => choose(gid),
    };
    Identity {
        uid,
        uid_origin,
        gid,
        gid_origin,
        started_as_root,
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
        let identity = identity_for(&global(None, None), true, Form::Own);
        assert_eq!((identity.uid, identity.gid), (Some(NOBODY), Some(NOBODY)));
        assert_eq!(identity.uid_origin, Origin::Default);
        assert!(!identity.stays_root());
        let grouped = identity_for(&global(None, Some(7)), true, Form::Own);
        assert_eq!((grouped.uid, grouped.gid), (Some(NOBODY), Some(7)));
        let user = identity_for(&global(Some(7), None), true, Form::Own);
        assert_eq!((user.uid, user.gid), (Some(7), Some(NOBODY)));
    }

    #[test]
    fn under_the_name_of_haproxy_the_word_of_the_file_stands() {
        for (uid, gid) in [
            (None, None),
            (Some(7), None),
            (None, Some(7)),
            (Some(0), None),
        ] {
            let identity = identity_for(&global(uid, gid), true, Form::Haproxy);
            assert_eq!((identity.uid, identity.gid), (uid, gid));
            assert_eq!(identity.stays_root(), uid.unwrap_or(0) == 0);
        }
    }

    #[test]
    fn a_file_that_asks_for_root_gets_it() {
        let identity = identity_for(&global(Some(0), None), true, Form::Own);
        assert!(identity.stays_root());
        assert_eq!(identity.gid, None);
    }

    #[test]
    fn another_user_than_root_stays_who_it_is() {
        let identity = identity_for(&global(None, None), false, Form::Own);
        assert_eq!((identity.uid, identity.gid), (None, None));
        assert!(!identity.stays_root());
    }
}
