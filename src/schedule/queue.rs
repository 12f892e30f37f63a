//! Decides which run starts next, and on which slot.
//!
//! Called by the event loop; pure.

use std::collections::{BTreeSet, VecDeque};

use super::Slot;
use crate::id::RunId;

/// Runs that wait for a slot, in the order they are tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queue {
    waiting: VecDeque<RunId>,
}

/// The slots, and the runs that occupy them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    places: Vec<(Slot, Option<RunId>)>,
}

/// The decision to start this run on this slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub run: RunId,
    pub slot_idx: usize,
}

/// The first waiting run that is not running, on the first free slot.
pub fn next_start(queue: &Queue, slots: &Slots) -> Option<Start> {
    let slot_idx = slots.places.iter().position(|(_, run)| run.is_none())?;
    let run = queue.waiting.iter().find(|run| !slots.is_running(run))?.clone();
    Some(Start { run, slot_idx })
}

impl Queue {
    /// A queue of `runs` in their order; a run named twice is kept once.
    pub fn new(runs: impl IntoIterator<Item = RunId>) -> Self {
        let mut seen = BTreeSet::new();
        Self { waiting: runs.into_iter().filter(|run| seen.insert(run.clone())).collect() }
    }

    /// Puts `run` at the end, unless it waits already.
    pub fn push(&mut self, run: RunId) {
        if !self.waiting.contains(&run) {
            self.waiting.push_back(run);
        }
    }

    pub fn remove(&mut self, run: &RunId) {
        self.waiting.retain(|other| other != run);
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Slots {
    pub fn new(slots: impl IntoIterator<Item = Slot>) -> Self {
        Self { places: slots.into_iter().map(|slot| (slot, None)).collect() }
    }

    pub fn slot(&self, idx: usize) -> &Slot {
        &self.places[idx].0
    }

    pub fn occupy(&mut self, start: &Start) {
        self.places[start.slot_idx].1 = Some(start.run.clone());
    }

    pub fn release(&mut self, run: &RunId) {
        for (_, occupant) in &mut self.places {
            if occupant.as_ref() == Some(run) {
                *occupant = None;
            }
        }
    }

    pub fn is_running(&self, run: &RunId) -> bool {
        self.places.iter().any(|(_, occupant)| occupant.as_ref() == Some(run))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::device::Device;

    fn id(n: u8) -> RunId {
        RunId::parse(&format!("{n:016x}")).unwrap()
    }

    fn slots(occupants: &[Option<u8>]) -> Slots {
        let cpu = Slot { device: Device::Cpu, visible: None, threads: NonZeroU32::MIN };
        let mut slots = Slots::new(occupants.iter().map(|_| cpu.clone()));
        for (slot_idx, run) in occupants.iter().enumerate() {
            if let Some(run) = run {
                slots.occupy(&Start { run: id(*run), slot_idx });
            }
        }
        slots
    }

    fn check(waiting: &[u8], occupants: &[Option<u8>], expect: Option<(u8, usize)>) {
        let queue = Queue::new(waiting.iter().map(|n| id(*n)));
        let expect = expect.map(|(run, slot_idx)| Start { run: id(run), slot_idx });
        assert_eq!(next_start(&queue, &slots(occupants)), expect);
    }

    #[test]
    fn the_first_waiting_run_takes_the_first_free_slot() {
        check(&[1, 2], &[None], Some((1, 0)));
        check(&[2, 1], &[Some(9), None, None], Some((2, 1)));
    }

    #[test]
    fn nothing_starts_without_a_run_or_a_slot() {
        check(&[], &[None], None);
        check(&[1], &[], None);
        check(&[1], &[Some(9)], None);
    }

    #[test]
    fn a_run_never_starts_beside_itself() {
        check(&[1], &[Some(1), None], None);
        check(&[1, 2], &[Some(1), None], Some((2, 1)));
    }

    #[test]
    fn a_run_waits_once() {
        let mut queue = Queue::new([id(1), id(2), id(1)]);
        queue.push(id(2));
        assert_eq!(queue.len(), 2);
        queue.remove(&id(1));
        assert_eq!(next_start(&queue, &slots(&[None])), Some(Start { run: id(2), slot_idx: 0 }));
    }

    #[test]
    fn a_released_slot_is_free_again() {
        let mut slots = slots(&[Some(1)]);
        slots.release(&id(1));
        let start = next_start(&Queue::new([id(1)]), &slots);
        assert_eq!(start, Some(Start { run: id(1), slot_idx: 0 }));
    }
}
