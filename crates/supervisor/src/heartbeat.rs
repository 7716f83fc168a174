//! Checks the heartbeats of the roles, and restarts a frozen role.

use crate::programs;
use crate::pulse::{create, is_frozen, is_stopped, sample};
use crate::slot::RoleSlot;
use crate::state::Supervisor;
use part::heart::{Frozen, LOOK_EVERY_MS, LOOKS_MAX, PollTiming};
use part::mapped;
use part::spawn::CHECKS_ENTRY;
use part::voice::MessagePrinter;
use protocol::vitals::{Vitals, WORDS};
use rustix::fs::fstat;
use std::time::Instant;

impl Supervisor {
    pub(super) fn poll_heartbeats(&mut self) {
        let Some(look) = self.pulses.look(Instant::now()) else {
            return;
        };
        if self.service.stop.is_some() {
            return self.begin_pulses_anew();
        }
        self.look_at_proxy_pulse(look);
        self.look_at_helpers(look);
        if let Some(loading) = &mut self.changing.loading {
            // The main loop ends a frozen one.
            loading.poll_process(look);
        }
        for slot in self.slots.all_mut().filter(|slot| !slot.is_primary()) {
            let what = slot.row.entry.display_name;
            let Some((role, runs)) = slot.beating() else {
                continue;
            };
            let frozen = if runs {
                is_frozen(role, look)
            } else {
                is_stopped(role, look)
            };
            if let Some(why) = frozen {
                tell_frozen(&mut self.voice, what, role.number(), None, why);
                role.kill();
            }
        }
    }

    fn look_at_proxy_pulse(&mut self, look: PollTiming) {
        self.map_vitals();
        let pulses = &mut self.pulses;
        let tried = self
            .changing
            .upgrade
            .as_ref()
            .and_then(|upgrade| upgrade.trial());
        let Some(proxy) = &mut self.slots.serving.running else {
            return pulses.begin_anew();
        };
        if !proxy.ready {
            pulses.begin_anew();
            if let Some(why) = is_stopped(&mut proxy.process, look) {
                tell_frozen(&mut self.voice, "proxy", proxy.process.number(), None, why);
                proxy.process.kill();
            }
            return;
        }
        if tried.is_some() {
            // Two roles serve, and the older one may be paused.
            proxy.process.heart.beats();
            return pulses.begin_anew();
        }
        let number = proxy.process.number();
        let frozen = match is_frozen(&mut proxy.process, look) {
            Some(why) => Some((None, why)),
            // A signal stops all threads of a process, so the name of the first silent one is
            // meaningless.
            None => pulses.frozen_thread(number, look).map(|(name, why)| {
                let named = Some(name).filter(|_| why != Frozen::Stopped);
                (named, why)
            }),
        };
        if let Some((thread, why)) = frozen {
            tell_frozen(&mut self.voice, "proxy", number, thread.as_deref(), why);
            // The main loop notices the end of the process.
            proxy.process.kill();
            pulses.begin_anew();
        }
    }

    /// Checks the helper processes of external checks: frozen ones are killed, and all of them if
    /// no version has such a check. The proxy requests a new one.
    fn look_at_helpers(&mut self, look: PollTiming) {
        let versions = [
            self.versions.last_good.as_ref(),
            self.cluster.trial_version(),
        ];
        let mut versions = versions.into_iter().flatten();
        let wanted = versions.any(|version| !version.plan().programs.is_empty());
        let Some(proxy) = &mut self.slots.serving.running else {
            return;
        };
        let voice = &mut self.voice;
        proxy.helpers.retain_mut(|helper| {
            let frozen = is_stopped(helper, look);
            if let Some(why) = frozen {
                tell_frozen(voice, CHECKS_ENTRY.display_name, helper.number(), None, why);
            }
            let ends = frozen.is_some() || !wanted;
            if ends {
                programs::end(helper);
            }
            !ends && helper.process_exit().is_none()
        });
    }

    fn begin_pulses_anew(&mut self) {
        self.pulses.begin_anew();
        if let Some(proxy) = &mut self.slots.serving.running {
            proxy.helpers.iter_mut().for_each(|one| one.heart.beats());
        }
        for (process, _) in self.slots.all_mut().filter_map(RoleSlot::beating) {
            process.heart.beats();
        }
    }

    fn map_vitals(&mut self) {
        let Some(file) = self.pulses.file.clone() else {
            return;
        };
        let inode = fstat(&file).map_or(0, |data| data.st_ino);
        if self
            .pulses
            .memory
            .is_some_and(|(mapped, _)| mapped == inode)
        {
            return;
        }
        // The memory is created once per program image, so it is mapped once.
        let opened = mapped::map(&file, WORDS).and_then(|words| Vitals::open(words).ok());
        self.pulses.memory = opened.map(|vitals| (inode, vitals));
    }

    /// Sends the proxy the heartbeat memory, which other roles read. Creates the memory if there is
    /// none yet.
    pub(super) fn send_heartbeat_memory(&mut self) {
        if self.pulses.file.is_none() {
            let made = create().map_err(|error| {
                self.voice.warning(format_args!(
                    "cannot create the heartbeat memory ({error}): virtual addresses do not follow the health of the \
                     proxy, and a frozen proxy is not restarted"
                ));
            });
            self.pulses.file = made.ok();
        }
        if let Some(proxy) = &mut self.slots.serving.running {
            proxy.process.share(self.pulses.file.as_ref());
        }
    }
}

/// Reports what is frozen and where it waits; the location is read before the process is killed.
fn tell_frozen(
    voice: &mut MessagePrinter,
    role: &str,
    process: i32,
    thread: Option<&str>,
    why: Frozen,
) {
    let place = match why {
        Frozen::Sleeps => sample::place(process, thread),
        Frozen::Stopped | Frozen::Loops | Frozen::Gone => None,
    };
    let place = place.map_or_else(String::new, |place| format!(" (in the kernel's {place})"));
    let thread = thread.map_or_else(|| "main thread".to_owned(), |name| format!("thread {name}"));
    let seconds = u64::from(LOOKS_MAX) * LOOK_EVERY_MS / 1_000;
    voice.alert(format_args!(
        "the {role} (process {process}) is frozen: its {thread} {why}{place} and has shown no activity for {seconds} s; \
         the supervisor kills and restarts it"
    ));
}
