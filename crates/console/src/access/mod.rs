//! Implements the authentication that only the console has: roles, API tokens, and links that sign
//! in once. Does no I/O; everything else is in the crate `access`.

pub mod link;
pub mod token;

use crate::config::Config;
use crate::user::{UserRole, Viewer};
use ::access::session::Sessions;
use part::role::Admission;

/// Name of the session cookie. The prefix `__Host-` binds it to this host, to the path `/` and to
/// TLS.
pub const COOKIE: &str = "__Host-evenkeel";
pub const DEVICE_COOKIE: &str = "__Host-evenkeel-device";
/// User name of a session that was started by a link: the administrator of the machine, who is in
/// no list of users.
pub const BY_LINK: &str = "administrator";

/// Returns the user of a session token, with the user's current role. None if the session has
/// ended, or if this node does not admit the user: while no majority has confirmed the
/// configuration version, only the administrator of the machine is admitted.
pub fn viewer(
    sessions: &Sessions,
    config: &Config,
    token: &str,
    admission: Admission,
    now: u64,
) -> Option<Viewer> {
    let visitor = sessions.visitor(config, token, now)?;
    let is_admitted = match admission {
        Admission::Admitted => true,
        Admission::Unconfirmed | Admission::Outdated => visitor.unlisted,
        Admission::Removed => false,
    };
    if !is_admitted {
        return None;
    }
    let role = if visitor.unlisted {
        UserRole::Admin
    } else {
        config.user(&visitor.name)?.role
    };
    Some(Viewer {
        name: visitor.name,
        token: None,
        role,
        csrf: visitor.csrf,
    })
}

/// Explains why no listed user may sign in. None if they may.
pub fn why_closed(admission: Admission) -> Option<String> {
    let why = admission.why();
    match admission {
        Admission::Admitted => None,
        Admission::Removed => Some(format!(
            "Nobody can sign in here: {why}. Use the console of another node; on this machine `evenkeel cluster status` \
             says more."
        )),
        Admission::Unconfirmed | Admission::Outdated => Some(format!(
            "Nobody can sign in here now: {why}, so its users and passwords may be outdated. Use the \
             console of another node. `evenkeel console link` prints a link that signs in an administrator \
             of this machine."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConsoleUser, SecondFactor};
    use configuration::{Account, Password};

    #[test]
    fn a_viewer_has_the_role_of_the_list_and_an_administrator_by_link_is_in_none() {
        let user = ConsoleUser {
            account: Account {
                name: "anna".to_owned(),
                groups: Vec::new(),
                password: Password::Clear("one".into()),
            },
            role: UserRole::Operator,
            second_factor: SecondFactor::None,
        };
        let config = Config {
            users: vec![user],
            ..Config::default()
        };
        let sessions = Sessions::new(None).unwrap();
        let role = |config: &Config, token: &str| {
            let viewer = viewer(&sessions, config, token, Admission::Admitted, 101);
            viewer.map(|viewer| (viewer.name, viewer.role))
        };
        let anna = sessions.begin(&config, "anna", 100).unwrap();
        let expected = Some(("anna".to_owned(), UserRole::Operator));
        assert_eq!(role(&config, &anna), expected);
        assert_eq!(role(&Config::default(), &anna), None);
        let by_link = sessions.begin_unlisted(BY_LINK, 100).unwrap();
        let expected = Some((BY_LINK.to_owned(), UserRole::Admin));
        assert_eq!(role(&Config::default(), &by_link), expected);
        let enters = |token: &str, admission| viewer(&sessions, &config, token, admission, 101);
        for admission in [Admission::Unconfirmed, Admission::Outdated] {
            assert_eq!(enters(&anna, admission), None);
            assert!(enters(&by_link, admission).is_some());
        }
        for token in [&anna, &by_link] {
            assert_eq!(enters(token, Admission::Removed), None);
        }
    }
}
