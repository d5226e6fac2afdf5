//! What the expansion of `#[op]` is made of. Not for use by hand: it changes with the macro.

use super::arguments;
pub use super::arguments::Arguments;
use super::context::Context;
pub use super::exception::Exception;
pub use super::op::OpInfo;
pub use super::running::{Begun, OpFuture, Outcome};
pub use super::value::Captured;
use super::weave_client;

/// An op's place in the code.
#[derive(Debug)]
pub struct OpSite {
    info: OpInfo,
}

impl OpSite {
    /// A place that says so of itself.
    pub const fn new(info: OpInfo) -> Self {
        Self { info }
    }
}

/// A call of an op begins, in the context of now.
pub fn begin(
    site: &'static OpSite,
    self_type: Option<&'static str>,
    fill: impl FnOnce(&mut Arguments),
) -> Begun {
    let context = Context::current();
    let Some(recorder) = weave_client::recorder_of(&context) else { return Begun::of(None) };
    if !is_sampled(&context, site.info.sample_rate) {
        return Begun::left_out(&context);
    }
    let place = std::ptr::from_ref(site) as usize;
    let op = recorder.op(place, &site.info, self_type);
    let said = arguments::filled(fill);
    Begun::of(Some(recorder.begin(op, said, &context)))
}

/// Whether a call is logged: all of a trace are, or none.
fn is_sampled(context: &Context, rate: f64) -> bool {
    let is_root = context.as_frame().is_none_or(|frame| frame.call.is_none());
    rate >= 1.0 || !is_root || fastrand::f64() < rate
}

/// What is asked of a value for as much as its type can do.
#[derive(Debug)]
pub struct Probe<T>(pub T);

/// By which [`Probe`] is asked. Of several traits that have a method of a name the compiler
/// takes the first that fits: as many borrows as there are, one more, and then fewer.
pub mod probe {
    use std::convert::Infallible;
    use std::error::Error;
    use std::fmt::{Debug, Display};

    use serde::Serialize;

    use super::{Captured, Exception, Probe};

    /// Of values that can be serialized.
    pub trait BySerialize {
        /// The value.
        fn weave_capture(&self) -> Captured;
    }

    impl<T: Serialize + ?Sized> BySerialize for &&Probe<&T> {
        fn weave_capture(&self) -> Captured {
            Captured::of(self.0)
        }
    }

    /// Of values that can be shown.
    pub trait ByDebug {
        /// The value.
        fn weave_capture(&self) -> Captured;
    }

    impl<T: Debug + ?Sized> ByDebug for &Probe<&T> {
        fn weave_capture(&self) -> Captured {
            Captured::of_debug(self.0)
        }
    }

    /// Of any value.
    pub trait ByType {
        /// The value.
        fn weave_capture(&self) -> Captured;
    }

    impl<T: ?Sized> ByType for Probe<&T> {
        fn weave_capture(&self) -> Captured {
            Captured::of_type::<T>()
        }
    }

    /// Of a method's own value that can be serialized.
    pub trait SelfBySerialize {
        /// The value.
        fn weave_capture_self(&self) -> Option<Captured>;
    }

    impl<T: Serialize + ?Sized> SelfBySerialize for &Probe<&T> {
        fn weave_capture_self(&self) -> Option<Captured> {
            Some(Captured::of(self.0))
        }
    }

    /// Of any other: it is left out.
    pub trait SelfByType {
        /// Nothing.
        fn weave_capture_self(&self) -> Option<Captured>;
    }

    impl<T: ?Sized> SelfByType for Probe<&T> {
        fn weave_capture_self(&self) -> Option<Captured> {
            None
        }
    }

    /// Of results.
    pub trait SplitResult<'a> {
        /// What there is if it went well.
        type Output: ?Sized;
        /// What went wrong.
        type Error: ?Sized;
        /// One or the other.
        ///
        /// # Errors
        /// What went wrong.
        fn weave_split(&self) -> Result<&'a Self::Output, &'a Self::Error>;
    }

    impl<'a, T, E> SplitResult<'a> for Probe<&'a Result<T, E>> {
        type Output = T;
        type Error = E;

        fn weave_split(&self) -> Result<&'a T, &'a E> {
            self.0.as_ref()
        }
    }

    /// Of anything else: it always went well.
    pub trait SplitAny<'a> {
        /// What there is.
        type Output: ?Sized;
        /// Itself.
        ///
        /// # Errors
        /// Never.
        fn weave_split(&self) -> Result<&'a Self::Output, &'a Infallible>;
    }

    impl<'a, T: ?Sized> SplitAny<'a> for &Probe<&'a T> {
        type Output = T;

        fn weave_split(&self) -> Result<&'a T, &'a Infallible> {
            Ok(self.0)
        }
    }

    /// Of errors.
    pub trait ByError {
        /// The error.
        fn weave_exception(&self) -> Exception;
    }

    impl<E: Error + ?Sized> ByError for &&Probe<&E> {
        fn weave_exception(&self) -> Exception {
            Exception::of_error(self.0)
        }
    }

    /// Of what can be told.
    pub trait ByDisplay {
        /// The error.
        fn weave_exception(&self) -> Exception;
    }

    impl<E: Display + ?Sized> ByDisplay for &&&Probe<&E> {
        fn weave_exception(&self) -> Exception {
            Exception::of_shown(self.0)
        }
    }

    /// Of what can be shown.
    pub trait ByDebugOnly {
        /// The error.
        fn weave_exception(&self) -> Exception;
    }

    impl<E: Debug + ?Sized> ByDebugOnly for &Probe<&E> {
        fn weave_exception(&self) -> Exception {
            Exception::of_debug(self.0)
        }
    }

    /// Of anything.
    pub trait ByTypeOnly {
        /// The error.
        fn weave_exception(&self) -> Exception;
    }

    impl<E: ?Sized> ByTypeOnly for Probe<&E> {
        fn weave_exception(&self) -> Exception {
            Exception::of_type::<E>()
        }
    }
}
