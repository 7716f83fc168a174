//! Tests QEMU processes that a foreign process stops or continues.

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
    // The process is continued by the same foreign process that stopped it.
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
    // `Hold` does not change the reason of the stop: the missing lease.
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

#[test]
fn guest_paused_during_its_shutdown_is_continued() {
    let shut_down = DesiredState::ShutDown { within_ms: 40_000 };
    let mut life = running();
    let pause = life.next(DesiredState::Freeze, 0);
    assert_eq!(pause, Some(QemuOrder::Pause));
    // The lease is confirmed before QEMU has paused.
    assert_eq!(life.next(shut_down, 10), Some(QemuOrder::PowerDown));
    life.apply_input(Input::Obeyed(QemuOrder::Pause), 20);
    life.apply_input(Input::Says(QemuStatus::Paused), 20);
    assert_eq!(life.next(shut_down, 20), Some(QemuOrder::Continue));
    assert_eq!(life.next(shut_down, 20), None);
    life.apply_input(Input::Obeyed(QemuOrder::Continue), 30);
    // QEMU was continued and paused again before it reported a state.
    assert_eq!(life.deadline(shut_down), Some(20 + PAUSE_MAX_MS));
    let again = life.next(shut_down, 20 + PAUSE_MAX_MS);
    assert_eq!(again, Some(QemuOrder::Continue));
    life.apply_input(Input::Obeyed(QemuOrder::Continue), 600);
    life.apply_input(Input::Says(QemuStatus::Running), 600);
    assert_eq!(life.next(shut_down, 600), None);
    let shown = GuestStatus::ShuttingDown(10 + 40_000);
    assert_eq!(life.shown(600), shown);
    // Without the lease it stays paused.
    life.apply_input(Input::Says(QemuStatus::Paused), 700);
    assert_eq!(life.next(DesiredState::Freeze, 700), None);
    assert_eq!(life.next(DesiredState::Hold, 700), None);
}

#[test]
fn time_limit_of_a_shutdown_stands_still_without_the_lease() {
    let shut_down = DesiredState::ShutDown { within_ms: 40_000 };
    let mut life = running();
    assert_eq!(life.next(shut_down, 0), Some(QemuOrder::PowerDown));
    assert_eq!(
        life.next(DesiredState::Freeze, 1_000),
        Some(QemuOrder::Pause)
    );
    life.apply_input(Input::Obeyed(QemuOrder::Pause), 1_000);
    life.apply_input(Input::Says(QemuStatus::Paused), 1_000);
    for now in [1_000, 60_000, 100_000] {
        for wish in [DesiredState::Freeze, DesiredState::Hold] {
            assert_eq!(life.next(wish, now), None);
            assert_eq!(life.deadline(wish), None);
            let shown = GuestStatus::Paused(PauseReason::Wished);
            assert_eq!(life.shown(now), shown);
        }
    }
    // The guest runs again, and has the rest of its time to shut down.
    assert_eq!(life.next(shut_down, 101_000), Some(QemuOrder::Continue));
    life.apply_input(Input::Obeyed(QemuOrder::Continue), 101_000);
    life.apply_input(Input::Says(QemuStatus::Running), 101_000);
    assert_eq!(life.next(shut_down, 101_000), Some(QemuOrder::PowerDown));
    assert_eq!(life.shown(101_000), GuestStatus::ShuttingDown(140_000));
    assert_ne!(life.next(shut_down, 139_999), Some(QemuOrder::Quit));
    assert_eq!(life.next(shut_down, 140_000), Some(QemuOrder::Quit));
}

#[test]
fn pause_that_qemu_does_not_confirm_is_enforced_during_a_shutdown() {
    let mut life = running();
    let shut_down = DesiredState::ShutDown { within_ms: 40_000 };
    assert_eq!(life.next(shut_down, 0), Some(QemuOrder::PowerDown));
    assert_eq!(life.next(DesiredState::Freeze, 10), Some(QemuOrder::Pause));
    let due = 10 + HALT_AFTER_MS;
    assert_eq!(life.deadline(DesiredState::Freeze), Some(due));
    assert_eq!(life.next(DesiredState::Freeze, due), Some(QemuOrder::Halt));
}

#[test]
fn disk_error_has_a_deadline_only_where_the_guest_may_be_continued() {
    let mut life = running();
    life.apply_input(Input::Says(QemuStatus::DiskError), 0);
    assert_eq!(life.next(DesiredState::Run, 100), Some(QemuOrder::Continue));
    // The response of QEMU is an event: there is no deadline for it.
    assert_eq!(life.deadline(DesiredState::Run), None);
    life.apply_input(Input::Obeyed(QemuOrder::Continue), 200);
    life.apply_input(Input::Says(QemuStatus::DiskError), 200);
    let due = 100 + DISK_AGAIN_MS;
    assert_eq!(life.deadline(DesiredState::Run), Some(due));
    for wish in [DesiredState::Hold, DesiredState::Stand] {
        assert_eq!(life.next(wish, due), None);
        assert_eq!(life.deadline(wish), None, "{wish:?}");
    }
    assert_eq!(life.next(DesiredState::Run, due), Some(QemuOrder::Continue));
}
