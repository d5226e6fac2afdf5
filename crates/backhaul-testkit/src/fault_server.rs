//! A web server that answers by a script.

mod answer;
mod hub;
mod intake;
mod performance;
mod request;
#[cfg(feature = "tls")]
mod tls;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub use self::answer::Answer;
pub use self::hub::{hub_answer, hub_items};
pub use self::intake::Intake;
pub use self::request::Request;
#[cfg(feature = "tls")]
pub use self::tls::Certificate;

use self::performance::Then;
use crate::http_head::HttpHead;

type Script = Box<dyn FnMut(&Request) -> Answer + Send>;

/// An HTTP/1.1 server at a free port of 127.0.0.1, which says what a test wants to hear.
///
/// Answers of [`next`](FaultServer::next) come first, then those of the script, which is
/// called for one request at a time. Every request that came whole is kept. Dropping the
/// server closes all connections.
///
/// ```
/// use std::io::{Read, Write};
/// use backhaul_testkit::{Answer, FaultServer};
///
/// let server = FaultServer::new(|request| Answer::ok(request.body()))?;
/// server.next(Answer::new(503).retry_after(120));
///
/// let mut client = std::net::TcpStream::connect(server.address())?;
/// client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 503 "));
/// assert_eq!(server.requests()[0].body(), b"hi");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct FaultServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    speech: Speech,
    script: Mutex<Script>,
    next: Mutex<VecDeque<Answer>>,
    most_body: Mutex<Option<(u64, Answer)>>,
    requests: Mutex<Vec<Request>>,
    broken: Mutex<Vec<String>>,
    abandoned: Mutex<Vec<Request>>,
    connections: AtomicU64,
    /// Connections that are served, by their numbers.
    open: Mutex<BTreeMap<u64, TcpStream>>,
    is_stopping: AtomicBool,
}

/// What a server speaks.
enum Speech {
    Http,
    Garbage,
    #[cfg(feature = "tls")]
    Tls(tls::Config),
}

impl FaultServer {
    /// A server with a script.
    ///
    /// # Errors
    /// When the machine has no port or thread to spare.
    pub fn new(script: impl FnMut(&Request) -> Answer + Send + 'static) -> io::Result<Self> {
        Self::speaking(Speech::Http, Box::new(script))
    }

    /// A hub that puts records into `intake` and then answers, as the hub of `backhaul`
    /// does: what it has already counts as a duplicate.
    ///
    /// # Errors
    /// As for [`FaultServer::new`].
    pub fn hub(intake: &Intake) -> io::Result<Self> {
        let intake = intake.clone();
        Self::new(move |request| hub_answer(&intake, request))
    }

    /// A server that answers whatever comes with bytes that mean nothing: to a client that
    /// wants TLS, a handshake that fails.
    ///
    /// # Errors
    /// As for [`FaultServer::new`].
    pub fn garbage() -> io::Result<Self> {
        Self::speaking(Speech::Garbage, Box::new(|_| Answer::hang_up()))
    }

    /// A server that speaks TLS, with a certificate that may be no good.
    ///
    /// # Errors
    /// As for [`FaultServer::new`].
    #[cfg(feature = "tls")]
    pub fn over_tls(
        certificate: Certificate,
        script: impl FnMut(&Request) -> Answer + Send + 'static,
    ) -> io::Result<Self> {
        Self::speaking(Speech::Tls(tls::config(certificate)?), Box::new(script))
    }

    fn speaking(speech: Speech, script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            speech,
            script: Mutex::new(script),
            next: Mutex::default(),
            most_body: Mutex::default(),
            requests: Mutex::default(),
            broken: Mutex::default(),
            abandoned: Mutex::default(),
            connections: AtomicU64::new(0),
            open: Mutex::default(),
            is_stopping: AtomicBool::new(false),
        });
        let name = format!("server at {address}");
        let thread = std::thread::Builder::new().name(name);
        let accepting = Arc::clone(&shared);
        let acceptor = thread.spawn(move || accept(&listener, &accepting))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL; `https` where it speaks TLS.
    pub fn url(&self) -> String {
        let scheme = match self.shared.speech {
            #[cfg(feature = "tls")]
            Speech::Tls(_) => "https",
            Speech::Http | Speech::Garbage => "http",
        };
        format!("{scheme}://{}", self.address)
    }

    // --- What it answers -----------------------------------------------------------

    /// Has another script answer from now on.
    pub fn answers(&self, script: impl FnMut(&Request) -> Answer + Send + 'static) {
        *lock(&self.shared.script) = Box::new(script);
    }

    /// Answers one request to come, behind those that have an answer already.
    pub fn next(&self, answer: Answer) {
        lock(&self.shared.next).push_back(answer);
    }

    /// Answers requests whose length is over a limit without reading their body, and
    /// closes the connection, as many a proxy does.
    pub fn limit_body(&self, bytes: u64, answer: Answer) {
        *lock(&self.shared.most_body) = Some((bytes, answer));
    }

    // --- What it was asked -----------------------------------------------------------

    /// The requests that came whole.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// Takes the requests that came whole, so that the next call tells only of later ones.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut lock(&self.shared.requests))
    }

    /// The first lines of requests whose head came and whose body did not.
    pub fn broken_requests(&self) -> Vec<String> {
        lock(&self.shared.broken).clone()
    }

    /// The requests whose client went away, or closed its half of the connection, before
    /// their answer was out.
    pub fn abandoned_requests(&self) -> Vec<Request> {
        lock(&self.shared.abandoned).clone()
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections that have not ended. Once one has, all that came over it is told of.
    pub fn open_connections(&self) -> usize {
        lock(&self.shared.open).len()
    }
}

impl fmt::Debug for FaultServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultServer").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        // The acceptor looks up when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in lock(&self.shared.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        if shared.is_stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(clone) = stream.try_clone() else { continue };
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        lock(&shared.open).insert(number, clone);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let served = Served { shared: &shared, number, stream };
            // A client that goes away is what this server is for.
            let _ = shared.speak(&served.stream);
        });
    }
}

/// A connection that ends with its thread, also where a script panics.
struct Served<'a> {
    shared: &'a Shared,
    number: u64,
    stream: TcpStream,
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        performance::close(&self.stream);
        lock(&self.shared.open).remove(&self.number);
    }
}

impl Shared {
    fn speak(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        match &self.speech {
            Speech::Http => self.serve(stream, BufReader::new(stream)),
            Speech::Garbage => babble(stream),
            #[cfg(feature = "tls")]
            Speech::Tls(config) => self.serve(stream, BufReader::new(tls::accept(config, stream)?)),
        }
    }

    /// Request after request of one connection.
    fn serve<S: Read + Write>(
        &self,
        socket: &TcpStream,
        mut stream: BufReader<S>,
    ) -> io::Result<()> {
        while let Some(head) = request::read_head(&mut stream)? {
            let to_head = head.method() == "HEAD";
            let asked_to_close = head.header("connection").is_some_and(|it| it == "close");
            let (answer, request) = match self.answer_to_length(&head) {
                Some(answer) => (answer.closing(), None),
                None => {
                    let request = self.read(&mut stream, head)?;
                    (self.answer(&request), Some(request))
                }
            };
            let then = performance::perform(&answer.acts(to_head), socket, stream.get_mut());
            if then.is_err() {
                lock(&self.abandoned).extend(request);
            }
            if then? == Then::Close || asked_to_close || !answer.keeps_connection() {
                break;
            }
        }
        Ok(())
    }

    fn answer_to_length(&self, head: &HttpHead) -> Option<Answer> {
        let length: u64 = head.header("content-length")?.parse().ok()?;
        let limit = lock(&self.most_body);
        let (_, answer) = limit.as_ref().filter(|(most, _)| length > *most)?;
        Some(answer.clone())
    }

    fn read<S: Read>(&self, stream: &mut BufReader<S>, head: HttpHead) -> io::Result<Request> {
        match request::read_body(stream, &head) {
            Ok(body) => {
                let request = Request::new(head, body);
                lock(&self.requests).push(request.clone());
                Ok(request)
            }
            Err(error) => {
                lock(&self.broken).push(head.line);
                Err(error)
            }
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let next = lock(&self.next).pop_front();
        next.unwrap_or_else(|| (lock(&self.script))(request))
    }
}

/// Bytes that are neither HTTP nor TLS, once the client has said something.
fn babble(mut stream: &TcpStream) -> io::Result<()> {
    let mut heard = [0; 4096];
    if stream.read(&mut heard)? > 0 {
        stream.write_all(&[0xba, 0xbb, 0x1e].repeat(100))?;
    }
    Ok(())
}

/// A script that panics fails its test by what it leaves out.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
