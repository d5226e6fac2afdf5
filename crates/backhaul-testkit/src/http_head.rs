//! The head of an HTTP/1.1 message: as much of it as finding the end of the body takes.

/// First line and headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HttpHead {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl HttpHead {
    /// Reads a head, with or without the empty line at its end.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Self { line, headers }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The status, where this is the head of an answer.
    pub(crate) fn status(&self) -> Option<u16> {
        self.line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
    }

    /// A request without a length has no body.
    pub(crate) fn request_framing(&self) -> Framing {
        self.stated_framing().unwrap_or(Framing::Length(0))
    }

    /// An answer without a length goes on until the connection is closed.
    pub(crate) fn answer_framing(&self, to_head: bool) -> Framing {
        match self.status() {
            Some(204 | 304) => Framing::Length(0),
            _ if to_head => Framing::Length(0),
            _ => self.stated_framing().unwrap_or(Framing::UntilClose),
        }
    }

    fn stated_framing(&self) -> Option<Framing> {
        let coding = self.header("transfer-encoding").unwrap_or_default();
        if coding.to_ascii_lowercase().contains("chunked") {
            return Some(Framing::Chunked);
        }
        Some(Framing::Length(self.header("content-length")?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> HttpHead {
        HttpHead::parse(text.as_bytes())
    }

    #[test]
    fn a_head_is_read_whatever_the_case_of_its_names() {
        let head = head("POST /x HTTP/1.1\r\nHost: a\r\nCONTENT-length:  7 \r\n\r\n");
        assert_eq!((head.method(), head.header("Content-Length")), ("POST", Some("7")));
        assert_eq!(head.request_framing(), Framing::Length(7));
        assert_eq!(head.status(), None);
    }

    #[test]
    fn what_has_no_length_ends_as_the_standard_says() {
        assert_eq!(head("GET / HTTP/1.1\r\n\r\n").request_framing(), Framing::Length(0));
        let answer = head("HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(answer.answer_framing(false), Framing::UntilClose);
        assert_eq!(answer.answer_framing(true), Framing::Length(0));
        assert_eq!(head("HTTP/1.1 204 x\r\n\r\n").answer_framing(false), Framing::Length(0));
        let both = head("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: Chunked\r\n");
        assert_eq!(both.answer_framing(false), Framing::Chunked);
    }
}
