//! Runs the script of a health check as a state machine. The caller reports received data and
//! events, and the machine returns the next action until there is a verdict. The caller,
//! `proxy::health`, has the socket and the clock.

use super::expect::{ANSWER_MAX, INFO_MAX, Judged, ReceivedResponse, with_quoted_comment};
use super::hello::hello;
use super::http::Request;
use super::scene::{CheckVariables, Scene, Subject};
use super::unhex;
use crate::script::{CheckStep, Connect, MessageStyle, PortSource, Script, Send, StepAction};
use crate::state::{CheckResult, CheckStatus};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outgoing {
    Bytes(Vec<u8>),
    Http(Request),
}

pub enum Next<'s> {
    /// Close the current connection, if any, and open a new one, to this port if given. Then call
    /// [`Play::connected`] or report a failure.
    Connect(&'s Connect, Option<u16>),
    /// Send the data. Then call [`Play::done`] or report a failure.
    Send(Outgoing),
    /// Read. Then call [`Play::received`] or report a failure.
    Receive,
    Verdict(CheckResult),
}

/// Execution of a check script. The caller does the I/O that [`Play::next_step`] requests.
pub struct Play<'s> {
    script: &'s Script,
    subject: Subject,
    memory: CheckVariables,
    state: Option<&'s str>,
    /// `http-check disable-on-404`: a response with status 404 means that the server must get no
    /// new sessions.
    gentle_404: bool,
    at: usize,
    /// Data received since the last send or connect.
    input: Vec<u8>,
    ended: bool,
    /// Index and result of the last passed `expect` step.
    passed: Option<(usize, CheckResult)>,
    secured: bool,
    connections: u32,
    /// A `send` or `expect` step was executed.
    talked: bool,
}

impl<'s> Play<'s> {
    /// Starts a script; `state` is the header line of `http-check send-state`.
    pub fn new(
        script: &'s Script,
        subject: Subject,
        state: Option<&'s str>,
        gentle_404: bool,
    ) -> Self {
        Play {
            script,
            subject,
            memory: CheckVariables::default(),
            state,
            gentle_404,
            at: 0,
            input: Vec::new(),
            ended: false,
            passed: None,
            secured: false,
            connections: 0,
            talked: false,
        }
    }

    pub fn next_step(&mut self) -> Next<'s> {
        let script = self.script;
        while let Some(step) = script.steps.get(self.at) {
            match &step.action {
                StepAction::Comment => {}
                StepAction::Variable(change) => self.scene().change(change),
                StepAction::Connect(connect) => {
                    self.forget();
                    let port = self.port(connect);
                    return Next::Connect(connect, port);
                }
                StepAction::Send(send) => {
                    self.forget();
                    self.talked = true;
                    return match self.compose(send) {
                        Some(outgoing) => Next::Send(outgoing),
                        None => {
                            let told = format!(
                                "tcp-check send : failed to build log-format string at step {}",
                                step.number
                            );
                            let status = CheckStatus::Layer7Invalid;
                            Next::Verdict(CheckResult::new(status, 0).info(told))
                        }
                    };
                }
                StepAction::Expect(expect) => {
                    self.talked = true;
                    let answer = ReceivedResponse {
                        bytes: &self.input,
                        ended: self.ended,
                        gentle_404: self.gentle_404,
                        voice: script.voice,
                    };
                    let mut scene = Scene {
                        subject: &self.subject,
                        memory: &mut self.memory,
                        bytes: &self.input,
                        ended: self.ended,
                        http: script.voice == MessageStyle::Http,
                    };
                    match expect.judge(step, &answer, &mut scene) {
                        Judged::Wait if self.ended => {
                            let status = CheckStatus::Layer7Invalid;
                            return Next::Verdict(CheckResult::new(status, 0));
                        }
                        Judged::Wait => return Next::Receive,
                        Judged::Passed(result) => self.passed = Some((self.at, result)),
                        Judged::Decided(result) | Judged::Failed(result) => {
                            return Next::Verdict(result);
                        }
                    }
                }
            }
            self.at += 1;
        }
        Next::Verdict(self.verdict())
    }

    pub fn done(&mut self) {
        self.at += 1;
    }

    pub fn connected(&mut self, secured: bool) {
        self.secured = secured;
        self.connections += 1;
        self.at += 1;
    }

    /// Returns whether the next step can run without data from the server: it sends, connects
    /// again, or the script ends.
    pub fn speaks_next(&self) -> bool {
        let mut next = self.script.steps.iter().skip(self.at + 1);
        let next = next.find(|step| step.acts());
        !next.is_some_and(|step| matches!(step.action, StepAction::Expect(_)))
    }

    pub fn is_first_connection(&self) -> bool {
        self.connections == 0
    }

    /// Processes received bytes; an empty slice is the end of the stream.
    pub fn received(&mut self, bytes: &[u8]) {
        let room = ANSWER_MAX.saturating_sub(self.input.len());
        self.input
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.ended |= bytes.is_empty() || self.input.len() == ANSWER_MAX;
    }

    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Returns the result of a check whose current step timed out. `connecting` is the status to
    /// report if that step was connecting.
    pub fn timed_out(&self, connecting: Option<CheckStatus>) -> CheckResult {
        let status = connecting.unwrap_or_else(|| match self.step() {
            Some(CheckStep {
                action: StepAction::Expect(expect),
                ..
            }) => expect.timeout_status.unwrap_or(CheckStatus::Layer7Timeout),
            Some(_) => CheckStatus::Layer7Timeout,
            None => CheckStatus::Layer4Timeout,
        });
        self.told(status, "")
    }

    pub fn failed(&self, status: CheckStatus, why: &str) -> CheckResult {
        self.told(status, why)
    }

    fn told(&self, status: CheckStatus, why: &str) -> CheckResult {
        let mut text = why.as_bytes().to_vec();
        if self.script.voice == MessageStyle::Steps
            && let Some(step) = self.step()
        {
            text.extend_from_slice(place(step).as_bytes());
            if step.number > 0 {
                text = with_quoted_comment(text, step);
            }
        }
        text.truncate(INFO_MAX);
        let text = String::from_utf8_lossy(&text).into_owned();
        CheckResult::new(status, 0).info(text)
    }

    fn step(&self) -> Option<&'s CheckStep> {
        self.script.steps.get(self.at)
    }

    /// Discards the received bytes, which respond to an earlier request.
    fn forget(&mut self) {
        self.input.clear();
        self.ended = false;
    }

    fn scene(&mut self) -> Scene<'_> {
        Scene {
            subject: &self.subject,
            memory: &mut self.memory,
            bytes: &self.input,
            ended: self.ended,
            http: self.script.voice == MessageStyle::Http,
        }
    }

    fn port(&mut self, connect: &Connect) -> Option<u16> {
        let port = match connect.port.as_ref()? {
            PortSource::Number(port) => *port,
            PortSource::Expression(expression) => {
                let port = self.scene().number(expression)?;
                u16::try_from(port).ok()?
            }
        };
        (port != 0).then_some(port)
    }

    fn compose(&mut self, send: &Send) -> Option<Outgoing> {
        let state = self.state;
        let mut scene = self.scene();
        Some(match send {
            Send::Bytes(bytes) => Outgoing::Bytes(bytes.to_vec()),
            Send::Format(format) => Outgoing::Bytes(scene.text(format).into_owned()),
            Send::HexFormat(format) => Outgoing::Bytes(unhex(&scene.text(format))?),
            Send::TlsHello => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                Outgoing::Bytes(hello(now.map_or(0, |now| now.as_secs() as u32)))
            }
            Send::Http(send) => Outgoing::Http(Request::of(send, &mut scene, state)),
        })
    }

    fn verdict(&mut self) -> CheckResult {
        if let Some((at, result)) = self.passed.take() {
            // Reports the status code only if the passed `expect` is the last step of the script.
            let last = at + 1 == self.script.steps.len();
            return CheckResult {
                code: if last { result.code } else { 0 },
                ..result
            };
        }
        let status = match (self.talked, self.secured) {
            (true, _) => CheckStatus::Layer7Ok,
            (_, true) => CheckStatus::Layer6Ok,
            _ => CheckStatus::Layer4Ok,
        };
        let asked =
            |step: &CheckStep| step.number > 0 && !matches!(step.action, StepAction::Variable(_));
        let told = self.script.voice == MessageStyle::Steps && self.script.steps.iter().any(asked);
        CheckResult::new(status, 0).info(if told { "(tcp-check)" } else { "" })
    }
}

fn place(step: &CheckStep) -> String {
    let what = match &step.action {
        StepAction::Connect(_) if step.number == 0 => {
            return " at initial connection step of tcp-check".to_owned();
        }
        StepAction::Connect(connect) => match connect.port {
            Some(PortSource::Number(port)) => format!("connect port {port}"),
            _ => "connect".to_owned(),
        },
        StepAction::Send(_) => "send".to_owned(),
        StepAction::Expect(expect) => expect.name(),
        StepAction::Comment | StepAction::Variable(_) => "action".to_owned(),
    };
    format!(" at step {} of tcp-check ({what})", step.number)
}
