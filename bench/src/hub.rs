//! The other end of the wire, in a process of its own: reads what is posted, takes every
//! record, and counts what goes over its sockets.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use backhaul_sync::{CONNECTION_BYTES, wire_bytes};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::child::{self, Asked};

/// A hub that runs until this is dropped.
pub struct Hub {
    pub url: String,
    asked: Asked,
}

/// What has gone over its sockets, both ways.
#[derive(Clone, Copy)]
pub struct Counts {
    /// TCP payload, in bytes.
    pub payload: u64,
    /// The same with the estimate for what is below HTTP, of each piece as it came and went, and
    /// of each connection.
    pub wire: u64,
}

impl Hub {
    pub fn start() -> Self {
        let asked = Asked::start(&mut child::own("hub"));
        Self { url: asked.url.clone(), asked }
    }

    pub fn counts(&mut self) -> Counts {
        let said = self.asked.ask("");
        let (payload, wire) = said.split_once(' ').expect("two counts");
        let number = |text: &str| text.parse().expect("a count");
        Counts { payload: number(payload), wire: number(wire) }
    }
}

/// The child: tells its address, and its counts whenever it is asked.
pub fn run_child() {
    let counted = Arc::new(Counted::default());
    let asked = Arc::clone(&counted);
    std::thread::spawn(move || {
        for _ in io::stdin().lines() {
            println!("{} {}", asked.payload.load(Relaxed), asked.wire.load(Relaxed));
        }
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("http://{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket option");
            counted.wire.fetch_add(CONNECTION_BYTES, Relaxed);
            let io = TokioIo::new(CountedStream { stream, counted: Arc::clone(&counted) });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(io, service_fn(take_all)));
        }
    });
}

/// The verdicts of a hub that stores everything: as many as the courier says it sent.
async fn take_all(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let sequences = request.headers().get("backhaul-sequences").cloned();
    let accepted = sequences.map_or(0, |ranges| records_in(ranges.to_str().expect("ASCII")));
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            break;
        }
    }
    let answer = format!("{{\"accepted\": {accepted}, \"duplicates\": 0}}");
    Ok(Response::new(Full::new(Bytes::from(answer))))
}

/// How many records `5-9,12` names.
fn records_in(ranges: &str) -> u64 {
    let number = |text: &str| text.parse::<u64>().expect("a sequence");
    let count = |range: &str| match range.split_once('-') {
        Some((first, last)) => number(last) - number(first) + 1,
        None => 1,
    };
    ranges.split(',').map(count).sum()
}

#[derive(Default)]
struct Counted {
    payload: AtomicU64,
    wire: AtomicU64,
}

impl Counted {
    fn add(&self, bytes: usize) {
        self.payload.fetch_add(bytes as u64, Relaxed);
        self.wire.fetch_add(wire_bytes(bytes as u64), Relaxed);
    }
}

struct CountedStream {
    stream: TcpStream,
    counted: Arc<Counted>,
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.counted.add(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.counted.add(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
