//! The role: a [`Server`] for each network, what operators order, and the report.

mod running;
mod server;

pub use server::Server;

use crate::assignment::Turns;
use crate::config::{Boots, Lan};
use crate::mac::Mac;
use crate::message::{Answer, Asked, Machines, Message};
use crate::site::{Shared, Site, rows};
use part::codec;
use part::report::{Moment, Report};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Machines that one answer has at most.
const SHOWN_MAX: usize = 25_000;
/// What the role stores for its successor: the turns of each network.
type Kept = BTreeMap<String, Turns>;

/// How its threads are confined.
#[derive(Clone, Copy)]
pub struct Place {
    /// Leaves this thread, and those that it starts, with files to read and none to write.
    pub only_reads: fn() -> io::Result<()>,
    /// Leaves this thread with one directory, in which it writes.
    pub only_writes: fn(&Path) -> io::Result<()>,
}

/// The role.
pub struct Role {
    place: Place,
    networks: BTreeMap<String, Running>,
    me: String,
}

/// One network.
struct Running {
    site: Shared,
    server: Server,
}

impl Role {
    /// Starts with a payload, and with what the role before stored.
    ///
    /// # Errors
    /// The payload is of another program, or the system has no thread left, in words.
    pub fn new(place: Place, payload: &[u8], kept: Option<&[u8]>) -> Result<Role, String> {
        let mut role = Role {
            place,
            networks: BTreeMap::new(),
            me: String::new(),
        };
        let kept: Kept = kept
            .and_then(|kept| codec::decode(kept).ok())
            .unwrap_or_default();
        role.apply(payload, kept)?;
        Ok(role)
    }

    /// Goes over to another payload.
    ///
    /// # Errors
    /// As at the start.
    pub fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        self.apply(payload, Kept::new())
    }

    fn apply(&mut self, payload: &[u8], mut kept: Kept) -> Result<(), String> {
        let boots: Boots = codec::decode(payload).map_err(|error| error.to_string())?;
        self.me = boots.me;
        let parts = u32::try_from(boots.nodes.len()).unwrap_or(1);
        self.networks
            .retain(|name, _| boots.lans.contains_key(name));
        for (name, lan) in boots.lans {
            match self.networks.get(&name) {
                Some(running) => {
                    running
                        .site
                        .lock()
                        .change(lan, parts, Moment::now().boottime_ms);
                    running.server.wake();
                }
                None => {
                    let turns = kept.remove(&name).unwrap_or_default();
                    let running = self.start(&name, lan, turns, parts)?;
                    self.networks.insert(name, running);
                }
            }
        }
        Ok(())
    }

    fn start(&self, name: &str, lan: Lan, mut turns: Turns, parts: u32) -> Result<Running, String> {
        turns.keep(&lan);
        let mut site = Site::new(name, lan, turns, parts);
        if self.me.is_empty() {
            // Nobody else gives addresses of the range.
            site.hold([(0, true)].into(), Moment::now().boottime_ms);
        }
        let site = Shared::new(site);
        let server = Server::start(site.clone(), self.place);
        let server = server.map_err(|error| language::reason(&error))?;
        Ok(Running { site, server })
    }

    /// Ends its servers.
    pub fn stop(&mut self) {
        self.networks.clear();
    }

    /// What the next role starts with.
    pub fn kept(&self) -> Vec<u8> {
        let networks = self.networks.iter();
        let kept: Kept = networks
            .map(|(name, one)| (name.clone(), one.site.lock().turns().clone()))
            .collect();
        codec::encode(&kept)
    }

    /// The report.
    pub fn report(&self) -> Report {
        let subjects = self.networks.values().map(|one| {
            let servers = one.server.look();
            one.site.lock().subject(&servers)
        });
        Report {
            part: crate::keyword::NAME.to_owned(),
            at: Moment::now(),
            subjects: subjects.collect(),
            rows: rows(),
        }
    }

    /// Does what an operator orders, and returns the answer, encoded.
    pub fn order(&mut self, message: &Message) -> Vec<u8> {
        match message {
            Message::Once { machine, image } => {
                codec::encode(&Answer::of(self.once(machine, image)))
            }
            Message::Wake { machine } => codec::encode(&Answer::of(self.wake(machine))),
            Message::Why { machine } => codec::encode(&self.why(machine)),
            Message::Machines {} => codec::encode(&self.machines()),
        }
    }

    fn find(&self, machine: &str) -> Result<(&Running, Mac), String> {
        let mut found = self.networks.values().filter_map(|one| {
            let mac = one.site.lock().find_machine(machine)?;
            Some((one, mac))
        });
        let first = found.next();
        if let Some((other, _)) = found.next() {
            let network = other.site.lock().name().to_owned();
            let told = format!(
                "several networks have a machine '{machine}', among them '{network}': name its MAC address"
            );
            if machine.parse::<Mac>().is_err() {
                return Err(told);
            }
        }
        first.ok_or_else(|| {
            format!("there is no machine '{machine}': no `machine` line has this name, and no machine with this MAC address has asked")
        })
    }

    fn once(&self, machine: &str, image: &str) -> Result<String, String> {
        let (running, mac) = self.find(machine)?;
        let image = Some(image).filter(|image| !image.is_empty());
        let mut site = running.site.lock();
        site.order(mac, image)?;
        Ok(format!("{machine} boots next: {}", site.next(mac)))
    }

    fn wake(&self, machine: &str) -> Result<String, String> {
        let (running, mac) = match (self.find(machine), machine.parse::<Mac>()) {
            (Ok(found), _) => found,
            // One that never asked can be switched on, too, where there is one network.
            (Err(_), Ok(mac)) if self.networks.len() == 1 => match self.networks.values().next() {
                Some(running) => (running, mac),
                None => return Err("there is no network".to_owned()),
            },
            (Err(words), _) => return Err(words),
        };
        let interface = running.site.lock().lan().interface.clone();
        running.server.wake_machine(mac);
        Ok(format!(
            "sent to {mac} at {interface}; a machine that is set to wake by its card switches on"
        ))
    }

    fn why(&self, machine: &str) -> Asked {
        let (running, mac) = match self.find(machine) {
            Ok(found) => found,
            Err(trouble) => {
                return Asked {
                    trouble,
                    ..Asked::default()
                };
            }
        };
        let mut site = running.site.lock();
        let shown = site.shown(mac);
        let name = if shown.name.is_empty() {
            "a machine without a line"
        } else {
            &shown.name
        };
        Asked {
            trouble: String::new(),
            who: format!("{name} ({mac}) in network {}", site.name()),
            next: shown.next,
            steps: site.asked(mac),
        }
    }

    fn machines(&self) -> Machines {
        let mut machines = Vec::new();
        let mut more = 0;
        for running in self.networks.values() {
            let mut site = running.site.lock();
            for mac in site.macs() {
                match machines.len() < SHOWN_MAX {
                    true => machines.push(site.shown(mac)),
                    false => more += 1,
                }
            }
        }
        Machines { machines, more }
    }
}
