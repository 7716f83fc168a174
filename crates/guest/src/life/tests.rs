//! Processes of QEMU that somebody else stops or continues.

use super::*;

/// A guest that runs.
fn running() -> Life {
    let mut life = Life::default();
    for input in [Input::Found, Input::Says(Status::Running)] {
        life.see(input, 0);
    }
    life
}

#[test]
fn process_that_somebody_stopped_is_continued_where_the_guest_may_run() {
    for wish in [
        Wish::Run,
        Wish::Hold,
        Wish::Stand,
        Wish::ShutDown { within_ms: 9 },
    ] {
        let mut life = running();
        life.see(Input::IsHalted(true), 1_000);
        assert_eq!(life.shown(1_000), Shown::Paused(Still::Stopped), "{wish:?}");
        assert!(!life.may_run() && !life.runs());
        assert_eq!(life.next(wish, 1_000), Some(Order::Resume), "{wish:?}");
        assert_eq!(life.shown(1_000), Shown::Running);
    }
    // The process is continued by the same foreign program that stopped it.
    let mut life = running();
    life.see(Input::IsHalted(true), 1_000);
    life.see(Input::IsHalted(false), 3_000);
    assert_eq!(life.next(Wish::Hold, 3_000), None);
    assert!(life.runs());
}

#[test]
fn stopped_process_stays_so_without_the_lease_and_is_stopped_again() {
    let mut life = running();
    life.see(Input::IsHalted(true), 1_000);
    assert_eq!(life.next(Wish::Freeze, 1_000), None);
    assert_eq!(life.shown(1_000), Shown::Paused(Still::Wished));
    // That it was stopped for want of the lease outlives a wish to leave it as it is.
    assert_eq!(life.next(Wish::Hold, 1_000), None);
    life.see(Input::IsHalted(false), 3_000);
    assert!(life.may_run());
    assert_eq!(life.next(Wish::Freeze, 3_000), Some(Order::Pause));
    assert_eq!(
        life.next(Wish::Freeze, 3_000 + HALT_AFTER_MS),
        Some(Order::Halt)
    );
    life.see(Input::Obeyed(Order::Halt), 3_400);
    // QEMU has not confirmed the pause: it is stopped again at once.
    life.see(Input::IsHalted(false), 5_000);
    assert_eq!(life.next(Wish::Freeze, 5_000), Some(Order::Halt));
}
