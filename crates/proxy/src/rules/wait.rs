//! Rules that wait: an action hands a future to the driver of its stream, the
//! driver waits for it (and for the client, whose going ends it), carries out
//! what came of it and asks the rules again, from the rule behind this one on.
//! It never blocks a thread, and holds nothing of the stream meanwhile.

use crate::transaction::Stream;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What is done to the stream once the waiting is over, before its rules go on.
pub type Applied = Box<dyn FnOnce(&mut Stream)>;

/// What a rule waits for. It is waited for on the stream's own thread.
pub struct Wait(Pin<Box<dyn Future<Output = Applied>>>);

impl Wait {
    /// Waits for a future.
    pub fn new(future: impl Future<Output = Applied> + 'static) -> Wait {
        Wait(Box::pin(future))
    }
}

impl Future for Wait {
    type Output = Applied;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Applied> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wait")
    }
}
