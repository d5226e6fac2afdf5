//! Ops of every form, without a warning of the compiler.

#![deny(warnings, unused, rust_2018_idioms)]

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use backhaul_weave as weave;

#[weave::op]
fn add(a: u8, b: u8) -> u8 {
    a + b
}

#[weave::op]
fn nothing() {}

#[weave::op]
fn never() -> ! {
    std::process::exit(0)
}

#[weave::op]
fn early(n: u8) -> Option<u8> {
    if n > 1 {
        return None;
    }
    let next = n.checked_add(1)?;
    Some(next)
}

#[weave::op]
fn borrowed<'a>(text: &'a str, _other: &str) -> &'a str {
    text
}

#[weave::op]
fn boxed() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let _: u8 = "1".parse()?;
    Ok(())
}

#[weave::op]
fn generic<T, U>(value: T, _unseen: U) -> impl Iterator<Item = T>
where
    T: Clone + Debug,
{
    std::iter::repeat_n(value, 2)
}

#[weave::op]
fn shadowed(outcome: u8, output: u8, arguments: u8, begun: u8) -> u8 {
    outcome + output + arguments + begun
}

#[weave::op]
fn with_closure(work: impl FnOnce() -> u8) -> u8 {
    work()
}

/// Has documentation, and an attribute of its own.
#[must_use]
#[weave::op]
pub unsafe fn risky(pointer: *const u8) -> u8 {
    // SAFETY: the caller says so.
    unsafe { *pointer }
}

#[weave::op]
extern "C" fn called_from_c(n: i32) -> i32 {
    n
}

struct Mast<T> {
    height: T,
}

impl<T: Copy> Mast<T> {
    #[weave::op]
    fn height_mut(&mut self) -> &mut T {
        &mut self.height
    }

    #[weave::op]
    fn into_height(self) -> T {
        self.height
    }

    #[weave::op]
    async fn wait(&self, by: &str) -> Result<T, std::num::ParseIntError> {
        let _: u8 = by.parse()?;
        if by.is_empty() {
            return Ok(self.height);
        }
        Ok(self.height)
    }
}

trait Later {
    fn later<'a>(&'a self, n: &'a mut u8) -> Pin<Box<dyn Future<Output = u8> + Send + 'a>>;
}

impl Later for u8 {
    #[weave::op]
    fn later<'a>(&'a self, n: &'a mut u8) -> Pin<Box<dyn Future<Output = u8> + Send + 'a>> {
        Box::pin(async move {
            *n += 1;
            *self + *n
        })
    }
}

#[weave::op]
async fn looks_up(cities: Vec<String>) -> usize {
    cities.len()
}

#[weave::op]
async fn forever() -> ! {
    loop {
        std::future::pending::<()>().await;
    }
}

macro_rules! made {
    ($name:ident, $kind:ty) => {
        #[weave::op]
        fn $name(n: $kind) -> $kind {
            n
        }
    };
}

made!(made_by_a_macro, u8);

fn needs_send<F: Send>(_: F) {}

fn main() {
    #[weave::op(name = "inner.one", attributes(n = 1), skip_all)]
    fn inner(n: u8) -> u8 {
        n
    }

    assert_eq!(add(1, inner(2)), 3);
    nothing();
    assert_eq!((early(1), early(2)), (Some(2), None));
    assert_eq!(borrowed("a", "b"), "a");
    assert!(boxed().is_ok());
    assert_eq!(generic(1, || ()).count(), 2);
    assert_eq!(shadowed(1, 2, 3, 4), 10);
    let local = String::from("ab");
    assert_eq!(with_closure(|| u8::try_from(local.len()).unwrap()), 2);
    // SAFETY: it points to a value.
    assert_eq!(unsafe { risky(&7) }, 7);
    assert_eq!(called_from_c(1), 1);
    let mut mast = Mast { height: 1 };
    *mast.height_mut() += 1;
    needs_send(mast.wait("1"));
    assert_eq!(mast.into_height(), 2);
    needs_send(1_u8.later(&mut 2));
    needs_send(looks_up(Vec::new()));
    needs_send(forever());
    assert_eq!(made_by_a_macro(1), 1);
    if std::env::args().count() > 99 {
        never();
    }
}
