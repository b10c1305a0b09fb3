// SPDX-License-Identifier: MIT OR Apache-2.0
//! The schedules find mistakes: each of [`MISTAKES`] is made in a copy of the core, and a scenario must
//! fail for the right reason. All of them are in one copy, behind a switch, so that it is built once.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// A mistake in the core.
struct Mistake {
    name: &'static str,
    /// The file in src/core/src.
    file: &'static str,
    /// What stands there, once.
    right: &'static str,
    /// What would stand there. `made!()` is true when this mistake is made.
    wrong: &'static str,
    /// The scenario that fails.
    scenario: &'static str,
    /// What the failure says.
    says: &'static str,
}

const MISTAKES: [Mistake; 46] = [
    Mistake {
        name: "claim: the state is looked at, and taken later",
        file: "vcpu.rs",
        right: "take(&state)?;",
        wrong: "take(&state)?; if made!() { drop(state); state = self.state.lock(); }",
        scenario: "r11_r12_three_cores_run_one_context",
        says: "nobody ran it",
    },
    Mistake {
        name: "claim: the chain is looked up with the lock held",
        file: "direct.rs",
        right: "_ => Err(FfaError::Busy),\n        });",
        wrong: "_ if made!() && self.is_ancestor(core, target) => Err(FfaError::Denied), \
                _ => Err(FfaError::Busy), });",
        scenario: "c1_c2_c6_chains_of_three_partitions",
        says: "deadlock",
    },
    Mistake {
        name: "negotiation: a plain store in place of the exchange",
        file: "version.rs",
        right: "match self.0.compare_exchange_weak(",
        wrong: "if made!() { self.0.store(version.to_word(), Ordering::Relaxed); \
                return Ok(Version::OURS); } match self.0.compare_exchange_weak(",
        scenario: "v8_two_cores_negotiate",
        says: "V8",
    },
    Mistake {
        name: "negotiation: settled by a load and a store",
        file: "version.rs",
        right: "word = self.0.fetch_or(SETTLED, Ordering::Relaxed);",
        wrong: "if made!() { self.0.store(word | SETTLED, Ordering::Relaxed); } else { \
                word = self.0.fetch_or(SETTLED, Ordering::Relaxed); }",
        scenario: "v8_two_cores_negotiate",
        says: "V8",
    },
    Mistake {
        name: "forwarded RXTX_MAP: two at once",
        file: "rxtx.rs",
        right: "let changes = self.normal_world.changes.lock();\n        let (index, place)",
        wrong: "let changes = (!made!()).then(|| self.normal_world.changes.lock());\n        \
                let (index, place)",
        scenario: "m13_two_cores_forward_the_same_vm",
        says: "right: [Ok(()), Err(Denied)]",
    },
    Mistake {
        name: "RXTX_MAP: the partition may have ended meanwhile",
        file: "rxtx.rs",
        right: "if partition.health() == Health::Aborted {",
        wrong: "if partition.health() == Health::Aborted && !made!() {",
        scenario: "c7_c8_c10_k8_a_partition_ends_during_calls",
        says: "K8",
    },
    Mistake {
        name: "PARTITION_INFO_GET: RX is checked, and filled later",
        file: "discovery.rs",
        right: "let space = mailbox.writable()?;",
        wrong: "let space = mailbox.writable()?; \
                if made!() { drop(mailbox); mailbox = self.mailbox(core).1.lock(); }",
        scenario: "m13_m16_two_cores_map_fill_and_unmap",
        says: "no order of these calls",
    },
    Mistake {
        name: "PARTITION_INFO_GET: the answer is an earlier count",
        file: "discovery.rs",
        right: "[written, size,",
        wrong: "[if made!() { found as u64 } else { written }, size,",
        scenario: "d8_the_list_of_partitions_while_one_ends",
        says: "a descriptor of nobody",
    },
    Mistake {
        name: "the end of a partition: its buffers go without its mailbox's lock",
        file: "rxtx.rs",
        right: "let _ = unmap(slot, self.owner(),",
        wrong: "if made!() && *self.mailbox.lock() != Mailbox::Unmapped { \
                hw.unmap_mailbox(slot); \
                *self.mailbox.lock() = Mailbox::Unmapped; return; } \
                let _ = unmap(slot, self.owner(),",
        scenario: "c7_c8_c10_k8_a_partition_ends_during_calls",
        says: "M16",
    },
    Mistake {
        name: "a response: the requester may have ended meanwhile",
        file: "schedule.rs",
        right: "if partition.health() == Health::Aborted {\n                    slot.rest",
        wrong: "if partition.health() == Health::Aborted && !made!() {\n slot.rest",
        scenario: "c7_c8_c10_k8_a_partition_ends_during_calls",
        says: "CV6",
    },
    Mistake {
        name: "FFA_RUN of what ended: whoever waits for it is forgotten",
        file: "schedule.rs",
        right: "if continues_on(*core, index) && !by_partition =>",
        wrong: "if continues_on(*core, index) && !by_partition && !made!() =>",
        scenario: "c7_a_partition_ends_while_it_is_preempted",
        says: "PG1: a preempted chain does not end",
    },
    Mistake {
        name: "FFA_RUN: what was preempted goes on on any core",
        file: "schedule.rs",
        right: "if !continues_on(*core, core_index) =>",
        wrong: "if !continues_on(*core, core_index) && !made!() =>",
        scenario: "r3_r11_r12_two_cores_claim_preempt_and_resume",
        says: "CV8",
    },
    Mistake {
        name: "FFA_MSG_WAIT: a lock is never given back",
        file: "schedule.rs",
        right: "let _ = partition.mailbox.lock().release();",
        wrong: "let mut mailbox = partition.mailbox.lock(); let _ = mailbox.release(); \
                if made!() { core::mem::forget(mailbox); }",
        scenario: "r11_r12_three_cores_run_one_context",
        says: "PG2",
    },
    Mistake {
        name: "RXTX_UNMAP: two locks in the other order",
        file: "rxtx.rs",
        right: "unmap(slot, owner, &mut mailbox.lock(), &self.owners, hw)?;",
        wrong: "let mut mailbox = mailbox.lock(); \
                let changes = made!().then(|| self.normal_world.changes.lock()); \
                unmap(slot, owner, &mut mailbox, &self.owners, hw)?; drop(changes);",
        scenario: "m13_m16_two_cores_map_fill_and_unmap",
        says: "deadlock! blocked tasks",
    },
    Mistake {
        name: "CPU_OFF: what was preempted goes off",
        file: "power.rs",
        right: "VcpuState::Waiting(_) => Ok(()),\n        _ => Err(NotThere),\n    })?;\n    \
                slot.rest(match claimed {",
        wrong: "VcpuState::Preempted { .. } if made!() => Ok(()), VcpuState::Waiting(_) => Ok(()), \
                _ => Err(NotThere), })?; slot.rest(match claimed { \
                VcpuState::Preempted { context, .. } if made!() => VcpuState::Off(context),",
        scenario: "w1_w2_w5_cores_come_and_go",
        says: "CV8",
    },
    Mistake {
        name: "CPU_ON: a context is started without an entry",
        file: "power.rs",
        right: "partition.secondary_entry()?",
        wrong: "partition.secondary_entry().or(made!().then_some(0))?",
        scenario: "w1_w2_w5_cores_come_and_go",
        says: "W1: no entry",
    },
    Mistake {
        name: "queue: nobody is woken at the turn",
        file: "queue.rs",
        right: "drop(queue);\n            hw.signal_event();",
        wrong: "drop(queue); if !made!() { hw.signal_event(); }",
        scenario: "e16_three_cores_wait_for_one_partition",
        says: "deadlock! blocked tasks",
    },
    Mistake {
        name: "queue: who waits is looked up before the partition is free",
        file: "schedule.rs",
        right: "let action = self.finish_only(core, hw, write);",
        wrong: "let nobody = queue.as_ref().is_some_and(|queue| queue.first().is_none()); \
                let queue = if made!() && nobody { drop(queue); None } else { queue }; \
                let action = self.finish_only(core, hw, write);",
        scenario: "e16_three_cores_wait_for_one_partition",
        says: "deadlock! blocked tasks",
    },
    Mistake {
        name: "queue: a request that is resumed keeps its place",
        file: "queue.rs",
        right: "let place = queue.remove(core.index)?;\n                drop(queue);",
        wrong: "let place = if made!() { queue.of(core.index)?.clone() } else { \
                queue.remove(core.index)? }; drop(queue);",
        scenario: "e16_three_cores_wait_for_one_partition",
        says: "E-16",
    },
    Mistake {
        name: "queue: nobody is woken at the partition's end",
        file: "queue.rs",
        right: "drop(queue.0.lock());\n        hw.signal_event();",
        wrong: "drop(queue.0.lock()); if !made!() { hw.signal_event(); }",
        scenario: "e16_k8_a_partition_ends_while_cores_wait",
        says: "deadlock! blocked tasks",
    },
    Mistake {
        name: "FFA_YIELD: any core goes on with the chain",
        file: "schedule.rs",
        right: "core: core.index,",
        wrong: "core: if made!() { crate::vcpu::ANY_CORE } else { core.index },",
        scenario: "a76_r3_two_cores_yield_and_resume",
        says: "CV8",
    },
    Mistake {
        name: "FFA_YIELD: whoever yields waits, and takes other requests",
        file: "schedule.rs",
        right: "slot.rest(VcpuState::Preempted {",
        wrong: "if made!() { slot.rest(VcpuState::Waiting(context)); return self.leave(core, hw); } \
                slot.rest(VcpuState::Preempted {",
        scenario: "a76_r3_two_cores_yield_and_resume",
        says: "FFA_YIELD",
    },
    Mistake {
        name: "NOTIFICATION_SET: the scheduler is not told",
        file: "notify.rs",
        right: "if !self.told.swap(true, Ordering::SeqCst) {",
        wrong: "if !self.told.swap(true, Ordering::SeqCst) && !made!() {",
        scenario: "n8_n9_n10_n11_two_cores_set_get_and_ask",
        says: "N11: nobody is told",
    },
    Mistake {
        name: "MSG_SEND2: RX is looked at, and filled later",
        file: "indirect.rs",
        right: "let room = theirs.writable()?;",
        wrong: "let room = theirs.writable()?; let (own, mut theirs) = if made!() { \
                drop((own, theirs)); let [Some(own), Some(theirs)] = lock_both(&from, &to) else { \
                return Err(FfaError::Busy); }; (own, theirs) } else { (own, theirs) };",
        scenario: "g26_n13_two_cores_send_and_release",
        says: "G26",
    },
    Mistake {
        name: "a timer: it is set, and what was pending is withdrawn later",
        file: "timer.rs",
        right: "all.home = core.index;\n                    let timer = all.timer(which);\n                    write(timer, register, value, now.wrapping_sub(offset));\n                    timer.set(offset);\n                    // What the partition has not fetched belonged to the setting before.\n                    slot.interrupts.withdraw(which.intid());\n                    if timer.due <= now {\n                        timer.due = NEVER;\n                        slot.interrupts.pend(which.intid());\n                    }\n                });",
        wrong: "if !made!() { all.home = core.index; } let timer = all.timer(which); \
                write(timer, register, value, now.wrapping_sub(offset)); timer.set(offset); \
                if made!() { return; } slot.interrupts.withdraw(which.intid()); \
                if timer.due <= now { timer.due = NEVER; slot.interrupts.pend(which.intid()); } }); \
                if made!() { slot.interrupts.withdraw(which.intid()); slot.timers.change(|all| { \
                let timer = all.timer(which); if timer.due <= now { timer.due = NEVER; \
                slot.interrupts.pend(which.intid()); } }); }",
        scenario: "i18_a_timer_is_set_anew_while_it_fires_on_another_core",
        says: "IR6: nobody enters 0.0 for its timer",
    },
    Mistake {
        name: "an interrupt: its partition may have ended meanwhile",
        file: "interrupt.rs",
        right: "if partition.health() == Health::Aborted {\n            return self.drop_interrupts(slot, hw);",
        wrong: "if partition.health() == Health::Aborted && !made!() {\n return self.drop_interrupts(slot, hw);",
        scenario: "i16_k8_a_partition_ends_while_it_is_interrupted",
        says: "IR6: 0.0",
    },
    Mistake {
        name: "an interrupt enters a context: whoever had the core is not saved",
        file: "interrupt/chain.rs",
        right: "hw.park(context);\n        self.keep_deadlines(core, slot, context, hw);\n        slot.rest(VcpuState::Preempted {",
        wrong: "if !made!() { hw.park(context); }\n self.keep_deadlines(core, slot, context, hw);\n \
                slot.rest(VcpuState::Preempted {",
        scenario: "i5_r11_an_interrupt_and_a_request_claim_one_context",
        says: "CV1",
    },
    Mistake {
        name: "an interrupt: it is made pending twice",
        file: "interrupt.rs",
        right: "slot.interrupts.raise(active.intid, Some(active.core));",
        wrong: "slot.interrupts.raise(active.intid, Some(active.core)); \
                if made!() { slot.interrupts.raise(active.intid, Some(active.core)); }",
        scenario: "i5_a_device_interrupts_a_partition_that_waits_or_runs",
        says: "IR1: 40 comes twice",
    },
    Mistake {
        name: "the end of a partition: its interrupts stay active",
        file: "schedule.rs",
        right: "self.drop_all_interrupts(partition, hw);",
        wrong: "if !made!() { self.drop_all_interrupts(partition, hw); }",
        scenario: "i16_k8_a_partition_ends_while_it_is_interrupted",
        says: "I16: Line",
    },
    Mistake {
        name: "a context that goes to wait: what became pending meanwhile is forgotten",
        file: "schedule.rs",
        right: "if interrupts.needs_cycles() {\n                    self.waits_with_interrupt(core, partition, slot, hw);\n                }\n                self.leave(core, hw)",
        wrong: "if interrupts.needs_cycles() && !made!() { \
                self.waits_with_interrupt(core, partition, slot, hw); } self.leave(core, hw)",
        scenario: "i14_i5_an_ipi_and_a_device_interrupt_come_to_one_context",
        says: "IR6: the scheduler is not told",
    },
    Mistake {
        name: "an interrupt: the core that runs its context is not kicked",
        file: "interrupt.rs",
        right: "(StateName::Running, other) if other != core.index =>",
        wrong: "(StateName::Running, other) if other != core.index && !made!() =>",
        scenario: "i5_the_core_of_a_context_that_spins_is_kicked",
        says: "deadlock! blocked tasks",
    },
    Mistake {
        name: "an IPI: another interrupt of the context is left to the scheduler with it",
        file: "interrupt/paravirtual.rs",
        right: "is not left with this one.\n        self.tell(core, name, hw);",
        wrong: "is not left with this one.\n \
                if !made!() || slot.state() != StateName::Waiting { self.tell(core, name, hw); }",
        scenario: "i14_i5_an_ipi_and_a_device_interrupt_come_to_one_context",
        says: "IR6",
    },
    Mistake {
        name: "CPU_OFF: nobody is told of deadlines that the core leaves",
        file: "timer.rs",
        right: "self.interrupts.orphans.store(true, Ordering::Release);\n            hw.kick_others();",
        wrong: "self.interrupts.orphans.store(true, Ordering::Release); \
                if !made!() { hw.kick_others(); }",
        scenario: "i18_w2_the_core_that_keeps_a_deadline_goes_off",
        says: "IR6",
    },
    Mistake {
        name: "a core keeps a context's deadlines: they do not move to it",
        file: "timer.rs",
        right: "slot.timers.move_to(core.index);",
        wrong: "if !made!() { slot.timers.move_to(core.index); }",
        scenario: "i18_w2_the_core_that_keeps_a_deadline_goes_off",
        says: "IR6",
    },
    Mistake {
        name: "CPU_ON: what contexts that are off have pending stays with them",
        file: "power.rs",
        right: "self.move_interrupts(core, index, partition, hw);\n                let action",
        wrong: "if !made!() { self.move_interrupts(core, index, partition, hw); }\n let action",
        scenario: "w2_i5_an_interrupt_comes_while_contexts_go_off",
        says: "IR6",
    },
    Mistake {
        name: "HF_INTERRUPT_ENABLE: the partition may have ended meanwhile",
        file: "interrupt/paravirtual.rs",
        right: "if enable && partition.health() == Health::Aborted {",
        wrong: "if enable && partition.health() == Health::Aborted && !made!() {",
        scenario: "i16_w1_a_context_enables_its_interrupt_while_its_partition_ends",
        says: "I16",
    },
    Mistake {
        name: "the end of a partition: what its handler has fetched stays active",
        file: "virtual_interrupt.rs",
        right: "if let Some(core) = one.acknowledged {",
        wrong: "if let Some(core) = one.acknowledged.filter(|_| one.pending != 0 || !made!()) {",
        scenario: "i16_ir1_a_handler_faults",
        says: "IR2",
    },
    Mistake {
        name: "NOTIFICATION_INFO_GET: the scheduler is told again only after the search",
        file: "notify.rs",
        right: "self.scheduler.forget();\n        if self.report_all(&mut lists).is_err() {\n            lists.more_pending();\n        }",
        wrong: "if !made!() { self.scheduler.forget(); } if self.report_all(&mut lists).is_err() { \
                lists.more_pending(); } if made!() { self.scheduler.forget(); }",
        scenario: "a87_n11_the_scheduler_is_told_of_interrupts",
        says: "N11",
    },
    Mistake {
        name: "the end of a partition: its transactions end before it is marked",
        file: "schedule.rs",
        right: "if partition.set_aborted() {\n            let name = partition.config.name;\n            \
                let id = partition.config.id;\n            \
                log::error!(\"{name} ({id}) vCPU {} {what}\", vcpu.vcpu());\n            \
                partition.release_mailbox(vcpu.partition(), &self.owners, hw);\n            \
                self.end_shares(id, hw);",
        wrong: "let id = partition.config.id; if made!() { self.end_shares(id, hw); } \
                if partition.set_aborted() { let name = partition.config.name; \
                log::error!(\"{name} ({id}) vCPU {} {what}\", vcpu.vcpu()); \
                partition.release_mailbox(vcpu.partition(), &self.owners, hw); \
                if !made!() { self.end_shares(id, hw); }",
        scenario: "k7_t18_the_receiver_ends_while_it_comes_and_goes",
        says: "K7: 0x8002 has",
    },
    Mistake {
        name: "MEM_RETRIEVE_REQ: a receiver is counted before its pages are zeroed and mapped",
        file: "share/retrieve.rs",
        right: "// What was written is nobody's to read.",
        wrong: "if made!() { share.holders = share.holders.saturating_add(1); }",
        scenario: "t21_a_reclaim_races_a_retrieve",
        says: "T20: nobody has it, and it is not given back",
    },
    Mistake {
        name: "MEM_RECLAIM: the slot is unlocked between the look at receivers and the pages",
        file: "share/release.rs",
        right: "if !filling {\n            let cleared = if clears {",
        wrong: "if made!() { drop(locked); locked = self.shares.find(call.handle, domain.bit()).ok_or(InvalidParameters)?; } \
                let share = locked.share()?; if !filling { let cleared = if clears {",
        scenario: "t21_a_reclaim_races_a_retrieve",
        says: "failed: T21",
    },
    Mistake {
        name: "MEM_RECLAIM: the slot is free before the pages are settled",
        file: "share/release.rs",
        right: "self.resume_sender(share, hw);\n            self.release(index, share, hw);\n        }\n        \
                self.shares.put_back(locked, hw);",
        wrong: "if !made!() { self.resume_sender(share, hw); self.release(index, share, hw); } } \
                let early = if made!() && !filling { locked.slot.share.take() } else { None }; \
                self.shares.put_back(locked, hw); \
                if let Some(mut share) = early { self.resume_sender(&share, hw); \
                self.release(index, &share, hw); share.record.truncate(0, hw); }",
        scenario: "t20_t23_two_cores_reclaim",
        says: "T23: the transaction has ended, and its pages are in it",
    },
    Mistake {
        name: "a new transaction: the generation does not move",
        file: "share.rs",
        right: "slot.generation = slot.generation.saturating_add(1);",
        wrong: "if !made!() || slot.generation == 0 { \
                slot.generation = slot.generation.saturating_add(1); }",
        scenario: "h2_t23_an_old_handle_names_nothing_else",
        says: "failed: H2",
    },
    Mistake {
        name: "MEM_RELINQUISH: a receiver that is interrupted in it leaves its pages twice",
        file: "share/release.rs",
        right: "leaving: true,",
        wrong: "leaving: !made!(),",
        scenario: "t16_two_contexts_of_a_receiver_relinquish",
        says: "is unmapped that is not borrowed",
    },
    Mistake {
        name: "the end of a receiver: what it was leaving is passed over",
        file: "share/death.rs",
        right: ".filter(|(_, borrower)| borrower.held.is_some());",
        wrong: ".filter(|(_, borrower)| borrower.held.is_some_and(|held| !held.leaving || !made!()));",
        scenario: "k7_t18_the_receiver_ends_while_it_comes_and_goes",
        says: "T18: Err(Denied)",
    },
    Mistake {
        name: "the end of a sender: its transaction does not end with its last receiver",
        file: "share/release.rs",
        right: "if share.orphan && share.holders == 0 {",
        wrong: "if share.orphan && share.holders == 0 && !made!() {",
        scenario: "k7_a60_both_parties_end_at_once",
        says: "A-60: a transaction without parties is left",
    },
];

/// A rare turn of events is not among the first schedules of each seed.
const SEEDS: [&str; 6] = ["1", "2", "3", "4", "5", "6"];

/// What tells the copy which mistake is made.
const SWITCH: &str = "BULKHEAD_MISTAKE";

#[test]
fn every_mistake_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistaken");
    copy_workspace(&root, &copy);
    let missed: Vec<String> = MISTAKES
        .iter()
        .enumerate()
        .filter_map(|(number, mistake)| {
            let mut last = String::new();
            let found = SEEDS.into_iter().any(|seed| {
                let output = run(&copy, mistake.scenario, &number.to_string(), seed);
                last = String::from_utf8_lossy(&output.stdout).into_owned()
                    + &String::from_utf8_lossy(&output.stderr);
                !output.status.success() && last.contains(mistake.says)
            });
            (!found).then(|| format!("{}:\n{last}", mistake.name))
        })
        .collect();
    assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
    // Without a mistake the copy is the core.
    let output = run(&copy, "", "none", "1");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Runs a scenario of the copy, or all, with a mistake.
fn run(copy: &Path, scenario: &str, mistake: &str, seed: &str) -> Output {
    // What does not differ is built already.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let target = target.expect("the target directory");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["test", "--offline", "-p", "bulkhead-schedules"])
        .args(["--test", "schedules", "--", scenario])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .env("RUST_BACKTRACE", "0")
        .env(SWITCH, mistake)
        .env("BULKHEAD_SEED", seed)
        .env_remove("BULKHEAD_REPLAY");
    if mistake == "none" {
        cargo.env("BULKHEAD_SCHEDULES", "100");
    } else {
        cargo.env_remove("BULKHEAD_SCHEDULES");
    }
    cargo.output().expect("cargo runs")
}

/// Copies what the schedules are made of, with all mistakes in it.
fn copy_workspace(root: &Path, copy: &Path) {
    let packages = [
        "src/abi",
        "src/mm",
        "src/vgic",
        "src/core",
        "tests/sim",
        "tests/schedules",
    ];
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace");
    let members = format!("members = {packages:?}\n");
    let (before, after) = manifest.split_once("members = [").expect("members");
    let (_, after) = after
        .split_once("default-members")
        .expect("default members");
    let (_, after) = after.split_once('\n').expect("a line");
    // Another version: cargo keeps what it builds of the copy apart.
    let (other, after) = after.split_once("\nversion = \"").expect("a version");
    let manifest = format!("{before}{members}{other}\nversion = \"0.0.0+mistaken.{after}");
    write(&copy.join("Cargo.toml"), &manifest);
    let lock = copy.join("Cargo.lock");
    if !lock.exists() {
        write(
            &lock,
            &fs::read_to_string(root.join("Cargo.lock")).expect("a lock"),
        );
    }
    for package in packages {
        for file in files(&root.join(package)) {
            let path = file.strip_prefix(root).expect("a path below the root");
            let text = fs::read_to_string(&file).expect("text");
            write(&copy.join(path), &with_mistakes(path, text));
        }
    }
}

/// The files of a package.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").path())
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

/// Writes a file unless it is there: what has not changed is not built again.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a directory")).expect("a new directory");
    fs::write(path, text).expect("a written file");
}

fn with_mistakes(path: &Path, mut text: String) -> String {
    let Ok(file) = path.strip_prefix("src/core/src") else {
        return text;
    };
    for (number, mistake) in MISTAKES.iter().enumerate() {
        if Path::new(mistake.file) != file {
            continue;
        }
        let places = text.matches(mistake.right).count();
        assert_eq!(places, 1, "{}: {}", mistake.name, mistake.right);
        let made = format!("crate::sync::is_made({number})");
        text = text.replace(mistake.right, &mistake.wrong.replace("made!()", &made));
    }
    if file == Path::new("sync.rs") {
        text += &format!(
            "\n/// Whether a mistake is made.\npub fn is_made(number: usize) -> bool {{\n    \
             static MADE: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();\n    \
             *MADE.get_or_init(|| std::env::var({SWITCH:?}).ok()?.parse().ok()) == Some(number)\n}}\n"
        );
    }
    text
}
