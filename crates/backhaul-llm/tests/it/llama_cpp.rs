//! llama.cpp in this process, with models of half a megabyte.

use backhaul_llm::{ChatRequest, ChunkStream, LlamaCppClient, LlamaCppOptions, Message};
use backhaul_testkit::TinyModel;
use serde_json::json;

mod answers;
mod files;
mod requests;
mod server;
mod turns;

fn open(model: &TinyModel) -> LlamaCppClient {
    open_with(model, LlamaCppOptions::default())
}

fn open_with(model: &TinyModel, options: LlamaCppOptions) -> LlamaCppClient {
    LlamaCppClient::open(model.file().unwrap(), options).unwrap()
}

/// What a user asks; the model answers with what is likeliest.
fn question(text: &str) -> ChatRequest {
    ChatRequest::new(vec![Message::user(text)]).field("temperature", json!(0))
}

/// All that a stream still says.
async fn rest(mut stream: ChunkStream) -> String {
    let mut text = String::new();
    while let Some(piece) = stream.next().await {
        text += piece.unwrap().content();
    }
    text
}
