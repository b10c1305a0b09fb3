// SPDX-License-Identifier: MIT OR Apache-2.0
//! PSTATE as SPSR_EL2 has it.

/// PSTATE of AArch32 after an instruction: ITSTATE, whose bits 7:2 are 15:10 and 1:0 are 26:25, goes on.
pub const fn behind_aarch32_instruction(spsr: u64) -> u64 {
    const HIGH: u64 = 0x3f << 10;
    const LOW: u64 = 0b11 << 25;
    let it = (spsr & HIGH) >> 8 | (spsr & LOW) >> 25;
    let next = if it & 0b111 == 0 {
        0
    } else {
        it & 0xe0 | it << 1 & 0x1f
    };
    spsr & !(HIGH | LOW) | (next & 0xfc) << 8 | (next & 0b11) << 25
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn itstate_goes_on_and_ends_with_the_block() {
        /// T32 at EL0, with flags.
        const PSTATE: u64 = 0x6000_0030;
        let with = |it: u64| PSTATE | (it & 0xfc) << 8 | (it & 3) << 25;
        // ITETE NE: 0x15; then the masks of what is left, and the block is over.
        let mut spsr = with(0x15);
        for it in [0x0a, 0x14, 0x08, 0] {
            spsr = behind_aarch32_instruction(spsr);
            assert_eq!(spsr, with(it), "{it:#x}");
        }
        assert_eq!(behind_aarch32_instruction(PSTATE), PSTATE);
        assert_eq!(behind_aarch32_instruction(with(0xe8)), PSTATE);
    }
}
