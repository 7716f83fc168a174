//! Tests decisions of the follower without a repository.

use super::super::decide::{Branch, BranchHead, Decision, Signature, decide};
use super::*;

fn head(id: &str, follows_last: bool, signature: Option<Signature>) -> Branch {
    Branch::At(Box::new(BranchHead {
        revision: Revision {
            id: id.to_owned(),
            ..Revision::default()
        },
        follows_last,
        signature,
    }))
}

fn past(all: &[(&str, bool)]) -> Past {
    let mut told = ClusterView::default();
    for (revision, accepted) in all {
        told.decided(
            revision,
            if *accepted {
                ProposalResult::Accepted
            } else {
                ProposalResult::Bad {
                    words: "bad".to_owned(),
                }
            },
        );
    }
    told.past
}

fn refuses(decision: Decision) -> Trouble {
    match decision {
        Decision::Refuse(_, trouble) => trouble,
        other => panic!("{other:?}"),
    }
}

#[test]
fn accepted_revision_is_kept_despite_later_attempts() {
    let past = past(&[("a", true), ("b", true), ("c", false)]);
    assert_eq!(past.last(), Some("b"));
    assert_eq!(decide(&past, head("b", true, None)), Decision::Nothing);
    assert!(matches!(
        decide(&past, head("d", true, None)),
        Decision::Take(_)
    ));
}

#[test]
fn branch_reset_to_an_older_revision_counts_as_rewritten() {
    let past = past(&[("a", true), ("b", true)]);
    let last = "b".to_owned();
    let decision = decide(&past, head("a", false, None));
    assert_eq!(refuses(decision), Trouble::Rewritten { last });
}

#[test]
fn rewritten_branch_and_bad_signature_take_precedence() {
    let past = past(&[("a", true), ("b", false)]);
    let unsigned = || {
        Some(Signature::Missing {
            commit: "b".to_owned(),
        })
    };
    let decision = decide(&past, head("b", false, unsigned()));
    assert!(matches!(refuses(decision), Trouble::Rewritten { .. }));
    let decision = decide(&past, head("b", true, unsigned()));
    assert_eq!(
        refuses(decision),
        Trouble::Unsigned {
            commit: "b".to_owned()
        }
    );
    let decision = decide(&past, head("b", true, Some(Signature::Good)));
    assert!(matches!(refuses(decision), Trouble::Bad { .. }));
}

#[test]
fn every_problem_names_the_served_version_and_the_next_step() {
    let settings = followed(System::Git, Path::new("/srv/lb.git"));
    let words = "no such key".to_owned();
    let last = "0123456789abcdef".to_owned();
    let name = "haproxy.cfg".to_owned();
    let all = [
        Trouble::Unreachable {
            words: words.clone(),
        },
        Trouble::Slow { limit_s: 60 },
        Trouble::TooLarge { bytes_max: 5 },
        Trouble::SaysTooMuch {
            program: "git".to_owned(),
            bytes_max: 7,
        },
        Trouble::BranchGone,
        Trouble::Rewritten { last },
        Trouble::Unsigned {
            commit: "b".to_owned(),
        },
        Trouble::TooManyUnseen { commits_max: 10 },
        Trouble::WronglySigned {
            commit: "b".to_owned(),
            words: words.clone(),
        },
        Trouble::NoKeys {
            words: words.clone(),
        },
        Trouble::NoFile { name },
        Trouble::Bad { words },
    ];
    let told: Vec<String> = all
        .iter()
        .map(|trouble| trouble.operator_message(&settings, Some("fedcba9876543210")))
        .collect();
    for words in &told {
        assert!(words.contains("/srv/lb.git") && words.contains("the served version stays"));
    }
    insta::assert_snapshot!(told.join("\n"));
}
