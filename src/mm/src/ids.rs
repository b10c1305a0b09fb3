// SPDX-License-Identifier: MIT OR Apache-2.0
//! Identifiers by which TLBs tell address spaces apart: VMIDs and ASIDs, of 8 or 16 bits.
//!
//! An identifier that was given back may still be in TLBs. It is handed out again only after an
//! invalidation of all of them (X3), which comes when no clean one is left.

/// How many bits an identifier has. All cores must have the larger size for it to be used
/// (`DECISIONS.md` 9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IdWidth {
    /// 8 bits.
    Eight,
    /// 16 bits (FEAT_VMID16; ID_AA64MMFR0_EL1.ASIDBits).
    Sixteen,
}

impl IdWidth {
    /// How many identifiers there are, zero included.
    pub const fn count(self) -> usize {
        match self {
            Self::Eight => 1 << 8,
            Self::Sixteen => 1 << 16,
        }
    }
}

/// What is known of an identifier.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum IdState {
    /// No TLB has it.
    #[default]
    Clean,
    /// An address space has it.
    Used,
    /// No address space has it, TLBs may.
    Stale,
}

/// An identifier that was to be given back is not in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdNotInUse(pub u16);

/// The identifiers from 1 on. Zero is never handed out: it stands for no partition.
#[derive(Debug)]
pub struct Ids<'b> {
    /// The states from identifier 1 on.
    states: &'b mut [IdState],
}

impl<'b> Ids<'b> {
    /// As many identifiers as `states` has room for, within what `width` allows. What it holds is
    /// overwritten: TLBs must be clean.
    pub fn new(width: IdWidth, states: &'b mut [IdState]) -> Self {
        let count = states.len().min(width.count().saturating_sub(1));
        let (states, _) = states.split_at_mut_checked(count).unwrap_or_default();
        states.fill(IdState::Clean);
        Self { states }
    }

    /// An identifier that no TLB has. Calls `invalidate`, which must invalidate all identifiers on
    /// all cores before it returns, if there is none without that. `None` if all are in use.
    pub fn alloc(&mut self, invalidate: impl FnOnce()) -> Option<u16> {
        let find = |states: &[IdState], wanted| states.iter().position(|state| *state == wanted);
        let index = match find(self.states, IdState::Clean) {
            Some(index) => index,
            None => {
                let index = find(self.states, IdState::Stale)?;
                invalidate();
                for state in self.states.iter_mut() {
                    if *state == IdState::Stale {
                        *state = IdState::Clean;
                    }
                }
                index
            }
        };
        *self.states.get_mut(index)? = IdState::Used;
        u16::try_from(index.checked_add(1)?).ok()
    }

    /// Takes back an identifier that no core has loaded any more.
    ///
    /// # Errors
    /// [`IdNotInUse`], and nothing has changed.
    pub fn free(&mut self, id: u16) -> Result<(), IdNotInUse> {
        let index = usize::from(id).checked_sub(1);
        match index.and_then(|index| self.states.get_mut(index)) {
            Some(state) if *state == IdState::Used => {
                *state = IdState::Stale;
                Ok(())
            }
            _ => Err(IdNotInUse(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn x3_an_identifier_is_reused_after_an_invalidation_only() {
        let mut states = [IdState::Used; 3];
        let mut ids = Ids::new(IdWidth::Eight, &mut states);
        let unneeded = || panic!("nothing is to be invalidated");
        assert_eq!(
            [(); 3].map(|()| ids.alloc(unneeded)),
            [Some(1), Some(2), Some(3)]
        );
        assert_eq!(ids.alloc(unneeded), None);
        ids.free(3).unwrap();
        ids.free(1).unwrap();
        let mut invalidated = 0;
        assert_eq!(ids.alloc(|| invalidated += 1), Some(1));
        assert_eq!(invalidated, 1);
        assert_eq!(ids.alloc(unneeded), Some(3), "one invalidation cleans all");
        assert_eq!(ids.alloc(unneeded), None);
    }

    #[test]
    fn what_is_not_in_use_is_not_taken_back() {
        let mut states = [IdState::Clean; 3];
        let mut ids = Ids::new(IdWidth::Eight, &mut states);
        assert_eq!(ids.alloc(|| ()), Some(1));
        for id in [0, 2, 4, u16::MAX] {
            assert_eq!(ids.free(id), Err(IdNotInUse(id)));
        }
        assert_eq!(ids.free(1), Ok(()));
        assert_eq!(ids.free(1), Err(IdNotInUse(1)));
    }

    #[test]
    fn the_width_bounds_the_number() {
        for (width, most) in [(IdWidth::Eight, 255), (IdWidth::Sixteen, 65535)] {
            let mut states = vec![IdState::Clean; 70_000];
            let mut ids = Ids::new(width, &mut states);
            let found: BTreeSet<u16> = std::iter::from_fn(|| ids.alloc(|| ())).collect();
            assert_eq!(found.len(), most);
            assert!(!found.contains(&0));
            assert_eq!(found.last().copied(), Some(most as u16));
        }
    }
}
