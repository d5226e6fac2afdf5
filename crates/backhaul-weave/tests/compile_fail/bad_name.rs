use backhaul_weave as weave;

#[weave::op(name = "add two")]
fn add(a: u8) -> u8 {
    a
}

fn main() {
    add(1);
}
