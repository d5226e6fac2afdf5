//! The thread of a link. It owns everything, so that whatever is asked of it has
//! happened, and happened alone, when the answer is there.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::connection::{Common, Connection};
use super::counts::Tally;
use super::fault::Plan;
use super::pace::{Lane, Pace};
use super::port::Port;

/// What a link does with all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// Bytes pass.
    Up,
    /// Connections are accepted and kept, and no byte passes: nobody is told anything.
    /// What was under way arrives when the link is up again.
    Down,
    /// Nobody listens: connections are refused, and those that were open are reset.
    Refusing,
}

/// Something to do on the thread of the link.
pub(crate) type Task = Box<dyn FnOnce(&mut Relay) + Send>;

#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) common: Common,
    port: Port,
    state: LinkState,
    /// States to come.
    schedule: VecDeque<(Instant, LinkState)>,
    connections: Vec<Connection>,
    tasks: Receiver<Task>,
    /// Has something to read when there is a task.
    bell: UnixStream,
}

impl Relay {
    pub(crate) fn new(
        port: Port,
        target: SocketAddr,
        tasks: Receiver<Task>,
        bell: UnixStream,
    ) -> Self {
        let now = Instant::now();
        let common = Common {
            target,
            plan: Plan::default(),
            up: Lane::new(now),
            down: Lane::new(now),
            tally: Tally::new(now),
        };
        Self {
            common,
            port,
            state: LinkState::Up,
            schedule: VecDeque::new(),
            connections: Vec::new(),
            tasks,
            bell,
        }
    }

    /// Until nobody can ask for anything any more.
    pub(crate) fn run(mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            // First, so that whoever asks sees what was due before.
            self.follow_schedule()?;
            if !self.do_tasks() {
                return Ok(());
            }
            self.accept()?;
            let now = Instant::now();
            if self.state == LinkState::Up {
                // Where the link is slow the first takes what there is: it is last next time.
                self.connections.sort_by_key(Connection::served_at);
                for connection in &mut self.connections {
                    connection.step(&mut self.common, now);
                }
            }
            self.connections.retain(|connection| !connection.is_gone());
        }
    }

    // --- What can be asked for -------------------------------------------------

    pub(crate) fn set_state(&mut self, state: LinkState) -> io::Result<()> {
        self.schedule.clear();
        self.change(state)
    }

    pub(crate) fn set_schedule(&mut self, steps: Vec<(LinkState, Duration)>) -> io::Result<()> {
        let mut at = Instant::now();
        self.schedule.clear();
        for (state, duration) in steps {
            self.schedule.push_back((at, state));
            at += duration;
        }
        self.follow_schedule()
    }

    pub(crate) fn set_pace(&mut self, pace: Pace) {
        let now = Instant::now();
        self.common.up.set(pace.up, pace.latency, now);
        self.common.down.set(pace.down, pace.latency, now);
    }

    pub(crate) fn reset_connections(&mut self) {
        self.connections.iter_mut().for_each(Connection::reset);
        self.connections.clear();
    }

    // --- What the thread does --------------------------------------------------

    fn change(&mut self, state: LinkState) -> io::Result<()> {
        let before = std::mem::replace(&mut self.state, state);
        match state {
            LinkState::Up | LinkState::Down => self.port.listen()?,
            LinkState::Refusing => {
                self.port.refuse()?;
                self.reset_connections();
            }
        }
        if state == LinkState::Up && before != LinkState::Up {
            self.common.tally.came_up(Instant::now());
        }
        Ok(())
    }

    /// `false`: nobody will ask again.
    fn do_tasks(&mut self) -> bool {
        let mut rings = [0; 64];
        while self.bell.read(&mut rings).is_ok_and(|count| count > 0) {}
        loop {
            match self.tasks.try_recv() {
                Ok(task) => task(self),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn follow_schedule(&mut self) -> io::Result<()> {
        let now = Instant::now();
        while let Some((_, state)) = self.schedule.pop_front_if(|(at, _)| *at <= now) {
            self.change(state)?;
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Some(listener) = self.port.listener() {
            match listener.accept() {
                Ok((client, _)) => {
                    self.common.tally.connection(Instant::now());
                    self.connections.push(Connection::new(client, &mut self.common)?);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The client has gone away in the meantime.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sleeps until something can be done.
    fn wait(&self) -> io::Result<()> {
        let now = Instant::now();
        let mut sockets = vec![PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN)];
        if let Some(listener) = self.port.listener() {
            sockets.push(PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN));
        }
        let mut until = self.schedule.front().map(|(at, _)| *at);
        if self.state == LinkState::Up {
            for connection in &self.connections {
                let time = connection.wants(&self.common, now, &mut sockets);
                until = until.into_iter().chain(time).min();
            }
        }
        let timeout = until.map(|until| until.saturating_duration_since(now));
        let timeout = timeout.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        match poll(&mut sockets, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
