//! Problems of a reachable member: its disk, or the expiry of this member's
//! certificate, which is near only if renewal failed for months.

use super::{ClusterStatus, MemberStatus};
use part::report::{Grade, Subject};

impl ClusterStatus {
    /// Returns a member that is reached, with what is wrong with it besides its connections.
    pub(super) fn reached_member(&self, member: &MemberStatus, state: &str) -> Subject {
        let subject = Subject::new("member", &member.name);
        let certificate = self.certificate_words().filter(|_| member.id == self.me);
        let (what, why) = match (member.disk_words(), certificate) {
            (Some(why), _) => ("its disk fails", why),
            (None, Some(why)) => ("its certificate ends", why),
            (None, None) => return subject.state(state, Grade::Good),
        };
        Subject {
            why,
            ..subject.state(&format!("{state}, {what}"), Grade::Bad)
        }
    }

    /// Returns what the end of this member's certificate means, and what to do; `None` while it is not
    /// near.
    pub(super) fn certificate_words(&self) -> Option<String> {
        let me = self.name_of(self.me);
        let when = match self.authority.own_ends_days? {
            0 => "has ended by the clock of this machine".to_owned(),
            1 => "ends within a day".to_owned(),
            days => format!("ends in {days} days"),
        };
        Some(format!(
            "the certificate of {me} {when} and was not renewed. The other members accept it all the same, as long as \
             they know its key, also on connections that exist. It is renewed as soon as {me} reaches a node that has \
             the key of the CA: check the clock, the connections, and the recent events"
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::member::MemberId;
    use crate::role::status::{AuthorityStatus, ClusterStatus, MemberStatus, Reach};
    use part::report::Grade;

    fn status(own_ends_days: Option<u64>) -> ClusterStatus {
        let member = MemberStatus {
            id: MemberId(1),
            name: "tie".to_owned(),
            reach: Reach::Itself,
            votes: true,
            ..MemberStatus::default()
        };
        let mut status = ClusterStatus {
            me: MemberId(1),
            members: vec![member],
            authority: AuthorityStatus {
                own_ends_days,
                ..AuthorityStatus::default()
            },
            ..ClusterStatus::default()
        };
        status.put_into_words();
        status
    }

    #[test]
    fn certificate_that_ends_soon_is_a_note_and_a_problem() {
        for (days, words) in [
            (40, "the certificate of tie ends in 40 days"),
            (0, "the certificate of tie has ended by the clock"),
        ] {
            let status = status(Some(days));
            let is_told = status.notes.iter().any(|note| note.starts_with(words));
            assert!(is_told, "{:?}", status.notes);
            let report = status.report();
            let member = report.of_kind("member").next().unwrap().clone();
            assert_eq!(member.state.grade, Grade::Bad, "{member:?}");
            assert!(member.why.starts_with(words), "{member:?}");
        }
        let status = status(None);
        assert!(!status.notes.iter().any(|note| note.contains("certificate")));
        let report = status.report();
        assert_eq!(
            report.of_kind("member").next().unwrap().state.grade,
            Grade::Good
        );
    }
}
