//! What of coming in is the console's alone: roles, tokens of programs, and links that sign in once. Values,
//! without I/O; the rest is in the crate `access`.

pub mod link;
pub mod token;

use crate::config::Config;
use crate::user::{Role, Viewer};
use ::access::session::Sessions;

/// The cookie of a session. Its prefix binds it to this host, to its root and to TLS.
pub const COOKIE: &str = "__Host-evenkeel";
/// The cookie of a browser in which somebody has signed in.
pub const DEVICE_COOKIE: &str = "__Host-evenkeel-device";
/// Who comes by a link: the administrator of the machine, who is in no list.
pub const BY_LINK: &str = "administrator";

/// Who has this token of a session now, and what they may do. None: nobody any more.
pub fn viewer(sessions: &Sessions, config: &Config, token: &str, now: u64) -> Option<Viewer> {
    let visitor = sessions.visitor(config, token, now)?;
    let role = match visitor.unlisted {
        true => Role::Admin,
        false => config.user(&visitor.name)?.role,
    };
    Some(Viewer {
        name: visitor.name,
        token: None,
        role,
        csrf: visitor.csrf,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SecondFactor, User};
    use configuration::{Account, Password};

    #[test]
    fn a_viewer_has_the_role_of_the_list_and_an_administrator_by_link_is_in_none() {
        let user = User {
            account: Account {
                name: "anna".to_owned(),
                groups: Vec::new(),
                password: Password::Clear("one".into()),
            },
            role: Role::Operator,
            second_factor: SecondFactor::None,
        };
        let config = Config {
            users: vec![user],
            ..Config::default()
        };
        let sessions = Sessions::new(None).unwrap();
        let role = |config: &Config, token: &str| {
            let viewer = viewer(&sessions, config, token, 101);
            viewer.map(|viewer| (viewer.name, viewer.role))
        };
        let anna = sessions.begin(&config, "anna", 100).unwrap();
        let expected = Some(("anna".to_owned(), Role::Operator));
        assert_eq!(role(&config, &anna), expected);
        assert_eq!(role(&Config::default(), &anna), None);
        let by_link = sessions.begin_unlisted(BY_LINK, 100).unwrap();
        let expected = Some((BY_LINK.to_owned(), Role::Admin));
        assert_eq!(role(&Config::default(), &by_link), expected);
    }
}
