//! The volumes of this node, each on a thread of its own. This thread starts
//! and stops them, and reads how they are: it never waits for a disk.

mod socket;
mod worker;

pub use worker::{Confine, Place};

use crate::config::{Volumes, size_words};
use crate::report;
use part::codec;
use part::report::Report;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use worker::Worker;

/// How long volumes may take to stop, a little more than their requests may.
const STOP_MAX: Duration = Duration::from_secs(11);
/// How often it is looked at whether they have stopped.
const STOP_LOOK: Duration = Duration::from_millis(5);

/// The volumes that run.
#[derive(Debug)]
pub struct Role {
    place: Place,
    workers: BTreeMap<String, Worker>,
    /// Those that were told to stop.
    ending: Vec<Worker>,
}

impl Role {
    /// Without any volume.
    pub fn new(place: Place) -> Role {
        Role {
            place,
            workers: BTreeMap::new(),
            ending: Vec::new(),
        }
    }

    /// Goes over to the volumes of another version. Those that stay are not touched.
    ///
    /// # Errors
    /// The payload cannot be read, or a volume would become smaller: then nothing changes.
    pub fn change(&mut self, payload: &[u8]) -> Result<(), String> {
        let volumes = codec::decode::<Volumes>(payload).map_err(|error| error.to_string())?;
        for (name, spec) in &volumes.0 {
            let worker = self.workers.get(name);
            let same = worker.filter(|worker| worker.spec().backing == spec.backing);
            if let Some(has) = same.map(Worker::size_bytes)
                && has > spec.size_bytes
            {
                let (has, wanted) = (size_words(has), size_words(spec.size_bytes));
                return Err(format!(
                    "volume '{name}' has {has} and cannot shrink to {wanted}: write `size {has}`. Nothing was written"
                ));
            }
        }
        let stays = |(name, worker): &(String, Worker)| {
            let spec = volumes.0.get(name);
            spec.is_some_and(|spec| spec.backing == worker.spec().backing)
        };
        let all = std::mem::take(&mut self.workers).into_iter();
        let (workers, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = all.partition(stays);
        self.workers = workers;
        for (_, worker) in gone {
            worker.stop();
            self.ending.push(worker);
        }
        self.ending.retain(|worker| !worker.has_ended());
        for (name, spec) in volumes.0 {
            match self.workers.get_mut(&name) {
                Some(worker) => worker.grow(spec.size_bytes),
                None => {
                    let worker = Worker::start(&name, spec, self.place.clone());
                    self.workers.insert(name, worker);
                }
            }
        }
        Ok(())
    }

    /// Returns the report for operators.
    pub fn report(&self) -> Report {
        let ending = self.ending.iter().filter(|worker| !worker.has_ended());
        let new = |name: &str| self.workers.contains_key(name);
        let ending = ending.filter(|worker| !new(&worker.name()));
        report::of(ending.chain(self.workers.values()).map(Worker::status))
    }
}

impl Drop for Role {
    /// Stops all volumes, and waits for them for a while.
    fn drop(&mut self) {
        let workers = std::mem::take(&mut self.workers);
        workers.values().for_each(Worker::stop);
        self.ending.extend(workers.into_values());
        let until = Instant::now() + STOP_MAX;
        while Instant::now() < until && !self.ending.iter().all(Worker::has_ended) {
            std::thread::sleep(STOP_LOOK);
        }
    }
}
