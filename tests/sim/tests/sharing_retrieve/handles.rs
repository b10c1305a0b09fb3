// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handles (H1, H2, H4, H5, T23).

use super::*;

#[test]
fn h1_guessed_handles_are_refused() {
    let mut desk = desk();
    let send = send_of(Function::MemShare, P4);
    let right = desk.send(P4, &send).unwrap();
    let mut guess = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..2_000 {
        guess = guess.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        // Half of them near the right one.
        let near = right.0 ^ (1 << (guess >> 58));
        for handle in [Handle(guess), Handle(near)] {
            let request = Retrieve::of(&send, handle);
            assert_eq!(desk.retrieve(P2, &request), Err(InvalidParameters));
            assert_eq!(desk.relinquish(P2, handle, 0), Err(InvalidParameters));
            assert_eq!(desk.reclaim(P4, handle, 0), Err(InvalidParameters));
        }
    }
    take(&mut desk, P2, &send, right);
}

#[test]
fn h2_t23_a_finished_handle_is_refused_also_when_its_place_is_taken_again() {
    let mut desk = desk();
    for function in SENDS {
        let send = send_of(function, P4);
        let old = desk.send(P4, &send).unwrap();
        assert_eq!(desk.reclaim(P4, old, 0), Ok(()));
        for again in [false, true] {
            let new = again.then(|| desk.send(P4, &send).unwrap());
            assert_ne!(new, Some(old));
            refused(&mut desk, P2, &Retrieve::of(&send, old), InvalidParameters);
            relinquish_refused(&mut desk, P2, old, 0, InvalidParameters);
            reclaim_refused(&mut desk, P4, old, 0, InvalidParameters);
            if let Some(new) = new {
                assert_eq!(desk.reclaim(P4, new, 0), Ok(()));
            }
        }
    }
}

#[test]
fn h4_h5_swapped_halves_and_the_other_allocator_are_refused() {
    let mut desk = desk();
    let send = send_of(Function::MemLend, P4);
    let handle = desk.send(P4, &send).unwrap();
    assert_eq!(handle.0 >> 63, 0, "the SPMC's own");
    for wrong in [handle.0.rotate_left(32), handle.0 | 1 << 63, u64::MAX, 0] {
        let wrong = Handle(wrong);
        refused(
            &mut desk,
            P2,
            &Retrieve::of(&send, wrong),
            InvalidParameters,
        );
        relinquish_refused(&mut desk, P2, wrong, 0, InvalidParameters);
        reclaim_refused(&mut desk, P4, wrong, 0, InvalidParameters);
    }
    take(&mut desk, P2, &send, handle);
}
