//! What the tests share.

use backhaul_llm::{ChatRequest, ChunkStream, Endpoint, LlmError, Message};
use backhaul_testkit::{Answer, FaultServer, Request};
use serde_json::Value;

pub(crate) fn server(answer: Answer) -> FaultServer {
    FaultServer::new(move |_| answer.clone()).unwrap()
}

pub(crate) fn endpoint(server: &FaultServer, path: &str) -> Endpoint {
    Endpoint::new(&format!("{}{path}", server.url())).unwrap()
}

pub(crate) fn question() -> ChatRequest {
    ChatRequest::new(vec![Message::user("Is it warm?")])
}

/// An event stream of such pieces.
pub(crate) fn events(pieces: &[Value]) -> Answer {
    let body: String = pieces.iter().map(|piece| format!("data: {piece}\n\n")).collect();
    Answer::ok(body).header("Content-Type", "text/event-stream").chunked()
}

/// The text of an answer in pieces, and how it ended.
pub(crate) async fn read(mut stream: ChunkStream) -> (String, Result<(), LlmError>) {
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => text += chunk.content(),
            Err(error) => return (text, Err(error)),
        }
    }
    (text, Ok(()))
}

pub(crate) fn json(request: &Request) -> Value {
    serde_json::from_slice(request.body()).unwrap()
}

/// An address that nobody listens at.
pub(crate) fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}
