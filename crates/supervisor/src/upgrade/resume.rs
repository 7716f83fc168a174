//! Restores the state of the previous program image of this process, and replaces the sidecars by
//! those of this program.

use crate::carried::Carried;
use crate::control::ControlSocket;
use crate::resumed::{ResumeError, Resumed};
use crate::state::Supervisor;
use crate::tell;
use crate::version::LoadedVersion;
use rustix::process::Pid;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Supervisor {
    pub(in super::super) fn resume(&mut self, mut left: Resumed) -> Result<(), ResumeError> {
        let value = std::mem::take(&mut left.value);
        let entry = self.slots.serving.row.entry;
        let mut roles = Vec::with_capacity(value.roles.len());
        for role in &value.roles {
            let until = role.left_ms.map(Duration::from_millis);
            let until = until.and_then(|left| Instant::now().checked_add(left));
            roles.push((left.role(role, entry)?, until));
        }
        let mut roles = roles.into_iter();
        let proxy = roles.next().map(|(proxy, _)| proxy);
        let descriptors = value.descriptors.iter();
        let descriptors = descriptors.map(|number| left.take(*number));
        let version = LoadedVersion::new(value.take, descriptors.collect::<Result<_, _>>()?);
        let version = version.ok_or(ResumeError::Incomplete)?;
        if proxy.is_none() && !version.is_without_proxy() {
            return Err(ResumeError::Incomplete);
        }
        // Restores the entries only after all other steps that can fail: dropping an entry removes
        // it, and without the guard's entry no supervisor could find the role.
        let guard = value.guard.map(|socket| left.socket(&socket)).transpose()?;
        let control = value.control.and_then(|socket| left.socket(&socket).ok());
        // No step can fail from here on. Nothing is taken over from other processes: the previous
        // image has done that.
        self.carried = Carried::default();
        for part in &value.parts {
            // Ignored: a sidecar that cannot be restored notices the end of its supervisor.
            let _ = self.slots.resume_sidecar(part, &mut left);
        }
        self.resume_extras(&value.extras, &mut left);
        self.versions.last_good = Some(version);
        self.slots.serving.running = proxy;
        for (proxy, until) in roles {
            self.service.draining.resume(proxy, until);
        }
        self.slots.serving.guard = guard.map(|(entry, fd)| (entry, Arc::new(fd)));
        self.versions.last = value.versions;
        self.process.files_soft = value.files_soft;
        self.voice.quiet = value.quiet;
        self.service.paused = value.paused;
        self.service.served = true;
        if let Some((entry, listener)) = control {
            let mut control = ControlSocket::kept(entry, listener);
            for client in value.clients {
                let Ok(fd) = left.take(client.descriptor) else {
                    continue;
                };
                if let Some(asker) = control.welcome(fd, client.asked) {
                    self.changing.requests.ask(Some(asker));
                }
            }
            self.interfaces.control = Some(control);
        }
        if value.asked {
            self.changing.requests.ask(None);
        }
        let roles = self.slots.all().filter_map(|slot| slot.running.as_ref());
        let roles = roles.chain(self.service.draining.iter().map(|one| &one.proxy));
        let known: Vec<Pid> = roles.map(|role| role.process.pid()).collect();
        self.carried.expect_others_than(&known);
        self.keep_version();
        tell::resumed(&mut self.voice);
        // Sends the proxy the heartbeat memory again, because the previous image may have been a
        // program that did not.
        self.pulses
            .share_with(self.slots.serving.running.as_mut(), &mut self.voice);
        self.replace_parts();
        Ok(())
    }
}
