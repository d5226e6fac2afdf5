//! Event streams (`text/event-stream`), as the HTML standard defines them.

use std::fmt;
use std::mem;

/// The longest event that is read where nothing else is said. An image in base64 is in it.
pub(crate) const MOST_EVENT_BYTES: usize = 16 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event.
///
/// ```
/// use backhaul_llm::SseParser;
/// let mut parser = SseParser::new(1_000);
/// parser.push("event: ping\ndata: {}\n".as_bytes());
/// assert_eq!(parser.next_event().unwrap(), None);
/// parser.push(b"\n");
/// let event = parser.next_event().unwrap().unwrap();
/// assert_eq!((event.name.as_str(), event.data.as_str()), ("ping", "{}"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// What sort it is of. Empty where the stream does not say.
    pub name: String,
    /// What it says, several lines joined by `\n`. Bytes that are no UTF-8 are replaced.
    pub data: String,
}

/// A reader of event streams: takes bytes as they come, cut anywhere, and gives the events
/// that are whole. Comments, and fields that concern reconnecting, are left out: the answer of
/// a model is never asked for again from its middle.
#[derive(Debug)]
pub struct SseParser {
    most: usize,
    /// What came and was not read.
    buffer: Vec<u8>,
    /// Where in it the first line begins that was not read.
    line: usize,
    /// How much of that line has been searched for its end.
    searched: usize,
    /// Whether nothing was read yet, so that a byte order mark may come.
    is_start: bool,
    /// Whether the last line ended with CR, so that LF belongs to it.
    after_cr: bool,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

/// An event is longer than it may be. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTooLong {
    /// The most bytes that one may have.
    pub most: usize,
}

impl fmt::Display for EventTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event of the stream is longer than {} bytes", self.most)
    }
}

impl std::error::Error for EventTooLong {}

impl SseParser {
    /// A reader of events of up to `most` bytes.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            buffer: Vec::new(),
            line: 0,
            searched: 0,
            is_start: true,
            after_cr: false,
            name: Vec::new(),
            data: Vec::new(),
            has_data: false,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.line > 0 {
            self.buffer.drain(..mem::take(&mut self.line));
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event that is whole. `None`: more bytes are needed. What is left at the end of
    /// a stream is no event.
    ///
    /// # Errors
    /// [`EventTooLong`]. The stream cannot be read any further.
    pub fn next_event(&mut self) -> Result<Option<SseEvent>, EventTooLong> {
        while let Some(line) = self.take_line() {
            self.check_with(line.len())?;
            if let Some(event) = self.read_line(&line) {
                return Ok(Some(event));
            }
        }
        self.check_with(self.rest().len())?;
        Ok(None)
    }

    /// Whether what is there of an event has room for a line, or for the beginning of one: a
    /// stream is too long or not, however it is cut.
    fn check_with(&self, line: usize) -> Result<(), EventTooLong> {
        let bytes = self.name.len() + self.data.len() + line;
        if bytes > self.most { Err(EventTooLong { most: self.most }) } else { Ok(()) }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.line..).unwrap_or_default()
    }

    /// The next line that is whole, without its end.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        if self.after_cr && !self.rest().is_empty() {
            self.after_cr = false;
            if self.rest().starts_with(b"\n") {
                self.line += 1;
            }
        }
        if self.is_start {
            if self.rest().len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(self.rest())
            {
                return None;
            }
            self.is_start = false;
            if self.rest().starts_with(BYTE_ORDER_MARK) {
                self.line += BYTE_ORDER_MARK.len();
            }
        }
        let rest = self.rest();
        let unsearched = rest.get(self.searched..).unwrap_or_default();
        let Some(end) = unsearched.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            self.searched = rest.len();
            return None;
        };
        let end = self.searched + end;
        let (line, ending) = rest.split_at(end);
        let line = line.to_vec();
        self.after_cr = ending.starts_with(b"\r");
        self.line += end + 1;
        self.searched = 0;
        Some(line)
    }

    /// Reads a line. The empty one ends an event; without data there is none.
    fn read_line(&mut self, line: &[u8]) -> Option<SseEvent> {
        if line.is_empty() {
            let (name, data) = (mem::take(&mut self.name), mem::take(&mut self.data));
            return mem::take(&mut self.has_data)
                .then(|| SseEvent { name: text_of(name), data: text_of(data) });
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => line.split_at(colon),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"event" => self.name = value.to_vec(),
            _ => {}
        }
        None
    }
}

fn text_of(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Read = Result<Vec<(String, String)>, EventTooLong>;

    /// All events of a stream that comes in pieces.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, most: usize) -> Read {
        let mut parser = SseParser::new(most);
        let mut events = Vec::new();
        for piece in pieces {
            parser.push(piece);
            while let Some(event) = parser.next_event()? {
                events.push((event.name, event.data));
            }
        }
        Ok(events)
    }

    fn events_of(stream: &str) -> Vec<(String, String)> {
        read([stream.as_bytes()], 1_000).unwrap()
    }

    fn data_of(stream: &str) -> Vec<String> {
        events_of(stream).into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn lines_end_in_any_way() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = format!("data: a{end}data: b{end}{end}data: c{end}{end}");
            assert_eq!(data_of(&stream), ["a\nb", "c"], "{end:?}");
        }
        assert_eq!(data_of("data: a\r\n\ndata: b\n\r"), ["a", "b"]);
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        assert_eq!(data_of("\u{feff}data: a\n\n"), ["a"]);
        assert_eq!(data_of("\n\u{feff}data: a\n\n"), [""; 0]);
        assert_eq!(
            data_of("data:a\n\ndata:  b\n\ndata\n\ndata:\ndata:\n\n"),
            ["a", " b", "", "\n"]
        );
        assert_eq!(data_of(": ping\n\nid: 7\nretry: 10\n\nDATA: a\n\n data: a\n\n"), [""; 0]);
        assert_eq!(data_of("data: a: b\n\n"), ["a: b"]);
        let named = events_of("event: x\ndata: 1\n\ndata: 2\n\nevent: y\n\ndata: 3\n\n");
        let expected = [("x", "1"), ("", "2"), ("", "3")];
        assert_eq!(named, expected.map(|(name, data)| (name.to_owned(), data.to_owned())));
    }

    #[test]
    fn what_has_no_end_is_no_event() {
        assert_eq!(data_of("data: a\n\ndata: b\n"), ["a"]);
        assert_eq!(data_of("data: a\n\ndata: b"), ["a"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let events = read([&b"data: a\xff\n\n"[..]], 100).unwrap();
        assert_eq!(events[0].1, "a\u{fffd}");
    }

    #[test]
    fn an_event_has_its_bound_whether_it_is_one_line_or_many() {
        let long = format!("data: {}", "x".repeat(200));
        for stream in [long, "data: x\n".repeat(200), format!(":{}\n", "x".repeat(200))] {
            let error = read([stream.as_bytes()], 100).unwrap_err();
            assert_eq!(error.to_string(), "an event of the stream is longer than 100 bytes");
        }
        let many = "data: x\n\n".repeat(200);
        assert_eq!(read([many.as_bytes()], 100).unwrap().len(), 200);
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            "data: ?[aé€😀:]{0,5}",
            "event: ?[a-z]{0,3}",
            ":[a-z ]{0,4}",
            "(id|retry|data|\u{feff})",
            Just(String::new()),
            Just(String::new()),
        ]
    }

    fn stream() -> impl Strategy<Value = String> {
        let ended = (line(), prop::sample::select(vec!["\n", "\r", "\r\n"]));
        prop::collection::vec(ended, 0..20)
            .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let ends = cuts.iter().copied().chain([bytes.len()]);
            let pieces = starts.zip(ends).map(|(start, end)| &bytes[start..end]);
            for most in [12, 1_000] {
                let whole = read([bytes], most);
                prop_assert_eq!(&read(pieces.clone(), most), &whole);
                prop_assert_eq!(&read(bytes.chunks(1), most), &whole);
            }
        }

        #[test]
        fn what_is_written_is_read(events in prop::collection::vec(("[a-z]{0,5}", "[^\r\n]{1,9}(\n[^\r\n]{1,9}){0,2}"), 0..6)) {
            let stream: String = events.iter().map(|(name, data)| {
                let lines: String = data.split('\n').map(|it| format!("data: {it}\n")).collect();
                format!("event: {name}\n{lines}\n")
            }).collect();
            prop_assert_eq!(read([stream.as_bytes()], 1_000).unwrap(), events);
        }
    }
}
