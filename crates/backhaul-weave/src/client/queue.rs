//! What was logged and is not on disk yet: bounded in bytes, taken in batches by one thread.
//!
//! It knows nothing of what it holds, and takes its locks from `super::sync`, so that a model
//! checker can run it as it is.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::sync::{AtomicUsize, Condvar, Mutex, Ordering};

/// How many things were handed to a queue so far: what is up to it, and what is later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position(u64);

/// What became of what was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It will be on disk once this position is.
    Taken(Position),
    /// There is no room, and the disk takes nothing: it is counted as dropped.
    Dropped,
}

/// How long a caller waits for room while the disk takes what it is given, and makes none:
/// longer than any flush of a working disk, shorter than what a caller would call hanging.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between many who log and one who stores.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    /// For who stores: there is something, or it is to hurry.
    news: Condvar,
    /// For who waits: something was stored, or it was tried in vain.
    stored: Condvar,
    /// Of what is held, also by who stores it at the moment.
    bytes: AtomicUsize,
    max_bytes: usize,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    pushed: u64,
    stored: u64,
    dropped: u64,
    /// Somebody waits: no more is collected before it is stored.
    is_urgent: bool,
    /// The disk took nothing when it was tried last.
    is_refused: bool,
    /// How often the disk was tried in vain.
    refusals: u64,
    is_closed: bool,
    /// Whoever stored has ended: nothing that comes is stored any more.
    is_over: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let state = State {
            items: Vec::new(),
            pushed: 0,
            stored: 0,
            dropped: 0,
            is_urgent: false,
            is_refused: false,
            refusals: 0,
            is_closed: false,
            is_over: false,
        };
        Self {
            state: Mutex::new(state),
            news: Condvar::new(),
            stored: Condvar::new(),
            bytes: AtomicUsize::new(0),
            max_bytes,
        }
    }

    /// Hands something over that takes so many bytes. Where there is no room it waits for the
    /// disk as long as that takes anything, and then drops it.
    pub(crate) fn push(&self, item: T, bytes: usize) -> Pushed {
        let has_room = self.has_room(bytes) || self.wait_for_room(bytes);
        match has_room.then(|| self.add(item, bytes)).flatten() {
            Some(position) => Pushed::Taken(position),
            None => {
                self.state().dropped += 1;
                Pushed::Dropped
            }
        }
    }

    /// Hands over what nothing that comes after makes sense without: it is not dropped while
    /// anybody stores.
    pub(crate) fn push_always(&self, item: T, bytes: usize) {
        self.add(item, bytes);
    }

    /// `None`: nobody stores any more.
    fn add(&self, item: T, bytes: usize) -> Option<Position> {
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let mut state = self.state();
        if state.is_over {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        state.items.push(item);
        state.pushed += 1;
        let position = Position(state.pushed);
        let is_first = state.items.len() == 1;
        // It is stored before there is no room.
        let is_much = held > self.max_bytes / 4 && !state.is_urgent;
        state.is_urgent |= is_much;
        drop(state);
        if is_first || is_much {
            self.news.notify_one();
        }
        Some(position)
    }

    /// Counts that something which was handed over has become larger.
    pub(crate) fn grow(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What is larger than all that may be held has room where nothing else is.
    fn has_room(&self, bytes: usize) -> bool {
        let held = self.bytes.load(Ordering::Relaxed);
        held == 0 || held.saturating_add(bytes) <= self.max_bytes
    }

    /// Whether there is room before the patience is over.
    fn wait_for_room(&self, bytes: usize) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        loop {
            if self.has_room(bytes) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.is_refused || state.is_closed || left.is_zero() {
                return false;
            }
            state.is_urgent = true;
            self.news.notify_one();
            let waited = self.stored.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The position of what was handed over last.
    pub(crate) fn end(&self) -> Position {
        Position(self.state().pushed)
    }

    /// Waits until all up to a position is on disk. `false`: the disk takes nothing.
    pub(crate) fn wait_until_stored(&self, position: Position) -> bool {
        let mut state = self.state();
        let refusals = state.refusals;
        while state.stored < position.0 {
            // One try that began after this was asked for has to fail, or one that goes on.
            if state.is_over || state.refusals > refusals || state.is_closed && state.is_refused {
                return false;
            }
            state.is_urgent = true;
            self.news.notify_one();
            state = self.stored.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// How many were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// How many wait for the disk.
    pub(crate) fn waiting(&self) -> u64 {
        let state = self.state();
        state.pushed - state.stored
    }

    /// Says that no more comes. What is there is stored still.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.news.notify_one();
        self.stored.notify_all();
    }

    /// For who stores: waits until there is something, collects for a while what comes with
    /// it, and takes all. `None`: it is closed, and nothing is left.
    pub(crate) fn take(&self, collect_for: Duration) -> Option<Vec<T>> {
        let mut state = self.state();
        while state.items.is_empty() {
            if state.is_closed {
                state.is_over = true;
                self.stored.notify_all();
                return None;
            }
            // Who waits for nothing need not wait.
            state.is_urgent = false;
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let deadline = Instant::now() + collect_for;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.is_urgent || state.is_closed || left.is_zero() {
                break;
            }
            let waited = self.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_urgent = false;
        Some(std::mem::take(&mut state.items))
    }

    /// For who stores: so many of what was taken are on disk, or never will be.
    pub(crate) fn done(&self, count: u64, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let mut state = self.state();
        state.stored += count;
        state.is_refused = false;
        drop(state);
        self.stored.notify_all();
    }

    /// For who stores: so many of what was taken can never be stored.
    pub(crate) fn drop_taken(&self, count: u64, bytes: usize) {
        self.state().dropped += count;
        self.done(count, bytes);
    }

    /// For who stores: the disk takes nothing. Waits a while for the next try, less where
    /// somebody is about to wait for it. `false`: it is closed.
    pub(crate) fn refuse(&self, wait: Duration) -> bool {
        let mut state = self.state();
        state.is_refused = true;
        state.refusals += 1;
        state.is_urgent = false;
        self.stored.notify_all();
        let deadline = Instant::now() + wait;
        while !state.is_urgent && !state.is_closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.is_closed
    }

    fn state(&self) -> StateGuard<'_, T> {
        // No step leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type StateGuard<'a, T> = super::sync::MutexGuard<'a, State<T>>;
