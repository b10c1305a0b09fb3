// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which core gets which shared interrupt of partitions.

/// Where shared interrupts are wanted, and which cores are on.
#[derive(Debug)]
pub struct Routes {
    /// Room for INTIDs, each with the index of the core where it is wanted.
    wanted: &'static mut [(u32, usize)],
    /// Those in front are taken.
    count: usize,
    /// Which cores are on, by index.
    on: &'static mut [bool],
    /// The core that gets everything while none is on.
    boot: usize,
}

impl Routes {
    /// No interrupts yet, and no core that is on; `on` has an element for each core, of which `boot` comes first.
    pub fn new(on: &'static mut [bool], boot: usize) -> Self {
        on.fill(false);
        Self {
            wanted: &mut [],
            count: 0,
            on,
            boot,
        }
    }

    /// Has room for as many interrupts as `room` has elements, and forgets those that it had.
    pub fn make_room(&mut self, room: &'static mut [(u32, usize)]) {
        (self.wanted, self.count) = (room, 0);
    }

    /// A partition has `intid`, which is wanted on `core`. Without room it goes nowhere.
    pub fn add(&mut self, intid: u32, core: usize) {
        if let Some(slot) = self.wanted.get_mut(self.count) {
            *slot = (intid, core);
            self.count += 1;
        }
    }

    /// `intid` is wanted on `core` from now on; `false` if no partition has it.
    pub fn want(&mut self, intid: u32, core: usize) -> bool {
        let mut known = self.wanted.iter_mut().take(self.count);
        let found = known.find(|(known, _)| *known == intid);
        found.map(|(_, wanted)| *wanted = core).is_some()
    }

    /// Whether `core` is on.
    pub fn set_on(&mut self, core: usize, is_on: bool) {
        if let Some(on) = self.on.get_mut(core) {
            *on = is_on;
        }
    }

    /// Each interrupt with the core that gets it: where it is wanted, or, while that core is off, another one.
    pub fn iter(&self) -> impl Iterator<Item = (u32, usize)> {
        let somewhere = self.on.iter().position(|on| *on).unwrap_or(self.boot);
        self.wanted
            .iter()
            .take(self.count)
            .map(move |&(intid, wanted)| {
                let is_on = self.on.get(wanted) == Some(&true);
                (intid, if is_on { wanted } else { somewhere })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(cores: usize, room: usize) -> Routes {
        let mut routes = Routes::new(vec![true; cores].leak(), 0);
        routes.make_room(vec![(0, 0); room].leak());
        routes
    }

    fn all(routes: &Routes) -> Vec<(u32, usize)> {
        routes.iter().collect()
    }

    #[test]
    fn an_interrupt_goes_where_it_is_wanted_as_soon_as_that_core_is_on() {
        let mut routes = routes(4, 3);
        routes.add(40, 0);
        routes.add(41, 2);
        routes.add(4096, 3);
        assert_eq!(all(&routes), [(40, 0), (41, 0), (4096, 0)]);
        routes.set_on(0, true);
        routes.set_on(3, true);
        assert_eq!(all(&routes), [(40, 0), (41, 0), (4096, 3)]);
        routes.set_on(2, true);
        assert_eq!(all(&routes), [(40, 0), (41, 2), (4096, 3)]);
    }

    #[test]
    fn an_interrupt_of_a_core_that_goes_off_goes_to_one_that_is_on_and_back() {
        let mut routes = routes(3, 2);
        routes.add(40, 0);
        routes.add(41, 1);
        (0..3).for_each(|core| routes.set_on(core, true));
        routes.set_on(0, false);
        assert_eq!(all(&routes), [(40, 1), (41, 1)]);
        routes.set_on(1, false);
        assert_eq!(all(&routes), [(40, 2), (41, 2)]);
        routes.set_on(0, true);
        assert_eq!(all(&routes), [(40, 0), (41, 0)]);
        routes.set_on(1, true);
        assert_eq!(all(&routes), [(40, 0), (41, 1)]);
    }

    #[test]
    fn i8_only_a_partitions_interrupt_can_be_wanted_elsewhere() {
        let mut routes = routes(2, 1);
        routes.add(40, 0);
        (0..2).for_each(|core| routes.set_on(core, true));
        assert!(!routes.want(41, 1));
        // The element of room that nobody has taken.
        assert!(!routes.want(0, 1));
        assert_eq!(all(&routes), [(40, 0)]);
        assert!(routes.want(40, 1));
        assert_eq!(all(&routes), [(40, 1)]);
        // A core that does not exist is off.
        assert!(routes.want(40, 7));
        routes.set_on(7, true);
        assert_eq!(all(&routes), [(40, 0)]);
        // No room is left.
        routes.add(42, 0);
        assert_eq!(all(&routes), [(40, 0)]);
    }
}
