use backhaul_weave as weave;

#[weave::op(skip(a, tokn), redact(b))]
fn add(a: u8, b: u8, token: &str) -> usize {
    usize::from(a + b) + token.len()
}

fn main() {
    add(1, 2, "");
}
