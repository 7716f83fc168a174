//! Runs the steps by which snapshots of all disks of a guest are taken at one moment, in an
//! environment that executes each: pause the guest, take the snapshots, let it continue. If a step
//! fails, the snapshots taken so far are removed, and the guest continues.

use guest::message::{Stand, StandstillProgress, StandstillStatus};

/// Environment that executes the steps.
pub(super) trait SnapshotEnvironment {
    type Made;
    fn control_guest(&mut self, step: Stand) -> Result<StandstillStatus, String>;
    /// Waits until the next poll; returns false after the timeout.
    fn wait(&mut self) -> bool;
    fn take(&mut self, volume: &str) -> Result<Self::Made, String>;
    /// Checks that the local copy of the volume is still complete, so that its snapshot is
    /// consistent.
    fn is_complete(&mut self, volume: &str) -> Result<(), String>;
    fn remove(&mut self, made: Self::Made) -> Result<(), String>;
}

pub(super) fn take<W: SnapshotEnvironment>(
    world: &mut W,
    volumes: &[String],
) -> Result<(Vec<W::Made>, StandstillStatus), String> {
    let begun = world.control_guest(Stand::Begin).and_then(accepted);
    begun
        .and_then(|stood| until(world, stood, StandstillProgress::Stands))
        .inspect_err(|_| {
            // Ignores an error: if the message is lost, a pause ends by itself.
            let _ = world.control_guest(Stand::End);
        })?;
    let mut made = Vec::new();
    let taken = all(world, volumes, &mut made);
    // Lets the guest continue first, whatever the result is.
    let ended = world.control_guest(Stand::End).and_then(accepted);
    match taken.and(ended) {
        Err(words) => Err(undone(world, words, made)),
        // Returns the snapshots as complete, even if the end of the pause is not confirmed in time.
        Ok(ended) => {
            let over = until(world, ended.clone(), StandstillProgress::Over);
            Ok((made, over.unwrap_or(ended)))
        }
    }
}

fn accepted(stood: StandstillStatus) -> Result<StandstillStatus, String> {
    match stood.state {
        StandstillProgress::Refused => Err(stood.words),
        _ => Ok(stood),
    }
}

fn until<W: SnapshotEnvironment>(
    world: &mut W,
    mut stood: StandstillStatus,
    state: StandstillProgress,
) -> Result<StandstillStatus, String> {
    while stood.state != state {
        if !world.wait() {
            return Err("the guest role did not report the state of the guest in time".to_owned());
        }
        stood = world.control_guest(Stand::Look).and_then(accepted)?;
    }
    Ok(stood)
}

fn all<W: SnapshotEnvironment>(
    world: &mut W,
    volumes: &[String],
    made: &mut Vec<W::Made>,
) -> Result<(), String> {
    for volume in volumes {
        let one = world.take(volume);
        made.push(one.map_err(|words| format!("volume {volume}: {words}"))?);
    }
    for volume in volumes {
        let complete = world.is_complete(volume);
        complete.map_err(|words| format!("volume {volume}: {words}"))?;
    }
    Ok(())
}

fn undone<W: SnapshotEnvironment>(world: &mut W, words: String, made: Vec<W::Made>) -> String {
    let mut words = words;
    for one in made {
        if let Err(error) = world.remove(one) {
            words = format!("{words}. A snapshot that was already taken was not removed: {error}");
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Environment that logs all steps, and lets one of them fail.
    #[derive(Default)]
    struct Script {
        steps: Vec<String>,
        fails: Option<usize>,
        left: Vec<String>,
        is_late: bool,
        state: Option<StandstillProgress>,
    }

    impl Script {
        fn step(&mut self, words: String) -> Result<(), String> {
            let at = self.steps.len();
            self.steps.push(words.clone());
            if self.fails == Some(at) {
                Err(format!("{words} failed"))
            } else {
                Ok(())
            }
        }
    }

    impl SnapshotEnvironment for Script {
        type Made = String;

        fn control_guest(&mut self, step: Stand) -> Result<StandstillStatus, String> {
            let done = self.step(format!("{step:?}"));
            // The role executes the order, but its response may be lost.
            let state = match (step, self.state) {
                (Stand::Begin, _) => StandstillProgress::Begins,
                (Stand::Look, Some(StandstillProgress::Begins)) => StandstillProgress::Stands,
                (Stand::Look, Some(StandstillProgress::GoesOn)) => StandstillProgress::Over,
                (Stand::Look, state) => state.unwrap(),
                (Stand::End, Some(StandstillProgress::Stands)) => StandstillProgress::GoesOn,
                (Stand::End, _) => StandstillProgress::Refused,
            };
            self.state = Some(state);
            done.map(|()| StandstillStatus {
                state,
                words: "it ended before".to_owned(),
                is_down: false,
                not_frozen: None,
                stood_ms: 5,
                frozen_ms: 0,
            })
        }

        fn wait(&mut self) -> bool {
            !self.is_late
        }

        fn take(&mut self, volume: &str) -> Result<String, String> {
            self.step(format!("take {volume}"))?;
            self.left.push(volume.to_owned());
            Ok(volume.to_owned())
        }

        fn is_complete(&mut self, volume: &str) -> Result<(), String> {
            self.step(format!("look at {volume}"))
        }

        fn remove(&mut self, made: String) -> Result<(), String> {
            self.step(format!("remove {made}"))?;
            self.left.retain(|one| *one != made);
            Ok(())
        }
    }

    fn run(script: &mut Script) -> Result<(Vec<String>, StandstillStatus), String> {
        take(script, &["a".to_owned(), "b".to_owned()])
    }

    const ALL: [&str; 8] = [
        "Begin",
        "Look",
        "take a",
        "take b",
        "look at a",
        "look at b",
        "End",
        "Look",
    ];

    #[test]
    fn snapshots_are_taken_while_the_guest_stands_still() {
        let mut script = Script::default();
        let (made, stood) = run(&mut script).unwrap();
        assert_eq!(script.steps, ALL);
        assert_eq!((made.len(), stood.state), (2, StandstillProgress::Over));
    }

    #[test]
    fn a_failed_step_leaves_no_snapshot_and_continues_the_guest() {
        for (fails, failed) in ALL.iter().enumerate().take(7) {
            let mut script = Script {
                fails: Some(fails),
                ..Script::default()
            };
            let words = run(&mut script).unwrap_err();
            assert!(words.contains(&format!("{failed} failed")), "{words}");
            assert!(script.left.is_empty(), "{failed}: {:?}", script.left);
            let ends = script.steps.iter().filter(|step| *step == "End").count();
            assert_eq!(ends, 1, "{failed}: {:?}", script.steps);
        }
        // If the last step fails, nobody knows whether the guest continues, but the snapshots are
        // complete.
        let mut script = Script {
            fails: Some(7),
            ..Script::default()
        };
        let (made, stood) = run(&mut script).unwrap();
        assert_eq!((made.len(), stood.state), (2, StandstillProgress::GoesOn));
    }

    #[test]
    fn a_snapshot_that_cannot_be_removed_is_named() {
        let mut script = Script::default();
        let words = undone(&mut script, "no room".to_owned(), vec!["a".to_owned()]);
        assert_eq!(words, "no room");
        script.fails = Some(1);
        let words = undone(&mut script, "no room".to_owned(), vec!["a".to_owned()]);
        assert!(
            words.ends_with("was not removed: remove a failed"),
            "{words}"
        );
    }

    #[test]
    fn a_role_without_a_status_is_not_awaited() {
        let mut script = Script {
            is_late: true,
            ..Script::default()
        };
        let words = run(&mut script).unwrap_err();
        assert!(words.contains("in time"), "{words}");
        assert_eq!(script.steps, ["Begin", "End"]);
    }
}
