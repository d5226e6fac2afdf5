//! What a check comes to: nothing, or in words how store and model differ.

pub(super) type Outcome<T = ()> = Result<T, String>;

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

pub(super) use ensure;
