//! Requests for the route of a request; a separate process handles each one.

use crate::between::Asks;
use crate::route_process::{PROCESSES_MAX, RouteProcess};
use crate::state::Supervisor;
use part::SharedFd;
use part::channel::Received;
use part::role::SupervisorMessage;
use std::sync::Arc;
use std::time::Instant;

impl Supervisor {
    pub(super) fn begin_route(&mut self, of: Asks, received: Received) {
        if self.between.routes.len() >= PROCESSES_MAX {
            let words = "other requests are being evaluated: try again in a moment";
            return self.answer_nothing(of, words, true);
        }
        let Some(connection) = received.descriptors.into_iter().next() else {
            return self.answer_nothing(of, "the request has no connection", true);
        };
        let Some(bundle) = self.bundle() else {
            return self.answer_nothing(of, "nothing is served here yet", true);
        };
        let descriptors = [Arc::new(connection), bundle];
        match RouteProcess::start(self.command.personality, &received.message, &descriptors) {
            Ok(route) => {
                self.between.routes.push(route);
                self.answer_to(of, &SupervisorMessage::Answer { bytes: Vec::new() }, &[]);
            }
            Err(error) => {
                self.voice.warning(&error);
                self.answer_nothing(of, &error.to_string(), true);
            }
        }
    }

    pub(super) fn look_at_routes(&mut self) {
        let now = Instant::now();
        let (mut heard, mut ended, voice) = (Vec::new(), Vec::new(), &mut self.voice);
        self.between.routes.retain_mut(|route| {
            let (asked, lives) = route.turn(voice, now);
            heard.extend(asked.into_iter().map(|one| (route.number(), one)));
            if !lives {
                ended.push(route.number());
            }
            lives
        });
        let waits = |of: Asks| !matches!(of, Asks::Route(number, _) if ended.contains(&number));
        self.between.open.retain(|question| waits(question.of));
        for (number, received) in heard {
            if matches!(received.message, SupervisorMessage::Part(_)) {
                self.pass_on(Asks::Route(number, received.ask), received);
            }
        }
    }

    pub(super) fn answer_route(
        &mut self,
        number: i32,
        ask: u64,
        message: &SupervisorMessage,
        descriptors: &[SharedFd],
    ) {
        let mut routes = self.between.routes.iter_mut();
        if let Some(route) = routes.find(|route| route.number() == number) {
            route.answer(ask, message, descriptors);
        }
    }

    pub(super) fn end_routes(&mut self) {
        self.between.routes.drain(..).for_each(RouteProcess::end);
    }
}
