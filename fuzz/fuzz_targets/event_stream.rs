//! Event streams of any bytes, cut anywhere: no panic, and the cuts change nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;

use crate::sse::{EventTooLong, SseEvent, SseParser};

// The file alone: what is around it would build a web client and its cryptography.
#[path = "../../crates/backhaul-llm/src/sse.rs"]
#[allow(dead_code)]
mod sse;

const MOST: usize = 200;

fuzz_target!(|data: &[u8]| {
    let Some((cut, stream)) = data.split_first() else { return };
    let whole = events([stream]);
    assert_eq!(events(stream.chunks(usize::from(*cut) + 1)), whole);
    // What is no UTF-8 grows: a byte becomes a character of three.
    assert!(whole.iter().flatten().all(|event| event.data.len() <= 3 * MOST));
});

fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<SseEvent>, EventTooLong> {
    let mut parser = SseParser::new(MOST);
    let mut events = Vec::new();
    for piece in pieces {
        parser.push(piece);
        while let Some(event) = parser.next_event()? {
            events.push(event);
        }
    }
    Ok(events)
}
