//! What is asked at the master's socket, as far as the supervisor does it, and
//! what the service manager is told.

use super::control::{Asker, Door};
use super::former::Former;
use super::loading::{LoadError, Loading};
use super::master::{self, Master, View, Wish, Worker};
use super::route::PROXY;
use super::run::Supervisor;
use super::slot::Running;
use super::version::Version;
use crate::identity;
use crate::process::StartError;
use crate::voice::{Form, Gravity, Voice, counted, plain};
use part::Shared;
use part::role::{Load, Message, Personality};
use proxy::message::Message as OfProxy;
use proxy::operations::OpenFailure;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What became of the changes that were asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// All of them.
    pub asked: u64,
    /// Those that failed since the last that did not.
    pub failed: u64,
}

impl Changes {
    /// One was taken in.
    pub fn taken(&mut self) {
        self.asked = self.asked.saturating_add(1);
        self.failed = 0;
    }

    /// One was refused.
    pub fn refused(&mut self) {
        self.asked = self.asked.saturating_add(1);
        self.failed = self.failed.saturating_add(1);
    }
}

impl Supervisor {
    /// Opens the master's sockets, if that was not tried yet.
    pub(super) fn open_masters(&mut self) -> Result<(), StartError> {
        if self.master.is_some() {
            return Ok(());
        }
        match Master::open(&self.command.masters) {
            Ok(master) => {
                self.master = Some(master);
                Ok(())
            }
            Err(failure) => {
                let text = not_opened(&failure, self.voice.form());
                self.voice.alert(text);
                self.master = Some(Master::default());
                Err(StartError::Listeners)
            }
        }
    }

    /// Starts a loader, whose files may ask for what HAProxy has in its
    /// environment.
    pub(super) fn begin_loading(
        &self,
        program: &Path,
        load: Load,
        descriptors: &[Shared],
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

    /// The roles that are known, that which serves first.
    pub(super) fn workers(&self) -> Vec<Worker> {
        let worker = |proxy: &Running| Worker {
            pid: proxy.process.number(),
            since: proxy.born,
            reloads: self.changes.failed,
            former: false,
        };
        let former = |former: &Former| Worker {
            former: true,
            ..worker(&former.proxy)
        };
        let serves = self.slots[PROXY].running.iter().map(worker);
        serves.chain(self.formers.iter().map(former)).collect()
    }

    fn view(&self) -> View {
        View {
            pid: std::process::id(),
            since: self.since,
            now: Instant::now(),
            reloads: self.changes.asked,
            failed: self.changes.failed,
            stopping: self.stop.is_some(),
            version: match self.voice.form() {
                Form::Haproxy => identity::HAPROXY_VERSION,
                Form::Own | Form::Keepalived => identity::VERSION,
            },
            workers: self.workers(),
        }
    }

    /// A role that was not started by this process serves already: the sockets
    /// are opened and the service manager is told all the same.
    fn catch_up(&mut self) {
        if self.kept.is_none() {
            return;
        }
        // The error was reported, and traffic does not depend on these sockets.
        let _ = self.open_masters();
        if self.serves() && !self.notify.is_ready() {
            let status = self.status();
            self.notify.ready(&status);
        }
    }

    /// Serves the clients of the master socket.
    pub(super) fn hear_masters(&mut self) {
        self.catch_up();
        let view = self.view();
        let Some(master) = self.master.as_mut().filter(|master| master.is_open()) else {
            return;
        };
        for wish in master.hear(&view) {
            match wish {
                Wish::Reload(id) if view.stopping => {
                    master.tell(id, false, "the proxy is stopping\n");
                }
                Wish::Reload(id) => self.requests.ask(Some(Asker {
                    id,
                    at: Door::Master,
                    look: None,
                    fresh: false,
                })),
                Wish::Operate { pid, level, socket } => {
                    let message = OfProxy::Operate { level }.envelope();
                    let message = Message::Part(Box::new(message));
                    let formers = self.formers.iter_mut().map(|former| &mut former.proxy);
                    let mut known = self.slots[PROXY].running.iter_mut().chain(formers);
                    if let Some(proxy) = known.find(|proxy| proxy.process.number() == pid) {
                        let channel = &mut proxy.process.channel;
                        // If the message cannot be sent, the role has ended; the main loop notices that.
                        let _ = channel.send(&message, &[Arc::new(socket)]);
                    }
                }
            }
        }
    }

    /// Messages in the form in which this program tells them.
    pub(super) fn told(&self, shown: &str, lines: &[(Gravity, String)], end: Ending) -> String {
        let mut voice: Voice = self.voice.clone();
        voice.quiet = false;
        voice.started();
        voice.collect(plain(false));
        for (gravity, line) in lines {
            voice.say(*gravity, line);
        }
        if voice.form() == Form::Haproxy {
            match end {
                Ending::Taken => voice.notice("Loading success."),
                Ending::Refused => voice.warning("Loading failure!"),
            }
        }
        let said = voice.collected().map(|said| said.plain);
        shown.to_owned() + &said.unwrap_or_default()
    }

    /// What we do, in words.
    pub(super) fn status(&self) -> String {
        let words = |version: &Version| {
            let listeners = version.plan().listeners as usize;
            format!(
                "serving version {} with {}",
                version.take.version,
                counted(listeners, "listener", "listeners")
            )
        };
        let serving = self.kept.as_ref().map(words).unwrap_or_default();
        match self.changes.failed {
            0 => serving,
            _ => format!("{serving}; the last reload was refused"),
        }
    }
}

/// How a change ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It is served.
    Taken,
    /// Nothing was changed.
    Refused,
}

fn not_opened(failure: &OpenFailure, form: Form) -> String {
    let reason = nix::errno::Errno::from_raw(failure.errno.raw_os_error()).desc();
    let (step, address) = (failure.step, failure.address.as_str());
    let path = address.strip_prefix("unix@");
    match (form, path) {
        (Form::Own | Form::Keepalived, _) => {
            format!("master socket: {step} {address}: {reason}")
        }
        (Form::Haproxy, Some(path)) => format!(
            "Binding [master-socket:0] for proxy MASTER: cannot bind UNIX socket ({reason}) [{path}]"
        ),
        (Form::Haproxy, None) => {
            let address = address.split_once('@').map_or(address, |(_, bare)| bare);
            format!("Binding [master-socket:0] for proxy MASTER: {step} ({reason}) for [{address}]")
        }
    }
}
