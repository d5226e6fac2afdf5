use backhaul_weave as weave;

#[weave::op(nmae = "add")]
fn add(a: u8) -> u8 {
    a
}

fn main() {
    add(1);
}
