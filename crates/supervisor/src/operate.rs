//! Carries out the requests of the master socket, and describes the service for the service
//! manager.

use crate::control::{Asker, RequestInterface};
use crate::draining::DrainingRole;
use crate::error::StartError;
use crate::master::{Master, SupervisorRequest, View, Worker};
use crate::slot::RunningRole;
use crate::state::Supervisor;
use crate::version::LoadedVersion;
use part::identity;
use part::role::SupervisorMessage;
use part::row::Life;
use part::voice::{Form, counted};
use std::sync::Arc;
use std::time::Instant;

impl Supervisor {
    pub(super) fn open_masters(&mut self) -> Result<(), StartError> {
        if self.interfaces.master.is_some() {
            return Ok(());
        }
        match Master::open(&self.command.masters) {
            Ok(master) => {
                self.interfaces.master = Some(master);
                Ok(())
            }
            Err(error) => {
                self.voice.alert(error);
                self.interfaces.master = Some(Master::default());
                Err(StartError::Listeners)
            }
        }
    }

    fn view(&self) -> View {
        let worker = |proxy: &RunningRole| Worker {
            pid: proxy.process.number(),
            since: proxy.born,
            reloads: self.changing.counts.failed,
            former: false,
        };
        let former = |former: &DrainingRole| Worker {
            former: true,
            ..worker(&former.proxy)
        };
        let serves = self.slots.serving.running.iter().map(worker);
        View {
            pid: std::process::id(),
            since: self.process.since,
            now: Instant::now(),
            reloads: self.changing.counts.asked,
            failed: self.changing.counts.failed,
            stopping: self.service.stop.is_some(),
            version: match self.voice.form() {
                Form::Haproxy => identity::HAPROXY_VERSION,
                Form::Own | Form::Keepalived => identity::VERSION,
            },
            workers: serves
                .chain(self.service.draining.iter().map(former))
                .collect(),
        }
    }

    /// Once a version is served, opens the master sockets and reports readiness, unless both were
    /// done before: the role may have been adopted.
    fn catch_up(&mut self) {
        if self.versions.last_good.is_none() {
            return;
        }
        // The error is ignored: it was reported, and traffic does not depend on the master sockets.
        let _ = self.open_masters();
        if self.serves() && !self.interfaces.notify.is_ready() {
            let status = self.status();
            self.interfaces.notify.ready(&status);
        }
    }

    pub(super) fn serve_master_clients(&mut self) {
        self.catch_up();
        let view = self.view();
        let Some(master) = self
            .interfaces
            .master
            .as_mut()
            .filter(|master| master.is_open())
        else {
            return;
        };
        for wish in master.serve_sessions(&view) {
            match wish {
                SupervisorRequest::Reload(id) if view.stopping => {
                    master.send_reload_result(id, false, "the proxy is stopping\n");
                }
                SupervisorRequest::Reload(id) => self.changing.requests.ask(Some(Asker {
                    id,
                    at: RequestInterface::Master,
                    look: None,
                    fresh: false,
                })),
                SupervisorRequest::Operate { pid, level, socket } => {
                    let Life::Serves(serves) = self.slots.serving.row.life else {
                        continue;
                    };
                    let message = SupervisorMessage::Part(Box::new((serves.operate)(level)));
                    let formers = self.service.draining.iter_mut();
                    let mut known = self.slots.serving.running.iter_mut().chain(formers);
                    if let Some(proxy) = known.find(|proxy| proxy.process.number() == pid) {
                        let channel = &mut proxy.process.channel;
                        // Ignored: if the message cannot be sent, the role has ended, which the
                        // main loop notices.
                        let _ = channel.send(&message, &[Arc::new(socket)]);
                    }
                }
            }
        }
    }

    pub(super) fn status(&self) -> String {
        let words = |version: &LoadedVersion| {
            let listeners = version.plan().listeners as usize;
            format!(
                "serving version {} with {}",
                version.take.version,
                counted(listeners, "listener", "listeners")
            )
        };
        let serving = self
            .versions
            .last_good
            .as_ref()
            .map(words)
            .unwrap_or_default();
        match self.changing.counts.failed {
            0 => serving,
            _ => format!("{serving}; the last reload was refused"),
        }
    }
}
