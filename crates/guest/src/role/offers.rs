//! Lists the actions that an operator may take on each guest now, for the report.

use super::GuestRole;
use crate::clock;
use crate::config::Migrate;
use crate::life::GuestStatus;
use crate::message::GuestOrder;
use crate::remote::OpenRequest;
use part::report::{Opens, SubjectAction};

fn offer(word: &str, label: &str, order: &GuestOrder) -> SubjectAction {
    SubjectAction::new(word, label, order.envelope())
}

pub(super) fn of_guest(role: &GuestRole, name: &str) -> Vec<SubjectAction> {
    let Some(machine) = role.machines.get(name) else {
        return Vec::new();
    };
    let is_here = machine.life.is_there();
    let holder = role.agreement.holder(name);
    let opening = opening(role, name);
    let owned = || name.to_owned();
    if !is_here {
        let is_stopped = role.agreement.is_stopped(&role.guests, name);
        let has_failed = matches!(machine.shown, Some((GuestStatus::Failed, _)));
        let is_free = holder.is_empty() || holder == role.guests.me;
        return match is_free && (is_stopped || has_failed) {
            true => vec![offer(
                "start",
                "Start",
                &GuestOrder::Start { name: owned() },
            )],
            // Offers nothing, because another node has the guest.
            false if is_free => Vec::new(),
            false => opening,
        };
    }
    if role.has_incoming_migration(name) || role.moves.departures.contains_key(name) {
        return opening;
    }
    let guest = role.guests.guests.get(name);
    let migrate = guest.map_or(Migrate::Never, |guest| guest.migrate);
    let nodes = role.agreement.nodes(&role.guests, clock::boottime_ns());
    let there = nodes.into_iter().filter(|(node, is_there)| {
        let takes = *is_there && !role.agreement.has_drained(node);
        takes && *node != role.guests.me && migrate != Migrate::Never
    });
    let moves = there.map(|(node, _)| {
        let (word, label) = (format!("move {node}"), format!("Move to {node}"));
        let order = GuestOrder::Move {
            name: owned(),
            node: node.clone(),
        };
        let offer = offer(&word, &label, &order);
        match migrate {
            Migrate::Live => offer,
            _ => offer.follows(&format!(
                "It shuts down on this node, and starts on {node}."
            )),
        }
    });
    let stop = GuestOrder::Stop {
        name: owned(),
        kills: false,
    };
    let stop = offer("stop", "Shut down", &stop)
        .follows("It shuts down, and stays down until somebody starts it.");
    opening.into_iter().chain(moves).chain([stop]).collect()
}

/// Returns the actions that open the guest's display, if it has one, and its terminal.
fn opening(role: &GuestRole, name: &str) -> Vec<SubjectAction> {
    if !role.guests.guests.contains_key(name) {
        return Vec::new();
    }
    let offer = |word: &str, label: &str, what: Opens| {
        let name = name.to_owned();
        SubjectAction::new(word, label, OpenRequest { name, what }.envelope()).opens(what)
    };
    let screen = role
        .screen(name)
        .map(|what| offer("screen", "Screen", what));
    let terminal = offer("terminal", "Terminal", Opens::Terminal);
    screen.into_iter().chain([terminal]).collect()
}

pub(super) fn of_node(role: &GuestRole) -> Vec<SubjectAction> {
    let is_drained = role.agreement.is_drained();
    let order = GuestOrder::Drain {
        drained: !is_drained,
        shuts_down: false,
    };
    let offer = if is_drained {
        offer("fill", "Accept guests again", &order)
    } else {
        offer("drain", "Drain", &order).follows(
            "All guests move to other nodes, and none starts here until the node accepts guests again.",
        )
    };
    vec![offer]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::boottime_ms;
    use crate::config::{Console, Guest, Guests};
    use crate::life::Input;
    use crate::role::RoleEnvironment;
    use part::codec;

    /// Creates a role with a guest that has this display configured.
    fn role(scratch: &lab::ScratchDirectory, console: Console) -> GuestRole {
        let place = RoleEnvironment {
            runtime: scratch.path().to_owned(),
            program: "/nonexistent".into(),
            confine: None,
            has_kvm: false,
            move_bandwidth: 0,
            groups: None,
            claimed: std::collections::BTreeSet::new(),
            commands: "/nonexistent".into(),
        };
        let mail = Guest {
            console,
            ..Guest::plain(1 << 20)
        };
        let guests = Guests {
            guests: [("mail".to_owned(), mail)].into(),
            ..Guests::default()
        };
        GuestRole::new(place, &codec::encode(&guests), None).unwrap()
    }

    fn screen(role: &GuestRole) -> Option<Opens> {
        let offers = opening(role, "mail");
        offers.iter().find(|one| one.word == "screen")?.opens
    }

    #[test]
    fn a_running_guest_keeps_its_display_kind() {
        for (by_file, started, has) in [
            (Console::Spice, Console::Vnc, Some(Opens::Display)),
            (Console::Vnc, Console::Spice, Some(Opens::Spice)),
            (Console::Vnc, Console::Serial, None),
        ] {
            let scratch = lab::ScratchDirectory::new().unwrap();
            let mut role = role(&scratch, by_file);
            let expected = match by_file {
                Console::Spice => Opens::Spice,
                _ => Opens::Display,
            };
            assert_eq!(screen(&role), Some(expected), "it does not run");
            let machine = role.machines.get_mut("mail").unwrap();
            machine.started_as = Some(Guest {
                console: started,
                ..Guest::plain(1 << 20)
            });
            machine.life.apply_input(Input::Found, boottime_ms());
            assert_eq!(screen(&role), has);
        }
    }
}
