//! Tests the effect of the proxy's health on the ownership of a virtual address, and the end of a
//! trial of a configuration version after a takeover.

use crate::scene::{LATEST, Scene, VIP, hears_adverts, patient, simple};
use address::config::Config;
use lab::{Signal, eventually};
use protocol::vitals::{BYTES, Band, Vitals, WORDS};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const OWNER: u64 = 7;
/// Maximum number of attempts: on a busy machine a successor may start too late to continue.
const TRIES_MAX: usize = 5;

/// A proxy: a thread that writes heartbeats and a band.
struct Proxy {
    path: PathBuf,
    band: Arc<AtomicUsize>,
    stuck: Arc<AtomicBool>,
    /// Number of the version on trial; it never decreases.
    trial: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Proxy {
    fn start(scene: &Scene, name: &str) -> Proxy {
        let path = scene.scratch.write(name, vec![0; BYTES]).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let proxy = Proxy {
            path,
            band: Arc::default(),
            stuck: Arc::default(),
            trial: Arc::default(),
            ended: Arc::default(),
            thread: Mutex::default(),
        };
        let (band, stuck) = (Arc::clone(&proxy.band), Arc::clone(&proxy.stuck));
        let (ended, trial) = (Arc::clone(&proxy.ended), Arc::clone(&proxy.trial));
        let (ready, begun) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
            let vitals = Vitals::begin(&words).unwrap();
            vitals.claim(OWNER, 1);
            vitals.describe(OWNER, ["VI_1"]);
            while !ended.load(Ordering::Relaxed) {
                if !stuck.load(Ordering::Relaxed) {
                    vitals.write_thread_heartbeat(OWNER, 0, part::clock::boottime_ms());
                }
                vitals.set_band(OWNER, 0, Band::of(band.load(Ordering::Relaxed) as u64));
                vitals.set_candidate_number(OWNER, trial.load(Ordering::Relaxed));
                let bytes = words
                    .iter()
                    .flat_map(|w| w.load(Ordering::Relaxed).to_ne_bytes());
                file.write_all_at(&bytes.collect::<Vec<u8>>(), 0).unwrap();
                let _ = ready.send(());
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        begun.recv().unwrap();
        *proxy.thread.lock().unwrap() = Some(thread);
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.lock().unwrap().take() {
            let _ = thread.join();
        }
    }
}

fn preferring(place: u8) -> Config {
    let mut c = simple(220 - 10 * place);
    c.dialect = address::config::Dialect::Own;
    c.instances[0].bands = Some([220, 140, 60].map(|p: u8| p - 10 * place));
    c
}

#[test]
fn a_machine_whose_proxy_is_stuck_gives_the_address_to_one_that_serves() {
    lab::skip_unless_root!();
    let scene = Scene::new("stuck");
    let proxies = ["a.vitals", "b.vitals"].map(|name| Proxy::start(&scene, name));
    let alpha = scene.role_with(&scene.alpha, &preferring(0), Some(&proxies[0].path));
    assert!(scene.comes_to(&scene.alpha, VIP));
    let beta = scene.role_with(&scene.beta, &preferring(1), Some(&proxies[1].path));
    assert!(eventually(LATEST, || beta.state("VI_1") == "BACKUP"));
    proxies[0].stuck.store(true, Ordering::Relaxed);
    assert!(
        scene.comes_to(&scene.beta, VIP),
        "{}",
        alpha.said().join("\n")
    );
    assert!(scene.leaves(&scene.alpha, VIP));
    assert_eq!(alpha.first().value("band"), Some(2));
    proxies[0].stuck.store(false, Ordering::Relaxed);
    assert!(
        scene.comes_to(&scene.alpha, VIP),
        "it is preferred, and well again"
    );
}

#[test]
fn when_both_are_equally_ill_the_owner_keeps_the_address() {
    lab::skip_unless_root!();
    let scene = Scene::new("ill");
    let proxies = ["a.vitals", "b.vitals"].map(|name| Proxy::start(&scene, name));
    let beta = scene.role_with(&scene.beta, &preferring(1), Some(&proxies[1].path));
    assert!(scene.comes_to(&scene.beta, VIP));
    proxies[1].band.store(1, Ordering::Relaxed);
    assert!(eventually(LATEST, || beta.first().value("band") == Some(1)));
    proxies[0].band.store(1, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(200));
    // The preferred node is as unhealthy as the owner, so it does not take over the address.
    let alpha = scene.role_with(&scene.alpha, &preferring(0), Some(&proxies[0].path));
    assert!(eventually(LATEST, || alpha
        .first()
        .words("with priority")
        .is_some()));
    hears_adverts(&alpha, 10);
    assert_eq!(beta.state("VI_1"), "MASTER");
    assert_eq!(alpha.state("VI_1"), "BACKUP");
}

#[test]
fn a_role_that_follows_a_killed_one_leaves_a_version_on_trial_and_one_that_takes_over_ends_it() {
    lab::skip_unless_root!();
    const ENDS: &str = "the candidate version back";
    let scene = Scene::new("trial");
    let proxies = ["a.vitals", "b.vitals"].map(|name| Proxy::start(&scene, name));
    let vitals = proxies.each_ref().map(|proxy| Some(&*proxy.path));
    let mut alpha = scene.role_with(&scene.alpha, &patient(preferring(0)), vitals[0]);
    assert!(scene.comes_to(&scene.alpha, VIP));
    for proxy in &proxies {
        proxy.trial.store(3, Ordering::Relaxed);
    }
    // A role that starts too late does not continue as the owner, but takes the address over.
    let goes_on = (0..TRIES_MAX).any(|_| {
        alpha.process.signal(Signal::KILL).unwrap();
        alpha.process.wait(LATEST).unwrap();
        alpha = scene.role_with(&scene.alpha, &patient(preferring(0)), vitals[0]);
        assert!(eventually(LATEST, || alpha.state("VI_1") == "MASTER"));
        assert!(scene.has(&scene.alpha, VIP));
        !alpha.says(ENDS)
    });
    assert!(goes_on, "{}", alpha.said().join("\n"));
    let beta = scene.role_with(&scene.beta, &patient(preferring(1)), vitals[1]);
    assert!(eventually(LATEST, || beta.state("VI_1") == "BACKUP"));
    assert!(!beta.says(ENDS), "it took nothing over");
    alpha.order("stop");
    assert!(scene.comes_to(&scene.beta, VIP));
    beta.wait_for(ENDS);
}
