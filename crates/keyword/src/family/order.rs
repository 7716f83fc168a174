//! Detects rules that do not run in the order of their lines, for a warning that HAProxy gives as
//! well. The rules of a proxy run family by family, so a line after one of a later family misleads
//! its reader.

/// Rule families in the order in which they run. A keyword of several words belongs to the family
/// with which it begins.
const FAMILIES: &[&str] = &[
    "tcp-request connection",
    "tcp-request session",
    "tcp-request content",
    "monitor fail",
    "block",
    "http-request",
    "redirect",
    "use_backend",
    "use-server",
];

/// Set of families of which the current section has lines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RuleOrder {
    seen: u16,
}

impl RuleOrder {
    /// Records a line. Returns its family, and the first family that runs later but has an earlier
    /// line.
    pub(crate) fn line(&mut self, keyword: &str) -> Option<(&'static str, &'static str)> {
        let of = |family: &&str| {
            keyword
                .strip_prefix(*family)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let rank = FAMILIES.iter().position(of)?;
        let later = (rank + 1..FAMILIES.len()).find(|other| self.seen & (1 << other) != 0);
        self.seen |= 1 << rank;
        later.map(|later| (FAMILIES[rank], FAMILIES[later]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_behind_one_of_a_later_family_is_told_with_the_nearest_of_these() {
        let mut order = RuleOrder::default();
        let lines = [
            ("redirect", None),
            ("monitor fail", Some(("monitor fail", "redirect"))),
            ("http-request deny", Some(("http-request", "redirect"))),
            (
                "tcp-request content accept",
                Some(("tcp-request content", "monitor fail")),
            ),
            ("tcp-request inspect-delay", None),
            ("redirect", None),
            ("use_backend", None),
            ("acl", None),
        ];
        for (line, expected) in lines {
            assert_eq!(order.line(line), expected, "{line}");
        }
    }
}
