//! Collects the facts about the guest of an open display or terminal, which explain why a
//! connection has ended.

use crate::platform::Platform;
use crate::shared::OperatorAction;
use part::report::Grade;
use part::status::{GuestReport, ROLE, RoleReport};
use screen::standing::ScreenStatus;

pub fn of(platform: &Platform, action: &OperatorAction) -> ScreenStatus {
    let (OperatorAction::Offer { part, subject, .. }, Some(look)) = (
        action,
        platform.me().and_then(|member| member.look.as_deref()),
    ) else {
        return ScreenStatus::default();
    };
    let [kind, name] = subject;
    let find = |kind: &str, name: &str| {
        let mut reports = look.reports.iter();
        reports.find_map(|report| report.find(kind, name))
    };
    let guest = look.reports.iter().find(|report| report.part == *part);
    let guest = guest.and_then(|report| report.find(kind, name));
    let on = guest.map_or_else(String::new, |guest| GuestReport::of(guest).node);
    let process = find(ROLE, part).and_then(|role| RoleReport::of(role).process);
    let mut members = platform.members.iter();
    ScreenStatus {
        is_away: members.any(|one| one.name == on && one.state.grade == Grade::Bad),
        process: process.map_or_else(String::new, |process| process.to_string()),
        is_offered: action.offer(look).is_some(),
        on,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use part::report::Subject;
    use part::status::{GuestReport, RoleReport};
    use screen::standing::NOWHERE_MAX;
    use std::sync::Arc;

    /// Creates a platform with the guest mail on a node, with its process and whether its display
    /// can be opened.
    fn at(on: &str, process: u32, is_offered: bool) -> Platform {
        let mut platform = sample::platform();
        let member = &mut platform.members[0];
        let look = Arc::make_mut(member.look.as_mut().unwrap());
        for report in &mut look.reports {
            match report.part.as_str() {
                "guest" => {
                    let mut mail = Subject::new("guest", "mail").publish(&GuestReport {
                        node: on.to_owned(),
                        ..GuestReport::default()
                    });
                    if is_offered {
                        mail.offers = vec![sample::screen()];
                    }
                    report.subjects = vec![mail];
                }
                "supervisor" => {
                    report.subjects = vec![Subject::new(ROLE, "guest").publish(&RoleReport {
                        process: Some(process),
                        ..RoleReport::default()
                    })];
                }
                _ => {}
            }
        }
        platform
    }

    #[test]
    fn the_reason_of_an_ended_connection_is_reported() {
        let action = OperatorAction::Offer {
            part: "guest".to_owned(),
            subject: ["guest".to_owned(), "mail".to_owned()],
            word: "screen".to_owned(),
        };
        let standing = |platform: &Platform| of(platform, &action);
        let before = standing(&at("beta", 7, true));
        let why = |platform: &Platform| {
            let why = before.why_ended(&standing(platform), NOWHERE_MAX);
            why.unwrap_or_default()
        };
        assert_eq!(why(&at("beta", 7, true)), "");
        assert!(why(&at("beta", 8, true)).contains("upgraded or restarted"));
        assert!(why(&at("alpha", 7, true)).contains("moved to alpha"));
        assert!(why(&at("beta", 7, false)).contains("no longer runs"));
        let mut cut_off = at("beta", 7, true);
        let mut members = cut_off.members.iter_mut();
        let beta = members.find(|one| one.name == "beta").unwrap();
        beta.state.grade = Grade::Bad;
        assert!(why(&cut_off).contains("beta does not respond"));
    }
}
