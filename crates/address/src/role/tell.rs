//! Reports transitions to the log, notify scripts, pipes, mail and the supervisor. Also starts
//! tracked scripts, and handles the results of all programs that the role runs.

use super::event_loop::AddressRole;
use super::mail::{self, Letter, Mailer};
use super::report::{moment, state_word};
use super::runner::{JobResult, ProgramJob, Runner, Token};
use super::scripts::ScriptLog;
use super::{Level, Log, Notification, clock, reason};
use crate::config::{Account, Config, Dialect, Fifo, Notify, NotifyScripts};
use crate::programs;
use part::report::Event;
use protocol::vrrp::{Instance, Reason, Time, VrrpState};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// Maximum number of remembered lines that are logged only once.
const MAX_ONCE: usize = 256;

/// Notify pipes, scripts and mail, which report transitions.
#[derive(Debug)]
pub(super) struct Teller {
    fifos: Vec<(Fifo, OwnedFd)>,
    mailer: Option<Mailer>,
    once: BTreeSet<String>,
    pub(super) forwards_ipv6: bool,
    /// States of the sync groups before a reload.
    pub(super) groups_before: Vec<(String, VrrpState)>,
}

impl Teller {
    pub(super) fn open(config: &Config, runner: &Runner, log: &mut Log) -> Teller {
        let mut teller = Teller {
            fifos: Vec::new(),
            mailer: None,
            once: BTreeSet::new(),
            forwards_ipv6: crate::kernel::sysctl::read("net/ipv6/conf/all/forwarding")
                .is_ok_and(|value| value == "1"),
            groups_before: Vec::new(),
        };
        teller.reopen(config, runner, log);
        teller
    }

    /// Reopens the outputs for another configuration, as [`Teller::open`] does. Pipes that stay
    /// configured keep their reader.
    pub(super) fn reopen(&mut self, config: &Config, runner: &Runner, log: &mut Log) {
        let mut old = std::mem::take(&mut self.fifos);
        for fifo in &config.global.fifos {
            if let Some(at) = old.iter().position(|(f, _)| f == fifo) {
                self.fifos.push(old.swap_remove(at));
                continue;
            }
            match open_fifo(fifo) {
                Ok(fd) => self.fifos.push((fifo.clone(), fd)),
                Err(error) => {
                    log(Level::Error, &format!("{}: {error}", fifo.path.display()));
                    continue;
                }
            }
            if let Some(script) = &fifo.script {
                let mut words = script.words.clone();
                words.push(fifo.path.display().to_string());
                runner.submit(ProgramJob {
                    token: Token::Reader(fifo.path.display().to_string()),
                    words: words.into_iter().map(Into::into).collect(),
                    account: script.account.clone(),
                    timeout: None,
                    queue: None,
                    environment: None,
                    stays: true,
                });
            }
        }
        let mail = config.global.mail.clone().filter(mail::is_complete);
        self.mailer = mail.and_then(|mail| {
            let started = Mailer::start(mail, config.global.router_id.clone());
            started
                .map_err(|error| log(Level::Error, &format!("mail: {error}")))
                .ok()
        });
    }

    /// Logs a line once. The line is not repeated until the list of remembered lines is full and
    /// cleared.
    pub(super) fn once(&mut self, log: &mut Log, level: Level, line: String) {
        if self.once.len() >= MAX_ONCE {
            self.once.clear();
        }
        if !self.once.contains(&line) {
            log(level, &line);
            self.once.insert(line);
        }
    }

    fn write_fifos(&mut self, log: &mut Log, line: &str) {
        let mut failed = Vec::new();
        for (fifo, fd) in &self.fifos {
            // A line is shorter than PIPE_BUF, so the write is atomic.
            if let Err(errno) = rustix::io::write(fd, line.as_bytes()) {
                let path = fifo.path.display();
                failed.push(format!("{path}: {errno}: no reader, lines are dropped"));
            }
        }
        for line in failed {
            self.once(log, Level::Warning, line);
        }
    }

    fn mail(&mut self, log: &mut Log, letter: Letter) {
        if let Some(mailer) = &self.mailer
            && let Err(words) = mailer.send(letter)
        {
            self.once(log, Level::Warning, words.to_owned());
        }
    }

    pub(super) fn mail_said(&mut self) -> impl Iterator<Item = String> {
        self.mailer
            .as_ref()
            .map(Mailer::said)
            .unwrap_or_default()
            .into_iter()
    }

    /// Returns why a script is not run: its file is missing, or `enable_script_security` forbids
    /// it.
    pub(super) fn refuses(
        &self,
        config: &Config,
        words: &[String],
        account: Option<&Account>,
    ) -> Option<String> {
        let program = Path::new(words.first()?);
        if let Err(error) = std::fs::metadata(program)
            && program.is_absolute()
        {
            return Some(format!("{}: {error}", program.display()));
        }
        let own = rustix::process::geteuid().as_raw();
        let runs_as = account.map_or(own, |account| account.uid);
        if !config.global.script_security || runs_as != 0 {
            return None;
        }
        programs::changeable(words).map(|part| {
            format!(
                "Unsafe permissions found for script '{}': users other than root can write {}",
                program.display(),
                part.display()
            )
        })
    }
}

/// Opens a named pipe, and creates it if it does not exist. The pipe is opened for reading and
/// writing, so that a write needs no reader and never blocks.
fn open_fifo(fifo: &Fifo) -> rustix::io::Result<OwnedFd> {
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo.path,
        rustix::fs::FileType::Fifo,
        mode,
        0,
    ) {
        Ok(()) => {
            if let Some(account) = &fifo.account {
                let uid = rustix::fs::Uid::from_raw(account.uid);
                let gid = rustix::fs::Gid::from_raw(account.gid);
                rustix::fs::chown(&fifo.path, Some(uid), Some(gid))?;
            }
        }
        Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(&fifo.path, flags, Mode::empty())?;
    let found = rustix::fs::fstat(&fd)?;
    if rustix::fs::FileType::from_raw_mode(found.st_mode) != rustix::fs::FileType::Fifo {
        return Err(rustix::io::Errno::NOTSUP);
    }
    Ok(fd)
}

impl AddressRole {
    pub(super) fn entered(&mut self, at: usize, from: VrrpState, to: VrrpState, why: &Reason) {
        let now = clock::now();
        let own = self.config.dialect == Dialect::Own;
        let mut words = reason::words(why);
        if from == VrrpState::Master && *why == Reason::Stopped {
            words += "; the addresses are removed";
        }
        let ours = self.router.status(Instance(at)).map_or(0, |s| s.priority);
        let Some(member) = self.members.get_mut(at) else {
            return;
        };
        member.state = to;
        let mut is_freed = false;
        if to == VrrpState::Master {
            member.history.master_at = Some(now);
        } else {
            is_freed = std::mem::take(&mut member.history.is_resumed);
        }
        let name = member.config.name.clone();
        // Checks whether the state equals that before a reload or of the previous process, which is
        // no transition.
        let same = member.previous_state.take() == Some(to);
        let event = Event {
            at: moment(now),
            from: state_word(from).to_owned(),
            to: state_word(to).to_owned(),
            why: words.clone(),
        };
        self.keeper.keep_now();
        if !same {
            member.history.push(event.clone());
        }
        if is_freed {
            // Updates the limits of the instance, which until now owned the addresses only because
            // its predecessor did.
            self.update_limits(now, at);
        }
        if same {
            return;
        }
        tracing::info!(
            instance = name,
            from = state_word(from),
            to = state_word(to),
            priority = ours,
            reason = words,
            "VRRP state changed"
        );
        let line = log_line(&name, from, to, why);
        let line = if own {
            format!("{line}: {words}")
        } else {
            line
        };
        if let Some(before) = before_line(&name, why, ours) {
            self.log(Level::Info, &before);
        }
        self.log(Level::Notice, &line);
        if !own && to == VrrpState::Fault {
            self.log(Level::Info, &format!("({name}) {words}"));
        }
        self.given.orders.send_notification(Notification::Changed {
            name: name.clone(),
            event: Box::new(event),
        });
        if to == VrrpState::Init && *why != Reason::Stopped {
            return;
        }
        let word = if to == VrrpState::Init {
            "STOP"
        } else {
            state_word(to)
        };
        self.notify(at, word);
    }

    /// Runs the scripts, pipes and mail of a state: the script of that state first, then the
    /// generic one.
    pub(super) fn notify(&mut self, at: usize, word: &str) {
        let Some(member) = self.members.get(at) else {
            return;
        };
        let config = &member.config;
        let (name, priority) = (config.name.clone(), member.judgement.priority);
        let scripts = config.notify.clone();
        let global = &self.config.global;
        let faults = word != "FAULT" || !global.no_mail_on_faults;
        let mails =
            config.options.smtp_alert.unwrap_or(global.smtp_alert) && faults && word != "STOP";
        self.run_scripts(&scripts, "INSTANCE", &name, word, priority);
        if mails {
            self.teller
                .mail(&mut self.given.log, mail::of_instance(&name, word));
        }
    }

    fn run_scripts(
        &mut self,
        scripts: &NotifyScripts,
        kind: &str,
        name: &str,
        word: &str,
        priority: u8,
    ) {
        let own = match word {
            "MASTER" => scripts.master.clone(),
            "BACKUP" => scripts.backup.clone(),
            "FAULT" => scripts.fault.clone(),
            "STOP" => scripts.stop.clone(),
            "DELETED" => scripts.deleted.clone(),
            "MASTER_RX_LOWER_PRI" => scripts.lower_priority.clone(),
            _ => None,
        };
        if let Some(script) = own {
            self.start_notify(&script, &[], kind, name);
        }
        let arguments = [kind, name, word, &priority.to_string()].map(str::to_owned);
        if let Some(script) = scripts.any.clone()
            && !matches!(
                word,
                "MASTER_RX_LOWER_PRI" | "MASTER_PRIORITY" | "BACKUP_PRIORITY"
            )
        {
            self.start_notify(&script, &arguments, kind, name);
        }
        let line = format!("{kind} \"{name}\" {word} {priority}\n");
        self.teller.write_fifos(&mut self.given.log, &line);
    }

    fn start_notify(&mut self, script: &Notify, arguments: &[String], kind: &str, name: &str) {
        let account = script.account.clone();
        let account = account.or_else(|| self.config.global.script_user.clone());
        if let Some(words) = self
            .teller
            .refuses(&self.config, &script.words, account.as_ref())
        {
            let line = format!("Disabling notify script: {words}");
            self.teller.once(&mut self.given.log, Level::Warning, line);
            return;
        }
        let mut words = script.words.clone();
        words.extend_from_slice(arguments);
        let started = self.runner.submit(ProgramJob {
            // Names the program without its arguments, which may be secret.
            token: Token::Notify(words.first().cloned().unwrap_or_default()),
            words: words.into_iter().map(Into::into).collect(),
            account,
            timeout: None,
            queue: Some(format!("{kind} {name}")),
            environment: None,
            stays: false,
        });
        if !started {
            let line = "too many programs are waiting: notify script not run".to_owned();
            self.teller.once(&mut self.given.log, Level::Warning, line);
        }
    }

    /// `fifo_write_vrrp_states_on_reload`: writes all states to the pipes, even if the reload
    /// changed nothing.
    pub(super) fn write_states(&mut self) {
        let mut lines = Vec::new();
        for member in &self.members {
            let (name, priority) = (&member.config.name, member.judgement.priority);
            if member.is_started && member.state != VrrpState::Init {
                let word = state_word(member.state);
                lines.push(format!("INSTANCE \"{name}\" {word} {priority}\n"));
            }
        }
        for group in &self.config.groups {
            let of = |m: &&super::member::VrrpInstance| group.members.contains(&m.config.name);
            let first = self.members.iter().find(of).map(|m| m.state);
            if let Some(state) = first.filter(|state| *state != VrrpState::Init) {
                let word = state_word(state);
                lines.push(format!("GROUP \"{}\" {word} 0\n", group.name));
            }
        }
        for line in lines {
            self.teller.write_fifos(&mut self.given.log, &line);
        }
    }

    pub(super) fn group_entered(&mut self, at: usize, to: VrrpState) {
        let Some(group) = self.config.groups.get(at) else {
            return;
        };
        let (name, scripts) = (group.name.clone(), group.notify.clone());
        let of = |m: &super::member::VrrpInstance| group.members.contains(&m.config.name);
        let same = self
            .teller
            .groups_before
            .iter()
            .any(|(n, s)| *n == name && *s == to);
        self.teller.groups_before.retain(|(n, _)| *n != name);
        if same {
            return;
        }
        let mails = group.smtp_alert.unwrap_or(self.config.global.smtp_alert);
        let members = self.members.iter().filter(|m| of(m)).count();
        let word = if to == VrrpState::Init {
            "STOP"
        } else {
            state_word(to)
        };
        if to != VrrpState::Init && members > 0 {
            let line = format!("VRRP_Group({name}) Syncing instances to {word} state");
            self.log(Level::Info, &line);
        }
        self.run_scripts(&scripts, "GROUP", &name, word, 0);
        let faults = word != "FAULT" || !self.config.global.no_mail_on_faults;
        if mails && faults && word != "STOP" {
            self.teller
                .mail(&mut self.given.log, mail::of_group(&name, word));
        }
    }

    pub(super) fn report_lower_advert(&mut self, at: usize) {
        let Some(member) = self.members.get(at) else {
            return;
        };
        let (name, priority) = (member.config.name.clone(), member.judgement.priority);
        let scripts = member.config.notify.clone();
        self.run_scripts(&scripts, "INSTANCE", &name, "MASTER_RX_LOWER_PRI", priority);
    }

    /// `notify_priority_changes`: reports a changed priority to the readers of the pipes.
    pub(super) fn tell_priority(&mut self, at: usize) {
        let Some(member) = self.members.get(at) else {
            return;
        };
        let global = self.config.global.notify_priority_changes;
        if !member
            .config
            .options
            .notify_priority_changes
            .unwrap_or(global)
        {
            return;
        }
        let (name, priority) = (&member.config.name, member.judgement.priority);
        let word = match member.state {
            VrrpState::Master => "MASTER_PRIORITY",
            _ => "BACKUP_PRIORITY",
        };
        let line = format!("INSTANCE \"{name}\" {word} {priority}\n");
        self.teller.write_fifos(&mut self.given.log, &line);
    }

    pub(super) fn start_scripts(&mut self, now: Time) {
        let generation = self.tracker.generation;
        for asked in &mut self.tracker.scripts {
            let Some(job) = asked.job(now) else {
                continue;
            };
            let script = asked.script();
            let account = script.account.as_ref();
            // Checks the program before each run, because it may have been replaced.
            if let Some(words) = self.teller.refuses(&self.config, &script.words, account) {
                let line = format!("track script {} is not run: {words}", script.name);
                self.teller.once(&mut self.given.log, Level::Warning, line);
                asked.ended(
                    now,
                    generation,
                    &JobResult::NotStarted(std::io::Error::other(words)),
                );
            } else if !self.runner.submit(job) {
                asked.ended(now, generation, &JobResult::TooMany);
            }
        }
    }

    pub(super) fn handle_ended_programs(&mut self) {
        let now = clock::now();
        let mut changed = false;
        for (token, outcome) in self.runner.ended() {
            match token {
                Token::Script(name, generation) => {
                    let asked = self.tracker.scripts.iter_mut();
                    let Some(asked) = asked.into_iter().find(|a| a.script().name == name) else {
                        continue;
                    };
                    let (said, verdict) = asked.ended(now, generation, &outcome);
                    changed |= verdict;
                    for said in said {
                        match said {
                            ScriptLog::Detail(line) => (self.given.log)(Level::Detail, &line),
                            ScriptLog::Verdict(line) => (self.given.log)(Level::Notice, &line),
                        }
                    }
                }
                Token::Notify(words) | Token::Reader(words) => {
                    if let Some(how) = ended_badly(&outcome) {
                        self.log(Level::Warning, &format!("`{words}` {how}"));
                    }
                }
                Token::Once(what) => {
                    if let Some(how) = ended_badly(&outcome) {
                        self.log(Level::Warning, &format!("{what} {how}"));
                    }
                }
            }
        }
        let lines: Vec<String> = self.teller.mail_said().collect();
        for line in lines {
            self.log(Level::Info, &line);
        }
        if changed {
            self.evaluate_all_instances(now);
        }
    }

    pub(super) fn run_once(&mut self, what: &'static str, script: &(Notify, Duration)) {
        let (notify, timeout) = script;
        let account = notify.account.clone();
        self.runner.submit(ProgramJob {
            token: Token::Once(what),
            words: notify.words.iter().map(Into::into).collect(),
            account: account.or_else(|| self.config.global.script_user.clone()),
            timeout: Some(*timeout),
            queue: None,
            environment: None,
            stays: false,
        });
    }
}

pub(super) fn ended_badly(outcome: &JobResult) -> Option<String> {
    match outcome {
        JobResult::Exited(0) => None,
        JobResult::Exited(code) => Some(format!("ended with status {code}")),
        JobResult::Signalled(number) => Some(format!("was killed by signal {number}")),
        JobResult::TimedOut => Some("timed out".to_owned()),
        JobResult::NotStarted(error) => Some(format!("could not be started: {error}")),
        JobResult::TooMany => Some("was not started: too many programs are running".to_owned()),
    }
}

/// Returns the line that keepalived logs when a state is entered.
fn log_line(name: &str, from: VrrpState, to: VrrpState, why: &Reason) -> String {
    match (to, why) {
        (VrrpState::Init, _) => format!("({name}) Stopped"),
        (VrrpState::Backup, Reason::Started) if from == VrrpState::Init => {
            format!("({name}) Entering BACKUP STATE (init)")
        }
        _ => format!("({name}) Entering {} STATE", state_word(to)),
    }
}

/// Returns the line that keepalived logs before the transition, if there is one.
fn before_line(name: &str, why: &Reason, ours: u8) -> Option<String> {
    match why {
        Reason::Silence { .. } | Reason::SilenceBound { .. } => {
            Some(format!("({name}) Receive advertisement timeout"))
        }
        Reason::OwnerStopped { .. } => {
            Some(format!("({name}) Backup received priority 0 advertisement"))
        }
        Reason::Preempted { by, priority } if *priority == ours => Some(format!(
            "({name}) Master received advert from {by} with same priority {ours} but higher \
             IP address than ours"
        )),
        Reason::Preempted { by, priority } => Some(format!(
            "({name}) Master received advert from {by} with higher priority {priority}, ours {ours}"
        )),
        _ => None,
    }
}
