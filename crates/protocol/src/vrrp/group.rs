//! Implements sync groups: all VRRP routers of a group change state together. A fault of one is a
//! fault of all. All become master when each of them may, and when one yields to another router,
//! all do.

use super::defect::VrrpDefect;
use super::machine::{Transition, VirtualRouter};
use super::{Instance, Reason, Router, Time, VrrpAction, VrrpState};

impl Router {
    /// Returns the members of the instance's group, or the instance alone.
    pub(super) fn members(&self, at: Instance) -> Vec<Instance> {
        let group = self.member_of.get(at.0).copied().flatten();
        match group.and_then(|group| self.groups.get(group)) {
            Some(group) => group.members.iter().copied().map(Instance).collect(),
            None => vec![at],
        }
    }

    pub(super) fn is_grouped(&self, at: Instance) -> bool {
        self.member_of.get(at.0).copied().flatten().is_some()
    }

    /// Returns the first of these members that has a fault, and the reason that the other members
    /// report.
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

    pub(super) fn fail(&mut self, now: Time, members: &[Instance], of: Instance, why: &Reason) {
        for member in members {
            self.step(now, *member, |machine, ctx| {
                if !matches!(machine.state, VrrpState::Backup | VrrpState::Master)
                    || ctx.broken(VrrpDefect::TakesOverWithFault)
                {
                    return;
                }
                let own = machine.fault.clone().map(Reason::Failed);
                debug_assert!(own.is_some() || *member != of);
                machine.enter_fault(ctx, own.unwrap_or_else(|| why.clone()));
            });
        }
    }

    /// Executes a transition, for the whole sync group if the router belongs to one.
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
            Transition::Master(why) => self.raise_group(now, at, why),
            Transition::Backup(why) => self.lower_group(now, at, why),
        }
        self.report_groups();
    }

    /// Handles a member that may become master: all members do when each of them may.
    fn raise_group(&mut self, now: Time, at: Instance, why: Reason) {
        self.step(now, at, |machine, _| machine.wait.ready = Some(why));
        let members = self.members(at);
        let all = members.iter().all(|member| {
            let machine = self.machines.get(member.0);
            machine.is_some_and(|m| match m.state {
                VrrpState::Backup => m.wait.ready.is_some(),
                VrrpState::Master => true,
                VrrpState::Init | VrrpState::Fault => false,
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

    /// Handles a member that yields to another router: all members yield with it.
    fn lower_group(&mut self, now: Time, at: Instance, why: Reason) {
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
                VrrpState::Master => machine.enter_backup(ctx, group.clone()),
                VrrpState::Backup => machine.restart_wait(ctx),
                VrrpState::Init | VrrpState::Fault => {}
            });
        }
    }

    pub(super) fn report_groups(&mut self) {
        for group in 0..self.groups.len() {
            let state = self.group_state(group);
            let told = self.group_states.get_mut(group);
            if let Some(told) = told.filter(|told| **told != state) {
                *told = state;
                self.actions
                    .push_back(VrrpAction::GroupEntered { group, to: state });
            }
        }
    }

    fn group_state(&self, group: usize) -> VrrpState {
        let members = self.groups.get(group).map(|group| &group.members);
        let machines = || {
            let members = members.into_iter().flatten();
            members.filter_map(|member| self.machines.get(*member))
        };
        let all =
            |state: VrrpState| machines().all(|machine: &VirtualRouter| machine.state == state);
        if all(VrrpState::Init) {
            VrrpState::Init
        } else if machines().any(|machine| machine.state == VrrpState::Fault) {
            VrrpState::Fault
        } else if all(VrrpState::Master) {
            VrrpState::Master
        } else {
            VrrpState::Backup
        }
    }
}
