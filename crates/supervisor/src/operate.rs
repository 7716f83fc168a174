//! The supervisor's side of the master socket, and notifications to the service manager.

use crate::control::{Asker, RequestInterface};
use crate::error::StartError;
use crate::loading::{LoadError, Loading};
use crate::master::{self, Master, SupervisorRequest, View, Worker};
use crate::slot::RunningRole;
use crate::state::{DrainingRole, ReloadResult, Supervisor};
use crate::version::LoadedVersion;
use part::SharedFd;
use part::identity;
use part::role::{Load, Personality, SupervisorMessage};
use part::row::Life;
use part::voice::{Form, Gravity, MessagePrinter, counted, plain};
use std::ffi::{OsStr, OsString};
use std::path::Path;
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

    /// Starts a loader with the environment variables that HAProxy would set.
    pub(super) fn begin_loading(
        &self,
        program: &Path,
        load: Load,
        descriptors: &[SharedFd],
    ) -> Result<Loading, LoadError> {
        let sockets = OsString::from(master::shown(&self.command.masters));
        let worker = ("HAPROXY_MWORKER", OsStr::new("1"));
        let both = [worker, ("HAPROXY_MASTER_CLI", &*sockets)];
        let variables: &[(&str, &OsStr)] = match load.personality {
            Personality::Own | Personality::Keepalived => &[],
            Personality::Haproxy if sockets.is_empty() => &both[..1],
            Personality::Haproxy => &both,
        };
        Loading::begin(program, load, descriptors, variables)
    }

    /// Returns the known proxy roles, the current one first.
    pub(super) fn workers(&self) -> Vec<Worker> {
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
        serves
            .chain(self.service.formers.iter().map(former))
            .collect()
    }

    fn view(&self) -> View {
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
            workers: self.workers(),
        }
    }

    /// Opens the sockets and notifies the service manager if an adopted role serves already.
    fn catch_up(&mut self) {
        if self.versions.last_good.is_none() {
            return;
        }
        // The error was reported, and traffic does not depend on these sockets.
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
                    let formers = self
                        .service
                        .formers
                        .iter_mut()
                        .map(|former| &mut former.proxy);
                    let mut known = self.slots.serving.running.iter_mut().chain(formers);
                    if let Some(proxy) = known.find(|proxy| proxy.process.number() == pid) {
                        let channel = &mut proxy.process.channel;
                        // If the message cannot be sent, the role has ended; the main loop notices
                        // that.
                        let _ = channel.send(&message, &[Arc::new(socket)]);
                    }
                }
            }
        }
    }

    pub(super) fn told(
        &self,
        shown: &str,
        lines: &[(Gravity, String)],
        end: ReloadResult,
    ) -> String {
        let mut voice: MessagePrinter = self.voice.clone();
        voice.quiet = false;
        voice.started();
        voice.collect(plain(false));
        for (gravity, line) in lines {
            voice.log_message(*gravity, line);
        }
        if voice.form() == Form::Haproxy {
            match end {
                ReloadResult::Taken => voice.notice("Loading success."),
                ReloadResult::Refused => voice.warning("Loading failure!"),
            }
        }
        let said = voice.collected().map(|said| said.plain);
        shown.to_owned() + &said.unwrap_or_default()
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
