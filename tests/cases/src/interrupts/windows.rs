// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts in windows of the bench: see [`bench`](crate::bench).

use bulkhead_abi::{EndpointId, Function};
use bulkhead_payload::Request;
use bulkhead_payload::counter::{self, microseconds};
use bulkhead_payload::devices::Device;

use super::driver::flag;
use super::halves::half;
use super::scene::{event, half_request, prepare, quiet, settled};
use crate::bench;
use crate::normal_world::NormalWorld;
use crate::outcome::{TestResult, Verdict};
use crate::protocol::Caller;

/// The tester `id`, whose manifest gives it the real-time clock, handles an interrupt: a window from the normal world's
/// store that raises it to the first instruction of the handler, one in which it is fetched, and one in which it is ended.
///
/// # Errors
/// When there is no such tester; there was no window then.
pub fn interrupt(world: &mut NormalWorld, id: EndpointId) -> TestResult {
    begin(world);
    // The first one leaves nothing to set up.
    prepare(world, id, flag::UNMASKED, Some(Device::Rtc))?;
    event(Device::Rtc)?;
    prepare(world, id, flag::UNMASKED | flag::BENCH, Some(Device::Rtc))?;
    bench::begin();
    Device::Rtc.raise();
    settled(Device::Rtc)?;
    quiet(world, id)
}

/// The tester `id` idles: a window from its WFI to the normal world.
///
/// # Errors
/// As [`interrupt`].
pub fn idle(world: &mut NormalWorld, id: EndpointId) -> TestResult {
    begin(world);
    for flags in [0, flag::BENCH] {
        prepare(world, id, flag::TIMERS | flags, None)?;
        let reply = world.call(half_request(
            world,
            id,
            half::IDLE,
            [0, microseconds(1000), 0],
        ));
        if flags != 0 {
            bench::end();
        }
        reply.returned(Function::Yield)?;
        counter::spin(microseconds(1000));
        world
            .call(Request::run(id, 0))
            .returned(Function::MsgSendDirectResp)?;
    }
    quiet(world, id)
}

/// The halves are those of any case of the suite.
fn begin(world: &mut NormalWorld) {
    let cases = crate::suite("interrupts");
    world.begin(cases.map_or(0, |cases| cases.start));
}
