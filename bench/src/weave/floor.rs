//! The least that a server could do that answers when a request is on disk: it appends each
//! body to one file, and flushes. In a process of its own.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

pub fn run_child(path: &str) {
    let file = Arc::new(File::options().create(true).append(true).open(path).expect("a file"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("http://{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket option");
            let file = Arc::clone(&file);
            let store = service_fn(move |request| store(Arc::clone(&file), request));
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), store));
        }
    });
}

async fn store(
    file: Arc<File>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    tokio::task::spawn_blocking(move || {
        (&*file).write_all(&body).expect("written");
        file.sync_data().expect("flushed");
    })
    .await
    .expect("stored");
    Ok(Response::new(Full::new(Bytes::from_static(b"{}"))))
}
