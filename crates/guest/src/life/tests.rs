//! Processes of QEMU that somebody else stops or continues.

use super::*;

fn running() -> Life {
    let mut life = Life::default();
    for input in [Input::Found, Input::Says(QemuStatus::Running)] {
        life.apply_input(input, 0);
    }
    life
}

#[test]
fn process_that_somebody_stopped_is_continued_where_the_guest_may_run() {
    for wish in [
        DesiredState::Run,
        DesiredState::Hold,
        DesiredState::Stand,
        DesiredState::ShutDown { within_ms: 9 },
    ] {
        let mut life = running();
        life.apply_input(Input::IsHalted(true), 1_000);
        assert_eq!(
            life.shown(1_000),
            GuestStatus::Paused(PauseReason::Stopped),
            "{wish:?}"
        );
        assert!(!life.may_run() && !life.runs());
        assert_eq!(life.next(wish, 1_000), Some(QemuOrder::Resume), "{wish:?}");
        assert_eq!(life.shown(1_000), GuestStatus::Running);
    }
    // The process is continued by the same foreign program that stopped it.
    let mut life = running();
    life.apply_input(Input::IsHalted(true), 1_000);
    life.apply_input(Input::IsHalted(false), 3_000);
    assert_eq!(life.next(DesiredState::Hold, 3_000), None);
    assert!(life.runs());
}

#[test]
fn stopped_process_stays_so_without_the_lease_and_is_stopped_again() {
    let mut life = running();
    life.apply_input(Input::IsHalted(true), 1_000);
    assert_eq!(life.next(DesiredState::Freeze, 1_000), None);
    assert_eq!(life.shown(1_000), GuestStatus::Paused(PauseReason::Wished));
    // That it was stopped for want of the lease outlives a wish to leave it as it is.
    assert_eq!(life.next(DesiredState::Hold, 1_000), None);
    life.apply_input(Input::IsHalted(false), 3_000);
    assert!(life.may_run());
    assert_eq!(
        life.next(DesiredState::Freeze, 3_000),
        Some(QemuOrder::Pause)
    );
    assert_eq!(
        life.next(DesiredState::Freeze, 3_000 + HALT_AFTER_MS),
        Some(QemuOrder::Halt)
    );
    life.apply_input(Input::Obeyed(QemuOrder::Halt), 3_400);
    // QEMU has not confirmed the pause: it is stopped again at once.
    life.apply_input(Input::IsHalted(false), 5_000);
    assert_eq!(
        life.next(DesiredState::Freeze, 5_000),
        Some(QemuOrder::Halt)
    );
}
