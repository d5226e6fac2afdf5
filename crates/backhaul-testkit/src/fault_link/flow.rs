//! Bytes that are under way in one direction of a connection.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use super::message::Messages;
use super::pace::Lane;

/// Bytes under way at most; what is more waits at its sender.
const MOST_UNDER_WAY: usize = 256 << 10;

/// What can be under way.
#[derive(Debug, PartialEq, Eq)]
enum Load {
    Bytes(Vec<u8>),
    /// The sender has nothing more to say.
    End,
    /// The fault of this request takes effect.
    Fault,
    /// The sender is gone without a word.
    Break,
}

#[derive(Debug)]
struct Parcel {
    due: Instant,
    load: Load,
}

/// What writing came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: usize,
    pub(crate) then: Then,
}

/// What is due behind the bytes that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    Fault,
    Break,
    /// The receiver is gone, and with it all that was under way to it.
    Gone,
}

/// What a flow waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wants {
    /// The sender has to say something.
    pub(crate) source: bool,
    /// The receiver has to take something.
    pub(crate) target: bool,
    pub(crate) time: Option<Instant>,
}

/// What reading came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Bytes(Vec<u8>),
    End,
    /// The sender is gone without a word.
    Break,
    Nothing,
}

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) messages: Messages,
    under_way: VecDeque<Parcel>,
    bytes: usize,
    source_ended: bool,
    /// The receiver takes no more at the moment.
    is_blocked: bool,
    has_fault: bool,
    is_done: bool,
}

impl Flow {
    pub(crate) fn new(messages: Messages) -> Self {
        Self {
            messages,
            under_way: VecDeque::new(),
            bytes: 0,
            source_ended: false,
            is_blocked: false,
            has_fault: false,
            is_done: false,
        }
    }

    /// Whether the end has been passed on.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether more may be read from the sender.
    pub(crate) fn wants_more(&self) -> bool {
        !self.source_ended && !self.has_fault && self.bytes < MOST_UNDER_WAY
    }

    /// Reads once, as much as the lane takes at a time.
    pub(crate) fn read(&mut self, source: &TcpStream, lane: &Lane) -> Got {
        let mut buffer = vec![0; lane.step()];
        match (&*source).read(&mut buffer) {
            Ok(0) => {
                self.source_ended = true;
                Got::End
            }
            Ok(count) => {
                buffer.truncate(count);
                Got::Bytes(buffer)
            }
            Err(error) if is_no_error(&error) => Got::Nothing,
            Err(_) => {
                self.source_ended = true;
                Got::Break
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8], due: Instant) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.under_way.push_back(Parcel { due, load: Load::Bytes(bytes.to_vec()) });
        }
    }

    pub(crate) fn send_end(&mut self, due: Instant) {
        self.under_way.push_back(Parcel { due, load: Load::End });
    }

    pub(crate) fn send_break(&mut self, due: Instant) {
        self.under_way.push_back(Parcel { due, load: Load::Break });
    }

    /// Nothing is read any more; the fault follows what is under way.
    pub(crate) fn send_fault(&mut self, due: Instant) {
        self.has_fault = true;
        self.under_way.push_back(Parcel { due, load: Load::Fault });
    }

    /// Writes what is due, as far as the receiver takes it.
    pub(crate) fn write(&mut self, target: &TcpStream, now: Instant) -> Written {
        let mut written = Written { bytes: 0, then: Then::Nothing };
        self.is_blocked = false;
        while let Some(parcel) = self.under_way.front_mut().filter(|parcel| parcel.due <= now) {
            match &mut parcel.load {
                Load::Bytes(bytes) => match (&*target).write(bytes) {
                    Ok(count) => {
                        written.bytes += count;
                        self.bytes -= count;
                        bytes.drain(..count);
                        if !bytes.is_empty() {
                            continue;
                        }
                    }
                    Err(error) if is_no_error(&error) => {
                        self.is_blocked = true;
                        return written;
                    }
                    Err(_) => return self.give_up(written.bytes),
                },
                Load::End => {
                    self.is_done = true;
                    // The receiver may be gone already.
                    let _ = target.shutdown(Shutdown::Write);
                }
                Load::Fault => return Written { then: Then::Fault, ..written },
                Load::Break => return Written { then: Then::Break, ..written },
            }
            self.under_way.pop_front();
        }
        written
    }

    fn give_up(&mut self, bytes: usize) -> Written {
        self.under_way.clear();
        self.bytes = 0;
        self.source_ended = true;
        self.is_done = true;
        Written { bytes, then: Then::Gone }
    }

    /// What to wait for.
    pub(crate) fn wants(&self, lane: &Lane, now: Instant) -> Wants {
        let more_at = self.wants_more().then(|| lane.free_at());
        let next_due = self.under_way.front().map(|parcel| parcel.due);
        let times = more_at.filter(|at| *at > now).into_iter();
        Wants {
            source: more_at.is_some_and(|at| at <= now),
            target: self.is_blocked,
            time: times.chain(next_due.filter(|_| !self.is_blocked)).min(),
        }
    }
}

fn is_no_error(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
