//! A link that fails when it is told to.
//!
//! A [`FaultLink`] is a TCP proxy on 127.0.0.1, in front of any address. One thread moves
//! all bytes. There are three kinds of trouble, which may come together:
//! - the state of the link as a whole ([`LinkState`]), at once or by a schedule,
//! - its [`Pace`],
//! - a [`LinkFault`] of single requests: where one breaks off, and how.
//!
//! It knows as much of HTTP/1 as finding the end of heads and bodies takes. Pipelined
//! requests it does not tell apart.

mod connection;
mod counts;
mod exchange;
mod fault;
mod flow;
mod message;
mod pace;
mod port;
mod relay;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::counts::{LinkCounts, LinkUp};
pub use self::fault::{Ending, LinkFault, Point};
pub use self::pace::Pace;
pub use self::relay::LinkState;

use self::port::Port;
use self::relay::{Relay, Task};

/// A link to a server, which is switched while it is in use.
///
/// A call that changes something returns when it has taken effect: after
/// [`down`](FaultLink::down) not a byte passes. Dropping the link closes all connections.
///
/// ```
/// use std::net::TcpStream;
/// use backhaul_testkit::{Answer, FaultLink, FaultServer, LinkFault, Point};
///
/// let server = FaultServer::new(|_| Answer::ok("stored"))?;
/// let link = FaultLink::to(server.address())?;
/// // The next request is reset when its head is through; then all is well again.
/// link.next(1, LinkFault::reset(Point::RequestHead));
///
/// link.refuse();
/// assert!(TcpStream::connect(link.address()).is_err());
/// link.up();
/// assert!(TcpStream::connect(link.address()).is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FaultLink {
    address: SocketAddr,
    tasks: Option<Sender<Task>>,
    bell: UnixStream,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl FaultLink {
    /// A link to `target`, up and as fast as the machine, at a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the machine has no port, socket or thread to spare.
    pub fn to(target: SocketAddr) -> io::Result<Self> {
        let port = Port::open()?;
        let address = port.address();
        let (tasks, received) = channel();
        let (bell, rung) = UnixStream::pair()?;
        rung.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        let relay = Relay::new(port, target, received, rung);
        let name = format!("link to {target}");
        let thread = std::thread::Builder::new().name(name).spawn(move || relay.run())?;
        Ok(Self { address, tasks: Some(tasks), bell, thread: Some(thread) })
    }

    /// The address that clients use.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a URL: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    // --- The link as a whole -----------------------------------------------------

    /// Lets bytes pass, and ends a schedule.
    pub fn up(&self) {
        self.set_state(LinkState::Up);
    }

    /// Lets no byte pass, without a word to anybody, and ends a schedule.
    pub fn down(&self) {
        self.set_state(LinkState::Down);
    }

    /// Has nobody listen, resets all connections, and ends a schedule.
    pub fn refuse(&self) {
        self.set_state(LinkState::Refusing);
    }

    fn set_state(&self, state: LinkState) {
        self.do_or_panic(move |relay| relay.set_state(state));
    }

    /// Goes through states, each for a time, and stays in the last. To flap for long,
    /// repeat the steps: `steps.repeat(100)`.
    pub fn follow(&self, steps: impl IntoIterator<Item = (LinkState, Duration)>) {
        let steps = steps.into_iter().collect();
        self.do_or_panic(move |relay| relay.set_schedule(steps));
    }

    /// Resets all connections, as a router does that has been restarted.
    pub fn reset_connections(&self) {
        self.ask(Relay::reset_connections);
    }

    /// Sets how fast bytes go from now on.
    pub fn set_pace(&self, pace: Pace) {
        self.ask(move |relay| relay.set_pace(pace));
    }

    // --- Single requests -----------------------------------------------------------

    /// Has the next `count` requests go wrong, behind those that were told of before. For
    /// faults at [`Point::Connection`]: the next `count` connections.
    pub fn next(&self, count: u64, fault: LinkFault) {
        self.ask(move |relay| relay.common.plan.add(count, Some(fault)));
    }

    /// Lets the next `count` requests through, behind those that were told of before.
    pub fn pass(&self, count: u64) {
        self.ask(move |relay| relay.common.plan.add(count, None));
    }

    /// Has every request go wrong of which nothing else was told.
    pub fn always(&self, fault: LinkFault) {
        self.ask(move |relay| relay.common.plan.set_always(fault));
    }

    /// Forgets what was told of requests to come. One that has begun keeps its fault.
    pub fn clear(&self) {
        self.ask(|relay| relay.common.plan.clear());
    }

    // --- What went over it -----------------------------------------------------------

    /// What went over the link so far.
    pub fn counts(&self) -> LinkCounts {
        self.ask(|relay| relay.common.tally.counts)
    }

    /// The moments at which the link came up, its making first.
    pub fn ups(&self) -> Vec<LinkUp> {
        self.ask(|relay| relay.common.tally.ups.clone())
    }

    /// Has the thread of the link do something, and waits for the answer.
    #[expect(clippy::panic, reason = "a test whose link is broken has to fail")]
    fn ask<T: Send + 'static>(&self, task: impl FnOnce(&mut Relay) -> T + Send + 'static) -> T {
        let (sender, answer) = channel();
        let task: Task = Box::new(move |relay| {
            // Nobody waits where the test has panicked.
            let _ = sender.send(task(relay));
        });
        let sent = self.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok());
        self.ring();
        match answer.recv() {
            Ok(answer) if sent => answer,
            _ => panic!("the thread of the link at {} has ended", self.address),
        }
    }

    #[expect(clippy::panic, reason = "a test whose link is broken has to fail")]
    fn do_or_panic(&self, task: impl FnOnce(&mut Relay) -> io::Result<()> + Send + 'static) {
        if let Err(error) = self.ask(task) {
            panic!("the link at {} cannot do that: {error}", self.address);
        }
    }

    fn ring(&self) {
        // A bell that is full has been heard or will be.
        let _ = (&self.bell).write(&[1]);
    }
}

impl Drop for FaultLink {
    fn drop(&mut self) {
        self.tasks = None;
        self.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
