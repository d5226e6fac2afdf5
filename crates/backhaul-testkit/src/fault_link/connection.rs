//! A client, its server, and what is between them.

use std::io::{self, Read as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::set_socket_linger;

use super::counts::Tally;
use super::exchange::{Exchange, Pass};
use super::fault::{Ending, Plan};
use super::flow::{Flow, Got, Then};
use super::message::Messages;
use super::pace::Lane;

/// The server is on this machine: it answers at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What the connections of a link share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) target: SocketAddr,
    pub(crate) plan: Plan,
    pub(crate) up: Lane,
    pub(crate) down: Lane,
    pub(crate) tally: Tally,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// No byte passes any more.
    Stalled,
    /// Closed in order by this side. What still comes is thrown away: to close with bytes
    /// unread would be a reset.
    Closing {
        client_ended: bool,
        server_ended: bool,
    },
    Gone,
}

#[derive(Debug)]
pub(crate) struct Connection {
    client: TcpStream,
    /// Connected when the link first lets bytes pass.
    server: Option<TcpStream>,
    up: Flow,
    down: Flow,
    exchange: Exchange,
    state: State,
    /// Writing to one side has failed.
    one_is_gone: bool,
    /// When bytes were last read from either side.
    served_at: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(client: TcpStream, common: &mut Common) -> io::Result<Self> {
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        let fault = common.plan.for_connection();
        let mut connection = Self {
            client,
            server: None,
            up: Flow::new(Messages::requests()),
            down: Flow::new(Messages::answers()),
            exchange: Exchange::new(fault),
            state: State::Open,
            one_is_gone: false,
            served_at: None,
        };
        if fault.is_some() {
            connection.take_effect(common);
        }
        Ok(connection)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    pub(crate) fn served_at(&self) -> Option<Instant> {
        self.served_at
    }

    /// Has both sides see a reset.
    pub(crate) fn reset(&mut self) {
        // Closing a socket that lingers for no time sends a reset. It is closed when this
        // connection is dropped, right after.
        let _ = set_socket_linger(&self.client, Some(Duration::ZERO));
        if let Some(server) = &self.server {
            let _ = set_socket_linger(server, Some(Duration::ZERO));
        }
        self.state = State::Gone;
    }

    /// Moves what can be moved now.
    pub(crate) fn step(&mut self, common: &mut Common, now: Instant) {
        let moved = match self.state {
            State::Open => self.pass(common, now),
            State::Closing { .. } => self.discard(common, now),
            State::Stalled | State::Gone => Ok(()),
        };
        if moved.is_err() {
            self.reset();
        }
    }

    /// Fails where the server cannot be reached.
    fn pass(&mut self, common: &mut Common, now: Instant) -> io::Result<()> {
        if self.server.is_none() {
            let server = TcpStream::connect_timeout(&common.target, CONNECT_TIMEOUT)?;
            server.set_nonblocking(true)?;
            server.set_nodelay(true)?;
            self.server = Some(server);
        }
        self.pass_up(common, now);
        if self.state == State::Open {
            self.pass_down(common, now);
        }
        if self.state == State::Open && self.up.is_done() && self.down.is_done() {
            self.state = State::Gone;
        }
        Ok(())
    }

    fn pass_up(&mut self, common: &mut Common, now: Instant) {
        while self.up.wants_more() && common.up.free_at() <= now {
            match self.up.read(&self.client, &common.up) {
                Got::Bytes(bytes) => {
                    self.served_at = Some(now);
                    common.tally.up(bytes.len(), now);
                    let due = common.up.take(bytes.len(), now);
                    self.take_up(&bytes, due, common);
                }
                Got::End => self.up.send_end(common.up.take(0, now)),
                Got::Break => self.up.send_break(common.up.take(0, now)),
                Got::Nothing => break,
            }
        }
        if let Some(server) = &self.server {
            let written = self.up.write(server, now);
            self.act(written.then, common);
        }
    }

    fn act(&mut self, then: Then, common: &mut Common) {
        match then {
            Then::Nothing => {}
            Then::Fault => self.take_effect(common),
            Then::Break => self.reset(),
            // What the one that is gone said last is still on its way to the other.
            Then::Gone => self.one_is_gone = true,
        }
    }

    /// Sends on bytes of requests, as far as no fault is in the way.
    fn take_up(&mut self, bytes: &[u8], due: Instant, common: &mut Common) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.up.messages.at_start() {
                common.tally.counts.requests += 1;
                self.exchange = Exchange::new(common.plan.for_request());
            }
            let (count, boundary) = self.up.messages.advance(rest);
            let (these, others) = rest.split_at(count);
            if boundary.ends_head() {
                self.down.messages.expect_head_alone(self.up.messages.is_head_request());
            }
            match self.exchange.request(count, boundary) {
                Pass::Until(limit) => {
                    self.up.send(&these[..limit], due);
                    self.up.send_fault(due);
                    return;
                }
                Pass::All | Pass::Nothing => self.up.send(these, due),
            }
            rest = others;
        }
    }

    fn pass_down(&mut self, common: &mut Common, now: Instant) {
        let Some(server) = &self.server else { return };
        while self.down.wants_more() && common.down.free_at() <= now {
            match self.down.read(server, &common.down) {
                Got::Bytes(bytes) => {
                    self.served_at = Some(now);
                    let due = common.down.take(bytes.len(), now);
                    take_down(&mut self.down, &mut self.exchange, &bytes, due);
                }
                Got::End | Got::Break if self.exchange.ends_with_the_answer() => {
                    self.down.send_fault(common.down.take(0, now));
                }
                Got::End if !self.one_is_gone => self.down.send_end(common.down.take(0, now)),
                Got::End | Got::Break => self.down.send_break(common.down.take(0, now)),
                Got::Nothing => break,
            }
        }
        let written = self.down.write(&self.client, now);
        common.tally.down(written.bytes, now);
        self.act(written.then, common);
    }

    /// The fault of this exchange happens now.
    fn take_effect(&mut self, common: &mut Common) {
        common.tally.counts.faults += 1;
        match self.exchange.fault.map(|fault| fault.ending) {
            Some(Ending::Reset) => self.reset(),
            Some(Ending::Stall) => self.state = State::Stalled,
            Some(Ending::Close) => {
                let server_ended = self.server.is_none();
                self.state = State::Closing { client_ended: false, server_ended };
                for side in [Some(&self.client), self.server.as_ref()].into_iter().flatten() {
                    let _ = side.shutdown(Shutdown::Write);
                }
            }
            None => {}
        }
    }

    /// Reads to the end what nobody wants any more.
    fn discard(&mut self, common: &mut Common, now: Instant) -> io::Result<()> {
        let State::Closing { client_ended, server_ended } = &mut self.state else { return Ok(()) };
        if !*client_ended {
            let (bytes, ended) = drain(&self.client)?;
            common.tally.up(bytes, now);
            *client_ended = ended;
        }
        if let Some(server) = self.server.as_ref().filter(|_| !*server_ended) {
            (_, *server_ended) = drain(server)?;
        }
        if *client_ended && *server_ended {
            self.state = State::Gone;
        }
        Ok(())
    }

    /// What to wait for: sockets, and a time.
    pub(crate) fn wants<'a>(
        &'a self,
        common: &Common,
        now: Instant,
        sockets: &mut Vec<PollFd<'a>>,
    ) -> Option<Instant> {
        match self.state {
            State::Open => {}
            State::Closing { client_ended, server_ended } => {
                let client = Some(&self.client).filter(|_| !client_ended);
                let server = self.server.as_ref().filter(|_| !server_ended);
                for side in [client, server].into_iter().flatten() {
                    sockets.push(PollFd::from_borrowed_fd(side.as_fd(), PollFlags::IN));
                }
                return None;
            }
            State::Stalled | State::Gone => return None,
        }
        let up = self.up.wants(&common.up, now);
        let down = self.down.wants(&common.down, now);
        let flags = |reads, writes| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, reads);
            flags.set(PollFlags::OUT, writes);
            flags
        };
        let client = (Some(&self.client), flags(up.source, down.target));
        let server = (self.server.as_ref(), flags(down.source, up.target));
        for (side, flags) in [client, server] {
            if let Some(side) = side.filter(|_| !flags.is_empty()) {
                sockets.push(PollFd::from_borrowed_fd(side.as_fd(), flags));
            }
        }
        up.time.into_iter().chain(down.time).min()
    }
}

/// Sends on bytes of answers, as far as no fault is in the way.
fn take_down(flow: &mut Flow, exchange: &mut Exchange, bytes: &[u8], due: Instant) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let in_body = flow.messages.in_body();
        let (count, boundary) = flow.messages.advance(rest);
        let (these, others) = rest.split_at(count);
        match exchange.answer(count, in_body, boundary) {
            Pass::All => flow.send(these, due),
            Pass::Nothing => {}
            Pass::Until(limit) => {
                flow.send(&these[..limit], due);
                flow.send_fault(due);
                return;
            }
        }
        rest = others;
    }
}

/// Throws away what has come: how much, and whether it was the last.
fn drain(mut side: &TcpStream) -> io::Result<(usize, bool)> {
    let mut buffer = [0; 4096];
    let mut bytes = 0;
    loop {
        match side.read(&mut buffer) {
            Ok(0) => return Ok((bytes, true)),
            Ok(count) => bytes += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((bytes, false)),
            Err(error) => return Err(error),
        }
    }
}
