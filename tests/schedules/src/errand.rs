// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls with a descriptor in TX that a scenario prepares, and what becomes of them.

use std::sync::Mutex;

use bulkhead_abi::Registers;

/// A call of an endpoint.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The call.
    pub call: Registers,
    /// What it has in TX, if anything.
    pub tx: Vec<u8>,
}

struct Kept {
    errand: Errand,
    answer: Option<Registers>,
}

/// The errands of partitions, by number.
#[derive(Default)]
pub struct Errands(Mutex<Vec<Kept>>);

impl Errands {
    /// Keeps an errand; its number, which is below 32.
    pub fn keep(&self, errand: Errand) -> usize {
        let mut all = self.0.lock().expect("a core failed");
        all.push(Kept {
            errand,
            answer: None,
        });
        assert!(all.len() <= 32, "more errands than deeds can name");
        all.len() - 1
    }

    /// What came back, if it did.
    pub fn answer(&self, number: usize) -> Option<Registers> {
        self.0.lock().expect("a core failed")[number].answer.clone()
    }

    /// The call.
    pub(crate) fn call(&self, number: usize) -> Registers {
        self.0.lock().expect("a core failed")[number]
            .errand
            .call
            .clone()
    }

    /// What it has in TX.
    pub(crate) fn tx(&self, number: usize) -> Vec<u8> {
        self.0.lock().expect("a core failed")[number]
            .errand
            .tx
            .clone()
    }

    pub(crate) fn end(&self, number: usize, answer: &Registers) {
        let mut all = self.0.lock().expect("a core failed");
        let earlier = all[number].answer.replace(answer.clone());
        assert!(earlier.is_none(), "CV8: two answers to one call");
    }
}
