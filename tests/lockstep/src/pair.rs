// SPDX-License-Identifier: MIT OR Apache-2.0
//! A world of the model and the core in the same world.

use std::collections::HashMap;

use bulkhead_abi::memory::attributes::InstructionAccess;
use bulkhead_abi::memory::{self, Flags};
use bulkhead_abi::{FfaError, Function, Version};
use bulkhead_core::hardware::Run;
use bulkhead_mm::addr::{PAGE_SIZE, Pa};
use bulkhead_mm::attrs::{MemoryType, Space};
use bulkhead_mm::owner::{self, PageState};
use bulkhead_mm::table::ENTRIES;
use bulkhead_model::call::{Call, Oracle, Outcome, Request, Response, Send};
use bulkhead_model::check::{Case, Rules};
use bulkhead_model::explore::Letter;
use bulkhead_model::page::{self, Domain, Hold, Id, Kind, Owner, Page};
use bulkhead_model::send;
use bulkhead_model::world::World;
use bulkhead_sim::memory::Quotas;

use crate::encode::{self, Encoded};
use crate::outcome::{Answer, Description, answer};
use crate::real::{self, Real, content, map};
use crate::tables::{SPACES, Tables};

/// Both.
pub struct Pair {
    /// The model's world.
    pub model: World,
    real: Real,
    /// The real handle of each of the model's, dead ones too.
    handles: HashMap<u64, u64>,
    /// Whose each page was at first.
    owners: Vec<Owner>,
    /// How many pages of the pool are used while there is no transaction.
    base: usize,
    /// How many calls the core has served.
    pub served: usize,
    /// How many of them an allocation failed in, which it was made to.
    pub injected: usize,
    /// Counts the steps, to choose among what the model leaves open.
    calls: usize,
    tables: Tables,
}

type Table = [u64; ENTRIES];

/// What differs.
pub type Divergence = String;

impl Pair {
    /// Both in `world`; the versions of the normal world and of each partition.
    pub fn new(world: &World, versions: &[Version], quotas: Quotas) -> Self {
        let mut model = world.clone();
        for (domain, version) in model
            .parties
            .keys()
            .copied()
            .collect::<Vec<_>>()
            .into_iter()
            .zip(
                // The normal world is the first domain.
                versions,
            )
        {
            let party = model.parties.get_mut(&domain).expect("a party");
            party.tells_ns = *version >= Version::V1_1;
            party.quota = model.slots.len();
        }
        let real = Real::new(&model, versions, quotas);
        let base = real.shared.borrow().memory.pool.used();
        let tables = Tables::new(model.pages.keys().copied());
        Self {
            owners: model.pages.values().map(|page| page.owner).collect(),
            model,
            real,
            handles: HashMap::new(),
            base,
            served: 0,
            injected: 0,
            calls: 0,
            tables,
        }
    }

    fn version(&self, domain: Domain) -> Version {
        self.real.versions[self.real.core(domain)]
    }

    /// The real handle for one of the model's; for one that never lived one that the core does not know either.
    fn handle(&self, model: u64) -> u64 {
        match self.handles.get(&model) {
            Some(real) => *real,
            None if self.handles.values().any(|real| *real == model) => model | 1 << 50,
            None => model,
        }
    }

    /// Makes one call on both sides.
    ///
    /// # Errors
    /// What differs.
    pub fn step(&mut self, letter: &Letter) -> Result<(), Divergence> {
        self.calls += 1;
        let letter = &as_sent(letter);
        let call = &letter.call;
        let party = self.model.parties.get(&call.from);
        if !party.is_some_and(|party| party.alive) {
            return Ok(());
        }
        match call.request {
            // What a VM has when it is destroyed is the hypervisor's to give back, by its own calls.
            Request::VmDestroyed(_) => Ok(()),
            Request::Touch { page, write } => self.touch(letter, page, write),
            Request::Death if call.from == Domain::NormalWorld => Ok(()),
            Request::Death => {
                self.real.end(call.from);
                self.served += 1;
                self.advance(letter, Oracle::default());
                self.compare()
            }
            _ => self.call(letter),
        }
    }

    /// Makes a step of the model alone.
    fn advance(&mut self, letter: &Letter, oracle: Oracle) -> Outcome {
        Rules::default().act(&mut self.model, letter.core, &letter.call, oracle)
    }

    fn touch(&mut self, letter: &Letter, number: u64, write: bool) -> Result<(), Divergence> {
        let from = letter.call.from;
        let outcome = self.advance(letter, Oracle::default());
        let Domain::Partition(_) = from else {
            // No table of the SPMC says what the normal world may touch.
            self.write(&outcome, number, from, write);
            return Ok(());
        };
        let space = self.model.pages.get(&number).map(|page| page.space);
        let index = self.real.core(from) - 1;
        let run = space.and_then(|space| self.lookup(index, real::space(space), number));
        let allowed = run.is_some_and(|run| !write || run.permissions.write);
        if allowed != matches!(outcome, Outcome::Data(_)) {
            return Err(format!(
                "the tables allow it: {allowed}, the model: {outcome:?}"
            ));
        }
        self.write(&outcome, number, from, write);
        Ok(())
    }

    fn write(&mut self, outcome: &Outcome, number: u64, from: Domain, write: bool) {
        if let (Outcome::Data(_), true) = (outcome, write) {
            let space = real::space(self.model.pages[&number].space);
            let value = content(page::Content::Of(from));
            let mut shared = self.real.shared.borrow_mut();
            (shared.memory.contents).insert((space, number * PAGE_SIZE), value);
        }
    }

    fn lookup(&self, index: usize, space: Space, number: u64) -> Option<Run> {
        let shared = self.real.shared.borrow();
        shared
            .memory
            .lookup(index, space, number * PAGE_SIZE, PAGE_SIZE)
    }

    fn encode(&self, call: &Call) -> Encoded {
        let version = self.version(call.from);
        let spoil = self.calls;
        match &call.request {
            Request::Send(send) => encode::send(send, version, spoil),
            Request::FragTx(fragment) => {
                encode::frag_tx(fragment, self.handle(fragment.handle), spoil)
            }
            Request::Retrieve(retrieve) => {
                encode::retrieve(retrieve, self.handle(retrieve.handle), version, spoil)
            }
            Request::FragRx(fragment) => {
                let listed = match (fragment.borrower, self.model.transaction(fragment.handle)) {
                    (Id::HYPERVISOR, Some(live)) => live.sent.receivers.len(),
                    _ => 1,
                };
                let position = encode::head(version, listed) + 16 * fragment.offset;
                encode::frag_rx(fragment, self.handle(fragment.handle), position)
            }
            Request::Relinquish(relinquish) => {
                encode::relinquish(relinquish, self.handle(relinquish.handle))
            }
            Request::Reclaim(reclaim) => encode::reclaim(reclaim, self.handle(reclaim.handle)),
            Request::RxRelease => encode::plain(Function::RxRelease),
            Request::RxtxUnmap => encode::plain(Function::RxtxUnmap),
            Request::RxtxMap { rx, tx } => Encoded {
                registers: map(*rx, *tx),
                tx: Vec::new(),
            },
            Request::Death | Request::VmDestroyed(_) | Request::Touch { .. } => {
                unreachable!("no call")
            }
        }
    }

    fn call(&mut self, letter: &Letter) -> Result<(), Divergence> {
        let call = &letter.call;
        let encoded = self.encode(call);
        let answer = if letter.oracle.no_memory {
            self.without_memory(letter, &encoded)?
        } else {
            self.answer(letter, &encoded)?
        };
        let no_memory = answer == Answer::Error(FfaError::NoMemory);
        let full = self.model.slots.iter().all(|slot| slot.live.is_some());
        if no_memory && self.scarce() == (false, false) && !full {
            return Err("NO_MEMORY, of which there is enough".into());
        }
        let oracle = Oracle {
            no_memory,
            interrupt: false,
        };
        let others = self.also_right(call, oracle);
        let outcome = self.advance(letter, oracle);
        self.answers(call, &outcome, &answer, &others)?;
        self.compare()
    }

    /// Makes a call in which the first allocation fails, then again in which the second does, and so on until none
    /// does. Its last answer.
    fn without_memory(&mut self, letter: &Letter, encoded: &Encoded) -> Result<Answer, Divergence> {
        let account = self.real.account(letter.call.from);
        // The tables were read after the call before this one.
        let before = self.dump();
        for pages in 0.. {
            let spare = self.real.shared.borrow().memory.pages_left(account) > pages;
            self.real.shared.borrow_mut().inflate(account, pages);
            let answer = self.answer(letter, encoded)?;
            self.real.shared.borrow_mut().deflate();
            let no_memory = answer == Answer::Error(FfaError::NoMemory);
            let (refused, asked) = self.scarce();
            if refused && !no_memory {
                return Err(format!("an allocation failed: {answer:x?}"));
            }
            // The core may also ask first how many pages there are.
            if !(spare && (refused || asked && no_memory)) {
                return Ok(answer);
            }
            self.injected += 1;
            self.compare()
                .map_err(|what| format!("after NO_MEMORY: {what}"))?;
            if before != self.dump() {
                return Err("NO_MEMORY changed something".into());
            }
        }
        unreachable!("pages are finite")
    }

    /// Whether an allocation failed in the last call, and whether the core asked how many pages there are.
    fn scarce(&self) -> (bool, bool) {
        let shared = self.real.shared.borrow();
        (shared.refused, shared.asked.get())
    }

    /// Makes a call, again and again as long as interrupts come. What it answers.
    fn answer(&mut self, letter: &Letter, encoded: &Encoded) -> Result<Answer, Divergence> {
        let from = letter.call.from;
        let slot = self.real.core(from);
        {
            let mut shared = self.real.shared.borrow_mut();
            if let Some(mailbox) = &mut shared.mailboxes[slot] {
                let length = encoded.tx.len().min(mailbox.tx.len());
                mailbox.tx[..length].copy_from_slice(&encoded.tx[..length]);
            }
            shared.refused = false;
            shared.asked.set(false);
            shared.interrupts = letter.oracle.interrupt;
        }
        self.served += 1;
        let mut answered = self.real.call(from, &encoded.registers);
        while answered.is_none() {
            // Zeroing that was interrupted goes on with the same call.
            if !self.real.shared.borrow().interrupts {
                return Err("interrupted by nothing".into());
            }
            self.real.shared.borrow_mut().interrupts = self.calls.is_multiple_of(3);
            self.calls += 1;
            answered = self.real.call(from, &encoded.registers);
        }
        let shared = self.real.shared.borrow();
        let rx = shared.mailboxes[slot]
            .as_ref()
            .map(|mailbox| &mailbox.rx[..]);
        Ok(answer(answered, rx, self.version(from)))
    }

    /// What a refused call may not change: every word of the tables, and who has how many pages.
    fn dump(&self) -> (String, Vec<(Pa, Table)>) {
        let shared = self.real.shared.borrow();
        let words = &shared.memory.words;
        let tables = self.tables.all().map(|table| (table, *words.page(table)));
        (shared.memory.pool.to_string(), tables.collect())
    }

    /// Of memory that breaks several rules, any of them is named.
    fn also_right(&self, call: &Call, oracle: Oracle) -> Vec<FfaError> {
        let world = &self.model;
        let from = call.from;
        let of = |call: &Send| {
            let pages: u64 = call
                .constituents
                .iter()
                .map(|run| u64::from(run.count))
                .sum();
            if pages > 1000 {
                // The model looks at each of them.
                return vec![FfaError::Denied, FfaError::InvalidParameters];
            }
            let case = Case {
                world,
                from,
                call,
                oracle,
            };
            let rules = Rules::default();
            let mut all = rules.refusals(send::MEMORY, &case);
            all.extend(rules.refusals(send::RECORD, &case));
            all
        };
        match &call.request {
            Request::Send(call) => of(call),
            Request::FragTx(call) => world
                .transaction(call.handle)
                .map_or_else(Vec::new, |live| {
                    let mut sent = live.sent.clone();
                    sent.constituents.extend_from_slice(&call.constituents);
                    of(&sent)
                }),
            // Without buffers nobody sees what is wrong with a descriptor.
            Request::Retrieve(_) if world.parties[&from].mailbox.is_none() => {
                vec![FfaError::Busy]
            }
            _ => Vec::new(),
        }
    }

    fn answers(
        &mut self,
        call: &Call,
        outcome: &Outcome,
        answer: &Answer,
        others: &[FfaError],
    ) -> Result<(), Divergence> {
        let version = self.version(call.from);
        let same = match (outcome, answer) {
            // Which of its two errors RXTX_MAP names is not about sharing.
            (Outcome::Error(_), Answer::Error(_))
                if matches!(call.request, Request::RxtxMap { .. }) =>
            {
                true
            }
            (Outcome::Error(one), Answer::Error(other)) => one == other || others.contains(other),
            (Outcome::Success, Answer::Success(_)) => true,
            (Outcome::Handle(model), Answer::Success(real)) => self.names(*model, *real),
            (Outcome::SendMore(model, count), Answer::SendMore(real, position)) => {
                let receivers = self.model.transaction(*model);
                let receivers = receivers.map_or(0, |live| live.sent.receivers.len());
                *position == encode::head(version, receivers) + 16 * count
                    && self.names(*model, *real)
            }
            (Outcome::Retrieved(response), Answer::Retrieved(told)) => {
                let Request::Retrieve(request) = &call.request else {
                    return Err("a response to something else".into());
                };
                let handle = self.handle(request.handle);
                describes(response, told, handle)
            }
            (Outcome::Fragment(expected), Answer::Fragment(told)) => {
                let expected = expected.iter().map(encode::constituent);
                expected.eq(told.iter().copied())
            }
            _ => false,
        };
        if same {
            Ok(())
        } else {
            Err(format!(
                "model: {outcome:x?}\ncore: {answer:x?}\nor {others:?}"
            ))
        }
    }

    /// Notes the name of a transaction; false if it has another, or that one was another's.
    fn names(&mut self, model: u64, real: u64) -> bool {
        match self.handles.get(&model) {
            Some(known) => *known == real,
            None => {
                let new = self.handles.values().all(|known| *known != real);
                self.handles.insert(model, real);
                new
            }
        }
    }

    /// Compares everything.
    ///
    /// # Errors
    /// The first page that differs.
    pub fn compare(&mut self) -> Result<(), Divergence> {
        self.tables.read(&self.real.shared.borrow().memory)?;
        let alive = |id: &Id| self.model.parties[&id.domain()].alive;
        let alive: Vec<(usize, Domain)> = (0..)
            .zip(&self.real.ids)
            .filter(|(_, id)| alive(id))
            .map(|(index, id)| (index, id.domain()))
            .collect();
        for (number, page) in &self.model.pages {
            self.page(*number, page, &alive)?;
        }
        // Tables stay for pages that were donated.
        let owners = self.model.pages.values().map(|page| page.owner);
        if self.model.live().next().is_none() && owners.eq(self.owners.iter().copied()) {
            let used = self.real.shared.borrow().memory.pool.used();
            if used != self.base {
                return Err(format!("{used} pages are used, of {}", self.base));
            }
        }
        Ok(())
    }

    fn page(&self, number: u64, page: &Page, alive: &[(usize, Domain)]) -> Result<(), Divergence> {
        let differs = |what: &str, model: &dyn std::fmt::Debug, core: &dyn std::fmt::Debug| {
            Err(format!(
                "page {number}: {what}: model {model:x?}, core {core:x?}"
            ))
        };
        let own = real::space(page.space);
        for (index, domain) in alive {
            let expected = page.map.get(domain);
            for (place, space) in SPACES.into_iter().enumerate() {
                let found = self.tables.run(*index, place, number);
                let expected = expected.filter(|_| space == own);
                if !maps(number, expected, found) {
                    return differs("mapping", &(domain, expected), &(space, found));
                }
            }
        }
        let state = self.real.spmc.owners.state(own, Pa(number * PAGE_SIZE));
        if !owns(page, state) {
            return differs("owner", &(page.owner, page.hold), &state);
        }
        let dead = match page.owner {
            Owner::Of(domain) => !self.model.parties[&domain].alive,
            Owner::Spmc | Owner::Reserved => false,
        };
        // What a dead partition never sent nobody sees any more.
        if dead && page.hold == Hold::Exclusive {
            return Ok(());
        }
        let shared = self.real.shared.borrow();
        let found = shared.memory.contents[&(own, number * PAGE_SIZE)];
        if found != content(page.content) {
            return differs("content", &page.content, &found);
        }
        Ok(())
    }
}

/// The letter as bytes can say it: the borrower of a retrieve is the one in the list for whom the caller speaks.
fn as_sent(letter: &Letter) -> Letter {
    let mut letter = letter.clone();
    let from = letter.call.from;
    if let Request::Retrieve(call) = &mut letter.call.request {
        let own = call.receivers.iter().find(|one| one.id.domain() == from);
        call.borrower = own.map_or(call.borrower, |own| own.id);
    }
    letter
}

fn maps(number: u64, expected: Option<&page::Mapping>, found: Option<Run>) -> bool {
    match (expected, found) {
        (None, None) => true,
        (Some(mapping), Some(run)) => {
            run.pa == Pa(number * PAGE_SIZE)
                && run.memory == kind(mapping.kind)
                && run.permissions.read
                && run.permissions.write == mapping.access.write
                && run.permissions.execute == mapping.access.execute
        }
        _ => false,
    }
}

fn kind(kind: Kind) -> MemoryType {
    match kind {
        Kind::Normal => MemoryType::Normal,
        Kind::Device => MemoryType::Device,
    }
}

fn owns(page: &Page, state: PageState) -> bool {
    let owner = match page.owner {
        Owner::Of(Domain::NormalWorld) => owner::Owner::NormalWorld,
        Owner::Of(Domain::Partition(id)) => owner::Owner::Partition(id.0),
        Owner::Spmc | Owner::Reserved => return state == PageState::HOLE,
    };
    let hold = matches!(
        (page.hold, state.hold),
        (
            Hold::Exclusive,
            owner::Hold::Exclusive | owner::Hold::Buffer(_)
        ) | (Hold::Shared, owner::Hold::Shared(_))
            | (Hold::Lent, owner::Hold::Lent(_))
            | (Hold::Donated, owner::Hold::Donated(_))
    );
    state.owner == owner && hold && state.memory == kind(page.kind)
}

/// Whether RX says what the model says. A receiver's own entry has what it was granted, which the tables show.
fn describes(response: &Response, told: &Description, handle: u64) -> bool {
    let header = &told.header;
    let ns = header.attributes.world == bulkhead_abi::id::World::Normal;
    let memory = encode::memory_type(bulkhead_model::call::TypeField::Is(response.memory));
    let receiver = |(one, other): (&bulkhead_model::call::Receiver, &memory::Receiver)| {
        let data = encode::data(one.data);
        let permissions = other.permissions;
        one.id.0 == other.endpoint.0
            && (permissions.data == data
                || permissions.instruction != InstructionAccess::NotSpecified)
    };
    let constituents = response.constituents.iter().map(encode::constituent);
    header.sender.0 == response.sender.0
        && header.tag == response.tag
        && header.handle.0 == handle
        && header.flags.transaction_type() == encode::transaction_type(Some(response.kind))
        && header.flags.has(Flags::CLEAR) == response.zero
        && header.attributes.memory_type == memory
        && ns == (response.ns == Some(page::Space::NonSecure))
        && response.receivers.len() == told.receivers.len()
        && response.receivers.iter().zip(&told.receivers).all(receiver)
        && response.count == told.count
        && constituents.eq(told.constituents.iter().copied())
}
