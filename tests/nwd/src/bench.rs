// SPDX-License-Identifier: MIT OR Apache-2.0
//! One call of each kind in a window that the emulator's plugin counts: `hint #0x60` begins it and
//! `hint #0x61` ends it.
//!
//! After all windows, `[bench] NAME` names them in their order, and `[bench] done` ends the list.
//! `[bench-skipped] NAME: why` tells what had no window.

use arrayvec::ArrayVec;
use bulkhead_abi::partition_info::Properties;
use bulkhead_abi::{EndpointId, Function, Uuid, Version, Width};
use bulkhead_cases::negotiation::version_request;
use bulkhead_cases::normal_world::rxtx_map;
use bulkhead_cases::outcome::TestResult;
use bulkhead_cases::partition_list::{COUNT_ONLY, get, request};
use bulkhead_cases::protocol::{Caller, command, echo};
use bulkhead_cases::{NormalWorld, bench, cost, windows};
use bulkhead_payload::{Conduit, Reply, Request, Text, call, println};

/// Makes all calls, or those for interrupts alone, and prints their names.
#[inline(never)]
pub fn run(version: Version, interrupts: bool) {
    match NormalWorld::start(version) {
        Err(no_spmc) => println!("[bench-skipped] no SPMC: {}", crate::reason(&no_spmc)),
        Ok(mut world) => {
            let mut bench = Bench {
                world: &mut world,
                lines: ArrayVec::new(),
            };
            if interrupts {
                bench.interrupts(FIRST);
            } else {
                bench.run();
            }
            for line in &bench.lines {
                println!("{line}");
            }
        }
    }
    println!("[bench] done");
}

/// The partition that has the real-time clock in every configuration that measures interrupts alone.
const FIRST: EndpointId = EndpointId(0x8001);

/// A window that a partition's half has a part in.
type Window = fn(&mut NormalWorld, EndpointId) -> TestResult;

struct Bench<'a> {
    world: &'a mut NormalWorld,
    lines: ArrayVec<Text, 80>,
}

impl Bench<'_> {
    fn run(&mut self) {
        let ffa = |function| Request::ffa(function, Width::W32);
        let version = self.world.version;
        self.world.map_mailbox(Width::W64);
        let partitions = get(self.world, version, Uuid::NIL).unwrap_or_default();

        let version_again = version_request(version.to_word());
        self.twice(
            "ffa_version",
            version_again,
            |_| {},
            |reply| Version::from_word(reply.x(0) as u32).is_some(),
        );
        self.simple("ffa_id_get", ffa(Function::IdGet));
        self.simple("ffa_spm_id_get", ffa(Function::SpmIdGet));
        self.simple(
            "ffa_features",
            ffa(Function::Features).with([Function::RxtxMap.id(Width::W64)]),
        );
        self.simple(
            "ffa_partition_info_get_count",
            request(Uuid::NIL, COUNT_ONLY),
        );
        let release = |world: &mut NormalWorld| {
            world.ffa(Function::RxRelease, []);
        };
        self.twice(
            "ffa_partition_info_get",
            request(Uuid::NIL, 0),
            release,
            |reply| reply.is(Function::Success),
        );
        let fill = |world: &mut NormalWorld| {
            world.call(request(Uuid::NIL, 0));
        };
        self.twice("ffa_rx_release", ffa(Function::RxRelease), fill, |reply| {
            reply.is(Function::Success)
        });
        release(self.world);
        let map = |world: &mut NormalWorld| {
            world.map_mailbox(Width::W64);
        };
        self.twice("ffa_rxtx_unmap", ffa(Function::RxtxUnmap), map, |reply| {
            reply.is(Function::Success)
        });
        let unmap = |world: &mut NormalWorld| {
            world.ffa(Function::RxtxUnmap, []);
        };
        self.twice("ffa_rxtx_map", rxtx_map(Width::W64), unmap, |reply| {
            reply.is(Function::Success)
        });

        let echoing: ArrayVec<EndpointId, 32> = partitions
            .iter()
            .filter(|partition| {
                partition
                    .properties
                    .contains(Properties::DIRECT_REQ_RECEIVE)
            })
            .map(|partition| partition.id)
            .filter(|&id| {
                let reply = self.world.direct(Width::W32, id, [1, 2, 3, 4, 5]);
                reply.is(Function::MsgSendDirectResp)
                    && reply.payload() == echo(Width::W32, [1, 2, 3, 4, 5])
            })
            .collect();
        let Some(&first) = echoing.first() else {
            self.push(format_args!(
                "[bench-skipped] direct messages: no partition answers them"
            ));
            return;
        };
        let answered: fn(&Reply) -> bool = |reply| reply.is(Function::MsgSendDirectResp);
        for (name, width) in [
            ("direct_message_32", Width::W32),
            ("direct_message_64", Width::W64),
        ] {
            let message = Request::direct(width, EndpointId::NORMAL_WORLD, first, [1, 2, 3, 4, 5]);
            self.twice(name, message, |_| {}, answered);
        }
        self.twice(
            "ffa_run_and_msg_wait",
            Request::run(first, 0),
            |_| {},
            |reply| reply.is(Function::MsgWait),
        );
        self.interrupts(first);
        self.world.map_mailbox(Width::W64);
        for form in &cost::FORMS {
            self.share(first, form, "");
        }
        match cost::endure(self.world, first) {
            Ok(()) => self.share(first, &cost::FORMS[0], "_at_last"),
            Err(why) => self.push(format_args!("[bench-skipped] mem_endure: {why}")),
        }
        let Some(&second) = echoing.get(1) else {
            self.push(format_args!(
                "[bench-skipped] messages between partitions: only {first} answers"
            ));
            return;
        };
        self.strangers(first, second);
        for (name, width) in [
            ("partition_message_32", Width::W32),
            ("partition_message_64", Width::W64),
        ] {
            self.forward(name, width, first, second);
        }
        for (name, width) in [
            ("direct_message_32_refused", Width::W32),
            ("direct_message_64_refused", Width::W64),
        ] {
            let message = Request::direct(
                width,
                EndpointId::NORMAL_WORLD,
                self.world.unknown_partition(),
                [0; 5],
            );
            self.twice(name, message, |_| {}, |reply| reply.is(Function::Error));
        }
    }

    /// An interrupt of a partition's device, and a partition that idles.
    fn interrupts(&mut self, owner: EndpointId) {
        const INTERRUPT: &[&str] = &[
            "secure_interrupt_to_its_handler",
            "interrupt_fetched",
            "interrupt_ended",
        ];
        let windows: [(&[&str], Window); 2] = [
            (INTERRUPT, windows::interrupt),
            (&["wfi_to_the_normal_world"], windows::idle),
        ];
        for (names, window) in windows {
            let done = window(self.world, owner);
            for name in names {
                match &done {
                    Ok(()) => self.push(format_args!("[bench] {name}")),
                    Err(why) => self.push(format_args!("[bench-skipped] {name}: {why}")),
                }
            }
        }
    }

    /// The calls of a share with a borrower.
    fn share(&mut self, borrower: EndpointId, form: &cost::Form, suffix: &str) {
        match cost::windows(self.world, borrower, form) {
            Ok(()) => {
                for call in cost::CALLS {
                    self.push(format_args!("[bench] mem_{call}_{}{suffix}", form.name));
                }
            }
            Err(why) => self.push(format_args!(
                "[bench-skipped] mem_{}{suffix}: {why}",
                form.name
            )),
        }
    }

    /// A partition tries the handle of others, and handles of nobody.
    fn strangers(&mut self, borrower: EndpointId, stranger: EndpointId) {
        if let Err(why) = cost::strangers(self.world, borrower, stranger, true) {
            self.push(format_args!(
                "[bench-skipped] mem_with_a_handle_of_others: {why}"
            ));
            return;
        }
        for call in cost::STRANGE {
            self.push(format_args!("[bench] mem_{call}_with_a_handle_of_others"));
            for number in 1..cost::HANDLES {
                self.push(format_args!(
                    "[bench] mem_{call}_with_a_handle_of_nobody_{number}"
                ));
            }
        }
    }

    fn push(&mut self, line: core::fmt::Arguments<'_>) {
        // The capacity is that of the list above.
        let _ = self.lines.try_push(Text::new(line));
    }

    /// A call that returns FFA_SUCCESS each time.
    fn simple(&mut self, name: &str, request: Request) {
        self.twice(name, request, |_| {}, |reply| reply.is(Function::Success));
    }

    /// Prepares and makes a call to warm up; if its reply is right, prepares it again and makes it in a
    /// window.
    fn twice(
        &mut self,
        name: &str,
        request: Request,
        prepare: fn(&mut NormalWorld),
        right: fn(&Reply) -> bool,
    ) {
        prepare(self.world);
        let reply = self.world.call(request);
        if !right(&reply) {
            self.push(format_args!("[bench-skipped] {name}: {reply}"));
            return;
        }
        prepare(self.world);
        let mut registers = reply.sent;
        bench::window(|| call(Conduit::Smc, &mut registers));
        self.push(format_args!("[bench] {name}"));
    }

    /// A partition makes the window around its own message to another.
    fn forward(&mut self, name: &str, width: Width, from: EndpointId, to: EndpointId) {
        let mark_window = 1;
        let reply = self.world.direct(
            width,
            from,
            [command::FORWARD, to.0.into(), 7, mark_window, 0],
        );
        let [answer, function, ..] = reply.payload();
        if reply.is(Function::MsgSendDirectResp) && answer == command::FORWARD {
            if function & Width::W32.mask() == Function::MsgSendDirectResp.id(width) {
                self.push(format_args!("[bench] {name}"));
            } else {
                // The window was there all the same.
                self.push(format_args!("[bench] {name}_failed"));
            }
        } else {
            self.push(format_args!("[bench-skipped] {name}: {reply}"));
        }
    }
}
