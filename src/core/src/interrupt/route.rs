// SPDX-License-Identifier: MIT OR Apache-2.0
//! Routing as one table: what a core does for an execution context that has a secure interrupt to handle, by
//! what the core runs and by the state that the context is in (C-07 to C-10); and what it does with a non-secure
//! interrupt.

use crate::vcpu::NonSecureInterrupts;

/// What the core runs, seen by an interrupt that is not the running context's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Here {
    /// The normal world, or nothing: it has just given the core away, or is about to get it.
    NormalWorld,
    /// A partition that lets interrupts of others in (`other-s-interrupts-action` 1).
    Signals,
    /// A partition that keeps them waiting (`other-s-interrupts-action` 0).
    Queues,
    /// A partition that handles a secure interrupt, or one that such a partition asked: one at a time.
    Interrupt,
    /// A partition that initialises, or one that it asked.
    Boot,
}

/// Where the context is that has an interrupt pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// It runs on this core.
    Running,
    /// It runs on another core.
    RunningElsewhere,
    /// It waits for requests.
    Waiting,
    /// It waits, and was left to the normal world's scheduler.
    Left,
    /// It waits, and has used its share of time.
    OverBudget,
    /// It awaits the answer of a context of this core's chain.
    BlockedHere,
    /// It awaits an answer on another core.
    BlockedElsewhere,
    /// It was preempted.
    Preempted,
    /// It has not started, or its core is off.
    Off,
    /// Its partition ended.
    Aborted,
}

/// What the core does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Nothing more: the context sees it at once, or when it next runs.
    Pend,
    /// Enters the context with FFA_INTERRUPT; whatever ran goes on afterwards.
    Enter,
    /// Enters the context, which awaits an answer, with FFA_INTERRUPT; it has whoever ran go on by FFA_RUN.
    Unblock,
    /// The same as now, but when the core has done what it runs.
    Later,
    /// Has the core that runs the context look.
    Kick,
    /// There is nobody to handle it.
    Drop,
}

/// All values of [`Here`], in the order of the columns of [`TABLE`].
pub const HERE: [Here; 5] = [
    Here::NormalWorld,
    Here::Signals,
    Here::Queues,
    Here::Interrupt,
    Here::Boot,
];

/// The rules: for each place of the target, what to do by what the core runs.
pub static TABLE: [(Target, [Route; 5]); 10] = {
    use Route::{Drop, Enter, Kick, Later, Pend, Unblock};
    [
        // Target                   normal world, signals, queues, interrupt, boot
        (Target::Running, [Pend, Pend, Pend, Pend, Pend]),
        (Target::RunningElsewhere, [Kick, Kick, Kick, Kick, Kick]),
        (Target::Waiting, [Enter, Enter, Later, Later, Later]),
        (Target::Left, [Pend, Pend, Pend, Pend, Pend]),
        (Target::OverBudget, [Pend, Pend, Pend, Pend, Pend]),
        (Target::BlockedHere, [Pend, Unblock, Later, Later, Later]),
        (Target::BlockedElsewhere, [Pend, Pend, Pend, Pend, Pend]),
        (Target::Preempted, [Pend, Pend, Pend, Pend, Pend]),
        (Target::Off, [Pend, Pend, Pend, Pend, Pend]),
        (Target::Aborted, [Drop, Drop, Drop, Drop, Drop]),
    ]
};

/// What the core does.
pub fn route(here: Here, target: Target) -> Route {
    let row = TABLE.iter().find(|(row, _)| *row == target);
    let column = HERE.iter().position(|column| *column == here);
    let cell = row
        .zip(column)
        .and_then(|((_, row), column)| row.get(column));
    // Every target has a row and every place a column (see the tests).
    cell.copied().unwrap_or(Route::Pend)
}

/// What a core does with a non-secure interrupt that fires while a partition runs (C-03 to C-05). The treatment is that
/// of the strictest partition of the chain (C-06).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NonSecureRoute {
    /// The chain is preempted, and the normal world gets FFA_INTERRUPT.
    Preempt,
    /// Who asks for it is told, and the interrupt waits meanwhile.
    ManagedExit,
    /// It waits.
    Mask,
}

/// What the core does, by what it runs and by the treatment that the chain asks for.
///
/// One that has to wait and fires all the same, since a partition reached the priority mask (W1), preempts that
/// partition's own chain, and nothing else.
pub fn non_secure(here: Here, treatment: NonSecureInterrupts) -> NonSecureRoute {
    match (here, treatment) {
        // There is no normal world to give the core to, or none that expects it now.
        (Here::Boot | Here::Interrupt, _) => NonSecureRoute::Mask,
        (_, NonSecureInterrupts::ManagedExit) => NonSecureRoute::ManagedExit,
        (_, NonSecureInterrupts::Signaled | NonSecureInterrupts::Queued) => NonSecureRoute::Preempt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c03_to_c05_non_secure_interrupts_preempt_only_what_the_normal_world_runs() {
        use NonSecureInterrupts::{ManagedExit, Queued, Signaled};
        for treatment in [Signaled, ManagedExit, Queued] {
            for here in [Here::Boot, Here::Interrupt] {
                assert_eq!(non_secure(here, treatment), NonSecureRoute::Mask);
            }
            for here in [Here::Signals, Here::Queues] {
                let wanted = match treatment {
                    ManagedExit => NonSecureRoute::ManagedExit,
                    Signaled | Queued => NonSecureRoute::Preempt,
                };
                assert_eq!(non_secure(here, treatment), wanted);
            }
        }
    }

    #[test]
    fn i5_every_cell_of_the_table_is_found_once() {
        let mut seen = Vec::new();
        for (target, row) in &TABLE {
            assert!(!seen.contains(target));
            seen.push(*target);
            for (here, wanted) in HERE.iter().zip(row) {
                assert_eq!(route(*here, *target), *wanted);
            }
        }
        assert_eq!(seen.len(), 10);
    }

    #[test]
    fn c08_only_who_signals_loses_the_core_to_an_interrupt_of_another() {
        for (_, row) in &TABLE {
            for (here, route) in HERE.iter().zip(row) {
                if matches!(route, Route::Enter | Route::Unblock) {
                    assert!(matches!(here, Here::NormalWorld | Here::Signals));
                }
            }
        }
    }
}
