//! A planned hand-over never leaves the address to nobody.

use super::super::plan::source;
use super::super::scene::Scene;
use super::Verdict;
use crate::vrrp::{Action, HandOver};

#[derive(Default)]
pub struct HandOvers;

impl HandOvers {
    pub fn action(&mut self, scene: &Scene, host: usize, action: &Action) -> Verdict {
        let Action::HandOver {
            step: HandOver::Taken { by },
            ..
        } = action
        else {
            return Ok(());
        };
        if scene.now < scene.forged_until {
            return Ok(());
        }
        let others = scene.hosts.iter().filter(|other| other.place != host);
        // It may have been struck down since it said that it took over.
        let said = scene.now - scene.network.longest_ns().min(scene.now);
        let taken = others.clone().any(|other| other.answers())
            || others.clone().any(|other| {
                let undisturbed = other.steady_since < said && other.awake();
                source(other.place) == *by && !undisturbed
            });
        if taken {
            Ok(())
        } else {
            Err(format!(
                "machine {host} hands over to {by}, and nobody has it"
            ))
        }
    }
}
