//! Tracks which sessions were shown which notice, so that each session is shown a notice once. A
//! notice expires when no farm has sent it for a minute: until then it is not shown again, even
//! while some nodes still send it and others no longer do.

use std::collections::BTreeSet;

/// Time for which a notice is valid after a farm sent it, milliseconds.
const HOLDS_MS: u64 = 60_000;
const NOTICES_MAX: usize = 8;
pub const NOTICE_BYTES_MAX: usize = 512;

#[derive(Debug)]
pub struct Notices<S> {
    all: Vec<Notice<S>>,
}

#[derive(Debug)]
struct Notice<S> {
    text: String,
    sent_ms: u64,
    shown: BTreeSet<S>,
}

impl<S> Default for Notices<S> {
    fn default() -> Notices<S> {
        Notices { all: Vec::new() }
    }
}

impl<S: Ord + Clone> Notices<S> {
    /// Handles a notice from a farm. Returns the sessions that have to be shown it now.
    pub fn sent(&mut self, text: &str, sessions: &BTreeSet<S>, now_ms: u64) -> Vec<S> {
        self.all
            .retain(|one| now_ms.saturating_sub(one.sent_ms) < HOLDS_MS);
        if !self.all.iter().any(|one| one.text == text) {
            if self.all.len() >= NOTICES_MAX {
                return Vec::new();
            }
            self.all.push(Notice {
                text: text.to_owned(),
                sent_ms: now_ms,
                shown: BTreeSet::new(),
            });
        }
        let Some(notice) = self.all.iter_mut().find(|one| one.text == text) else {
            return Vec::new();
        };
        notice.sent_ms = now_ms;
        // Forgets sessions that have ended, so that a later session with the same key is shown the
        // notice.
        notice.shown.retain(|one| sessions.contains(one));
        let new: Vec<S> = sessions.difference(&notice.shown).cloned().collect();
        notice.shown.extend(new.iter().cloned());
        new
    }
}

/// Returns the text of a notice in a farm's line. Returns None if the line is no notice.
pub fn of_line(line: &str) -> Option<String> {
    let text = line.trim().strip_prefix("notice ")?.trim();
    let good = text.chars().filter(|c| !c.is_control());
    let mut text: String = good.collect();
    text.truncate(language::truncated(&text, NOTICE_BYTES_MAX).len());
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_is_shown_a_notice_once() {
        let mut notices = Notices::default();
        let set = |all: &[u32]| all.iter().copied().collect::<BTreeSet<u32>>();
        assert_eq!(notices.sent("a", &set(&[1, 2]), 0), [1, 2]);
        assert_eq!(notices.sent("a", &set(&[1, 2]), 5_000), [0; 0]);
        assert_eq!(notices.sent("a", &set(&[2, 3]), 10_000), [3]);
        // Session 1 is a different session now.
        assert_eq!(notices.sent("a", &set(&[1, 2, 3]), 60_000), [1]);
        assert_eq!(notices.sent("b", &set(&[1, 2, 3]), 60_000), [1, 2, 3]);
        // The host was not drained for a while.
        assert_eq!(notices.sent("a", &set(&[1, 2]), 120_000), [1, 2]);
    }

    #[test]
    fn more_notices_than_farms_have_are_not_kept() {
        let mut notices = Notices::default();
        let one = BTreeSet::from([1]);
        for number in 0..NOTICES_MAX {
            assert_eq!(notices.sent(&number.to_string(), &one, 0), [1]);
        }
        assert_eq!(notices.sent("more", &one, 0), [0; 0]);
    }

    #[test]
    fn a_notice_is_a_line_of_text() {
        assert_eq!(
            of_line("notice  Save your work\r\n").as_deref(),
            Some("Save your work")
        );
        assert_eq!(of_line("notice a\u{1b}[2Jb").as_deref(), Some("a[2Jb"));
        for line in ["check", "notice", "notice  ", "", "noticed a"] {
            assert_eq!(of_line(line), None, "{line}");
        }
        let long = of_line(&format!("notice x{}", "ä".repeat(600))).unwrap();
        assert_eq!(long.len(), NOTICE_BYTES_MAX - 1);
    }
}
