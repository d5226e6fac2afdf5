//! What a model's server may do, by number.

use std::fmt;

macro_rules! scenarios {
    ($($number:literal $scenario:ident $name:literal $does:literal;)*) => {
        /// What the server of [`FaultServer::llm`](crate::FaultServer::llm) does.
        ///
        /// The numbers stay what they are, so that figures of different days can be compared.
        /// Up to 29 it does not matter whether the answer is streamed. From 30 on a streamed
        /// answer is meant; what breaks one after its fourth token breaks an answer that is
        /// not streamed in the middle of its body, and what is odd about a healthy stream has
        /// no other effect there.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum LlmScenario {
            $(#[doc = $does] $scenario = $number,)*
        }

        impl LlmScenario {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$scenario,)*];

            /// Its name: `cut-at-4`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$scenario => $name,)*
                }
            }

            /// What the server does.
            pub fn does(self) -> &'static str {
                match self {
                    $(Self::$scenario => $does,)*
                }
            }
        }
    };
}

scenarios! {
    1 Healthy "healthy" "Answers at once.";
    2 Slow "slow" "Answers after the script's delay.";
    3 Silent "silent" "Takes the request and never says anything.";
    4 ResetAtOnce "reset-at-once" "Takes the request and resets the connection.";
    5 HangUpAtOnce "hang-up-at-once" "Takes the request and closes the connection.";
    6 EmptyBody "empty-body" "200 with the right type and an empty body.";
    7 Portal "portal" "200 with the HTML page of a captive portal.";
    8 BadGateway "bad-gateway" "502 with an HTML page.";
    10 ServerError "server-error" "500.";
    11 Overloaded "overloaded" "503 with `Retry-After: 1`.";
    12 RateLimit "rate-limit" "429 that says no more.";
    13 RateLimitSeconds "rate-limit-seconds" "429 with `Retry-After: 1`.";
    14 RateLimitMillis "rate-limit-millis" "429 with `Retry-After-Ms: 100`.";
    15 BadKey "bad-key" "401 with `invalid_api_key`.";
    16 Forbidden "forbidden" "403.";
    17 BadRequest "bad-request" "400.";
    18 ContextLength "context-length" "400 with `context_length_exceeded`.";
    19 NoSuchModel "no-such-model" "404 with `model_not_found`.";
    20 TooLarge "too-large" "413.";
    30 Refusal "refusal" "No text, and the finish reason `content_filter`.";
    31 ErrorAfterRole "error-after-role" "An error in the stream, before any token.";
    32 SilentAfterRole "silent-after-role" "Begins the stream and says no more.";
    33 CutAt4 "cut-at-4" "Resets the connection after four tokens.";
    34 HangUpAt4 "hang-up-at-4" "Closes the connection after four tokens, inside the body.";
    35 StallAt4 "stall-at-4" "Says no more after four tokens.";
    36 MalformedAt4 "malformed-at-4" "Broken JSON after four tokens, then goes on.";
    37 ErrorAt4 "error-at-4" "An error in the stream after four tokens.";
    38 EndsAt4 "ends-at-4" "Ends the body properly after four tokens, without a finish.";
    39 CutInCharacter "cut-in-character" "Ends the body inside a character of two bytes.";
    40 CutInLine "cut-in-line" "Resets the connection inside a line.";
    41 NoDone "no-done" "Healthy, without `[DONE]` (or what else ends the stream).";
    42 Odd "odd" "Healthy, with comments, CRLF, names, split data and empty choices.";
    43 Crumbs "crumbs" "Healthy, sent three bytes at a time, also inside characters.";
    44 UsageLast "usage-last" "Healthy, with usage in a last chunk without choices, unasked.";
    45 ToolCall "tool-call" "A call of the first tool offered, its arguments in pieces.";
    46 Reasoning "reasoning" "Reasoning before the text.";
    47 Trickle "trickle" "Healthy, with the script's gap before each token.";
}

impl LlmScenario {
    /// Its number.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The scenario with a number.
    pub fn numbered(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.number() == number)
    }

    /// The model that a request names to meet it: `fault-33`.
    pub fn model(self) -> String {
        format!("fault-{}", self.number())
    }

    /// The scenario that a model stands for.
    pub(super) fn of_model(model: &str) -> Option<Self> {
        Self::numbered(model.strip_prefix("fault-")?.parse().ok()?)
    }
}

/// `33 cut-at-4`.
impl fmt::Display for LlmScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn scenarios_are_told_apart_by_number_name_and_model() {
        let names: BTreeSet<_> = LlmScenario::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), LlmScenario::ALL.len());
        assert!(LlmScenario::ALL.is_sorted());
        for scenario in LlmScenario::ALL {
            assert_eq!(LlmScenario::of_model(&scenario.model()), Some(*scenario));
        }
        assert_eq!(LlmScenario::CutAt4.to_string(), "33 cut-at-4");
        assert_eq!(LlmScenario::of_model("fault-9"), None);
        assert_eq!(LlmScenario::of_model("cloud-model"), None);
    }
}
