//! Sync groups: all members move together. A fault of one is a fault of all. All become master when
//! each of them may, and when one yields all do.

use super::defect::Defect;
use super::machine::{Machine, Transition};
use super::{Action, Instance, Reason, Router, State, Time};

impl Router {
    /// Returns the members of the instance's group, or the instance alone.
    pub(super) fn members(&self, at: Instance) -> Vec<Instance> {
        let group = self.member_of.get(at.0).copied().flatten();
        match group.and_then(|group| self.groups.get(group)) {
            Some(group) => group.members.iter().copied().map(Instance).collect(),
            None => vec![at],
        }
    }

    /// Returns whether the instance belongs to a group.
    pub(super) fn is_grouped(&self, at: Instance) -> bool {
        self.member_of.get(at.0).copied().flatten().is_some()
    }

    /// Returns the first of these members that has a fault, and the reason for the others.
    pub(super) fn faulty(&self, members: &[Instance]) -> Option<(Instance, Reason)> {
        members.iter().find_map(|member| {
            let machine = self.machines.get(member.0)?;
            machine.fault.as_ref()?;
            let member_name = self.settings.get(member.0)?.name.clone();
            Some((
                *member,
                Reason::Group {
                    member: member_name,
                },
            ))
        })
    }

    /// Puts all of these into fault because one of them has one.
    pub(super) fn fail(&mut self, now: Time, members: &[Instance], of: Instance, why: &Reason) {
        for member in members {
            self.step(now, *member, |machine, ctx| {
                if !matches!(machine.state, State::Backup | State::Master)
                    || ctx.broken(Defect::TakesOverWithFault)
                {
                    return;
                }
                let own = machine.fault.clone().map(Reason::Failed);
                debug_assert!(own.is_some() || *member != of);
                machine.enter_fault(ctx, own.unwrap_or_else(|| why.clone()));
            });
        }
    }

    /// Executes a transition, for the whole sync group if there is one.
    pub(super) fn settle(&mut self, now: Time, at: Instance, want: Option<Transition>) {
        let Some(want) = want else {
            return;
        };
        if !self.is_grouped(at) {
            self.step(now, at, |machine, ctx| match want {
                Transition::Master(why) => machine.enter_master(ctx, why),
                Transition::Backup(why) => machine.enter_backup(ctx, why),
            });
            return;
        }
        match want {
            Transition::Master(why) => self.rise(now, at, why),
            Transition::Backup(why) => self.fall(now, at, why),
        }
        self.tell_groups();
    }

    /// Handles a member that may become master: all do when each of them may.
    fn rise(&mut self, now: Time, at: Instance, why: Reason) {
        self.step(now, at, |machine, _| machine.wait.ready = Some(why));
        let members = self.members(at);
        let all = members.iter().all(|member| {
            let machine = self.machines.get(member.0);
            machine.is_some_and(|m| match m.state {
                State::Backup => m.wait.ready.is_some(),
                State::Master => true,
                State::Init | State::Fault => false,
            })
        });
        if !all {
            return;
        }
        for member in members {
            self.step(now, member, |machine, ctx| {
                if let Some(why) = machine.wait.ready.take() {
                    machine.enter_master(ctx, why);
                }
            });
        }
    }

    /// Handles a member that yields: all members yield with it.
    fn fall(&mut self, now: Time, at: Instance, why: Reason) {
        let member = self
            .settings
            .get(at.0)
            .map(|settings| settings.name.clone());
        let group = match &why {
            // The whole group is handed over to the same machine.
            Reason::HandOver { by } => Reason::HandOver { by: *by },
            _ => Reason::Group {
                member: member.unwrap_or_default(),
            },
        };
        self.step(now, at, |machine, ctx| machine.enter_backup(ctx, why));
        for other in self.members(at).into_iter().filter(|other| *other != at) {
            self.step(now, other, |machine, ctx| match machine.state {
                State::Master => machine.enter_backup(ctx, group.clone()),
                State::Backup => machine.wait_anew(ctx),
                State::Init | State::Fault => {}
            });
        }
    }

    /// Reports the groups whose members have all changed state.
    pub(super) fn tell_groups(&mut self) {
        for group in 0..self.groups.len() {
            let state = self.group_state(group);
            let told = self.group_states.get_mut(group);
            if let Some(told) = told.filter(|told| **told != state) {
                *told = state;
                self.actions
                    .push_back(Action::GroupEntered { group, to: state });
            }
        }
    }

    fn group_state(&self, group: usize) -> State {
        let members = self.groups.get(group).map(|group| &group.members);
        let machines = || {
            let members = members.into_iter().flatten();
            members.filter_map(|member| self.machines.get(*member))
        };
        let all = |state: State| machines().all(|machine: &Machine| machine.state == state);
        if all(State::Init) {
            State::Init
        } else if machines().any(|machine| machine.state == State::Fault) {
            State::Fault
        } else if all(State::Master) {
            State::Master
        } else {
            State::Backup
        }
    }
}
