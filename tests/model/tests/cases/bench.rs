// SPDX-License-Identifier: MIT OR Apache-2.0
//! A world and the calls that cases make in it.
use bulkhead_abi::FfaError;
use bulkhead_model::call::{Data, Oracle, Outcome, Request, Retrieve, Send, Type};
use bulkhead_model::case_world::{SP, case_world};
use bulkhead_model::check::Rules;
use bulkhead_model::explore::{Letter, checked_step};
use bulkhead_model::page::{Access, Content, Domain, Id, Mapping};
use bulkhead_model::well_formed::{by, reclaim, relinquish, retrieve, run, send};
use bulkhead_model::world::{Transaction, World};

/// A world under test; each step is checked against all invariants.
pub struct Bench {
    pub world: World,
    pub oracle: Oracle,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            world: case_world(4, 3),
            oracle: Oracle::default(),
        }
    }

    pub fn call(&mut self, caller: Id, request: Request) -> Outcome {
        let letter = Letter {
            core: 0,
            call: by(caller, request),
            oracle: self.oracle,
        };
        let (world, outcome) = checked_step(&Rules::default(), &self.world, &letter)
            .unwrap_or_else(|b| panic!("{b:#?}"));
        self.world = world;
        outcome
    }

    /// Asserts the error and that nothing changed.
    #[track_caller]
    pub fn refused(&mut self, caller: Id, request: Request, error: FfaError) {
        let before = self.world.clone();
        assert_eq!(self.call(caller, request), Outcome::Error(error));
        assert_eq!(self.world, before);
    }

    #[track_caller]
    pub fn sent(&mut self, call: Send) -> u64 {
        match self.call(call.sender, Request::Send(call)) {
            Outcome::Handle(handle) | Outcome::SendMore(handle, _) => handle,
            other => panic!("{other:?}"),
        }
    }

    /// Sends from the first partition: three pages in three constituents.
    #[track_caller]
    pub fn three(&mut self, kind: Type, receivers: &[(Id, Data)]) -> u64 {
        self.sent(send(kind, SP[0], receivers, &three_pages()))
    }

    pub fn live(&self, handle: u64) -> &Transaction {
        self.world.transaction(handle).expect("live")
    }

    pub fn request(&self, handle: u64, id: Id) -> Retrieve {
        retrieve(self.live(handle), handle, id)
    }

    /// Retrieves, reads RX and fetches the rest.
    #[track_caller]
    pub fn take(&mut self, handle: u64, id: Id) {
        let request = self.request(handle, id);
        self.take_by(id, request);
    }

    #[track_caller]
    pub fn take_by(&mut self, id: Id, request: Retrieve) {
        let handle = request.handle;
        let Outcome::Retrieved(response) = self.call(id, Request::Retrieve(request)) else {
            panic!("not retrieved")
        };
        let mut told = response.constituents.len() as u32;
        self.release(id);
        while told < response.count {
            let more = bulkhead_model::well_formed::frag_rx(handle, id, told);
            let Outcome::Fragment(part) = self.call(id, Request::FragRx(more)) else {
                panic!("no fragment")
            };
            told += part.len() as u32;
            self.release(id);
        }
    }

    #[track_caller]
    pub fn release(&mut self, id: Id) {
        assert_eq!(self.call(id, Request::RxRelease), Outcome::Success);
    }

    #[track_caller]
    pub fn leave(&mut self, handle: u64, id: Id) {
        assert_eq!(
            self.call(id, Request::Relinquish(relinquish(handle, id))),
            Outcome::Success
        );
    }

    #[track_caller]
    pub fn give_back(&mut self, handle: u64) {
        assert_eq!(
            self.call(SP[0], Request::Reclaim(reclaim(handle))),
            Outcome::Success
        );
    }

    pub fn mapping(&self, page: u64, id: Id) -> Option<Mapping> {
        self.world.pages[&page].map.get(&id.domain()).copied()
    }

    pub fn access(&self, page: u64, id: Id) -> Option<Access> {
        self.mapping(page, id).map(|mapping| mapping.access)
    }

    pub fn content(&self, page: u64) -> Content {
        self.world.pages[&page].content
    }

    pub fn die(&mut self, id: Id) {
        assert_eq!(self.call(id, Request::Death), Outcome::Success);
        assert!(matches!(id.domain(), Domain::Partition(_)));
    }
}

pub fn three_pages() -> [bulkhead_model::call::Constituent; 3] {
    [run(0, 1), run(2, 1), run(1, 1)]
}

pub const RW: Data = Data::ReadWrite;
pub const RO: Data = Data::ReadOnly;
pub const NONE: Data = Data::Unspecified;
