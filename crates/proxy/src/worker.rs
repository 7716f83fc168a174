//! Runs one thread that serves clients, and switches it to the newest configuration: its accept
//! tasks, idle clients, idle server connections and pooled streams. Each is switched once per
//! change, in small steps between the turns of the event loop, so that a change of ten thousand
//! listeners or servers delays no client.

use crate::accept::{AcceptLoop, AcceptTarget};
use crate::listener::{OpenListeners, SocketKey};
use crate::runtime::{self, Runtime, keep_to};
use crate::server_connection::pools;
use model::config::Config;
use model::thread::{self, Thread};
use std::cell::RefCell;
use std::collections::HashSet;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

/// Maximum number of accept tasks that are started or changed in one step.
const LOOPS_AT_ONCE: usize = 64;
/// Maximum number of tasks that are woken in one step to check for the new configuration.
const TASKS_AT_ONCE: usize = 64;
/// Maximum number of recycled streams that are freed in one step.
const STREAMS_AT_ONCE: usize = 64;

struct Worker {
    runtime: &'static Runtime,
    thread: &'static Thread,
    accepting: RefCell<Vec<Rc<AcceptLoop>>>,
}

pub fn begin(runtime: &'static Runtime, thread: usize) {
    runtime::begin(runtime);
    let worker: &'static Worker = Box::leak(Box::new(Worker {
        runtime,
        thread: thread::begin(runtime, thread),
        accepting: RefCell::default(),
    }));
    reactor::spawn(crate::server_connection::purge());
    reactor::spawn(crate::server_connection::watch());
    reactor::spawn(follow(worker));
    reactor::spawn(crate::vitals::beat(runtime, thread));
}

async fn follow(worker: &'static Worker) {
    let mut reached = None;
    let mut cpus = None;
    loop {
        newer_than(worker, reached).await;
        let (config, open) = worker.runtime.newest();
        reached = Some(config.version);
        keep_to_cpus(worker, &config, &mut cpus);
        go_over(worker, &config, &open).await;
    }
}

async fn newer_than(worker: &'static Worker, reached: Option<u64>) {
    let mut told = false;
    poll_fn(|context| {
        if worker.runtime.stopping() {
            soft_stop();
        }
        if !std::mem::replace(&mut told, true) {
            worker
                .runtime
                .follow(worker.thread.thread(), context.waker());
        }
        if reached == Some(worker.runtime.generation()) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await
}

/// Lets the thread end when its last connection has ended.
fn soft_stop() {
    pools().clear();
    reactor::set_end_condition(|| thread::current_thread_data().sessions() == 0);
}

/// Applies the `cpu-map` of the newest configuration. Without a `cpu-map` the thread may run on
/// all processors of the process.
fn keep_to_cpus(worker: &Worker, config: &Config, cpus: &mut Option<Vec<u32>>) {
    let wanted = config
        .global
        .cpus_of_thread(worker.thread.thread() as u32 + 1);
    if wanted == *cpus {
        return;
    }
    match &wanted {
        Some(wanted) => keep_to(wanted),
        None => keep_to(&worker.runtime.cpus),
    }
    *cpus = wanted;
}

/// Switches the thread to a configuration. Returns early when a newer one is installed meanwhile.
async fn go_over(worker: &'static Worker, config: &Arc<Config>, open: &OpenListeners) {
    worker.thread.apply_newest_config();
    listen(worker, config, open).await;
    let mut older = worker.thread.take_streams();
    while !older.is_empty() {
        older.truncate(older.len().saturating_sub(STREAMS_AT_ONCE));
        reactor::yield_now().await;
    }
    // Wakes idle clients, which find their listener in the newest configuration themselves.
    let mut next = Some(0);
    while let Some(at) = next.filter(|_| worker.thread.is_newest(config)) {
        next = reactor::wake_some(at, TASKS_AT_ONCE);
        reactor::yield_now().await;
    }
    pools().close_useless().await;
}

/// Gives each accept task its listener under a new configuration, ends the tasks of removed
/// listeners, and starts tasks for new ones.
async fn listen(worker: &'static Worker, config: &Arc<Config>, open: &OpenListeners) {
    worker.accepting.borrow_mut().retain(|one| !one.has_ended());
    let present = worker.accepting.borrow().clone();
    let known: HashSet<SocketKey> = present.iter().map(|one| one.key).collect();
    for some in present.chunks(LOOPS_AT_ONCE) {
        for one in some {
            give_orders(worker, one, config, open);
        }
        reactor::yield_now().await;
    }
    if worker.thread.is_resting() {
        return;
    }
    let mut started = 0;
    for (key, listening) in open.iter().filter(|(key, _)| !known.contains(key)) {
        let Some(target) = AcceptTarget::new(config, listening) else {
            continue;
        };
        let one = AcceptLoop::start(*key, target);
        worker.accepting.borrow_mut().push(one);
        started += 1;
        if started % LOOPS_AT_ONCE == 0 {
            reactor::yield_now().await;
        }
    }
}

fn give_orders(worker: &Worker, one: &Rc<AcceptLoop>, config: &Arc<Config>, open: &OpenListeners) {
    let listening = open.get(one.key);
    let target = listening.and_then(|listening| AcceptTarget::new(config, listening));
    match target {
        Some(_) if worker.thread.is_resting() => one.leave(),
        Some(target) => return one.accept_for(target),
        None => one.close(),
    }
    worker
        .accepting
        .borrow_mut()
        .retain(|other| !Rc::ptr_eq(one, other));
}
