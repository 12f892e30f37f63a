//! A parallel map whose results come in order, a bounded way ahead of the caller.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

type Outcome<T> = Result<T, Box<dyn Any + Send>>;

/// Results of [`ordered_map`]. Dropping it stops its threads, once each is done with its item.
pub struct OrderedMap<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
    /// The function, called here for a map without threads.
    inline: Arc<dyn Fn(usize) -> T + Send + Sync>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Signals that a result came in.
    arrived: Condvar,
    /// Signals that there is room ahead, or that no more is wanted.
    room: Condvar,
    n_items: usize,
    depth: usize,
}

struct State<T> {
    /// The next item to start.
    started: usize,
    /// The next item to hand out.
    taken: usize,
    ready: BTreeMap<usize, Outcome<T>>,
    stop: bool,
}

/// `f(0), …, f(n_items - 1)` in this order, computed by `n_threads` threads at most `depth` items
/// ahead of what was taken. Without threads each is computed when asked for.
///
/// A panic in `f` comes out of `next` at its item's place.
pub fn ordered_map<T, F>(n_items: usize, n_threads: usize, depth: usize, f: F) -> OrderedMap<T>
where
    T: Send + 'static,
    F: Fn(usize) -> T + Send + Sync + 'static,
{
    let f: Arc<dyn Fn(usize) -> T + Send + Sync> = Arc::new(f);
    let state = State { started: 0, taken: 0, ready: BTreeMap::new(), stop: false };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        arrived: Condvar::new(),
        room: Condvar::new(),
        n_items,
        depth: depth.max(1),
    });
    // More could never be at work at once.
    let threads = (0..n_threads.min(n_items).min(depth.max(1))).filter_map(|i| {
        let (shared, f) = (Arc::clone(&shared), Arc::clone(&f));
        let builder = std::thread::Builder::new().name(format!("load-{i}"));
        // A system out of threads slows loading down; without any, the caller computes.
        builder.spawn(move || shared.work(&*f)).ok()
    });
    let threads = threads.collect();
    OrderedMap { shared, threads, inline: f }
}

impl<T> Iterator for OrderedMap<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let mut state = self.shared.lock();
        let index = state.taken;
        if index >= self.shared.n_items {
            return None;
        }
        if self.threads.is_empty() {
            state.taken += 1;
            drop(state);
            return Some((self.inline)(index));
        }
        loop {
            if let Some(outcome) = state.ready.remove(&index) {
                state.taken += 1;
                drop(state);
                self.shared.room.notify_one();
                return Some(outcome.unwrap_or_else(|panic| resume_unwind(panic)));
            }
            state = self.shared.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.shared.n_items - self.shared.lock().taken;
        (left, Some(left))
    }
}

impl<T> Drop for OrderedMap<T> {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // A thread catches every panic of its items, so there is no other to report.
            let _ = thread.join();
        }
    }
}

impl<T> Shared<T> {
    fn work(&self, f: &dyn Fn(usize) -> T) {
        while let Some(index) = self.claim() {
            let outcome = catch_unwind(AssertUnwindSafe(|| f(index)));
            self.lock().ready.insert(index, outcome);
            self.arrived.notify_one();
        }
    }

    /// Waits for room; `None` when there is nothing left to start.
    fn claim(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.stop || state.started >= self.n_items {
                return None;
            }
            if state.started < state.taken.saturating_add(self.depth) {
                state.started += 1;
                return Some(state.started - 1);
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it is held, and an item's panic is caught before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
