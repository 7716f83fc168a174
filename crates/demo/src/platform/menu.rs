//! Defines the menu of the platform demo: its choices, the state of faults that they change, and
//! the expected consequences as texts for the terminal and the console. The module injects nothing.

use crate::demonstration::{FaultOrder, Thing};
use crate::server::{NAMES, SERVERS};
use std::fmt::Write;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    Link,
    Cables,
    Alpha,
    Server(usize),
    Heal,
    Show,
    SignIn,
    Quit,
}

impl Choice {
    pub fn parse(line: &str) -> Option<Choice> {
        Some(match line.trim().to_ascii_lowercase().as_str() {
            "1" => Choice::Link,
            "2" => Choice::Cables,
            "3" => Choice::Alpha,
            "4" => Choice::Server(0),
            "5" => Choice::Server(1),
            "6" => Choice::Server(2),
            "h" | "heal" => Choice::Heal,
            "s" | "status" => Choice::Show,
            "l" | "link" => Choice::SignIn,
            "q" | "quit" | "exit" => Choice::Quit,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ActiveFaults {
    pub link_cut: bool,
    pub cables_out: bool,
    pub alpha_dead: bool,
    pub stopped: [bool; SERVERS],
}

impl ActiveFaults {
    /// Returns whether alpha can own the virtual address.
    pub fn alpha_serves(&self) -> bool {
        !self.cables_out && !self.alpha_dead
    }

    #[must_use]
    pub fn after(mut self, choice: Choice) -> ActiveFaults {
        match choice {
            Choice::Link => self.link_cut = !self.link_cut,
            Choice::Cables => self.cables_out = !self.cables_out,
            Choice::Alpha => self.alpha_dead = !self.alpha_dead,
            Choice::Server(index) => {
                if let Some(stopped) = self.stopped.get_mut(index) {
                    *stopped = !*stopped;
                }
            }
            Choice::Heal => self = ActiveFaults::default(),
            Choice::Show | Choice::SignIn | Choice::Quit => {}
        }
        self
    }
}

/// Row of a fault for the console: its key, the type and name of the object, the object's states
/// without and with the fault, and keyword and button of the actions that inject and heal it.
type Row = (
    char,
    [&'static str; 2],
    [&'static str; 2],
    [[&'static str; 2]; 2],
);

const ROWS: [Row; 3] = [
    (
        '1',
        ["link", "alpha to beta"],
        ["up", "cut"],
        [["cut", "Cut"], ["mend", "Mend"]],
    ),
    (
        '2',
        ["link", "alpha to everybody"],
        ["up", "cut"],
        [["cut", "Cut"], ["mend", "Mend"]],
    ),
    (
        '3',
        ["node", "alpha"],
        ["running", "killed"],
        [["kill", "Kill"], ["start", "Start"]],
    ),
];

impl ActiveFaults {
    fn of(&self, key: char) -> Option<bool> {
        Some(match Choice::parse(key.encode_utf8(&mut [0; 4]))? {
            Choice::Link => self.link_cut,
            Choice::Cables => self.cables_out,
            Choice::Alpha => self.alpha_dead,
            Choice::Server(index) => *self.stopped.get(index)?,
            Choice::Heal | Choice::Show | Choice::SignIn | Choice::Quit => return None,
        })
    }
}

/// Translates an order of the console into a choice of the menu. Returns None if the fault already
/// is as ordered, or is unknown.
pub fn ordered(order: FaultOrder, state: &ActiveFaults) -> Option<Choice> {
    let is_faulty = state.of(order.key)?;
    let choice = Choice::parse(order.key.encode_utf8(&mut [0; 4]));
    choice.filter(|_| is_faulty != order.is_faulty)
}

pub fn things(state: &ActiveFaults) -> Vec<Thing> {
    let server = |(key, name): (char, &'static str)| {
        let offers = [["stop", "Stop"], ["start", "Start"]];
        (key, ["server", name], ["running", "stopped"], offers)
    };
    let rows = ROWS.into_iter().chain(('4'..).zip(NAMES).map(server));
    let thing = |(key, [kind, name], states, offers): Row| {
        let is_faulty = state.of(key)?;
        let order = FaultOrder {
            key,
            is_faulty: !is_faulty,
        };
        let at = usize::from(is_faulty);
        let ([word, label], choice) = (offers[at], ordered(order, state)?);
        Some(Thing {
            kind: kind.to_owned(),
            name: name.to_owned(),
            state: states[at].to_owned(),
            is_faulty,
            offer: [word, label, &expectation(choice, state)?].map(str::to_owned),
            order,
        })
    };
    rows.filter_map(thing).collect()
}

pub fn menu(state: &ActiveFaults) -> String {
    let of = |active: bool, [begin, end]: [&'static str; 2]| if active { end } else { begin };
    let link = [
        "cut the link between alpha and beta",
        "restore the link between alpha and beta",
    ];
    let cables = ["cut alpha off from everybody", "reconnect alpha"];
    let alpha = ["kill -9 every process of alpha", "start alpha"];
    let mut text =
        String::from("\nFaults (type a key, then Enter; Enter alone prints this menu):\n");
    for (key, what) in [
        ('1', of(state.link_cut, link)),
        ('2', of(state.cables_out, cables)),
        ('3', of(state.alpha_dead, alpha)),
    ] {
        let _ = writeln!(text, "  {key}  {what}");
    }
    for (key, (name, stopped)) in ('4'..).zip(NAMES.into_iter().zip(state.stopped)) {
        let _ = writeln!(
            text,
            "  {key}  {} server {name}",
            of(stopped, ["stop", "start"])
        );
    }
    text += "  h  heal all      s  show status      l  new sign-in links      q  quit\n";
    text
}

/// Describes the effect of a choice and the expected consequence. Returns None for a choice that
/// changes no fault.
pub fn expectation(choice: Choice, before: &ActiveFaults) -> Option<String> {
    let after = before.after(choice);
    Some(match choice {
        Choice::Link if after.link_cut => format!(
            "The link between alpha and beta is cut: expect {}, and the cluster reaches each of them through gamma.",
            stays(&after)
        ),
        Choice::Link => {
            "The link between alpha and beta is restored: expect both to use it within a few seconds.".to_owned()
        }
        Choice::Cables if after.cables_out => format!(
            "alpha is cut off from everybody: expect {}, and alpha without a majority.",
            moves(before, "within a second")
        ),
        Choice::Cables => format!("alpha is reconnected: expect {}.", returns(&after)),
        Choice::Alpha if after.alpha_dead => format!(
            "Every process of alpha was killed: expect {}, and no console of alpha.",
            moves(before, "within two seconds, because alpha's kernel responds at first")
        ),
        Choice::Alpha => format!("alpha is started: expect {}.", returns(&after)),
        Choice::Server(index) => server(index, &after),
        Choice::Heal if *before == after => "No fault is in force: nothing to heal.".to_owned(),
        Choice::Heal => format!("All faults are healed: expect {}.", if before.alpha_serves() {
stays(&after)
} else {
returns(&after)
}),
        Choice::Show | Choice::SignIn | Choice::Quit => return None,
    })
}

fn server(index: usize, after: &ActiveFaults) -> String {
    let name = NAMES.get(index).copied().unwrap_or("?");
    let left = after.stopped.iter().filter(|stopped| !**stopped).count();
    match (after.stopped.get(index), left) {
        (Some(true), 0) => format!(
            "Server {name} is stopped, and it was the last one: expect responses with status 503 until a server starts."
        ),
        (Some(true), _) => format!(
            "Server {name} is stopped: expect the health checks to take it out within a second, without a failed request."
        ),
        _ => format!(
            "Server {name} is started: expect requests for it after two good health checks, within a second."
        ),
    }
}

fn stays(state: &ActiveFaults) -> &'static str {
    if state.alpha_serves() {
        "alpha to keep the address"
    } else {
        "beta to keep the address"
    }
}

fn moves(before: &ActiveFaults, within: &str) -> String {
    if before.alpha_serves() {
        format!("beta to take the address over {within}")
    } else {
        "beta to keep the address".to_owned()
    }
}

fn returns(after: &ActiveFaults) -> &'static str {
    match (after.alpha_serves(), after.alpha_dead) {
        (true, _) => {
            "alpha to catch up and to take the address back within some seconds, without a failed request"
        }
        (false, true) => "beta to keep the address, because no process of alpha runs",
        (false, false) => "beta to keep the address, because the cables of alpha are still out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Choice; 7] = [
        Choice::Link,
        Choice::Cables,
        Choice::Alpha,
        Choice::Server(0),
        Choice::Server(1),
        Choice::Server(2),
        Choice::Heal,
    ];

    #[test]
    fn every_key_of_the_menu_is_a_choice_and_nothing_else_is() {
        let text = menu(&ActiveFaults::default());
        let keys = ["1", "2", "3", "4", "5", "6", "h", "s", "l", "q"];
        for key in keys {
            assert!(Choice::parse(key).is_some(), "{key}");
            assert!(text.contains(&format!("  {key}  ")), "{key}: {text}");
        }
        assert_eq!(Choice::parse(" Q\n"), Some(Choice::Quit));
        for line in ["", "7", "0", "12", "x"] {
            assert_eq!(Choice::parse(line), None, "{line}");
        }
    }

    #[test]
    fn console_offers_effective_actions_once() {
        for choice in ALL {
            let state = ActiveFaults::default().after(choice);
            let things = things(&state);
            assert_eq!(things.len(), 3 + SERVERS, "{things:?}");
            for thing in things {
                let choice = ordered(thing.order, &state).expect("a change");
                let after = state.after(choice);
                assert_ne!(after, state);
                // A second browser sends the same order.
                assert_eq!(ordered(thing.order, &after), None);
                assert!(thing.offer[2].contains("expect"), "{thing:?}");
            }
        }
        for key in ['h', 'q', 's', 'x', '\u{1f600}'] {
            let order = FaultOrder {
                key,
                is_faulty: true,
            };
            assert_eq!(ordered(order, &ActiveFaults::default()), None, "{key}");
        }
    }

    #[test]
    fn repeated_choice_undoes_a_fault_and_heal_ends_all() {
        for choice in ALL.into_iter().filter(|choice| *choice != Choice::Heal) {
            let once = ActiveFaults::default().after(choice);
            assert_ne!(once, ActiveFaults::default(), "{choice:?}");
            assert_eq!(once.after(choice), ActiveFaults::default(), "{choice:?}");
            assert_ne!(menu(&once), menu(&ActiveFaults::default()), "{choice:?}");
            assert_eq!(
                once.after(Choice::Heal),
                ActiveFaults::default(),
                "{choice:?}"
            );
        }
    }

    #[test]
    fn each_fault_describes_its_effect() {
        for before in ALL.map(|choice| ActiveFaults::default().after(choice)) {
            for choice in ALL {
                let text = expectation(choice, &before).unwrap();
                assert!(text.ends_with('.') && !text.contains(". "), "{text}");
            }
        }
        assert_eq!(expectation(Choice::Quit, &ActiveFaults::default()), None);
    }

    #[test]
    fn the_address_is_expected_where_it_can_be() {
        let healthy = ActiveFaults::default();
        let dead = healthy.after(Choice::Alpha);
        let expects = |choice, before: &ActiveFaults, words: &str| {
            let text = expectation(choice, before).unwrap();
            assert!(text.contains(words), "{text}");
        };
        expects(Choice::Alpha, &healthy, "beta to take the address over");
        expects(Choice::Cables, &dead, "beta to keep");
        expects(
            Choice::Cables,
            &dead.after(Choice::Cables),
            "because no process of alpha",
        );
        expects(Choice::Alpha, &dead, "alpha to catch up");
        expects(Choice::Link, &healthy, "alpha to keep");
        expects(Choice::Heal, &dead, "alpha to catch up");
        let two = healthy.after(Choice::Server(0)).after(Choice::Server(1));
        expects(Choice::Server(2), &two, "503");
    }
}
