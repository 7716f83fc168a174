//! Describes the problems of a reachable member besides its connections: its disk, its supervisor,
//! and for this member missing files or a certificate that ends soon because its renewal fails.

use super::{ClusterStatus, MemberStatus, list};
use part::report::{Grade, Subject, span};
use part::status::MemberFault;

impl MemberStatus {
    /// Describes the effect of a missing supervisor on a reachable member; `None` if a supervisor
    /// runs.
    pub(super) fn supervisor_words(&self) -> Option<String> {
        let name = &self.name;
        (self.reach.is_there() && self.supervisor_gone_ms > 0).then(|| {
            format!(
                "the supervisor of {name} ended {} ago: its roles continue to serve and keep the addresses \
                 with leases, but {name} \
                 counts as away for changes, and no role that fails is restarted. Start `evenkeel run` there",
                span(self.supervisor_gone_ms)
            )
        })
    }
}

impl ClusterStatus {
    /// Returns the status subject of a reachable member, with its worst fault besides its
    /// connections.
    pub(super) fn reached_member(&self, member: &MemberStatus, state: &str) -> Subject {
        let subject = Subject::new("member", &member.name);
        let Some((fault, why)) = self.fault_of(member) else {
            return subject.state(state, Grade::Good);
        };
        let what = match fault {
            MemberFault::Disk => "its disk fails",
            MemberFault::Supervisor => "without a supervisor",
            MemberFault::Files => "its files are missing",
            MemberFault::Certificate => "its certificate ends",
            MemberFault::None | MemberFault::Unknown => "it fails",
        };
        Subject {
            why,
            ..subject.state(&format!("{state}, {what}"), Grade::Bad)
        }
    }

    /// Returns the worst fault of a reachable member besides its connections, and what to do;
    /// `None` if there is no fault or the member is away.
    pub(super) fn fault_of(&self, member: &MemberStatus) -> Option<(MemberFault, String)> {
        if !member.reach.is_there() {
            return None;
        }
        if let Some(why) = member.disk_words() {
            return Some((MemberFault::Disk, why));
        }
        if let Some(why) = member.supervisor_words() {
            return Some((MemberFault::Supervisor, why));
        }
        if member.id != self.me {
            return None;
        }
        if let Some(why) = self.missing_files_words() {
            return Some((MemberFault::Files, why));
        }
        let why = self.certificate_words()?;
        Some((MemberFault::Certificate, why))
    }

    /// Describes the effect of missing files of this member, and what to do; `None` if no file is
    /// missing.
    pub(super) fn missing_files_words(&self) -> Option<String> {
        if self.missing_files.is_empty() {
            return None;
        }
        let me = self.name_of(self.me);
        let files = list(self.missing_files.iter().map(String::as_str));
        Some(format!(
            "{files} missing in {}: {me} continues with what it has in memory, and writes `member`, `member.key`, \
             `member.pem` and `authority.pem` again when it can (recent events name the reason if it cannot). Without `member.key` it \
             cannot start again: then run `evenkeel cluster remove {me}` and `evenkeel cluster invite` on another \
             member, and here delete the state directory and run `evenkeel cluster join TOKEN`",
            self.directory
        ))
    }

    /// Describes the near end of this member's certificate, and what to do; `None` if the end is
    /// not near.
    pub(super) fn certificate_words(&self) -> Option<String> {
        let me = self.name_of(self.me);
        let when = match self.authority.own_ends_days? {
            0 => "has ended by the clock of this machine".to_owned(),
            1 => "ends within a day".to_owned(),
            days => format!("ends in {days} days"),
        };
        Some(format!(
            "the certificate of {me} {when} and was not renewed. The other members still accept it while \
             they know its key, also on existing connections. It is renewed as soon as {me} reaches a node \
             that has \
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
    fn missing_files_are_a_note_and_a_problem() {
        let mut status = ClusterStatus {
            missing_files: vec!["member.key".to_owned(), "authority.pem".to_owned()],
            directory: "/state".to_owned(),
            ..status(None)
        };
        status.put_into_words();
        let words = "member.key and authority.pem missing in /state: tie continues";
        assert!(status.notes.iter().any(|note| note.starts_with(words)));
        let report = status.report();
        let member = report.of_kind("member").next().unwrap();
        assert_eq!(member.state.grade, Grade::Bad, "{member:?}");
        assert!(member.why.starts_with(words), "{member:?}");
    }

    #[test]
    fn member_without_a_supervisor_is_a_note_and_a_problem() {
        let mut status = status(None);
        status.members[0].supervisor_gone_ms = 7_000;
        status.put_into_words();
        let words = "the supervisor of tie ended 7 s ago";
        assert!(status.notes.iter().any(|note| note.starts_with(words)));
        let report = status.report();
        let member = report.of_kind("member").next().unwrap();
        assert_eq!(member.state.grade, Grade::Bad, "{member:?}");
    }

    #[test]
    fn member_that_cannot_start_names_the_reason() {
        let mut status = ClusterStatus {
            cannot_start: Some("/state/lock: read-only file system".to_owned()),
            ..status(None)
        };
        status.put_into_words();
        let words = "tie cannot take part in its cluster: /state/lock: read-only file system. It serves nothing";
        assert!(status.frozen[0].starts_with(words), "{:?}", status.frozen);
        assert!(status.text().contains(words));
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
